//! Objects that partitions share by name: events, semaphores, counters and message queues (V4).
//!
//! ```ignore
//! let frames = Queue::open("frames", 8)?;              // polling: try_receive, try_send
//! let mut frames = Waiting::new(frames, port)?;        // blocking and timed: receive, receive_until, send …
//! let message = frames.receive()?;
//! ```
//!
//! Opening makes the object if no partition has it open, and is refused if the description does not permit it, or the object
//! is another kind. What is dropped is closed. [`Waiting`] ties an object to the receive port that is raised for it:
//! without one there is nothing to sleep by, and so nothing that waits. A [`Unit`] goes back when it is dropped.
//!
//! A wait sleeps on the vCPU where the port was bound, to which its interrupt goes. Other vCPUs may wait, too: they look again and again.
//!
//! In tasks, `received`, `sent`, `taken` and `waited` are futures, which any executor runs; interrupts have to be unmasked for them. The
//! interrupt of a port that a task has waited at is this library's (`shikiri_rt::irq::add_hook`), and does not come to the guest's handler.
#![no_std]

mod waiting;

use core::mem;

use shikiri_abi::{MESSAGE_WORDS, ObjectKind, ObjectName, PartitionId, Status, Units};
use shikiri_hvc::object as calls;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::Handle;

pub use shikiri_abi::Message;
pub use shikiri_rt::event::Sealed;
pub use shikiri_rt::sleep::Ticks;
pub use waiting::Waiting;

/// What is posted to an object that is no queue.
const NOTHING: Message = [0; MESSAGE_WORDS];

/// An open object; it is closed when it goes.
#[derive(Debug)]
struct Owned(Handle);

impl Drop for Owned {
    fn drop(&mut self) {
        // It is ours until here.
        let _closed = calls::close(self.0);
    }
}

/// A name where the hypervisor reads it: in one page, and at the address that it has for the run-time, too.
#[repr(C, align(64))]
struct NameBuffer([u8; 64]);

impl Owned {
    fn open(name: &str, kind: ObjectKind) -> Result<Self, Refusal> {
        let no_name = Refusal { code: Status::InvalidParameter.code(), which: 1 };
        let name = ObjectName::new(name.as_bytes()).ok_or(no_name)?;
        let mut buffer = NameBuffer([0; 64]);
        for (to, from) in buffer.0.iter_mut().zip(name.as_bytes()) {
            *to = *from;
        }
        let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let at = number(core::ptr::from_ref(&buffer).expose_provenance());
        let length = number(name.as_bytes().len());
        calls::open(at, length, kind.encode()).map(|(handle, _)| Self(handle))
    }

    fn take(&self) -> Result<Option<Message>, Refusal> {
        unless(Status::Empty, calls::wait(self.0))
    }
}

/// A refusal with this status is `None`.
fn unless<T>(status: Status, result: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.status() == Some(status) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// An object of some kind.
pub trait Object {
    /// Its handle.
    fn handle(&self) -> Handle;
}

/// An event: each partition that has it open sees a post once.
#[derive(Debug)]
pub struct Event(Owned);

/// A semaphore whose units are held: by a [`Unit`], and when that goes, or its partition ends, they are back.
#[derive(Debug)]
pub struct Semaphore(Owned);

/// A semaphore whose units are used up: it counts things that are there to be fetched.
#[derive(Debug)]
pub struct Counter(Owned);

/// A queue of messages of three words.
#[derive(Debug)]
pub struct Queue(Owned);

/// A unit of a semaphore. Dropped, it is posted back.
#[derive(Debug)]
#[must_use = "a unit that is not kept is posted back at once"]
pub struct Unit<'s> {
    semaphore: &'s Semaphore,
    /// A partition that closed the semaphore or ended while it held units: what they protect may be half done.
    pub lost: Option<PartitionId>,
}

impl Event {
    /// Opens the event of this name.
    ///
    /// # Errors
    /// `NotPermitted`, `OverLimit`, `Full`; `Exists` if the object is none; `InvalidParameter` if the name is none.
    pub fn open(name: &str) -> Result<Self, Refusal> {
        Owned::open(name, ObjectKind::Event).map(Self)
    }

    /// Posts it, to this partition as well.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn post(&self) -> Result<(), Refusal> {
        calls::post(self.0.0, NOTHING)
    }

    /// Whether it was posted since the last time.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn try_wait(&self) -> Result<bool, Refusal> {
        self.0.take().map(|taken| taken.is_some())
    }
}

impl Semaphore {
    /// Opens the semaphore of this name, with `initial` of `maximum` units if it is made.
    ///
    /// # Errors
    /// As [`Event::open`]; `InvalidParameter` for numbers that cannot be; `Exists` if it was made with others.
    pub fn open(name: &str, initial: u32, maximum: u32) -> Result<Self, Refusal> {
        let kind = ObjectKind::Semaphore { initial, maximum, units: Units::Held };
        Owned::open(name, kind).map(Self)
    }

    /// Takes a unit, if there is one.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn try_take(&self) -> Result<Option<Unit<'_>>, Refusal> {
        Ok(self.0.take()?.map(|answer| Unit { semaphore: self, lost: lost(answer) }))
    }

    /// Adds a unit; one that this partition holds, if it holds any.
    ///
    /// # Errors
    /// `Range`: it has its most units.
    pub fn post(&self) -> Result<(), Refusal> {
        calls::post(self.0.0, NOTHING)
    }
}

/// A partition that went while it held units.
fn lost([id, ..]: Message) -> Option<PartitionId> {
    u32::try_from(id).ok().filter(|id| *id != 0).map(PartitionId)
}

impl Unit<'_> {
    /// Keeps the unit beyond the value: until [`Semaphore::post`], or until the semaphore is closed.
    pub fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for Unit<'_> {
    fn drop(&mut self) {
        // This partition holds it, so that there is room.
        let _posted = self.semaphore.post();
    }
}

impl Counter {
    /// Opens the counter of this name, at `initial` if it is made, and never above `maximum`.
    ///
    /// # Errors
    /// As [`Semaphore::open`].
    pub fn open(name: &str, initial: u32, maximum: u32) -> Result<Self, Refusal> {
        let kind = ObjectKind::Semaphore { initial, maximum, units: Units::Spent };
        Owned::open(name, kind).map(Self)
    }

    /// Counts one more.
    ///
    /// # Errors
    /// `Range`: it is at its maximum.
    pub fn post(&self) -> Result<(), Refusal> {
        calls::post(self.0.0, NOTHING)
    }

    /// Takes one, if there is one.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn try_take(&self) -> Result<bool, Refusal> {
        self.0.take().map(|taken| taken.is_some())
    }
}

impl Queue {
    /// Opens the queue of this name, for at most `depth` messages.
    ///
    /// # Errors
    /// As [`Semaphore::open`].
    pub fn open(name: &str, depth: u8) -> Result<Self, Refusal> {
        Owned::open(name, ObjectKind::Queue { depth }).map(Self)
    }

    /// Appends a message; false if there is no room.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn try_send(&self, message: Message) -> Result<bool, Refusal> {
        unless(Status::Full, calls::post(self.0.0, message)).map(|done| done.is_some())
    }

    /// Takes the oldest message, if there is one.
    ///
    /// # Errors
    /// None while the value lives.
    pub fn try_receive(&self) -> Result<Option<Message>, Refusal> {
        self.0.take()
    }
}

macro_rules! objects {
    ($($name:ident)*) => { $(
        impl Object for $name {
            fn handle(&self) -> Handle {
                self.0.0
            }
        }

        impl $name {
            /// Leaves it open for as long as the partition lives: from here on it is only used. It is
            /// polled: a wait has to say where to tell, and no longer can. Opened again it is the same, and no more can be done with it.
            ///
            /// # Errors
            /// None while the value lives.
            pub fn seal(self) -> Result<Sealed<Self>, (Self, Refusal)> {
                let handle = self.0.0;
                Sealed::new(self, handle)
            }
        }
    )* };
}

objects!(Event Semaphore Counter Queue);
