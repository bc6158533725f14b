//! System registers: what is hidden, what reads zero, what is undefined; and that a vCPU's own registers
//! survive while other vCPUs run.
//!
//! The cases about the hypervisor's choices are left out on a bare machine. `ms=N` (default 300) is how long the
//! registers are watched.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "reads and writes registers by number, and fills FP registers")]

mod el1;
mod watch;

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::gic::Version;
use shikiri_rt::hvc::partition;
use shikiri_rt::platform::{GICD, GICR, UART};
use shikiri_rt::{gic, platform, println, reg};
use shikiri_test_guests::code::{Encoding, NOP, Page, mrs, msr};
use shikiri_test_guests::fault;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

shikiri_rt::entry!(main);

fn main() {
    fault::catch_faults();
    let mut page = Page::take();
    case("every_id_register_can_be_read", || id_group(&mut page));
    if partition::null().is_ok() {
        case("id_registers_hide_what_is_not_virtualised", || hidden(&mut page));
        case("debug_and_pmu_registers_read_zero_and_ignore_writes", || quiet(&mut page));
        case("hidden_features_are_undefined", || undefined(&mut page));
        case("higher_levels_are_undefined", || higher(&mut page));
        case("set_and_way_maintenance_is_carried_out", || set_way(&mut page));
    }
    case("device_accesses_work_with_every_register", || every_register(&mut page));
    case("device_accesses_may_move_their_base", || every_base(&mut page));
    if gic::version() == Version::V3 {
        case("sgis_are_sent_from_every_register", || every_source(&mut page));
    }
    case("the_affinity_is_the_device_trees", || {
        equal("MPIDR", reg::mpidr() & 0xff_00ff_ffff, platform::platform().mpidr(0).unwrap_or(0))
    });
    let has_disr = read(&mut page, (3, 0, 12, 1, 1)).is_ok();
    case("registers_survive_while_others_run", || watch::survive(has_disr));
    done()
}

fn read(page: &mut Page, register: Encoding) -> Result<u64, fault::Fault> {
    // SAFETY: reading a system register changes nothing.
    unsafe { page.run(&[mrs(register)], 0, 0) }
}

fn write(page: &mut Page, register: Encoding, value: u64) -> Result<u64, fault::Fault> {
    // SAFETY: only registers are written that the program does not rely on.
    unsafe { page.run(&[msr(register)], value, 0) }
}

/// op0 = 3, op1 = 0, CRn = 0: all 64, reserved ones included.
fn id_group(page: &mut Page) -> Outcome {
    for (crm, op2) in (0..8).flat_map(|crm| (0..8).map(move |op2| (crm, op2))) {
        // CRm = 0 holds MIDR, MPIDR, REVIDR and undefined ones.
        if crm == 0 && !matches!(op2, 0 | 5 | 6) {
            continue;
        }
        if let Err(fault) = read(page, (3, 0, 0, crm, op2)) {
            println!("regs: S3_0_C0_C{crm}_{op2} gives ESR {:#x}", fault.esr);
            return ensure("readable", false);
        }
    }
    Ok(())
}

fn hidden(page: &mut Page) -> Outcome {
    // CRm, op2, lowest bit of a field that must read zero (or all ones where that says absent).
    let fields = [
        (4, 0, 28, "RAS"),
        (4, 0, 32, "SVE"),
        (4, 0, 40, "MPAM"),
        (4, 0, 44, "AMU"),
        (4, 1, 8, "MTE"),
        (4, 1, 24, "SME"),
        (4, 4, 0, "ZFR0.SVEver"),
        (4, 5, 32, "SMFR0"),
        (5, 0, 4, "trace"),
        (5, 0, 8, "PMU"),
        (5, 0, 32, "SPE"),
        (5, 0, 44, "trace buffer"),
        (5, 0, 52, "BRBE"),
        (6, 1, 4, "APA"),
        (6, 1, 8, "API"),
        (6, 1, 24, "GPA"),
        (6, 1, 28, "GPI"),
        (6, 2, 12, "APA3"),
        (7, 2, 24, "NV"),
        (7, 1, 8, "VH"),
    ];
    for (crm, op2, shift, name) in fields {
        let value = read(page, (3, 0, 0, crm, op2)).map_err(failure)?;
        if (value >> shift) & 0xf != 0 {
            println!("regs: {name} shows");
        }
        equal("hidden field", (value >> shift) & 0xf, 0)?;
    }
    for (crm, op2) in [(3, 3), (3, 7), (5, 2), (5, 6), (6, 7), (7, 7)] {
        equal("reserved", read(page, (3, 0, 0, crm, op2)).map_err(failure)?, 0)?;
    }
    Ok(())
}

/// Debug and PMU registers by name: they read zero whatever was written.
fn quiet(page: &mut Page) -> Outcome {
    let both: [Encoding; 14] = [
        (2, 0, 0, 2, 2),   // MDSCR_EL1
        (2, 0, 0, 0, 4),   // DBGBVR0_EL1
        (2, 0, 0, 0, 5),   // DBGBCR0_EL1
        (2, 0, 0, 0, 6),   // DBGWVR0_EL1
        (2, 0, 0, 0, 7),   // DBGWCR0_EL1
        (2, 0, 0, 1, 5),   // DBGBCR1_EL1
        (2, 0, 1, 3, 4),   // OSDLR_EL1
        (3, 3, 9, 12, 0),  // PMCR_EL0
        (3, 3, 9, 12, 1),  // PMCNTENSET_EL0
        (3, 3, 9, 13, 0),  // PMCCNTR_EL0
        (3, 3, 9, 14, 0),  // PMUSERENR_EL0
        (3, 0, 9, 14, 1),  // PMINTENSET_EL1
        (3, 3, 14, 8, 0),  // PMEVCNTR0_EL0
        (3, 3, 14, 15, 7), // PMCCFILTR_EL0
    ];
    for register in both {
        write(page, register, u64::MAX).map_err(failure)?;
        equal("after all ones", read(page, register).map_err(failure)?, 0)?;
    }
    write(page, (2, 0, 1, 0, 4), 1).map_err(failure)?; // OSLAR_EL1
    Ok(())
}

/// CPACR_EL1 with SVE, FP and SME open to EL1 and EL0 (ZEN, FPEN, SMEN).
const ALL_OPEN: u64 = (3 << 16) | (3 << 20) | (3 << 24);

/// With the guest's own traps open, so that a core that has SVE and SME asks EL2 before anybody.
fn undefined(page: &mut Page) -> Outcome {
    let registers: [Encoding; 13] = [
        (3, 0, 1, 2, 0),  // ZCR_EL1
        (3, 0, 1, 2, 6),  // SMCR_EL1
        (3, 0, 1, 2, 4),  // SMPRI_EL1
        (3, 3, 4, 2, 2),  // SVCR
        (3, 3, 13, 0, 5), // TPIDR2_EL0
        (3, 0, 2, 1, 0),  // APIAKeyLo_EL1
        (3, 0, 1, 0, 6),  // GCR_EL1
        (3, 0, 1, 0, 5),  // RGSR_EL1
        (3, 0, 15, 0, 0), // implementation defined
        (3, 3, 15, 2, 0), // implementation defined
        (3, 3, 13, 2, 3), // AMUSERENR_EL0
        (3, 0, 9, 9, 0),  // PMSCR_EL1
        (3, 0, 9, 11, 0), // TRBLIMITR_EL1
    ];
    // RDVL X0, #1 (SVE) and RDSVL X0, #1 (SME): they change nothing but X0.
    let instructions = [0x04bf_5020, 0x04bf_5820];
    let before = set_cpacr(ALL_OPEN);
    let refused = refuse(page, &registers).and_then(|()| {
        instructions.iter().try_for_each(|instruction| {
            // SAFETY: see above.
            let tried = unsafe { page.run(&[*instruction], 0, 0) };
            is_undefined("instruction", tried)
        })
    });
    set_cpacr(before);
    refused
}

/// Writes CPACR_EL1; answers what it was.
fn set_cpacr(value: u64) -> u64 {
    let before: u64;
    // SAFETY: the program's own code uses nothing that it turns off.
    unsafe {
        asm!("mrs {0}, cpacr_el1", "msr cpacr_el1, {1}", "isb", out(reg) before, in(reg) value)
    };
    before
}

fn higher(page: &mut Page) -> Outcome {
    let registers: [Encoding; 8] = [
        (3, 4, 1, 1, 0),   // HCR_EL2
        (3, 4, 2, 1, 0),   // VTTBR_EL2
        (3, 4, 12, 0, 0),  // VBAR_EL2
        (3, 4, 12, 11, 0), // ICH_HCR_EL2
        (3, 4, 12, 12, 0), // ICH_LR0_EL2
        (3, 4, 14, 0, 3),  // CNTVOFF_EL2
        (3, 6, 1, 1, 0),   // SCR_EL3
        (3, 5, 1, 0, 0),   // SCTLR_EL12
    ];
    refuse(page, &registers)
}

/// Wants each register undefined, both ways.
fn refuse(page: &mut Page, registers: &[Encoding]) -> Outcome {
    for register in registers {
        for tried in [read(page, *register), write(page, *register, 0)] {
            is_undefined("register", tried)
                .inspect_err(|_| println!("regs: {register:?} is there"))?;
        }
    }
    Ok(())
}

/// Wants the exception of an instruction that does not exist: class 0.
fn is_undefined(what: &'static str, tried: Result<u64, fault::Fault>) -> Outcome {
    equal(what, tried.map_or_else(|fault| fault.class(), |_| u64::MAX), 0)
}

/// DC ISW, CSW, CISW: memory is as it was, and execution goes on.
fn set_way(page: &mut Page) -> Outcome {
    let marker = AtomicU64::new(0x1234_5678_9abc_def0);
    for instruction in [0xd508_7640_u32, 0xd508_7a40, 0xd508_7e40] {
        // SAFETY: maintenance does not change what memory holds, as far as this program sees.
        unsafe { page.run(&[instruction], 0, 0) }.map_err(failure)?;
    }
    equal("memory", marker.load(Ordering::Relaxed), 0x1234_5678_9abc_def0)
}

/// `MOV x<to>, x<from>`.
const fn mov(to: u32, from: u32) -> u32 {
    0xaa00_03e0 | (from << 16) | to
}

/// Writes of ICC_SGI1R_EL1 from x0 to x30, each of which makes another SGI of this vCPU pending; one from XZR reaches nobody.
fn every_source(page: &mut Page) -> Outcome {
    const SGI1R: Encoding = (3, 0, 12, 11, 5);
    /// GICR_ISPENDR0, GICR_ICPENDR0.
    const SET: u64 = GICR + 0x1_0200;
    const CLEAR: u64 = GICR + 0x1_0280;
    const LOAD: u32 = 0xb940_0020;
    const STORE: u32 = 0xb900_0020;
    for number in 0..32 {
        let sgi = number & 15;
        let kept = if number == 12 { 13 } else { 12 };
        let (before, after) =
            if number == 31 { (NOP, NOP) } else { (mov(number, 0), mov(number, kept)) };
        let send = [mov(kept, number), before, msr(SGI1R) | number, after];
        // SAFETY: the register is put back; interrupts are masked, and the SGI is taken back.
        unsafe { page.run(&send, gic::sgi_value(sgi, reg::mpidr()), 0) }.map_err(failure)?;
        // SAFETY: reads what is pending.
        let pending = unsafe { page.run(&[LOAD], 0, SET) }.map_err(failure)? & 0xffff;
        // SAFETY: nothing else of this program's is pending.
        unsafe { page.run(&[STORE], 0xffff, CLEAR) }.map_err(failure)?;
        equal("pending SGIs", pending, if number == 31 { 0 } else { 1 << sgi })?;
    }
    Ok(())
}

/// Loads and stores of the distributor's priorities through x0 to x30, and through XZR.
fn every_register(page: &mut Page) -> Outcome {
    const ADDRESS: u64 = GICD + 0x460;
    for number in 0..32 {
        // The address goes to x10 or x11, the register's own value to x12 or x13, whichever it is not itself.
        let (address, kept) = if number == 10 || number == 12 { (11, 13) } else { (10, 12) };
        let value = 0x8088_9098 + u64::from(number) * 0x0808_0808 % 0x4040_4040;
        let (store, load) = (0xb900_0000 | (address << 5), 0xb940_0000 | (address << 5));
        let around = [mov(address, 1), mov(kept, number)];
        let [first, second] = around;
        let (before, after) =
            if number == 31 { (NOP, NOP) } else { (mov(number, 0), mov(number, kept)) };
        // SAFETY: the register is put back; the priorities are those of an SPI that nothing raises.
        unsafe { page.run(&[first, second, before, store | number, after], value, ADDRESS) }
            .map_err(failure)?;
        let stored = if number == 31 { 0 } else { value };
        // SAFETY: as above.
        let seen = unsafe { page.run(&[0xb940_0020], 0, ADDRESS) }.map_err(failure)?;
        equal("stored", seen, stored)?;
        let result = if number == 31 { NOP } else { mov(0, number) };
        let restore = if number == 0 { NOP } else { after };
        // SAFETY: as above.
        let loaded =
            unsafe { page.run(&[first, second, load | number, result, restore], 0, ADDRESS) }
                .map_err(failure)?;
        equal("loaded", loaded, stored)?;
    }
    Ok(())
}

/// A store of the distributor's priorities that is post-indexed, and a load that is pre-indexed, with x0 to x30 as the
/// base: such an access has no syndrome. What compilers make of a loop over registers.
fn every_base(page: &mut Page) -> Outcome {
    const ADDRESS: u64 = GICD + 0x460;
    for base in 0..31 {
        let (kept, data) = (if base == 12 { 13 } else { 12 }, if base == 14 { 15 } else { 14 });
        let value = 0xb0a0_9080 - u64::from(base) * 0x0808_0808 % 0x4040_4040;
        // The base goes to `kept` and comes back, unless it is the result.
        let before = [mov(kept, base), mov(data, 0), mov(base, 1)];
        let [first, second, third] = before;
        let restore = if base == 0 { NOP } else { mov(base, kept) };
        // STR Wdata, [Xbase], #4.
        let store = 0xb800_4400 | (base << 5) | data;
        // SAFETY: the register is put back; the priorities are those of SPIs that nothing raises.
        let behind = unsafe {
            page.run(&[first, second, third, store, mov(0, base), restore], value, ADDRESS)
        }
        .map_err(failure)?;
        equal("base behind a store", behind, ADDRESS + 4)?;
        // LDR Wdata, [Xbase, #-8]!
        let load = 0xb85f_8c00 | (base << 5) | data;
        let sum = 0x8b00_0000 | (data << 16) | (base << 5);
        // SAFETY: as above. ADD X0, Xbase, Xdata tells of both.
        let both = unsafe { page.run(&[first, second, third, load, sum, restore], 0, ADDRESS + 8) }
            .map_err(failure)?;
        equal("what a load reads, and the base behind it", both, ADDRESS + value)?;
    }
    // SAFETY: LDRB W0, [X1], #1: the second of the bytes.
    let byte = unsafe { page.run(&[0x3840_1420], 0, ADDRESS + 1) }.map_err(failure)?;
    // SAFETY: LDR W0, [X1]: the word, which has a syndrome.
    let word = unsafe { page.run(&[0xb940_0020], 0, ADDRESS) }.map_err(failure)?;
    equal("a byte", byte, (word >> 8) & 0xff)?;
    // SAFETY: LDR W0, [X1], #4 of UARTPeriphID0.
    let id = unsafe { page.run(&[0xb840_4420], 0, UART + 0xfe0) }.map_err(failure)?;
    equal("UARTPeriphID0", id, 0x11)?;
    // The hypervisor has translated the address of each of these; the program's own last translation stays.
    const PAR: Encoding = (3, 0, 7, 4, 0);
    const OLD: u64 = 0xff00_0000_1234_5b80;
    // SAFETY: LDRB W2, [X1], #1 between a write and a read of PAR_EL1, which nobody else uses.
    let par =
        unsafe { page.run(&[msr(PAR), 0x3840_1422, mrs(PAR)], OLD, ADDRESS) }.map_err(failure)?;
    equal("PAR_EL1", par, OLD)
}

fn failure(fault: fault::Fault) -> Failure {
    Failure { what: "it faulted, ESR", got: fault.esr, want: 0 }
}
