//! Areas of other partitions, and connecting to them.

use core::future::{Future, poll_fn};
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{AreaClass, PageCount};
use shikiri_channel::NotConnected;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::shared::{self as calls, Access};
use shikiri_rt::event::{Awaited, Receiving as _, Told as _};
use shikiri_rt::sleep::Ticks;

use crate::view::{View, Words};
use crate::{OUT_OF_SIGHT, Owned};

/// A place for an area of another partition, paid for and empty.
#[derive(Debug)]
pub struct Attachment {
    view: View,
    owned: Owned,
    // Closed after the attachment, of which it tells.
    events: Awaited,
}

/// An attachment whose request was not answered yet. Dropped, the request is withdrawn.
#[derive(Debug)]
pub struct Asking(Attachment);

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    /// Nothing yet.
    Open(Asking),
    /// The area is there.
    Attached(Shared),
    /// It is not, and the attachment can ask again. [`NotConnected::PeerGone`]: who was asked has ended, or has taken the area back
    /// already.
    NotAttached(Attachment, NotConnected),
}

impl Attachment {
    /// Makes a place for an area of up to `pages` pages, which is charged here and now. Its events are the interrupt `intid` on this
    /// vCPU, an SPI that nothing else has: they tell of the answer, and when the area is taken back or its owner leaves.
    ///
    /// # Errors
    /// As [`calls::create`] and [`Awaited::new`]; `Range` if its place lies where the guest does not see it.
    pub fn new(
        view: View,
        pages: PageCount,
        class: AreaClass,
        intid: u32,
    ) -> Result<Self, Refusal> {
        let events = Awaited::new(intid)?;
        let made = calls::create(events.handle(), pages, class)?;
        let calls::Attachment { handle, address, pages } = made;
        let owned = Owned(handle);
        if !view.holds(address, pages) {
            return Err(OUT_OF_SIGHT);
        }
        Ok(Self { view, owned, events })
    }

    /// Asks the partition with this number (its place among the device tree's peers) for an area: does not wait.
    ///
    /// # Errors
    /// [`NotConnected::NotAsked`], [`NotConnected::PeerGone`]; the attachment comes back.
    pub fn ask(
        self,
        partition: u8,
        service: u32,
        word: u64,
    ) -> Result<Asking, (Self, NotConnected)> {
        match calls::connect(self.owned.0, partition, service, word) {
            Ok(()) => Ok(Asking(self)),
            Err(refusal) => Err((self, refusal.into())),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`NotConnected`]; the attachment comes back.
    pub fn connect(
        self,
        partition: u8,
        service: u32,
        word: u64,
    ) -> Result<Shared, (Self, NotConnected)> {
        self.ask(partition, service, word)?.wait()
    }
}

/// What is there when a request was accepted.
type Place = (Words, Access);

impl Asking {
    /// Looks for the answer.
    #[must_use]
    pub fn answer(self) -> Answer {
        match self.look() {
            None => Answer::Open(self),
            Some(answer) => match self.end(answer) {
                Ok(shared) => Answer::Attached(shared),
                Err((attachment, why)) => Answer::NotAttached(attachment, why),
            },
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`NotConnected`]; the attachment comes back.
    pub fn wait(self) -> Result<Shared, (Attachment, NotConnected)> {
        let answer = self.0.events.seat().until_there(|| self.look());
        self.end(answer)
    }

    /// Waits for the answer; [`Answer::Open`] if there was none in time.
    #[must_use]
    pub fn wait_until(self, deadline: Ticks) -> Answer {
        let _answer = self.0.events.seat().until(deadline, || self.look());
        self.answer()
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`NotConnected`]; the attachment comes back.
    pub async fn answered(self) -> Result<Shared, (Attachment, NotConnected)> {
        let answer = poll_fn(|context| self.0.events.poll_for(context, || self.look())).await;
        self.end(answer)
    }

    /// The answer, if there is one.
    fn look(&self) -> Option<Result<Place, NotConnected>> {
        let attachment = &self.0;
        match calls::state(attachment.owned.0) {
            Ok(None) => None,
            Ok(Some(calls::Shared { address, pages, access, .. })) => {
                // It lies where the attachment does, and that is seen.
                let words = attachment.view.words(address, pages).ok_or(OUT_OF_SIGHT);
                Some(words.map(|words| (words, access)).map_err(NotConnected::NotAsked))
            }
            Err(refusal) => Some(Err(refusal.into())),
        }
    }

    fn end(
        self,
        answer: Result<Place, NotConnected>,
    ) -> Result<Shared, (Attachment, NotConnected)> {
        match answer {
            Ok((words, access)) => Ok(Shared { words, access, attachment: self.0 }),
            Err(why) => Err((self.0, why)),
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

/// How the sharing of an area has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its owner has left it, or has ended: the area stays, and nobody else comes to it.
    OwnerLeft,
    /// Its owner has taken it back: accesses fault.
    TakenBack,
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

    /// How the sharing has ended, if it has.
    #[must_use]
    pub fn try_end(&self) -> Option<End> {
        match calls::state(self.attachment.owned.0) {
            Ok(Some(shared)) if shared.is_left => Some(End::OwnerLeft),
            Ok(_there) => None,
            Err(_gone) => Some(End::TakenBack),
        }
    }

    /// Waits until the sharing has ended.
    #[must_use]
    pub fn end(&self) -> End {
        self.attachment.events.seat().until_there(|| self.try_end())
    }

    /// Waits until the sharing has ended; none if it has not in time.
    #[must_use]
    pub fn end_until(&self, deadline: Ticks) -> Option<End> {
        self.attachment.events.seat().until(deadline, || self.try_end())
    }

    /// Waits until the sharing has ended.
    pub fn ended(&self) -> impl Future<Output = End> + '_ {
        poll_fn(|context| self.attachment.events.poll_for(context, || self.try_end()))
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
