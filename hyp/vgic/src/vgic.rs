//! [`Vgic`]: a partition's virtual GIC, opened under its lock; set-up and reset.

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};

use crate::bank::{Bank, Commands};
use crate::bits::{Positions, bit_of, intid_at, word_of};
use crate::distributor::{Distributor, MAX_SPIS, Model};
use crate::interface::CpuInterface;
use crate::quick::Quick;
use crate::quick_spi::QuickSpis;
use crate::set::VcpuSet;

/// The most vCPUs of a partition (8 with GICv2).
pub const MAX_VCPUS: usize = 64;

/// Where this code runs: the core's hardware, and which of the partition's vCPUs is loaded on it.
#[derive(Debug)]
pub struct Here<'h, H> {
    /// The core's list registers, and the physical interrupts.
    pub hw: &'h H,
    /// The partition's vCPU that is loaded on this core; `None` if it is another partition's, or nobody's.
    pub vcpu: Option<VcpuIndex>,
}

impl<H> Clone for Here<'_, H> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Here<'_, H> {}

impl<H> Here<'_, H> {
    /// Whether `vcpu` is the one that is loaded here.
    #[inline]
    pub(crate) fn is(&self, vcpu: VcpuIndex) -> bool {
        self.vcpu == Some(vcpu)
    }
}

/// The answer to a raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Raised {
    /// The interrupt was pending already, raised and in no list register yet: this raise made no difference. One that is in a
    /// list register was not, whoever asks: if the guest has not acknowledged it, this raise is one interrupt with it or one more.
    pub was_pending: bool,
    /// Who must be kicked.
    pub kick: VcpuSet,
}

/// Which 32 interrupts an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// A vCPU's SGIs and PPIs.
    Private(VcpuIndex),
    /// A word of SPIs, 1 to 31.
    Shared(u8),
}

impl At {
    /// The word of INTIDs: 0 for private ones.
    #[inline]
    pub(crate) const fn word(self) -> u8 {
        match self {
            Self::Private(_) => 0,
            Self::Shared(word) => word,
        }
    }

    /// Where an interrupt is; `vcpu` counts for SGIs and PPIs only.
    #[inline]
    pub(crate) fn of(intid: IntId, vcpu: VcpuIndex) -> Self {
        if intid.is_private() { Self::Private(vcpu) } else { Self::Shared(word_of(intid)) }
    }
}

/// A partition's virtual GIC: its distributor and its vCPUs' interfaces, borrowed from whoever stores
/// them and holds the partition's lock. Making one costs nothing.
pub struct Vgic<'a> {
    pub(crate) dist: &'a mut Distributor,
    pub(crate) cpus: &'a mut [CpuInterface],
    pub(crate) quicks: &'a [Quick],
    pub(crate) quick_spis: &'a QuickSpis,
    pub(crate) kick: VcpuSet,
}

impl<'a> Vgic<'a> {
    /// Opens the virtual GIC of a partition that has `cpus.len()` vCPUs, at most [`MAX_VCPUS`]; vCPUs
    /// beyond are not served. `quicks` has one for each of them, outside of the lock, as `quick_spis` are.
    #[inline]
    pub fn open(
        dist: &'a mut Distributor,
        cpus: &'a mut [CpuInterface],
        quicks: &'a [Quick],
        quick_spis: &'a QuickSpis,
    ) -> Self {
        Self { dist, cpus, quicks, quick_spis, kick: VcpuSet::EMPTY }
    }

    /// Makes it a controller of `model` with at least `spis` SPIs (rounded up to whole words of 32, at most
    /// [`MAX_SPIS`]), none of them linked. No vCPU may be loaded; [`link`](Self::link) and then
    /// [`reset`](Self::reset) follow before one is.
    pub fn configure(&mut self, model: Model, spis: u16) {
        let words = spis.min(MAX_SPIS).div_ceil(32);
        self.dist.is_v2 = model == Model::V2;
        [self.dist.words, _] = words.to_le_bytes();
        for bank in &mut self.dist.banks {
            bank.linked = 0;
        }
    }

    /// Brings everything to its state after power-on; links remain. Physical SPIs that are linked are held
    /// back and their active and pending states cleared. No vCPU may be loaded.
    pub fn reset(&mut self, hw: &impl PhysIrq) {
        for word in 1..=self.dist.words {
            let linked = self.bank(At::Shared(word)).map_or(0, |bank| bank.linked);
            for position in Positions(linked) {
                let physical = self.physical(intid_at(word, position));
                hw.set_enabled(physical, false);
                hw.clear_state(physical);
            }
        }
        self.clear();
    }

    /// Makes `intid`, an SPI, the partition's view of a physical one: enable and route follow the guest's
    /// settings, and the end of the interrupt in the guest ends the physical one. `false` if there is no
    /// such SPI.
    pub fn link(&mut self, intid: IntId, physical: IntId) -> bool {
        let bit = bit_of(intid);
        if !intid.is_spi() || self.dist.valid(word_of(intid)) & bit == 0 {
            return false;
        }
        let Some(route) = self.dist.routes.get_mut(spi_index(intid)) else { return false };
        route.physical = physical.0;
        if let Some(bank) = self.bank_mut(At::Shared(word_of(intid))) {
            bank.linked |= bit;
        }
        true
    }

    /// The same while vCPUs run, for a device that was kept back: the guest has treated `intid` as an SPI with nothing behind it, and
    /// its enable and route follow to the physical interrupt now, which begins without a past. Answers who must be kicked.
    #[must_use = "a vCPU that is not kicked may miss what was pending"]
    #[inline(never)]
    pub fn link_late<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        intid: IntId,
        physical: IntId,
    ) -> VcpuSet {
        here.hw.set_enabled(physical, false);
        here.hw.clear_state(physical);
        if !self.link(intid, physical) {
            return VcpuSet::EMPTY;
        }
        let (word, bit) = (word_of(intid), bit_of(intid));
        let at = At::Shared(word);
        self.change(here, at, bit, |_, _| {});
        if let Some(vcpu) = self.target(word, bit.trailing_zeros()) {
            here.hw.route(physical, vcpu);
        }
        if self.bank(at).is_some_and(|bank| bank.enabled & bit != 0) {
            here.hw.set_enabled(physical, true);
        }
        self.take_kick()
    }

    /// The CPU interface of a vCPU after its reset (PSCI CPU_ON): nothing enabled, nothing masked out by
    /// running priorities. Its redistributor keeps its state, as a real one does; only what its timer had fired is
    /// gone, since the timer is reset too. The vCPU must not be loaded.
    pub fn reset_interface(&mut self, vcpu: VcpuIndex) {
        let groups = self.dist.groups;
        if let Some(cpu) = self.cpu_mut(vcpu) {
            cpu.vmcr = 0;
            cpu.priorities = shikiri_arch::hw::ActivePriorities::NONE;
            cpu.ended_early = 0;
            let fired = cpu.private.fired_levels();
            cpu.private.latch &= !fired;
            cpu.private.owed &= !fired;
            let waiting = cpu.private.waiting(groups);
            cpu.set_waiting(0, waiting);
        }
    }

    fn clear(&mut self) {
        let dist = &mut *self.dist;
        dist.groups = crate::bank::Groups { group0: 0, group1: 0 };
        dist.online = VcpuSet::EMPTY;
        dist.unsettled = VcpuSet::EMPTY;
        dist.unsettled_private = VcpuSet::EMPTY;
        dist.any_of = [0; crate::distributor::SPI_WORDS];
        for bank in &mut dist.banks {
            clear_bank(bank);
        }
        for route in &mut dist.routes {
            route.affinity = 0;
            route.target = 0;
            route.holder = 0;
            route.queue = 0;
        }
        if dist.is_v2 && self.cpus.len() > 1 {
            // GICD_ITARGETSR resets to no target (IHI 0048, 4.3.12); with one CPU it is not there.
            for route in &mut self.dist.routes {
                route.target = crate::distributor::NO_VCPU;
            }
        }
        let always_on = if self.dist.is_v2 { SGIS } else { 0 };
        for cpu in self.cpus.iter_mut().take(MAX_VCPUS) {
            clear_interface(cpu);
            cpu.private.edge = SGIS;
            cpu.private.enabled = always_on;
        }
        for quick in self.quicks {
            quick.clear();
        }
    }

    /// All vCPUs of the partition.
    #[inline]
    pub(crate) fn all(&self) -> VcpuSet {
        VcpuSet::first(self.cpus.len())
    }

    #[inline]
    pub(crate) fn cpu(&self, vcpu: VcpuIndex) -> Option<&CpuInterface> {
        self.cpus.get(usize::from(vcpu.0))
    }

    #[inline]
    pub(crate) fn cpu_mut(&mut self, vcpu: VcpuIndex) -> Option<&mut CpuInterface> {
        self.cpus.get_mut(usize::from(vcpu.0))
    }

    #[inline]
    pub(crate) fn bank(&self, at: At) -> Option<&Bank> {
        match at {
            At::Private(vcpu) => self.cpu(vcpu).map(|cpu| &cpu.private),
            At::Shared(word) => self.dist.banks.get(usize::from(word.wrapping_sub(1))),
        }
    }

    #[inline]
    pub(crate) fn bank_mut(&mut self, at: At) -> Option<&mut Bank> {
        match at {
            At::Private(vcpu) => self.cpus.get_mut(usize::from(vcpu.0)).map(|cpu| &mut cpu.private),
            At::Shared(word) => self.dist.banks.get_mut(usize::from(word.wrapping_sub(1))),
        }
    }

    /// The physical interrupt behind an SPI, or the interrupt itself for a PPI.
    #[inline]
    pub(crate) fn physical(&self, intid: IntId) -> IntId {
        if intid.is_private() {
            return intid;
        }
        self.dist.routes.get(spi_index(intid)).map_or(intid, |route| IntId(route.physical))
    }

    /// The vCPU that holds an interrupt's list register or, if it is active, held it.
    #[inline]
    pub(crate) fn holder(&self, at: At, position: u32) -> VcpuIndex {
        match at {
            At::Private(vcpu) => vcpu,
            At::Shared(word) => {
                let index = spi_index(intid_at(word, position));
                VcpuIndex(self.dist.routes.get(index).map_or(0, |route| route.holder))
            }
        }
    }

    /// Whether a vCPU is loaded on some core.
    #[inline]
    pub(crate) fn is_loaded(&self, vcpu: VcpuIndex) -> bool {
        self.cpu(vcpu).is_some_and(|cpu| cpu.is_loaded)
    }

    /// Takes the vCPUs that must be kicked.
    #[inline]
    pub(crate) const fn take_kick(&mut self) -> VcpuSet {
        let kick = self.kick;
        self.kick = VcpuSet::EMPTY;
        kick
    }

    #[inline]
    pub(crate) fn add_kick(&mut self, vcpu: VcpuIndex) {
        self.kick = self.kick.union(VcpuSet::one(vcpu));
        if let Some(quick) = self.quick(vcpu) {
            quick.ask_for_fold();
        }
    }

    /// What a vCPU's short ways need.
    #[inline]
    pub(crate) fn quick(&self, vcpu: VcpuIndex) -> Option<&'a Quick> {
        self.quicks.get(usize::from(vcpu.0))
    }

    /// Makes memory and the general ways count again.
    #[inline]
    pub(crate) fn disarm(&mut self, at: At, mask: u32) {
        match at {
            At::Private(vcpu) => {
                if let Some(quick) = self.quick(vcpu) {
                    quick.disarm(mask);
                }
            }
            At::Shared(_) => {
                let Some(bank) = self.bank_mut(at) else { return };
                let armed = bank.armed & mask;
                bank.disarm(mask);
                if armed != 0 {
                    self.disarm_spis(at, armed);
                }
            }
        }
    }

    /// Ends physical interrupts that are held active for nothing any more.
    pub(crate) fn release<H: ListRegisters + PhysIrq>(
        &mut self,
        here: Here<'_, H>,
        at: At,
        mask: u32,
    ) {
        let released = self.bank_mut(at).map_or(0, |bank| bank.take_released(mask));
        if released == 0 {
            return;
        }
        if let At::Private(vcpu) = at
            && !here.is(vcpu)
        {
            // A PPI is active on its vCPU's core, and on none while the vCPU is not loaded: then the timer's deadline counts
            // again, and whoever let the vCPU sleep has to look.
            if let Some(cpu) = self.cpu_mut(vcpu)
                && cpu.is_loaded
            {
                cpu.release |= released;
            }
            self.add_kick(vcpu);
            return;
        }
        for position in Positions(released) {
            here.hw.deactivate(self.physical(intid_at(at.word(), position)));
        }
    }
}

/// The SGIs' bits in a private word: always edge-triggered.
pub(crate) const SGIS: u32 = 0xffff;

/// An SPI's place among the routes.
#[inline]
pub(crate) fn spi_index(intid: IntId) -> usize {
    usize::from(intid.0.wrapping_sub(32))
}

/// Everything but what is linked.
fn clear_bank(bank: &mut Bank) {
    bank.enabled = 0;
    bank.latch = 0;
    bank.line = 0;
    bank.active = 0;
    bank.acknowledged = 0;
    bank.group1 = 0;
    bank.edge = 0;
    bank.owed = 0;
    bank.resident = 0;
    bank.fixed = 0;
    bank.disarm(u32::MAX);
    bank.queued = 0;
    bank.left = Commands::NONE;
    bank.priority = [0; 32];
}

fn clear_interface(cpu: &mut CpuInterface) {
    clear_bank(&mut cpu.private);
    cpu.waiting = [0; 32];
    cpu.waiting_words = 0;
    cpu.used = 0;
    cpu.control = 0;
    cpu.is_loaded = false;
    cpu.is_awake = false;
    cpu.release = 0;
    cpu.ended_early = 0;
    cpu.vmcr = 0;
    cpu.priorities = shikiri_arch::hw::ActivePriorities::NONE;
    cpu.request = None;
    cpu.sources = [0; 16];
    cpu.active_source = [0; 16];
}
