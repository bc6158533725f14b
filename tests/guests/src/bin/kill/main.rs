//! Two partitions with a channel of which one ends at a given step of it, and a conductor who says which, through queues that
//! outlive them. `role=` on the command line says which one this is.
//!
//! ```text
//!   conductor        victim                       other side
//!   Die(step) ─────▶ plays as far as that
//!        ◀── Ends ─── ends
//!   Survive ───────────────────────────────────▶ plays; its peer goes at some point, or not
//!        ◀── Hello ── starts again
//!   Enough ────────────────────────────────────▶ was it told, in time? gives all back
//!        ◀──────────────────────────────────────── Survived
//!   Play ──────────▶ ◀────── all steps ─────────▶
//!        ◀── Played                   Played ───▶
//! ```
//!
//! With `flows` on the command line messages go between the sides without end, and a killer, which has the policy capability,
//! ends them from outside.
#![no_std]
#![no_main]

mod conductor;
mod flow;
mod killer;
mod player;
mod steps;
mod told;

use shikiri_object::Queue;
use shikiri_rt::mmu::Access;
use shikiri_rt::sleep::{self, Ticks};
use shikiri_rt::{irq, platform};
use shikiri_test_guests::Failure;
use shikiri_test_guests::fault;
use shikiri_test_guests::points::Side;
use shikiri_test_guests::port::{self, made, map_windows};
use shikiri_test_guests::report::Outcome;

shikiri_rt::entry!(main);

/// What the conductor says, in the first word of a message.
mod order {
    /// Plays, and ends at the step in the second word; the third is a seed for idling, or 0.
    pub(crate) const DIE: u64 = 1;
    /// Plays until its peer has gone, or all is done.
    pub(crate) const SURVIVE: u64 = 2;
    /// The peer has ended, and started again; the second word says when it ended.
    pub(crate) const ENOUGH: u64 = 3;
    /// Plays to the end.
    pub(crate) const PLAY: u64 = 4;
}

/// What the players say, in the second word; the first is the side.
mod report {
    /// It has started.
    pub(crate) const HELLO: u64 = 1;
    /// Its peer has ended; the third word says at which step it noticed, and above that (`TOLD`) after how many microseconds it
    /// was told, if it had to be.
    pub(crate) const SURVIVED: u64 = 2;
    /// All steps are done.
    pub(crate) const PLAYED: u64 = 3;
    /// A check has failed; it has printed which.
    pub(crate) const FAILED: u64 = 4;
    /// Messages flow.
    pub(crate) const FLOWS: u64 = 5;
    /// It was told that its peer has gone, when the third word says, and has given all back.
    pub(crate) const GONE: u64 = 6;
    /// It ends with its next call; the third word is its clock, which all partitions share.
    pub(crate) const ENDS: u64 = 7;

    /// Where in SURVIVED's word the time begins, and what stands for no step and for no time.
    pub(crate) const TOLD: u32 = 16;
    pub(crate) const NEVER: u64 = (1 << TOLD) - 1;
    pub(crate) const NOTHING_TOLD: u64 = u64::MAX >> TOLD;
}

const DEPTH: u8 = 8;

/// The queue to a side, and that of the reports.
fn queue_to(side: Side) -> Result<Queue, Failure> {
    made(Queue::open(if side == Side::Client { "to-client" } else { "to-server" }, DEPTH))
}

fn reports() -> Result<Queue, Failure> {
    made(Queue::open("reports", DEPTH))
}

/// How long a side sleeps between two looks at what no interrupt tells.
const PAUSE_US: u64 = 1000;

/// Sleeps until the next interrupt, and not long: who waits in a loop would take what those need who are waited for.
fn pause() {
    let mut has_slept = false;
    let _interrupted = sleep::until(Ticks::from_now_us(PAUSE_US), || {
        core::mem::replace(&mut has_slept, true).then_some(())
    });
}

/// As [`port::wait`], with a pause behind each look.
fn wait(what: &'static str, mut condition: impl FnMut() -> Result<bool, Failure>) -> Outcome {
    port::wait(what, || {
        let is_so = condition()?;
        if !is_so {
            pause();
        }
        Ok(is_so)
    })
}

fn main() {
    fault::catch_faults();
    let flows = platform::has_word("flows");
    irq::set_handler(told::count);
    irq::unmask();
    if map_windows(Access::Data).is_err() {
        return;
    }
    match platform::value_of("role") {
        Some("client") if flows => flow::flow(Side::Client),
        Some("server") if flows => flow::flow(Side::Server),
        Some("killer") => killer::kill(),
        Some("client") => player::play(Side::Client),
        Some("server") => player::play(Side::Server),
        _ => conductor::conduct(),
    }
}
