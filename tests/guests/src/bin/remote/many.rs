//! Many calls at a time, from all vCPUs, each with a buffer's worth of arguments, over few buffers (B2): while they are executed none
//! is in use, on either side of either leg.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rpc::{Begin, Patience};
use shikiri_rt::smp;
use shikiri_test_guests::answers::soon;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::tools::{self, Caller, End, Page, SampleStub, form, no, on_all, reach};

/// The method that is held back, by its number.
pub(crate) const HOLD: u16 = 4;
/// How many calls are: as many from each of up to three vCPUs as all are, or all from fewer.
pub(crate) const HELD: u64 = 24;

/// Calls that were sent; vCPUs that have begun all of theirs.
static SENT: AtomicU64 = AtomicU64::new(0);

pub(crate) fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().map(|byte| u32::from(*byte)).sum()
}

pub(crate) fn run() -> Outcome {
    let End { leg, page } = reach(form::TOGETHER)?;
    let client = tools::client(leg);
    let shared = client.clone();
    on_all(move || from_here(&shared, page))?;
    equal("in flight", client.in_flight() as u64, 0)?;
    equal("in use", page.pool(0)?.in_use() as u64, 0)
}

fn from_here(client: &Caller, page: Page) -> Outcome {
    let vcpus = smp::count() as u64;
    let mut calls = Vec::new();
    for call in 0..HELD / vcpus {
        let bytes = [(smp::index() as u64 * 50 + call) as u8; 550];
        let begun = client.begin_patiently::<_, (u32, u32)>(HOLD, &(&bytes[..],), Patience::Wait);
        calls.push((sum(&bytes), begun.map_err(|_| no("begun"))?));
        SENT.fetch_add(1, Ordering::AcqRel);
    }
    soon("all are begun", || SENT.load(Ordering::Acquire) >= HELD)?;
    soon("all are taken", || page.pool(0).is_ok_and(|pool| pool.in_use() == 0))?;
    if smp::index() == 0 {
        ensure("all are in flight", client.in_flight() as u64 >= HELD)?;
        let release = SampleStub(Begin::new(client)).release().map_err(|_| no("released"))?;
        ensure("released", release.wait() == Ok(()))?;
    }
    for (sum, call) in calls {
        let answer = call.wait().map_err(|_| no("an answer"))?;
        equal("in use at the server", u64::from(answer.0), 0)?;
        equal("sum", u64::from(answer.1), u64::from(sum))?;
    }
    Ok(())
}
