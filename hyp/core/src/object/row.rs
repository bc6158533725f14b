//! A row of the table: one object, and what each partition has to do with it. All of it lies behind the row's lock.
//!
//! After every operation one rule holds: nobody is noted as waiting for what is there. [`Row::due`] restores it, and says
//! who is to be told.

use shikiri_abi::{
    Message, ObjectKind, ObjectName, PartitionId, PartitionSlot, QUEUE_DEPTH, Units,
};
use shikiri_config::MAX_PARTITIONS;

use super::slots::Slots;
use super::{Got, Refusal};
use crate::handle::Handle;

/// What a partition has to do with the object.
#[derive(Clone, Copy, Debug)]
struct Opener {
    /// Its handle; counts while it is in [`Row::open`].
    handle: Handle,
    /// How often it has the object open.
    opens: u32,
    /// Units of a semaphore that it holds.
    held: u32,
    /// The last partition of this slot that went while it held units; counts while it is in [`Row::lost`].
    lost: PartitionId,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    /// The object's name; `None` if the row is free. Changes under the table's lock, too.
    name: Option<ObjectName>,
    kind: ObjectKind,
    /// The partitions that have it open: the flags of V4's table.
    open: Slots,
    /// Those that found nothing, and that found no room.
    waiting: Slots,
    lacking: Slots,
    /// Event: who has not yet seen the last post.
    posted: Slots,
    /// Semaphore: units to be taken, units that are held, and in whose slots somebody went who held some.
    count: u32,
    out: u32,
    lost: Slots,
    /// Queue: the oldest message's place, and how many there are.
    first: u8,
    used: u8,
    openers: [Opener; MAX_PARTITIONS],
    messages: [Message; QUEUE_DEPTH],
}

impl Row {
    /// A free row.
    pub(super) const fn new() -> Self {
        const NOBODY: Opener =
            Opener { handle: Handle(0), opens: 0, held: 0, lost: PartitionId(0) };
        Self {
            name: None,
            kind: ObjectKind::Event,
            open: Slots::NONE,
            waiting: Slots::NONE,
            lacking: Slots::NONE,
            posted: Slots::NONE,
            count: 0,
            out: 0,
            lost: Slots::NONE,
            first: 0,
            used: 0,
            openers: [NOBODY; MAX_PARTITIONS],
            messages: [[0; 3]; QUEUE_DEPTH],
        }
    }

    pub(super) const fn name(&self) -> Option<&ObjectName> {
        self.name.as_ref()
    }

    pub(super) const fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// The partition's handle, if it has the object open.
    pub(super) fn handle(&self, slot: PartitionSlot) -> Option<Handle> {
        self.opener(slot).filter(|_| self.open.has(slot)).map(|opener| opener.handle)
    }

    /// Whether the row is the partition's under this handle: it may have been closed since the handle was looked up.
    pub(super) fn check(&self, slot: PartitionSlot, handle: Handle) -> Result<(), Refusal> {
        let is_open = self.handle(slot) == Some(handle);
        if is_open { Ok(()) } else { Err(Refusal::BadHandle) }
    }

    /// Makes a free row an object that nobody has open yet.
    pub(super) fn make(&mut self, name: ObjectName, kind: ObjectKind) {
        self.kind = kind;
        if let ObjectKind::Semaphore { initial, .. } = kind {
            self.count = initial;
        }
        self.name = Some(name);
    }

    /// Gives a partition its flag.
    pub(super) fn join(&mut self, slot: PartitionSlot, handle: Handle) {
        if let Some(opener) = self.opener_mut(slot) {
            (opener.handle, opener.opens) = (handle, 1);
            self.open.add(slot);
        }
    }

    /// Counts another opening of a partition that has the object open.
    pub(super) fn open_again(&mut self, slot: PartitionSlot) -> Result<(), Refusal> {
        let opener = self.opener_mut(slot).ok_or(Refusal::BadHandle)?;
        opener.opens = opener.opens.checked_add(1).ok_or(Refusal::Full)?;
        Ok(())
    }

    /// Takes one opening away; true if there is another.
    pub(super) fn close_once(&mut self, slot: PartitionSlot) -> bool {
        let Some(opener) = self.opener_mut(slot) else { return false };
        opener.opens = opener.opens.saturating_sub(1);
        opener.opens > 0
    }

    /// Takes a partition's flag and all that it has here: units that it held are released. True if nobody has the object
    /// open any more; then the row is free.
    pub(super) fn leave(&mut self, slot: PartitionSlot, id: PartitionId) -> bool {
        let held = self.opener_mut(slot).map_or(0, |opener| {
            let held = core::mem::take(&mut opener.held);
            if held > 0 {
                opener.lost = id;
            }
            held
        });
        if held > 0 {
            self.lost.add(slot);
            self.out = self.out.saturating_sub(held);
            self.count = self.count.saturating_add(held);
        }
        for set in [&mut self.open, &mut self.waiting, &mut self.lacking, &mut self.posted] {
            set.remove(slot);
        }
        let is_last = self.open.is_empty();
        if is_last {
            // What is not reset counts only for an opener, a message or a loss that is there.
            (self.name, self.lost) = (None, Slots::NONE);
            (self.count, self.out, self.first, self.used) = (0, 0, 0, 0);
        }
        is_last
    }

    /// Whether the partition, which has chosen another port, is told there at once: if a try or a post could succeed.
    /// For what could not it waits, as it may have done at the port before.
    pub(super) fn rewire(&mut self, slot: PartitionSlot) -> bool {
        let (is_there, has_room) = (self.available().has(slot), self.has_room());
        if !is_there {
            self.waiting.add(slot);
        }
        if matches!(self.kind, ObjectKind::Queue { .. }) && !has_room {
            self.lacking.add(slot);
        }
        is_there || has_room
    }

    /// Takes what is there for the partition.
    ///
    /// # Errors
    /// `Empty`; the partition waits from here on.
    pub(super) fn take(&mut self, slot: PartitionSlot) -> Result<Got, Refusal> {
        if !self.available().has(slot) {
            self.waiting.add(slot);
            return Err(Refusal::Empty);
        }
        Ok(match self.kind {
            ObjectKind::Event => {
                self.posted.remove(slot);
                Got::Event
            }
            ObjectKind::Semaphore { units, .. } => {
                self.count = self.count.saturating_sub(1);
                if units == Units::Held {
                    self.out = self.out.saturating_add(1);
                    if let Some(opener) = self.opener_mut(slot) {
                        opener.held = opener.held.saturating_add(1);
                    }
                }
                let lost = self.lost.pop().and_then(|slot| self.opener(slot));
                Got::Unit { lost: lost.map(|opener| opener.lost) }
            }
            ObjectKind::Queue { depth } => {
                let message = self.messages.get(usize::from(self.first)).copied();
                self.first = self.first.saturating_add(1).checked_rem(depth).unwrap_or(0);
                self.used = self.used.saturating_sub(1);
                Got::Message(message.unwrap_or([0; 3]))
            }
        })
    }

    /// Posts; `message` counts for a queue only.
    ///
    /// # Errors
    /// `Range`: a semaphore has its most units. `Full`: a queue; the partition waits for room from here on.
    pub(super) fn post(&mut self, slot: PartitionSlot, message: Message) -> Result<(), Refusal> {
        match self.kind {
            ObjectKind::Event => self.posted = self.open,
            ObjectKind::Semaphore { maximum, .. } => {
                let held = self.opener(slot).map_or(0, |opener| opener.held);
                if held > 0 {
                    if let Some(opener) = self.opener_mut(slot) {
                        opener.held = held.saturating_sub(1);
                    }
                    self.out = self.out.saturating_sub(1);
                } else if self.count.saturating_add(self.out) >= maximum {
                    return Err(Refusal::Range);
                }
                self.count = self.count.saturating_add(1);
            }
            ObjectKind::Queue { depth } => {
                if self.used >= depth {
                    self.lacking.add(slot);
                    return Err(Refusal::Full);
                }
                // Both are below 64.
                let place = self.first.saturating_add(self.used).checked_rem(depth).unwrap_or(0);
                if let Some(place) = self.messages.get_mut(usize::from(place)) {
                    *place = message;
                }
                self.used = self.used.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Who of those that were refused is to be told that trying again is worth it; they wait no longer.
    pub(super) fn due(&mut self) -> Slots {
        let served = self.waiting & self.available();
        let room = if self.has_room() { self.lacking } else { Slots::NONE };
        self.waiting = self.waiting & !served;
        self.lacking = self.lacking & !room;
        served | room
    }

    /// For whom something is there.
    pub(super) fn available(&self) -> Slots {
        match self.kind {
            ObjectKind::Event => self.posted,
            ObjectKind::Semaphore { .. } if self.count > 0 => Slots::ALL,
            ObjectKind::Queue { .. } if self.used > 0 => Slots::ALL,
            ObjectKind::Semaphore { .. } | ObjectKind::Queue { .. } => Slots::NONE,
        }
    }

    const fn has_room(&self) -> bool {
        match self.kind {
            ObjectKind::Queue { depth } => self.used < depth,
            ObjectKind::Event | ObjectKind::Semaphore { .. } => false,
        }
    }

    fn opener(&self, slot: PartitionSlot) -> Option<&Opener> {
        self.openers.get(usize::from(slot.0))
    }

    fn opener_mut(&mut self, slot: PartitionSlot) -> Option<&mut Opener> {
        self.openers.get_mut(usize::from(slot.0))
    }

    /// What must hold between operations.
    pub(super) fn audit(&self) -> Result<(), &'static str> {
        let says = |holds: bool, otherwise| if holds { Ok(()) } else { Err(otherwise) };
        says(self.name.is_some() != self.open.is_empty(), "a row is valid without an opener")?;
        let sets = self.waiting | self.lacking | self.posted;
        says((sets & !self.open).is_empty(), "a partition waits at what it has not open")?;
        let idle = self.waiting & self.available();
        says(idle.is_empty(), "a partition waits for what is there")?;
        let stuck = self.has_room() && !self.lacking.is_empty();
        says(!stuck, "a partition waits for room that is there")?;
        let mut held = 0_u64;
        for (slot, opener) in (0..=u8::MAX).map(PartitionSlot).zip(&self.openers) {
            let is_open = self.open.has(slot);
            says(is_open || opener.held == 0, "units are held by nobody")?;
            says(!is_open || opener.opens > 0, "a flag without an opening")?;
            held = held.saturating_add(u64::from(opener.held));
        }
        says(held == u64::from(self.out), "units that are held are not counted")?;
        if let ObjectKind::Semaphore { maximum, .. } = self.kind {
            let units = held.saturating_add(u64::from(self.count));
            says(units <= u64::from(maximum), "more units than the maximum")?;
        }
        Ok(())
    }
}
