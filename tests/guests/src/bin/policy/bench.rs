//! What the policy program's calls cost, by counted instructions: of all cores together, each asleep while it waits.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{Ipa, Resource};
use shikiri_policy::{
    Cause, Partition, State, Time, Wish, image, notify, take_notice, take_request,
};
use shikiri_rt::hvc::partition::{self, Asked};
use shikiri_rt::hvc::policy;
use shikiri_rt::hvc::talk::{self, Handle, Sharing};
use shikiri_rt::{gic, irq, platform, println, reg};
use shikiri_test_guests::cycles::Unit;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::tools::{ended, made, wait_for};

/// The interrupt of both sides' ports.
const EVENT: u32 = 70;
const TIMES: usize = 101;
/// Where a made partition's memory begins, and this one's own.
const RAM: Ipa = Ipa(0x4000_0000);
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
        println!("bench: policy_load_64k {}", load()?);
        // `largest=2m` where the machine has no gigabyte to give.
        if platform::value_of("largest").is_none() {
            println!("bench: partition_metadata_pages_1g {}", metadata(4, 1 << 30)?);
        }
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

/// A partition that is held, with so many vCPUs that share core 1.
fn held(vcpus: u64, bytes: u64) -> Result<Partition, Failure> {
    let new = made(Partition::create("held"))?;
    made(new.set_limit(Resource::Memory, Some(bytes >> 12)))?;
    for _ in 0..vcpus {
        made(new.add_vcpu(&[1], Time::reserved(1_000, 10_000), 0))?;
    }
    made(new.add_memory(RAM, bytes))?;
    made(new.set_entry(RAM, 0))?;
    made(new.set_console(true))?;
    let life = made(new.start_held())?;
    wait_for(life, State::Held)?;
    Ok(life)
}

fn gone(life: Partition) -> Outcome {
    made(life.stop())?;
    ended(life, Cause::Stopped)?;
    made(life.destroy())
}

/// PARTITION_LOAD with all that it copies at once.
fn load() -> Result<u64, Failure> {
    let life = held(1, 2 << 20)?;
    let took = median(|| {
        let start = reg::now();
        let copied = made(policy::load(life.who(), RAM, RAM, 64 << 10))?;
        let took = reg::now() - start;
        equal("copied", copied, 64 << 10)?;
        Ok(took)
    })?;
    gone(life)?;
    Ok(took)
}

/// What the hypervisor keeps for a partition, in pages. It is a small part of Xen's 1 MiB for each vCPU, 4 KiB for each MiB, and 512 KiB.
fn metadata(vcpus: u64, bytes: u64) -> Result<u64, Failure> {
    let life = held(vcpus, bytes)?;
    let pages = made(life.account(Resource::ManagementMemory))?.used;
    let xens = vcpus * 256 + (bytes >> 20) + 128;
    ensure("a tenth of Xen's", pages * 10 < xens)?;
    gone(life)?;
    Ok(pages)
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
