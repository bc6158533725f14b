//! Shared areas: an owner offers an area, and others attach it, each for reading or for writing too. Who can reach an area pays for it. Who
//! leaves takes nothing away from the others: the last one that is told of it keeps the area for all, and it is freed with its last user.

use std::collections::{BTreeMap, BTreeSet};

use shikiri_abi::{AreaClass, PageCount, Resource, SharedCall, Status};

use super::areas::{Area, AreaId};
use super::events::From;
use super::handles::{Has, Link, Place, Thing};
use super::signals::{Ask, Asks};
use super::{
    BAD_HANDLE, Done, Outcome, PEER_GONE, RANGE, REFUSED, Ref, Refusal, Seen, Spec, Told,
    WRONG_STATE, over,
};

impl Spec {
    pub(super) fn share(&mut self, who: usize, call: SharedCall, seen: &Seen<'_>) -> Outcome {
        match call {
            SharedCall::Offer { area, events } => self.offer((who, area), events, seen),
            SharedCall::Withdraw(area) => self.withdraw((who, area), seen),
            SharedCall::Revoke { area, partition } => {
                self.revoke((who, area), usize::from(partition))
            }
            SharedCall::Create { events, pages, class } => {
                self.create_attachment((who, events), (pages.0, class), seen)
            }
            SharedCall::Connect { port, partition: to, service, word } => {
                self.ask(who, Asks::Area, Ask { port, to, service, word })
            }
            SharedCall::Accept { request, area, is_writable } => {
                self.accept_attachment((who, request), (who, area), is_writable)
            }
            SharedCall::State(handle) => self.state_of_share((who, handle)),
            SharedCall::Detach(handle) => self.detach((who, handle), seen),
        }
    }

    /// Where others than its owner have an area, by partition.
    fn users(&self, area: AreaId) -> BTreeMap<usize, Ref> {
        let uses = |has: &Has| matches!(has, Has::Attached { area: its, .. } if *its == area);
        self.places()
            .filter(|(_, place)| uses(&place.has))
            .map(|(user, _)| (user.0, user))
            .collect()
    }

    /// Where an area's owner has it, if it has not left.
    fn owner(&self, area: AreaId) -> Option<Ref> {
        let owns = |has: &Has| matches!(has, Has::Offered(its, _) if *its == area);
        self.places().find(|(_, place)| owns(&place.has)).map(|(owner, _)| owner)
    }

    /// An area that is offered, and who was told that it is being left.
    fn offered(&self, area: Ref) -> Result<(AreaId, &BTreeSet<usize>), Refusal> {
        match &self.area(area)?.has {
            Has::Offered(id, told) => Ok((*id, told)),
            _ => Err(WRONG_STATE),
        }
    }

    /// A place among what is shared: the first that is free.
    fn free_row(&self, who: usize) -> Result<usize, Refusal> {
        let used: Vec<usize> = self.places_of(who).filter_map(|(_, place)| place.row).collect();
        let free = (0..self.sizes.shares).find(|row| !used.contains(row));
        free.ok_or(over(Resource::ManagementMemory))
    }

    /// Offers an area, in as many calls as its second set of tables takes. *Choice*: how many of these come with a call.
    fn offer(&mut self, area: Ref, events: u64, seen: &Seen<'_>) -> Outcome {
        let mut begins = None;
        match &self.area(area)?.has {
            Has::Copying(_) => {}
            Has::Own(id) if self.place(area).window.is_none() => {
                begins = Some((*id, self.free_row(area.0)?));
                if events != 0 {
                    self.check_events((area.0, events))?;
                }
            }
            _ => return Err(WRONG_STATE),
        }
        let id = self.place(area).has.area().expect("it is there");
        let Area { tables, copy, .. } = self.areas[&id];
        let lacks = self.may_lack_tables(area.0, tables - copy);
        if seen.status() == Status::OverLimit && lacks {
            return Err(over(Resource::ManagementMemory));
        }
        seen.values(&[Status::Ok, Status::Again]);
        let copy = self.tables_now((copy, copy, tables), area.0, seen);
        self.areas.get_mut(&id).expect("it is there").copy = copy;
        if let Some((id, row)) = begins {
            let events = (events != 0).then_some(events);
            let place = self.place_mut(area);
            (place.row, place.events, place.has) = (Some(row), events, Has::Copying(id));
            if let Some(events) = events {
                self.tie((area.0, events), From::Own(area.1));
            }
        }
        let is_done = seen.status() == Status::Ok;
        if is_done {
            assert_eq!(copy, tables, "the second set of tables is as large as the first");
            self.place_mut(area).has = Has::Offered(id, BTreeSet::new());
        }
        Ok(Done::or_again(is_done, area.1, vec![]))
    }

    /// Takes an area back, from one user at a time, until it is its owner's alone.
    fn withdraw(&mut self, area: Ref, seen: &Seen<'_>) -> Outcome {
        let told = match &self.area(area)?.has {
            Has::Copying(_) => None,
            Has::Offered(id, told) => {
                let (id, next) = (*id, self.next_met(*id, told));
                if next.is_none() {
                    self.place_mut(area).has = Has::Copying(id);
                }
                next.map(|user| self.take_away(area, user))
            }
            _ => return Err(WRONG_STATE),
        };
        if let Some(told) = told {
            return Ok(Done::or_again(false, area.1, told));
        }
        self.give_copy(area, seen);
        let is_done = matches!(self.place(area).has, Has::Own(_));
        Ok(Done::or_again(is_done, area.1, vec![]))
    }

    fn revoke(&mut self, area: Ref, user: usize) -> Outcome {
        let (id, _) = self.offered(area)?;
        let user = *self.users(id).get(&user).ok_or(PEER_GONE)?;
        Ok(Done::told(self.take_away(area, user)))
    }

    /// A user reaches an area no more, and is told.
    fn take_away(&mut self, offered: Ref, user: Ref) -> Told {
        self.forget(offered, user.0);
        self.set_link(user, Link::Gone);
        self.tell_about(user)
    }

    /// A user has nothing to do with what is offered any more.
    fn forget(&mut self, offered: Ref, user: usize) {
        if let Has::Offered(_, told) = &mut self.place_mut(offered).has {
            told.remove(&user);
        }
    }

    /// The next user that an owner meets who takes an area away from all, or leaves it: first those that know nothing of it.
    fn next_met(&self, area: AreaId, told: &BTreeSet<usize>) -> Option<Ref> {
        let users = self.users(area);
        let next = users.iter().find(|(user, _)| !told.contains(user)).or(users.iter().next());
        next.map(|(_, place)| *place)
    }

    fn create_attachment(
        &mut self,
        events: Ref,
        (pages, class): (u64, AreaClass),
        seen: &Seen<'_>,
    ) -> Outcome {
        let who = events.0;
        self.check_events(events)?;
        if pages == 0 || pages > class.pages().0 {
            return Err(RANGE);
        }
        let row = Some(self.free_row(who)?);
        self.check_room(who, 1)?;
        self.check_slots(who, class, 1)?;
        let cost = [
            (Resource::Memory, pages),
            (Resource::IpaSpace, pages),
            (Resource::ManagementMemory, 2 * class.tables_of(PageCount(pages))),
        ];
        self.check_charge(who, &cost)?;
        let [handle, at, _] = seen.values(&[Status::Ok]);
        self.check_address(who, class, at);
        let (window, has) = (None, Has::Nothing(Link::Idle));
        let (at, events) = (Some(at), Some(events.1));
        self.add(
            who,
            handle,
            Thing::Place(Place { class, at, window, paid: pages, events, row, has }),
        );
        self.tie((who, events.unwrap_or(0)), From::Own(handle));
        Ok(Done::with([handle, at.unwrap_or(0), pages]))
    }

    fn accept_attachment(&mut self, request: Ref, area: Ref, may_write: bool) -> Outcome {
        let from = self.request(request, Asks::Area)?;
        let (id, told) = self.offered(area)?;
        let from = from.ok_or(PEER_GONE)?;
        if !told.is_empty() {
            return Err(WRONG_STATE);
        }
        if self.users(id).contains_key(&from.0) {
            return Err(Refusal(Status::Exists, 0));
        }
        let Place { class, paid, .. } = *self.place(from);
        if class != self.place(area).class || paid < self.areas[&id].pages {
            return Err(RANGE);
        }
        self.remove(request);
        self.place_mut(from).has = Has::Attached { area: id, may_write, is_left: false };
        Ok(Done::told(self.tell_about(from)))
    }

    fn state_of_share(&self, handle: Ref) -> Outcome {
        let Some(Thing::Place(place)) = self.thing(handle) else { return Err(BAD_HANDLE) };
        let (id, flags) = match &place.has {
            Has::Offered(id, _) => (*id, 1),
            Has::Attached { area, may_write, is_left } => {
                (*area, u64::from(*may_write) | u64::from(*is_left) << 1)
            }
            Has::Nothing(Link::Queued(_) | Link::Taken(_)) => return Ok(Done::pending(vec![])),
            Has::Nothing(Link::Refused) => return Err(REFUSED),
            Has::Nothing(Link::Gone) => return Err(PEER_GONE),
            _ => return Err(WRONG_STATE),
        };
        Ok(Done::with([place.at.expect("it is shared"), self.areas[&id].pages, flags]))
    }

    /// SHARED_DETACH: a user leaves, or an owner; what nobody has then is freed, in as many calls as that takes.
    fn detach(&mut self, handle: Ref, seen: &Seen<'_>) -> Outcome {
        let Some(Thing::Place(place)) = self.thing(handle) else { return Err(BAD_HANDLE) };
        match place.has {
            Has::Freed { .. } => Ok(self.free_some(handle, seen)),
            Has::Making { .. } | Has::Own(_) | Has::Copying(_) => Err(WRONG_STATE),
            _ => {
                let (is_done, told) = self.leave(handle, seen);
                Ok(Done::or_again(is_done, handle.1, told))
            }
        }
    }

    /// Leaves what is shared, by one step: whether that was the last one, and who is told.
    pub(super) fn leave(&mut self, place: Ref, seen: &Seen<'_>) -> (bool, Told) {
        match self.place(place).has.clone() {
            Has::Nothing(_) => {
                self.cut(place);
                self.close_share(place);
                (true, vec![])
            }
            Has::Attached { area, .. } => {
                if let Some(owner) = self.owner(area) {
                    self.close_share(place);
                    self.forget(owner, place.0);
                    return (true, self.tell_about(owner));
                }
                if self.users(area).len() > 1 {
                    self.close_share(place);
                    return (true, vec![]);
                }
                self.be_last(place, area, seen)
            }
            Has::Offered(area, told) => match self.next_met(area, &told) {
                None => self.be_last(place, area, seen),
                Some(user) => self.leave_to(place, (area, told), user),
            },
            Has::Copying(_) | Has::Leaving(_) => {
                self.give_copy(place, seen);
                (false, vec![])
            }
            other => panic!("{other:?} is not shared"),
        }
    }

    /// An owner tells one more user that it leaves. With the last one, it has left.
    fn leave_to(
        &mut self,
        owner: Ref,
        (area, mut told): (AreaId, BTreeSet<usize>),
        user: Ref,
    ) -> (bool, Told) {
        told.insert(user.0);
        if let Has::Attached { is_left, .. } = &mut self.place_mut(user).has {
            *is_left = true;
        }
        let is_last = told.len() == self.users(area).len();
        if is_last {
            self.close_share(owner);
        } else {
            self.place_mut(owner).has = Has::Offered(area, told);
        }
        (is_last, self.tell_about(user))
    }

    /// Nobody else has the area: nobody reaches it from here on.
    fn be_last(&mut self, place: Ref, area: AreaId, seen: &Seen<'_>) -> (bool, Told) {
        self.place_mut(place).has = Has::Leaving(area);
        self.give_copy(place, seen);
        (false, vec![])
    }

    /// The second set of tables goes, or a part of it. *Choice*: how much. Without it the area is its owner's alone again, or is freed.
    fn give_copy(&mut self, place: Ref, seen: &Seen<'_>) {
        let Place { ref has, paid, .. } = *self.place(place);
        let (id, leaves) = (has.area().expect("it has one"), matches!(has, Has::Leaving(_)));
        let (copy, tables) = (self.areas[&id].copy, self.tables(place));
        let is_done = if paid == 0 {
            let copy = self.tables_now((copy, 0, copy), place.0, seen);
            self.areas.get_mut(&id).expect("it is there").copy = copy;
            copy == 0
        } else {
            // It goes on being charged for what it paid for, until all is gone.
            tables == 0 || self.more_tables(place.0, seen) < 0
        };
        if !is_done {
            return;
        }
        if leaves {
            self.unmap(place);
        } else {
            self.place_mut(place).has = Has::Own(id);
        }
        self.untie(place);
    }

    /// It is nothing shared any more.
    fn untie(&mut self, place: Ref) {
        let its = self.place_mut(place);
        its.row = None;
        if let Some(events) = its.events.take() {
            self.tie((place.0, events), From::Nobody);
        }
    }

    fn close_share(&mut self, place: Ref) {
        self.untie(place);
        self.remove(place);
    }
}
