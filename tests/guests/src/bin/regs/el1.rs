//! EL1's own registers, held for a while with all exceptions masked: whoever has the core meanwhile has other values in them.
//!
//! Only bits vary that mean nothing to a program which runs with its interrupts masked, at EL1, below the lower half of
//! the address space. SP_EL0 is the stack in use. AFSR0, AFSR1 and AMAIR hold nothing on the cores that we know.
#![expect(unsafe_code, reason = "reads and writes EL1's system registers")]

use core::arch::asm;

use shikiri_rt::{println, reg, smp};
use shikiri_test_guests::random::Random;

/// A register and the bits of it that vary.
struct Register {
    name: &'static str,
    read: fn() -> u64,
    write: fn(u64),
    varies: u64,
}

macro_rules! registers {
    ($($name:literal: $varies:expr;)*) => {
        [$(Register {
            name: $name,
            read: || {
                let value: u64;
                // SAFETY: reading changes nothing.
                unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nostack)) };
                value
            },
            write: |value| {
                // SAFETY: see the file's head.
                unsafe { asm!(concat!("msr ", $name, ", {}"), in(reg) value, options(nostack)) };
            },
            varies: $varies,
        }),*]
    };
}

const COUNT: usize = 20;

static REGISTERS: [Register; COUNT] = registers! {
    "cpacr_el1": 1 << 21;                                      // FPEN: for EL0 or not
    "sctlr_el1": (1 << 9) | (1 << 14) | (1 << 15) | (1 << 26); // UMA, DZE, UCT, UCI
    "tcr_el1": (0x3f << 16) | (1 << 38);                       // T1SZ and TBI1; EPD1 is set
    "ttbr0_el1": 0xff << 48;                                   // the ASID
    "ttbr1_el1": 0x00ff_00ff_ffff_f000;
    "mair_el1": 0x4444_4444_4444_0000;                         // attributes that nothing names
    "vbar_el1": 0x7f_ffff_f800;
    "esr_el1": 0xffff_ffff;
    "far_el1": u64::MAX;
    "elr_el1": 0x0000_7fff_ffff_fffc;
    "spsr_el1": 0xf000_03c0;                                   // NZCV, DAIF
    "tpidr_el0": u64::MAX;
    "tpidrro_el0": u64::MAX;
    "tpidr_el1": u64::MAX;
    "contextidr_el1": 0xffff_ffff;
    "par_el1": 0xff00_0000_ffff_f000;
    "cntkctl_el1": 0x3fb;                                      // all but EVNTEN
    "csselr_el1": 1;                                           // InD
    "cntv_cval_el0": u64::MAX;
    "cntv_ctl_el0": ENABLE;                                    // with IMASK set
};

/// CNTV_CTL_EL0.
const ENABLE: u64 = 1 << 0;
const IMASK: u64 = 1 << 1;

/// Fills all of them with random bits and looks at them until `end`: false if one has changed, which is printed. The
/// virtual timer is off then.
pub(crate) fn hold(random: &mut Random, has_disr: bool, end: u64) -> bool {
    let masks = reg::daif();
    reg::set_daif(0xf << 6);
    reg::set_cntv_ctl(IMASK);
    let (stack, mpidr) = (sp_el1(), reg::mpidr());
    let before = REGISTERS.each_ref().map(Register::get);
    let held = fill(random, &before);
    let (other_stack, deferred) = (random.bits() & !15, random.bits() & 0xff);
    set_sp_el1(other_stack);
    if has_disr {
        write_disr(deferred);
    }
    let mut wrong = None;
    while wrong.is_none() && reg::now() < end {
        let more = [("SP_EL1", sp_el1(), other_stack), ("MPIDR_EL1", reg::mpidr(), mpidr)];
        let all = REGISTERS.iter().zip(held).map(|(it, want)| (it.name, it.get(), want));
        wrong = all.chain(more).find(|(_, got, want)| got != want);
        // Nobody else's: the hypervisor may drop what a guest has put there.
        let errors = if has_disr { disr() } else { 0 };
        if errors != 0 && errors != deferred {
            wrong = Some(("DISR_EL1", errors, deferred));
        }
    }
    set_sp_el1(stack);
    for (register, value) in REGISTERS.iter().zip(before) {
        (register.write)(value);
    }
    reg::isb();
    reg::set_daif(masks);
    if let Some((name, got, want)) = wrong {
        println!("regs: vCPU {}: {name} is {got:#x}, not {want:#x}", smp::index());
    }
    wrong.is_none()
}

/// Writes all of them; answers what they have to hold.
fn fill(random: &mut Random, before: &[u64; COUNT]) -> [u64; COUNT] {
    let mut held = *before;
    for (register, value) in REGISTERS.iter().zip(&mut held) {
        *value = (*value & !register.varies) | (random.bits() & register.varies);
        (register.write)(*value);
    }
    reg::isb();
    held
}

impl Register {
    /// What it holds: ISTATUS goes with the counter.
    fn get(&self) -> u64 {
        (self.read)() & if self.name == "cntv_ctl_el0" { ENABLE | IMASK } else { u64::MAX }
    }
}

/// The stack of exceptions, which is not in use.
fn sp_el1() -> u64 {
    let value: u64;
    // SAFETY: all exceptions are masked, and no memory is accessed in between.
    unsafe {
        asm!("msr spsel, #1", "mov {}, sp", "msr spsel, #0", out(reg) value, options(nostack))
    };
    value
}

fn set_sp_el1(value: u64) {
    // SAFETY: as above.
    unsafe {
        asm!("msr spsel, #1", "mov sp, {}", "msr spsel, #0", in(reg) value, options(nostack))
    };
}

/// DISR_EL1, of cores that have FEAT_RAS.
pub(crate) fn disr() -> u64 {
    let value: u64;
    // SAFETY: reading changes nothing; the core has it, or the exception is caught.
    unsafe { asm!("mrs {}, s3_0_c12_c1_1", out(reg) value, options(nostack)) };
    value
}

fn write_disr(value: u64) {
    // SAFETY: the guest has no errors deferred.
    unsafe { asm!("msr s3_0_c12_c1_1, {}", in(reg) value, options(nostack)) };
}
