//! Message ports that are not connected yet, and connecting them.
#![expect(unsafe_code, reason = "closing a port takes its pages away")]

use core::future::poll_fn;
use core::task::Waker;

use shikiri_abi::{AreaClass, Status};
use shikiri_arrivals::{Pages, Receiver};
use shikiri_hvc::message;
use shikiri_hvc::partition::Refusal;
use shikiri_hvc::talk::{Handle, Sharing};
use shikiri_rt::event::{Bound, NotConnected, ReceivePort, Receiving as _, Told};
use shikiri_rt::seat::Seat;
use shikiri_rt::sleep::Ticks;
use shikiri_rt::{gic, reg};

use crate::area::Area;
use crate::channel::Channel;
use crate::executor;
use crate::table::{self, Home, Open, Wakers};
use crate::wait::Next;
use crate::windows::{Page, Windows};

/// What can come to a port. All of it is charged to this partition when the port is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The class of all areas that can come.
    pub class: AreaClass,
    /// How many areas can be here at a time, up to 60; none for short messages only.
    pub slots: u16,
    /// How many messages can wait, with areas or without: 1 to 63, the nearest of these otherwise.
    pub depth: u8,
}

impl Window {
    /// So many slots of this class, and the most messages.
    #[must_use]
    pub const fn of(class: AreaClass, slots: u16) -> Self {
        Self { class, slots, depth: 63 }
    }

    /// No areas, and the most messages.
    #[must_use]
    pub const fn of_short_messages() -> Self {
        Self::of(AreaClass::Page, 0)
    }

    /// With at most so many messages that wait: 1 to 63, the nearest of these otherwise.
    #[must_use]
    pub const fn depth(self, depth: u8) -> Self {
        Self { depth, ..self }
    }
}

/// A port, whatever its state. It is closed when it goes.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) windows: Windows,
    /// The class of what comes.
    pub(crate) class: AreaClass,
    pub(crate) handle: Handle,
    pub(crate) home: Home,
    /// Its two pages; they are there until it is dropped.
    arrivals: Page,
    credits: Page,
    // Closed after the port, of which it tells.
    events: Bound,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.drain();
        self.home.remove();
        // SAFETY: its pages are in no row any more.
        let _closed = unsafe { message::close(self.handle) };
        table::disown(self.events.intid());
    }
}

impl Told for Owned {
    #[inline]
    fn seat(&self) -> Seat {
        self.events.seat()
    }

    fn register(&self, waker: &Waker) {
        self.home.register(waker);
    }
}

impl Owned {
    /// Whether no interrupt tells of a message.
    #[inline]
    pub(crate) fn polls(&self) -> bool {
        self.pages().polls()
    }

    /// The next message.
    #[inline]
    pub(crate) fn next(&self) -> Next<'_> {
        Next::of(self.pages())
    }

    /// Sleeps until it has come, or a shorter time; as [`Next::doze`].
    #[inline]
    pub(crate) fn doze(&self) {
        if self.polls() { self.next().doze() } else { reg::wfi() }
    }

    /// Whether a peer waits for room.
    #[inline]
    pub(crate) fn is_starved(&self) -> bool {
        self.pages().is_starved()
    }

    #[inline]
    fn pages(&self) -> Pages<'_> {
        Pages { arrivals: self.arrivals.words(), credits: self.credits.words() }
    }

    /// Frees what has come and was not received: it would stay with the partition, and be nobody's.
    fn drain(&self) {
        if !self.home.withdraw() {
            return;
        }
        // A send that found a credit before has the port's lock until its message stands there; this call takes it. Who has gone has
        // nothing under way, and who comes now finds no credit.
        if self.home.peer().is_there {
            let _waited = message::notify(self.handle);
        }
        while let Some(parcel) = self.home.take_last() {
            drop(
                parcel.map(|parcel| Area::received((self.windows, self.class, self.home), &parcel)),
            );
        }
    }
}

/// A message port that is not connected.
#[derive(Debug)]
pub struct Port(pub(crate) Owned);

/// A message port whose request was not answered yet. Dropped, the request is withdrawn.
#[derive(Debug)]
pub struct Asking {
    port: Owned,
    /// How many peers it had before.
    peers: u64,
}

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    /// Nothing yet.
    Open(Asking),
    /// It was accepted.
    Connected(Channel),
    /// It was not, and the port can ask again.
    NotConnected(Port, NotConnected),
}

impl Port {
    /// Makes a port with a window, whose events are the interrupt `intid` on this vCPU: an SPI that nothing else has.
    ///
    /// # Errors
    /// `NotSupported` if the partition has no areas; `OverLimit`, `NoMemory`, `InvalidParameter` for the window; `InvalidParameter` if `intid`
    /// is no SPI for events, `WrongState` if it is used otherwise; `OverLimit` if there are [`MAX_PORTS`](crate::MAX_PORTS) already; `Range`
    /// if the port's pages lie where the guest does not see them.
    pub fn new(windows: Windows, window: Window, intid: u32) -> Result<Self, Refusal> {
        let events = ReceivePort::new()?;
        let events = events.bind(intid, Sharing::Alone).map_err(|(_, refusal)| refusal)?;
        let message::Port { handle, arrivals, credits } =
            message::create(events.handle(), window.slots, window.class)?;
        let pages = || windows.page(arrivals).zip(windows.page(credits));
        let is_seen = pages().is_some();
        let open = pages().map(|(arrivals, credits)| {
            let (receiver, wakers) = (Receiver::new(window.depth), Wakers::new());
            Open { handle, arrivals, credits, receiver, wakers }
        });
        let (Some(home), Some((arrivals, credits))) = (open.and_then(table::insert), pages())
        else {
            // SAFETY: no row has its pages: without one it is of no use.
            let _closed = unsafe { message::close(handle) };
            let why = if is_seen { Status::OverLimit } else { Status::Range };
            return Err(Refusal { code: why.code(), which: 0 });
        };
        home.own(intid);
        home.post();
        gic::enable(intid);
        // By which `Channel::wake` reaches this vCPU from another one.
        executor::enable();
        Ok(Self(Owned { windows, class: window.class, handle, home, arrivals, credits, events }))
    }

    /// Asks the partition with this number (its place among the device tree's peers) to connect it: does not wait.
    ///
    /// # Errors
    /// [`NotConnected::NotAsked`], [`NotConnected::PeerGone`]; the port comes back.
    pub fn ask(
        self,
        partition: u8,
        service: u32,
        word: u64,
    ) -> Result<Asking, (Self, NotConnected)> {
        let peers = self.0.home.peer().count;
        match message::connect(self.0.handle, partition, service, word) {
            Ok(()) => Ok(Asking { port: self.0, peers }),
            Err(refusal) => Err((self, refusal.into())),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`NotConnected`]; the port comes back.
    pub fn connect(
        self,
        partition: u8,
        service: u32,
        word: u64,
    ) -> Result<Channel, (Self, NotConnected)> {
        self.ask(partition, service, word)?.wait()
    }

    /// Its handle in calls.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        self.0.handle
    }
}

impl Asking {
    /// Looks for the answer.
    #[must_use]
    pub fn answer(self) -> Answer {
        match self.look() {
            None => Answer::Open(self),
            Some(Ok(())) => Answer::Connected(Channel(self.port)),
            Some(Err(why)) => Answer::NotConnected(Port(self.port), why),
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`NotConnected`]; the port comes back.
    pub fn wait(self) -> Result<Channel, (Port, NotConnected)> {
        let answer = self.port.seat().until_there(|| self.look());
        self.end(answer)
    }

    /// Waits for the answer; [`Answer::Open`] if there was none in time.
    #[must_use]
    pub fn wait_until(self, deadline: Ticks) -> Answer {
        let _answer = self.port.seat().until(deadline, || self.look());
        self.answer()
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`NotConnected`]; the port comes back.
    pub async fn answered(self) -> Result<Channel, (Port, NotConnected)> {
        let answer = poll_fn(|context| self.port.poll_for(context, || self.look())).await;
        self.end(answer)
    }

    fn end(self, answer: Result<(), NotConnected>) -> Result<Channel, (Port, NotConnected)> {
        match answer {
            Ok(()) => Ok(Channel(self.port)),
            Err(why) => Err((Port(self.port), why)),
        }
    }

    /// The answer, if there is one. A peer that has come and gone again has accepted.
    fn look(&self) -> Option<Result<(), NotConnected>> {
        let has_come = || self.port.home.peer().count != self.peers;
        if has_come() {
            return Some(Ok(()));
        }
        // The page tells of peers only. This call does nothing to a port that nobody waits for, and says how it stands.
        let state = message::notify(self.port.handle);
        if has_come() {
            return Some(Ok(()));
        }
        match state {
            Ok(()) => None,
            Err(refusal) if refusal.status() == Some(Status::WrongState) => None,
            Err(refusal) => Some(Err(refusal.into())),
        }
    }
}
