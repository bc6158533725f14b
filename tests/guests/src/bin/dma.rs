//! Owns the Raspberry Pi's DMA engine and its USB controller, which write memory by themselves, at the addresses of their bus.
//!
//! Command line: `others=ADDRESS`, where another partition's program begins. With `arms` it leaves the USB controller waiting for
//! a key of a keyboard when it ends, with where the answer will go, and says that address; else it tries what the engine can do.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "devices' registers, and memory that they write")]

use core::sync::atomic::{AtomicU32, Ordering};

use shikiri_rt::mmio::Registers;
use shikiri_rt::platform::{self, platform};
use shikiri_rt::{gic, irq, memory, println, reg, timer};
use shikiri_test_guests::fault::{self, attempt};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal};

/// Channel 0 of the engine (BCM2711 ARM Peripherals, 4.2), where the cores see it, and its interrupt, SPI 80.
const ENGINE: u64 = 0xfe00_7000;
const ENGINE_INTID: u32 = 112;
const STATUS: u64 = 0x00;
const CONTROL_BLOCK: u64 = 0x04;
/// In the status: at work; done and interrupting (written to clear them); reset.
const ACTIVE: u32 = 1;
const CLEAR: u32 = 0b110;
const RESET: u32 = 1 << 31;
/// In a control block: interrupt at the end, wait for the last write, both addresses count up.
const TRANSFER: u32 = 1 | (1 << 3) | (1 << 4) | (1 << 8);

/// The USB controller (DesignWare OTG), its port and its first channel.
const USB: u64 = 0xfe98_0000;
const PORT: u64 = 0x440;
const POWER: u32 = 1 << 12;
const PORT_RESET: u32 = 1 << 8;
const PORT_ENABLED: u32 = 1 << 2;
const CHANNEL: u64 = 0x500;
const SIZE: u64 = 0x510;
const DMA_ADDRESS: u64 = 0x514;
/// Packets of 8 bytes from endpoint 1 of device 0, asked for again and again until there is one (as a bulk transfer).
const ASK: u32 = (1 << 31) | (1 << 20) | (2 << 18) | (1 << 15) | (1 << 11) | 8;

/// What `dma-ranges` of its bus has to say: 0xc0000000 there is 0 here, and 1 GiB long.
const WINDOW: [u8; 24] = *b"\0\0\0\0\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0";
const BUS: u64 = 0xc000_0000;
const REACH: u64 = 1 << 30;

const PAGE: u64 = memory::PAGE_BYTES;
const PATTERN: u32 = 0xa5a5_a5a5;

/// Ends that the engine has told by interrupts.
static ENDS: AtomicU32 = AtomicU32::new(0);

shikiri_rt::entry!(main);

fn main() {
    fault::catch_faults();
    case("its_tree_names_the_window_of_its_bus", window);
    if platform::has_word("arms") {
        case("the_controller_waits_for_a_key", arm);
        done()
    }
    irq::set_handler(ended);
    gic::set_level(ENGINE_INTID);
    gic::enable(ENGINE_INTID);
    irq::unmask();
    case("the_engine_copies_at_bus_addresses_and_interrupts", copies);
    case("it_writes_a_word_and_none_beside_it", one_word);
    case("without_an_smmu_it_reads_what_no_access_of_its_own_reaches", others);
    done()
}

/// The bytes are somewhere in its device tree, and its memory lies where they lead.
fn window() -> Outcome {
    let address = platform().device_tree;
    let bytes = read32(address + 4).swap_bytes();
    // SAFETY: the run-time has read the tree there; its header says that it has this size, and nobody writes it.
    let tree = unsafe {
        core::slice::from_raw_parts(
            core::ptr::with_exposed_provenance::<u8>(address as usize),
            bytes as usize,
        )
    };
    ensure("dma-ranges", tree.windows(WINDOW.len()).any(|bytes| bytes == WINDOW))?;
    ensure("memory within it", platform().ram_base + platform().ram_bytes <= REACH)
}

fn engine() -> Registers {
    // SAFETY: the description gives this partition the engine. It writes where its control blocks say: pages of this program's.
    unsafe { Registers::new(ENGINE, 0x1000) }
}

fn ended(intid: u32) {
    engine().write32(STATUS, CLEAR);
    if intid == ENGINE_INTID {
        ENDS.fetch_add(1, Ordering::AcqRel);
    }
}

/// Where the engine sees this memory.
fn at_bus(address: u64) -> u32 {
    (address + BUS) as u32
}

/// Has the engine copy `bytes` bytes, which are in memory and not in caches alone, and waits for the interrupt.
fn copy(from: u64, to: u64, bytes: u32) -> Outcome {
    let block = pages(1)?;
    for (index, word) in [TRANSFER, at_bus(from), at_bus(to), bytes, 0, 0, 0, 0].iter().enumerate()
    {
        write32(block + 4 * index as u64, *word);
    }
    clean(block, PAGE);
    clean(to, u64::from(bytes));
    let before = ENDS.load(Ordering::Acquire);
    engine().write32(STATUS, RESET);
    engine().write32(CONTROL_BLOCK, at_bus(block));
    engine().write32(STATUS, ACTIVE);
    let end = reg::now() + timer::ticks(60_000_000);
    while ENDS.load(Ordering::Acquire) == before && reg::now() < end {
        reg::yield_now();
    }
    equal("interrupts", ENDS.load(Ordering::Acquire).into(), u64::from(before) + 1)?;
    equal("still at work", (engine().read32(STATUS) & ACTIVE).into(), 0)?;
    // What the caches took meanwhile is older than what the engine has written.
    clean(to, u64::from(bytes));
    Ok(())
}

fn copies() -> Outcome {
    let (from, to) = (pages(2)?, pages(2)?);
    for offset in (0..2 * PAGE).step_by(4) {
        write32(from + offset, (offset as u32).wrapping_mul(0x9e37_79b9));
        write32(to + offset, 0);
    }
    clean(from, 2 * PAGE);
    copy(from, to, 2 * PAGE as u32)?;
    (0..2 * PAGE).step_by(4).try_for_each(|offset| {
        equal("a word", read32(to + offset).into(), read32(from + offset).into())
    })
}

fn one_word() -> Outcome {
    let (from, to) = (pages(1)?, pages(1)?);
    write32(from, 0x600d_600d);
    (0..PAGE).step_by(4).for_each(|offset| write32(to + offset, PATTERN));
    clean(from, PAGE);
    clean(to, PAGE);
    copy(from, to + 64, 4)?;
    (0..PAGE).step_by(4).try_for_each(|offset| {
        let wanted = if offset == 64 { 0x600d_600d } else { PATTERN };
        equal("a word", read32(to + offset).into(), wanted.into())
    })
}

unsafe extern "C" {
    /// `guest.ld`: the image's first byte, from which on all such programs begin with the same four instructions; only its address
    /// is taken.
    static __image_start: u8;
}

/// The start of another partition's program: an abort for this one's loads, and no secret for its engine. That is what
/// `dma = "trusted"` says.
fn others() -> Outcome {
    let there = platform::number_of("others").unwrap_or(0);
    // SAFETY: nobody's of this program; if it answers, that is a failure.
    let tried = unsafe { attempt(fault::fault_load32, there, 0) };
    equal("exception class", tried.err().map_or(0, |fault| fault.class()), 0x25)?;
    let to = pages(1)?;
    copy(there, to, 16)?;
    let own = (&raw const __image_start).addr() as u64;
    (0..16).step_by(4).try_for_each(|offset| {
        equal("an instruction", read32(to + offset).into(), read32(own + offset).into())
    })
}

/// From now on each key is written to memory, whoever has it then.
fn arm() -> Outcome {
    // SAFETY: the description gives this partition the controller. It writes to a page that is nobody else's here.
    let usb = unsafe { Registers::new(USB, 0x1000) };
    usb.write32(PORT, POWER | PORT_RESET);
    timer::spin(50_000);
    usb.write32(PORT, POWER);
    ensure("a keyboard", usb.read32(PORT) & PORT_ENABLED != 0)?;
    let answer = pages(1)?;
    // Whatever a key has left here after an earlier end.
    (0..PAGE)
        .step_by(4)
        .try_for_each(|offset| equal("memory at the start", read32(answer + offset).into(), 0))?;
    (0..PAGE).step_by(4).for_each(|offset| write32(answer + offset, PATTERN));
    clean(answer, PAGE);
    usb.write32(SIZE, (1 << 19) | 8);
    usb.write32(DMA_ADDRESS, at_bus(answer));
    usb.write32(CHANNEL, ASK);
    println!("dma: the key goes to {answer:#x}.");
    Ok(())
}

/// Pages of this program's own, for a device and nothing else.
fn pages(count: u64) -> Result<u64, shikiri_test_guests::Failure> {
    let taken = memory::take(count).unwrap_or(0);
    ensure("free pages", taken != 0)?;
    Ok(taken)
}

/// Writes what the caches hold of this range to memory, and forgets it: devices do not look into caches.
fn clean(address: u64, bytes: u64) {
    for line in (address & !63..address + bytes).step_by(64) {
        // SAFETY: a line of this program's own, whose content is the same before and behind it.
        unsafe { core::arch::asm!("dc civac, {0}", "dsb sy", in(reg) line, options(nostack)) };
    }
}

fn read32(address: u64) -> u32 {
    // SAFETY: the tree, the image or a page of `pages`, all of which are mapped.
    unsafe { core::ptr::with_exposed_provenance::<u32>(address as usize).read_volatile() }
}

fn write32(address: u64, value: u32) {
    // SAFETY: a page of `pages`, to which there is no reference.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<u32>(address as usize).write_volatile(value);
    }
}
