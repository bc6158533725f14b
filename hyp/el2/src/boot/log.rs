//! The boot log: every checkpoint is printed and kept in RAM.

use core::fmt::{self, Write};

use shikiri_core::bootlog::{BootLog, Checkpoint};
use shikiri_sync::{TicketLock, rank};

use crate::fault;
use crate::hw::uart::Direct;

/// The log, found in RAM by its magic.
pub(crate) static LOG: TicketLock<BootLog, rank::Log> = TicketLock::new(BootLog::new());

/// Says how far the boot is.
pub(crate) fn checkpoint(step: Checkpoint, detail: fmt::Arguments<'_>) {
    LOG.lock().checkpoint(step, detail, &mut print);
}

/// Says why the machine cannot be divided, and stops.
pub(crate) fn refuse(reason: fmt::Arguments<'_>) -> ! {
    LOG.lock().line(format_args!("boot refused: {reason}"), &mut print);
    fault::stop()
}

fn print(byte: u8) {
    // `Direct` does not fail.
    drop(Direct.write_char(char::from(byte)));
}
