//! The ranked ticket lock.
//!
//! Waiting is bounded: cores are served in the order in which they came, so with n cores a core waits for at
//! most n − 1 critical sections. EL2 runs with interrupts masked from entry to exit, so no handler can ask for
//! a lock that its own core holds. The guard is the proof of holding the lock: functions that need it take
//! `&mut T` from it.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use crate::facade::{Relax, TicketMutex, TicketMutexGuard};
use crate::order::Held;
use crate::rank::Rank;

/// Data of rank `R` behind a fair spin lock.
pub struct TicketLock<T, R: Rank> {
    mutex: TicketMutex<T, Relax>,
    key: u32,
    rank: PhantomData<fn() -> R>,
}

impl<T, R: Rank> TicketLock<T, R> {
    /// A lock that is the only one of its rank, or that is never held together with another of its rank.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new(data: T) -> Self {
        Self::with_key(data, 0)
    }

    /// A lock among several of its rank: those are taken in ascending order of `key`.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn with_key(data: T, key: u32) -> Self {
        Self { mutex: TicketMutex::new(data), key, rank: PhantomData }
    }

    /// A lock that is the only one of its rank.
    #[cfg(loom)]
    #[must_use]
    pub fn new(data: T) -> Self {
        Self::with_key(data, 0)
    }

    /// A lock among several of its rank.
    #[cfg(loom)]
    #[must_use]
    pub fn with_key(data: T, key: u32) -> Self {
        Self { mutex: TicketMutex::new(data), key, rank: PhantomData }
    }

    /// Waits for the lock and takes it.
    ///
    /// # Panics
    /// On the host with debug assertions, when the lock order is broken.
    #[inline(never)]
    pub fn lock(&self) -> Guard<'_, T, R> {
        self.lock_in_place()
    }

    /// [`TicketLock::lock`] without a call: where the cost is a promise.
    ///
    /// # Panics
    /// As [`TicketLock::lock`].
    #[inline(always)]
    pub fn lock_in_place(&self) -> Guard<'_, T, R> {
        let held = Held::acquire(R::LEVEL, self.key, R::NAME);
        Guard { mutex: self.mutex.lock(), rank: PhantomData, _held: held }
    }

    /// Takes the lock if nobody has it; never waits, so it may break the lock order. For the panic path and
    /// for work that can be left to the holder.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T, R>> {
        let mutex = self.mutex.try_lock()?;
        let held = Held::acquired_without_waiting(R::LEVEL, self.key, R::NAME);
        Some(Guard { mutex, rank: PhantomData, _held: held })
    }

    /// The data, without locking: `&mut self` shows that nobody else has it.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.mutex.get_mut()
    }

    /// The data; the lock is gone.
    #[cfg(not(loom))]
    #[inline]
    pub fn into_inner(self) -> T {
        self.mutex.into_inner()
    }

    /// This lock's place among those of its rank.
    #[inline]
    pub const fn key(&self) -> u32 {
        self.key
    }
}

/// Holding a lock. Its end gives the lock to the next core in line.
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct Guard<'a, T, R: Rank> {
    // First, so that the next core is served before the note of the order goes.
    mutex: TicketMutexGuard<'a, T, Relax>,
    rank: PhantomData<fn() -> R>,
    _held: Held,
}

impl<T, R: Rank> Deref for Guard<'_, T, R> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.mutex
    }
}

impl<T, R: Rank> DerefMut for Guard<'_, T, R> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.mutex
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::string::String;
    use std::vec::Vec;
    use std::{panic, thread};

    use super::TicketLock;
    use crate::rank::{Console, Partition, Pool};

    #[test]
    fn threads_take_turns_and_lose_no_update() {
        const ROUNDS: u32 = if cfg!(miri) { 20 } else { 10_000 };
        let lock = TicketLock::<u32, Pool>::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..ROUNDS).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(*lock.lock(), 4 * ROUNDS);
    }

    #[test]
    fn try_lock_answers_instead_of_waiting() {
        let mut lock = TicketLock::<u32, Pool>::new(7);
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert_eq!(lock.try_lock().map(|guard| *guard), Some(7));
        assert_eq!(*lock.get_mut(), 7);
    }

    #[test]
    fn locks_in_order_are_accepted_and_released_in_any_order() {
        let (pool, console) = (TicketLock::<(), Pool>::new(()), TicketLock::<(), Console>::new(()));
        for _ in 0..2 {
            let first = pool.lock();
            let second = console.lock();
            drop(first);
            drop(second);
        }
    }

    #[test]
    fn partitions_are_locked_by_ascending_key() {
        let locks: Vec<_> =
            (0..3).map(|key| TicketLock::<(), Partition>::with_key((), key)).collect();
        let _first = locks[0].lock();
        let _last = locks[2].lock();
        assert_eq!(locks[1].key(), 1);
        assert!(
            refused(|| drop(locks[1].lock())).contains("partition 1 is taken while partition 2")
        );
    }

    #[test]
    fn a_lower_rank_after_a_higher_one_is_refused_by_name() {
        let (pool, console) = (TicketLock::<(), Pool>::new(()), TicketLock::<(), Console>::new(()));
        let _held = console.lock();
        assert!(refused(|| drop(pool.lock())).contains("frame pool 0 is taken while console 0"));
        assert!(pool.try_lock().is_some(), "a refusal must not leave the lock taken");
    }

    #[test]
    fn taking_a_lock_twice_is_refused_instead_of_waiting_for_ever() {
        let lock = TicketLock::<(), Pool>::new(());
        let _held = lock.lock();
        assert!(refused(|| drop(lock.lock())).contains("frame pool 0 is taken while frame pool 0"));
    }

    /// The message with which `take` is refused; empty if it is not.
    fn refused(take: impl FnOnce()) -> String {
        match panic::catch_unwind(panic::AssertUnwindSafe(take)) {
            Ok(()) => String::new(),
            Err(message) => message.downcast_ref::<String>().cloned().unwrap_or_default(),
        }
    }
}
