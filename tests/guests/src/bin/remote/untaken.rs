//! Results in buffers of arguments that need none: whoever answers waits for a buffer, beside requests that it has not taken. Once the
//! caller takes its replies it goes on.

use alloc::vec::Vec;
use core::future::{Future as _, poll_fn};
use core::pin::Pin;
use core::task::Poll;

use shikiri_channel::block_on_until;
use shikiri_rpc::Begin;
use shikiri_rt::sleep;
use shikiri_test_guests::answers::soon;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::tools::{self, BUFFERS, End, SampleStub, far, form, near, no, reach};

/// More than there are buffers, and contexts at whoever answers.
const CALLS: u16 = 16;
const BYTES: u16 = 500;

pub(crate) fn run() -> Outcome {
    for form in [form::BLOCKING, form::ASYNC] {
        let End { leg, page } = reach(form)?;
        let client = tools::client(leg);
        let pool = page.pool(0)?;
        let begin = |_| SampleStub(Begin::new(&*client)).fill(BYTES).map_err(|_| no("begun"));
        let mut calls = (0..CALLS).map(begin).collect::<Result<Vec<_>, _>>()?;
        soon("replies are in all buffers", || pool.in_use() == BUFFERS)?;
        // Whoever has the next ones finds none, and sleeps.
        let _nothing = sleep::until(near(), || None::<()>);
        // Each is finished as it comes: results of calls that nobody looks at keep their buffers, and answers come in any order.
        let wanted = tools::filled(BYTES);
        let mut right = 0;
        let all = poll_fn(|task| {
            calls.retain_mut(|call| match Pin::new(call).poll(task) {
                Poll::Pending => true,
                Poll::Ready(answer) => {
                    right += u64::from(answer.as_ref() == Ok(&wanted));
                    false
                }
            });
            if calls.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        let is_all = block_on_until(far(), all).is_some();
        ensure("an answer to each", is_all)?;
        equal("answers with the bytes", right, u64::from(CALLS))?;
        equal("in flight", client.in_flight() as u64, 0)?;
        equal("in use", pool.in_use() as u64, 0)?;
    }
    Ok(())
}
