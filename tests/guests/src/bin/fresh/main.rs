//! A partition's start finds nothing of anybody: at its first instruction all registers, and in all of its memory, zero.
//!
//! Each life leaves its memory and its registers full. `starts=N` on the command line is how many there are (default 1).
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "takes the first instruction, and fills memory and registers")]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::hvc::{partition, psci};
use shikiri_rt::memory::{self, PAGE_BYTES};
use shikiri_rt::{platform, println};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, ensure, equal};

global_asm!(include_str!("start.s"));

shikiri_rt::entry!(main);

/// What start.s keeps, in its order, and the bits that are looked at.
const NAMES: [(&str, u64); 29] = [
    ("x1 to x30", u64::MAX),
    ("SP_EL1", u64::MAX),
    ("NZCV", u64::MAX),
    ("DAIF", u64::MAX),
    ("CurrentEL", u64::MAX),
    ("SPSel", u64::MAX),
    // EE, I, C and M.
    ("SCTLR_EL1", 0x0200_1005),
    ("SP_EL0", u64::MAX),
    ("ELR_EL1", u64::MAX),
    ("SPSR_EL1", u64::MAX),
    ("CPACR_EL1", u64::MAX),
    ("TTBR0_EL1", u64::MAX),
    ("TTBR1_EL1", u64::MAX),
    ("TCR_EL1", u64::MAX),
    ("ESR_EL1", u64::MAX),
    ("FAR_EL1", u64::MAX),
    ("MAIR_EL1", u64::MAX),
    ("VBAR_EL1", u64::MAX),
    ("CONTEXTIDR_EL1", u64::MAX),
    ("TPIDR_EL0", u64::MAX),
    ("TPIDRRO_EL0", u64::MAX),
    ("TPIDR_EL1", u64::MAX),
    ("PAR_EL1", u64::MAX),
    ("CNTKCTL_EL1", u64::MAX),
    ("CSSELR_EL1", u64::MAX),
    ("CNTV_CTL_EL0", 3),
    ("CNTV_CVAL_EL0", u64::MAX),
    ("FPCR", u64::MAX),
    ("FPSR", u64::MAX),
];
/// V0 to V31 follow, both halves.
const KEPT: usize = NAMES.len() + 64;

/// Never what a register holds: start.s has not been there.
#[unsafe(no_mangle)]
static FRESH: [AtomicU64; KEPT] = [const { AtomicU64::new(0xdead_dead_dead_dead) }; KEPT];

unsafe extern "C" {
    /// Fills all registers and makes a call that does not return.
    fn fresh_leave(call: u64) -> !;
}

fn main() {
    let start = partition::info().map_or(0, |info| info.starts);
    println!("fresh: start {start}");
    case("registers_are_zero_at_the_first_instruction", registers);
    case("memory_is_zero", memory_is_zero);
    let is_last = start >= platform::number_of("starts").unwrap_or(1);
    if is_last {
        println!("done");
    }
    let call = if is_last { psci::SYSTEM_OFF } else { psci::SYSTEM_RESET };
    // SAFETY: nothing of this life is needed any more.
    unsafe { fresh_leave(u64::from(call)) }
}

fn registers() -> Outcome {
    for ((name, mask), kept) in NAMES.into_iter().zip(&FRESH) {
        let want = match name {
            "DAIF" => 0xf << 6,
            "CurrentEL" => 1 << 2,
            "SPSel" => 1,
            _ => 0,
        };
        equal(name, kept.load(Ordering::Relaxed) & mask, want)?;
    }
    let mut halves = FRESH.iter().skip(NAMES.len());
    halves.try_for_each(|half| equal("V0 to V31", half.load(Ordering::Relaxed), 0))
}

/// All that is free, and fills it.
fn memory_is_zero() -> Outcome {
    let (address, pages) = memory::take_rest();
    ensure("there is memory", pages > 256)?;
    let words = (pages * PAGE_BYTES / 8) as usize;
    let base = core::ptr::with_exposed_provenance_mut::<u64>(address as usize);
    // SAFETY: nobody else has this memory, and any bits are a number.
    let memory = unsafe { core::slice::from_raw_parts_mut(base, words) };
    let first = memory.iter().find(|word| **word != 0).copied();
    memory.fill(0x5eed_5eed_5eed_5eed);
    equal("a word", first.unwrap_or(0), 0)
}
