//! Channels to other partitions as sockets, with bare-metal guests at the other ends: C6 to C9 and C10. The guests do what short messages
//! tell them (`tests/guests/src/bin/sockets.rs`; `sockets peers` says that they have sockets themselves: the program `socket-peer`).
//! `sockets made NAME` does it with one that was made while this system ran; `sockets loads` runs a program that a guest sends.

mod connecting;
mod ends;
mod forms;
mod large;
mod loads;
mod made;
mod other;
mod room;
mod waiting;

use std::env;
use std::fs::{File, OpenOptions};
use std::io::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use shikiri_scos_programs::report::{equal, holds};
use shikiri_scos_programs::socket::{Address, Message, Socket, poll};

/// The service that the guests connect to.
const SERVICE: u32 = 7;
/// The service for areas of 2 MiB.
const LARGE_SERVICE: u32 = 8;
/// What the guests do: close, send an area, send what came back, send a short message, end, ask for a service that is not
/// listened for, serve, say nothing; say so and take no message until they have served; take a request and end; connect to
/// [`LARGE_SERVICE`] and send there; send a program.
const CLOSE: u64 = 0;
const SEND: u64 = 1;
const ECHO: u64 = 2;
const SHORT: u64 = 3;
const END: u64 = 4;
const ASK: u64 = 5;
const SERVE: u64 = 6;
const QUIET: u64 = 7;
const HOLD: u64 = 8;
const UNANSWERED: u64 = 9;
const LARGE: u64 = 10;
const IMAGE: u64 = 11;
/// Services of the guests: one that they accept, one that they refuse.
const THEIRS: u32 = 5;
const REFUSED: u32 = 6;
/// The service that they ask for when they are told to.
const ASKED_FOR: u32 = 99;

const IN: u16 = 1;
const OUT: u16 = 4;
const HUNG_UP: u16 = 16;
const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;

static HAS_FAILED: AtomicBool = AtomicBool::new(false);

type Outcome = Result<(), Error>;

/// A name, and what is looked at.
type Case = (&'static str, fn(&Guests) -> Outcome);

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => with_two(false),
        ["peers"] => with_two(true),
        ["made", name] => judge("made", made::check(name)),
        ["loads"] => judge("loads", loads::check()),
        _ => {
            eprintln!("usage: sockets [peers | made NAME | loads]");
            return ExitCode::from(2);
        }
    }
    println!("done");
    if HAS_FAILED.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn with_two(have_sockets: bool) {
    let cases: [Case; 14] = [
        ("files", forms::files),
        ("mappings", forms::mappings),
        ("kernel's form", forms::kernels),
        ("gone while open or mapped", forms::gone),
        ("gone while another process has it mapped", forms::gone_elsewhere),
        ("originated", forms::originated),
        ("areas of 2 MiB", large::large),
        ("two guests", waiting::two_guests),
        ("all kinds in one call", waiting::all_kinds),
        ("all kinds in one list", waiting::listed),
        ("listeners close", connecting::closing),
        ("ends", connecting::ends),
        ("connecting", connecting::connecting),
        ("refusals", connecting::refusals),
    ];
    let guests = match Guests::wait(have_sockets) {
        Ok(guests) => guests,
        Err(error) => return judge("the guests have not come", Err(error)),
    };
    for (name, case) in cases {
        judge(name, case(&guests));
    }
    if !have_sockets {
        // How much is taken ahead is here the guest's to say, and not a kernel's.
        judge("full windows", room::full(&guests));
        judge("no slots", room::no_slots(&guests));
    }
    judge("an end while connect waits", ends::asked_in_vain(&guests));
    judge("an end while write waits", ends::written_in_vain(&guests));
}

fn judge(name: &str, outcome: Outcome) {
    match outcome {
        Ok(()) => println!("case {name}"),
        Err(error) => {
            println!("FAIL {name}: {error}");
            HAS_FAILED.store(true, Ordering::Relaxed);
        }
    }
}

/// The guests that have connected.
struct Guests {
    listener: Socket,
    one: Socket,
    two: Socket,
    /// They have sockets themselves.
    have_sockets: bool,
}

impl Guests {
    /// Waits for both: `accept` waits for the first one's request, a poll tells of the second's.
    fn wait(have_sockets: bool) -> Result<Self, Error> {
        let listener = Socket::new(0)?;
        listener.bind(Address::service(SERVICE))?;
        listener.listen(4)?;
        let (first, peer) = listener.accept(0)?;
        equal("the service", peer.service, SERVICE);
        equal("the same name again", first.peer()?, peer);
        let ready = poll(&[(listener.number(), IN)], None)?;
        equal("a request waits", ready, vec![IN]);
        let (second, other) = listener.accept(0)?;
        let mut names = [peer.name(), other.name()];
        let is_first_one = names[0] == "one";
        names.sort();
        equal("both guests, by name", names, ["one".into(), "two".into()]);
        holds("their ids differ", peer.id != other.id && peer.id != 0);
        let (one, two) = if is_first_one { (first, second) } else { (second, first) };
        Ok(Self { listener, one, two, have_sockets })
    }
}

/// A partition that ends while a read waits for it.
fn end(guest: &Socket) -> Outcome {
    tell(guest, END)?;
    equal("its partition has ended", guest.receive()?, None);
    equal("nothing goes there", number(guest.send(&Message::default())), Some(libc::EPIPE));
    Ok(())
}

fn tell(guest: &Socket, command: u64) -> Outcome {
    guest.send(&Message::short([command, 0, 0]))
}

/// Has a guest send an area.
fn sent_by(guest: &Socket) -> Result<Message, Error> {
    tell(guest, SEND)?;
    come(guest)
}

fn come(guest: &Socket) -> Result<Message, Error> {
    guest.receive()?.ok_or(Error::other("the guest has gone"))
}

fn open(path: &str) -> Result<File, Error> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// The error's number.
fn number<T>(result: Result<T, Error>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// A socket that listens for the service that guests ask for when they are told to.
fn listening() -> Result<Socket, Error> {
    let listener = Socket::new(0)?;
    listener.bind(Address::service(ASKED_FOR))?;
    listener.listen(1)?;
    Ok(listener)
}
