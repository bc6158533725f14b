//! Whose turn it is on the board's UART.

use super::filter::Trust;
use super::{Focus, HOLD_MS, MAX_SLOTS, Multiplexer, OWN_BYTES, PARTIAL_MS, Ports, STUCK_MS};
use crate::vuart::{ConsolePort, OUTPUT_BYTES};

/// The hypervisor's own text as a source; partitions are below.
pub(super) const OWN: usize = MAX_SLOTS;
/// Lines and bytes of the hypervisor that stay together: a report has no more, and is not torn.
const OWN_TURN: (u8, usize) = (42, OWN_BYTES / 2);
/// A kept-back line that fills this much of its port is released: it may not fit.
const RELEASE_BYTES: usize = OUTPUT_BYTES / 2;

/// A source's turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) source: usize,
    pub(super) lines_left: u8,
    pub(super) bytes_left: usize,
}

/// What to do next.
pub(super) enum Next {
    Serve(usize),
    Wait(Option<u64>),
}

/// Who may write while a line is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Its owner, who has more of it.
    Owner,
    /// Its owner only, until this time.
    Until(u64),
    /// Nobody holds it.
    Nobody,
}

impl Multiplexer {
    /// The source of the next byte.
    pub(super) fn next_source(&mut self, now: u64, ports: &(impl Ports + ?Sized)) -> Next {
        if let Some(turn) = self.turn {
            if self.waiting(turn.source, ports) > 0 {
                return Next::Serve(turn.source);
            }
            self.turn = None;
        }
        let hold = self.hold(now, ports);
        if hold == Hold::Owner {
            return self.begin_turn(self.line.owner);
        }
        let mut until = None;
        match (self.first_ready(now, ports, &mut until), hold) {
            (Some(_), Hold::Until(time)) => Next::Wait(Some(time)),
            (Some(source), _) => self.begin_turn(source),
            (None, _) => Next::Wait(until),
        }
    }

    fn begin_turn(&mut self, source: usize) -> Next {
        self.next = if source == OWN { 0 } else { source.wrapping_add(1) };
        // Who has an open line ends that, and no more: else one whose turns end inside lines would have one after another.
        let continues = self.line.is_open && self.line.owner == source;
        let (lines_left, bytes_left) =
            if source == OWN && !continues { OWN_TURN } else { (1, OUTPUT_BYTES) };
        self.turn = Some(Turn { source, lines_left, bytes_left });
        Next::Serve(source)
    }

    /// Who may write while a line is open.
    fn hold(&mut self, now: u64, ports: &(impl Ports + ?Sized)) -> Hold {
        if !self.line.is_open {
            return Hold::Nobody;
        }
        let owner = self.line.owner;
        let has_more = self.waiting(owner, ports) > 0;
        let is_overdue = self.has_passed(self.line.opened, HOLD_MS, now);
        if has_more && (!is_overdue || self.has_whole_line(owner, ports)) {
            return Hold::Owner;
        }
        if is_overdue || self.has_passed(self.line.touched, PARTIAL_MS, now) {
            return Hold::Nobody;
        }
        let still = self.line.touched.wrapping_add(self.ticks(PARTIAL_MS));
        let overdue = self.line.opened.wrapping_add(self.ticks(HOLD_MS));
        Hold::Until(still.min(overdue))
    }

    /// The next source in the round that may write now; `until` becomes the earliest time at which
    /// one that is kept back may.
    fn first_ready(
        &mut self,
        now: u64,
        ports: &(impl Ports + ?Sized),
        until: &mut Option<u64>,
    ) -> Option<usize> {
        let later = slots_from(self.next) & self.attached;
        let earlier = self.attached & !later;
        // The hypervisor's own text comes after the last slot.
        self.first_ready_in(later, now, ports, until)
            .or_else(|| (!self.own.is_empty()).then_some(OWN))
            .or_else(|| self.first_ready_in(earlier, now, ports, until))
    }

    fn first_ready_in(
        &mut self,
        mut slots: u64,
        now: u64,
        ports: &(impl Ports + ?Sized),
        until: &mut Option<u64>,
    ) -> Option<usize> {
        while let Some(slot) = lowest(slots) {
            if self.is_ready(slot, now, ports, until) {
                return Some(slot);
            }
            slots &= !bit(slot);
        }
        None
    }

    fn is_ready(
        &mut self,
        slot: usize,
        now: u64,
        ports: &(impl Ports + ?Sized),
        until: &mut Option<u64>,
    ) -> bool {
        let waiting = self.waiting(slot, ports);
        if waiting == 0 {
            return false;
        }
        if self.trust(slot) == Trust::Terminal
            || waiting >= RELEASE_BYTES
            || self.closing & bit(slot) != 0
            || self.has_whole_line(slot, ports)
        {
            return true;
        }
        let Some(place) = self.slots.get_mut(slot) else { return false };
        let since = *place.kept_since.get_or_insert(now);
        if self.has_passed(since, PARTIAL_MS, now) {
            return true;
        }
        let due = since.wrapping_add(self.ticks(PARTIAL_MS));
        *until = Some(until.map_or(due, |earlier| earlier.min(due)));
        false
    }

    /// Whether a newline waits in the source. Each byte is looked at once.
    fn has_whole_line(&mut self, source: usize, ports: &(impl Ports + ?Sized)) -> bool {
        // The hypervisor's own text ends with a newline sooner or later, and is bounded.
        let Some(slot) = self.slots.get_mut(source) else { return true };
        let Some(port) = ports.port(source) else { return false };
        while let Some(byte) = port.output.peek(slot.scanned) {
            if byte == b'\n' {
                return true;
            }
            slot.scanned = slot.scanned.saturating_add(1);
        }
        false
    }

    pub(super) fn waiting(&self, source: usize, ports: &(impl Ports + ?Sized)) -> usize {
        if source == OWN {
            return self.own.len();
        }
        ports.port(source).map_or(0, |port: &ConsolePort| port.output.len())
    }

    /// With one console its bytes pass whoever has the focus: there is nobody to protect.
    pub(super) fn trust(&self, source: usize) -> Trust {
        if !self.is_prefixed || self.focus == Focus::Slot(source) {
            Trust::Terminal
        } else {
            Trust::TextOnly
        }
    }

    pub(super) fn with_stuck_input(&self, now: u64, until: Option<u64>) -> Option<u64> {
        let Some(since) = self.input.full_since else { return until };
        if self.has_passed(since, STUCK_MS, now) {
            return until;
        }
        let stuck = since.wrapping_add(self.ticks(STUCK_MS));
        Some(until.map_or(stuck, |earlier| earlier.min(stuck)))
    }

    const fn ticks(&self, milliseconds: u64) -> u64 {
        milliseconds.wrapping_mul(self.ticks_per_ms)
    }

    pub(super) const fn has_passed(&self, since: u64, milliseconds: u64, now: u64) -> bool {
        // Cores read the counter before they take the lock: `now` may be a little before `since`.
        now.saturating_sub(since) >= self.ticks(milliseconds)
    }
}

/// A slot's bit; none for what is not a slot.
pub(super) const fn bit(slot: usize) -> u64 {
    if slot < MAX_SLOTS { 1_u64.wrapping_shl(low_u32(slot)) } else { 0 }
}

/// The slots from `slot` on, as bits.
pub(super) const fn slots_from(slot: usize) -> u64 {
    match bit(slot) {
        0 => 0,
        bit => !bit.wrapping_sub(1),
    }
}

/// The lowest slot of a set.
pub(super) fn lowest(slots: u64) -> Option<usize> {
    if slots == 0 { None } else { usize::try_from(slots.trailing_zeros()).ok() }
}

const fn low_u32(value: usize) -> u32 {
    let [a, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, 0, 0, 0])
}
