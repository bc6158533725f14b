//! Isolation: touches every class of address that is not this partition's, in every way, and wants exactly an
//! abort each time.
//!
//! `at=ADDRESS,ADDRESS…` adds addresses, and `ram=START-END/STEP,…` every STEP bytes of ranges (the host names other partitions'
//! memory, the hypervisor's, all of the board's), in hexadecimal digits.
//! `role=victim` touches nothing: it fills memory of its own, and reads again and again whether that is still there.
//! `bare` names a machine without hypervisor: only what nothing answers there is touched.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "touches addresses that are not its own")]

use shikiri_rt::gic::{self, Version};
use shikiri_rt::hvc::partition;
use shikiri_rt::mmu::{self, Access};
use shikiri_rt::platform::{self, GICD, GICR, GICR_STRIDE, UART, platform};
use shikiri_rt::{println, reg};
use shikiri_test_guests::fault::{self, Fault, Piece};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

/// Virtual addresses that map to whatever is probed.
const WINDOW: u64 = 0x60_0000_0000;
const PAGE: u64 = 4096;

/// Every way to load, and whether it writes.
const WAYS: [(Piece, bool); 11] = [
    (fault::fault_load8, false),
    (fault::fault_load16, false),
    (fault::fault_load32, false),
    (fault::fault_load64, false),
    (fault::fault_load_pair, false),
    (fault::fault_exclusive, false),
    (fault::fault_store8, true),
    (fault::fault_store16, true),
    (fault::fault_store32, true),
    (fault::fault_store64, true),
    (fault::fault_store_writeback, true),
];

shikiri_rt::entry!(main);

fn main() {
    fault::catch_faults();
    if platform::value_of("role") == Some("victim") {
        return victim();
    }
    let hypervised = partition::null().is_ok();
    case("nothing_above_the_devices", || all(&[0x70_0000_0000, 0x7f_ffff_f000]));
    if hypervised {
        case("nothing_below_the_devices", || all(&[0, 0x1000, 0x0400_0000, 0x07ff_f000]));
        case("no_gic_page_but_its_own", gic_pages);
        case("no_neighbour_of_the_uart", uart_neighbours);
        case("no_board_device", board);
        case("no_memory_behind_its_own", behind_ram);
        case("no_high_window_of_the_board", || {
            all(&[0x40_1000_0000, 0x80_0000_0000, 0xff_ffff_f000])
        });
        case("nothing_beyond_the_ipa_size", || {
            all(&[1 << 40, 1 << 41, 1 << 43, (1 << 44) - PAGE, 1 << 47])
        });
        case("no_execution_from_emulated_devices", device_execution);
        case("no_access_without_syndrome_to_emulated_devices", device_pairs);
        case("a_walk_through_foreign_tables_aborts_as_what_it_was_for", foreign_walks);
    }
    case("addresses_from_the_command_line", named);
    case("ranges_from_the_command_line", ranges);
    case("own_memory_is_untouched", own_memory);
    done()
}

/// Probes addresses in all ways.
fn all(addresses: &[u64]) -> Outcome {
    addresses.iter().try_for_each(|address| probe(*address))
}

fn gic_pages() -> Outcome {
    // GICv2m, the hardware's GICH and GICV, the ITS, what follows the distributor.
    all(&[0x0802_0000, 0x0803_0000, 0x0804_0000, 0x0805_0000, 0x0808_0000, 0x0809_0000])?;
    match gic::version() {
        Version::V2 => all(&[GICR, GICR + 0x1_0000]),
        Version::V3 => {
            let end = GICR + GICR_STRIDE * platform().vcpus as u64;
            all(&[0x0801_0000, end, end + 0x1_0000])
        }
    }
}

fn uart_neighbours() -> Outcome {
    all(&[UART - PAGE, UART + PAGE, UART + 0x8000])
}

/// RTC, fw_cfg, GPIO, the second UART, SMMU, virtio, platform bus, PCIe.
fn board() -> Outcome {
    all(&[
        0x0901_0000,
        0x0902_0000,
        0x0903_0000,
        0x0904_0000,
        0x0905_0000,
        0x0a00_0000,
        0x0a00_3000,
        0x0c00_0000,
        0x1000_0000,
        0x3eff_0000,
        0x3fff_f000,
    ])
}

/// Up to 8 GiB behind the own memory: where other partitions' and the hypervisor's memory would be.
fn behind_ram() -> Outcome {
    let end = platform().ram_base + platform().ram_bytes;
    all(&[end, end + PAGE, end + 0x1f_f000])?;
    (21..34).try_for_each(|shift| probe(end + (1 << shift)))
}

fn named() -> Outcome {
    for text in list("at") {
        let address = number(text)?;
        probe(address)?;
        println!("probe: {address:#x} is not ours");
    }
    Ok(())
}

fn ranges() -> Outcome {
    for text in list("ram") {
        let (start, rest) = text.split_once('-').unwrap_or((text, ""));
        let (end, step) = rest.split_once('/').unwrap_or((rest, ""));
        let (start, end, step) = (number(start)?, number(end)?, number(step)?);
        let mut addresses = (start..end).step_by(step as usize);
        addresses.try_for_each(probe)?;
        println!("probe: nothing of {start:#x}..{end:#x} is ours, each {step:#x} bytes");
    }
    Ok(())
}

/// The values of a word of the command line, with commas between.
fn list(word: &str) -> impl Iterator<Item = &str> {
    platform::value_of(word).unwrap_or("").split(',').filter(|text| !text.is_empty())
}

fn number(text: &str) -> Result<u64, Failure> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let number = u64::from_str_radix(digits, 16).ok().filter(|number| *number != 0);
    number.ok_or(Failure { what: "a number in hexadecimal digits", got: 0, want: 1 })
}

/// Loads, stores and executes at one address, as device and as normal memory.
fn probe(address: u64) -> Outcome {
    let outcome = [Access::Device, Access::Data, Access::Anything]
        .into_iter()
        .try_for_each(|access| probe_as(address, access));
    if outcome.is_err() {
        println!("probe: at {address:#x}");
    }
    outcome
}

fn probe_as(address: u64, access: Access) -> Outcome {
    let offset = address % PAGE;
    // SAFETY: nothing else lies in the window.
    let mapped = unsafe { mmu::map(WINDOW, address - offset, PAGE, access) };
    ensure("mapped", mapped.is_ok())?;
    let va = WINDOW + offset;
    for (way, writes) in WAYS {
        // SAFETY: if the address answers, that is the failure that is looked for.
        data_abort(unsafe { fault::attempt(way, va, 0x5a5a_5a5a_5a5a_5a5a) }, va, writes)?;
    }
    if access == Access::Anything {
        // SAFETY: as above.
        instruction_abort(unsafe { fault::attempt(fault::fault_call, va, 0) }, va)?;
    }
    Ok(())
}

/// Wants a data abort at EL1 that says external abort or translation fault, this address and this direction.
fn data_abort(tried: Result<u64, Fault>, va: u64, writes: bool) -> Outcome {
    let fault = abort(tried, 0x25)?;
    equal("fault address", fault.far, va)?;
    equal("write, not read", (fault.esr >> 6) & 1, u64::from(writes))
}

fn instruction_abort(tried: Result<u64, Fault>, va: u64) -> Outcome {
    let fault = abort(tried, 0x21)?;
    equal("fault address", fault.far, va)?;
    equal("return address", fault.elr, va)
}

fn abort(tried: Result<u64, Fault>, class: u64) -> Result<Fault, Failure> {
    let fault = match tried {
        Ok(value) => return Err(Failure { what: "no abort, value", got: value, want: 0 }),
        Err(fault) => fault,
    };
    equal("exception class", fault.class(), class)?;
    equal("instruction length", (fault.esr >> 25) & 1, 1)?;
    // Synchronous external abort, not on a walk; or a translation fault at level 0 to 3; or an address size fault.
    let known = matches!(fault.status(), 0x10 | 0x04..=0x07 | 0x00..=0x03);
    if known {
        Ok(fault)
    } else {
        Err(Failure { what: "fault status", got: fault.status(), want: 0x10 })
    }
}

/// The emulated devices hold no code.
fn device_execution() -> Outcome {
    for address in [GICD, UART] {
        // SAFETY: nothing else lies in the window.
        let mapped = unsafe { mmu::map(WINDOW, address, PAGE, Access::Anything) };
        ensure("mapped", mapped.is_ok())?;
        // SAFETY: if it executes, that is the failure that is looked for.
        instruction_abort(unsafe { fault::attempt(fault::fault_call, WINDOW, 0) }, WINDOW)?;
    }
    Ok(())
}

/// The next table of a walk lies where nothing is: the access that it was for is aborted, at EL1, on a walk, as a fetch,
/// a load or a store.
fn foreign_walks() -> Outcome {
    const BROKEN: u64 = 0x58_0000_0000;
    let entry = (reg::ttbr0() & 0xffff_ffff_f000) + (BROKEN >> 30) * 8;
    // SAFETY: nothing lies in this GiB.
    let broken = unsafe { fault::attempt(fault::fault_store64, entry, 0x70_0000_0000 | 3) };
    ensure("a descriptor is written", broken.is_ok())?;
    reg::dsb_ishst();
    reg::tlbi_vmalle1is();
    reg::dsb_ish();
    reg::isb();
    for (way, class, writes) in [
        (fault::fault_call as Piece, 0x21, false),
        (fault::fault_load64, 0x25, false),
        (fault::fault_store64, 0x25, true),
    ] {
        // SAFETY: no translation leads anywhere from there.
        let Err(fault) = (unsafe { fault::attempt(way, BROKEN + 0x1230, 0) }) else {
            return ensure("an abort", false);
        };
        equal("exception class", fault.class(), class)?;
        // Synchronous external abort on a walk; the level is in bits 1:0.
        equal("fault status", fault.status() & !3, 0x14)?;
        equal("fault address", fault.far, BROKEN + 0x1230)?;
        equal("write, not read", (fault.esr >> 6) & 1, u64::from(writes))?;
    }
    Ok(())
}

/// Accesses of two registers, and exclusive ones, are not emulated.
fn device_pairs() -> Outcome {
    for address in [GICD + 0x400, UART + 0xfe0] {
        for way in [fault::fault_load_pair as Piece, fault::fault_exclusive] {
            // SAFETY: priorities of private interrupts and identity registers: nothing depends on them here.
            data_abort(unsafe { fault::attempt(way, address, 0) }, address, false)?;
        }
    }
    Ok(())
}

/// A pattern in memory is still there, and the memory still answers.
fn own_memory() -> Outcome {
    let pages = shikiri_rt::memory::free_pages().min(64);
    let start = fill(pages)?;
    check(start, pages)
}

/// Reads all of its free memory again and again, and says so each time.
fn victim() {
    let pages = shikiri_rt::memory::free_pages();
    let filled = fill(pages);
    println!("victim: {pages} pages are filled");
    for _pass in 0_u64.. {
        case("all_is_as_it_was_filled", || check(filled?, pages));
    }
}

/// Takes so many pages and fills them with the pattern; where they are.
fn fill(pages: u64) -> Result<u64, Failure> {
    let start = shikiri_rt::memory::take(pages).unwrap_or(0);
    for word in 0..pages * PAGE / 8 {
        let address = start + word * 8;
        // SAFETY: the pages were just taken.
        let stored = unsafe { fault::attempt(fault::fault_store64, address, !address) };
        ensure("store", stored.is_ok())?;
    }
    Ok(start)
}

/// Wants the pattern there.
fn check(start: u64, pages: u64) -> Outcome {
    for word in 0..pages * PAGE / 8 {
        let address = start + word * 8;
        // SAFETY: the pages were taken, for this alone.
        let loaded = unsafe { fault::attempt(fault::fault_load64, address, 0) };
        equal("load", loaded.unwrap_or(0), !address)?;
    }
    Ok(())
}
