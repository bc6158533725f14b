use core::mem::ManuallyDrop;
use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use shikiri_abi::{
    IntId, ObjectKind, ObjectName, PartitionId, PartitionSlot, Resource, Status, Units, VcpuIndex,
};
use shikiri_sync::atomic::AtomicU64;

use super::{Got, Object, Objects, Opened, Refusal, Rows, Wake, check};
use crate::account::OverLimit;
use crate::event::{Raise, Shared, Visitor};
use crate::handle::{BadHandle, Handle, HandleEntry};
use crate::partition::Holdings;
use crate::party::{Cold, EndStep, Party, PartyState, Record, Sharing};

const EVENT: ObjectKind = ObjectKind::Event;
const LOCK: ObjectKind = semaphore(1, 1, Units::Held);
const QUEUE: ObjectKind = ObjectKind::Queue { depth: 2 };
const ALL: Rows = Rows { first: 0, count: u16::MAX };

const fn semaphore(initial: u32, maximum: u32, units: Units) -> ObjectKind {
    ObjectKind::Semaphore { initial, maximum, units }
}

fn table(rows: usize) -> Objects<'static> {
    Objects::new(Vec::leak((0..rows).map(|_| Object::new()).collect()))
}

/// A partition. Tests leave it where it is; what has to be zero at the end is asked in [`Side::end`].
struct Side {
    entries: &'static [HandleEntry],
    pending: &'static [AtomicU64],
    state: ManuallyDrop<Box<PartyState>>,
    cold: Vec<Cold>,
    records: [Record; 1],
    holdings: ManuallyDrop<Holdings>,
}

impl Side {
    fn new(slot: u8) -> Self {
        Self::with_handles(slot, 12)
    }

    fn with_handles(slot: u8, handles: usize) -> Self {
        let id = PartitionId(u32::from(slot) + 100);
        Self {
            entries: Vec::leak((0..handles).map(|_| HandleEntry::new()).collect()),
            pending: Vec::leak(vec![AtomicU64::new(0)]),
            state: ManuallyDrop::new(Box::new(PartyState::new(
                id,
                PartitionSlot(slot),
                1,
                [!0; 32],
            ))),
            cold: vec![Cold::default(); handles],
            records: [Record::new()],
            holdings: ManuallyDrop::new(Holdings::new(id, PartitionSlot(slot))),
        }
    }

    fn slot(&mut self) -> PartitionSlot {
        self.open().0.slot()
    }

    fn shared(&self) -> Shared<'static> {
        Shared::new(self.entries, self.pending)
    }

    fn open(&mut self) -> (Party<'_>, &mut Holdings) {
        let shared = self.shared();
        let Self { state, cold, records, holdings, .. } = self;
        (Party::open(state, shared, cold, records), holdings)
    }

    fn object(
        &mut self,
        objects: &Objects<'_>,
        name: &str,
        kind: ObjectKind,
    ) -> Result<Opened, Refusal> {
        let name = ObjectName::new(name.as_bytes()).unwrap();
        let (mut party, holdings) = self.open();
        objects.open(&mut party, holdings, ALL, (&name, kind))
    }

    /// A receive port, bound to an INTID of its own.
    fn port(&mut self, intid: u16) -> Handle {
        let (mut party, holdings) = self.open();
        let port = party.create_receive(holdings.account_mut()).unwrap();
        assert_eq!(party.bind(port, IntId(intid), VcpuIndex(0), Sharing::Alone), Ok(None));
        port
    }

    fn notify(
        &mut self,
        objects: &Objects<'_>,
        handle: Handle,
        port: Option<Handle>,
    ) -> Result<Option<Raise>, Refusal> {
        objects.set_notify(&mut self.open().0, handle, port)
    }

    fn close(&mut self, objects: &Objects<'_>, handle: Handle) -> Result<Wake, Refusal> {
        let (mut party, holdings) = self.open();
        objects.close(&mut party, holdings, handle)
    }

    fn close_port(&mut self, port: Handle) {
        let (mut party, holdings) = self.open();
        let _done = party.close(None, port, holdings.account_mut()).unwrap();
    }

    fn take(&mut self, objects: &Objects<'_>, handle: Handle) -> Result<Got, Refusal> {
        let (shared, slot) = (self.shared(), self.slot());
        objects.try_take(shared, slot, handle).map(|(got, wake)| {
            assert_eq!(told(objects, wake, &[]), [], "nobody here has a port");
            got
        })
    }

    fn post(
        &mut self,
        objects: &Objects<'_>,
        handle: Handle,
        message: [u64; 3],
    ) -> Result<Wake, Refusal> {
        let (shared, slot) = (self.shared(), self.slot());
        objects.post(shared, slot, handle, message)
    }

    /// Ends the partition; how many steps its objects took, and who is to be told.
    fn end(mut self, objects: &Objects<'_>) -> Vec<Wake> {
        let (mut party, holdings) = self.open();
        let mut wakes = Vec::new();
        while let Some(wake) = objects.end_step(&mut party, holdings) {
            wakes.push(wake);
        }
        while party.end_step(None, holdings.account_mut()).0 != EndStep::Done {}
        assert!(holdings.account().is_zero(), "something is left of it");
        wakes
    }
}

/// Who is told, and at which INTID.
fn told(objects: &Objects<'_>, mut wake: Wake, sides: &[&Side]) -> Vec<(u8, u16)> {
    let visitor = Visitor::new();
    let find = |slot| {
        let is_it = |side: &&&Side| side.holdings.slot() == slot;
        sides.iter().find(is_it).map(|side| side.shared())
    };
    let mut all = Vec::new();
    while let Some(sent) = objects.tell(&mut wake, &visitor, find) {
        let raise = sent.arrival.raise.unwrap();
        all.push((raise.partition.0, raise.intid.0));
    }
    all
}

fn is_right(objects: &Objects<'_>, sides: &mut [&mut Side]) {
    let parties: Vec<_> = sides
        .iter_mut()
        .map(|side| {
            let (party, holdings) = side.open();
            (party, &*holdings)
        })
        .collect();
    assert_eq!(check(objects, &parties), Ok(()));
}

#[test]
fn each_refusal_has_its_own_status() {
    let all = [
        (Refusal::BadHandle, Status::BadHandle, 0),
        (Refusal::NotPermitted, Status::NotPermitted, 0),
        (Refusal::Exists, Status::Exists, 0),
        (Refusal::WrongState, Status::WrongState, 0),
        (Refusal::OverLimit(Resource::ManagementMemory), Status::OverLimit, 3),
        (Refusal::Argument(4), Status::InvalidParameter, 4),
        (Refusal::Range, Status::Range, 0),
        (Refusal::Address, Status::Range, 1),
        (Refusal::Alignment, Status::Alignment, 1),
        (Refusal::Empty, Status::Empty, 0),
        (Refusal::Full, Status::Full, 0),
    ];
    for (refusal, status, x1) in all {
        assert_eq!(refusal.answer(), (status, x1));
        assert_eq!(refusal.registers(), [status.code().cast_unsigned(), u64::from(x1), 0, 0]);
    }
    assert_eq!(Refusal::from(BadHandle), Refusal::BadHandle);
    for resource in Resource::ALL {
        let error = OverLimit { resource, limit: None, used: 0, asked: 1 };
        assert_eq!(Refusal::from(error), Refusal::OverLimit(resource));
    }
}

/// What an operation is to answer.
type Row<'t> =
    (&'t str, ObjectKind, &'t [u64], [Result<Got, Refusal>; 2], [Result<(), Refusal>; 2]);

/// Kind × state × operation → answer. The state is made by as many posts as there are numbers; then comes a try of
/// the poster's partition and one of another's, or a post without and one with a message.
#[test]
fn every_kind_in_every_state_answers_as_the_table_says() {
    const UNIT: Result<Got, Refusal> = Ok(Got::Unit { lost: None });
    const EMPTY: Result<Got, Refusal> = Err(Refusal::Empty);
    const SEEN: Result<Got, Refusal> = Ok(Got::Event);
    let range = Err(Refusal::Range);
    let no_message = Err(Refusal::Argument(2));
    let message = |word| Ok(Got::Message([word, 0, 0]));
    let spent = |initial| semaphore(initial, 2, Units::Spent);
    let held = |initial| semaphore(initial, 2, Units::Held);
    let rows: &[Row<'_>] = &[
        ("event, nothing", EVENT, &[], [EMPTY, EMPTY], [Ok(()), no_message]),
        ("event, posted", EVENT, &[0], [SEEN, SEEN], [Ok(()), no_message]),
        ("event, twice", EVENT, &[0, 0], [SEEN, SEEN], [Ok(()), no_message]),
        ("spent, none", spent(0), &[], [EMPTY, EMPTY], [Ok(()), no_message]),
        ("spent, one", spent(0), &[0], [UNIT, EMPTY], [Ok(()), no_message]),
        ("spent, one more", spent(1), &[0], [UNIT, UNIT], [range, no_message]),
        ("spent, all", spent(2), &[], [UNIT, UNIT], [range, no_message]),
        ("held, none", held(0), &[], [EMPTY, EMPTY], [Ok(()), no_message]),
        ("held, one", held(1), &[], [UNIT, EMPTY], [Ok(()), no_message]),
        ("held, all", held(0), &[0, 0], [UNIT, UNIT], [range, no_message]),
        ("queue, empty", QUEUE, &[], [EMPTY, EMPTY], [Ok(()), Ok(())]),
        ("queue, one", QUEUE, &[7], [message(7), EMPTY], [Ok(()), Ok(())]),
        (
            "queue, full",
            QUEUE,
            &[7, 8],
            [message(7), message(8)],
            [Err(Refusal::Full), Err(Refusal::Full)],
        ),
    ];
    for (state, kind, posts, tries, more) in rows {
        let prepared = || {
            let (objects, mut one, mut other) = (table(1), Side::new(0), Side::new(63));
            let here = one.object(&objects, "it", *kind).unwrap().handle;
            let there = other.object(&objects, "it", *kind).unwrap().handle;
            for word in *posts {
                assert!(one.post(&objects, here, [*word, 0, 0]).unwrap().is_empty());
            }
            (objects, (one, here), (other, there))
        };
        let (objects, (mut one, here), (mut other, there)) = prepared();
        let found = [one.take(&objects, here), other.take(&objects, there)];
        assert_eq!(found, *tries, "{state}");
        is_right(&objects, &mut [&mut one, &mut other]);
        for (message, expected) in [[0; 3], [9, 0, 0]].into_iter().zip(more) {
            let (objects, (mut one, here), _) = prepared();
            let posted = one.post(&objects, here, message).map(|wake| assert!(wake.is_empty()));
            assert_eq!(posted, *expected, "{state}: posting {message:?}");
        }
    }
}

#[test]
fn only_a_queue_takes_words_and_the_first_wrong_one_is_named() {
    let (objects, mut side) = (table(1), Side::new(0));
    let event = side.object(&objects, "it", EVENT).unwrap().handle;
    for (number, message) in [(2, [1, 1, 1]), (3, [0, 1, 1]), (4, [0, 0, 1])] {
        assert_eq!(side.post(&objects, event, message), Err(Refusal::Argument(number)));
    }
    assert_eq!(side.take(&objects, event), Err(Refusal::Empty), "nothing was posted");
}

#[test]
fn a_name_is_one_object_for_all_who_open_it() {
    let (objects, mut one, mut other) = (table(2), Side::new(0), Side::new(1));
    let first = one.object(&objects, "frames", EVENT).unwrap();
    let second = other.object(&objects, "frames", EVENT).unwrap();
    assert_eq!((first.is_new, second.is_new), (true, false));
    assert_eq!(objects.used(), 1);
    assert!(one.post(&objects, first.handle, [0; 3]).unwrap().is_empty());
    assert_eq!(other.take(&objects, second.handle), Ok(Got::Event));
    let elsewhere = other.object(&objects, "frames/2", EVENT).unwrap();
    assert!(elsewhere.is_new);
    assert_eq!(other.take(&objects, elsewhere.handle), Err(Refusal::Empty));
    assert_eq!(other.object(&objects, "third", EVENT), Err(Refusal::Full));
    is_right(&objects, &mut [&mut one, &mut other]);
}

#[test]
fn another_kind_or_another_parameter_is_not_the_object() {
    let kinds = [
        EVENT,
        semaphore(0, 2, Units::Held),
        semaphore(1, 2, Units::Held),
        semaphore(0, 3, Units::Held),
        semaphore(0, 2, Units::Spent),
        QUEUE,
        ObjectKind::Queue { depth: 3 },
    ];
    for made in kinds {
        for asked in kinds {
            let (objects, mut one, mut other) = (table(1), Side::new(0), Side::new(1));
            let own = one.object(&objects, "it", made).unwrap().handle;
            let found = [other.object(&objects, "it", asked), one.object(&objects, "it", asked)];
            if made == asked {
                assert_eq!(found.map(|opened| opened.unwrap().is_new), [false; 2]);
                assert_eq!(one.object(&objects, "it", asked).unwrap().handle, own);
            } else {
                assert_eq!(found, [Err(Refusal::Exists); 2]);
                assert!(other.holdings.account().is_zero());
            }
            is_right(&objects, &mut [&mut one, &mut other]);
        }
    }
}

/// The longest names differ in their last byte only.
#[test]
fn names_are_compared_to_their_end() {
    let objects = table(3);
    let mut side = Side::new(0);
    let name = |last: char| String::from_iter(core::iter::repeat_n('n', 62).chain([last]));
    assert!(side.object(&objects, &name('a'), EVENT).unwrap().is_new);
    assert!(side.object(&objects, &name('b'), EVENT).unwrap().is_new);
    assert!(!side.object(&objects, &name('a'), EVENT).unwrap().is_new);
    assert!(side.object(&objects, &name('a')[..62], EVENT).unwrap().is_new);
}

#[test]
fn an_entrys_rows_are_its_own() {
    let (objects, mut side) = (table(3), Side::new(0));
    let mut open = |name: &str, rows| {
        let name = ObjectName::new(name.as_bytes()).unwrap();
        let (mut party, holdings) = side.open();
        objects.open(&mut party, holdings, rows, (&name, EVENT)).map(|opened| opened.is_new)
    };
    let (own, others) = (Rows { first: 0, count: 1 }, Rows { first: 1, count: 2 });
    assert_eq!(open("log/1", others), Ok(true));
    assert_eq!(open("log/2", others), Ok(true));
    assert_eq!(open("log/3", others), Err(Refusal::Full));
    assert_eq!(open("log/2", others), Ok(false));
    assert_eq!(open("frames", own), Ok(true));
    assert_eq!(open("beyond", Rows { first: 3, count: 9 }), Err(Refusal::Full));
}

#[test]
fn an_object_is_closed_as_often_as_it_was_opened_and_goes_with_its_last_opener() {
    let (objects, mut one, mut other) = (table(1), Side::new(0), Side::new(1));
    let kind = semaphore(0, 9, Units::Spent);
    let here = one.object(&objects, "it", kind).unwrap().handle;
    let there = other.object(&objects, "it", kind).unwrap().handle;
    assert_eq!(one.object(&objects, "it", kind).unwrap().handle, here);
    assert!(one.post(&objects, here, [0; 3]).unwrap().is_empty());
    assert!(one.close(&objects, here).unwrap().is_empty());
    assert!(one.post(&objects, here, [0; 3]).unwrap().is_empty(), "open once more");
    assert!(one.close(&objects, here).unwrap().is_empty());
    assert!(one.holdings.account().is_zero());
    let gone = [
        one.post(&objects, here, [0; 3]).err(),
        one.take(&objects, here).err(),
        one.close(&objects, here).err(),
        one.notify(&objects, here, None).err(),
    ];
    assert_eq!(gone, [Some(Refusal::BadHandle); 4]);
    assert_eq!(other.take(&objects, there), Ok(Got::Unit { lost: None }), "the state stays");
    let again = one.object(&objects, "it", kind).unwrap();
    assert!(!again.is_new && again.handle != here);
    for (side, handle) in [(&mut one, again.handle), (&mut other, there)] {
        assert!(side.close(&objects, handle).unwrap().is_empty());
    }
    assert_eq!(objects.used(), 0);
    let fresh = other.object(&objects, "it", kind).unwrap();
    assert!(fresh.is_new);
    assert_eq!(other.take(&objects, fresh.handle), Err(Refusal::Empty), "nothing is left of it");
    is_right(&objects, &mut [&mut one, &mut other]);
}

#[test]
fn an_event_is_seen_by_those_who_have_it_open_when_it_is_posted() {
    let (objects, mut one, mut other) = (table(1), Side::new(0), Side::new(1));
    let here = one.object(&objects, "it", EVENT).unwrap().handle;
    assert!(one.post(&objects, here, [0; 3]).unwrap().is_empty());
    let there = other.object(&objects, "it", EVENT).unwrap().handle;
    assert_eq!(other.take(&objects, there), Err(Refusal::Empty), "posted before it was there");
    assert_eq!(one.take(&objects, here), Ok(Got::Event), "the poster's own included");
    assert_eq!(one.take(&objects, here), Err(Refusal::Empty), "once");
    for _ in 0..2 {
        let wake = one.post(&objects, here, [0; 3]).unwrap();
        assert_eq!(told(&objects, wake, &[&one, &other]), [], "nobody has a port");
    }
    assert_eq!(other.take(&objects, there), Ok(Got::Event));
    assert_eq!(other.take(&objects, there), Err(Refusal::Empty), "an event is not counted");
}

#[test]
fn messages_come_in_order_and_go_round_the_ring() {
    let (objects, mut one, mut other) = (table(1), Side::new(0), Side::new(1));
    for depth in [1, 2, 3, 63, 64] {
        let kind = ObjectKind::Queue { depth };
        let here = one.object(&objects, "it", kind).unwrap().handle;
        let there = other.object(&objects, "it", kind).unwrap().handle;
        let (mut sent, mut taken) = (0_u64, 0_u64);
        for round in 0..200_u64 {
            for _ in 0..=round % 5 {
                match one.post(&objects, here, [sent, !sent, 1]) {
                    Ok(wake) => assert_eq!(told(&objects, wake, &[]), []),
                    Err(refusal) => {
                        assert_eq!((refusal, sent - taken), (Refusal::Full, u64::from(depth)));
                        break;
                    }
                }
                sent += 1;
            }
            for _ in 0..=round % 3 {
                match other.take(&objects, there) {
                    Ok(got) => assert_eq!(got, Got::Message([taken, !taken, 1])),
                    Err(refusal) => {
                        assert_eq!((refusal, sent - taken), (Refusal::Empty, 0));
                        break;
                    }
                }
                taken += 1;
            }
        }
        assert!(taken > 100);
        assert!(one.close(&objects, here).unwrap().is_empty());
        assert!(other.close(&objects, there).unwrap().is_empty());
    }
}

#[test]
fn those_who_wait_are_told_once_at_the_port_that_they_chose() {
    for kind in [EVENT, LOCK, semaphore(0, 5, Units::Spent), QUEUE] {
        let (objects, mut poster) = (table(1), Side::new(0));
        let (mut first, mut second, mut idle) = (Side::new(1), Side::new(2), Side::new(3));
        let from = poster.object(&objects, "it", kind).unwrap().handle;
        if kind == LOCK {
            assert_eq!(poster.take(&objects, from), Ok(Got::Unit { lost: None }));
        }
        let mut handles = Vec::new();
        for (side, intid) in [(&mut first, 41), (&mut second, 42), (&mut idle, 43)] {
            let handle = side.object(&objects, "it", kind).unwrap().handle;
            let port = side.port(intid);
            let raise = side.notify(&objects, handle, Some(port)).unwrap();
            assert_eq!(raise.is_some(), kind == QUEUE, "there is room");
            handles.push(handle);
        }
        assert_eq!(first.take(&objects, handles[0]), Err(Refusal::Empty));
        assert_eq!(second.take(&objects, handles[1]), Err(Refusal::Empty));
        let wake = poster.post(&objects, from, [0; 3]).unwrap();
        let sides = [&poster, &first, &second, &idle];
        let all = [(1, 41), (2, 42), (3, 43)];
        assert_eq!(told(&objects, wake, &sides), all, "{kind:?}");
        assert!(first.take(&objects, handles[0]).is_ok());
        if let ObjectKind::Semaphore { units: Units::Spent, .. } | ObjectKind::Queue { .. } = kind {
            assert_eq!(second.take(&objects, handles[1]), Err(Refusal::Empty), "too late");
            let wake = poster.post(&objects, from, [0; 3]).unwrap();
            let sides = [&poster, &first, &second, &idle];
            assert_eq!(told(&objects, wake, &sides), [(2, 42)], "only who waits again");
        }
        is_right(&objects, &mut [&mut poster, &mut first, &mut second, &mut idle]);
    }
}

#[test]
fn a_poster_can_wait_for_its_own_posts() {
    let (objects, mut side) = (table(1), Side::new(0));
    let handle = side.object(&objects, "it", QUEUE).unwrap().handle;
    let port = side.port(40);
    assert!(side.notify(&objects, handle, Some(port)).unwrap().is_some(), "there is room");
    assert_eq!(side.take(&objects, handle), Err(Refusal::Empty));
    let wake = side.post(&objects, handle, [1; 3]).unwrap();
    assert_eq!(told(&objects, wake, &[&side]), [(0, 40)]);
}

#[test]
fn who_found_a_queue_full_is_told_when_there_is_room() {
    let (objects, mut one, mut other) = (table(1), Side::new(0), Side::new(1));
    let kind = ObjectKind::Queue { depth: 1 };
    let here = one.object(&objects, "it", kind).unwrap().handle;
    let there = other.object(&objects, "it", kind).unwrap().handle;
    assert!(one.post(&objects, here, [1, 0, 0]).unwrap().is_empty());
    let port = one.port(40);
    assert!(one.notify(&objects, here, Some(port)).unwrap().is_some(), "its own message");
    assert_eq!(one.post(&objects, here, [2, 0, 0]), Err(Refusal::Full));
    let (shared, slot) = (other.shared(), other.slot());
    let (got, wake) = objects.try_take(shared, slot, there).unwrap();
    assert_eq!(got, Got::Message([1, 0, 0]));
    assert_eq!(told(&objects, wake, &[&one, &other]), [(0, 40)]);
    assert!(one.post(&objects, here, [2, 0, 0]).unwrap().is_empty());
    assert_eq!(other.take(&objects, there), Ok(Got::Message([2, 0, 0])), "told once");
    is_right(&objects, &mut [&mut one, &mut other]);
}

#[test]
fn a_port_that_is_chosen_late_is_told_at_once_of_what_is_there() {
    for kind in [EVENT, semaphore(0, 5, Units::Spent), QUEUE] {
        for has_tried in [false, true] {
            let (objects, mut one, mut other) = (table(1), Side::new(0), Side::new(1));
            let here = one.object(&objects, "it", kind).unwrap().handle;
            let there = other.object(&objects, "it", kind).unwrap().handle;
            if has_tried {
                assert_eq!(other.take(&objects, there), Err(Refusal::Empty));
            }
            let wake = one.post(&objects, here, [0; 3]).unwrap();
            assert_eq!(told(&objects, wake, &[&one, &other]), [], "nowhere to tell it");
            let port = other.port(40);
            let raise = other.notify(&objects, there, Some(port)).unwrap().unwrap();
            assert_eq!((raise.partition, raise.intid), (PartitionSlot(1), IntId(40)));
            // Whoever has cleared it and chooses it again is told again, as long as there is something.
            assert_eq!(other.notify(&objects, there, Some(port)), Ok(Some(raise)));
            assert!(other.take(&objects, there).is_ok());
            let nothing = other.notify(&objects, there, Some(port)).unwrap();
            assert_eq!(nothing.is_some(), kind == QUEUE, "there is room in a queue");
            is_right(&objects, &mut [&mut one, &mut other]);
        }
    }
    let (objects, mut one, mut other) = (table(1), Side::new(0), Side::new(1));
    let kind = ObjectKind::Queue { depth: 1 };
    let here = one.object(&objects, "it", kind).unwrap().handle;
    let there = other.object(&objects, "it", kind).unwrap().handle;
    assert!(one.post(&objects, here, [0; 3]).unwrap().is_empty());
    assert_eq!(one.post(&objects, here, [0; 3]), Err(Refusal::Full));
    assert_eq!(other.take(&objects, there), Ok(Got::Message([0; 3])));
    let port = one.port(40);
    assert!(one.notify(&objects, here, Some(port)).unwrap().is_some(), "there is room by now");
}

#[test]
fn a_port_serves_one_object_and_is_free_when_it_is_given_up() {
    let (objects, mut side, mut other) = (table(2), Side::new(0), Side::new(1));
    let first = side.object(&objects, "first", EVENT).unwrap().handle;
    let second = side.object(&objects, "second", EVENT).unwrap().handle;
    let (port, later) = (side.port(40), side.port(41));
    assert_eq!(side.notify(&objects, first, Some(port)), Ok(None));
    assert_eq!(side.notify(&objects, second, Some(port)), Err(Refusal::WrongState));
    let send = {
        let (mut party, holdings) = side.open();
        let send = party.create_send(holdings.account_mut()).unwrap();
        assert_eq!(party.connect(send, port), Err(crate::party::Refusal::WrongState));
        assert_eq!(party.set_notify(port), Err(crate::party::Refusal::WrongState));
        send
    };
    assert_eq!(side.notify(&objects, first, Some(send)), Err(Refusal::BadHandle));
    assert_eq!(side.notify(&objects, port, Some(port)), Err(Refusal::BadHandle));
    is_right(&objects, &mut [&mut side, &mut other]);
    // Another port, none, and closing: each time the former one is free.
    assert_eq!(side.notify(&objects, first, Some(later)), Ok(None));
    assert_eq!(side.notify(&objects, second, Some(port)), Ok(None));
    assert_eq!(side.notify(&objects, second, None), Ok(None));
    assert_eq!(side.open().0.connect(send, port), Ok(()));
    assert_eq!(side.notify(&objects, second, Some(port)), Err(Refusal::WrongState));
    assert!(side.close(&objects, first).unwrap().is_empty());
    assert_eq!(side.notify(&objects, second, Some(later)), Ok(None));
    is_right(&objects, &mut [&mut side, &mut other]);
}

#[test]
fn a_closed_port_is_not_told_and_neither_is_what_comes_in_its_place() {
    let (objects, mut one, mut other) = (table(1), Side::new(0), Side::new(1));
    let here = one.object(&objects, "it", EVENT).unwrap().handle;
    let there = other.object(&objects, "it", EVENT).unwrap().handle;
    let port = other.port(40);
    assert_eq!(other.notify(&objects, there, Some(port)), Ok(None));
    assert_eq!(other.take(&objects, there), Err(Refusal::Empty));
    other.close_port(port);
    let later = other.port(41);
    assert_eq!(later.0 & 0xffff, port.0 & 0xffff, "in the same place");
    let wake = one.post(&objects, here, [0; 3]).unwrap();
    assert_eq!(told(&objects, wake, &[&one, &other]), []);
    let raise = other.notify(&objects, there, Some(later)).unwrap().unwrap();
    assert_eq!(raise.intid, IntId(41), "another port is told of what was missed");
    is_right(&objects, &mut [&mut one, &mut other]);
}

#[test]
fn units_of_a_holder_that_goes_are_released_and_who_it_was_is_told_once() {
    for is_end in [false, true] {
        let (objects, mut holder, mut waiter) = (table(1), Side::new(7), Side::new(2));
        let kind = semaphore(3, 3, Units::Held);
        let here = holder.object(&objects, "it", kind).unwrap().handle;
        let there = waiter.object(&objects, "it", kind).unwrap().handle;
        for _ in 0..3 {
            assert_eq!(holder.take(&objects, here), Ok(Got::Unit { lost: None }));
        }
        let port = waiter.port(40);
        assert_eq!(waiter.notify(&objects, there, Some(port)), Ok(None));
        assert_eq!(waiter.take(&objects, there), Err(Refusal::Empty));
        if is_end {
            for wake in holder.end(&objects) {
                let expected = if wake.is_empty() { vec![] } else { vec![(2, 40)] };
                assert_eq!(told(&objects, wake, &[&waiter]), expected);
            }
        } else {
            let wake = holder.close(&objects, here).unwrap();
            assert_eq!(told(&objects, wake, &[&holder, &waiter]), [(2, 40)]);
            is_right(&objects, &mut [&mut holder, &mut waiter]);
        }
        let lost = Some(PartitionId(107));
        assert_eq!(waiter.take(&objects, there), Ok(Got::Unit { lost }));
        assert_eq!(waiter.take(&objects, there), Ok(Got::Unit { lost: None }));
        assert_eq!(waiter.take(&objects, there), Ok(Got::Unit { lost: None }));
        assert_eq!(waiter.take(&objects, there), Err(Refusal::Empty));
        is_right(&objects, &mut [&mut waiter]);
    }
}

#[test]
fn each_of_several_that_went_is_told_of_even_if_its_successor_has_the_object_open() {
    let (objects, mut waiter) = (table(1), Side::new(9));
    let kind = semaphore(4, 4, Units::Held);
    let there = waiter.object(&objects, "it", kind).unwrap().handle;
    for slot in [5, 3] {
        let mut holder = Side::new(slot);
        let here = holder.object(&objects, "it", kind).unwrap().handle;
        assert_eq!(holder.take(&objects, here), Ok(Got::Unit { lost: None }));
        assert!(holder.end(&objects).iter().all(Wake::is_empty), "nobody waits");
        let mut again = Side::new(slot);
        assert!(again.object(&objects, "it", kind).is_ok());
        if slot == 5 {
            assert_eq!(
                waiter.take(&objects, there),
                Ok(Got::Unit { lost: Some(PartitionId(105)) })
            );
            assert!(waiter.post(&objects, there, [0; 3]).unwrap().is_empty());
        }
    }
    let mut third = Side::new(4);
    let here = third.object(&objects, "it", kind).unwrap().handle;
    assert_eq!(third.take(&objects, here), Ok(Got::Unit { lost: Some(PartitionId(103)) }));
    assert!(third.end(&objects).iter().all(Wake::is_empty));
    assert_eq!(waiter.take(&objects, there), Ok(Got::Unit { lost: Some(PartitionId(104)) }));
    assert_eq!(waiter.take(&objects, there), Ok(Got::Unit { lost: None }));
}

#[test]
fn what_is_used_up_is_not_given_back_by_anybodys_end() {
    let (objects, mut taker, mut other) = (table(1), Side::new(0), Side::new(1));
    let kind = semaphore(1, 9, Units::Spent);
    let here = taker.object(&objects, "it", kind).unwrap().handle;
    let there = other.object(&objects, "it", kind).unwrap().handle;
    assert_eq!(taker.take(&objects, here), Ok(Got::Unit { lost: None }));
    assert!(taker.end(&objects).iter().all(Wake::is_empty));
    assert_eq!(other.take(&objects, there), Err(Refusal::Empty));
    is_right(&objects, &mut [&mut other]);
}

#[test]
fn opening_needs_an_account_a_handle_and_a_row_and_a_refusal_takes_none_of_them() {
    let (objects, mut side) = (table(3), Side::with_handles(0, 2));
    side.holdings.account_mut().set_limit(Resource::ManagementMemory, Some(1));
    let first = side.object(&objects, "first", EVENT).unwrap().handle;
    let refused = Err(Refusal::OverLimit(Resource::ManagementMemory));
    assert_eq!(side.object(&objects, "second", EVENT), refused, "the limit");
    assert_eq!(objects.used(), 1);
    side.holdings.account_mut().set_limit(Resource::ManagementMemory, None);
    assert!(side.object(&objects, "second", EVENT).is_ok());
    assert_eq!(side.object(&objects, "third", EVENT), refused, "the handles");
    assert_eq!((objects.used(), side.holdings.shares()), (2, 2));
    assert!(side.close(&objects, first).unwrap().is_empty());
    assert!(side.object(&objects, "third", EVENT).is_ok());
    is_right(&objects, &mut [&mut side]);
    let slots_beyond = Side::new(64).object(&objects, "fourth", EVENT);
    assert_eq!(slots_beyond, Err(Refusal::NotPermitted));
}

#[test]
fn the_end_of_a_partition_closes_an_object_in_each_step() {
    let (objects, mut side, mut other) = (table(8), Side::new(0), Side::new(1));
    for number in 0..6 {
        let name = format!("object/{number}");
        let handle = side.object(&objects, &name, EVENT).unwrap().handle;
        assert!(side.object(&objects, &name, EVENT).is_ok(), "twice");
        if number == 2 {
            let port = side.port(40);
            assert_eq!(side.notify(&objects, handle, Some(port)), Ok(None));
            assert!(other.object(&objects, &name, EVENT).is_ok());
        }
    }
    assert_eq!(side.end(&objects).len(), 6);
    assert_eq!(objects.used(), 1);
    is_right(&objects, &mut [&mut other]);
}
