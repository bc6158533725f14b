//! The window region in the guest's own addresses: the one place where numbers become memory.
#![expect(unsafe_code, reason = "makes atomic words of what the hypervisor says it has mapped")]

use core::sync::atomic::AtomicU64;

use shikiri_abi::{Ipa, PageCount, WINDOWS};

use shikiri_channel::Windows;

use crate::end_of;

/// Where the guest's stage 1 shows the window region, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    base: u64,
    bytes: u64,
}

impl View {
    /// The window region's first `bytes` bytes are seen from `base` on, without the channels' library.
    ///
    /// # Safety
    /// These addresses are mapped there in stage 1 as Normal memory, read-write, for as long as the guest runs; nothing else of
    /// Rust's lies there.
    #[must_use]
    pub const unsafe fn new(base: u64, bytes: u64) -> Self {
        Self { base, bytes }
    }

    /// What the channels' library shows.
    #[must_use]
    pub const fn of(windows: Windows) -> Self {
        let (base, bytes) = windows.seen();
        Self { base, bytes }
    }

    /// Whether an area is seen.
    pub(crate) fn holds(self, address: Ipa, pages: PageCount) -> bool {
        let end = end_of(address, pages).and_then(|end| end.checked_sub(WINDOWS.0));
        address.0 >= WINDOWS.0 && end.is_some_and(|end| end <= self.bytes)
    }

    /// The words of an area that the partition has; none if it is not seen.
    pub(crate) fn words(self, address: Ipa, pages: PageCount) -> Option<Words> {
        let offset = address.0.checked_sub(WINDOWS.0)?;
        let base = usize::try_from(self.base.checked_add(offset)?).ok()?;
        let count = usize::try_from(pages.0.checked_mul(WORDS_OF_A_PAGE)?).ok()?;
        self.holds(address, pages).then_some(Words { base, count })
    }
}

const WORDS_OF_A_PAGE: u64 = 512;

/// The words of an area that this partition has attached, or offers. They go before it is detached.
#[derive(Debug)]
pub(crate) struct Words {
    base: usize,
    count: usize,
}

impl Words {
    /// The words.
    pub(crate) fn get(&self) -> &[AtomicU64] {
        let first = core::ptr::with_exposed_provenance(self.base);
        // SAFETY: the area is mapped there as the view promises; it is a multiple of pages, aligned, and whoever else writes does so
        // behind atomics, or is another partition. If it is taken back meanwhile, an access is an abort.
        unsafe { core::slice::from_raw_parts(first, self.count) }
    }
}
