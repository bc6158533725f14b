//! Guests that do anything: calls drawn from a table, with arguments that mostly fit, against the specification ([`Lockstep`]).
//!
//! A [`Topic`] is such a table, with how large the partitions are and where they begin: a narrow one makes the sequences dense that one
//! family of calls needs, a broad one mixes all of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use shikiri_abi::channel::{CONSUMED, POLLS, POSTED};
use shikiri_abi::{CALLS, ObjectKind, Resource, Status};

use crate::calls::{ALLOC, BIND, CLOSE_HANDLE, CREATE_RECEIVE, NOTIFY_ME, OPEN, TAKE, refused};
use crate::lockstep::{Lockstep, Setting};
use crate::spec::Kind;
use crate::{random_calls, steps};

/// The interrupt of each partition's control signals.
const SIGNALS: u64 = 39;

/// What an argument is drawn from.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A handle of this kind, mostly of what is there, and of one's own.
    Of(Kind),
    /// A handle of any kind.
    Any,
    /// A handle of this kind, or none.
    Maybe(Kind),
    /// None, or seldom a handle of this kind.
    Seldom(Kind),
    /// A receive port that is bound and tells of nothing, made for this if there is none; or none, or any receive port.
    Fresh,
    /// The same, but hardly ever none.
    Needed,
    /// One of these.
    One(&'static [u64]),
    /// A number that no other argument was.
    Number,
}

/// A call: its number, and where its arguments come from. OBJECT_OPEN has its own.
pub type Row = (u32, &'static [Arg]);

/// What random guests do.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// The partitions.
    pub setting: Setting,
    /// How often each call is made.
    pub rows: &'static [(usize, Row)],
    /// How often, beside these, a guest writes its credits, writes anywhere, takes an interrupt; policy sets a limit; a partition ends.
    pub others: [usize; 5],
    /// The names that guests open, and the kinds, the first of which goes with the first name.
    pub names: &'static [&'static str],
    /// See `names`.
    pub kinds: &'static [ObjectKind],
    /// What a life is limited to, beyond what it begins with.
    pub limits: &'static [(Resource, u64)],
    /// Whether an account is full at some of the calls.
    pub is_tight: bool,
    /// Whether some cores tell late of named objects.
    pub is_slow: bool,
    /// Whether an end is made at once, or in steps between which the others go on.
    pub ends_at_once: bool,
    /// How many steps of making an area, and of any other call, a guest makes before others do something.
    pub steps: [usize; 2],
    /// What a partition does when it begins to live.
    pub begin: fn(&mut Guests, usize),
    /// What all do before anything random.
    pub meet: fn(&mut Guests),
}

/// What happens, and what it is chosen by.
pub type Act = (usize, Kinds, [u8; 8]);

/// The kinds of [`Act`].
#[derive(Clone, Copy, Debug)]
pub enum Kinds {
    /// A call: its row.
    Call(usize),
    /// A guest writes its credits.
    Credits,
    /// A guest writes a word at one of the places where it has ever had something.
    Write,
    /// A guest takes an interrupt.
    Interrupt,
    /// Policy sets a limit to so much more than is used, or unsets it.
    Limit,
    /// A partition begins to end.
    End,
}

/// The partitions, and what their guests have ever had.
pub struct Guests {
    /// The core and its specification.
    pub both: Lockstep,
    topic: &'static Topic,
    seen: Vec<BTreeMap<Kind, Vec<u64>>>,
    /// The most kinds of things that a partition had connected, or at all, when its end began.
    pub most_left: usize,
}

/// What happens to partitions of a topic.
pub fn acts(topic: &Topic) -> impl Strategy<Value = Act> + use<> {
    let rows = topic.rows.iter().enumerate();
    let mut kinds: Vec<Kinds> =
        rows.flat_map(|(at, (weight, _))| std::iter::repeat_n(Kinds::Call(at), *weight)).collect();
    let others = [Kinds::Credits, Kinds::Write, Kinds::Interrupt, Kinds::Limit, Kinds::End];
    for (kind, weight) in others.into_iter().zip(topic.others) {
        kinds.extend(std::iter::repeat_n(kind, weight));
    }
    (0..topic.setting.partitions, prop::sample::select(kinds), any::<[u8; 8]>())
}

/// Tries a topic with random cases of at most `most` steps, in some of which all state is compared around each refusal.
pub fn try_all(topic: &'static Topic, most: usize) {
    let acts = prop::collection::vec(acts(topic), 1..steps(most));
    random_calls(&(acts, prop::bool::weighted(0.1)), |(acts, compares)| {
        let mut guests = Guests::new(topic, compares);
        for act in &acts {
            guests.perform(act);
        }
        guests.both.end_all();
        guests.both.estates.calls
    });
}

/// Asserts that each call answers all that it may sometime, in so many cases, or in four times as many what is rare among them. The walk is
/// worth something only if it gets everywhere. Nothing answers what its row in the table of calls does not have.
///
/// # Panics
/// If not. Answers the most that a partition ever had at its end.
pub fn reach(
    topic: &'static Topic,
    (cases, length): (usize, usize),
    wanted: &[(u32, &[(Status, u64)])],
) -> usize {
    let mut runner = TestRunner::deterministic();
    let acts = prop::collection::vec(acts(topic), length);
    let mut never: BTreeSet<(u32, i64, u64)> = BTreeSet::new();
    for (number, all) in wanted {
        never.extend(all.iter().map(|(status, which)| (*number, status.code(), *which)));
    }
    let mut most_left = 0;
    for case in 0..4 * cases {
        if case >= cases && never.is_empty() {
            break;
        }
        let mut guests = Guests::new(topic, false);
        for act in acts.new_tree(&mut runner).unwrap().current() {
            guests.perform(&act);
        }
        guests.both.end_all();
        for (number, code, _) in &guests.both.answers {
            assert!(may_answer(*number, *code), "{number:#x} answers {code}: not in its row");
        }
        never.retain(|answer| !guests.both.answers.contains(answer));
        most_left = most_left.max(guests.most_left);
    }
    let never: Vec<String> = never
        .into_iter()
        .map(|(number, code, which)| format!("{number:#x}: {:?} {which}", Status::from_code(code)))
        .collect();
    assert!(never.is_empty(), "never answered: {never:?}");
    most_left
}

/// Whether the table of calls says that this one may answer that.
fn may_answer(number: u32, code: i64) -> bool {
    let row = CALLS.iter().find(|row| u32::from(row.number) == number);
    row.is_some_and(|row| row.statuses.iter().any(|status| status.code() == code))
}

/// One of these, mostly a late one.
fn late(all: &[u64], pick: usize) -> Option<u64> {
    all.len().checked_sub(1).map(|last| all[last - pick % all.len().min(5)])
}

impl Guests {
    /// Where random walks begin.
    #[must_use]
    pub fn new(topic: &'static Topic, compares: bool) -> Self {
        let mut both = Lockstep::new(&topic.setting);
        both.compares = compares;
        let seen = vec![BTreeMap::new(); topic.setting.partitions];
        let mut guests = Self { both, topic, seen, most_left: 0 };
        (0..topic.setting.partitions).for_each(|who| guests.begin(who));
        (topic.meet)(&mut guests);
        guests
    }

    fn begin(&mut self, who: usize) {
        (self.topic.begin)(self, who);
        for (line, more) in self.topic.limits {
            self.both.limit(who, *line, Some(*more));
        }
        self.look(who);
    }

    /// A receive port that is told of control signals.
    pub fn listen(&mut self, who: usize) {
        let events = self.ok(who, CREATE_RECEIVE, &[]);
        self.ok(who, BIND, &[events, SIGNALS, 0, 0]);
        self.ok(who, NOTIFY_ME, &[events]);
    }

    /// A call that is done, in as many steps as it takes: its first result.
    ///
    /// # Panics
    /// It is refused.
    pub fn ok(&mut self, who: usize, number: u32, arguments: &[u64]) -> u64 {
        let [status, x1, ..] = self.both.call(who, number, arguments);
        let done = [Status::Ok, Status::Pending].map(refused);
        assert!(done.contains(&status), "call {number:#x} {arguments:x?}: {status:#x}");
        x1
    }

    /// Takes a request.
    pub fn request(&mut self, who: usize) -> u64 {
        self.ok(who, TAKE, &[]) & ((1 << 56) - 1)
    }

    /// A receive port that is bound to an interrupt and tells of nothing; `None` if there cannot be one more.
    pub fn fresh(&mut self, who: usize) -> Option<u64> {
        if let Some(port) = self.both.spec.idle_ports(who).first() {
            return Some(*port);
        }
        let [status, events, ..] = self.both.call(who, CREATE_RECEIVE, &[]);
        if status != refused(Status::Ok) {
            return None;
        }
        let intid =
            (45..200).find(|intid| !self.both.spec.is_bound(who, *intid)).expect("few ports");
        self.ok(who, BIND, &[events, u64::from(intid), 0, 0]);
        Some(events)
    }

    /// The handles of a kind that a partition has.
    #[must_use]
    pub fn live(&self, who: usize, kind: Kind) -> Vec<u64> {
        let all = self.both.spec.handles(who).into_iter();
        all.filter(|(_, its)| *its == kind).map(|(handle, _)| handle).collect()
    }

    /// Notes what a partition has.
    fn look(&mut self, who: usize) {
        for (handle, kind) in self.both.spec.handles(who) {
            let all = self.seen[who].entry(kind).or_default();
            if !all.contains(&handle) {
                all.push(handle);
            }
        }
    }

    /// Lets something happen.
    pub fn perform(&mut self, (who, kind, picks): &Act) {
        let who = *who;
        if self.both.is_active(who) {
            self.act(who, *kind, picks);
        } else if self.both.estates.lives(who) {
            self.both.end_step(who);
        } else {
            self.restart(who);
        }
        for who in 0..self.seen.len() {
            if self.both.estates.lives(who) {
                self.look(who);
            }
        }
    }

    fn restart(&mut self, who: usize) {
        self.both.start(who);
        self.seen[who].clear();
        self.begin(who);
    }

    fn act(&mut self, who: usize, kind: Kinds, picks: &[u8; 8]) {
        match kind {
            Kinds::Call(row) => self.call(who, self.topic.rows[row].1, picks),
            Kinds::Credits => self.credits(who, picks),
            Kinds::Write => {
                let addresses = self.both.addresses(who);
                if let Some(at) = addresses.get(usize::from(picks[0]) % addresses.len().max(1)) {
                    let value = self.both.number();
                    self.both.store(who, *at, value);
                }
            }
            Kinds::Interrupt => self.both.take_interrupt(who),
            Kinds::Limit => {
                let line = Resource::ALL[usize::from(picks[0]) % Resource::ALL.len()];
                let more = (picks[1] < 180).then_some(u64::from(picks[2]) % 9);
                self.both.limit(who, line, more);
            }
            Kinds::End => {
                self.most_left = self.most_left.max(self.both.spec.in_use(who).len());
                self.both.begin_end(who);
                if self.topic.ends_at_once {
                    while !self.both.end_step(who) {}
                    self.restart(who);
                }
            }
        }
    }

    /// A guest says what may come to a port: so many more than have come, all of which it has taken or not; or nonsense.
    fn credits(&mut self, who: usize, picks: &[u8; 8]) {
        let ports = self.both.spec.credits(who);
        let Some((page, come)) = ports.get(usize::from(picks[0]) % ports.len().max(1)).copied()
        else {
            return;
        };
        let number = u64::from(picks[2]);
        let (posted, consumed) = match picks[1] % 9 {
            0..6 => (come + number % 6, Some(come)),
            6..8 => (come + number % 66, None),
            _ => (number << 56 | u64::from(picks[5]), Some(u64::from(picks[6]) % 9)),
        };
        let polls = if picks[3] < 28 { u64::from(picks[4]) } else { 0 };
        for (word, value) in [(POSTED, Some(posted)), (CONSUMED, consumed), (POLLS, Some(polls))] {
            if let Some(value) = value {
                self.both.store(who, page + 8 * word as u64, value);
            }
        }
    }

    fn argument(&mut self, who: usize, arg: Arg, pick: u8) -> u64 {
        let at = usize::from(pick);
        match arg {
            Arg::Of(kind) => self.handle(who, kind, at),
            Arg::Maybe(_) if at.is_multiple_of(5) => 0,
            Arg::Seldom(_) if !at.is_multiple_of(8) => 0,
            Arg::Fresh if at < 25 => 0,
            Arg::Maybe(kind) | Arg::Seldom(kind) => self.handle(who, kind, at / 5),
            Arg::Fresh | Arg::Needed if at < 220 => self.fresh(who).unwrap_or(0x1_0001),
            // A handle of nothing, or of any receive port.
            Arg::Fresh | Arg::Needed if at >= 245 => u64::MAX,
            Arg::Fresh | Arg::Needed => self.handle(who, Kind::Receive, at),
            Arg::Any => {
                let all: Vec<u64> = self.seen[who].values().flatten().copied().collect();
                all.get(at % all.len().max(1)).copied().unwrap_or(0x1_0001)
            }
            Arg::One(values) => values[at % values.len()],
            Arg::Number => self.both.number(),
        }
    }

    fn handle(&self, who: usize, kind: Kind, pick: usize) -> u64 {
        let owner = if pick.is_multiple_of(23) { (who + 1) % self.seen.len() } else { who };
        let live = if self.both.estates.lives(owner) { self.live(owner, kind) } else { vec![] };
        let ever = self.seen[owner].get(&kind).map_or(&[][..], Vec::as_slice);
        match pick {
            7 => 0x1_0000,
            8 => u64::MAX,
            0..200 if !live.is_empty() => late(&live, pick).unwrap_or(0),
            _ => late(ever, pick).unwrap_or(0x1_0001),
        }
    }

    fn call(&mut self, who: usize, (number, args): Row, picks: &[u8; 8]) {
        let mut x: [u64; 6] = [0; 6];
        if number == OPEN {
            x = self.opening(who, picks);
        }
        for (at, arg) in args.iter().enumerate() {
            x[at] = self.argument(who, *arg, picks[at]);
        }
        let is_tight = self.topic.is_tight && picks[6] < 26;
        let lines = [Resource::Memory, Resource::IpaSpace, Resource::ManagementMemory];
        for line in lines.into_iter().filter(|_| is_tight) {
            self.both.limit(who, line, Some(0));
        }
        let is_slow = self.topic.is_slow && picks[7] >= 192;
        let makes = number == ALLOC;
        let [making, other] = self.topic.steps;
        for _ in 0..if makes { making } else { other } {
            let [status, x1, ..] = self.both.call_slowly(who, number, &x, is_slow);
            if status != refused(Status::Again) || x1 == 0 {
                break;
            }
            if makes {
                x[2] = x1;
            }
        }
        for line in lines.into_iter().filter(|_| is_tight) {
            self.both.limit(who, line, None);
        }
        self.close_idle(who);
    }

    /// Not too many receive ports tell of nothing.
    fn close_idle(&mut self, who: usize) {
        for port in self.both.spec.idle_ports(who).into_iter().skip(2) {
            self.ok(who, CLOSE_HANDLE, &[port]);
        }
    }

    /// OBJECT_OPEN's registers, the name being where they say.
    fn opening(&mut self, who: usize, [name, kind, ..]: &[u8; 8]) -> [u64; 6] {
        let Topic { names, kinds, .. } = self.topic;
        let [at, length] = self.both.name(who, names[usize::from(*name) % names.len()]);
        // Mostly the kind that goes with the name.
        let own = if *kind < 220 { name } else { kind };
        let [a, b, c, d] = kinds[usize::from(*own) % names.len() % kinds.len()].encode();
        [at, length, a, b, c, d]
    }
}
