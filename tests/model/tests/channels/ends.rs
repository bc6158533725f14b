//! Ends of either side at each moment of the sequence (C4), step by step.

use super::*;

/// How far the sequence of C4 has come when one of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Created,
    Asked,
    Taken,
    Connected,
    Allocated,
    Sent,
    Answered,
    AnsweredAndSent,
    OneClosed,
}

const MOMENTS: [Moment; 9] = [
    Moment::Created,
    Moment::Asked,
    Moment::Taken,
    Moment::Connected,
    Moment::Allocated,
    Moment::Sent,
    Moment::Answered,
    Moment::AnsweredAndSent,
    Moment::OneClosed,
];

/// Brings two partitions to a moment of the sequence; their ports.
fn come_to(estates: &mut Estates, moment: Moment) -> (Port, Port) {
    let (class, bytes) = (AreaClass::Block, 200 * PAGE_BYTES);
    ok(estates, CLIENT, EVENT_PAGE, &[]);
    let client = port(estates, CLIENT, 2, class, 40);
    let server = port(estates, SERVER, 2, class, 50);
    let ports = (client, server);
    let at = |other: Moment| moment == other;
    if at(Moment::Created) {
        return ports;
    }
    call(estates, CLIENT, CONNECT, &[client.handle, 1, 7, 8]);
    if at(Moment::Asked) {
        return ports;
    }
    let [request, ..] = ok(estates, SERVER, TAKE, &[]);
    if at(Moment::Taken) {
        return ports;
    }
    call(estates, SERVER, ACCEPT, &[request & ((1 << 56) - 1), server.handle]);
    post(estates, CLIENT, client, 10, 0);
    post(estates, SERVER, server, 10, 0);
    if at(Moment::Connected) {
        return ports;
    }
    let (area, _) = alloc(estates, CLIENT, bytes, class);
    if at(Moment::Allocated) {
        return ports;
    }
    call(estates, CLIENT, SEND, &[client.handle, area, bytes]);
    if at(Moment::Sent) {
        return ports;
    }
    let [area, ..] = message(estates, SERVER, server, 0).unwrap();
    call(estates, SERVER, SEND, &[server.handle, area, bytes]);
    if at(Moment::Answered) {
        return ports;
    }
    let (area, _) = alloc(estates, CLIENT, bytes, class);
    call(estates, CLIENT, SEND, &[client.handle, area, bytes]);
    if at(Moment::AnsweredAndSent) {
        return ports;
    }
    call(estates, CLIENT, CLOSE, &[client.handle]);
    ports
}

/// Whoever ends, and wherever the sequence stands: after each single step of the end the books agree, the other side's sends
/// are refused or accepted but never half done, no area goes back to its sender, the peer is told, and all is given back.
#[test]
#[cfg_attr(
    miri,
    ignore = "a machine for each step: hours under Miri, and the other tests take the same steps"
)]
fn an_end_at_every_step_of_the_sequence_leaves_nothing_behind() {
    let mut seen = std::collections::BTreeSet::new();
    for moment in MOMENTS {
        for victim in [CLIENT, SERVER] {
            let survivor = 1 - victim;
            // The other side does something between two steps: nothing, send, or close.
            for disturbance in 0..3 {
                let mut estates = Estates::new(2, 16, SIZES);
                let idle = estates.machine.store.free_pages();
                let (client, server) = come_to(&mut estates, moment);
                let own = if survivor == CLIENT { client } else { server };
                let held = estates.machine.store.held(PartitionSlot(survivor as u8)).0;
                let mut told = Told::new();
                let mut is_closed = moment == Moment::OneClosed && survivor == CLIENT;
                loop {
                    let step = estates.next_leave_step(victim);
                    seen.insert(match step {
                        LeaveStep::ClosePort => 0,
                        LeaveStep::LeaveObject => 1,
                        LeaveStep::CloseHandles => 2,
                        LeaveStep::Unmap(_) => 3,
                        LeaveStep::Free(_) => 4,
                        LeaveStep::HideBitmap => 5,
                        LeaveStep::LeaveShare | LeaveStep::GiveCopy => {
                            unreachable!("nothing is shared here")
                        }
                        LeaveStep::Done => 6,
                    });
                    let (is_done, raise) = estates.leave_step(victim);
                    told.extend(raise.map(|raise| (raise.partition.0, raise.intid.0)));
                    estates.audit();
                    if is_done {
                        break;
                    }
                    match disturbance {
                        1 if !is_closed => {
                            let answer = call(&mut estates, survivor, SEND, &[own.handle, 0, 0, 1]);
                            let known = [Status::Ok, Status::Full, Status::PeerGone]
                                .into_iter()
                                .chain([Status::WrongState]);
                            let [status, ..] = answer.0;
                            assert!(known.into_iter().any(|known| refused(known) == status));
                        }
                        2 if !is_closed => {
                            call(&mut estates, survivor, CLOSE, &[own.handle]);
                            is_closed = true;
                        }
                        _ => {}
                    }
                    estates.audit();
                }
                let kept = estates.machine.store.held(PartitionSlot(survivor as u8)).0;
                assert!(kept <= held, "an area came back: {moment:?} {victim} {disturbance}");
                estates.end(victim);
                let was_connected = !matches!(
                    moment,
                    Moment::Created | Moment::Asked | Moment::Taken | Moment::OneClosed
                );
                if was_connected && disturbance < 2 {
                    let intid = own.intid;
                    assert_eq!(told, [(survivor as u8, intid)], "{moment:?} {victim}");
                    let gone = call(&mut estates, survivor, SEND, &[own.handle]).0[0];
                    assert_eq!(gone, refused(Status::PeerGone));
                }
                estates.audit();
                // The name lives again, and nothing is connected to it.
                estates.start(victim);
                estates.audit();
                estates.end(survivor);
                estates.end(victim);
                estates.start(victim);
                estates.start(survivor);
                assert_eq!(estates.machine.store.free_pages(), idle);
                estates.end(victim);
                estates.end(survivor);
            }
        }
    }
    assert_eq!(seen.len(), 7, "a step of the end was never met");
}
