//! The cores of a machine between two vCPUs, as hostile as the architecture allows: [`ModelCores`].
//!
//! Up to the next ISB each written register may have any of the values that it has had since the last one, each for itself; a walk by
//! speculation happens at every moment under every mixture of them, and what comes of it stays in that core's TLB and instruction
//! cache until it is invalidated there. An invalidation acts under the VTTBR_EL2 of before, if that is not synchronised, and
//! may be as late as its DSB.

use shikiri_arch::hw::{Regime, Vttbr};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// SCTLR_EL1.M; TCR_EL1.EPD0 and EPD1.
const M: u64 = 1;
const EPD: u64 = (1 << 7) | (1 << 23);

/// A guest's vCPU and what it has in its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelVcpu {
    /// Which one: what TTBR0_EL1, TTBR1_EL1 and MAIR_EL1 hold.
    pub number: u8,
    /// Its partition's tables and VMID.
    pub vttbr: Vttbr,
    /// SCTLR_EL1.
    pub sctlr: u64,
    /// TCR_EL1.
    pub tcr: u64,
}

impl ModelVcpu {
    fn stage1(&self) -> Stage1 {
        if self.sctlr & M == 0 { Stage1::Off } else { Stage1::Of(self.number) }
    }
}

/// Under which stage 1 something was translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage1 {
    /// The MMU was off at EL1.
    Off,
    /// This vCPU's.
    Of(u8),
}

/// What a core has cached: a translation, or instructions that were fetched through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    is_instruction: bool,
    vmid: u8,
    root: u64,
    stage1: Stage1,
}

/// The values that a register may have; the last is the one that was written last, the first the one of before.
#[derive(Clone, Debug)]
struct Values<T>(Vec<T>);

impl<T: Copy> Values<T> {
    fn last(&self) -> T {
        self.0[self.0.len() - 1]
    }

    fn synchronise(&mut self) {
        self.0 = vec![self.last()];
    }
}

#[derive(Clone, Debug)]
struct Core {
    sctlr: Values<u64>,
    tcr: Values<u64>,
    stage1: Values<u8>,
    vttbr: Values<Vttbr>,
    cached: BTreeSet<Entry>,
    /// What goes with the next DSB.
    pending: BTreeSet<Entry>,
}

impl Core {
    /// Walks and fetches under every mixture of what the registers may hold.
    fn speculate(&mut self) {
        for sctlr in &self.sctlr.0 {
            for tcr in &self.tcr.0 {
                for owner in &self.stage1.0 {
                    for vttbr in &self.vttbr.0 {
                        let stage1 = match (sctlr & M, tcr & EPD) {
                            (0, _) => Stage1::Off,
                            (_, EPD) => continue,
                            _ => Stage1::Of(*owner),
                        };
                        let (vmid, root) = (vttbr.vmid().0, vttbr.root().0);
                        for is_instruction in [false, true] {
                            self.cached.insert(Entry { is_instruction, vmid, root, stage1 });
                        }
                    }
                }
            }
        }
    }
}

/// All cores, and the vCPUs that may be on them.
#[derive(Debug)]
pub struct ModelCores {
    cores: RefCell<Vec<Core>>,
    vcpus: Vec<ModelVcpu>,
}

impl ModelCores {
    /// Cores on each of which the first of `vcpus` runs.
    ///
    /// # Panics
    /// Without a vCPU.
    #[must_use]
    pub fn new(cores: usize, vcpus: &[ModelVcpu]) -> Self {
        let first = vcpus[0];
        let mut core = Core {
            sctlr: Values(vec![first.sctlr]),
            tcr: Values(vec![first.tcr]),
            stage1: Values(vec![first.number]),
            vttbr: Values(vec![first.vttbr]),
            cached: BTreeSet::new(),
            pending: BTreeSet::new(),
        };
        core.speculate();
        Self { cores: RefCell::new(vec![core; cores]), vcpus: vcpus.into() }
    }

    /// EL2 on one of them.
    #[must_use]
    pub const fn core(&self, number: usize) -> ModelCore<'_> {
        ModelCore { machine: self, number }
    }

    /// The ERET to a vCPU on a core: what is wrong then.
    ///
    /// # Errors
    /// A register of its regime is not its own; something that another has left would serve it; or there is something,
    /// anywhere, that was translated under a mixture of two partitions, or that its owner has not asked for.
    pub fn enter(&self, number: usize, vcpu: ModelVcpu) -> Result<(), String> {
        let core = self.core(number);
        core.isb();
        let found = core.look(|core| {
            (core.sctlr.last(), core.tcr.last(), core.stage1.last(), core.vttbr.last())
        });
        if found != (vcpu.sctlr, vcpu.tcr, vcpu.number, vcpu.vttbr) {
            return Err(format!("core {number}, for {vcpu:?}: {found:x?}"));
        }
        for (at, core) in self.cores.borrow().iter().enumerate() {
            if let Some(entry) = core.cached.iter().find(|entry| !self.is_sound(entry)) {
                return Err(format!("core {at} has a mixture: {entry:x?}"));
            }
        }
        let own = (vcpu.vttbr.vmid().0, vcpu.stage1());
        let is_stale = |entry: &Entry| entry.vmid == own.0 && entry.stage1 != own.1;
        match core.look(|core| core.cached.iter().copied().find(is_stale)) {
            Some(entry) => Err(format!("core {number}: {entry:x?} serves {vcpu:x?}")),
            None => Ok(()),
        }
    }

    /// Whether some vCPU runs under just this.
    fn is_sound(&self, entry: &Entry) -> bool {
        self.vcpus.iter().any(|vcpu| {
            (vcpu.vttbr.vmid().0, vcpu.vttbr.root().0) == (entry.vmid, entry.root)
                && vcpu.stage1() == entry.stage1
        })
    }
}

/// EL2 on one core.
#[derive(Clone, Copy, Debug)]
pub struct ModelCore<'m> {
    machine: &'m ModelCores,
    number: usize,
}

impl ModelCore<'_> {
    /// Writes EL1's other registers: those of this vCPU.
    pub fn load_registers(&self, vcpu: ModelVcpu) {
        self.change(|core| core.stage1.0.push(vcpu.number));
    }

    fn look<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&self.machine.cores.borrow()[self.number])
    }

    fn change(&self, change: impl FnOnce(&mut Core)) {
        let mut cores = self.machine.cores.borrow_mut();
        let core = &mut cores[self.number];
        change(core);
        core.speculate();
    }

    fn invalidate(&self, goes: impl Fn(&Entry) -> bool) {
        self.change(|core| {
            core.pending.extend(core.cached.iter().copied().filter(|entry| goes(entry)));
        });
    }
}

impl Regime for ModelCore<'_> {
    fn isb(&self) {
        self.change(|core| {
            core.sctlr.synchronise();
            core.tcr.synchronise();
            core.stage1.synchronise();
            core.vttbr.synchronise();
        });
    }

    fn tcr_el1(&self) -> u64 {
        self.look(|core| core.tcr.last())
    }

    fn set_tcr_el1(&self, value: u64) {
        self.change(|core| core.tcr.0.push(value));
    }

    fn sctlr_el1(&self) -> u64 {
        self.look(|core| core.sctlr.last())
    }

    fn set_sctlr_el1(&self, value: u64) {
        self.change(|core| core.sctlr.0.push(value));
    }

    fn load_vttbr(&self, vttbr: Vttbr) {
        self.change(|core| core.vttbr.0.push(vttbr));
    }

    fn tlbi_vmalle1(&self) {
        let vmid = self.look(|core| core.vttbr.0[0].vmid().0);
        self.invalidate(|entry| !entry.is_instruction && entry.vmid == vmid);
    }

    fn ic_iallu(&self) {
        self.invalidate(|entry| entry.is_instruction);
    }

    fn dsb_nsh(&self) {
        self.change(|core| {
            for entry in std::mem::take(&mut core.pending) {
                core.cached.remove(&entry);
            }
        });
    }
}
