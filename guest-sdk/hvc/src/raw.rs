//! The two instructions that make a call, as functions.
//!
//! Registers are those of the SMC Calling Convention (Arm DEN 0028, 1.2 §2): function id and arguments in
//! `x0`–`x6`, results in `x0`–`x3`.
#![expect(unsafe_code, reason = "HVC and SMC exist as instructions only")]

use core::arch::asm;

/// Which instruction carries a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// `HVC #0`: to the hypervisor at EL2.
    Hvc,
    /// `SMC #0`: to EL3; a hypervisor traps it.
    Smc,
}

/// The results of a call: `x0` to `x3`.
pub type Results = [u64; 4];

/// Makes a call with function id `function` and `x1`–`x6` = `arguments`.
///
/// # Safety
/// The call must not do what breaks the caller's own memory safety: start a vCPU at an address that is no
/// entry point, or give away memory that is still referenced.
#[inline]
#[must_use]
pub unsafe fn call(conduit: Conduit, function: u64, arguments: [u64; 6]) -> Results {
    match conduit {
        // SAFETY: the caller's promise is passed on.
        Conduit::Hvc => unsafe { hvc(function, arguments) },
        // SAFETY: the caller's promise is passed on.
        Conduit::Smc => unsafe { smc(function, arguments) },
    }
}

macro_rules! conduit {
    ($(#[$doc:meta])* $name:ident, $instruction:literal) => {
        $(#[$doc])*
        #[inline]
        #[must_use]
        pub unsafe fn $name(function: u64, arguments: [u64; 6]) -> Results {
            let [a1, a2, a3, a4, a5, a6] = arguments;
            let (x0, x1, x2, x3);
            // SAFETY: SMCCC 1.2 §2.6 lets the other side change x0–x17 only, all named here; memory may be
            // read and written, so neither `nomem` nor `readonly`; what the call means is the caller's promise.
            unsafe {
                asm!(
                    $instruction,
                    inlateout("x0") function => x0,
                    inlateout("x1") a1 => x1,
                    inlateout("x2") a2 => x2,
                    inlateout("x3") a3 => x3,
                    inlateout("x4") a4 => _,
                    inlateout("x5") a5 => _,
                    inlateout("x6") a6 => _,
                    lateout("x7") _, lateout("x8") _, lateout("x9") _, lateout("x10") _, lateout("x11") _,
                    lateout("x12") _, lateout("x13") _, lateout("x14") _, lateout("x15") _,
                    lateout("x16") _, lateout("x17") _,
                    options(nostack),
                );
            }
            [x0, x1, x2, x3]
        }
    };
}

conduit! {
    /// Makes a call by `HVC #0`.
    ///
    /// # Safety
    /// As for [`call`].
    hvc, "hvc #0"
}

conduit! {
    /// Makes a call by `SMC #0`. Where nothing answers it (no EL3, no hypervisor) it is UNDEFINED.
    ///
    /// # Safety
    /// As for [`call`].
    smc, "smc #0"
}
