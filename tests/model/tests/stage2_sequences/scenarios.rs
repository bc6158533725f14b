//! What takes something away, each on a machine of its own: what is done before, the change, and what must hold behind it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, Pa, PageCount, WindowSlot};
use shikiri_arch::hw::{PhysMem as _, Vttbr};
use shikiri_model::memory::{ModelMemory, ModelTables};
use shikiri_model::tlb::ModelTlb;
use shikiri_stage2::{
    Access, Attributes, Execute, Format, Growing, IpaRange, Linked, Mapping, Progress, Stage2,
    Subtree, WindowSizes,
};

use crate::mutant::{Instruction, Mutant, Mutation};
use crate::{CORES, GIB, HOLE, LOSER, OTHER, OTHER_PA, VICTIM};

/// Who runs on core 0 when EL2 makes the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Current {
    Loser,
    Other,
}

/// The machine of one trial: the losing partition runs on core 1, and on core 0 or not.
pub(crate) struct Trial<'m> {
    pub(crate) mem: &'m ModelMemory,
    pub(crate) tlb: &'m ModelTlb<'m>,
    pub(crate) mutant: Mutant<'m, 'm>,
    pub(crate) tables: ModelTables,
    pub(crate) loser: Stage2,
    current: Vttbr,
    /// A message area of the loser's.
    area: Option<Linked>,
}

/// An operation that takes something away, and how to see whether it did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) prepare: fn(&mut Trial<'_>),
    pub(crate) change: fn(&mut Trial<'_>),
    pub(crate) check: fn(&Trial<'_>),
}

pub(crate) fn format() -> Format {
    Format::new(4, 0).unwrap()
}

pub(crate) fn range(start: u64, pages: u64) -> IpaRange {
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
    pub(crate) fn map(&mut self, ipa: u64, pa: u64, pages: u64) {
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
    pub(crate) fn have_area(&mut self, class: AreaClass, runs: &[(u64, u64)]) -> u64 {
        let sizes = WindowSizes { pages: 2, blocks: 2, giants: 2 };
        self.loser.make_windows(self.mem, &self.mutant, &mut self.tables, sizes).unwrap();
        let area = self.grow(class, runs).finish(&self.mutant).unwrap();
        let slot = WindowSlot { class, index: 1 };
        self.area = Some(self.loser.link(self.mem, &self.mutant, slot, area));
        slot.ipa().0
    }

    pub(crate) fn lose_area(&mut self) -> Subtree {
        let area = self.area.take().unwrap();
        self.loser.unlink(self.mem, &self.mutant, area)
    }

    /// Takes a lost area apart: its tables go to whoever wants them.
    pub(crate) fn take_apart(&mut self, area: Subtree) {
        let mut growing = area.open();
        while growing.pop(self.mem, &mut self.tables).is_some() {}
        assert_eq!((growing.pages(), growing.tables()), (PageCount(0), 0));
    }

    pub(crate) fn assert_gone(&self, ipa: u64) {
        let reach = self.tlb.reach(LOSER.0, Ipa(ipa));
        assert!(reach.is_empty(), "{ipa:#x} still reaches {reach:x?}");
    }

    pub(crate) fn assert_only(&self, ipa: u64, pa: u64) {
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
pub(crate) fn run(
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
    trial.mutant.mutator.arm(mutation);
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
    let seen = trial.mutant.mutator.seen();
    outcome.map(|()| seen).map_err(|cause| {
        cause.downcast_ref::<String>().cloned().unwrap_or_else(|| "assertion".to_owned())
    })
}

pub(crate) const SCENARIOS: [Scenario; 11] = [
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
pub(crate) fn area_at(class: AreaClass) -> u64 {
    WindowSlot { class, index: 1 }.ipa().0
}
