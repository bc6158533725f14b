//! 32 interrupts, one bit each.

use zerocopy::FromZeros;

/// The state of 32 interrupts: a vCPU's SGIs and PPIs, or one word of SPIs.
///
/// `latch` and `active` of a *resident* interrupt (in a list register of a loaded vCPU) are what was true
/// at the last fold; commands that were left since then are in `left`.
#[derive(Clone, Debug, FromZeros)]
pub(crate) struct Bank {
    /// GICD_ISENABLER.
    pub(crate) enabled: u32,
    /// Pending by an edge, by a write to GICD_ISPENDR, or fired by hardware.
    pub(crate) latch: u32,
    /// Level of a line that the hypervisor's own device models drive.
    pub(crate) line: u32,
    /// GICD_ISACTIVER.
    pub(crate) active: u32,
    /// Active because a vCPU acknowledged it, not because software wrote GICD_ISACTIVER.
    pub(crate) acknowledged: u32,
    /// GICD_IGROUPR.
    pub(crate) group1: u32,
    /// Edge-triggered (GICD_ICFGR).
    pub(crate) edge: u32,
    /// An event port's: edge-triggered for as long as that is bound.
    pub(crate) fixed: u32,
    /// A physical interrupt stands behind it.
    pub(crate) linked: u32,
    /// That physical interrupt is held active until this one is deactivated.
    pub(crate) owed: u32,
    /// In a list register of a loaded vCPU.
    pub(crate) resident: u32,
    /// SPIs only: resident as an edge that is pending and nothing else, and untouched since (`fast`).
    pub(crate) armed: u32,
    /// The same for a linked interrupt.
    pub(crate) armed_linked: u32,
    /// SPIs only: in a vCPU's set of interrupts that wait for a list register.
    pub(crate) queued: u32,
    /// What the vCPU that holds the list register must do at its next fold.
    pub(crate) left: Commands,
    /// GICD_IPRIORITYR; the low three bits are zero.
    pub(crate) priority: [u8; 32],
    /// The priority with which an acknowledged interrupt was taken: the guest may have changed it since.
    pub(crate) taken: [u8; 32],
}

/// Changes to resident interrupts that other cores have left. Of set and clear, the last one stands.
#[derive(Clone, Copy, Debug, FromZeros)]
pub(crate) struct Commands {
    pub(crate) set_pending: u32,
    pub(crate) clear_pending: u32,
    pub(crate) set_active: u32,
    pub(crate) clear_active: u32,
    /// The physical interrupt fired again: it is owed anew.
    pub(crate) fired: u32,
    /// The interrupts for which anything may be left.
    pub(crate) any: u32,
}

impl Commands {
    pub(crate) const NONE: Self =
        Self { set_pending: 0, clear_pending: 0, set_active: 0, clear_active: 0, fired: 0, any: 0 };
}

impl Bank {
    /// All zero: after reset, of SPIs.
    pub(crate) const NEW: Self = Self {
        enabled: 0,
        latch: 0,
        line: 0,
        active: 0,
        acknowledged: 0,
        group1: 0,
        edge: 0,
        fixed: 0,
        linked: 0,
        owed: 0,
        resident: 0,
        armed: 0,
        armed_linked: 0,
        queued: 0,
        left: Commands::NONE,
        priority: [0; 32],
        taken: [0; 32],
    };

    /// Pending: what GICD_ISPENDR reads, commands included.
    #[inline]
    pub(crate) const fn pending(&self) -> u32 {
        (self.latch & !self.left.clear_pending) | self.left.set_pending | (self.line & !self.edge)
    }

    /// Active: what GICD_ISACTIVER reads, commands included.
    #[inline]
    pub(crate) const fn active_seen(&self) -> u32 {
        (self.active & !self.left.clear_active) | self.left.set_active
    }

    /// Level-triggered, pending because the physical interrupt has fired, and not taken yet.
    #[inline]
    pub(crate) const fn fired_levels(&self) -> u32 {
        self.owed & self.latch & !self.edge & !self.active
    }

    /// Pending, enabled, and in an enabled group, active or not.
    #[inline]
    pub(crate) const fn ready(&self, groups: Groups) -> u32 {
        (self.latch | (self.line & !self.edge))
            & self.enabled
            & ((self.group1 & groups.group1) | (!self.group1 & groups.group0))
    }

    /// What should be in a list register and is not: what can be signalled, and what is active.
    #[inline]
    pub(crate) const fn waiting(&self, groups: Groups) -> u32 {
        (self.ready(groups) | self.active) & !self.resident
    }

    /// The priority of the interrupt at a bit position.
    #[inline]
    pub(crate) fn priority_at(&self, position: u32) -> u8 {
        let index = usize::from(crate::bits::low_u8(position & 31));
        self.priority.get(index).copied().unwrap_or(0)
    }

    /// The priority with which the acknowledged interrupt at a bit position was taken.
    pub(crate) fn taken_at(&self, position: u32) -> u8 {
        let index = usize::from(crate::bits::low_u8(position & 31));
        self.taken.get(index).copied().unwrap_or(0)
    }

    /// Notes that an interrupt was acknowledged with a priority.
    #[inline]
    pub(crate) fn acknowledge(&mut self, intid: u16, bit: u32, priority: u8) {
        self.acknowledged |= bit;
        if let Some(taken) = self.taken.get_mut(usize::from(intid & 31)) {
            *taken = priority;
        }
    }

    /// Applies what was left for one interrupt, which has just been folded.
    pub(crate) fn apply_commands(&mut self, bit: u32) {
        let left = &mut self.left;
        self.latch = (self.latch & !(left.clear_pending & bit)) | (left.set_pending & bit);
        let written = left.set_active & !self.active & bit;
        self.active = (self.active & !(left.clear_active & bit)) | written;
        self.acknowledged &= !((left.clear_active & bit) | written);
        self.owed |= left.fired & bit;
        left.set_pending &= !bit;
        left.clear_pending &= !bit;
        left.set_active &= !bit;
        left.clear_active &= !bit;
        left.fired &= !bit;
        left.any &= !bit;
    }

    /// Makes an interrupt pending as an edge: here, or by its holder at the next fold.
    pub(crate) const fn latch_or_leave(&mut self, bit: u32) {
        if self.resident & bit == 0 {
            self.latch |= bit;
            return;
        }
        self.left.set_pending |= bit;
        self.left.clear_pending &= !bit;
        self.left.any |= bit;
    }

    /// Takes those physical interrupts that are held active for nothing any more.
    #[inline]
    pub(crate) const fn take_released(&mut self, mask: u32) -> u32 {
        let released = self.owed & mask & !(self.latch | self.active | self.resident);
        self.owed &= !released;
        released
    }
}

/// GICD_CTLR's group enables, each as a mask of all or no bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros)]
pub(crate) struct Groups {
    pub(crate) group0: u32,
    pub(crate) group1: u32,
}
