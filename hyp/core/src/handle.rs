//! Handles: how a guest names what it may use, and how the name is looked up without a lock (design §8).
//!
//! A partition has one table of [`HandleEntry`]. A [`Handle`] is an index into it and the entry's generation.
//! Whatever is wrong with one (stale, foreign, guessed, another kind, a right that is missing) is the same
//! [`BadHandle`], so that a refusal reveals nothing. A handle means nothing in another partition's table.
//!
//! Rights become fewer, and never more: what is made has all of them, HANDLE_LIMIT keeps some. They are asked for
//! where a call names the handle. Who comes to an entry otherwise (a peer, the end, the description) looks it up with
//! [`Rights::NONE`], or by its index.
//!
//! Storage: pages that the partition was charged for, as many entries as its limits say; nothing here
//! allocates. Looking up is one bounds check and one load. [`HandleBook`] adds and removes entries and is
//! changed under the partition's lock; all cores read the entries at any time.
//!
//! **Generations.** An entry's generation grows with each use, from 1 to 2^40 − 1; an entry that has reached
//! the end is never used again. So in one incarnation of a partition no handle ever names a second thing,
//! and a table of n entries serves n × (2^40 − 1) handles: at one per microsecond, n times twelve days.

pub use shikiri_abi::Rights;
use shikiri_sync::atomic::{AtomicU64, Ordering};

/// The most entries of a table: the index has 16 bits, and the free list needs one value for its end.
pub const MAX_HANDLES: usize = 0xffff;

/// What a guest holds: bits 0–15 index, bits 16–55 generation, the others zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Handle(pub u64);

/// The handle is stale, foreign, guessed, of another kind, or lacks the right: which of them is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHandle;

/// What a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An event send port (C1).
    Send,
    /// An event receive port (C1).
    Receive,
    /// A control signal that was taken and not yet answered: to connect an event port (P9).
    Request,
    /// A message port (C2).
    Channel,
    /// A control signal that was taken and not yet answered: to connect a message channel.
    ChannelRequest,
    /// A message area (C3).
    Area,
    /// Kept for the area that will come into a window slot: no guest has a handle that names it.
    Vacant,
    /// A named object (V4).
    Object,
    /// What a partition attaches a shared area with, or has attached (C5).
    Attachment,
    /// A control signal that was taken and not yet answered: to attach a shared area.
    AttachRequest,
}

impl Kind {
    /// Whether such a thing tells its events at a receive port of its own.
    pub(crate) const fn has_events(self) -> bool {
        matches!(self, Self::Channel | Self::Attachment | Self::Area)
    }

    pub(crate) const fn code(self) -> u64 {
        match self {
            Self::Send => 1,
            Self::Receive => 2,
            Self::Request => 3,
            Self::Channel => 4,
            Self::ChannelRequest => 5,
            Self::Area => 6,
            Self::Vacant => 7,
            Self::Object => 8,
            Self::Attachment => 9,
            Self::AttachRequest => 10,
        }
    }

    const fn from_code(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::Send),
            2 => Some(Self::Receive),
            3 => Some(Self::Request),
            4 => Some(Self::Channel),
            5 => Some(Self::ChannelRequest),
            6 => Some(Self::Area),
            7 => Some(Self::Vacant),
            8 => Some(Self::Object),
            9 => Some(Self::Attachment),
            10 => Some(Self::AttachRequest),
            _ => None,
        }
    }
}

/// One entry. `head`: bits 0–3 kind (0 is free), 4–7 rights, 8–23 the next free entry's index + 1, 24–63
/// generation. `value` belongs to the kind; its lowest byte says whose it is, and zero is nobody's.
#[derive(Debug, Default)]
pub struct HandleEntry {
    head: AtomicU64,
    value: AtomicU64,
}

/// The kinds whose handles can have fewer rights than all.
const LIMITED: [Kind; 8] = [
    Kind::Send,
    Kind::Receive,
    Kind::Channel,
    Kind::Object,
    Kind::Attachment,
    Kind::Request,
    Kind::ChannelRequest,
    Kind::AttachRequest,
];

const KIND: u64 = 0xf;
const RIGHTS_SHIFT: u32 = 4;
const RIGHTS: u64 = 0xf << RIGHTS_SHIFT;
const NEXT_SHIFT: u32 = 8;
const GENERATION_SHIFT: u32 = 24;
const GENERATION: u64 = !0 << GENERATION_SHIFT;
const LAST_GENERATION: u64 = GENERATION >> GENERATION_SHIFT;
const INDEX_BITS: u32 = 16;

impl HandleEntry {
    /// A free entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value, with all that was stored before it.
    #[inline]
    pub(crate) fn value(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Changes the value, after all that was stored before. For values that only the lock's holder changes.
    pub(crate) fn set_value(&self, value: u64) {
        self.value.store(value, Ordering::Release);
    }

    /// Changes the value if it still is `from`.
    ///
    /// # Errors
    /// What it is now.
    #[inline]
    pub(crate) fn replace(&self, from: u64, to: u64) -> Result<(), u64> {
        self.value.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }

    /// Whether the handle that stood here in `head` still does, whatever rights it has lost.
    #[inline]
    pub(crate) fn still_has(&self, head: u64) -> bool {
        (self.head.load(Ordering::Relaxed) ^ head) & !RIGHTS == 0
    }

    /// The kind of what is here; `None` if the entry is free.
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::from_code(self.head.load(Ordering::Acquire) & KIND)
    }
}

/// An entry that a handle was found to name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'t> {
    /// Its index.
    pub(crate) index: u16,
    /// The entry.
    pub(crate) entry: &'t HandleEntry,
    head: u64,
}

impl<'t> Found<'t> {
    /// Whether the handle still names it. A value that was loaded before this call, by
    /// [`HandleEntry::value`], then belongs to the handle: whoever puts another thing here frees the head first,
    /// and then stores the new value with release.
    ///
    /// Whoever has looked it up goes on with the rights that it had then, whatever HANDLE_LIMIT takes from it meanwhile.
    #[inline]
    pub(crate) fn is_same(&self) -> bool {
        self.entry.still_has(self.head)
    }

    /// The entry, and what stood there, for [`HandleEntry::still_has`].
    #[inline]
    pub(crate) const fn seen(&self) -> (&'t HandleEntry, u64) {
        (self.entry, self.head)
    }

    /// The same without a right that has gone, for where the cost is a promise: false says to ask [`Found::is_same`].
    #[inline(always)]
    pub(crate) fn is_as_it_was(&self) -> bool {
        self.entry.head.load(Ordering::Relaxed) == self.head
    }
}

/// Looks a handle up.
///
/// # Errors
/// [`BadHandle`], whatever is wrong with it.
#[inline(never)]
pub(crate) fn find(
    entries: &[HandleEntry],
    handle: Handle,
    kind: Kind,
    rights: Rights,
) -> Result<Found<'_>, BadHandle> {
    find_in_place(entries, handle, kind, rights)
}

/// [`find`] without a call: where the cost is a promise.
///
/// # Errors
/// [`BadHandle`].
#[inline(always)]
pub(crate) fn find_in_place(
    entries: &[HandleEntry],
    Handle(handle): Handle,
    kind: Kind,
    rights: Rights,
) -> Result<Found<'_>, BadHandle> {
    let [low, high, ..] = handle.to_le_bytes();
    let index = u16::from_le_bytes([low, high]);
    let entry = entries.get(usize::from(index)).ok_or(BadHandle)?;
    let head = entry.head.load(Ordering::Acquire);
    let needed = rights.bits() << RIGHTS_SHIFT;
    // Bits 56 and up would be lost in the shift: they are compared as they are.
    let is_named = (head >> GENERATION_SHIFT) == (handle >> INDEX_BITS);
    if is_named && head & (KIND | needed) == kind.code() | needed {
        Ok(Found { index, entry, head })
    } else {
        Err(BadHandle)
    }
}

/// Whether an entry is in use, and can get another handle.
#[inline]
const fn is_renewable(head: u64) -> bool {
    head & KIND != 0 && head >> GENERATION_SHIFT < LAST_GENERATION
}

/// Which entries are free, and how many are not.
#[derive(Debug, Default)]
pub struct HandleBook {
    /// The first entry that was freed, index + 1; 0 is none.
    free: u16,
    /// The first entry that was never used.
    fresh: u16,
    used: u16,
    retired: u16,
}

impl HandleBook {
    /// The book of a table that was never used.
    #[must_use]
    pub const fn new() -> Self {
        Self { free: 0, fresh: 0, used: 0, retired: 0 }
    }

    /// How many entries are in use.
    #[must_use]
    pub const fn used(&self) -> u16 {
        self.used
    }

    /// Whether another entry can be added.
    pub(crate) fn has_room(&self, entries: &[HandleEntry]) -> bool {
        self.free != 0 || usize::from(self.fresh) < entries.len().min(MAX_HANDLES)
    }

    /// Adds an entry; `None` if the table is full.
    pub(crate) fn insert(
        &mut self,
        entries: &[HandleEntry],
        (kind, rights): (Kind, Rights),
        value: u64,
    ) -> Option<(u16, Handle)> {
        if !self.has_room(entries) {
            return None;
        }
        let index = match self.free.checked_sub(1) {
            Some(index) => index,
            None => self.fresh,
        };
        let entry = entries.get(usize::from(index))?;
        let head = entry.head.load(Ordering::Relaxed);
        if self.free == 0 {
            self.fresh = self.fresh.saturating_add(1);
        } else {
            let [_, low, high, ..] = head.to_le_bytes();
            self.free = u16::from_le_bytes([low, high]);
        }
        let generation = (head >> GENERATION_SHIFT).saturating_add(1);
        entry.value.store(value, Ordering::Release);
        let head = generation << GENERATION_SHIFT | rights.bits() << RIGHTS_SHIFT | kind.code();
        entry.head.store(head, Ordering::Release);
        self.used = self.used.saturating_add(1);
        Some((index, Handle(generation << INDEX_BITS | u64::from(index))))
    }

    /// Whether `count` more entries can be added, without a walk: retired entries count as used.
    pub(crate) fn has_room_for(&self, entries: &[HandleEntry], count: u16) -> bool {
        let free = entries.len().min(MAX_HANDLES).saturating_sub(usize::from(self.used));
        usize::from(count.saturating_add(self.retired)) <= free
    }

    /// Makes an entry in use stand for something else, under a new handle; its old one is stale from here on. `None` if its
    /// generations are used up: then nothing has changed.
    #[inline(always)]
    pub(crate) fn renew(
        entries: &[HandleEntry],
        index: u16,
        kind: Kind,
        value: u64,
    ) -> Option<Handle> {
        let entry = entries.get(usize::from(index))?;
        let head = entry.head.load(Ordering::Relaxed);
        if !is_renewable(head) {
            return None;
        }
        let generation = (head >> GENERATION_SHIFT).saturating_add(1);
        let kept = head & RIGHTS;
        entry.head.store(generation << GENERATION_SHIFT | kept | kind.code(), Ordering::Release);
        entry.value.store(value, Ordering::Release);
        Some(Handle(generation << INDEX_BITS | u64::from(index)))
    }

    /// Takes rights from a handle, for good; answers those that are left. What another core has looked up meanwhile it goes on with.
    ///
    /// An area's handle is not limited: its one right is to have it, and the entry is the next area's as well.
    ///
    /// # Errors
    /// [`BadHandle`].
    pub(crate) fn limit(
        entries: &[HandleEntry],
        handle: Handle,
        keep: Rights,
    ) -> Result<Rights, BadHandle> {
        let found = LIMITED
            .into_iter()
            .find_map(|kind| find(entries, handle, kind, Rights::NONE).ok())
            .ok_or(BadHandle)?;
        let head = found.head & (!RIGHTS | keep.bits() << RIGHTS_SHIFT);
        found.entry.head.store(head, Ordering::Release);
        Ok(Rights::from_bits((head & RIGHTS) >> RIGHTS_SHIFT).unwrap_or(Rights::NONE))
    }

    /// Whether an entry can get another handle.
    #[inline(always)]
    pub(crate) fn can_renew(entries: &[HandleEntry], index: u16) -> bool {
        let entry = entries.get(usize::from(index));
        entry.is_some_and(|entry| is_renewable(entry.head.load(Ordering::Relaxed)))
    }

    /// The handle that names an entry in use.
    #[cfg(test)]
    pub(crate) fn handle(entries: &[HandleEntry], index: u16) -> Handle {
        let head =
            entries.get(usize::from(index)).map_or(0, |entry| entry.head.load(Ordering::Relaxed));
        Handle(head >> GENERATION_SHIFT << INDEX_BITS | u64::from(index))
    }

    /// Frees an entry: its handle is stale from here on.
    pub(crate) fn remove(&mut self, entries: &[HandleEntry], index: u16) {
        let Some(entry) = entries.get(usize::from(index)) else { return };
        let head = entry.head.load(Ordering::Relaxed);
        if head & KIND == 0 {
            return;
        }
        let is_last = head >> GENERATION_SHIFT >= LAST_GENERATION;
        let next = if is_last { 0 } else { u64::from(self.free) };
        entry.head.store(head & GENERATION | next << NEXT_SHIFT, Ordering::Release);
        entry.value.store(0, Ordering::Release);
        if is_last {
            self.retired = self.retired.saturating_add(1);
        } else {
            self.free = index.saturating_add(1);
        }
        self.used = self.used.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::vec::Vec;

    use super::{
        BadHandle, GENERATION_SHIFT, Handle, HandleBook, HandleEntry, Kind, LAST_GENERATION,
        Rights, find,
    };
    use shikiri_sync::atomic::Ordering;

    fn table(length: usize) -> Vec<HandleEntry> {
        (0..length).map(|_| HandleEntry::new()).collect()
    }

    const SEND: (Kind, Rights) = (Kind::Send, Rights::ALL);

    #[test]
    fn a_handle_is_found_until_it_is_removed() {
        let (entries, mut book) = (table(2), HandleBook::new());
        let (index, handle) = book.insert(&entries, SEND, 7).unwrap();
        let found = find(&entries, handle, Kind::Send, Rights::ALL).unwrap();
        assert_eq!((found.index, found.entry.value(), book.used()), (index, 7, 1));
        assert!(found.is_same());
        book.remove(&entries, index);
        assert!(!found.is_same());
        assert_eq!(find(&entries, handle, Kind::Send, Rights::USE).err(), Some(BadHandle));
        assert_eq!((entries[0].value(), book.used()), (0, 0));
        book.remove(&entries, index);
        assert_eq!(book.used(), 0, "removing twice is removing once");
    }

    #[test]
    fn a_wrong_kind_a_missing_right_and_any_other_bit_are_the_same_refusal() {
        let (entries, mut book) = (table(2), HandleBook::new());
        let (_, Handle(good)) = book.insert(&entries, (Kind::Receive, Rights::USE), 7).unwrap();
        let refused = |handle, kind, rights| find(&entries, Handle(handle), kind, rights).is_err();
        assert!(!refused(good, Kind::Receive, Rights::USE));
        assert!(refused(good, Kind::Send, Rights::USE));
        assert!(refused(good, Kind::Receive, Rights::CHANGE));
        assert!(refused(good, Kind::Receive, Rights::ALL));
        for bit in 0..64 {
            assert!(refused(good ^ 1 << bit, Kind::Receive, Rights::USE), "bit {bit}");
        }
        assert!(refused(0, Kind::Send, Rights::USE), "an entry that was never used");
        assert!(refused(u64::MAX, Kind::Send, Rights::USE));
    }

    #[test]
    fn a_right_that_was_taken_is_gone_for_good_and_the_others_stay() {
        let (entries, mut book) = (table(2), HandleBook::new());
        let all = [Rights::NONE, Rights::USE, Rights::CHANGE, Rights::ALL];
        for first in all {
            for second in all {
                let (index, handle) = book.insert(&entries, SEND, 7).unwrap();
                let early = find(&entries, handle, Kind::Send, Rights::ALL).unwrap();
                let both = Rights::from_bits(first.bits() & second.bits()).unwrap();
                assert_eq!(HandleBook::limit(&entries, handle, first), Ok(first));
                assert_eq!(HandleBook::limit(&entries, handle, second), Ok(both));
                assert_eq!(HandleBook::limit(&entries, handle, Rights::ALL), Ok(both));
                for needed in all {
                    let found = find(&entries, handle, Kind::Send, needed);
                    assert_eq!(found.is_ok(), both.contain(needed), "{needed:?} of {both:?}");
                }
                assert!(early.is_same(), "it was looked up with the right");
                assert_eq!((early.entry.value(), book.used()), (7, 1));
                book.remove(&entries, index);
                assert!(!early.is_same());
                assert_eq!(HandleBook::limit(&entries, handle, Rights::ALL), Err(BadHandle));
            }
        }
        let (_, next) = book.insert(&entries, SEND, 9).unwrap();
        assert!(find(&entries, next, Kind::Send, Rights::ALL).is_ok(), "the next one has all");
    }

    #[test]
    fn every_kind_but_an_areas_is_limited() {
        let (entries, mut book) = (table(1), HandleBook::new());
        for kind in (1..16).map_while(Kind::from_code) {
            let (index, handle) = book.insert(&entries, (kind, Rights::ALL), 1).unwrap();
            let is_area = matches!(kind, Kind::Area | Kind::Vacant);
            let expected = if is_area { Err(BadHandle) } else { Ok(Rights::USE) };
            assert_eq!(HandleBook::limit(&entries, handle, Rights::USE), expected, "{kind:?}");
            assert_eq!(find(&entries, handle, kind, Rights::ALL).is_ok(), is_area, "{kind:?}");
            book.remove(&entries, index);
        }
        assert_eq!(HandleBook::limit(&entries, Handle(0), Rights::USE), Err(BadHandle));
        assert_eq!(HandleBook::limit(&entries, Handle(u64::MAX), Rights::USE), Err(BadHandle));
    }

    #[test]
    fn a_full_table_refuses_and_goes_on_when_an_entry_is_freed() {
        let (entries, mut book) = (table(3), HandleBook::new());
        let all: Vec<_> = (0..3).map(|n| book.insert(&entries, SEND, n).unwrap()).collect();
        assert!(!book.has_room(&entries));
        assert_eq!(book.insert(&entries, SEND, 9), None);
        book.remove(&entries, all[1].0);
        book.remove(&entries, all[0].0);
        let again: HashSet<_> = (0..2).map(|n| book.insert(&entries, SEND, n).unwrap().1).collect();
        assert!(!all.iter().any(|(_, old)| again.contains(old)));
        assert_eq!(book.insert(&entries, SEND, 9), None);
        assert_eq!(book.used(), 3);
    }

    #[test]
    fn no_handle_comes_twice() {
        let (entries, mut book) = (table(2), HandleBook::new());
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let (index, handle) = book.insert(&entries, SEND, 0).unwrap();
            assert!(seen.insert(handle));
            book.remove(&entries, index);
        }
    }

    #[test]
    fn an_entry_whose_generations_are_used_up_is_retired() {
        let (entries, mut book) = (table(2), HandleBook::new());
        let (first, _) = book.insert(&entries, SEND, 0).unwrap();
        book.remove(&entries, first);
        entries[0].head.store((LAST_GENERATION - 1) << GENERATION_SHIFT, Ordering::Relaxed);
        let (index, handle) = book.insert(&entries, SEND, 0).unwrap();
        assert_eq!((index, handle.0 >> 16), (0, LAST_GENERATION));
        assert!(find(&entries, handle, Kind::Send, Rights::USE).is_ok());
        book.remove(&entries, index);
        assert_eq!(book.insert(&entries, SEND, 0).unwrap().0, 1);
        assert_eq!(book.insert(&entries, SEND, 0), None, "entry 0 is retired");
        assert!(!book.has_room_for(&entries, 1));
    }

    #[test]
    fn an_entry_in_use_is_renewed_under_another_handle() {
        let (entries, mut book) = (table(3), HandleBook::new());
        let (index, old) = book.insert(&entries, SEND, 7).unwrap();
        assert!(book.has_room_for(&entries, 2) && !book.has_room_for(&entries, 3));
        let new = HandleBook::renew(&entries, index, Kind::Area, 9).unwrap();
        assert!(find(&entries, old, Kind::Send, Rights::USE).is_err());
        let found = find(&entries, new, Kind::Area, Rights::ALL).unwrap();
        assert_eq!((found.entry.value(), book.used()), (9, 1));
        assert_eq!(HandleBook::handle(&entries, index), new);
        entries[0].head.store(LAST_GENERATION << GENERATION_SHIFT | 6, Ordering::Relaxed);
        assert_eq!(HandleBook::renew(&entries, index, Kind::Vacant, 0), None);
        assert_eq!(HandleBook::renew(&entries, 1, Kind::Vacant, 0), None, "it is free");
    }
}
