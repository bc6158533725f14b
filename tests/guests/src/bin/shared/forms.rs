//! The library's values of shared areas: every form of asking for one and of waiting for its end, and what is dropped.
#![expect(
    unsafe_code,
    reason = "says where the window region is seen, and offers areas by their handles"
)]

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::Ordering;
use core::task::Poll;

use shikiri_abi::{AreaClass, Ipa, PageCount, Status, WINDOWS};
use shikiri_channel::block_on;
use shikiri_rt::hvc::{message, shared as calls};
use shikiri_rt::sleep::Ticks;
use shikiri_shared::{Answer, Asking, Attachment, End, NotConnected, Offer, Shared, View};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::tools::{
    COMMAND, END, KEEP, LEAVE, LOOK, PUT, READ, REFUSED, REVOKE, SEEN, VIEW, WITHDRAW, WRITE, made,
    read, refused, set, take_events, word,
};
use crate::user::{Control, NO, owner, used};

/// The interrupts of the attachments.
const FIRST: u32 = 66;
const SECOND: u32 = 67;
/// Longer than the owner takes for a refusal, and short: nothing comes.
const SHORT_US: u64 = 3_000;
/// Never waited for to its end.
const LONG_US: u64 = 60_000_000;

fn view() -> View {
    // SAFETY: `main` has mapped it there.
    unsafe { View::new(VIEW, SEEN) }
}

fn place(intid: u32) -> Result<Attachment, Failure> {
    made(Attachment::new(view(), PageCount(1), AreaClass::Page, intid))
}

fn long() -> Ticks {
    Ticks::from_now_us(LONG_US)
}

/// Asks for a page.
fn ask(place: Attachment, service: u32) -> Result<Asking, Failure> {
    place.ask(owner(), service, 4096).map_err(|_| NO)
}

/// The answer in time, as the other forms have it.
fn in_time(answer: Answer) -> Result<Shared, (Attachment, NotConnected)> {
    match answer {
        Answer::Attached(shared) => Ok(shared),
        Answer::NotAttached(place, why) => Err((place, why)),
        Answer::Open(_) => panic!("no answer in a minute"),
    }
}

/// What has to be there.
fn there(result: Result<Shared, (Attachment, NotConnected)>) -> Result<Shared, Failure> {
    result.map_err(|_| NO)
}

/// What has to fail, for this reason; the attachment again.
fn failed(
    result: Result<Shared, (Attachment, NotConnected)>,
    want: NotConnected,
) -> Result<Attachment, Failure> {
    match result {
        Err((place, why)) if why == want => Ok(place),
        Err(_) => Err(Failure { what: "another reason", got: 0, want: 1 }),
        Ok(_) => Err(Failure { what: "not attached", got: 0, want: 1 }),
    }
}

/// What has no answer in time.
fn open(answer: Answer) -> Result<Asking, Failure> {
    match answer {
        Answer::Open(asking) => Ok(asking),
        Answer::Attached(_) | Answer::NotAttached(..) => {
            Err(Failure { what: "open", got: 0, want: 1 })
        }
    }
}

/// Runs an action and looks that all it took is given back.
fn charged_back(action: impl FnOnce() -> Outcome) -> Outcome {
    let before = used()?;
    action()?;
    ensure("all is refunded", used()? == before)
}

pub(crate) fn asked() -> Outcome {
    let mut control = Control::new()?;
    charged_back(|| {
        // Accepted, refused, and asked again, in each form.
        let shared = there(place(FIRST)?.connect(owner(), WRITE, 4096))?;
        equal("its words", shared.len() as u64, 512)?;
        drop(shared);
        let no = NotConnected::Refused;
        let place_again = failed(place(FIRST)?.connect(owner(), REFUSED, 0), no)?;
        let place_again = failed(in_time(ask(place_again, REFUSED)?.wait_until(long())), no)?;
        let place_again = failed(block_on(ask(place_again, REFUSED)?.answered()), no)?;
        let shared = there(in_time(ask(place_again, WRITE)?.wait_until(long())))?;
        drop(shared);
        let reader = there(block_on(ask(place(FIRST)?, READ)?.answered()))?;
        ensure("only for reading", reader.words().is_none())?;
        // Nobody may be asked that the description does not name.
        match place(SECOND)?.connect(63, READ, 0) {
            Err((_, NotConnected::NotAsked(why))) => {
                equal("why", why.code as u64, Status::NotPermitted.code() as u64)?;
            }
            _ => return Err(NO),
        }
        drop(reader);
        // No answer in time: more often than requests can wait, so that each was withdrawn.
        for _ in 0..6 {
            let asking = ask(place(FIRST)?, KEEP)?;
            let asking = open(asking.wait_until(Ticks::from_now_us(SHORT_US)))?;
            drop(open(asking.answer())?);
        }
        for _ in 0..6 {
            let mut asking = pin!(ask(place(FIRST)?, KEEP)?.answered());
            let look = poll_fn(|context| Poll::Ready(asking.as_mut().poll(context).is_pending()));
            ensure("not answered", block_on(look))?;
        }
        Ok(())
    })?;
    control.tell(WITHDRAW, 0, 0)?;
    control.leave()
}

pub(crate) fn ended() -> Outcome {
    let mut control = Control::new()?;
    charged_back(|| {
        let mut empty = place(FIRST)?;
        for form in 0..3 {
            let shared = there(empty.connect(owner(), WRITE, 4096))?;
            ensure("nothing yet", shared.try_end().is_none())?;
            let none = shared.end_until(Ticks::from_now_us(SHORT_US));
            ensure("nothing in time", none.is_none())?;
            control.begin(REVOKE, 0, 0)?;
            ensure("taken back", waited(&shared, form) == Some(End::TakenBack))?;
            control.end()?;
            empty = shared.into_attachment().map_err(|_| NO)?;
        }
        for form in 0..3 {
            let shared = there(empty.connect(owner(), WRITE, 4096))?;
            control.begin(LEAVE, 0, 0)?;
            ensure("left", waited(&shared, form) == Some(End::OwnerLeft))?;
            control.end()?;
            ensure("it is still there", shared.load(0).is_some())?;
            let shared = shared.into_attachment().err().ok_or(NO)?;
            drop(shared);
            empty = place(FIRST)?;
        }
        Ok(())
    })?;
    control.leave()
}

/// The end of sharing, waited for in this form.
fn waited(shared: &Shared, form: u32) -> Option<End> {
    match form {
        0 => Some(shared.end()),
        1 => shared.end_until(long()),
        _ => Some(block_on(shared.ended())),
    }
}

/// The owner ends with a request that it would never answer, and with an area that is shared.
pub(crate) fn owner_ends() -> Outcome {
    for form in 0..3 {
        charged_back(|| {
            let mut control = Control::new()?;
            let shared = there(place(FIRST)?.connect(owner(), WRITE, 4096))?;
            let asking = ask(place(SECOND)?, KEEP)?;
            control.begin(END, 0, 0)?;
            let answer = match form {
                0 => asking.wait(),
                1 => in_time(asking.wait_until(long())),
                _ => block_on(asking.answered()),
            };
            drop(failed(answer, NotConnected::PeerGone)?);
            ensure("left", waited(&shared, form) == Some(End::OwnerLeft))?;
            ensure("it is still there", shared.load(0).is_some())?;
            drop(shared);
            take_events();
            set(control.word(COMMAND), 1)?;
            control.leave()
        })?;
    }
    Ok(())
}

pub(crate) fn typed() -> Outcome {
    let mut control = Control::new()?;
    charged_back(|| {
        let shared = there(place(FIRST)?.connect(owner(), WRITE, 4096))?;
        let words = shared.words().ok_or(NO)?;
        words.get(3).ok_or(NO)?.store(42, Ordering::Release);
        equal("the owner sees it", control.tell(LOOK, 24, 0)?, 42)?;
        control.tell(PUT, 24, 43)?;
        equal("we see it", shared.load(3).ok_or(NO)?, 43)?;
        ensure("there is no more", shared.load(512).is_none())?;
        ensure("its owner is there", shared.try_end().is_none())?;
        let at = Ipa(core::ptr::from_ref(words).addr() as u64 - VIEW + WINDOWS.0);
        drop(shared);
        ensure("a load faults", read(at).is_err())?;
        control.tell(WITHDRAW, 0, 0)?;
        // An offer of our own.
        let area = made(message::alloc(4096, AreaClass::Page))?;
        // SAFETY: the guest has no reference to it.
        let offer = made(unsafe { Offer::new(view(), area.handle, None) })?;
        offer.words().first().ok_or(NO)?.store(1, Ordering::Release);
        equal("its word", word(area.address)?, 1)?;
        let revoked = calls::revoke(area.handle, owner());
        refused("nobody uses it", revoked, Status::PeerGone)?;
        let area = made(offer.withdraw().map_err(|(_, refusal)| refusal))?;
        // SAFETY: as above.
        drop(made(unsafe { Offer::new(view(), area, None) })?);
        refused("left to nobody", message::info(area), Status::NotOwner)
    })?;
    control.leave()
}
