//! The run-time itself: memory protection, the heap, locks between vCPUs, handlers that change the frame.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "writes to what is protected, to see that it is")]

extern crate alloc;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::event::{Awaited, ReceivePort, SendPort, Sharing, Told as _};
use shikiri_rt::platform::platform;
use shikiri_rt::sleep::{self, Ticks};
use shikiri_rt::timer::{Timer, control};
use shikiri_rt::{Lock, heap, irq, memory, mmu, reg, smp};
use shikiri_test_guests::answers::{made, soon};
use shikiri_test_guests::fault::{self, Fault, attempt};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal};

/// A word in the read-only part.
static CONSTANT: u64 = 0x0123_4567_89ab_cdef;
/// Data abort by a permission fault at level 3.
const PERMISSION: (u64, u64) = (0x25, 0x0f);

shikiri_rt::entry!(main);

fn main() {
    fault::catch_faults();
    case("constants_cannot_be_written", constants);
    case("text_cannot_be_written", text);
    case("data_cannot_be_executed", data);
    case("what_is_mapped_nowhere_faults", unmapped);
    case("pages_are_handed_out_once", pages);
    case("the_heap_gives_and_takes_back", allocations);
    case("copies_are_whole_and_touch_nothing_else", copies);
    case("fills_are_whole_and_touch_nothing_else", fills);
    case("a_port_that_was_met_without_a_handler_still_ends_a_wait", met_before);
    case("a_deadline_of_its_own_without_a_handler_does_not_prolong_a_sleep", own_deadline);
    if smp::count() > 1 {
        case("a_vcpu_runs_what_it_was_first_started_for", first_entry);
        case("a_lock_admits_one_at_a_time", lock);
    }
    done()
}

fn wants(tried: Result<u64, Fault>, (class, status): (u64, u64)) -> Outcome {
    let fault = tried.err();
    equal("exception class", fault.map_or(u64::MAX, |fault| fault.class()), class)?;
    equal("fault status", fault.map_or(u64::MAX, |fault| fault.status()), status)
}

fn constants() -> Outcome {
    let address = (&raw const CONSTANT).expose_provenance() as u64;
    // SAFETY: it faults, which is what is looked for.
    wants(unsafe { attempt(fault::fault_store64, address, 0) }, PERMISSION)?;
    equal("value", core::hint::black_box(CONSTANT), 0x0123_4567_89ab_cdef)
}

fn text() -> Outcome {
    let piece: fault::Piece = fault::fault_load8;
    // SAFETY: as above.
    wants(unsafe { attempt(fault::fault_store32, piece as usize as u64, 0) }, PERMISSION)
}

fn data() -> Outcome {
    let page = memory::take(1).unwrap_or(0);
    // SAFETY: as above.
    let tried = unsafe { attempt(fault::fault_call, page, 0) };
    // RAM is mapped by blocks of 2 MiB or 1 GiB as well: the level of the fault may be any.
    let fault = tried.err();
    equal("exception class", fault.map_or(u64::MAX, |fault| fault.class()), 0x21)?;
    equal("permission fault", fault.map_or(u64::MAX, |fault| fault.status() >> 2), 3)
}

fn unmapped() -> Outcome {
    const SOMEWHERE: u64 = 0x60_0000_0000;
    // SAFETY: nothing lies there.
    let mapped = unsafe { mmu::map(SOMEWHERE, 0, 4096, mmu::Access::Nothing) };
    ensure("mapped", mapped.is_ok())?;
    // SAFETY: it faults.
    wants(unsafe { attempt(fault::fault_load32, SOMEWHERE + 8, 0) }, (0x25, 0x07))
}

fn pages() -> Outcome {
    let before = memory::free_pages();
    let (first, second) = (memory::take(2).unwrap_or(0), memory::take(1).unwrap_or(0));
    ensure("apart", second >= first + 2 * memory::PAGE_BYTES)?;
    equal("left", memory::free_pages(), before - 3)?;
    let ram = platform().ram_base..platform().ram_base + platform().ram_bytes;
    ensure("RAM", ram.contains(&first) && ram.contains(&second))?;
    ensure("not more than there are", memory::take(before).is_none())?;
    equal("and nothing is lost by asking", memory::free_pages(), before - 3)
}

fn allocations() -> Outcome {
    equal("pages", heap::init(64), 64)?;
    for round in 0..50 {
        let mut map: BTreeMap<u64, Box<u64>> = BTreeMap::new();
        let mut list = Vec::new();
        for key in 0..200 {
            map.insert(key * 7 % 200, Box::new(key));
            list.push(key ^ round);
        }
        equal("sum", map.values().map(|value| **value).sum(), 199 * 100)?;
        equal("last", list.last().copied().unwrap_or(0), 199 ^ round)?;
    }
    // All came back: half of the heap is free in one piece.
    equal("bytes", Vec::<u8>::with_capacity(32 * 4096).capacity() as u64, 32 * 4096)
}

/// Copies of each length up to 100 bytes, from and to each alignment, beside copies made byte by byte.
fn copies() -> Outcome {
    const ROOM: usize = 128;
    let source: [u8; ROOM] = core::array::from_fn(|at| at as u8 | 0x80);
    for (from, to, length) in
        (0..8).flat_map(|from| (0..8).flat_map(move |to| (0..100).map(move |n| (from, to, n))))
    {
        let (mut copied, mut expected) = ([0_u8; ROOM], [0_u8; ROOM]);
        let length = core::hint::black_box(length);
        copied[to..to + length].copy_from_slice(&source[from..from + length]);
        for at in 0..length {
            let place = core::hint::black_box(&mut expected[to + at]);
            *place = source[from + at];
        }
        let what = (from << 16 | to << 8 | length) as u64;
        let is_same = copied.iter().zip(&expected).all(|(a, b)| a == b);
        equal("from, to, length", if is_same { 0 } else { what }, 0)?;
    }
    Ok(())
}

/// Fills of each length up to 100 bytes, from each alignment.
fn fills() -> Outcome {
    const ROOM: usize = 128;
    for (to, length) in (0..8).flat_map(|to| (0..100).map(move |length| (to, length))) {
        let mut filled = [0x11_u8; ROOM];
        let (length, byte) = core::hint::black_box((length, 0xa5_u8));
        filled[to..to + length].fill(byte);
        let is_right = |(at, value): (usize, &u8)| {
            *value == if (to..to + length).contains(&at) { 0xa5 } else { 0x11 }
        };
        let what = (to << 8 | length) as u64;
        equal("to, length", if filled.iter().enumerate().all(is_right) { 0 } else { what }, 0)?;
    }
    Ok(())
}

static SHARED: Lock<(u64, u64)> = Lock::new((0, 0));
static FINISHED: AtomicU64 = AtomicU64::new(0);
const ROUNDS: u64 = 2000;

fn count() {
    for _ in 0..ROUNDS {
        let mut pair = SHARED.lock();
        pair.0 += 1;
        pair.1 += 1;
    }
    FINISHED.fetch_add(1, Ordering::Release);
}

fn lock() -> Outcome {
    let running = smp::start_all(count) as u64;
    count();
    soon("all finish", || FINISHED.load(Ordering::Acquire) >= running)?;
    let pair = SHARED.lock();
    equal("first", pair.0, running * ROUNDS)?;
    equal("second", pair.1, running * ROUNDS)
}

/// No handler is set here, so that the run-time disables an interrupt that comes before anybody has waited for it.
fn met_before() -> Outcome {
    let port = made(ReceivePort::new())?.bind(64, Sharing::Alone);
    let port = Awaited::of(made(port.map_err(|(_, why)| why))?);
    let sender = made(SendPort::new())?.connect(&port);
    let sender = made(sender.map_err(|(_, why)| why))?;
    irq::unmask();
    made(sender.send())?;
    // It is noted as come only if it is owned.
    soon("met", || !shikiri_rt::gic::is_pending(64))?;
    irq::mask();
    made(port.own())?;
    let (start, deadline) = (Ticks::from_now_us(0), Ticks::from_now_us(5_000_000));
    let mut is_sent = false;
    let came = port.seat().until(deadline, || {
        if !core::mem::replace(&mut is_sent, true) {
            return sender.send().err().map(|_| false);
        }
        port.try_wait().unwrap_or(false).then_some(true)
    });
    let taken = Ticks::from_now_us(0).0 - start.0;
    ensure("the event", came == Some(true))?;
    ensure("by its interrupt, and not at the deadline", taken < (deadline.0 - start.0) / 2)
}

/// The guest's own deadline passes in the middle of a sleep, and nobody handles its interrupt.
fn own_deadline() -> Outcome {
    let timer = Timer::Virtual;
    timer.set_deadline(Ticks::from_now_us(1_000).0);
    let (start, deadline) = (Ticks::from_now_us(0), Ticks::from_now_us(20_000));
    let never = sleep::until(deadline, || None::<()>);
    let taken = Ticks::from_now_us(0).0 - start.0;
    let has_passed = timer.control() & control::ISTATUS != 0;
    timer.stop();
    ensure("nothing came", never.is_none())?;
    ensure("its own deadline is told by the timer", has_passed)?;
    ensure("not before the deadline", taken >= deadline.0 - start.0)?;
    ensure("at the deadline", taken < 100 * (deadline.0 - start.0))
}

/// Which of its two entries another vCPU has run.
static ENTERED: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// How often it was tried to start it again.
static TRIED: AtomicU64 = AtomicU64::new(0);

/// Started again before it has begun: it is refused, and what runs is what was promised.
fn first_entry() -> Outcome {
    // It stays until the other start was tried.
    fn first() {
        let round = ENTERED[0].fetch_add(1, Ordering::Release) + 1;
        while TRIED.load(Ordering::Acquire) < round {
            reg::yield_now();
        }
    }
    fn second() {
        ENTERED[1].fetch_add(1, Ordering::Release);
    }
    for round in 1..=20 {
        soon("off", || smp::start(1, first).is_ok())?;
        let again = smp::start(1, second).is_ok();
        TRIED.store(round, Ordering::Release);
        ensure("refused", !again)?;
        let entered = |entry: usize| ENTERED[entry].load(Ordering::Acquire);
        soon("it runs", || entered(0) + entered(1) == round)?;
        equal("what was refused", entered(1), 0)?;
    }
    Ok(())
}
