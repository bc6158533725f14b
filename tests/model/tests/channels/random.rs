//! Whatever partitions do, the books agree and nothing is left.

use proptest::prelude::*;
use shikiri_abi::channel::entry;
use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, Status};
use shikiri_model::calls::{
    ACCEPT, ALLOC, CLOSE, CLOSE_HANDLE, CONNECT, CREATE, CREATE_RECEIVE, FREE, INFO, KEEP, NOTIFY,
    REFUSE, SEND, TAKE, TRIM, call, refused,
};
use shikiri_model::estates::Estates;

use crate::{Port, SIZES, snapshot};

/// What a guest of the random runs does; numbers choose among what it has.
#[derive(Clone, Debug)]
enum Act {
    Alloc { pages: u64, class: AreaClass },
    Area { number: u32, which: usize },
    Trim { which: usize, pages: u64 },
    Create { slots: u64, class: AreaClass },
    Connect { which: usize, to: usize },
    Take,
    Accept { request: usize, port: usize },
    Refuse { request: usize },
    Send { port: usize, area: usize, bytes: u64 },
    Port { number: u32, which: usize },
    Credits { port: usize, posted: u64, consumed: u64 },
    End,
}

fn act() -> impl Strategy<Value = Act> {
    let class = prop_oneof![Just(AreaClass::Page), Just(AreaClass::Block), Just(AreaClass::Giant)];
    let pages = prop_oneof![Just(1_u64), Just(2), Just(70), Just(512), Just(600)];
    prop_oneof![
        4 => (pages, class.clone()).prop_map(|(pages, class)| Act::Alloc { pages, class }),
        4 => (prop_oneof![Just(FREE), Just(INFO), Just(KEEP)], 0..9_usize)
            .prop_map(|(number, which)| Act::Area { number, which }),
        2 => (0..9_usize, prop_oneof![Just(0_u64), Just(1), 2..513_u64, Just(520)])
            .prop_map(|(which, pages)| Act::Trim { which, pages }),
        3 => (0..4_u64, class).prop_map(|(slots, class)| Act::Create { slots, class }),
        4 => (0..4_usize, 0..3_usize).prop_map(|(which, to)| Act::Connect { which, to }),
        4 => Just(Act::Take),
        4 => (0..3_usize, 0..4_usize).prop_map(|(request, port)| Act::Accept { request, port }),
        1 => (0..3_usize).prop_map(|request| Act::Refuse { request }),
        9 => (0..4_usize, 0..9_usize, prop_oneof![Just(0_u64), Just(4096), Just(u64::MAX)])
            .prop_map(|(port, area, bytes)| Act::Send { port, area, bytes }),
        2 => (prop_oneof![Just(NOTIFY), Just(CLOSE)], 0..4_usize)
            .prop_map(|(number, which)| Act::Port { number, which }),
        5 => (0..4_usize, prop_oneof![0..70_u64, Just(u64::MAX)], 0..9_u64)
            .prop_map(|(port, posted, consumed)| Act::Credits { port, posted, consumed }),
        1 => Just(Act::End),
    ]
}

/// The handles that a guest has ever seen, stale ones among them.
#[derive(Clone, Debug, Default)]
struct Seen {
    areas: Vec<u64>,
    ports: Vec<Port>,
    requests: Vec<u64>,
}

/// Makes a call; a refusal has changed nothing, and all books agree after it.
fn random_call(
    estates: &mut Estates,
    who: usize,
    number: u32,
    arguments: &[u64],
) -> Option<[u64; 4]> {
    let before: Vec<_> = (0..3).map(|side| snapshot(estates, side)).collect();
    let (answer, told) = call(estates, who, number, arguments);
    estates.audit();
    let is_done = [Status::Ok, Status::Pending].iter().any(|status| refused(*status) == answer[0]);
    let is_step = answer[0] == refused(Status::Again) && answer[1] != 0;
    // A later step of making an area may have got something before it was refused: it tells so by going on.
    if !is_done && !is_step {
        let after: Vec<_> = (0..3).map(|side| snapshot(estates, side)).collect();
        assert_eq!((told, after), (vec![], before), "call {number:#x} {arguments:x?}");
    }
    (is_done || is_step).then_some(answer)
}

fn perform(estates: &mut Estates, seen: &mut [Seen; 3], who: usize, act: &Act) {
    let mine = seen[who].clone();
    let area = |which: usize| mine.areas.get(which).copied().unwrap_or(0x1_0000);
    let port = |which: usize| mine.ports.get(which).map_or(0x1_0000, |port| port.handle);
    let request = |which: usize| mine.requests.get(which).copied().unwrap_or(0x1_0000);
    match *act {
        Act::Alloc { pages, class } => {
            let arguments = [pages * PAGE_BYTES, u64::from(class.code()), 0];
            if let Some([_, handle, ..]) = random_call(estates, who, ALLOC, &arguments) {
                seen[who].areas.push(handle);
                let more = [arguments[0], arguments[1], handle];
                let _done = random_call(estates, who, ALLOC, &more);
            }
        }
        Act::Area { number, which } => {
            random_call(estates, who, number, &[area(which)]);
        }
        Act::Trim { which, pages } => {
            random_call(estates, who, TRIM, &[area(which), pages * PAGE_BYTES]);
        }
        Act::Create { slots, class } => {
            let Some([_, events, ..]) = random_call(estates, who, CREATE_RECEIVE, &[]) else {
                return;
            };
            let arguments = [events, slots, u64::from(class.code())];
            match random_call(estates, who, CREATE, &arguments) {
                Some([_, handle, arrivals, credits]) => seen[who].ports.push(Port {
                    handle,
                    events,
                    arrivals: Ipa(arrivals),
                    credits: Ipa(credits),
                    intid: 0,
                }),
                None => {
                    random_call(estates, who, CLOSE_HANDLE, &[events]);
                }
            }
        }
        Act::Connect { which, to } => {
            random_call(estates, who, CONNECT, &[port(which), to as u64, 1, 2]);
        }
        Act::Take => {
            if let Some([_, request, ..]) = random_call(estates, who, TAKE, &[]) {
                seen[who].requests.push(request & ((1 << 56) - 1));
            }
        }
        Act::Accept { request: which, port: with } => {
            random_call(estates, who, ACCEPT, &[request(which), port(with)]);
        }
        Act::Refuse { request: which } => {
            random_call(estates, who, REFUSE, &[request(which)]);
        }
        Act::Send { port: which, area: with, bytes } => {
            let with = if bytes == 0 { 0 } else { area(with) };
            random_call(estates, who, SEND, &[port(which), with, bytes, 5]);
            receive(estates, seen);
        }
        Act::Port { number, which } => {
            random_call(estates, who, number, &[port(which)]);
        }
        Act::Credits { port, posted, consumed } => {
            if let Some(port) = mine.ports.get(port) {
                // The port may be closed: then the store faults, or hits the page of another port.
                estates.write(who, port.credits, posted);
                estates.write(who, port.credits.wrapping_add(8), consumed);
            }
        }
        Act::End => {
            estates.end(who);
            estates.audit();
            estates.start(who);
            seen[who] = Seen::default();
        }
    }
}

/// Each guest notes the areas that stand in its arrivals.
fn receive(estates: &Estates, seen: &mut [Seen; 3]) {
    for (who, mine) in seen.iter_mut().enumerate() {
        for port in &mine.ports {
            for number in 0..4 {
                let at = port.arrivals.wrapping_add(8 * (entry(number) + 1) as u64);
                let area = estates.read(who, at).filter(|area| *area != 0);
                if let Some(area) = area.filter(|area| !mine.areas.contains(area)) {
                    mine.areas.push(area);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(shikiri_model::cases(60))]

    /// Several partitions do anything in any order, with stale and invented handles and nonsense in their credits, and end.
    #[test]
    fn whatever_partitions_do_the_books_agree_and_nothing_is_left(
        acts in prop::collection::vec((0..3_usize, act()), 1..shikiri_model::steps(60))
    ) {
        let mut estates = Estates::new(3, 32, SIZES);
        let idle = estates.machine.store.free_pages();
        let mut seen = [Seen::default(), Seen::default(), Seen::default()];
        // A ring of channels to begin with, and an area for each.
        let page = AreaClass::Page;
        for act in [
            Act::Create { slots: 2, class: page },
            Act::Create { slots: 2, class: page },
            Act::Alloc { pages: 1, class: page },
            Act::Connect { which: 0, to: 3 },
            Act::Take,
            Act::Accept { request: 0, port: 1 },
            Act::Credits { port: 0, posted: 40, consumed: 0 },
            Act::Credits { port: 1, posted: 40, consumed: 0 },
        ] {
            for who in 0..3 {
                let act = match act {
                    Act::Connect { which, .. } => Act::Connect { which, to: (who + 1) % 3 },
                    ref other => other.clone(),
                };
                perform(&mut estates, &mut seen, who, &act);
            }
        }
        for (who, act) in &acts {
            perform(&mut estates, &mut seen, *who, act);
        }
        (0..3).for_each(|who| estates.end(who));
        (0..3).for_each(|who| estates.start(who));
        prop_assert_eq!(estates.machine.store.free_pages(), idle);
        (0..3).for_each(|who| estates.end(who));
    }
}
