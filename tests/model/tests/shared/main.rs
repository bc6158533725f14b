//! Shared memory areas (C5): offered, attached, revoked, left, by calls of any partitions, down to the words that their guests
//! read and write.

mod lockstep;

use shikiri_abi::{
    AreaClass, Call, Ipa, PAGE_BYTES, PageCount, PartitionId, PartitionSlot, Resource, Status,
};
use shikiri_core::area::{AreaSizes, Wanted};
use shikiri_core::frame::AreaNumber;
use shikiri_core::party::Refusal;
use shikiri_core::share::{Fixed, Place};
use shikiri_model::calls::{
    ACCEPT, ACCEPT_SHARE, ALLOC, BIND, CONNECT, CONNECT_SHARE, CREATE, CREATE_RECEIVE,
    CREATE_SHARE, DETACH, FREE, INFO, KEEP, OFFER, REFUSE, REVOKE, SEND, SPLIT, STATE_OF_SHARE,
    TAKE, TRIM, Told, WITHDRAW, call, refused, through,
};
use shikiri_model::estates::Estates;
use shikiri_stage2::{Access, WindowSizes};

const SIZES: AreaSizes =
    AreaSizes { windows: WindowSizes { pages: 6, blocks: 4, giants: 2 }, ports: 1, shares: 3 };
const OWNER: usize = 0;
const USER: usize = 1;
const OTHER: usize = 2;
const OK: u64 = 0;
const AGAIN: u64 = refused(Status::Again);

/// A call that succeeds: its results, and what it raises.
fn ok(estates: &mut Estates, who: usize, number: u32, arguments: &[u64]) -> ([u64; 3], Told) {
    let ([status, x1, x2, x3], told) = call(estates, who, number, arguments);
    assert_eq!(status, OK, "call {number:#x} {arguments:x?}: x1 = {x1}");
    ([x1, x2, x3], told)
}

/// The status and `x1` of a call that is refused: then it has raised nothing, and changed nothing.
fn refusal(estates: &mut Estates, who: usize, number: u32, arguments: &[u64]) -> (u64, u64) {
    let before = snapshot(estates);
    let ([status, x1, ..], told) = call(estates, who, number, arguments);
    assert!(![OK, AGAIN].contains(&status), "call {number:#x} {arguments:x?}");
    assert_eq!((told, snapshot(estates)), (vec![], before), "call {number:#x}");
    estates.audit();
    (status, x1)
}

fn refused_as(estates: &mut Estates, who: usize, number: u32, arguments: &[u64], status: Status) {
    assert_eq!(refusal(estates, who, number, arguments).0, refused(status), "call {number:#x}");
}

fn snapshot(estates: &mut Estates) -> Vec<u64> {
    let mut all = vec![estates.machine.store.free_pages().0];
    for who in 0..3 {
        if estates.lives(who) {
            all.extend(Resource::ALL.iter().map(|line| estates.side(who).used(*line)));
        }
    }
    all
}

fn code(class: AreaClass) -> u64 {
    u64::from(class.code())
}

/// A receive port that is INTID `intid`, if no other one is.
fn events(estates: &mut Estates, who: usize, intid: u64) -> u64 {
    let ([events, ..], _) = ok(estates, who, CREATE_RECEIVE, &[]);
    call(estates, who, BIND, &[events, intid, 0, 0]);
    events
}

/// An area of so many pages: handle and address.
fn alloc(estates: &mut Estates, who: usize, pages: u64, class: AreaClass) -> (u64, Ipa) {
    let mut area = 0;
    loop {
        let x = [pages * PAGE_BYTES, code(class), area];
        let ([status, x1, x2, _], _) = call(estates, who, ALLOC, &x);
        match status {
            OK => return (x1, Ipa(x2)),
            AGAIN => area = x1,
            other => panic!("{other:#x}"),
        }
    }
}

/// An area that is offered, with events at INTID 40.
fn offered(estates: &mut Estates, pages: u64, class: AreaClass) -> (u64, Ipa) {
    let (area, at) = alloc(estates, OWNER, pages, class);
    let events = events(estates, OWNER, 40);
    assert_eq!(through(estates, OWNER, OFFER, &[area, events]), vec![]);
    estates.audit();
    (area, at)
}

/// An attachment with events at INTID 50.
fn attachment(estates: &mut Estates, who: usize, pages: u64, class: AreaClass) -> (u64, Ipa) {
    let events = events(estates, who, 50);
    let ([port, at, granted], _) =
        ok(estates, who, CREATE_SHARE, &[events, pages * PAGE_BYTES, code(class)]);
    assert_eq!(granted, pages);
    (port, Ipa(at))
}

/// Asks, and takes the request.
fn asked(estates: &mut Estates, who: usize, port: u64) -> u64 {
    let (answer, _) = call(estates, who, CONNECT_SHARE, &[port, OWNER as u64, 7, 8]);
    assert_eq!(answer[0], refused(Status::Pending));
    assert_eq!(call(estates, who, STATE_OF_SHARE, &[port]).0[0], refused(Status::Pending));
    let ([request, sender, word], _) = ok(estates, OWNER, TAKE, &[]);
    assert_eq!((request >> 56, sender >> 32, word), (2, 7, 8));
    request & ((1 << 56) - 1)
}

/// Has a partition attach an area; where it is there.
fn attached(
    estates: &mut Estates,
    who: usize,
    (area, pages, class): (u64, u64, AreaClass),
    access: u64,
) -> (u64, Ipa) {
    let (port, at) = attachment(estates, who, pages, class);
    let request = asked(estates, who, port);
    let (_, told) = ok(estates, OWNER, ACCEPT_SHARE, &[request, area, access]);
    assert!(told.is_empty() || told == [(who as u8, 50)]);
    estates.audit();
    let (how, _) = ok(estates, who, STATE_OF_SHARE, &[port]);
    assert_eq!(how, [at.0, pages, access]);
    (port, at)
}

/// Who looks at a partition's handles from outside sees what it has attached, and where (P7).
#[test]
fn a_look_shows_an_attached_area_p7() {
    let mut estates = Estates::new(3, 32, SIZES);
    let (area, _) = offered(&mut estates, 3, AreaClass::Block);
    let (port, _) = attachment(&mut estates, USER, 3, AreaClass::Block);
    let entry = port as u16;
    let look = |estates: &Estates| estates.shared(USER).unwrap().look(entry);
    let seen = |state: u64| u64::from(entry) | 9 << 16 | state << 24;
    assert_eq!(look(&estates), Some([seen(1), u64::MAX, 0]));
    let request = asked(&mut estates, USER, port);
    assert_eq!(look(&estates).unwrap()[0], seen(3), "its request was taken");
    ok(&mut estates, OWNER, ACCEPT_SHARE, &[request, area, 1]);
    assert_eq!(look(&estates), Some([seen(4), u64::MAX, u64::from(AreaClass::Block.code())]));
    all_end(&mut estates);
}

/// Ends whoever lives.
fn all_end(estates: &mut Estates) {
    for who in 0..3 {
        if estates.lives(who) {
            estates.end(who);
        }
    }
}

/// The end of a test: nothing is left.
fn finish(mut estates: Estates) {
    all_end(&mut estates);
    estates.audit();
}

const KINDS: [(u64, AreaClass); 4] =
    [(1, AreaClass::Page), (3, AreaClass::Block), (512, AreaClass::Block), (700, AreaClass::Giant)];

#[test]
fn both_see_what_either_writes_and_a_reader_cannot_write_c5() {
    for (pages, class) in KINDS {
        let mut estates = Estates::new(3, 32, SIZES);
        let before = snapshot(&mut estates);
        let (area, here) = offered(&mut estates, pages, class);
        let (writer, there) = attached(&mut estates, USER, (area, pages, class), 1);
        let (reader, far) = attached(&mut estates, OTHER, (area, pages, class), 0);
        let mut looked = vec![0, pages / 2, pages - 1];
        looked.dedup();
        for page in looked {
            let at = |ipa: Ipa| ipa.wrapping_add(page * PAGE_BYTES + 8 * (page % 512));
            assert_eq!(estates.read(USER, at(there)), Some(0));
            assert!(estates.write(OWNER, at(here), 1 + page));
            assert_eq!(estates.read(USER, at(there)), Some(1 + page));
            assert!(estates.write(USER, at(there), 1000 + page));
            assert!(!estates.write(OTHER, at(far), 7), "it may only read");
            for (who, ipa) in [(OWNER, here), (OTHER, far)] {
                assert_eq!(estates.read(who, at(ipa)), Some(1000 + page));
            }
        }
        let behind = |at: Ipa| at.wrapping_add(pages * PAGE_BYTES);
        for (who, at) in [(OWNER, here), (USER, there), (OTHER, far)] {
            let is_last = pages == class.pages().0;
            assert!(is_last || estates.read(who, behind(at)).is_none(), "nothing lies behind it");
        }
        // One leaves, one is thrown out; then it is the owner's alone.
        let told = through(&mut estates, OTHER, DETACH, &[reader]);
        assert_eq!((told, estates.read(OTHER, far)), (vec![(OWNER as u8, 40)], None));
        refused_as(&mut estates, OTHER, STATE_OF_SHARE, &[reader], Status::BadHandle);
        let (_, told) = ok(&mut estates, OWNER, REVOKE, &[area, USER as u64]);
        assert_eq!((told, estates.read(USER, there)), (vec![(USER as u8, 50)], None));
        refused_as(&mut estates, USER, STATE_OF_SHARE, &[writer], Status::PeerGone);
        estates.audit();
        through(&mut estates, USER, DETACH, &[writer]);
        through(&mut estates, OWNER, WITHDRAW, &[area]);
        estates.audit();
        assert_eq!(estates.read(OWNER, here), Some(1000));
        through(&mut estates, OWNER, FREE, &[area]);
        estates.audit();
        let mut after = snapshot(&mut estates);
        // Event ports stay.
        for who in 0..3 {
            after[1 + 8 * who + usize::from(Resource::EventPorts.number())] -= 1;
        }
        assert_eq!(after, before);
        finish(estates);
    }
}

#[test]
fn who_can_reach_it_pays_for_it() {
    let (pages, class) = (700, AreaClass::Giant);
    let mut estates = Estates::new(2, 32, SIZES);
    let lines = [Resource::Memory, Resource::IpaSpace, Resource::ManagementMemory];
    let used = |estates: &mut Estates, who| lines.map(|line| estates.side(who).used(line));
    let before = used(&mut estates, USER);
    let (port, _) = attachment(&mut estates, USER, pages, class);
    let paid = used(&mut estates, USER);
    // Two tables of the lowest level and one above them, and all of these again.
    assert_eq!([0, 1, 2].map(|line| paid[line] - before[line]), [700, 700, 6]);
    let (area, _) = offered(&mut estates, pages, class);
    let request = asked(&mut estates, USER, port);
    ok(&mut estates, OWNER, ACCEPT_SHARE, &[request, area, 1]);
    assert_eq!(used(&mut estates, USER), paid);
    estates.end(OWNER);
    assert_eq!(used(&mut estates, USER), paid, "what is left to it is paid already");
    estates.audit();
    through(&mut estates, USER, DETACH, &[port]);
    assert_eq!(used(&mut estates, USER), before);
    finish(estates);
}

#[test]
fn a_shared_area_is_neither_sent_nor_freed_nor_kept_nor_offered_again() {
    let mut estates = Estates::new(2, 16, SIZES);
    let (area, at) = offered(&mut estates, 2, AreaClass::Block);
    let port = events(&mut estates, OWNER, 41);
    let ([channel, ..], _) = ok(&mut estates, OWNER, CREATE, &[port, 1, code(AreaClass::Block)]);
    let _ = attached(&mut estates, USER, (area, 2, AreaClass::Block), 1);
    let (own, _) = alloc(&mut estates, OWNER, 2, AreaClass::Block);
    for (number, arguments) in [
        (FREE, vec![area]),
        (KEEP, vec![area]),
        (OFFER, vec![area]),
        (SEND, vec![channel, area, 8]),
        (TRIM, vec![area, 4096]),
        (SPLIT, vec![area, 4096, 1, 0]),
        (SPLIT, vec![own, 4096, 1, area]),
    ] {
        refused_as(&mut estates, OWNER, number, &arguments, Status::WrongState);
    }
    ok(&mut estates, OWNER, FREE, &[own]);
    let (info, _) = ok(&mut estates, OWNER, INFO, &[area]);
    assert_eq!(info, [at.0, 2, 1]);
    // Sent to a peer that is connected, too.
    let peers = events(&mut estates, USER, 51);
    let ([peer, ..], _) = ok(&mut estates, USER, CREATE, &[peers, 1, code(AreaClass::Block)]);
    call(&mut estates, OWNER, CONNECT, &[channel, USER as u64, 0, 0]);
    let ([request, ..], _) = ok(&mut estates, USER, TAKE, &[]);
    ok(&mut estates, USER, ACCEPT, &[request & ((1 << 56) - 1), peer]);
    refused_as(&mut estates, OWNER, SEND, &[channel, area, 8], Status::WrongState);
    assert_eq!(estates.read(OWNER, at), Some(0));
    finish(estates);
}

#[test]
fn each_refusal_says_what_is_wrong_and_changes_nothing() {
    let mut estates = Estates::new(3, 16, SIZES);
    let (area, _) = offered(&mut estates, 2, AreaClass::Block);
    let (private, _) = alloc(&mut estates, OWNER, 2, AreaClass::Block);
    let spare = events(&mut estates, OWNER, 42);
    let block = code(AreaClass::Block);

    // The owner.
    refused_as(&mut estates, OWNER, OFFER, &[7, 0], Status::NotOwner);
    refused_as(&mut estates, OWNER, OFFER, &[private, 99], Status::BadHandle);
    refused_as(&mut estates, OWNER, WITHDRAW, &[private], Status::WrongState);
    refused_as(&mut estates, OWNER, REVOKE, &[private, 1], Status::WrongState);
    refused_as(&mut estates, OWNER, REVOKE, &[area, 1], Status::PeerGone);
    refused_as(&mut estates, OWNER, REVOKE, &[area, 255], Status::PeerGone);
    refused_as(&mut estates, OWNER, REVOKE, &[9, 1], Status::NotOwner);
    refused_as(&mut estates, OWNER, STATE_OF_SHARE, &[private], Status::WrongState);
    refused_as(&mut estates, OWNER, STATE_OF_SHARE, &[77], Status::BadHandle);
    refused_as(&mut estates, OWNER, DETACH, &[private], Status::WrongState);
    refused_as(&mut estates, OWNER, ACCEPT_SHARE, &[spare, area, 1], Status::BadHandle);
    // No table for the copy: it is as if it had not been offered.
    let line = Resource::ManagementMemory;
    let used = estates.side(OWNER).used(line);
    estates.side(OWNER).holdings.account_mut().set_limit(line, Some(used));
    let refused_for = refusal(&mut estates, OWNER, OFFER, &[private, 0]);
    assert_eq!(refused_for, (refused(Status::OverLimit), u64::from(line.number())));
    estates.side(OWNER).holdings.account_mut().set_limit(line, None);
    refused_as(&mut estates, OWNER, WITHDRAW, &[private], Status::WrongState);
    // A handle that is no port, and one offer too many.
    refused_as(&mut estates, OWNER, OFFER, &[private, area], Status::BadHandle);
    let (third, _) = alloc(&mut estates, OWNER, 1, AreaClass::Page);
    let (fourth, _) = alloc(&mut estates, OWNER, 1, AreaClass::Page);
    through(&mut estates, OWNER, OFFER, &[third, 0]);
    through(&mut estates, OWNER, OFFER, &[fourth, spare]);
    refused_as(&mut estates, OWNER, OFFER, &[private, spare], Status::OverLimit);
    through(&mut estates, OWNER, WITHDRAW, &[fourth]);
    through(&mut estates, OWNER, OFFER, &[fourth, spare]);
    through(&mut estates, OWNER, DETACH, &[fourth]);
    through(&mut estates, OWNER, WITHDRAW, &[third]);
    refused_as(&mut estates, OWNER, SEND, &[9, third, 0], Status::BadHandle);

    // The user.
    let port = events(&mut estates, USER, 52);
    refused_as(&mut estates, USER, CREATE_SHARE, &[9, 1, block], Status::BadHandle);
    refused_as(&mut estates, USER, CREATE_SHARE, &[port, 0, block], Status::Range);
    refused_as(&mut estates, USER, CREATE_SHARE, &[port, (2 << 20) + 1, block], Status::Range);
    let over = |line: Resource| (refused(Status::OverLimit), u64::from(line.number()));
    let account = estates.side(USER).holdings.account_mut();
    account.set_limit(Resource::Memory, Some(5));
    assert_eq!(
        refusal(&mut estates, USER, CREATE_SHARE, &[port, 8192, block]),
        over(Resource::Memory)
    );
    estates.side(USER).holdings.account_mut().set_limit(Resource::Memory, None);
    let (small, _) = attachment(&mut estates, USER, 1, AreaClass::Block);
    refused_as(&mut estates, USER, CONNECT_SHARE, &[9, OWNER as u64, 0, 0], Status::BadHandle);
    refused_as(&mut estates, USER, DETACH, &[9], Status::BadHandle);
    // Itself, which is locked already.
    refused_as(
        &mut estates,
        USER,
        CONNECT_SHARE,
        &[small, USER as u64, 0, 0],
        Status::InvalidParameter,
    );
    refused_as(&mut estates, OWNER, REVOKE, &[area, OWNER as u64], Status::PeerGone);
    let itself = |number| Call::decode(number, [area, OWNER as u64, 0, 0, 0, 0]).unwrap();
    for number in [REVOKE, CONNECT_SHARE] {
        let Call::Shared(call) = itself(number) else { panic!() };
        assert_eq!(estates.of(OWNER, |own, machine| own.meets(call, machine.2.areas())), None);
    }
    refused_as(&mut estates, USER, STATE_OF_SHARE, &[small], Status::WrongState);
    refused_as(&mut estates, USER, CREATE_SHARE, &[port, 8192, 0], Status::Range);
    let (other_class, _) = attachment(&mut estates, OTHER, 2, AreaClass::Giant);

    // Too small, or of another class: the request can still be refused, and made again.
    for (who, attachment) in [(USER, small), (OTHER, other_class)] {
        let request = asked(&mut estates, who, attachment);
        refused_as(&mut estates, OWNER, ACCEPT_SHARE, &[request, area, 1], Status::Range);
        refused_as(&mut estates, OWNER, ACCEPT_SHARE, &[request, private, 1], Status::WrongState);
        refused_as(&mut estates, OWNER, ACCEPT_SHARE, &[request, 3, 1], Status::NotOwner);
        refused_as(&mut estates, who, CONNECT_SHARE, &[attachment, 0, 0, 0], Status::WrongState);
        ok(&mut estates, OWNER, REFUSE, &[request]);
        refused_as(&mut estates, who, STATE_OF_SHARE, &[attachment], Status::Refused);
    }

    // The same area twice.
    let (_, _) = attached(&mut estates, USER, (area, 2, AreaClass::Block), 1);
    let (second, _) = attachment(&mut estates, USER, 2, AreaClass::Block);
    let request = asked(&mut estates, USER, second);
    refused_as(&mut estates, OWNER, ACCEPT_SHARE, &[request, area, 0], Status::Exists);
    // Its asker withdraws.
    through(&mut estates, USER, DETACH, &[second]);
    refused_as(&mut estates, OWNER, ACCEPT_SHARE, &[request, area, 0], Status::PeerGone);

    // No share is left, or no slot.
    let (_, _) = attachment(&mut estates, USER, 2, AreaClass::Block);
    let full = over(Resource::ManagementMemory);
    assert_eq!(refusal(&mut estates, USER, CREATE_SHARE, &[port, 1, block]), full);
    let (_, _) = attachment(&mut estates, OTHER, 1, AreaClass::Giant);
    let last = events(&mut estates, OTHER, 53);
    let none = over(Resource::IpaSpace);
    assert_eq!(refusal(&mut estates, OTHER, CREATE_SHARE, &[last, 1, 2]), none);
    finish(estates);
}

/// Its owner leaves it, and nobody uses it: from the first step on it is unmapped, and is only freed.
#[test]
fn an_area_that_was_left_to_nobody_is_not_to_be_had_again() {
    let mut estates = Estates::new(1, 16, SIZES);
    let (area, at) = offered(&mut estates, 70, AreaClass::Block);
    assert_eq!(call(&mut estates, OWNER, DETACH, &[area]).0[0], AGAIN);
    assert_eq!(estates.read(OWNER, at), None);
    for number in [WITHDRAW, INFO] {
        refused_as(&mut estates, OWNER, number, &[area], Status::WrongState);
    }
    through(&mut estates, OWNER, DETACH, &[area]);
    for number in [WITHDRAW, INFO] {
        refused_as(&mut estates, OWNER, number, &[area], Status::NotOwner);
    }
    finish(estates);
}

/// A call locks nobody but whom it has to do with: a guest that revokes at random stands in nobody's way.
#[test]
fn a_revoke_meets_a_user_and_nobody_else() {
    let mut estates = Estates::new(3, 32, SIZES);
    let (area, _) = offered(&mut estates, 2, AreaClass::Block);
    let (private, _) = alloc(&mut estates, OWNER, 2, AreaClass::Block);
    attached(&mut estates, USER, (area, 2, AreaClass::Block), 1);
    let mut met = |who, area, user: usize| {
        let Ok(Call::Shared(call)) = Call::decode(REVOKE, [area, user as u64, 0, 0, 0, 0]) else {
            panic!()
        };
        estates.of(who, |own, machine| own.meets(call, machine.2.areas()))
    };
    assert_eq!(met(OWNER, area, USER), Some(PartitionSlot(USER as u8)));
    for (who, area, user) in
        [(OWNER, area, OTHER), (OWNER, private, USER), (OWNER, 3, USER), (OTHER, area, USER)]
    {
        assert_eq!(met(who, area, user), None, "{who} {area:#x} {user}");
    }
    finish(estates);
}

#[test]
fn users_go_on_when_the_owner_has_left_and_the_last_gives_the_memory_back_c5() {
    for (pages, class) in KINDS {
        for ends in [false, true] {
            let mut estates = Estates::new(3, 32, SIZES);
            let free = estates.machine.store.free_pages().0;
            let (area, here) = offered(&mut estates, pages, class);
            let (reader, there) = attached(&mut estates, USER, (area, pages, class), 0);
            let (writer, far) = attached(&mut estates, OTHER, (area, pages, class), 1);
            assert!(estates.write(OWNER, here, 77));
            let mut told = Told::new();
            if ends {
                loop {
                    let (is_done, raise) = estates.leave_step(OWNER);
                    told.extend(raise.map(|raise| (raise.partition.0, raise.intid.0)));
                    estates.audit();
                    if is_done {
                        break;
                    }
                }
                estates.end(OWNER);
            } else {
                told = through(&mut estates, OWNER, DETACH, &[area]);
                assert_eq!(estates.read(OWNER, here), None);
                refused_as(&mut estates, OWNER, STATE_OF_SHARE, &[area], Status::BadHandle);
            }
            assert_eq!(told, vec![(USER as u8, 50), (OTHER as u8, 50)]);
            estates.audit();
            for (who, port, at, how) in [(USER, reader, there, 2), (OTHER, writer, far, 3)] {
                assert_eq!(ok(&mut estates, who, STATE_OF_SHARE, &[port]).0, [at.0, pages, how]);
                assert_eq!(estates.read(who, at), Some(77));
            }
            assert!(!estates.write(USER, there, 1), "whoever is left with it may do what it might");
            assert!(estates.write(OTHER, far, 78));
            assert_eq!(estates.read(USER, there), Some(78));
            // The one that keeps it leaves first, then the last one.
            through(&mut estates, OTHER, DETACH, &[writer]);
            estates.audit();
            assert_eq!((estates.read(OTHER, far), estates.read(USER, there)), (None, Some(78)));
            through(&mut estates, USER, DETACH, &[reader]);
            estates.audit();
            assert_eq!(estates.read(USER, there), None);
            all_end(&mut estates);
            (0..3).for_each(|who| estates.start(who));
            assert_eq!(estates.machine.store.free_pages().0, free);
            finish(estates);
        }
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "a machine for each step: hours under Miri, and the other tests take the same steps"
)]
fn whoever_ends_at_any_step_leaves_nothing_behind() {
    // How far it comes before somebody ends.
    for moment in 0..7 {
        for victim in [OWNER, USER] {
            for (pages, class) in [(1, AreaClass::Page), (70, AreaClass::Block)] {
                let mut estates = Estates::new(2, 16, SIZES);
                let idle = estates.machine.store.free_pages().0;
                let (area, _) = alloc(&mut estates, OWNER, pages, class);
                let (port, _) = attachment(&mut estates, USER, pages, class);
                if moment >= 1 {
                    call(&mut estates, OWNER, OFFER, &[area, 0]);
                }
                if moment >= 2 {
                    through_if_copying(&mut estates, area);
                    call(&mut estates, USER, CONNECT_SHARE, &[port, OWNER as u64, 0, 0]);
                }
                if moment >= 3 {
                    let ([request, ..], _) = ok(&mut estates, OWNER, TAKE, &[]);
                    let request = request & ((1 << 56) - 1);
                    if moment >= 4 {
                        ok(&mut estates, OWNER, ACCEPT_SHARE, &[request, area, moment & 1]);
                    }
                }
                if moment == 5 {
                    call(&mut estates, USER, DETACH, &[port]);
                }
                if moment == 6 {
                    call(&mut estates, OWNER, DETACH, &[area]);
                }
                estates.audit();
                let (steps, told_at) = leave(&mut estates, victim);
                // The attachment or the one user, the objects, two of the handles, the area, 64 leaves of each one's tables: a step
                // each, and a last one that finds nothing more. Whoever goes on hears of it before memory is given back.
                let most = 6 + 2 * pages.div_ceil(64);
                assert!(steps <= most, "{steps} steps at moment {moment}, {most} promised");
                if moment == 4 && victim == OWNER {
                    assert_eq!(told_at, Some(1));
                }
                estates.end(victim);
                estates.audit();
                estates.end(1 - victim);
                estates.start(OWNER);
                estates.start(USER);
                assert_eq!(estates.machine.store.free_pages().0, idle, "moment {moment}");
                finish(estates);
            }
        }
    }
}

/// The end of a partition: its steps, and the first in which somebody was told.
fn leave(estates: &mut Estates, who: usize) -> (u64, Option<u64>) {
    let mut told_at = None;
    for step in 1.. {
        let (is_last, raise) = estates.leave_step(who);
        told_at = told_at.or(raise.map(|_| step));
        estates.audit();
        if is_last {
            return (step, told_at);
        }
    }
    unreachable!("it ends")
}

fn through_if_copying(estates: &mut Estates, area: u64) {
    while call(estates, OWNER, OFFER, &[area, 0]).0[0] == AGAIN {}
}

/// A shared area of the description that a partition comes to: makes it, or attaches it where `keeper` keeps it.
fn comes(estates: &mut Estates, who: usize, keeper: Option<usize>, fixed: Fixed) -> (u64, Ipa) {
    match keeper {
        Some(_) => {
            estates
                .meet(who, keeper, |own, peer, machine| {
                    own.join_fixed(peer.unwrap(), machine, fixed)
                })
                .unwrap();
        }
        None => {
            let mut step =
                || estates.of(who, |own, machine| own.make_fixed(machine, fixed)).unwrap();
            while step().is_none() {}
        }
    }
    estates.audit();
    // The first handle of a partition without events.
    let handle = 1 << 16;
    let ([at, pages, how], _) = ok(estates, who, STATE_OF_SHARE, &[handle]);
    assert_eq!(pages, fixed.wanted.pages.0);
    assert_eq!(how & 1, u64::from(fixed.access == Access::ReadWrite));
    (handle, Ipa(at))
}

#[test]
fn an_area_of_the_description_lives_as_long_as_one_of_its_partitions_v7() {
    for (pages, class) in KINDS {
        let mut estates = Estates::new(3, 32, SIZES);
        let free = estates.machine.store.free_pages().0;
        let wanted = Wanted { pages: PageCount(pages), class };
        let writer = Fixed { number: 0, wanted, access: Access::ReadWrite };
        let reader = Fixed { access: Access::ReadOnly, ..writer };
        // Whoever comes first makes it, be it one that may only read.
        let (first, at) = comes(&mut estates, OTHER, None, reader);
        assert!(!estates.write(OTHER, at, 1));
        assert_eq!(comes(&mut estates, OWNER, Some(OTHER), writer), (first, at));
        assert_eq!(comes(&mut estates, USER, Some(OTHER), writer), (first, at));
        assert!(estates.write(USER, at, 7));
        assert_eq!((estates.read(OWNER, at), estates.read(OTHER, at)), (Some(7), Some(7)));
        // It is nobody's to take away.
        for (number, arguments) in
            [(REVOKE, vec![first, USER as u64]), (WITHDRAW, vec![first]), (FREE, vec![first])]
        {
            refused_as(&mut estates, OTHER, number, &arguments, Status::WrongState);
        }
        // Who keeps it ends and starts again; the content stays, and so does its place.
        estates.end(OTHER);
        estates.audit();
        estates.start(OTHER);
        let fixed_at = |estates: &mut Estates, who| {
            let joined = estates.meet(OTHER, Some(who), |own, peer, machine| {
                own.join_fixed(peer.unwrap(), machine, reader)
            });
            estates.audit();
            joined
        };
        // One of them keeps it, and no other can be asked.
        let keeper = if fixed_at(&mut estates, OWNER).is_ok() { OWNER } else { USER };
        if keeper == USER {
            assert_eq!(fixed_at(&mut estates, USER), Ok(()));
        }
        assert_eq!(fixed_at(&mut estates, keeper), Err(Refusal::PeerGone), "once only");
        assert_eq!(ok(&mut estates, OTHER, STATE_OF_SHARE, &[first]).0, [at.0, pages, 0]);
        assert_eq!(
            ok(&mut estates, keeper, STATE_OF_SHARE, &[first]).0,
            [at.0, pages, 1],
            "no owner left"
        );
        assert_eq!(estates.read(OTHER, at), Some(7));
        through(&mut estates, USER, DETACH, &[first]);
        through(&mut estates, OWNER, DETACH, &[first]);
        assert_eq!((estates.read(OTHER, at), estates.read(USER, at)), (Some(7), None));
        all_end(&mut estates);
        (0..3).for_each(|who| estates.start(who));
        assert_eq!(estates.machine.store.free_pages().0, free);
        finish(estates);
    }
}

/// Whoever kept it has gone, and its place is another's by now: it is looked for elsewhere, or made.
#[test]
fn who_has_no_areas_keeps_none_of_the_description_v7() {
    let mut estates = Estates::new(2, 32, SIZES);
    estates.end(USER);
    estates.start_without_areas(USER);
    let wanted = Wanted { pages: PageCount(1), class: AreaClass::Page };
    let fixed = Fixed { number: 0, wanted, access: Access::ReadWrite };
    let joined = estates.meet(OWNER, Some(USER), |own, peer, machine| {
        own.join_fixed(peer.unwrap(), machine, fixed)
    });
    assert_eq!(joined, Err(Refusal::PeerGone));
    estates.audit();
    comes(&mut estates, OWNER, None, fixed);
    finish(estates);
}

#[test]
fn the_word_of_an_area_of_the_description_comes_back() {
    let [first, last] = [PartitionId(0), PartitionId(u32::MAX)];
    let all = [
        Place::Nowhere,
        Place::Making(last),
        Place::Making(first),
        Place::Area(AreaNumber(0), last),
        Place::Area(AreaNumber(u16::MAX), first),
        Place::Area(AreaNumber(u16::MAX), last),
    ];
    for place in all {
        assert_eq!(Place::decode(place.encode()), place);
    }
}
