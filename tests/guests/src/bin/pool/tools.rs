//! What both sides share: the words that go over the channel, where the pool lies in an area, and connecting.

use shikiri_channel::{AreaClass, Channel, NotConnected, PeerGone, Port, Window, Windows};
use shikiri_rpc::Area;
use shikiri_rt::sleep::{self, Ticks};
use shikiri_shared::{Attachment, PageCount, Shared, View};
use shikiri_test_guests::Failure;
use shikiri_test_guests::answers::made;
use shikiri_test_guests::report::Outcome;

/// The interrupts.
pub(crate) const LISTENER: u32 = 64;
pub(crate) const CHANNEL: u32 = 65;
pub(crate) const CALLS: u32 = 66;
pub(crate) const ATTACHMENT: u32 = 67;

/// Services: what commands go over, what calls go over, and the area.
pub(crate) const COMMANDS: u32 = 1;
pub(crate) const CALLED: u32 = 2;
pub(crate) const AREA: u32 = 3;

/// Commands, in the first word of a short message; the answer is three words.
pub(crate) mod command {
    /// Makes an area with a pool of so many buffers of so many bytes. The answer, the area's size, comes before it is asked for.
    pub(crate) const MAKE: u64 = 1;
    /// The same; the buffers have memory from their first use on, half of them have none.
    pub(crate) const MAKE_LAZY: u64 = 2;
    /// The same as `MAKE`, and all vCPUs take and give back: how many did so, and what was wrong.
    pub(crate) const RACE: u64 = 3;
    /// Takes so many buffers and holds them: how many it got, why not more, and where the last one is.
    pub(crate) const TAKE: u64 = 4;
    /// Gives so many of them back, the last one first.
    pub(crate) const GIVE: u64 = 5;
    /// Hands the buffer that was taken last over: its reference.
    pub(crate) const HAND_OVER: u64 = 6;
    /// Adopts the buffer with this reference, looks that it begins with the second word, and gives it back.
    pub(crate) const ADOPT: u64 = 7;
    /// Writes rubbish into the flags, or into all words of the control area, until the next command.
    pub(crate) const SPOIL: u64 = 8;
    /// Makes the control area anew.
    pub(crate) const REPAIR: u64 = 9;
    /// How many buffers are in use, have memory, and how often something was wrong.
    pub(crate) const LOOK: u64 = 10;
    /// Accepts a channel for calls, and serves none of them.
    pub(crate) const ACCEPT_CALLS: u64 = 11;
    /// Ends the partition.
    pub(crate) const END: u64 = 12;
    /// Takes the area back, and writes to it as its owner: what stood in its last word, and what stands there then.
    pub(crate) const TAKE_BACK: u64 = 13;
}

/// Why a buffer was not taken, in an answer.
pub(crate) const NO_BUFFER: u64 = 1;
pub(crate) const NO_MEMORY: u64 = 2;
/// What is spoilt.
pub(crate) const FLAGS: u64 = 0;
pub(crate) const ALL: u64 = 1;

/// Words before and behind the pool that neither side writes to, but for the first one: by that both begin a race.
pub(crate) const MARGIN: usize = 64;

/// How many words an area has for a pool of so many buffers.
pub(crate) const fn words(count: usize, bytes: usize) -> usize {
    2 * MARGIN + 1 + count * (2 + bytes / 8)
}

/// The class of an area with so many words.
pub(crate) const fn class(words: usize) -> AreaClass {
    if words * 8 <= 4096 { AreaClass::Page } else { AreaClass::Block }
}

/// Where the pool is in a shared area.
pub(crate) fn pool_part(
    all: &[core::sync::atomic::AtomicU64],
    (count, bytes): (usize, usize),
) -> Result<Area<'_>, Failure> {
    let part = Area::new(all).part(MARGIN, words(count, bytes) - 2 * MARGIN);
    part.ok_or(Failure { what: "the area is too small", got: all.len() as u64, want: 0 })
}

pub(crate) fn windows() -> Result<Windows, Failure> {
    Windows::map().map_err(|_| Failure { what: "windows", got: 0, want: 1 })
}

pub(crate) fn port(intid: u32) -> Result<Port, Failure> {
    made(Port::new(windows()?, Window::of_short_messages(), intid))
}

/// Connects to the owner, which may not listen yet.
pub(crate) fn connect(owner: u8, service: u32, intid: u32) -> Result<Channel, Failure> {
    let mut port = port(intid)?;
    let end = Ticks::from_now_us(60_000_000);
    while !end.is_over() {
        match port.connect(owner, service, 0) {
            Ok(channel) => return Ok(channel),
            Err((_, NotConnected::NotAsked(why))) => {
                return Err(Failure { what: "may ask", got: why.code as u64, want: 0 });
            }
            Err((back, _)) => port = back,
        }
        let _nothing = sleep::until(Ticks::from_now_us(100), || None::<()>);
    }
    Err(Failure { what: "connected in a minute", got: 0, want: 1 })
}

/// Attaches the owner's area of so many words.
pub(crate) fn attach(owner: u8, words: usize) -> Result<Shared, Failure> {
    let pages = PageCount((words as u64 * 8).div_ceil(4096));
    let place = Attachment::new(View::of(windows()?), pages, class(words), ATTACHMENT);
    let attached = made(place)?.connect(owner, AREA, 0);
    attached.map_err(|_| Failure { what: "attached", got: 0, want: 1 })
}

/// Sends three words.
pub(crate) fn say(channel: &Channel, words: [u64; 3]) -> Outcome {
    channel.send((), words).map_err(|_| Failure { what: "said", got: 0, want: 1 })
}

/// Receives three words.
pub(crate) fn hear(channel: &Channel) -> Result<[u64; 3], Failure> {
    match channel.receive() {
        Ok(message) => Ok(message.short),
        Err(PeerGone) => Err(Failure { what: "heard", got: 0, want: 1 }),
    }
}

/// A word of a buffer, or of an area, by its number.
pub(crate) fn bytes_of(word: u64) -> [u8; 8] {
    word.to_ne_bytes()
}

/// The first word of a buffer.
pub(crate) fn first_word(buffer: &shikiri_rpc::Buffer<'_>) -> Option<u64> {
    let mut bytes = [0; 8];
    buffer.read(&mut bytes)?;
    Some(u64::from_ne_bytes(bytes))
}
