//! Event ports: sending, and what a receiver does with its own port, all without a lock (C1).
//!
//! A send port is connected to exactly one receive port and the other way round. What is here runs on any
//! core at any time; making, connecting, binding and closing ports is `crate::party`'s, under the parties' locks.
//!
//! An event is never counted: a port is pending or it is not. *Where* that stands depends on the port:
//!
//! | the port is | a send | pending until |
//! |---|---|---|
//! | bound to an INTID of its own, not masked | raises the INTID and changes nothing here | the vGIC loads it into a list register |
//! | bound to an INTID with others (*grouped*) | sets the port's flag and its bit of the pending bitmap; the first raises the INTID | [`Shared::take`] or [`Shared::poll`] |
//! | masked, or not bound | sets the port's flag | unmasked or bound (then it is raised), or [`Shared::poll`] |
//!
//! So an ordinary event costs the receiver no call, and thousands of ports fit the INTIDs there are.
//!
//! **Without a lock.** The sender's port holds, in one word, where its peer is and a serial number; the peer's
//! word holds the same serial, and changes by compare-and-swap only. A serial is not given again to any port of a
//! partition before 2^32 connections and ports were made there, during one send. That the peer's memory is there
//! while it is looked at is what a [`Visit`] is for. `tests/loom.rs` tries the interleavings.
//!
//! **What a guest may see.** An event is never lost. An interrupt without an event is possible: of a send that
//! met a mask, a poll, a take or a close on its way. Of a port that was closed nothing reaches a port that was made
//! later, except such an interrupt at an INTID that both were bound to.

mod visit;
mod word;

use shikiri_abi::{IntId, PartitionSlot, VcpuIndex};
use shikiri_sync::atomic::{AtomicU64, Ordering, fence};

pub use visit::{Visit, Visitor, nobody_visits};
pub(crate) use word::{
    PortId, Receive, Send, Wire, area, area_slot, asker, object, request, row_of,
};

use crate::handle::{BadHandle, Found, Handle, HandleEntry, Kind, Rights, find, find_in_place};
use crate::party::Refusal;

/// What all cores may touch of a partition's communication: its handles and its pending bitmap.
///
/// The bitmap has a bit for each entry of the handle table, in words of 64 (at least [`Shared::words`] of them). Its guest
/// may have the first page of it to read (`Estate::show_bitmap`).
#[derive(Clone, Copy, Debug)]
pub struct Shared<'s> {
    pub(crate) entries: &'s [HandleEntry],
    pending: &'s [AtomicU64],
}

/// An interrupt to raise, as an edge (`Vgic::raise`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// At which partition.
    pub partition: PartitionSlot,
    /// The SPI.
    pub intid: IntId,
    /// The vCPU that it was first routed to; the guest's own route wins.
    pub vcpu: VcpuIndex,
}

/// Whether a port was pending when an event arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It was not.
    Idle,
    /// It was: the event made no difference.
    Pending,
    /// What raising the interrupt answers.
    AsTheInterrupt,
}

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The interrupt to raise, if any.
    pub raise: Option<Raise>,
    /// Whether the port was pending already.
    pub before: Before,
}

/// An event that was sent. The peer's memory stays while this value lives: raise first, then drop it.
#[derive(Debug)]
#[must_use = "the interrupt is still to be raised"]
pub struct Sent<'v> {
    /// What it did.
    pub arrival: Arrival,
    _visit: Visit<'v>,
}

impl<'s> Shared<'s> {
    /// The view of a table and its bitmap, which has a bit per entry; bits beyond are not served.
    #[must_use]
    pub const fn new(entries: &'s [HandleEntry], pending: &'s [AtomicU64]) -> Self {
        Self { entries, pending }
    }

    /// The words of a bitmap for so many handles.
    #[must_use]
    pub const fn words(handles: usize) -> usize {
        handles.div_ceil(64)
    }

    /// Sends an event to the port's peer. `visitor` is this core's; `peer` finds another partition's view, and is
    /// asked only while the visit keeps it there.
    ///
    /// # Errors
    /// `BadHandle`; `WrongState` if the port was never connected, or its request is open; `Refused`, and
    /// `PeerGone` if the peer has closed its port or ended.
    #[inline(always)]
    pub fn send<'v, 'p>(
        self,
        handle: Handle,
        visitor: &'v Visitor,
        peer: impl FnOnce(PartitionSlot) -> Option<Shared<'p>>,
    ) -> Result<Sent<'v>, Refusal> {
        let port = find_in_place(self.entries, handle, Kind::Send, Rights::USE)?;
        let word = port.entry.value();
        let Some(wire) = Wire::decode(word) else { return Err(unconnected(port.seen(), word)) };
        let visit = visitor.enter(wire.to.slot);
        // Behind the visit's fence: whoever cuts this connection and then finds no visitor was seen here.
        let now = port.entry.value();
        if now != word || !port.is_as_it_was() {
            check_connected(port.seen(), word, now)?;
        }
        let shared = peer(wire.to.slot).ok_or(Refusal::PeerGone)?;
        let arrival = shared
            .arrive_in_place(wire.to, Receive::connected(wire.serial))
            .ok_or(Refusal::PeerGone)?;
        Ok(Sent { arrival, _visit: visit })
    }

    /// An event at this partition's port `index`, if its word still has the bits of `key`.
    #[inline(never)]
    pub(crate) fn arrive(self, port: PortId, key: Receive) -> Option<Arrival> {
        self.arrive_in_place(port, key)
    }

    /// [`Shared::arrive`] without a call: where the cost is a promise.
    #[inline(always)]
    pub(crate) fn arrive_in_place(self, port: PortId, key: Receive) -> Option<Arrival> {
        let entry = self.entries.get(usize::from(port.index))?;
        let mut word = Receive(entry.value());
        loop {
            if !word.matches(key) {
                return None;
            }
            if word.is_direct() {
                let raise = Some(word.raise(port.slot));
                return Some(Arrival { raise, before: Before::AsTheInterrupt });
            }
            if word.has(Receive::PENDING) {
                return Some(Arrival { raise: None, before: Before::Pending });
            }
            // A failure means that another send set the flag, and this one is done, or that the receiver changed
            // its port by a call of its own; each of those is many times as long as this round.
            match entry.replace(word.0, word.with(Receive::PENDING).0) {
                Ok(()) => break,
                Err(now) => word = Receive(now),
            }
        }
        let raise = word.is_grouped().then(|| self.mark(port, word));
        Some(Arrival { raise, before: Before::Idle })
    }

    /// An event from the hypervisor itself at the receive port that a handle names; nothing if it names none any more. What else
    /// may be connected to the port is not asked, nor what rights its guest has left itself.
    ///
    /// No lock keeps the port as it is: whoever connects or disconnects it meanwhile changes the key, and the event is tried again with
    /// what stands there then. Each further round is a call that its guest, or a peer of its, has made in the time of the one before.
    #[must_use = "the interrupt is still to be raised"]
    #[inline(never)]
    pub fn notify(self, slot: PartitionSlot, handle: Handle) -> Option<Raise> {
        let port = find_in_place(self.entries, handle, Kind::Receive, Rights::NONE).ok()?;
        loop {
            let word = Receive(port.entry.value());
            if !word.is_receive() || !port.is_same() {
                return None;
            }
            if let Some(arrival) = self.arrive(PortId { slot, index: port.index }, word) {
                return arrival.raise;
            }
        }
    }

    /// Whether a handle names a receive port, at which its holder may have events told.
    #[must_use]
    pub fn is_receive_port(self, handle: Handle) -> bool {
        find_in_place(self.entries, handle, Kind::Receive, Rights::CHANGE).is_ok()
    }

    /// Sets a grouped port's bit in the bitmap, after its flag.
    pub(crate) fn mark(self, port: PortId, word: Receive) -> Raise {
        if let Some((pending, bit)) = self.bit(port.index) {
            pending.fetch_or(bit, Ordering::Release);
        }
        word.raise(port.slot)
    }

    /// Clears a port's bit in the bitmap.
    pub(crate) fn unmark(self, index: u16) {
        if let Some((pending, bit)) = self.bit(index) {
            pending.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Takes the pending ports of word `word` of the bitmap: bit n stands for the handle with index 64 × `word` + n.
    /// 0 for a word that is not there.
    #[must_use = "what was taken is pending no more"]
    pub fn take(self, word: u16) -> u64 {
        let Some(pending) = self.pending.get(usize::from(word)) else { return 0 };
        if pending.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let (mut left, mut taken) = (pending.swap(0, Ordering::Acquire), 0);
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            let index = usize::from(word) << 6 | usize::try_from(bit.trailing_zeros()).unwrap_or(0);
            // A bit whose port is not pending was polled, or closed, since it was set.
            if self.entries.get(index).is_some_and(clear_pending) {
                taken |= bit;
            }
        }
        after_clearing();
        taken
    }

    /// Masks a port: what arrives from here on is kept as its flag.
    ///
    /// # Errors
    /// `BadHandle`.
    pub fn mask(self, handle: Handle) -> Result<(), BadHandle> {
        let port = find(self.entries, handle, Kind::Receive, Rights::USE)?;
        change(port, |word| word.with(Receive::MASKED)).map(|_| ())
    }

    /// Unmasks a port. What arrived meanwhile is raised now.
    ///
    /// # Errors
    /// `BadHandle`.
    pub fn unmask(self, slot: PartitionSlot, handle: Handle) -> Result<Option<Raise>, BadHandle> {
        let port = find(self.entries, handle, Kind::Receive, Rights::USE)?;
        let (before, after) = change(port, |word| word.without(Receive::MASKED).settled())?;
        Ok(self.released(PortId { slot, index: port.index }, before, after))
    }

    /// What to raise after a port's word has changed so that what was kept can go out.
    pub(crate) fn released(self, port: PortId, before: Receive, after: Receive) -> Option<Raise> {
        let was_out = before.is_direct() || before.is_grouped();
        if was_out || !before.has(Receive::PENDING) {
            return None;
        }
        after_clearing();
        if after.is_direct() {
            return Some(after.raise(port.slot));
        }
        after.is_grouped().then(|| self.mark(port, after))
    }

    /// Tells how it stands with a send port: whether it is connected (true), or its request is open (false).
    ///
    /// # Errors
    /// `BadHandle`; `WrongState` if the port was never connected; `Refused`, `PeerGone`.
    pub fn state(self, handle: Handle) -> Result<bool, Refusal> {
        let port = find(self.entries, handle, Kind::Send, Rights::USE)?;
        let word = port.entry.value();
        match Send::decode(word).filter(|_| port.is_same()) {
            Some(Send::Connected(_)) => Ok(true),
            Some(Send::Queued { .. } | Send::Taken { .. }) => Ok(false),
            Some(Send::Idle | Send::Refused | Send::Gone) | None => {
                Err(unconnected(port.seen(), word))
            }
        }
    }

    /// Tells whether a port is pending, and makes it not pending. `clear` clears the pending state of the port's own
    /// INTID in the vGIC and tells what it was; it runs first, so that an event that comes in between is either
    /// told here or raised again. If it cannot tell yet, nothing is changed.
    ///
    /// # Errors
    /// `BadHandle`; `Moved` if `clear` does not know: ask again.
    pub fn poll(
        self,
        handle: Handle,
        clear: impl FnOnce(IntId, VcpuIndex) -> Option<bool>,
    ) -> Result<bool, Refusal> {
        let port = find(self.entries, handle, Kind::Receive, Rights::USE)?;
        let word = Receive(port.entry.value());
        if !word.is_receive() || !port.is_same() {
            return Err(Refusal::BadHandle);
        }
        let was_raised = if word.is_alone() {
            clear(word.intid(), word.vcpu()).ok_or(Refusal::Moved)?
        } else {
            false
        };
        if word.has(Receive::GROUPED) {
            self.unmark(port.index);
        }
        let (before, _) = change(port, |word| word.without(Receive::PENDING))?;
        after_clearing();
        Ok(was_raised || before.has(Receive::PENDING))
    }

    fn bit(self, index: u16) -> Option<(&'s AtomicU64, u64)> {
        let pending = self.pending.get(usize::from(index >> 6))?;
        Some((pending, 1 << (index & 63)))
    }
}

/// Sends an event along a wire that is kept elsewhere than in a handle table, as [`Shared::send`] does. Whoever cuts
/// or changes the wire stores another word there. `None` if there is no wire, or its port has gone.
pub(crate) fn follow<'v, 'p>(
    wire: &AtomicU64,
    visitor: &'v Visitor,
    peer: impl FnOnce(PartitionSlot) -> Option<Shared<'p>>,
) -> Option<Sent<'v>> {
    let word = wire.load(Ordering::Acquire);
    let Wire { to, serial } = Wire::decode(word)?;
    let visit = visitor.enter(to.slot);
    // Behind the visit's fence, as in `Shared::send`.
    if wire.load(Ordering::Acquire) != word {
        return None;
    }
    let arrival = peer(to.slot)?.arrive(to, Receive::connected(serial))?;
    Some(Sent { arrival, _visit: visit })
}

/// Whether a send port whose entry has changed since it was looked up is connected as before: only rights may have gone.
#[cold]
#[inline(never)]
fn check_connected(
    (entry, head): (&HandleEntry, u64),
    before: u64,
    now: u64,
) -> Result<(), Refusal> {
    let is_same = before == now && entry.still_has(head);
    if is_same { Ok(()) } else { Err(unconnected((entry, head), now)) }
}

/// Why a send port that is not connected refuses.
#[cold]
fn unconnected((entry, head): (&HandleEntry, u64), word: u64) -> Refusal {
    if !entry.still_has(head) {
        return Refusal::BadHandle;
    }
    match Send::decode(word) {
        Some(Send::Idle | Send::Queued { .. } | Send::Taken { .. }) => Refusal::WrongState,
        Some(Send::Refused) => Refusal::Refused,
        // Connected again since it was looked at: the connection that was meant is gone.
        Some(Send::Connected(_) | Send::Gone) | None => Refusal::PeerGone,
    }
}

/// Changes a receive port's word and returns it as it was and as it is.
pub(crate) fn change(
    port: Found<'_>,
    new: impl Fn(Receive) -> Receive,
) -> Result<(Receive, Receive), BadHandle> {
    let mut word = Receive(port.entry.value());
    loop {
        if !word.is_receive() || !port.is_same() {
            return Err(BadHandle);
        }
        let next = new(word);
        match port.entry.replace(word.0, next.0) {
            Ok(()) => return Ok((word, next)),
            Err(now) => word = Receive(now),
        }
    }
}

/// Stands between clearing a port's flag and whatever the receiver looks at next. A sender that still found the flag set raises
/// nothing, so what it stored before has to be seen; a release store lets later loads pass it (Arm ARM B2.3), and the sender's own fence is
/// the visit's, or that of `Party::tell` (Dekker's way).
fn after_clearing() {
    fence(Ordering::SeqCst);
}

/// Clears the flag of the grouped port that is here, if there is one, and tells whether it was set.
fn clear_pending(entry: &HandleEntry) -> bool {
    let mut word = Receive(entry.value());
    while word.is_receive() && word.has(Receive::GROUPED) && word.has(Receive::PENDING) {
        match entry.replace(word.0, word.without(Receive::PENDING).0) {
            Ok(()) => return true,
            Err(now) => word = Receive(now),
        }
    }
    false
}
