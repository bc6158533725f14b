//! The owner ends while it holds buffers and has calls to answer, and is started again.

use shikiri_channel::PeerGone;
use shikiri_rpc::{Begin, CallError, Client, Leg, SendError};
use shikiri_rpc_channel::Wire;
use shikiri_rt::platform;
use shikiri_shared::End;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::tools::{CALLED, CALLS, command, connect, say};
use crate::user::{NONE, attached, commands, give_all, joined, owner, take_all, tell, used};

const SHAPE: (usize, usize) = (6, 64);

shikiri_rpc::service! {
    /// What nobody serves; its argument needs a buffer.
    trait Sink, stub SinkStub, server SinkServer {
        1: fn swallow(bytes: &[u8]) -> u32;
    }
}

pub(crate) fn run() -> Outcome {
    for _ in 0..platform::number_of("rounds").unwrap_or(3) {
        let before = used()?;
        once()?;
        ensure("all is refunded", used()? == before)?;
    }
    Ok(())
}

fn once() -> Outcome {
    let channel = commands()?;
    let shared = attached(&channel, command::MAKE, SHAPE)?;
    let words = shared.words().ok_or(NONE)?;
    say(&channel, [command::ACCEPT_CALLS, 0, 0])?;
    // It accepts while this one asks.
    let leg = Leg::new(Wire::new(connect(owner(), CALLED, CALLS)?));
    ensure("added", leg.pools().add(joined(words, SHAPE)?).is_ok())?;
    let client = Client::<_, 4>::new(leg);
    calls(&channel, &client)?;
    drop(client);
    // What the owner held stays taken, and so do the buffers of the two calls that it has not looked at. The others go on.
    let pool = joined(words, SHAPE)?;
    for _ in 0..3 {
        let (held, _) = take_all(&pool);
        equal("the others", held.len() as u64, 2)?;
        give_all(held)?;
    }
    ensure("its owner has left", shared.end() == End::OwnerLeft)
}

/// This side holds one buffer, the owner two, and two calls' requests one each: then the owner ends.
fn calls(channel: &shikiri_channel::Channel, client: &Client<'_, Wire<'_>, 4>) -> Outcome {
    equal("accepted", crate::tools::hear(channel)?[0], 1)?;
    let pool = client.leg().pools().get(0).ok_or(NONE)?;
    let own = pool.take().map_err(|_| NONE)?;
    equal("taken there", tell(channel, [command::TAKE, 2, 0])?[0], 2)?;
    let sink = SinkStub(Begin::new(client));
    let call = sink.swallow(&[7; 40]).map_err(|_| NONE)?;
    equal("in use", pool.in_use() as u64, 4)?;
    let waiting = sink.swallow(&[8; 40]).map_err(|_| NONE)?;
    // The last of several is for replies.
    let refused = sink.swallow(&[9; 40]).err();
    ensure("no buffer", refused == Some(CallError::Send(SendError::NoBuffer)))?;
    say(channel, [command::END, 0, 0])?;
    ensure("the call is told", call.wait() == Err(CallError::PeerGone))?;
    ensure("all are", waiting.wait() == Err(CallError::PeerGone))?;
    equal("in flight", client.in_flight() as u64, 0)?;
    ensure("no answer", matches!(channel.receive(), Err(PeerGone)))?;
    let late = sink.swallow(&[1; 40]).err();
    ensure("no call any more", late.is_some())?;
    ensure("ours is given back", own.give_back().is_ok())
}
