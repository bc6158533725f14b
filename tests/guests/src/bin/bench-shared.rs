//! Measures what a payload costs that goes through a shared area, in ticks of the counter: `role=sender` copies it in, sends an event, and
//! measures; `role=receiver` sleeps until that comes, and copies it out, or uses it in place.
//!
//! Run as `bench`: one tick is one instruction, of both cores together, and each sleeps while the other works. So each row is all that both
//! guests and the hypervisor do until the receiver has the payload. Each is the median of its rounds and printed as `bench: ROW N`.
//! The areas and the events are the description's: a page of words that say what is to be done, and the payload's, of 2 MiB; with
//! `giant` on the command line it is 1 GiB, and that is the only size.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "copies to and from memory that another partition has as well")]

use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_channel::{Area, AreaClass, Windows};
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::hvc::{partition::Refusal, shared};
use shikiri_rt::timer::Timer;
use shikiri_rt::{gic, irq, platform, println, sleep};

shikiri_rt::entry!(main);

/// The description's, by their places: the event that goes from the sender to the receiver and the one that goes back, then the areas.
const EVENTS: [Handle; 2] = [Handle(1 << 16), Handle(1 << 16 | 1)];
const BOARD: Handle = Handle(1 << 16 | 2);
const PAYLOAD: Handle = Handle(1 << 16 | 3);

/// Words of the board: how many bytes there are, whether they are to be copied out, when the receiver had them, and the last word of them.
const BYTES: usize = 0;
const COPIES: usize = 1;
const HAD_AT: usize = 2;
const LAST: usize = 3;
const END: u64 = u64::MAX;

/// A size, how many rounds, and the rows of one copy and of two.
type Size = (usize, usize, [&'static str; 2]);
const SIZES: &[Size] = &[
    (4 << 10, 101, ["shared_in_4k", "shared_in_out_4k"]),
    (64 << 10, 101, ["shared_in_64k", "shared_in_out_64k"]),
    (2 << 20, 9, ["shared_in_2m", "shared_in_out_2m"]),
];

/// Once: the length hides what a round has besides the copies.
const GIANT: &[Size] = &[(1 << 30, 1, ["shared_in_1g", "shared_in_out_1g"])];

static TOLD: AtomicU64 = AtomicU64::new(0);

fn count(_intid: u32) {
    TOLD.fetch_add(1, Ordering::Release);
}

fn main() {
    let is_sender = platform::value_of("role") == Some("sender");
    irq::set_handler(count);
    gic::enable(platform::number_of("spi").unwrap_or(0) as u32 + 32);
    let result = if is_sender { measure() } else { receive() };
    match result {
        Ok(()) => println!("done"),
        Err(refusal) => println!("bench: failed: {refusal}"),
    }
}

/// Sleeps until one more event has come than `before`.
fn wait(before: u64) {
    sleep::until_there(|| (TOLD.load(Ordering::Acquire) > before).then_some(()));
}

fn now() -> u64 {
    Timer::Virtual.now()
}

/// Where this guest sees an area of the description.
fn seen(area: Handle) -> Result<*mut u8, Refusal> {
    let windows = Windows::map().map_err(|_| OUT_OF_SIGHT)?;
    let at = shared::state(area)?.ok_or(OUT_OF_SIGHT)?.address;
    let offset = at.0 - shikiri_abi::WINDOWS.0;
    Ok(ptr::with_exposed_provenance_mut((windows.seen().0 + offset) as usize))
}

const OUT_OF_SIGHT: Refusal = Refusal { code: shikiri_abi::Status::Range.code(), which: 0 };

/// The partition's own memory, where a payload comes from and goes to: not in its image, which reaches 1 MiB.
fn own() -> Result<Area, Refusal> {
    let windows = Windows::map().map_err(|_| OUT_OF_SIGHT)?;
    let (class, bytes) =
        if is_giant() { (AreaClass::Giant, 1 << 30) } else { (AreaClass::Block, 2 << 20) };
    Area::alloc(windows, class, bytes)
}

/// Whether the payload has 1 GiB.
fn is_giant() -> bool {
    platform::has_word("giant")
}

/// The board's words.
fn board() -> Result<&'static [AtomicU64; 4], Refusal> {
    // SAFETY: a page that is mapped as long as this guest runs, of which both sides know atomic words only.
    Ok(unsafe { &*seen(BOARD)?.cast() })
}

fn measure() -> Result<(), Refusal> {
    let (board, payload) = (board()?, seen(PAYLOAD)?);
    let mut own = own()?;
    // What reading the clock takes.
    let clock = {
        let start = now();
        now() - start
    };
    // The receiver has made its memory when it answers.
    board[BYTES].store(size_of::<u64>() as u64, Ordering::Relaxed);
    talk::send(EVENTS[0])?;
    wait(0);
    for &(bytes, rounds, names) in if is_giant() { GIANT } else { SIZES } {
        for (copies, name) in (0..).zip(names) {
            board[BYTES].store(bytes as u64, Ordering::Relaxed);
            board[COPIES].store(copies, Ordering::Relaxed);
            let mut taken = [0; 101];
            for (round, taken) in (1..).zip(&mut taken[..rounds]) {
                own[bytes - 8..bytes].copy_from_slice(&u64::to_le_bytes(round));
                let told = TOLD.load(Ordering::Acquire);
                let start = now();
                // SAFETY: the area has as many bytes, and the receiver does not look before it is told.
                unsafe { ptr::copy_nonoverlapping(own.as_ptr(), payload, bytes) };
                talk::send(EVENTS[0])?;
                wait(told);
                *taken = board[HAD_AT].load(Ordering::Acquire) - start;
                if board[LAST].load(Ordering::Acquire) != round {
                    println!("bench: failed: {name} has not come");
                }
            }
            taken[..rounds].sort_unstable();
            println!("bench: {name} {}", taken[rounds / 2].saturating_sub(clock));
        }
    }
    board[BYTES].store(END, Ordering::Relaxed);
    talk::send(EVENTS[0]).map(|_| ())
}

fn receive() -> Result<(), Refusal> {
    let (board, payload) = (board()?, seen(PAYLOAD)?);
    let mut own = own()?;
    for told in 0.. {
        wait(told);
        let bytes = board[BYTES].load(Ordering::Acquire);
        if bytes == END {
            break;
        }
        let bytes = bytes as usize;
        let copies = board[COPIES].load(Ordering::Relaxed) != 0;
        if copies {
            // SAFETY: the area has as many bytes, as its own memory has; the sender waits for an answer.
            unsafe { ptr::copy_nonoverlapping(payload, own.as_mut_ptr(), bytes) };
        }
        board[HAD_AT].store(now(), Ordering::Release);
        let from = if copies { own.as_ptr() } else { payload.cast_const() };
        // SAFETY: within the area or its own memory, at a multiple of 8; the sender waits for an answer.
        let last = unsafe { from.wrapping_add(bytes - 8).cast::<u64>().read() };
        board[LAST].store(last, Ordering::Release);
        talk::send(EVENTS[1])?;
    }
    Ok(())
}
