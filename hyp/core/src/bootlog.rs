//! Numbered boot checkpoints and the log in RAM that keeps them.
//!
//! Silence after start is the field's first complaint. Each step of the boot is a [`Checkpoint`] with a
//! number that stays the same; it is printed as `shikiri: [NN] text` and kept in a [`BootLog`] that a
//! debugger finds in RAM by its magic, and that the operator's `log` shows. The last number seen says which step did not end:
//! [`Checkpoint::if_last`] tells what to look at.
//!
//! The log is usable from the first line of Rust, with MMU and caches off: it is written by plain byte
//! and aligned word stores only. One core writes it at a time: the boot core until the others run, then
//! whoever holds the console's lock.

use core::fmt;

/// Bytes that the log keeps: the newest.
pub const LOG_BYTES: usize = 4096;
/// First word of a log in memory: `SHIKILOG`, little endian.
pub const LOG_MAGIC: u64 = u64::from_le_bytes(*b"SHIKILOG");

macro_rules! checkpoints {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $text:literal, $if_last:literal;)+) => {
        /// A step of the boot that has been reached.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Checkpoint {
            $(
                #[doc = concat!("`[", stringify!($number), "]` ", $text, ". If it is the last one: ", $if_last)]
                $variant = $number,
            )+
        }

        impl Checkpoint {
            /// All checkpoints in the order in which a boot passes them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The number that is printed.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self { $(Self::$variant => $number),+ }
            }

            /// What has been done.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// What to look at if this is the last checkpoint seen.
            #[must_use]
            pub const fn if_last(self) -> &'static str {
                match self { $(Self::$variant => $if_last),+ }
            }
        }
    };
}

checkpoints! {
    Entered = 1, "entered",
        "the device tree names no RAM, or the image lies in reserved memory.";
    TreeRead = 2, "device tree read",
        "the map of the hypervisor's own memory could not be built from the tree's ranges.";
    MmuOn = 3, "own memory mapped, MMU and caches on",
        "the GIC's registers are not where the device tree says, or whoever was here before has left LPIs or an ITS on that do not stop: the next line says which; then have the firmware leave them off.";
    InterruptsReady = 4, "interrupt controller ready",
        "what the loader put into memory is not all in RAM, or one lies in the other: the next line names both. Else the generic timer's frequency is zero or its interrupt is missing in the device tree.";
    BundleFound = 5, "bundle found",
        "the bundle, or a file in it, is damaged, or it was made for another version or machine: the next line says which.";
    BundleChecked = 6, "bundle checked",
        "there is less RAM than the hypervisor needs for its books of partitions and frames.";
    MemoryReady = 7, "frame ledger ready",
        "there is less RAM than the description needs for management.";
    CoresAsked = 8, "other cores asked to start",
        "a core did not start: the next line names it. Firmware refused PSCI CPU_ON, or the core does not look where the spin table says (after 20 s).";
    CoresHere = 9, "all cores here",
        "a partition could not be made: the next line names it.";
    PartitionsMade = 10, "partitions made",
        "no partition starts with the machine, or the first could not be put together: the next line says why.";
    FirstStart = 11, "first partition started",
        "the boot is over; look at the partition's own console.";
}
/// What is put behind a word of which there are so many.
#[must_use]
pub const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The log in RAM.
///
/// Laid out for whoever looks at memory from outside: magic, version, total of bytes ever written, size
/// of the ring, the ring. The newest byte is at `(written - 1) % size`.
#[derive(Debug)]
#[repr(C)]
pub struct BootLog {
    magic: u64,
    version: u32,
    size: u32,
    written: u64,
    /// The last checkpoint's number; 0 before the first.
    last: u64,
    ring: [u8; LOG_BYTES],
}

impl BootLog {
    /// An empty log: all zero, so that it costs nothing in the image. The first line signs it.
    #[must_use]
    pub const fn new() -> Self {
        Self { magic: 0, version: 0, size: 0, written: 0, last: 0, ring: [0; LOG_BYTES] }
    }

    /// Keeps a checkpoint as `shikiri: [NN] text (detail)` and hands each byte to `print` as well.
    ///
    /// Without a `detail` the brackets are left out. Usable before there is a UART: `print` may do nothing.
    #[inline(never)]
    pub fn checkpoint(
        &mut self,
        checkpoint: Checkpoint,
        detail: fmt::Arguments<'_>,
        print: &mut impl FnMut(u8),
    ) {
        self.last = u64::from(checkpoint.number());
        let mut line = self.begin(print);
        line.text("shikiri: [");
        line.number(checkpoint.number());
        line.text("] ");
        line.text(checkpoint.text());
        if detail.as_str() != Some("") {
            line.text(" (");
            line.formatted(detail);
            line.text(")");
        }
        line.text("\n");
    }

    /// Keeps any other line of the boot and hands each byte to `print` as well.
    pub fn line(&mut self, text: fmt::Arguments<'_>, print: &mut impl FnMut(u8)) {
        let mut line = self.begin(print);
        line.text("shikiri: ");
        line.formatted(text);
        line.text("\n");
    }

    /// The last checkpoint that was kept.
    #[must_use]
    pub fn last(&self) -> Option<Checkpoint> {
        Checkpoint::ALL.iter().copied().find(|step| u64::from(step.number()) == self.last)
    }

    /// The bytes that are kept, oldest first, as two pieces.
    #[must_use]
    pub fn kept(&self) -> (&[u8], &[u8]) {
        let position = ring_index(self.written);
        let (newer, older) = self.ring.split_at_checked(position).unwrap_or((&self.ring, &[]));
        if self.lost() == 0 && self.written <= ring_size() {
            let end = usize::try_from(self.written).unwrap_or(LOG_BYTES);
            return (self.ring.get(..end).unwrap_or(&self.ring), &[]);
        }
        (older, newer)
    }

    /// How many bytes have been overwritten by newer ones.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.written.saturating_sub(ring_size())
    }

    fn begin<'a, P: FnMut(u8)>(&'a mut self, print: &'a mut P) -> Line<'a, P> {
        self.magic = LOG_MAGIC;
        self.version = 1;
        self.size = 4096;
        Line { log: self, print }
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.ring.get_mut(ring_index(self.written)) {
            *place = byte;
        }
        self.written = self.written.wrapping_add(1);
    }
}

impl Default for BootLog {
    fn default() -> Self {
        Self::new()
    }
}

/// A line on its way into the log and to the UART.
struct Line<'a, P> {
    log: &'a mut BootLog,
    print: &'a mut P,
}

impl<P: FnMut(u8)> Line<'_, P> {
    #[inline(never)]
    fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            self.log.keep(byte);
            (self.print)(byte);
        }
    }

    /// Two digits; checkpoint numbers are below 100.
    fn number(&mut self, number: u8) {
        for digit in [number / 10 % 10, number % 10] {
            let byte = b'0'.wrapping_add(digit);
            self.log.keep(byte);
            (self.print)(byte);
        }
    }

    fn formatted(&mut self, text: fmt::Arguments<'_>) {
        // `write_str` below never fails; a `Display` that does has said what it could.
        if fmt::Write::write_fmt(self, text).is_err() {
            self.text("?");
        }
    }
}

impl<P: FnMut(u8)> fmt::Write for Line<'_, P> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

const fn ring_size() -> u64 {
    4096
}

fn ring_index(written: u64) -> usize {
    usize::try_from(written & 4095).unwrap_or(0)
}

const _: () = assert!(LOG_BYTES == 4096, "the header's size and the index mask say 4096");

#[cfg(test)]
mod tests;
