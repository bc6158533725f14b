//! What the policy program's calls cost, by counted instructions: of all cores together, each asleep while it waits.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{Ipa, Resource};
use shikiri_policy::{Cause, Partition, Time, Wish, image, notify, take_notice, take_request};
use shikiri_rt::hvc::partition::{self, Asked};
use shikiri_rt::hvc::talk::{self, Handle, Sharing};
use shikiri_rt::{gic, irq, println, reg};
use shikiri_test_guests::cycles::Unit;
use shikiri_test_guests::{Failure, case, done, ensure};

use crate::tools::made;

/// The interrupt of both sides' ports.
const EVENT: u32 = 70;
const TIMES: usize = 101;
const NOTHING: Failure = Failure { what: "nothing came", got: 0, want: 1 };

/// How often the port was raised.
pub(crate) static TOLD: AtomicU64 = AtomicU64::new(0);

/// A port that is raised when there is something to take.
pub(crate) fn port() -> Result<Handle, Failure> {
    irq::set_handler(|_| {
        TOLD.fetch_add(1, Ordering::Release);
    });
    let port = made(talk::create_receive())?;
    made(talk::bind(port, EVENT, 0, Sharing::Alone))?;
    gic::enable(EVENT);
    Ok(port)
}

/// Sleeps until the port has been raised more often than that.
pub(crate) fn sleep(told: u64) {
    irq::wait_until(|| TOLD.load(Ordering::Acquire) > told);
}

fn median(mut sample: impl FnMut() -> Result<u64, Failure>) -> Result<u64, Failure> {
    let mut all = [0; TIMES];
    for place in &mut all {
        *place = sample()?;
    }
    all.sort_unstable();
    Ok(all[TIMES / 2])
}

/// The policy program: makes a partition again and again, then grants whatever is asked until the asker is through.
pub(crate) fn maker() -> ! {
    case("partitions_are_made", || {
        let events = port()?;
        made(notify(events))?;
        let first = made(image("first"))?;
        println!("bench: policy_create_to_guest {}", median(|| life(first))?);
        let asker = Partition::named("asker").ok_or(NOTHING)?;
        made(asker.start())?;
        loop {
            let told = TOLD.load(Ordering::Acquire);
            while let Some(request) = made(take_request())? {
                made(request.grant_all().map_err(|(_, refusal)| refusal))?;
            }
            if made(take_notice())?.is_some() {
                return Ok(());
            }
            sleep(told);
        }
    });
    done()
}

/// From nothing to the first instruction of a partition of 2 MiB with a core of its own; it is destroyed afterwards.
fn life(first: u64) -> Result<u64, Failure> {
    let told = TOLD.load(Ordering::Acquire);
    let start = reg::now();
    let new = made(Partition::create("first"))?;
    made(new.set_limit(Resource::Memory, Some(512)))?;
    made(new.add_vcpu(&[1], Time::Owned, 0))?;
    made(new.add_memory(Ipa(0x4000_0000), 2 << 20))?;
    made(new.add_image(first, Ipa(0x4008_0000)))?;
    made(new.set_entry(Ipa(0x4008_0000), 0))?;
    made(new.set_console(true))?;
    let life = made(new.start())?;
    let mut told = told;
    let end = loop {
        // It is told of the start as well.
        sleep(told);
        told = TOLD.load(Ordering::Acquire);
        if let Some(end) = made(take_notice())? {
            break end;
        }
    };
    let Cause::Code(code) = end.cause else { return Err(NOTHING) };
    made(life.destroy())?;
    Ok(u64::from(code).wrapping_sub(start) & 0xffff_ffff)
}

/// The partition that asks for one port more, and sleeps until it has the answer. With `cycles`, and performance monitors, it says
/// first what a tick is in cycles.
pub(crate) fn asker() -> ! {
    if let Unit::Cycles { per_1024_ticks } = Unit::start() {
        println!("bench: cycles_per_1024_ticks {per_1024_ticks}");
    }
    case("requests_are_answered", || {
        let events = port()?;
        let took = median(|| {
            let told = TOLD.load(Ordering::Acquire);
            let start = reg::now();
            let wish = Wish::More(Resource::EventPorts, 1);
            ensure("asked", made(partition::ask(wish, Some(events)))? == Asked::Pending)?;
            sleep(told);
            ensure("granted", made(partition::answer())? == Asked::Granted(1))?;
            Ok(reg::now() - start)
        })?;
        println!("bench: policy_request {took}");
        Ok(())
    });
    done()
}
