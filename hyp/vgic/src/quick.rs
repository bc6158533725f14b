//! What a vCPU's short ways need, outside of the partition's lock: a timer tick and an SGI take no lock.
//!
//! An interrupt that is placed as pending, with nothing else about it, is *armed*: as long as nobody touches
//! it (any change to it, a fold, a change of GICD_CTLR), memory is the same after the guest has handled it as
//! before, and its list register keeps all but the state. To make it pending again is then one write of the
//! same image, and nothing to write down.
//!
//! Only the core that has the vCPU loaded arms, and only that core uses what is armed. Other cores disarm,
//! under the lock, and kick. If the owner makes the interrupt pending in between, it has come before the
//! change: it is in a list register, which the owner folds when it serves the kick.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::{ListRegisters, PhysIrq};
use shikiri_sync::Pending;

use crate::bits::{Positions, bit, bit_of, low_u8, low_u16, low_u32};
use crate::interface::MAX_SLOTS;
use crate::lr::{self, Ending, PENDING};
use crate::mmio::{Frame, WORD};
use crate::quick_spi::QuickSpis;
use crate::set::VcpuSet;
use crate::sgi::GICD_SGIR;
use crate::vgic::{Here, SGIS};

/// Mail: another core needs more of this vCPU than to make SGIs pending. From bit 32 on there is one for each list
/// register whose SPI was raised ([`QuickSpis`]).
const FOLD: u64 = 1 << 16;
/// Mail: the SPIs that were raised.
const EVENTS: u64 = 0xffff_ffff << 32;

/// A vCPU's armed SGIs and PPIs, and the mail that other cores leave for it: in the caller's storage, beside the
/// partition's lock.
#[derive(Default)]
pub struct Quick {
    /// SGIs that were sent, a bit each, and [`FOLD`].
    mail: Pending,
    /// GICv2: who sent them, a bit for each sender.
    senders: [AtomicU8; 16],
    /// Resident as an edge that is pending (of GICv2's SGIs: from one sender) and nothing else, and untouched since.
    armed: AtomicU32,
    /// The same for an interrupt behind which a physical one is held active.
    armed_linked: AtomicU32,
    /// The list register of each resident SGI and PPI.
    home: [AtomicU8; 32],
    /// What was last written to each list register.
    images: [AtomicU64; MAX_SLOTS],
}

impl Quick {
    /// Nothing armed, no mail.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an armed SGI or PPI of the vCPU that is loaded here pending again, as an edge. `false`: nothing was
    /// done, the general way ([`crate::Vgic::raise`]) must follow.
    #[inline]
    #[must_use = "an interrupt that is not armed must be raised in general"]
    pub fn raise(&self, hw: &impl ListRegisters, intid: IntId) -> bool {
        self.armed.load(Ordering::Relaxed) & bit_of(intid) != 0 && self.place_again(hw, intid)
    }

    /// Makes an armed PPI of the vCPU that is loaded here pending again, because its physical interrupt was taken.
    /// `false`: nothing was done, the general way ([`crate::Vgic::fire`]) must follow.
    #[inline]
    #[must_use = "an interrupt that is not armed must be fired in general"]
    pub fn fire(&self, hw: &impl ListRegisters, intid: IntId) -> bool {
        self.armed_linked.load(Ordering::Relaxed) & bit_of(intid) != 0
            && self.place_again(hw, intid)
    }

    /// GICv2: makes an armed SGI of the vCPU that is loaded here pending again, from one sender. `false`: nothing was
    /// done.
    #[inline]
    fn raise_from(&self, hw: &impl ListRegisters, sgi: IntId, sender: u8) -> bool {
        if self.armed.load(Ordering::Relaxed) & bit_of(sgi) == 0 {
            return false;
        }
        let home = self.home(sgi.0);
        self.set_image(home, lr::with_sender_v2(self.image(home), sender));
        self.place_again(hw, sgi)
    }

    /// Writes the image again, if the guest has finished with the list register.
    #[inline]
    fn place_again(&self, hw: &impl ListRegisters, intid: IntId) -> bool {
        self.place_image(hw, self.home(intid.0))
    }

    /// Writes a list register's image again, if the guest has finished with it.
    #[inline]
    pub(crate) fn place_image(&self, hw: &impl ListRegisters, slot: u8) -> bool {
        if hw.empty() & bit(u32::from(slot)) == 0 {
            return false;
        }
        hw.write(slot, self.image(slot));
        true
    }

    /// GICv2: makes a posted SGI pending, if it is armed. `false`: nothing was done.
    #[inline]
    fn raise_posted_v2(&self, hw: &impl ListRegisters, sgi: IntId) -> bool {
        let senders = self.take_senders(sgi.0);
        if senders.is_power_of_two() && self.raise_from(hw, sgi, low_u8(senders.trailing_zeros())) {
            return true;
        }
        if let Some(place) = self.senders.get(usize::from(sgi.0 & 15)) {
            place.fetch_or(senders, Ordering::Relaxed);
        }
        false
    }

    /// GICv2's maintenance interrupt: ends the armed physical interrupts whose handlers are done. `false`: that was
    /// not all, the general way ([`crate::Vgic::sync`]) must follow.
    #[inline]
    #[must_use = "what is left must be served in general"]
    pub fn end_linked<H: ListRegisters + PhysIrq>(&self, hw: &H) -> bool {
        for position in Positions(self.armed_linked.load(Ordering::Relaxed)) {
            let home = self.home(u16::from(low_u8(position)));
            if lr::is_ended_v2(hw.read(home)) {
                hw.write(home, 0);
                hw.deactivate(IntId(u16::from(low_u8(position))));
            }
        }
        !hw.is_maintenance_due()
    }

    /// Serves the SGIs in the mail of the vCPU that is loaded here: after a kick, on GICv3. `false`: there is more, and
    /// [`Quick::sync_spis`] must follow.
    ///
    /// No call on this way: it costs those that come here as often, a timer's tick among them, the registers to save.
    /// An SGI stays in the mail until it is in its list register: another vCPU that reads GICR_ISPENDR0 meanwhile finds it
    /// in one of the two, and one that writes GICR_ICPENDR0 takes it out of both.
    #[inline(always)]
    #[must_use = "what is left must be served in general"]
    pub fn sync_v3(&self, hw: &impl ListRegisters) -> bool {
        let mut placed = low_u32(self.mail.peek()) & self.armed.load(Ordering::Relaxed) & SGIS;
        for position in Positions(placed) {
            if !self.place_again(hw, IntId(u16::from(low_u8(position)))) {
                // Those behind it are left too.
                placed &= bit(position).wrapping_sub(1);
                break;
            }
        }
        self.mail.withdraw(placed.into()) & !u64::from(placed) == 0
    }

    /// The same on GICv2, where a vCPU's SGIs are its own to see, and have senders, which are taken after the mail.
    #[inline(always)]
    #[must_use = "what is left must be served in general"]
    pub fn sync_v2(&self, hw: &impl ListRegisters) -> bool {
        let mail = self.mail.take();
        let mut left = mail & !u64::from(SGIS);
        for position in Positions(low_u32(mail) & SGIS) {
            if !self.raise_posted_v2(hw, IntId(u16::from(low_u8(position)))) {
                left |= u64::from(bit(position));
            }
        }
        self.put_back(left)
    }

    /// Serves the events in the mail of the vCPU that is loaded here, whose this is. `false`: there is more, and the general
    /// way ([`crate::Vgic::sync`]) must follow.
    #[inline]
    #[must_use = "what is left must be served in general"]
    pub fn sync_spis(&self, hw: &impl ListRegisters, vcpu: VcpuIndex, spis: &QuickSpis) -> bool {
        // The rest stays where others look for it. These bits go before the marks: who marks an SPI again posts again.
        let events = self.mail.peek() & EVENTS;
        let others = self.mail.withdraw(events) & !events;
        let left = self.raise_spis(hw, (vcpu, spis), events);
        self.put_back(left) && others == 0
    }

    /// Puts back what could not be served; whether there was nothing.
    #[inline(always)]
    fn put_back(&self, left: u64) -> bool {
        if left != 0 {
            // Its own core puts it back: nobody else has to be told.
            let _is_first = self.mail.raise(left);
        }
        left == 0
    }

    /// Leaves an SGI for the core that has this vCPU, or will have it next. True if that core, or whoever lets the
    /// vCPU sleep, must be told: the mail box was empty.
    #[inline]
    #[must_use = "a vCPU that is not kicked may sleep on its mail"]
    pub fn post(&self, sgi: IntId) -> bool {
        self.mail.raise(1_u64.wrapping_shl(u32::from(sgi.0 & 15)))
    }

    /// The same on GICv2, where each SGI is pending once per sender.
    #[inline]
    #[must_use = "a vCPU that is not kicked may sleep on its mail"]
    pub fn post_from(&self, sgi: IntId, sender: VcpuIndex) -> bool {
        if let Some(senders) = self.senders.get(usize::from(sgi.0 & 15)) {
            senders.fetch_or(low_u8(bit(u32::from(sender.0 & 7))), Ordering::Relaxed);
        }
        self.post(sgi)
    }

    /// The same for an SPI in a list register of the vCPU's.
    #[inline]
    pub(crate) fn post_spi(&self, slot: u8) -> bool {
        self.mail.raise(1 << (32 | (slot & 15)))
    }

    /// Whether there is mail: a vCPU that has some has a reason to look at it before it sleeps.
    #[inline]
    #[must_use]
    pub fn has_mail(&self) -> bool {
        !self.mail.is_empty()
    }

    /// Asks the core that has this vCPU for a fold. Under the lock.
    #[inline]
    pub(crate) fn ask_for_fold(&self) {
        // Whoever asks kicks in any case.
        let _is_first = self.mail.raise(FOLD);
    }

    /// The posted SGIs.
    #[inline]
    pub(crate) fn posted(&self) -> u32 {
        low_u32(self.mail.peek()) & SGIS
    }

    /// GICv2: the senders of a posted SGI.
    pub(crate) fn posted_by(&self, sgi: u16) -> u8 {
        self.senders.get(usize::from(sgi & 15)).map_or(0, |senders| senders.load(Ordering::Relaxed))
    }

    /// Forgets posted SGIs: the guest has cleared their pending state. Under the lock.
    pub(crate) fn forget(&self, sgis: u32) {
        let _before = self.mail.withdraw(u64::from(sgis & SGIS));
    }

    /// Takes the posted SGIs.
    #[inline]
    pub(crate) fn take_posted(&self) -> u32 {
        low_u32(self.mail.take()) & SGIS
    }

    /// Takes the senders of a posted SGI.
    #[inline]
    pub(crate) fn take_senders(&self, sgi: u16) -> u8 {
        self.senders
            .get(usize::from(sgi & 15))
            .map_or(0, |senders| senders.swap(0, Ordering::Relaxed))
    }

    /// Notes the list register of an SGI or PPI.
    #[inline]
    pub(crate) fn set_home(&self, intid: u16, slot: u8) {
        if let Some(home) = self.home.get(usize::from(intid & 31)) {
            home.store(slot, Ordering::Relaxed);
        }
    }

    #[inline]
    fn home(&self, intid: u16) -> u8 {
        self.home.get(usize::from(intid & 31)).map_or(0, |home| home.load(Ordering::Relaxed))
    }

    /// Notes what a list register was given.
    #[inline]
    pub(crate) fn set_image(&self, slot: u8, image: u64) {
        if let Some(place) = self.images.get(usize::from(slot & 15)) {
            place.store(image, Ordering::Relaxed);
        }
    }

    /// What a list register was given.
    #[inline]
    pub(crate) fn image(&self, slot: u8) -> u64 {
        self.images.get(usize::from(slot & 15)).map_or(0, |image| image.load(Ordering::Relaxed))
    }

    /// The INTID of what a list register was given: bits 9 to 0 with both versions.
    #[inline]
    pub(crate) fn intid_in(&self, slot: u8) -> IntId {
        IntId(low_u16(low_u32(self.image(slot)) & 0x3ff))
    }

    /// Notes how an interrupt was placed. On the core that has the vCPU.
    #[inline]
    pub(crate) fn arm(&self, bit: u32, how: Armed) {
        match how {
            Armed::No => {}
            Armed::Edge => drop(self.armed.fetch_or(bit, Ordering::Relaxed)),
            Armed::Linked => drop(self.armed_linked.fetch_or(bit, Ordering::Relaxed)),
        }
    }

    /// Makes memory and the general ways count again. Under the lock.
    #[inline]
    pub(crate) fn disarm(&self, mask: u32) {
        self.armed.fetch_and(!mask, Ordering::Relaxed);
        self.armed_linked.fetch_and(!mask, Ordering::Relaxed);
    }

    /// As after power-on. The vCPU is loaded nowhere.
    pub(crate) fn clear(&self) {
        self.disarm(u32::MAX);
        let _mail = self.mail.take();
        for senders in &self.senders {
            senders.store(0, Ordering::Relaxed);
        }
    }
}

/// Whether, and as what, an interrupt is armed once it is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Armed {
    /// More is to be done at its end than to forget it.
    No,
    /// As an edge.
    Edge,
    /// As one behind which a physical interrupt is held active.
    Linked,
}

impl Armed {
    /// How an interrupt that is placed so is armed.
    #[inline]
    pub(crate) const fn from_placing(state: u8, ending: Ending) -> Self {
        if state != PENDING {
            return Self::No;
        }
        match ending {
            Ending::Silent => Self::Edge,
            Ending::Physical(_) | Ending::ReportedPhysical => Self::Linked,
            Ending::Reported => Self::No,
        }
    }
}

/// What a short way of sending an SGI leaves to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Sent {
    /// Who must be kicked: those that `ring` did not reach.
    pub kick: VcpuSet,
    /// An SGI for the sender itself, which must be raised in general ([`crate::Vgic::raise`]).
    pub own: Option<IntId>,
}

/// A write to ICC_SGI1R_EL1 by the vCPU that is loaded here, without the partition's lock (IHI 0069, 12.2.38). With
/// one security state it reaches SGIs of both groups (8.1.10), so that no target's state has to be looked at.
///
/// `ring` is asked for each vCPU that has to be told of its mail, and says whether it could be.
#[inline(always)]
pub fn send_sgi1r<H: ListRegisters>(
    quicks: &[Quick],
    here: Here<'_, H>,
    value: u64,
    mut ring: impl FnMut(VcpuIndex) -> bool,
) -> Sent {
    let intid = crate::sgi::intid(value);
    let mut sent = Sent { kick: VcpuSet::EMPTY, own: None };
    let Some(sender) = here.vcpu else { return sent };
    for target in crate::sgi::targets(value, quicks.len(), sender) {
        // Those that follow do not exist either.
        let Some(quick) = quicks.get(usize::from(target.0)) else { break };
        if target == sender {
            sent.own = (!quick.raise(here.hw, intid)).then_some(intid);
        } else if quick.post(intid) && !ring(target) {
            sent.kick = sent.kick.union(VcpuSet::one(target));
        }
    }
    sent
}

/// GICv2: a store that needs no lock, by the vCPU that is loaded here: a word to GICD_SGIR (IHI 0048, 4.3.15).
/// Answers who must be kicked: those that `ring` did not reach ([`send_sgi1r`]). `None`: nothing was done, the
/// general way ([`crate::Vgic::mmio`]) must follow.
#[inline(always)]
pub fn write_without_lock<H: ListRegisters>(
    quicks: &[Quick],
    here: Here<'_, H>,
    frame: Frame,
    offset: u32,
    size_log2: u8,
    value: u64,
    mut ring: impl FnMut(VcpuIndex) -> bool,
) -> Option<VcpuSet> {
    let (Frame::Distributor, GICD_SGIR, WORD) = (frame, offset, size_log2) else { return None };
    let sender = VcpuIndex(here.vcpu?.0 & 7);
    let value = low_u32(value);
    let targets = crate::sgi::targets_v2(value, quicks.len(), sender);
    let sgi = IntId(low_u16(value & 15));
    if targets.contains(sender)
        && !quicks.get(usize::from(sender.0))?.raise_from(here.hw, sgi, sender.0)
    {
        return None;
    }
    let mut kick = VcpuSet::EMPTY;
    for target in targets.without(VcpuSet::one(sender)) {
        // Those that follow do not exist either.
        let Some(quick) = quicks.get(usize::from(target.0)) else { break };
        if quick.post_from(sgi, sender) && !ring(target) {
            kick = kick.union(VcpuSet::one(target));
        }
    }
    Some(kick)
}

#[cfg(all(test, loom))]
mod interleavings {
    use loom::sync::Arc;
    use loom::thread;
    use shikiri_abi::IntId;
    use shikiri_arch::hw::{ActivePriorities, ListRegisters};

    use super::{Armed, Quick};

    /// List registers that are all empty, and keep nothing.
    struct Empty;

    impl ListRegisters for Empty {
        fn count(&self) -> u8 {
            4
        }
        fn empty(&self) -> u32 {
            15
        }
        fn synchronize(&self) {}
        fn read(&self, _index: u8) -> u64 {
            0
        }
        fn write(&self, _index: u8, _value: u64) {}
        fn control(&self) -> u32 {
            0
        }
        fn set_control(&self, _value: u32) {}
        fn is_maintenance_due(&self) -> bool {
            false
        }
        fn vmcr(&self) -> u32 {
            0
        }
        fn set_vmcr(&self, _value: u32) {}
        fn active_priorities(&self) -> ActivePriorities {
            ActivePriorities::NONE
        }
        fn set_active_priorities(&self, _value: &ActivePriorities) {}
    }

    const SGI: IntId = IntId(1);
    const OTHER: IntId = IntId(2);

    fn with_mail() -> Arc<Quick> {
        let quick = Arc::new(Quick::new());
        assert!(quick.post(SGI));
        quick
    }

    /// What the owner cannot place in a short way is in the mail all the while, and gone if it was taken back.
    #[test]
    fn an_sgi_that_stays_in_the_mail_is_seen_there_and_can_be_taken_back() {
        loom::model(|| {
            let quick = with_mail();
            let owner = Arc::clone(&quick);
            let owner = thread::spawn(move || owner.sync_v3(&Empty));
            assert_eq!(quick.posted(), 2, "it is pending, and nowhere");
            quick.forget(2);
            owner.join().unwrap();
            assert_eq!(quick.posted(), 0, "it came back");
        });
    }

    /// What is posted while the owner serves its mail is served, or left to be served, or kicked for.
    #[test]
    fn an_sgi_that_comes_meanwhile_is_not_slept_on() {
        for is_armed in [false, true] {
            loom::model(move || {
                let quick = with_mail();
                quick.arm(2, Armed::Edge);
                if is_armed {
                    quick.arm(4, Armed::Edge);
                }
                let sender = Arc::clone(&quick);
                let sender = thread::spawn(move || sender.post(OTHER));
                let is_all = quick.sync_v3(&Empty);
                let is_kicked = sender.join().unwrap();
                assert!(quick.posted() == 0 || !is_all || is_kicked, "nobody looks");
            });
        }
    }
}

/// What fits into a cache line or three: it is one for each vCPU, charged to its partition.
const _: () = assert!(size_of::<Quick>() <= 256);
