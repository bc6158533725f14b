//! The short way for a device's interrupt, and for what is raised under the lock in general (see `quick`).

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bank::Bank;
use crate::bits::{bit, bit_of, word_of};
use crate::quick::Armed;
use crate::vgic::{Here, Vgic, spi_index};

impl Vgic<'_> {
    /// Makes an armed interrupt pending again. `false`: nothing was done, the general way must follow.
    ///
    /// The properties in `tests/model` drive both these and the general ways (`residency`, `delivery`).
    #[inline]
    pub(crate) fn pend_again<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        vcpu: VcpuIndex,
        is_fired: bool,
    ) -> bool {
        let Some(own) = here.vcpu else { return false };
        let Some(quick) = self.quick(own) else { return false };
        if intid.is_private() {
            return vcpu == own
                && if is_fired { quick.fire(here.hw, intid) } else { quick.raise(here.hw, intid) };
        }
        let word = usize::from(word_of(intid).wrapping_sub(1));
        let Some(bank) = self.dist.banks.get(word) else { return false };
        let Some(route) = self.dist.routes.get(spi_index(intid)) else { return false };
        if !bank.is_armed(bit_of(intid), is_fired) || route.holder != own.0 {
            return false;
        }
        if self.cpu(own).is_none_or(|cpu| cpu.waiting_words != 0) {
            return false;
        }
        let is_finished = here.hw.empty() & bit(u32::from(route.home)) != 0;
        if is_finished {
            here.hw.write(route.home, quick.image(route.home));
        }
        is_finished
    }
}

impl Bank {
    /// Whether an interrupt is armed, as a linked one (`is_fired`) or as an edge.
    #[inline]
    const fn is_armed(&self, bit: u32, is_fired: bool) -> bool {
        let armed = if is_fired { self.armed_linked } else { self.armed };
        armed & bit != 0
    }

    /// Notes how an SPI was placed.
    #[inline]
    pub(crate) const fn arm(&mut self, bit: u32, how: Armed) {
        match how {
            Armed::No => {}
            Armed::Edge => self.armed |= bit,
            Armed::Linked => self.armed_linked |= bit,
        }
    }

    /// Makes memory and the general ways count again.
    #[inline]
    pub(crate) const fn disarm(&mut self, mask: u32) {
        self.armed &= !mask;
        self.armed_linked &= !mask;
    }
}
