//! error[E0081]: each method of a service has a number of its own.
#![no_main]

shikiri_rpc::service! {
    trait Twice, stub TwiceStub, server TwiceServer {
        1: fn first() -> u8;
        1: fn second() -> u8;
    }
}
