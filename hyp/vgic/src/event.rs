//! SPIs that event ports are bound to (C1).

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bits::{bit_of, low_u32, word_of};
use crate::set::VcpuSet;
use crate::vgic::{At, Here, Vgic};

/// The answer to [`Vgic::take_pending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Polled {
    /// Whether it was pending. `None`: another vCPU's core has to say that, and was asked; repeat the question.
    pub was_pending: Option<bool>,
    /// Who must be kicked.
    pub kick: VcpuSet,
}

impl Vgic<'_> {
    /// Makes an SPI an event port's: edge-triggered, and GICD_ICFGR cannot change that until [`Vgic::unbind`]; routed to
    /// `vcpu`, until the guest routes it otherwise. An SPI that is bound already stays as it is.
    pub fn bind<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        vcpu: VcpuIndex,
    ) -> VcpuSet {
        let at = At::of(intid, vcpu);
        let bit = bit_of(intid) & self.valid(at);
        let is_free = self.bank(at).is_some_and(|bank| bank.fixed & bit == 0);
        if bit == 0 || !intid.is_spi() || !is_free {
            return VcpuSet::EMPTY;
        }
        self.change(here, at, bit, |bank, _| {
            bank.edge |= bit;
            bank.fixed |= bit;
        });
        let affinity = if self.dist.is_v2 {
            1_u32.wrapping_shl(u32::from(vcpu.0))
        } else {
            low_u32(vcpu.affinity())
        };
        self.set_route(here, word_of(intid), u32::from(intid.0 & 31), affinity, vcpu.0);
        self.take_kick()
    }

    /// Makes an SPI that is no event port's any more the guest's own again, not pending.
    pub fn unbind<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
    ) -> VcpuSet {
        let at = At::Shared(word_of(intid));
        let bit = bit_of(intid) & self.valid(at);
        if let Some(bank) = self.bank_mut(at) {
            bank.fixed &= !bit;
        }
        self.clear_pending(here, at, bit);
        self.take_kick()
    }

    /// Tells whether an SPI is pending, and clears its pending state. Asked by the vCPU that is loaded here.
    pub fn take_pending<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
    ) -> Polled {
        let at = At::Shared(word_of(intid));
        let bit = bit_of(intid) & self.valid(at);
        let was_pending = self.be_exact_for(here, at, bit).map(|()| {
            let was_pending = self.bank(at).is_some_and(|bank| bank.pending() & bit != 0);
            self.clear_pending(here, at, bit);
            was_pending
        });
        Polled { was_pending, kick: self.take_kick() }
    }
}
