//! Devices that are kept back from a partition until they are granted (P8): the board's clock, with its alarm; its GPIO, which is
//! refused; and a slot of virtio, whose registers share their page with others'.
//!
//! The asker lives twice. It leaves the alarm ringing when its first life ends: in the second one the line is high before the clock is
//! granted again.
#![expect(unsafe_code, reason = "registers of devices, that are there and that are not")]

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{AreaClass, IntId, Ipa, Resource, Status};
use shikiri_policy::{Cause, Request, Wish, notify, take_notice, take_request};
use shikiri_rt::hvc::partition::{self, GivenDevice, Refusal};
use shikiri_rt::hvc::{message, talk};
use shikiri_rt::mmio::Registers;
use shikiri_rt::{gic, irq, power, println, reg, smp};
use shikiri_test_guests::fault::{attempt, catch_faults, fault_load32, fault_store32};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::tools::{made, named, refused, refused_for, wait};

const CLOCK: u8 = 0;
const GPIO: u8 = 1;
const VIRTIO: u8 = 2;
/// How many there are.
const KEPT: u8 = 3;

/// Where they are, what can be read there, and their interrupts: the clock's and GPIO's PeriphID0 (Arm DDI 0224C, 3.2.8; DDI 0190B,
/// 3.3.13), and the magic value of virtio (virtio 1.2, 4.2.2).
const PLACES: [(u64, u64, u64, u16); 3] = [
    (0x0901_0000, 0xfe0, 0x31, 34),
    (0x0903_0000, 0xfe0, 0x61, 39),
    (0x0a00_0000, 0, 0x7472_6976, 48),
];

// The PL031's registers (Arm DDI 0224C, 3.2).
const DATA: u64 = 0x00;
const MATCH: u64 = 0x04;
const MASK: u64 = 0x10;
const RAW_STATUS: u64 = 0x14;
const MASKED_STATUS: u64 = 0x18;
const CLEAR: u64 = 0x1c;

/// How many alarms were taken.
static ALARMS: AtomicU64 = AtomicU64::new(0);

fn clock() -> Registers {
    // SAFETY: used when the clock was granted; it masters no bus.
    unsafe { Registers::new(PLACES[0].0, 0x1000) }
}

fn take(number: u32) {
    if number == PLACES[0].3.into() {
        ALARMS.fetch_add(1, Ordering::AcqRel);
        clock().write32(MASK, 0);
        clock().write32(CLEAR, 1);
    }
}

/// Its registers cannot be loaded, or stored to: an external abort, as where nothing is.
fn is_not_there(number: u8) -> Outcome {
    let (at, offset, ..) = PLACES[usize::from(number)];
    nothing_is_at(at + offset)
}

fn nothing_is_at(address: u64) -> Outcome {
    for piece in [fault_load32, fault_store32] {
        // SAFETY: nothing is there, or a register that is read only.
        match unsafe { attempt(piece, address, 0) } {
            Err(fault) => equal("an external abort", fault.status(), 0x10)?,
            Ok(value) => return Err(Failure { what: "it is there", got: value, want: 0 }),
        }
    }
    Ok(())
}

fn is_there(number: u8) -> Outcome {
    let (at, offset, id, _) = PLACES[usize::from(number)];
    // SAFETY: a register that can be read without an effect.
    match unsafe { attempt(fault_load32, at + offset, 0) } {
        Ok(value) => equal("what it is", value, id),
        Err(fault) => Err(Failure { what: "it is not there", got: fault.esr, want: 0 }),
    }
}

/// Asks, and waits for the answer.
fn answered(number: u8, port: talk::Handle) -> Result<Result<GivenDevice, Refusal>, Failure> {
    ensure("it is asked", made(partition::ask_for_device(number, Some(port)))?.is_none())?;
    wait("the answer", || made(talk::poll(port)))?;
    match partition::device_answer() {
        Ok(Some(given)) => Ok(Ok(given)),
        Ok(None) => Err(Failure { what: "told without an answer", got: 0, want: 1 }),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn granted(number: u8, port: talk::Handle) -> Outcome {
    let (at, _, _, intid) = PLACES[usize::from(number)];
    let wanted = GivenDevice { registers: Ipa(at), intid: Some(IntId(intid)) };
    is_not_there(number)?;
    ensure("where it is", made(answered(number, port)?)? == wanted)?;
    is_there(number)?;
    refused("told once", partition::device_answer(), Status::Empty)?;
    // Nobody is asked again (P4).
    let again = made(partition::ask_for_device(number, None))?;
    ensure("at once", again == Some(wanted))
}

/// What the account says has nothing to do with what was granted.
fn charged(devices: u8) -> Outcome {
    equal("charged", made(partition::account(Resource::Devices))?.used, devices.into())
}

/// The partition that asks.
pub(crate) fn asker() -> ! {
    catch_faults();
    irq::set_handler(take);
    let starts = partition::info().map_or(0, |info| info.starts);
    case("what_is_kept_back_is_not_there_and_what_is_refused_stays_so", || {
        charged(KEPT)?;
        (0..KEPT).try_for_each(is_not_there)?;
        refused_for(
            "no such one",
            partition::ask_for_device(KEPT, None),
            (Status::InvalidParameter, 2),
        )?;
        let port = made(talk::create_receive())?;
        refused("denied", answered(GPIO, port)?, Status::DeniedByPolicy)?;
        (0..KEPT).try_for_each(is_not_there)
    });
    case("what_shares_its_page_is_given_as_well", || {
        granted(VIRTIO, made(talk::create_receive())?)?;
        is_not_there(CLOCK)
    });
    if starts == 1 {
        case("a_device_is_granted_with_its_interrupt", first_clock);
    } else {
        case("the_next_life_begins_without_it", second_clock);
    }
    println!("done");
    if starts == 1 {
        power::off()
    }
    // The operator ends it, when all books have been looked at.
    irq::mask();
    loop {
        reg::yield_now();
    }
}

/// Waits for one more alarm.
fn alarm(before: u64) -> Outcome {
    irq::unmask();
    wait("the alarm", || Ok(ALARMS.load(Ordering::Acquire) > before))?;
    irq::mask();
    equal("alarms", ALARMS.load(Ordering::Acquire), before + 1)
}

/// Sets the alarm to the next second, and waits until it rings, with interrupts masked.
fn ring() -> Outcome {
    clock().write32(MASK, 1);
    // A second may be over before it is written: the alarm would come when the counter has gone round.
    loop {
        let next = clock().read32(DATA).wrapping_add(1);
        clock().write32(MATCH, next);
        if clock().read32(DATA) <= next || clock().read32(RAW_STATUS) & 1 != 0 {
            break;
        }
    }
    wait("the second is over", || Ok(clock().read32(MASKED_STATUS) & 1 != 0))
}

fn first_clock() -> Outcome {
    granted(CLOCK, made(talk::create_receive())?)?;
    is_not_there(GPIO)?;
    let intid = u32::from(PLACES[0].3);
    gic::set_level(intid);
    gic::enable(intid);
    for count in 0..2 {
        ring()?;
        alarm(count)?;
    }
    charged(KEPT)?;
    // Left as it is: nobody takes it.
    gic::disable(intid);
    ring()
}

fn second_clock() -> Outcome {
    let intid = u32::from(PLACES[0].3);
    gic::set_level(intid);
    gic::enable(intid);
    irq::unmask();
    is_not_there(CLOCK)?;
    // The clock rings, and its line is high: it is not heard, however often the hypervisor looks at interrupts.
    for _ in 0..1000 {
        reg::yield_now();
        made(partition::info())?;
        equal("nothing is pending", gic::is_pending(intid).into(), 0)?;
    }
    equal("not heard", ALARMS.load(Ordering::Acquire), 0)?;
    irq::mask();
    granted(CLOCK, made(talk::create_receive())?)?;
    ensure("it rings", clock().read32(MASKED_STATUS) & 1 != 0)?;
    // It is enabled since before.
    alarm(0)?;
    ring()?;
    alarm(1)
}

/// Another partition, for which nobody grants anything: its slot of virtio, the second one, is not there before and after it asks.
pub(crate) fn stranger() -> ! {
    const SLOT: u64 = 0x0a00_0200;
    catch_faults();
    case("a_device_that_is_granted_to_nobody_stays_away", || {
        charged(1)?;
        let port = made(talk::create_receive())?;
        for _ in 0..2 {
            nothing_is_at(SLOT)?;
            refused("denied", answered(0, port)?, Status::DeniedByPolicy)?;
        }
        nothing_is_at(SLOT)?;
        charged(1)
    });
    println!("stranger done");
    power::off()
}

/// The board's clock, which is kept back from whoever asks for what the description decides: at once where nobody makes policy
/// (`when_due` is no), or when the time for an answer is over.
pub(crate) fn by_default(is_granted: bool, when_due: bool) -> Outcome {
    catch_faults();
    charged(1)?;
    is_not_there(CLOCK)?;
    let given = if when_due {
        answered(CLOCK, made(talk::create_receive())?)?
    } else {
        let at_once = partition::ask_for_device(CLOCK, None);
        at_once.map(|given| given.unwrap_or(GivenDevice { registers: Ipa(0), intid: None }))
    };
    if !is_granted {
        refused("denied", given, Status::DeniedByPolicy)?;
        return is_not_there(CLOCK);
    }
    let (at, _, _, intid) = PLACES[usize::from(CLOCK)];
    let wanted = GivenDevice { registers: Ipa(at), intid: Some(IntId(intid)) };
    ensure("where it is", made(given)? == wanted)?;
    is_there(CLOCK)?;
    irq::set_handler(take);
    let intid = u32::from(intid);
    gic::set_level(intid);
    gic::enable(intid);
    ring()?;
    alarm(0)?;
    gic::disable(intid);
    charged(1)
}

static STARTED: AtomicU64 = AtomicU64::new(0);

/// One that was made with handles, areas, the board's clock and a vCPU that is kept back: all of it is there, and the vCPU when it was
/// asked for.
pub(crate) fn given() -> ! {
    catch_faults();
    case("what_one_that_is_made_is_given_is_there", || {
        let port = made(talk::create_receive())?;
        made(message::alloc(4096, AreaClass::Page))?;
        charged(1)?;
        is_there(CLOCK)?;
        irq::set_handler(take);
        let intid = u32::from(PLACES[usize::from(CLOCK)].3);
        gic::set_level(intid);
        gic::enable(intid);
        ring()?;
        alarm(0)?;
        let second = || STARTED.store(1, Ordering::Release);
        ensure("it cannot be turned on", smp::start(1, second).is_err())?;
        equal("granted", made(crate::asked::answered(Wish::Vcpus(1), port)?)?, 1)?;
        ensure("it can", smp::start(1, second).is_ok())?;
        wait("it runs", || Ok(STARTED.load(Ordering::Acquire) == 1))
    });
    done()
}

/// The policy program: two lives of the asker.
pub(crate) fn judge() -> ! {
    case("requests_for_devices_are_judged", || {
        let port = made(talk::create_receive())?;
        made(notify(port))?;
        let mut ends = 0;
        while ends < 2 {
            wait("something to do", || made(talk::poll(port)))?;
            while let Some(request) = made(take_request())? {
                judge_one(request)?;
            }
            while let Some(end) = made(take_notice())? {
                ends += 1;
                if ends == 1 {
                    ensure("by itself", end.cause == Cause::Off)?;
                    made(named("asker")?.start())?;
                } else {
                    ensure("by the operator", end.cause == Cause::Operator)?;
                }
            }
        }
        Ok(())
    });
    done()
}

fn judge_one(request: Request) -> Outcome {
    match request.wish {
        Wish::Device(CLOCK | VIRTIO) => made(request.grant_all().map_err(|(_, it)| it)),
        Wish::Device(GPIO) => made(request.refuse()),
        _ => Err(Failure { what: "a wish of nobody's", got: 0, want: 1 }),
    }
}
