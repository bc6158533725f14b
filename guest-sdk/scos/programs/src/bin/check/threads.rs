//! Threads, as std has them.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds};

thread_local! {
    static OWN: Cell<u32> = const { Cell::new(1) };
}

pub(crate) fn check() {
    let sum: u32 =
        (0..8).map(|n| thread::spawn(move || n)).map(|thread| thread.join().unwrap()).sum();
    equal("threads_are_joined", sum, 28);
    locks();
    waits();
    let name = thread::Builder::new().name("worker".into());
    let seen = name.spawn(|| {
        OWN.with(|own| own.set(own.get() + 1));
        OWN.with(Cell::get)
    });
    equal(
        "a_thread_has_its_own_variables",
        (seen.unwrap().join().unwrap(), OWN.with(Cell::get)),
        (2, 1),
    );
    ends();
}

fn locks() {
    let count = Arc::new(Mutex::new(0_u32));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                for _ in 0..2000 {
                    *count.lock().unwrap() += 1;
                    if count.lock().unwrap().is_multiple_of(64) {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    equal("a_mutex_counts_right", *count.lock().unwrap(), 8000);
    let (lock, done) = (RwLock::new(0), AtomicU32::new(0));
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                *lock.write().unwrap() += 1;
                done.fetch_add(*lock.read().unwrap(), Ordering::Relaxed);
            });
        }
    });
    equal("a_barrier_and_a_lock", *lock.read().unwrap(), 4);
}

fn waits() {
    // Without room: each waits for the other, every time.
    let (sender, receiver) = mpsc::sync_channel(0);
    let sending = thread::spawn(move || {
        for n in 0..100_u32 {
            sender.send(n).unwrap();
        }
    });
    equal("a_channel_brings_all", receiver.iter().sum::<u32>(), 4950);
    sending.join().unwrap();
    let (lock, signal) = (Mutex::new(()), Condvar::new());
    let start = Instant::now();
    let (_guard, result) =
        signal.wait_timeout(lock.lock().unwrap(), Duration::from_millis(20)).unwrap();
    holds("a_wait_times_out", result.timed_out() && start.elapsed() >= Duration::from_millis(20));
    let parked = thread::spawn(thread::park);
    parked.thread().unpark();
    parked.join().unwrap();
    holds("who_is_unparked_goes_on", true);
}

/// The end of a process is the end of all its threads.
fn ends() {
    let ended = os::end_of(|| {
        let running = Arc::new(Barrier::new(4));
        for _ in 0..3 {
            let running = Arc::clone(&running);
            thread::spawn(move || {
                running.wait();
                loop {
                    std::hint::spin_loop();
                }
            });
        }
        running.wait();
        3
    });
    equal("a_process_ends_with_its_threads", ended, Ok(Ended::Exit(3)));
    let before = os::free_kib();
    for _ in 0..50 {
        thread::spawn(|| ()).join().unwrap();
    }
    // The C library keeps a stack or two.
    holds("threads_leave_no_memory_behind", before.saturating_sub(os::free_kib()) < 256);
}
