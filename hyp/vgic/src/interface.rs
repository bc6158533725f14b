//! A vCPU's part: its SGIs and PPIs, what waits for its list registers, and what is in them.

use shikiri_arch::hw::ActivePriorities;

use crate::bank::Bank;
use crate::bits::{bit, low_u8};

/// The most list registers that are used.
pub(crate) const MAX_SLOTS: usize = 16;

/// What is in a list register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) intid: u16,
    /// It was placed as pending (also).
    pub(crate) was_pending: bool,
    /// A physical interrupt is held active for it until it is deactivated.
    pub(crate) is_linked: bool,
    /// The sender of an SGI, on GICv2.
    pub(crate) source: u8,
    /// The priority with which it was placed, and is acknowledged.
    pub(crate) priority: u8,
}

impl Slot {
    const NEW: Self =
        Self { intid: 0, was_pending: false, is_linked: false, source: 0, priority: 0 };
}

/// A read of another vCPU's state that waits for that vCPU's fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Which register: the word, and the redistributor's vCPU for word 0.
    pub(crate) word: u8,
    pub(crate) vcpu: u8,
    /// Folds later than this are good.
    pub(crate) since: u64,
}

/// One vCPU's redistributor and the state of its CPU interface while it is not loaded: about 600 bytes,
/// in the caller's storage.
#[derive(Debug)]
pub struct CpuInterface {
    pub(crate) private: Bank,
    /// What waits for a list register, a word of INTIDs each.
    pub(crate) waiting: [u32; 32],
    /// Which words of `waiting` are not zero.
    pub(crate) waiting_words: u32,
    /// Which list registers hold something that is not folded yet.
    pub(crate) used: u32,
    /// The list registers that exist on the core where it is loaded.
    pub(crate) all_slots: u32,
    /// HCR as last written.
    pub(crate) control: u32,
    pub(crate) slots: [Slot; MAX_SLOTS],
    pub(crate) is_loaded: bool,
    /// GICR_WAKER.ProcessorSleep is clear.
    pub(crate) is_awake: bool,
    /// PPIs whose physical interrupt its core must deactivate at the next fold.
    pub(crate) release: u32,
    /// The priorities (a bit for each of 32) of what was made inactive by a register while it was handled: its end of
    /// interrupt is still to come, and ends nothing.
    pub(crate) ended_early: u32,
    /// VMCR while it is not loaded.
    pub(crate) vmcr: u32,
    /// Active priorities while it is not loaded.
    pub(crate) priorities: ActivePriorities,
    /// When its list registers were last folded.
    pub(crate) synced_at: u64,
    pub(crate) request: Option<Request>,
    /// GICv2: the senders of each pending SGI.
    pub(crate) sources: [u8; 16],
    /// GICv2: the sender of each active SGI.
    pub(crate) active_source: [u8; 16],
}

impl CpuInterface {
    /// A vCPU's interface before [`crate::Vgic::configure`]; its bytes are all zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            private: Bank::NEW,
            waiting: [0; 32],
            waiting_words: 0,
            used: 0,
            all_slots: 0,
            control: 0,
            slots: [Slot::NEW; MAX_SLOTS],
            is_loaded: false,
            is_awake: false,
            release: 0,
            ended_early: 0,
            vmcr: 0,
            priorities: ActivePriorities::NONE,
            synced_at: 0,
            request: None,
            sources: [0; 16],
            active_source: [0; 16],
        }
    }

    /// Sets a word of the waiting set.
    #[inline]
    pub(crate) fn set_waiting(&mut self, word: u8, value: u32) {
        let word_bit = bit(u32::from(word));
        if let Some(place) = self.waiting.get_mut(usize::from(word)) {
            *place = value;
        }
        if value == 0 {
            self.waiting_words &= !word_bit;
        } else {
            self.waiting_words |= word_bit;
        }
    }

    /// A word of the waiting set.
    #[inline]
    pub(crate) fn waiting_in(&self, word: u8) -> u32 {
        self.waiting.get(usize::from(word)).copied().unwrap_or(0)
    }

    /// The lowest interrupt that waits, as word and bit position.
    #[inline]
    pub(crate) fn next_waiting(&self) -> Option<(u8, u32)> {
        if self.waiting_words == 0 {
            return None;
        }
        let word = low_u8(self.waiting_words.trailing_zeros());
        Some((word, self.waiting_in(word).trailing_zeros()))
    }
}

impl Default for CpuInterface {
    fn default() -> Self {
        Self::new()
    }
}
