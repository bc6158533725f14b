//! What mapping costs, where its edges are, and what each refusal says.

use shikiri_abi::{Ipa, PAGE_BYTES, Pa, PageCount, Vmid};
use shikiri_model::memory::{ModelMemory, ModelTables};
use shikiri_model::tlb::ModelTlb;
use shikiri_stage2::{
    Access, Attributes, Execute, Format, IpaRange, Leaf, Level, MapError, Mapping, NoTable,
    Progress, Stage2, WalkEnd,
};

const RAM: u64 = 0x4000_0000;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A machine with one address space, out of `mem`.
struct Machine<'m> {
    mem: &'m ModelMemory,
    tlb: ModelTlb<'m>,
    pages: ModelTables,
    space: Stage2,
}

impl<'m> Machine<'m> {
    fn new(mem: &'m ModelMemory) -> Self {
        let space = Stage2::new(mem, mem.page(0), format(), Vmid(1)).unwrap();
        let tlb = ModelTlb::new(mem, 1, space.vttbr());
        let pages = ModelTables::new((2..30).map(|page| mem.page(page)));
        Self { mem, tlb, pages, space }
    }

    fn map(&mut self, ipa: u64, pa: u64, bytes: u64) -> Result<(), MapError> {
        let pages = PageCount(bytes / PAGE_BYTES);
        let mapping = Mapping { ipa: Ipa(ipa), pa: Pa(pa), pages, attributes: Attributes::RAM };
        self.space.map(self.mem, &self.tlb, &mut self.pages, mapping)
    }

    fn unmap(&mut self, ipa: u64, bytes: u64, budget: u32) -> Result<Progress, MapError> {
        let range = IpaRange::new(format(), Ipa(ipa), PageCount(bytes / PAGE_BYTES)).unwrap();
        self.space.unmap(self.mem, &self.tlb, &mut self.pages, range, budget)
    }

    fn leaves(&self) -> Vec<Leaf> {
        self.space.leaves(self.mem).collect()
    }

    /// How many leaves of each level there are: 1 GiB, 2 MiB, 4 KiB.
    fn sizes(&self) -> [usize; 3] {
        let leaves = self.leaves();
        [Level::One, Level::Two, Level::Three]
            .map(|level| leaves.iter().filter(|leaf| leaf.level == level).count())
    }
}

fn format() -> Format {
    Format::new(4, 0).unwrap()
}

fn memory() -> ModelMemory {
    ModelMemory::new(Pa(0x10_0000), 30)
}

#[test]
fn contiguous_memory_is_mapped_by_blocks_and_few_stores() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    let before = mem.stores();
    machine.map(RAM, GIB + 0x800_0000, 128 * MIB).unwrap();
    assert_eq!(machine.sizes(), [0, 64, 0]);
    assert_eq!(machine.pages.used(), 1);
    // The table is cleared (512), chained and unchained (2), filled (64) and linked (1).
    assert_eq!(mem.stores() - before, 512 + 2 + 64 + 1);
    let before = mem.stores();
    machine.map(RAM + 128 * MIB, 2 * GIB, 2 * MIB).unwrap();
    assert_eq!(mem.stores() - before, 1, "one block into a table that exists");
}

#[test]
fn the_largest_leaves_are_used_that_both_addresses_allow() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    // 4 KiB below a block, one GiB, and two pages: the physical run is aligned alike.
    machine.map(GIB - PAGE_BYTES, 3 * GIB - PAGE_BYTES, GIB + 3 * PAGE_BYTES).unwrap();
    assert_eq!(machine.sizes(), [1, 0, 3]);
    assert_eq!(machine.pages.used(), 4);
    // A run that is only 2 MiB-aligned with its IPA gives no larger blocks.
    machine.map(8 * GIB, 2 * MIB, GIB).unwrap();
    assert_eq!(machine.sizes(), [1, 512, 3]);
}

#[test]
fn the_first_and_the_last_page_of_the_address_space_can_be_mapped() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    let last = (1 << 40) - PAGE_BYTES;
    machine.map(0, RAM, PAGE_BYTES).unwrap();
    machine.map(last, RAM + PAGE_BYTES, PAGE_BYTES).unwrap();
    let found: Vec<_> = machine.leaves().iter().map(|leaf| (leaf.ipa.0, leaf.pa.0)).collect();
    assert_eq!(found, [(0, RAM), (last, RAM + PAGE_BYTES)]);
    assert_eq!(machine.space.walk(&mem, Ipa(1 << 40)).end, WalkEnd::OutOfRange);
    assert_eq!(machine.space.walk(&mem, Ipa(u64::MAX)).steps, [None; 3]);
}

#[test]
fn what_cannot_be_mapped_is_refused_with_its_reason() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    assert_eq!(machine.map(0x800, RAM, PAGE_BYTES), Err(MapError::Alignment));
    assert_eq!(machine.map(RAM, 0x800, PAGE_BYTES), Err(MapError::Alignment));
    assert_eq!(machine.map(RAM, RAM, 0), Err(MapError::Range));
    assert_eq!(machine.map((1 << 40) - PAGE_BYTES, RAM, 2 * PAGE_BYTES), Err(MapError::Range));
    assert_eq!(machine.map(!0xfff, RAM, PAGE_BYTES), Err(MapError::Range));
    assert_eq!(machine.map(RAM, (1 << 44) - PAGE_BYTES, 2 * PAGE_BYTES), Err(MapError::Range));
    assert_eq!(machine.map(RAM, !0xfff, PAGE_BYTES), Err(MapError::Range));
    let endless = IpaRange::new(format(), Ipa(0), PageCount(u64::MAX));
    assert_eq!(endless, Err(MapError::Range));
    let unaligned = Stage2::new(&mem, mem.page(1), format(), Vmid(1));
    assert_eq!(unaligned.err(), Some(MapError::Alignment));
    assert_eq!(machine.pages.used(), 0);
}

#[test]
fn an_overlap_names_the_first_taken_address_at_every_pair_of_sizes() {
    for (there, asked, taken) in [
        ((RAM + 5 * PAGE_BYTES, PAGE_BYTES), (RAM, 2 * MIB), RAM + 5 * PAGE_BYTES),
        ((RAM, 2 * MIB), (RAM + PAGE_BYTES, PAGE_BYTES), RAM + PAGE_BYTES),
        ((RAM, GIB), (RAM + 4 * MIB, 2 * MIB), RAM + 4 * MIB),
        ((RAM + 6 * MIB, 2 * MIB), (RAM, GIB), RAM + 6 * MIB),
        ((RAM, 2 * MIB), (RAM - PAGE_BYTES, 2 * PAGE_BYTES), RAM),
        ((RAM, GIB), (RAM, GIB), RAM),
    ] {
        let mem = memory();
        let mut machine = Machine::new(&mem);
        machine.map(there.0, 4 * GIB + there.0, there.1).unwrap();
        let (before, used) = (machine.leaves(), machine.pages.used());
        let refusal = machine.map(asked.0, 8 * GIB + asked.0, asked.1);
        assert_eq!(refusal, Err(MapError::Overlap { at: Ipa(taken) }), "{there:x?} {asked:x?}");
        assert_eq!((machine.leaves(), machine.pages.used()), (before, used));
    }
}

#[test]
fn without_a_table_page_nothing_changes_and_nothing_is_charged() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    machine.pages.set_limit(1);
    let refusal = machine.map(RAM, RAM, PAGE_BYTES);
    assert_eq!(refusal, Err(MapError::NoTable(NoTable::OverLimit)));
    assert_eq!((machine.leaves().len(), machine.pages.used()), (0, 0));
    machine.map(RAM, RAM, 2 * MIB).unwrap();
    assert_eq!(machine.unmap(RAM, PAGE_BYTES, 1), Err(NoTable::OverLimit.into()));
    assert_eq!((machine.sizes(), machine.pages.used()), ([0, 1, 0], 1));
}

#[test]
fn an_abandoned_preparation_leaves_no_trace() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    machine.map(RAM, RAM, 2 * MIB).unwrap();
    let (before, used) = (machine.leaves(), machine.pages.used());
    let mapping =
        Mapping { ipa: Ipa(0), pa: Pa(0), pages: PageCount(3), attributes: Attributes::DEVICE };
    let prepared = machine.space.prepare_map(&mem, &mut machine.pages, mapping).unwrap();
    assert_eq!(prepared.table_pages(), 2);
    prepared.abandon(&mem, &mut machine.pages);
    let one = IpaRange::new(format(), Ipa(RAM), PageCount(1)).unwrap();
    let prepared = machine.space.prepare_unmap(&mem, &mut machine.pages, one).unwrap();
    prepared.abandon(&mem, &mut machine.pages);
    let rights = (Access::ReadOnly, Execute::Never);
    let prepared = machine.space.prepare_protect(&mem, &mut machine.pages, one, rights, 1);
    prepared.unwrap().abandon(&mem, &mut machine.pages);
    assert_eq!((machine.leaves(), machine.pages.used()), (before, used));
}

#[test]
fn a_gib_is_split_twice_for_one_page_and_comes_back_whole() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    machine.map(RAM, 4 * GIB, GIB).unwrap();
    assert_eq!(machine.unmap(RAM + 5 * PAGE_BYTES, PAGE_BYTES, 1), Ok(Progress::Done));
    assert_eq!((machine.sizes(), machine.pages.used()), ([0, 511, 511], 2));
    machine.map(RAM + 5 * PAGE_BYTES, 4 * GIB + 5 * PAGE_BYTES, PAGE_BYTES).unwrap();
    assert_eq!(machine.unmap(RAM, GIB, u32::MAX), Ok(Progress::Done));
    assert_eq!((machine.leaves().len(), machine.pages.used()), (0, 0));
}

#[test]
fn both_ends_inside_one_leaf_share_their_tables() {
    for (start, pages, tables) in [
        (RAM + PAGE_BYTES, 3, 2),
        (RAM + 2 * MIB, 512, 1),
        (RAM + PAGE_BYTES, 512, 3),
        (RAM + PAGE_BYTES, 511, 2),
        (RAM + 2 * MIB, 513, 2),
    ] {
        let mem = memory();
        let mut machine = Machine::new(&mem);
        machine.map(RAM, 4 * GIB, GIB).unwrap();
        let range = IpaRange::new(format(), Ipa(start), PageCount(pages)).unwrap();
        let rights = (Access::ReadOnly, Execute::Never);
        let done =
            machine.space.protect(&mem, &machine.tlb, &mut machine.pages, range, rights, 9999);
        assert_eq!(done, Ok(Progress::Done));
        assert_eq!(machine.pages.used(), tables, "{start:#x} + {pages} pages");
        let changed: u64 = machine
            .leaves()
            .iter()
            .filter(|leaf| leaf.attributes == Attributes::RAM_READ_ONLY)
            .map(|leaf| leaf.bytes() / PAGE_BYTES)
            .sum();
        assert_eq!(changed, pages);
    }
}

#[test]
fn unmapping_stays_within_its_budget_and_says_where_it_stopped() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    machine.map(RAM, 4 * GIB + PAGE_BYTES, 2 * MIB).unwrap();
    let mut steps = 0;
    let mut range = Some(machine.space.whole());
    while let Some(now) = range {
        let before = machine.leaves().len();
        let done = machine.space.unmap(&mem, &machine.tlb, &mut machine.pages, now, 100).unwrap();
        assert!(before - machine.leaves().len() <= 100);
        range = match done {
            Progress::Done => None,
            Progress::StoppedAt(at) => now.from(at),
        };
        steps += 1;
    }
    // 1,023 holes of 1 GiB and 512 leaves at least; the 511 holes of 2 MiB go when their table is empty.
    assert!(((1023 + 512) / 100..=(1023 + 511 + 512_u32).div_ceil(100)).contains(&steps));
    assert!(machine.space.is_empty(&mem) && machine.pages.used() == 0);
    machine.map(RAM, RAM, 2 * PAGE_BYTES).unwrap();
    // A budget of zero still gets on.
    assert_eq!(
        machine.unmap(RAM, 2 * PAGE_BYTES, 0),
        Ok(Progress::StoppedAt(Ipa(RAM + PAGE_BYTES)))
    );
}

#[test]
fn device_memory_keeps_its_rights() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    let attributes = Attributes::DEVICE;
    let mapping =
        Mapping { ipa: Ipa(0x900_0000), pa: Pa(0x900_0000), pages: PageCount(1), attributes };
    machine.space.map(&mem, &machine.tlb, &mut machine.pages, mapping).unwrap();
    let range = IpaRange::new(format(), Ipa(0x900_0000), PageCount(1)).unwrap();
    let rights = (Access::ReadWrite, Execute::Allowed);
    let refused = machine.space.protect(&mem, &machine.tlb, &mut machine.pages, range, rights, 1);
    assert_eq!(refused, Err(MapError::DeviceMemory { at: Ipa(0x900_0000) }));
}

#[test]
fn a_walk_keeps_each_step_and_says_what_a_copy_may_touch() {
    let mem = memory();
    let mut machine = Machine::new(&mem);
    machine.map(RAM, 4 * GIB, 2 * MIB + PAGE_BYTES).unwrap();
    let walk = machine.space.walk(&mem, Ipa(RAM + 2 * MIB + 0x123));
    let levels: Vec<_> = walk.steps.iter().flatten().map(|step| step.level.number()).collect();
    assert_eq!(levels, [1, 2, 3]);
    assert_eq!(walk.steps[0].unwrap().at, Pa(mem.page(0).0 + 8));
    assert_eq!(walk.steps[2].unwrap().descriptor & 3, 3);
    let WalkEnd::Leaf(leaf) = walk.end else { panic!("{walk:?}") };
    assert_eq!(leaf.translate(Ipa(RAM + 2 * MIB + 0x123)), Pa(4 * GIB + 2 * MIB + 0x123));
    assert_eq!(leaf.bytes_from(Ipa(RAM + 2 * MIB + 0x123)), PAGE_BYTES - 0x123);
    let block = machine.space.leaf_at(&mem, Ipa(RAM + 0x1234)).unwrap();
    assert_eq!(block.bytes_from(Ipa(RAM + 0x1234)), 2 * MIB - 0x1234);
    assert_eq!(machine.space.leaf_at(&mem, Ipa(RAM + 4 * MIB)), None);
    let from: Vec<_> = machine.space.leaves_from(&mem, Ipa(RAM + 2 * MIB)).collect();
    assert_eq!(from.len(), 1);
}
