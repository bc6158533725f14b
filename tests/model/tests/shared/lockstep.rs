//! Shared areas against the specification (C5, P3): three partitions make, offer, withdraw and free areas, make attachments, ask, take,
//! accept, refuse, revoke, leave, close what they are told at, and end, in any order and in the middle of what takes several calls, with
//! stale, foreign and invented handles and with accounts that are full.

use shikiri_model::answers::SHARES;
use shikiri_model::calls::{
    ACCEPT_SHARE, ALLOC, CLOSE_HANDLE, CONNECT_SHARE, CREATE_SHARE, DETACH, FREE, INFO, KEEP,
    LIMIT, OFFER, REFUSE, REVOKE, STATE_OF_SHARE, TAKE, WITHDRAW,
};
use shikiri_model::guests::{Arg, Guests, Row, Topic, reach, try_all};
use shikiri_model::lockstep::Setting;
use shikiri_model::spec::Kind;

use crate::SIZES;

const PARTITIONS: usize = 3;

/// Sizes that one class fits, mostly: of 4 KiB, 2 MiB, 1 GiB.
const BYTES: Arg = Arg::One(&[
    4096,
    4096,
    3 << 12,
    3 << 12,
    3 << 12,
    70 << 12,
    70 << 12,
    512 << 12,
    520 << 12,
    520 << 12,
    0,
    513 << 12,
]);
const CLASS: Arg = Arg::One(&[0, 1, 1, 1, 1, 2, 2]);
/// With partitions that are not there.
const PEER: Arg = Arg::One(&[0, 1, 2, 0, 1, 2, 0, 1, 2, 3]);
const USER: Arg = Arg::One(&[0, 1, 2, 3, 4]);
const FLAG: Arg = Arg::One(&[0, 1]);
/// Rights to keep.
const RIGHTS: Arg = Arg::One(&[3, 3, 1, 1, 2, 0]);
const SERVICE: Arg = Arg::One(&[1]);

#[rustfmt::skip]
const ROWS: &[(usize, Row)] = {
    use Arg::{Fresh, Needed, Number, Of, Seldom};
    use Kind::{Area, Attachment, AttachRequest, Receive};
    &[
        (5, (ALLOC, &[BYTES, CLASS, Seldom(Area)])),
        (8, (OFFER, &[Of(Area), Fresh])),
        (4, (WITHDRAW, &[Of(Area)])),
        (3, (REVOKE, &[Of(Area), USER])),
        (7, (CREATE_SHARE, &[Needed, BYTES, CLASS])),
        (9, (CONNECT_SHARE, &[Of(Attachment), PEER, SERVICE, Number])),
        (9, (TAKE, &[])),
        (12, (ACCEPT_SHARE, &[Of(AttachRequest), Of(Area), FLAG])),
        (1, (REFUSE, &[Of(AttachRequest)])),
        (2, (DETACH, &[Of(Attachment)])),
        (3, (DETACH, &[Of(Area)])),
        (1, (FREE, &[Of(Area)])),
        (2, (INFO, &[Of(Area)])),
        (1, (KEEP, &[Of(Area)])),
        (2, (STATE_OF_SHARE, &[Of(Attachment)])),
        (1, (STATE_OF_SHARE, &[Of(Area)])),
        (1, (CLOSE_HANDLE, &[Of(Receive)])),
        (1, (LIMIT, &[Of(Attachment), RIGHTS])),
    ]
};

static TOPIC: Topic = Topic {
    setting: Setting {
        partitions: PARTITIONS,
        mib: 32,
        areas: SIZES,
        handles: 48,
        records: 4,
        devices: &[],
        names: &[],
    },
    rows: ROWS,
    others: [0, 12, 1, 0, 1],
    names: &[],
    kinds: &[],
    limits: &[],
    is_tight: true,
    is_slow: false,
    ends_at_once: true,
    // What takes several calls stays in the middle.
    steps: [20, 1],
    begin: Guests::listen,
    meet,
};

/// Where random walks begin: each offers an area, and attaches the next one's.
fn meet(guests: &mut Guests) {
    for who in 0..PARTITIONS {
        let area = guests.ok(who, ALLOC, &[3 << 12, 1, 0]);
        let events = guests.fresh(who).unwrap();
        guests.ok(who, OFFER, &[area, events]);
        let events = guests.fresh(who).unwrap();
        let attachment = guests.ok(who, CREATE_SHARE, &[events, 70 << 12, 1]);
        guests.ok(who, CONNECT_SHARE, &[attachment, ((who + 1) % PARTITIONS) as u64, 1, 2]);
    }
    for who in 0..PARTITIONS {
        let (area, request) = (guests.live(who, Kind::Area)[0], guests.request(who));
        guests.ok(who, ACCEPT_SHARE, &[request, area, 1]);
        let events = guests.fresh(who).unwrap();
        guests.ok(who, CREATE_SHARE, &[events, 3 << 12, 1]);
    }
}

#[test]
fn any_calls_of_any_partitions_agree_with_the_model() {
    try_all(&TOPIC, 100);
}

/// The walk is worth something only if it gets everywhere.
#[test]
#[cfg_attr(
    miri,
    ignore = "hundreds of cases that reach everything only together: hours under Miri"
)]
fn the_random_calls_reach_every_answer() {
    reach(&TOPIC, (40, 200), SHARES);
}
