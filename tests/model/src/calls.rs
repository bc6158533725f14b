//! Hypercalls of the guests of [`Estates`], as they make them: numbers and registers in, registers and interrupts out.

use shikiri_abi::{
    Call, Ipa, MessageCall, PartitionSlot, SharedCall, SignalKind, Status, TalkCall,
};
use shikiri_config::PartitionSet;
use shikiri_core::event::Raise;
use shikiri_core::handle::Handle;
use shikiri_core::party::{Refusal, permit};

use crate::estates::Estates;

/// HANDLE_LIMIT
pub const LIMIT: u32 = 0x09;
/// EVENT_CREATE_SEND
pub const CREATE_SEND: u32 = 0x10;
/// EVENT_CREATE_RECEIVE
pub const CREATE_RECEIVE: u32 = 0x11;
/// EVENT_CONNECT
pub const CONNECT_EVENT: u32 = 0x12;
/// EVENT_BIND
pub const BIND: u32 = 0x13;
/// EVENT_MASK
pub const MASK: u32 = 0x14;
/// EVENT_STATE
pub const STATE_OF_EVENT: u32 = 0x15;
/// EVENT_POLL
pub const POLL: u32 = 0x16;
/// EVENT_TAKE
pub const TAKE_EVENTS: u32 = 0x17;
/// EVENT_SEND
pub const SEND_EVENT: u32 = 0x18;
/// HANDLE_CLOSE
pub const CLOSE_HANDLE: u32 = 0x19;
/// SIGNAL_NOTIFY
pub const NOTIFY_ME: u32 = 0x1a;
/// SIGNAL_ASK
pub const ASK: u32 = 0x1b;
/// SIGNAL_TAKE
pub const TAKE: u32 = 0x1c;
/// SIGNAL_ACCEPT
pub const ACCEPT_EVENT: u32 = 0x1d;
/// SIGNAL_REFUSE
pub const REFUSE: u32 = 0x1e;
/// AREA_ALLOC
pub const ALLOC: u32 = 0x20;
/// AREA_FREE
pub const FREE: u32 = 0x21;
/// AREA_INFO
pub const INFO: u32 = 0x22;
/// AREA_KEEP
pub const KEEP: u32 = 0x23;
/// AREA_TRIM
pub const TRIM: u32 = 0x24;
/// AREA_SPLIT
pub const SPLIT: u32 = 0x25;
/// CHANNEL_CREATE
pub const CREATE: u32 = 0x28;
/// CHANNEL_CONNECT
pub const CONNECT: u32 = 0x29;
/// CHANNEL_ACCEPT
pub const ACCEPT: u32 = 0x2a;
/// CHANNEL_SEND
pub const SEND: u32 = 0x2b;
/// CHANNEL_NOTIFY
pub const NOTIFY: u32 = 0x2c;
/// CHANNEL_CLOSE
pub const CLOSE: u32 = 0x2d;
/// EVENT_PAGE
pub const EVENT_PAGE: u32 = 0x2e;
/// SHARED_OFFER
pub const OFFER: u32 = 0x30;
/// SHARED_WITHDRAW
pub const WITHDRAW: u32 = 0x31;
/// SHARED_REVOKE
pub const REVOKE: u32 = 0x32;
/// SHARED_CREATE
pub const CREATE_SHARE: u32 = 0x33;
/// SHARED_CONNECT
pub const CONNECT_SHARE: u32 = 0x34;
/// SHARED_ACCEPT
pub const ACCEPT_SHARE: u32 = 0x35;
/// SHARED_STATE
pub const STATE_OF_SHARE: u32 = 0x36;
/// SHARED_DETACH
pub const DETACH: u32 = 0x37;
/// OBJECT_OPEN
pub const OPEN: u32 = 0x38;
/// OBJECT_WAIT
pub const WAIT: u32 = 0x39;
/// OBJECT_POST
pub const POST: u32 = 0x3a;
/// OBJECT_NOTIFY
pub const NOTIFY_OF_OBJECT: u32 = 0x3b;
/// OBJECT_CLOSE
pub const CLOSE_OBJECT: u32 = 0x3c;

/// The status of a call that is to be made again.
const AGAIN: u64 = refused(Status::Again);

/// Which interrupts came where: slots and INTIDs.
pub type Told = Vec<(u8, u16)>;

/// What to raise, as who is told.
pub fn told(raises: impl IntoIterator<Item = Option<Raise>>) -> Told {
    raises.into_iter().flatten().map(|raise| (raise.partition.0, raise.intid.0)).collect()
}

/// The registers of a refusal.
#[must_use]
pub const fn refused(status: Status) -> u64 {
    status.code().cast_unsigned()
}

/// Whether a call, if it asks another partition for something, has what it asks with, and may do so.
fn permitted(estates: &Estates, who: usize, call: &Call) -> Result<(), Refusal> {
    let (kind, port, partition, service) = match *call {
        Call::Talk(TalkCall::Ask { port, partition, service, .. }) => {
            (SignalKind::EventConnect, port, partition, service)
        }
        Call::Message(MessageCall::Connect { port, partition, service, .. }) => {
            (SignalKind::ChannelConnect, port, partition, service)
        }
        Call::Shared(SharedCall::Connect { port, partition, service, .. }) => {
            (SignalKind::AreaAttach, port, partition, service)
        }
        _ => return Ok(()),
    };
    estates.shared(who).ok_or(Refusal::BadHandle)?.check_asker(kind, Handle(port))?;
    let ends = (PartitionSlot(u8::try_from(who).unwrap()), PartitionSlot(partition));
    permit(PartitionSet::ALL, estates.services.iter().copied(), ends, service)
}

/// A hypercall of a partition's guest: what stands in `x0` to `x3`, and which interrupts it raises where.
///
/// # Panics
/// If it is none about talking.
pub fn call(estates: &mut Estates, who: usize, number: u32, arguments: &[u64]) -> ([u64; 4], Told) {
    let mut x = [0; 6];
    x[..arguments.len()].copy_from_slice(arguments);
    estates.calls += 1;
    let slot_of = |slot: Option<PartitionSlot>| slot.map(|slot| usize::from(slot.0));
    let decoded = Call::decode(number, x).unwrap();
    if let Err(refusal) = permitted(estates, who, &decoded) {
        return (refusal.registers(), Told::new());
    }
    let done = match decoded {
        Call::Message(call) => {
            let met = slot_of(estates.side(who).open().party.meets_for(call));
            estates.meet(who, met, |own, peer, machine| own.carry_out(peer, machine, call))
        }
        Call::Shared(call) => {
            let met = estates.of(who, |own, machine| own.meets(call, machine.2.areas()));
            estates.meet(who, slot_of(met), |own, peer, machine| own.share(peer, machine, call))
        }
        Call::Talk(call) => {
            let (answer, told, _) = carry_out(estates, who, call);
            return (answer, told);
        }
        other => panic!("{other:?}"),
    };
    match done {
        Ok(done) => (done.answer, told(done.raises)),
        Err(refusal) => (refusal.registers(), Told::new()),
    }
}

/// A call about event ports and requests that needs a lock, as [`call`] makes it, and the interrupt that no port has any more.
pub fn talk(estates: &mut Estates, who: usize, call: TalkCall) -> ([u64; 4], Told, Option<u16>) {
    estates.calls += 1;
    match permitted(estates, who, &Call::Talk(call)) {
        Ok(()) => carry_out(estates, who, call),
        Err(refusal) => (refusal.registers(), Told::new(), None),
    }
}

fn carry_out(estates: &mut Estates, who: usize, call: TalkCall) -> ([u64; 4], Told, Option<u16>) {
    let met = estates.side(who).open().party.meets(call);
    let done = estates.meet(who, met.map(|slot| usize::from(slot.0)), |own, peer, _| {
        let peer = peer.map(|peer| &mut peer.party);
        own.party.carry_out(peer, own.holdings.account_mut(), call)
    });
    match done {
        Ok(done) => (done.answer, told([done.raise]), done.unused.map(|intid| intid.0)),
        Err(refusal) => (refusal.registers(), Told::new(), None),
    }
}

/// A call that takes any number of steps, each of which names its first argument again: what it has raised.
///
/// # Panics
/// If it is refused, or has no end.
pub fn through(estates: &mut Estates, who: usize, number: u32, arguments: &[u64]) -> Told {
    let mut all = Told::new();
    for _ in 0..100_000 {
        let ([status, x1, ..], told) = call(estates, who, number, arguments);
        all.extend(told);
        match status {
            0 => return all,
            AGAIN => assert_eq!(x1, arguments[0]),
            other => panic!("call {number:#x} {arguments:x?}: {other:#x}"),
        }
    }
    panic!("call {number:#x} has no end");
}

/// A word of a page that a guest has.
///
/// # Panics
/// If it faults.
#[must_use]
pub fn word(estates: &Estates, who: usize, page: Ipa, word: usize) -> u64 {
    estates.read(who, page.wrapping_add(8 * word as u64)).expect("the page is mapped")
}
