//! The interrupt controller, GICv2 or GICv3, as ID_AA64PFR0_EL1.GIC tells. The timer's interrupt is a PPI; the console's and those of
//! message ports are SPIs.
#![expect(unsafe_code, reason = "names the addresses of the GIC's register blocks")]

use core::sync::atomic::{AtomicBool, Ordering};

use super::cpu::{self, read, write};
use super::device::Registers;
use super::{policy, uart};

/// The block of 2 MiB that holds all of it.
pub(super) const BLOCK: u64 = 0x0800_0000;

// SAFETY: the platform has the GIC there, and it does no DMA without LPIs.
const DISTRIBUTOR: Registers = unsafe { Registers::new(BLOCK) };
// SAFETY: as above; used with a GICv2 only.
const INTERFACE: Registers = unsafe { Registers::new(BLOCK + 0x1_0000) };
// SAFETY: as above; the first vCPU's, used with a GICv3 only.
const REDISTRIBUTOR: Registers = unsafe { Registers::new(BLOCK + 0xa_0000) };
// SAFETY: its second half.
const PRIVATE: Registers = unsafe { Registers::new(BLOCK + 0xb_0000) };

/// The virtual timer's PPI.
const TIMER: u32 = 27;
const PRIORITY: u8 = 0x80;

const CTLR: u64 = 0x000;
const IGROUPR: u64 = 0x080;
const ISENABLER: u64 = 0x100;
const ICENABLER: u64 = 0x180;
const IPRIORITYR: u64 = 0x400;
const ITARGETSR: u64 = 0x800;
const IROUTER: u64 = 0x6000;

static IS_V3: AtomicBool = AtomicBool::new(false);

/// What interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The timer.
    Timer,
    /// The console.
    Console,
    /// The hypervisor has something for who makes policy.
    Policy(u32),
    /// Something that was not asked for.
    Other(u32),
}

/// Turns the controller and both interrupts on.
pub(super) fn init() {
    IS_V3.store((read!("id_aa64pfr0_el1") >> 24) & 0xf != 0, Ordering::Relaxed);
    if is_v3() {
        init_v3();
    } else {
        DISTRIBUTOR.write(CTLR, 1);
        INTERFACE.write(0x04, 0xff);
        INTERFACE.write(0x00, 1);
    }
    for intid in [TIMER, uart::INTID] {
        enable(intid);
    }
}

fn init_v3() {
    // ARE and both groups' enables; with the register's non-secure layout the same bits do.
    DISTRIBUTOR.write(CTLR, 0x13);
    let waker = REDISTRIBUTOR.read(0x14);
    REDISTRIBUTOR.write(0x14, waker & !2);
    while REDISTRIBUTOR.read(0x14) & 4 != 0 {
        core::hint::spin_loop();
    }
    PRIVATE.write(IGROUPR, u32::MAX);
    write!("S3_0_C12_C12_5", 1); // ICC_SRE_EL1
    cpu::isb();
    write!("S3_0_C4_C6_0", 0xff); // ICC_PMR_EL1
    write!("S3_0_C12_C12_3", 0); // ICC_BPR1_EL1
    write!("S3_0_C12_C12_4", 0); // ICC_CTLR_EL1
    write!("S3_0_C12_C12_7", 1); // ICC_IGRPEN1_EL1
    cpu::isb();
}

fn is_v3() -> bool {
    IS_V3.load(Ordering::Relaxed)
}

/// Has the first vCPU interrupted by this.
pub(crate) fn enable(intid: u32) {
    let block = if is_v3() && intid < 32 { PRIVATE } else { DISTRIBUTOR };
    let word = u64::from(intid / 32) * 4;
    block.write_byte(IPRIORITYR + u64::from(intid), PRIORITY);
    if is_v3() {
        let groups = block.read(IGROUPR + word);
        block.write(IGROUPR + word, groups | (1 << (intid % 32)));
    }
    match (intid >= 32, is_v3()) {
        (false, _) => {}
        (true, false) => DISTRIBUTOR.write_byte(ITARGETSR + u64::from(intid), 1),
        // Routed to the affinity of the first vCPU, 0.
        (true, true) => {
            DISTRIBUTOR.write(IROUTER + u64::from(intid) * 8, 0);
            DISTRIBUTOR.write(IROUTER + u64::from(intid) * 8 + 4, 0);
        }
    }
    block.write(ISENABLER + word, 1 << (intid % 32));
}

/// Has an SPI interrupt nobody any more.
pub(crate) fn disable(intid: u32) {
    DISTRIBUTOR.write(ICENABLER + u64::from(intid / 32) * 4, 1 << (intid % 32));
}

/// Acknowledges an interrupt: what it is, and what [`end`] wants. `None` if none is pending.
pub(crate) fn acknowledge() -> Option<(Interrupt, u32)> {
    let value = if is_v3() {
        let value = read!("S3_0_C12_C12_0"); // ICC_IAR1_EL1
        // The acknowledge takes effect before what follows (GICv3 §4.1.3).
        cpu::dsb_sy();
        u32::try_from(value & 0x00ff_ffff).unwrap_or(1023)
    } else {
        INTERFACE.read(0x0c)
    };
    match value & 0x3ff {
        TIMER => Some((Interrupt::Timer, value)),
        uart::INTID => Some((Interrupt::Console, value)),
        policy::INTID => Some((Interrupt::Policy(policy::INTID), value)),
        1020.. => None,
        intid => Some((Interrupt::Other(intid), value)),
    }
}

/// Ends an interrupt.
pub(crate) fn end(acknowledged: u32) {
    if is_v3() {
        write!("S3_0_C12_C12_1", u64::from(acknowledged)); // ICC_EOIR1_EL1
        cpu::isb();
    } else {
        INTERFACE.write(0x10, acknowledged);
    }
}
