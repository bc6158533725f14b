//! A lock for what several vCPUs share, interrupt handlers included.
#![expect(unsafe_code, reason = "hands out the one exclusive reference to what it guards")]

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::reg;

/// A spin lock that masks IRQ while it is held, so that a handler on the same core cannot wait for it for ever.
/// Usable once the MMU is on, that is in all of a guest's own code.
#[derive(Debug)]
pub struct Lock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `value` is reached through a guard only, and `taken` admits one guard at a time.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Takes the lock, waiting as long as needed.
    pub fn lock(&self) -> Guard<'_, T> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            reg::yield_now();
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        let daif = reg::daif();
        reg::mask_irq();
        if self.taken.swap(true, Ordering::Acquire) {
            reg::set_daif(daif);
            return None;
        }
        Some(Guard { lock: self, daif, _here: PhantomData })
    }
}

/// The right to use what a lock guards; dropping it frees the lock and restores the interrupt mask. It is the vCPU's that took the lock,
/// whose mask it keeps.
#[derive(Debug)]
pub struct Guard<'a, T> {
    lock: &'a Lock<T>,
    daif: u64,
    /// Neither `Send` nor `Sync`: a lock may be shared if its value may be sent, and a value that may be sent need not be shared.
    _here: PhantomData<*const ()>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one, and borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.taken.store(false, Ordering::Release);
        reg::set_daif(self.daif);
    }
}
