//! The steps of a side, each a single call or access, and what it means for each that the peer is gone.

use core::sync::atomic::Ordering;

use shikiri_abi::{AreaClass, Ipa, Status};
use shikiri_rt::hvc::message;
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::hvc::talk::{self, Handle, Sharing};
use shikiri_rt::{gic, platform, reg, timer};
use shikiri_test_guests::complete::number;
use shikiri_test_guests::points::{Side, Step};
use shikiri_test_guests::port::{Message, Port, made, read, refused, set, word};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::taken;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::player::Enough;
use crate::told::{self, EVENT, EVENTS, NOTICE, NOTICES};
use crate::{pause, wait};

const CLASS: AreaClass = AreaClass::Block;
/// What is made, what of that stays when its tail is split off, and of that when it is trimmed: each is some calls to make, to
/// take off, and to free.
const BYTES: u64 = 400 << 12;
const LESS: u64 = 300 << 12;
const LEAST: u64 = 200 << 12;
const SLOTS: u16 = 2;
/// A handle that nobody has.
const NONE: Handle = Handle(0);
/// A partition that nobody is.
const NOBODY: u8 = 60;
/// What the client writes; the server adds 1.
const WORD: u64 = 0x1234;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Yes,
    PeerGone,
}

/// A side in the middle of its steps.
pub(crate) struct Player<'q> {
    side: Side,
    pub(crate) enough: Enough<'q>,
    events: Option<Handle>,
    notice: Option<Handle>,
    port: Option<Port>,
    request: Option<Handle>,
    area: Option<(Handle, Ipa)>,
    making: u64,
    /// What was split off, as far as it has been.
    tail: u64,
    /// What that was when it was freed.
    freed: Handle,
    message: Option<Message>,
    has_asked: bool,
    was_connected: bool,
    /// Events that had come before anything could end, or before the last request.
    before: u64,
    /// Control signals that were told before the next one is taken.
    noticed: u64,
    /// Events that had come when there was no room.
    full_at: u64,
    /// When it was told that its peer has closed the port, or ended, where that is a step.
    told_at: Option<u64>,
}

impl<'q> Player<'q> {
    pub(crate) fn new(side: Side, enough: Enough<'q>) -> Self {
        told::watch(None);
        Self {
            side,
            enough,
            events: None,
            notice: None,
            port: None,
            request: None,
            area: None,
            making: 0,
            tail: 0,
            freed: NONE,
            message: None,
            has_asked: false,
            was_connected: false,
            before: EVENTS.load(Ordering::Acquire),
            noticed: NOTICES.load(Ordering::Acquire),
            full_at: 0,
            told_at: None,
        }
    }

    pub(crate) const fn side(&self) -> Side {
        self.side
    }

    fn port(&mut self) -> Result<&mut Port, Failure> {
        self.port.as_mut().ok_or(Failure { what: "no port", got: 0, want: 1 })
    }

    fn area(&self) -> Result<(Handle, Ipa), Failure> {
        self.area.ok_or(Failure { what: "no area", got: 0, want: 1 })
    }

    /// Does a step.
    pub(crate) fn step(&mut self, step: Step) -> Result<Done, Failure> {
        match step {
            Step::CreateReceive => self.events = Some(made(talk::create_receive())?),
            Step::Bind => {
                let events = self.events.unwrap_or(NONE);
                made(talk::bind(events, EVENT, 0, Sharing::Alone))?;
                gic::enable(EVENT);
            }
            Step::CreatePort => {
                let events = self.events.unwrap_or(NONE);
                let port = made(message::create(events, SLOTS, CLASS))?;
                told::watch(Some(port.arrivals));
                self.port = Some(Port::around(port, events));
            }
            Step::ConnectToNobody => {
                let asked = message::connect(self.port()?.handle, NOBODY, 0, 0);
                refused("a partition", asked, Status::NotPermitted)?;
            }
            Step::Connect => {
                let server = platform::number_of("server").unwrap_or(0) as u8;
                let done = unless_gone(message::connect(self.port()?.handle, server, 0, 0))?;
                self.has_asked = done == Done::Yes;
                return Ok(done);
            }
            Step::CreateNotice => self.notice = Some(made(talk::create_receive())?),
            Step::BindNotice => {
                let notice = self.notice.unwrap_or(NONE);
                made(talk::bind(notice, NOTICE, 0, Sharing::Alone))?;
                gic::enable(NOTICE);
            }
            Step::NotifySignals => made(talk::notify(self.notice.unwrap_or(NONE)))?,
            Step::TakeSignal => return self.take_signal(),
            Step::Refuse => made(talk::refuse(self.request.take().unwrap_or(NONE)))?,
            Step::AwaitRefusal => return self.await_refusal(),
            Step::AcceptWithWrongPort => {
                let accepted = message::accept(self.request.unwrap_or(NONE), NONE);
                refused("a port", accepted, Status::BadHandle)?;
            }
            Step::Accept => return self.accept(),
            Step::AwaitConnection => return self.await_connection(),
            Step::Post => self.port()?.offer(1)?,
            Step::Notify => return unless_gone(message::notify(self.port()?.handle)),
            Step::AllocTooLarge => {
                let too_large = (CLASS.pages().0 + 1) << 12;
                refused("too large", message::alloc(too_large, CLASS), Status::Range)?;
            }
            Step::AllocOverLimit => {
                refused("no place", message::alloc(BYTES, AreaClass::Giant), Status::OverLimit)?;
            }
            Step::AllocBegin | Step::AllocMore => ensure("it takes more steps", !self.alloc()?)?,
            Step::AllocAll => while !self.alloc()? {},
            Step::SplitBegin => ensure("it takes more steps", !self.split()?)?,
            Step::SplitAll => while !self.split()? {},
            Step::FreeTailBegin => ensure("it takes more steps", !self.free_tail()?)?,
            Step::FreeTailAll => while !self.free_tail()? {},
            Step::TrimBegin => ensure("it takes more steps", !self.trim()?)?,
            Step::TrimAll => while !self.trim()? {},
            Step::Write => {
                let (_, address) = self.area()?;
                set(address, WORD + u64::from(self.side == Side::Server))?;
            }
            Step::SendByWrongPort => {
                let sent = taken::send(NONE, Some((self.area()?.0, 8)), [1, 2, 3]);
                refused("by a port", sent, Status::BadHandle)?;
            }
            Step::SendNotOwned => {
                let freed = self.freed;
                let sent = taken::send(self.port()?.handle, Some((freed, 8)), [1, 2, 3]);
                return unless_gone_refused("an area", sent, Status::NotOwner);
            }
            Step::SendTooMuch => {
                let area = self.area()?.0;
                let sent = taken::send(self.port()?.handle, Some((area, LEAST + 1)), [1, 2, 3]);
                return unless_gone_refused("bytes", sent, Status::Range);
            }
            Step::SendFull => {
                self.full_at = EVENTS.load(Ordering::Acquire);
                let sent = taken::send(self.port()?.handle, None, [7, 8, 9]);
                return unless_gone_refused("a credit", sent, Status::Full);
            }
            Step::AwaitRoom => {
                return self.until("no room", |player| {
                    Ok(EVENTS.load(Ordering::Acquire) > player.full_at)
                });
            }
            Step::AwaitStarved => {
                return self.until("nobody starves", |player| player.port()?.is_starved());
            }
            Step::Send => return self.send(),
            Step::SendShort => {
                let handle = self.port()?.handle;
                return self.until_room(|| taken::send(handle, None, [7, 8, 9]));
            }
            Step::AwaitMessage => return self.await_message(),
            Step::Info => {
                let (area, address) = self.area()?;
                let info = made(message::info(area))?;
                equal("where it is", info.address.0, address.0)?;
                equal("its pages", info.pages.0, LEAST >> 12)?;
            }
            Step::Read => {
                let (_, address) = self.area()?;
                let wanted = WORD + u64::from(self.side == Side::Client);
                equal("what was written", word(address)?, wanted)?;
            }
            Step::Keep => made(message::keep(self.area()?.0))?,
            Step::FreeBegin => ensure("it takes more steps", !self.free()?)?,
            Step::FreeAll => while !self.free()? {},
            Step::AwaitClose => return self.await_close(),
            Step::ClosePort => self.close_port()?,
            Step::CloseReceive => {
                let events = self.events.take().unwrap_or(NONE);
                made(talk::close(events)).map(|_| ())?;
            }
            Step::CloseNotice => made(talk::close(self.notice.take().unwrap_or(NONE)))?,
        }
        Ok(Done::Yes)
    }

    /// Waits for something, as long as there is a peer that can do it.
    fn until(
        &mut self,
        what: &'static str,
        mut condition: impl FnMut(&mut Self) -> Result<bool, Failure>,
    ) -> Result<Done, Failure> {
        let end = reg::now() + timer::ticks(60_000_000);
        loop {
            if condition(self)? {
                return Ok(Done::Yes);
            }
            let is_lost = self.was_connected && !self.port()?.is_connected()?;
            if is_lost || self.enough.look()? {
                // What came before the peer went has come.
                let is_there = condition(self)?;
                return Ok(if is_there { Done::Yes } else { Done::PeerGone });
            }
            if reg::now() > end {
                return Err(Failure { what, got: 0, want: 1 });
            }
            pause();
        }
    }

    fn take_signal(&mut self) -> Result<Done, Failure> {
        let done = self.until("no signal", |player| {
            player.request = talk::take_signal().ok().map(|signal| signal.request);
            Ok(player.request.is_some())
        })?;
        if done == Done::Yes {
            let noticed = self.noticed;
            wait("told of it", || Ok(NOTICES.load(Ordering::Acquire) > noticed))?;
            self.noticed = NOTICES.load(Ordering::Acquire);
        }
        Ok(done)
    }

    /// Waits until the request is refused, and is told so.
    fn await_refusal(&mut self) -> Result<Done, Failure> {
        let done = self.until("no refusal", |player| {
            let sent = taken::send(player.port()?.handle, None, [0; 3]);
            let why = sent.err().and_then(|refusal| refusal.status());
            ensure("not connected", why.is_some())?;
            Ok(why == Some(Status::Refused))
        })?;
        if done == Done::Yes {
            let before = self.before;
            wait("told of it", || Ok(EVENTS.load(Ordering::Acquire) > before))?;
            self.before = EVENTS.load(Ordering::Acquire);
            self.has_asked = false;
        }
        Ok(done)
    }

    fn accept(&mut self) -> Result<Done, Failure> {
        let request = self.request.unwrap_or(NONE);
        let done = unless_gone(message::accept(request, self.port()?.handle))?;
        if done == Done::Yes {
            self.request = None;
            self.was_connected = true;
        }
        Ok(done)
    }

    fn await_connection(&mut self) -> Result<Done, Failure> {
        let done = self.until("no connection", |player| player.port()?.is_connected())?;
        self.was_connected = done == Done::Yes;
        Ok(done)
    }

    fn await_message(&mut self) -> Result<Done, Failure> {
        let done = self.until("no message", |player| {
            player.message = player.port()?.receive()?;
            Ok(player.message.is_some())
        })?;
        if let Some(Message { area: Some(area), address, .. }) = self.message.take() {
            self.area = Some((area, address));
        }
        Ok(done)
    }

    fn await_close(&mut self) -> Result<Done, Failure> {
        let done =
            self.until("the client's close", |player| Ok(!player.port()?.is_connected()?))?;
        if done == Done::Yes {
            // The client's core may be between the page and the event.
            wait("told of it", || Ok(told::has_seen_it_go()))?;
            self.told_at = Some(told::of_an_end()?);
        }
        self.was_connected = false;
        Ok(done)
    }

    fn send(&mut self) -> Result<Done, Failure> {
        let (area, address) = self.area()?;
        let handle = self.port()?.handle;
        let done = self.until_room(|| taken::send(handle, Some((area, 8)), [1, 2, 3]))?;
        if done == Done::Yes {
            self.area = None;
            refused("info", message::info(area), Status::NotOwner)?;
            // What comes to the server may come to the same slot.
            ensure("it is gone", self.side == Side::Server || read(address).is_err())?;
        } else {
            // Nothing has happened to it.
            word(address).map(|_| ())?;
        }
        Ok(done)
    }

    fn until_room(&mut self, send: impl Fn() -> Result<(), Refusal>) -> Result<Done, Failure> {
        let mut done = Done::PeerGone;
        let waited = self.until("no room", |_| match send() {
            Err(refusal) if refusal.status() == Some(Status::Full) => Ok(false),
            other => {
                done = unless_gone(other)?;
                Ok(true)
            }
        })?;
        Ok(if waited == Done::Yes { done } else { Done::PeerGone })
    }

    /// One step of making the area; true if it is complete.
    fn alloc(&mut self) -> Result<bool, Failure> {
        let answer = taken::step::<ALLOC>([BYTES, u64::from(CLASS.code()), self.making, 0]);
        let [_, handle, address, _] = answer;
        let is_done = taken::is_last("alloc", answer)?;
        if is_done {
            self.area = Some((Handle(handle), Ipa(address)));
        }
        self.making = if is_done { 0 } else { handle };
        Ok(is_done)
    }

    /// One step of making its tail an area.
    fn split(&mut self) -> Result<bool, Failure> {
        let (Handle(area), _) = self.area()?;
        let answer = taken::step::<SPLIT>([area, LESS, u64::from(CLASS.code()), self.tail]);
        let is_done = taken::is_last("split", answer)?;
        self.tail = answer[1];
        Ok(is_done)
    }

    /// One step of freeing what was split off.
    fn free_tail(&mut self) -> Result<bool, Failure> {
        self.freed = Handle(self.tail);
        let is_done = taken::is_last("free the tail", taken::step::<FREE>([self.tail, 0, 0, 0]))?;
        if is_done {
            self.tail = 0;
        }
        Ok(is_done)
    }

    /// One step of making it shorter.
    fn trim(&self) -> Result<bool, Failure> {
        let (Handle(area), _) = self.area()?;
        taken::is_last("trim", taken::step::<TRIM>([area, LEAST, 0, 0]))
    }

    /// One step of freeing it; true if nothing is left.
    fn free(&mut self) -> Result<bool, Failure> {
        let (Handle(area), address) = self.area()?;
        let answer = taken::step::<FREE>([area, 0, 0, 0]);
        ensure("it faults", read(address).is_err())?;
        let is_done = taken::is_last("free", answer)?;
        if is_done {
            self.area = None;
        }
        Ok(is_done)
    }

    /// Closes the port, having read what has come.
    fn close_port(&mut self) -> Outcome {
        let Some(mut port) = self.port.take() else { return Ok(()) };
        self.was_connected = false;
        told::watch(None);
        while let Some(message) = port.receive()? {
            if let Some(area) = message.area {
                made(taken::free(area))?;
            }
        }
        made(taken::close(port.handle))
    }

    /// The peer has ended, and lives again: it must have been told by now. When it was, if it had to be.
    pub(crate) fn check_told(&self) -> Result<Option<u64>, Failure> {
        let Some(port) = &self.port else { return Ok(self.told_at) };
        ensure("connected to nobody", !port.is_connected()?)?;
        let answer = taken::send(port.handle, None, [0; 3]).err();
        let is_gone = answer.and_then(|refusal| refusal.status()) == Some(Status::PeerGone);
        if self.was_connected {
            ensure("the peer is gone", is_gone)?;
            return told::of_an_end().map(Some);
        }
        // Who has asked and was never connected has heard of nothing else. A peer that was away when it was asked tells nothing.
        if is_gone && self.has_asked {
            return told::of_anything_since(self.before).map(Some);
        }
        Ok(None)
    }

    /// Gives back what there is at any step.
    pub(crate) fn give_all_back(&mut self) -> Outcome {
        if let Some(request) = self.request.take() {
            made(talk::refuse(request))?;
        }
        self.close_port()?;
        if self.making != 0 {
            made(taken::free(Handle(self.making)))?;
            self.making = 0;
        }
        if self.tail != 0 {
            made(taken::free(Handle(self.tail)))?;
            self.tail = 0;
        }
        if let Some((area, _)) = self.area.take() {
            made(taken::free(area))?;
        }
        for port in [self.events.take(), self.notice.take()].into_iter().flatten() {
            made(talk::close(port))?;
        }
        Ok(())
    }
}

const ALLOC: u16 = number("AREA_ALLOC");
const FREE: u16 = number("AREA_FREE");
const SPLIT: u16 = number("AREA_SPLIT");
const TRIM: u16 = number("AREA_TRIM");

/// What must be done unless the peer is gone.
fn unless_gone<T>(result: Result<T, Refusal>) -> Result<Done, Failure> {
    match result {
        Err(refusal) if refusal.status() == Some(Status::PeerGone) => Ok(Done::PeerGone),
        other => made(other).map(|_| Done::Yes),
    }
}

/// What must be refused in this way unless the peer is gone.
fn unless_gone_refused<T>(
    what: &'static str,
    result: Result<T, Refusal>,
    want: Status,
) -> Result<Done, Failure> {
    match result {
        Err(refusal) if refusal.status() == Some(Status::PeerGone) => Ok(Done::PeerGone),
        other => refused(what, other, want).map(|()| Done::Yes),
    }
}
