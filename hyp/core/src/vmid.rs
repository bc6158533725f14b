//! VMIDs: the tags that keep partitions' TLB entries apart (VTTBR_EL2.VMID, 8 bits; Arm ARM D8.16).
//!
//! 255 of them serve any number of partitions one after another. One that a partition gave back may still tag
//! entries in some core's TLB; it goes to nobody before TLBI VMALLS12E1IS was done for it. That is kept by types:
//! [`VmidPool::take`] answers [`Taken::Stale`] for such a one, and the only way from there to a [`VmidLease`] is
//! [`StaleVmid::flush_with`]. Never-used ones are given first, so that a machine that starts few partitions
//! flushes nothing.
//!
//! The pool is one per machine and is reached under the lock of the partition table.

use shikiri_abi::Vmid;

const WORDS: usize = 4;

/// Which VMIDs are free, and which of those may have TLB entries left.
#[derive(Debug)]
pub struct VmidPool {
    /// Never used since boot, where EL2 invalidated everything.
    clean: [u64; WORDS],
    /// Given back and not flushed since.
    stale: [u64; WORDS],
}

/// A VMID that is the holder's own; goes back with [`VmidPool::give`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is dropped loses one of 255 VMIDs for ever"]
pub struct VmidLease(Vmid);

impl VmidLease {
    /// The number for VTTBR_EL2.
    #[must_use]
    #[inline]
    pub const fn vmid(&self) -> Vmid {
        self.0
    }
}

/// A free VMID under which TLB entries of an ended partition may be left.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a VMID that is dropped is lost for ever"]
pub struct StaleVmid(Vmid);

impl StaleVmid {
    /// Has `flush` invalidate all entries of both stages under this VMID on every core (load it, DSB ISHST,
    /// TLBI VMALLS12E1IS, DSB ISH, ISB), and makes it usable. The flush must be complete on return.
    pub fn flush_with(self, flush: impl FnOnce(Vmid)) -> VmidLease {
        flush(self.0);
        VmidLease(self.0)
    }
}

/// What [`VmidPool::take`] found.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a VMID that is dropped is lost for ever"]
pub enum Taken {
    /// Usable at once.
    Clean(VmidLease),
    /// Needs a flush first.
    Stale(StaleVmid),
}

impl Taken {
    /// The lease, flushed if it must be.
    pub fn flushed_with(self, flush: impl FnOnce(Vmid)) -> VmidLease {
        match self {
            Self::Clean(lease) => lease,
            Self::Stale(stale) => stale.flush_with(flush),
        }
    }
}

impl VmidPool {
    /// All VMIDs but 0, which stands for *no partition* in VTTBR_EL2, are free and clean.
    #[must_use]
    pub const fn new() -> Self {
        Self { clean: [!1, u64::MAX, u64::MAX, u64::MAX], stale: [0; WORDS] }
    }

    /// Takes a free VMID, the lowest of the clean ones if there is one; `None` if all 255 are in use.
    pub fn take(&mut self) -> Option<Taken> {
        match take_lowest(&mut self.clean) {
            Some(vmid) => Some(Taken::Clean(VmidLease(vmid))),
            None => take_lowest(&mut self.stale).map(|vmid| Taken::Stale(StaleVmid(vmid))),
        }
    }

    /// Gives a VMID back. No core has it in VTTBR_EL2 any more: a walk under it after the later flush would
    /// leave new entries.
    pub fn give(&mut self, lease: VmidLease) {
        let VmidLease(Vmid(number)) = lease;
        let free = self.clean.iter_mut().zip(&mut self.stale).nth(usize::from(number >> 6));
        if let Some((clean, stale)) = free {
            let bit = 1 << (number & 63);
            assert!((*clean | *stale) & bit == 0, "a free VMID was given back");
            *stale |= bit;
        }
    }

    /// How many are free.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.clean
            .iter()
            .chain(&self.stale)
            .fold(0, |sum, word| sum.saturating_add(word.count_ones()))
    }
}

impl Default for VmidPool {
    fn default() -> Self {
        Self::new()
    }
}

/// Removes and returns the lowest number of the set.
fn take_lowest(set: &mut [u64; WORDS]) -> Option<Vmid> {
    let (index, word) = (0_u8..).zip(set.iter_mut()).find(|(_, word)| **word != 0)?;
    let bit = u8::try_from(word.trailing_zeros()).ok()?;
    *word &= word.wrapping_sub(1);
    Some(Vmid((index << 6) | bit))
}

#[cfg(test)]
mod tests {
    use super::{Taken, VmidLease, VmidPool};
    use shikiri_abi::Vmid;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn clean(taken: Option<Taken>) -> VmidLease {
        match taken {
            Some(Taken::Clean(lease)) => lease,
            other => panic!("not clean: {other:?}"),
        }
    }

    fn all(pool: &mut VmidPool) -> Vec<VmidLease> {
        (0..255).map(|_| clean(pool.take())).collect()
    }

    #[test]
    fn each_of_255_is_given_once_and_zero_never() {
        let mut pool = VmidPool::new();
        assert_eq!(pool.free(), 255);
        let leases = all(&mut pool);
        let numbers: BTreeSet<u8> = leases.iter().map(|lease| lease.vmid().0).collect();
        assert_eq!(numbers, (1..=255).collect());
        assert_eq!(pool.take(), None);
        assert_eq!(pool.free(), 0);
    }

    #[test]
    fn a_used_vmid_comes_back_only_through_a_flush() {
        let mut pool = VmidPool::new();
        let mut leases = all(&mut pool);
        pool.give(leases.remove(199));
        let mut flushed = Vec::new();
        let lease = pool.take().unwrap().flushed_with(|vmid| flushed.push(vmid));
        assert_eq!((lease.vmid(), flushed), (Vmid(200), Vec::from([Vmid(200)])));
    }

    #[test]
    fn never_used_ones_go_first_and_need_no_flush() {
        let mut pool = VmidPool::new();
        let first = clean(pool.take());
        pool.give(first);
        let next = clean(pool.take());
        assert_eq!(next.vmid(), Vmid(2));
        let same = Taken::Clean(next).flushed_with(|vmid| panic!("{vmid:?} was flushed"));
        assert_eq!(same.vmid(), Vmid(2));
    }

    #[test]
    fn a_second_round_needs_a_flush_for_every_one() {
        let mut pool = VmidPool::new();
        for lease in all(&mut pool) {
            pool.give(lease);
        }
        let mut flushed = BTreeSet::new();
        for _ in 0..255 {
            let lease = pool.take().unwrap().flushed_with(|vmid| assert!(flushed.insert(vmid.0)));
            assert!(flushed.contains(&lease.vmid().0));
        }
        assert_eq!(flushed.len(), 255);
    }

    #[test]
    #[should_panic(expected = "a free VMID")]
    fn a_forged_lease_is_noticed() {
        VmidPool::new().give(VmidLease(Vmid(3)));
    }
}
