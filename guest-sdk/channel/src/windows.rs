//! The window region in the guest's own addresses: the one place where numbers become memory.
#![expect(unsafe_code, reason = "makes slices of what the hypervisor says it has mapped")]

use core::sync::atomic::AtomicU64;

use shikiri_abi::{Ipa, PAGE_BYTES, PageCount, WINDOWS};
use shikiri_arrivals::View;
use shikiri_rt::mmu::{self, Access};
use shikiri_rt::platform::platform;
use shikiri_rt::{Lock, irq};

use crate::executor;
use crate::table;

/// Where it is seen, and how much of it: all slots of 4 KiB and 2 MiB, and the first 126 of 1 GiB.
const VIEW: View = View { base: 0x60_0000_0000, bytes: 128 << 30 };

/// Words of a page.
const WORDS: usize = 512;

static IS_MAPPED: Lock<bool> = Lock::new(false);

/// Proof that the window region is mapped.
#[derive(Clone, Copy, Debug)]
pub struct Windows(());

/// Why the window region is not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWindows {
    /// There is no memory for a translation table, or no room for a hook to interrupts.
    NoMemory,
    /// The partition's RAM lies where the region would be seen (above 384 GiB).
    Occupied,
}

impl Windows {
    /// Maps the window region, read-write and not executable. Again, it only answers. For the first time it is to be called before
    /// other vCPUs use addresses above 384 GiB, which only a device there could be the reason for.
    ///
    /// # Errors
    /// See [`NoWindows`].
    pub fn map() -> Result<Self, NoWindows> {
        let mut is_mapped = IS_MAPPED.lock();
        if *is_mapped {
            return Ok(Self(()));
        }
        let ram_end = platform().ram_base.saturating_add(platform().ram_bytes);
        if ram_end > VIEW.base {
            return Err(NoWindows::Occupied);
        }
        // SAFETY: no RAM lies in the range, hence nothing of Rust's and no stack.
        let mapped = unsafe { mmu::map(VIEW.base, WINDOWS.0, VIEW.bytes, Access::Data) };
        mapped.map_err(|mmu::NoMemory| NoWindows::NoMemory)?;
        if !take_interrupts() {
            return Err(NoWindows::NoMemory);
        }
        *is_mapped = true;
        Ok(Self(()))
    }

    /// Where the region's first bytes are seen, and how many of them, for libraries that have other things there.
    #[must_use]
    pub const fn seen(self) -> (u64, u64) {
        (VIEW.base, VIEW.bytes)
    }

    /// An area's memory; empty for a place that is not seen.
    #[inline]
    pub(crate) fn memory(self, address: Ipa, pages: PageCount) -> Memory {
        self.locate(address, pages).unwrap_or(Memory { base: 0, pages: 0 })
    }

    #[inline]
    fn locate(self, address: Ipa, pages: PageCount) -> Option<Memory> {
        let base = usize::try_from(VIEW.locate(address, pages)?).ok()?;
        let pages = u32::try_from(pages.0).ok()?;
        Some(Memory { base, pages })
    }

    /// A port's page, as words; none for a place that is not seen.
    pub(crate) fn page(self, address: Ipa) -> Option<Page> {
        self.locate(address, PageCount(1)).map(Page)
    }
}

/// Has the run-time show this library its interrupts; false if there is no room for a hook.
pub(crate) fn take_interrupts() -> bool {
    irq::add_hook(on_interrupt)
}

/// The interrupts that are this library's.
fn on_interrupt(intid: u32) -> bool {
    table::on_interrupt(intid) || executor::on_interrupt(intid)
}

/// The memory of an area that this partition has. There is one for each area, and it goes with the area.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Where it begins; 0 if it is empty.
    base: usize,
    pages: u32,
}

impl Memory {
    /// Where it begins.
    pub(crate) const fn address(&self) -> usize {
        self.base
    }

    /// How large it is.
    pub(crate) fn pages(&self) -> PageCount {
        PageCount(u64::from(self.pages))
    }

    /// It has no more pages than these.
    pub(crate) fn shrink(&mut self, pages: PageCount) {
        self.pages = u32::try_from(pages.0).map_or(self.pages, |pages| pages.min(self.pages));
    }

    /// How large it is in bytes: it is seen, so that they fit.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        let bytes = u64::from(self.pages).saturating_mul(PAGE_BYTES);
        usize::try_from(bytes).unwrap_or(0)
    }

    /// Its first bytes, at most all.
    #[inline]
    pub(crate) fn bytes_of(&self, length: usize) -> &[u8] {
        let first = core::ptr::with_exposed_provenance(self.base);
        if self.base == 0 {
            return &[];
        }
        // SAFETY: the area is mapped there, cleared before it came, and this partition's alone as long as `self` lives.
        unsafe { core::slice::from_raw_parts(first, length.min(self.bytes())) }
    }

    /// Its first bytes, at most all.
    #[inline]
    pub(crate) fn bytes_of_mut(&mut self, length: usize) -> &mut [u8] {
        let first = core::ptr::with_exposed_provenance_mut(self.base);
        if self.base == 0 {
            return &mut [];
        }
        // SAFETY: as for `bytes_of`; `self` is borrowed exclusively, and there is one for each area.
        unsafe { core::slice::from_raw_parts_mut(first, length.min(self.bytes())) }
    }
}

/// A page of a message port, which the hypervisor reads or writes at any time, and goes before the port is closed; or the bitmap of
/// pending ports, which stays.
#[derive(Debug)]
pub(crate) struct Page(Memory);

impl Page {
    /// Its words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let first = core::ptr::with_exposed_provenance::<AtomicU64>(self.0.base);
        // SAFETY: the page is mapped there as long as its port exists, and both sides make single-copy atomic accesses only;
        // the arrivals page and the bitmap, which are read-only, are only loaded from, by loads of 64 bits.
        unsafe { core::slice::from_raw_parts(first, WORDS) }
    }
}
