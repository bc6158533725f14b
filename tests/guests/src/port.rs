//! Message ports and areas as the test guests use them, on the bare calls: what `guest-sdk` makes safe is done by hand here, so
//! that a test can also do it wrong.
#![expect(unsafe_code, reason = "maps the window region and makes accesses that fault")]

use core::sync::atomic::{Ordering, fence};

use shikiri_abi::channel::{
    ADDRESS, AREA, BYTES, CONNECTED, CONSUMED, POSTED, SHORT, STARVED, STATE, entry,
};
use shikiri_abi::{AreaClass, Ipa, Status, WINDOWS};
use shikiri_rt::gic;
use shikiri_rt::hvc::message;
use shikiri_rt::hvc::partition;
use shikiri_rt::hvc::talk::{self, Handle, Sharing};
use shikiri_rt::mmu::{self, Access, NoMemory};

pub use crate::answers::{made, refused, wait};
use crate::fault::{self, Fault};
use crate::report::{Failure, Outcome};
use crate::taken;

/// Where the guest sees the window region.
const VIEW: u64 = 0x60_0000_0000;
/// All places of 4 KiB and of 2 MiB, and the first of 1 GiB.
const GIBS: u64 = 5;
const GIB: u64 = 1 << 30;

/// Maps the window region, so that an access reaches stage 2.
///
/// # Errors
/// There is no memory for tables.
pub fn map_windows(access: Access) -> Result<(), NoMemory> {
    // SAFETY: nothing else lies there.
    unsafe { mmu::map(VIEW, WINDOWS.0, GIBS * GIB, access) }
}

/// Where the guest sees an address of the window region.
#[must_use]
pub const fn view(at: Ipa) -> u64 {
    at.0 - WINDOWS.0 + VIEW
}

/// Loads a word of the window region.
///
/// # Errors
/// The fault.
pub fn read(at: Ipa) -> Result<u64, Fault> {
    // SAFETY: the window region holds nothing that Rust knows of; a fault is caught.
    unsafe { fault::attempt(fault::fault_load64, view(at), 0) }
}

/// Stores a word there.
///
/// # Errors
/// The fault.
pub fn write(at: Ipa, value: u64) -> Result<u64, Fault> {
    // SAFETY: as for `read`.
    unsafe { fault::attempt(fault::fault_store64, view(at), value) }
}

/// Clears the cache line there by DC ZVA: a store that the cache makes.
///
/// # Errors
/// The fault.
pub fn clear_line(at: Ipa) -> Result<u64, Fault> {
    // SAFETY: as for `read`.
    unsafe { fault::attempt(fault::fault_clear_line, view(at), 0) }
}

/// What must be there.
///
/// # Errors
/// The load faults.
pub fn word(at: Ipa) -> Result<u64, Failure> {
    read(at).map_err(|fault| Failure { what: "a load faults", got: fault.esr, want: 0 })
}

/// Stores where it must succeed.
///
/// # Errors
/// The store faults.
pub fn set(at: Ipa, value: u64) -> Outcome {
    write(at, value).map(|_| ()).map_err(|fault| Failure {
        what: "a store faults",
        got: fault.esr,
        want: 0,
    })
}

/// What the partition uses of memory, IPA space and management memory, in pages.
///
/// # Errors
/// The account cannot be read.
pub fn used() -> Result<[u64; 3], Failure> {
    use partition::Resource::{IpaSpace, ManagementMemory, Memory};
    let mut lines = [0; 3];
    for (place, line) in lines.iter_mut().zip([Memory, IpaSpace, ManagementMemory]) {
        *place = made(partition::account(line))?.used;
    }
    Ok(lines)
}

/// A message port, how many messages it has taken, and how many it has offered to take.
#[derive(Debug)]
pub struct Port {
    /// Its handle.
    pub handle: Handle,
    events: Handle,
    /// Where what has come stands.
    pub arrivals: Ipa,
    credits: Ipa,
    taken: u64,
    posted: u64,
}

/// A message that has come.
#[derive(Debug)]
pub struct Message {
    /// The area that came with it.
    pub area: Option<Handle>,
    /// Where that is.
    pub address: Ipa,
    /// How much of it is meant.
    pub bytes: u64,
    /// The short message.
    pub short: [u64; 3],
}

impl Port {
    /// A port with a window of so many slots, whose events are interrupt `intid`.
    ///
    /// # Errors
    /// A call is refused.
    pub fn new(class: AreaClass, slots: u16, intid: u32) -> Result<Self, Failure> {
        let events = made(talk::create_receive())?;
        made(talk::bind(events, intid, 0, Sharing::Alone))?;
        gic::enable(intid);
        Ok(Self::around(made(message::create(events, slots, class))?, events))
    }

    /// A port that was just made, with the receive port at which it tells.
    #[must_use]
    pub const fn around(port: message::Port, events: Handle) -> Self {
        let message::Port { handle, arrivals, credits } = port;
        Self { handle, events, arrivals, credits, taken: 0, posted: 0 }
    }

    fn word(&self, word: usize) -> Result<u64, Failure> {
        self::word(self.arrivals.wrapping_add(8 * word as u64))
    }

    /// Where its arrivals page is.
    #[must_use]
    pub const fn arrivals(&self) -> Ipa {
        self.arrivals
    }

    /// Whether a peer is there.
    ///
    /// # Errors
    /// The arrivals page is gone.
    pub fn is_connected(&self) -> Result<bool, Failure> {
        Ok(self.word(STATE)? & CONNECTED != 0)
    }

    /// How many peers there have been, this one included.
    ///
    /// # Errors
    /// The arrivals page is gone.
    pub fn peers(&self) -> Result<u64, Failure> {
        Ok(self.word(STATE)? >> 1)
    }

    /// Whether the peer has met FULL since.
    ///
    /// # Errors
    /// The arrivals page is gone.
    pub fn is_starved(&self) -> Result<bool, Failure> {
        Ok(self.word(STARVED)? != 0)
    }

    /// Offers to take `count` more messages, and says so to a peer that waits for it.
    ///
    /// # Errors
    /// The credits page is gone.
    pub fn post(&mut self, count: u64) -> Outcome {
        self.offer(count)?;
        if self.is_starved()? {
            // The peer may have gone.
            let _ = message::notify(self.handle);
        }
        Ok(())
    }

    /// Offers to take `count` more messages, without a call.
    ///
    /// # Errors
    /// The credits page is gone.
    pub fn offer(&mut self, count: u64) -> Outcome {
        self.posted += count;
        set(self.credits.wrapping_add(8 * CONSUMED as u64), self.taken)?;
        fence(Ordering::Release);
        set(self.credits.wrapping_add(8 * POSTED as u64), self.posted)?;
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// The next message, if it has come.
    ///
    /// # Errors
    /// The arrivals page is gone.
    pub fn receive(&mut self) -> Result<Option<Message>, Failure> {
        let at = entry(self.taken);
        if self.word(at)? != self.taken + 1 {
            return Ok(None);
        }
        fence(Ordering::Acquire);
        let area = self.word(at + AREA)?;
        let message = Message {
            area: (area != 0).then_some(Handle(area)),
            address: Ipa(self.word(at + ADDRESS)?),
            bytes: self.word(at + BYTES)?,
            short: [self.word(at + SHORT)?, self.word(at + SHORT + 1)?, self.word(at + SHORT + 2)?],
        };
        self.taken += 1;
        Ok(Some(message))
    }

    /// The next message, as soon as it has come.
    ///
    /// # Errors
    /// None comes.
    pub fn wait_for_message(&mut self) -> Result<Message, Failure> {
        let mut found = None;
        wait("no message", || {
            found = self.receive()?;
            Ok(found.is_some())
        })?;
        found.ok_or(Failure { what: "no message", got: 0, want: 1 })
    }

    /// Sends as soon as there is room.
    ///
    /// # Errors
    /// It is refused otherwise, or there is none.
    pub fn send(&self, area: Option<(Handle, u64)>, short: [u64; 3]) -> Outcome {
        wait("no room", || match taken::send(self.handle, area, short) {
            Err(refusal) if refusal.status() == Some(Status::Full) => Ok(false),
            other => made(other).map(|()| true),
        })
    }

    /// Closes it and its receive port.
    ///
    /// # Errors
    /// A call is refused.
    pub fn close(self) -> Outcome {
        made(taken::close(self.handle))?;
        made(talk::close(self.events)).map(|_| ())
    }
}
