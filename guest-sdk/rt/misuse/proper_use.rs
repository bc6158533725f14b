//! Compiles: what the other files here do wrong, done right.
#![no_std]
#![no_main]

use shikiri_rt::event::{ReceivePort, Request, SendPort, Sharing};

/// Connects, and sends then.
pub fn send(port: SendPort, to: &ReceivePort) -> Option<bool> {
    port.connect(to).ok()?.send().ok()
}

/// Asks again with the port that came back.
pub fn ask(port: SendPort) {
    if let Err((port, _)) = port.ask(1, 2, 3) {
        let _second = port.ask(1, 2, 3);
    }
}

/// Binds, and accepts once.
pub fn accept(request: Request, port: ReceivePort) {
    if let Ok(bound) = port.bind(40, Sharing::Alone) {
        let _accepted = request.accept(&bound);
    }
}
