//! What a vCPU can do to memory by its address: each kind of access, and each cache maintenance instruction that EL1 has for one.
//! `PRFM` is not among them: it never faults and changes nothing. Nor is `AT`: it answers what stage 1 says, and accesses nothing.
#![expect(unsafe_code, reason = "shoots at memory that may be gone")]

use core::sync::atomic::{AtomicBool, Ordering};

use shikiri_abi::{Ipa, WINDOWS};
use shikiri_rt::println;
use shikiri_test_guests::ensure;
use shikiri_test_guests::fault::{self, Fault, Piece};
use shikiri_test_guests::port::view;
use shikiri_test_guests::report::Outcome;

macro_rules! shots {
    ($($(#[$doc:meta])* $shot:ident: $piece:ident,)*) => {
        /// A kind of access.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Shot {
            $($(#[$doc])* $shot,)*
        }

        impl Shot {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$shot),*];

            const fn piece(self) -> Piece {
                match self {
                    $(Self::$shot => fault::$piece,)*
                }
            }
        }
    };
}

shots! {
    Load: fault_load64,
    Store: fault_store64,
    /// LDXR and STXR.
    Exclusive: fault_exclusive64,
    /// DC ZVA: a store that the cache makes.
    ClearLine: fault_clear_line,
    /// DC CVAC and DC CVAU.
    Clean: fault_clean,
    CleanToUnification: fault_clean_to_unification,
    /// DC CIVAC.
    CleanAndInvalidate: fault_clean_and_invalidate,
    /// DC IVAC, which loses what no cache has written back; with HCR_EL2.VM set it cleans as well (Arm ARM, DC IVAC).
    Invalidate: fault_invalidate,
    /// IC IVAU.
    InvalidateCode: fault_invalidate_code,
    /// Of an area, which is never executed from.
    Fetch: fault_call,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = Shot::ALL.len();

/// By kind: whether one at a place where nothing is faults on this machine.
static FAULTS: [AtomicBool; KINDS] = [const { AtomicBool::new(false) }; KINDS];

impl Shot {
    /// Does it, at this place and with this value.
    pub(crate) fn fire(self, at: Ipa, value: u64) -> Result<u64, Fault> {
        // SAFETY: the window region holds nothing that Rust knows of; a fault is caught; areas are never executed.
        unsafe { fault::attempt(self.piece(), view(at), value) }
    }

    /// Whether it gives what stands there.
    pub(crate) const fn is_load(self) -> bool {
        matches!(self, Self::Load | Self::Exclusive)
    }

    /// Whether it is cache maintenance.
    const fn is_maintenance(self) -> bool {
        match self {
            Self::Load | Self::Store | Self::Exclusive | Self::ClearLine | Self::Fetch => false,
            Self::Clean
            | Self::CleanToUnification
            | Self::CleanAndInvalidate
            | Self::Invalidate
            | Self::InvalidateCode => true,
        }
    }

    /// Whether it is known to fault where nothing is.
    pub(crate) fn faults(self) -> bool {
        FAULTS[self as usize].load(Ordering::Relaxed)
    }
}

/// Finds out which kinds fault at a place where nothing is, before there is a port or an area. Accesses have to. Maintenance does
/// where it is translated, as the architecture wants it; then none may succeed at what has been sent. To QEMU it is a NOP, which
/// changes nothing and cannot fault: there the receiver's bytes alone show that it does no harm, and it could do none anyway.
pub(crate) fn find_out() -> Outcome {
    for shot in Shot::ALL {
        let faults = shot.fire(WINDOWS, 0).is_err();
        ensure("an access to nothing faults", faults || shot.is_maintenance())?;
        FAULTS[*shot as usize].store(faults, Ordering::Relaxed);
        if !faults {
            println!("{shot:?} is not translated here");
        }
    }
    Ok(())
}
