//! Each TLB sequence of stage 2 is sufficient, and each instruction of it necessary: a sequence with one
//! instruction dropped, two swapped, the wrong VMID or a narrower scope is caught by the model machine
//! (design §6, P3).

mod clean;
mod mutant;
mod scenarios;

use std::cell::Cell;

use shikiri_abi::{Ipa, PAGE_BYTES, Pa, PageCount, Vmid};
use shikiri_arch::hw::{PhysMem, Vttbr};
use shikiri_model::memory::{ModelMemory, ModelTables};
use shikiri_model::tlb::ModelTlb;
use shikiri_stage2::{Access, Attributes, Execute, MapError, Mapping, Progress, Stage2};

use mutant::{Instruction, Mutant, Mutation};
use scenarios::{Current, SCENARIOS, Scenario, format, range, run};

const CORES: usize = 3;
const LOSER: Vmid = Vmid(5);
const OTHER: Vmid = Vmid(9);
const HOLE: u64 = 0x4000_0000;
const GIB: u64 = 1 << 30;
/// Physical memory that belongs to somebody else: nothing may ever lead there.
const VICTIM: u64 = 0x7_0000_0000;
/// The other partition's memory.
const OTHER_PA: u64 = 0x9_0000_0000;
/// VTTBR_EL2 values that mix two partitions: the root of one, the VMID of the other.
const OTHER_UNDER_LOSER: u64 = 0x0005_0000_0010_2000;
const LOSER_UNDER_OTHER: u64 = 0x0009_0000_0010_0000;

#[test]
#[cfg_attr(
    miri,
    ignore = "exhaustive, in memory that is an array: long under Miri, and no unsafe code"
)]
fn every_sequence_is_sufficient_on_every_core() {
    for scenario in SCENARIOS {
        for current in [Current::Loser, Current::Other] {
            for erratum in [(false, false), (true, true)] {
                let outcome = run(scenario, current, erratum, Mutation::None);
                let name = scenario.name;
                assert!(outcome.is_ok(), "{name}, {current:?} runs, {erratum:?}: {outcome:?}");
            }
        }
    }
}

/// All trials: each scenario, whoever runs on core 0, with the instructions of the unchanged sequence.
fn trials() -> impl Iterator<Item = (Scenario, Current, Vec<Instruction>)> {
    SCENARIOS.into_iter().flat_map(|scenario| {
        [Current::Loser, Current::Other].map(|current| {
            let plain = run(scenario, current, (false, false), Mutation::None).unwrap();
            (scenario, current, plain)
        })
    })
}

fn assert_caught(scenario: Scenario, current: Current, plain: &[Instruction], mutation: Mutation) {
    let outcome = run(scenario, current, (false, false), mutation);
    let name = scenario.name;
    assert!(outcome.is_err(), "{name}, {current:?} runs: {mutation:?} of {plain:?} was not caught");
}

/// Between two sequences a split ends with ISB, DSB ISHST, and the next begins with DSB ISHST: what the
/// next one repeats is not missed.
fn is_repeated_by_the_next(rest: &[Instruction]) -> bool {
    use Instruction::{DsbIshst, Isb};
    matches!(rest, [Isb | DsbIshst, DsbIshst, ..])
}

#[test]
#[cfg_attr(
    miri,
    ignore = "exhaustive, in memory that is an array: long under Miri, and no unsafe code"
)]
fn every_instruction_of_every_sequence_is_necessary() {
    for (scenario, current, plain) in trials() {
        for position in 0..plain.len() {
            if !is_repeated_by_the_next(&plain[position..]) {
                assert_caught(scenario, current, &plain, Mutation::Drop(position));
            }
        }
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "exhaustive, in memory that is an array: long under Miri, and no unsafe code"
)]
fn the_order_of_every_sequence_is_necessary() {
    use Instruction::{DsbIsh, DsbIshst, Isb, Load};
    for (scenario, current, plain) in trials() {
        for (position, pair) in plain.windows(2).enumerate() {
            // Loading a register and waiting for stores or TLBIs do not depend on each other; between two
            // sequences everything is complete.
            let is_independent = matches!(
                pair,
                [DsbIsh | DsbIshst, Load(_)] | [Isb, DsbIshst] | [DsbIshst, DsbIshst]
            );
            let rest = &plain[position..];
            let is_repeated = matches!(rest, [DsbIsh | Load(_), Isb, DsbIshst, DsbIshst, ..]);
            if !is_independent && !is_repeated {
                assert_caught(scenario, current, &plain, Mutation::SwapWithNext(position));
            }
        }
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "exhaustive, in memory that is an array: long under Miri, and no unsafe code"
)]
fn a_weaker_or_narrower_instruction_is_caught() {
    use Instruction::{DsbIsh, DsbIshst, Ipas2, Load, Vmalle1, Vmalls12};
    for (scenario, current, plain) in trials() {
        for (position, instruction) in plain.iter().enumerate() {
            let weaker: &[Instruction] = match instruction {
                DsbIsh => &[DsbIshst],
                Vmalls12 => &[Vmalle1, Ipas2(Ipa(HOLE))],
                Vmalle1 => &[Ipas2(Ipa(HOLE))],
                Ipas2(_) => &[Vmalle1, Ipas2(Ipa(HOLE + (64 * GIB)))],
                // The loser's tables under another VMID, and another's under the loser's.
                Load(to) if to.vmid() == LOSER => {
                    &[Load(Vttbr(OTHER_UNDER_LOSER)), Load(Vttbr(LOSER_UNDER_OTHER))]
                }
                DsbIshst | Instruction::Isb | Load(_) => &[],
            };
            for other in weaker {
                let mutation = Mutation::Replace(position, *other);
                assert_caught(scenario, current, &plain, mutation);
            }
        }
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "exhaustive, in memory that is an array: long under Miri, and no unsafe code"
)]
fn a_core_with_the_tlbi_erratum_needs_the_second_tlbi() {
    for (scenario, current, _plain) in trials() {
        assert!(
            run(scenario, current, (true, false), Mutation::None).is_err(),
            "{}",
            scenario.name
        );
        let plain = run(scenario, current, (true, true), Mutation::None).unwrap();
        let repeats = plain.windows(3).filter(|three| {
            use Instruction::{DsbIsh, Vmalle1, Vmalls12};
            matches!(three, [Vmalle1, DsbIsh, Vmalle1] | [Vmalls12, DsbIsh, Vmalls12])
        });
        assert!(repeats.count() >= 1, "{}: {plain:?}", scenario.name);
    }
}

/// Memory that loses one store: the descriptor that breaks a leaf.
struct Forgetful<'m> {
    real: &'m ModelMemory,
    forget: Cell<Option<Pa>>,
}

impl PhysMem for Forgetful<'_> {
    fn read_u64(&self, at: Pa) -> u64 {
        self.real.read_u64(at)
    }
    fn write_u64(&self, at: Pa, value: u64) {
        if self.forget.get() == Some(at) && value == 0 {
            self.forget.set(None);
        } else {
            self.real.write_u64(at, value);
        }
    }
    fn zero(&self, at: Pa, pages: PageCount) {
        self.real.zero(at, pages);
    }
    fn clean_invalidate(&self, at: Pa, bytes: u64) {
        self.real.clean_invalidate(at, bytes);
    }
}

#[test]
fn a_split_without_its_break_is_a_tlb_conflict() {
    for is_broken in [true, false] {
        let real = ModelMemory::new(Pa(0x10_0000), 16);
        let mem = Forgetful { real: &real, forget: Cell::new(None) };
        let mut space = Stage2::new(&mem, real.page(0), format(), LOSER).unwrap();
        let tlb = ModelTlb::new(&real, CORES, space.vttbr());
        let mut tables = ModelTables::new((2..16).map(|page| real.page(page)));
        let mapping = Mapping {
            ipa: Ipa(HOLE),
            pa: Pa(VICTIM),
            pages: PageCount(512),
            attributes: Attributes::RAM,
        };
        space.map(&mem, &tlb, &mut tables, mapping).unwrap();
        tlb.probe(Ipa(HOLE + 9 * PAGE_BYTES));
        if !is_broken {
            let walk = space.walk(&mem, Ipa(HOLE));
            mem.forget.set(walk.steps[1].map(|step| step.at));
        }
        let one = range(HOLE, 1);
        let done = space.unmap(&mem, &tlb, &mut tables, one, u32::MAX);
        assert_eq!(done, Ok(Progress::Done));
        assert_eq!(tlb.conflicts().is_empty(), is_broken, "{:?}", tlb.conflicts());
    }
}

#[test]
fn nothing_mapped_needs_no_invalidation() {
    let mem = ModelMemory::new(Pa(0x10_0000), 8);
    let mut space = Stage2::new(&mem, mem.page(0), format(), LOSER).unwrap();
    let tlb = ModelTlb::new(&mem, 1, space.vttbr());
    let mutant = Mutant::new(&tlb);
    let mut tables = ModelTables::new([]);
    let whole = space.whole();
    let done = space.unmap(&mem, &mutant, &mut tables, whole, u32::MAX);
    assert_eq!(done, Ok(Progress::Done));
    assert_eq!(mutant.mutator.seen(), []);
    let rights = (Access::ReadOnly, Execute::Never);
    let refused = space.protect(&mem, &mutant, &mut tables, range(HOLE, 1), rights, 1);
    assert_eq!(refused, Err(MapError::NotMapped { at: Ipa(HOLE) }));
}
