//! An end gives areas back when all have been told who can be told (C4): a large one keeps nobody waiting who has nothing to do
//! with it.

use shikiri_abi::{AreaClass, PAGE_BYTES, Status};
use shikiri_core::area::{AreaSizes, LeaveStep, STEP};
use shikiri_core::event::Visitor;
use shikiri_core::handle::Handle;
use shikiri_core::party::Refusal;
use shikiri_model::calls::{
    ACCEPT_EVENT, ALLOC, ASK, BIND, CREATE_RECEIVE, CREATE_SEND, EVENT_PAGE, NOTIFY_ME, OFFER,
    TAKE, Told, call, refused, told,
};
use shikiri_model::estates::Estates;
use shikiri_stage2::WindowSizes;

const SIZES: AreaSizes =
    AreaSizes { windows: WindowSizes { pages: 2, blocks: 1, giants: 1 }, ports: 1, shares: 1 };
/// Who ends.
const VICTIM: usize = 0;
/// Who sends it events.
const SENDER: usize = 1;
/// Who has asked it, and waits.
const ASKER: usize = 2;
/// Where the asker is told.
const INTID: u64 = 40;
/// What the victim has, each page by itself.
const AREA_PAGES: u64 = 10_000;

/// A call that succeeds: its results.
fn ok(estates: &mut Estates, who: usize, number: u32, arguments: &[u64]) -> [u64; 3] {
    let ([status, values @ ..], _) = call(estates, who, number, arguments);
    let good = [Status::Ok, Status::Pending].map(refused);
    assert!(good.contains(&status), "{number:#x} of {who}: {status:#x}");
    values
}

/// A send port that asks the victim to be connected, of a partition that is told what becomes of it.
fn asks(estates: &mut Estates, who: usize) -> u64 {
    let [notify, ..] = ok(estates, who, CREATE_RECEIVE, &[]);
    ok(estates, who, BIND, &[notify, INTID, 0, 0]);
    ok(estates, who, NOTIFY_ME, &[notify]);
    let [port, ..] = ok(estates, who, CREATE_SEND, &[]);
    ok(estates, who, ASK, &[port, VICTIM as u64, 7, 0]);
    port
}

/// The victim accepts what was asked first.
fn accept(estates: &mut Estates) {
    let [request, ..] = ok(estates, VICTIM, TAKE, &[]);
    let [receive, ..] = ok(estates, VICTIM, CREATE_RECEIVE, &[]);
    ok(estates, VICTIM, ACCEPT_EVENT, &[request & ((1 << 56) - 1), receive]);
}

/// Makes the victim's area, and offers it if that is wanted.
fn make_area(estates: &mut Estates, is_offered: bool) {
    let mut through = |number, arguments: [u64; 3]| {
        let mut arguments = arguments;
        loop {
            match call(estates, VICTIM, number, &arguments).0 {
                [0, area, ..] => return area,
                [again, area, ..] if again == refused(Status::Again) => {
                    arguments[if number == ALLOC { 2 } else { 0 }] = area;
                }
                other => panic!("{number:#x}: {other:x?}"),
            }
        }
    };
    let giant = u64::from(AreaClass::Giant.code());
    let area = through(ALLOC, [AREA_PAGES * PAGE_BYTES, giant, 0]);
    if is_offered {
        through(OFFER, [area, 0, 0]);
    }
}

/// What EVENT_STATE and EVENT_SEND answer.
fn answers(estates: &Estates, who: usize, port: u64) -> [Result<(), Refusal>; 2] {
    let shared = estates.shared(who).unwrap();
    let visitor = Visitor::new();
    let peer = |slot: shikiri_abi::PartitionSlot| estates.shared(usize::from(slot.0));
    let sent = shared.send(Handle(port), &visitor, peer).map(drop);
    [shared.state(Handle(port)).map(drop), sent]
}

#[test]
#[cfg_attr(miri, ignore = "takes thousands of frames one by one: minutes under Miri")]
fn all_who_can_be_told_are_told_before_an_area_goes_back_c4() {
    for is_offered in [false, true] {
        let mut estates = Estates::new(3, 64, SIZES);
        let scattered = estates.machine.scatter();
        let sender = asks(&mut estates, SENDER);
        accept(&mut estates);
        let asker = asks(&mut estates, ASKER);
        make_area(&mut estates, is_offered);
        ok(&mut estates, VICTIM, EVENT_PAGE, &[]);
        assert_eq!(answers(&estates, SENDER, sender), [Ok(()); 2]);

        let (mut heard, mut steps) = (Told::new(), Vec::new());
        let gives = |step: LeaveStep| step >= LeaveStep::GiveCopy;
        while !gives(estates.next_leave_step(VICTIM)) {
            steps.push(estates.next_leave_step(VICTIM));
            let (is_last, raise) = estates.leave_step(VICTIM);
            heard.extend(told([raise]));
            assert!(!is_last, "{steps:?}");
        }
        assert_eq!(heard, [(ASKER as u8, INTID as u16)], "{steps:?}");
        for (who, port) in [(SENDER, sender), (ASKER, asker)] {
            assert_eq!(answers(&estates, who, port), [Err(Refusal::PeerGone); 2], "{steps:?}");
        }
        assert!(steps.len() <= 6, "{steps:?}");
        // Whoever asks from now on is told at once.
        let ask = [asker, VICTIM as u64, 7, 0];
        assert_eq!(call(&mut estates, ASKER, ASK, &ask).0[0], refused(Status::PeerGone));

        let mut rest = 0;
        while !estates.leave_step(VICTIM).0 {
            rest += 1;
        }
        assert!(rest > AREA_PAGES / STEP, "{rest} steps for an area that is large");
        (0..3).for_each(|who| estates.end(who));
        estates.machine.give(scattered);
    }
}
