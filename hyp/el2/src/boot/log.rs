//! The boot log: every checkpoint is printed and kept in RAM.
//!
//! Before the caches are on, exclusive loads and stores may not work (Arm ARM B2.17.5, memory without a global
//! monitor), so no lock is taken then: only the boot core runs, and it says when its MMU is on by the
//! checkpoint itself. Afterwards the log has its lock, the last of the order.
#![expect(unsafe_code, reason = "before the MMU is on the log is reached without its lock")]

use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use shikiri_core::bootlog::{BootLog, Checkpoint};
use shikiri_sync::{TicketLock, rank};

use crate::console::CONSOLE;
use crate::fault;
use crate::hw::uart::Direct;

/// The log, found in RAM by its magic.
struct Place(UnsafeCell<BootLog>);

// SAFETY: `with` reaches it on the boot core alone, and later under `LOCK` only.
unsafe impl Sync for Place {}

static LOG: Place = Place(UnsafeCell::new(BootLog::new()));
static LOCK: TicketLock<(), rank::Log> = TicketLock::new(());
/// Whether locks work and other cores may come.
static IS_LOCKED: AtomicBool = AtomicBool::new(false);
/// Whether the multiplexer has the UART.
static HAS_CONSOLE: AtomicBool = AtomicBool::new(false);
/// Whether a partition has ever started.
static HAS_STARTED: AtomicBool = AtomicBool::new(false);
/// The last checkpoint's number, for who cannot take the lock.
static LAST: AtomicU8 = AtomicU8::new(0);

fn with<R>(use_log: impl FnOnce(&mut BootLog) -> R) -> R {
    let _guard = IS_LOCKED.load(Ordering::Acquire).then(|| LOCK.lock());
    // SAFETY: under the lock, or on the only core that runs; `use_log` does not come back here.
    use_log(unsafe { &mut *LOG.0.get() })
}

/// Says how far the boot is.
pub(crate) fn checkpoint(step: Checkpoint, detail: fmt::Arguments<'_>) {
    if step == Checkpoint::MmuOn {
        IS_LOCKED.store(true, Ordering::Release);
    }
    LAST.store(step.number(), Ordering::Relaxed);
    if HAS_CONSOLE.load(Ordering::Acquire) {
        // The console's lock comes before the log's.
        let mut console = CONSOLE.lock();
        with(|log| log.checkpoint(step, detail, &mut |_byte| {}));
        let (number, text) = (step.number(), step.text());
        match detail.as_str() {
            Some("") => console.write(format_args!("shikiri: [{number:02}] {text}\n")),
            Some(_) | None => {
                console.write(format_args!("shikiri: [{number:02}] {text} ({detail})\n"))
            }
        }
        if step < Checkpoint::FirstStart {
            // No core looks after the console yet.
            console.write_out();
        }
    } else {
        with(|log| log.checkpoint(step, detail, &mut print));
    }
}

/// The first partition starts: the boot is over.
pub(crate) fn first_start(name: &str) {
    if !HAS_STARTED.swap(true, Ordering::Relaxed) {
        checkpoint(Checkpoint::FirstStart, format_args!("{name}"));
    }
}

/// Prints what is kept already: the UART has just been found.
pub(crate) fn print_kept() {
    show(&mut |bytes| bytes.iter().for_each(|byte| print(*byte)));
}

/// From here on checkpoints go through the console, which shares the UART with the partitions.
pub(crate) fn use_console() {
    HAS_CONSOLE.store(true, Ordering::Release);
}

/// The number of the last checkpoint that was passed; 0 before the first. Takes no lock.
pub(crate) fn last() -> u8 {
    LAST.load(Ordering::Relaxed)
}

/// Hands over what is kept, in pieces; the log is not locked while `write` works.
pub(crate) fn show(write: &mut dyn FnMut(&[u8])) {
    let mut from = 0;
    loop {
        let mut piece = [0; 128];
        let copied = with(|log| {
            let (older, newer) = log.kept();
            let bytes = older.iter().chain(newer).skip(from);
            piece.iter_mut().zip(bytes).map(|(place, byte)| *place = *byte).count()
        });
        let Some(bytes) = piece.get(..copied).filter(|bytes| !bytes.is_empty()) else { return };
        write(bytes);
        from = from.saturating_add(copied);
    }
}

/// Says something that is no checkpoint.
pub(crate) fn note(text: fmt::Arguments<'_>) {
    with(|log| log.line(text, &mut print));
}

/// Says why the machine cannot be divided, and stops.
pub(crate) fn refuse(reason: fmt::Arguments<'_>) -> ! {
    with(|log| log.line(format_args!("boot refused: {reason}"), &mut print));
    fault::stop()
}

fn print(byte: u8) {
    // `Direct` does not fail.
    Direct.write_char(char::from(byte)).unwrap_or_default();
}
