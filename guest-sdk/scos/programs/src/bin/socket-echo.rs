//! A service: `socket-echo SERVICE` answers each message of whoever connects, with the first byte of its area counted up.
//!
//! It waits for all its sockets at once (C9); peers come, go, and come again.

use std::env;
use std::fs::OpenOptions;
use std::io::Result;
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;

use shikiri_scos_programs::socket::{self, Address, Message, Socket};

const READABLE: u16 = 1;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 8;

fn main() -> ExitCode {
    let Some(service) = env::args().nth(1).and_then(|word| word.parse().ok()) else {
        eprintln!("usage: socket-echo SERVICE");
        return ExitCode::from(2);
    };
    match serve(service) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("socket-echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(service: u32) -> Result<()> {
    let listener = Socket::new(0)?;
    listener.bind(Address::service(service))?;
    listener.listen(BACKLOG)?;
    println!("socket-echo: listens for service {service}");
    let mut peers: Vec<(Socket, String)> = Vec::new();
    loop {
        let asked = peers.iter().map(|(peer, _)| peer.number());
        let asked: Vec<_> =
            [listener.number()].into_iter().chain(asked).map(|it| (it, READABLE)).collect();
        let ready = socket::poll(&asked, None)?;
        let mut ready = ready.into_iter();
        let has_request = ready.next().is_some_and(|bits| bits != 0);
        let mut kept = Vec::new();
        for ((peer, name), bits) in peers.into_iter().zip(ready) {
            if bits == 0 || answer(&peer).unwrap_or(false) {
                kept.push((peer, name));
            } else {
                println!("socket-echo: {name} has gone");
            }
        }
        peers = kept;
        if has_request {
            // It may have been withdrawn meanwhile.
            if let Ok((peer, who)) = listener.accept(socket::NON_BLOCKING) {
                println!("socket-echo: {} has come", who.name());
                peers.push((peer, who.name()));
            }
        }
    }
}

/// Answers a message; false at the end.
fn answer(peer: &Socket) -> Result<bool> {
    let message = match peer.receive() {
        Ok(Some(message)) => message,
        Ok(None) => return Ok(false),
        // Told for nothing.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(true),
        Err(error) => return Err(error),
    };
    if !message.name.is_empty() {
        let file = OpenOptions::new().read(true).write(true).open(&message.name)?;
        let mut first = [0];
        file.read_exact_at(&mut first, 0)?;
        file.write_all_at(&first.map(|byte| byte.wrapping_add(1)), 0)?;
    }
    let Message { short: [first, second, third], .. } = message;
    peer.send(&Message { short: [first.wrapping_add(1), second, third], ..message })?;
    Ok(true)
}
