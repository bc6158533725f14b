//! When a core changes its vCPU, nothing is translated under a mixture of two, and nothing that one has left serves another: and each
//! instruction of the sequences is necessary, in its place (design §6, V2).

use shikiri_abi::{Pa, Vmid};
use shikiri_arch::hw::{Regime, Vttbr};
use shikiri_model::mutant::{self, Mutator};
use shikiri_model::regime::{ModelCore, ModelCores, ModelVcpu};
use shikiri_stage2::switch::{Controls, hold_walks, put_on, with_walks_held};

const MMU_ON: u64 = 0x30d0_1805;
const MMU_OFF: u64 = 0x30d0_0800;

const fn vcpu(number: u8, partition: u64, sctlr: u64) -> ModelVcpu {
    let vttbr = Vttbr(partition << 48 | partition << 20);
    ModelVcpu { number, vttbr, sctlr, tcr: 0x19 | (number as u64) << 16 }
}

/// Two of one partition with the MMU on, a third that has just started, one of a partition that has nothing but the MMU on, and
/// one of a partition that has it off.
const VCPUS: [ModelVcpu; 5] = [
    vcpu(0, 5, MMU_ON),
    vcpu(1, 5, MMU_ON),
    vcpu(2, 5, MMU_OFF),
    vcpu(3, 6, MMU_ON),
    vcpu(4, 7, MMU_OFF),
];
const FIRST: ModelVcpu = VCPUS[0];
const SIBLING: ModelVcpu = VCPUS[1];
const OTHER: ModelVcpu = VCPUS[3];

type Mutation = mutant::Mutation<Instruction>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instruction {
    Isb,
    Tcr(u64),
    Sctlr(u64),
    Vttbr(Vttbr),
    Vmalle1,
    Iallu,
    DsbNsh,
}

/// A core behind a fault: what it executes is not quite what the sequence says.
struct Mutant<'m> {
    real: ModelCore<'m>,
    mutator: Mutator<Instruction>,
}

impl<'m> Mutant<'m> {
    fn new(real: ModelCore<'m>, mutation: Mutation) -> Self {
        Self { real, mutator: Mutator::new(mutation) }
    }

    fn execute(&self, instruction: Instruction) {
        match instruction {
            Instruction::Isb => self.real.isb(),
            Instruction::Tcr(value) => self.real.set_tcr_el1(value),
            Instruction::Sctlr(value) => self.real.set_sctlr_el1(value),
            Instruction::Vttbr(vttbr) => self.real.load_vttbr(vttbr),
            Instruction::Vmalle1 => self.real.tlbi_vmalle1(),
            Instruction::Iallu => self.real.ic_iallu(),
            Instruction::DsbNsh => self.real.dsb_nsh(),
        }
    }

    fn issue(&self, instruction: Instruction) {
        self.mutator.issue(instruction, |instruction| self.execute(instruction));
    }
}

impl Regime for Mutant<'_> {
    fn isb(&self) {
        self.issue(Instruction::Isb);
    }
    fn tcr_el1(&self) -> u64 {
        self.real.tcr_el1()
    }
    fn set_tcr_el1(&self, value: u64) {
        self.issue(Instruction::Tcr(value));
    }
    fn sctlr_el1(&self) -> u64 {
        self.real.sctlr_el1()
    }
    fn set_sctlr_el1(&self, value: u64) {
        self.issue(Instruction::Sctlr(value));
    }
    fn load_vttbr(&self, vttbr: Vttbr) {
        self.issue(Instruction::Vttbr(vttbr));
    }
    fn tlbi_vmalle1(&self) {
        self.issue(Instruction::Vmalle1);
    }
    fn ic_iallu(&self) {
        self.issue(Instruction::Iallu);
    }
    fn dsb_nsh(&self) {
        self.issue(Instruction::DsbNsh);
    }
}

/// Puts a vCPU on a core that may have had a sibling, and lets it run.
fn put(cores: &ModelCores, core: usize, next: ModelVcpu) -> Result<(), String> {
    change(cores, core, next, true, Mutation::None).1
}

fn change(
    cores: &ModelCores,
    core: usize,
    next: ModelVcpu,
    may_follow_sibling: bool,
    mutation: Mutation,
) -> (Vec<Instruction>, Result<(), String>) {
    let mutant = Mutant::new(cores.core(core), mutation);
    let controls = Controls { sctlr: next.sctlr, tcr: next.tcr };
    put_on(&mutant, controls, next.vttbr, may_follow_sibling, || {
        mutant.real.load_registers(next);
    });
    (mutant.mutator.seen(), cores.enter(core, next))
}

/// A machine on whose first core `before` have run, one after the other.
fn after(before: [ModelVcpu; 2]) -> ModelCores {
    let cores = ModelCores::new(2, &VCPUS);
    for vcpu in before {
        assert_eq!(put(&cores, 0, vcpu), Ok(()));
    }
    cores
}

/// Every vCPU behind every two others.
fn turns() -> impl Iterator<Item = ([ModelVcpu; 2], ModelVcpu)> {
    let pairs = VCPUS.into_iter().flat_map(|a| VCPUS.map(|b| [a, b]));
    pairs.flat_map(|before| VCPUS.map(|next| (before, next)))
}

#[test]
fn each_vcpu_finds_its_own_regime_and_nothing_of_another() {
    for (before, next) in turns() {
        assert_eq!(put(&after(before), 0, next), Ok(()), "{before:?}, then {next:?}");
    }
}

/// Whether some turn shows that something is wrong: with a flush, or at those who have no sibling without.
fn is_caught(flushes: bool, mutation: Mutation) -> bool {
    let is_alone = |vcpu: ModelVcpu| VCPUS.iter().filter(|it| it.vttbr == vcpu.vttbr).count() == 1;
    turns()
        .filter(|(_, next)| flushes || is_alone(*next))
        .any(|(before, next)| change(&after(before), 0, next, flushes, mutation).1.is_err())
}

/// Tries a mutation for each position of the sequence, with a flush and without.
fn assert_each_caught(mutation: fn(usize) -> Mutation, is_free: fn(&[Instruction]) -> bool) {
    /// The instructions of `hold_walks`: what comes of a mistake there, a flush takes away.
    const HOLD: usize = 4;
    for flushes in [false, true] {
        let (sequence, _) = change(&after([FIRST, OTHER]), 0, OTHER, flushes, Mutation::None);
        for position in (0..sequence.len()).filter(|position| !flushes || *position >= HOLD) {
            let rest = &sequence[position..];
            let is_fine = is_free(rest) || is_caught(flushes, mutation(position));
            assert!(is_fine, "{:?} of {sequence:?}", mutation(position));
        }
    }
}

#[test]
fn each_instruction_of_a_switch_is_necessary() {
    assert_each_caught(Mutation::Drop, |_| false);
}

#[test]
fn each_instruction_of_a_switch_has_its_place() {
    use Instruction::{DsbNsh, Iallu, Sctlr, Vmalle1};
    // Two invalidations, in whichever order; and walks are still held by TCR_EL1. The last has none behind it.
    let is_free =
        |rest: &[Instruction]| matches!(rest, [_] | [Vmalle1, Iallu, ..] | [DsbNsh, Sctlr(_), ..]);
    assert_each_caught(Mutation::SwapWithNext, is_free);
}

#[test]
fn a_core_that_no_sibling_has_had_is_not_flushed() {
    let cores = after([OTHER, OTHER]);
    let (sequence, outcome) = change(&cores, 0, FIRST, false, Mutation::None);
    assert_eq!(outcome, Ok(()));
    assert!(!sequence.contains(&Instruction::Vmalle1) && !sequence.contains(&Instruction::Iallu));
}

#[test]
fn what_a_sibling_has_left_on_another_core_stays_until_its_vmid_is_flushed_there() {
    for may_follow_sibling in [true, false] {
        let cores = after([FIRST, OTHER]);
        put(&cores, 1, FIRST).unwrap();
        put(&cores, 1, OTHER).unwrap();
        put(&cores, 0, SIBLING).unwrap();
        let (_, outcome) = change(&cores, 1, SIBLING, may_follow_sibling, Mutation::None);
        assert_eq!(outcome.is_ok(), may_follow_sibling, "{outcome:?}");
    }
}

/// Another partition's tables and VMID for a moment while `vcpu` is on its core.
fn visit(vcpu: ModelVcpu, mutation: Mutation) -> (Vec<Instruction>, Result<(), String>) {
    let cores = after([OTHER, vcpu]);
    let mutant = Mutant::new(cores.core(0), mutation);
    with_walks_held(&mutant, || {
        mutant.real.load_vttbr(Vttbr::new(Pa(9 << 20), Vmid(9)));
        mutant.real.isb();
        mutant.real.load_vttbr(vcpu.vttbr);
    });
    (mutant.mutator.seen(), cores.enter(0, vcpu))
}

#[test]
fn another_partitions_tables_are_never_walked_with_the_registers_of_who_is_on_the_core() {
    for vcpu in VCPUS {
        assert_eq!(visit(vcpu, Mutation::None).1, Ok(()), "{vcpu:?}");
    }
    let (sequence, _) = visit(FIRST, Mutation::None);
    for (position, instruction) in sequence.iter().enumerate() {
        let is_caught = |vcpu| visit(vcpu, Mutation::Drop(position)).1.is_err();
        assert!(VCPUS.into_iter().any(is_caught), "{instruction:?} of {sequence:?}");
    }
}

#[test]
fn with_its_walks_held_a_core_walks_under_nobodys_registers() {
    for vcpu in VCPUS {
        let cores = after([OTHER, vcpu]);
        let core = cores.core(0);
        hold_walks(&core);
        // Whoever it is of: a mixture would be found.
        core.load_registers(OTHER);
        core.load_vttbr(Vttbr::new(Pa(9 << 20), Vmid(9)));
        core.isb();
        assert_eq!(put(&cores, 0, vcpu), Ok(()), "{vcpu:?}");
    }
}
