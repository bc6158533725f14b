//! This core's virtual interrupt interface and the physical interrupts behind it, for `shikiri_vgic`.
#![expect(unsafe_code, reason = "list registers are system registers")]

use core::arch::asm;

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ActivePriorities, ListRegisters, PhysIrq};
use shikiri_drivers::{Gic, Gich, InterruptBank};

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

/// The instructions for ICH_LR0_EL2 to ICH_LR15_EL2 (op0 3, op1 4, CRn 12, CRm 12 or 13, op2 0–7), 8 bytes for each:
/// `$access`, and a branch to the end. Before them, a branch to the one whose number is in `{index}`.
macro_rules! list_registers {
    ($access:literal) => {
        concat!(
            "adr {place}, 2f",
            "\nadd {place}, {place}, {index}, lsl #3",
            "\nbr {place}",
            "\n2:",
            "\n.irp crm, 12, 13\n.irp op2, 0, 1, 2, 3, 4, 5, 6, 7\n",
            $access,
            "\nb 3f\n.endr\n.endr\n3:",
        )
    };
}

/// ICH_LR`index`_EL2; of 16 and more it is that of the low 4 bits.
#[inline(never)]
fn read_lr(index: u8) -> u64 {
    let value: u64;
    // SAFETY: reading a list register has no effect; the branch stays inside this block, for the index is below 16.
    unsafe {
        asm!(
            list_registers!("mrs {value}, S3_4_C12_C\\crm\\()_\\op2"),
            index = in(reg) u64::from(index & 15),
            place = out(reg) _,
            value = out(reg) value,
            options(nostack, preserves_flags),
        );
    }
    value
}

/// Sets ICH_LR`index`_EL2; of 16 and more it is that of the low 4 bits.
#[inline(always)]
fn write_lr(index: u8, value: u64) {
    // SAFETY: a list register steers the guest's interrupts only; the branch stays inside this block, for the index is
    // below 16.
    unsafe {
        asm!(
            list_registers!("msr S3_4_C12_C\\crm\\()_\\op2, {value}"),
            index = in(reg) u64::from(index & 15),
            place = out(reg) _,
            value = in(reg) value,
            options(nostack, preserves_flags),
        );
    }
}

#[inline(always)]
fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// GICv3's virtual interface: system registers of the core that runs this code.
pub(crate) struct SystemRegisters;

/// GICv2's: a block in memory.
pub(crate) struct MappedRegisters<'a>(pub(crate) &'a Gich);

impl ListRegisters for SystemRegisters {
    #[inline]
    fn count(&self) -> u8 {
        let [last, ..] = (regs::ich_vtr_el2() & 31).to_le_bytes();
        last.saturating_add(1)
    }

    #[inline(always)]
    fn empty(&self) -> u32 {
        low(regs::ich_elrsr_el2())
    }

    #[inline]
    fn synchronize(&self) {
        regs::isb();
    }

    #[inline]
    fn read(&self, index: u8) -> u64 {
        read_lr(index)
    }

    #[inline(always)]
    fn write(&self, index: u8, value: u64) {
        write_lr(index, value);
    }

    #[inline]
    fn control(&self) -> u32 {
        low(regs::ich_hcr_el2())
    }

    #[inline]
    fn set_control(&self, value: u32) {
        regs::set_ich_hcr_el2(u64::from(value));
    }

    #[inline]
    fn is_maintenance_due(&self) -> bool {
        regs::ich_misr_el2() != 0
    }

    fn vmcr(&self) -> u32 {
        low(regs::ich_vmcr_el2())
    }

    fn set_vmcr(&self, value: u32) {
        regs::set_ich_vmcr_el2(u64::from(value));
    }

    fn active_priorities(&self) -> ActivePriorities {
        let mut all = ActivePriorities::NONE;
        let ([group0, ..], [group1, ..]) = (&mut all.group0, &mut all.group1);
        *group0 = low(regs::ich_ap0r0_el2());
        *group1 = low(regs::ich_ap1r0_el2());
        all
    }

    fn set_active_priorities(&self, value: &ActivePriorities) {
        let ([group0, ..], [group1, ..]) = (value.group0, value.group1);
        regs::set_ich_ap0r0_el2(u64::from(group0));
        regs::set_ich_ap1r0_el2(u64::from(group1));
    }
}

impl ListRegisters for MappedRegisters<'_> {
    #[inline]
    fn count(&self) -> u8 {
        self.0.list_registers()
    }

    #[inline(always)]
    fn empty(&self) -> u32 {
        self.0.elrsr()
    }

    #[inline]
    fn synchronize(&self) {}

    #[inline]
    fn read(&self, index: u8) -> u64 {
        u64::from(self.0.lr(index))
    }

    #[inline(always)]
    fn write(&self, index: u8, value: u64) {
        self.0.set_lr(index, low(value));
    }

    #[inline]
    fn control(&self) -> u32 {
        self.0.hcr()
    }

    #[inline]
    fn set_control(&self, value: u32) {
        self.0.set_hcr(value);
    }

    #[inline]
    fn is_maintenance_due(&self) -> bool {
        self.0.misr() != 0
    }

    fn vmcr(&self) -> u32 {
        self.0.vmcr()
    }

    fn set_vmcr(&self, value: u32) {
        self.0.set_vmcr(value);
    }

    fn active_priorities(&self) -> ActivePriorities {
        let mut all = ActivePriorities::NONE;
        let [group0, ..] = &mut all.group0;
        *group0 = self.0.apr();
        all
    }

    fn set_active_priorities(&self, value: &ActivePriorities) {
        let [group0, ..] = value.group0;
        self.0.set_apr(group0);
    }
}

/// Calls a function of [`ListRegisters`] of the version that the machine has.
macro_rules! of_either {
    ($self:ident.$function:ident($($argument:expr),*)) => {
        match $self.core.world.gich.as_ref() {
            Some(gich) => MappedRegisters(gich).$function($($argument),*),
            None => SystemRegisters.$function($($argument),*),
        }
    };
}

impl ListRegisters for VirtualInterface<'_> {
    #[inline]
    fn count(&self) -> u8 {
        of_either!(self.count())
    }

    #[inline]
    fn empty(&self) -> u32 {
        of_either!(self.empty())
    }

    fn synchronize(&self) {
        of_either!(self.synchronize());
    }

    #[inline(never)]
    fn read(&self, index: u8) -> u64 {
        of_either!(self.read(index))
    }

    #[inline(never)]
    fn write(&self, index: u8, value: u64) {
        of_either!(self.write(index, value));
    }

    #[inline]
    fn control(&self) -> u32 {
        of_either!(self.control())
    }

    #[inline]
    fn set_control(&self, value: u32) {
        of_either!(self.set_control(value));
    }

    #[inline]
    fn is_maintenance_due(&self) -> bool {
        of_either!(self.is_maintenance_due())
    }

    fn vmcr(&self) -> u32 {
        of_either!(self.vmcr())
    }

    fn set_vmcr(&self, value: u32) {
        of_either!(self.set_vmcr(value));
    }

    fn active_priorities(&self) -> ActivePriorities {
        of_either!(self.active_priorities())
    }

    fn set_active_priorities(&self, value: &ActivePriorities) {
        of_either!(self.set_active_priorities(value));
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

    fn is_pending(&self, intid: IntId) -> bool {
        let bank = self.bank(intid);
        // An edge has gone once it was acknowledged, and what it said has not.
        bank.is_edge(intid) || bank.is_pending(intid)
    }

    fn clear_state(&self, intid: IntId) {
        let bank = self.bank(intid);
        bank.clear_pending(intid);
        bank.clear_active(intid);
    }
}

impl VirtualInterface<'_> {
    /// The physical registers that have an interrupt.
    fn bank(&self, intid: IntId) -> &InterruptBank {
        if intid.is_spi() { self.core.world.gic.spis() } else { self.core.gic.private() }
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

    fn is_pending(&self, intid: IntId) -> bool {
        let bank = self.0.spis();
        intid.is_spi() && (bank.is_edge(intid) || bank.is_pending(intid))
    }

    fn clear_state(&self, intid: IntId) {
        if intid.is_spi() {
            self.0.spis().clear_pending(intid);
            self.0.spis().clear_active(intid);
        }
    }
}
