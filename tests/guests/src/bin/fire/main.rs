//! A transfer under fire: while one vCPU of the sender sends an area, its other vCPUs load from it, store to it, clean,
//! invalidate and clear lines of it and fetch instructions from it (`shots.rs`), and go on. `role=` on the command line says which
//! side this one is.
//!
//! Both sides know the same *places* in an area. The sender's vCPUs hit them at random; the receiver writes its own words there as
//! soon as the area has come, and looks at them again and again, until the sender has seen enough.
#![no_std]
#![no_main]

mod shots;

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{AreaClass, Ipa, Status};
use shikiri_rt::hvc::message::{self, Area};
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::mmu::Access;
use shikiri_rt::{irq, platform, reg, smp};
use shikiri_test_guests::port::{Port, made, map_windows, refused, set, used, wait, word};
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::taken;
use shikiri_test_guests::{Failure, case, done, ensure, equal, fault};

use shots::{KINDS, Shot};

shikiri_rt::entry!(main);

const EVENT: u32 = 65;
/// Places of an area that both sides know.
const PLACES: u64 = 256;
/// Shots of each kind that each vCPU has while the area is there, and while it is gone.
const SHOTS: u64 = 40;

/// The top byte of a word that a vCPU of the sender stores, and of one that the receiver stores.
const SENDERS: u64 = 0xaa << 56;
const RECEIVERS: u64 = 0xbb << 56;
const WHOSE: u64 = 0xff << 56;

/// Where the sender stands: between two areas, the area is there, `CHANNEL_SEND` has returned.
const IDLE: u64 = 0;
const THERE: u64 = 1;
const GONE: u64 = 2;
/// Its first page is there, and what lies behind may be freed.
const HEAD: u64 = 3;

/// 4 × the round, and where the sender stands in it.
static PHASE: AtomicU64 = AtomicU64::new(0);
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
/// By vCPU and kind: what came to pass in this round: shots that were served while the area was there; those while it was gone that
/// faulted, or that cannot fault.
static SERVED: [Counts; 8] = [const { [const { AtomicU64::new(0) }; KINDS] }; 8];
static MISSED: [Counts; 8] = [const { [const { AtomicU64::new(0) }; KINDS] }; 8];
type Counts = [AtomicU64; KINDS];
/// Shots that were served after `CHANNEL_SEND` had returned, words of the receiver's that were seen, fetches that were
/// served, shots that faulted at a place which was there.
static LATE: AtomicU64 = AtomicU64::new(0);
static SEEN: AtomicU64 = AtomicU64::new(0);
static FETCHED: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);

fn main() {
    fault::catch_faults();
    irq::set_handler(|_| {});
    irq::unmask();
    // Stage 1 lets all pass: what faults faults at stage 2.
    if map_windows(Access::Anything).is_err() {
        return;
    }
    if platform::value_of("role") == Some("receiver") {
        return receive();
    }
    case("an_access_to_nothing_faults", shots::find_out);
    case("other_vcpus_run", || equal("vCPUs", smp::start_all(hammer) as u64, smp::count() as u64));
    const MIB: u64 = 1 << 20;
    if platform::has_word("giants") {
        // Two runs of frames, so with tables; one of single frames, each beside none of its neighbours; and one that is a single
        // leaf, which is its whole slot.
        case("a_giant_of_blocks_is_sent_under_fire", || {
            under_fire(AreaClass::Giant, 3 * MIB, Shape::Tables)
        });
        case("a_scattered_giant_is_sent_under_fire", || {
            let mib = platform::number_of("scattered_mib").unwrap_or(64);
            under_fire(AreaClass::Giant, mib * MIB, Shape::Frames)
        });
        case("a_contiguous_giant_is_sent_under_fire", || {
            under_fire(AreaClass::Giant, 1024 * MIB, Shape::Leaf)
        });
    } else {
        case("a_page_is_sent_under_fire", || under_fire(AreaClass::Page, 4096, Shape::Leaf));
        case("a_scattered_block_is_sent_under_fire", || {
            under_fire(AreaClass::Block, 0x5000, Shape::Tables)
        });
        case("a_contiguous_block_is_sent_under_fire", || {
            under_fire(AreaClass::Block, 2 * MIB, Shape::Leaf)
        });
        case("what_stays_of_a_trimmed_block_is_always_there", || {
            head_under_fire(1, 2, |handle, pages| taken::trim(handle, pages << 12))
        });
        case("what_stays_of_a_split_block_is_always_there", || {
            head_under_fire(2, 16, |handle, pages| {
                let tail = taken::split(handle, pages << 12, AreaClass::Block)?;
                taken::free(tail.handle)
            })
        });
    }
    done()
}

/// What an area's subtree must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One leaf.
    Leaf,
    /// Some tables.
    Tables,
    /// A leaf for each page, whose frames go down as the addresses go up.
    Frames,
}

impl Shape {
    /// Makes such an area.
    fn make(self, class: AreaClass, bytes: u64) -> Result<Area, Failure> {
        let before = used()?[2];
        let area = made(message::alloc(bytes, class))?;
        if self != Self::Frames {
            ensure("its shape", (used()?[2] == before) == (self == Self::Leaf))?;
            return Ok(area);
        }
        // Onto the end of a single page, so that no block of it finds a place where it could be one: page by page, the last first.
        let page = made(message::alloc(4096, class))?;
        let scattered = taken::split_onto(area.handle, 4096, class, page.handle)?;
        made(taken::free(area.handle))?;
        // A table for each 2 MiB of leaves.
        ensure("its shape", used()?[2] - before >= bytes >> 21)?;
        equal("its size", scattered.pages.0 << 12, bytes)?;
        Ok(scattered)
    }
}

/// A place of an area.
const fn place(address: Ipa, bytes: u64, number: u64) -> Ipa {
    let step = bytes / PLACES;
    Ipa(address.0 + ((number * step) & !7))
}

/// Sends areas of one size, each under fire.
fn under_fire(class: AreaClass, bytes: u64, shape: Shape) -> Outcome {
    let receiver = platform::number_of("receiver").unwrap_or(0) as u8;
    let mut port = Port::new(class, 0, EVENT)?;
    wait("connected", || {
        let _asked = message::connect(port.handle, receiver, 0, u64::from(class.code()));
        port.is_connected()
    })?;
    for round in 1..=platform::number_of("rounds").unwrap_or(4) {
        one_round(&mut port, class, bytes, shape, round)?;
    }
    port.close()
}

fn one_round(port: &mut Port, class: AreaClass, bytes: u64, shape: Shape, round: u64) -> Outcome {
    PHASE.store(4 * round + IDLE, Ordering::SeqCst);
    port.post(1)?;
    let before = used()?;
    let Area { handle, address, .. } = shape.make(class, bytes)?;
    open_fire((address, bytes), 4 * round + THERE)?;
    port.send(Some((handle, bytes)), [round, 0, 0])?;
    PHASE.store(4 * round + GONE, Ordering::SeqCst);
    for number in [0, 1, PLACES - 1] {
        for shot in Shot::ALL.iter().filter(|shot| shot.faults()) {
            let fired = shot.fire(place(address, bytes, number), SENDERS);
            ensure("the sender's own shot faults", fired.is_err())?;
        }
    }
    refused("info", message::info(handle), Status::NotOwner)?;
    wait("nobody shoots at what is gone", || none_hits().map(|()| all(&MISSED, |_| true)))?;
    // The receiver has looked all the time, and says what it saw.
    port.send(None, [round, 1, 0])?;
    let answer = port.wait_for_message()?;
    equal("the receiver's words that have changed", answer.short[0], 0)?;
    ensure("the receiver has looked", answer.short[1] > 0)?;
    PHASE.store(4 * round + IDLE, Ordering::SeqCst);
    none_hits()?;
    ensure("all is refunded", used()? == before)
}

/// Makes an area shorter, by so many pages with each call, while the other vCPUs use what stays of it. The hypervisor takes it out of its slot meanwhile, and who meets that
/// finds it in its place again.
fn head_under_fire(
    round: u64,
    step: usize,
    shorten: impl Fn(Handle, u64) -> Result<(), Refusal>,
) -> Outcome {
    let Area { handle, address, .. } = made(message::alloc(2 << 20, AreaClass::Block))?;
    open_fire((address, 4096), 4 * round + HEAD)?;
    // Each call takes it out once, and each leaf or more.
    for pages in (1..512).rev().step_by(step) {
        made(shorten(handle, pages))?;
    }
    PHASE.store(4 * round + IDLE, Ordering::SeqCst);
    made(taken::free(handle))?;
    equal("faults at what stays", LOST.load(Ordering::Relaxed), 0)
}

/// Shows the other vCPUs a place, and waits until each of them has it in its TLB, and uses it.
fn open_fire((address, bytes): (Ipa, u64), phase: u64) -> Outcome {
    for kinds in SERVED.iter().chain(&MISSED) {
        kinds.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
    ADDRESS.store(address.0, Ordering::Relaxed);
    BYTES.store(bytes, Ordering::Relaxed);
    PHASE.store(phase, Ordering::SeqCst);
    wait("nobody shoots", || Ok(all(&SERVED, |shot| shot != Shot::Fetch)))
}

/// Whether the walls have held so far.
fn none_hits() -> Outcome {
    equal("accesses after the send", LATE.load(Ordering::Relaxed), 0)?;
    equal("words of the receiver's", SEEN.load(Ordering::Relaxed), 0)?;
    equal("instructions fetched", FETCHED.load(Ordering::Relaxed), 0)
}

/// Whether every other vCPU has had its shots of each of these kinds.
fn all(counts: &[Counts], is_wanted: impl Fn(Shot) -> bool) -> bool {
    counts.iter().take(smp::count()).skip(1).all(|by_kind| {
        let wanted = Shot::ALL.iter().filter(|shot| is_wanted(**shot));
        wanted.map(|shot| &by_kind[*shot as usize]).all(|it| it.load(Ordering::Relaxed) >= SHOTS)
    })
}

/// What the sender's other vCPUs do.
fn hammer() {
    irq::unmask();
    let own = smp::index();
    let mut random = Random::new(0x1234_5678 + own as u64);
    loop {
        let before = PHASE.load(Ordering::SeqCst);
        if before % 4 == IDLE {
            reg::yield_now();
            continue;
        }
        let bytes = BYTES.load(Ordering::Relaxed);
        let at = place(Ipa(ADDRESS.load(Ordering::Relaxed)), bytes, random.below(PLACES));
        let shot = random.pick(Shot::ALL);
        let fired = shot.fire(at, SENDERS | random.below(1 << 56));
        // An access that began in this phase and ended in it.
        let is_same = PHASE.load(Ordering::SeqCst) == before;
        let is_gone = before % 4 == GONE;
        match fired {
            Ok(_) if shot == Shot::Fetch => note(&FETCHED),
            Ok(value) if shot.is_load() && value & WHOSE == RECEIVERS => note(&SEEN),
            Ok(_) if is_same && is_gone && shot.faults() => note(&LATE),
            Ok(_) if is_same && is_gone => note(&MISSED[own][shot as usize]),
            Ok(_) if is_same => note(&SERVED[own][shot as usize]),
            // An area is never executed from.
            Err(_) if is_same && before % 4 == HEAD && shot != Shot::Fetch => note(&LOST),
            Err(_) if is_same && is_gone => note(&MISSED[own][shot as usize]),
            Ok(_) | Err(_) => {}
        }
    }
}

fn note(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Receives for ever.
fn receive() {
    loop {
        if let Err(failure) = receive_some() {
            fail("receiver", &failure);
            return;
        }
    }
}

fn receive_some() -> Outcome {
    let signal = loop {
        match talk::take_signal() {
            Ok(signal) => break signal,
            Err(_) => reg::yield_now(),
        }
    };
    let class = AreaClass::from_code(signal.word).unwrap_or(AreaClass::Page);
    let mut port = Port::new(class, 1, EVENT)?;
    made(message::accept(signal.request, port.handle))?;
    port.post(2)?;
    loop {
        let Some(message) = port.receive()? else {
            if port.is_connected()? {
                reg::yield_now();
                continue;
            }
            return port.close();
        };
        let area = message.area.ok_or(Failure { what: "no area", got: 0, want: 1 })?;
        let (changed, looks) = keep_watch(&mut port, message.address, message.bytes)?;
        made(taken::free(area))?;
        port.post(2)?;
        port.send(None, [changed, looks, 0])?;
    }
}

/// Writes words into an area that has come, and looks whether they stay, until the sender says that it is enough: how many have
/// changed, and how often each was looked at.
fn keep_watch(port: &mut Port, address: Ipa, bytes: u64) -> Result<(u64, u64), Failure> {
    let (mut changed, mut looks) = (0, 0);
    loop {
        for number in 0..PLACES {
            set(place(address, bytes, number), RECEIVERS | looks << 16 | number)?;
        }
        for number in 0..PLACES {
            let is_own = word(place(address, bytes, number))? == RECEIVERS | looks << 16 | number;
            changed += u64::from(!is_own);
        }
        looks += 1;
        if port.receive()?.is_some() {
            return Ok((changed, looks));
        }
    }
}
