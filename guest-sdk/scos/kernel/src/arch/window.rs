//! The window region, where the hypervisor maps areas and the pages of message ports: seen by the kernel, never executable.
#![expect(unsafe_code, reason = "makes words of pages that the hypervisor says it has mapped")]

use core::sync::atomic::AtomicU64;

use shikiri_abi::{Ipa, PAGE_BYTES, PageCount, WINDOWS};
use shikiri_arrivals::View;
use shikiri_hvc::message;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::Handle;

use super::KERNEL_BASE;

/// Where it is seen: all slots of 4 KiB and 2 MiB, and the first 126 of 1 GiB. The memory is below it: the partition has less than 384 GiB.
const VIEW: View = View { base: KERNEL_BASE + 0x60_0000_0000, bytes: 128 << 30 };

/// Words of a page.
const WORDS: usize = 512;

/// What the kernel's root table has for it: places of 1 GiB, and the address of each.
pub(super) fn blocks() -> impl Iterator<Item = (u64, u64)> {
    let first = (VIEW.base - KERNEL_BASE) >> 30;
    (0..VIEW.bytes >> 30).map(move |number| (first + number, WINDOWS.0 + (number << 30)))
}

/// A page of a message port, which the hypervisor reads or writes at any time. It goes before the port is closed.
#[derive(Debug)]
pub(crate) struct Page(usize);

impl Page {
    /// The page at an address of the region; none outside of what is seen.
    pub(crate) fn at(address: Ipa) -> Option<Self> {
        let address = VIEW.locate(address, PageCount(1))?;
        usize::try_from(address).ok().map(Self)
    }

    /// Its words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let first = core::ptr::with_exposed_provenance::<AtomicU64>(self.0);
        // SAFETY: the page is mapped there as long as its port exists, and both sides make single-copy atomic accesses only; the
        // arrivals page, which is read-only, is only loaded from.
        unsafe { core::slice::from_raw_parts(first, WORDS) }
    }
}

/// Where so many bytes at an address of the region are seen; they lie in one slot's pages.
fn seen(address: u64, bytes: usize) -> Option<usize> {
    let (page, offset) = (address & !(PAGE_BYTES - 1), address & (PAGE_BYTES - 1));
    let bytes = offset.checked_add(u64::try_from(bytes).ok()?)?;
    let start = VIEW.locate(Ipa(page), PageCount(bytes.div_ceil(PAGE_BYTES)))?;
    usize::try_from(start + offset).ok()
}

/// Copies out of an area of this partition's; zeros outside of what is seen.
pub(crate) fn read(address: u64, bytes: &mut [u8]) {
    let Some(from) = seen(address, bytes.len()) else { return bytes.fill(0) };
    let from = core::ptr::with_exposed_provenance::<u8>(from);
    // SAFETY: the region holds nothing of Rust's, so it does not overlap `bytes`; nobody else writes there while the partition has
    // the area, but its programs, which do not run now.
    unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
}

/// Copies into an area of this partition's; nothing outside of what is seen.
pub(crate) fn write(address: u64, bytes: &[u8]) {
    let Some(to) = seen(address, bytes.len()) else { return };
    let to = core::ptr::with_exposed_provenance_mut::<u8>(to);
    // SAFETY: as above, the other way round.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
}

/// Sends a message, with an area or without. The area is no longer looked at.
///
/// # Errors
/// As [`message::send`]; the area is still this partition's then.
pub(crate) fn send(
    port: Handle,
    area: Option<(Handle, u64)>,
    short: [u64; 3],
) -> Result<(), Refusal> {
    // SAFETY: the kernel copies from and to areas and keeps no reference; a program's mapping goes before its area does, and faults.
    unsafe { message::send(port, area, short) }
}

/// Gives an area back.
pub(crate) fn free(area: Handle) {
    // SAFETY: as for `send`.
    let freed = unsafe { message::free(area) };
    // It was ours until here.
    debug_assert!(freed.is_ok(), "somebody else's area was freed");
}

/// Closes a message port whose pages are looked at no more: they are taken, and end here.
pub(crate) fn close(port: Handle, _pages: [Page; 2]) {
    // SAFETY: what could make words of its pages is this function's, and makes none.
    let closed = unsafe { message::close(port) };
    debug_assert!(closed.is_ok(), "somebody else's port was closed");
}
