//! Where the attacks aim: addresses, function ids, registers.

use shikiri_abi::{AreaClass, CALLS, WindowSlot};
use shikiri_rt::hvc::psci;
use shikiri_rt::platform::{GICC, GICD, GICR, GICR_STRIDE, UART, platform};
use shikiri_test_guests::code::Encoding;
use shikiri_test_guests::random::Random;

/// An address in or around the emulated devices.
pub(crate) fn device_address(random: &mut Random) -> u64 {
    let vcpus = platform().vcpus as u64;
    let (base, size) = random.pick(&[
        (GICD, 0x1_0000),
        (GICD, 0x1000),
        (GICC, 0x1_0000),
        (GICR, GICR_STRIDE * vcpus),
        (GICR + 0x1_0000, 0x1000),
        (UART, 0x1000),
        (UART, 0x50),
    ]);
    // A quarter lies around: up to two pages before and behind.
    let offset = if random.below(4) == 0 {
        random.below(size + 0x4000)
    } else {
        0x2000 + random.below(size)
    };
    let address = (base + offset).wrapping_sub(0x2000);
    // Mostly aligned.
    match random.below(8) {
        0 => address,
        1 => address & !1,
        2 => address & !7,
        _ => address & !3,
    }
}

/// An address of nobody's, or of what can be taken from this partition.
pub(crate) fn foreign_address(random: &mut Random) -> u64 {
    let end = platform().ram_base + platform().ram_bytes;
    match random.below(8) {
        0 => random.below(GICD),
        1 => end + random.below(1 << 33),
        2 => 0x0902_0000 + random.below(0x36fe_0000),
        3 => random.bits() & 0xffff_ffff_ffff,
        4 => 1 << (39 + random.below(9)),
        // Areas that are here, or elsewhere by now, and the pages of ports.
        5 | 6 => {
            let class = random.pick(&AreaClass::ALL);
            let index = random.below(if class == AreaClass::Giant { 1 } else { 24 }) as u16;
            WindowSlot { class, index }.ipa().0 + random.below(1 << 13)
        }
        _ => end + random.below(0x10_0000),
    }
}

/// Whether an address is this partition's RAM or its UART's data register, where a write would show.
pub(crate) fn is_own(address: u64) -> bool {
    let ram = platform().ram_base;
    (ram..ram + platform().ram_bytes).contains(&address) || (UART..UART + 4).contains(&address)
}

/// A function id: ours, PSCI, SMCCC, other services, or anything.
pub(crate) fn function(random: &mut Random) -> u64 {
    let id = match random.below(8) {
        0 | 1 => u64::from(random.pick(CALLS).function_id()),
        2 => 0xc600_0000 + random.below(0x300),
        3 => 0x8400_0000 + random.below(0x20),
        4 => 0xc400_0000 + random.below(0x20),
        5 => random.pick(&[
            0x8000_0000,
            0x8000_0001,
            0x8600_ff00,
            0x8600_ff01,
            0x8600_ff03,
            0x8000_8000,
        ]),
        6 => 0x8000_0000 | (random.below(64) << 24) | random.below(0x1_0000),
        _ => random.edgy(),
    };
    if random.below(16) == 0 { id | (random.bits() << 32) } else { id }
}

/// Gives a call of the table as many arguments as it has, mostly of the size that it may take: a handle of a young table, a
/// small number.
pub(crate) fn fit(random: &mut Random, values: &mut [u64; 18]) {
    let id = values[0];
    let Some(row) = CALLS.iter().find(|row| u64::from(row.function_id()) == id) else { return };
    let (used, unused) = values[1..].split_at_mut(row.arguments.len());
    unused.fill(0);
    for value in used {
        match random.below(4) {
            0 => *value = (1 + random.below(3)) << 16 | random.below(16),
            1 => *value = random.below(4),
            2 => *value = 32 + random.below(64),
            _ => {}
        }
    }
}

/// Whether a call would end, stop or suspend the caller, as intended by its maker.
pub(crate) fn is_final(function: u64, x1: u64) -> bool {
    const SYSTEM_RESET2: u64 = 0x12;
    const SYSTEM_SUSPEND: u64 = 0xe;
    const CPU_DEFAULT_SUSPEND: u64 = 0xc;
    const CPU_FREEZE: u64 = 0xb;
    let id = function & 0xffff_ffff;
    let psci = [
        u64::from(psci::CPU_OFF) & 0xff,
        u64::from(psci::CPU_SUSPEND) & 0xff,
        u64::from(psci::SYSTEM_OFF) & 0xff,
        u64::from(psci::SYSTEM_RESET) & 0xff,
        SYSTEM_RESET2,
        SYSTEM_SUSPEND,
        CPU_DEFAULT_SUSPEND,
        CPU_FREEZE,
    ];
    match id & !0x4000_00ff {
        0x8400_0000 => psci.contains(&(id & 0xff)),
        0x8600_0000 => id == 0xc600_0004 && x1 < 1 << 32,
        _ => false,
    }
}

/// A system register or instruction, op0 = 1 to 3.
pub(crate) fn register(random: &mut Random) -> Encoding {
    let mut below = |end| random.below(end) as u32;
    match below(8) {
        // Anything.
        0 => (1 + below(3), below(8), below(16), below(16), below(8)),
        // EL1's.
        1 => (3, 0, below(16), below(16), below(8)),
        // The ID group.
        2 => (3, 0, 0, below(8), below(8)),
        // Debug.
        3 => (2, 0, below(2), below(16), below(8)),
        // The GIC's CPU interface, acknowledging and SGIs included.
        4 => (3, 0, 12, 8 + below(5), below(8)),
        // PMU.
        5 => (3, 3, [9, 14][below(2) as usize], 8 + below(8), below(8)),
        // Timers.
        6 => (3, 3, 14, below(4), below(3)),
        // Instructions: address translation, cache and TLB maintenance.
        _ => (1, below(8), 7 + below(2), below(16), below(8)),
    }
}

/// ICC_BPR0_EL1, ICC_BPR1_EL1: QEMU compares the whole value with the smallest one and then keeps three bits, and ends itself
/// when a zero is left.
pub(crate) fn is_binary_point(register: Encoding) -> bool {
    matches!(register, (3, 0, 12, 8 | 12, 3))
}

/// Whether writing this register pulls the ground from under this program, not from under the hypervisor.
pub(crate) fn is_suicidal(register: Encoding) -> bool {
    match register {
        // SCTLR, TTBR0, TTBR1, TCR, SP_EL0, MAIR, VBAR, TPIDR_EL1, SPSel.
        (3, 0, 1, 0, 0)
        | (3, 0, 2, 0, 0..=2)
        | (3, 0, 4, 1, 0)
        | (3, 0, 10, 2, 0)
        | (3, 0, 12, 0, 0)
        | (3, 0, 13, 0, 4)
        | (3, 0, 4, 2, 0) => true,
        // Instructions: DC and IC take addresses that the caller picks; set and way has its own kind.
        (1, 0, 7, 6 | 10 | 14, _) => true,
        _ => false,
    }
}
