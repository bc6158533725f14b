//! Interleavings of what cores share, all of them, by loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p shikiri-sync --test loom --release`; empty in other builds.
#![cfg(loom)]
#![expect(unsafe_code, reason = "loom's cell hands out raw pointers")]
#![expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::fence;
use loom::thread;
use shikiri_abi::CoreId;
use shikiri_sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use shikiri_sync::rank::{Meeting, Partition, Pool};
use shikiri_sync::{Guard, KickSet, Pending, TicketLock, lock_another, lock_pair, try_pair};

/// Explores with at most three preemptions: more find nothing new here and take hours.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn the_lock_excludes_and_orders() {
    model(|| {
        let lock = Arc::new(TicketLock::<u32, Pool>::new(0));
        let other = lock.clone();
        let thread = thread::spawn(move || {
            *other.lock() += 1;
            *other.lock() += 1;
        });
        *lock.lock() += 1;
        thread.join().unwrap();
        assert_eq!(*lock.lock(), 3);
    });
}

/// Two partitions' locks, and the meeting's.
struct Hall {
    meeting: TicketLock<(), Meeting>,
    locks: [TicketLock<u32, Partition>; 2],
}

impl Hall {
    fn new() -> Arc<Self> {
        let locks = [0, 1].map(|key| TicketLock::with_key(0, key));
        Arc::new(Self { meeting: TicketLock::new(()), locks })
    }

    /// A call of a partition's that meets the other one (`lock_both` of EL2).
    fn call(&self, own: usize) {
        let (own, other) = (&self.locks[own], &self.locks[1 - own]);
        let both = try_pair(own, other)
            .or_else(|| try_pair(other, own).map(|(other, own)| (own, other)))
            .unwrap_or_else(|| lock_pair(self.meeting.lock(), own, other));
        self.count(both);
    }

    /// The same of one that has found others faster (`lock_met` of EL2).
    fn call_again(&self, own: usize) {
        let meeting = self.meeting.lock();
        let held = self.locks[own].lock();
        let other = lock_another(&meeting, &self.locks[1 - own]);
        self.count((held, other));
    }

    fn count(&self, both: (Guard<'_, u32, Partition>, Guard<'_, u32, Partition>)) {
        let (mut own, mut other) = both;
        *own += 1;
        *other += 1;
    }
}

/// Two partitions that call each other: each call is through, whichever way the two meet. None waits for ever, and none is put off.
#[test]
fn calls_that_meet_exclude_each_other_and_end() {
    model(|| {
        let hall = Hall::new();
        let other = Arc::clone(&hall);
        let pair = thread::spawn(move || other.call(1));
        hall.call(0);
        pair.join().unwrap();
        assert_eq!((*hall.locks[0].lock(), *hall.locks[1].lock()), (2, 2));
    });
}

/// The same where both have found others faster: they wait with their own lock in hand, one after the other.
#[test]
fn calls_that_meet_again_exclude_each_other_and_end() {
    model(|| {
        let hall = Hall::new();
        let other = Arc::clone(&hall);
        let pair = thread::spawn(move || other.call_again(1));
        hall.call_again(0);
        pair.join().unwrap();
        assert_eq!((*hall.locks[0].lock(), *hall.locks[1].lock()), (2, 2));
    });
}

/// A vCPU that goes to sleep while another core posts an SGI for it (`kick_vcpus` and `fall_asleep` of EL2): it stays
/// awake, or is woken, or its core is kicked.
#[test]
fn mail_is_never_slept_on() {
    struct Vcpu {
        mail: Pending,
        is_loaded: AtomicBool,
        is_asleep: AtomicBool,
    }
    model(|| {
        let vcpu = Arc::new(Vcpu {
            mail: Pending::new(),
            is_loaded: AtomicBool::new(true),
            is_asleep: AtomicBool::new(false),
        });
        let other = vcpu.clone();
        let sender = thread::spawn(move || {
            if !other.mail.raise(1) {
                return false;
            }
            fence(Ordering::SeqCst);
            if other.is_loaded.load(Ordering::Relaxed) {
                // Its core gets an SGI: it finds that nobody is loaded, or takes the mail.
                return false;
            }
            other.is_asleep.swap(false, Ordering::SeqCst)
        });
        vcpu.is_loaded.store(false, Ordering::Relaxed);
        vcpu.is_asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let stays_awake = !vcpu.mail.is_empty();
        if stays_awake {
            vcpu.is_asleep.store(false, Ordering::SeqCst);
        }
        let was_woken = sender.join().unwrap();
        assert!(stays_awake || was_woken, "asleep, with mail, and nobody was told");
    });
}

/// A vCPU that is put on a core while another core posts an SGI for it (`ring` and `load` of EL2): it takes the
/// mail, or its core is kicked. Nobody else would tell it: the next sender finds that the mail box is not empty.
#[test]
fn mail_is_found_by_a_vcpu_that_is_loaded_meanwhile() {
    struct Vcpu {
        mail: Pending,
        is_loaded: AtomicBool,
    }
    model(|| {
        let vcpu = Arc::new(Vcpu { mail: Pending::new(), is_loaded: AtomicBool::new(false) });
        let other = vcpu.clone();
        let sender = thread::spawn(move || {
            let is_first = other.mail.raise(1);
            fence(Ordering::SeqCst);
            is_first && other.is_loaded.load(Ordering::Relaxed)
        });
        vcpu.is_loaded.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let is_found = vcpu.mail.take() != 0;
        let was_kicked = sender.join().unwrap();
        assert!(is_found || was_kicked, "loaded, with mail, and nobody was told");
    });
}

#[test]
fn a_lock_that_was_tried_is_held_by_one_only() {
    model(|| {
        let lock = Arc::new(TicketLock::<u32, Pool>::new(0));
        let other = lock.clone();
        let taken = thread::spawn(move || other.try_lock().map(|mut data| *data += 1).is_some());
        let mine = lock.try_lock().map(|mut data| *data += 1).is_some();
        let theirs = taken.join().unwrap();
        assert!(mine || theirs, "the first to try finds it free");
        assert_eq!(*lock.lock(), u32::from(mine) + u32::from(theirs));
    });
}

#[test]
fn two_partitions_locked_in_order_cannot_deadlock() {
    model(|| {
        let locks = Arc::new([
            TicketLock::<u32, Partition>::with_key(10, 0),
            TicketLock::<u32, Partition>::with_key(10, 1),
        ]);
        let other = locks.clone();
        let sender = thread::spawn(move || {
            let (mut first, mut second) = (other[0].lock(), other[1].lock());
            *first -= 1;
            *second += 1;
        });
        {
            let (mut first, mut second) = (locks[0].lock(), locks[1].lock());
            *first += 2;
            *second -= 2;
        }
        sender.join().unwrap();
        assert_eq!((*locks[0].lock(), *locks[1].lock()), (11, 9));
    });
}

/// A receiver that looks at its work only when an SGI has come, and senders that send one only if `raise` says
/// so. Whatever the interleaving, no work is left without an SGI on its way.
#[test]
fn no_pending_bit_is_slept_on() {
    struct Receiver {
        pending: Pending,
        sgi: AtomicBool,
        data: [UnsafeCell<u64>; 2],
        seen: AtomicU64,
    }

    impl Receiver {
        /// The vector: acknowledges the SGI, then takes the work.
        fn interrupted(&self) {
            if !self.sgi.swap(false, Ordering::Acquire) {
                return;
            }
            let bits = self.pending.take();
            for n in (0..2).filter(|n| bits & 1 << n != 0) {
                // SAFETY: the bit was taken, so its sender has finished with the cell.
                self.data[n].with(|cell| assert_eq!(unsafe { *cell }, 7));
            }
            let before = self.seen.fetch_or(bits, Ordering::Relaxed);
            assert_eq!(before & bits, 0, "a bit is taken once");
        }
    }

    model(|| {
        let receiver = Arc::new(Receiver {
            pending: Pending::new(),
            sgi: AtomicBool::new(false),
            data: [UnsafeCell::new(0), UnsafeCell::new(0)],
            seen: AtomicU64::new(0),
        });
        let senders: Vec<_> = (0..2)
            .map(|n| {
                let receiver = receiver.clone();
                thread::spawn(move || {
                    // SAFETY: each sender writes its own cell, before its bit is raised.
                    receiver.data[n].with_mut(|cell| unsafe { *cell = 7 });
                    if receiver.pending.raise(1 << n) {
                        // A read-modify-write, as a pending latch is; after a plain store loom lets a
                        // later swap read an older value.
                        receiver.sgi.swap(true, Ordering::AcqRel);
                    }
                })
            })
            .collect();
        receiver.interrupted();
        receiver.interrupted();
        for sender in senders {
            sender.join().unwrap();
        }
        receiver.interrupted();
        assert_eq!(receiver.seen.load(Ordering::Relaxed), 3, "work without an SGI");
        assert!(receiver.pending.is_empty());
    });
}

#[test]
fn a_core_is_added_to_a_kick_set_once() {
    model(|| {
        let set = Arc::new(KickSet::new());
        let value = Arc::new(AtomicU64::new(0));
        let firsts = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (set, value, firsts) = (set.clone(), value.clone(), firsts.clone());
                thread::spawn(move || {
                    value.store(5, Ordering::Relaxed);
                    if set.insert(CoreId(70)) {
                        firsts.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let early = set.take();
        if early.contains(CoreId(70)) {
            assert_eq!(value.load(Ordering::Relaxed), 5, "what was stored before is visible");
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let late = set.take();
        let taken =
            usize::from(early.contains(CoreId(70))) + usize::from(late.contains(CoreId(70)));
        assert_eq!(
            firsts.load(Ordering::Relaxed),
            taken,
            "one first insertion for each time it is taken"
        );
        assert!(taken >= 1);
    });
}
