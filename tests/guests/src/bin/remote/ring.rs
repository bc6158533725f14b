//! Calls over a ring in the shared page, for which the channel is only the doorbell: up to 128 bytes need no buffer (B3), and there is none.

use alloc::sync::Arc;

use shikiri_channel::{Channel, block_on};
use shikiri_rpc::{
    Area, Begin, Blocking, CallError, Client, Context, INLINE_BYTES, Leg, Patience, Ring,
    SendError, Server, Side, Timed,
};
use shikiri_rpc_channel::Bell;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::server::Looks;
use crate::tools::{Page, SampleServer, SampleStub, connect_with_page, far, form, no, on_all};

/// Slots of the ring each way: fewer than the caller's vCPUs have calls.
const SLOTS: usize = 2;

type Line = Ring<'static, Bell>;

/// The ring in the page. Each side joins it once.
fn join(page: Page, channel: Channel, side: Side) -> Result<Line, Failure> {
    Ring::join(area(page)?, SLOTS, side, Bell::new(channel)).map_err(|_| no("a ring"))
}

fn area(page: Page) -> Result<Area<'static>, Failure> {
    page.0.part(0, Line::words(SLOTS)).ok_or(no("the page is too small"))
}

/// Makes the ring; before anybody joins it.
pub(crate) fn format(page: Page) -> Outcome {
    Line::format(area(page)?, SLOTS).map_err(|_| no("a ring is made"))
}

/// At the server: serves on all vCPUs, until the caller has gone.
pub(crate) fn serve(page: Page, channel: Channel) -> Outcome {
    let server = Server::new(Leg::new(join(page, channel, Side::A)?), Patience::Wait);
    let server = Arc::new(server);
    let shared = server.clone();
    on_all(move || {
        shared.serve(&mut Context::<INLINE_BYTES>::new(), &SampleServer(Looks(None)));
        Ok(())
    })?;
    equal("rejected", server.rejected(), 0)
}

pub(crate) fn run() -> Outcome {
    let (channel, page) = connect_with_page(form::RING)?;
    let client = Arc::new(Client::<_, 4>::new(Leg::new(join(page, channel, Side::B)?)));
    let shared = client.clone();
    on_all(move || from_here(&shared))?;
    equal("in flight", client.in_flight() as u64, 0)?;
    let too_large = SampleStub(Begin::new(&client)).reverse(&[1; INLINE_BYTES]).map(drop);
    ensure("more needs a buffer", too_large == Err(CallError::Send(SendError::TooLarge)))
}

/// In each form that sleeps.
fn from_here(client: &Client<'static, Line, 4>) -> Outcome {
    for round in 0..100_u8 {
        // One byte more is the length.
        let bytes: [u8; INLINE_BYTES - 1] = core::array::from_fn(|at| at as u8 ^ round);
        let answer = match round % 3 {
            0 => SampleStub(Blocking::new(client, Patience::Wait)).reverse(&bytes),
            1 => SampleStub(Timed::new(client, far())).reverse(&bytes),
            _ => block_on(async {
                let stub = SampleStub(Begin::new(client));
                client.when_room(|| stub.reverse(&bytes)).await?.await
            }),
        };
        let is_right = answer.is_ok_and(|answer| answer.iter().eq(bytes.iter().rev()));
        ensure("the same bytes", is_right)?;
    }
    Ok(())
}
