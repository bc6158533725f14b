//! What shared areas are, without a table, a page or a lock: who has which area and as what, who waits for one, and what each call answers.
//!
//! Behind each handle is a [`Place`] with an area of its own, one that it offers, one of another's, or none yet. An area is there as
//! long as somebody has it. Handles, addresses and how many tables an area takes are the hypervisor's to choose: [`Model`] is told of them.

use std::collections::{BTreeMap, BTreeSet};

use shikiri_abi::{AreaClass, Ipa, PageCount, Resource};
use shikiri_core::party::Refusal;

use crate::SIZES;

pub(crate) const PARTITIONS: usize = 3;
/// The interrupt of each partition's control signals.
pub(crate) const SIGNALS: u16 = 39;

pub(crate) type Id = usize;
/// Which interrupts came where.
pub(crate) type Told = Vec<(u8, u16)>;

/// Memory that somebody has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) class: AreaClass,
    pub(crate) pages: u64,
    pub(crate) tables: u64,
    /// Tables of the second set, for those who may only read.
    pub(crate) copy: u64,
    /// What was written there last.
    pub(crate) word: u64,
}

/// What a partition has behind one handle.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) who: usize,
    pub(crate) handle: u64,
    pub(crate) at: Ipa,
    pub(crate) class: AreaClass,
    /// The pages that an attachment was paid for; 0 of an area of its own.
    pub(crate) paid: u64,
    /// The receive port that is told, while it is open, and its interrupt.
    pub(crate) events: Option<(u64, u16)>,
    pub(crate) has: Has,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Has {
    /// An area of its own.
    Own(Id),
    /// The same, of which the second set of tables is being made, or taken apart.
    Copying(Id),
    /// One that others can attach, and who knows that it is being left.
    Offered(Id, BTreeSet<usize>),
    /// Another's.
    Attached { area: Id, may_write: bool, is_left: bool },
    /// An attachment without an area.
    Nothing(Link),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Idle,
    Queued(usize),
    Taken(Id),
    Refused,
    Gone,
}

/// A request that was taken: by whom, and whose attachment asked, if it has not gone.
#[derive(Clone, Copy, Debug)]
struct Request {
    owner: usize,
    handle: u64,
    from: Option<Id>,
}

/// What a call has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Went {
    Done,
    /// There is more to do, at others.
    Again,
    /// The second set of tables of this place's area is taken apart, and it is its own again: in so many calls as that takes.
    Copying(Id),
    /// Nobody has it any more: it is freed, in so many calls as that takes.
    Freed,
}

/// What SHARE_STATE answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Here { at: Ipa, pages: u64, may_write: bool, is_left: bool },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) areas: BTreeMap<Id, Area>,
    pub(crate) places: BTreeMap<Id, Place>,
    requests: BTreeMap<Id, Request>,
    /// Attachments that have asked, with their words, by sender and receiver, the oldest first.
    queues: BTreeMap<(usize, usize), Vec<(Id, u64)>>,
    next: Id,
}

impl Has {
    pub(crate) const fn area(&self) -> Option<Id> {
        match self {
            Self::Own(area)
            | Self::Copying(area)
            | Self::Offered(area, _)
            | Self::Attached { area, .. } => Some(*area),
            Self::Nothing(_) => None,
        }
    }

    /// Whether its guest can write there.
    pub(crate) const fn may_write(&self) -> bool {
        match self {
            Self::Own(_) | Self::Copying(_) | Self::Offered(..) => true,
            Self::Attached { may_write, .. } => *may_write,
            Self::Nothing(_) => false,
        }
    }
}

impl Place {
    const fn is_attachment(&self) -> bool {
        self.paid > 0
    }
}

impl Model {
    pub(crate) fn new_id(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    pub(crate) fn area_of(&self, place: Id) -> Option<&Area> {
        self.areas.get(&self.places[&place].has.area()?)
    }

    pub(crate) fn of(&self, who: usize) -> impl Iterator<Item = (Id, &Place)> {
        let all = self.places.iter().map(|(id, place)| (*id, place));
        all.filter(move |(_, place)| place.who == who)
    }

    fn find(&self, who: usize, handle: u64) -> Option<Id> {
        self.of(who).find(|(_, place)| place.handle == handle).map(|(id, _)| id)
    }

    /// The place of an area of its own, which may be offered.
    fn own(&self, who: usize, handle: u64) -> Result<Id, Refusal> {
        let found = self.find(who, handle).filter(|id| !self.places[id].is_attachment());
        found.ok_or(Refusal::NotOwner)
    }

    fn attachment(&self, who: usize, handle: u64) -> Result<Id, Refusal> {
        let found = self.find(who, handle).filter(|id| self.places[id].is_attachment());
        found.ok_or(Refusal::BadHandle)
    }

    fn request(&self, who: usize, handle: u64) -> Result<Id, Refusal> {
        let mut all = self.requests.iter();
        let found = all.find(|(_, request)| (request.owner, request.handle) == (who, handle));
        found.map(|(id, _)| *id).ok_or(Refusal::BadHandle)
    }

    /// An area that is offered, and who knows that it is being left.
    fn offered(&self, who: usize, handle: u64) -> Result<(Id, Id, &BTreeSet<usize>), Refusal> {
        let id = self.own(who, handle)?;
        match &self.places[&id].has {
            Has::Offered(area, told) => Ok((id, *area, told)),
            _ => Err(Refusal::WrongState),
        }
    }

    /// Where others than its owner have an area, by partition.
    fn users(&self, area: Id) -> BTreeMap<usize, Id> {
        let all = self.places.iter().filter(
            |(_, place)| matches!(place.has, Has::Attached { area: its, .. } if its == area),
        );
        all.map(|(id, place)| (place.who, *id)).collect()
    }

    /// Where an area's owner has it, if it has not left.
    fn owner(&self, area: Id) -> Option<Id> {
        let mut all = self.places.iter();
        let found = all.find(|(_, place)| matches!(place.has, Has::Offered(its, _) if its == area));
        found.map(|(id, _)| *id)
    }

    fn tells(&self, place: Id) -> Told {
        let Place { who, events, .. } = self.places[&place];
        events.map(|(_, intid)| (who as u8, intid)).into_iter().collect()
    }

    fn place(&mut self, id: Id) -> &mut Place {
        self.places.get_mut(&id).unwrap()
    }

    /// What is charged: event ports, memory, IPA space, management memory, beyond a partition that has nothing.
    pub(crate) fn charged(&self, who: usize) -> [u64; 4] {
        let mut all = [0; 4];
        for (id, place) in self.of(who) {
            let [memory, management] = if place.is_attachment() {
                [place.paid, 2 * place.class.tables_of(PageCount(place.paid))]
            } else {
                let Area { pages, tables, copy, .. } = *self.area_of(id).unwrap();
                [pages, tables + copy]
            };
            let ports = u64::from(place.events.is_some());
            let more = [ports, memory, memory, management];
            all.iter_mut().zip(more).for_each(|(line, more)| *line += more);
        }
        all
    }

    /// Frames that are in use for areas.
    pub(crate) fn frames(&self) -> u64 {
        self.areas.values().map(|area| area.pages + area.tables + area.copy).sum()
    }

    fn check_slot(&self, who: usize, class: AreaClass) -> Result<(), Refusal> {
        let taken = self.of(who).filter(|(_, place)| place.class == class).count();
        let has_room = taken < usize::from(SIZES.windows.of(class));
        if has_room { Ok(()) } else { Err(Refusal::OverLimit(Resource::IpaSpace)) }
    }

    /// Whether one more area can be shared, or attached.
    fn check_share(&self, who: usize) -> Result<(), Refusal> {
        let shares = self.of(who).filter(|(_, place)| !matches!(place.has, Has::Own(_))).count();
        let has_room = shares < usize::from(SIZES.shares);
        if has_room { Ok(()) } else { Err(Refusal::OverLimit(Resource::ManagementMemory)) }
    }

    /// A receive port is there for who wants it: `None` is a handle of nothing.
    fn check_events(&self, who: usize, events: Option<u64>) -> Result<(), Refusal> {
        let events = events.ok_or(Refusal::BadHandle)?;
        let is_free = self.of(who).all(|(_, place)| place.events.is_none_or(|it| it.0 != events));
        if is_free { Ok(()) } else { Err(Refusal::WrongState) }
    }

    pub(crate) fn alloc(&self, who: usize, pages: u64, class: AreaClass) -> Result<(), Refusal> {
        if pages == 0 || pages > class.pages().0 {
            return Err(Refusal::Range);
        }
        self.check_slot(who, class)
    }

    pub(crate) fn free(&mut self, who: usize, handle: u64) -> Result<(), Refusal> {
        let id = self.own(who, handle)?;
        let Has::Own(area) = self.places[&id].has else { return Err(Refusal::WrongState) };
        self.areas.remove(&area);
        self.places.remove(&id);
        Ok(())
    }

    /// AREA_INFO.
    pub(crate) fn info(&self, who: usize, handle: u64) -> Result<Id, Refusal> {
        self.own(who, handle)
    }

    /// AREA_KEEP, of what is in no window.
    pub(crate) fn keep(&self, who: usize, handle: u64) -> Result<(), Refusal> {
        self.own(who, handle).and(Err(Refusal::WrongState))
    }

    /// Offers an area, or goes on with it. `events`: none, or a receive port, which may be a handle of nothing; `is_tight`: not one
    /// table can be paid for.
    pub(crate) fn offer(
        &mut self,
        who: usize,
        handle: u64,
        (events, is_tight): (Option<Option<u64>>, bool),
    ) -> Result<Id, Refusal> {
        let id = self.own(who, handle)?;
        match self.places[&id].has {
            Has::Copying(_) => Ok(id),
            Has::Own(area) => {
                self.check_share(who)?;
                if let Some(events) = events {
                    self.check_events(who, events)?;
                }
                if is_tight && self.areas[&area].tables > 0 {
                    return Err(Refusal::OverLimit(Resource::ManagementMemory));
                }
                self.place(id).has = Has::Copying(area);
                Ok(id)
            }
            Has::Offered(..) | Has::Attached { .. } | Has::Nothing(_) => Err(Refusal::WrongState),
        }
    }

    /// All tables of the second set are there.
    pub(crate) fn is_copied(&mut self, id: Id) {
        let area = self.places[&id].has.area().unwrap();
        let Area { tables, copy, .. } = self.areas[&area];
        assert_eq!(tables, copy, "the second set of tables is as large as the first");
        self.place(id).has = Has::Offered(area, BTreeSet::new());
    }

    /// None of them is there.
    pub(crate) fn is_own_again(&mut self, id: Id) {
        let area = self.places[&id].has.area().unwrap();
        assert_eq!(self.areas[&area].copy, 0);
        self.place(id).has = Has::Own(area);
    }

    pub(crate) fn create(
        &self,
        who: usize,
        (events, is_tight): (Option<u64>, bool),
        (pages, class): (u64, AreaClass),
    ) -> Result<(), Refusal> {
        self.check_events(who, events)?;
        if pages == 0 || pages > class.pages().0 {
            return Err(Refusal::Range);
        }
        self.check_share(who)?;
        self.check_slot(who, class)?;
        if is_tight { Err(Refusal::OverLimit(Resource::Memory)) } else { Ok(()) }
    }

    pub(crate) fn connect(
        &mut self,
        who: usize,
        handle: u64,
        (to, word): (usize, u64),
    ) -> Result<Told, Refusal> {
        if to == who {
            return Err(Refusal::Argument(2));
        }
        if to >= PARTITIONS {
            return Err(Refusal::PeerGone);
        }
        let id = self.attachment(who, handle)?;
        let Has::Nothing(Link::Idle | Link::Refused | Link::Gone) = self.places[&id].has else {
            return Err(Refusal::WrongState);
        };
        let was_quiet = self.has_signal(to).is_err();
        self.queues.entry((who, to)).or_default().push((id, word));
        self.place(id).has = Has::Nothing(Link::Queued(to));
        Ok(if was_quiet { vec![(to as u8, SIGNALS)] } else { vec![] })
    }

    /// Whether a signal waits.
    pub(crate) fn has_signal(&self, who: usize) -> Result<(), Refusal> {
        let waits = self.queues.iter().any(|(pair, queue)| pair.1 == who && !queue.is_empty());
        if waits { Ok(()) } else { Err(Refusal::Empty) }
    }

    /// A signal was taken; whose turn it is shows `event_properties`. It is the oldest of its sender's.
    pub(crate) fn taken(&mut self, who: usize, handle: u64, word: u64) {
        let mut queues = self.queues.iter_mut().filter(|(pair, _)| pair.1 == who);
        let of = queues.find(|(_, queue)| queue.first().is_some_and(|first| first.1 == word));
        let (_, queue) = of.expect("no sender's oldest request has this word");
        let (from, _) = queue.remove(0);
        let id = self.new_id();
        self.requests.insert(id, Request { owner: who, handle, from: Some(from) });
        self.place(from).has = Has::Nothing(Link::Taken(id));
    }

    pub(crate) fn refuse(&mut self, who: usize, handle: u64) -> Result<Told, Refusal> {
        let id = self.request(who, handle)?;
        let from = self.requests.remove(&id).unwrap().from;
        Ok(from.map(|place| self.lose(place, Link::Refused)).unwrap_or_default())
    }

    /// An attachment has no area, or will get none: who is told.
    fn lose(&mut self, place: Id, link: Link) -> Told {
        self.place(place).has = Has::Nothing(link);
        self.tells(place)
    }

    pub(crate) fn accept(
        &mut self,
        who: usize,
        (request, handle): (u64, u64),
        may_write: bool,
    ) -> Result<Told, Refusal> {
        let request = self.request(who, request)?;
        let (_, area, told) = self.offered(who, handle)?;
        let from = self.requests[&request].from.ok_or(Refusal::PeerGone)?;
        if !told.is_empty() {
            return Err(Refusal::WrongState);
        }
        let Place { who: user, class, paid, .. } = self.places[&from];
        if self.users(area).contains_key(&user) {
            return Err(Refusal::Exists);
        }
        let Area { class: wanted, pages, .. } = self.areas[&area];
        if class != wanted || paid < pages {
            return Err(Refusal::Range);
        }
        self.requests.remove(&request);
        self.place(from).has = Has::Attached { area, may_write, is_left: false };
        Ok(self.tells(from))
    }

    pub(crate) fn revoke(&mut self, who: usize, handle: u64, user: usize) -> Result<Told, Refusal> {
        let (id, area, _) = self.offered(who, handle)?;
        let users = self.users(area);
        let theirs = *users.get(&user).ok_or(Refusal::PeerGone)?;
        self.forget(id, user);
        Ok(self.lose(theirs, Link::Gone))
    }

    /// A user has nothing to do with what is offered any more.
    fn forget(&mut self, offered: Id, user: usize) {
        if let Has::Offered(_, told) = &mut self.place(offered).has {
            told.remove(&user);
        }
    }

    /// The next user that an owner meets who takes an area away from all, or leaves it: first those that know nothing of it.
    fn next_met(&self, area: Id, told: &BTreeSet<usize>) -> Option<(usize, Id)> {
        let users = self.users(area);
        let next = users.iter().find(|(user, _)| !told.contains(user)).or(users.iter().next());
        next.map(|(user, place)| (*user, *place))
    }

    pub(crate) fn withdraw(&mut self, who: usize, handle: u64) -> Result<(Went, Told), Refusal> {
        let id = self.own(who, handle)?;
        match &self.places[&id].has {
            Has::Copying(_) => Ok((Went::Copying(id), vec![])),
            Has::Offered(area, told) => {
                let area = *area;
                let Some((user, theirs)) = self.next_met(area, told) else {
                    self.place(id).has = Has::Copying(area);
                    return Ok((Went::Copying(id), vec![]));
                };
                self.forget(id, user);
                Ok((Went::Again, self.lose(theirs, Link::Gone)))
            }
            Has::Own(_) | Has::Attached { .. } | Has::Nothing(_) => Err(Refusal::WrongState),
        }
    }

    /// SHARE_DETACH: an attachment, whatever it has, or an area that is offered.
    pub(crate) fn detach(&mut self, who: usize, handle: u64) -> Result<(Went, Told), Refusal> {
        let id = self.find(who, handle).ok_or(Refusal::BadHandle)?;
        self.leave(id)
    }

    fn leave(&mut self, id: Id) -> Result<(Went, Told), Refusal> {
        match self.places[&id].has.clone() {
            Has::Own(_) | Has::Copying(_) => Err(Refusal::WrongState),
            Has::Nothing(link) => {
                let who = self.places[&id].who;
                match link {
                    Link::Queued(to) => {
                        let queue = self.queues.get_mut(&(who, to)).unwrap();
                        queue.retain(|(asker, _)| *asker != id);
                    }
                    Link::Taken(by) => self.requests.get_mut(&by).unwrap().from = None,
                    Link::Idle | Link::Refused | Link::Gone => {}
                }
                self.places.remove(&id);
                Ok((Went::Done, vec![]))
            }
            Has::Attached { area, .. } => {
                let who = self.places.remove(&id).unwrap().who;
                if let Some(owner) = self.owner(area) {
                    self.forget(owner, who);
                    return Ok((Went::Done, self.tells(owner)));
                }
                Ok((self.freed_if_last(area), vec![]))
            }
            Has::Offered(area, mut told) => {
                let Some((user, theirs)) = self.next_met(area, &told) else {
                    self.places.remove(&id);
                    return Ok((self.freed_if_last(area), vec![]));
                };
                told.insert(user);
                let is_last = told.len() == self.users(area).len();
                if let Has::Attached { is_left, .. } = &mut self.place(theirs).has {
                    *is_left = true;
                }
                if is_last {
                    self.places.remove(&id);
                } else {
                    self.place(id).has = Has::Offered(area, told);
                }
                Ok((if is_last { Went::Done } else { Went::Again }, self.tells(theirs)))
            }
        }
    }

    fn freed_if_last(&mut self, area: Id) -> Went {
        if self.places.values().any(|place| place.has.area() == Some(area)) {
            return Went::Done;
        }
        self.areas.remove(&area);
        Went::Freed
    }

    /// SHARE_STATE.
    pub(crate) fn state(&self, who: usize, handle: u64) -> Result<State, Refusal> {
        let id = self.find(who, handle).ok_or(Refusal::BadHandle)?;
        let Place { at, has, .. } = &self.places[&id];
        let is_left = match has {
            Has::Offered(..) => false,
            Has::Attached { is_left, .. } => *is_left,
            Has::Nothing(Link::Queued(_) | Link::Taken(_)) => return Ok(State::Pending),
            Has::Nothing(Link::Refused) => return Err(Refusal::Refused),
            Has::Nothing(Link::Gone) => return Err(Refusal::PeerGone),
            Has::Nothing(Link::Idle) | Has::Own(_) | Has::Copying(_) => {
                return Err(Refusal::WrongState);
            }
        };
        let pages = self.area_of(id).unwrap().pages;
        Ok(State::Here { at: *at, pages, may_write: has.may_write(), is_left })
    }

    /// A receive port is closed: nothing is told there any more.
    pub(crate) fn deafen(&mut self, who: usize, handle: u64) -> Option<u64> {
        let id = self.find(who, handle)?;
        self.place(id).events.take().map(|(events, _)| events)
    }

    /// A partition ends: all that it had is gone or left to those who use it, and whoever had to do with it is told.
    pub(crate) fn end(&mut self, who: usize) -> Told {
        let mut told = vec![];
        let places: Vec<_> = self.of(who).map(|(id, _)| id).collect();
        for id in places {
            if let Has::Own(area) | Has::Copying(area) = self.places[&id].has {
                self.areas.remove(&area);
                self.places.remove(&id);
            }
            while self.places.contains_key(&id) {
                let (_, mut more) = self.leave(id).unwrap();
                told.append(&mut more);
            }
        }
        let requests = std::mem::take(&mut self.requests);
        let (own, others) = requests.into_iter().partition(|(_, request)| request.owner == who);
        self.requests = others;
        let own: BTreeMap<Id, Request> = own;
        let waiting = self.queues.iter_mut().filter(|(pair, _)| pair.1 == who);
        let waiting: Vec<_> = waiting.flat_map(|(_, queue)| queue.drain(..)).collect();
        let taken = own.into_values().filter_map(|request| request.from);
        for place in taken.chain(waiting.into_iter().map(|(place, _)| place)) {
            told.append(&mut self.lose(place, Link::Gone));
        }
        told
    }
}
