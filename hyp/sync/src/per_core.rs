//! State that only its own core touches.
//!
//! [`Masked`] is the proof that the running code has its core to itself: EL2 runs with exceptions masked from
//! entry to exit, and the entry code makes one token. [`PerCore`] gives `&mut` for it, without a lock and
//! without a borrow count at run time: the borrow of the token is the borrow count.
#![expect(unsafe_code, reason = "a cell per core: exclusive by the token's contract")]

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;

use shikiri_abi::{CoreId, MAX_CORES};

/// The proof that exceptions are masked on this core and that no other code on it is under way.
///
/// Neither `Copy` nor `Send`: there is one for each entry into EL2, and it stays on its core.
pub struct Masked {
    core: CoreId,
    stays_here: PhantomData<*mut ()>,
}

impl Masked {
    /// Makes the token of this entry.
    ///
    /// # Safety
    /// Exceptions are masked on this core (PSTATE.DAIF) until the token is gone, `core` is this core's own
    /// number, and no other token of this core exists.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn new(core: CoreId) -> Self {
        Self { core, stays_here: PhantomData }
    }

    /// The core that this code runs on.
    #[inline(always)]
    #[must_use]
    pub const fn core(&self) -> CoreId {
        self.core
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masked(core {})", self.core.0)
    }
}

/// A value that has its cache line to itself, so that neighbours in an array do not slow each other.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct CacheLine<T>(pub T);

/// One `T` for each of `N` cores; each core reaches its own only.
pub struct PerCore<T, const N: usize = MAX_CORES> {
    values: [CacheLine<UnsafeCell<T>>; N],
}

// SAFETY: a value is reached only with the token of its core (`get`, `get_mut`), which is neither `Send` nor
// duplicated: no two threads of control reach one value. `T: Send`: it may have been made on another core.
unsafe impl<T: Send, const N: usize> Sync for PerCore<T, N> {}

impl<T, const N: usize> PerCore<T, N> {
    /// The cells, with their values by core number. Usable in a `static`.
    #[must_use]
    pub const fn new(values: [CacheLine<UnsafeCell<T>>; N]) -> Self {
        Self { values }
    }

    /// The cells, each with `value(core)`.
    #[must_use]
    pub fn from_fn(mut value: impl FnMut(usize) -> T) -> Self {
        Self { values: core::array::from_fn(|core| CacheLine(UnsafeCell::new(value(core)))) }
    }

    /// This core's value.
    ///
    /// # Panics
    /// If the core's number is not below `N`: the board's description promised fewer cores.
    #[inline(always)]
    pub fn get<'a>(&'a self, token: &'a Masked) -> &'a T {
        let cell = self.cell(token.core);
        // SAFETY: the token shows that only this code runs on the core; `&Masked` forbids `get_mut` meanwhile.
        unsafe { &*cell.get() }
    }

    /// This core's value, to change.
    ///
    /// # Panics
    /// If the core's number is not below `N`: the board's description promised fewer cores.
    #[inline(always)]
    pub fn get_mut<'a>(&'a self, token: &'a mut Masked) -> &'a mut T {
        let cell = self.cell(token.core);
        // SAFETY: the token shows that only this code runs on the core; `&mut Masked` forbids a second borrow.
        unsafe { &mut *cell.get() }
    }

    #[inline(always)]
    fn cell(&self, core: CoreId) -> &UnsafeCell<T> {
        let index = usize::from(core.0);
        assert!(index < N, "this core's number is beyond the per-core cells");
        // SAFETY: `index < N`, the array's length.
        &unsafe { self.values.get_unchecked(index) }.0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use shikiri_abi::CoreId;

    use super::{CacheLine, Masked, PerCore};

    /// The tests' threads play cores; exceptions do not exist there.
    fn token(core: u8) -> Masked {
        // SAFETY: each test uses a core's number in one thread, and one token of it at a time.
        unsafe { Masked::new(CoreId(core)) }
    }

    #[test]
    fn each_core_has_its_own_value() {
        let cells = PerCore::<usize, 4>::from_fn(|core| core * 10);
        thread::scope(|scope| {
            for core in 0..4 {
                let cells = &cells;
                scope.spawn(move || *cells.get_mut(&mut token(core)) += usize::from(core));
            }
        });
        for core in 0..4 {
            assert_eq!(*cells.get(&token(core)), usize::from(core) * 11);
        }
    }

    #[test]
    fn a_cell_fills_a_cache_line() {
        assert_eq!(size_of::<PerCore<u8, 2>>(), 128);
        assert_eq!(align_of::<CacheLine<u8>>(), 64);
        assert_eq!(token(3).core(), CoreId(3));
    }

    #[test]
    #[should_panic(expected = "beyond the per-core cells")]
    fn a_core_without_a_cell_is_a_bug() {
        let cells = PerCore::<u8, 2>::from_fn(|_| 0);
        let _ = cells.get(&token(2));
    }
}
