//! Named objects against the specification (V4): several partitions open, post, try, choose ports, close and end in any order, with stale,
//! foreign and invented handles; what they owe each other is told at once or, as by a slow core, after other calls.

use shikiri_abi::{ObjectKind, Resource, Units};
use shikiri_config::{NameEntry, PartitionSet};
use shikiri_core::area::AreaSizes;
use shikiri_model::answers::OBJECTS;
use shikiri_model::calls::{
    BIND, CLOSE_HANDLE, CLOSE_OBJECT, CREATE_RECEIVE, LIMIT, NOTIFY_OF_OBJECT, OPEN, POLL, POST,
    WAIT,
};
use shikiri_model::guests::{Arg, Guests, Row, Topic, reach, try_all};
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

/// Of two lives of one partition that ended with units before anybody was told of the first, the last one is told; of several
/// partitions each. A life takes a note with its unit, so that it needs another partition's note before its own to come to that.
#[test]
fn of_several_lives_that_held_units_the_last_one_is_told_v4() {
    const UNITS: usize = 1;
    let mut guests = Guests::new(&TOPIC, true);
    let open = |guests: &mut Guests, who| {
        let ([at, length], kind) = (guests.both.name(who, "log/a"), TOPIC.kinds[UNITS]);
        let [a, b, c, d] = kind.encode();
        guests.ok(who, OPEN, &[at, length, a, b, c, d])
    };
    // A life takes a unit: of whom it was told with it, and who it is.
    let take = |guests: &mut Guests, who| {
        let object = open(guests, who);
        let told = guests.ok(who, WAIT, &[object]);
        let id = guests.both.estates.side(who).holdings.account().owner().0;
        (told, id)
    };
    let end = |guests: &mut Guests, who| {
        guests.both.end(who);
        guests.both.start(who);
    };
    let waiter = open(&mut guests, 2);
    guests.ok(2, POST, &[waiter]);
    let [(none, zero), (nobody, first)] = [0, 1].map(|who| take(&mut guests, who));
    assert_eq!([none, nobody], [0, 0]);
    for who in [0, 1] {
        end(&mut guests, who);
    }
    let (told, second) = take(&mut guests, 1);
    assert_eq!(told, u64::from(zero));
    end(&mut guests, 1);
    assert_ne!(first, second);
    let told = [(); 2].map(|()| guests.ok(2, WAIT, &[waiter]));
    assert_eq!(told, [u64::from(second), 0], "the first life is not told of");
    guests.both.end_all();
}

/// The walk is worth something only if it gets everywhere.
#[test]
#[cfg_attr(
    miri,
    ignore = "hundreds of cases that reach everything only together: hours under Miri"
)]
fn the_random_calls_reach_every_answer() {
    reach(&TOPIC, (40, 250), OBJECTS);
}
