//! Owns a virtio entropy device behind virtio-mmio, whose interrupt is edge-triggered, and counts interrupts and events.
//!
//! Command line: `at=N`, where the device's registers are (default 0xa003e00); `intid=N`, its interrupt (default 79).
//! The device writes memory by itself: this partition's has the same guest and physical address.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "a device's registers, and memory that it writes")]

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::mmio::Registers;
use shikiri_rt::{gic, irq, memory, platform, println, reg, timer};
use shikiri_test_guests::answers::soon;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal};

// Registers of virtio-mmio, version 2 (Virtual I/O Device 1.2, 4.2.2).
const VERSION: u64 = 0x004;
const DEVICE_ID: u64 = 0x008;
const DRIVER_FEATURES: u64 = 0x020;
const DRIVER_FEATURES_SEL: u64 = 0x024;
const QUEUE_NUM: u64 = 0x038;
const QUEUE_READY: u64 = 0x044;
const QUEUE_NOTIFY: u64 = 0x050;
const INTERRUPT_STATUS: u64 = 0x060;
const INTERRUPT_ACK: u64 = 0x064;
const STATUS: u64 = 0x070;
const QUEUE_DESCRIPTORS: u64 = 0x080;
const QUEUE_AVAILABLE: u64 = 0x090;
const QUEUE_USED: u64 = 0x0a0;

/// Status: acknowledge, driver, features are settled, driver is ready.
const ACKNOWLEDGED: u32 = 1 | 2;
const SETTLED: u32 = ACKNOWLEDGED | 8;
const READY: u32 = SETTLED | 4;
/// The device kind: entropy.
const ENTROPY: u32 = 4;
/// A descriptor that the device writes.
const WRITE: u16 = 2;
/// Entries of the queue, and what one request asks for.
const ENTRIES: u16 = 8;
const BYTES: u32 = 16;
/// Where the parts of the queue and the buffer are on its page.
const AVAILABLE: u64 = 0x200;
const USED: u64 = 0x400;
const BUFFER: u64 = 0x800;

const ROUNDS: u64 = 200;

/// The queue's page.
static QUEUE: AtomicU64 = AtomicU64::new(0);
/// Requests that were made, interrupts that have come, and those of them that found the device's own flag clear.
static MADE: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
static EMPTY: AtomicU64 = AtomicU64::new(0);
/// How many further requests the handler makes, and waits for, before it ends its interrupt.
static MORE: AtomicU64 = AtomicU64::new(0);

shikiri_rt::entry!(main);

fn main() {
    irq::set_handler(take);
    case("the_device_is_there", set_up);
    gic::set_edge(intid());
    gic::enable(intid());
    irq::unmask();
    case("an_edge_comes_once_for_each_event", || rounds(0));
    case("an_edge_that_comes_while_one_is_active_is_not_lost", || rounds(1));
    case("an_edge_that_comes_while_it_is_disabled_is_not_lost", disabled);
    for set_trigger in [gic::set_edge, gic::set_level] {
        set_trigger(intid());
        case("an_edge_that_waits_is_not_lost_when_it_is_looked_at", waiting);
    }
    case("nothing_comes_without_an_event", quiet);
    println!("entropy: {} interrupts", TAKEN.load(Ordering::Acquire));
    done()
}

fn intid() -> u32 {
    platform::number_of("intid").and_then(|intid| u32::try_from(intid).ok()).unwrap_or(79)
}

fn device() -> Registers {
    // SAFETY: the description gives this partition the device, which writes where its queue says: pages of this program's.
    unsafe { Registers::new(platform::number_of("at").unwrap_or(0x0a00_3e00), 0x200) }
}

/// One descriptor, and nothing in the rings.
fn set_up() -> Outcome {
    equal("version", device().read32(VERSION).into(), 2)?;
    equal("kind", device().read32(DEVICE_ID).into(), ENTROPY.into())?;
    device().write32(STATUS, 0);
    device().write32(STATUS, ACKNOWLEDGED);
    // VIRTIO_F_VERSION_1, bit 32, alone.
    for (half, bits) in [(0, 0), (1, 1)] {
        device().write32(DRIVER_FEATURES_SEL, half);
        device().write32(DRIVER_FEATURES, bits);
    }
    device().write32(STATUS, SETTLED);
    equal("features", device().read32(STATUS).into(), SETTLED.into())?;
    let page = memory::take(1).unwrap_or(0);
    ensure("a page", page != 0)?;
    (0..memory::PAGE_BYTES).step_by(8).for_each(|offset| write(page + offset, 0_u64));
    write(page, page + BUFFER);
    write(page + 8, BYTES);
    write(page + 12, WRITE);
    device().write32(QUEUE_NUM, ENTRIES.into());
    for (register, address) in
        [(QUEUE_DESCRIPTORS, page), (QUEUE_AVAILABLE, page + AVAILABLE), (QUEUE_USED, page + USED)]
    {
        device().write32(register, address as u32);
        device().write32(register + 4, (address >> 32) as u32);
    }
    device().write32(QUEUE_READY, 1);
    device().write32(STATUS, READY);
    QUEUE.store(page, Ordering::Release);
    Ok(())
}

fn write<T>(address: u64, value: T) {
    let place = core::ptr::with_exposed_provenance_mut::<T>(address as usize);
    // SAFETY: the queue's page, which only this program and its device use.
    unsafe { place.write_volatile(value) }
}

/// How many requests the device has served, in 16 bits.
fn served() -> u16 {
    let page = QUEUE.load(Ordering::Acquire);
    let place = core::ptr::with_exposed_provenance::<u16>((page + USED + 2) as usize);
    // SAFETY: as for `write`.
    unsafe { place.read_volatile() }
}

/// Asks for random bytes.
fn ask() {
    let page = QUEUE.load(Ordering::Acquire);
    let made = MADE.fetch_add(1, Ordering::AcqRel) + 1;
    // Every entry names descriptor 0, as it was cleared.
    write(page + AVAILABLE + 2, made as u16);
    reg::dsb_sy();
    device().write32(QUEUE_NOTIFY, 0);
}

/// Whether the device has served all requests, and asserted its interrupt for the last.
fn is_told() -> bool {
    served() == MADE.load(Ordering::Acquire) as u16 && device().read32(INTERRUPT_STATUS) & 1 != 0
}

fn take(number: u32) {
    let status = device().read32(INTERRUPT_STATUS);
    // From here on the next event is a new edge.
    device().write32(INTERRUPT_ACK, status);
    if number == intid() && status & 1 != 0 {
        TAKEN.fetch_add(1, Ordering::AcqRel);
    } else {
        EMPTY.fetch_add(1, Ordering::AcqRel);
    }
    if MORE.load(Ordering::Acquire) != 0 {
        MORE.fetch_sub(1, Ordering::AcqRel);
        ask();
        // Active all the while: the edge comes before this interrupt's end.
        while !is_told() {
            reg::yield_now();
        }
    }
}

fn taken(before: u64, events: u64) -> Outcome {
    soon("interrupts", || TAKEN.load(Ordering::Acquire) >= before + events)?;
    equal("requests served", served().into(), u64::from(MADE.load(Ordering::Acquire) as u16))
}

/// Events one by one, each followed by so many more while its interrupt is active: as many interrupts in all.
fn rounds(more: u64) -> Outcome {
    let before = TAKEN.load(Ordering::Acquire);
    for round in 1..=ROUNDS {
        MORE.store(more, Ordering::Release);
        ask();
        taken(before, round * (1 + more))?;
    }
    timer::spin(1000);
    equal("interrupts", TAKEN.load(Ordering::Acquire), before + ROUNDS * (1 + more))?;
    equal("interrupts without an event", EMPTY.load(Ordering::Acquire), 0)
}

fn disabled() -> Outcome {
    let before = TAKEN.load(Ordering::Acquire);
    gic::disable(intid());
    ask();
    soon("an answer", is_told)?;
    equal("interrupts while it is disabled", TAKEN.load(Ordering::Acquire), before)?;
    gic::enable(intid());
    taken(before, 1)
}

/// An interrupt that is held off by the processor's mask, and disabled and enabled meanwhile. A guest that calls it level-triggered
/// has it all the same: the device's line has long been low.
fn waiting() -> Outcome {
    let before = TAKEN.load(Ordering::Acquire);
    irq::mask();
    ask();
    soon("an answer", is_told)?;
    soon("pending", || gic::is_pending(intid()))?;
    gic::disable(intid());
    gic::enable(intid());
    irq::unmask();
    taken(before, 1)
}

fn quiet() -> Outcome {
    let before = TAKEN.load(Ordering::Acquire);
    timer::spin(20_000);
    equal("interrupts", TAKEN.load(Ordering::Acquire), before)?;
    equal("interrupts without an event", EMPTY.load(Ordering::Acquire), 0)
}
