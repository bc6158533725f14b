//! The other end of the program `sockets`, with sockets itself: what the bare-metal guest of that name does, in a second system of this
//! kind. Any guest can have the socket interface (C10).

use std::fs::OpenOptions;
use std::io::{Error, Result};
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;
use std::time::Duration;

use shikiri_scos_programs::socket::{Address, Message, Socket, poll};

/// The system that it connects to, its services for areas of 4 KiB and of 2 MiB, and one that nobody listens for.
const SCOS: &str = "scos";
const SERVICE: u32 = 7;
const LARGE_SERVICE: u32 = 8;
const NOBODYS: u32 = 99;
/// Its own service; all others are refused.
const OWN: u32 = 5;

/// What it is told to do.
const CLOSE: u64 = 0;
const SEND: u64 = 1;
const ECHO: u64 = 2;
const SHORT: u64 = 3;
const END: u64 = 4;
const ASK: u64 = 5;
const SERVE: u64 = 6;
const QUIET: u64 = 7;
const UNANSWERED: u64 = 9;
const LARGE: u64 = 10;

const READABLE: u16 = 1;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAIL {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let listener = Socket::new(0)?;
    listener.bind(Address::service(OWN))?;
    listener.listen(2)?;
    loop {
        let channel = connect()?;
        while let Some(message) = channel.receive()? {
            match message.short[0] {
                CLOSE => break,
                SEND => send(&channel)?,
                ECHO => echo(&channel, &message)?,
                SHORT => channel.send(&Message::short([33, 0, 0]))?,
                END => return Ok(()),
                ASK => channel.send(&Message::short([ASK, u64::from(is_refused()?), 0]))?,
                SERVE => serve(&listener)?,
                QUIET => discard(&message)?,
                UNANSWERED => return poll(&[(listener.number(), READABLE)], None).map(drop),
                LARGE => large()?,
                other => println!("FAIL nobody says {other}"),
            }
        }
    }
}

/// Connects to the service, however often that takes: nothing tells when somebody listens for it.
fn connect() -> Result<Socket> {
    let socket = Socket::new(0)?;
    while socket.connect(Address::of(SCOS, SERVICE)).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(socket)
}

fn send(channel: &Socket) -> Result<()> {
    let message = channel.make(8)?;
    OpenOptions::new().write(true).open(&message.name)?.write_all_at(b"question", 0)?;
    channel.send(&Message { short: [11, 12, 13], ..message })
}

/// A second channel, whose areas have 2 MiB: sends one with its number in each page, and then what comes back.
fn large() -> Result<()> {
    const BYTES: u64 = 2 << 20;
    const PAGE: u64 = 4096;
    let channel = Socket::new(0)?;
    channel.set_window(2, 1, 4)?;
    channel.connect(Address::of(SCOS, LARGE_SERVICE))?;
    let message = channel.make(BYTES)?;
    let file = OpenOptions::new().write(true).open(&message.name)?;
    for page in 0..BYTES / PAGE {
        file.write_all_at(&(page as u16).to_le_bytes(), page * PAGE)?;
    }
    channel.send(&Message { short: [LARGE, 0, 0], ..message })?;
    while let Some(message) = channel.receive()?.filter(|message| message.short[0] == ECHO) {
        echo(&channel, &message)?;
    }
    Ok(())
}

fn echo(channel: &Socket, message: &Message) -> Result<()> {
    if !message.name.is_empty() {
        let file = OpenOptions::new().read(true).write(true).open(&message.name)?;
        let mut first = [0];
        file.read_exact_at(&mut first, 0)?;
        file.write_all_at(&first.map(|byte| byte.wrapping_add(1)), 0)?;
    }
    channel.send(&Message { short: [34, 0, 0], ..message.clone() })
}

fn discard(message: &Message) -> Result<()> {
    if message.name.is_empty() { Ok(()) } else { std::fs::remove_file(&message.name) }
}

/// Whether a service that nobody listens for is refused.
fn is_refused() -> Result<bool> {
    let answer = Socket::new(0)?.connect(Address::of(SCOS, NOBODYS));
    Ok(answer.err().and_then(|error| error.raw_os_error()) == Some(libc::ECONNREFUSED))
}

/// Answers one connection once.
fn serve(listener: &Socket) -> Result<()> {
    let (channel, _) = listener.accept(0)?;
    let message = channel.receive()?.ok_or(Error::other("it has gone"))?;
    channel.send(&Message::short([message.short[0] + 1, 0, 0]))
}
