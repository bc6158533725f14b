//! Compiles: what the other files here do wrong, done right.
#![no_std]
#![no_main]

use shikiri_rt::event::{Bound, ReceivePort, Receiving as _, Request, SendPort, Sharing};

/// Connects, and sends then.
pub fn send(port: SendPort, to: &ReceivePort) -> Option<bool> {
    port.connect(to).ok()?.send().ok()
}

/// Connects, seals both ends, and uses them.
pub fn seal(port: SendPort, to: Bound) -> Option<bool> {
    let sender = port.connect(&to).ok()?.seal().ok()?;
    let receiver = to.seal().ok()?;
    let _was_pending = sender.send().ok()?;
    receiver.poll().ok()
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
