//! Calls in four forms to a server, or a relay and a server, that serve in each of four forms.

use shikiri_channel::block_on;
use shikiri_rpc::{Begin, Blocking, CallError, Patience, Timed};
use shikiri_rt::{reg, smp};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::tools::{self, Caller, End, SampleStub, both, far, form, on_all, reach};

const ROUNDS: u16 = 20;

/// All vCPUs call at a time, in one form after the other.
pub(crate) fn run() -> Outcome {
    for form in [form::BLOCKING, form::TIMED, form::POLLING, form::ASYNC] {
        let End { leg, page } = reach(form)?;
        let client = tools::client(leg);
        let alone = SampleStub(Blocking::new(&client, Patience::Fail)).in_use(&[1; 400]);
        ensure("no buffer is in use while the server executes", alone == Ok(0))?;
        for call in [blocking, timed, polling, tasks] {
            let client = client.clone();
            on_all(move || (0..ROUNDS).try_for_each(|round| call(&client, &Case::new(round))))?;
        }
        equal("in flight", client.in_flight() as u64, 0)?;
        equal("strays", client.strays(), 0)?;
        equal("in use", page.pool(0)?.in_use() as u64, 0)?;
    }
    Ok(())
}

/// Arguments, which no other vCPU or round has.
struct Case {
    a: u16,
    b: u16,
    bytes: [u8; 300],
}

impl Case {
    fn new(round: u16) -> Self {
        let own = smp::index() as u16;
        let bytes = core::array::from_fn(|at| (at as u16 * 7 + own * 31 + round) as u8);
        Self { a: round, b: (own << 12) | (round * 7), bytes }
    }

    /// The answers that they have.
    fn is_answered(
        &self,
        sum: Result<u32, CallError>,
        bytes: Result<alloc::vec::Vec<u8>, CallError>,
    ) -> Outcome {
        ensure("sum", sum == Ok(u32::from(self.a) + u32::from(self.b)))?;
        let mut reversed = self.bytes;
        reversed.reverse();
        ensure("bytes", bytes.is_ok_and(|bytes| bytes == reversed))
    }
}

fn blocking(client: &Caller, case: &Case) -> Outcome {
    let stub = SampleStub(Blocking::new(client, Patience::Wait));
    case.is_answered(stub.sum(case.a, case.b), stub.reverse(&case.bytes))
}

fn timed(client: &Caller, case: &Case) -> Outcome {
    let stub = SampleStub(Timed::new(client, far()));
    case.is_answered(stub.sum(case.a, case.b), stub.reverse(&case.bytes))
}

/// Begins as soon as it can, and looks again and again.
macro_rules! polled {
    ($begin:expr) => {{
        let begun = loop {
            match $begin {
                Err(why) if why.is_shortage() => reg::yield_now(),
                begun => break begun,
            }
        };
        begun.and_then(|mut pending| {
            loop {
                match pending.finish() {
                    Ok(outcome) => break outcome,
                    Err(back) => pending = back,
                }
                reg::yield_now();
            }
        })
    }};
}

fn polling(client: &Caller, case: &Case) -> Outcome {
    let stub = SampleStub(Begin::new(client));
    let sum = polled!(stub.sum(case.a, case.b));
    let bytes = polled!(stub.reverse(&case.bytes));
    case.is_answered(sum, bytes)
}

/// Two tasks of an executor that sleeps while both wait.
fn tasks(client: &Caller, case: &Case) -> Outcome {
    let stub = SampleStub(Begin::new(client));
    let sum = async { client.when_room(|| stub.sum(case.a, case.b)).await?.await };
    let bytes = async { client.when_room(|| stub.reverse(&case.bytes)).await?.await };
    let (sum, bytes) = block_on(both(sum, bytes));
    case.is_answered(sum, bytes)
}
