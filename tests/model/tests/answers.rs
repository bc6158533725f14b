//! Each status that a call's row in the table has is provoked: by random calls, as the lists of [`answers`](shikiri_model::answers) say
//! and their topics assert, in `decode`, which is tried here, or by a test that is named here: of those only that they are there is looked at.
//!
//! The policy program's calls are tried on machines (`tests/guests/src/bin/policy`) and are not in these lists.

use std::collections::HashSet;
use std::path::Path;

use shikiri_abi::{CALLS, Call, CallRow, DecodeError, POLICY_FIRST, Status};
use shikiri_model::answers::{CHANNELS, EVENTS, OBJECTS, SHARES};

/// A call by its name, and one of its statuses.
type Pair = (&'static str, Status);

/// Calls, statuses of theirs that no topic's list has, and who provokes these: the file in the repository, and its function.
type Line = (&'static [&'static str], &'static [Status], &'static str, &'static str);

#[rustfmt::skip]
const ELSEWHERE: &[Line] = {
    use Status::{
        Again, Alignment, BadHandle, DeniedByPolicy, Empty, NoMemory, NotOwner, NotPermitted, Ok,
        OverLimit, Pending, Range, WrongState,
    };
    const AREAS: &str = "tests/model/tests/areas.rs";
    const CHANNEL: &str = "tests/model/tests/channels/main.rs";
    const REQUESTS: &str = "tests/model/tests/requests.rs";
    const ASKED: &str = "tests/guests/src/bin/policy/asked.rs";
    &[
        (&["NULL"], &[Ok], "tests/guests/src/bin/calls.rs", "smc"),
        (&["FEATURE"], &[Ok], "tests/guests/src/bin/calls.rs", "feature"),
        (&["PARTITION_INFO"], &[Ok], "tests/guests/src/bin/calls.rs", "info"),
        (&["ACCOUNT_READ"], &[Ok], "tests/guests/src/bin/calls.rs", "accounts"),
        (&["REQUEST"], &[Pending, WrongState], ASKED, "cancelled"),
        (&["REQUEST"], &[BadHandle], ASKED, "asker"),
        (&["REQUEST"], &[Ok, OverLimit, DeniedByPolicy], ASKED, "alone"),
        (&["REQUEST_STATE"], &[Ok, Empty], ASKED, "granted"),
        (&["REQUEST_STATE"], &[DeniedByPolicy], ASKED, "denied"),
        (&["REQUEST_STATE"], &[Pending], ASKED, "cancelled"),
        (&["REQUEST_CANCEL"], &[Ok, Empty], ASKED, "cancelled"),
        (&["REQUEST_CANCEL"], &[WrongState], "hyp/core/src/policy/request.rs", "each_operation_at_each_stage_does_what_it_should_p8"),
        (&["PEER_INFO", "PEER_NAME"], &[Ok, NotPermitted], "tests/guests/src/bin/peers/client.rs", "permitted"),
        (&["SIGNAL_ASK", "CHANNEL_CONNECT", "SHARED_CONNECT"], &[NotPermitted], REQUESTS, "a_bad_handle_is_told_whoever_is_asked_p9"),
        (&["CHANNEL_CONNECT", "SHARED_CONNECT"], &[OverLimit], REQUESTS, "a_request_too_many_is_over_the_limit_p9"),
        (&["EVENT_POLL"], &[Again], "tests/model/tests/vgic_events.rs", "a_poll_from_another_vcpu_waits_for_the_one_that_has_the_list_register"),
        (&["EVENT_PAGE"], &[Ok], "tests/model/tests/event_page.rs", "the_page_is_the_guests_to_read_and_takes_a_place"),
        (&["EVENT_PAGE"], &[OverLimit], "tests/model/tests/event_page.rs", "what_there_is_no_room_for_is_not_shown"),
        (&["AREA_ALLOC"], &[NoMemory], AREAS, "too_little_memory_stops_it_and_what_there_is_can_be_freed"),
        (&["AREA_ALLOC"], &[NotOwner, WrongState], AREAS, "what_is_not_possible_is_refused_and_changes_nothing"),
        (&["AREA_INFO"], &[WrongState], AREAS, "the_first_step_of_freeing_unmaps_all"),
        (&["AREA_TRIM"], &[OverLimit, NoMemory], AREAS, "a_trim_that_is_not_possible_changes_nothing_c3"),
        (&["AREA_SPLIT"], &[OverLimit, NoMemory], AREAS, "a_split_that_is_not_possible_changes_nothing_c3"),
        (&["CHANNEL_CREATE"], &[NoMemory], CHANNEL, "a_port_is_refused_when_anything_is_short_and_nothing_is_left_of_it"),
        (&["CHANNEL_SEND"], &[Again], CHANNEL, "each_refusal_of_a_send_says_what_is_wrong_and_changes_nothing"),
        (&["SHARED_OFFER"], &[NoMemory], "tests/guests/src/bin/shared/hog.rs", "no_memory"),
        (&["OBJECT_OPEN"], &[Alignment, Range], "tests/guests/src/bin/objects/alone.rs", "addresses"),
    ]
};

/// What nothing provokes. A call that meets another partition answers AGAIN when others were faster at both locks, however often it
/// is tried (`until_it_holds` in `hyp/el2/src/guest/talk.rs`): no guest brings that about at will. That the core says so when its
/// peer is another one by now is tried with a send.
const NOWHERE: &[Pair] = &[
    ("HANDLE_CLOSE", Status::Again),
    ("SIGNAL_ASK", Status::Again),
    ("SIGNAL_TAKE", Status::Again),
    ("SIGNAL_ACCEPT", Status::Again),
    ("SIGNAL_REFUSE", Status::Again),
    ("CHANNEL_CONNECT", Status::Again),
    ("CHANNEL_ACCEPT", Status::Again),
    ("CHANNEL_NOTIFY", Status::Again),
    ("CHANNEL_CLOSE", Status::Again),
    ("SHARED_REVOKE", Status::Again),
    ("SHARED_CONNECT", Status::Again),
    ("SHARED_ACCEPT", Status::Again),
];

/// The rows of the guests' calls.
fn rows() -> impl Iterator<Item = &'static CallRow> {
    CALLS.iter().filter(|row| u32::from(row.number) < POLICY_FIRST)
}

fn name_of(number: u32) -> &'static str {
    rows().find(|row| u32::from(row.number) == number).expect("a call of the table").name
}

/// The pairs of the topics' lists.
fn listed() -> HashSet<Pair> {
    let all = [EVENTS, CHANNELS, SHARES, OBJECTS].into_iter().flatten();
    let pairs = |(number, answers): &(u32, &'static [(Status, u64)])| {
        let name = name_of(*number);
        answers.iter().map(move |(status, _)| (name, *status))
    };
    all.flat_map(pairs).collect()
}

/// Whether some argument of the call, or a register that it does not use, is refused when it is decoded.
fn is_decoded_strictly(row: &CallRow) -> bool {
    (0..6).any(|at| {
        let mut x = [0; 6];
        x[at] = u64::MAX;
        matches!(Call::decode(u32::from(row.number), x), Err(DecodeError::Argument(_)))
    })
}

#[test]
fn each_status_of_each_call_has_a_test() {
    let table: HashSet<Pair> =
        rows().flat_map(|row| row.statuses.iter().map(|status| (row.name, *status))).collect();
    let mut provoked = listed();
    let strict = rows().filter(|row| is_decoded_strictly(row));
    provoked.extend(strict.map(|row| (row.name, Status::InvalidParameter)));
    // `tests/guests/src/bin/calls.rs` tries each row in a partition that has nothing.
    let absent = rows().filter(|row| row.statuses.contains(&Status::NotSupported));
    provoked.extend(absent.map(|row| (row.name, Status::NotSupported)));
    let others = ELSEWHERE.iter().flat_map(|(calls, statuses, ..)| {
        calls.iter().flat_map(|call| statuses.iter().map(|status| (*call, *status)))
    });
    for pair in others.chain(NOWHERE.iter().copied()) {
        assert!(provoked.insert(pair), "{pair:?} is provoked, and needs no line of its own");
    }
    let unknown: Vec<_> = provoked.difference(&table).collect();
    assert!(unknown.is_empty(), "no row has {unknown:?}");
    let never: Vec<_> = table.difference(&provoked).collect();
    assert!(never.is_empty(), "no test provokes {never:?}");
}

/// The tests that are named are there.
#[test]
#[cfg_attr(miri, ignore = "reads the repository")]
fn each_test_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (_, _, file, function) in ELSEWHERE {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(text.contains(&format!("fn {function}(")), "{function} of {file}");
    }
}
