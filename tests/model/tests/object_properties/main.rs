//! Named objects against the specification (V4): several partitions open, post, try, choose ports, close and end in any order, with stale,
//! foreign and invented handles; what they owe each other is told at once or, as by a slow core, after other calls.

use shikiri_abi::{ObjectKind, Resource, Status, Units};
use shikiri_config::{NameEntry, PartitionSet};
use shikiri_core::area::AreaSizes;
use shikiri_model::calls::{
    BIND, CLOSE_HANDLE, CLOSE_OBJECT, CREATE_RECEIVE, LIMIT, NOTIFY_OF_OBJECT, OPEN, POLL, POST,
    WAIT,
};
use shikiri_model::guests::{Arg, Row, Topic, reach, try_all};
use shikiri_model::lockstep::Setting;
use shikiri_model::spec::Kind;
use shikiri_stage2::WindowSizes;

const WORD: Arg = Arg::One(&[0, 0, 0, 0, 0, 5, 7]);
const NONE: Arg = Arg::One(&[0]);
/// Rights to keep: mostly all.
const RIGHTS: Arg = Arg::One(&[3, 3, 3, 1, 1, 2, 0]);
const INTID: Arg = Arg::One(&[40, 41, 42, 43, 44]);

#[rustfmt::skip]
const ROWS: &[(usize, Row)] = {
    use Arg::{Fresh, Of};
    use Kind::{Object, Receive};
    &[
        (6, (OPEN, &[])),
        (6, (WAIT, &[Of(Object)])),
        (8, (POST, &[Of(Object), WORD, WORD, NONE])),
        (2, (CLOSE_OBJECT, &[Of(Object)])),
        (1, (LIMIT, &[Of(Object), RIGHTS])),
        (4, (NOTIFY_OF_OBJECT, &[Of(Object), Fresh])),
        (1, (CREATE_RECEIVE, &[])),
        (1, (BIND, &[Of(Receive), INTID, NONE, NONE])),
        (1, (POLL, &[Of(Receive)])),
        (2, (CLOSE_HANDLE, &[Of(Receive)])),
    ]
};

static TOPIC: Topic = Topic {
    setting: Setting {
        partitions: 3,
        mib: 16,
        areas: AreaSizes {
            windows: WindowSizes { pages: 4, blocks: 1, giants: 1 },
            ports: 1,
            shares: 1,
        },
        handles: 6,
        records: 1,
        devices: &[],
        names: &[
            NameEntry { text: "solo", is_prefix: false, partitions: PartitionSet(3), objects: 1 },
            NameEntry { text: "log/", is_prefix: true, partitions: PartitionSet(7), objects: 3 },
        ],
    },
    rows: ROWS,
    others: [0, 0, 1, 0, 1],
    names: &["solo", "log/a", "log/b", "log/c", "log/d", "other"],
    kinds: &[
        ObjectKind::Event,
        ObjectKind::Semaphore { initial: 1, maximum: 2, units: Units::Held },
        ObjectKind::Semaphore { initial: 0, maximum: 2, units: Units::Spent },
        ObjectKind::Queue { depth: 1 },
        ObjectKind::Queue { depth: 3 },
    ],
    // Of objects, a page each.
    limits: &[(Resource::ManagementMemory, 3)],
    is_tight: false,
    is_slow: true,
    ends_at_once: false,
    steps: [1, 1],
    begin: |_, _| {},
    meet: |_| {},
};

#[test]
fn any_calls_of_any_partitions_agree_with_the_model() {
    try_all(&TOPIC, 250);
}

/// The walk is worth something only if it gets everywhere.
#[test]
#[cfg_attr(
    miri,
    ignore = "hundreds of cases that reach everything only together: hours under Miri"
)]
#[rustfmt::skip]
fn the_random_calls_reach_every_answer() {
    const OK: (Status, u64) = (Status::Ok, 0);
    const BAD_HANDLE: (Status, u64) = (Status::BadHandle, 0);
    const WRONG_STATE: (Status, u64) = (Status::WrongState, 0);
    const NOT_PERMITTED: (Status, u64) = (Status::NotPermitted, 0);
    const EXISTS: (Status, u64) = (Status::Exists, 0);
    const EMPTY: (Status, u64) = (Status::Empty, 0);
    const FULL: (Status, u64) = (Status::Full, 0);
    const RANGE: (Status, u64) = (Status::Range, 0);
    const WORD: (Status, u64) = (Status::InvalidParameter, 2);
    const NO_PAGE: (Status, u64) = (Status::OverLimit, Resource::ManagementMemory.number() as u64);
    reach(&TOPIC, (40, 250), &[
        (OPEN, &[OK, NOT_PERMITTED, EXISTS, NO_PAGE, FULL]),
        (WAIT, &[OK, BAD_HANDLE, EMPTY]),
        (POST, &[OK, BAD_HANDLE, WORD, RANGE, FULL]),
        (CLOSE_OBJECT, &[OK, BAD_HANDLE]),
        (LIMIT, &[OK, BAD_HANDLE]),
        (NOTIFY_OF_OBJECT, &[OK, BAD_HANDLE, WRONG_STATE]),
    ]);
}
