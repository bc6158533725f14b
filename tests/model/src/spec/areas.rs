//! Areas: memory that belongs to one partition at any moment.

use std::collections::BTreeMap;

use shikiri_abi::{AreaClass, MessageCall, PAGE_BYTES, PageCount, Resource, Status, WindowSlot};

use super::handles::{Has, Place, Thing};
use super::{Done, Outcome, RANGE, Ref, Refusal, Seen, Spec, WRONG_STATE, over};

/// An area's identity, for as long as anybody has it.
pub(super) type AreaId = usize;

/// An area.
#[derive(Clone, Debug)]
pub(super) struct Area {
    pub(super) pages: u64,
    /// Tables that lead to it, and those of the second set, for those who may only read. *Choice*.
    pub(super) tables: u64,
    pub(super) copy: u64,
    /// The words that are not zero, by their offset.
    pub(super) words: BTreeMap<u64, u64>,
}

impl Spec {
    pub(super) fn message(&mut self, who: usize, call: MessageCall, seen: &Seen<'_>) -> Outcome {
        match call {
            MessageCall::Alloc { pages, class } => self.alloc(who, (pages.0, class), seen),
            MessageCall::AllocMore(area) => self.alloc_more((who, area), seen),
            MessageCall::Free(area) => self.free((who, area), seen),
            MessageCall::Info(area) => self.info((who, area)),
            MessageCall::Keep(area) => self.keep((who, area)),
            MessageCall::Trim { area, pages } => self.trim((who, area), pages.0, seen),
            MessageCall::Split { area, pages, class, tail } => {
                self.split((who, [area, tail]), (pages.0, class), seen)
            }
            MessageCall::EventPage => self.show_marked(who, seen),
            MessageCall::Create { .. }
            | MessageCall::Connect { .. }
            | MessageCall::Accept { .. }
            | MessageCall::Send { .. }
            | MessageCall::Notify(_)
            | MessageCall::Close(_) => self.channel(who, call, seen),
        }
    }

    /// How many slots of a class nobody has use for yet.
    fn free_slots(&self, who: usize, class: AreaClass) -> u64 {
        let own =
            self.places_of(who).filter(|(_, place)| place.class == class && place.window.is_none());
        let kept = self.ports_of(who).map(|(_, port)| {
            let pages = if class == AreaClass::Page { 2 } else { 0 };
            pages + if port.class == class { port.slots } else { 0 }
        });
        let shown = class == AreaClass::Page && self.of(who).shown.is_some();
        let taken = own.count() as u64 + kept.sum::<u64>() + u64::from(shown);
        self.sizes.slots[usize::from(class.code())] - taken
    }

    pub(super) fn check_slots(
        &self,
        who: usize,
        class: AreaClass,
        count: u64,
    ) -> Result<(), Refusal> {
        let has_room = self.free_slots(who, class) >= count;
        if has_room { Ok(()) } else { Err(over(Resource::IpaSpace)) }
    }

    /// *Choice*: an address is that of any slot of the class in which the partition has nothing.
    pub(super) fn check_address(&self, who: usize, class: AreaClass, at: u64) {
        let slot = WindowSlot::at(shikiri_abi::Ipa(at)).expect("an address in the window region");
        assert_eq!(
            (slot.class, slot.ipa().0),
            (class, at),
            "the beginning of a slot of this class"
        );
        assert!(u64::from(slot.index) < self.sizes.slots[usize::from(class.code())], "{at:#x}");
        let places = self.places_of(who).any(|(_, place)| place.at == Some(at));
        let pages = self.ports_of(who).any(|(_, port)| [port.arrivals, port.credits].contains(&at));
        let is_shown = self.of(who).shown == Some(at);
        assert!(!places && !pages && !is_shown, "{who} has something at {at:#x}");
    }

    pub(super) fn new_area(&mut self, pages: u64, tables: u64) -> AreaId {
        self.next_area += 1;
        self.areas.insert(self.next_area, Area { pages, tables, copy: 0, words: BTreeMap::new() });
        self.next_area
    }

    fn alloc(&mut self, who: usize, (pages, class): (u64, AreaClass), seen: &Seen<'_>) -> Outcome {
        if pages == 0 || pages > class.pages().0 {
            return Err(RANGE);
        }
        if self.places_of(who).any(|(_, place)| matches!(place.has, Has::Making { .. })) {
            return Err(Refusal(Status::Again, 0));
        }
        self.check_room(who, 1)?;
        self.check_slots(who, class, 1)?;
        self.check_charge(who, &[(Resource::Memory, pages), (Resource::IpaSpace, pages)])?;
        let most = class.tables_of(PageCount(pages));
        if seen.status() == Status::OverLimit && self.may_lack_tables(who, most) {
            return Err(over(Resource::ManagementMemory));
        }
        let [handle, ..] = seen.values(&[Status::Ok, Status::Again]);
        let has = Has::Making { wanted: pages, tables: 0 };
        let (at, window, paid, events, row) = (None, None, 0, None, None);
        self.add(who, handle, Thing::Place(Place { class, at, window, paid, events, row, has }));
        Ok(self.make_some((who, handle), seen))
    }

    fn alloc_more(&mut self, area: Ref, seen: &Seen<'_>) -> Outcome {
        let Has::Making { .. } = self.area(area)?.has else { return Err(WRONG_STATE) };
        if seen.status() == Status::OverLimit && self.may_lack_tables(area.0, 2) {
            return Err(over(Resource::ManagementMemory));
        }
        Ok(self.make_some(area, seen))
    }

    /// *Choice*: with how many tables, and whether it is complete now. It is clear then.
    fn make_some(&mut self, area: Ref, seen: &Seen<'_>) -> Done {
        let Place { class, has: Has::Making { wanted, tables }, .. } = *self.place(area) else {
            panic!("it is being made");
        };
        let most = class.tables_of(PageCount(wanted));
        let tables = self.tables_now((tables, tables, most), area.0, seen);
        let [handle, at, _] = seen.values(&[Status::Ok, Status::Again]);
        assert_eq!(handle, area.1, "another handle");
        if seen.status() == Status::Again {
            self.place_mut(area).has = Has::Making { wanted, tables };
            return Done::or_again(false, handle, vec![]);
        }
        self.check_address(area.0, class, at);
        let id = self.new_area(wanted, tables);
        let place = self.place_mut(area);
        (place.at, place.has) = (Some(at), Has::Own(id));
        Done::with([handle, at, wanted])
    }

    fn free(&mut self, area: Ref, seen: &Seen<'_>) -> Outcome {
        match self.area(area)?.has {
            Has::Making { .. } | Has::Own(_) => self.unmap(area),
            Has::Freed { .. } => {}
            _ => return Err(WRONG_STATE),
        }
        Ok(self.free_some(area, seen))
    }

    /// Nobody reaches an area any more, and it begins to be freed.
    pub(super) fn unmap(&mut self, place: Ref) {
        let (pages, tables) = match self.place(place).has {
            Has::Making { wanted, tables } => (wanted, tables),
            Has::Own(area) | Has::Leaving(area) => {
                let Area { pages, tables, .. } = self.areas.remove(&area).expect("somebody has it");
                (pages, tables)
            }
            ref other => panic!("{other:?} is not freed"),
        };
        if self.place(place).window.is_none() {
            self.of_mut(place.0).freeing += tables;
        }
        self.place_mut(place).has = Has::Freed { pages, tables };
    }

    /// *Choice*: whether all of it is freed now. Its place is vacant then.
    pub(super) fn free_some(&mut self, place: Ref, seen: &Seen<'_>) -> Done {
        seen.values(&[Status::Ok, Status::Again]);
        let is_done = seen.status() == Status::Ok;
        if is_done {
            self.remove(place);
        }
        self.settle_freeing(place.0, seen);
        Done::or_again(is_done, place.1, vec![])
    }

    fn info(&self, area: Ref) -> Outcome {
        let Place { at, class, has, .. } = self.area(area)?;
        match (has, has.area()) {
            (Has::Leaving(_), _) | (_, None) => Err(WRONG_STATE),
            (_, Some(id)) => {
                let at = at.expect("it is complete");
                Ok(Done::with([at, self.areas[&id].pages, u64::from(class.code())]))
            }
        }
    }

    /// The pages and tables of an area that nobody else reaches.
    fn own(&self, area: Ref) -> Result<(AreaId, &Area), Refusal> {
        let Has::Own(id) = self.area(area)?.has else { return Err(WRONG_STATE) };
        Ok((id, &self.areas[&id]))
    }

    /// An area in a window becomes the partition's own; the window gets another slot.
    fn keep(&mut self, area: Ref) -> Outcome {
        let (_, Area { pages, tables, .. }) = self.own(area)?;
        let (pages, tables) = (*pages, *tables);
        let Place { window, class, .. } = *self.place(area);
        window.ok_or(WRONG_STATE)?;
        self.check_room(area.0, 1)?;
        self.check_slots(area.0, class, 1)?;
        let cost = [
            (Resource::Memory, pages),
            (Resource::IpaSpace, pages),
            (Resource::ManagementMemory, tables),
        ];
        self.check_charge(area.0, &cost)?;
        self.place_mut(area).window = None;
        Ok(Done::nothing())
    }

    /// The tail of an own area is freed. *Choice*: how much of it now, and what tables are left.
    fn trim(&mut self, area: Ref, wanted: u64, seen: &Seen<'_>) -> Outcome {
        let id = self.whole(area)?;
        let Area { pages, tables, .. } = self.areas[&id];
        let class = self.place(area).class;
        if wanted == 0 || wanted > pages {
            return Err(RANGE);
        }
        if seen.status() == Status::OverLimit && wanted < pages && self.may_lack_tables(area.0, 2) {
            // A large leaf is divided, for which there is no table.
            return Err(over(Resource::ManagementMemory));
        }
        seen.values(&[Status::Ok, Status::Again]);
        let freed =
            self.used(area.0, Resource::Memory) - seen.used[usize::from(Resource::Memory.number())];
        let left = pages - freed;
        let is_done = left == wanted;
        assert!(
            left >= wanted && (is_done || freed > 0),
            "{left} of {pages} are left for {wanted}"
        );
        let tables = self.tables_now((tables, 0, class.tables_of(PageCount(left))), area.0, seen);
        let its = self.areas.get_mut(&id).expect("it is there");
        (its.pages, its.tables) = (left, tables);
        its.words.retain(|offset, _| *offset < left * PAGE_BYTES);
        Ok(Done::or_again(is_done, area.1, vec![]))
    }

    /// The tail of an own area goes to the end of another own one, or of a new one. *Choice*: how much of it now, in which order its
    /// pages come there, and how many tables each has then. Nothing is charged but tables.
    fn split(
        &mut self,
        (who, [from, to]): (usize, [u64; 2]),
        (wanted, class): (u64, AreaClass),
        seen: &Seen<'_>,
    ) -> Outcome {
        let is_new = to == 0;
        self.area((who, from))?;
        if !is_new {
            self.area((who, to))?;
        }
        let head = self.whole((who, from))?;
        let (tail, class, there) = if is_new {
            (None, class, 0)
        } else {
            let tail = self.whole((who, to))?;
            (Some(tail), self.place((who, to)).class, self.areas[&tail].pages)
        };
        let pages = self.areas[&head].pages;
        let moving = pages.checked_sub(wanted).ok_or(RANGE)?;
        let grown = there + moving;
        if wanted == 0 || grown == 0 || grown > class.pages().0 || from == to {
            return Err(RANGE);
        }
        if is_new {
            self.check_room(who, 1)?;
            self.check_slots(who, class, 1)?;
        }
        let tables = [(Resource::ManagementMemory, 4)];
        if seen.status() == Status::OverLimit && self.check_charge(who, &tables).is_err() {
            return Err(over(Resource::ManagementMemory));
        }
        let [handle, at, now] = seen.values(&[Status::Ok, Status::Again]);
        let moved = now.checked_sub(there).expect("it does not shrink");
        let is_done = moved == moving;
        assert!(moved <= moving && (is_done || moved > 0), "{moved} of {moving} have gone");
        let tail = if let Some(tail) = tail {
            let place = self.place((who, to));
            assert_eq!((handle, Some(at)), (to, place.at), "another area");
            tail
        } else {
            self.check_address(who, class, at);
            let tail = self.new_area(0, 0);
            let (window, paid, events, row) = (None, 0, None, None);
            let (at, has) = (Some(at), Has::Own(tail));
            self.add(
                who,
                handle,
                Thing::Place(Place { class, at, window, paid, events, row, has }),
            );
            tail
        };
        self.move_pages((head, tail), moved, &|offset| (seen.load)(who, at + offset));
        for (area, handle) in [(head, from), (tail, handle)] {
            let Place { class, at, .. } = *self.place((who, handle));
            let tables = (seen.tables)(who, at.expect("it is complete"));
            let its = self.areas.get_mut(&area).expect("it is there");
            assert!(tables <= class.tables_of(PageCount(its.pages)), "{tables} tables");
            its.tables = tables;
        }
        let status = if is_done { Status::Ok } else { Status::Again };
        Ok(Done { status, ..Done::with([handle, at, now]) })
    }

    /// An area of the partition's own, as a whole.
    fn whole(&self, area: Ref) -> Result<AreaId, Refusal> {
        let (id, _) = self.own(area)?;
        if self.place(area).window.is_some() { Err(WRONG_STATE) } else { Ok(id) }
    }

    /// So many pages go from the end of one area to the end of another, each with what is in it: where it is found there.
    fn move_pages(
        &mut self,
        (head, tail): (AreaId, AreaId),
        count: u64,
        load: &dyn Fn(u64) -> Option<u64>,
    ) {
        let its = self.areas.get_mut(&head).expect("it is there");
        its.pages -= count;
        let gone = its.words.split_off(&(its.pages * PAGE_BYTES));
        let mut contents: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
        for (offset, value) in gone.into_iter().filter(|(_, value)| *value != 0) {
            contents.entry(offset / PAGE_BYTES).or_default().insert(offset % PAGE_BYTES, value);
        }
        let words: Vec<u64> = contents.values().flat_map(|page| page.keys().copied()).collect();
        let its = self.areas.get_mut(&tail).expect("it is there");
        for page in its.pages..its.pages + count {
            let found: BTreeMap<u64, u64> = words
                .iter()
                .filter_map(|word| Some((*word, load(page * PAGE_BYTES + word)?)))
                .filter(|(_, value)| *value != 0)
                .collect();
            if found.is_empty() {
                continue;
            }
            let from = contents.iter().find(|(_, page)| **page == found).map(|(number, _)| *number);
            let from = from.unwrap_or_else(|| panic!("{found:x?} was in no page of the tail"));
            contents.remove(&from);
            its.words
                .extend(found.into_iter().map(|(word, value)| (page * PAGE_BYTES + word, value)));
        }
        assert!(contents.is_empty(), "{contents:x?} is lost");
        its.pages += count;
    }
}
