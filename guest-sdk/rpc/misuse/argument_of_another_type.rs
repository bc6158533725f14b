//! error[E0308]: an argument has the type that the service says.
#![no_main]

use shikiri_rpc::{Begin, Client, Transport};

shikiri_rpc::service! {
    trait Square, stub SquareStub, server SquareServer {
        1: fn square(side: u32) -> u64;
    }
}

pub fn call<T: Transport>(client: &Client<'_, T, 16>) {
    SquareStub(Begin::new(client)).square("ten").ok();
}
