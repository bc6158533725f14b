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
use crate::rank::{Meeting, Rank};
use crate::written::{Note, Written};

/// Data of rank `R` behind a fair spin lock.
pub struct TicketLock<T, R: Rank> {
    mutex: TicketMutex<T, Relax>,
    key: u32,
    written: Written,
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
        Self { mutex: TicketMutex::new(data), key, written: Written::new(), rank: PhantomData }
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
        Self { mutex: TicketMutex::new(data), key, written: Written::new(), rank: PhantomData }
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
        self.guard(self.mutex.lock(), held)
    }

    /// Takes the lock if nobody has it; never waits, so it may break the lock order. For the panic path and
    /// for work that can be left to the holder.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T, R>> {
        let mutex = self.mutex.try_lock()?;
        let held = Held::acquired_without_waiting(R::LEVEL, self.key, R::NAME);
        Some(self.guard(mutex, held))
    }

    #[inline(always)]
    fn guard<'a>(&'a self, mutex: TicketMutexGuard<'a, T, Relax>, held: Held) -> Guard<'a, T, R> {
        Guard { mutex, rank: PhantomData, written: self.written.note(), _held: held }
    }

    /// Whether a holder could have written since the last time that this was asked: it has had a `&mut T`. Always true where nobody
    /// notes that, as in what is shipped.
    #[must_use]
    pub fn take_written(&self) -> bool {
        self.written.take()
    }

    /// The data, without locking: `&mut self` shows that nobody else has it.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.written.note().leave();
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

/// Takes two locks of one rank, in this order: waits for the first with nothing in hand, and not for the second, so that what keeps
/// the second busy delays nobody who wants the first. `None` if the second was taken; the caller holds nothing then.
#[inline(always)]
pub fn try_pair<'a, T, R: Rank>(
    first: &'a TicketLock<T, R>,
    second: &'a TicketLock<T, R>,
) -> Option<(Guard<'a, T, R>, Guard<'a, T, R>)> {
    let held = first.lock_in_place();
    let other = second.try_lock()?;
    Some((held, other))
}

/// Takes two locks of one rank, whatever keeps them busy: waits for `own`, and then with it in hand for `other`. What is delayed
/// meanwhile is whoever wants `own`. The meeting's lock shows that nobody else waits so, and that is why two cannot wait for each other.
///
/// # Panics
/// On the host with debug assertions, when the order of levels is broken.
#[inline(never)]
pub fn lock_pair<'a, T, R: Rank>(
    meeting: Guard<'_, (), Meeting>,
    own: &'a TicketLock<T, R>,
    other: &'a TicketLock<T, R>,
) -> (Guard<'a, T, R>, Guard<'a, T, R>) {
    let held = own.lock();
    let met = lock_another(&meeting, other);
    drop(meeting);
    (held, met)
}

/// Waits for a lock with another one of its rank in hand, in whatever order.
///
/// # Panics
/// As [`lock_pair`].
#[inline(never)]
pub fn lock_another<'a, T, R: Rank>(
    _meeting: &Guard<'_, (), Meeting>,
    other: &'a TicketLock<T, R>,
) -> Guard<'a, T, R> {
    let held = Held::acquire_among_equals(R::LEVEL, other.key, R::NAME);
    other.guard(other.mutex.lock(), held)
}

/// Holding a lock. Its end gives the lock to the next core in line.
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct Guard<'a, T, R: Rank> {
    // First, so that the next core is served before the note of the order goes.
    mutex: TicketMutexGuard<'a, T, Relax>,
    rank: PhantomData<fn() -> R>,
    written: Note<'a>,
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
        self.written.leave();
        &mut self.mutex
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::string::String;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::vec::Vec;
    use std::{panic, thread};

    use super::{TicketLock, lock_another, lock_pair, try_pair};
    use crate::rank::{Console, Meeting, Partition, Pool};

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
    fn whoever_could_have_written_is_known_once_and_whoever_has_read_is_not() {
        let mut lock = TicketLock::<u32, Pool>::new(7);
        assert!(lock.take_written(), "nobody has looked at it yet");
        assert!(!lock.take_written());
        assert_eq!(*lock.lock(), 7);
        assert!(!lock.take_written(), "it was only read");
        *lock.lock() += 1;
        assert_eq!((lock.take_written(), lock.take_written()), (true, false));
        *lock.get_mut() += 1;
        assert_eq!((lock.take_written(), lock.take_written()), (true, false));
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
    fn nobody_holds_the_first_of_a_pair_while_the_second_is_taken() {
        let locks: Vec<_> =
            (0..2).map(|key| TicketLock::<u32, Partition>::with_key(0, key)).collect();
        let [first, second] = &locks[..] else { return };
        let (is_held, may_go) = (AtomicBool::new(false), AtomicBool::new(false));
        let wait_for = |flag: &AtomicBool| {
            while !flag.load(Ordering::Acquire) {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let _held = second.lock();
                is_held.store(true, Ordering::Release);
                wait_for(&may_go);
            });
            wait_for(&is_held);
            assert!(try_pair(first, second).is_none());
            let waiting = scope.spawn(|| try_pair(second, first).map(|(two, one)| (*one, *two)));
            // However long the second is held, the first can be had.
            for _ in 0..1000 {
                while first.try_lock().is_none() {
                    thread::yield_now();
                }
            }
            may_go.store(true, Ordering::Release);
            assert_eq!(waiting.join().ok(), Some(Some((0, 0))));
        });
        assert!(try_pair(first, second).is_some());
    }

    #[test]
    fn in_a_meeting_locks_of_one_rank_are_taken_in_any_order_and_not_twice() {
        let meeting = TicketLock::<(), Meeting>::new(());
        let locks: Vec<_> =
            (0..2).map(|key| TicketLock::<u32, Partition>::with_key(key, key)).collect();
        let [low, high] = &locks[..] else { return };
        for (own, other) in [(low, high), (high, low)] {
            let both = lock_pair(meeting.lock(), own, other);
            assert_eq!((*both.0, *both.1), (own.key(), other.key()));
            assert!(meeting.try_lock().is_some(), "it ends when both are there");
        }
        let _held = low.lock();
        assert!(refused(|| drop(meeting.lock())).contains("meeting 0 is taken while partition 0"));
        let Some(meeting) = meeting.try_lock() else { return };
        assert!(
            refused(|| drop(lock_another(&meeting, low))).contains("0 is taken while partition 0")
        );
        let pool = TicketLock::<(), Pool>::new(());
        let _pool = pool.lock();
        assert!(
            refused(|| drop(lock_another(&meeting, high))).contains("1 is taken while frame pool")
        );
    }

    /// Two threads that always have the other lock, or wait for it, and want ours now and then: each call is through all the same.
    #[test]
    fn whoever_keeps_a_lock_busy_puts_off_no_call() {
        const ROUNDS: u32 = if cfg!(miri) { 5 } else { 500 };
        let meeting = TicketLock::<(), Meeting>::new(());
        let (own, busy) = (
            TicketLock::<u32, Partition>::with_key(0, 0),
            TicketLock::<u32, Partition>::with_key(0, 1),
        );
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Acquire) {
                        drop(busy.lock());
                        drop(lock_pair(meeting.lock(), &busy, &own));
                    }
                });
            }
            for _ in 0..ROUNDS {
                let (mut own, mut met) = lock_pair(meeting.lock(), &own, &busy);
                *own += 1;
                *met += 1;
            }
            is_over.store(true, Ordering::Release);
        });
        assert_eq!((*own.lock(), *busy.lock()), (ROUNDS, ROUNDS));
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
