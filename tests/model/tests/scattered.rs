//! An area of 1 GiB whose frames lie apart (C3): no two of its pages are mapped together, and it is sent as a page is.

use shikiri_abi::channel::{ADDRESS, BYTES, CONSUMED, PAGES, POSTED, entry};
use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES, Status};
use shikiri_core::area::AreaSizes;
use shikiri_model::calls::{
    ACCEPT, ALLOC, BIND, CONNECT, CREATE, CREATE_RECEIVE, SEND, TAKE, call, refused, word,
};
use shikiri_model::estates::Estates;
use shikiri_model::machine::Work;
use shikiri_stage2::WindowSizes;

const SIZES: AreaSizes =
    AreaSizes { windows: WindowSizes { pages: 8, blocks: 1, giants: 4 }, ports: 1, shares: 1 };
const GIANT: AreaClass = AreaClass::Giant;
const GIB: u64 = 1 << 30;
const INTID: u64 = 40;

/// A call that succeeds: its results.
fn ok(estates: &mut Estates, who: usize, number: u32, arguments: &[u64]) -> [u64; 3] {
    let ([status, values @ ..], _) = call(estates, who, number, arguments);
    assert!(
        [Status::Ok, Status::Pending].map(refused).contains(&status),
        "{number:#x}: {status:#x}"
    );
    values
}

/// A message port with two slots of 1 GiB: its handle, arrivals and credits.
fn port(estates: &mut Estates, who: usize) -> [u64; 3] {
    let [events, ..] = ok(estates, who, CREATE_RECEIVE, &[]);
    ok(estates, who, BIND, &[events, INTID, 0, 0]);
    ok(estates, who, CREATE, &[events, 2, u64::from(GIANT.code())])
}

/// Makes an area in as many calls as it takes: its handle and where it is.
fn alloc(estates: &mut Estates, bytes: u64) -> (u64, Ipa) {
    let mut arguments = [bytes, u64::from(GIANT.code()), 0];
    loop {
        match call(estates, 0, ALLOC, &arguments).0 {
            [0, handle, at, _] => return (handle, Ipa(at)),
            [again, handle, ..] if again == refused(Status::Again) => arguments[2] = handle,
            other => panic!("{other:x?}"),
        }
    }
}

/// How many leaves there are in the first 2 MiB, and in the last.
fn leaves(estates: &mut Estates, at: Ipa, bytes: u64) -> [usize; 2] {
    let ram = estates.machine.ram.clone();
    let stage2 = estates.side(0).holdings.stage2().unwrap();
    [at, at.wrapping_add(bytes - (2 << 20))].map(|from| {
        let pages = (0..512).map(|page| from.wrapping_add(page * PAGE_BYTES));
        pages.filter(|page| stage2.leaf_at(&ram, *page).unwrap().ipa == *page).count()
    })
}

/// Sends an area, in which the first and the last word are marked: what it took, and what the receiver finds.
fn send(estates: &mut Estates, ports: [[u64; 3]; 2], number: u64, bytes: u64) -> Work {
    let (area, from) = alloc(estates, bytes);
    if bytes == GIB {
        assert_eq!(leaves(estates, from, bytes), [512; 2], "single pages");
    }
    let last = bytes - 8;
    assert!(estates.write(0, from, 11) && estates.write(0, from.wrapping_add(last), 12 + number));
    let [[sender, ..], [_, arrivals, _]] = ports;
    let before = estates.machine.ram.work();
    let (answer, told) = call(estates, 0, SEND, &[sender, area, bytes, 7, 8, 9]);
    let after = estates.machine.ram.work();
    assert_eq!((answer, told), ([0; 4], vec![(1, INTID as u16)]));
    let arrived =
        [ADDRESS, BYTES, PAGES].map(|at| word(estates, 1, Ipa(arrivals), entry(number) + at));
    assert_eq!(arrived[1..], [bytes, bytes / PAGE_BYTES]);
    let to = Ipa(arrived[0]);
    let found = [to, to.wrapping_add(last)].map(|at| estates.read(1, at));
    assert_eq!(found, [Some(11), Some(12 + number)]);
    assert_eq!([from, from.wrapping_add(last)].map(|at| estates.read(0, at)), [None; 2]);
    Work {
        loads: after.loads - before.loads,
        stores: after.stores - before.stores,
        invalidations: after.invalidations - before.invalidations,
    }
}

#[test]
#[cfg_attr(miri, ignore = "a machine of 2 GiB, and thousands of steps")]
fn a_scattered_area_of_1_gib_is_sent_by_the_steps_of_a_page_c3() {
    let mut estates = Estates::new(2, 2048, SIZES);
    let scattered = estates.machine.scatter();
    let ports = [port(&mut estates, 0), port(&mut estates, 1)];
    ok(&mut estates, 0, CONNECT, &[ports[0][0], 1, 0, 0]);
    let [request, ..] = ok(&mut estates, 1, TAKE, &[]);
    ok(&mut estates, 1, ACCEPT, &[request & ((1 << 56) - 1), ports[1][0]]);
    // The receiver has taken what came, each time.
    let credits = |estates: &Estates, taken: u64| {
        let at = |word: usize| Ipa(ports[1][2]).wrapping_add(8 * word as u64);
        assert!(estates.write(1, at(POSTED), taken + 1) && estates.write(1, at(CONSUMED), taken));
    };
    credits(&estates, 0);
    let small = send(&mut estates, ports, 0, PAGE_BYTES);
    credits(&estates, 1);
    let large = send(&mut estates, ports, 1, GIB);
    assert_eq!(large, small, "whatever the size, and however scattered");
    assert!(large.stores < 100 && large.invalidations > 0, "{large:?}");
    (0..2).for_each(|who| estates.end(who));
    estates.machine.give(scattered);
}
