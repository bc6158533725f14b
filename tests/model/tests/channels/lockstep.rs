//! Areas and channels against [`Model`] (C2, C3, P3): three partitions make, send, keep, trim and free areas, make, connect, accept, refuse
//! and close ports, write anything into their credits, and end, in any order, with stale, foreign and invented handles. After each call: the
//! same answer and the same interrupts, the same charges and frames; each area is where the model says, with what was
//! written to it, and nowhere else; what arrived stands in the arrivals; a refusal has changed nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use shikiri_abi::channel::{CONNECTED, CONSUMED, POLLS, POSTED, STARVED, STATE, entry};
use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, Resource, Status};
use shikiri_core::party::Refusal;
use shikiri_model::calls::{
    ACCEPT, ALLOC, BIND, CLOSE, CLOSE_HANDLE, CONNECT, CREATE, CREATE_RECEIVE, EVENT_PAGE, FREE,
    INFO, KEEP, NOTIFY, NOTIFY_ME, REFUSE, SEND, TAKE, TRIM, call, refused, told, word,
};
use shikiri_model::estates::Estates;
use shikiri_model::{random_calls, steps};

use super::model::{Area, Home, Link, Model, PARTITIONS, Port, SIGNALS, Sent, Told};
use crate::SIZES;

/// What a guest does; numbers choose among the handles that there have ever been.
#[derive(Clone, Debug)]
enum Act {
    Alloc { pages: u64, class: AreaClass },
    Free(usize),
    Info(usize),
    Keep(usize),
    Trim { area: usize, pages: u64 },
    Create { slots: u64, class: AreaClass, events: Option<usize> },
    Connect { port: usize, to: usize },
    Take,
    Accept { request: usize, port: usize },
    Refuse(usize),
    Send { port: usize, area: Option<usize>, bytes: u64 },
    Credits { port: usize, posted: Posted, polls: u64 },
    Notify(usize),
    Close(usize),
    ShowPending,
    End,
}

/// What a guest writes into its credits.
#[derive(Clone, Copy, Debug)]
enum Posted {
    /// So many more than have come, all of which it has taken.
    More(u64),
    /// So many more, of which it has taken none yet.
    Unread(u64),
    Nonsense(u64, u64),
}

fn act() -> impl Strategy<Value = Act> {
    let class = || prop_oneof![4 => Just(AreaClass::Page), 2 => Just(AreaClass::Block), 1 => Just(AreaClass::Giant)];
    let pages = || {
        prop_oneof![
            8 => Just(1_u64),
            1 => Just(0),
            1 => Just(2),
            2 => Just(70),
            1 => Just(512),
            1 => Just(600),
        ]
    };
    let one = || 0..64_usize;
    let posted = prop_oneof![
        6 => (0..6_u64).prop_map(Posted::More),
        2 => (0..66_u64).prop_map(Posted::Unread),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(a, b)| Posted::Nonsense(a, b)),
    ];
    prop_oneof![
        6 => (pages(), class()).prop_map(|(pages, class)| Act::Alloc { pages, class }),
        3 => one().prop_map(Act::Free),
        1 => one().prop_map(Act::Info),
        4 => one().prop_map(Act::Keep),
        2 => (one(), pages()).prop_map(|(area, pages)| Act::Trim { area, pages }),
        4 => (prop_oneof![8 => 0..4_u64, 1 => Just(61)], class(), prop::option::weighted(0.1, one()))
            .prop_map(|(slots, class, events)| Act::Create { slots, class, events }),
        7 => (one(), 0..4_usize).prop_map(|(port, to)| Act::Connect { port, to }),
        7 => Just(Act::Take),
        7 => (one(), one()).prop_map(|(request, port)| Act::Accept { request, port }),
        1 => one().prop_map(Act::Refuse),
        14 => (one(), prop::option::weighted(0.8, one()), prop_oneof![4 => Just(0_u64), 1 => Just(4096), 1 => Just(8192)])
            .prop_map(|(port, area, bytes)| Act::Send { port, area, bytes }),
        8 => (one(), posted, prop_oneof![8 => Just(0_u64), 1 => any::<u64>()])
            .prop_map(|(port, posted, polls)| Act::Credits { port, posted, polls }),
        3 => one().prop_map(Act::Notify),
        3 => one().prop_map(Act::Close),
        1 => Just(Act::ShowPending),
        1 => prop::bool::weighted(0.3).prop_map(|ends| if ends { Act::End } else { Act::Take }),
    ]
}

/// The handles that a guest tries: what it has or had, and what others have.
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
    /// Addresses at which a partition has ever had an area.
    places: BTreeSet<(usize, Ipa)>,
    /// What a partition that has nothing uses, and frames that are free then.
    idle: [[u64; 4]; PARTITIONS],
    free: u64,
    /// Each area and each request has a number of its own.
    serial: u64,
    answers: BTreeSet<(&'static str, String)>,
    steps: usize,
}

/// One of these, mostly a late one; or something else.
fn pick(from: &[u64], which: usize) -> u64 {
    match which {
        0..4 => [0, 7, 0x1_0000, u64::MAX][which],
        _ if from.is_empty() => 0x1_0001,
        _ => from[from.len() - 1 - (which - 4) % from.len().min(8)],
    }
}

impl World {
    fn new() -> Self {
        let mut estates = Estates::new(PARTITIONS, 64, SIZES);
        (0..PARTITIONS).for_each(|who| listen(&mut estates, who));
        let idle = std::array::from_fn(|who| used(&mut estates, who));
        let free = estates.machine.store.free_pages().0;
        Self {
            estates,
            model: Model::default(),
            seen: Default::default(),
            places: BTreeSet::new(),
            idle,
            free,
            serial: 1,
            answers: BTreeSet::new(),
            steps: 0,
        }
    }

    /// Makes a call, and compares what it answers with what the model does; its results if both succeed.
    fn call<R>(
        &mut self,
        (who, number): (usize, u32),
        arguments: &[u64],
        (name, wanted): (&'static str, Result<(R, Told), Refusal>),
    ) -> Option<(R, [u64; 3])> {
        let ([status, x1, x2, x3], told) = call(&mut self.estates, who, number, arguments);
        let answer =
            wanted.as_ref().err().map_or("OK".to_owned(), |refusal| format!("{refusal:?}"));
        let what = format!("{name} of {who} with {arguments:x?}: {answer}");
        self.answers.insert((name, answer));
        match wanted {
            Ok((result, wanted)) => {
                let done = [Status::Ok, Status::Pending, Status::Again].map(refused);
                assert!(done.contains(&status), "{what}, but {status:#x} {x1}");
                assert_eq!(told, wanted, "{what}");
                Some((result, [x1, x2, x3]))
            }
            Err(refusal) => {
                assert_eq!([status, x1, x2, x3], refusal.registers(), "{what}");
                assert_eq!(told, vec![], "{what}");
                None
            }
        }
    }

    fn perform(&mut self, who: usize, act: &Act) {
        let Seen { areas, ports, requests } = self.seen[who].clone();
        let area = |which: usize| pick(&areas, which);
        let port = |which: usize| pick(&ports, which);
        let request = |which: usize| pick(&requests, which);
        match *act {
            Act::Alloc { pages, class } => self.alloc(who, pages, class),
            Act::Free(which) => self.free(who, area(which)),
            Act::Info(which) => self.info(who, area(which)),
            Act::Keep(which) => {
                let handle = area(which);
                let wanted = self.model.keep(who, handle).map(|id| (id, vec![]));
                self.call((who, KEEP), &[handle], ("keep", wanted));
            }
            Act::Trim { area: which, pages } => self.trim(who, area(which), pages),
            Act::Create { slots, class, events } => {
                self.create(who, (slots, class), events.map(port));
            }
            Act::Connect { port: which, to } => {
                let word = self.number();
                let wanted = self.model.connect(who, port(which), (to, word));
                let wanted = wanted.map(|told| ((), told));
                self.call((who, CONNECT), &[port(which), to as u64, 1, word], ("connect", wanted));
            }
            Act::Take => {
                let wanted = self.model.has_signal(who).map(|()| ((), vec![]));
                if let Some(((), [handle, _, word])) = self.call((who, TAKE), &[], ("take", wanted))
                {
                    let handle = handle & ((1 << 56) - 1);
                    self.model.taken(who, handle, word);
                    self.seen[who].requests.push(handle);
                }
            }
            Act::Accept { request: which, port: with } => {
                let (request, port) = (request(which), port(with));
                let wanted = self.model.accept(who, request, port).map(|told| ((), told));
                self.call((who, ACCEPT), &[request, port], ("accept", wanted));
            }
            Act::Refuse(which) => {
                let handle = request(which);
                let wanted = self.model.refuse(who, handle).map(|told| ((), told));
                self.call((who, REFUSE), &[handle], ("refuse", wanted));
            }
            Act::Send { port: which, area: with, bytes } => {
                self.send(who, port(which), (with.map_or(0, area), bytes));
            }
            Act::Credits { port: which, posted, polls } => {
                self.credits(who, port(which), posted, polls)
            }
            Act::Notify(which) => {
                let handle = port(which);
                let wanted = self.model.notify(who, handle).map(|told| ((), told));
                self.call((who, NOTIFY), &[handle], ("notify", wanted));
            }
            Act::Close(which) => self.close(who, port(which)),
            Act::ShowPending => self.show_pending(who),
            Act::End => self.end(who),
        }
        self.check();
    }

    fn number(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Makes an area in as many calls as it takes: it is clear, and gets its mark.
    fn alloc(&mut self, who: usize, pages: u64, class: AreaClass) {
        let tables = used(&mut self.estates, who)[3];
        let mut arguments = [pages * PAGE_BYTES, u64::from(class.code()), 0];
        let wanted = self.model.alloc(who, pages, class).map(|()| ((), vec![]));
        let Some(((), mut made)) = self.call((who, ALLOC), &arguments, ("alloc", wanted)) else {
            return;
        };
        while made[1] == 0 {
            arguments[2] = made[0];
            let ([status, x1, x2, x3], _) = call(&mut self.estates, who, ALLOC, &arguments);
            assert!([Status::Ok, Status::Again].map(refused).contains(&status), "{status:#x}");
            made = [x1, x2, x3];
        }
        let [handle, address, _] = made;
        let address = Ipa(address);
        let tables = used(&mut self.estates, who)[3] - tables;
        assert!(tables <= class.most_tables(), "{tables} tables");
        let last = address.wrapping_add(pages * PAGE_BYTES - 8);
        let content = [address, last].map(|at| self.estates.read(who, at));
        assert_eq!(content, [Some(0); 2], "an area is clear");
        let stamp = self.number();
        assert!(self.estates.write(who, address, stamp) && self.estates.write(who, last, stamp));
        let home = Home::Own;
        let area = Area { owner: who, handle, address, class, pages, tables, home, stamp };
        let id = self.model.new_id();
        self.model.areas.insert(id, area);
        self.has_come(area);
    }

    fn has_come(&mut self, area: Area) {
        self.places.insert((area.owner, area.address));
        self.seen[area.owner].areas.push(area.handle);
    }

    fn again(&mut self, who: usize, number: u32, arguments: &[u64]) {
        while call(&mut self.estates, who, number, arguments).0[0] == refused(Status::Again) {}
    }

    fn free(&mut self, who: usize, handle: u64) {
        let wanted = self.model.free(who, handle).map(|id| (id, vec![]));
        if self.call((who, FREE), &[handle], ("free", wanted)).is_some() {
            self.again(who, FREE, &[handle]);
        }
    }

    fn info(&mut self, who: usize, handle: u64) {
        let wanted = self.model.area(who, handle).map(|id| (id, vec![]));
        if let Some((id, found)) = self.call((who, INFO), &[handle], ("info", wanted)) {
            let Area { address, pages, class, .. } = self.model.areas[&id];
            assert_eq!(found, [address.0, pages, u64::from(class.code())]);
        }
    }

    fn trim(&mut self, who: usize, handle: u64, pages: u64) {
        let before = used(&mut self.estates, who)[3];
        let arguments = [handle, pages * PAGE_BYTES];
        let wanted = self.model.trim(who, handle, pages).map(|id| (id, vec![]));
        if let Some((id, _)) = self.call((who, TRIM), &arguments, ("trim", wanted)) {
            self.again(who, TRIM, &arguments);
            let after = used(&mut self.estates, who)[3];
            let area = self.model.areas.get_mut(&id).unwrap();
            area.tables = area.tables + after - before;
            assert!(area.tables <= area.class.most_tables(), "{} tables", area.tables);
        }
    }

    /// Makes a port with a receive port of its own, or with that of a port that there is.
    fn create(&mut self, who: usize, (slots, class): (u64, AreaClass), with: Option<u64>) {
        let with = with.and_then(|handle| self.model.port(who, handle).ok());
        let used: Vec<_> = self.model.ports_of(who).map(|(_, port)| port.intid).collect();
        let intid = (40..).find(|intid| !used.contains(intid)).unwrap();
        let events = match with {
            Some(port) => self.model.ports[&port].events,
            None => bound(&mut self.estates, who, intid),
        };
        let wanted = self.model.create(who, events, (slots, class)).map(|()| ((), vec![]));
        let arguments = [events, slots, u64::from(class.code())];
        let made = self.call((who, CREATE), &arguments, ("create", wanted));
        let Some(((), [handle, arrivals, credits])) = made else {
            if with.is_none() {
                call(&mut self.estates, who, CLOSE_HANDLE, &[events]);
            }
            return;
        };
        let (arrivals, credits) = (Ipa(arrivals), Ipa(credits));
        assert!(!self.estates.write(who, arrivals, 1), "arrivals are read only");
        [arrivals, credits].into_iter().for_each(|page| self.is_clean(who, page));
        let port = Port {
            owner: who,
            handle,
            events,
            intid,
            class,
            slots,
            arrivals,
            credits,
            link: Link::Idle,
            delivered: 0,
            peers: 0,
            posted: 0,
            consumed: 0,
            polls: 0,
            is_starved: false,
        };
        let id = self.model.new_id();
        self.model.ports.insert(id, port);
        self.seen[who].ports.push(handle);
    }

    /// A page of the hypervisor's that has just been shown.
    fn is_clean(&mut self, who: usize, page: Ipa) {
        let ram = self.estates.machine.ram.clone();
        let stage2 = self.estates.side(who).holdings.stage2().unwrap();
        let leaf = stage2.leaf_at(&ram, page).unwrap();
        assert!(ram.was_cleaned(leaf.pa), "who looks around the caches finds the last owner's");
    }

    fn show_pending(&mut self, who: usize) {
        let wanted = self.model.show_pending(who).map(|()| ((), vec![]));
        let Some(((), [page, ..])) = self.call((who, EVENT_PAGE), &[], ("page", wanted)) else {
            return;
        };
        let page = Ipa(page);
        match self.model.pending[who].replace(page) {
            Some(shown) => assert_eq!(page, shown, "it stays where it is"),
            None => {
                assert!(!self.estates.write(who, page, 1), "pending ports are read only");
                self.is_clean(who, page);
            }
        }
    }

    fn send(&mut self, who: usize, port: u64, (area, bytes): (u64, u64)) {
        let short = self.number();
        let wanted = self.model.send(who, port, (area, bytes));
        let sent = self.call((who, SEND), &[port, area, bytes, short, 1, 2], ("send", wanted));
        let Some((Sent { port, number, area }, _)) = sent else { return };
        let Port { owner, arrivals, .. } = self.model.ports[&port];
        let words: [u64; 8] =
            std::array::from_fn(|at| word(&self.estates, owner, arrivals, entry(number) + at));
        let [sequence, handle, address, meant, rest @ ..] = words;
        let pages = area.map_or(0, |id| self.model.areas[&id].pages);
        assert_eq!((sequence, meant, rest), (number + 1, bytes, [short, 1, 2, pages]));
        assert_eq!((handle == 0, address == 0), (area.is_none(), area.is_none()));
        if let Some(area) = area.and_then(|id| self.model.areas.get_mut(&id)) {
            (area.handle, area.address) = (handle, Ipa(address));
            let area = *area;
            self.has_come(area);
        }
    }

    fn credits(&mut self, who: usize, handle: u64, posted: Posted, polls: u64) {
        let Ok(id) = self.model.port(who, handle) else { return };
        let port = self.model.ports.get_mut(&id).unwrap();
        let come = port.delivered;
        (port.posted, port.consumed) = match posted {
            Posted::More(more) => (come + more, come),
            Posted::Unread(more) => (come + more, port.consumed),
            Posted::Nonsense(posted, consumed) => (posted, consumed),
        };
        port.polls = polls;
        for (at, value) in [(POSTED, port.posted), (CONSUMED, port.consumed), (POLLS, polls)] {
            assert!(self.estates.write(who, port.credits.wrapping_add(8 * at as u64), value));
        }
    }

    fn close(&mut self, who: usize, handle: u64) {
        let events = self.model.port(who, handle).ok().map(|id| self.model.ports[&id].events);
        let wanted = self.model.close(who, handle).map(|told| ((), told));
        self.call((who, CLOSE), &[handle], ("close", wanted));
        if let Some(events) = events {
            call(&mut self.estates, who, CLOSE_HANDLE, &[events]);
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

    /// The machine is as the model says.
    fn check(&mut self) {
        for who in 0..PARTITIONS {
            let charged = self.model.charged(who);
            let wanted: [u64; 4] = std::array::from_fn(|at| self.idle[who][at] + charged[at]);
            assert_eq!(used(&mut self.estates, who), wanted, "the account of {who}");
        }
        let free = self.estates.machine.store.free_pages().0;
        assert_eq!(free + self.model.frames(), self.free, "frames");
        for (who, at) in &self.places {
            let mut all = self.model.areas.values();
            let area = all.find(|area| (area.owner, area.address) == (*who, *at));
            let is_page = |(_, port): (_, &Port)| [port.arrivals, port.credits].contains(at);
            let is_shown =
                self.model.ports_of(*who).any(is_page) || self.model.pending[*who] == Some(*at);
            if area.is_some() || !is_shown {
                let found = self.estates.read(*who, *at);
                assert_eq!(found, area.map(|area| area.stamp), "partition {who} at {at:?}");
            }
        }
        for port in self.model.ports.values() {
            let is_connected = matches!(port.link, Link::Connected(_));
            let state = port.peers << 1 | if is_connected { CONNECTED } else { 0 };
            let words =
                [STATE, STARVED].map(|at| word(&self.estates, port.owner, port.arrivals, at));
            assert_eq!(words, [state, u64::from(port.is_starved)]);
        }
        // It goes over all frames.
        self.steps += 1;
        if self.steps.is_multiple_of(16) {
            self.estates.audit();
        }
    }
}

/// What a partition uses of the lines that areas and ports are charged to.
fn used(estates: &mut Estates, who: usize) -> [u64; 4] {
    use Resource::{EventPorts, IpaSpace, ManagementMemory, Memory};
    [EventPorts, Memory, IpaSpace, ManagementMemory].map(|line| estates.side(who).used(line))
}

/// A receive port that is bound to an interrupt of its own.
fn bound(estates: &mut Estates, who: usize, intid: u16) -> u64 {
    let ([_, events, ..], _) = call(estates, who, CREATE_RECEIVE, &[]);
    let (answer, _) = call(estates, who, BIND, &[events, u64::from(intid), 0, 0]);
    assert_eq!(answer[0], refused(Status::Ok));
    events
}

/// Has a partition told of control signals.
fn listen(estates: &mut Estates, who: usize) {
    let events = bound(estates, who, SIGNALS);
    assert_eq!(call(estates, who, NOTIFY_ME, &[events]).0[0], refused(Status::Ok));
}

/// Where random walks begin: a ring of channels, with credits, and an area for each.
fn ring() -> World {
    let mut world = World::new();
    let (class, events) = (AreaClass::Page, None);
    let last = 4;
    for act in [
        Act::Create { slots: 2, class, events },
        Act::Connect { port: last, to: 3 },
        Act::Create { slots: 2, class, events },
        Act::Take,
        Act::Accept { request: last, port: last },
        Act::Credits { port: last, posted: Posted::More(5), polls: 0 },
        Act::Credits { port: last + 1, posted: Posted::More(5), polls: 0 },
        Act::Alloc { pages: 1, class },
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
    random_calls(&prop::collection::vec((0..PARTITIONS, act()), 1..steps(150)), |acts| {
        let mut world = ring();
        for (who, act) in &acts {
            world.perform(*who, act);
        }
        for who in 0..PARTITIONS {
            world.perform(who, &Act::End);
        }
        assert_eq!(world.model.frames(), 0);
        world.estates.audit();
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
        ("free", &["OK", "NotOwner"]),
        ("info", &["OK", "NotOwner"]),
        ("keep", &["OK", "NotOwner", "WrongState", "OverLimit(IpaSpace)"]),
        ("trim", &["OK", "NotOwner", "WrongState", "Range"]),
        (
            "create",
            &[
                "OK",
                "WrongState",
                "Argument(2)",
                "OverLimit(ManagementMemory)",
                "OverLimit(IpaSpace)",
            ],
        ),
        ("connect", &["OK", "BadHandle", "WrongState", "PeerGone"]),
        ("take", &["OK", "Empty"]),
        ("accept", &["OK", "BadHandle", "WrongState", "PeerGone"]),
        ("refuse", &["OK", "BadHandle"]),
        (
            "send",
            &["OK", "BadHandle", "NotOwner", "WrongState", "Range", "Full", "Refused", "PeerGone"],
        ),
        ("notify", &["OK", "BadHandle", "WrongState", "Refused", "PeerGone"]),
        ("close", &["OK", "BadHandle"]),
        ("page", &["OK", "OverLimit(IpaSpace)"]),
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let acts = prop::collection::vec((0..PARTITIONS, act()), 200);
    let mut answers = BTreeSet::new();
    for _ in 0..60 {
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
