//! Compiles: what the other files here do wrong, done right.
#![no_main]

use shikiri_rpc::{Answer, Begin, Buffer, Client, Context, Pending, Pool, Server, Transport};

shikiri_rpc::service! {
    trait Square, stub SquareStub, server SquareServer {
        1: fn square(side: u32) -> u64;
    }
}

/// Writes before the buffer is the other side's.
pub fn write(mut buffer: Buffer<'_>) {
    buffer.write(b"in time");
    let _reference = buffer.hand_over();
}

/// The buffer goes before its pool.
pub fn keep(pool: Pool<'_>) {
    drop(pool.take());
    drop(pool);
}

/// Answers once.
pub fn answer<T: Transport>(answer: Answer<'_, '_, T>) {
    answer.send(&1).ok();
}

/// Looks at a result where it was copied to.
pub fn text<T: Transport>(pending: Pending<'_, '_, T, 4, ()>) -> usize {
    let mut copy = [0; 100];
    pending.wait_in::<&str>(&mut copy).map_or(0, str::len)
}

/// Serves one call after the other, and calls with what the service says.
pub fn serve<T: Transport>(
    server: &Server<'_, T>,
    context: &mut Context,
    client: &Client<'_, T, 16>,
) {
    drop(server.receive(context));
    drop(server.receive(context));
    SquareStub(Begin::new(client)).square(10).ok();
}
