//! The smallest executor: one future, on the vCPU that calls.
#![expect(unsafe_code, reason = "a waker without allocation is made of a table of functions")]

use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use shikiri_rt::platform::MAX_VCPUS;
use shikiri_rt::sleep::Ticks;
use shikiri_rt::{gic, irq, sleep, smp};

use crate::windows;

/// The SGI that ends the sleep of another vCPU whose future is woken; a guest that uses [`block_on`] leaves it free.
pub(crate) const SGI: u32 = 15;

/// Which vCPUs' futures were woken.
static WOKEN: [AtomicBool; MAX_VCPUS] = [const { AtomicBool::new(false) }; MAX_VCPUS];

/// On which vCPUs [`SGI`] is enabled. It stays so while a vCPU is off.
static ENABLED: [AtomicBool; MAX_VCPUS] = [const { AtomicBool::new(false) }; MAX_VCPUS];

/// Lets other vCPUs wake this one by [`SGI`].
pub(crate) fn enable() {
    let Some(is_enabled) = ENABLED.get(smp::index()) else { return };
    // Each register of the interrupt's is a trap.
    if !is_enabled.load(Ordering::Relaxed) {
        // What no hook takes the run-time disables when it comes.
        let stays = windows::take_interrupts();
        gic::enable(SGI);
        is_enabled.store(stays, Ordering::Relaxed);
    }
}

/// Runs a future to its end on this vCPU, asleep while it has nothing to do. Interrupts are unmasked meanwhile. One at a time on
/// each vCPU: called from inside a future, it takes the outer one's wake-ups and gives it some of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Some(result) = poll(future.as_mut()) {
            return result;
        }
        irq::wait_until(was_woken);
    }
}

/// The same, until a deadline; none if the future has not ended by then, and is dropped.
pub fn block_on_until<T>(deadline: Ticks, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    loop {
        let result = poll(future.as_mut());
        if result.is_some() || deadline.is_over() {
            return result;
        }
        let _in_time = sleep::until(deadline, || was_woken().then_some(()));
    }
}

/// Polls the future of this vCPU; its result, if it has ended.
fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    enable();
    let waker = waker(smp::index());
    match future.poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Whether this vCPU's future was woken since the last look.
fn was_woken() -> bool {
    WOKEN.get(smp::index()).is_none_or(|woken| woken.swap(false, Ordering::AcqRel))
}

/// Whether an interrupt is the executor's.
pub(crate) const fn on_interrupt(intid: u32) -> bool {
    intid == SGI
}

/// What wakes this vCPU from another one, whatever it sleeps for; a future that it runs is polled once more for it.
pub(crate) fn waker_here() -> Waker {
    enable();
    waker(smp::index())
}

/// The waker of this vCPU's future. Its data is the vCPU's index; nothing is pointed to.
fn waker(index: usize) -> Waker {
    // SAFETY: the functions of the table take any data, and may be called from any thread.
    unsafe { Waker::from_raw(raw_waker(core::ptr::without_provenance(index))) }
}

const fn raw_waker(data: *const ()) -> RawWaker {
    RawWaker::new(data, &TABLE)
}

static TABLE: RawWakerVTable = RawWakerVTable::new(raw_waker, wake, wake, ignore);

fn wake(data: *const ()) {
    let index = data.addr();
    if let Some(woken) = WOKEN.get(index) {
        woken.store(true, Ordering::Release);
    }
    if index != smp::index() {
        gic::send_sgi(SGI, index);
    }
}

const fn ignore(_data: *const ()) {}
