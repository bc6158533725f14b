//! Short ways for what happens all the time: a timer tick, an SGI, an edge, a device's interrupt.
//!
//! An interrupt that is placed as pending, with nothing else about it, is *armed*: as long as nobody touches
//! it (any change to it, a fold, a change of GICD_CTLR), memory is the same after the guest has handled it as
//! before, and its list register keeps all but the state. To make it pending again is then one write of the
//! same image, and nothing to write down. The properties in `tests/model` drive both these and the general
//! ways (`residency`, `delivery`).

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bank::Bank;
use crate::bits::{Positions, bit, bit_of, low_u8, word_of};
use crate::lr::{Ending, PENDING};
use crate::set::VcpuSet;
use crate::vgic::{Here, Vgic, spi_index};

impl Vgic<'_> {
    /// Makes an armed interrupt pending again. `false`: nothing was done, the general way must follow.
    #[inline]
    pub(crate) fn pend_again<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        vcpu: VcpuIndex,
        is_fired: bool,
    ) -> bool {
        let Some(own) = here.vcpu else { return false };
        if intid.is_private() && vcpu != own {
            return !is_fired && self.leave_pending(intid, vcpu);
        }
        let Some(cpu) = self.cpus.get(usize::from(own.0)) else { return false };
        let home = if intid.is_private() {
            if !cpu.private.is_armed(bit_of(intid), is_fired) {
                return false;
            }
            cpu.home.get(usize::from(intid.0 & 31)).copied().unwrap_or(0)
        } else {
            let word = usize::from(word_of(intid).wrapping_sub(1));
            let Some(bank) = self.dist.banks.get(word) else { return false };
            let Some(route) = self.dist.routes.get(spi_index(intid)) else { return false };
            if !bank.is_armed(bit_of(intid), is_fired) || route.holder != own.0 {
                return false;
            }
            route.home
        };
        let is_finished = here.hw.empty() & bit(u32::from(home)) != 0;
        if cpu.waiting_words != 0 || !is_finished {
            return false;
        }
        let Some(image) = cpu.images.get(usize::from(home & 15)) else { return false };
        here.hw.write(home, *image);
        true
    }

    /// Leaves an armed SGI or PPI to be made pending by the core that has its vCPU.
    #[inline]
    fn leave_pending(&mut self, intid: IntId, vcpu: VcpuIndex) -> bool {
        let bit = bit_of(intid);
        let Some(cpu) = self.cpus.get_mut(usize::from(vcpu.0)) else { return false };
        if !cpu.private.is_armed(bit, false) {
            return false;
        }
        let left = &mut cpu.private.left;
        left.set_pending |= bit;
        left.any |= bit;
        self.kick = self.kick.union(VcpuSet::one(vcpu));
        true
    }

    /// Carries out what [`Vgic::leave_pending`] left, if that is all there is to do and the list registers are
    /// finished. `false`: not all was done, the general way must follow.
    #[inline]
    pub(crate) fn sync_again<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
    ) -> bool {
        let base = self.base_control();
        let Some(cpu) = self.cpus.get_mut(usize::from(vcpu.0)) else { return false };
        let left = cpu.private.left.any;
        if left == 0
            || left & !(cpu.private.left.set_pending & cpu.private.armed) != 0
            || cpu.is_fold_due
            || cpu.has_spis
            || cpu.waiting_words != 0
            || cpu.control != base
        {
            return false;
        }
        let empty = here.hw.empty();
        for position in Positions(left) {
            let home = cpu.home.get(usize::from(low_u8(position))).copied().unwrap_or(0);
            let Some(image) = cpu.images.get(usize::from(home & 15)) else { return false };
            if empty & bit(u32::from(home)) == 0 {
                return false;
            }
            here.hw.write(home, *image);
            cpu.private.left.set_pending &= !bit(position);
            cpu.private.left.any &= !bit(position);
        }
        true
    }
}

impl Bank {
    /// Whether an interrupt is armed, as a linked one (`is_fired`) or as an edge.
    #[inline]
    const fn is_armed(&self, bit: u32, is_fired: bool) -> bool {
        let armed = if is_fired { self.armed_linked } else { self.armed };
        armed & bit != 0
    }

    /// Notes how an interrupt was placed.
    #[inline]
    pub(crate) const fn arm(&mut self, bit: u32, state: u8, ending: Ending, is_by_sender: bool) {
        if state != PENDING || is_by_sender {
            return;
        }
        match ending {
            Ending::Silent => self.armed |= bit,
            Ending::Physical(_) => self.armed_linked |= bit,
            Ending::Reported => {}
        }
    }

    /// Makes memory and the general ways count again.
    #[inline]
    pub(crate) const fn disarm(&mut self, mask: u32) {
        self.armed &= !mask;
        self.armed_linked &= !mask;
    }
}
