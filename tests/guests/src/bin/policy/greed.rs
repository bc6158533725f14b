//! Two guests that want all that there is, and a third one that keeps time beside them (P8, P3): all of them, and the policy program,
//! share one core.
//!
//! The third one has a tick in each period, something to do behind it, and a request of its own now and then. What it is promised by the
//! reservations of the others holds for each of its periods: their budgets, with what was granted to them, are the longest that it
//! waits.
#![expect(unsafe_code, reason = "areas that nobody has looked at are freed")]

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{AreaClass, Resource, VcpuIndex};
use shikiri_policy::{Cause, Partition, Request, Wish, handout, notify, take_notice, take_request};
use shikiri_rt::hvc::partition::{self, Asked};
use shikiri_rt::hvc::talk::Handle;
use shikiri_rt::hvc::{message, talk};
use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, irq, platform, power, println};
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::tools::{event, made, named, wait};

/// What the greedy ones ask for, each in turn: all of it, and for ever.
const WISHES: [Wish; 5] = [
    Wish::More(Resource::EventPorts, 1_000),
    Wish::More(Resource::Memory, 1_000),
    Wish::More(Resource::ManagementMemory, 1_000),
    Wish::Time(VcpuIndex(0), 1_000_000),
    Wish::Vcpus(8),
];

/// What is handed out of, in the order of [`BY_DESCRIPTION`].
const HANDED_OUT: [Resource; 4] =
    [Resource::EventPorts, Resource::Memory, Resource::ManagementMemory, Resource::CoreTime];

/// The limits that a greedy one has by the description.
const BY_DESCRIPTION: [u64; 4] = [8, 1_024, 256, 200_000];

/// Asks without a pause, and uses what it gets meanwhile: ports, areas, and the event `poke=NAME`, which nobody wants.
pub(crate) fn greedy() -> ! {
    let poke = platform::value_of("poke").and_then(|name| event(name).ok());
    let mut areas = [None; 256];
    let mut count = 0;
    loop {
        for wish in WISHES {
            let mut asked = partition::ask(wish, None);
            while matches!(asked, Ok(Asked::Pending)) {
                use_up(&mut areas, &mut count);
                if let Some(poke) = poke {
                    let _told = talk::send(poke);
                }
                asked = partition::answer();
            }
        }
    }
}

/// Makes a port and an area; where no more is allowed, the last area is freed, so that the next one is made again.
fn use_up(areas: &mut [Option<Handle>], count: &mut usize) {
    let _port = talk::create_receive();
    match (message::alloc(4096, AreaClass::Page), areas.get_mut(*count)) {
        (Ok(area), Some(place)) => {
            *place = Some(area.handle);
            *count += 1;
        }
        (Ok(area), None) => free(area.handle),
        (Err(_), _) => {
            *count = count.saturating_sub(1);
            areas.get_mut(*count).and_then(Option::take).into_iter().for_each(free);
        }
    }
}

fn free(area: Handle) {
    // SAFETY: nobody has a reference into the area: only its handle was kept.
    let _gone = unsafe { message::free(area) };
}

/// The third one's period, and what it does in each. Its ticks come at other moments of the reservations' periods each time, which are 10 ms.
const PERIOD_US: u64 = 10_370;
const WORK_US: u64 = 2_000;
const PERIODS: u64 = 80;
/// A longer time between two looks at the counter was not its own.
const GAP_US: u64 = 100;

static TICKS: AtomicU64 = AtomicU64::new(0);
static LATEST: AtomicU64 = AtomicU64::new(0);

fn tick(_intid: u32) {
    let due = Timer::Virtual.deadline();
    LATEST.fetch_max(Timer::Virtual.now().saturating_sub(due), Ordering::Relaxed);
    Timer::Virtual.set_deadline(due + timer::ticks(PERIOD_US));
    TICKS.fetch_add(1, Ordering::Release);
}

/// Runs for so long, in time of its own.
fn work() {
    let (mut last, mut ran) = (Timer::Virtual.now(), 0);
    while ran < timer::ticks(WORK_US) {
        let now = Timer::Virtual.now();
        if now - last < timer::ticks(GAP_US) {
            ran += now - last;
        }
        last = now;
    }
}

fn microseconds(ticks: u64) -> u64 {
    ticks * 1_000_000 / timer::frequency()
}

/// What the third one has seen.
#[derive(Default)]
struct Seen {
    /// From when a tick was due until what follows it was done, in ticks of the counter: the longest.
    done: u64,
    /// The same of a request and its answer, in periods.
    answered: u64,
    /// How many were granted.
    granted: u64,
}

/// The third one. `late_us=N` is the bound for its ticks.
pub(crate) fn steady() -> ! {
    case("a_third_one_keeps_time_beside_two_greedy_ones", || {
        let bound_us = platform::number_of("late_us").unwrap_or(0);
        let seen = live()?;
        let (late_us, done_us) =
            (microseconds(LATEST.load(Ordering::Relaxed)), microseconds(seen.done));
        println!(
            "steady: {PERIODS} ticks, each at most {late_us} us late (bound {bound_us}); {WORK_US} us of work done \
             {done_us} us after it at most (bound {PERIOD_US}); {} requests granted, each within {} periods (bound 2)",
            seen.granted, seen.answered
        );
        ensure("a tick in time", late_us <= bound_us)?;
        ensure("each period's work in that period", done_us <= PERIOD_US)?;
        ensure("each answer in time", seen.answered <= 2)?;
        ensure("its requests are granted", seen.granted >= PERIODS / 4)
    });
    println!("steady done");
    power::off()
}

fn live() -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let mut asked_in = None;
    irq::set_handler(tick);
    gic::enable(Timer::Virtual.intid());
    let first = Timer::Virtual.now() + timer::ticks(PERIOD_US);
    Timer::Virtual.set_deadline(first);
    for period in 0..PERIODS {
        irq::wait_until(|| TICKS.load(Ordering::Acquire) > period);
        work();
        let due = first + period * timer::ticks(PERIOD_US);
        seen.done = seen.done.max(Timer::Virtual.now() - due);
        let Some(since) = asked_in else {
            let asked = made(partition::ask(Wish::More(Resource::EventPorts, 1), None))?;
            ensure("it is asked", asked == Asked::Pending)?;
            asked_in = Some(period);
            continue;
        };
        // Still without an answer at the end, it counts for as long as that.
        seen.answered = seen.answered.max(period - since);
        if let Asked::Granted(amount) = made(partition::answer())? {
            equal("granted", amount, 1)?;
            made(talk::create_receive())?;
            seen.granted += 1;
            asked_in = None;
        }
    }
    irq::mask();
    Ok(seen)
}

/// The policy program: nobody gets more than a third of what can be handed out of anything. When the greedy ones have that, the third
/// one comes.
pub(crate) fn judge() -> ! {
    case("nobody_gets_more_than_a_third_of_anything", || {
        let port = made(talk::create_receive())?;
        made(notify(port))?;
        let mut thirds = [0; 4];
        for (third, resource) in thirds.iter_mut().zip(HANDED_OUT) {
            *third = made(handout(resource))?.0.unwrap_or(0) / 3;
        }
        let (mut is_started, mut refused) = (false, 0_u64);
        let over = loop {
            wait("something to do", || made(talk::poll(port)))?;
            while let Some(request) = made(take_request())? {
                refused += u64::from(!judge_one(request, &thirds)?);
            }
            if !is_started && greedy_ones_have(&thirds)? {
                made(named("steady")?.start())?;
                is_started = true;
                refused = 0;
            }
            if let Some(end) = made(take_notice())? {
                break end;
            }
        };
        ensure("the third one", made(over.partition.name())?.as_str() == "steady")?;
        ensure("by itself", over.cause == Cause::Off)?;
        println!("steady has lived beside {refused} requests that were refused");
        ensure("the greedy ones went on asking", refused > 100)?;
        ensure("and have no more than their part", greedy_ones_have(&thirds)?)?;
        ["greedy-a", "greedy-b"].into_iter().try_for_each(|name| made(named(name)?.stop()))
    });
    done()
}

/// How much more than by the description it may have of a resource.
fn got(partition: Partition, resource: usize) -> Result<u64, Failure> {
    let limit = made(partition.account(HANDED_OUT[resource]))?.limit.unwrap_or(0);
    Ok(limit.saturating_sub(BY_DESCRIPTION[resource]))
}

fn greedy_ones_have(thirds: &[u64; 4]) -> Result<bool, Failure> {
    for name in ["greedy-a", "greedy-b"] {
        for (resource, third) in thirds.iter().enumerate() {
            if got(named(name)?, resource)? != *third {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether it is granted, with as much as there is room for.
fn judge_one(request: Request, thirds: &[u64; 4]) -> Result<bool, Failure> {
    let (resource, wanted) = match request.wish {
        Wish::More(resource, amount) => (resource, amount),
        Wish::Time(_, ppm) => (Resource::CoreTime, ppm.into()),
        Wish::Vcpus(_) | Wish::Peer(_) | Wish::Device(_) => {
            made(request.refuse())?;
            return Ok(false);
        }
    };
    let place = HANDED_OUT.iter().position(|it| *it == resource);
    let place = place.ok_or(Failure { what: "what", got: 0, want: 1 })?;
    let room = thirds[place].saturating_sub(got(request.partition, place)?);
    if room == 0 {
        made(request.refuse())?;
        return Ok(false);
    }
    made(request.grant(wanted.min(room)).map_err(|(_, refusal)| refusal))?;
    Ok(true)
}
