//! What an event for an SPI needs, outside of the partition's lock (decision 0024).
//!
//! An SPI that stands in a list register as an edge that is pending and nothing else, untouched since, is *armed*
//! (see `quick`). Its word here then says where it is: the vCPU, and the list register. Whoever raises it from elsewhere marks
//! it as *posted* and leaves a bit for the list register in the vCPU's mail; the core that has the vCPU writes
//! the same image again. What is not armed goes the general way, under the lock.
//!
//! What is armed changes under the lock only, and in one word with the mark: whoever disarms an SPI takes the mark, and the event
//! with it, into memory. So the event of a sender that saw it armed is either in the mail's way or in memory.

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::ListRegisters;
use shikiri_sync::atomic::{AtomicU16, Ordering};

use crate::bits::{Positions, bit, high_u32, intid_at, low_u8};
use crate::distributor::SPI_WORDS;
use crate::quick::Quick;
use crate::set::VcpuSet;
use crate::vgic::{At, Here, Raised, Vgic, spi_index};

/// An event was raised that is not yet in the list register.
const POSTED: u16 = 1 << 15;
/// The SPI is in a list register and may be put there again.
const ARMED: u16 = 1 << 14;
/// Where the vCPU begins in the word; the list register is below.
const VCPU_SHIFT: u32 = 4;

/// A partition's SPIs beside the lock: in the caller's storage.
#[derive(Debug)]
pub struct QuickSpis([QuickSpi; SPIS]);

/// INTIDs 32 to 1023: four more than there are.
const SPIS: usize = SPI_WORDS * 32;

impl QuickSpis {
    /// None of them armed.
    #[must_use]
    pub fn new() -> Self {
        Self(core::array::from_fn(|_| QuickSpi::default()))
    }

    #[inline]
    fn get(&self, intid: IntId) -> Option<&QuickSpi> {
        self.0.get(spi_index(intid))
    }
}

impl Default for QuickSpis {
    fn default() -> Self {
        Self::new()
    }
}

/// An SPI beside the lock.
#[derive(Debug, Default)]
struct QuickSpi(AtomicU16);

impl QuickSpi {
    /// Notes where the SPI is. Under the lock, on the core that has the vCPU.
    fn arm(&self, vcpu: VcpuIndex, slot: u8) {
        let place = u16::from(vcpu.0 & 63) << VCPU_SHIFT | u16::from(slot & 15);
        // A mark that stands here is of a sender that did not see it armed, and goes the general way.
        self.0.store(ARMED | place, Ordering::Relaxed);
    }

    /// Forgets where the SPI is. Returns whether an event was posted to it there. Under the lock.
    fn disarm(&self) -> bool {
        self.0.load(Ordering::Relaxed) & ARMED != 0
            && self.0.swap(0, Ordering::Acquire) & POSTED != 0
    }

    /// Takes the mark, if the SPI is armed in this place. On the core that has the vCPU.
    fn take_posted(&self, vcpu: VcpuIndex, slot: u8) -> bool {
        let armed = ARMED | POSTED | u16::from(vcpu.0 & 63) << VCPU_SHIFT | u16::from(slot & 15);
        self.0.load(Ordering::Relaxed) == armed
            && self.0.fetch_and(!POSTED, Ordering::Acquire) == armed
    }
}

/// Where an armed SPI is.
const fn place(word: u16) -> (VcpuIndex, u8) {
    let [low, high] = (word & !(ARMED | POSTED)).to_le_bytes();
    (VcpuIndex(high << 4 | low >> 4), low & 15)
}

/// Raises an SPI as an edge if it is armed, without the partition's lock. `None`: [`Vgic::raise`] must follow.
#[inline]
pub fn raise_without_lock<H: ListRegisters>(
    quicks: &[Quick],
    spis: &QuickSpis,
    here: Here<'_, H>,
    intid: IntId,
) -> Option<Raised> {
    let spi = &spis.get(intid)?.0;
    let word = spi.load(Ordering::Relaxed);
    if word & ARMED == 0 {
        return None;
    }
    let (vcpu, slot) = place(word);
    if here.is(vcpu) {
        // Only this core disarms what is in its list registers and used here.
        let is_placed = quicks.get(usize::from(vcpu.0))?.place_image(here.hw, slot);
        return is_placed.then_some(Raised { was_pending: false, kick: VcpuSet::EMPTY });
    }
    let word = spi.fetch_or(POSTED, Ordering::Release);
    if word & ARMED == 0 {
        return None;
    }
    // Who marked it first has left the mail, or will at once.
    let was_pending = word & POSTED != 0;
    let (vcpu, slot) = place(word);
    let is_first = !was_pending && quicks.get(usize::from(vcpu.0))?.post_spi(slot);
    let kick = if is_first { VcpuSet::one(vcpu) } else { VcpuSet::EMPTY };
    Some(Raised { was_pending, kick })
}

impl Quick {
    /// Puts posted SPIs into their list registers: the bits of `mail` from 32 on. Returns those that could not be.
    #[inline]
    pub(crate) fn raise_spis(
        &self,
        hw: &impl ListRegisters,
        (vcpu, spis): (VcpuIndex, &QuickSpis),
        mail: u64,
    ) -> u64 {
        let mut left = 0;
        for position in Positions(high_u32(mail)) {
            let slot = low_u8(position);
            if hw.empty() & bit(position) == 0 {
                left |= u64::from(bit(position)) << 32;
                continue;
            }
            // Mail for what was disarmed since is old: who disarmed it has taken the event into memory.
            let spi = spis.get(self.intid_in(slot));
            if spi.is_some_and(|spi| spi.take_posted(vcpu, slot)) {
                hw.write(slot, self.image(slot));
            }
        }
        left
    }
}

impl Vgic<'_> {
    /// Lets others raise an SPI that has just been armed in a list register.
    #[inline]
    pub(crate) fn arm_spi(&self, vcpu: VcpuIndex, slot: u8, intid: IntId) {
        if let Some(spi) = self.quick_spis.get(intid) {
            spi.arm(vcpu, slot);
        }
    }

    /// Takes back that others may raise these SPIs. What they have raised is pending from here on.
    #[inline(never)]
    pub(crate) fn disarm_spis(&mut self, at: At, armed: u32) {
        for position in Positions(armed) {
            let spi = self.quick_spis.get(intid_at(at.word(), position));
            if spi.is_some_and(QuickSpi::disarm)
                && let Some(bank) = self.bank_mut(at)
            {
                bank.latch_or_leave(bit(position));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{POSTED, QuickSpi, place};
    use shikiri_abi::VcpuIndex;
    use shikiri_sync::atomic::Ordering;

    #[test]
    fn an_spi_tells_where_it_is_armed() {
        for (vcpu, slot) in [(0, 0), (63, 15), (17, 3)] {
            let spi = QuickSpi::default();
            spi.arm(VcpuIndex(vcpu), slot);
            assert_eq!(place(spi.0.load(Ordering::Relaxed)), (VcpuIndex(vcpu), slot));
        }
    }

    #[test]
    fn a_mark_is_taken_once_and_only_where_the_spi_is_armed() {
        let spi = QuickSpi::default();
        spi.arm(VcpuIndex(2), 3);
        assert!(!spi.take_posted(VcpuIndex(2), 3));
        spi.0.fetch_or(POSTED, Ordering::Relaxed);
        assert!(!spi.take_posted(VcpuIndex(2), 1) && !spi.take_posted(VcpuIndex(1), 3));
        assert!(spi.take_posted(VcpuIndex(2), 3) && !spi.take_posted(VcpuIndex(2), 3));
        spi.0.fetch_or(POSTED, Ordering::Relaxed);
        assert!(spi.disarm() && !spi.disarm());
        // The mark of a sender that has not seen it armed is that sender's to take.
        spi.0.fetch_or(POSTED, Ordering::Relaxed);
        assert!(!spi.disarm());
    }
}
