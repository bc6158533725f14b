//! The machine's partitions, for the program that makes policy (P7).
//!
//! ```ignore
//! let editor = Partition::named("editor").ok_or(..)?;   // one of the description
//! editor.set_limit(Resource::Memory, Some(4096))?;      // pages
//! let editor = editor.start()?;                         // a new life has a new id
//! while let Some(end) = take_notice()? {                // who has ended, and why
//!     println!("{} has ended: {}", end.partition.name()?, end.cause);
//! }
//! ```
//!
//! New ones are described call by call, and own nothing before they are started:
//!
//! ```ignore
//! let new = Partition::create("worker")?;
//! new.set_limit(Resource::Memory, Some(512))?;
//! new.add_vcpu(&[1], Time::reserved(2_000, 10_000), 0)?;
//! new.add_memory(Ipa(0x4000_0000), 2 << 20)?;
//! new.add_image(image("worker")?, Ipa(0x4008_0000))?;
//! new.set_entry(Ipa(0x4008_0000), 0)?;
//! let life = new.start()?;
//! // …when it has ended:
//! life.destroy()?;
//! ```
//!
//! A [`Partition`] names one life of a partition: when that has ended and another has begun, calls answer `PeerGone`, and
//! [`Partition::all`] and [`Partition::named`] find the new one. Only the partition that holds the policy capability may call;
//! all others are answered `NotPermitted`. Nothing here waits, but for [`Partition::pause`], which takes as long as cores need to
//! let go of the vCPUs.
#![no_std]

use core::fmt;

mod look;
mod new;
mod standing;

pub use look::{Exit, Thing};
pub use new::Time;
pub use shikiri_abi::{NewAreas, Wish};
pub use standing::{Cause, End, Standing, State};

use new::again;
use shikiri_abi::{Hold, NamePart, PartitionRef, Status};
use shikiri_hvc::partition::{AccountLine, Refusal, Resource};
use shikiri_hvc::policy as calls;
use shikiri_hvc::talk::Handle;

/// One life of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Partition(PartitionRef);

/// A partition's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; 32]);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        self.0.get(..end).and_then(|name| core::str::from_utf8(name).ok()).unwrap_or("")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// An answer that this version of the library does not understand.
const STRANGE: Refusal = Refusal { code: Status::NotSupported.code(), which: 0 };

impl Partition {
    /// All that there are now, by place.
    pub fn all() -> impl Iterator<Item = Self> {
        Listing { place: 0 }
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find_map(|partition| partition.if_called(name))
    }

    /// The one at this place, if its name is this. A place keeps its name over its lives.
    fn if_called(self, name: &str) -> Option<Self> {
        let mut present = self;
        loop {
            match present.name() {
                Ok(its) => return (its.as_str() == name).then_some(present),
                // Another life has begun since it was listed.
                Err(refusal) if refusal.status() == Some(Status::PeerGone) => {
                    present = Self::at(self.0.place.0).ok().flatten()?;
                }
                Err(_) => return None,
            }
        }
    }

    /// The one at a place; none if nobody is there.
    ///
    /// # Errors
    /// `NotPermitted`; `Range` behind the last place.
    pub fn at(place: u8) -> Result<Option<Self>, Refusal> {
        match calls::list(place) {
            Ok(listed) => Ok(Some(Self(listed.who))),
            Err(refusal) if refusal.status() == Some(Status::NotFound) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// How the calls name it.
    #[must_use]
    pub const fn who(self) -> PartitionRef {
        self.0
    }

    /// The partition that a call has named.
    #[must_use]
    pub const fn from_ref(who: PartitionRef) -> Self {
        Self(who)
    }

    /// Its id.
    #[must_use]
    pub const fn id(self) -> u32 {
        self.0.id.0
    }

    /// Its name.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`.
    pub fn name(self) -> Result<Name, Refusal> {
        let [a, b, c] = calls::name(self.0, NamePart::First)?;
        let [d, ..] = calls::name(self.0, NamePart::Rest)?;
        let mut name = [0; 32];
        let bytes = [a, b, c, d].into_iter().flat_map(u64::to_le_bytes);
        name.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        Ok(Name(name))
    }

    /// How it stands.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`; `PeerGone` if another life has begun.
    pub fn status(self) -> Result<Standing, Refusal> {
        let listed = calls::list(self.0.place.0)?;
        if listed.who != self.0 {
            return Err(Refusal { code: Status::PeerGone.code(), which: 0 });
        }
        Ok(Standing {
            state: State::from_code(listed.phase).ok_or(STRANGE)?,
            cause: (listed.cause != 0).then(|| Cause::of(listed.cause, listed.code)),
            restarts: listed.restarts,
            starts: listed.starts,
            vcpus: listed.vcpus,
            is_made: listed.is_made,
            is_caller: listed.is_caller,
        })
    }

    /// A line of its account.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`.
    pub fn account(self, resource: Resource) -> Result<AccountLine, Refusal> {
        calls::limit_read(self.0, resource)
    }

    /// Sets a limit for this life and those that follow; none is unset.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`; `OverLimit`: so much cannot be handed out.
    pub fn set_limit(self, resource: Resource, limit: Option<u64>) -> Result<(), Refusal> {
        calls::limit_set(self.0, resource, limit)
    }

    /// Starts it, or lets it go on when it is held; the life that begins.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it has ended, was never started, or is held.
    pub fn start(self) -> Result<Self, Refusal> {
        calls::start(self.0, Hold::No).map(Self)
    }

    /// Lets a held life go on, after it was loaded. If it was ended meanwhile, no other one begins.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it is held.
    pub fn go_on(self) -> Result<(), Refusal> {
        calls::go_on(self.0)
    }

    /// Starts it, to be held when it is built. So is a life that follows without a start of this program's: after a reset, or by the operator.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it has ended or was never started.
    pub fn start_held(self) -> Result<Self, Refusal> {
        calls::start(self.0, Hold::WhenBuilt).map(Self)
    }

    /// Ends it; an [`End`] follows.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` if there is nothing to end.
    pub fn stop(self) -> Result<(), Refusal> {
        calls::stop(self.0)
    }

    /// Ends it and starts it again, or starts it if it has ended; [`Partition::named`] finds the new life.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` of one that was never started.
    pub fn restart(self) -> Result<(), Refusal> {
        calls::restart(self.0)
    }

    /// Takes its vCPUs off their cores: when this returns none of them runs.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it is active; `InvalidParameter` of the caller itself.
    pub fn pause(self) -> Result<(), Refusal> {
        again(|| calls::pause(self.0))
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// `NotPermitted`, `NotFound`, `PeerGone`; `WrongState` unless it is paused.
    pub fn resume(self) -> Result<(), Refusal> {
        calls::resume(self.0)
    }
}

/// A partition's request for more: to be granted, or refused, before its time is over.
#[derive(Debug)]
#[must_use = "a request that nobody answers is decided by the description's default"]
pub struct Request {
    /// Who asks.
    pub partition: Partition,
    /// What for.
    pub wish: Wish,
    /// Which of all that were ever made.
    number: u64,
}

impl Request {
    /// Grants so much of it, perhaps another amount than was asked for.
    ///
    /// # Errors
    /// The request again with the refusal: `OverLimit`, so much cannot be handed out; `PeerGone`: it was cancelled, or its time is over.
    pub fn grant(self, amount: u64) -> Result<(), (Self, Refusal)> {
        let amount = match self.wish {
            Wish::Peer(_) | Wish::Device(_) => 0,
            Wish::More(..) | Wish::Time(..) | Wish::Vcpus(_) => amount,
        };
        calls::answer_request(self.partition.0, self.number, Some(amount))
            .map_err(|refusal| (self, refusal))
    }

    /// Grants what was asked for.
    ///
    /// # Errors
    /// As [`Request::grant`].
    pub fn grant_all(self) -> Result<(), (Self, Refusal)> {
        let amount = self.wish.amount();
        self.grant(amount)
    }

    /// Refuses it.
    ///
    /// # Errors
    /// `PeerGone`: it was cancelled, or its time is over.
    pub fn refuse(self) -> Result<(), Refusal> {
        calls::answer_request(self.partition.0, self.number, None)
    }
}

/// Takes the oldest request that nobody has taken, if there is one.
///
/// # Errors
/// `NotPermitted`.
pub fn take_request() -> Result<Option<Request>, Refusal> {
    match calls::take_request() {
        Ok((who, wish, number)) => Ok(Some(Request { partition: Partition(who), wish, number })),
        Err(refusal) if refusal.is(Status::Empty) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Permits that `asker` asks `asked` for connections.
///
/// # Errors
/// `NotPermitted`, `NotFound`, `PeerGone`; `InvalidParameter` if both are the same.
pub fn permit(asker: Partition, asked: Partition) -> Result<(), Refusal> {
    calls::set_peers(asker.0, asked.0, true)
}

/// Forbids it; what is connected stays so.
///
/// # Errors
/// As [`permit`].
pub fn forbid(asker: Partition, asked: Partition) -> Result<(), Refusal> {
    calls::set_peers(asker.0, asked.0, false)
}

/// The number of the image that the description calls so.
///
/// # Errors
/// `NotPermitted`; `Range`: there is none.
pub fn image(name: &str) -> Result<u64, Refusal> {
    let mut number = 0;
    while !is_image(number, name)? {
        number = number.saturating_add(1);
    }
    Ok(number)
}

/// Whether the image with this number is called so.
fn is_image(number: u64, name: &str) -> Result<bool, Refusal> {
    let mut wanted = name.bytes();
    let (_, first) = calls::image_info(number)?;
    let mut is_it = agrees(&first, &mut wanted);
    for part in 1..=u8::MAX {
        if is_it.is_some() {
            break;
        }
        is_it = agrees(&calls::image_name(number, part)?, &mut wanted);
    }
    Ok(is_it.unwrap_or(false))
}

/// Whether a name is the wanted one, whose next bytes are in these words; `None` if it goes on.
fn agrees(words: &[u64], wanted: &mut impl Iterator<Item = u8>) -> Option<bool> {
    for byte in words.iter().flat_map(|word| word.to_le_bytes()) {
        if byte != wanted.next().unwrap_or(0) {
            return Some(false);
        }
        if byte == 0 {
            return Some(true);
        }
    }
    None
}

/// What may be handed out of a resource, and what is.
///
/// # Errors
/// `NotPermitted`.
pub fn handout(resource: Resource) -> Result<(Option<u64>, u64), Refusal> {
    calls::handout(resource)
}

/// What a core has left to promise, in ppm.
///
/// # Errors
/// `NotPermitted`; `Range`: there is no such core.
pub fn core_left(core: u8) -> Result<u64, Refusal> {
    calls::core_left(core)
}

/// The partitions, place by place.
struct Listing {
    place: u8,
}

impl Iterator for Listing {
    type Item = Partition;

    fn next(&mut self) -> Option<Partition> {
        loop {
            let there = Partition::at(self.place).ok()?;
            self.place = self.place.saturating_add(1);
            if there.is_some() {
                return there;
            }
        }
    }
}

/// Chooses the receive port that is raised when there is something to take, or when a partition has become active or is held.
///
/// The event says that there may be something, not what: it can be of news that were seen already. Whoever waits for a state looks after
/// each wake-up, and waits again until it is there.
///
/// # Errors
/// `NotPermitted`; `BadHandle` if it is no receive port.
pub fn notify(port: Handle) -> Result<(), Refusal> {
    calls::notify(port)
}

/// Takes the oldest notice of an end, if there is one.
///
/// # Errors
/// `NotPermitted`.
pub fn take_notice() -> Result<Option<End>, Refusal> {
    match calls::take_notice() {
        Ok(notice) => Ok(Some(End::of(&notice))),
        Err(refusal) if refusal.is(Status::Empty) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}
