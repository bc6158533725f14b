//! Physical memory, by value.

use shikiri_abi::{Pa, PageCount};

/// Physical memory: RAM that the hypervisor's own map covers. Addresses come from the frame ledger, never
/// from a guest.
pub trait PhysMem {
    /// Reads an aligned 64-bit word (single-copy atomic: a table walker may read it at the same time).
    fn read_u64(&self, at: Pa) -> u64;

    /// Writes an aligned 64-bit word (single-copy atomic).
    fn write_u64(&self, at: Pa, value: u64);

    /// Fills whole pages with zero.
    fn zero(&self, at: Pa, pages: PageCount);

    /// Cleans and invalidates the range to the point of coherency (DC CIVAC by line, DSB).
    fn clean_invalidate(&self, at: Pa, bytes: u64);
}
