//! The steps of a side, each a single call or access, and what it means for each that the peer is gone.
#![expect(unsafe_code, reason = "makes the calls that take several steps one by one")]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shikiri_abi::channel::{CONNECTED, STATE};
use shikiri_abi::smccc::VENDOR_HYP_FAST64;
use shikiri_abi::{AreaClass, Ipa, Status};
use shikiri_rt::hvc::partition::Refusal;
use shikiri_rt::hvc::talk::{self, Handle, Sharing};
use shikiri_rt::hvc::{message, raw};
use shikiri_rt::{gic, platform, reg, timer};
use shikiri_test_guests::points::{Side, Step};
use shikiri_test_guests::port::{Message, Port, made, read, refused, set, view, wait, word};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::player::Enough;
use shikiri_test_guests::taken;

const EVENT: u32 = 65;
/// The interrupt for control signals.
const NOTICE: u32 = 66;
const CLASS: AreaClass = AreaClass::Block;
/// Some calls to make, some to free.
const BYTES: u64 = 200 << 12;
const SLOTS: u16 = 2;
/// What the client writes; the server adds 1.
const WORD: u64 = 0x1234;

static EVENTS: AtomicU64 = AtomicU64::new(0);
static NOTICES: AtomicU64 = AtomicU64::new(0);
/// The header of the port at which is told, or 0; and whether it said, when something was told, that the peer has gone.
static HEADER: AtomicU64 = AtomicU64::new(0);
static SAW_IT_GO: AtomicBool = AtomicBool::new(false);

/// The interrupt handler: looks at once, as an event says.
pub(crate) fn count(intid: u32) {
    if intid == NOTICE {
        NOTICES.fetch_add(1, Ordering::Release);
        return;
    }
    EVENTS.fetch_add(1, Ordering::Release);
    let header = HEADER.load(Ordering::Relaxed);
    if header != 0 {
        let header = core::ptr::with_exposed_provenance::<u64>(header as usize);
        let header = header.wrapping_add(STATE);
        // SAFETY: the page is there as long as its address stands in `HEADER`.
        let state = unsafe { header.read_volatile() };
        // It has had a peer, and has none.
        SAW_IT_GO.fetch_or(state != 0 && state & CONNECTED == 0, Ordering::Release);
    }
}

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
    message: Option<Message>,
    has_asked: bool,
    was_connected: bool,
    /// Events that had come before anything could end, or before the last request.
    before: u64,
    /// Control signals that were told before the next one is taken.
    noticed: u64,
}

impl<'q> Player<'q> {
    pub(crate) fn new(side: Side, enough: Enough<'q>) -> Self {
        SAW_IT_GO.store(false, Ordering::Relaxed);
        Self {
            side,
            enough,
            events: None,
            notice: None,
            port: None,
            request: None,
            area: None,
            making: 0,
            message: None,
            has_asked: false,
            was_connected: false,
            before: EVENTS.load(Ordering::Acquire),
            noticed: NOTICES.load(Ordering::Acquire),
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
                let events = self.events.unwrap_or(Handle(0));
                made(talk::bind(events, EVENT, 0, Sharing::Alone))?;
                gic::enable(EVENT);
            }
            Step::CreatePort => {
                let events = self.events.unwrap_or(Handle(0));
                let port = made(message::create(events, SLOTS, CLASS))?;
                HEADER.store(view(port.arrivals), Ordering::Relaxed);
                self.port = Some(Port::around(port, events));
            }
            Step::Connect => {
                let server = platform::number_of("server").unwrap_or(0) as u8;
                let done = unless_gone(message::connect(self.port()?.handle, server, 0, 0))?;
                self.has_asked = done == Done::Yes;
                return Ok(done);
            }
            Step::CreateNotice => self.notice = Some(made(talk::create_receive())?),
            Step::BindNotice => {
                let notice = self.notice.unwrap_or(Handle(0));
                made(talk::bind(notice, NOTICE, 0, Sharing::Alone))?;
                gic::enable(NOTICE);
            }
            Step::NotifySignals => made(talk::notify(self.notice.unwrap_or(Handle(0))))?,
            Step::TakeSignal => return self.take_signal(),
            Step::Refuse => made(talk::refuse(self.request.take().unwrap_or(Handle(0))))?,
            Step::AwaitRefusal => return self.await_refusal(),
            Step::Accept => return self.accept(),
            Step::AwaitConnection => return self.await_connection(),
            Step::Post => self.port()?.post(1)?,
            Step::Notify => return unless_gone(message::notify(self.port()?.handle)),
            Step::AllocBegin | Step::AllocMore => ensure("it takes more steps", !self.alloc()?)?,
            Step::AllocAll => while !self.alloc()? {},
            Step::Split => {
                let (area, _) = self.area()?;
                let tail = made(taken::split(area, BYTES / 4 * 3, CLASS))?;
                made(taken::free(tail.handle))?;
            }
            Step::Trim => made(taken::trim(self.area()?.0, BYTES / 2))?,
            Step::Write => {
                let (_, address) = self.area()?;
                set(address, WORD + u64::from(self.side == Side::Server))?;
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
                equal("its pages", info.pages.0, (BYTES / 2) >> 12)?;
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
                let events = self.events.take().unwrap_or(Handle(0));
                made(talk::close(events)).map(|_| ())?;
            }
            Step::CloseNotice => made(talk::close(self.notice.take().unwrap_or(Handle(0))))?,
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
            reg::yield_now();
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
        let request = self.request.unwrap_or(Handle(0));
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
        let [status, handle, address, _] =
            call(0x20, [BYTES, u64::from(CLASS.code()), self.making]);
        match status_of(status) {
            None => {
                self.making = 0;
                self.area = Some((Handle(handle), Ipa(address)));
                Ok(true)
            }
            Some(Status::Again) if handle != 0 => {
                self.making = handle;
                Ok(false)
            }
            _ => Err(Failure { what: "alloc", got: status, want: 0 }),
        }
    }

    /// One step of freeing it; true if nothing is left.
    fn free(&mut self) -> Result<bool, Failure> {
        let (Handle(area), address) = self.area()?;
        let [status, ..] = call(0x21, [area, 0, 0]);
        ensure("it faults", read(address).is_err())?;
        match status_of(status) {
            None => {
                self.area = None;
                Ok(true)
            }
            Some(Status::Again) => Ok(false),
            _ => Err(Failure { what: "free", got: status, want: 0 }),
        }
    }

    /// Closes the port, having read what has come.
    fn close_port(&mut self) -> Outcome {
        let Some(mut port) = self.port.take() else { return Ok(()) };
        self.was_connected = false;
        HEADER.store(0, Ordering::Relaxed);
        while let Some(message) = port.receive()? {
            if let Some(area) = message.area {
                made(taken::free(area))?;
            }
        }
        made(taken::close(port.handle))
    }

    /// The peer has ended, and lives again: it must have been told by now.
    pub(crate) fn check_told(&mut self) -> Outcome {
        let was_connected = self.was_connected;
        let Some(port) = &self.port else { return Ok(()) };
        ensure("connected to nobody", !port.is_connected()?)?;
        let handle = port.handle;
        let answer = taken::send(handle, None, [0; 3]).err().and_then(|refusal| refusal.status());
        let is_gone = answer == Some(Status::PeerGone);
        if was_connected {
            ensure("the peer is gone", is_gone)?;
            return wait("told", || Ok(SAW_IT_GO.load(Ordering::Acquire)));
        }
        // Who has asked and was never connected has heard of nothing else. A peer that was away when it was asked tells nothing.
        let before = self.before;
        let was_asked = is_gone && self.has_asked;
        wait("told", || Ok(!was_asked || EVENTS.load(Ordering::Acquire) > before))
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
        if let Some((area, _)) = self.area.take() {
            made(taken::free(area))?;
        }
        for port in [self.events.take(), self.notice.take()].into_iter().flatten() {
            made(talk::close(port))?;
        }
        Ok(())
    }
}

/// Why a call was refused; `None` if it was not.
fn status_of(x0: u64) -> Option<Status> {
    if x0 == 0 { None } else { Refusal { code: x0.cast_signed(), which: 0 }.status() }
}

/// A call of the hypervisor's own.
fn call(number: u64, [a, b, c]: [u64; 3]) -> raw::Results {
    // SAFETY: the two calls take and give areas, which Rust knows nothing of.
    unsafe { raw::hvc(u64::from(VENDOR_HYP_FAST64) + number, [a, b, c, 0, 0, 0]) }
}

/// What must be done unless the peer is gone.
fn unless_gone<T>(result: Result<T, Refusal>) -> Result<Done, Failure> {
    match result {
        Err(refusal) if refusal.status() == Some(Status::PeerGone) => Ok(Done::PeerGone),
        other => made(other).map(|_| Done::Yes),
    }
}
