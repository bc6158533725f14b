//! Shared memory areas for guests (C5): one partition offers, others attach, each writes while the others look.
//!
//! ```ignore
//! let view = View::of(Windows::map()?);                        // where this guest sees the window region
//!
//! let offer = Offer::of(view, area, Some(events))?;            // the owner, of a message area of its own
//! offer.accept(signal.request, Access::ReadOnly)?;             // a request that `talk::take_signal` has taken
//! offer.words()[0].store(7, Ordering::Release);
//!
//! let asked = Attachment::new(view, PageCount(1), AreaClass::Page, events)?.ask(owner, SERVICE, 0)?;
//! let shared = match asked.answer() { Answer::Here(shared) => shared, … };     // after the event
//! let seven = shared.load(0);
//! ```
//!
//! What is shared is never a plain slice: another partition may write at any moment. Who may write gets [`Shared::words`], atomic
//! words; who may only read gets [`Shared::load`], and no word that it could store to. What is dropped is detached; an offer
//! that is dropped is left to its users, one that is withdrawn is an area again.
//!
//! **Trust.** The owner can take an area back at any time: from then on an access faults, in the partition that makes it and nowhere
//! else. A guest that does not trust its owner catches that abort. Values are the other side's: copy them once, then check.
#![no_std]
#![expect(unsafe_code, reason = "offers memory, and gives it up when its value goes")]

mod view;

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{AreaClass, Ipa, Status};
use shikiri_channel::Area;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::shared as calls;
use shikiri_hvc::talk::Handle;

pub use shikiri_abi::PageCount;
pub use shikiri_hvc::shared::Access;
pub use view::View;

use view::Words;

/// An offered area, or an attachment, that goes when this goes.
#[derive(Debug)]
struct Owned(Handle);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it is ours until here, and what was borrowed of its words was borrowed of its owner.
        let _detached = unsafe { calls::detach(self.0) };
    }
}

/// An area of this partition that others may attach. Dropped, it is left to those who have.
#[derive(Debug)]
pub struct Offer {
    // The words go before the area does.
    words: Words,
    owned: Owned,
}

impl Offer {
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
        Ok(Self { words, owned: Owned(area) })
    }

    /// Offers an area of the channels' library; on a refusal it comes back.
    ///
    /// # Errors
    /// As [`Offer::new`], and the area.
    pub fn of(view: View, area: Area, events: Option<Handle>) -> Result<Self, (Refusal, Area)> {
        // SAFETY: the area is here by value, so that nothing is borrowed of it, and forgotten below.
        match unsafe { Self::new(view, area.handle(), events) } {
            Ok(offer) => {
                let _offered = area.into_handle();
                Ok(offer)
            }
            Err(refusal) => Err((refusal, area)),
        }
    }

    /// Accepts a request.
    ///
    /// # Errors
    /// As [`calls::accept`].
    pub fn accept(&self, request: Handle, access: Access) -> Result<(), Refusal> {
        calls::accept(request, self.owned.0, access)
    }

    /// Takes the area from the partition with this number: its accesses fault from here on.
    ///
    /// # Errors
    /// `PeerGone` if it has not attached it.
    pub fn revoke(&self, partition: u8) -> Result<(), Refusal> {
        calls::revoke(self.owned.0, partition)
    }

    /// Takes the area from all; it is this partition's alone again. Answers its handle.
    ///
    /// # Errors
    /// None that an offer of ours meets.
    pub fn withdraw(self) -> Result<Handle, Refusal> {
        let Self { owned, .. } = self;
        let area = owned.0;
        core::mem::forget(owned);
        calls::withdraw(area).map(|()| area)
    }

    /// The area.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        self.words.get()
    }
}

/// A place for an area of another partition, paid for and empty.
#[derive(Debug)]
pub struct Attachment {
    view: View,
    owned: Owned,
}

/// An attachment that has asked.
#[derive(Debug)]
pub struct Asked(Attachment);

/// What came of asking.
#[derive(Debug)]
pub enum Answer {
    /// The area is there.
    Here(Shared),
    /// No answer yet.
    Waiting(Asked),
    /// Refused; the attachment can ask again.
    Refused(Attachment),
    /// Who was asked has ended, or has taken the area back already.
    Gone(Attachment),
}

impl Attachment {
    /// Makes a place for an area of up to `pages` pages, which is charged here and now; `events` is raised for its answer, when the
    /// area is taken back, and when its owner leaves.
    ///
    /// # Errors
    /// As [`calls::create`]; `Range` if its place lies where the guest does not see it.
    pub fn new(
        view: View,
        pages: PageCount,
        class: AreaClass,
        events: Handle,
    ) -> Result<Self, Refusal> {
        let calls::Attachment { handle, address, pages } = calls::create(events, pages, class)?;
        let owned = Owned(handle);
        if !view.holds(address, pages) {
            return Err(OUT_OF_SIGHT);
        }
        Ok(Self { view, owned })
    }

    /// Asks the partition with this number; the answer comes as an event.
    ///
    /// # Errors
    /// As [`calls::connect`], and the attachment.
    pub fn ask(self, partition: u8, service: u32, word: u64) -> Result<Asked, (Refusal, Self)> {
        match calls::connect(self.owned.0, partition, service, word) {
            Ok(()) => Ok(Asked(self)),
            Err(refusal) => Err((refusal, self)),
        }
    }
}

impl Asked {
    /// What came of it.
    #[must_use]
    pub fn answer(self) -> Answer {
        let Self(attachment) = self;
        match calls::state(attachment.owned.0) {
            Ok(None) => Answer::Waiting(Self(attachment)),
            Ok(Some(calls::Shared { address, pages, access, .. })) => {
                match attachment.view.words(address, pages) {
                    Some(words) => Answer::Here(Shared { words, access, attachment }),
                    None => Answer::Gone(attachment),
                }
            }
            Err(refusal) if refusal.status() == Some(Status::Refused) => {
                Answer::Refused(attachment)
            }
            Err(_gone) => Answer::Gone(attachment),
        }
    }
}

/// An area of another partition. Dropped, it is detached.
#[derive(Debug)]
pub struct Shared {
    // The words go before the attachment does.
    words: Words,
    access: Access,
    attachment: Attachment,
}

impl Shared {
    /// The area; none if this partition may only read.
    #[must_use]
    pub fn words(&self) -> Option<&[AtomicU64]> {
        (self.access == Access::ReadWrite).then(|| self.words.get())
    }

    /// How many words it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.get().len()
    }

    /// Whether it has none: never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.get().is_empty()
    }

    /// Reads a word (acquire); none behind the end.
    #[must_use]
    pub fn load(&self, index: usize) -> Option<u64> {
        self.words.get().get(index).map(|word| word.load(Ordering::Acquire))
    }

    /// Whether it is still there, and its owner, too. What [`Status::PeerGone`] says in the error has been taken back.
    ///
    /// # Errors
    /// As [`calls::state`].
    pub fn has_owner(&self) -> Result<bool, Refusal> {
        let state = calls::state(self.attachment.owned.0)?;
        Ok(state.is_some_and(|shared| !shared.is_left))
    }

    /// Leaves the area that was taken back, so that the attachment can ask again; otherwise answers itself.
    ///
    /// # Errors
    /// The area, if it is still there.
    pub fn into_attachment(self) -> Result<Attachment, Self> {
        match calls::state(self.attachment.owned.0) {
            Err(_gone) => Ok(self.attachment),
            Ok(_there) => Err(self),
        }
    }
}

/// The area's address is one that the guest's view does not have.
const OUT_OF_SIGHT: Refusal = Refusal { code: Status::Range.code(), which: 0 };

/// Where something of this size ends, if it is addressable at all.
fn end_of(Ipa(at): Ipa, pages: PageCount) -> Option<u64> {
    at.checked_add(pages.0.checked_mul(shikiri_abi::PAGE_BYTES)?)
}
