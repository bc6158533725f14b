//! Exceptions that the guest takes because of what it did: as the hardware would give them.
//!
//! The loaded vCPU's EL1 registers are changed in place, so that it goes on at its own vector (Arm ARM
//! D1.3.1, *exception entry*).
#![expect(unsafe_code, reason = "writes EL1's exception registers")]

use core::arch::asm;

use shikiri_arch::exit::{Abort, AbortKind};

use crate::regs;

/// ESR_EL1.EC for an unknown reason (UNDEF).
const EC_UNKNOWN: u64 = 0;
/// ESR_ELx.EC of aborts: from a lower level and from the same one; data is 4 above instruction.
const EC_FETCH_LOWER: u64 = 0x20;
const EC_FETCH_SAME: u64 = 0x21;
const EC_DATA_LOWER: u64 = 0x24;
const EC_DATA_SAME: u64 = 0x25;
/// ESR_ELx.IL: a 32-bit instruction.
const IL: u64 = 1 << 25;
/// Fault status: synchronous external abort, not on a walk.
const EXTERNAL: u64 = 0x10;
/// Fault status: synchronous external abort on a walk, level 0 and up.
const EXTERNAL_ON_WALK: u64 = 0x14;
/// ESR_ELx.WnR and CM.
const WNR: u64 = 1 << 6;
const CM: u64 = 1 << 8;

/// SPSR's mode field, and EL1h, EL1t.
const MODE: u64 = 0x1f;
const EL1H: u64 = 5;
const EL1T: u64 = 4;
/// SPSR's D, A, I and F masks.
const DAIF: u64 = 0x3c0;

/// The instruction at the guest's PC is undefined.
pub(crate) fn undefined() {
    enter(|_| EC_UNKNOWN << 26 | IL, None);
}

/// An access to an address where the partition has nothing: a synchronous external abort, which is what
/// an empty address gives on a bus.
pub(crate) fn abort(abort: &Abort) {
    let far = regs::far_el2();
    enter(
        |from_el0| {
            let (class, iss) = match abort.kind {
                AbortKind::Fetch => (if from_el0 { EC_FETCH_LOWER } else { EC_FETCH_SAME }, EXTERNAL),
                AbortKind::Read => (if from_el0 { EC_DATA_LOWER } else { EC_DATA_SAME }, EXTERNAL),
                AbortKind::Write => (if from_el0 { EC_DATA_LOWER } else { EC_DATA_SAME }, EXTERNAL | WNR),
                AbortKind::Maintenance => (if from_el0 { EC_DATA_LOWER } else { EC_DATA_SAME }, EXTERNAL | WNR | CM),
                AbortKind::Walk => {
                    (if from_el0 { EC_DATA_LOWER } else { EC_DATA_SAME }, EXTERNAL_ON_WALK | u64::from(abort.status & 3))
                }
            };
            class << 26 | IL | iss
        },
        Some(far),
    );
}

/// Takes the guest to its own synchronous vector with the syndrome that `syndrome(from EL0?)` gives.
fn enter(syndrome: impl FnOnce(bool) -> u64, far: Option<u64>) {
    let spsr = regs::spsr_el2();
    let mode = spsr & MODE;
    let offset = match mode {
        EL1H => 0x200,
        EL1T => 0,
        _ => 0x400,
    };
    let is_from_el0 = mode != EL1H && mode != EL1T;
    let esr = syndrome(is_from_el0);
    let elr = regs::elr_el2();
    let vbar = vbar_el1();
    write_el1(elr, spsr, esr, far);
    regs::set_elr_el2(vbar.wrapping_add(offset));
    // PAN (bit 22) is set unless SCTLR_EL1.SPAN says otherwise; setting it is always safe for the guest
    // only if it has the feature, so it keeps what it had. SS and IL are cleared, NZCV kept.
    let kept = spsr & (0xf000_0000 | (1 << 22) | (1 << 24));
    regs::set_spsr_el2(kept | DAIF | EL1H);
}

fn vbar_el1() -> u64 {
    let value: u64;
    // SAFETY: reads a register of EL1.
    unsafe { asm!("mrs {}, vbar_el1", out(reg) value, options(nostack, preserves_flags)) };
    value
}

fn write_el1(elr: u64, spsr: u64, esr: u64, far: Option<u64>) {
    // SAFETY: EL1's registers; EL2 does not use them.
    unsafe { asm!("msr elr_el1, {}", in(reg) elr, options(nostack, preserves_flags)) };
    // SAFETY: as above.
    unsafe { asm!("msr spsr_el1, {}", in(reg) spsr, options(nostack, preserves_flags)) };
    // SAFETY: as above.
    unsafe { asm!("msr esr_el1, {}", in(reg) esr, options(nostack, preserves_flags)) };
    if let Some(far) = far {
        // SAFETY: as above.
        unsafe { asm!("msr far_el1, {}", in(reg) far, options(nostack, preserves_flags)) };
    }
}
