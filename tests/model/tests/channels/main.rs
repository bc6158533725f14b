//! Message channels and the areas that go through them (C2, C3, C4), from the sender's registers to the receiver's
//! interrupt and the words that its guest reads.

mod ends;
mod lockstep;
mod order;
mod random;

use shikiri_abi::channel::{CONNECTED, CONSUMED, POSTED, STARVED, STATE, entry};
use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, PartitionSlot, Resource, Status, WindowSlot};
use shikiri_core::account::Line;
use shikiri_core::area::{AreaSizes, LeaveStep};
use shikiri_core::handle::Handle;
use shikiri_core::party::Refusal;
use shikiri_model::calls::{
    ACCEPT, ALLOC, BIND, CLOSE, CLOSE_HANDLE, CONNECT, CREATE, CREATE_RECEIVE, EVENT_PAGE, FREE,
    INFO, KEEP, NOTIFY, REFUSE, SEND, SPLIT, TAKE, TRIM, Told, call, refused, told, word,
};
use shikiri_model::estates::Estates;
use shikiri_stage2::WindowSizes;

const SIZES: AreaSizes =
    AreaSizes { windows: WindowSizes { pages: 12, blocks: 6, giants: 3 }, ports: 3, shares: 3 };
const CLIENT: usize = 0;
const SERVER: usize = 1;
const OTHER: usize = 2;
const OK: u64 = 0;

/// A call that succeeds and raises nothing; its results.
fn ok(estates: &mut Estates, who: usize, number: u32, arguments: &[u64]) -> [u64; 3] {
    let ([status, x1, x2, x3], told) = call(estates, who, number, arguments);
    assert_eq!((status, told), (OK, vec![]), "call {number:#x} {arguments:x?}");
    [x1, x2, x3]
}

/// The status and `x1` of a call that is refused: then it has raised nothing, and changed nothing.
fn refusal(estates: &mut Estates, who: usize, number: u32, arguments: &[u64]) -> (u64, u64) {
    let before = (snapshot(estates, who), marks(estates, who));
    let ([status, x1, ..], told) = call(estates, who, number, arguments);
    assert_ne!(status, OK, "call {number:#x} {arguments:x?}");
    let after = (snapshot(estates, who), marks(estates, who));
    assert_eq!((told, after), (vec![], before), "call {number:#x}");
    estates.audit();
    (status, x1)
}

fn snapshot(estates: &mut Estates, who: usize) -> Vec<u64> {
    let free = estates.machine.store.free_pages().0;
    Resource::ALL.iter().map(|line| estates.side(who).used(*line)).chain([free]).collect()
}

/// What is used, and the most that ever was.
fn marks(estates: &mut Estates, who: usize) -> [Line; Resource::ALL.len()] {
    Resource::ALL.map(|line| estates.side(who).holdings.account().line(line))
}

/// A message port as its guest knows it.
#[derive(Clone, Copy, Debug)]
struct Port {
    handle: u64,
    events: u64,
    arrivals: Ipa,
    credits: Ipa,
    intid: u16,
}

/// Makes a message port whose events are INTID `intid`.
fn port(estates: &mut Estates, who: usize, slots: u64, class: AreaClass, intid: u16) -> Port {
    let [events, ..] = ok(estates, who, CREATE_RECEIVE, &[]);
    ok(estates, who, BIND, &[events, u64::from(intid), 0, 0]);
    let [handle, arrivals, credits] =
        ok(estates, who, CREATE, &[events, slots, u64::from(class.code())]);
    Port { handle, events, arrivals: Ipa(arrivals), credits: Ipa(credits), intid }
}

/// Connects a port of the client's to one of the server's.
fn connect(estates: &mut Estates, client: Port, server: Port) {
    let asked = call(estates, CLIENT, CONNECT, &[client.handle, SERVER as u64, 7, 8]);
    assert_eq!(asked.0[0], refused(Status::Pending));
    let [request, ..] = ok(estates, SERVER, TAKE, &[]);
    let request = request & ((1 << 56) - 1);
    let (answer, told) = call(estates, SERVER, ACCEPT, &[request, server.handle]);
    let both = vec![(SERVER as u8, server.intid), (CLIENT as u8, client.intid)];
    assert_eq!((answer[0], told), (OK, both));
    estates.audit();
}

/// A client's port and a server's, connected, with windows of `slots`.
fn pair(estates: &mut Estates, slots: u64, class: AreaClass) -> (Port, Port) {
    let client = port(estates, CLIENT, slots, class, 40);
    let server = port(estates, SERVER, slots, class, 50);
    connect(estates, client, server);
    (client, server)
}

/// Has a guest write its credits.
fn post(estates: &Estates, who: usize, port: Port, posted: u64, consumed: u64) {
    for (at, value) in [(POSTED, posted), (CONSUMED, consumed)] {
        assert!(estates.write(who, port.credits.wrapping_add(8 * at as u64), value));
    }
}

/// Message number `number` as the guest reads it: area, address, bytes, short message, pages; `None` if it has not come.
fn message(estates: &Estates, who: usize, port: Port, number: u64) -> Option<[u64; 7]> {
    let at = entry(number);
    let words = std::array::from_fn(|n| word(estates, who, port.arrivals, at + 1 + n));
    (word(estates, who, port.arrivals, at) == number + 1).then_some(words)
}

fn alloc(estates: &mut Estates, who: usize, bytes: u64, class: AreaClass) -> (u64, Ipa) {
    let mut arguments = [bytes, u64::from(class.code()), 0];
    loop {
        match call(estates, who, ALLOC, &arguments).0 {
            [OK, handle, address, _] => return (handle, Ipa(address)),
            [again, handle, ..] if again == refused(Status::Again) => arguments[2] = handle,
            other => panic!("{other:x?}"),
        }
    }
}

#[test]
fn the_whole_sequence_from_the_request_to_the_close() {
    for (class, bytes) in [
        (AreaClass::Page, 4096),
        (AreaClass::Block, 4096),
        (AreaClass::Block, 2 << 20),
        (AreaClass::Giant, 3 << 20),
    ] {
        let mut estates = Estates::new(2, 64, SIZES);
        let before = [snapshot(&mut estates, CLIENT), snapshot(&mut estates, SERVER)];
        let (client, server) = pair(&mut estates, 2, class);
        for (who, port) in [(CLIENT, client), (SERVER, server)] {
            assert_eq!(word(&estates, who, port.arrivals, STATE), 2 | CONNECTED);
            assert!(!estates.write(who, port.arrivals, 0), "arrivals are read-only");
            post(&estates, who, port, 2, 0);
        }
        let reserved = snapshot(&mut estates, SERVER);
        // The client has an area and writes a request into it.
        let own = snapshot(&mut estates, CLIENT);
        let (area, address) = alloc(&mut estates, CLIENT, bytes, class);
        let last = address.wrapping_add(bytes - 8);
        assert!(estates.write(CLIENT, address, 0x1234) && estates.write(CLIENT, last, 0x5678));
        // It is sent: gone here, there, told.
        let sent = call(&mut estates, CLIENT, SEND, &[client.handle, area, bytes, 1, 2, 3]);
        assert_eq!(sent, ([OK, 0, 0, 0], vec![(SERVER as u8, 50)]));
        estates.audit();
        assert_eq!((estates.read(CLIENT, address), estates.read(CLIENT, last)), (None, None));
        for (number, arguments) in
            [(INFO, vec![area]), (FREE, vec![area]), (SEND, vec![client.handle, area, bytes])]
        {
            let late = refusal(&mut estates, CLIENT, number, &arguments);
            assert_eq!(late, (refused(Status::NotOwner), 0), "{number:#x}");
        }
        assert_eq!(snapshot(&mut estates, CLIENT)[..3], own[..3], "refunded");
        let [here, place, length, s0, s1, s2, pages] =
            message(&estates, SERVER, server, 0).unwrap();
        assert_eq!([length, s0, s1, s2, pages], [bytes, 1, 2, 3, bytes / PAGE_BYTES]);
        assert_eq!(estates.read(SERVER, Ipa(place)), Some(0x1234));
        assert_eq!(estates.read(SERVER, Ipa(place + bytes - 8)), Some(0x5678));
        assert_eq!(snapshot(&mut estates, SERVER)[..4], reserved[..4], "charged before");
        let info = ok(&mut estates, SERVER, INFO, &[here]);
        assert_eq!(info, [place, pages, u64::from(class.code())]);
        // The server answers in place and sends it back.
        assert!(estates.write(SERVER, Ipa(place), 0x9abc));
        post(&estates, SERVER, server, 3, 1);
        let sent = call(&mut estates, SERVER, SEND, &[server.handle, here, 8, 4, 5, 6]);
        assert_eq!(sent, ([OK, 0, 0, 0], vec![(CLIENT as u8, 40)]));
        estates.audit();
        assert_eq!(estates.read(SERVER, Ipa(place)), None);
        let [back, place, ..] = message(&estates, CLIENT, client, 0).unwrap();
        assert_eq!(estates.read(CLIENT, Ipa(place)), Some(0x9abc));
        assert_eq!(estates.read(CLIENT, Ipa(place + bytes - 8)), Some(0x5678));
        // The client discards it, and closes; the server is told, and closes.
        while call(&mut estates, CLIENT, FREE, &[back]).0[0] == refused(Status::Again) {}
        post(&estates, CLIENT, client, 3, 1);
        let closed = call(&mut estates, CLIENT, CLOSE, &[client.handle]);
        assert_eq!(closed, ([OK, 0, 0, 0], vec![(SERVER as u8, 50)]));
        estates.audit();
        assert_eq!(estates.read(CLIENT, client.arrivals), None);
        assert_eq!(word(&estates, SERVER, server.arrivals, STATE), 2);
        let gone = refusal(&mut estates, SERVER, SEND, &[server.handle, 0, 0, 1]);
        assert_eq!(gone, (refused(Status::PeerGone), 0));
        ok(&mut estates, SERVER, CLOSE, &[server.handle]);
        for (who, port) in [(CLIENT, client), (SERVER, server)] {
            ok(&mut estates, who, CLOSE_HANDLE, &[port.events]);
        }
        estates.audit();
        assert_eq!([snapshot(&mut estates, CLIENT), snapshot(&mut estates, SERVER)], before);
        estates.end(CLIENT);
        estates.end(SERVER);
    }
}

#[test]
fn a_short_message_takes_an_entry_and_a_credit_and_only_the_first_is_told() {
    let mut estates = Estates::new(2, 16, SIZES);
    let (client, server) = pair(&mut estates, 0, AreaClass::Page);
    let full = refusal(&mut estates, CLIENT, SEND, &[client.handle, 0, 0, 9]);
    assert_eq!(full, (refused(Status::Full), 0), "no credit yet");
    post(&estates, SERVER, server, 63, 0);
    for number in 0..63 {
        let ([status, ..], told) = call(&mut estates, CLIENT, SEND, &[client.handle, 0, 0, number]);
        let first = if number == 0 { vec![(1, 50)] } else { vec![] };
        assert_eq!((status, told), (OK, first));
    }
    for number in 0..63 {
        let expected = [0, 0, 0, number, 0, 0, 0];
        assert_eq!(message(&estates, SERVER, server, number), Some(expected));
    }
    // All credits are used; more than the ring holds cannot be offered.
    for posted in [63, 127, u64::MAX] {
        post(&estates, SERVER, server, posted, 0);
        let full = refusal(&mut estates, CLIENT, SEND, &[client.handle, 0, 0, 9]);
        assert_eq!(full, (refused(Status::Full), 0), "posted {posted}");
    }
    post(&estates, SERVER, server, 126, 63);
    let ([status, ..], told) = call(&mut estates, CLIENT, SEND, &[client.handle, 0, 0, 99]);
    assert_eq!((status, told), (OK, vec![(1, 50)]), "it was empty again");
    assert_eq!(message(&estates, SERVER, server, 63), Some([0, 0, 0, 99, 0, 0, 0]));
    assert_eq!(message(&estates, SERVER, server, 0), None, "its place was used again");
    estates.end(CLIENT);
    estates.end(SERVER);
}

#[test]
fn a_sender_that_found_no_room_is_told_when_there_is() {
    let mut estates = Estates::new(2, 16, SIZES);
    let (client, server) = pair(&mut estates, 1, AreaClass::Page);
    ok(&mut estates, SERVER, NOTIFY, &[server.handle]);
    assert_eq!(word(&estates, SERVER, server.arrivals, STARVED), 0);
    refusal(&mut estates, CLIENT, SEND, &[client.handle, 0, 0, 9]);
    assert_eq!(word(&estates, SERVER, server.arrivals, STARVED), 1);
    post(&estates, SERVER, server, 1, 0);
    let told = call(&mut estates, SERVER, NOTIFY, &[server.handle]);
    assert_eq!(told, ([OK, 0, 0, 0], vec![(0, 40)]));
    assert_eq!(word(&estates, SERVER, server.arrivals, STARVED), 0);
    ok(&mut estates, SERVER, NOTIFY, &[server.handle]);
    // With a credit but no vacant slot it is full as well, and the same call tells it.
    post(&estates, SERVER, server, 10, 0);
    let (first, _) = alloc(&mut estates, CLIENT, 1, AreaClass::Page);
    let (second, _) = alloc(&mut estates, CLIENT, 1, AreaClass::Page);
    assert_eq!(call(&mut estates, CLIENT, SEND, &[client.handle, first]).0[0], OK);
    let full = refusal(&mut estates, CLIENT, SEND, &[client.handle, second]);
    assert_eq!(full, (refused(Status::Full), 0));
    let [area, ..] = message(&estates, SERVER, server, 0).unwrap();
    ok(&mut estates, SERVER, FREE, &[area]);
    assert_eq!(call(&mut estates, SERVER, NOTIFY, &[server.handle]).1, vec![(0, 40)]);
    assert_eq!(call(&mut estates, CLIENT, SEND, &[client.handle, second]).0[0], OK);
    estates.end(SERVER);
    estates.end(CLIENT);
}

#[test]
fn an_area_that_is_kept_costs_its_receiver_and_leaves_the_window_whole() {
    let mut estates = Estates::new(2, 16, SIZES);
    let (client, server) = pair(&mut estates, 1, AreaClass::Block);
    post(&estates, SERVER, server, 60, 0);
    let mut kept = Vec::new();
    for number in 0..3 {
        let (area, _) = alloc(&mut estates, CLIENT, 3 * PAGE_BYTES, AreaClass::Block);
        assert_eq!(call(&mut estates, CLIENT, SEND, &[client.handle, area]).0[0], OK);
        let [area, address, ..] = message(&estates, SERVER, server, number).unwrap();
        let before = snapshot(&mut estates, SERVER);
        let received = refusal(&mut estates, SERVER, TRIM, &[area, PAGE_BYTES]);
        assert_eq!(received, (refused(Status::WrongState), 0), "it is the window's");
        let own = alloc(&mut estates, SERVER, 2 * PAGE_BYTES, AreaClass::Block).0;
        for [from, to] in [[area, 0], [own, area], [area, own]] {
            let split = refusal(&mut estates, SERVER, SPLIT, &[from, PAGE_BYTES, 1, to]);
            assert_eq!(split, (refused(Status::WrongState), 0), "neither a part nor its tail");
        }
        ok(&mut estates, SERVER, FREE, &[own]);
        if number == 0 {
            let limit = Some(before[2] + 2);
            estates.side(SERVER).holdings.account_mut().set_limit(Resource::Memory, limit);
            let over = refusal(&mut estates, SERVER, KEEP, &[area]);
            assert_eq!(over, (refused(Status::OverLimit), 2));
            estates.side(SERVER).holdings.account_mut().set_limit(Resource::Memory, None);
        }
        ok(&mut estates, SERVER, KEEP, &[area]);
        let after = snapshot(&mut estates, SERVER);
        assert_eq!([after[1] - before[1], after[2] - before[2], after[3] - before[3]], [3, 3, 1]);
        assert_eq!(ok(&mut estates, SERVER, INFO, &[area])[0], address, "it stays where it is");
        let own = refusal(&mut estates, SERVER, KEEP, &[area]);
        assert_eq!(own, (refused(Status::WrongState), 0));
        kept.push(area);
        estates.audit();
    }
    for area in kept {
        ok(&mut estates, SERVER, FREE, &[area]);
        estates.audit();
    }
    estates.end(CLIENT);
    estates.end(SERVER);
}

#[test]
fn what_lies_in_a_window_that_closes_is_the_partitions_own() {
    let mut estates = Estates::new(2, 16, SIZES);
    let (client, server) = pair(&mut estates, 3, AreaClass::Block);
    let before = snapshot(&mut estates, SERVER);
    post(&estates, SERVER, server, 3, 0);
    let (area, _) = alloc(&mut estates, CLIENT, 2 * PAGE_BYTES, AreaClass::Block);
    call(&mut estates, CLIENT, SEND, &[client.handle, area]);
    let [area, address, ..] = message(&estates, SERVER, server, 0).unwrap();
    let closed = call(&mut estates, SERVER, CLOSE, &[server.handle]);
    assert_eq!(closed, ([OK, 0, 0, 0], vec![(0, 40)]));
    estates.audit();
    let after = snapshot(&mut estates, SERVER);
    // Window and pages are refunded, but for two pages and one table of the area that stays.
    assert_eq!(before[1] - after[1], 3 * 512 + 2 - 2);
    assert_eq!(before[2] - after[2], 3 * 512 - 2);
    assert_eq!(before[3] - after[3], 3 + 2 - 1);
    assert!(estates.write(SERVER, Ipa(address), 1));
    ok(&mut estates, SERVER, FREE, &[area]);
    estates.audit();
    estates.end(SERVER);
    estates.end(CLIENT);
}

#[test]
fn what_had_come_before_its_sender_left_is_the_receivers() {
    for ends in [false, true] {
        let mut estates = Estates::new(2, 16, SIZES);
        let (client, server) = pair(&mut estates, 3, AreaClass::Block);
        post(&estates, SERVER, server, 3, 0);
        for number in 0..2 {
            let (area, address) = alloc(&mut estates, CLIENT, PAGE_BYTES, AreaClass::Block);
            assert!(estates.write(CLIENT, address, 0x1230 + number));
            assert_eq!(call(&mut estates, CLIENT, SEND, &[client.handle, area, 8]).0[0], OK);
        }
        if ends {
            estates.end(CLIENT);
        } else {
            let closed = call(&mut estates, CLIENT, CLOSE, &[client.handle]);
            assert_eq!(closed, ([OK, 0, 0, 0], vec![(SERVER as u8, 50)]));
        }
        estates.audit();
        assert_eq!(word(&estates, SERVER, server.arrivals, STATE), 2, "not connected");
        let [first, second] = [0, 1].map(|number| {
            let [area, address, ..] = message(&estates, SERVER, server, number).unwrap();
            assert_eq!(estates.read(SERVER, Ipa(address)), Some(0x1230 + number));
            area
        });
        let back = refusal(&mut estates, SERVER, SEND, &[server.handle, first, 8]);
        assert_eq!(back, (refused(Status::PeerGone), 0));
        ok(&mut estates, SERVER, KEEP, &[first]);
        ok(&mut estates, SERVER, FREE, &[second]);
        ok(&mut estates, SERVER, CLOSE, &[server.handle]);
        ok(&mut estates, SERVER, FREE, &[first]);
        estates.audit();
        estates.end(SERVER);
        if !ends {
            estates.end(CLIENT);
        }
    }
}

#[test]
fn each_refusal_of_a_send_says_what_is_wrong_and_changes_nothing() {
    let mut estates = Estates::new(3, 16, SIZES);
    let (client, server) = pair(&mut estates, 2, AreaClass::Block);
    post(&estates, SERVER, server, 10, 0);
    let (area, _) = alloc(&mut estates, CLIENT, PAGE_BYTES, AreaClass::Block);
    let (small, _) = alloc(&mut estates, CLIENT, PAGE_BYTES, AreaClass::Page);
    let (foreign, _) = alloc(&mut estates, OTHER, PAGE_BYTES, AreaClass::Block);
    let making = call(&mut estates, CLIENT, ALLOC, &[900 * PAGE_BYTES, 2, 0]).0[1];
    let idle = port(&mut estates, CLIENT, 0, AreaClass::Page, 41);
    let p = client.handle;
    for (arguments, status) in [
        (vec![0], Status::BadHandle),
        (vec![p ^ 1 << 20, area], Status::BadHandle),
        (vec![client.events, area], Status::BadHandle),
        (vec![area, area], Status::BadHandle),
        (vec![idle.handle, area], Status::WrongState),
        (vec![p, p], Status::NotOwner),
        (vec![p, area ^ 1 << 40], Status::NotOwner),
        (vec![p, foreign + 9], Status::NotOwner),
        (vec![p, making], Status::WrongState),
        (vec![p, area, PAGE_BYTES + 1], Status::Range),
        (vec![p, area, u64::MAX], Status::Range),
        (vec![p, 0, 1], Status::Range),
        (vec![p, small], Status::Range),
    ] {
        let (answer, _) = refusal(&mut estates, CLIENT, SEND, &arguments);
        assert_eq!(answer, refused(status), "{arguments:x?}");
    }
    // Whom a call meets may have changed before both are locked.
    let moved = estates.meet(CLIENT, Some(OTHER), |own, peer, (mem, tlb, store)| {
        let message = shikiri_core::channel::Message { area: None, bytes: 0, short: [0; 3] };
        let port = shikiri_core::handle::Handle(p);
        shikiri_core::channel::send(own, peer, (mem, tlb), store.areas(), (port, message))
    });
    assert_eq!(moved, Err(Refusal::Moved));
    while call(&mut estates, CLIENT, FREE, &[making]).0[0] == refused(Status::Again) {}
    assert_eq!(call(&mut estates, CLIENT, SEND, &[p, area, PAGE_BYTES]).0[0], OK);
    for who in [SERVER, CLIENT, OTHER] {
        estates.end(who);
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "a port for each limit: minutes under Miri, and the other tests make the same"
)]
fn a_port_is_refused_when_anything_is_short_and_nothing_is_left_of_it() {
    let mut estates = Estates::new(2, 16, SIZES);
    let [events, ..] = ok(&mut estates, CLIENT, CREATE_RECEIVE, &[]);
    let block = u64::from(AreaClass::Block.code());
    for (arguments, status, which) in [
        ([0, 1, block], Status::BadHandle, 0),
        ([events, 61, block], Status::InvalidParameter, 2),
        ([events, 7, block], Status::OverLimit, 1),
        ([events, 11, 0], Status::OverLimit, 1),
        ([events, 60, 0], Status::OverLimit, 3),
    ] {
        let answer = refusal(&mut estates, CLIENT, CREATE, &arguments);
        assert_eq!(answer, (refused(status), which), "{arguments:x?}");
    }
    for left in [0, 1] {
        let hoarded = estates.machine.hoard(left);
        let answer = refusal(&mut estates, CLIENT, CREATE, &[events, 3, block]);
        assert_eq!(answer, (refused(Status::NoMemory), 0));
        estates.machine.give(hoarded);
    }
    // What three slots of 2 MiB and two pages cost, and one less of each.
    let used = snapshot(&mut estates, CLIENT);
    for (line, cost) in [(1, 3 * 512 + 2), (2, 3 * 512), (3, 3 + 2)] {
        let resource = Resource::ALL[line];
        for (limit, status) in [(cost - 1, Status::OverLimit), (cost, Status::Ok)] {
            let account = estates.side(CLIENT).holdings.account_mut();
            account.set_limit(resource, Some(used[line] + limit));
            if status == Status::Ok {
                let [port, ..] = ok(&mut estates, CLIENT, CREATE, &[events, 3, block]);
                let twice = refusal(&mut estates, CLIENT, CREATE, &[events, 3, block]);
                assert_eq!(
                    twice,
                    (refused(Status::WrongState), 0),
                    "one port for one receive port"
                );
                ok(&mut estates, CLIENT, CLOSE, &[port]);
            } else {
                let answer = refusal(&mut estates, CLIENT, CREATE, &[events, 3, block]);
                assert_eq!(answer, (refused(status), line as u64));
            }
            estates.side(CLIENT).holdings.account_mut().set_limit(resource, None);
        }
    }
    for _ in 0..SIZES.ports {
        let [events, ..] = ok(&mut estates, CLIENT, CREATE_RECEIVE, &[]);
        ok(&mut estates, CLIENT, CREATE, &[events, 0, 0]);
    }
    let answer = refusal(&mut estates, CLIENT, CREATE, &[events, 0, 0]);
    assert_eq!(answer, (refused(Status::OverLimit), 3), "the table of ports is full");
    estates.end(CLIENT);
    estates.end(SERVER);
}

#[test]
fn a_request_can_be_refused_withdrawn_and_made_again() {
    let mut estates = Estates::new(2, 16, SIZES);
    let client = port(&mut estates, CLIENT, 1, AreaClass::Page, 40);
    let server = port(&mut estates, SERVER, 1, AreaClass::Page, 50);
    let own = refusal(&mut estates, CLIENT, CONNECT, &[client.handle, CLIENT as u64]);
    assert_eq!(own, (refused(Status::PeerGone), 0));
    let request = |estates: &mut Estates| {
        let asked = call(estates, CLIENT, CONNECT, &[client.handle, 1, 7, 8]).0[0];
        assert_eq!(asked, refused(Status::Pending));
        let twice = refusal(estates, CLIENT, CONNECT, &[client.handle, 1]);
        assert_eq!(twice, (refused(Status::WrongState), 0));
        let early = refusal(estates, CLIENT, SEND, &[client.handle]);
        assert_eq!(early, (refused(Status::WrongState), 0));
        let [request, sender, word] = ok(estates, SERVER, TAKE, &[]);
        assert_eq!((request >> 56, sender, word), (1, 1 | 7 << 32, 8));
        request & ((1 << 56) - 1)
    };
    let first = request(&mut estates);
    for wrong in [server.events, first, server.handle ^ 1 << 30] {
        let answer = refusal(&mut estates, SERVER, ACCEPT, &[first, wrong]);
        assert_eq!(answer, (refused(Status::BadHandle), 0));
    }
    let event = refusal(&mut estates, SERVER, 0x1d, &[first, server.events]);
    assert_eq!(event, (refused(Status::BadHandle), 0), "it is no request for an event port");
    let told = call(&mut estates, SERVER, REFUSE, &[first]);
    assert_eq!(told, ([OK, 0, 0, 0], vec![(0, 40)]));
    let answer = refusal(&mut estates, CLIENT, SEND, &[client.handle]);
    assert_eq!(answer, (refused(Status::Refused), 0));
    // Withdrawn after it was taken.
    let second = request(&mut estates);
    ok(&mut estates, CLIENT, CLOSE, &[client.handle]);
    let late = refusal(&mut estates, SERVER, ACCEPT, &[second, server.handle]);
    assert_eq!(late, (refused(Status::PeerGone), 0));
    ok(&mut estates, SERVER, REFUSE, &[second]);
    // Withdrawn while it waits.
    let [handle, ..] = ok(&mut estates, CLIENT, CREATE, &[client.events, 1, 0]);
    call(&mut estates, CLIENT, CONNECT, &[handle, 1]);
    ok(&mut estates, CLIENT, CLOSE, &[handle]);
    assert_eq!(refusal(&mut estates, SERVER, TAKE, &[]), (refused(Status::Empty), 0));
    estates.end(CLIENT);
    estates.end(SERVER);
}

#[test]
fn a_port_can_be_connected_again_and_goes_on_counting() {
    let mut estates = Estates::new(2, 16, SIZES);
    let (client, server) = pair(&mut estates, 1, AreaClass::Page);
    post(&estates, SERVER, server, 2, 0);
    call(&mut estates, CLIENT, SEND, &[client.handle, 0, 0, 1]);
    call(&mut estates, CLIENT, CLOSE, &[client.handle]);
    let stale = |estates: &mut Estates| refusal(estates, CLIENT, SEND, &[client.handle, 0, 0, 1]);
    assert_eq!(stale(&mut estates), (refused(Status::BadHandle), 0));
    let [handle, arrivals, credits] = ok(&mut estates, CLIENT, CREATE, &[client.events, 1, 0]);
    assert_eq!(stale(&mut estates), (refused(Status::BadHandle), 0), "another port's place now");
    let again = Port { handle, arrivals: Ipa(arrivals), credits: Ipa(credits), ..client };
    connect(&mut estates, again, server);
    assert_eq!(word(&estates, SERVER, server.arrivals, STATE), 4 | CONNECTED);
    assert_eq!(call(&mut estates, CLIENT, SEND, &[handle, 0, 0, 2]).0[0], OK);
    assert_eq!(message(&estates, SERVER, server, 1), Some([0, 0, 0, 2, 0, 0, 0]));
    estates.end(CLIENT);
    estates.end(SERVER);
}

#[test]
fn a_port_without_its_receive_port_tells_nobody() {
    let mut estates = Estates::new(2, 16, SIZES);
    let (client, server) = pair(&mut estates, 1, AreaClass::Page);
    post(&estates, SERVER, server, 2, 0);
    ok(&mut estates, SERVER, CLOSE_HANDLE, &[server.events]);
    estates.audit();
    assert_eq!(call(&mut estates, CLIENT, SEND, &[client.handle]), ([OK, 0, 0, 0], vec![]));
    ok(&mut estates, SERVER, NOTIFY, &[server.handle]);
    assert_eq!(call(&mut estates, CLIENT, CLOSE, &[client.handle]), ([OK, 0, 0, 0], vec![]));
    estates.end(SERVER);
    estates.end(CLIENT);
}

#[test]
fn an_areas_slots_are_where_the_abi_says() {
    let mut estates = Estates::new(2, 16, SIZES);
    let (client, _) = pair(&mut estates, 2, AreaClass::Page);
    let at = |ipa| WindowSlot::at(ipa).unwrap().class;
    assert_eq!((at(client.arrivals), at(client.credits)), (AreaClass::Page, AreaClass::Page));
    estates.end(CLIENT);
    estates.end(SERVER);
}

/// Both ends are made before the guests run, and joined whenever both are there: again after either has started anew.
#[test]
fn a_channel_of_the_description_is_joined_whenever_both_live() {
    let mut estates = Estates::new(2, 16, SIZES);
    let join = |estates: &mut Estates, who: usize, ports: [u64; 2]| {
        estates.meet(who, Some(1 - who), |own, peer, _| {
            own.join_channel(peer.unwrap(), Handle(ports[0]), Handle(ports[1]))
        })
    };
    let client = port(&mut estates, CLIENT, 1, AreaClass::Page, 40);
    let missing = join(&mut estates, CLIENT, [client.handle, client.handle]);
    assert_eq!(missing, Err(Refusal::BadHandle), "the other is not made yet");
    let server = port(&mut estates, SERVER, 1, AreaClass::Page, 50);
    let joined = join(&mut estates, SERVER, [server.handle, client.handle]).unwrap();
    assert_eq!(told(joined), [(1, 50), (0, 40)]);
    estates.audit();
    let twice = join(&mut estates, CLIENT, [client.handle, server.handle]);
    assert_eq!(twice, Err(Refusal::WrongState));
    post(&estates, SERVER, server, 2, 0);
    assert_eq!(call(&mut estates, CLIENT, SEND, &[client.handle, 0, 0, 1]).0[0], OK);
    estates.end(CLIENT);
    assert_eq!(word(&estates, SERVER, server.arrivals, STATE), 2);
    estates.start(CLIENT);
    let again = port(&mut estates, CLIENT, 1, AreaClass::Page, 40);
    assert_eq!((again.handle, again.arrivals), (client.handle, client.arrivals));
    let joined = join(&mut estates, CLIENT, [again.handle, server.handle]).unwrap();
    assert_eq!(told(joined), [(0, 40), (1, 50)]);
    assert_eq!(word(&estates, SERVER, server.arrivals, STATE), 4 | CONNECTED);
    assert_eq!(call(&mut estates, CLIENT, SEND, &[again.handle, 0, 0, 2]).0[0], OK);
    assert_eq!(message(&estates, SERVER, server, 1), Some([0, 0, 0, 2, 0, 0, 0]));
    // What a guest has closed stays closed.
    ok(&mut estates, CLIENT, CLOSE_HANDLE, &[again.events]);
    call(&mut estates, CLIENT, CLOSE, &[again.handle]);
    let closed = join(&mut estates, CLIENT, [again.handle, server.handle]);
    assert_eq!(closed, Err(Refusal::BadHandle));
    estates.audit();
    estates.end(CLIENT);
    estates.end(SERVER);
}
