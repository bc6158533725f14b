//! What a side was told by its interrupts, and when: its peer's end is told within a bound, of looks of its own and, where the clock
//! counts instructions, of time.
#![expect(unsafe_code, reason = "the interrupt handler reads a header that is there or is not")]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shikiri_abi::Ipa;
use shikiri_abi::channel::{CONNECTED, STATE};
use shikiri_rt::hvc::partition;
use shikiri_rt::{platform, reg, timer};
use shikiri_test_guests::Failure;
use shikiri_test_guests::port::{made, view};

/// The interrupt of the message port.
pub(crate) const EVENT: u32 = 65;
/// The interrupt for control signals.
pub(crate) const NOTICE: u32 = 66;

/// How often each of them came.
pub(crate) static EVENTS: AtomicU64 = AtomicU64::new(0);
pub(crate) static NOTICES: AtomicU64 = AtomicU64::new(0);
/// When the last event came, by the virtual counter.
static EVENT_AT: AtomicU64 = AtomicU64::new(0);
/// The header of the port at which is told, or 0; whether it said, when something was told, that the peer has gone, and when.
static HEADER: AtomicU64 = AtomicU64::new(0);
static SAW_IT_GO: AtomicBool = AtomicBool::new(false);
static WENT_AT: AtomicU64 = AtomicU64::new(0);

/// How many calls a side makes at most, once its peer lives again, before an interrupt has come that tells of the peer's end. The
/// event was raised before that life began, and a pending interrupt is taken on the way back from a call: one is enough if the core
/// has seen the other's SGI by then, for which an emulated one may take a few more of its turns.
const CALLS: u64 = 16;

/// The interrupt handler: looks at once, as an event says.
pub(crate) fn count(intid: u32) {
    match intid {
        NOTICE => _ = NOTICES.fetch_add(1, Ordering::Release),
        EVENT => {
            EVENT_AT.store(reg::now(), Ordering::Relaxed);
            EVENTS.fetch_add(1, Ordering::Release);
            look();
        }
        // The timer of a pause that was over when its interrupt came.
        _ => {}
    }
}

/// Looks at the header: whether the peer has gone.
pub(crate) fn look() {
    let header = HEADER.load(Ordering::Relaxed);
    if header == 0 || SAW_IT_GO.load(Ordering::Relaxed) {
        return;
    }
    let header = core::ptr::with_exposed_provenance::<u64>(header as usize).wrapping_add(STATE);
    // SAFETY: the page is there as long as its address stands in `HEADER`.
    let state = unsafe { header.read_volatile() };
    // It has had a peer, and has none.
    if state != 0 && state & CONNECTED == 0 {
        WENT_AT.store(reg::now(), Ordering::Relaxed);
        SAW_IT_GO.store(true, Ordering::Release);
    }
}

/// From here on looks at the port whose arrivals are there, or at none.
pub(crate) fn watch(arrivals: Option<Ipa>) {
    HEADER.store(arrivals.map_or(0, view), Ordering::Relaxed);
    if arrivals.is_none() {
        SAW_IT_GO.store(false, Ordering::Relaxed);
    }
}

/// Whether it was told that its peer has gone.
pub(crate) fn has_seen_it_go() -> bool {
    SAW_IT_GO.load(Ordering::Acquire)
}

/// When it was told so.
///
/// # Errors
/// It was not, within the bound.
pub(crate) fn of_an_end() -> Result<u64, Failure> {
    within("told that the peer is gone", has_seen_it_go)?;
    Ok(WENT_AT.load(Ordering::Relaxed))
}

/// When it was last told of anything behind so many events.
///
/// # Errors
/// It was not, within the bound.
pub(crate) fn of_anything_since(before: u64) -> Result<u64, Failure> {
    within("told that nobody answers", || EVENTS.load(Ordering::Acquire) > before)?;
    Ok(EVENT_AT.load(Ordering::Relaxed))
}

/// How many microseconds lie between two looks at the clock, which all partitions share, and that they are not more than `told_us=` on
/// the command line, if that is there.
///
/// # Errors
/// They are.
pub(crate) fn in_time(from: u64, to: u64) -> Result<u64, Failure> {
    let took = to.saturating_sub(from) * 1_000_000 / timer::frequency();
    let most = platform::number_of("told_us").unwrap_or(u64::MAX);
    if took > most {
        return Err(Failure { what: "told after so many us", got: took, want: most });
    }
    Ok(took)
}

fn within(what: &'static str, condition: impl Fn() -> bool) -> Result<(), Failure> {
    for _ in 0..CALLS {
        if condition() {
            return Ok(());
        }
        made(partition::null())?;
    }
    Err(Failure { what, got: CALLS, want: 0 })
}
