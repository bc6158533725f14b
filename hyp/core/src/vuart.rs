//! A virtual PL011: what a partition finds where its description puts a UART.
//!
//! [`VirtualUart`] holds the registers (Arm DDI 0183, PL011 TRM, chapter 3), [`ConsolePort`] the bytes on
//! their way to and from the [console multiplexer](crate::console). The virtual line has no speed of its
//! own: a byte written is transmitted at once while the port has room, and only when the board's UART is
//! far behind does the guest see its FIFO fill (FR.TXFF), so that it waits and nothing is lost. Like QEMU's
//! model it transmits and receives whether or not the guest has enabled it, and a single byte raises the
//! receive interrupt, whatever IFLS says (decision 0098).
//!
//! Not modelled, and visible as absent: loopback (CR.LBE reads as zero), modem inputs, DMA, receive errors.
//!
//! Ownership: `VirtualUart` is part of the partition, under its lock; the port is shared (see there).

mod port;
mod ring;

pub use port::{ConsolePort, FIFO_DEPTH, OUTPUT_BYTES};
pub use ring::Ring;

/// Bytes of the register frame.
pub const FRAME_BYTES: u64 = 0x1000;

/// UARTDR.
const DR: u64 = 0x000;
/// UARTFR.
const FR: u64 = 0x018;
/// UARTILPR.
const ILPR: u64 = 0x020;
/// UARTIBRD.
const IBRD: u64 = 0x024;
/// UARTFBRD.
const FBRD: u64 = 0x028;
/// UARTLCR_H.
const LCRH: u64 = 0x02c;
/// UARTCR.
const CR: u64 = 0x030;
/// UARTIFLS.
const IFLS: u64 = 0x034;
/// UARTIMSC.
const IMSC: u64 = 0x038;
/// UARTRIS.
const RIS: u64 = 0x03c;
/// UARTMIS.
const MIS: u64 = 0x040;
/// UARTICR.
const ICR: u64 = 0x044;
/// UARTDMACR.
const DMACR: u64 = 0x048;
/// UARTPeriphID0; seven more id registers follow.
const PERIPH_ID0: u64 = 0xfe0;

/// UARTPeriphID0–3 (part 0x011, designer 0x41, revision 1) and UARTPCellID0–3.
const IDS: [u8; 8] = [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

const FR_BUSY: u16 = 1 << 3;
const FR_RXFE: u16 = 1 << 4;
const FR_TXFF: u16 = 1 << 5;
const FR_RXFF: u16 = 1 << 6;
const FR_TXFE: u16 = 1 << 7;

const LCRH_FEN: u16 = 1 << 4;

/// Receive interrupt bit of IMSC, RIS, MIS and ICR.
const INT_RX: u16 = 1 << 4;
/// Transmit interrupt bit.
const INT_TX: u16 = 1 << 5;
/// Receive-timeout interrupt bit.
const INT_RT: u16 = 1 << 6;
/// What is raised while input waits.
const INT_INPUT: u16 = INT_RX | INT_RT;
/// All interrupt bits: the modem's, RX, TX, RT and the four errors.
const INT_ALL: u16 = 0x7ff;

/// CR's writable bits; LBE (bit 7) is absent, bits 6:3 are reserved.
const CR_WRITABLE: u16 = 0xff07;

/// A guest's access to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store of this value, truncated to the access's size.
    Write(u64),
}

/// How urgently the multiplexer should look at the port's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    /// Nothing new that somebody has not been told of.
    No,
    /// The output was empty and now is not: within a few milliseconds.
    Soon,
    /// A line is complete, or half of the room is used: now.
    Now,
}

/// What an access did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// What a load returns, not extended; 0 for a store.
    pub value: u64,
    /// The interrupt line's new level, if it changed: for the virtual GIC.
    pub line: Option<bool>,
    /// Whether the multiplexer has new output to drain.
    pub drain: Drain,
    /// Whether the multiplexer holds input that now has room: call its `deliver`.
    pub wants_input: bool,
}

impl Outcome {
    const NOTHING: Self = Self { value: 0, line: None, drain: Drain::No, wants_input: false };
}

/// The registers of one virtual PL011.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualUart {
    raw: u16,
    mask: u16,
    control: u16,
    line_control: u16,
    fifo_levels: u16,
    divisor: u16,
    divisor_fraction: u16,
    low_power: u16,
    dma: u16,
    /// The line's level as last reported.
    line: bool,
    /// Whether the transmit FIFO was above its trigger level when last looked at.
    is_above_trigger: bool,
}

impl Default for VirtualUart {
    fn default() -> Self {
        Self::new()
    }
}

impl VirtualUart {
    /// A UART as it is after reset (TRM table 3-1).
    #[must_use]
    pub const fn new() -> Self {
        Self {
            raw: 0,
            mask: 0,
            control: 0x300,
            line_control: 0,
            fifo_levels: 0x12,
            divisor: 0,
            divisor_fraction: 0,
            low_power: 0,
            dma: 0,
            line: false,
            is_above_trigger: false,
        }
    }

    /// Returns to the reset state, and forgets input that the old guest did not read.
    ///
    /// Output that waits is kept: it is the last words of the partition. The line is low afterwards; the
    /// virtual GIC is expected to be reset as well.
    pub fn reset(&mut self, port: &ConsolePort) {
        *self = Self::new();
        port.input.clear();
    }

    /// Carries out an access of `bytes` bytes at `offset` in the frame.
    ///
    /// Registers answer to accesses of 1, 2 and 4 bytes at their own offset; anything else reads as zero
    /// and ignores writes. Never fails, whatever the guest does. Cost: constant.
    #[inline]
    pub fn mmio(&mut self, port: &ConsolePort, offset: u64, bytes: u64, access: Access) -> Outcome {
        let (Some(limit), true) = (mask_of(bytes), offset & 3 == 0) else {
            return Outcome::NOTHING;
        };
        match access {
            Access::Read => {
                let mut outcome = self.read(port, offset);
                outcome.value &= u64::from(limit);
                outcome
            }
            Access::Write(value) if offset == DR => self.transmit(port, low_u8(value)),
            Access::Write(value) => self.write(port, offset, low_u16(value) & limit),
        }
    }

    /// Takes note of bytes that the multiplexer has put into the port's input.
    ///
    /// Returns the interrupt line's new level if it changed. The receive timeout (TRM 3.3.11) elapses at
    /// once: the virtual line is idle as soon as a batch has been delivered.
    #[must_use]
    pub fn received(&mut self, port: &ConsolePort) -> Option<bool> {
        self.tell_what_waits(port);
        self.update_line()
    }

    /// Takes note of output that the multiplexer has drained.
    ///
    /// Returns the interrupt line's new level if it changed: the transmit interrupt rises when the FIFO
    /// falls to its trigger level.
    #[must_use]
    pub fn drained(&mut self, port: &ConsolePort) -> Option<bool> {
        self.look_at_transmit_level(port.output.len());
        self.update_line()
    }

    /// The level of the interrupt line.
    #[must_use]
    pub const fn line(&self) -> bool {
        self.raw & self.mask != 0
    }

    #[inline]
    fn transmit(&mut self, port: &ConsolePort, byte: u8) -> Outcome {
        let _lost_if_full = port.output.push(byte);
        // Looked at after the push: if an earlier byte still waits, the multiplexer has yet to see this one.
        let after = port.output.len();
        let fill = self.transmit_fill(after);
        if fill == 0 || fill <= self.transmit_trigger() {
            // The byte went through the FIFO: it passed the trigger level on its way down.
            self.is_above_trigger = false;
            self.raw |= INT_TX;
        } else {
            self.is_above_trigger = true;
            self.raw &= !INT_TX;
        }
        let drain = if byte == b'\n' || after >= OUTPUT_BYTES / 2 {
            Drain::Now
        } else if after <= 1 {
            Drain::Soon
        } else {
            Drain::No
        };
        Outcome { line: self.update_line(), drain, ..Outcome::NOTHING }
    }

    fn read(&mut self, port: &ConsolePort, offset: u64) -> Outcome {
        let value = match offset {
            FR => self.flags(port),
            DR => return self.receive(port),
            RIS => {
                self.look_at_transmit_level(port.output.len());
                self.raw
            }
            MIS => {
                self.look_at_transmit_level(port.output.len());
                self.raw & self.mask
            }
            IMSC => self.mask,
            CR => self.control,
            LCRH => self.line_control,
            IFLS => self.fifo_levels,
            IBRD => self.divisor,
            FBRD => self.divisor_fraction,
            ILPR => self.low_power,
            DMACR => self.dma,
            // RSR included: there are no receive errors.
            _ => id(offset),
        };
        Outcome { value: u64::from(value), line: self.update_line(), ..Outcome::NOTHING }
    }

    fn write(&mut self, port: &ConsolePort, offset: u64, value: u16) -> Outcome {
        match offset {
            IMSC => self.mask = value & INT_ALL,
            ICR => self.raw &= !value,
            CR => self.control = value & CR_WRITABLE,
            LCRH => {
                self.line_control = value & 0xff;
                self.tell_what_waits(port);
            }
            IFLS => {
                self.fifo_levels = value & 0x3f;
                self.tell_what_waits(port);
            }
            IBRD => self.divisor = value,
            FBRD => self.divisor_fraction = value & 0x3f,
            ILPR => self.low_power = value & 0xff,
            DMACR => self.dma = value & 7,
            // ECR included: there are no receive errors to clear.
            _ => {}
        }
        self.look_at_transmit_level(port.output.len());
        Outcome { line: self.update_line(), ..Outcome::NOTHING }
    }

    fn receive(&mut self, port: &ConsolePort) -> Outcome {
        let value = port.input.pop().map_or(0, u64::from);
        // Raised again for each byte that is left: the guest may have cleared it before it read this one.
        self.raw &= !INT_INPUT;
        self.tell_what_waits(port);
        Outcome {
            value,
            line: self.update_line(),
            drain: Drain::No,
            wants_input: port.input_waits(),
        }
    }

    fn flags(&self, port: &ConsolePort) -> u16 {
        let fill = self.transmit_fill(port.output.len());
        let waiting = port.input.len();
        let transmit = match fill {
            0 => FR_TXFE,
            fill if fill >= self.depth() => FR_BUSY | FR_TXFF,
            _ => FR_BUSY,
        };
        let receive = match waiting {
            0 => FR_RXFE,
            waiting if waiting >= self.depth() => FR_RXFF,
            _ => 0,
        };
        transmit | receive
    }

    /// Raises the receive interrupts if input waits.
    fn tell_what_waits(&mut self, port: &ConsolePort) {
        if !port.input.is_empty() {
            self.raw |= INT_INPUT;
        }
    }

    /// Raises the transmit interrupt if the FIFO has fallen to its trigger level since the last look.
    fn look_at_transmit_level(&mut self, waiting: usize) {
        let is_above = self.transmit_fill(waiting) > self.transmit_trigger();
        if self.is_above_trigger && !is_above {
            self.raw |= INT_TX;
        }
        self.is_above_trigger = is_above;
    }

    /// Bytes in the transmit FIFO when `waiting` bytes are in the port: those that the wire has not taken.
    ///
    /// The FIFO is the last part of the port, so FR.TXFF is set exactly when a further byte has no place.
    #[inline]
    fn transmit_fill(&self, waiting: usize) -> usize {
        waiting.saturating_sub(OUTPUT_BYTES.wrapping_sub(self.depth()))
    }

    #[inline]
    fn depth(&self) -> usize {
        if self.line_control & LCRH_FEN == 0 { 1 } else { FIFO_DEPTH }
    }

    /// The fill at or below which the transmit interrupt rises (IFLS.TXIFLSEL; 0 without FIFOs).
    #[inline]
    fn transmit_trigger(&self) -> usize {
        if self.line_control & LCRH_FEN == 0 { 0 } else { trigger(self.fifo_levels & 7) }
    }

    #[inline]
    fn update_line(&mut self) -> Option<bool> {
        let level = self.line();
        if level == self.line {
            return None;
        }
        self.line = level;
        Some(level)
    }
}

/// IFLS's encodings for a FIFO of 16: 1/8, 1/4, 1/2, 3/4, 7/8; the reserved ones behave as 7/8.
#[inline]
const fn trigger(selector: u16) -> usize {
    match selector {
        0 => 2,
        1 => 4,
        2 => 8,
        3 => 12,
        _ => 14,
    }
}

/// The id register at `offset`, or 0 if there is none.
fn id(offset: u64) -> u16 {
    offset
        .checked_sub(PERIPH_ID0)
        .and_then(|distance| usize::try_from(distance >> 2).ok())
        .and_then(|index| IDS.get(index))
        .map_or(0, |byte| u16::from(*byte))
}

/// The bits of a register that an access of `bytes` bytes reaches; `None` for sizes without an answer.
#[inline]
const fn mask_of(bytes: u64) -> Option<u16> {
    match bytes {
        1 => Some(0xff),
        2 | 4 => Some(0xffff),
        _ => None,
    }
}

#[inline]
const fn low_u8(value: u64) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

#[inline]
const fn low_u16(value: u64) -> u16 {
    let [low, high, ..] = value.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests: an overflow is a failed test")]
mod tests;
