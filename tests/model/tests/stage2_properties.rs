//! Random changes of several partitions' address spaces against a model of intervals (P3): an independent
//! walker agrees after each step, nothing stale is reachable, a refusal changes nothing, and at the end
//! every table page is back.

use proptest::prelude::*;
use shikiri_abi::{Ipa, PAGE_BYTES, Pa, PageCount, Vmid};
use shikiri_arch::hw::{PhysMem, Vttbr};
use shikiri_model::memory::{ModelMemory, ModelTables};
use shikiri_model::tlb::{ModelTlb, Reach};
use shikiri_stage2::{
    Access, Attributes, Execute, Format, IpaRange, Level, MapError, Mapping, Memory, Progress,
    Stage2, WalkEnd,
};
use std::collections::{BTreeMap, BTreeSet};

const PARTITIONS: usize = 3;
const PROBES: [u64; 5] = [0x0, 0x4020_0000, 0x4020_1000, 0x403f_f000, 0x8000_0000];

/// A run of the model: up to `end`, backed from `pa` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    end: u64,
    pa: u64,
    attributes: Attributes,
}

/// What a partition should see: disjoint runs by their first address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Expected(BTreeMap<u64, Run>);

impl Expected {
    /// Cuts runs at an address.
    fn cut(&mut self, at: u64) {
        let crossed = self.0.range_mut(..at).next_back().filter(|(_, run)| run.end > at);
        if let Some((start, run)) = crossed {
            let rest = Run { pa: run.pa + (at - start), ..*run };
            run.end = at;
            self.0.insert(at, rest);
        }
    }

    fn overlaps(&self, start: u64, end: u64) -> bool {
        self.0.range(..end).next_back().is_some_and(|(_, run)| run.end > start)
    }

    fn remove(&mut self, start: u64, end: u64) {
        self.cut(start);
        self.cut(end);
        self.0.retain(|at, _run| *at < start || *at >= end);
    }

    fn find(&self, ipa: u64) -> Option<(u64, Run)> {
        let (start, run) = self.0.range(..=ipa).next_back()?;
        (run.end > ipa).then_some((*start, *run))
    }

    /// Runs joined where one goes on as the other ended.
    fn joined(&self) -> Vec<(u64, Run)> {
        join(self.0.iter().map(|(start, run)| (*start, *run)))
    }
}

fn join(runs: impl Iterator<Item = (u64, Run)>) -> Vec<(u64, Run)> {
    let mut joined: Vec<(u64, Run)> = Vec::new();
    for (start, run) in runs {
        match joined.last_mut() {
            Some((first, last))
                if last.end == start
                    && last.pa + (start - *first) == run.pa
                    && last.attributes == run.attributes =>
            {
                last.end = run.end;
            }
            _ => joined.push((start, run)),
        }
    }
    joined
}

/// What a partition asks for.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Map { ipa: u64, pa: u64, pages: u64, attributes: Attributes, is_abandoned: bool },
    Unmap { ipa: u64, pages: u64, budget: u32 },
    Protect { ipa: u64, pages: u64, access: Access, execute: Execute, budget: u32 },
    SetLimit { tables: usize },
}

fn size() -> impl Strategy<Value = u64> {
    prop_oneof![1..4_u64, 510..515_u64, Just(1024), Just(1 << 18), Just((1 << 18) + 512 + 1)]
}

fn address() -> impl Strategy<Value = u64> {
    (0..3_u64, 0..4_u64, prop_oneof![Just(0), Just(1), Just(2), Just(510), Just(511)])
        .prop_map(|(gib, blocks, pages)| (gib << 30) + (blocks << 21) + pages * PAGE_BYTES)
}

/// How far the physical run is from the alignment that allows the largest leaves.
fn skew() -> impl Strategy<Value = u64> {
    prop_oneof![6 => Just(0), 1 => Just(4 << 20), 1 => Just(PAGE_BYTES), 1 => Just(7 << 30)]
}

fn attributes() -> impl Strategy<Value = Attributes> {
    prop_oneof![
        4 => Just(Attributes::RAM),
        1 => Just(Attributes::RAM_READ_ONLY),
        1 => Just(Attributes::DEVICE),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let budget = prop_oneof![1..8_u32, Just(600), Just(u32::MAX)];
    let rights = prop_oneof![
        Just((Access::ReadOnly, Execute::Never)),
        Just((Access::ReadWrite, Execute::Allowed)),
        Just((Access::ReadOnly, Execute::Allowed)),
    ];
    prop_oneof![
        6 => (address(), skew(), size(), attributes(), prop::bool::weighted(0.1)).prop_map(
            |(ipa, skew, pages, attributes, is_abandoned)| {
                let pa = ipa + (16 << 30) + skew;
                Operation::Map { ipa, pa, pages, attributes, is_abandoned }
            }
        ),
        4 => (address(), size(), budget.clone())
            .prop_map(|(ipa, pages, budget)| Operation::Unmap { ipa, pages, budget }),
        3 => (address(), size(), rights, budget).prop_map(
            |(ipa, pages, (access, execute), budget)| {
                Operation::Protect { ipa, pages, access, execute, budget }
            }
        ),
        1 => (0..12_usize).prop_map(|tables| Operation::SetLimit { tables }),
    ]
}

/// A partition with its model.
struct Partition {
    tables: Stage2,
    pages: ModelTables,
    expected: Expected,
}

struct World<'m> {
    mem: &'m ModelMemory,
    tlb: &'m ModelTlb<'m>,
    format: Format,
    partitions: Vec<Partition>,
}

impl World<'_> {
    fn apply(&mut self, who: usize, operation: Operation) {
        let before = self.partitions[who].expected.clone();
        let used = self.partitions[who].pages.used();
        let refusal = match operation {
            Operation::Map { .. } => self.map(who, operation),
            Operation::Unmap { .. } => self.unmap(who, operation),
            Operation::Protect { .. } => self.protect(who, operation),
            Operation::SetLimit { tables } => {
                self.partitions[who].pages.set_limit(tables.max(used));
                Ok(())
            }
        };
        if refusal.is_err() {
            assert_eq!(self.partitions[who].expected, before);
            assert_eq!(self.partitions[who].pages.used(), used, "{refusal:?} of {operation:?}");
        }
        self.check_caches();
        self.check_tables(&self.partitions[who]);
    }

    fn map(&mut self, who: usize, operation: Operation) -> Result<(), MapError> {
        let Operation::Map { ipa, pa, pages, attributes, is_abandoned } = operation else {
            unreachable!()
        };
        let end = ipa + pages * PAGE_BYTES;
        let mapping = Mapping { ipa: Ipa(ipa), pa: Pa(pa), pages: PageCount(pages), attributes };
        let mine = &mut self.partitions[who];
        let overlaps = mine.expected.overlaps(ipa, end);
        let prepared = mine.tables.prepare_map(self.mem, &mut mine.pages, mapping);
        match prepared {
            Ok(prepared) if is_abandoned => {
                prepared.abandon(self.mem, &mut mine.pages);
                return Err(MapError::Range);
            }
            Ok(prepared) => {
                assert!(!overlaps, "{operation:?} overlaps");
                prepared.commit(self.mem, self.tlb);
                mine.expected.0.insert(ipa, Run { end, pa, attributes });
            }
            Err(MapError::Overlap { at }) => {
                assert!(overlaps && mine.expected.find(at.0).is_some(), "no overlap at {at}");
                return Err(MapError::Overlap { at });
            }
            Err(refusal) => {
                assert!(matches!(refusal, MapError::NoTable(_)), "{refusal:?}");
                assert!(!overlaps);
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn unmap(&mut self, who: usize, operation: Operation) -> Result<(), MapError> {
        let Operation::Unmap { ipa, pages, budget } = operation else { unreachable!() };
        let mut range = Some(IpaRange::new(self.format, Ipa(ipa), PageCount(pages))?);
        let mut is_first = true;
        while let Some(now) = range {
            let mine = &mut self.partitions[who];
            let done = mine.tables.unmap(self.mem, self.tlb, &mut mine.pages, now, budget);
            let reached = match done {
                Ok(Progress::Done) => now.end(),
                Ok(Progress::StoppedAt(at)) => at,
                Err(refusal) => {
                    assert!(is_first, "a later step was refused");
                    return Err(refusal);
                }
            };
            is_first = false;
            assert!(reached > now.start() && reached <= now.end(), "no progress");
            mine.expected.remove(now.start().0, reached.0);
            range = now.from(reached);
        }
        Ok(())
    }

    fn protect(&mut self, who: usize, operation: Operation) -> Result<(), MapError> {
        let Operation::Protect { ipa, pages, access, execute, budget } = operation else {
            unreachable!()
        };
        let range = IpaRange::new(self.format, Ipa(ipa), PageCount(pages))?;
        let mine = &mut self.partitions[who];
        let rights = (access, execute);
        let done = mine.tables.protect(self.mem, self.tlb, &mut mine.pages, range, rights, budget);
        let reached = match done {
            Ok(Progress::Done) => range.end().0,
            Ok(Progress::StoppedAt(at)) => at.0,
            Err(refusal) => {
                match refusal {
                    MapError::NotMapped { at } => assert_eq!(mine.expected.find(at.0), None),
                    MapError::DeviceMemory { at } => {
                        let (_, run) = mine.expected.find(at.0).unwrap();
                        assert_eq!(run.attributes.memory, Memory::Device);
                    }
                    MapError::NoTable(_) => {}
                    MapError::Alignment | MapError::Range | MapError::Overlap { .. } => {
                        panic!("{refusal:?} of {operation:?}")
                    }
                }
                return Err(refusal);
            }
        };
        mine.expected.cut(ipa);
        mine.expected.cut(reached);
        for (_, run) in mine.expected.0.range_mut(ipa..reached) {
            run.attributes.access = access;
            run.attributes.execute = execute;
        }
        Ok(())
    }

    /// All partitions: what one does must not reach another's tables.
    fn check_all(&self) {
        self.check_caches();
        self.partitions.iter().for_each(|partition| self.check_tables(partition));
    }

    fn check_tables(&self, partition: &Partition) {
        self.check_leaves(partition);
        self.check_edges(partition);
    }

    /// The leaves, joined, are the model's runs, and no table is empty or lost.
    fn check_leaves(&self, partition: &Partition) {
        let leaves = partition.tables.leaves(self.mem).map(|leaf| {
            let end = leaf.ipa.0 + leaf.bytes();
            (leaf.ipa.0, Run { end, pa: leaf.pa.0, attributes: leaf.attributes })
        });
        assert_eq!(join(leaves), partition.expected.joined());
        let mut tables = BTreeSet::new();
        for leaf in partition.tables.leaves(self.mem) {
            let walk = partition.tables.walk(self.mem, leaf.ipa);
            tables.extend(walk.steps.iter().flatten().skip(1).map(|step| step.at.page_base()));
        }
        assert_eq!(tables.len(), partition.pages.used(), "tables in use and tables charged");
        assert!(tables.iter().all(|table| partition.pages.is_out(*table)));
        assert_eq!(partition.tables.is_empty(self.mem), partition.expected.0.is_empty());
    }

    /// An independent walker agrees on both sides of every edge.
    fn check_edges(&self, partition: &Partition) {
        let edges = partition.expected.0.iter().flat_map(|(start, run)| [*start, run.end]);
        for edge in edges.flat_map(|at| [at.saturating_sub(PAGE_BYTES), at, at + 8]) {
            let expected = partition
                .expected
                .find(edge)
                .map(|(start, run)| (run.pa + (edge - start), run.attributes));
            let walked = walk_raw(self.mem, partition.tables.vttbr(), edge);
            assert_eq!(walked, expected, "at {edge:#x}");
            let walk = partition.tables.walk(self.mem, Ipa(edge));
            match (walk.end, expected) {
                (WalkEnd::Leaf(leaf), Some((pa, _))) => {
                    assert_eq!(leaf.translate(Ipa(edge)), Pa(pa));
                }
                (WalkEnd::Hole(level), None) => assert!(level >= Level::One),
                (end, expected) => panic!("{end:?} but {expected:?} at {edge:#x}"),
            }
        }
    }

    /// Whatever a core may have cached, of any partition, is what the model says now.
    fn check_caches(&self) {
        self.tlb.walk_all();
        assert!(self.tlb.conflicts().is_empty(), "{:?}", self.tlb.conflicts());
        for partition in &self.partitions {
            for probe in PROBES {
                let allowed = partition.expected.find(probe).map(|(start, run)| Reach {
                    pa: Pa(run.pa + (probe - start)),
                    is_writable: run.attributes.access == Access::ReadWrite,
                    is_executable: run.attributes.execute == Execute::Allowed,
                });
                let reach = self.tlb.reach(partition.tables.vttbr().vmid().0, Ipa(probe));
                assert!(reach.iter().all(|one| Some(*one) == allowed), "{reach:?}: {allowed:?}");
            }
        }
    }
}

/// A walker written from the manual alone.
fn walk_raw(mem: &ModelMemory, vttbr: Vttbr, ipa: u64) -> Option<(u64, Attributes)> {
    let mut table = vttbr.0 & 0xffff_ffff_f000;
    for (level, shift) in [(1, 30), (2, 21), (3, 12)] {
        let index = (ipa >> shift) & if level == 1 { 1023 } else { 511 };
        let raw = mem.read_u64(Pa(table + 8 * index));
        let to = raw & 0xffff_ffff_f000;
        match (level, raw & 3) {
            (1 | 2, 3) => table = to,
            (1 | 2, 1) | (3, 3) => {
                assert_eq!((raw >> 10) & 1, 1, "access flag");
                assert_eq!((raw >> 6) & 1, 1, "readable");
                let is_device = (raw >> 2) & 0xf == 1;
                assert_eq!((raw >> 8) & 3, if is_device { 0 } else { 3 }, "shareability");
                let attributes = Attributes {
                    memory: if is_device { Memory::Device } else { Memory::Normal },
                    access: if (raw >> 7) & 1 == 1 { Access::ReadWrite } else { Access::ReadOnly },
                    execute: if raw >> 53 == 0 { Execute::Allowed } else { Execute::Never },
                };
                return Some((to + (ipa & ((1 << shift) - 1)), attributes));
            }
            _ => {
                assert_eq!(raw, 0, "an invalid descriptor is zero");
                return None;
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(shikiri_model::cases(40))]

    #[test]
    fn random_changes_agree_with_the_model(
        steps in prop::collection::vec((0..PARTITIONS, 0..PARTITIONS, operation()), 1..shikiri_model::steps(40))
    ) {
        let mem = ModelMemory::new(Pa(0x10_0000), 128);
        let format = Format::new(5, 0).unwrap();
        let idle = Vttbr::new(mem.page(126), Vmid(200));
        let tlb = ModelTlb::new(&mem, 2, idle);
        let partitions = (0..PARTITIONS).map(|number| {
            let vmid = Vmid(u8::try_from(number + 1).unwrap());
            let tables = Stage2::new(&mem, mem.page(2 * number), format, vmid).unwrap();
            let pages = (0..30).map(|page| mem.page(8 + 30 * number + page));
            Partition { tables, pages: ModelTables::new(pages), expected: Expected::default() }
        });
        let partitions = partitions.collect();
        let mut world = World { mem: &mem, tlb: &tlb, format, partitions };
        mem.settle();
        PROBES.iter().for_each(|probe| tlb.probe(Ipa(*probe)));
        for (who, runs, operation) in steps {
            tlb.run(0, world.partitions[runs].tables.vttbr());
            tlb.run(1, world.partitions[who].tables.vttbr());
            world.apply(who, operation);
        }
        world.check_all();
        for who in 0..PARTITIONS {
            let mine = &mut world.partitions[who];
            let whole = mine.tables.whole();
            let done = mine.tables.unmap(&mem, &tlb, &mut mine.pages, whole, u32::MAX);
            prop_assert_eq!(done, Ok(Progress::Done));
            mine.expected.0.clear();
            prop_assert_eq!(mine.pages.used(), 0);
            prop_assert!(mem.is_zero(mem.page(2 * who)) && mem.is_zero(mem.page(2 * who + 1)));
        }
        world.check_all();
    }
}
