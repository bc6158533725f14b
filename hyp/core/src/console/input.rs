//! Typed bytes: the prefix key, and the queue in front of the focused partition's FIFO.

use crate::vuart::Ring;

/// The prefix key, Ctrl-A.
pub const PREFIX: u8 = 0x01;

/// Bytes that wait for the focused partition beyond its own FIFO.
const QUEUE_BYTES: usize = 256;

/// What a typed byte means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A byte for whoever has the focus.
    Plain(u8),
    /// The prefix key: the next byte is a command.
    Prefix,
    /// Focus on the next partition.
    Next,
    /// Focus on the partition in the place with this number, from 1.
    Number(u8),
    /// Focus on the operator console.
    Operator,
    /// Explain the keys.
    Help,
    /// No such command.
    Unknown,
}

/// State of the input side.
#[derive(Debug)]
pub(super) struct InputQueue {
    pub(super) bytes: Ring<QUEUE_BYTES>,
    is_prefixed: bool,
    /// Since when the queue has been full, in ticks.
    pub(super) full_since: Option<u64>,
    /// Bytes thrown away since the queue was declared stuck.
    pub(super) dropped: u32,
}

impl InputQueue {
    pub(super) const fn new() -> Self {
        Self { bytes: Ring::new(), is_prefixed: false, full_since: None, dropped: 0 }
    }

    /// Tells commands from text.
    pub(super) fn key(&mut self, byte: u8) -> Key {
        if !core::mem::take(&mut self.is_prefixed) {
            if byte == PREFIX {
                self.is_prefixed = true;
                return Key::Prefix;
            }
            return Key::Plain(byte);
        }
        match byte {
            PREFIX | b'a' => Key::Plain(PREFIX),
            b'n' | 0x0e => Key::Next,
            b'c' | 0x03 => Key::Operator,
            b'h' | b'?' => Key::Help,
            b'1'..=b'9' => Key::Number(byte.wrapping_sub(b'0')),
            _ => Key::Unknown,
        }
    }

    /// Forgets everything queued; returns how many bytes that were.
    pub(super) fn forget(&mut self) -> usize {
        let count = self.bytes.len();
        self.bytes.clear();
        self.full_since = None;
        self.dropped = 0;
        count
    }
}
