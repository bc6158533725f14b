//! Table pages, taken before a change and used by it.

use crate::NoTable;
use shikiri_abi::{Pa, PageCount};
use shikiri_arch::hw::PhysMem;

/// Where table pages come from and go to: a partition's account over the pool of frames.
pub trait TablePages {
    /// Takes one 4 KiB frame and charges it. Its content does not matter.
    ///
    /// # Errors
    /// Why there is none; nothing is charged then.
    fn take(&mut self) -> Result<Pa, NoTable>;

    /// Gives a frame back and refunds it. No core can walk it any more: the TLB sequence has completed.
    fn give(&mut self, page: Pa);
}

/// A chain of table pages outside any table: each page's first word holds the next one's address.
///
/// A link is a multiple of the page size, so its bit 0 is clear and a walker that still looks at the page
/// (freed pages are chained before the invalidation) sees an invalid descriptor.
#[derive(Debug)]
#[must_use]
pub(crate) struct Reserve {
    head: Pa,
    count: u32,
}

impl Reserve {
    /// Holds nothing.
    pub(crate) const EMPTY: Self = Self { head: Pa(0), count: 0 };

    /// Takes `count` pages and zeroes them; if one is missing, gives all back.
    #[inline(never)]
    pub(crate) fn take<M: PhysMem, P: TablePages>(
        mem: &M,
        pages: &mut P,
        count: u32,
    ) -> Result<Self, NoTable> {
        let mut reserve = Self::EMPTY;
        for _ in 0..count {
            match pages.take() {
                Ok(page) => {
                    mem.zero(page, PageCount(1));
                    reserve.push(mem, page);
                }
                Err(reason) => {
                    reserve.give_all(mem, pages);
                    return Err(reason);
                }
            }
        }
        Ok(reserve)
    }

    /// How many pages it holds.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Adds a page.
    pub(crate) fn push<M: PhysMem>(&mut self, mem: &M, page: Pa) {
        mem.write_u64(page, self.head.0);
        self.head = page;
        self.count = self.count.saturating_add(1);
    }

    /// Takes a page out; its first word is zero again. The check before counted the pages, so that there
    /// is one.
    pub(crate) fn pop<M: PhysMem>(&mut self, mem: &M) -> Pa {
        assert!(self.count > 0, "stage 2: a change needs more tables than its check counted");
        let page = self.head;
        self.head = Pa(mem.read_u64(page));
        mem.write_u64(page, 0);
        self.count = self.count.saturating_sub(1);
        page
    }

    /// Gives every page back.
    pub(crate) fn give_all<M: PhysMem, P: TablePages>(mut self, mem: &M, pages: &mut P) {
        while self.count > 0 {
            pages.give(self.pop(mem));
        }
    }
}
