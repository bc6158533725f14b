//! What other cores leave for a core's scheduler: bits and one slot, no lock and no queue that can be full.
//!
//! Every method that leaves something says whether the core must be kicked. The core empties its inbox with
//! [`RunQueue::drain`] whenever it is in EL2 for a kick, and before it waits.

use shikiri_abi::{CoreId, PartitionSlot, VcpuIndex};
use shikiri_sync::Pending;
use shikiri_sync::atomic::{AtomicU16, AtomicU64, Ordering};

use super::{Homeward, RunQueue, SEATS, Seat, VcpuKey, Visitor};

/// In what state a lent vCPU comes home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// It could go on.
    Ready,
    /// It waits for an interrupt, or is off.
    Blocked,
}

/// One core's inbox.
#[derive(Default)]
pub struct Inbox {
    /// Bits 0–31: seats to wake; 32–63: seats to look at again.
    seats: Pending,
    /// Bits 0–31: lent seats that come back ready; 32–63: blocked.
    returns: Pending,
    /// How long each of them has run elsewhere, in ticks.
    used: [AtomicU64; SEATS],
    /// Who a seat was given to, while its core does not know it.
    keys: [AtomicU16; SEATS],
    /// A visitor, or 0.
    visitor: AtomicU64,
}

/// What [`RunQueue::drain`] found beside the wake-ups that it carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "seats and visitors are waiting for an answer"]
pub struct Drained {
    /// Whether something changed: pick again.
    pub is_changed: bool,
    /// Seats that were woken and are empty here: fetch the terms of [`Inbox::key`], [`RunQueue::seat`] it,
    /// and wake it.
    pub unknown: u32,
    /// Seats to look at again. Whose partition is destroyed: [`RunQueue::remove`] them, and tell whoever waits for it; whose vCPU has
    /// another budget: [`RunQueue::reserve`] it.
    pub leaving: u32,
    /// Seats that were woken while their vCPU is lent: [`RunQueue::host_of`] may have to look at it.
    pub away: u32,
    /// Seats whose vCPU came home and waits for an interrupt, or is off: keep its timers.
    pub blocked: u32,
    /// A visitor that cannot be taken in: hand it back, ready, at once.
    pub bounce: Option<Homeward>,
}

impl Inbox {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is left here: the last look before the core waits. What comes later kicks it.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
            && self.returns.is_empty()
            && self.visitor.load(Ordering::Relaxed) == 0
    }

    /// Wakes a seated vCPU. Returns whether to kick the core.
    #[must_use = "a core that is not kicked may sleep on its work"]
    pub fn wake(&self, seat: Seat) -> bool {
        self.seats.raise(seat.bit().into())
    }

    /// Tells the core of a new vCPU and wakes it. Returns whether to kick the core.
    #[must_use = "a core that is not kicked may sleep on its work"]
    pub fn admit(&self, seat: Seat, key: VcpuKey) -> bool {
        if let Some(place) = self.keys.get(usize::from(seat.number())) {
            place.store(u16::from_le_bytes([key.partition.0, key.vcpu.0]), Ordering::Relaxed);
        }
        self.wake(seat)
    }

    /// Asks the core to look at a seat again: to let its vCPU go, or as it has another budget. Returns whether to kick the core.
    #[must_use = "a core that is not kicked may sleep on its work"]
    pub fn vacate(&self, seat: Seat) -> bool {
        self.seats.raise(u64::from(seat.bit()) << 32)
    }

    /// The vCPU that a seat was last given to.
    #[must_use]
    pub fn key(&self, seat: Seat) -> VcpuKey {
        let place = self.keys.get(usize::from(seat.number()));
        let [partition, vcpu] =
            place.map_or(0, |place| place.load(Ordering::Relaxed)).to_le_bytes();
        VcpuKey { partition: PartitionSlot(partition), vcpu: VcpuIndex(vcpu) }
    }

    /// Brings a lent vCPU home, its state saved, after it has run for `used` ticks. Returns whether to kick the core.
    ///
    /// The last thing that the host does with it: from here on its home may run it, or take it apart.
    #[must_use = "a core that is not kicked may sleep on its work"]
    pub fn hand_back(&self, seat: Seat, how: Returned, used: u64) -> bool {
        // Ordered by the bit that follows. A vCPU is lent to one core at a time: nobody else writes here.
        if let Some(place) = self.used.get(usize::from(seat.number())) {
            place.store(used, Ordering::Relaxed);
        }
        let bit = u64::from(seat.bit());
        self.returns.raise(match how {
            Returned::Ready => bit,
            Returned::Blocked => bit << 32,
        })
    }

    /// Offers a visitor; the core must then be kicked.
    ///
    /// # Errors
    /// The visitor, if another is there already.
    pub fn offer(&self, visitor: Visitor) -> Result<(), Visitor> {
        self.visitor
            .compare_exchange(0, encode(visitor), Ordering::Release, Ordering::Relaxed)
            .map(|_| ())
            .map_err(|_| visitor)
    }
}

impl RunQueue {
    /// Carries out what other cores left. Returns come before wake-ups, so that a vCPU which came home blocked
    /// and was woken since is ready.
    pub fn drain(&mut self, inbox: &Inbox, now: u64) -> Drained {
        let mut drained = Drained::default();
        let (ready, blocked) = halves(inbox.returns.take());
        for (seats, how) in [(ready, Returned::Ready), (blocked, Returned::Blocked)] {
            for seat in Seat::of(seats) {
                let used = inbox.used.get(usize::from(seat.number()));
                let used = used.map_or(0, |used| used.load(Ordering::Relaxed));
                self.returned(seat, how, used, now);
                drained.is_changed = true;
            }
        }
        let (wake, leaving) = halves(inbox.seats.take());
        for seat in Seat::of(wake) {
            if self.terms(seat).is_none() {
                drained.unknown |= seat.bit();
            }
            drained.is_changed |= self.wake(seat, now);
        }
        drained.away = wake & self.lent;
        drained.blocked = blocked & !self.ready;
        drained.leaving = leaving;
        if let Some(visitor) = take_visitor(&inbox.visitor) {
            drained.is_changed = true;
            drained.bounce = self.host(visitor).err();
        }
        drained
    }
}

fn take_visitor(slot: &AtomicU64) -> Option<Visitor> {
    if slot.load(Ordering::Relaxed) == 0 {
        return None;
    }
    decode(slot.swap(0, Ordering::Acquire))
}

/// The longest that a vCPU is lent, in ticks: what a visitor's word has room for, 17 seconds at 1 GHz. Then it goes
/// home, and may be lent again.
pub const MAX_ALLOWANCE: u64 = (1 << 34) - 1;

/// Set in every visitor's word.
const OCCUPIED: u8 = 1 << 5;

/// Partition, vCPU and home a byte each, then five bits of the seat, [`OCCUPIED`], and the allowance.
fn encode(visitor: Visitor) -> u64 {
    let Visitor { key, home, seat, allowance } = visitor;
    let names = [key.partition.0, key.vcpu.0, home.0, seat.number() | OCCUPIED, 0, 0, 0, 0];
    u64::from_le_bytes(names) | allowance.min(MAX_ALLOWANCE) << 30
}

fn decode(word: u64) -> Option<Visitor> {
    let [partition, vcpu, home, seat, ..] = word.to_le_bytes();
    let key = VcpuKey { partition: PartitionSlot(partition), vcpu: VcpuIndex(vcpu) };
    (seat & OCCUPIED != 0).then_some(())?;
    Seat::new(seat & 31).map(|seat| Visitor {
        key,
        home: CoreId(home),
        seat,
        allowance: word >> 30,
    })
}

/// Bits 0–31 and bits 32–63.
const fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}
