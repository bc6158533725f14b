//! What the cases share: results as failures, connections, and what is charged.

use shikiri_channel::{AreaClass, Channel, NotSent, PeerGone, Port, Ticks, Wait, Window, Windows};
use shikiri_rt::hvc::partition;
use shikiri_rt::{platform, reg};
pub(crate) use shikiri_test_guests::answers::made;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure};

/// The interrupts of the listener, and of ports.
pub(crate) const LISTENER: u32 = 64;
pub(crate) const PORT: u32 = 65;
pub(crate) const SECOND_PORT: u32 = 66;

/// Services of the server: what it does with the messages of a channel.
pub(crate) mod service {
    /// Sends each back, with 1 added to the short words and to the first byte of the area.
    pub(crate) const ECHO: u32 = 1;
    /// Receives and says nothing; a message with `short[0]` = 1 ends the server.
    pub(crate) const SILENT: u32 = 2;
    /// Takes a message with its area. After one request, which it refuses, it drops them; after another one it takes the next.
    pub(crate) const HOLD: u32 = 3;
    /// Refuses.
    pub(crate) const NO: u32 = 4;
    /// Does not answer.
    pub(crate) const LATE: u32 = 5;
    /// Accepts and closes at once.
    pub(crate) const CLOSE: u32 = 6;
    /// Sends two messages back, and closes.
    pub(crate) const LEAVE: u32 = 7;
}

/// The window that both sides have.
pub(crate) fn window(class: AreaClass) -> Window {
    Window::of(class, 2).depth(4)
}

pub(crate) fn windows() -> Result<Windows, Failure> {
    Windows::map().map_err(|_| Failure { what: "the windows are not mapped", got: 0, want: 1 })
}

/// The server's number.
pub(crate) fn server() -> u8 {
    platform::number_of("server").unwrap_or(0) as u8
}

pub(crate) fn port(class: AreaClass, intid: u32) -> Result<Port, Failure> {
    made(Port::new(windows()?, window(class), intid))
}

/// In the word of a request, beside the class: the server shall wait by events, too.
pub(crate) const BY_EVENT: u64 = 1 << 8;

/// Connects to a service; a server that is just starting is asked again. With `by-event` on the command line both sides wait in WFE.
pub(crate) fn connect(service: u32, class: AreaClass) -> Result<Channel, Failure> {
    let mut port = port(class, PORT)?;
    let (wait, word) =
        if platform::has_word("by-event") { (Wait::Event, BY_EVENT) } else { (Wait::Interrupt, 0) };
    loop {
        match port.connect(server(), service, u64::from(class.code()) | word) {
            Ok(channel) => {
                channel.set_wait(wait);
                return Ok(channel);
            }
            Err((back, _)) => port = back,
        }
        reg::yield_now();
    }
}

/// Far away: a wait that comes to it has failed.
pub(crate) fn patience() -> Ticks {
    Ticks::from_now_us(60_000_000)
}

pub(crate) fn sent<C>(result: Result<(), NotSent<C>>) -> Outcome {
    ensure("sent", result.is_ok())
}

pub(crate) fn came<T>(result: Result<T, PeerGone>) -> Result<T, Failure> {
    result.map_err(|PeerGone| Failure { what: "the peer is there", got: 0, want: 1 })
}

pub(crate) fn there<T>(what: &'static str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or(Failure { what, got: 0, want: 1 })
}

/// Runs a case; what it was charged is back after it.
pub(crate) fn charged_back(case: impl FnOnce() -> Outcome) -> Outcome {
    let before = used()?;
    case()?;
    ensure("all is refunded", used()? == before)
}

fn used() -> Result<[u64; 4], Failure> {
    use partition::Resource::{EventPorts, IpaSpace, ManagementMemory, Memory};
    let mut lines = [0; 4];
    for (place, line) in lines.iter_mut().zip([Memory, IpaSpace, ManagementMemory, EventPorts]) {
        *place = made(partition::account(line))?.used;
    }
    Ok(lines)
}
