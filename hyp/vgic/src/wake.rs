//! Whether a vCPU has a reason to leave WFI.

use shikiri_abi::VcpuIndex;
use shikiri_arch::hw::{ActivePriorities, ListRegisters, PhysIrq};

use crate::bits::{Positions, low_u8};
use crate::lr::{self, PENDING, VMCR_GROUP0, VMCR_GROUP1};
use crate::quick::Quick;
use crate::vgic::{At, Here, Vgic};

/// How a vCPU waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// WFI, or a standby state: with its CPU interface.
    Standby,
    /// With its power down. A GICv3 redistributor asks for the power of a core for which anything is pending, whatever its
    /// CPU interface's enables and mask, which firmware has turned off before (IHI 0069, GICR_WAKER and ICC_IGRPEN1_EL1).
    PowerDown,
}

impl Vgic<'_> {
    /// Whether an interrupt would be signalled to the vCPU now, whatever its PSTATE masks: pending, enabled,
    /// in a group that the distributor enables and, unless the vCPU's power is down, in one that its interface
    /// enables, more urgent than its priority mask and than what it is handling (by preemption level). For a vCPU that is loaded here or nowhere; `false` for one that is loaded on another core.
    pub fn has_deliverable<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        sleep: Sleep,
    ) -> bool {
        if here.is(vcpu) {
            // Mail has a kick behind it, which is worth staying awake for.
            return self.quick(vcpu).is_some_and(Quick::has_mail)
                || self.has_deliverable_here(here, vcpu, sleep);
        }
        if self.is_loaded(vcpu) {
            return false;
        }
        self.take_mail(vcpu);
        let Some(cpu) = self.cpu(vcpu) else { return false };
        let gate = self.gate(cpu.vmcr, &cpu.priorities, sleep);
        Positions(cpu.waiting_words).any(|word| self.word_passes(vcpu, low_u8(word), &gate))
    }

    fn word_passes(&self, vcpu: VcpuIndex, word: u8, gate: &Gate) -> bool {
        let at = if word == 0 { At::Private(vcpu) } else { At::Shared(word) };
        let (Some(cpu), Some(bank)) = (self.cpu(vcpu), self.bank(at)) else { return false };
        let pending = cpu.waiting_in(word) & !bank.active;
        Positions(pending).any(|position| {
            let is_group1 = bank.group1 & crate::bits::bit(position) != 0;
            gate.passes(bank.priority_at(position), is_group1)
        })
    }

    /// What waits outside the list registers is never more urgent than what is in them.
    fn has_deliverable_here<H: ListRegisters + PhysIrq>(
        &self,
        here: Here<'_, H>,
        vcpu: VcpuIndex,
        sleep: Sleep,
    ) -> bool {
        let Some(cpu) = self.cpu(vcpu) else { return false };
        let model = self.dist.model();
        let gate = self.gate(here.hw.vmcr(), &here.hw.active_priorities(), sleep);
        Positions(cpu.used).any(|index| {
            let value = here.hw.read(low_u8(index));
            let (priority, is_group1) = lr::priority_and_group(model, value);
            lr::state(model, value) == PENDING && gate.passes(priority, is_group1)
        })
    }

    fn gate(&self, vmcr: u32, active: &ActivePriorities, sleep: Sleep) -> Gate {
        match sleep {
            Sleep::PowerDown if !self.dist.is_v2 => Gate::OPEN,
            Sleep::PowerDown | Sleep::Standby => Gate::new(vmcr, active, self.dist.is_v2),
        }
    }
}

/// What a pending interrupt must pass to be signalled.
struct Gate {
    vmcr: u32,
    /// The group priority that is running; 0x100 if none.
    running: u32,
}

impl Gate {
    /// Lets everything through.
    const OPEN: Self = Self { vmcr: 0xff00_0000 | VMCR_GROUP0 | VMCR_GROUP1, running: 0x100 };

    fn new(vmcr: u32, active: &ActivePriorities, is_v2: bool) -> Self {
        // Bit n of the first register stands for the group priority 8 × n: five preemption bits, of which
        // the guest's binary point may use fewer.
        let [low0, ..] = active.group0;
        let [low1, ..] = active.group1;
        let bits = if is_v2 { low0 } else { low0 | low1 };
        let running = if bits == 0 { 0x100 } else { bits.trailing_zeros().wrapping_shl(3) };
        Self { vmcr, running }
    }

    fn passes(&self, priority: u8, is_group1: bool) -> bool {
        let group = if is_group1 { VMCR_GROUP1 } else { VMCR_GROUP0 };
        let mask = self.vmcr >> 24;
        let priority = u32::from(priority);
        self.vmcr & group != 0
            && priority < mask
            && self.group_priority(priority, is_group1) < self.running
    }

    /// The part of a priority that decides about preemption (IHI 0069, 4.8.4): the binary point of the
    /// group, or of group 0 for both (VCBPR).
    fn group_priority(&self, priority: u32, is_group1: bool) -> u32 {
        let is_common = self.vmcr & (1 << 4) != 0;
        let bpr0 = ((self.vmcr >> 21) & 7).saturating_add(1);
        let bpr1 = (self.vmcr >> 18) & 7;
        let cleared = if is_group1 && !is_common { bpr1 } else { bpr0 };
        priority & u32::MAX.wrapping_shl(cleared)
    }
}
