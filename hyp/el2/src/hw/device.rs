//! Accesses that EL2 makes to a device for its owner: where the device's page is shared with others.
//!
//! The pages are not in EL2's identity map, which is made before the bundle is known: each gets a place in a window of
//! its own at the first access, and keeps it; a description with more regions than places is refused. An address where the bus answers with an abort is the guest's affair:
//! a synchronous abort comes back as [`ExternalAbort`] (`device.s`, `fault.rs`), an asynchronous one is taken
//! while the guest runs, and blamed on it.
#![expect(unsafe_code, reason = "device registers by address, and EL2's own tables")]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{PAGE_BYTES, Pa};
use shikiri_arch::exit::{MmioAccess, class};
use shikiri_config::MAX_MODERATED;

use crate::fault::Frame;
use crate::regs;

/// The bus has answered with an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExternalAbort;

/// Makes the guest's access at `pa`; what a load read.
///
/// # Errors
/// [`ExternalAbort`].
pub(crate) fn access(pa: Pa, access: &MmioAccess, register: u64) -> Result<u64, ExternalAbort> {
    let at = window(pa).ok_or(ExternalAbort)?;
    let way = u64::from(access.size_log2 & 3) | if access.is_write { 4 } else { 0 };
    // SAFETY: the description gives the device at `pa` to the partition, and the window maps its page as device
    // memory; one plain load or store of the guest's size, naturally aligned.
    let done = unsafe { device_access(at, access.truncate(register), way) };
    if done.has_aborted == 0 { Ok(done.value) } else { Err(ExternalAbort) }
}

/// Reads a word of what may be a device, while the MMU is off: `None` if the bus answers with an abort. EL2's vectors must
/// be set.
pub(crate) fn probe(pa: Pa) -> Option<u32> {
    // SAFETY: a load of a word, naturally aligned; whoever asks knows that reading there has no effect.
    let done = unsafe { device_access(pa.0, 0, 2) };
    if done.has_aborted == 0 { u32::try_from(done.value & 0xffff_ffff).ok() } else { None }
}

/// Goes back to the access that made this exception at EL2, if one did; else returns.
pub(crate) fn resume_if_aborted(frame: *const Frame) {
    // ESR_EL2: a data abort without a change of exception level, synchronous external, not on a walk.
    const EC_DATA_ABORT_SAME: u64 = 0x25;
    const EXTERNAL: u64 = 0x10;
    let (esr, at) = (regs::esr_el2(), regs::elr_el2());
    let start = number((&raw const device_access_start).cast());
    let end = number((&raw const device_access_end).cast());
    if class(esr) == EC_DATA_ABORT_SAME && esr & 0x3f == EXTERNAL && (start..end).contains(&at) {
        // SAFETY: the vectors have stored the registers at the abort, which was in `device_access`.
        unsafe { device_access_aborted(frame) };
    }
}

/// What `device_access` returns.
#[repr(C)]
struct Done {
    value: u64,
    has_aborted: u64,
}

unsafe extern "C" {
    /// `device.s`.
    fn device_access(at: u64, value: u64, way: u64) -> Done;
    /// `device.s`.
    fn device_access_aborted(frame: *const Frame) -> !;
    /// `device.s`: the same, as an address.
    static device_access_start: u8;
    /// `device.s`: what follows `device_access`.
    static device_access_end: u8;
}

core::arch::global_asm!(include_str!("device.s"));

fn number(address: *const ()) -> u64 {
    u64::try_from(address.addr()).unwrap_or(0)
}

/// A translation table of EL2's stage 1.
#[repr(C, align(4096))]
struct Table([AtomicU64; 512]);

impl Table {
    const fn empty() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }

    /// The descriptor that names it as the next table.
    fn descriptor(&self) -> u64 {
        number(self.0.as_ptr().cast()) | 3
    }
}

/// The window's tables, levels 1 to 3; levels 1 and 2 have one entry each.
static LEVEL1: Table = Table::empty();
static LEVEL2: Table = Table::empty();
static PAGES: Table = Table::empty();

// `PAGES` has a place for every region of a checked description.
const _: () = assert!(MAX_MODERATED <= 512);

/// The last 512 GiB of EL2's 48 bits: far above the devices and the RAM of any board.
const WINDOW: u64 = 511 << 39;

/// A page: valid, AF, AP[1] (RES1 at EL2), execute-never, MAIR attribute 0 (Device-nGnRE) (Arm ARM D8.3.1).
const DEVICE_PAGE: u64 = 3 | (1 << 6) | (1 << 10) | (1 << 54);

/// Where EL2 sees a device's register. Entries only go from invalid to valid, which no TLB holds: no TLBI is due
/// (Arm ARM D8.16.1).
fn window(pa: Pa) -> Option<u64> {
    let wanted = pa.0 & !PAGE_BYTES.wrapping_sub(1) | DEVICE_PAGE;
    let (index, _) = (0_u64..).zip(&PAGES.0).find(|(_, entry)| holds(entry, wanted))?;
    LEVEL2.0.first()?.store(PAGES.descriptor(), Ordering::Release);
    LEVEL1.0.first()?.store(LEVEL2.descriptor(), Ordering::Release);
    if !holds(root()?, LEVEL1.descriptor()) {
        return None;
    }
    // The stores, also another core's that were just seen, before this core's walk (Arm ARM B2.3.12, D8.2.6).
    regs::dsb_ish();
    regs::isb();
    Some(WINDOW | (index << 12) | (pa.0 & PAGE_BYTES.wrapping_sub(1)))
}

/// Whether a descriptor is the wanted one, or was free and is now.
fn holds(entry: &AtomicU64, wanted: u64) -> bool {
    let found = entry.load(Ordering::Acquire);
    found == wanted
        || (found == 0
            && match entry.compare_exchange(0, wanted, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => true,
                Err(found) => found == wanted,
            })
}

/// The window's entry in EL2's root table, which all cores share.
fn root() -> Option<&'static AtomicU64> {
    let ttbr: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, ttbr0_el2", out(reg) ttbr, options(nomem, nostack, preserves_flags)) };
    let table = usize::try_from(ttbr & 0xffff_ffff_f000).ok()?;
    let table = core::ptr::with_exposed_provenance::<AtomicU64>(table);
    // SAFETY: the root table lives for ever, in RAM that is mapped at its own address; only this file writes to
    // it once the MMU is on.
    unsafe { table.wrapping_add(511).as_ref() }
}
