//! Areas of this partition that others may attach, and the requests of those others.

use core::mem::{self, ManuallyDrop};
use core::sync::atomic::AtomicU64;

use shikiri_abi::{PartitionId, Status};
use shikiri_channel::Area;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::shared::{self as calls, Access};
use shikiri_hvc::talk::{self, Handle, Signal, SignalKind};

use crate::view::{View, Words};
use crate::{OUT_OF_SIGHT, Owned};

/// An area of this partition that others may attach. Dropped, it is left to those who have.
#[derive(Debug)]
pub struct Offer<A = Area> {
    // The words go before the area does.
    words: Words,
    owned: Owned,
    /// What it was; it is nobody's value until it is withdrawn, and never if it is left to others.
    area: ManuallyDrop<A>,
}

impl Offer<Handle> {
    /// Offers an own, complete area that is known by its handle; `events` is raised when a user leaves.
    ///
    /// # Safety
    /// Nothing else refers to the area's memory, until it is withdrawn.
    ///
    /// # Errors
    /// As [`calls::offer`]; `Range` if the area lies where the guest does not see it.
    pub unsafe fn new(view: View, area: Handle, events: Option<Handle>) -> Result<Self, Refusal> {
        let info = shikiri_hvc::message::info(area)?;
        let words = view.words(info.address, info.pages).ok_or(OUT_OF_SIGHT)?;
        // SAFETY: from here on it is atomic words; for the rest, see the caller's promise.
        unsafe { calls::offer(area, events) }?;
        Ok(Self { words, owned: Owned(area), area: ManuallyDrop::new(area) })
    }
}

impl Offer<Area> {
    /// Offers an area of the channels' library; on a refusal it comes back.
    ///
    /// # Errors
    /// As [`Offer::new`], and the area.
    pub fn of(view: View, area: Area, events: Option<Handle>) -> Result<Self, (Refusal, Area)> {
        // SAFETY: the area is here by value, so that nothing is borrowed of it, and nobody comes to it before it is withdrawn.
        match unsafe { Offer::new(view, area.handle(), events) } {
            Ok(Offer { words, owned, .. }) => {
                Ok(Self { words, owned, area: ManuallyDrop::new(area) })
            }
            Err(refusal) => Err((refusal, area)),
        }
    }
}

impl<A> Offer<A> {
    /// Takes the area from a user that was accepted: its accesses fault from here on.
    ///
    /// # Errors
    /// `PeerGone` if it has not got the area any more, or never had this one.
    pub fn revoke(&self, user: User) -> Result<(), Refusal> {
        // Who lives at its place by now may have been given the area, too. Where that cannot be seen, since neither may ask the other any
        // more, nobody has been given it there since.
        if talk::peer(user.place).is_ok_and(|peer| peer.id != Some(user.id)) {
            return Err(GONE);
        }
        calls::revoke(self.owned.0, user.place)
    }

    /// Takes the area from all who have it; it is this partition's alone again, and what was offered comes back: an [`Area`], with
    /// what all have written there. Whoever still uses it has its accesses fault, and is told.
    ///
    /// # Errors
    /// None that an offer of ours meets; the offer stays then.
    pub fn withdraw(self) -> Result<A, (Self, Refusal)> {
        if let Err(refusal) = calls::withdraw(self.owned.0) {
            return Err((self, refusal));
        }
        let Self { owned, area, .. } = self;
        // There is nothing to be left to anybody.
        mem::forget(owned);
        Ok(ManuallyDrop::into_inner(area))
    }

    /// The area.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        self.words.get()
    }
}

/// Who was given an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id, which no other life of that partition has.
    pub id: PartitionId,
    /// Its number, by which the calls name it.
    place: u8,
}

const GONE: Refusal = Refusal { code: Status::PeerGone.code(), which: 0 };

/// The most numbers that partitions have.
const PLACES: u8 = 64;

/// Which number the partition with this id has.
fn place_of(id: PartitionId) -> Result<u8, Refusal> {
    let is_its = |place: &u8| talk::peer(*place).is_ok_and(|peer| peer.id == Some(id));
    (0..PLACES).find(is_its).ok_or(GONE)
}

/// Another partition's request for a shared area. Dropped, it is refused.
#[derive(Debug)]
pub struct Request {
    handle: Handle,
    /// Who asks.
    pub from: PartitionId,
    /// Which service is meant.
    pub service: u32,
    /// The sender's word.
    pub word: u64,
}

impl Request {
    /// Makes a request of a control signal that was taken.
    ///
    /// # Errors
    /// The signal, if it asks for something else.
    pub fn of(signal: Signal) -> Result<Self, Signal> {
        let Signal { request, kind, from, service, word } = signal;
        if kind == Some(SignalKind::AreaAttach) {
            Ok(Self { handle: request, from, service, word })
        } else {
            Err(signal)
        }
    }

    /// Gives the sender the area: the answer is who can be told to leave it ([`Offer::revoke`]).
    ///
    /// # Errors
    /// `Range` if the sender's attachment is for another class or for less; `Exists` if it has the area already; `PeerGone` if it has
    /// ended or withdrawn the request. The request comes back.
    pub fn accept<A>(self, offer: &Offer<A>, access: Access) -> Result<User, (Self, Refusal)> {
        let id = self.from;
        let accepted = place_of(id).and_then(|place| {
            calls::accept(self.handle, offer.owned.0, access).map(|()| User { id, place })
        });
        match accepted {
            Ok(user) => {
                // The handle was spent.
                mem::forget(self);
                Ok(user)
            }
            Err(refusal) => Err((self, refusal)),
        }
    }

    /// Refuses it, as dropping it does.
    pub fn refuse(self) {}
}

impl Drop for Request {
    fn drop(&mut self) {
        // It is ours until here; one that was withdrawn is only closed.
        let _refused = talk::refuse(self.handle);
    }
}
