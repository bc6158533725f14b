//! Ends of partitions at every step of a message channel's life (C4, P5), enumerated and not hit by timing.
//!
//! [`SCRIPT`] is the whole sequence of two guests, one hypercall or one access to their pages per step; calls that answer
//! AGAIN are as many steps as they need. A *point* lies between any two steps. At each, either side is ended, one bounded
//! step of the end after the other; between any two of those the other side goes on with its part of the script, as a guest does that
//! knows nothing yet. All books are compared after each step. Then the ended one starts again, and the two talk as if
//! nothing had been.

use std::collections::BTreeSet;

use shikiri_abi::channel::{CONNECTED, CONSUMED, POSTED, STATE, entry};
use shikiri_abi::{AreaClass, CALLS, Ipa, PAGE_BYTES, PageCount, Status};
use shikiri_core::area::{AreaSizes, LeaveStep};
use shikiri_model::calls::{
    ACCEPT, ALLOC, BIND, CLOSE, CLOSE_HANDLE, CONNECT, CREATE, CREATE_RECEIVE, EVENT_PAGE, FREE,
    INFO, KEEP, NOTIFY, NOTIFY_ME, REFUSE, SEND, SPLIT, TAKE, TRIM, Told, call, refused, told,
};
use shikiri_model::estates::Estates;
use shikiri_stage2::WindowSizes;

const SIZES: AreaSizes =
    AreaSizes { windows: WindowSizes { pages: 8, blocks: 4, giants: 4 }, ports: 2, shares: 0 };
const C: usize = 0;
const S: usize = 1;
/// The interrupts of a guest's message port and of its notification port.
const EVENTS: u64 = 40;
const SIGNALS: u64 = 41;
/// An area with tables: some steps to make, some to free.
const CLASS: AreaClass = AreaClass::Giant;
const PAGES: u64 = 700;
/// What stays of it when it is trimmed, and of that when it is split.
const LESS: u64 = 600;
const LEAST: u64 = 500;

/// What a guest does in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Op {
    /// Makes the receive port of its message port, or of its notifications, and binds it.
    Events,
    BindEvents,
    Signals,
    BindSignals,
    NotifyMe,
    /// Asks for the page of pending ports; there is no way back but its end.
    ShowPending,
    Create,
    Connect,
    Take,
    Refuse,
    Accept,
    /// Writes its credits: all that has come is taken, and two more are offered.
    Post,
    Notify,
    Alloc,
    Info,
    /// Writes to the area.
    Write,
    /// Sends the area, or a short message alone.
    Send,
    SendShort,
    /// Reads the next message from the arrivals.
    Receive,
    Keep,
    Trim,
    /// Makes its tail another area, and frees that.
    Split,
    FreeTail,
    Free,
    Close,
    CloseEvents,
    CloseSignals,
}

/// The sequence of C4, from the first call to the last, in the order in which it comes if nobody ends.
const SCRIPT: &[(usize, Op)] = &[
    (S, Op::Signals),
    (S, Op::BindSignals),
    (S, Op::NotifyMe),
    (C, Op::Events),
    (C, Op::BindEvents),
    (C, Op::ShowPending),
    (C, Op::Create),
    (C, Op::Connect),
    (S, Op::Take),
    (S, Op::Refuse),
    (C, Op::Connect),
    (S, Op::Events),
    (S, Op::BindEvents),
    (S, Op::Create),
    (S, Op::Take),
    (S, Op::Accept),
    (C, Op::Post),
    (S, Op::Post),
    (C, Op::Alloc),
    (C, Op::Info),
    (C, Op::Trim),
    (C, Op::Split),
    (C, Op::FreeTail),
    (C, Op::Write),
    (C, Op::Send),
    (S, Op::Receive),
    (S, Op::Write),
    (S, Op::Post),
    (S, Op::Notify),
    (S, Op::ShowPending),
    (S, Op::Send),
    (C, Op::Receive),
    (C, Op::Post),
    (C, Op::Keep),
    (C, Op::Write),
    (C, Op::Send),
    (S, Op::Receive),
    (S, Op::Free),
    (S, Op::Post),
    (S, Op::SendShort),
    (C, Op::Receive),
    (C, Op::Alloc),
    (C, Op::Send),
    (S, Op::Receive),
    (C, Op::Alloc),
    (C, Op::Close),
    (S, Op::SendShort),
    (S, Op::Close),
    (S, Op::Free),
    (C, Op::Free),
    (C, Op::CloseEvents),
    (S, Op::CloseEvents),
    (S, Op::CloseSignals),
];

/// A guest: what it has, and how far it is in its part of the script.
#[derive(Clone, Debug, Default)]
struct Guest {
    events: u64,
    signals: u64,
    port: u64,
    arrivals: u64,
    credits: u64,
    request: u64,
    /// The area, complete or on its way, and where it is.
    area: u64,
    address: u64,
    /// What was split off, or a part of it.
    tail: u64,
    taken: u64,
    at: usize,
}

/// Two guests on their machine.
struct Run {
    estates: Estates,
    guests: [Guest; 2],
    /// Calls that were made.
    numbers: BTreeSet<u32>,
}

/// A handle that is nobody's: what a guest that has none uses.
const NONE: u64 = 0x1_0000;

impl Run {
    fn new() -> Self {
        Self {
            estates: Estates::new(2, 16, SIZES),
            guests: [Guest::default(), Guest::default()],
            numbers: BTreeSet::new(),
        }
    }

    /// A call; its status stands in its row, whatever the peer does at that moment. What it raised goes to `told`.
    fn call(&mut self, who: usize, number: u32, arguments: &[u64], heard: &mut Told) -> [u64; 4] {
        self.numbers.insert(number);
        let (answer, raised) = call(&mut self.estates, who, number, arguments);
        heard.extend(raised);
        let row = CALLS.iter().find(|row| u32::from(row.number) == number).unwrap();
        let is_known = row.statuses.iter().any(|status| refused(*status) == answer[0]);
        assert!(is_known, "{}: {:#x}", row.name, answer[0]);
        answer
    }

    /// Whether a guest's port is connected, as its arrivals page says; `None` if it has none.
    fn is_connected(&self, who: usize) -> Option<bool> {
        let page = Ipa(self.guests[who].arrivals);
        let state = self.estates.read(who, page.wrapping_add(8 * STATE as u64))?;
        Some(state & CONNECTED != 0)
    }

    /// Whether a guest's port says that its peer has gone.
    fn is_gone(&mut self, who: usize) -> bool {
        let port = self.guests[who].port;
        if port == 0 || self.is_connected(who) == Some(true) {
            return false;
        }
        call(&mut self.estates, who, SEND, &[port]).0[0] == refused(Status::PeerGone)
    }

    /// One step of a guest; true if the next one of its script follows.
    fn step(&mut self, who: usize, op: Op, heard: &mut Told) -> bool {
        let g = self.guests[who].clone();
        let or_none = |handle: u64| if handle == 0 { NONE } else { handle };
        let (number, arguments) = match op {
            Op::Events | Op::Signals => (CREATE_RECEIVE, vec![]),
            Op::BindEvents => (BIND, vec![or_none(g.events), EVENTS]),
            Op::BindSignals => (BIND, vec![or_none(g.signals), SIGNALS]),
            Op::NotifyMe => (NOTIFY_ME, vec![or_none(g.signals)]),
            Op::ShowPending => (EVENT_PAGE, vec![]),
            Op::Create => (CREATE, vec![or_none(g.events), 2, u64::from(CLASS.code())]),
            Op::Connect => (CONNECT, vec![or_none(g.port), 1 - who as u64, 7, 8]),
            Op::Take => (TAKE, vec![]),
            Op::Refuse => (REFUSE, vec![or_none(g.request)]),
            Op::Accept => (ACCEPT, vec![or_none(g.request), or_none(g.port)]),
            Op::Notify => (NOTIFY, vec![or_none(g.port)]),
            Op::Alloc => (ALLOC, vec![PAGES * PAGE_BYTES, u64::from(CLASS.code()), g.area]),
            Op::Info => (INFO, vec![or_none(g.area)]),
            Op::Send => (SEND, vec![or_none(g.port), or_none(g.area), 64, 1, 2, 3]),
            Op::SendShort => (SEND, vec![or_none(g.port), 0, 0, 4, 5, 6]),
            Op::Keep => (KEEP, vec![or_none(g.area)]),
            Op::Trim => (TRIM, vec![or_none(g.area), LESS * PAGE_BYTES]),
            Op::Split => {
                let class = u64::from(CLASS.code());
                (SPLIT, vec![or_none(g.area), LEAST * PAGE_BYTES, class, g.tail])
            }
            Op::FreeTail => (FREE, vec![or_none(g.tail)]),
            Op::Free => (FREE, vec![or_none(g.area)]),
            Op::Close => (CLOSE, vec![or_none(g.port)]),
            Op::CloseEvents => (CLOSE_HANDLE, vec![or_none(g.events)]),
            Op::CloseSignals => (CLOSE_HANDLE, vec![or_none(g.signals)]),
            Op::Post | Op::Write | Op::Receive => return self.access(who, op),
        };
        let [status, x1, x2, x3] = self.call(who, number, &arguments, heard);
        let guest = &mut self.guests[who];
        if status == refused(Status::Again) && matches!(op, Op::Alloc | Op::Trim | Op::Free) {
            guest.area = x1;
            return false;
        }
        if status == refused(Status::Again) && matches!(op, Op::Split | Op::FreeTail) {
            guest.tail = x1;
            return false;
        }
        if status != refused(Status::Ok) {
            return true;
        }
        match op {
            Op::Events => guest.events = x1,
            Op::Signals => guest.signals = x1,
            Op::Create => (guest.port, guest.arrivals, guest.credits) = (x1, x2, x3),
            Op::Take => guest.request = x1 & ((1 << 56) - 1),
            Op::Alloc => (guest.area, guest.address) = (x1, x2),
            Op::Split => guest.tail = x1,
            Op::FreeTail => guest.tail = 0,
            Op::Send | Op::Free => guest.area = 0,
            Op::Close => guest.arrivals = 0,
            _ => {}
        }
        true
    }

    /// A step that is no call. A page that is gone faults, which the guest survives.
    fn access(&mut self, who: usize, op: Op) -> bool {
        let guest = &mut self.guests[who];
        let credits = Ipa(guest.credits);
        match op {
            Op::Post => {
                for (at, value) in [(POSTED, guest.taken + 2), (CONSUMED, guest.taken)] {
                    self.estates.write(who, credits.wrapping_add(8 * at as u64), value);
                }
            }
            Op::Write => {
                self.estates.write(who, Ipa(guest.address), 0x1234);
            }
            _ => {
                let at = entry(guest.taken) as u64;
                let word = |n: u64| self.estates.read(who, Ipa(guest.arrivals + 8 * (at + n)));
                if guest.arrivals != 0 && word(0) == Some(guest.taken + 1) {
                    (guest.area, guest.address) = (word(1).unwrap(), word(2).unwrap());
                    guest.taken += 1;
                }
            }
        }
        true
    }

    /// Goes on with one guest's part of the script, by one step; false at its end.
    fn go_on(&mut self, who: usize, heard: &mut Told) -> bool {
        let at = self.guests[who].at;
        let Some((_, op)) = SCRIPT.iter().filter(|(whose, _)| *whose == who).nth(at) else {
            return false;
        };
        if self.step(who, *op, heard) {
            self.guests[who].at += 1;
        }
        true
    }

    /// Plays the script, at most `most` steps; how many it were.
    fn play(&mut self, most: usize) -> usize {
        let mut steps = 0;
        for (who, op) in SCRIPT {
            loop {
                if steps == most {
                    return steps;
                }
                let is_done = self.step(*who, *op, &mut Told::new());
                steps += 1;
                if is_done {
                    break;
                }
            }
            self.guests[*who].at += 1;
        }
        steps
    }

    /// The name of the next step of a partition's end, done.
    fn end_step(&mut self, who: usize, heard: &mut Told) -> EndPoint {
        let point = match self.estates.next_leave_step(who) {
            LeaveStep::ClosePort => EndPoint::ClosePort,
            LeaveStep::LeaveShare => unreachable!("nothing is shared here"),
            LeaveStep::LeaveObject => EndPoint::LeaveObject,
            LeaveStep::CloseHandles => EndPoint::CloseHandles,
            LeaveStep::GiveCopy => unreachable!("nothing is shared here"),
            LeaveStep::Unmap(_) => EndPoint::Unmap,
            LeaveStep::Free(_) => EndPoint::Free,
            LeaveStep::HideBitmap => EndPoint::HideBitmap,
            LeaveStep::Done => EndPoint::Done,
        };
        heard.extend(told([self.estates.leave_step(who).1]));
        point
    }
}

/// A step of the end of a partition that its peers can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum EndPoint {
    ClosePort,
    LeaveObject,
    CloseHandles,
    Unmap,
    Free,
    HideBitmap,
    Done,
}

/// What the other side does while a partition ends.
#[derive(Clone, Debug)]
enum Survivor {
    /// Goes on with its script, by so many steps after each step of the end.
    Steps(usize),
    /// Does nothing until that step of the end, then all that is left of its script.
    AllAfter(usize),
    /// Goes on by any number of steps.
    Any(Random),
}

impl Survivor {
    /// How many steps it does after step number `point` of the end.
    fn steps(&mut self, point: usize) -> usize {
        match self {
            Self::Steps(steps) => *steps,
            Self::AllAfter(step) if *step == point => usize::MAX,
            Self::AllAfter(_) => 0,
            Self::Any(random) => random.below(4),
        }
    }
}

/// xorshift64*: the same with the same seed.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// Ends `victim`, step by step, and looks that the other side is told; the steps of the end.
///
/// The bounds: who was connected is told by the first step, since each closes a port and the victim has one; who has asked the
/// victim is told by the steps of its handles, before anything goes back. Nobody finds its peer gone without having been told.
fn end(run: &mut Run, victim: usize, mut other: Survivor) -> Vec<EndPoint> {
    let survivor = 1 - victim;
    let was_connected = run.is_connected(survivor) == Some(true);
    let was_gone = run.is_gone(survivor);
    let (mut points, mut heard, mut told_at) = (Vec::new(), Told::new(), None);
    loop {
        points.push(run.end_step(victim, &mut heard));
        run.estates.audit();
        if told_at.is_none() && heard.contains(&(survivor as u8, EVENTS as u16)) {
            told_at = Some(points.len());
        }
        if was_connected && points.len() == 1 {
            assert_eq!((told_at, run.is_connected(survivor)), (Some(1), Some(false)));
        }
        if points.last() == Some(&EndPoint::Done) {
            break;
        }
        for _ in 0..other.steps(points.len()) {
            if !run.go_on(survivor, &mut Told::new()) {
                break;
            }
            run.estates.audit();
        }
        assert!(points.len() < 100, "the end does not come");
    }
    if matches!(other, Survivor::Steps(0)) {
        let has_lost = !was_gone && run.is_gone(survivor);
        assert_eq!(has_lost, told_at.is_some(), "{victim} ends: {heard:?}");
        let handles = points.iter().filter(|point| **point == EndPoint::CloseHandles).count();
        assert!(handles <= 3, "a handle table of 48, a request, and one that finds no more");
        let telling = points.iter().position(|point| *point >= EndPoint::Unmap);
        let telling = telling.expect("the last step is one of these");
        assert!(points[telling..].iter().all(|point| *point >= EndPoint::Unmap), "{points:?}");
        assert!(told_at.is_none_or(|at| at <= telling), "told at {told_at:?} of {points:?}");
    }
    run.estates.bury(victim);
    run.estates.audit();
    points
}

/// Ends whatever lives, and looks that all frames are where they were.
fn nothing_is_left(mut run: Run, idle: PageCount) {
    for who in [C, S] {
        if run.estates.lives(who) {
            run.estates.end(who);
        }
        run.estates.start(who);
    }
    assert_eq!(run.estates.machine.store.free_pages(), idle);
    run.estates.end(C);
    run.estates.end(S);
}

/// How many steps the script has when nobody ends, and which calls it makes.
fn points() -> (usize, BTreeSet<u32>) {
    let mut run = Run::new();
    let idle = run.estates.machine.store.free_pages();
    let steps = run.play(usize::MAX);
    run.estates.audit();
    assert_eq!(run.estates.machine.store.free_pages(), idle, "the script cleans up after itself");
    let numbers = run.numbers.clone();
    nothing_is_left(run, idle);
    (steps, numbers)
}

#[test]
fn the_script_makes_every_call_about_areas_and_channels_c4() {
    let (steps, numbers) = points();
    assert!(steps > SCRIPT.len() + 10, "calls that take several steps are among them");
    let topic = CALLS.iter().map(|row| u32::from(row.number));
    let topic: BTreeSet<_> = topic.filter(|number| (0x20..0x30).contains(number)).collect();
    assert_eq!(topic.difference(&numbers).collect::<Vec<_>>(), Vec::<&u32>::new());
}

/// Whoever ends, at whatever point, while the other goes on step by step: then both start anew, and the whole sequence
/// passes between them.
#[test]
#[cfg_attr(
    miri,
    ignore = "a machine for each point: hours under Miri, and the random ends beside it do the same"
)]
fn an_end_at_every_point_leaves_nothing_and_the_restarted_side_can_go_on_c4() {
    let (last, _) = points();
    let mut seen = BTreeSet::new();
    for point in 0..=last {
        for victim in [C, S] {
            for other in [Survivor::Steps(0), Survivor::Steps(1), Survivor::Steps(3)] {
                let mut run = Run::new();
                let idle = run.estates.machine.store.free_pages();
                assert_eq!(run.play(point), point, "the point is not reached");
                seen.extend(end(&mut run, victim, other));
                run.estates.start(victim);
                run.estates.audit();
                // The survivor comes to its end as well, with the new incarnation there.
                while run.go_on(1 - victim, &mut Told::new()) {}
                run.estates.audit();
                run.estates.end(1 - victim);
                run.estates.start(1 - victim);
                run.guests = [Guest::default(), Guest::default()];
                run.play(usize::MAX);
                assert_eq!(run.estates.machine.store.free_pages(), idle, "{point} {victim}");
                nothing_is_left(run, idle);
            }
        }
    }
    let all = [
        EndPoint::ClosePort,
        EndPoint::LeaveObject,
        EndPoint::CloseHandles,
        EndPoint::Unmap,
        EndPoint::Free,
        EndPoint::HideBitmap,
        EndPoint::Done,
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all, "a step of the end was never met");
}

/// At every point, and at every step of the end: there the other side does all that is left of its script.
#[test]
#[cfg_attr(
    miri,
    ignore = "a machine for each point: hours under Miri, and the random ends beside it do the same"
)]
fn the_other_side_meets_every_step_of_an_end_c4() {
    let (last, _) = points();
    for point in 0..=last {
        for victim in [C, S] {
            let mut step = 1;
            loop {
                let mut run = Run::new();
                let idle = run.estates.machine.store.free_pages();
                run.play(point);
                let steps = end(&mut run, victim, Survivor::AllAfter(step)).len();
                nothing_is_left(run, idle);
                if step >= steps {
                    break;
                }
                step += 1;
            }
        }
    }
}

/// Ends without number: at any point, of either side, with anything in between, or of both at once; the same incarnation of the
/// other side meets several of its peer's. `SHIKIRI_SEED` repeats a run, `SHIKIRI_SOAK` makes it a long one.
#[test]
fn ends_at_random_points_leave_nothing_c4() {
    let seed = std::env::var("SHIKIRI_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(0x5eed_2026);
    let runs = match std::env::var_os("SHIKIRI_SOAK") {
        _ if cfg!(miri) => 1,
        Some(_) => 5_000,
        None => 200,
    };
    let ends = if cfg!(miri) { 1 } else { 5 };
    println!("SHIKIRI_SEED={seed}, {runs} runs of {ends} ends");
    let (last, _) = points();
    let mut random = Random(seed | 1);
    for _ in 0..runs {
        let mut run = Run::new();
        let idle = run.estates.machine.store.free_pages();
        for _ in 0..ends {
            run.play(random.below(last + 1));
            run.estates.audit();
            let victim = random.below(2);
            if random.below(4) == 0 {
                both_end(&mut run, &mut random);
                run.estates.start(C);
                run.estates.start(S);
            } else {
                end(&mut run, victim, Survivor::Any(Random(random.below(1 << 30) as u64 | 1)));
                run.estates.start(victim);
                while run.go_on(1 - victim, &mut Told::new()) {}
            }
            run.estates.audit();
            run.guests = [Guest::default(), Guest::default()];
        }
        nothing_is_left(run, idle);
    }
}

/// Both sides end, their steps in any order.
fn both_end(run: &mut Run, random: &mut Random) {
    while run.estates.lives(C) || run.estates.lives(S) {
        let who = random.below(2);
        let who = if run.estates.lives(who) { who } else { 1 - who };
        if run.end_step(who, &mut Told::new()) == EndPoint::Done {
            run.estates.bury(who);
        }
        run.estates.audit();
    }
}
