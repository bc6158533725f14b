//! No free buffer: an answer, a wait with and without a deadline, or another area (B3).

use core::sync::atomic::Ordering;

use shikiri_rpc::{Begin, CallError, Patience, Pending, SendError, Timed};
use shikiri_rpc_channel::Wire;
use shikiri_rt::smp;
use shikiri_test_guests::answers::soon;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::tools::{
    self, BUFFERS, Caller, End, Page, SLOTS, SampleStub, far, form, gate, near, no, on_all, reach,
    rest,
};

type Call<'c> = Pending<'c, 'static, Wire<'static>, SLOTS, alloc::vec::Vec<u8>>;

/// What a request may take; the last of several is for replies.
const MOST: usize = BUFFERS - 1;
const BYTES: [u8; 500] = [5; 500];

pub(crate) fn run() -> Outcome {
    let End { leg, page } = reach(form::GATED)?;
    let client = tools::client(leg);
    told(&client)?;
    let waiting = client.clone();
    waits(&client, page, move || wait(&waiting, page))?;
    adds(&client, page)
}

fn none() -> CallError {
    CallError::Send(SendError::NoBuffer)
}

fn begin(client: &Caller) -> Result<Call<'_>, CallError> {
    SampleStub(Begin::new(client)).reverse(&BYTES)
}

/// Takes all that requests may have.
fn exhaust(client: &Caller) -> Result<[Call<'_>; MOST], Failure> {
    let begin = |_| begin(client).map_err(|_| no("a buffer"));
    let [one, two] = [begin(0)?, begin(1)?];
    ensure("no more", self::begin(client).err() == Some(none()))?;
    equal("in flight", client.in_flight() as u64, MOST as u64)?;
    equal("in use", client.leg().pools().in_use() as u64, MOST as u64)?;
    Ok([one, two])
}

fn answered(call: Call<'_>) -> Outcome {
    let reversed = call.wait().map_err(|_| no("an answer"))?;
    ensure("the same bytes", reversed == BYTES)
}

/// Who does not wait is told at once, who has a deadline when that comes; nothing is left of either.
fn told(client: &Caller) -> Outcome {
    let held = exhaust(client)?;
    let deadline = near();
    let late = SampleStub(Timed::new(client, deadline)).reverse(&BYTES);
    ensure("no buffer in time", late == Err(none()))?;
    ensure("not before", deadline.is_over())?;
    equal("in flight", client.in_flight() as u64, MOST as u64)?;
    // Left: their buffers are the server's to give back.
    drop(held);
    equal("in flight", client.in_flight() as u64, 0)
}

/// All vCPUs wait for a buffer, without a deadline and with one that does not come; the server takes what has them a while later.
fn waits(
    client: &Caller,
    page: Page,
    wait: impl Fn() -> Outcome + Send + Sync + 'static,
) -> Outcome {
    ensure("none is free", begin(client).err() == Some(none()))?;
    on_all(wait)?;
    equal("in flight", client.in_flight() as u64, 0)?;
    soon("none is in use", || client.leg().pools().in_use() == 0)?;
    page.gate()?.store(gate::CLOSED, Ordering::Release);
    Ok(())
}

fn wait(client: &Caller, page: Page) -> Outcome {
    if smp::index() == 0 {
        // Not before it has found none.
        let late = client.begin_until::<_, ()>(1, &BYTES[..], near()).map(drop);
        ensure("none yet", late == Err(none()))?;
        page.gate()?.store(gate::OPEN, Ordering::Release);
    }
    for _ in 0..20 {
        answered(client.begin_patiently(2, &BYTES[..], Patience::Wait).map_err(|_| no("waited"))?)?;
        answered(client.begin_until(2, &BYTES[..], far()).map_err(|_| no("waited"))?)?;
    }
    Ok(())
}

/// With another area there are buffers again, while the first has none.
fn adds(client: &Caller, page: Page) -> Outcome {
    // What was taken in before the gate was closed is over by now.
    rest();
    let held = exhaust(client)?;
    let gate = page.gate()?;
    gate.store(gate::ADD, Ordering::Release);
    soon("the server adds it", || gate.load(Ordering::Acquire) == gate::CLOSED)?;
    client.leg().pools().add(page.pool(1)?).map_err(|_| no("room for an area"))?;
    let more = begin(client).map_err(|_| no("a buffer of the other area"))?;
    equal("of the first", page.pool(0)?.in_use() as u64, MOST as u64)?;
    equal("of the second", page.pool(1)?.in_use() as u64, 1)?;
    gate.store(gate::OPEN, Ordering::Release);
    answered(more)?;
    held.into_iter().try_for_each(answered)?;
    equal("in use", client.leg().pools().in_use() as u64, 0)
}
