//! Memory of the model machine: [`ModelMemory`], and table pages out of it: [`ModelTables`].

use shikiri_abi::{PAGE_BYTES, Pa, PageCount};
use shikiri_arch::hw::PhysMem;
use shikiri_stage2::{NoTable, TablePages};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// A run of physical memory. An access outside it, or one that is not aligned, is a failed test.
///
/// It keeps a journal of the values that stores have replaced since the last barrier: until then a
/// table walker may see any of them ([`ModelMemory::views`]).
#[derive(Debug)]
pub struct ModelMemory {
    base: u64,
    words: RefCell<Vec<u64>>,
    journal: RefCell<BTreeMap<u64, Vec<u64>>>,
    has_journal: Cell<bool>,
    stores: Cell<u64>,
}

impl ModelMemory {
    /// Zeroed memory of `pages` pages from `base` on.
    #[must_use]
    pub fn new(base: Pa, pages: usize) -> Self {
        assert!(base.is_aligned(PAGE_BYTES), "memory starts at a page");
        Self {
            base: base.0,
            words: RefCell::new(vec![0; pages * 512]),
            journal: RefCell::default(),
            has_journal: Cell::new(false),
            stores: Cell::new(0),
        }
    }

    /// The first address.
    #[must_use]
    pub fn base(&self) -> Pa {
        Pa(self.base)
    }

    /// The address of page `index`.
    #[must_use]
    pub fn page(&self, index: usize) -> Pa {
        assert!(index * 512 < self.words.borrow().len(), "page {index} is outside the memory");
        Pa(self.base + index as u64 * PAGE_BYTES)
    }

    /// How many words have been stored so far.
    #[must_use]
    pub fn stores(&self) -> u64 {
        self.stores.get()
    }

    /// Whether the page holds only zeroes.
    #[must_use]
    pub fn is_zero(&self, page: Pa) -> bool {
        (0..512).all(|word| self.read_u64(Pa(page.0 + word * 8)) == 0)
    }

    /// Starts the journal: stores are not visible to walkers until [`ModelMemory::settle`].
    pub fn start_journal(&self) {
        self.has_journal.set(true);
    }

    /// Makes all stores visible: what a DSB does.
    pub fn settle(&self) {
        self.journal.borrow_mut().clear();
    }

    /// Whether all stores are visible to all walkers.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.journal.borrow().is_empty()
    }

    /// Calls `visit` with each value that a walker may see at an address; with none outside the memory.
    pub fn views(&self, at: Pa, mut visit: impl FnMut(u64)) {
        let Some(word) = self.word(at) else { return };
        let now = self.words.borrow()[word];
        visit(now);
        if let Some(older) = self.journal.borrow().get(&at.0) {
            older.iter().for_each(|value| visit(*value));
        }
    }

    fn word(&self, at: Pa) -> Option<usize> {
        let offset = at.0.checked_sub(self.base)?;
        let word = (offset / 8) as usize;
        (word < self.words.borrow().len()).then_some(word)
    }
}

impl PhysMem for ModelMemory {
    fn read_u64(&self, at: Pa) -> u64 {
        assert!(at.is_aligned(8), "unaligned load at {at}");
        let word = self.word(at).unwrap_or_else(|| panic!("load outside the memory at {at}"));
        self.words.borrow()[word]
    }

    fn write_u64(&self, at: Pa, value: u64) {
        assert!(at.is_aligned(8), "unaligned store at {at}");
        let word = self.word(at).unwrap_or_else(|| panic!("store outside the memory at {at}"));
        let old = std::mem::replace(&mut self.words.borrow_mut()[word], value);
        self.stores.set(self.stores.get() + 1);
        if self.has_journal.get() && old != value {
            self.journal.borrow_mut().entry(at.0).or_default().push(old);
        }
    }

    fn zero(&self, at: Pa, pages: PageCount) {
        for word in 0..pages.0 * 512 {
            self.write_u64(Pa(at.0 + word * 8), 0);
        }
    }

    fn clean_invalidate(&self, at: Pa, bytes: u64) {
        assert!(self.word(at).is_some() && self.word(Pa(at.0 + bytes - 1)).is_some());
    }
}

/// A partition's source of table pages: counts them, refuses at a limit, and fails the test when a page
/// comes back that was not out.
#[derive(Debug)]
pub struct ModelTables {
    free: Vec<Pa>,
    out: BTreeSet<Pa>,
    limit: usize,
    refusal: NoTable,
}

impl ModelTables {
    /// Hands out the given pages.
    #[must_use]
    pub fn new(pages: impl IntoIterator<Item = Pa>) -> Self {
        let free = pages.into_iter().collect();
        Self { free, out: BTreeSet::new(), limit: usize::MAX, refusal: NoTable::NoMemory }
    }

    /// Refuses with [`NoTable::OverLimit`] above `limit` pages.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The pages that are out now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.out.len()
    }

    /// Whether the page is out now.
    #[must_use]
    pub fn is_out(&self, page: Pa) -> bool {
        self.out.contains(&page)
    }

    /// The refusal when there is no page at all.
    pub fn set_refusal(&mut self, refusal: NoTable) {
        self.refusal = refusal;
    }
}

impl TablePages for ModelTables {
    fn take(&mut self) -> Result<Pa, NoTable> {
        if self.out.len() >= self.limit {
            return Err(NoTable::OverLimit);
        }
        let page = self.free.pop().ok_or(self.refusal)?;
        assert!(self.out.insert(page), "{page} was handed out twice");
        Ok(page)
    }

    fn give(&mut self, page: Pa) {
        assert!(self.out.remove(&page), "{page} came back, but was not out");
        self.free.push(page);
    }
}
