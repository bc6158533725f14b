//! This core's virtual interrupt interface and the physical interrupts behind it, for `shikiri_vgic`.
#![expect(unsafe_code, reason = "list registers are system registers")]

use core::arch::asm;

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ActivePriorities, ListRegisters, PhysIrq};
use shikiri_drivers::{Gic, Gich};

use crate::guest::live::Live;
use crate::percore::CoreLocal;
use crate::regs;

/// The hardware as one vCPU's core sees it.
pub(crate) struct VirtualInterface<'a> {
    /// The core that runs this code.
    pub(crate) core: &'a CoreLocal,
    /// The partition whose interrupts these are; none while the core comes up.
    pub(crate) live: Option<&'a Live>,
}

impl VirtualInterface<'_> {
    /// GICv2's virtual interface control; `None` on GICv3.
    #[inline(always)]
    const fn gich(&self) -> Option<&Gich> {
        self.core.world.gich.as_ref()
    }
}

/// Defines indexed access to ICH_LR0_EL2 to ICH_LR15_EL2 (op0 3, op1 4, CRn 12, CRm 12 or 13, op2 0–7).
macro_rules! list_registers {
    ($($index:literal => $name:literal;)*) => {
        #[inline(never)]
        fn read_lr(index: u8) -> u64 {
            let value: u64;
            match index {
                $(
                    // SAFETY: reading a list register has no effect.
                    $index => unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nostack, preserves_flags)) },
                )*
                _ => value = 0,
            }
            value
        }

        #[inline(always)]
        fn write_lr(index: u8, value: u64) {
            match index {
                $(
                    // SAFETY: a list register steers the guest's interrupts only.
                    $index => unsafe { asm!(concat!("msr ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags)) },
                )*
                _ => {}
            }
        }
    };
}

list_registers! {
    0 => "S3_4_C12_C12_0"; 1 => "S3_4_C12_C12_1"; 2 => "S3_4_C12_C12_2"; 3 => "S3_4_C12_C12_3";
    4 => "S3_4_C12_C12_4"; 5 => "S3_4_C12_C12_5"; 6 => "S3_4_C12_C12_6"; 7 => "S3_4_C12_C12_7";
    8 => "S3_4_C12_C13_0"; 9 => "S3_4_C12_C13_1"; 10 => "S3_4_C12_C13_2"; 11 => "S3_4_C12_C13_3";
    12 => "S3_4_C12_C13_4"; 13 => "S3_4_C12_C13_5"; 14 => "S3_4_C12_C13_6"; 15 => "S3_4_C12_C13_7";
}

#[inline(always)]
fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl ListRegisters for VirtualInterface<'_> {
    #[inline]
    fn count(&self) -> u8 {
        match self.gich() {
            Some(gich) => gich.list_registers(),
            None => {
                let [last, ..] = (regs::ich_vtr_el2() & 31).to_le_bytes();
                last.saturating_add(1)
            }
        }
    }

    #[inline]
    fn empty(&self) -> u32 {
        match self.gich() {
            Some(gich) => gich.elrsr(),
            None => low(regs::ich_elrsr_el2()),
        }
    }

    #[inline]
    fn read(&self, index: u8) -> u64 {
        match self.gich() {
            Some(gich) => u64::from(gich.lr(index)),
            None => read_lr(index),
        }
    }

    #[inline]
    fn write(&self, index: u8, value: u64) {
        match self.gich() {
            Some(gich) => gich.set_lr(index, low(value)),
            None => write_lr(index, value),
        }
    }

    #[inline]
    fn control(&self) -> u32 {
        match self.gich() {
            Some(gich) => gich.hcr(),
            None => low(regs::ich_hcr_el2()),
        }
    }

    #[inline]
    fn set_control(&self, value: u32) {
        match self.gich() {
            Some(gich) => gich.set_hcr(value),
            None => regs::set_ich_hcr_el2(u64::from(value)),
        }
    }

    #[inline]
    fn is_maintenance_due(&self) -> bool {
        match self.gich() {
            Some(gich) => gich.misr() != 0,
            None => regs::ich_misr_el2() != 0,
        }
    }

    fn vmcr(&self) -> u32 {
        match self.gich() {
            Some(gich) => gich.vmcr(),
            None => low(regs::ich_vmcr_el2()),
        }
    }

    fn set_vmcr(&self, value: u32) {
        match self.gich() {
            Some(gich) => gich.set_vmcr(value),
            None => regs::set_ich_vmcr_el2(u64::from(value)),
        }
    }

    fn active_priorities(&self) -> ActivePriorities {
        let mut all = ActivePriorities::NONE;
        let ([group0, ..], [group1, ..]) = (&mut all.group0, &mut all.group1);
        match self.gich() {
            Some(gich) => *group0 = gich.apr(),
            None => {
                *group0 = low(regs::ich_ap0r0_el2());
                *group1 = low(regs::ich_ap1r0_el2());
            }
        }
        all
    }

    fn set_active_priorities(&self, value: &ActivePriorities) {
        let ([group0, ..], [group1, ..]) = (value.group0, value.group1);
        match self.gich() {
            Some(gich) => gich.set_apr(group0),
            None => {
                regs::set_ich_ap0r0_el2(u64::from(group0));
                regs::set_ich_ap1r0_el2(u64::from(group1));
            }
        }
    }
}

impl PhysIrq for VirtualInterface<'_> {
    fn set_enabled(&self, intid: IntId, is_enabled: bool) {
        if !intid.is_spi() {
            return;
        }
        if is_enabled {
            self.core.world.gic.spis().enable(intid)
        } else {
            self.core.world.gic.spis().disable(intid)
        }
    }

    fn route(&self, intid: IntId, vcpu: VcpuIndex) {
        let home = self.live.and_then(|live| live.vcpu(vcpu)).map(|vcpu| vcpu.home);
        let target = home.and_then(|core| self.core.world.cores.get(usize::from(core.0)));
        if let Some(core) = target
            && intid.is_spi()
        {
            self.core.world.gic.route(intid, core.target());
        }
    }

    #[inline]
    fn deactivate(&self, intid: IntId) {
        self.core.gic.deactivate_intid(intid);
    }

    fn clear_state(&self, intid: IntId) {
        let bank =
            if intid.is_spi() { self.core.world.gic.spis() } else { self.core.gic.private() };
        bank.clear_pending(intid);
        bank.clear_active(intid);
    }
}

/// The shared interrupts alone, for a partition none of whose vCPUs is on a core: its set-up and its end.
pub(crate) struct SharedInterrupts<'a>(pub(crate) &'a Gic);

impl PhysIrq for SharedInterrupts<'_> {
    fn set_enabled(&self, intid: IntId, is_enabled: bool) {
        if intid.is_spi() {
            if is_enabled { self.0.spis().enable(intid) } else { self.0.spis().disable(intid) }
        }
    }

    /// Nothing: whoever uses this sets the routes itself.
    fn route(&self, _intid: IntId, _vcpu: VcpuIndex) {}

    /// As [`PhysIrq::clear_state`]: no CPU interface has it.
    fn deactivate(&self, intid: IntId) {
        self.clear_state(intid);
    }

    fn clear_state(&self, intid: IntId) {
        if intid.is_spi() {
            self.0.spis().clear_pending(intid);
            self.0.spis().clear_active(intid);
        }
    }
}
