//! The server: one connection after the other, each in the form that is asked for, on all vCPUs at a time.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_channel::{Channel, Window, block_on};
use shikiri_rpc::{
    Answer, Context, Dispatch as _, Patience, PeerGone, Pool, Request, Server, decode,
};
use shikiri_rpc_channel::Wire;
use shikiri_rt::reg;
use shikiri_test_guests::answers::made;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::many::{self, HELD};
use crate::ring;
use crate::tools::{
    BUFFER_BYTES, End, MUTE_DEPTH, Page, Sample, SampleServer, Serving, accept, accept_with_page,
    filled, form, gate, listener, near, no, on_all, rest, welcome,
};

/// Until somebody wants the end.
pub(crate) fn serve() -> Outcome {
    let listener = listener()?;
    loop {
        let request = made(listener.next())?;
        match request.service {
            form::END => return Ok(()),
            form::MUTE => mute(&accept(request, Window::of_short_messages().depth(MUTE_DEPTH))?),
            form::RING => {
                let (channel, page) = accept_with_page(&listener, request, ring::format)?;
                ring::serve(page, channel)?;
            }
            form => session(welcome(&listener, request)?, form)?,
        }
    }
}

/// Until the caller has gone.
fn mute(channel: &Channel) {
    loop {
        let seen = channel.moment();
        if !channel.is_connected() {
            return;
        }
        channel.wait_since(seen);
    }
}

fn session(End { leg, page }: End, form: u32) -> Outcome {
    let server = Arc::new(Server::new(leg, Patience::Wait));
    let shared = server.clone();
    let service = SampleServer(Looks(Some(page.pool(0)?)));
    TAKEN.store(0, Ordering::Release);
    match form {
        form::GATED => gated(&server, &service, page)?,
        form::TOGETHER => on_all(move || together(&shared, page))?,
        form => on_all(move || in_form(&shared, &service, form))?,
    }
    equal("rejected", server.rejected(), 0)
}

/// Executes, and looks at its leg's pool, if it has one.
pub(crate) struct Looks(pub(crate) Option<Pool<'static>>);

impl Sample for Looks {
    fn sum(&self, a: u16, b: u16) -> u32 {
        u32::from(a) + u32::from(b)
    }

    fn reverse(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().rev().copied().collect()
    }

    fn in_use(&self, _bytes: &[u8]) -> u32 {
        self.0.as_ref().map_or(0, Pool::in_use) as u32
    }

    // By hand, where calls are taken together.
    fn hold(&self, _bytes: &[u8]) -> (u32, u32) {
        (u32::MAX, 0)
    }

    fn release(&self) {}

    fn fill(&self, count: u16) -> Vec<u8> {
        filled(count)
    }
}

/// Serves until the caller has gone.
fn in_form(server: &Serving, service: &SampleServer<Looks>, form: u32) -> Outcome {
    let mut context = Context::<BUFFER_BYTES>::new();
    match form {
        form::BLOCKING => server.serve(&mut context, service),
        form::TIMED => while server.serve_until(&mut context, service, near()).is_ok() {},
        form::POLLING => {
            while let Ok(request) = server.receive(&mut context) {
                match request {
                    Some(request) => service.dispatch(request),
                    None => reg::yield_now(),
                }
            }
        }
        form::ASYNC => block_on(server.served(&mut context, service)),
        _ => return Err(no("a form")),
    }
    Ok(())
}

/// Serves while the gate is open, and takes nothing while it is not.
fn gated(server: &Serving, service: &SampleServer<Looks>, page: Page) -> Outcome {
    let mut context = Context::<BUFFER_BYTES>::new();
    let gate = page.gate()?;
    while server.leg().transport().channel().is_connected() {
        match gate.load(Ordering::Acquire) {
            gate::OPEN => match server.receive(&mut context) {
                Ok(Some(request)) => service.dispatch(request),
                Ok(None) => rest(),
                Err(PeerGone) => return Ok(()),
            },
            gate::ADD => {
                let added = server.leg().pools().add(page.pool(1)?);
                ensure("its number", added.is_ok_and(|number| number == 1))?;
                gate.store(gate::CLOSED, Ordering::Release);
            }
            _ => rest(),
        }
    }
    Ok(())
}

/// How many calls all vCPUs have taken.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// A call that was taken: its arguments, in memory of its own, and what has to be given.
type Held<'s> = (u16, Vec<u8>, Answer<'s, 'static, Wire<'static>>);

/// Takes calls until all vCPUs together have all of them, and answers its own.
fn together(server: &Serving, page: Page) -> Outcome {
    let mut context = Context::<BUFFER_BYTES>::new();
    let mut held: Vec<Held<'_>> = Vec::new();
    while TAKEN.load(Ordering::Acquire) < HELD + 1 {
        match server.receive(&mut context) {
            Ok(Some(Request { method, arguments, answer })) => {
                held.push((method, arguments.to_vec(), answer));
                TAKEN.fetch_add(1, Ordering::AcqRel);
            }
            Ok(None) => reg::yield_now(),
            Err(PeerGone) => return Err(no("all calls")),
        }
    }
    let in_use = page.pool(0)?.in_use() as u32;
    for (method, arguments, answer) in held {
        let is_sent = match method {
            many::HOLD => {
                let (bytes,) = decode::<(&[u8],)>(&arguments).map_err(|_| no("arguments"))?;
                answer.send(&(in_use, many::sum(bytes))).is_ok()
            }
            _ => answer.send(&()).is_ok(),
        };
        ensure("answered", is_sent)?;
    }
    // Until the caller has gone.
    while server.wait(&mut context).is_ok() {}
    Ok(())
}
