//! The relay: passes each connection on in the form that is asked for, on all vCPUs at a time.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;

use shikiri_channel::{block_on, block_on_until};
use shikiri_rpc::{Patience, Relay, Server, Step};
use shikiri_rpc_channel::Wire;
use shikiri_rt::{reg, smp};
use shikiri_test_guests::answers::made;
use shikiri_test_guests::equal;
use shikiri_test_guests::report::Outcome;

use crate::many::HELD;
use crate::tools::{
    BUFFER_BYTES, Caller, Serving, client, end_others, form, listener, near, no, on_all, reach,
    welcome,
};

type Middle<'r> = Relay<
    'r,
    'static,
    'static,
    Wire<'static>,
    Wire<'static>,
    { crate::tools::SLOTS },
    BUFFER_BYTES,
>;

/// Until somebody wants the end, which is passed on before it is agreed to.
pub(crate) fn serve() -> Outcome {
    let listener = listener()?;
    loop {
        let request = made(listener.next())?;
        let form = request.service;
        if form == form::END {
            return end_others();
        }
        let up = welcome(&listener, request)?.leg;
        let up: Arc<Serving> = Arc::new(Server::new(up, Patience::Wait));
        let down = reach(form)?;
        let (pool, down) = (down.page.pool(0)?, client(down.leg));
        let (shared, ours) = (up.clone(), down.clone());
        on_all(move || in_form(&shared, &ours, form))?;
        equal("rejected", up.rejected(), 0)?;
        equal("in flight", down.in_flight() as u64, 0)?;
        equal("in use", pool.in_use() as u64, 0)?;
    }
}

/// Passes calls on until the caller has gone.
fn in_form(up: &Serving, down: &Caller, form: u32) -> Outcome {
    let mut relay = Box::new(Middle::new(up, down));
    match form {
        form::BLOCKING => block_on(relay.run()),
        form::TIMED => while block_on_until(near(), relay.run()).is_none() {},
        form::POLLING => {
            while let Ok(step) = relay.step() {
                if step != Step::Moved {
                    reg::yield_now();
                }
            }
        }
        form::ASYNC => block_on(all(up, down, 2)),
        // As many as are held, and the one that releases them.
        form::TOGETHER => block_on(all(up, down, HELD as usize / smp::count() + 1)),
        _ => return Err(no("a form")),
    }
    Ok(())
}

/// So many calls at a time, in one task.
async fn all(up: &Serving, down: &Caller, count: usize) {
    let mut relays: Vec<_> = (0..count).map(|_| Box::new(Middle::new(up, down))).collect();
    let mut runs: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = relays
        .iter_mut()
        .map(|relay| -> Pin<Box<dyn Future<Output = ()>>> { Box::pin(relay.run()) })
        .collect();
    poll_fn(|task| {
        runs.retain_mut(|run| run.as_mut().poll(task).is_pending());
        if runs.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
