//! A server that accepts and does nothing more: whoever set a deadline goes on.

use shikiri_rpc::{Begin, CallError, Leg, SendError, Timed};
use shikiri_rpc_channel::Wire;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::tools::{self, Caller, MUTE_DEPTH, SampleStub, form, near, on_all};

/// On the vCPU that the port's interrupt goes to, and on another one: nothing comes to either.
pub(crate) fn run() -> Outcome {
    let client = tools::client(Leg::new(Wire::new(tools::connect(form::MUTE)?)));
    let shared = client.clone();
    // What the port takes is its slots' first calls': they stay in flight.
    let first: [_; MUTE_DEPTH as usize] =
        core::array::from_fn(|_| SampleStub(Begin::new(&*client)).sum(1, 2));
    ensure("begun", first.iter().all(Result::is_ok))?;
    on_all(move || no_room(&shared))?;
    let first: alloc::vec::Vec<_> = first.into_iter().flatten().collect();
    for call in first {
        let deadline = near();
        ensure("no answer", call.wait_until(deadline).is_err())?;
        ensure("not before", deadline.is_over())?;
    }
    equal("in flight", client.in_flight() as u64, 0)?;
    drop(client);
    let client = tools::client(Leg::new(Wire::new(tools::connect(form::MUTE)?)));
    on_all(move || no_answer(&client))
}

/// The port is full, and stays so.
fn no_room(client: &Caller) -> Outcome {
    for _ in 0..3 {
        let deadline = near();
        let begun = client.begin_until::<_, ()>(1, &7_u8, deadline).map(drop);
        ensure("no room", begun == Err(CallError::Send(SendError::Full)))?;
        ensure("not before", deadline.is_over())?;
    }
    Ok(())
}

/// There is room for as many calls as there are vCPUs, and no answer.
fn no_answer(client: &Caller) -> Outcome {
    let deadline = near();
    let sum = SampleStub(Timed::new(client, deadline)).sum(1, 2);
    ensure("too late", sum == Err(CallError::TooLate))?;
    ensure("not before", deadline.is_over())
}
