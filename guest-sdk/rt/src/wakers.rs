//! Tasks that wait for interrupts, for libraries with futures. No allocation: a fixed table, each row behind a lock of its own.

use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;

use crate::lock::Lock;
use crate::{gic, irq};

/// The most tasks that wait at a time; one more wakes another one, which asks again.
const MAX_WAKERS: usize = 32;

/// A task, and the interrupt that it waits for.
struct Awaited {
    intid: u32,
    waker: Waker,
}

static ROWS: [Lock<Option<Awaited>>; MAX_WAKERS] = [const { Lock::new(None) }; MAX_WAKERS];

/// The interrupts that are not for the guest's handler, 32 to a word.
static OWNED: [AtomicU32; 32] = [const { AtomicU32::new(0) }; 32];

/// Those of them that have come, and that nobody has asked about since.
static CAME: [AtomicU32; 32] = [const { AtomicU32::new(0) }; 32];

fn bit_of(words: &'static [AtomicU32; 32], intid: u32) -> Option<(&'static AtomicU32, u32)> {
    let word = words.get(usize::try_from(intid >> 5).ok()?)?;
    Some((word, 1 << (intid & 31)))
}

/// Keeps an interrupt from the guest's handler: it ends sleeps, and wakes tasks. It is enabled if it was not owned before. False if there
/// is no room for a hook.
pub fn own(intid: u32) -> bool {
    let has_room = irq::add_hook(on_interrupt);
    if let Some((word, bit)) = bit_of(&OWNED, intid)
        && word.fetch_or(bit, Ordering::AcqRel) & bit == 0
    {
        // Before anybody waited, a guest without a handler may have met it, and disabled it.
        gic::enable(intid);
    }
    has_room
}

/// Has a task woken at the next interrupt with this number, and owns it.
pub fn register(intid: u32, waker: &Waker) {
    let _has_room = own(intid);
    let mut new = Some(Awaited { intid, waker: waker.clone() });
    for row in &ROWS {
        let mut row = row.lock();
        let is_free =
            row.as_ref().is_none_or(|there| there.intid == intid && there.waker.will_wake(waker));
        if is_free {
            *row = new.take();
            break;
        }
    }
    let displaced = new.and_then(|new| ROWS.first().and_then(|row| row.lock().replace(new)));
    if let Some(displaced) = displaced {
        displaced.waker.wake();
    }
}

/// Whether an interrupt has come, as long as it is owned, since this was last asked.
pub(crate) fn has_come(intid: u32) -> bool {
    bit_of(&CAME, intid)
        .is_some_and(|(word, bit)| word.fetch_and(!bit, Ordering::AcqRel) & bit != 0)
}

/// The interrupt is for the guest's handler again.
pub fn disown(intid: u32) {
    if let Some((word, bit)) = bit_of(&OWNED, intid) {
        word.fetch_and(!bit, Ordering::AcqRel);
    }
}

/// Wakes those who wait; whether the interrupt is none for the handler.
fn on_interrupt(intid: u32) -> bool {
    let is_owned =
        bit_of(&OWNED, intid).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0);
    if is_owned {
        // Before anybody is woken, who looks for it then.
        if let Some((word, bit)) = bit_of(&CAME, intid) {
            word.fetch_or(bit, Ordering::AcqRel);
        }
        for row in &ROWS {
            let woken = row.lock().take_if(|there| there.intid == intid);
            woken.into_iter().for_each(|there| there.waker.wake());
        }
    }
    is_owned
}
