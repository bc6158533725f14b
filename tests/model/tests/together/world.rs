//! The partitions, and what their guests know: [`World`].

use std::collections::BTreeSet;

use shikiri_abi::channel::{ARRIVALS, entry};
use shikiri_abi::{Ipa, ObjectKind, Resource, Status, Units};
use shikiri_config::{NameEntry, PartitionSet};
use shikiri_core::area::AreaSizes;
use shikiri_core::event::Visitor;
use shikiri_core::object::{Object, Objects};
use shikiri_model::calls::{
    ACCEPT, ACCEPT_EVENT, ACCEPT_SHARE, ALLOC, ASK, CONNECT, CONNECT_SHARE, CREATE, CREATE_RECEIVE,
    CREATE_SEND, CREATE_SHARE, OFFER, OPEN, POST, TAKE, WAIT, refused,
};
use shikiri_model::estates::Estates;
use shikiri_stage2::WindowSizes;

use crate::{Arg, PARTITIONS, Row, THINGS, Thing};

const SIZES: AreaSizes =
    AreaSizes { windows: WindowSizes { pages: 19, blocks: 4, giants: 2 }, ports: 3, shares: 3 };
/// Where a guest writes the name that it opens.
const NAME: Ipa = Ipa(0x4000_1000);
pub(crate) const ENTRIES: [NameEntry<'_>; 2] = [
    NameEntry { text: "solo", is_prefix: false, partitions: PartitionSet(0b011), objects: 1 },
    NameEntry { text: "log/", is_prefix: true, partitions: PartitionSet(0b111), objects: 2 },
];
const ROWS: usize = 3;
const NAMES: [&str; 5] = ["solo", "log/a", "log/b", "log/c", "other"];
const KINDS: [ObjectKind; 3] = [
    ObjectKind::Event,
    ObjectKind::Semaphore { initial: 1, maximum: 2, units: Units::Held },
    ObjectKind::Queue { depth: 1 },
];
/// What a partition may have of at its end: events, channels, areas, shared areas, objects.
pub(crate) const FAMILIES: usize = 5;

/// The handle in SIGNAL_TAKE's first result.
const HANDLE: u64 = (1 << 56) - 1;

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A call.
    Call {
        /// Which.
        row: &'static Row,
        /// What its arguments are chosen by.
        picks: [u8; 6],
    },
    /// A guest writes its credits.
    Credits { port: u8, posted: u64, consumed: u64 },
    /// Policy sets a limit to so much more than is used, or unsets it.
    Limit { line: u8, more: Option<u64> },
    /// The partition begins to end.
    End,
}

/// A message port's pages.
#[derive(Clone, Copy, Debug)]
struct Pages {
    arrivals: Ipa,
    credits: Ipa,
}

/// What a partition's guest has seen, stale handles among it.
#[derive(Clone, Debug, Default)]
struct Seen {
    things: [Vec<u64>; THINGS],
    pages: Vec<Pages>,
}

/// How it stands with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Active,
    /// Its end goes on in steps: of ports, shares and areas; of objects; of handles.
    Ending(u8),
    Ended,
}

pub(crate) struct World {
    pub(crate) estates: Estates,
    pub(crate) objects: Objects<'static>,
    rows: &'static [Object],
    pub(crate) visitor: Visitor,
    seen: [Seen; PARTITIONS],
    lives: [Life; PARTITIONS],
    /// What a partition that has nothing uses.
    idle: [[u64; Resource::ALL.len()]; PARTITIONS],
    /// Whether all state is compared around a refused call: a text of it takes a while.
    pub(crate) compares: bool,
    checks: u64,
    /// Calls that have succeeded.
    pub(crate) done: BTreeSet<u32>,
    /// Of how many families a partition had something when its end began, at most.
    pub(crate) most_left: usize,
}

impl World {
    pub(crate) fn new() -> Self {
        let estates = Estates::new(PARTITIONS, 32, SIZES);
        let rows: &'static [Object] = Vec::leak((0..ROWS).map(|_| Object::new()).collect());
        let mut world = Self {
            estates,
            objects: Objects::new(rows),
            rows,
            visitor: Visitor::new(),
            seen: Default::default(),
            lives: [Life::Active; PARTITIONS],
            idle: Default::default(),
            compares: false,
            checks: 0,
            done: BTreeSet::new(),
            most_left: 0,
        };
        world.idle = std::array::from_fn(|who| world.used(who));
        world.begin();
        world
    }

    /// Where random walks begin: each partition has a channel to the next one, with credits, an event port, a shared area and an
    /// object, and an area of its own.
    fn begin(&mut self) {
        for who in 0..PARTITIONS {
            let next = ((who + 1) % PARTITIONS) as u64;
            let [_own, shared] =
                [0, 1].map(|_| self.ok(who, ALLOC, &[4096, 0, 0], Some(Thing::Area)));
            let [send, port, attachment] = [
                self.ok(who, CREATE_SEND, &[], Some(Thing::Send)),
                self.port(who, Thing::Port),
                self.port(who, Thing::Attachment),
            ];
            self.ok(who, OFFER, &[shared, 0], None);
            self.ok(who, ASK, &[send, next, 7, 8], None);
            self.ok(who, CONNECT, &[port, next, 7, 8], None);
            self.ok(who, CONNECT_SHARE, &[attachment, next, 7, 8], None);
            let x = self.name(who, [1, 0, 0, 0, 0, 0]);
            self.ok(who, OPEN, &x, Some(Thing::Object));
        }
        for who in 0..PARTITIONS {
            let shared = self.seen[who].things[Thing::Area as usize][1];
            let (request, receive) =
                (self.request(who), self.ok(who, CREATE_RECEIVE, &[], Some(Thing::Receive)));
            self.ok(who, ACCEPT_EVENT, &[request, receive], None);
            let (request, port) = (self.request(who), self.port(who, Thing::Port));
            self.ok(who, ACCEPT, &[request, port], None);
            let request = self.request(who);
            self.ok(who, ACCEPT_SHARE, &[request, shared, 1], None);
            for Pages { credits, .. } in &self.seen[who].pages {
                assert!(self.estates.write(who, *credits, 40));
            }
        }
        self.check();
    }

    /// The next request for it.
    fn request(&mut self, who: usize) -> u64 {
        self.ok(who, TAKE, &[], None) & HANDLE
    }

    /// A message port or an attachment, with a receive port of its own.
    fn port(&mut self, who: usize, thing: Thing) -> u64 {
        let events = self.ok(who, CREATE_RECEIVE, &[], Some(Thing::Receive));
        match thing {
            Thing::Port => self.ok(who, CREATE, &[events, 2, 0], Some(thing)),
            _ => self.ok(who, CREATE_SHARE, &[events, 4096, 0], Some(thing)),
        }
    }

    /// A call that is done: its first result.
    fn ok(&mut self, who: usize, number: u32, arguments: &[u64], makes: Option<Thing>) -> u64 {
        let mut x = [0; 6];
        x[..arguments.len()].copy_from_slice(arguments);
        let [status, x1, x2, x3] = self.call(who, number, x);
        let done = [Status::Ok, Status::Pending].map(refused);
        assert!(done.contains(&status), "call {number:#x} {arguments:x?}: {status:#x}");
        self.note(who, number, makes, [x1, x2, x3]);
        x1
    }

    fn used(&mut self, who: usize) -> [u64; Resource::ALL.len()] {
        Resource::ALL.map(|line| self.estates.side(who).used(line))
    }

    pub(crate) fn perform(&mut self, who: usize, act: &Act) {
        match self.lives[who] {
            Life::Active => self.act(who, act),
            Life::Ending(_) => self.end_step(who),
            Life::Ended => {
                self.estates.start(who);
                self.lives[who] = Life::Active;
                self.seen[who] = Seen::default();
            }
        }
        self.check();
    }

    /// Ends all that live.
    pub(crate) fn end_all(&mut self) {
        for who in 0..PARTITIONS {
            if self.lives[who] == Life::Active {
                self.act(who, &Act::End);
            }
            while self.lives[who] != Life::Ended {
                self.end_step(who);
                self.check();
            }
        }
        assert_eq!(self.objects.used(), 0, "objects that nobody has");
    }

    /// Compares the books; those on frames, which take longest, each time where all state is compared, and else each fourth time.
    fn check(&mut self) {
        self.checks += 1;
        if self.compares || self.checks.is_multiple_of(4) {
            self.estates.audit();
        }
        self.estates.check_parties(&self.objects);
    }

    fn act(&mut self, who: usize, act: &Act) {
        match *act {
            Act::Call { row: (number, args, makes), picks } => {
                let x = match *number {
                    OPEN => self.name(who, picks),
                    _ => std::array::from_fn(|at| {
                        args.get(at).map_or(0, |arg| self.argument(who, *arg, picks[at]))
                    }),
                };
                self.make_call(who, *number, x, *makes);
            }
            Act::Credits { port, posted, consumed } => {
                let pages = &self.seen[who].pages;
                if let Some(Pages { credits, .. }) =
                    pages.get(usize::from(port) % pages.len().max(1))
                {
                    // The port may be closed: then the store faults, or hits the page of another port.
                    self.estates.write(who, *credits, posted);
                    self.estates.write(who, credits.wrapping_add(8), consumed);
                }
            }
            Act::Limit { line, more } => {
                let line = Resource::ALL[usize::from(line) % Resource::ALL.len()];
                let side = self.estates.side(who);
                let limit = more.map(|more| side.used(line) + more);
                side.holdings.account_mut().set_limit(line, limit);
            }
            Act::End => {
                self.note_what_is_left(who);
                self.lives[who] = Life::Ending(0);
            }
        }
    }

    /// An argument: of handles mostly the last few of its own.
    fn argument(&self, who: usize, arg: Arg, pick: u8) -> u64 {
        let pick = usize::from(pick);
        let of = |thing: Thing| {
            let owner = if pick.is_multiple_of(23) { (who + 1) % PARTITIONS } else { who };
            let all = &self.seen[owner].things[thing as usize];
            match pick {
                7 => 0x1_0000,
                8 => u64::MAX,
                _ if all.is_empty() => 0x1_0001,
                _ => all[all.len() - 1 - pick % all.len().min(5)],
            }
        };
        match arg {
            Arg::Of(thing) => of(thing),
            Arg::Maybe(_) if pick.is_multiple_of(5) => 0,
            Arg::Maybe(thing) => of(thing),
            Arg::Any => {
                let all: Vec<u64> = self.seen[who].things.iter().flatten().copied().collect();
                all.get(pick % all.len().max(1)).copied().unwrap_or(0x1_0001)
            }
            Arg::One(values) => values[pick % values.len()],
        }
    }

    /// OBJECT_OPEN's registers, the name being where they say.
    fn name(&self, who: usize, [name, kind, ..]: [u8; 6]) -> [u64; 6] {
        let text = NAMES[usize::from(name) % NAMES.len()];
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        assert!(self.estates.write(who, NAME, u64::from_le_bytes(bytes)));
        // Mostly the kind that goes with the name.
        let own = if kind < 220 { name } else { kind };
        let [a, b, c, d] = KINDS[usize::from(own) % NAMES.len() % KINDS.len()].encode();
        [NAME.0, text.len() as u64, a, b, c, d]
    }

    fn make_call(&mut self, who: usize, number: u32, mut x: [u64; 6], makes: Option<Thing>) {
        // At most three steps of one call, and then what others do.
        for _ in 0..3 {
            let [status, x1, x2, x3] = self.call(who, number, x);
            let is_step = status == refused(Status::Again) && x1 != 0;
            let is_done = [Status::Ok, Status::Pending].map(refused).contains(&status);
            if is_done || is_step {
                self.note(who, number, makes, [x1, x2, x3]);
            }
            if is_done {
                self.done.insert(number);
            }
            if !is_step {
                break;
            }
            if makes.is_some() {
                x[2] = x1;
            }
        }
        self.receive();
    }

    /// The guest notes what it got.
    fn note(&mut self, who: usize, number: u32, makes: Option<Thing>, [x1, x2, x3]: [u64; 3]) {
        let seen = &mut self.seen[who];
        let (thing, handle) = match (number, makes) {
            (TAKE, _) => {
                let kinds = [Thing::EventRequest, Thing::ChannelRequest, Thing::AttachRequest];
                let kind = (x1 >> 56) as usize;
                (kinds[kind], x1 & HANDLE)
            }
            (_, Some(thing)) => (thing, x1),
            _ => return,
        };
        if thing == Thing::Port {
            seen.pages.push(Pages { arrivals: Ipa(x2), credits: Ipa(x3) });
        }
        let all = &mut seen.things[thing as usize];
        if !all.contains(&handle) {
            all.push(handle);
        }
    }

    /// Each guest notes the areas that stand in its arrivals.
    fn receive(&mut self) {
        for (who, seen) in self.seen.iter_mut().enumerate() {
            if self.lives[who] != Life::Active {
                continue;
            }
            for Pages { arrivals, .. } in &seen.pages {
                for number in 0..ARRIVALS {
                    let at = arrivals.wrapping_add(8 * (entry(number) + 1) as u64);
                    let Some(area) = self.estates.read(who, at) else { break };
                    let all = &mut seen.things[Thing::Area as usize];
                    if area != 0 && !all.contains(&area) {
                        all.push(area);
                    }
                }
            }
        }
    }

    /// Makes a call; one that is refused has changed nothing and told nobody.
    fn call(&mut self, who: usize, number: u32, x: [u64; 6]) -> [u64; 4] {
        let before = self.snapshot();
        let (answer, told) = self.answer(who, number, x);
        let is = |status| answer[0] == refused(status);
        if is(Status::Ok) || is(Status::Pending) || is(Status::Again) {
            return answer;
        }
        assert_eq!(told, vec![], "call {number:#x} {x:x?}");
        // These note that the partition waits.
        let waits = [(WAIT, Status::Empty), (POST, Status::Full)];
        if !waits.iter().any(|(call, status)| *call == number && is(*status)) {
            let after = self.snapshot();
            let same = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
            let near = |text: &str| text[same.saturating_sub(60)..].chars().take(120).collect();
            let [before, after]: [String; 2] = [near(&before), near(&after)];
            assert_eq!(after, before, "call {number:#x} {x:x?}: {answer:x?}");
        }
        answer
    }

    fn snapshot(&self) -> String {
        if !self.compares {
            return String::new();
        }
        format!("{} {:?}", self.estates.snapshot(), self.rows)
    }

    /// Of how many families the partition has something: of ports and shared areas, what is connected.
    fn note_what_is_left(&mut self, who: usize) {
        let shared = self.estates.shared(who).unwrap();
        let (mut families, mut from) = (BTreeSet::new(), 0);
        while let Some([what, ..]) = shared.look(from) {
            let (kind, state) = (what >> 16 & 0xff, what >> 24);
            let is_there = match kind {
                1 | 4 | 9 => state == 4,
                _ => [6, 8].contains(&kind),
            };
            families.extend(is_there.then_some(kind));
            from = (what & 0xffff) as u16 + 1;
        }
        self.most_left = self.most_left.max(families.len());
    }

    /// One step of a partition's end, as its worker makes them.
    fn end_step(&mut self, who: usize) {
        let Life::Ending(stage) = self.lives[who] else { return };
        let is_last = match stage {
            0 => self.estates.leave_step(who).0,
            1 => {
                let objects = &self.objects;
                let (was_one, wake) =
                    self.estates.of(who, |own, _| objects.end_step(&mut own.party, own.holdings));
                self.tell(wake);
                !was_one
            }
            _ => self.estates.party_step(who).0,
        };
        if is_last {
            self.lives[who] = Life::Ending(stage + 1);
        }
        if is_last && stage == 2 {
            assert_eq!(self.used(who), self.idle[who], "charged behind the end of {who}");
            // It asserts that the account is at zero, and that no frame is left.
            self.estates.bury(who);
            self.lives[who] = Life::Ended;
        }
    }
}
