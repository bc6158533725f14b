//! This core's feature registers, and the guests' view of them.
#![expect(unsafe_code, reason = "reads the ID registers")]

use core::arch::asm;

use shikiri_arch::exit::SysregEncoding;
use shikiri_arch::idreg::{CTR_EL0, DCZID_EL0, GicView, IdTable};

use crate::regs;

/// Reads a register of the ID group by its encoding; 0 for one that is not in the list.
macro_rules! id_group {
    ($register:expr; $($crm:literal $op2:literal),* $(,)?) => {{
        let value: u64;
        match $register {
            $(
                // SAFETY: ID registers are read without effect; reserved ones read as zero.
                it if it == SysregEncoding::new(3, 0, 0, $crm, $op2) => unsafe {
                    asm!(concat!("mrs {}, S3_0_C0_C", $crm, "_", $op2), out(reg) value, options(nostack, preserves_flags));
                },
            )*
            _ => value = 0,
        }
        value
    }};
}

/// The hardware's value.
pub(crate) fn read(register: SysregEncoding) -> u64 {
    match register {
        CTR_EL0 => regs::ctr_el0(),
        DCZID_EL0 => regs::dczid_el0(),
        other => id_group!(other;
            0 6, 1 0, 1 1, 1 2, 1 3, 1 4, 1 5, 1 6, 1 7, 2 0, 2 1, 2 2, 2 3, 2 4, 2 5, 2 6, 2 7, 3 0, 3 1, 3 2,
            3 4, 3 5, 3 6, 4 0, 4 1, 4 2, 4 5, 5 0, 5 1, 6 0, 6 1, 6 2, 6 3, 7 0, 7 1, 7 2, 7 3, 7 4),
    }
}

/// The guests' view of this core.
pub(crate) fn view(gic: GicView) -> IdTable {
    IdTable::new(read, gic)
}
