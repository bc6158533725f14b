//! Requests for what a partition runs on (P8): time of a core, and vCPUs. By the amount both sides know what is tried.
//!
//! The asker has two vCPUs on core 1, each with 2 ms in 10, of which the second is kept back. Its limit of core time is 50 %, and
//! 30 % can be handed out.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{Resource, Status, VcpuIndex};
use shikiri_policy::{Cause, Request, Wish, core_left, handout, notify, take_notice, take_request};
use shikiri_rt::hvc::partition::{self, Asked};
use shikiri_rt::hvc::psci::code;
use shikiri_rt::hvc::talk;
use shikiri_rt::smp::{self, StartError};
use shikiri_rt::{power, println, reg, timer};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::asked::answered;
use crate::tools::{made, named, refused, refused_for, wait};

const TIME: Resource = Resource::CoreTime;
/// The core that the asker is on.
const CORE: u8 = 1;
/// Nobody is asked for it: the limit allows it.
const WITHIN: u32 = 100_000;
/// Half of it is granted.
const HALF: u32 = 200_000;
const REFUSED: u32 = 70_000;
/// More than the limit allows, and never answered.
const HELD: u32 = 110_000;
/// More than the core has.
const TOO_MUCH: u32 = 600_000;
/// More than can be handed out, and not more than the core has.
const TOO_DEAR: u32 = 250_000;

fn time(ppm: u32) -> Wish {
    Wish::Time(VcpuIndex(0), ppm)
}

/// How much of its core this vCPU gets, in ppm, over a fifth of a second: a gap in its time is one in which it does not run.
fn got() -> u64 {
    let start = reg::now();
    let (mut last, mut ran) = (start, 0);
    while last - start < timer::ticks(200_000) {
        let now = reg::now();
        if now - last < timer::ticks(200) {
            ran += now - last;
        }
        last = now;
    }
    ran * 1_000_000 / (last - start)
}

fn line(used: u64, limit: u64) -> Outcome {
    let line = made(partition::account(TIME))?;
    equal("used", line.used, used)?;
    equal("the limit", line.limit.unwrap_or(0), limit)
}

static STARTED: AtomicU64 = AtomicU64::new(0);

fn second() {
    STARTED.fetch_add(1, Ordering::Release);
}

/// The partition that asks.
pub(crate) fn asker() -> ! {
    let starts = partition::info().map_or(0, |info| info.starts);
    if starts == 1 {
        case("core_time_is_asked_for_and_granted_at_the_vcpus_home", ask_for_time);
        case("a_vcpu_that_is_kept_back_is_asked_for", ask_for_vcpus);
    } else {
        case("what_was_granted_ends_with_the_life", || {
            line(400_000, 600_000)?;
            equal("vCPUs", made(partition::info())?.vcpus, 1)?;
            // What was handed out is its own to use, without asking.
            ensure("at once", made(partition::ask(time(HALF), None))? == Asked::Granted(200_000))?;
            line(600_000, 600_000)
        });
    }
    println!("asker done");
    power::off()
}

fn ask_for_time() -> Outcome {
    let port = made(talk::create_receive())?;
    line(400_000, 500_000)?;
    let before = got();
    // What is granted at once is no answer to what is still asked.
    ensure("held", made(partition::ask(time(HELD), None))? == Asked::Pending)?;
    let within = made(partition::ask(time(WITHIN), Some(port)))?;
    ensure("nobody is asked", within == Asked::Granted(u64::from(WITHIN)))?;
    line(500_000, 500_000)?;
    ensure("no answer", made(partition::answer())? == Asked::Pending)?;
    made(partition::cancel())?;
    refused("it is gone", partition::answer(), Status::Empty)?;
    equal("half of it", made(answered(time(HALF), port)?)?, 100_000)?;
    line(600_000, 600_000)?;
    let after = got();
    println!("{before} ppm before, {after} after");
    ensure("its budget", (170_000..=230_000).contains(&before))?;
    ensure("with what was granted", (350_000..=430_000).contains(&after))?;
    for ppm in [REFUSED, TOO_MUCH, TOO_DEAR] {
        refused("denied", answered(time(ppm), port)?, Status::DeniedByPolicy)?;
        line(600_000, 600_000)?;
    }
    let nobody = Wish::Time(VcpuIndex(2), WITHIN);
    refused_for("no vCPU", partition::ask(nobody, None), (Status::InvalidParameter, 2))?;
    // The policy program does not look at this one.
    ensure("asked", made(partition::ask(time(1_000_000), None))? == Asked::Pending)?;
    made(partition::cancel())?;
    line(600_000, 600_000)
}

fn ask_for_vcpus() -> Outcome {
    let port = made(talk::create_receive())?;
    equal("vCPUs", made(partition::info())?.vcpus, 1)?;
    let is_there = |want| match (smp::start(1, second), want) {
        (Ok(()), true) => Ok(()),
        (Err(StartError::Psci(code::INVALID_PARAMETERS)), false) => Ok(()),
        _ => Err(Failure { what: "whether it can be turned on", got: 0, want: want.into() }),
    };
    is_there(false)?;
    refused("denied", answered(Wish::Vcpus(2), port)?, Status::DeniedByPolicy)?;
    is_there(false)?;
    equal("granted", made(answered(Wish::Vcpus(1), port)?)?, 1)?;
    equal("vCPUs", made(partition::info())?.vcpus, 2)?;
    is_there(true)?;
    wait("it runs", || Ok(STARTED.load(Ordering::Acquire) == 1))
}

/// The policy program: the asker lives twice.
pub(crate) fn judge() -> ! {
    case("requests_for_core_time_and_vcpus_are_judged", || {
        let port = made(talk::create_receive())?;
        let asker = named("asker")?;
        let before = made(core_left(CORE))?;
        equal("left on its core", before, 600_000)?;
        made(notify(port))?;
        let mut ends = 0;
        while ends < 2 {
            wait("something to do", || made(talk::poll(port)))?;
            while let Some(request) = made(take_request())? {
                judge_one(request)?;
            }
            while let Some(end) = made(take_notice())? {
                ensure("by itself", end.cause == Cause::Off)?;
                ends += 1;
                equal("all is back", made(core_left(CORE))?, before)?;
                // What was handed out stays so, for its next life.
                equal("handed out", made(handout(TIME))?.1, 100_000)?;
                if ends == 1 {
                    made(named("asker")?.start())?;
                }
            }
        }
        ensure("the same place", named("asker")?.who().place == asker.who().place)?;
        made(named("asker")?.set_limit(TIME, Some(500_000)))?;
        equal("taken back", made(handout(TIME))?.1, 0)
    });
    done()
}

fn over<T>(
    result: Result<T, (Request, partition::Refusal)>,
    which: u64,
) -> Result<Request, Failure> {
    match result {
        Err((request, refusal)) => {
            refused_for::<()>("over", Err(refusal), (Status::OverLimit, which))?;
            Ok(request)
        }
        Ok(_) => Err(Failure { what: "too much was granted", got: 0, want: which }),
    }
}

fn judge_one(request: Request) -> Outcome {
    let request = match request.wish {
        Wish::Time(VcpuIndex(0), HALF) => {
            let left = made(core_left(CORE))?;
            made(request.grant(u64::from(HALF) / 2).map_err(|(_, it)| it))?;
            return equal("promised", made(core_left(CORE))?, left - 100_000);
        }
        Wish::Time(VcpuIndex(0), REFUSED) => request,
        Wish::Time(VcpuIndex(0), TOO_MUCH) => over(request.grant_all(), 0x200)?,
        Wish::Time(VcpuIndex(0), TOO_DEAR) => over(request.grant_all(), 0x100)?,
        Wish::Time(VcpuIndex(0), HELD) => return Ok(()),
        // Cancelled, or about to be.
        Wish::Time(VcpuIndex(0), 1_000_000) => {
            let _gone = request.refuse();
            return Ok(());
        }
        Wish::Vcpus(1) => return made(request.grant_all().map_err(|(_, it)| it)),
        Wish::Vcpus(2) => over(request.grant_all(), 17)?,
        _ => return Err(Failure { what: "a wish of nobody's", got: 0, want: 1 }),
    };
    made(request.refuse())
}
