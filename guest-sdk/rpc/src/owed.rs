//! Refusals that found no room in the transport: a server keeps them until there is, so that nobody waits for a call that is over.

use crate::error::Status;
use crate::facade::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use crate::message::CallId;

/// How many can be kept. While there are any a server takes no requests, so that more come only from as many calls as are executed at
/// that moment.
const MOST: usize = 32;

/// How often one thread looks through them at a time: others that do the same may take and put back in turn.
const PASSES: usize = 8;

/// In an entry: it is one. Below it the status, and in the low half the call.
const DUE: u64 = 1 << 63;

/// Who is still to be told that its call was refused.
pub(crate) struct Owed {
    /// How many entries there are, or will be in a moment.
    count: AtomicU32,
    entries: [AtomicU64; MOST],
    /// Somebody has found less of them than there are.
    is_missed: AtomicBool,
}

impl Owed {
    pub(crate) fn new() -> Self {
        let entries = core::array::from_fn(|_| AtomicU64::new(0));
        Self { count: AtomicU32::new(0), entries, is_missed: AtomicBool::new(false) }
    }

    /// Keeps a refusal; one that finds all entries taken is lost.
    pub(crate) fn keep(&self, call: CallId, status: Status) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if !self.place(DUE | u64::from(status.code()) << 32 | u64::from(call.0)) {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether nothing is owed any more, behind sending what is. `send` answers whether there was room.
    #[inline]
    pub(crate) fn settle(&self, send: impl FnMut(CallId, u16) -> bool) -> bool {
        self.count.load(Ordering::Relaxed) == 0 || self.send_all(send)
    }

    #[cold]
    fn send_all(&self, mut send: impl FnMut(CallId, u16) -> bool) -> bool {
        let mut has_missed = false;
        for _ in 0..PASSES {
            if self.entries.iter().all(|entry| self.send_one(entry, &mut send)) {
                if self.count.load(Ordering::Relaxed) == 0 {
                    return true;
                }
                if has_missed {
                    return false;
                }
                // Another thread has one in its hands. It is told so, and if it has put it back before, it is here.
                has_missed = true;
                self.is_missed.store(true, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                continue;
            }
            // It is back. Who has missed it meanwhile sleeps, and is woken by room that comes from here on: what came before is used here.
            fence(Ordering::SeqCst);
            if !self.is_missed.swap(false, Ordering::Relaxed) {
                return false;
            }
            has_missed = false;
        }
        false
    }

    /// Sends what is in an entry; whether nothing is left of it here.
    fn send_one(&self, entry: &AtomicU64, send: &mut impl FnMut(CallId, u16) -> bool) -> bool {
        let word = entry.swap(0, Ordering::Relaxed);
        if word == 0 {
            return true;
        }
        let [c0, c1, c2, c3, s0, s1, ..] = word.to_le_bytes();
        let call = CallId(u32::from_le_bytes([c0, c1, c2, c3]));
        let is_sent = send(call, u16::from_le_bytes([s0, s1]));
        if is_sent || !self.place(word) {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        is_sent
    }

    fn place(&self, word: u64) -> bool {
        let put = |entry: &AtomicU64| {
            entry.compare_exchange(0, word, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        self.entries.iter().any(put)
    }
}
