//! The calls by which partitions talk, one function per row of the call table. `shikiri_rt::event` makes values of them.

use shikiri_abi::{NamePart, PartitionId, Status};
pub use shikiri_abi::{Rights, Sharing, SignalKind};

use crate::partition::{Refusal, function, request, request_in_full};

/// A handle, as the hypervisor gives it: of a port, or of a request that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(pub u64);

/// How it stands with a send port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is connected.
    Connected,
    /// Its request was not answered yet.
    Asked,
}

/// A control signal that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The request, to be accepted, refused or closed.
    pub request: Handle,
    /// What is asked; none for what this library does not know.
    pub kind: Option<SignalKind>,
    /// Who asks.
    pub from: PartitionId,
    /// Which service is meant.
    pub service: u32,
    /// The sender's word.
    pub word: u64,
}

/// A partition that the caller may talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its present life; none while it has none.
    pub id: Option<PartitionId>,
    /// Whether it may be asked for connections.
    pub may_be_asked: bool,
    /// Whether it may ask.
    pub may_ask: bool,
}

/// Calls `EVENT_CREATE_SEND`.
///
/// # Errors
/// `OverLimit`: event ports, or management memory if the handle table is full.
pub fn create_send() -> Result<Handle, Refusal> {
    request::<CREATE_SEND>([0; 6]).map(|[port, ..]| Handle(port))
}

/// Calls `EVENT_CREATE_RECEIVE`.
///
/// # Errors
/// As [`create_send`].
pub fn create_receive() -> Result<Handle, Refusal> {
    request::<CREATE_RECEIVE>([0; 6]).map(|[port, ..]| Handle(port))
}

/// Calls `EVENT_CONNECT`: within the partition.
///
/// # Errors
/// `BadHandle`; `WrongState` if one of them is in use.
pub fn connect(send: Handle, receive: Handle) -> Result<(), Refusal> {
    request::<CONNECT>([send.0, receive.0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `EVENT_BIND`: gives a receive port the interrupt `intid`, routed to `vcpu` first.
///
/// # Errors
/// `BadHandle`; `InvalidParameter` 2 (no SPI for events) or 3 (no such vCPU); `WrongState` if the port has one, or the
/// interrupt is used otherwise.
pub fn bind(port: Handle, intid: u32, vcpu: u64, sharing: Sharing) -> Result<(), Refusal> {
    let shared = match sharing {
        Sharing::Alone => 0,
        Sharing::Grouped => 1,
    };
    request::<BIND>([port.0, u64::from(intid), vcpu, shared, 0, 0]).map(|_| ())
}

/// Calls `EVENT_MASK` with 1.
///
/// # Errors
/// `BadHandle`.
pub fn mask(port: Handle) -> Result<(), Refusal> {
    request::<MASK>([port.0, 1, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `EVENT_MASK` with 0.
///
/// # Errors
/// `BadHandle`.
pub fn unmask(port: Handle) -> Result<(), Refusal> {
    request::<MASK>([port.0, 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `EVENT_STATE`.
///
/// # Errors
/// `BadHandle`; `WrongState` if the port was never connected; `Refused`; `PeerGone`.
pub fn state(port: Handle) -> Result<State, Refusal> {
    let (is_pending, _) = request_in_full::<STATE>([port.0, 0, 0, 0, 0, 0])?;
    Ok(if is_pending { State::Asked } else { State::Connected })
}

/// Calls `EVENT_POLL` until it knows: whether the port was pending.
///
/// # Errors
/// `BadHandle`.
pub fn poll(port: Handle) -> Result<bool, Refusal> {
    again(|| request::<POLL>([port.0, 0, 0, 0, 0, 0])).map(|[pending, ..]| pending == 1)
}

/// Calls `EVENT_TAKE`: which of the handles from 64 × `word` on, that share an interrupt, were pending.
///
/// # Errors
/// `InvalidParameter` from 1024 on.
pub fn take(word: u16) -> Result<u64, Refusal> {
    request::<TAKE>([u64::from(word), 0, 0, 0, 0, 0]).map(|[pending, ..]| pending)
}

/// Calls `EVENT_SEND`: whether the event made no difference, since one was pending.
///
/// # Errors
/// `BadHandle`; `WrongState` if the port is not connected yet; `Refused`; `PeerGone`.
pub fn send(port: Handle) -> Result<bool, Refusal> {
    request::<SEND>([port.0, 0, 0, 0, 0, 0]).map(|[pending, ..]| pending == 1)
}

/// Calls `HANDLE_CLOSE`.
///
/// # Errors
/// `BadHandle`.
pub fn close(handle: Handle) -> Result<(), Refusal> {
    again(|| request::<CLOSE>([handle.0, 0, 0, 0, 0, 0])).map(|_| ())
}

/// Calls `HANDLE_LIMIT`: takes the rights that are not in `keep` from a handle, for good; answers those that are left.
///
/// # Errors
/// `BadHandle`; an area's handle is not limited.
pub fn limit(handle: Handle, keep: Rights) -> Result<Rights, Refusal> {
    let [left, ..] = request::<LIMIT>([handle.0, keep.bits(), 0, 0, 0, 0])?;
    // A later hypervisor's further rights are none of this library's.
    Ok(Rights::from_bits(left & Rights::ALL.bits()).unwrap_or(Rights::NONE))
}

/// Calls `SIGNAL_NOTIFY`: `port` is raised for control signals and answers.
///
/// # Errors
/// `BadHandle`; `WrongState` if something is connected to the port.
pub fn notify(port: Handle) -> Result<(), Refusal> {
    request::<NOTIFY>([port.0, 0, 0, 0, 0, 0]).map(|_| ())
}

/// Calls `SIGNAL_ASK`: asks the partition with this number to connect a send port.
///
/// # Errors
/// `BadHandle`; `NotPermitted`; `WrongState` if the port is connected or has asked; `OverLimit` if as many requests wait as
/// there may be; `PeerGone`.
pub fn ask(port: Handle, partition: u8, service: u32, word: u64) -> Result<(), Refusal> {
    let arguments = [port.0, u64::from(partition), u64::from(service), word, 0, 0];
    again(|| request::<ASK>(arguments)).map(|_| ())
}

/// Calls `SIGNAL_TAKE`.
///
/// # Errors
/// `Empty`; `OverLimit` if there is no handle left for the request.
pub fn take_signal() -> Result<Signal, Refusal> {
    let [request, sender, word] = again(|| request::<TAKE_SIGNAL>([0; 6]))?;
    let [a, b, c, d, e, f, g, h] = sender.to_le_bytes();
    let [.., kind] = request.to_le_bytes();
    Ok(Signal {
        request: Handle(request << 8 >> 8),
        kind: SignalKind::from_code(kind),
        from: PartitionId(u32::from_le_bytes([a, b, c, d])),
        service: u32::from_le_bytes([e, f, g, h]),
        word,
    })
}

/// Calls `SIGNAL_ACCEPT`: connects the sender's port to `receive`.
///
/// # Errors
/// `BadHandle`; `WrongState` if the receive port is in use; `PeerGone`.
pub fn accept(request_handle: Handle, receive: Handle) -> Result<(), Refusal> {
    again(|| request::<ACCEPT>([request_handle.0, receive.0, 0, 0, 0, 0])).map(|_| ())
}

/// Calls `SIGNAL_REFUSE`.
///
/// # Errors
/// `BadHandle`.
pub fn refuse(request_handle: Handle) -> Result<(), Refusal> {
    again(|| request::<REFUSE>([request_handle.0, 0, 0, 0, 0, 0])).map(|_| ())
}

/// Calls `PEER_INFO`.
///
/// # Errors
/// `NotPermitted` for a partition that the caller may not talk to, or that is not there.
pub fn peer(partition: u8) -> Result<Peer, Refusal> {
    request::<PEER>([u64::from(partition), 0, 0, 0, 0, 0]).map(|[id, may, _]| Peer {
        id: u32::try_from(id).ok().filter(|id| *id != 0).map(PartitionId),
        may_be_asked: may & 1 != 0,
        may_ask: may & 2 != 0,
    })
}

/// The name of a partition that the caller may talk to, padded with 0; `PEER_NAME` once for each part.
///
/// # Errors
/// As [`peer`].
pub fn peer_name(partition: u8) -> Result<[u8; 32], Refusal> {
    let words =
        |part: NamePart| request::<PEER_NAME>([u64::from(partition), part.number(), 0, 0, 0, 0]);
    loop {
        let first = words(NamePart::First)?;
        let [a, b, c] = first;
        let is_short = c.leading_zeros() >= u8::BITS;
        let [d, ..] = if is_short { [0; 3] } else { words(NamePart::Rest)? };
        // Of two calls another partition may have come to the place between them.
        if is_short || words(NamePart::First)? == first {
            let mut name = [0; 32];
            let bytes = [a, b, c, d].into_iter().flat_map(u64::to_le_bytes);
            name.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            return Ok(name);
        }
    }
}

/// Makes a call until its answer is not `AGAIN`.
#[inline]
pub(crate) fn again(call: impl Fn() -> Result<[u64; 3], Refusal>) -> Result<[u64; 3], Refusal> {
    loop {
        match call() {
            Err(refusal) if refusal.status() == Some(Status::Again) => {}
            answer => return answer,
        }
    }
}

/// How many rows have their wrapper here.
pub(crate) const CALLS: usize = 18;

const CREATE_SEND: u32 = function("EVENT_CREATE_SEND", 0);
const CREATE_RECEIVE: u32 = function("EVENT_CREATE_RECEIVE", 0);
const CONNECT: u32 = function("EVENT_CONNECT", 2);
const BIND: u32 = function("EVENT_BIND", 4);
const MASK: u32 = function("EVENT_MASK", 2);
const STATE: u32 = function("EVENT_STATE", 1);
const POLL: u32 = function("EVENT_POLL", 1);
const TAKE: u32 = function("EVENT_TAKE", 1);
const SEND: u32 = function("EVENT_SEND", 1);
const CLOSE: u32 = function("HANDLE_CLOSE", 1);
const LIMIT: u32 = function("HANDLE_LIMIT", 2);
const NOTIFY: u32 = function("SIGNAL_NOTIFY", 1);
const ASK: u32 = function("SIGNAL_ASK", 4);
const TAKE_SIGNAL: u32 = function("SIGNAL_TAKE", 0);
const ACCEPT: u32 = function("SIGNAL_ACCEPT", 2);
const REFUSE: u32 = function("SIGNAL_REFUSE", 1);
const PEER: u32 = function("PEER_INFO", 1);
const PEER_NAME: u32 = function("PEER_NAME", 2);
