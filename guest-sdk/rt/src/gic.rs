//! The interrupt controller, GICv2 or GICv3, as ID_AA64PFR0_EL1.GIC tells.
//!
//! SGIs are INTIDs 0–15, PPIs 16–31, SPIs 32 and up; the private ones are each vCPU's own. Lower priority
//! values are more urgent; an interrupt that has none yet gets 0x80 when it is enabled, and all are let through.
//!
//! **Panics** if an INTID is none (1020 and up): what follows its registers is not its own.
#![expect(unsafe_code, reason = "names the addresses of the GIC's register blocks")]

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::lock::Lock;
use crate::mmio::Registers;
use crate::platform::{GICC, GICD, GICR, GICR_STRIDE, MAX_VCPUS, platform};
use crate::{reg, smp};

/// How much of the address space the distributor takes, and each half of a redistributor.
const FRAME_BYTES: u64 = 0x1_0000;
/// The same of a GICv2's CPU interface.
const CPU_INTERFACE_BYTES: u64 = 0x2000;

// SAFETY: the platform has the GIC there, and it does no DMA without LPIs.
const DISTRIBUTOR: Registers = unsafe { Registers::new(GICD, FRAME_BYTES) };
// SAFETY: as above; used with a GICv2 only.
const CPU_INTERFACE: Registers = unsafe { Registers::new(GICC, CPU_INTERFACE_BYTES) };

/// Held for a change of registers that hold several interrupts' bits and have no pair to set and to clear them: another vCPU's change, or a
/// handler's, would be lost between the load and the store.
static SHARED_WORDS: Lock<()> = Lock::new(());

/// The interrupts that have a priority, 32 to a word; those below 32 are each vCPU's own, and stand in [`OWN_PRIORITIES`].
static PRIORITIES: [AtomicU32; 32] = [const { AtomicU32::new(0) }; 32];
static OWN_PRIORITIES: [AtomicU32; MAX_VCPUS] = [const { AtomicU32::new(0) }; MAX_VCPUS];

const CTLR: u64 = 0x000;
const IGROUPR: u64 = 0x080;
const ISENABLER: u64 = 0x100;
const ICENABLER: u64 = 0x180;
const ISPENDR: u64 = 0x200;
const ICPENDR: u64 = 0x280;
const ISACTIVER: u64 = 0x300;
const ICACTIVER: u64 = 0x380;
const IPRIORITYR: u64 = 0x400;
const ITARGETSR: u64 = 0x800;
const ICFGR: u64 = 0xc00;
const SGIR: u64 = 0xf00;
const IROUTER: u64 = 0x6000;

const GICC_CTLR: u64 = 0x00;
const GICC_PMR: u64 = 0x04;
const GICC_IAR: u64 = 0x0c;
const GICC_EOIR: u64 = 0x10;
const GICC_HPPIR: u64 = 0x18;
const GICC_DIR: u64 = 0x1000;

/// GICv2: the address of the highest pending interrupt's INTID, 1023 if there is none. It is told whatever the running priority is.
pub(crate) const HPPIR: u64 = GICC + GICC_HPPIR;
const _: () = assert!(HPPIR >> 32 == 0, "two moves make it");

const GICR_TYPER: u64 = 0x08;
const GICR_WAKER: u64 = 0x14;

/// The first number that is no interrupt's (1020 to 1023 say so, or are another state's).
const INTIDS: u32 = 1020;

/// The priority that [`enable`] gives to what has none.
pub const PRIORITY: u8 = 0x80;

/// Which GIC there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Memory-mapped CPU interface, at most 8 vCPUs.
    V2,
    /// CPU interface in system registers.
    V3,
}

/// What an acknowledge read: an INTID, and with GICv2 the sender of an SGI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged(u32);

impl Acknowledged {
    /// What acknowledging `intid` gives; with GICv2 an SGI from vCPU 0.
    #[must_use]
    pub const fn of(intid: u32) -> Self {
        Self(intid & 0x3ff)
    }

    /// The INTID; `None` if nothing was pending (1020–1023).
    #[must_use]
    pub const fn intid(self) -> Option<u32> {
        match self.0 & 0x3ff {
            1020.. => None,
            intid => Some(intid),
        }
    }

    /// With GICv2, which vCPU sent the SGI.
    #[must_use]
    pub const fn sender(self) -> u32 {
        (self.0 >> 10) & 7
    }
}

/// 2 or 3 once that is known: a hypervisor traps reads of the ID register, and every interrupt asks.
pub(crate) static VERSION: AtomicU8 = AtomicU8::new(0);

/// Which GIC there is.
#[must_use]
pub fn version() -> Version {
    match VERSION.load(Ordering::Relaxed) {
        2 => Version::V2,
        3 => Version::V3,
        _ => find_version(),
    }
}

#[cold]
fn find_version() -> Version {
    let (number, version) = match (reg::id_aa64pfr0() >> 24) & 0xf {
        0 => (2, Version::V2),
        _ => (3, Version::V3),
    };
    VERSION.store(number, Ordering::Relaxed);
    version
}

/// Turns the distributor on.
pub(crate) fn init() {
    match version() {
        Version::V2 => DISTRIBUTOR.write32(CTLR, 1),
        // ARE and both groups' enables; with the register's non-secure layout the same bits do.
        Version::V3 => DISTRIBUTOR.write32(CTLR, 0x13),
    }
}

/// Prepares this vCPU's interface: all its interrupts off, all priorities let through.
pub fn init_core() {
    // A vCPU that is on again may find its own interrupts as after a reset.
    if let Some(own) = OWN_PRIORITIES.get(smp::index()) {
        own.store(0, Ordering::Relaxed);
    }
    match version() {
        Version::V2 => {
            CPU_INTERFACE.write32(GICC_PMR, 0xff);
            CPU_INTERFACE.write32(GICC_CTLR, 1);
        }
        Version::V3 => init_core_v3(),
    }
}

fn init_core_v3() {
    let redistributor = redistributor();
    let waker = redistributor.read32(GICR_WAKER);
    redistributor.write32(GICR_WAKER, waker & !2);
    while redistributor.read32(GICR_WAKER) & 4 != 0 {
        reg::yield_now();
    }
    private_frame().write32(IGROUPR, u32::MAX);
    reg::set_icc_sre(1);
    reg::isb();
    reg::set_icc_pmr(0xff);
    reg::set_icc_bpr1(0);
    reg::set_icc_ctlr(0);
    reg::set_icc_igrpen1(1);
    reg::isb();
}

/// This vCPU's redistributor: the one whose GICR_TYPER holds its affinity.
fn redistributor() -> Registers {
    let mpidr = reg::mpidr();
    let affinity = ((mpidr >> 8) & 0xff00_0000) | (mpidr & 0x00ff_ffff);
    let mut base = GICR;
    for _ in 0..MAX_VCPUS {
        // SAFETY: redistributors follow each other up to the one that says Last.
        let frame = unsafe { Registers::new(base, FRAME_BYTES) };
        let kind = frame.read64(GICR_TYPER);
        if kind >> 32 == affinity || kind & (1 << 4) != 0 {
            return frame;
        }
        base = base.wrapping_add(GICR_STRIDE);
    }
    // SAFETY: the first one is there.
    unsafe { Registers::new(GICR, FRAME_BYTES) }
}

/// The registers for SGIs and PPIs.
fn private_frame() -> Registers {
    match version() {
        Version::V2 => DISTRIBUTOR,
        // SAFETY: the SGI frame is the second half of the redistributor.
        Version::V3 => unsafe {
            Registers::new(redistributor().base().wrapping_add(FRAME_BYTES), FRAME_BYTES)
        },
    }
}

/// The register block that holds the state of `intid`.
#[must_use]
pub fn block(intid: u32) -> Registers {
    assert!(intid < INTIDS, "{intid} is no interrupt");
    if intid < 32 { private_frame() } else { DISTRIBUTOR }
}

/// Enables an interrupt in the group that is delivered as IRQ, at [`PRIORITY`] if it has no other.
pub fn enable(intid: u32) {
    // Looked up once: to find this vCPU's own costs a trapped read for each vCPU before it.
    let block = block(intid);
    {
        let _alone = SHARED_WORDS.lock();
        if !has_priority(intid) {
            set_priority_in(block, intid, PRIORITY);
        }
    }
    if version() == Version::V3 {
        change(block, word(IGROUPR, intid), |groups| groups | bit(intid));
    }
    block.write32(word(ISENABLER, intid), bit(intid));
}

/// Changes a word in which other interrupts have their bits, too.
fn change(block: Registers, offset: u64, action: impl FnOnce(u32) -> u32) {
    let _alone = SHARED_WORDS.lock();
    let before = block.read32(offset);
    let after = action(before);
    if after != before {
        block.write32(offset, after);
    }
}

/// Whether an interrupt has a priority; it has one from here on. With [`SHARED_WORDS`] locked, until it has been written.
fn has_priority(intid: u32) -> bool {
    let place = if intid < 32 {
        OWN_PRIORITIES.get(smp::index())
    } else {
        usize::try_from(intid / 32).ok().and_then(|word| PRIORITIES.get(word))
    };
    place.is_some_and(|word| word.fetch_or(bit(intid), Ordering::Relaxed) & bit(intid) != 0)
}

/// Disables an interrupt and waits until that has taken effect.
pub fn disable(intid: u32) {
    block(intid).write32(word(ICENABLER, intid), bit(intid));
    if version() == Version::V3 && intid >= 32 {
        while DISTRIBUTOR.read32(CTLR) & (1 << 31) != 0 {
            reg::yield_now();
        }
    }
}

/// Sets an interrupt's priority, 0 the most urgent.
pub fn set_priority(intid: u32, priority: u8) {
    let block = block(intid);
    let _alone = SHARED_WORDS.lock();
    let _had_one = has_priority(intid);
    set_priority_in(block, intid, priority);
}

fn set_priority_in(block: Registers, intid: u32, priority: u8) {
    block.write8(IPRIORITYR.wrapping_add(u64::from(intid)), priority);
}

/// Makes an interrupt edge-triggered.
pub fn set_edge(intid: u32) {
    set_config(intid, 2);
}

/// Makes an interrupt level-sensitive.
pub fn set_level(intid: u32) {
    set_config(intid, 0);
}

fn set_config(intid: u32, config: u32) {
    let offset = ICFGR.wrapping_add(u64::from(intid / 16).wrapping_mul(4));
    let shift = intid.wrapping_mul(2) % 32;
    let (all, own) = (3_u32.wrapping_shl(shift), config.wrapping_shl(shift));
    change(block(intid), offset, |configs| configs & !all | own);
}

/// Makes an interrupt pending.
pub fn set_pending(intid: u32) {
    block(intid).write32(word(ISPENDR, intid), bit(intid));
}

/// Takes an interrupt's pending state back.
pub fn clear_pending(intid: u32) {
    block(intid).write32(word(ICPENDR, intid), bit(intid));
}

/// Whether an interrupt is pending.
#[must_use]
pub fn is_pending(intid: u32) -> bool {
    block(intid).read32(word(ISPENDR, intid)) & bit(intid) != 0
}

/// Whether an interrupt is active: acknowledged and not deactivated.
#[must_use]
pub fn is_active(intid: u32) -> bool {
    block(intid).read32(word(ISACTIVER, intid)) & bit(intid) != 0
}

/// Takes an interrupt's active state away.
pub fn clear_active(intid: u32) {
    block(intid).write32(word(ICACTIVER, intid), bit(intid));
}

/// Routes an SPI to one vCPU.
pub fn route(intid: u32, vcpu: usize) {
    assert!(intid < INTIDS, "{intid} is no interrupt");
    let Some(mpidr) = platform().mpidr(vcpu) else { return };
    match version() {
        Version::V2 => {
            let target = 1_u8.checked_shl(u32::try_from(vcpu).unwrap_or(8)).unwrap_or(0);
            DISTRIBUTOR.write8(ITARGETSR.wrapping_add(u64::from(intid)), target);
        }
        Version::V3 => {
            let offset = IROUTER.wrapping_add(u64::from(intid).wrapping_mul(8));
            DISTRIBUTOR.write64(offset, mpidr & 0xff_00ff_ffff);
        }
    }
}

/// Sends an SGI to a vCPU.
pub fn send_sgi(intid: u32, vcpu: usize) {
    let Some(mpidr) = platform().mpidr(vcpu) else { return };
    // What was stored before is seen by who takes the interrupt.
    reg::dsb_ishst();
    match version() {
        Version::V2 => {
            let list = 0x1_0000_u32.checked_shl(u32::try_from(vcpu).unwrap_or(8)).unwrap_or(0);
            DISTRIBUTOR.write32(SGIR, list | (intid & 0xf));
        }
        Version::V3 => {
            reg::set_icc_sgi1r(sgi_value(intid, mpidr));
            reg::isb();
        }
    }
}

/// ICC_SGI1R_EL1 for one target.
#[must_use]
pub fn sgi_value(intid: u32, mpidr: u64) -> u64 {
    let [aff0, aff1, aff2, _, aff3, ..] = mpidr.to_le_bytes();
    (u64::from(aff3) << 48)
        | (u64::from(aff0 >> 4) << 44)
        | (u64::from(aff2) << 32)
        | (u64::from(intid & 0xf) << 24)
        | (u64::from(aff1) << 16)
        | 1_u64.wrapping_shl(u32::from(aff0 & 0xf))
}

/// Acknowledges the most urgent pending interrupt: it becomes active.
#[must_use]
pub fn acknowledge() -> Acknowledged {
    match version() {
        Version::V2 => Acknowledged(CPU_INTERFACE.read32(GICC_IAR)),
        Version::V3 => {
            let value = reg::icc_iar1();
            // The acknowledge takes effect before what follows (GICv3 §4.1.3).
            reg::dsb_sy();
            Acknowledged(u32::try_from(value & 0x00ff_ffff).unwrap_or(1023))
        }
    }
}

/// Ends an interrupt: drops the running priority, and deactivates it unless EOImode is 1. With GICv2 that takes effect when the store
/// arrives, some time after this returns; an interrupt that waited behind this one is signalled only then.
pub fn end(acknowledged: Acknowledged) {
    match version() {
        Version::V2 => CPU_INTERFACE.write32(GICC_EOIR, acknowledged.0),
        Version::V3 => {
            reg::set_icc_eoir1(u64::from(acknowledged.0));
            reg::isb();
        }
    }
}

/// Deactivates an interrupt that was ended with EOImode 1.
pub fn deactivate(acknowledged: Acknowledged) {
    match version() {
        Version::V2 => CPU_INTERFACE.write32(GICC_DIR, acknowledged.0),
        Version::V3 => {
            reg::set_icc_dir(u64::from(acknowledged.0));
            reg::isb();
        }
    }
}

/// Sets EOImode 1 on this vCPU: [`end`] only drops the priority, [`deactivate`] does the rest.
pub fn split_end() {
    match version() {
        Version::V2 => CPU_INTERFACE.write32(GICC_CTLR, 1 | (1 << 9)),
        Version::V3 => set_control(2),
    }
}

/// Sets EOImode 0 on this vCPU: [`end`] does both.
pub fn joined_end() {
    match version() {
        Version::V2 => CPU_INTERFACE.write32(GICC_CTLR, 1),
        Version::V3 => set_control(0),
    }
}

fn set_control(value: u64) {
    reg::set_icc_ctlr(value);
    reg::isb();
}

/// Lets only interrupts with a priority value below `mask` through on this vCPU.
pub fn set_priority_mask(mask: u8) {
    match version() {
        Version::V2 => CPU_INTERFACE.write32(GICC_PMR, u32::from(mask)),
        Version::V3 => {
            reg::set_icc_pmr(u64::from(mask));
            reg::isb();
        }
    }
}

/// The word that holds the bit of `intid`.
fn word(register: u64, intid: u32) -> u64 {
    register.wrapping_add(u64::from(intid / 32).wrapping_mul(4))
}

const fn bit(intid: u32) -> u32 {
    1_u32.wrapping_shl(intid)
}
