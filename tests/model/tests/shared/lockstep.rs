//! Shared areas against [`Model`] (C5, P3): three partitions make, offer, withdraw and free areas, make attachments, ask, take, accept,
//! refuse, revoke, leave, close what they are told at, and end, in any order and in the middle of what takes several calls, with stale, foreign
//! and invented handles and with accounts that are full. After each call: the same answer and the same interrupts, the same charges and
//! frames; each partition reaches what the model says, with the rights that it was given and what was written there last, and nothing
//! else; all books agree; a refusal has changed nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, Resource, Status};
use shikiri_core::party::Refusal;
use shikiri_model::calls::{
    ACCEPT_SHARE, ALLOC, BIND, CLOSE_HANDLE, CONNECT_SHARE, CREATE_RECEIVE, CREATE_SHARE, DETACH,
    FREE, INFO, KEEP, NOTIFY_ME, OFFER, REFUSE, REVOKE, STATE_OF_SHARE, TAKE, WITHDRAW, call,
    refused, told,
};
use shikiri_model::estates::Estates;
use shikiri_model::{random_calls, steps};

use super::model::{Area, Has, Id, Link, Model, PARTITIONS, Place, SIGNALS, State, Told, Went};
use crate::{AGAIN, OK, SIZES, code};

/// What a guest does; numbers choose among the handles that there have ever been.
#[derive(Clone, Debug)]
enum Act {
    Alloc { pages: u64, class: AreaClass },
    Offer { area: usize, events: Events, is_tight: bool },
    Withdraw(usize),
    Revoke { area: usize, user: usize },
    Create { pages: u64, class: AreaClass, events: Events, is_tight: bool },
    Connect { port: usize, to: usize },
    Take,
    Accept { request: usize, area: usize, may_write: bool },
    Refuse(usize),
    Detach(usize),
    Free(usize),
    Info(usize),
    Keep(usize),
    State(usize),
    Deafen(usize),
    End,
}

/// Where a share is to be told.
#[derive(Clone, Copy, Debug)]
enum Events {
    /// At a receive port of its own.
    Fresh,
    /// Nowhere, if that is possible; else at a handle of nothing.
    Nowhere,
    /// At one that another share has, or at a handle of nothing.
    Used(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let kind = || {
        prop_oneof![
            4 => Just((1_u64, AreaClass::Page)),
            6 => Just((3, AreaClass::Block)),
            3 => Just((70, AreaClass::Block)),
            1 => Just((512, AreaClass::Block)),
            2 => Just((520, AreaClass::Giant)),
            1 => (0..3_u64).prop_map(|pages| (pages, AreaClass::Page)),
            1 => Just((513, AreaClass::Block)),
        ]
    };
    let events = || {
        prop_oneof![
            8 => Just(Events::Fresh),
            1 => Just(Events::Nowhere),
            1 => (0..64_usize).prop_map(Events::Used),
        ]
    };
    let one = || 0..64_usize;
    let tight = || prop::bool::weighted(0.1);
    prop_oneof![
        4 => kind().prop_map(|(pages, class)| Act::Alloc { pages, class }),
        7 => (one(), events(), tight())
            .prop_map(|(area, events, is_tight)| Act::Offer { area, events, is_tight }),
        2 => one().prop_map(Act::Withdraw),
        3 => (one(), 0..5_usize).prop_map(|(area, user)| Act::Revoke { area, user }),
        6 => (kind(), events(), tight()).prop_map(|((pages, class), events, is_tight)| {
            Act::Create { pages, class, events, is_tight }
        }),
        9 => (one(), 0..4_usize).prop_map(|(port, to)| Act::Connect { port, to }),
        9 => Just(Act::Take),
        12 => (one(), one(), any::<bool>())
            .prop_map(|(request, area, may_write)| Act::Accept { request, area, may_write }),
        1 => one().prop_map(Act::Refuse),
        4 => one().prop_map(Act::Detach),
        1 => one().prop_map(Act::Free),
        1 => one().prop_map(Act::Info),
        1 => one().prop_map(Act::Keep),
        1 => one().prop_map(Act::State),
        1 => one().prop_map(Act::Deafen),
        1 => prop::bool::weighted(0.4).prop_map(|ends| if ends { Act::End } else { Act::Take }),
    ]
}

/// The handles that a guest tries.
#[derive(Clone, Debug, Default)]
struct Seen {
    areas: Vec<u64>,
    ports: Vec<u64>,
    requests: Vec<u64>,
}

struct World {
    estates: Estates,
    model: Model,
    seen: [Seen; PARTITIONS],
    /// Addresses at which a partition has ever had something.
    addresses: BTreeSet<(usize, Ipa)>,
    /// What a partition that has nothing uses, and frames that are free then.
    idle: [[u64; 4]; PARTITIONS],
    free: u64,
    /// Each request and each word that is written has a number of its own.
    serial: u64,
    answers: BTreeSet<(&'static str, String)>,
    steps: usize,
}

/// One of these, mostly a late one; or something else.
fn pick(from: &[u64], others: &[u64], which: usize) -> u64 {
    match which {
        0..3 => [0, 0x1_0000, u64::MAX][which],
        3 if !others.is_empty() => others[others.len() / 2],
        _ if from.is_empty() => 0x1_0001,
        _ => from[from.len() - 1 - which % from.len().min(4)],
    }
}

impl World {
    fn new() -> Self {
        let mut estates = Estates::new(PARTITIONS, 32, SIZES);
        (0..PARTITIONS).for_each(|who| listen(&mut estates, who));
        let idle = std::array::from_fn(|who| used(&mut estates, who));
        let free = estates.machine.store.free_pages().0;
        Self {
            estates,
            model: Model::default(),
            seen: Default::default(),
            addresses: BTreeSet::new(),
            idle,
            free,
            serial: 1,
            answers: BTreeSet::new(),
            steps: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Makes a call, and compares what it answers with what the model does; its result and its registers if both succeed.
    fn call<R>(
        &mut self,
        (who, number): (usize, u32),
        arguments: &[u64],
        (name, wanted): (&'static str, Result<(R, Told), Refusal>),
    ) -> Option<(R, [u64; 4])> {
        let (answer, told) = call(&mut self.estates, who, number, arguments);
        let expected =
            wanted.as_ref().err().map_or("OK".to_owned(), |refusal| format!("{refusal:?}"));
        let what = format!("{name} of {who} with {arguments:x?}: {expected}");
        self.answers.insert((name, expected));
        match wanted {
            Ok((result, wanted)) => {
                let done = [OK, AGAIN, refused(Status::Pending)];
                assert!(done.contains(&answer[0]), "{what}, but {answer:x?}");
                assert_eq!(told, wanted, "{what}");
                Some((result, answer))
            }
            Err(refusal) => {
                assert_eq!(answer, refusal.registers(), "{what}");
                assert_eq!(told, vec![], "{what}");
                None
            }
        }
    }

    fn perform(&mut self, who: usize, act: &Act) {
        let Seen { areas, ports, requests } = self.seen[who].clone();
        let area = |which: usize| pick(&areas, &ports, which);
        let port = |which: usize| pick(&ports, &areas, which);
        let request = |which: usize| pick(&requests, &ports, which);
        match *act {
            Act::Alloc { pages, class } => self.alloc(who, pages, class),
            Act::Offer { area: which, events, is_tight } => {
                self.offer(who, area(which), events, is_tight);
            }
            Act::Withdraw(which) => self.withdraw(who, area(which)),
            Act::Revoke { area: which, user } => {
                let handle = area(which);
                let wanted = self.model.revoke(who, handle, user).map(|told| ((), told));
                self.call((who, REVOKE), &[handle, user as u64], ("revoke", wanted));
            }
            Act::Create { pages, class, events, is_tight } => {
                self.create(who, (pages, class), events, is_tight);
            }
            Act::Connect { port: which, to } => {
                let (handle, word) = (port(which), self.number());
                let wanted = self.model.connect(who, handle, (to, word)).map(|told| ((), told));
                self.call((who, CONNECT_SHARE), &[handle, to as u64, 1, word], ("connect", wanted));
            }
            Act::Take => {
                let wanted = self.model.has_signal(who).map(|()| ((), vec![]));
                let taken = self.call((who, TAKE), &[], ("take", wanted));
                if let Some(((), [_, handle, _, word])) = taken {
                    let handle = handle & ((1 << 56) - 1);
                    self.model.taken(who, handle, word);
                    self.seen[who].requests.push(handle);
                }
            }
            Act::Accept { request: which, area: with, may_write } => {
                let (request, area) = (request(which), area(with));
                let wanted = self.model.accept(who, (request, area), may_write);
                let arguments = [request, area, u64::from(may_write)];
                self.call(
                    (who, ACCEPT_SHARE),
                    &arguments,
                    ("accept", wanted.map(|told| ((), told))),
                );
            }
            Act::Refuse(which) => {
                let handle = request(which);
                let wanted = self.model.refuse(who, handle).map(|told| ((), told));
                self.call((who, REFUSE), &[handle], ("refuse", wanted));
            }
            Act::Detach(which) => {
                // Half of them.
                let is_owner = which.is_multiple_of(2);
                self.detach(who, if is_owner { area(which) } else { port(which) });
            }
            Act::Free(which) => self.free(who, area(which)),
            Act::Info(which) => {
                let handle = area(which);
                let wanted = self.model.info(who, handle).map(|id| (id, vec![]));
                if let Some((id, found)) = self.call((who, INFO), &[handle], ("info", wanted)) {
                    let Place { at, class, .. } = self.model.places[&id];
                    let pages = self.model.area_of(id).unwrap().pages;
                    assert_eq!(found, [OK, at.0, pages, code(class)]);
                }
            }
            Act::Keep(which) => {
                let handle = area(which);
                let wanted = self.model.keep(who, handle).map(|()| ((), vec![]));
                self.call((who, KEEP), &[handle], ("keep", wanted));
            }
            Act::State(which) => {
                self.state(who, if which < 32 { area(which) } else { port(which) });
            }
            Act::Deafen(which) => {
                // Half of them.
                let handle = if which.is_multiple_of(2) { area(which) } else { port(which) };
                if let Some(events) = self.model.deafen(who, handle) {
                    self.close_events(who, events);
                }
            }
            Act::End => self.end(who),
        }
        self.check();
    }

    fn alloc(&mut self, who: usize, pages: u64, class: AreaClass) {
        let before = used(&mut self.estates, who)[3];
        let mut arguments = [pages * PAGE_BYTES, code(class), 0];
        let wanted = self.model.alloc(who, pages, class).map(|()| ((), vec![]));
        let Some(((), mut made)) = self.call((who, ALLOC), &arguments, ("alloc", wanted)) else {
            return;
        };
        while made[0] == AGAIN {
            arguments[2] = made[1];
            made = call(&mut self.estates, who, ALLOC, &arguments).0;
        }
        let [status, handle, at, _] = made;
        assert_eq!(status, OK);
        let tables = used(&mut self.estates, who)[3] - before;
        assert!(tables <= class.most_tables(), "{tables} tables");
        let (area, copy, word) = (self.model.new_id(), 0, 0);
        self.model.areas.insert(area, Area { class, pages, tables, copy, word });
        let (at, paid, events, has) = (Ipa(at), 0, None, Has::Own(area));
        self.has_come(Place { who, handle, at, class, paid, events, has });
        self.seen[who].areas.push(handle);
    }

    fn has_come(&mut self, place: Place) {
        self.addresses.insert((place.who, place.at));
        let id = self.model.new_id();
        self.model.places.insert(id, place);
    }

    /// The receive port that a call names, and whether it is a new one; `None`: nowhere.
    fn events(&mut self, who: usize, events: Events) -> Option<(u64, Option<u16>)> {
        let used: Vec<_> = self.model.of(who).filter_map(|(_, place)| place.events).collect();
        match events {
            Events::Nowhere => None,
            Events::Used(which) => {
                Some((used.get(which % used.len().max(1)).map_or(0xffff, |it| it.0), None))
            }
            Events::Fresh => {
                let intid = (40..).find(|intid| used.iter().all(|it| it.1 != *intid)).unwrap();
                Some((bound(&mut self.estates, who, intid), Some(intid)))
            }
        }
    }

    fn close_events(&mut self, who: usize, events: u64) {
        let closed = call(&mut self.estates, who, CLOSE_HANDLE, &[events]);
        assert_eq!(closed, ([OK, 0, 0, 0], vec![]));
    }

    /// Makes `run` while nothing more can be charged to a partition, if `is_tight`.
    fn tightly<R>(&mut self, who: usize, is_tight: bool, run: impl FnOnce(&mut Self) -> R) -> R {
        let lines = [Resource::Memory, Resource::IpaSpace, Resource::ManagementMemory];
        for line in lines.into_iter().filter(|_| is_tight) {
            let used = self.estates.side(who).used(line);
            self.estates.side(who).holdings.account_mut().set_limit(line, Some(used));
        }
        let result = run(self);
        for line in lines {
            self.estates.side(who).holdings.account_mut().set_limit(line, None);
        }
        result
    }

    fn offer(&mut self, who: usize, handle: u64, events: Events, is_tight: bool) {
        let events = self.events(who, events);
        let named = |(handle, intid): (u64, Option<u16>), model: &Model| {
            let is_used = |(_, place): (Id, &Place)| place.events.is_some_and(|it| it.0 == handle);
            (intid.is_some() || model.of(who).any(is_used)).then_some(handle)
        };
        let chosen = events.map(|events| named(events, &self.model));
        let find = |model: &Model| {
            let found = model.info(who, handle).ok()?;
            Some((found, model.places[&found].has.clone()))
        };
        // What is copied already goes on, whatever is named.
        let was_own = matches!(find(&self.model), Some((_, Has::Own(_))));
        let is_tight = is_tight && was_own;
        let arguments = [handle, events.map_or(0, |(handle, _)| handle)];
        let wanted = self.model.offer(who, handle, (chosen, is_tight)).map(|id| (id, vec![]));
        let went = self.tightly(who, is_tight, |world| {
            let before = used(&mut world.estates, who)[3];
            let went = world.call((who, OFFER), &arguments, ("offer", wanted));
            went.map(|went| (went, before))
        });
        let fresh = events.filter(|(_, intid)| intid.is_some());
        match went {
            Some(((id, answer), before)) => {
                self.copies(id, before);
                if was_own {
                    let place = self.model.places.get_mut(&id).unwrap();
                    place.events = fresh.map(|(handle, intid)| (handle, intid.unwrap()));
                } else if let Some((events, _)) = fresh {
                    self.close_events(who, events);
                }
                if answer[0] == OK {
                    self.model.is_copied(id);
                }
            }
            None => {
                if let Some((events, _)) = fresh {
                    self.close_events(who, events);
                }
            }
        }
    }

    /// The second set of tables has become larger or smaller since its owner had `before` charged.
    fn copies(&mut self, id: Id, before: u64) {
        let who = self.model.places[&id].who;
        let after = used(&mut self.estates, who)[3];
        let area = self.model.places[&id].has.area().unwrap();
        let area = self.model.areas.get_mut(&area).unwrap();
        area.copy = area.copy + after - before;
        assert!(area.copy <= area.tables, "{} tables of {}", area.copy, area.tables);
    }

    fn withdraw(&mut self, who: usize, handle: u64) {
        let before = used(&mut self.estates, who)[3];
        let wanted = self.model.withdraw(who, handle);
        let Some((Went::Copying(id), answer)) =
            self.call((who, WITHDRAW), &[handle], ("withdraw", wanted))
        else {
            return;
        };
        self.copies(id, before);
        if answer[0] == OK {
            self.model.is_own_again(id);
            if let Some(events) = self.model.deafen(who, handle) {
                self.close_events(who, events);
            }
        }
    }

    fn create(
        &mut self,
        who: usize,
        (pages, class): (u64, AreaClass),
        events: Events,
        is_tight: bool,
    ) {
        let events = self.events(who, events).unwrap_or((0xffff, None));
        let is_used = |(_, place): (Id, &Place)| place.events.is_some_and(|it| it.0 == events.0);
        let is_there = events.1.is_some() || self.model.of(who).any(is_used);
        let chosen = is_there.then_some(events.0);
        let wanted = self.model.create(who, (chosen, is_tight), (pages, class));
        let arguments = [events.0, pages * PAGE_BYTES, code(class)];
        let made = self.tightly(who, is_tight, |world| {
            let wanted = wanted.map(|()| ((), vec![]));
            world.call((who, CREATE_SHARE), &arguments, ("create", wanted))
        });
        let Some(((), [_, handle, at, granted])) = made else {
            if events.1.is_some() {
                self.close_events(who, events.0);
            }
            return;
        };
        assert_eq!(granted, pages);
        let has = Has::Nothing(Link::Idle);
        let (at, events) = (Ipa(at), events.1.map(|intid| (events.0, intid)));
        self.has_come(Place { who, handle, at, class, paid: pages, events, has });
        self.seen[who].ports.push(handle);
    }

    fn detach(&mut self, who: usize, handle: u64) {
        let of = self.model.of(who).find(|(_, place)| place.handle == handle);
        let place = of.map(|(_, place)| place.clone());
        let wanted = self.model.detach(who, handle);
        let Some((went, mut answer)) = self.call((who, DETACH), &[handle], ("detach", wanted))
        else {
            return;
        };
        assert_eq!(answer[0], if went == Went::Done { OK } else { AGAIN });
        if went == Went::Freed {
            let place = place.as_ref().unwrap();
            assert_eq!(self.estates.read(who, place.at), None, "it is unmapped at once");
            while answer[0] == AGAIN {
                self.while_it_is_freed(who, place);
                let told;
                (answer, told) = call(&mut self.estates, who, DETACH, &[handle]);
                assert_eq!(told, vec![]);
            }
            assert_eq!(answer, [OK, 0, 0, 0]);
        }
        if went != Went::Again
            && let Some((events, _)) = place.and_then(|place| place.events)
        {
            self.close_events(who, events);
        }
    }

    /// What is being freed is nothing any more.
    fn while_it_is_freed(&mut self, who: usize, place: &Place) {
        self.estates.audit();
        let wrong = Refusal::WrongState.registers();
        let mut all = vec![(STATE_OF_SHARE, vec![place.handle])];
        if place.paid == 0 {
            all.extend([(OFFER, vec![place.handle, 0]), (WITHDRAW, vec![place.handle])]);
            all.push((REVOKE, vec![place.handle, (who as u64 + 1) % 3]));
            all.push((INFO, vec![place.handle]));
        } else {
            all.push((CONNECT_SHARE, vec![place.handle, (who as u64 + 1) % 3, 0, 0]));
        }
        for (number, arguments) in all {
            let answer = call(&mut self.estates, who, number, &arguments);
            assert_eq!(answer, (wrong, vec![]), "call {number:#x} while it is freed");
        }
    }

    fn free(&mut self, who: usize, handle: u64) {
        let wanted = self.model.free(who, handle).map(|()| ((), vec![]));
        if let Some((_, mut answer)) = self.call((who, FREE), &[handle], ("free", wanted)) {
            while answer[0] == AGAIN {
                answer = call(&mut self.estates, who, FREE, &[handle]).0;
            }
            assert_eq!(answer, [OK, 0, 0, 0]);
        }
    }

    fn state(&mut self, who: usize, handle: u64) {
        let wanted = self.model.state(who, handle).map(|state| (state, vec![]));
        if let Some((state, found)) = self.call((who, STATE_OF_SHARE), &[handle], ("state", wanted))
        {
            let expected = match state {
                State::Pending => [refused(Status::Pending), 0, 0, 0],
                State::Here { at, pages, may_write, is_left } => {
                    [OK, at.0, pages, u64::from(may_write) | u64::from(is_left) << 1]
                }
            };
            assert_eq!(found, expected);
        }
    }

    fn end(&mut self, who: usize) {
        let mut wanted = self.model.end(who);
        let mut all = Told::new();
        for step in [Estates::leave_step, Estates::party_step] {
            loop {
                let (is_last, raise) = step(&mut self.estates, who);
                all.extend(told([raise]));
                if is_last {
                    break;
                }
            }
        }
        self.estates.bury(who);
        all.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(all, wanted, "who is told of the end of {who}");
        self.estates.start(who);
        listen(&mut self.estates, who);
        self.seen[who] = Seen::default();
    }

    /// The machine is as the model says, and stays so when everybody writes where they can.
    fn check(&mut self) {
        for who in 0..PARTITIONS {
            let charged = self.model.charged(who);
            let wanted: [u64; 4] = std::array::from_fn(|at| self.idle[who][at] + charged[at]);
            assert_eq!(used(&mut self.estates, who), wanted, "the account of {who}");
        }
        let free = self.estates.machine.store.free_pages().0;
        assert_eq!(free + self.model.frames(), self.free, "frames");
        for (who, at) in &self.addresses {
            let found = self.model.of(*who).find(|(_, place)| place.at == *at);
            let has = found.map(|(_, place)| place.has.clone());
            let area = has.as_ref().and_then(Has::area);
            self.serial += 1;
            let (first, value) = (area.map(|area| self.model.areas[&area].word), self.serial);
            assert_eq!(self.estates.read(*who, *at), first, "partition {who} at {at:?}");
            let may_write = has.is_some_and(|has| has.may_write());
            let Some(area) = area.and_then(|area| self.model.areas.get_mut(&area)) else {
                assert!(!self.estates.write(*who, *at, value));
                continue;
            };
            // The first word and the last one.
            let last = at.wrapping_add(area.pages * PAGE_BYTES - 8);
            assert_eq!(self.estates.read(*who, last), first);
            assert_eq!([*at, last].map(|at| self.estates.write(*who, at, value)), [may_write; 2]);
            if may_write {
                area.word = value;
            }
        }
        // A look is no call that anybody has made.
        let calls = self.estates.calls;
        let places: Vec<_> =
            self.model.places.values().map(|place| (place.who, place.handle)).collect();
        for (who, handle) in places {
            self.state(who, handle);
        }
        self.estates.calls = calls;
        // It goes over all frames.
        self.steps += 1;
        if self.steps.is_multiple_of(4) {
            self.estates.audit();
        }
    }
}

/// What a partition uses of the lines that shared areas are charged to.
fn used(estates: &mut Estates, who: usize) -> [u64; 4] {
    use Resource::{EventPorts, IpaSpace, ManagementMemory, Memory};
    [EventPorts, Memory, IpaSpace, ManagementMemory].map(|line| estates.side(who).used(line))
}

/// A receive port that is bound to an interrupt of its own.
fn bound(estates: &mut Estates, who: usize, intid: u16) -> u64 {
    let ([_, events, ..], _) = call(estates, who, CREATE_RECEIVE, &[]);
    let (answer, _) = call(estates, who, BIND, &[events, u64::from(intid), 0, 0]);
    assert_eq!(answer[0], OK);
    events
}

/// Has a partition told of control signals.
fn listen(estates: &mut Estates, who: usize) {
    let events = bound(estates, who, SIGNALS);
    assert_eq!(call(estates, who, NOTIFY_ME, &[events]).0[0], OK);
}

/// Where random walks begin: each offers an area, and attaches the next one's.
fn ring() -> World {
    let mut world = World::new();
    let (class, events, is_tight, last) = (AreaClass::Block, Events::Fresh, false, 4);
    for act in [
        Act::Alloc { pages: 3, class },
        Act::Offer { area: last, events, is_tight },
        Act::Create { pages: 70, class, events, is_tight },
        Act::Connect { port: last, to: 0 },
        Act::Take,
        Act::Accept { request: last, area: last, may_write: true },
        Act::Create { pages: 3, class, events, is_tight },
    ] {
        for who in 0..PARTITIONS {
            let act = match act {
                Act::Connect { port, .. } => Act::Connect { port, to: (who + 1) % PARTITIONS },
                ref other => other.clone(),
            };
            world.perform(who, &act);
        }
    }
    world
}

#[test]
fn any_calls_of_any_partitions_agree_with_the_model() {
    random_calls(&prop::collection::vec((0..PARTITIONS, act()), 1..steps(80)), |acts| {
        let mut world = ring();
        for (who, act) in &acts {
            world.perform(*who, act);
        }
        for who in 0..PARTITIONS {
            world.perform(who, &Act::End);
        }
        assert_eq!(world.model.frames(), 0);
        (0..PARTITIONS).for_each(|who| world.estates.end(who));
        world.estates.calls
    });
}

/// The walk is worth something only if it gets everywhere.
#[test]
#[cfg_attr(
    miri,
    ignore = "hundreds of cases that reach everything only together: hours under Miri"
)]
fn the_random_calls_reach_every_answer() {
    let wanted: &[(&str, &[&str])] = &[
        ("alloc", &["OK", "Range", "OverLimit(IpaSpace)"]),
        ("offer", &["OK", "NotOwner", "BadHandle", "WrongState", "OverLimit(ManagementMemory)"]),
        ("withdraw", &["OK", "NotOwner", "WrongState"]),
        ("revoke", &["OK", "NotOwner", "WrongState", "PeerGone"]),
        (
            "create",
            &[
                "OK",
                "BadHandle",
                "WrongState",
                "Range",
                "OverLimit(ManagementMemory)",
                "OverLimit(IpaSpace)",
                "OverLimit(Memory)",
            ],
        ),
        ("connect", &["OK", "Argument(2)", "PeerGone", "BadHandle", "WrongState"]),
        ("take", &["OK", "Empty"]),
        ("accept", &["OK", "BadHandle", "NotOwner", "WrongState", "PeerGone", "Exists", "Range"]),
        ("refuse", &["OK", "BadHandle"]),
        ("state", &["OK", "BadHandle", "WrongState", "Refused", "PeerGone"]),
        ("detach", &["OK", "BadHandle", "WrongState"]),
        ("free", &["OK", "NotOwner", "WrongState"]),
        ("info", &["OK", "NotOwner"]),
        ("keep", &["NotOwner", "WrongState"]),
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let acts = prop::collection::vec((0..PARTITIONS, act()), 200);
    let mut answers = BTreeSet::new();
    for _ in 0..40 {
        let mut world = ring();
        for (who, act) in acts.new_tree(&mut runner).unwrap().current() {
            world.perform(who, &act);
        }
        answers.append(&mut world.answers);
        (0..PARTITIONS).for_each(|who| world.estates.end(who));
    }
    for (name, all) in wanted {
        for answer in *all {
            assert!(
                answers.contains(&(name, (*answer).to_owned())),
                "{name} never answered {answer}"
            );
        }
    }
}
