//! A service with something of everything, and both ends of a wire that has it.

use shikiri_rpc::{Client, Context, Patience, Server, Side, Transport};

use super::{Bell, Wire};

shikiri_rpc::service! {
    /// Something of everything.
    pub(crate) trait Sample, stub SampleStub, server SampleServer {
        /// How many bytes.
        1: fn length(bytes: &[u8]) -> u32;
        /// So many bytes.
        2: fn fill(count: u32) -> Vec<u8>;
        3: fn divide(a: i64, b: i64) -> Result<i64, Fault>;
        4: fn nothing() -> ();
    }
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Fault {
    ByZero,
    Overflow { a: i64 },
}

pub(crate) struct Plain;

impl Sample for Plain {
    fn length(&self, bytes: &[u8]) -> u32 {
        u32::try_from(bytes.len()).unwrap()
    }

    fn fill(&self, count: u32) -> Vec<u8> {
        (0..count).map(|index| index.to_le_bytes()[0]).collect()
    }

    fn divide(&self, a: i64, b: i64) -> Result<i64, Fault> {
        if b == 0 {
            return Err(Fault::ByZero);
        }
        a.checked_div(b).ok_or(Fault::Overflow { a })
    }

    fn nothing(&self) {}
}

pub(crate) type WireClient<'w, const CALLS: usize> =
    Client<'w, shikiri_rpc::Ring<'w, &'w Bell>, CALLS>;

pub(crate) type WireServer<'w> = Server<'w, shikiri_rpc::Ring<'w, &'w Bell>>;

pub(crate) fn pair<const CALLS: usize>(wire: &Wire) -> (WireClient<'_, CALLS>, WireServer<'_>) {
    (Client::new(wire.leg(Side::A)), Server::new(wire.leg(Side::B), Patience::Fail))
}

/// Serves what has arrived.
pub(crate) fn serve_now<T: Transport>(server: &Server<'_, T>) {
    let mut context = Context::<8192>::new();
    while let Ok(Some(request)) = server.receive(&mut context) {
        shikiri_rpc::Dispatch::dispatch(&SampleServer(Plain), request);
    }
}
