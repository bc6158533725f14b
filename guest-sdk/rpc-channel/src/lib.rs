//! Remote calls (`shikiri-rpc`) over a message channel (C2): what carries their messages between two partitions.
//!
//! A message's two words of header and up to 8 bytes of payload are a short message of the channel; what is larger lies in
//! a buffer of an area that both sides share, with a pool in it (B1), if there is one:
//!
//! ```text
//! words 0 and 8 of the area: A, and B, wait for a buffer       word 16 and up: the pool
//! ```
//!
//! | | without an area | with one |
//! |---|---|---|
//! | at A (who makes the area) | [`Wire::new`] | [`Wire::with_area`], [`pool_part`], `Pool::create` |
//! | at B | [`Wire::new`] | [`Wire::with_area`], [`pool_part`], `Pool::attach` |
//!
//! The channel's own events tell of messages, of room and of the peer's end. That a buffer is free again is told by a short
//! message that is none of the calls', and only to a side that says that it waits. The channel's event does not tell of it where
//! another message was not taken: a server that waits for a buffer and leaves further requests there looks again by itself.
//!
//! Where both sides share an area anyway, the messages can lie there too, in a ring (`shikiri_rpc::Ring`), with the channel as its doorbell:
//! [`Bell`]. Then 128 bytes need no buffer, and who does not sleep is not rung for.
#![no_std]

mod bell;

use core::sync::atomic::{AtomicU64, Ordering, fence};
use core::task::Waker;

use shikiri_channel::{Channel, Moment, Ticks, Why};
use shikiri_rpc::{Area, Epoch, Message, PeerGone, SendError, Side, Transport};

pub use bell::Bell;

/// The most bytes of payload in a short message.
pub const INLINE_BYTES: usize = 8;

/// Words of a short message.
const WORDS: usize = 3;
/// The words by which the sides say that they wait, each in a cache line of its own.
const WAITS: [usize; 2] = [0, 8];
const POOL: usize = 16;

/// How long who waits for a buffer sleeps beside messages that it does not take.
const GLANCE_US: u64 = 200;

/// A short message that is none of a call's: look what is free.
const LOOK: [u64; WORDS] = [0; WORDS];

/// One end of a channel as what carries calls. Any number of vCPUs may use it. The port's interrupt has to tell of messages: with `Wait::Event`
/// who waits beside messages that it does not take does not sleep.
pub struct Wire<'a> {
    channel: Channel,
    waits: Option<Waits<'a>>,
}

/// Who waits for a buffer.
struct Waits<'a> {
    own: &'a AtomicU64,
    peer: &'a AtomicU64,
}

impl<'a> Wire<'a> {
    /// Without an area: calls whose arguments and results have up to [`INLINE_BYTES`] bytes.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self { channel, waits: None }
    }

    /// With an area that both sides share; none if it is too small. Both mean the same memory by it, and one of them is
    /// [`Side::A`].
    #[must_use]
    pub fn with_area(channel: Channel, area: Area<'a>, side: Side) -> Option<Self> {
        let [a, b] = WAITS;
        let (own, peer) = match side {
            Side::A => (a, b),
            Side::B => (b, a),
        };
        let waits = Waits { own: area.word(own)?, peer: area.word(peer)? };
        Some(Self { channel, waits: Some(waits) })
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The channel, to be used otherwise.
    #[must_use]
    pub fn into_channel(self) -> Channel {
        self.channel
    }
}

/// Where the pool of an area is; none if the area is too small.
#[must_use]
pub fn pool_part(area: Area<'_>) -> Option<Area<'_>> {
    let words = area.bytes().checked_div(size_of::<u64>())?;
    area.part(POOL, words.checked_sub(POOL)?)
}

impl Transport for Wire<'_> {
    type Deadline = Ticks;

    fn inline_bytes(&self) -> usize {
        INLINE_BYTES
    }

    fn send(&self, message: &Message) -> Result<(), SendError> {
        let Some(short) = message.encode_short::<WORDS>() else {
            return Err(SendError::TooLarge);
        };
        self.channel.try_send((), short).map_err(|not_sent| match not_sent.why {
            Why::Full => SendError::Full,
            Why::PeerGone => SendError::PeerGone,
            // Of areas only.
            Why::NoSuchWindow => SendError::TooLarge,
            Why::Other(refusal) => SendError::Transport(refusal.code),
        })
    }

    fn receive(&self, others: &mut u32) -> Result<Option<Message>, PeerGone> {
        // Not more than a port holds: a peer that sends without end keeps nobody here.
        for _ in 0..shikiri_channel::MOST_MESSAGES {
            let received =
                self.channel.try_receive().map_err(|shikiri_channel::PeerGone| PeerGone)?;
            let Some(received) = received else { return Ok(None) };
            // An area that came with it goes with `received`: no call sends one.
            if let Some(message) = Message::decode(&received.short) {
                return Ok(Some(message));
            }
            *others = others.saturating_add(1);
        }
        Ok(None)
    }

    fn notify(&self) {
        let Some(waits) = &self.waits else { return };
        // Against `watch`: either it finds what is free, or this finds that it waits.
        fence(Ordering::SeqCst);
        let is_waiting = waits.peer.load(Ordering::Relaxed) != 0;
        if is_waiting && waits.peer.swap(0, Ordering::Relaxed) != 0 {
            // If it finds no room: who waits for a buffer beside messages does not sleep long (`wait_beside`).
            let _sent = self.channel.try_send((), LOOK);
        }
    }

    fn watch(&self) -> Epoch {
        let Moment(moment) = self.channel.moment();
        if let Some(waits) = &self.waits {
            waits.own.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
        Epoch(moment)
    }

    fn wait(&self, Epoch(seen): Epoch) {
        self.channel.wait_since(Moment(seen));
    }

    fn wait_until(&self, Epoch(seen): Epoch, deadline: Ticks) {
        let _has_happened = self.channel.wait_since_until(Moment(seen), deadline);
    }

    fn has_untaken(&self) -> bool {
        // An event tells of the first message behind a port that is empty, or whoever takes that one wakes the others: the one that says that a
        // buffer is free is it, or comes behind it, or finds no room behind it. Of one behind an untaken one none does.
        self.channel.has_message()
    }

    fn wait_beside(&self, seen: Epoch, until: Option<Ticks>) {
        let soon = Ticks::from_now_us(GLANCE_US);
        self.wait_until(seen, until.map_or(soon, |deadline| deadline.min(soon)));
    }

    fn is_over(&self, deadline: Ticks) -> bool {
        deadline.is_over()
    }

    fn register(&self, waker: &Waker) {
        self.channel.register(waker);
    }

    fn wake(&self) {
        self.channel.wake();
    }

    fn is_peer_gone(&self) -> bool {
        !self.channel.is_connected()
    }
}
