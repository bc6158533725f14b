//! Message areas that grow, move between partitions, and are taken apart, in any order (C3): an independent walker
//! finds exactly the pages of each area at its slot and nowhere else, no cache reaches any other, and at the end
//! every table page is back.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, Pa, PageCount, Vmid, WINDOWS, WindowSlot};
use shikiri_arch::hw::{PhysMem as _, Vttbr};
use shikiri_model::memory::{ModelMemory, ModelTables};
use shikiri_model::tlb::ModelTlb;
use shikiri_stage2::{
    Attributes, Format, Growing, IpaRange, LeafRun, Linked, MapError, Mapping, NoTable, Progress,
    Stage2, Subtree, WindowSizes,
};

const PARTITIONS: usize = 2;
const SIZES: WindowSizes = WindowSizes { pages: 2, blocks: 2, giants: 2 };
const SLOTS: u16 = 2;
const TABLES: usize = 24;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Makes an area of these frames (skew, pages) in turn.
    Make { class: AreaClass, runs: [(u64, u64); 3], budget: u32 },
    /// Links the area `which` of those that hang nowhere.
    Link { which: usize, to: usize, index: u16 },
    /// Unlinks the area `which` of those that hang somewhere.
    Unlink { which: usize },
    /// Takes leaves off an area that hangs nowhere.
    Pop { which: usize, leaves: u32 },
    /// Takes pages off an area that hangs nowhere, parts of leaves among them.
    Shorten { which: usize, pages: u64 },
    /// No table is left, or all.
    Limit { is_tight: bool },
}

fn class() -> impl Strategy<Value = AreaClass> {
    prop_oneof![1 => Just(AreaClass::Page), 2 => Just(AreaClass::Block), 2 => Just(AreaClass::Giant)]
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![1..4_u64, Just(511), Just(512), Just(513), Just(1024)];
    let run = (prop_oneof![2 => Just(0), 1 => Just(3_u64)], size);
    prop_oneof![
        4 => (class(), prop::array::uniform3(run), prop_oneof![1..5_u32, Just(600)])
            .prop_map(|(class, runs, budget)| Step::Make { class, runs, budget }),
        5 => (0..9_usize, 0..PARTITIONS, 0..SLOTS)
            .prop_map(|(which, to, index)| Step::Link { which, to, index }),
        4 => (0..9_usize).prop_map(|which| Step::Unlink { which }),
        2 => (0..9_usize, 1..700_u32).prop_map(|(which, leaves)| Step::Pop { which, leaves }),
        3 => (0..9_usize, prop_oneof![1..4_u64, Just(511), Just(512), 1..1100_u64])
            .prop_map(|(which, pages)| Step::Shorten { which, pages }),
        1 => any::<bool>().prop_map(|is_tight| Step::Limit { is_tight }),
    ]
}

struct World<'m> {
    mem: &'m ModelMemory,
    tlb: &'m ModelTlb<'m>,
    format: Format,
    spaces: Vec<Stage2>,
    tables: ModelTables,
    /// The next frame that no area has.
    next: u64,
    loose: Vec<(Subtree, Vec<u64>)>,
    hanging: BTreeMap<(usize, WindowSlot), (Linked, Vec<u64>)>,
}

impl World<'_> {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Make { class, runs, budget } => self.make(class, runs, budget),
            Step::Link { which, to, index } if which < self.loose.len() => {
                let class = self.loose[which].0.class();
                let slot = WindowSlot { class, index };
                if self.hanging.contains_key(&(to, slot)) {
                    return;
                }
                let (area, pages) = self.loose.remove(which);
                assert_eq!(area.pages().0, pages.len() as u64);
                let linked = self.spaces[to].link(self.mem, self.tlb, slot, area);
                assert!(self.mem.is_settled());
                self.hanging.insert((to, slot), (linked, pages));
            }
            Step::Unlink { which } => {
                let Some(key) = self.hanging.keys().nth(which).copied() else { return };
                let (linked, pages) = self.hanging.remove(&key).unwrap();
                let area = self.spaces[key.0].unlink(self.mem, self.tlb, linked);
                self.loose.push((area, pages));
            }
            Step::Pop { which, leaves } if which < self.loose.len() => {
                let (area, pages) = self.loose.remove(which);
                self.pop(area.open(), pages, leaves);
            }
            Step::Shorten { which, pages } if which < self.loose.len() => {
                let (area, has) = self.loose.remove(which);
                self.shorten(area.open(), has, pages);
            }
            Step::Link { .. } | Step::Pop { .. } | Step::Shorten { .. } => {}
            Step::Limit { is_tight } => {
                let limit = if is_tight { self.tables.used() } else { usize::MAX };
                self.tables.set_limit(limit);
            }
        }
    }

    /// Builds an area in steps; a run that does not fit any more ends it.
    fn make(&mut self, class: AreaClass, runs: [(u64, u64); 3], budget: u32) {
        let (mut growing, mut pages) = (Growing::new(class), Vec::new());
        for (skew, count) in runs {
            let base = (self.next | 511) + 1 + skew;
            self.next = base + count;
            let mut done = 0;
            while done < count {
                let (used, before) = (self.tables.used(), growing.pages());
                let pa = Pa((base + done) * PAGE_BYTES);
                let to = (self.mem, self.format);
                let left = PageCount(count - done);
                match growing.push(to, &mut self.tables, pa, left, budget) {
                    Ok(PageCount(0)) => {
                        assert_eq!(growing.pages(), class.pages(), "it is full");
                        break;
                    }
                    Ok(PageCount(more)) => {
                        let first = base + done;
                        pages.extend((first..first + more).map(|page| page * PAGE_BYTES));
                        done += more;
                    }
                    Err(NoTable::OverLimit | NoTable::NoMemory) => {
                        assert_eq!((self.tables.used(), growing.pages()), (used, before));
                        break;
                    }
                }
            }
        }
        match growing.pages() {
            PageCount(0) => assert_eq!(growing.tables(), 0),
            _ => self.loose.push((growing.finish(self.tlb).unwrap(), pages)),
        }
    }

    fn pop(&mut self, mut growing: Growing, mut pages: Vec<u64>, leaves: u32) {
        for _ in 0..leaves {
            let Some(LeafRun { pa, pages: count }) = growing.pop(self.mem, &mut self.tables) else {
                assert!(pages.is_empty());
                break;
            };
            let last = pages.split_off(pages.len() - count.0 as usize);
            let expected: Vec<_> = (0..count.0).map(|page| pa.0 + page * PAGE_BYTES).collect();
            assert_eq!(last, expected);
        }
        match growing.pages().0 {
            0 => assert_eq!(growing.tables(), 0),
            _ => self.loose.push((growing.finish(self.tlb).unwrap(), pages)),
        }
    }

    /// Takes pages off the end until so many are gone, or no table is left for a part of a leaf.
    fn shorten(&mut self, mut growing: Growing, mut pages: Vec<u64>, count: u64) {
        let stays = pages.len().saturating_sub(count as usize);
        while pages.len() > stays {
            let most = PageCount((pages.len() - stays) as u64);
            let (used, before) = (self.tables.used(), growing.pages());
            match growing.shorten((self.mem, self.format), &mut self.tables, most) {
                Ok(run) => {
                    let LeafRun { pa, pages: taken } = run.expect("there are pages");
                    assert!(taken <= most);
                    let last = pages.split_off(pages.len() - taken.0 as usize);
                    let expected = (0..taken.0).map(|page| pa.0 + page * PAGE_BYTES);
                    assert_eq!(last, expected.collect::<Vec<_>>());
                }
                Err(NoTable::OverLimit | NoTable::NoMemory) => {
                    assert_eq!((self.tables.used(), growing.pages()), (used, before));
                    break;
                }
            }
            assert_eq!(growing.pages().0, pages.len() as u64);
        }
        match growing.pages().0 {
            0 => assert_eq!(growing.tables(), 0),
            _ => self.loose.push((growing.finish(self.tlb).unwrap(), pages)),
        }
    }

    fn check(&self) {
        self.tlb.walk_all();
        let standing = SIZES.tables() as usize * PARTITIONS;
        let own = self.loose.iter().map(|(area, _)| area.tables());
        let hung = self.hanging.values().map(|(area, _)| area.tables());
        assert_eq!(self.tables.used(), standing + own.chain(hung).sum::<u32>() as usize);
        for (who, space) in self.spaces.iter().enumerate() {
            let own = self.hanging.iter().filter(|((owner, _), _)| *owner == who);
            let mut found = space.leaves_from(self.mem, WINDOWS);
            for ((_, slot), (_, pages)) in own {
                let mut done = 0;
                while done < pages.len() {
                    let leaf = found.next().expect("an area's page is not mapped");
                    assert_eq!(leaf.attributes, Attributes::RAM_NO_EXECUTE);
                    assert_eq!(leaf.ipa.0, slot.ipa().0 + done as u64 * PAGE_BYTES);
                    for page in 0..leaf.bytes() / PAGE_BYTES {
                        assert_eq!(leaf.pa.0 + page * PAGE_BYTES, pages[done]);
                        assert_eq!(
                            walk_raw(self.mem, space.vttbr(), leaf.ipa.0 + page * PAGE_BYTES),
                            Some(pages[done])
                        );
                        done += 1;
                    }
                }
            }
            assert_eq!(found.next(), None, "a page of no area is mapped");
            for class in AreaClass::ALL {
                for index in 0..SLOTS {
                    let slot = WindowSlot { class, index };
                    let here = self.hanging.get(&(who, slot)).map(|(_, pages)| pages[0]);
                    let reach = self.tlb.reach(space.vttbr().vmid().0, slot.ipa());
                    for one in reach {
                        assert_eq!(Some(one.pa.0), here, "{slot:?} of {who} is cached");
                        assert!(!one.is_executable);
                    }
                }
            }
        }
    }
}

/// A walker written from the manual alone.
fn walk_raw(mem: &ModelMemory, vttbr: Vttbr, ipa: u64) -> Option<u64> {
    let mut table = vttbr.0 & 0xffff_ffff_f000;
    for (level, shift) in [(1, 30), (2, 21), (3, 12)] {
        let index = (ipa >> shift) & if level == 1 { 1023 } else { 511 };
        let raw = mem.read_u64(Pa(table + 8 * index));
        let to = raw & 0xffff_ffff_f000;
        match (level, raw & 3) {
            (1 | 2, 3) => table = to,
            (1 | 2, 1) | (3, 3) => return Some(to + (ipa & ((1 << shift) - 1))),
            _ => return None,
        }
    }
    None
}

proptest! {
    #![proptest_config(shikiri_model::cases(40))]

    #[test]
    fn areas_are_where_they_belong_and_nowhere_else(steps in prop::collection::vec(step(), 1..shikiri_model::steps(30))) {
        let mem = ModelMemory::new(Pa(0x10_0000), 8 + TABLES);
        let format = Format::new(5, 0).unwrap();
        let tlb = ModelTlb::new(&mem, 2, Vttbr::new(mem.page(6), Vmid(200)));
        let mut tables = ModelTables::new((8..8 + TABLES).map(|page| mem.page(page)));
        let mut spaces = Vec::new();
        for who in 0..PARTITIONS {
            let vmid = Vmid(u8::try_from(who + 1).unwrap());
            let mut space = Stage2::new(&mem, mem.page(2 * who), format, vmid).unwrap();
            space.make_windows(&mem, &tlb, &mut tables, SIZES).unwrap();
            tlb.run(who, space.vttbr());
            spaces.push(space);
        }
        mem.settle();
        for class in AreaClass::ALL {
            (0..SLOTS).for_each(|index| tlb.probe(WindowSlot { class, index }.ipa()));
        }
        let (loose, hanging) = (Vec::new(), BTreeMap::new());
        let next = 1 << 20;
        let mut world = World { mem: &mem, tlb: &tlb, format, spaces, tables, next, loose, hanging };
        for step in steps {
            world.apply(step);
            world.check();
        }
        while !world.hanging.is_empty() {
            world.apply(Step::Unlink { which: 0 });
        }
        while !world.loose.is_empty() {
            world.apply(Step::Pop { which: 0, leaves: u32::MAX });
        }
        world.check();
        for space in &mut world.spaces {
            space.drop_windows(&mem, &tlb, &mut world.tables);
            prop_assert!(mem.is_zero(space.root()) && mem.is_zero(Pa(space.root().0 + PAGE_BYTES)));
        }
        prop_assert_eq!(world.tables.used(), 0);
    }
}

/// A leaf of 1 GiB, cut anywhere: what stays is where it was, in as few leaves as that can be.
#[test]
fn a_giant_leaf_is_cut_anywhere_c3() {
    const ALL: u64 = 0x4_0000;
    for stays in [1, 511, 512, 513, 1024, 1025, ALL / 2, ALL - 513, ALL - 512, ALL - 1] {
        let mem = ModelMemory::new(Pa(0x10_0000), 8 + TABLES);
        let format = Format::new(5, 0).unwrap();
        let mut tables = ModelTables::new((8..8 + TABLES).map(|page| mem.page(page)));
        let mut growing = Growing::new(AreaClass::Giant);
        let base = Pa(4 << 30);
        let pushed = growing.push((&mem, format), &mut tables, base, PageCount(ALL), 1);
        assert_eq!((pushed, growing.tables()), (Ok(PageCount(ALL)), 0));
        let most = PageCount(ALL - stays);
        let wanted_tables = if stays % 512 == 0 { 1 } else { 2 };
        tables.set_limit(wanted_tables - 1);
        let refused = growing.shorten((&mem, format), &mut tables, most);
        assert_eq!((refused, tables.used()), (Err(NoTable::OverLimit), 0));
        tables.set_limit(wanted_tables);
        let cut = growing.shorten((&mem, format), &mut tables, most).unwrap().unwrap();
        assert_eq!(cut, LeafRun { pa: Pa(base.0 + stays * PAGE_BYTES), pages: most });
        assert_eq!(growing.tables() as usize, wanted_tables);
        let (mut left, mut leaves) = (stays, 0);
        while let Some(LeafRun { pa, pages }) = growing.pop(&mem, &mut tables) {
            left -= pages.0;
            leaves += 1;
            assert_eq!(pa, Pa(base.0 + left * PAGE_BYTES));
        }
        assert_eq!((left, leaves, tables.used()), (0, stays / 512 + stays % 512, 0), "{stays}");
    }
}

#[test]
fn ordinary_mappings_stay_out_of_the_window_region() {
    let mem = ModelMemory::new(Pa(0x10_0000), 20);
    let format = Format::new(5, 0).unwrap();
    let mut space = Stage2::new(&mem, mem.page(0), format, Vmid(1)).unwrap();
    let tlb = ModelTlb::new(&mem, 1, space.vttbr());
    let mut tables = ModelTables::new((2..20).map(|page| mem.page(page)));
    let mapping = |ipa| Mapping {
        ipa: Ipa(ipa),
        pa: Pa(0x4000_0000),
        pages: PageCount(2),
        attributes: Attributes::RAM,
    };
    let last = WINDOWS.0 - PAGE_BYTES;
    space.map(&mem, &tlb, &mut tables, mapping(last)).unwrap();
    let taken = space.make_windows(&mem, &tlb, &mut tables, SIZES);
    assert_eq!(taken, Err(MapError::Overlap { at: WINDOWS }));
    let range = IpaRange::new(format, Ipa(last), PageCount(2)).unwrap();
    let done = space.unmap(&mem, &tlb, &mut tables, range, u32::MAX);
    assert_eq!(done, Ok(Progress::Done));
    tables.set_limit(SIZES.tables() as usize - 1);
    let refused = space.make_windows(&mem, &tlb, &mut tables, SIZES);
    assert_eq!((refused, tables.used()), (Err(MapError::NoTable(NoTable::OverLimit)), 0));
    tables.set_limit(usize::MAX);
    let many = WindowSizes { giants: 511, ..SIZES };
    assert_eq!(space.make_windows(&mem, &tlb, &mut tables, many), Err(MapError::Range));
    space.make_windows(&mem, &tlb, &mut tables, SIZES).unwrap();
    assert_eq!(space.make_windows(&mem, &tlb, &mut tables, SIZES), Err(MapError::Range));
    for ipa in [last, WINDOWS.0, WINDOWS.0 + (1 << 30), WINDOWS.0 + (5 << 30)] {
        let refused = space.map(&mem, &tlb, &mut tables, mapping(ipa));
        assert_eq!(refused, Err(MapError::Range), "{ipa:#x}");
        let range = IpaRange::new(format, Ipa(ipa), PageCount(2)).unwrap();
        let refused = space.unmap(&mem, &tlb, &mut tables, range, u32::MAX).err();
        assert_eq!(refused, Some(MapError::Range), "{ipa:#x}");
    }
    assert_eq!(space.whole().end(), WINDOWS);
    let small = Format::new(1, 0).unwrap();
    let mut space = Stage2::new(&mem, mem.page(18), small, Vmid(2)).unwrap();
    assert_eq!(space.make_windows(&mem, &tlb, &mut tables, SIZES), Err(MapError::Range));
}
