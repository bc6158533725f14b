//! Calls of all families together (P2, P3, P9, C1 to C5, V4): three partitions have event ports, message channels, areas that are
//! sent at one time and shared at another, shared areas and named objects, all of one table of handles and one account, under limits
//! that policy sets meanwhile. They end with all of it at once, in steps between which the others go on, and start again.
//!
//! Behind each call and each step of an end all that can be seen is as the specification says ([`shikiri_model::spec`]), and the core's own
//! books agree. A refused call has changed nothing and told nobody, and an end leaves nothing.

use shikiri_abi::{ObjectKind, Status, Units};
use shikiri_config::{NameEntry, PartitionSet};
use shikiri_core::area::AreaSizes;
use shikiri_model::calls::{
    ACCEPT, ACCEPT_EVENT, ACCEPT_SHARE, ALLOC, ASK, BIND, CLOSE, CLOSE_HANDLE, CLOSE_OBJECT,
    CONNECT, CONNECT_EVENT, CONNECT_SHARE, CREATE, CREATE_RECEIVE, CREATE_SEND, CREATE_SHARE,
    DETACH, EVENT_PAGE, FREE, INFO, KEEP, LIMIT, MASK, NOTIFY, NOTIFY_ME, NOTIFY_OF_OBJECT, OFFER,
    OPEN, POLL, POST, REFUSE, REVOKE, SEND, SEND_EVENT, SPLIT, STATE_OF_EVENT, STATE_OF_SHARE,
    TAKE, TAKE_EVENTS, TRIM, WAIT, WITHDRAW,
};
use shikiri_model::guests::{Arg, Guests, Row, Topic, reach, try_all};
use shikiri_model::lockstep::Setting;
use shikiri_model::spec::Kind;
use shikiri_stage2::WindowSizes;

const PARTITIONS: usize = 3;

const CLASS: Arg = Arg::One(&[0, 0, 0, 1, 1, 2]);
const BYTES: Arg = Arg::One(&[4096, 4096, 8192, 70 << 12, 512 << 12, 0]);
/// Of an attachment: as large as the areas are that fit a class.
const MOST: Arg = Arg::One(&[4096, 4096, 70 << 12, 512 << 12]);
/// With a partition that is not there.
const PEER: Arg = Arg::One(&[0, 0, 0, 1, 1, 1, 2, 2, 2, 3]);
const WORD: Arg = Arg::One(&[0, 1]);
const FLAG: Arg = Arg::One(&[0, 1]);
const NONE: Arg = Arg::One(&[0]);
/// Rights to keep: mostly all.
const RIGHTS: Arg = Arg::One(&[3, 3, 3, 1, 1, 2, 0]);
const INTID: Arg =
    Arg::One(&[32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 5, 4000]);

/// All calls by which partitions talk, but for PEER_INFO and PEER_NAME, which look at the description. OBJECT_OPEN has its
/// arguments from [`TOPIC`].
#[rustfmt::skip]
const ROWS: &[(usize, Row)] = {
    use Arg::{Any, Fresh, Maybe, Needed, Of, One, Seldom};
    use Kind::{Area, AttachRequest, Attachment, ChannelRequest, EventRequest, Object, Port, Receive, Send};
    &[
        (3, (CREATE_SEND, &[])),
        (8, (CREATE_RECEIVE, &[])),
        (2, (CONNECT_EVENT, &[Of(Send), Of(Receive)])),
        (4, (BIND, &[Of(Receive), INTID, One(&[0, 1, 2]), FLAG])),
        (1, (MASK, &[Of(Receive), FLAG])),
        (1, (STATE_OF_EVENT, &[Of(Send)])),
        (1, (POLL, &[Of(Receive)])),
        (1, (TAKE_EVENTS, &[WORD])),
        (1, (EVENT_PAGE, &[])),
        (3, (SEND_EVENT, &[Of(Send)])),
        (2, (CLOSE_HANDLE, &[Any])),
        (2, (LIMIT, &[Any, RIGHTS])),
        (2, (NOTIFY_ME, &[Of(Receive)])),
        (4, (ASK, &[Of(Send), PEER, WORD, WORD])),
        (14, (TAKE, &[])),
        (4, (ACCEPT_EVENT, &[Of(EventRequest), Of(Receive)])),
        (1, (REFUSE, &[Any])),
        (1, (REFUSE, &[Of(EventRequest)])),
        (1, (REFUSE, &[Of(AttachRequest)])),
        (7, (ALLOC, &[BYTES, CLASS, Seldom(Area)])),
        (2, (FREE, &[Of(Area)])),
        (1, (INFO, &[Of(Area)])),
        (4, (KEEP, &[Of(Area)])),
        (3, (TRIM, &[Of(Area), BYTES])),
        (3, (SPLIT, &[Of(Area), BYTES, CLASS, Seldom(Area)])),
        (3, (CREATE, &[Needed, One(&[0, 1, 2, 3, 61]), CLASS])),
        (6, (CONNECT, &[Of(Port), PEER, WORD, WORD])),
        (16, (ACCEPT, &[Of(ChannelRequest), Of(Port)])),
        (16, (SEND, &[Of(Port), Maybe(Area), One(&[0, 0, 1, 4096, 8192]), WORD, WORD, WORD])),
        (2, (NOTIFY, &[Of(Port)])),
        (2, (CLOSE, &[Of(Port)])),
        (6, (OFFER, &[Of(Area), Fresh])),
        (1, (WITHDRAW, &[Of(Area)])),
        (2, (REVOKE, &[Of(Area), PEER])),
        (4, (CREATE_SHARE, &[Needed, MOST, CLASS])),
        (6, (CONNECT_SHARE, &[Of(Attachment), PEER, WORD, WORD])),
        (16, (ACCEPT_SHARE, &[Of(AttachRequest), Of(Area), FLAG])),
        (1, (STATE_OF_SHARE, &[Of(Attachment)])),
        (2, (DETACH, &[Of(Attachment)])),
        (4, (OPEN, &[])),
        (3, (WAIT, &[Of(Object)])),
        (4, (POST, &[Of(Object), NONE, NONE, NONE])),
        (3, (NOTIFY_OF_OBJECT, &[Of(Object), Maybe(Receive)])),
        (1, (CLOSE_OBJECT, &[Of(Object)])),
    ]
};

static TOPIC: Topic = Topic {
    setting: Setting {
        partitions: PARTITIONS,
        mib: 32,
        areas: AreaSizes {
            windows: WindowSizes { pages: 24, blocks: 4, giants: 2 },
            ports: 3,
            shares: 3,
        },
        handles: 48,
        records: 4,
        devices: &[44],
        names: &[
            NameEntry { text: "solo", is_prefix: false, partitions: PartitionSet(3), objects: 1 },
            NameEntry { text: "log/", is_prefix: true, partitions: PartitionSet(7), objects: 2 },
        ],
    },
    rows: ROWS,
    others: [24, 10, 6, 3, 2],
    names: &["solo", "log/a", "log/b", "log/c", "other"],
    kinds: &[
        ObjectKind::Event,
        ObjectKind::Semaphore { initial: 1, maximum: 2, units: Units::Held },
        ObjectKind::Queue { depth: 1 },
    ],
    limits: &[],
    is_tight: false,
    is_slow: true,
    ends_at_once: false,
    // At most three steps of one call, and then what others do.
    steps: [3, 3],
    begin: |_, _| {},
    meet,
};

/// Where random walks begin: each partition has a channel to the next one, with credits, an event port, a shared area and an
/// object, and an area of its own.
fn meet(guests: &mut Guests) {
    for who in 0..PARTITIONS {
        let next = ((who + 1) % PARTITIONS) as u64;
        let [_own, shared] = [0, 1].map(|_| guests.ok(who, ALLOC, &[4096, 0, 0]));
        let send = guests.ok(who, CREATE_SEND, &[]);
        let port = message_port(guests, who);
        let events = guests.fresh(who).unwrap();
        let attachment = guests.ok(who, CREATE_SHARE, &[events, 4096, 0]);
        guests.ok(who, OFFER, &[shared, 0]);
        guests.ok(who, ASK, &[send, next, 7, 8]);
        guests.ok(who, CONNECT, &[port, next, 7, 8]);
        guests.ok(who, CONNECT_SHARE, &[attachment, next, 7, 8]);
        let [at, length] = guests.both.name(who, "log/a");
        let [a, b, c, d] = TOPIC.kinds[1].encode();
        guests.ok(who, OPEN, &[at, length, a, b, c, d]);
    }
    for who in 0..PARTITIONS {
        let shared = guests.live(who, Kind::Area)[1];
        let (request, receive) = (guests.request(who), guests.ok(who, CREATE_RECEIVE, &[]));
        guests.ok(who, ACCEPT_EVENT, &[request, receive]);
        let (request, port) = (guests.request(who), message_port(guests, who));
        guests.ok(who, ACCEPT, &[request, port]);
        let request = guests.request(who);
        guests.ok(who, ACCEPT_SHARE, &[request, shared, 1]);
        for (credits, _) in guests.both.spec.credits(who) {
            guests.both.store(who, credits, 40);
        }
    }
}

fn message_port(guests: &mut Guests, who: usize) -> u64 {
    let events = guests.fresh(who).unwrap();
    guests.ok(who, CREATE, &[events, 2, 0])
}

#[test]
fn any_calls_of_all_families_agree_with_the_specification_and_an_end_leaves_nothing() {
    try_all(&TOPIC, 95);
}

/// The walk is worth something only if each call succeeds in it, and partitions end that have of everything.
#[test]
#[cfg_attr(
    miri,
    ignore = "hundreds of cases that reach everything only together: hours under Miri"
)]
fn each_call_succeeds_among_all_others_and_partitions_end_that_have_everything() {
    let pending = [ASK, CONNECT, CONNECT_SHARE];
    let status = |number| if pending.contains(&number) { Status::Pending } else { Status::Ok };
    let all: Vec<_> =
        ROWS.iter().map(|(_, (number, _))| (*number, [(status(*number), 0)])).collect();
    let all: Vec<_> = all.iter().map(|(number, answers)| (*number, &answers[..])).collect();
    let left = reach(&TOPIC, (40, 250), &all);
    assert_eq!(left, 5, "no partition ended that had of everything");
}
