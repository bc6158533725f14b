//! Requests of all three kinds at once (P9): they are taken in order, answered as each kind is, and whoever waits for an answer is told
//! when it comes, and when it never will.
//!
//! Two of the three partitions have services (`OPEN`): what is closed to its asker is refused and changes nothing, and never taken.
//!
//! Whether a port still waits is looked at behind each call and each step of an end: one that waits no more has been told in that
//! step, at the interrupt that is its own. What each answer is follows from what is noted of ports and requests here.

use std::collections::BTreeSet;

use proptest::collection::vec;
use shikiri_abi::{AreaClass, Resource, Rights, Status};
use shikiri_config::{PartitionSet, Service};
use shikiri_core::area::AreaSizes;
use shikiri_core::handle::Handle;
use shikiri_model::calls::{
    ACCEPT, ACCEPT_EVENT, ACCEPT_SHARE, ALLOC, ASK, BIND, CLOSE, CLOSE_HANDLE, CONNECT,
    CONNECT_SHARE, CREATE, CREATE_RECEIVE, CREATE_SEND, CREATE_SHARE, DETACH, LIMIT, NOTIFY_ME,
    OFFER, REFUSE, STATE_OF_SHARE, TAKE, Told, call, refused, through, told,
};
use shikiri_model::estates::Estates;
use shikiri_model::random_calls;
use shikiri_stage2::WindowSizes;

const SIZES: AreaSizes =
    AreaSizes { windows: WindowSizes { pages: 12, blocks: 0, giants: 0 }, ports: 2, shares: 3 };
const PARTITIONS: usize = 3;
/// Two ports of each kind; the model's partitions have room for four requests at a time.
const PORTS: usize = 6;
/// Where a partition is told of answers to its event ports, and of requests that wait for it.
const NOTIFIED: u16 = 40;
/// Where its ports are told that have receive ports of their own: this one and those behind it.
const OWN: u16 = 41;

/// The numbers that are asked for.
const NUMBERS: [u32; 3] = [7, 8, u32::MAX];
/// Who may ask whom for which of them: by the asked one and the number, a bit for each asker.
const OPEN: [[u64; 3]; PARTITIONS] = [[0b010, !0, 0b100], [0b100, 0, 0b101], [!0; 3]];

/// The table that says so; the last partition is in none of its rows.
fn services() -> Vec<Service<'static>> {
    let rows = OPEN.iter().enumerate().take(2).flat_map(|(of, row)| {
        NUMBERS.into_iter().zip(row).map(move |(number, to)| Service {
            name: "",
            of,
            number,
            to: PartitionSet(*to),
        })
    });
    // One of the rows says the same as none.
    rows.filter(|service| service.to != PartitionSet::EMPTY).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Event,
    Channel,
    Share,
}

const KINDS: [Kind; 3] = [Kind::Event, Kind::Channel, Kind::Share];

/// A port that can ask.
#[derive(Clone, Copy, Debug)]
struct Port {
    kind: Kind,
    handle: u64,
    /// Its own receive port; an event port has none.
    events: Option<u64>,
    /// The interrupt of what becomes of its request.
    intid: u16,
    /// Which port it is of all that there have ever been.
    made: u64,
    /// Whom it has asked.
    asked: Option<usize>,
    /// The request, and whether it was taken.
    word: u64,
    is_taken: bool,
    /// What it is connected to: the other end's partition, and which of its ports, or which of its lives.
    joined: Option<(usize, u64)>,
}

/// A request that was taken.
#[derive(Clone, Copy, Debug)]
struct Taken {
    handle: u64,
    kind: Kind,
    from: usize,
    word: u64,
}

/// What a partition accepts requests with, besides its message ports.
#[derive(Clone, Copy, Debug, Default)]
struct Door {
    /// A receive port, and the send port that was connected to it last.
    receive: u64,
    sender: Option<(usize, u64)>,
    /// An area that is offered.
    area: u64,
}

struct World {
    estates: Estates,
    ports: Vec<Vec<Port>>,
    /// Requests that each partition has taken.
    taken: Vec<Vec<Taken>>,
    doors: Vec<Door>,
    /// How many ports, requests and lives there have been.
    serial: u64,
    /// The number of each partition's life.
    lives: Vec<u64>,
    /// Who is ending.
    ending: Option<usize>,
    /// What requests were answered with, by their kinds.
    answers: BTreeSet<(Kind, &'static str)>,
    /// How often somebody was told that nobody answers any more.
    ends_told: usize,
}

impl World {
    fn new() -> Self {
        let mut estates = Estates::new(PARTITIONS, 16, SIZES);
        estates.services = services();
        let mut world = Self {
            estates,
            ports: vec![Vec::new(); PARTITIONS],
            taken: vec![Vec::new(); PARTITIONS],
            doors: vec![Door::default(); PARTITIONS],
            serial: 0,
            lives: vec![0; PARTITIONS],
            ending: None,
            answers: BTreeSet::new(),
            ends_told: 0,
        };
        for who in 0..PARTITIONS {
            world.begin(who);
        }
        world
    }

    /// Makes the ports of a partition that has started.
    fn begin(&mut self, who: usize) {
        let notified = self.receive_port(who, NOTIFIED);
        self.ok(who, NOTIFY_ME, &[notified]);
        self.taken[who].clear();
        self.ports[who].clear();
        self.lives[who] = self.next();
        let page = u64::from(AreaClass::Page.code());
        let area = self.ok(who, ALLOC, &[4096, page, 0]);
        assert_eq!(through(&mut self.estates, who, OFFER, &[area, 0]), vec![]);
        let receive = self.ok(who, CREATE_RECEIVE, &[]);
        self.doors[who] = Door { receive, sender: None, area };
        for at in 0..PORTS {
            let kind = KINDS[at % 3];
            let intid = OWN + at as u16;
            let events = (kind != Kind::Event).then(|| self.receive_port(who, intid));
            let intid = if events.is_some() { intid } else { NOTIFIED };
            let (made, word) = (self.next(), 0);
            let port = Port {
                kind,
                handle: 0,
                events,
                intid,
                made,
                asked: None,
                word,
                is_taken: false,
                joined: None,
            };
            let handle = self.make(who, port);
            self.ports[who].push(Port { handle, ..port });
        }
    }

    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn receive_port(&mut self, who: usize, intid: u16) -> u64 {
        let port = self.ok(who, CREATE_RECEIVE, &[]);
        self.ok(who, BIND, &[port, u64::from(intid), 0, 0]);
        port
    }

    fn make(&mut self, who: usize, port: Port) -> u64 {
        let page = u64::from(AreaClass::Page.code());
        match (port.kind, port.events) {
            (Kind::Channel, Some(events)) => self.ok(who, CREATE, &[events, 1, page]),
            (Kind::Share, Some(events)) => self.ok(who, CREATE_SHARE, &[events, 4096, page]),
            _ => self.ok(who, CREATE_SEND, &[]),
        }
    }

    /// A call that succeeds and tells nobody of anything; its first result.
    fn ok(&mut self, who: usize, number: u32, arguments: &[u64]) -> u64 {
        let ([status, x1, ..], told) = call(&mut self.estates, who, number, arguments);
        assert_eq!((status, told), (0, vec![]), "call {number:#x} {arguments:x?}");
        x1
    }

    fn ask(&mut self, who: usize, at: usize, to: usize, which: usize) {
        let port = self.ports[who][at];
        let number = match port.kind {
            Kind::Event => ASK,
            Kind::Channel => CONNECT,
            Kind::Share => CONNECT_SHARE,
        };
        let word = self.next();
        let arguments = [port.handle, to as u64, u64::from(NUMBERS[which]), word];
        let ([status, ..], told) = call(&mut self.estates, who, number, &arguments);
        // At a partition that is ending what is connected may be so still, or not.
        let is_ending = port.joined.is_some_and(|(other, _)| self.ending == Some(other));
        let is_used = port.asked.is_some() || self.is_joined(port);
        if OPEN[to][which] >> who & 1 == 0 {
            assert_eq!((status, &told), (refused(Status::NotPermitted), &vec![]));
        } else if status == refused(Status::WrongState) {
            assert!(is_used || is_ending, "{port:?}");
        } else if [0, refused(Status::Pending)].contains(&status) {
            assert!(!is_used || is_ending, "{port:?}");
            let port = &mut self.ports[who][at];
            (port.asked, port.word, port.is_taken, port.joined) = (Some(to), word, false, None);
        } else {
            // A fifth request; or who ends takes none any more.
            let possible = [Status::OverLimit, Status::PeerGone].map(refused);
            assert!(possible.contains(&status) && (!is_used || is_ending), "{status:#x}");
        }
        self.compare(&told);
    }

    /// Whether a port is connected. An area stays when its owner has left; of the others nothing does.
    fn is_joined(&self, port: Port) -> bool {
        port.joined.is_some_and(|(other, which)| match port.kind {
            Kind::Event => self.lives[other] == which,
            Kind::Channel => self.ports[other].iter().any(|port| port.made == which),
            Kind::Share => true,
        })
    }

    /// The oldest request of a partition that waits for `to`.
    fn oldest(&self, from: usize, to: usize) -> Option<Port> {
        let waiting = |port: &&Port| port.asked == Some(to) && !port.is_taken;
        self.ports[from].iter().filter(waiting).min_by_key(|port| port.word).copied()
    }

    fn take(&mut self, who: usize) {
        let ([status, request, sender, word], told) = call(&mut self.estates, who, TAKE, &[]);
        if status == 0 {
            let from = (0..PARTITIONS)
                .find(|from| self.oldest(*from, who).is_some_and(|port| port.word == word));
            let from = from.expect("the oldest of some sender");
            let which = NUMBERS.iter().position(|number| u64::from(*number) == sender >> 32);
            assert_eq!(OPEN[who][which.unwrap()] >> from & 1, 1, "{from} has not come through");
            let kind = KINDS[usize::try_from(request >> 56).unwrap()];
            let port = self.ports[from].iter_mut().find(|port| port.word == word).unwrap();
            assert_eq!(kind, port.kind);
            port.is_taken = true;
            let handle = request & ((1 << 56) - 1);
            self.taken[who].push(Taken { handle, kind, from, word });
        } else {
            assert_eq!(status, refused(Status::Empty));
            let waits = |from| self.oldest(from, who);
            assert!((0..PARTITIONS).all(|from| waits(from).is_none()), "a request waits");
        }
        self.compare(&told);
    }

    /// The port that made a request, if it still waits for its answer.
    fn asker(&mut self, who: usize, request: Taken) -> Option<&mut Port> {
        let its = |port: &&mut Port| port.asked == Some(who) && port.word == request.word;
        self.ports[request.from].iter_mut().find(its)
    }

    /// Refuses a request that was taken, by the call for it or by closing its handle.
    fn refuse(&mut self, who: usize, at: usize, number: u32) {
        if self.taken[who].is_empty() {
            return;
        }
        let at = at % self.taken[who].len();
        let request = self.taken[who].swap_remove(at);
        let waits = self.asker(who, request).map(|port| port.intid);
        let ([status, ..], told) = call(&mut self.estates, who, number, &[request.handle]);
        assert_eq!(status, 0, "call {number:#x}");
        let told_of = waits.map(|intid| (request.from as u8, intid));
        assert_eq!(told, Vec::from_iter(told_of), "{request:?}");
        self.answers.insert((request.kind, if waits.is_some() { "refused" } else { "late" }));
        self.compare(&told);
    }

    /// Accepts a request that was taken with the call of this kind, and, if that is a channel's, with this message port.
    fn accept(&mut self, who: usize, at: usize, kind: Kind, with: usize) {
        if self.taken[who].is_empty() {
            return;
        }
        let at = at % self.taken[who].len();
        let request = self.taken[who][at];
        let own = self.ports[who][[1, 4][with % 2]];
        let Door { receive, sender, area } = self.doors[who];
        let (number, object) = match kind {
            Kind::Event => (ACCEPT_EVENT, receive),
            Kind::Channel => (ACCEPT, own.handle),
            Kind::Share => (ACCEPT_SHARE, area),
        };
        let arguments = [request.handle, object, 1];
        let arguments = &arguments[..if kind == Kind::Share { 3 } else { 2 }];
        let ([status, ..], told) = call(&mut self.estates, who, number, arguments);
        let (is_used, used) = match kind {
            Kind::Event => {
                let is_there = |(from, made): (usize, u64)| {
                    self.ports[from].iter().any(|port| port.made == made)
                };
                (sender.is_some_and(is_there), Status::WrongState)
            }
            Kind::Channel => (own.asked.is_some() || self.is_joined(own), Status::WrongState),
            Kind::Share => {
                let life = self.lives[who];
                let has_it = |port: &Port| port.kind == kind && port.joined == Some((who, life));
                (self.ports[request.from].iter().any(has_it), Status::Exists)
            }
        };
        let life = self.lives[who];
        let (want, how) = match self.asker(who, request) {
            _ if kind != request.kind => (refused(Status::BadHandle), "of another kind"),
            None => (refused(Status::PeerGone), "gone"),
            Some(_) if is_used => (refused(used), "in use"),
            Some(port) => {
                let its = (request.from as u8, port.intid);
                let joined = if kind == Kind::Channel { own.made } else { life };
                (port.asked, port.joined) = (None, Some((who, joined)));
                let made = port.made;
                let mut all = vec![its];
                match kind {
                    Kind::Event => self.doors[who].sender = Some((request.from, made)),
                    Kind::Channel => {
                        let mine = self.ports[who].iter_mut().find(|port| port.made == own.made);
                        mine.unwrap().joined = Some((request.from, made));
                        all.insert(0, (who as u8, own.intid));
                    }
                    Kind::Share => {}
                }
                assert_eq!(told, all, "{request:?}");
                self.taken[who].swap_remove(at);
                (0, "accepted")
            }
        };
        assert_eq!(status, want, "{request:?} with {kind:?}: {how}");
        assert!(status == 0 || told.is_empty(), "what is refused tells nobody");
        self.answers.insert((request.kind, how));
        self.compare(&told);
    }

    /// Closes a port, whatever became of it, and makes it anew: what it asked is withdrawn.
    fn renew(&mut self, who: usize, at: usize) {
        let port = self.ports[who][at];
        let number = match port.kind {
            Kind::Event => CLOSE_HANDLE,
            Kind::Channel => CLOSE,
            Kind::Share => DETACH,
        };
        let made = self.next();
        (self.ports[who][at].asked, self.ports[who][at].joined) = (None, None);
        self.ports[who][at].made = made;
        let told = through(&mut self.estates, who, number, &[port.handle]);
        self.ports[who][at].handle = self.make(who, port);
        self.compare(&told);
    }

    /// One partition ends, in steps; between them another one makes a call now and then. Then it starts again.
    fn end(&mut self, who: usize, calls: &[(usize, usize)]) {
        let mut calls = calls.iter().cycle();
        self.ports[who].clear();
        self.ending = Some(who);
        let mut others = |world: &mut Self| {
            if let Some((other, at)) = calls.next()
                && *other != who
            {
                world.ask(*other, *at, who, *at % NUMBERS.len());
            }
        };
        loop {
            let (is_last, raise) = self.estates.leave_step(who);
            self.compare(&told([raise]));
            if is_last {
                break;
            }
            others(self);
        }
        let waits = self.ports.iter().flatten().any(|port| port.asked == Some(who));
        assert!(!waits, "somebody waits for a partition that has ended");
        self.ending = None;
        self.estates.bury(who);
        self.estates.start(who);
        self.begin(who);
    }

    /// Finds the ports that wait no more: each of them was told just now.
    fn compare(&mut self, told: &Told) {
        for who in 0..PARTITIONS {
            for at in 0..self.ports[who].len() {
                let port = self.ports[who][at];
                if port.asked.is_some() && !self.waits(who, port) {
                    let its = (who as u8, port.intid);
                    assert!(told.contains(&its), "{port:?} of {who} was not told: {told:?}");
                    self.ends_told += 1;
                    self.ports[who][at].asked = None;
                }
            }
        }
        self.estates.audit();
    }

    fn waits(&mut self, who: usize, port: Port) -> bool {
        if port.kind == Kind::Share {
            let state = call(&mut self.estates, who, STATE_OF_SHARE, &[port.handle]).0[0];
            return state == refused(Status::Pending);
        }
        self.estates.side(who).open().party.other_end(Handle(port.handle)).is_some()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            (0..PARTITIONS).for_each(|who| self.estates.end(who));
        }
    }
}

/// Who asks by an event port and a message port, in either order, is told of both when the asked partition ends.
#[test]
fn an_end_tells_each_port_that_waits_whatever_stands_before_it_p9() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut world = World::new();
        for at in order {
            world.ask(0, at, 1, 2);
        }
        world.end(1, &[]);
        assert_eq!(world.ends_told, 3, "{order:?}");
    }
}

/// A partition has room for so many requests at a time, of whatever kinds.
#[test]
fn a_request_too_many_is_over_the_limit_p9() {
    let full = (refused(Status::OverLimit), u64::from(Resource::ManagementMemory.number()));
    for (kind, number) in KINDS.into_iter().zip([ASK, CONNECT, CONNECT_SHARE]) {
        let mut world = World::new();
        let (its, others): (Vec<usize>, Vec<usize>) =
            (0..PORTS).partition(|at| world.ports[0][*at].kind == kind);
        for at in others {
            world.ask(0, at, 1, 2);
        }
        let arguments = [world.ports[0][its[0]].handle, 1, u64::from(NUMBERS[2]), 0];
        let ([status, which, ..], told) = call(&mut world.estates, 0, number, &arguments);
        assert_eq!(((status, which), told), (full, vec![]), "{kind:?}");
    }
}

/// What stands against the caller's own handle is told before anything that stands against the partition it names: one answer, whether
/// that partition is there, and may be asked, or not.
#[test]
fn a_bad_handle_is_told_whoever_is_asked_p9() {
    const DEAD: usize = 2;
    const GONE: (Status, u64) = (Status::PeerGone, 0);
    let mut world = World::new();
    world.estates.end(DEAD);
    for (at, number) in [ASK, CONNECT, CONNECT_SHARE].into_iter().enumerate() {
        let [port, other, limited, stale] =
            [at, (at + 1) % 3, at + 3, (at + 1) % 3 + 3].map(|at| world.ports[0][at].handle);
        world.ok(0, LIMIT, &[limited, Rights::USE.bits()]);
        let itself = if number == CONNECT_SHARE { (Status::InvalidParameter, 2) } else { GONE };
        let closed = (Status::NotPermitted, 0);
        let asked =
            [(1, 7, closed), (0, 7, closed), (0, 8, itself), (DEAD, 7, GONE), (63, 7, GONE)];
        for (to, service, why) in asked {
            let mut ask = |port| {
                let arguments = [port, to as u64, service, 0];
                let ([status, which, ..], told) = call(&mut world.estates, 0, number, &arguments);
                assert_eq!(told, vec![]);
                (status, which)
            };
            for wrong in [other, limited, stale + (1 << 16), 0, u64::MAX] {
                let answer = ask(wrong);
                assert_eq!(answer, (refused(Status::BadHandle), 0), "{number:#x} {wrong:#x} {to}");
            }
            assert_eq!(ask(port), (refused(why.0), why.1), "{number:#x} to {to}");
        }
    }
    world.estates.start(DEAD);
    world.begin(DEAD);
}

/// All kinds of answers to all kinds of requests from one queue, in each order.
#[test]
fn requests_of_all_kinds_from_one_queue_have_each_answer_p9() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut world = World::new();
        let three = |world: &mut World, second: bool| {
            for at in order {
                world.ask(0, if second { at + 3 } else { at }, 1, 2);
            }
            (0..3).for_each(|_| world.take(1));
        };
        // Each with the other kinds' calls, then with its own.
        three(&mut world, false);
        for (at, with) in (0..3).flat_map(|at| [1, 2].map(|step| (at, (order[at] + step) % 3))) {
            world.accept(1, at, KINDS[with], 0);
        }
        for at in order {
            let place = world.taken[1].iter().position(|request| request.kind == KINDS[at % 3]);
            world.accept(1, place.unwrap(), KINDS[at % 3], 0);
        }
        assert!(world.taken[1].is_empty());
        // Each with what is in use, then refused.
        three(&mut world, true);
        for at in 0..3 {
            world.accept(1, at, world.taken[1][at].kind, 0);
        }
        (0..3).for_each(|_| world.refuse(1, 0, REFUSE));
        // Withdrawn, and of one that has ended; the handles stay until they are closed.
        three(&mut world, true);
        order.iter().for_each(|at| world.renew(0, at + 3));
        for at in 0..3 {
            world.accept(1, at, world.taken[1][at].kind, 1);
        }
        three(&mut world, true);
        world.end(0, &[]);
        for at in 0..6 {
            world.accept(1, at, world.taken[1][at].kind, 1);
        }
        (0..6).for_each(|_| world.refuse(1, 0, CLOSE_HANDLE));
        let all = ["accepted", "gone", "in use", "late", "of another kind", "refused"];
        for kind in KINDS {
            let its = world.answers.iter().filter(|(of, _)| *of == kind).map(|(_, how)| *how);
            assert_eq!(Vec::from_iter(its), all, "{kind:?} in {order:?}");
        }
    }
}

/// Whoever waits for an answer is told, whatever any partition does.
#[test]
fn any_requests_are_answered_or_their_askers_told_p9() {
    let calls = vec((0..14_u8, 0..PARTITIONS, 0..PORTS, 1..PARTITIONS, 0..NUMBERS.len()), 1..80);
    let meanwhile = vec((0..PARTITIONS, 0..PORTS), 1..6);
    random_calls(&(calls, meanwhile), |(calls, meanwhile)| {
        let mut world = World::new();
        for (what, who, at, to, number) in calls {
            let to = (who + to) % PARTITIONS;
            match what {
                0..=3 => world.ask(who, at, to, number),
                4..=6 => world.take(who),
                // Mostly the call of its kind.
                7..=9 => {
                    let request = world.taken[who].get(at).or(world.taken[who].first());
                    let kind = request.map_or(KINDS[at % 3], |request| request.kind);
                    let place = world.taken[who].iter().position(|request| request.kind == kind);
                    world.accept(who, place.unwrap_or(0), kind, to);
                }
                10 => world.accept(who, at, KINDS[at % 3], to),
                11 => world.refuse(who, at, if at % 2 == 0 { REFUSE } else { CLOSE_HANDLE }),
                12 => world.renew(who, at),
                _ => world.end(who, &meanwhile),
            }
        }
        world.estates.calls
    });
}
