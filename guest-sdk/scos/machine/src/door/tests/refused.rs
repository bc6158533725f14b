//! What is said of calls that are refused.

use super::{CREATED, ENDED, ENDING, Fake, OWNER, PAUSED, linux, refused};
use crate::Machine as _;
use crate::door::{
    Door, EXIT_READ, HANDOUT_READ, LIMIT_SET, PARTITION_CREATE, PARTITION_DESTROY, PARTITION_PAUSE,
    PARTITION_RESTART, PARTITION_RESUME, PARTITION_START, PARTITION_STOP, PEERS_SET, PORT_READ,
    VCPU_ADD,
};
use crate::refusal::{Act, Refusal};
use crate::view::{Cores, NewPartition, NewVcpu, Time};
use shikiri_abi::{PartitionId, PartitionRef, PartitionSlot, Resource, Status};

/// The one partition that there is, in a phase, and what a call of a number is answered.
fn door(phase: u64, (number, answer): (u16, [u64; 4])) -> (Door<Fake>, PartitionRef) {
    let door = Door(Fake::default());
    let mut state = door.0.state.borrow_mut();
    (state.phase, state.id) = (phase, 7);
    state.answers.insert(number, answer);
    drop(state);
    (door, PartitionRef { place: PartitionSlot(0), id: PartitionId(7) })
}

const fn over(which: u64, most: u64) -> [u64; 4] {
    [Status::OverLimit.code().cast_unsigned(), which, most, 0]
}

#[test]
fn what_does_not_fit_a_state_is_told_by_the_state_and_the_name() {
    let wrong = refused(Status::WrongState);
    for (act, number, phase, text) in [
        (
            Act::Start,
            PARTITION_START,
            PAUSED,
            "l is paused: only one that is created or ended can be started",
        ),
        (Act::Pause, PARTITION_PAUSE, ENDED, "l is ended: only one that is active can be paused"),
        (
            Act::Resume,
            PARTITION_RESUME,
            CREATED,
            "l is created: only one that is paused can be resumed",
        ),
        (Act::End, PARTITION_STOP, CREATED, "l is created: only one that lives can be ended"),
        (
            Act::Restart,
            PARTITION_RESTART,
            CREATED,
            "l is created: only one that was started before can be restarted",
        ),
        (
            Act::Destroy,
            PARTITION_DESTROY,
            PAUSED,
            "l is paused: only one that is created or ended can be destroyed",
        ),
        // It was ended meanwhile.
        (Act::Destroy, PARTITION_DESTROY, ENDED, "destroy of partition 7: wrong state"),
    ] {
        let (mut door, it) = door(phase, (number, wrong));
        let refusal = door.act(it, act).unwrap_err();
        assert_eq!((refusal.to_string().as_str(), refusal.status), (text, Status::WrongState));
    }
    let (door, it) = door(ENDED, (PORT_READ, wrong));
    let text = "l is ended: only one that lives has ports";
    assert_eq!(door.things(it).unwrap_err().to_string(), text);
    door.0.state.borrow_mut().answers.insert(EXIT_READ, wrong);
    let text = "l is ended: only one that lives has exits";
    assert_eq!(door.exits(it, 0).unwrap_err().to_string(), text);
    // Nobody is asked who has gone.
    let gone = PartitionRef { id: PartitionId(6), ..it };
    let text = "ports of partition 6: wrong state";
    assert_eq!(door.things(gone).unwrap_err().to_string(), text);
}

#[test]
fn a_start_of_one_that_was_still_ending_is_told_by_that_state() {
    let (mut door, it) = door(ENDING, (PARTITION_START, refused(Status::WrongState)));
    door.0.state.borrow_mut().overtaken = Some((PARTITION_START, ENDED));
    let text = "l is ending: only one that is created or ended can be started";
    assert_eq!(door.act(it, Act::Start).unwrap_err().to_string(), text);
    // That it has ended is no reason not to start it.
    let text = "start of partition 7: wrong state";
    assert_eq!(door.act(it, Act::Start).unwrap_err().to_string(), text);
}

#[test]
fn what_can_never_be_done_to_a_partition_is_said() {
    let invalid = refused(Status::InvalidParameter);
    let (mut door, it) = door(ENDED, (PARTITION_DESTROY, invalid));
    let refusal = door.act(OWNER, Act::Destroy).unwrap_err().to_string();
    let text = "o is of the description: only one that was made at run time can be destroyed";
    assert_eq!(refusal, text);
    door.0.state.borrow_mut().answers.insert(PARTITION_PAUSE, invalid);
    assert_eq!(door.act(it, Act::Pause).unwrap_err().to_string(), "l cannot pause itself");
    door.0.state.borrow_mut().answers.insert(PEERS_SET, invalid);
    let itself = door.permit(it, it, true).unwrap_err().to_string();
    assert_eq!(itself, "a partition needs no permission to talk to itself");
    door.0.state.borrow_mut().answers.insert(PARTITION_START, refused(Status::WrongState));
    let text = "o cannot be started while others have devices of its";
    assert_eq!(door.act(OWNER, Act::Start).unwrap_err().to_string(), text);
    door.0.state.borrow_mut().answers.insert(PARTITION_START, over(0x103, 0));
    let text = "l has no limit of management_memory, and needs one: what may be handed out of it is bounded";
    assert_eq!(door.act(it, Act::Start).unwrap_err().to_string(), text);
}

#[test]
fn a_limit_over_the_hand_out_is_told_with_its_amount_and_with_what_is_left() {
    let (mut door, it) = door(CREATED, (LIMIT_SET, over(0x102, 0)));
    door.0.state.borrow_mut().answers.insert(HANDOUT_READ, [0, 65_536, 1024, 0]);
    for (limit, text) in [
        (
            Some(1 << 18),
            "memory: a limit of 1G is over what may be handed out of memory: 256M in all, 4M of it given already",
        ),
        (
            None,
            "memory: no limit is over what may be handed out of memory: 256M in all, 4M of it given already",
        ),
    ] {
        let refusal = door.set_limit(it, Resource::Memory, limit).unwrap_err();
        assert_eq!((refusal.to_string().as_str(), refusal.status), (text, Status::OverLimit));
    }
}

/// What the making of one is refused with, if a call of a number is answered so.
fn refusal_of(new: &NewPartition, call: (u16, [u64; 4])) -> Refusal {
    let (mut door, _) = door(0, call);
    let refusal = door.create(new).unwrap_err();
    assert_eq!(door.0.state.borrow().phase, 0, "nothing is left of it");
    refusal
}

#[test]
fn a_name_that_cannot_be_given_is_named_with_the_rule() {
    let possible = "1 to 31 of a-z, 0-9, _ and - are possible";
    let long = NewPartition { name: "l".repeat(33), ..linux() };
    for (new, status, text) in [
        (linux(), Status::Exists, "name: `l`: there is one of this name already".to_owned()),
        (linux(), Status::InvalidParameter, format!("name: `l`: {possible}")),
        (long.clone(), Status::InvalidParameter, format!("name: `{}`: {possible}", long.name)),
        (
            linux(),
            Status::Full,
            "all places that the description has for partitions made at run time are taken"
                .to_owned(),
        ),
    ] {
        let refusal = refusal_of(&new, (PARTITION_CREATE, refused(status)));
        assert_eq!((refusal.to_string(), refusal.status), (text, status));
    }
}

#[test]
fn cores_that_cannot_be_given_are_named_with_what_there_is() {
    let vcpu = NewVcpu { cores: Cores(0x30), time: Time::Owned, priority: 0 };
    let with = |time| NewPartition { vcpus: vec![NewVcpu { time, ..vcpu }; 2], ..linux() };
    let half = Time::Reservation { budget_us: 5_000, period_us: 10_000 };
    let range = refused(Status::Range);
    for (new, answer, text) in [
        (with(Time::Owned), range, "cores: `4,5`: the machine has cores 0 to 3"),
        (
            with(half),
            over(512, 250_000),
            "cores: `4,5`: over what these cores have left, 25% at most; a vCPU takes 50%",
        ),
        (with(half), over(0, 0), "core_time_limit: its vCPUs take 100%, which is more"),
    ] {
        assert_eq!(refusal_of(&new, (VCPU_ADD, answer)).to_string(), text);
    }
}

#[test]
fn a_share_out_of_range_is_refused_with_the_range() {
    for (budget_us, period_us, text) in [
        (49, 1_000, "share: a budget of 49us; 50us is the least"),
        (50, 99, "share: a period of 99us; 100us to 1s are possible"),
        (50, 1_000_001, "share: a period of 1000001us; 100us to 1s are possible"),
    ] {
        let time = Time::Reservation { budget_us, period_us };
        let vcpu = NewVcpu { cores: Cores(1), time, priority: 0 };
        let new = NewPartition { vcpus: vec![vcpu], ..linux() };
        let refusal = Door(Fake::default()).create(&new).unwrap_err().to_string();
        assert_eq!(refusal, text);
    }
}
