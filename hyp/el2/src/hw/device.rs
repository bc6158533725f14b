//! Accesses that EL2 makes to a device for its owner: where the device's page is shared with others.
#![expect(unsafe_code, reason = "device registers by address")]

use core::arch::asm;

use shikiri_abi::Pa;
use shikiri_arch::exit::MmioAccess;

/// Makes the guest's access at `pa`; what a load read.
pub(crate) fn access(pa: Pa, access: &MmioAccess, register: u64) -> u64 {
    let at = pa.0;
    let mut value = access.truncate(register);
    // SAFETY (each): the description gives the device at `pa` to the partition, and EL2's map has its page as
    // device memory; one plain load or store of the guest's size.
    if access.is_write {
        match access.size_log2 {
            // SAFETY: see above.
            0 => unsafe {
                asm!("strb {:w}, [{}]", in(reg) value, in(reg) at, options(nostack, preserves_flags))
            },
            // SAFETY: see above.
            1 => unsafe {
                asm!("strh {:w}, [{}]", in(reg) value, in(reg) at, options(nostack, preserves_flags))
            },
            // SAFETY: see above.
            2 => unsafe {
                asm!("str {:w}, [{}]", in(reg) value, in(reg) at, options(nostack, preserves_flags))
            },
            // SAFETY: see above.
            _ => unsafe {
                asm!("str {}, [{}]", in(reg) value, in(reg) at, options(nostack, preserves_flags))
            },
        }
        return 0;
    }
    match access.size_log2 {
        // SAFETY: see above.
        0 => unsafe {
            asm!("ldrb {:w}, [{}]", out(reg) value, in(reg) at, options(nostack, preserves_flags))
        },
        // SAFETY: see above.
        1 => unsafe {
            asm!("ldrh {:w}, [{}]", out(reg) value, in(reg) at, options(nostack, preserves_flags))
        },
        // SAFETY: see above.
        2 => unsafe {
            asm!("ldr {:w}, [{}]", out(reg) value, in(reg) at, options(nostack, preserves_flags))
        },
        // SAFETY: see above.
        _ => unsafe {
            asm!("ldr {}, [{}]", out(reg) value, in(reg) at, options(nostack, preserves_flags))
        },
    }
    value
}
