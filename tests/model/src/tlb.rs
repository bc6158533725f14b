//! A machine's translation caches, as hostile as the architecture allows: [`ModelTlb`].
//!
//! Each core has combined entries (VA to PA: an invalidation by IPA does not find them), stage-2 entries
//! (IPA to PA) and walk-cache entries (IPA to a table), each under a VMID. What is kept is everything that
//! *may* be cached: after each step every core has walked to every probed address, from the root and from
//! every cached walk step, seeing old and new values of each store that no barrier has completed.
//!
//! A TLBI may complete at once or as late as its DSB, in any order with others: all are followed
//! (*worlds*). After the DSB this core's own instruction stream may still use an old translation until an
//! ISB. VTTBR_EL2 takes effect with an ISB; a TLBI before it acts on the VMID before. With
//! the erratum of CVE-2025-10263, other cores' accesses outlive the first TLBI and DSB.

use crate::memory::ModelMemory;
use shikiri_abi::{Ipa, Pa};
use shikiri_arch::hw::{Tlb, Vttbr};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// Something a core may have cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    /// VA page to a leaf's physical page and attribute bits. Stage 1 is the identity here, but no
    /// invalidation can know that.
    Combined { vmid: u8, va: u64, pa: u64, bits: u64, level: u8 },
    /// A leaf of stage 2: level, base IPA, descriptor.
    Leaf { vmid: u8, level: u8, ipa: u64, raw: u64 },
    /// A table of `level` that covers `ipa`.
    Walk { vmid: u8, level: u8, ipa: u64, table: u64 },
}

/// A TLBI that may have completed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Ipas2 { vmid: u8, ipa: u64 },
    Vmalle1 { vmid: u8 },
    Vmalls12 { vmid: u8 },
}

impl Pending {
    fn removes(self, entry: Entry) -> bool {
        match (self, entry) {
            (Self::Ipas2 { vmid, ipa }, Entry::Leaf { vmid: of, level, ipa: at, .. }) => {
                vmid == of && prefix(level, ipa) == at
            }
            (Self::Ipas2 { vmid, ipa }, Entry::Walk { vmid: of, level, ipa: at, .. }) => {
                vmid == of && prefix(level - 1, ipa) == at
            }
            (Self::Vmalle1 { vmid }, Entry::Combined { vmid: of, .. }) => vmid == of,
            (
                Self::Vmalls12 { vmid },
                Entry::Combined { vmid: of, .. }
                | Entry::Leaf { vmid: of, .. }
                | Entry::Walk { vmid: of, .. },
            ) => vmid == of,
            (Self::Ipas2 { .. }, Entry::Combined { .. })
            | (Self::Vmalle1 { .. }, Entry::Leaf { .. } | Entry::Walk { .. }) => false,
        }
    }
}

/// The start of the span of one descriptor of `level`.
fn prefix(level: u8, ipa: u64) -> u64 {
    let shift = [39, 30, 21, 12][usize::from(level)];
    ipa >> shift << shift
}

/// What each core may have cached, in the executions where exactly some TLBIs are still under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct World {
    cores: Vec<BTreeSet<Entry>>,
    /// Accesses that outlived their entry: on this core until an ISB, elsewhere only with the erratum.
    outlived: Vec<BTreeSet<Entry>>,
}

impl World {
    fn new(cores: usize) -> Self {
        Self { cores: vec![BTreeSet::new(); cores], outlived: vec![BTreeSet::new(); cores] }
    }

    fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.cores.iter_mut().zip(&other.cores) {
            mine.extend(theirs);
        }
        for (mine, theirs) in self.outlived.iter_mut().zip(&other.outlived) {
            mine.extend(theirs);
        }
    }

    fn complete(&mut self, tlbi: Pending, has_erratum: bool) {
        for (core, entries) in self.cores.iter_mut().enumerate() {
            let removed: BTreeSet<_> =
                entries.iter().copied().filter(|entry| tlbi.removes(*entry)).collect();
            entries.retain(|entry| !removed.contains(entry));
            if core == 0 {
                self.outlived[core].extend(removed);
            } else if has_erratum {
                // This TLBI orders what earlier ones left under way; its own stay.
                self.outlived[core] = removed;
            }
        }
    }
}

/// What a guest's access could reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    /// The physical page.
    pub pa: Pa,
    /// Whether stores go through.
    pub is_writable: bool,
    /// Whether instructions can be fetched.
    pub is_executable: bool,
}

/// The translation caches of all cores; EL2 runs on core 0.
#[derive(Debug)]
pub struct ModelTlb<'m> {
    memory: &'m ModelMemory,
    running: RefCell<Vec<Vttbr>>,
    /// The value that core 0's last ISB has seen.
    synchronised: Cell<Vttbr>,
    worlds: RefCell<BTreeMap<Vec<Pending>, World>>,
    probes: RefCell<Vec<u64>>,
    conflicts: RefCell<BTreeSet<String>>,
    has_erratum: Cell<bool>,
    repeats: Cell<bool>,
}

impl<'m> ModelTlb<'m> {
    /// Caches of `cores` cores that run nothing yet (VTTBR_EL2 = `idle`), walking `memory`.
    #[must_use]
    pub fn new(memory: &'m ModelMemory, cores: usize, idle: Vttbr) -> Self {
        memory.start_journal();
        Self {
            memory,
            running: RefCell::new(vec![idle; cores]),
            synchronised: Cell::new(idle),
            worlds: RefCell::new(BTreeMap::from([(Vec::new(), World::new(cores))])),
            probes: RefCell::default(),
            conflicts: RefCell::default(),
            has_erratum: Cell::new(false),
            repeats: Cell::new(false),
        }
    }

    /// Gives the cores the erratum, and says whether EL2 knows.
    pub fn set_erratum(&self, has_erratum: bool, is_known: bool) {
        self.has_erratum.set(has_erratum);
        self.repeats.set(is_known);
    }

    /// Adds an address that every core's guest accesses all the time.
    pub fn probe(&self, ipa: Ipa) {
        self.probes.borrow_mut().push(ipa.page_base().0);
        self.walk_all();
    }

    /// Lets a core run a partition's guest (with an ISB).
    pub fn run(&self, core: usize, vttbr: Vttbr) {
        self.running.borrow_mut()[core] = vttbr;
        if core == 0 {
            self.synchronised.set(vttbr);
        }
        self.walk_all();
    }

    /// Everything that an access to a probed `va` could reach on some core, now or through a stale entry.
    /// After stores that no TLB instruction followed, [`ModelTlb::walk_all`] first.
    #[must_use]
    pub fn reach(&self, vmid: u8, va: Ipa) -> BTreeSet<Reach> {
        let page = va.page_base().0;
        let mut found = BTreeSet::new();
        for world in self.worlds.borrow().values() {
            for entry in world.cores.iter().chain(&world.outlived).flatten() {
                match *entry {
                    Entry::Combined { vmid: of, va, pa, bits, .. } if of == vmid && va == page => {
                        found.insert(Reach {
                            pa: Pa(pa),
                            is_writable: bits & (1 << 7) != 0,
                            is_executable: bits & (1 << 54) == 0,
                        });
                    }
                    Entry::Combined { .. } | Entry::Leaf { .. } | Entry::Walk { .. } => {}
                }
            }
        }
        found
    }

    /// Whether nothing is under way: stores visible, TLBIs complete, VTTBR_EL2 synchronised and `current`.
    #[must_use]
    pub fn is_settled(&self, current: Vttbr) -> bool {
        self.memory.is_settled()
            && self.worlds.borrow().keys().all(Vec::is_empty)
            && self.running.borrow()[0] == current
            && self.synchronised.get() == current
    }

    /// TLB conflicts seen so far: two sizes or two places cached for one address.
    #[must_use]
    pub fn conflicts(&self) -> Vec<String> {
        self.conflicts.borrow().iter().cloned().collect()
    }

    /// Lets every core walk to every probe, in every world.
    pub fn walk_all(&self) {
        let running = self.running.borrow().clone();
        let probes = self.probes.borrow().clone();
        for world in self.worlds.borrow_mut().values_mut() {
            for (core, entries) in world.cores.iter_mut().enumerate() {
                for vttbr in [running[core], self.synchronised.get()] {
                    if core == 0 || vttbr == running[core] {
                        probes.iter().for_each(|ipa| self.walk_probe(entries, vttbr, *ipa));
                    }
                }
                self.note_conflicts(entries, &probes);
            }
        }
    }

    fn walk_probe(&self, entries: &mut BTreeSet<Entry>, vttbr: Vttbr, ipa: u64) {
        let vmid = vttbr.vmid().0;
        let mut starts = vec![(1_u8, vttbr.root().0)];
        for entry in entries.iter() {
            match *entry {
                Entry::Walk { vmid: of, level, ipa: at, table }
                    if of == vmid && prefix(level - 1, ipa) == at =>
                {
                    starts.push((level, table));
                }
                Entry::Leaf { vmid: of, level, ipa: at, raw }
                    if of == vmid && prefix(level, ipa) == at =>
                {
                    starts.push((0, raw | u64::from(level) << 60));
                }
                Entry::Combined { .. } | Entry::Walk { .. } | Entry::Leaf { .. } => {}
            }
        }
        for (level, from) in starts {
            if level == 0 {
                combine(entries, vmid, ipa, (from >> 60) as u8, from & !(0xf << 60));
            } else {
                self.walk_from(entries, vmid, ipa, level, from);
            }
        }
    }

    fn walk_from(&self, entries: &mut BTreeSet<Entry>, vmid: u8, ipa: u64, level: u8, table: u64) {
        let shift = [39, 30, 21, 12][usize::from(level)];
        let index = (ipa >> shift) & if level == 1 { 0x3ff } else { 0x1ff };
        self.memory.views(Pa(table + index * 8), |raw| match (level, raw & 3) {
            (1 | 2, 3) => {
                let below = raw & 0x0000_ffff_ffff_f000;
                let at = prefix(level, ipa);
                entries.insert(Entry::Walk { vmid, level: level + 1, ipa: at, table: below });
                self.walk_from(entries, vmid, ipa, level + 1, below);
            }
            (1 | 2, 1) | (3, 3) => {
                entries.insert(Entry::Leaf { vmid, level, ipa: prefix(level, ipa), raw });
                combine(entries, vmid, ipa, level, raw);
            }
            _ => {}
        });
    }

    fn note_conflicts(&self, entries: &BTreeSet<Entry>, probes: &[u64]) {
        for probe in probes {
            let mut seen = BTreeMap::new();
            for entry in entries {
                let (key, place) = match *entry {
                    Entry::Leaf { vmid, level, ipa, raw } if prefix(level, *probe) == ipa => {
                        (("stage 2", vmid), (level, raw & 0x0000_ffff_ffff_f000))
                    }
                    Entry::Combined { vmid, va, pa, level, .. } if va == *probe => {
                        (("combined", vmid), (level, pa))
                    }
                    Entry::Leaf { .. } | Entry::Combined { .. } | Entry::Walk { .. } => continue,
                };
                let first = *seen.entry(key).or_insert(place);
                if first != place {
                    let what = format!("{key:?} ipa {probe:#x}: {first:x?} and {place:x?}");
                    self.conflicts.borrow_mut().insert(what);
                }
            }
        }
    }

    fn issue(&self, tlbi: impl Fn(u8) -> Pending) {
        // Without an ISB the old VTTBR_EL2 may still be in force: the worse case.
        let tlbi = tlbi(self.synchronised.get().vmid().0);
        let old = std::mem::take(&mut *self.worlds.borrow_mut());
        for (mut pending, world) in old {
            pending.push(tlbi);
            self.worlds.borrow_mut().insert(pending, world);
        }
        self.step();
    }

    /// Any TLBI under way may complete now, in any order.
    fn step(&self) {
        self.walk_all();
        let mut todo: Vec<_> = self.worlds.borrow().clone().into_iter().collect();
        while let Some((pending, world)) = todo.pop() {
            for position in 0..pending.len() {
                let mut rest = pending.clone();
                let tlbi = rest.remove(position);
                let mut next = world.clone();
                next.complete(tlbi, self.has_erratum.get());
                self.merge(&rest, &next);
                self.walk_all();
                let joined = self.worlds.borrow()[&rest].clone();
                todo.push((rest, joined));
            }
        }
    }

    fn merge(&self, pending: &[Pending], world: &World) {
        self.worlds
            .borrow_mut()
            .entry(pending.to_vec())
            .and_modify(|known| known.join(world))
            .or_insert_with(|| world.clone());
    }
}

/// A combined entry for the page of `ipa` out of a leaf.
fn combine(entries: &mut BTreeSet<Entry>, vmid: u8, ipa: u64, level: u8, raw: u64) {
    let pa = (raw & 0x0000_ffff_ffff_f000) + (ipa - prefix(level, ipa));
    let bits = raw & ((0b11 << 6) | (1 << 54));
    entries.insert(Entry::Combined { vmid, va: ipa, pa, bits, level });
}

impl Tlb for ModelTlb<'_> {
    fn dsb_ishst(&self) {
        self.step();
        self.memory.settle();
        self.step();
    }

    fn dsb_ish(&self) {
        self.step();
        self.memory.settle();
        self.worlds.borrow_mut().retain(|pending, _world| pending.is_empty());
        self.walk_all();
    }

    fn isb(&self) {
        self.synchronised.set(self.running.borrow()[0]);
        for world in self.worlds.borrow_mut().values_mut() {
            world.outlived[0].clear();
        }
        self.walk_all();
    }

    fn tlbi_ipas2e1is(&self, ipa: Ipa) {
        self.issue(|vmid| Pending::Ipas2 { vmid, ipa: ipa.0 });
    }

    fn tlbi_vmalle1is(&self) {
        self.issue(|vmid| Pending::Vmalle1 { vmid });
    }

    fn tlbi_vmalls12e1is(&self) {
        self.issue(|vmid| Pending::Vmalls12 { vmid });
    }

    fn vttbr(&self) -> Vttbr {
        self.running.borrow()[0]
    }

    fn load_vttbr(&self, vttbr: Vttbr) {
        self.running.borrow_mut()[0] = vttbr;
        self.walk_all();
    }

    fn needs_repeat(&self) -> bool {
        self.repeats.get()
    }
}
