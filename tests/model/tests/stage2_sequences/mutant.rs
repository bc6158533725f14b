//! The TLB behind a fault: one instruction of a sequence dropped, swapped with the next or replaced.

use shikiri_abi::Ipa;
use shikiri_arch::hw::{Tlb, Vttbr};
use shikiri_model::mutant::{self, Mutator};
use shikiri_model::tlb::ModelTlb;

/// One instruction of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    DsbIshst,
    DsbIsh,
    Isb,
    Ipas2(Ipa),
    Vmalle1,
    Vmalls12,
    Load(Vttbr),
}

/// What a mutant does to the instruction at a position.
pub(crate) type Mutation = mutant::Mutation<Instruction>;

/// The model's TLB behind a fault: what EL2 executes is not quite what stage 2 asked for.
pub(crate) struct Mutant<'a, 'm> {
    real: &'a ModelTlb<'m>,
    pub(crate) mutator: Mutator<Instruction>,
}

impl<'a, 'm> Mutant<'a, 'm> {
    pub(crate) fn new(real: &'a ModelTlb<'m>) -> Self {
        Self { real, mutator: Mutator::new(Mutation::None) }
    }

    fn execute(&self, instruction: Instruction) {
        match instruction {
            Instruction::DsbIshst => self.real.dsb_ishst(),
            Instruction::DsbIsh => self.real.dsb_ish(),
            Instruction::Isb => self.real.isb(),
            Instruction::Ipas2(ipa) => self.real.tlbi_ipas2e1is(ipa),
            Instruction::Vmalle1 => self.real.tlbi_vmalle1is(),
            Instruction::Vmalls12 => self.real.tlbi_vmalls12e1is(),
            Instruction::Load(vttbr) => self.real.load_vttbr(vttbr),
        }
    }

    fn issue(&self, instruction: Instruction) {
        self.mutator.issue(instruction, |instruction| self.execute(instruction));
    }
}

impl Tlb for Mutant<'_, '_> {
    fn dsb_ishst(&self) {
        self.issue(Instruction::DsbIshst);
    }
    fn dsb_ish(&self) {
        self.issue(Instruction::DsbIsh);
    }
    fn isb(&self) {
        self.issue(Instruction::Isb);
    }
    fn tlbi_ipas2e1is(&self, ipa: Ipa) {
        self.issue(Instruction::Ipas2(ipa));
    }
    fn tlbi_vmalle1is(&self) {
        self.issue(Instruction::Vmalle1);
    }
    fn tlbi_vmalls12e1is(&self) {
        self.issue(Instruction::Vmalls12);
    }
    fn vttbr(&self) -> Vttbr {
        self.real.vttbr()
    }
    fn load_vttbr(&self, vttbr: Vttbr) {
        self.issue(Instruction::Load(vttbr));
    }
    fn needs_repeat(&self) -> bool {
        self.real.needs_repeat()
    }
}
