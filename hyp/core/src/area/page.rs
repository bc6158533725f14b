//! Pages of the hypervisor's own that a partition sees in its window region: each takes a place of 4 KiB there.

use shikiri_abi::{AreaClass, PAGE_BYTES, Pa};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_stage2::{Attributes, Linked, Subtree};

use super::{Home, Parts};

impl Parts<'_> {
    /// Shows a page that was cleared, in a free place that was counted.
    #[inline(never)]
    pub(crate) fn show_page<P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb): (&P, &T),
        page: Pa,
        attributes: Attributes,
    ) -> Linked {
        let slot = self.areas.slots.take(AreaClass::Page, Home::PortPage);
        // A guest that reads around the caches must not find what the frame held before.
        mem.clean_invalidate(page, PAGE_BYTES);
        let page = Subtree::page(self.space.format(), page, attributes);
        self.space.link(mem, tlb, slot, page)
    }

    /// Hides it: when this returns no core reaches it there, and the place is free.
    #[inline(never)]
    pub(crate) fn hide_page<P: PhysMem, T: Tlb>(&mut self, (mem, tlb): (&P, &T), linked: Linked) {
        let slot = linked.slot();
        let page = self.space.unlink(mem, tlb, linked);
        // A leaf: its frame is in the row of whoever has it.
        assert!(page.tables() == 0, "a page has a table");
        self.areas.slots.give(slot);
    }
}
