//! A client: `socket-ask PARTITION SERVICE TEXT` sends a text in an area, and writes what comes back in the same one.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{Error, Result};
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;

use shikiri_scos_programs::socket::{Address, Message, Socket};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let [partition, service, text] = words.as_slice() else { return usage() };
    let Ok(service) = service.parse() else { return usage() };
    match ask(partition, service, text) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("socket-ask: {partition}, service {service}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: socket-ask PARTITION SERVICE TEXT");
    ExitCode::from(2)
}

fn ask(partition: &str, service: u32, text: &str) -> Result<String> {
    let socket = Socket::new(0)?;
    socket.connect(Address::of(partition, service))?;
    let message = socket.make(text.len() as u64)?;
    OpenOptions::new().write(true).open(&message.name)?.write_all_at(text.as_bytes(), 0)?;
    // From here on the area is the other partition's.
    socket.send(&Message { short: [1, 0, 0], ..message })?;
    let answer = socket.receive()?.ok_or_else(|| Error::other("it has gone"))?;
    let bytes = fs::read(&answer.name)?;
    fs::remove_file(&answer.name)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
