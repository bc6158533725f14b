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

    /// Where the SPI is armed, at this moment.
    #[inline]
    fn place(&self) -> Option<(VcpuIndex, u8)> {
        let word = self.0.load(Ordering::Relaxed);
        (word & ARMED != 0).then(|| place(word))
    }

    /// Marks the SPI as posted: where it is armed, and whether it was marked already. `None` if it is not armed any more.
    #[inline]
    fn post(&self) -> Option<((VcpuIndex, u8), bool)> {
        let word = self.0.fetch_or(POSTED, Ordering::Release);
        (word & ARMED != 0).then(|| (place(word), word & POSTED != 0))
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
    let spi = spis.get(intid)?;
    let (vcpu, slot) = spi.place()?;
    if here.is(vcpu) {
        // Only this core disarms what is in its list registers and used here.
        let is_placed = quicks.get(usize::from(vcpu.0))?.place_image(here.hw, slot);
        return is_placed.then_some(Raised { was_pending: false, kick: VcpuSet::EMPTY });
    }
    // Who marked it first has left the mail, or will at once.
    let ((vcpu, slot), was_pending) = spi.post()?;
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

#[cfg(all(test, loom))]
mod interleavings {
    use loom::sync::{Arc, Mutex};
    use loom::thread;
    use shikiri_abi::VcpuIndex;
    use shikiri_sync::Pending;

    use super::QuickSpi;

    const HERE: VcpuIndex = VcpuIndex(1);
    const SLOT: u8 = 3;

    /// An SPI of vCPU 1, and where its events come to.
    struct Machine {
        spi: QuickSpi,
        mail: Pending,
        /// What the partition's lock is around: whether the SPI is pending in memory.
        pending: Mutex<bool>,
    }

    impl Machine {
        fn armed() -> Arc<Self> {
            let machine =
                Self { spi: QuickSpi::default(), mail: Pending::new(), pending: Mutex::new(false) };
            machine.spi.arm(HERE, SLOT);
            Arc::new(machine)
        }

        /// As `raise_without_lock`, and the general way behind it.
        fn send(&self) {
            match self.spi.place().and_then(|_| self.spi.post()) {
                Some((_, true)) => {}
                Some((_, false)) => drop(self.mail.raise(1 << SLOT)),
                None => *self.pending.lock().unwrap() = true,
            }
        }

        /// As `raise_spis`: whether the SPI was put into its list register.
        fn take_mail(&self) -> bool {
            self.mail.take() != 0 && self.spi.take_posted(HERE, SLOT)
        }

        /// As `disarm_spis`, and `arm_spi` if it is placed again.
        fn disarm(&self, and_arm: bool) {
            let mut pending = self.pending.lock().unwrap();
            *pending |= self.spi.disarm();
            if and_arm {
                self.spi.arm(HERE, SLOT);
            }
        }
    }

    /// A sender, the core that has the vCPU, and one that takes the SPI out of the short way: the event is in the list
    /// register, or in memory, or still in the mail.
    #[test]
    fn an_event_is_lost_by_no_disarming() {
        for and_arm in [false, true] {
            loom::model(move || {
                let machine = Machine::armed();
                let [sender, other] = [Arc::clone(&machine), Arc::clone(&machine)];
                let sender = thread::spawn(move || sender.send());
                let other = thread::spawn(move || other.disarm(and_arm));
                let mut is_placed = machine.take_mail();
                sender.join().unwrap();
                other.join().unwrap();
                is_placed |= machine.take_mail();
                let is_pending = *machine.pending.lock().unwrap();
                assert!(is_placed || is_pending, "an event is lost");
                assert!(!(is_placed && is_pending), "one event came twice");
            });
        }
    }

    /// Two senders: what was sent before the core has looked is there when it has.
    #[test]
    fn two_senders_leave_one_event() {
        loom::model(|| {
            let machine = Machine::armed();
            let senders = [(); 2].map(|()| {
                let machine = Arc::clone(&machine);
                thread::spawn(move || machine.send())
            });
            let early = machine.take_mail();
            for sender in senders {
                sender.join().unwrap();
            }
            let late = machine.take_mail();
            assert!(early || late, "an event is lost");
            assert!(!machine.take_mail(), "two events are three");
        });
    }
}

#[cfg(all(test, not(loom)))]
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
