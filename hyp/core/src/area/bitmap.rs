//! The bitmap of pending ports, where its partition can read it: which words to take is known without a call for each.
//!
//! The page is one of the party's, which is charged for when the party is made: EL2 writes it as before, through its own mapping, and
//! reads it as before, since the partition cannot write it. Shown, it takes a place of 4 KiB in the window region, as a page
//! of a message port does. It is hidden before the party's pages go back.

use shikiri_abi::{AreaClass, Ipa, Pa, Resource, WindowSlot};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;
use shikiri_stage2::{Attributes, Linked};

use super::{Areas, Estate, Machine, Parts};
use crate::account::Charge;
use crate::partition::Holdings;
use crate::party::Refusal;

/// Where the bitmap's first page is: its frame, once the party has it, and if the partition wants to see it, what it hangs at, with the
/// charge for the place.
#[derive(Debug, Default)]
pub(super) struct Bitmap {
    frame: Option<Pa>,
    shown: Option<(Linked, Charge)>,
}

impl Bitmap {
    /// The frame, if it hangs at this slot; no partition may write it.
    pub(super) fn at(&self, slot: WindowSlot) -> Option<(Pa, bool)> {
        let (linked, _) = self.shown.as_ref()?;
        Some((self.frame?, false)).filter(|_| linked.slot() == slot)
    }
}

impl Areas {
    /// Whether the partition can read its bitmap.
    pub(super) const fn shows_bitmap(&self) -> bool {
        self.bitmap.shown.is_some()
    }
}

impl Holdings {
    /// Notes where the party's bitmap is: in a page that is cleared as a whole before it can be shown.
    pub(crate) const fn note_bitmap(&mut self, frame: Pa) {
        if let Some(areas) = self.areas.as_mut() {
            areas.bitmap.frame = Some(frame);
        }
    }
}

impl Estate<'_> {
    /// Shows the partition its bitmap; where. Again, it only answers.
    ///
    /// # Errors
    /// `NotSupported` if it has no areas; `OverLimit` of IPA space (of the account, or no slot is left). Nothing has changed then.
    pub fn show_bitmap<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, _): Machine<'_, '_, P, T, M>,
    ) -> Result<Ipa, Refusal> {
        let mut parts = self.holdings.area_parts()?;
        let Parts { account, areas, .. } = &mut parts;
        if let Some((linked, _)) = &areas.bitmap.shown {
            return Ok(linked.slot().ipa());
        }
        let frame = areas.bitmap.frame.ok_or(Refusal::NotSupported)?;
        areas.slots.check_free(AreaClass::Page, 1)?;
        let charge = account.charge(Resource::IpaSpace, 1)?;
        let linked = parts.show_page((mem, tlb), frame, Attributes::RAM_READ_ONLY);
        let at = linked.slot().ipa();
        parts.areas.bitmap.shown = Some((linked, charge));
        Ok(at)
    }

    /// Takes it out of the partition's sight again. No vCPU of it runs any more.
    pub(super) fn hide_bitmap<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        (mem, tlb, _): Machine<'_, '_, P, T, M>,
    ) {
        let Ok(mut parts) = self.holdings.area_parts() else { return };
        let Some((linked, charge)) = parts.areas.bitmap.shown.take() else { return };
        parts.hide_page((mem, tlb), linked);
        parts.account.refund(charge);
    }
}
