//! Each TLB sequence of stage 2 is sufficient, and each instruction of it necessary: a sequence with one
//! instruction dropped, two swapped, the wrong VMID or a narrower scope is caught by the model machine
//! (design §6, P3).

use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, Pa, PageCount, Vmid, WindowSlot};
use shikiri_arch::hw::{PhysMem, Tlb, Vttbr};
use shikiri_model::memory::{ModelMemory, ModelTables};
use shikiri_model::tlb::ModelTlb;
use shikiri_stage2::{
    Access, Attributes, Execute, Format, Growing, IpaRange, Linked, MapError, Mapping, Progress,
    Stage2, Subtree, WindowSizes,
};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// One instruction of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instruction {
    DsbIshst,
    DsbIsh,
    Isb,
    Ipas2(Ipa),
    Vmalle1,
    Vmalls12,
    Load(Vttbr),
}

/// What a mutant does to the instruction at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    None,
    Drop(usize),
    SwapWithNext(usize),
    Replace(usize, Instruction),
}

/// The model's TLB behind a fault: what EL2 executes is not quite what stage 2 asked for.
struct Mutant<'a, 'm> {
    real: &'a ModelTlb<'m>,
    mutation: Cell<Mutation>,
    position: Cell<usize>,
    held: Cell<Option<Instruction>>,
    seen: RefCell<Vec<Instruction>>,
}

impl<'a, 'm> Mutant<'a, 'm> {
    fn new(real: &'a ModelTlb<'m>) -> Self {
        Self {
            real,
            mutation: Cell::new(Mutation::None),
            position: Cell::new(0),
            held: Cell::new(None),
            seen: RefCell::default(),
        }
    }

    /// Starts the operation under test.
    fn arm(&self, mutation: Mutation) {
        self.mutation.set(mutation);
        self.position.set(0);
        self.seen.borrow_mut().clear();
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
        let position = self.position.replace(self.position.get() + 1);
        self.seen.borrow_mut().push(instruction);
        match self.mutation.get() {
            Mutation::Drop(at) if at == position => {}
            Mutation::SwapWithNext(at) if at == position => self.held.set(Some(instruction)),
            Mutation::Replace(at, other) if at == position => self.execute(other),
            Mutation::None
            | Mutation::Drop(_)
            | Mutation::SwapWithNext(_)
            | Mutation::Replace(..) => {
                self.execute(instruction);
                if let Some(held) = self.held.take() {
                    self.execute(held);
                }
            }
        }
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

/// Who runs on core 0 when EL2 makes the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Current {
    Loser,
    Other,
}

/// The machine of one trial: the losing partition runs on core 1, and on core 0 or not.
struct Trial<'m> {
    mem: &'m ModelMemory,
    tlb: &'m ModelTlb<'m>,
    mutant: Mutant<'m, 'm>,
    tables: ModelTables,
    loser: Stage2,
    current: Vttbr,
    /// A message area of the loser's.
    area: Option<Linked>,
}

/// An operation that takes something away, and how to see whether it did.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    prepare: fn(&mut Trial<'_>),
    change: fn(&mut Trial<'_>),
    check: fn(&Trial<'_>),
}

fn format() -> Format {
    Format::new(4, 0).unwrap()
}

fn range(start: u64, pages: u64) -> IpaRange {
    IpaRange::new(format(), Ipa(start), PageCount(pages)).unwrap()
}

/// A page full of what a hostile former owner would leave: leaves that lead to the victim.
fn poison(mem: &ModelMemory, page: Pa) {
    for word in 0..512 {
        mem.write_u64(Pa(page.0 + word * 8), VICTIM | 0x7ff);
    }
    mem.settle();
}

impl Trial<'_> {
    fn map(&mut self, ipa: u64, pa: u64, pages: u64) {
        let mapping = Mapping {
            ipa: Ipa(ipa),
            pa: Pa(pa),
            pages: PageCount(pages),
            attributes: Attributes::RAM,
        };
        self.loser.map(self.mem, &self.mutant, &mut self.tables, mapping).unwrap();
    }

    fn unmap(&mut self, start: u64, pages: u64) {
        let range = range(start, pages);
        let progress =
            self.loser.unmap(self.mem, &self.mutant, &mut self.tables, range, u32::MAX).unwrap();
        assert_eq!(progress, Progress::Done);
    }

    fn protect(&mut self, start: u64, pages: u64) {
        let rights = (Access::ReadOnly, Execute::Never);
        let range = range(start, pages);
        let (mem, mutant) = (self.mem, &self.mutant);
        let progress =
            self.loser.protect(mem, mutant, &mut self.tables, range, rights, u32::MAX).unwrap();
        assert_eq!(progress, Progress::Done);
    }

    /// An area of these runs (address, pages), not linked.
    fn grow(&mut self, class: AreaClass, runs: &[(u64, u64)]) -> Growing {
        let mut growing = Growing::new(class);
        for (pa, pages) in runs {
            let to = (self.mem, format());
            let pages = PageCount(*pages);
            let done = growing.push(to, &mut self.tables, Pa(*pa), pages, u32::MAX);
            assert_eq!(done, Ok(pages));
        }
        growing
    }

    /// Gives the loser a window region and an area in its slot 1; its address.
    fn have_area(&mut self, class: AreaClass, runs: &[(u64, u64)]) -> u64 {
        let sizes = WindowSizes { pages: 2, blocks: 2, giants: 2 };
        self.loser.make_windows(self.mem, &self.mutant, &mut self.tables, sizes).unwrap();
        let area = self.grow(class, runs).finish(&self.mutant).unwrap();
        let slot = WindowSlot { class, index: 1 };
        self.area = Some(self.loser.link(self.mem, &self.mutant, slot, area));
        slot.ipa().0
    }

    fn lose_area(&mut self) -> Subtree {
        let area = self.area.take().unwrap();
        self.loser.unlink(self.mem, &self.mutant, area)
    }

    /// Takes a lost area apart: its tables go to whoever wants them.
    fn take_apart(&mut self, area: Subtree) {
        let mut growing = area.open();
        while growing.pop(self.mem, &mut self.tables).is_some() {}
        assert_eq!((growing.pages(), growing.tables()), (PageCount(0), 0));
    }

    fn assert_gone(&self, ipa: u64) {
        let reach = self.tlb.reach(LOSER.0, Ipa(ipa));
        assert!(reach.is_empty(), "{ipa:#x} still reaches {reach:x?}");
    }

    fn assert_only(&self, ipa: u64, pa: u64) {
        let reach = self.tlb.reach(LOSER.0, Ipa(ipa));
        assert!(reach.iter().all(|reach| reach.pa == Pa(pa)), "{ipa:#x} reaches {reach:x?}");
        assert!(!reach.is_empty(), "{ipa:#x} reaches nothing");
    }

    fn assert_read_only(&self, ipa: u64) {
        for reach in self.tlb.reach(LOSER.0, Ipa(ipa)) {
            assert!(!reach.is_writable && !reach.is_executable, "{ipa:#x} {reach:x?}");
        }
    }
}

/// Runs a scenario with a mutation; returns the instructions, or what was found wrong.
fn run(
    scenario: Scenario,
    current: Current,
    erratum: (bool, bool),
    mutation: Mutation,
) -> Result<Vec<Instruction>, String> {
    let mem = ModelMemory::new(Pa(0x10_0000), 32);
    let other = Vttbr::new(mem.page(2), OTHER);
    let tlb = ModelTlb::new(&mem, CORES, other);
    (4..32).for_each(|page| poison(&mem, mem.page(page)));
    let loser = Stage2::new(&mem, mem.page(0), format(), LOSER).unwrap();
    // The other partition has blocks of 1 GiB at the same IPAs.
    for gib in [1, 512, 513, 514, 515] {
        mem.write_u64(Pa(mem.page(2).0 + gib * 8), OTHER_PA | 0x7fd);
    }
    mem.settle();
    let own = loser.vttbr();
    tlb.set_erratum(erratum.0, erratum.1);
    let current = match current {
        Current::Loser => own,
        Current::Other => other,
    };
    let tables = ModelTables::new((4..32).map(|page| mem.page(page)));
    let mutant = Mutant::new(&tlb);
    let area = None;
    let mut trial = Trial { mem: &mem, tlb: &tlb, mutant, tables, loser, current, area };
    (scenario.prepare)(&mut trial);
    tlb.run(0, own);
    tlb.run(0, current);
    tlb.run(1, own);
    assert!(tlb.is_settled(current), "the preparation is complete");
    trial.mutant.arm(mutation);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        (scenario.change)(&mut trial);
        // Pages that were given back get a hostile new owner at once.
        for page in 4..32 {
            if !trial.tables.is_out(mem.page(page)) {
                poison(&mem, mem.page(page));
            }
        }
        tlb.walk_all();
        (scenario.check)(&trial);
        assert!(tlb.conflicts().is_empty(), "{:?}", tlb.conflicts());
        assert!(tlb.is_settled(trial.current), "something is still under way");
    }));
    let seen = trial.mutant.seen.borrow().clone();
    outcome.map(|()| seen).map_err(|cause| {
        cause.downcast_ref::<String>().cloned().unwrap_or_else(|| "assertion".to_owned())
    })
}

const SCENARIOS: [Scenario; 11] = [
    Scenario {
        name: "one page out of a table that stays",
        prepare: |trial| {
            trial.map(HOLE, VICTIM, 4);
            trial.tlb.probe(Ipa(HOLE + PAGE_BYTES));
            trial.tlb.probe(Ipa(HOLE));
        },
        change: |trial| trial.unmap(HOLE + PAGE_BYTES, 1),
        check: |trial| {
            trial.assert_gone(HOLE + PAGE_BYTES);
            trial.assert_only(HOLE, VICTIM);
        },
    },
    Scenario {
        name: "a block of 2 MiB whose table stays",
        prepare: |trial| {
            trial.map(HOLE, VICTIM, 1024);
            trial.tlb.probe(Ipa(HOLE + 0x5000));
        },
        change: |trial| trial.unmap(HOLE, 512),
        check: |trial| trial.assert_gone(HOLE + 0x5000),
    },
    Scenario {
        name: "a block of 1 GiB",
        prepare: |trial| {
            trial.map(HOLE, 8 * GIB, 2 << 18);
            trial.tlb.probe(Ipa(HOLE + 0x5000));
        },
        change: |trial| trial.unmap(HOLE, 1 << 18),
        check: |trial| trial.assert_gone(HOLE + 0x5000),
    },
    Scenario {
        name: "pages with their tables, which get a new owner",
        prepare: |trial| {
            trial.map(HOLE, VICTIM - PAGE_BYTES, 3);
            trial.tlb.probe(Ipa(HOLE));
            trial.tlb.probe(Ipa(HOLE + 2 * PAGE_BYTES));
        },
        change: |trial| {
            trial.unmap(HOLE, 3);
            assert_eq!(trial.tables.used(), 0);
        },
        check: |trial| {
            trial.assert_gone(HOLE);
            trial.assert_gone(HOLE + 2 * PAGE_BYTES);
        },
    },
    Scenario {
        name: "the write permission of one page",
        prepare: |trial| {
            trial.map(HOLE, VICTIM, 2);
            trial.tlb.probe(Ipa(HOLE));
        },
        change: |trial| trial.protect(HOLE, 1),
        check: |trial| trial.assert_read_only(HOLE),
    },
    Scenario {
        name: "the write permission of several pages",
        prepare: |trial| {
            trial.map(HOLE, VICTIM, 3);
            trial.tlb.probe(Ipa(HOLE));
            trial.tlb.probe(Ipa(HOLE + PAGE_BYTES));
        },
        change: |trial| trial.protect(HOLE, 2),
        check: |trial| {
            trial.assert_read_only(HOLE);
            trial.assert_read_only(HOLE + PAGE_BYTES);
        },
    },
    Scenario {
        name: "a page in the middle of a live block",
        prepare: |trial| {
            trial.map(HOLE, VICTIM, 512);
            trial.tlb.probe(Ipa(HOLE));
            trial.tlb.probe(Ipa(HOLE + 7 * PAGE_BYTES));
        },
        change: |trial| trial.unmap(HOLE + 7 * PAGE_BYTES, 1),
        check: |trial| {
            trial.assert_gone(HOLE + 7 * PAGE_BYTES);
            trial.assert_only(HOLE, VICTIM);
        },
    },
    Scenario {
        name: "a message area of one page",
        prepare: |trial| {
            let at = trial.have_area(AreaClass::Page, &[(VICTIM, 1)]);
            trial.tlb.probe(Ipa(at));
        },
        change: |trial| drop(trial.lose_area()),
        check: |trial| trial.assert_gone(area_at(AreaClass::Page)),
    },
    Scenario {
        name: "a message area of scattered pages, as it is",
        prepare: |trial| {
            let at = trial.have_area(AreaClass::Block, &[(VICTIM, 1), (8 * GIB, 3)]);
            trial.tlb.probe(Ipa(at));
            trial.tlb.probe(Ipa(at + 2 * PAGE_BYTES));
        },
        change: |trial| drop(trial.lose_area()),
        check: |trial| {
            trial.assert_gone(area_at(AreaClass::Block));
            trial.assert_gone(area_at(AreaClass::Block) + 2 * PAGE_BYTES);
        },
    },
    Scenario {
        name: "a message area of one block",
        prepare: |trial| {
            let at = trial.have_area(AreaClass::Block, &[(VICTIM, 512)]);
            assert_eq!(trial.area.as_ref().unwrap().tables(), 0);
            trial.tlb.probe(Ipa(at + 5 * PAGE_BYTES));
        },
        change: |trial| drop(trial.lose_area()),
        check: |trial| trial.assert_gone(area_at(AreaClass::Block) + 5 * PAGE_BYTES),
    },
    Scenario {
        name: "a large message area whose tables get a new owner",
        prepare: |trial| {
            let at = trial.have_area(AreaClass::Giant, &[(VICTIM, 512), (8 * GIB, 1)]);
            trial.tlb.probe(Ipa(at));
            trial.tlb.probe(Ipa(at + 512 * PAGE_BYTES));
        },
        change: |trial| {
            let area = trial.lose_area();
            trial.take_apart(area);
        },
        check: |trial| {
            trial.assert_gone(area_at(AreaClass::Giant));
            trial.assert_gone(area_at(AreaClass::Giant) + 512 * PAGE_BYTES);
        },
    },
];

/// Where the areas of the scenarios are.
fn area_at(class: AreaClass) -> u64 {
    WindowSlot { class, index: 1 }.ipa().0
}

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

#[test]
fn a_fresh_table_is_clean_before_a_walker_can_find_it() {
    let mapping = Scenario {
        name: "a page whose tables come from a hostile owner",
        prepare: |trial| {
            trial.tlb.probe(Ipa(HOLE + PAGE_BYTES));
            trial.tlb.probe(Ipa(HOLE));
        },
        change: |trial| {
            trial.map(HOLE, 0x8000_0000, 1);
            assert!(trial.mem.is_settled(), "a walker may not see the mapping yet");
        },
        check: |trial| {
            trial.assert_gone(HOLE + PAGE_BYTES);
            trial.assert_only(HOLE, 0x8000_0000);
        },
    };
    let plain = run(mapping, Current::Loser, (false, false), Mutation::None).unwrap();
    assert_eq!(plain, [Instruction::DsbIshst; 2], "clean tables, then the mapping");
    assert_caught(mapping, Current::Loser, &plain, Mutation::Drop(0));
    assert_caught(mapping, Current::Loser, &plain, Mutation::Drop(1));
}

#[test]
fn an_areas_tables_are_clean_before_a_walker_can_find_them() {
    const AT: AreaClass = AreaClass::Giant;
    let link = Scenario {
        name: "an area whose tables come from a hostile owner",
        prepare: |trial| {
            trial.tlb.probe(Ipa(area_at(AT)));
            trial.tlb.probe(Ipa(area_at(AT) + PAGE_BYTES));
        },
        change: |trial| {
            let at = trial.have_area(AT, &[(0x8000_0000, 1)]);
            assert_eq!(at, area_at(AT));
            assert!(trial.mem.is_settled(), "a walker may not see the area yet");
        },
        check: |trial| {
            trial.assert_only(area_at(AT), 0x8000_0000);
            trial.assert_gone(area_at(AT) + PAGE_BYTES);
        },
    };
    let plain = run(link, Current::Loser, (false, false), Mutation::None).unwrap();
    assert_eq!(plain.len(), 4, "two for the windows, one for clean tables, one for the link");
    assert_caught(link, Current::Loser, &plain, Mutation::Drop(2));
    assert_caught(link, Current::Loser, &plain, Mutation::Drop(3));
}

#[test]
fn a_windows_tables_are_clean_before_a_walker_can_find_them() {
    let make = Scenario {
        name: "a window region whose tables come from a hostile owner",
        prepare: |trial| {
            for class in [AreaClass::Page, AreaClass::Block] {
                trial.tlb.probe(Ipa(area_at(class)));
            }
        },
        change: |trial| {
            let sizes = WindowSizes { pages: 513, blocks: 2, giants: 2 };
            trial.loser.make_windows(trial.mem, &trial.mutant, &mut trial.tables, sizes).unwrap();
            assert_eq!(trial.tables.used(), 4);
            assert!(trial.mem.is_settled(), "a walker may not see the windows yet");
        },
        check: |trial| {
            for class in [AreaClass::Page, AreaClass::Block] {
                trial.assert_gone(area_at(class));
            }
        },
    };
    let plain = run(make, Current::Loser, (false, false), Mutation::None).unwrap();
    assert_eq!(plain, [Instruction::DsbIshst; 2], "clean tables, then where they hang");
    for position in 0..plain.len() {
        assert_caught(make, Current::Loser, &plain, Mutation::Drop(position));
    }
}

#[test]
fn a_window_region_goes_with_its_tables_and_with_what_was_cached() {
    let drop_it = Scenario {
        name: "a window region whose tables get a new owner",
        prepare: |trial| {
            trial.have_area(AreaClass::Page, &[(VICTIM, 1)]);
            trial.tlb.probe(Ipa(area_at(AreaClass::Page)));
            let area = trial.lose_area();
            trial.take_apart(area);
        },
        change: |trial| {
            trial.loser.drop_windows(trial.mem, &trial.mutant, &mut trial.tables);
            assert_eq!(trial.tables.used(), 0);
        },
        check: |trial| trial.assert_gone(area_at(AreaClass::Page)),
    };
    for current in [Current::Loser, Current::Other] {
        let plain = run(drop_it, current, (false, false), Mutation::None).unwrap();
        // The last ISB is for leaves that this core still uses; here there were none.
        for position in 0..plain.len() - 1 {
            assert_caught(drop_it, current, &plain, Mutation::Drop(position));
        }
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
    assert_eq!(mutant.seen.borrow().as_slice(), []);
    let rights = (Access::ReadOnly, Execute::Never);
    let refused = space.protect(&mem, &mutant, &mut tables, range(HOLE, 1), rights, 1);
    assert_eq!(refused, Err(MapError::NotMapped { at: Ipa(HOLE) }));
}
