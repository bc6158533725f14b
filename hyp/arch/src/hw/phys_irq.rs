//! The interrupt controller: physical interrupts, and the list registers of the core that runs this code.

use shikiri_abi::{IntId, VcpuIndex};

/// Changes to physical interrupts, named by their *physical* INTID. Bounded, per interrupt.
pub trait PhysIrq {
    /// Lets a physical SPI reach the cores, or holds it back.
    fn set_enabled(&self, intid: IntId, is_enabled: bool);

    /// Sends a physical SPI from now on to the core on which this vCPU of its owner runs.
    fn route(&self, intid: IntId, vcpu: VcpuIndex);

    /// Ends the active state of an interrupt that was taken with EOImode = 1 and not handed to a list
    /// register's hardware link. A PPI is meant on this core.
    fn deactivate(&self, intid: IntId);

    /// Whether the line of a level is asserted: whether it is pending, active or not. True of an edge, which has no line to look at
    /// again. A PPI is meant on this core.
    fn is_pending(&self, intid: IntId) -> bool;

    /// Clears an SPI's active and pending state: when its owner ends or restarts.
    fn clear_state(&self, intid: IntId);
}

/// The active priorities of a virtual CPU interface (ICH_AP0R\<n\>_EL2, ICH_AP1R\<n\>_EL2; GICH_APR in
/// `group0[0]`). Registers that the core does not have stay zero: with five bits of preemption there is one for each group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActivePriorities {
    /// Group 0, or the one register of GICv2.
    pub group0: [u32; 4],
    /// Group 1; zero on GICv2.
    pub group1: [u32; 4],
}

impl ActivePriorities {
    /// No priority is active.
    pub const NONE: Self = Self { group0: [0; 4], group1: [0; 4] };
}

/// This core's hypervisor control interface: ICH_*_EL2 of GICv3 (IHI 0069, 12.4) or GICH_* of GICv2
/// (IHI 0048, 5.3). Values have the register's own layout.
pub trait ListRegisters {
    /// How many list registers there are, 1 to 16 (VTR.ListRegs + 1; what a GICv2 has above 16 stays
    /// unused).
    fn count(&self) -> u8;

    /// Bit n is set if list register n holds nothing valid and reports no end of interrupt (ELRSR). Of a list register that was
    /// written since the exception entry it may still say what was true before: [`ListRegisters::synchronize`].
    fn empty(&self) -> u32;

    /// Makes what was written to list registers show in [`ListRegisters::empty`] and in the maintenance interrupt's state.
    ///
    /// GICv3's are system registers: what a write does to another register is certain only after a context
    /// synchronization event (Arm ARM D24.1.2, *synchronization requirements for AArch64 System registers*); a read of the one that was
    /// written needs none. GICv2's are device memory, whose accesses come in order.
    fn synchronize(&self);

    /// Reads list register `index`, which is below `count`.
    fn read(&self, index: u8) -> u64;

    /// Writes list register `index`, which is below `count`.
    fn write(&self, index: u8, value: u64);

    /// Reads HCR, with the count of ends of interrupt that found no list register in bits 31:27.
    fn control(&self) -> u32;

    /// Writes HCR.
    fn set_control(&self, value: u32);

    /// Whether the maintenance interrupt is asserted (MISR is not zero).
    fn is_maintenance_due(&self) -> bool;

    /// Reads VMCR: the guest's masks, binary points and group enables.
    fn vmcr(&self) -> u32;

    /// Writes VMCR.
    fn set_vmcr(&self, value: u32);

    /// Reads the active priorities.
    fn active_priorities(&self) -> ActivePriorities;

    /// Writes the active priorities.
    fn set_active_priorities(&self, value: &ActivePriorities);
}
