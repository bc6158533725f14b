use std::vec;
use std::vec::Vec;

use shikiri_abi::{
    IntId, PartitionId, PartitionSlot, RESOURCE_COUNT, Resource, Status, TalkCall, VcpuIndex,
};
use shikiri_sync::atomic::AtomicU64;

use super::{Ask, Cold, EndStep, Party, PartyState, Record, Refusal, Sharing, check, first_handle};
use crate::account::{Account, OverLimit};
use crate::event::{Before, Shared, Visitor};
use crate::handle::{BadHandle, Handle, HandleEntry, Rights};

struct Side {
    entries: Vec<HandleEntry>,
    pending: Vec<AtomicU64>,
    state: PartyState,
    cold: Vec<Cold>,
    records: Vec<Record>,
    account: Account,
}

impl Side {
    fn new(slot: u8, handles: usize, records: usize) -> Self {
        let id = PartitionId(u32::from(slot) + 1);
        Self {
            entries: (0..handles).map(|_| HandleEntry::new()).collect(),
            pending: (0..Shared::words(handles)).map(|_| AtomicU64::new(0)).collect(),
            state: PartyState::new(id, PartitionSlot(slot), 2, [!0; 32]),
            cold: vec![Cold::default(); handles],
            records: vec![Record::new(); records],
            account: Account::new(id),
        }
    }

    fn shared(&self) -> Shared<'_> {
        Shared::new(&self.entries, &self.pending)
    }

    fn open(&mut self) -> (Party<'_>, &mut Account) {
        let Self { entries, pending, state, cold, records, account } = self;
        (Party::open(state, Shared::new(entries, pending), cold, records), account)
    }

    /// Asks `to` with a new port, `count` times.
    fn flood(&mut self, to: &mut Self, count: u64) {
        for word in 0..count {
            let ((mut party, account), (mut peer, _)) = (self.open(), to.open());
            let port = party.create_send(account).unwrap();
            party.ask(Some(&mut peer), Ask { port, service: 7, word }).unwrap();
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A charge that nobody refunds must not panic again.
            let empty = PartyState::new(PartitionId(0), PartitionSlot(0), 0, [0; 32]);
            std::mem::forget(std::mem::replace(&mut self.state, empty));
        }
    }
}

/// Ends a party that meets only `other`; the number of steps.
fn end(side: &mut Side, other: &mut Side) -> u32 {
    for steps in 1..10_000 {
        let ((mut party, account), (mut peer, _)) = (side.open(), other.open());
        if party.end_step(Some(&mut peer), account).0 == EndStep::Done {
            assert!(side.account.is_zero());
            return steps;
        }
    }
    panic!("the end does not come");
}

#[test]
fn a_wrong_count_of_an_intids_ports_is_found() {
    let mut side = Side::new(0, 8, 0);
    let (mut party, account) = side.open();
    for (intid, sharing, ports) in [(32, Sharing::Alone, 1), (33, Sharing::Grouped, 2)] {
        for _ in 0..ports {
            let port = party.create_receive(account).unwrap();
            party.bind(port, IntId(intid), VcpuIndex(0), sharing).unwrap();
        }
    }
    assert_eq!(check(&[party]), Ok(()));
    for (intid, count) in [(32, 0), (32, 1), (33, 1), (33, 3), (34, 1)] {
        let right = std::mem::replace(&mut side.state.uses[intid], count);
        assert_eq!(check(&[side.open().0]), Err("an INTID's count is wrong"), "{intid} {count}");
        side.state.uses[intid] = right;
    }
    assert_eq!(check(&[side.open().0]), Ok(()));
    side.state.uses[32] = 0;
    let (mut party, account) = side.open();
    let port = party.create_receive(account).unwrap();
    party.bind(port, IntId(32), VcpuIndex(0), Sharing::Grouped).unwrap();
    assert_eq!(check(&[party]), Err("an INTID alone for several"));
    side.state.uses[32] = super::ALONE;
    end(&mut side, &mut Side::new(1, 2, 0));
}

/// One more would read as an INTID that is one port's alone, and the first that is closed would take it from all the others.
#[test]
fn an_intid_of_as_many_ports_as_can_share_one_stays_the_groups() {
    let mut side = Side::new(0, 65_535, 0);
    let (mut party, account) = side.open();
    let ports: Vec<_> = (0..65_535).map(|_| party.create_receive(account).unwrap()).collect();
    let (last, all) = ports.split_last().unwrap();
    let mut bind = |port: &Handle| party.bind(*port, IntId(33), VcpuIndex(0), Sharing::Grouped);
    assert!(all.iter().all(|port| bind(port) == Ok(None)));
    assert_eq!(bind(last), Err(Refusal::WrongState));
    let closed = party.close(None, all[0], account).unwrap();
    assert_eq!(closed.unused, None, "it is pending for the others");
    assert_eq!(party.bind(*last, IntId(33), VcpuIndex(0), Sharing::Grouped), Ok(None));
    while party.end_step(None, account).0 != EndStep::Done {}
    assert!(account.is_zero());
}

#[test]
fn each_refusal_has_its_own_status() {
    let all = [
        (Refusal::BadHandle, Status::BadHandle, 0),
        (Refusal::WrongState, Status::WrongState, 0),
        (Refusal::Refused, Status::Refused, 0),
        (Refusal::PeerGone, Status::PeerGone, 0),
        (Refusal::Empty, Status::Empty, 0),
        (Refusal::OverLimit(Resource::EventPorts), Status::OverLimit, 4),
        (Refusal::Argument(2), Status::InvalidParameter, 2),
        (Refusal::Moved, Status::Again, 0),
        (Refusal::Busy, Status::Again, 0),
        (Refusal::NotSupported, Status::NotSupported, 0),
        (Refusal::NotOwner, Status::NotOwner, 0),
        (Refusal::Range, Status::Range, 0),
        (Refusal::Full, Status::Full, 0),
        (Refusal::NoMemory, Status::NoMemory, 0),
    ];
    for (refusal, status, x1) in all {
        assert_eq!(refusal.answer(), (status, x1));
    }
    assert_eq!(Refusal::from(BadHandle), Refusal::BadHandle);
    for resource in Resource::ALL {
        let error = OverLimit { resource, limit: None, used: 0, asked: 1 };
        assert_eq!(Refusal::from(error), Refusal::OverLimit(resource));
    }
    assert_eq!(Resource::ALL.len(), RESOURCE_COUNT);
}

/// An entry of the table as PORT_READ tells it.
fn looked(side: &Side, entry: u16) -> [u64; 3] {
    side.shared().look(entry).unwrap()
}

#[test]
fn a_look_from_outside_tells_how_each_port_stands_and_passes_64_entries_at_most_p7() {
    const NOBODY: u64 = u64::MAX;
    let (mut one, mut two) = (Side::new(1, 200, 4), Side::new(2, 200, 4));
    assert_eq!(looked(&one, 0), [63, NOBODY, 0], "nothing up to there");
    assert_eq!(looked(&one, 150), [199, NOBODY, 0]);
    assert_eq!(one.shared().look(200), None);
    let (mut party, account) = one.open();
    let send = party.create_send(account).unwrap();
    let entry = u16::try_from(send.0 & 0xffff).unwrap();
    let what = |kind: u64, state: u64| u64::from(entry) | kind << 16 | state << 24;
    assert_eq!(looked(&one, entry), [what(1, 1), NOBODY, 0], "idle");
    let ((mut party, _), (mut peer, other)) = (one.open(), two.open());
    party.ask(Some(&mut peer), Ask { port: send, service: 7, word: 0 }).unwrap();
    let receive = peer.create_receive(other).unwrap();
    assert_eq!(looked(&one, entry), [what(1, 2), 2, 0], "its request waits");
    let ((mut party, _), (mut peer, _)) = (two.open(), one.open());
    let signal = party.take_signal(Some(&mut peer)).unwrap();
    let request = signal.request.0 & 0xffff;
    assert_eq!(looked(&one, entry), [what(1, 3), 2, 0], "it was taken");
    let shown = looked(&two, u16::try_from(request).unwrap());
    assert_eq!(shown, [request | 3 << 16 | 2 << 24, 1 | u64::from(entry) << 8, 0]);
    let ((mut party, _), (mut peer, _)) = (two.open(), one.open());
    party.accept(Some(&mut peer), signal.request, receive).unwrap();
    let there = receive.0 & 0xffff;
    assert_eq!(looked(&one, entry), [what(1, 4), 2 | there << 8, 0], "connected");
    let (mut party, _) = two.open();
    party.bind(receive, IntId(70), VcpuIndex(1), Sharing::Alone).unwrap();
    two.shared().mask(receive).unwrap();
    let shown = looked(&two, u16::try_from(there).unwrap());
    assert_eq!(shown, [there | 2 << 16 | (1 | 2 | 8) << 24, NOBODY, 70 | 1 << 16]);
    end(&mut two, &mut one);
    assert_eq!(looked(&one, entry), [what(1, 6), NOBODY, 0], "its peer has gone");
    end(&mut one, &mut two);
}

#[test]
fn a_sender_that_floods_does_not_stand_in_front_of_the_others() {
    let (mut loud, mut quiet, mut server) =
        (Side::new(9, 200, 100), Side::new(4, 8, 4), Side::new(0, 300, 1));
    loud.flood(&mut server, 100);
    quiet.flood(&mut server, 2);
    let mut order = Vec::new();
    for _ in 0..102 {
        let (mut party, _) = server.open();
        let sender =
            if party.next_sender() == Some(PartitionSlot(9)) { &mut loud } else { &mut quiet };
        let (mut peer, _) = sender.open();
        let signal = party.take_signal(Some(&mut peer)).unwrap();
        order.push((signal.from.0, signal.word));
    }
    assert_eq!(order[..5], [(5, 0), (10, 0), (5, 1), (10, 1), (10, 2)]);
    assert_eq!(order[101], (10, 99));
    assert_eq!(server.open().0.take_signal(None).err(), Some(Refusal::Empty));
    end(&mut loud, &mut server);
    end(&mut quiet, &mut server);
    end(&mut server, &mut loud);
}

#[test]
#[cfg_attr(miri, ignore = "a thousand requests: a minute under Miri, and other tests make some")]
fn a_receiver_that_ends_withdraws_in_steps_and_the_sender_can_ask_again() {
    let (mut sender, mut server) = (Side::new(1, 1100, 1000), Side::new(2, 1000, 1));
    sender.flood(&mut server, 1000);
    let (mut party, account) = sender.open();
    let port = party.create_send(account).unwrap();
    let (mut peer, _) = server.open();
    let refused = party.ask(Some(&mut peer), Ask { port, service: 7, word: 0 });
    assert_eq!(
        refused,
        Err(Refusal::OverLimit(Resource::ManagementMemory)),
        "records are the sender's"
    );
    assert_eq!(check(&[sender.open().0, server.open().0]), Ok(()));
    let steps = end(&mut server, &mut sender);
    assert_eq!(check(&[sender.open().0]), Ok(()));
    assert!((63..100).contains(&steps), "{steps} steps for 1,000 requests and 1,000 entries");
    let mut again = Side::new(2, 1000, 1);
    let ((mut party, _), (mut peer, _)) = (sender.open(), again.open());
    assert_eq!(party.ask(Some(&mut peer), Ask { port, service: 7, word: 1 }), Ok(None));
    end(&mut sender, &mut again);
    end(&mut again, &mut sender);
}

/// HANDLE_LIMIT, of a handle that is there.
fn limit(side: &mut Side, Handle(handle): Handle, keep: Rights) {
    let (mut party, account) = side.open();
    let done = party.carry_out(None, account, TalkCall::Limit { handle, keep }).unwrap();
    assert_eq!(done.answer, [0, keep.bits(), 0, 0]);
}

#[test]
fn whom_a_handle_meets_and_how_it_ends_is_no_question_of_rights() {
    let (mut one, mut two) = (Side::new(1, 8, 4), Side::new(2, 8, 4));
    for keep in [Rights::NONE, Rights::USE, Rights::CHANGE] {
        let ((mut party, account), (mut peer, _)) = (one.open(), two.open());
        let port = party.create_send(account).unwrap();
        party.ask(Some(&mut peer), Ask { port, service: 7, word: 0 }).unwrap();
        limit(&mut one, port, keep);
        let ((mut party, account), (mut peer, _)) = (one.open(), two.open());
        assert_eq!(party.other_end(port), Some(PartitionSlot(2)));
        let closed = party.close(Some(&mut peer), port, account);
        let refused = (keep != Rights::CHANGE).then_some(Refusal::BadHandle);
        assert_eq!(closed.err(), refused, "{keep:?}");
        assert_eq!(check(&[party, peer]), Ok(()));
    }
    end(&mut one, &mut two);
    end(&mut two, &mut one);
}

/// A driver that begins anew clears its port and chooses it again: what waits is told then, at that port as at another one.
#[test]
fn whoever_chooses_a_port_for_signals_is_told_of_what_waits_again_too_p9() {
    let (mut side, mut other) = (Side::new(0, 8, 1), Side::new(1, 8, 1));
    let (mut party, account) = side.open();
    let ports = [40, 41].map(|intid| {
        let port = party.create_receive(account).unwrap();
        party.bind(port, IntId(intid), VcpuIndex(0), Sharing::Alone).unwrap();
        port
    });
    for _ in 0..2 {
        assert_eq!(party.set_notify(ports[0]), Ok(None), "nothing waits");
    }
    other.flood(&mut side, 1);
    for (port, intid) in [(0, 40), (0, 40), (1, 41), (1, 41)] {
        let told = side.open().0.set_notify(ports[port]).unwrap();
        assert_eq!(told.map(|raise| raise.intid), Some(IntId(intid)));
    }
    let (mut party, mut peer) = (side.open().0, other.open().0);
    let _signal = party.take_signal(Some(&mut peer)).unwrap();
    assert_eq!(party.set_notify(ports[1]), Ok(None), "it was taken");
    end(&mut other, &mut side);
    end(&mut side, &mut other);
}

#[test]
fn an_ending_party_is_asked_nothing() {
    let (mut sender, mut server) = (Side::new(1, 200, 100), Side::new(2, 70, 1));
    sender.flood(&mut server, 40);
    let ((mut party, account), (mut peer, _)) = (server.open(), sender.open());
    assert_eq!(party.end_step(Some(&mut peer), account).0, EndStep::Again);
    let port = peer.create_send(&mut Account::new(PartitionId(2)));
    let ask = Ask { port: port.unwrap(), service: 7, word: 0 };
    assert_eq!(peer.ask(Some(&mut party), ask), Err(Refusal::PeerGone));
    std::mem::forget((sender, server));
}

/// 1,000 ports at one INTID: one interrupt, and as many calls as there are words to take them all.
#[test]
fn many_ports_share_an_intid() {
    let mut side = Side::new(0, 2000, 1);
    let mut sends = Vec::new();
    for _ in 0..1000 {
        let (mut party, account) = side.open();
        let (send, receive) =
            (party.create_send(account).unwrap(), party.create_receive(account).unwrap());
        party.connect(send, receive).unwrap();
        party.bind(receive, IntId(40), VcpuIndex(1), Sharing::Grouped).unwrap();
        sends.push((send, receive));
    }
    let (visitor, shared) = (Visitor::new(), side.shared());
    for round in 0..2 {
        for (send, _) in &sends {
            let sent = shared.send(*send, &visitor, |_| Some(shared)).unwrap();
            let before = if round == 0 { Before::Idle } else { Before::Pending };
            assert_eq!((sent.arrival.before, sent.arrival.raise.is_some()), (before, round == 0));
        }
    }
    let words = u16::try_from(Shared::words(2000)).unwrap();
    let taken: u32 = (0..words).map(|word| shared.take(word).count_ones()).sum();
    assert_eq!((taken, words), (1000, 32));
    assert_eq!((0..=words).map(|word| shared.take(word)).sum::<u64>(), 0);
    let mut other = Side::new(1, 1, 1);
    end(&mut side, &mut other);
}

/// A connected pair, bound to INTID 40.
fn bound(side: &mut Side, sharing: Sharing) -> (Handle, Handle) {
    let (mut party, account) = side.open();
    let (send, receive) =
        (party.create_send(account).unwrap(), party.create_receive(account).unwrap());
    party.connect(send, receive).unwrap();
    party.bind(receive, IntId(40), VcpuIndex(1), sharing).unwrap();
    (send, receive)
}

#[test]
fn a_port_with_an_intid_of_its_own_is_pending_where_its_interrupt_is() {
    let mut side = Side::new(0, 4, 1);
    let (send, receive) = bound(&mut side, Sharing::Alone);
    let (visitor, shared) = (Visitor::new(), side.shared());
    let arrival = shared.send(send, &visitor, |_| Some(shared)).unwrap().arrival;
    assert_eq!(arrival.before, Before::AsTheInterrupt);
    let raise = arrival.raise.unwrap();
    assert_eq!(
        (raise.partition, raise.intid, raise.vcpu),
        (PartitionSlot(0), IntId(40), VcpuIndex(1))
    );
    for was_pending in [true, false] {
        let polled = shared.poll(receive, |intid, vcpu| {
            assert_eq!((intid, vcpu), (IntId(40), VcpuIndex(1)));
            Some(was_pending)
        });
        assert_eq!(polled, Ok(was_pending));
    }
    // Masked, it keeps a flag; while the virtual GIC does not know yet, a poll leaves it.
    shared.mask(receive).unwrap();
    drop(shared.send(send, &visitor, |_| Some(shared)).unwrap());
    assert_eq!(shared.poll(receive, |_, _| None), Err(Refusal::Moved));
    assert_eq!(shared.poll(receive, |_, _| Some(false)), Ok(true));
    assert_eq!((shared.state(send), shared.state(receive)), (Ok(true), Err(Refusal::BadHandle)));
    assert_eq!(shared.take(0), 0);
    end(&mut side, &mut Side::new(1, 1, 1));
}

#[test]
fn a_closed_ports_bit_does_not_speak_for_the_next_one() {
    let mut side = Side::new(0, 2, 1);
    let (send, receive) = bound(&mut side, Sharing::Grouped);
    let visitor = Visitor::new();
    let shared = side.shared();
    assert!(shared.send(send, &visitor, |_| Some(shared)).unwrap().arrival.raise.is_some());
    let (mut party, account) = side.open();
    assert_eq!(party.close(None, receive, account).unwrap().unused, Some(IntId(40)));
    assert_eq!(party.close(None, send, account).unwrap().unused, None);
    let (send, later) = bound(&mut side, Sharing::Grouped);
    assert_eq!(later.0 & 0xffff, receive.0 & 0xffff);
    let shared = side.shared();
    shared.mask(later).unwrap();
    assert_eq!(shared.send(send, &visitor, |_| Some(shared)).unwrap().arrival.raise, None);
    assert_eq!(shared.take(0), 0, "it is masked");
    assert_eq!(shared.poll(later, |_, _| Some(false)), Ok(true));
    end(&mut side, &mut Side::new(1, 1, 1));
}

/// The ports of a description are the first of each table, and are joined whenever both are there.
#[test]
fn what_the_description_connects_is_connected_again_after_an_end() {
    let mut sender = Side::new(0, 4, 1);
    let mut receiver = Side::new(1, 4, 1);
    let send = {
        let (mut party, account) = sender.open();
        assert_eq!(party.create_receive(account).unwrap(), first_handle(0));
        party.create_send(account).unwrap()
    };
    assert_eq!(send, first_handle(1));
    let join = |sender: &mut Side, receiver: &mut Side| {
        let ((mut from, _), (mut to, _)) = (sender.open(), receiver.open());
        from.join(&mut to, first_handle(1), first_handle(0))
    };
    assert_eq!(join(&mut sender, &mut receiver), Err(Refusal::BadHandle), "it is not made yet");
    for _ in 0..2 {
        let (mut party, account) = receiver.open();
        party.create_receive(account).unwrap();
        assert_eq!(join(&mut sender, &mut receiver), Ok(None));
        assert_eq!(join(&mut sender, &mut receiver), Err(Refusal::WrongState));
        let visitor = Visitor::new();
        let sent = sender.shared().send(send, &visitor, |_| Some(receiver.shared())).unwrap();
        assert_eq!(sent.arrival.before, Before::Idle);
        drop(sent);
        end(&mut receiver, &mut sender);
        assert_eq!(sender.shared().state(send), Err(Refusal::PeerGone));
        receiver = Side::new(1, 4, 1);
    }
    end(&mut sender, &mut receiver);
}
