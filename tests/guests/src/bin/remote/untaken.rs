//! Results in buffers of arguments that need none: whoever answers waits for a buffer, beside requests that it has not taken. Once the
//! caller takes its replies it goes on.

use alloc::vec::Vec;

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
        let calls = (0..CALLS).map(begin).collect::<Result<Vec<_>, _>>()?;
        soon("replies are in all buffers", || pool.in_use() == BUFFERS)?;
        // Whoever has the next ones finds none, and sleeps.
        let _nothing = sleep::until(near(), || None::<()>);
        for call in calls {
            let answer = call.wait_until(far()).map_err(|_| no("an answer"))?;
            ensure("the bytes", answer.is_ok_and(|bytes| bytes == tools::filled(BYTES)))?;
        }
        equal("in flight", client.in_flight() as u64, 0)?;
        equal("in use", pool.in_use() as u64, 0)?;
    }
    Ok(())
}
