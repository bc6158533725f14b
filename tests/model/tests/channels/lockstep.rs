//! Areas and channels against the specification (C2, C3, P3): three partitions make, send, keep, trim and free areas, make, connect, accept,
//! refuse and close ports, write anything into their credits, and end, in any order, with stale, foreign and invented handles.

use shikiri_model::answers::CHANNELS;
use shikiri_model::calls::{
    ACCEPT, ALLOC, CLOSE, CONNECT, CREATE, FREE, INFO, KEEP, LIMIT, NOTIFY, REFUSE, SEND, SPLIT,
    TAKE, TRIM,
};
use shikiri_model::guests::{Arg, Guests, Row, Topic, reach, try_all};
use shikiri_model::lockstep::Setting;
use shikiri_model::spec::Kind;

use crate::SIZES;

const PARTITIONS: usize = 3;

const CLASS: Arg = Arg::One(&[0, 0, 0, 0, 1, 1, 2]);
const BYTES: Arg = Arg::One(&[
    4096,
    4096,
    4096,
    4096,
    4096,
    4096,
    4096,
    0,
    8192,
    70 << 12,
    70 << 12,
    512 << 12,
    600 << 12,
]);
const SLOTS: Arg = Arg::One(&[0, 1, 2, 2, 3, 3, 1, 2, 61]);
/// With a partition that is not there.
const PEER: Arg = Arg::One(&[0, 1, 2, 0, 1, 2, 3]);
const MEANT: Arg = Arg::One(&[0, 0, 0, 0, 4096, 8192]);
/// Rights to keep.
const RIGHTS: Arg = Arg::One(&[3, 3, 1, 1, 2, 0]);
const SERVICE: Arg = Arg::One(&[1]);

#[rustfmt::skip]
const ROWS: &[(usize, Row)] = {
    use Arg::{Maybe, Needed, Number, Of, Seldom};
    use Kind::{Area, ChannelRequest, Port};
    &[
        (6, (ALLOC, &[BYTES, CLASS, Seldom(Area)])),
        (3, (FREE, &[Of(Area)])),
        (1, (INFO, &[Of(Area)])),
        (4, (KEEP, &[Of(Area)])),
        (2, (TRIM, &[Of(Area), BYTES])),
        (2, (SPLIT, &[Of(Area), BYTES, CLASS, Maybe(Area)])),
        (5, (CREATE, &[Needed, SLOTS, CLASS])),
        (10, (CONNECT, &[Of(Port), PEER, SERVICE, Number])),
        (9, (TAKE, &[])),
        (10, (ACCEPT, &[Of(ChannelRequest), Of(Port)])),
        (3, (REFUSE, &[Of(ChannelRequest)])),
        (14, (SEND, &[Of(Port), Maybe(Area), MEANT, Number, Number, Number])),
        (4, (NOTIFY, &[Of(Port)])),
        (4, (CLOSE, &[Of(Port)])),
        (1, (LIMIT, &[Of(Port), RIGHTS])),
    ]
};

static TOPIC: Topic = Topic {
    setting: Setting {
        partitions: PARTITIONS,
        mib: 64,
        areas: SIZES,
        handles: 48,
        records: 4,
        devices: &[],
        names: &[],
    },
    rows: ROWS,
    others: [8, 3, 1, 0, 1],
    names: &[],
    kinds: &[],
    limits: &[],
    is_tight: false,
    is_slow: false,
    ends_at_once: true,
    steps: [100, 100],
    begin: Guests::listen,
    meet,
};

/// Where random walks begin: a ring of channels, with credits, and an area for each.
fn meet(guests: &mut Guests) {
    let port = |guests: &mut Guests, who: usize| {
        let events = guests.fresh(who).unwrap();
        guests.ok(who, CREATE, &[events, 2, 0])
    };
    for who in 0..PARTITIONS {
        let port = port(guests, who);
        guests.ok(who, CONNECT, &[port, ((who + 1) % PARTITIONS) as u64, 1, 2]);
        guests.ok(who, ALLOC, &[4096, 0, 0]);
    }
    for who in 0..PARTITIONS {
        let (port, request) = (port(guests, who), guests.request(who));
        guests.ok(who, ACCEPT, &[request, port]);
        for (credits, _) in guests.both.spec.credits(who) {
            guests.both.store(who, credits, 5);
        }
    }
}

#[test]
fn any_calls_of_any_partitions_agree_with_the_model() {
    try_all(&TOPIC, 150);
}

/// The walk is worth something only if it gets everywhere.
#[test]
#[cfg_attr(
    miri,
    ignore = "hundreds of cases that reach everything only together: hours under Miri"
)]
fn the_random_calls_reach_every_answer() {
    reach(&TOPIC, (50, 200), CHANNELS);
}
