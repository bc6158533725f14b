//! Event ports and control signals against the specification (C1, P9): several partitions make, connect, bind, mask, poll, ask, accept,
//! refuse, close and end in any order, with stale, foreign and invented handles, in tables of handles that are nearly full.

use shikiri_abi::Resource;
use shikiri_core::area::AreaSizes;
use shikiri_model::answers::EVENTS;
use shikiri_model::calls::{
    ACCEPT_EVENT, ASK, BIND, CLOSE_HANDLE, CONNECT_EVENT, CREATE_RECEIVE, CREATE_SEND, EVENT_PAGE,
    LIMIT, MASK, NOTIFY_ME, POLL, REFUSE, SEND_EVENT, STATE_OF_EVENT, TAKE, TAKE_EVENTS,
};
use shikiri_model::guests::{Arg, Row, Topic, reach, try_all};
use shikiri_model::lockstep::Setting;
use shikiri_model::spec::Kind;
use shikiri_stage2::WindowSizes;

/// 70 is a device's, and 31 no SPI.
const INTID: Arg = Arg::One(&[40, 41, 70, 1019, 31]);
const VCPU: Arg = Arg::One(&[0, 1, 0, 1, 0, 1, 0, 1, 2]);
const FLAG: Arg = Arg::One(&[0, 1]);
/// Itself among them, and one that is not there.
const PEER: Arg = Arg::One(&[0, 1, 2, 0, 1, 2, 0, 1, 2, 3]);
/// Rights to keep.
const RIGHTS: Arg = Arg::One(&[3, 3, 1, 1, 2, 2, 2, 0]);
const SERVICE: Arg = Arg::One(&[0, 1, 0xffff_ffff]);

#[rustfmt::skip]
const ROWS: &[(usize, Row)] = {
    use Arg::{Any, Number, Of};
    use Kind::{EventRequest, Receive, Send};
    &[
        (4, (CREATE_SEND, &[])),
        (2, (CREATE_RECEIVE, &[])),
        (1, (CONNECT_EVENT, &[Of(Send), Of(Receive)])),
        (1, (BIND, &[Of(Receive), INTID, VCPU, FLAG])),
        (1, (NOTIFY_ME, &[Of(Receive)])),
        (1, (MASK, &[Of(Receive), FLAG])),
        (1, (STATE_OF_EVENT, &[Of(Send)])),
        (1, (POLL, &[Of(Receive)])),
        (1, (TAKE_EVENTS, &[FLAG])),
        (1, (EVENT_PAGE, &[])),
        (2, (SEND_EVENT, &[Of(Send)])),
        (5, (ASK, &[Of(Send), PEER, SERVICE, Number])),
        (2, (TAKE, &[])),
        (2, (ACCEPT_EVENT, &[Of(EventRequest), Of(Receive)])),
        (1, (REFUSE, &[Of(EventRequest)])),
        (1, (CLOSE_HANDLE, &[Any])),
        (1, (LIMIT, &[Any, RIGHTS])),
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
        handles: 7,
        records: 2,
        devices: &[70],
        names: &[],
    },
    rows: ROWS,
    others: [0, 0, 1, 0, 1],
    names: &[],
    kinds: &[],
    limits: &[(Resource::EventPorts, 6)],
    is_tight: false,
    is_slow: false,
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
fn the_random_calls_reach_every_answer() {
    reach(&TOPIC, (60, 250), EVENTS);
}
