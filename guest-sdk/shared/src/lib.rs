//! Shared memory areas for guests (C5): one partition offers, others attach, each writes while the others look.
//!
//! ```ignore
//! let view = View::of(Windows::map()?);                        // where this guest sees the window region
//!
//! let offer = Offer::of(view, area, Some(events))?;            // the owner, of a message area of its own
//! let user = Request::of(listener.signal()?)?.accept(&offer, Access::ReadOnly)?;
//! offer.words()[0].store(7, Ordering::Release);
//! offer.revoke(user)?;                                         // its accesses fault
//! let area = offer.withdraw()?;                                // nobody else's any more: written, sent or dropped as before
//!
//! let shared = Attachment::new(view, PageCount(1), AreaClass::Page, 40)?.connect(owner, SERVICE, 0)?;
//! let seven = shared.load(0);
//! ```
//!
//! ```text
//! Area ──of──▶ Offer ──withdraw──▶ Area                     dropped: left to its users
//! Attachment ──ask──▶ Asking ──answer──▶ Shared, or the Attachment again
//!            ──connect───────────────▶ Shared, or the Attachment again and why
//! Shared ──into_attachment──▶ Attachment                    (of an area that was taken back)
//! ```
//!
//! | form | connect | the end of sharing |
//! |---|---|---|
//! | polling | [`Attachment::ask`], [`Asking::answer`] | [`Shared::try_end`] |
//! | blocking | [`Attachment::connect`], [`Asking::wait`] | [`Shared::end`] |
//! | timed | [`Asking::wait_until`] | [`Shared::end_until`] |
//! | `async` | [`Asking::answered`] | [`Shared::ended`] |
//!
//! The owner waits for requests by the channels' listener: `shikiri_channel::Listener::signal`, and [`Request::of`].
//!
//! What is shared is never a plain slice: another partition may write at any moment. Who may write gets [`Shared::words`], atomic
//! words; who may only read gets [`Shared::load`], and no word that it could store to. What is dropped is detached; an offer
//! that is dropped is left to its users, one that is withdrawn is an area again.
//!
//! **Trust.** The owner can take an area back at any time: from then on an access faults, in the partition that makes it and nowhere
//! else. A guest that does not trust its owner catches that abort. Values are the other side's: copy them once, then check.
#![no_std]
#![expect(unsafe_code, reason = "offers memory, and gives it up when its value goes")]

mod attachment;
mod offer;
mod view;

use shikiri_abi::{Ipa, Status};
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::shared as calls;
use shikiri_hvc::talk::Handle;

pub use attachment::{Answer, Asking, Attachment, End, Shared};
pub use offer::{Offer, Request, User};
pub use shikiri_abi::PageCount;
pub use shikiri_channel::NotConnected;
pub use shikiri_hvc::shared::Access;
pub use view::View;

/// An offered area, or an attachment, that goes when this goes.
#[derive(Debug)]
struct Owned(Handle);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it is ours until here, and what was borrowed of its words was borrowed of its owner.
        let _detached = unsafe { calls::detach(self.0) };
    }
}

/// The area's address is one that the guest's view does not have.
const OUT_OF_SIGHT: Refusal = Refusal { code: Status::Range.code(), which: 0 };

/// Where something of this size ends, if it is addressable at all.
fn end_of(Ipa(at): Ipa, pages: PageCount) -> Option<u64> {
    at.checked_add(pages.0.checked_mul(shikiri_abi::PAGE_BYTES)?)
}
