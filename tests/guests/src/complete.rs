//! That the steps of a channel's life (`points.rs`) are all there, checked while this is compiled: each call of the table by which
//! partitions talk, or that has to do with areas, is a step or named here as no part of C4; each step is one that a side
//! does. A call that is added to the table without a point at which a side ends does not compile.

use shikiri_abi::CALLS;

use crate::points::{CLIENT, Makes, SERVER, Step};

/// The numbers of these calls: ports, signals and peers, then areas and channels.
const FIRST: u16 = 0x10;
const LAST: u16 = 0x2f;

/// Those that are not in C4. The first are about connections of events alone (`events`), which end with a partition as
/// channels do; the last tell something, and leave nothing behind but a page that stays until the partition ends.
const NOT_OF_A_CHANNEL: &[&str] = &[
    "EVENT_CREATE_SEND",
    "EVENT_CONNECT",
    "EVENT_SEND",
    "EVENT_STATE",
    "SIGNAL_ASK",
    "SIGNAL_ACCEPT",
    "EVENT_MASK",
    "EVENT_POLL",
    "EVENT_TAKE",
    "EVENT_PAGE",
    "PEER_INFO",
];

const _: () = {
    let mut rows = CALLS;
    while let [row, rest @ ..] = rows {
        if FIRST <= row.number && row.number <= LAST {
            let is_elsewhere = is_named(row.name, NOT_OF_A_CHANNEL);
            assert!(is_elsewhere != is_made(row.name, Step::ALL), "a call without a step");
        }
        rows = rest;
    }
    let mut steps = Step::ALL;
    while let [step, rest @ ..] = steps {
        assert!(is_done(*step, CLIENT) || is_done(*step, SERVER), "a step that no side does");
        if let Makes::Call(name) | Makes::Refused(name) = step.makes() {
            // Looks it up.
            let _ = number(name);
        }
        steps = rest;
    }
};

/// A call's number, of which the table has the name.
///
/// # Panics
/// It has not; in a constant that does not compile.
#[must_use]
pub const fn number(name: &str) -> u16 {
    let mut rows = CALLS;
    while let [row, rest @ ..] = rows {
        if is_same(row.name, name) {
            return row.number;
        }
        rows = rest;
    }
    panic!("no such call")
}

/// Whether one of these steps is this call, and one that is not refused.
const fn is_made(name: &str, mut steps: &[Step]) -> bool {
    while let [step, rest @ ..] = steps {
        if let Makes::Call(made) = step.makes()
            && is_same(made, name)
        {
            return true;
        }
        steps = rest;
    }
    false
}

/// Whether the step is among these.
const fn is_done(step: Step, mut steps: &[Step]) -> bool {
    while let [done, rest @ ..] = steps {
        if *done as usize == step as usize {
            return true;
        }
        steps = rest;
    }
    false
}

const fn is_named(name: &str, mut names: &[&str]) -> bool {
    while let [other, rest @ ..] = names {
        if is_same(other, name) {
            return true;
        }
        names = rest;
    }
    false
}

const fn is_same(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while let ([a, next @ ..], [b, others @ ..]) = (one, other) {
        if *a != *b {
            return false;
        }
        (one, other) = (next, others);
    }
    one.is_empty() && other.is_empty()
}
