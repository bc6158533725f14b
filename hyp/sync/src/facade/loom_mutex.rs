//! The ticket mutex over loom's atomics: the algorithm and the memory orders of `spin`'s, which loom cannot
//! see into. Only in loom builds.
#![expect(unsafe_code, reason = "the mutex's own cell access, as in the crate that it stands for")]

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use loom::cell::{MutPtr, UnsafeCell};
use loom::sync::atomic::{AtomicUsize, Ordering};

/// A mutex that serves its waiters in the order of arrival.
pub(crate) struct TicketMutex<T, R> {
    next_ticket: AtomicUsize,
    next_serving: AtomicUsize,
    data: UnsafeCell<T>,
    relax: PhantomData<R>,
}

// SAFETY: the data is reached only by the one thread whose ticket is served.
unsafe impl<T: Send, R> Sync for TicketMutex<T, R> {}

impl<T, R: spin::RelaxStrategy> TicketMutex<T, R> {
    pub(crate) fn new(data: T) -> Self {
        Self {
            next_ticket: AtomicUsize::new(0),
            next_serving: AtomicUsize::new(0),
            data: UnsafeCell::new(data),
            relax: PhantomData,
        }
    }

    pub(crate) fn lock(&self) -> TicketMutexGuard<'_, T, R> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        while self.next_serving.load(Ordering::Acquire) != ticket {
            R::relax();
        }
        TicketMutexGuard { mutex: self, ticket, pointer: Some(self.data.get_mut()) }
    }

    pub(crate) fn try_lock(&self) -> Option<TicketMutexGuard<'_, T, R>> {
        let ticket = self.next_ticket.load(Ordering::SeqCst);
        if self.next_serving.load(Ordering::Acquire) != ticket {
            return None;
        }
        self.next_ticket
            .compare_exchange(ticket, ticket.wrapping_add(1), Ordering::SeqCst, Ordering::SeqCst)
            .ok()?;
        Some(TicketMutexGuard { mutex: self, ticket, pointer: Some(self.data.get_mut()) })
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self`: no guard exists.
        self.data.with_mut(|data| unsafe { &mut *data })
    }
}

/// The right to the data; its end serves the next ticket.
pub(crate) struct TicketMutexGuard<'a, T, R> {
    mutex: &'a TicketMutex<T, R>,
    ticket: usize,
    /// Loom's record of the access; given up before the next ticket is served.
    pointer: Option<MutPtr<T>>,
}

impl<T, R> Deref for TicketMutexGuard<'_, T, R> {
    type Target = T;

    fn deref(&self) -> &T {
        let Some(pointer) = &self.pointer else { unreachable!() };
        // SAFETY: this ticket is the one being served.
        unsafe { &*(pointer.deref() as *const T) }
    }
}

impl<T, R> DerefMut for TicketMutexGuard<'_, T, R> {
    fn deref_mut(&mut self) -> &mut T {
        let Some(pointer) = &self.pointer else { unreachable!() };
        // SAFETY: this ticket is the one being served, and `&mut self` is the only way in.
        unsafe { pointer.deref() }
    }
}

impl<T, R> Drop for TicketMutexGuard<'_, T, R> {
    fn drop(&mut self) {
        self.pointer = None;
        self.mutex.next_serving.store(self.ticket.wrapping_add(1), Ordering::Release);
    }
}
