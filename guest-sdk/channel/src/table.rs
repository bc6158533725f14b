//! The ports of this guest: a fixed table, since nothing here allocates, and areas outlive the ports that they came to.
//!
//! A row's lock is held for a look at the two pages, never during a call. Who is to be woken is taken out under it and woken after.

use core::num::NonZeroU8;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use core::task::Waker;

use shikiri_arrivals::{Arrival, Pages, Parcel, Peer, Receiver};
use shikiri_hvc::message;
use shikiri_hvc::talk::Handle;
use shikiri_rt::{Guard, Lock};

use crate::windows::Page;

/// The most ports at a time.
pub const MAX_PORTS: usize = 64;

/// The most futures that wait for one port; one more wakes another one, which asks again.
const MAX_WAKERS: usize = 8;

static ROWS: [Lock<Row>; MAX_PORTS] = [const { Lock::new(Row { life: 0, port: None }) }; MAX_PORTS];

/// How much has happened at each row's ports.
static MOMENTS: [AtomicU32; MAX_PORTS] = [const { AtomicU32::new(0) }; MAX_PORTS];

/// How often requests have been told.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// Whose an interrupt is: the row + 1, or [`LISTENER`]; 0 for nobody.
static OWNERS: [AtomicU8; 1024] = [const { AtomicU8::new(0) }; 1024];

/// The owner of the interrupt about requests.
const LISTENER: u8 = u8::MAX;

static LISTENERS: Lock<Wakers> = Lock::new(Wakers::new());

/// A place for a port.
#[derive(Debug)]
struct Row {
    /// How many ports have been here.
    life: u32,
    port: Option<Open>,
}

/// A port that is open.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) handle: Handle,
    pub(crate) arrivals: Page,
    pub(crate) credits: Page,
    pub(crate) receiver: Receiver,
    pub(crate) wakers: Wakers,
}

/// A port: its row, and which of those that have been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// The row + 1.
    row: NonZeroU8,
    life: u32,
}

/// What a look at a port's arrivals found.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) arrival: Option<Arrival>,
    pub(crate) peer: Peer,
    /// Whom to tell that there is room again.
    starved: Option<Handle>,
}

/// Puts a port into a free row; none if there is none.
pub(crate) fn insert(port: Open) -> Option<Home> {
    for (number, row) in (1_u8..).zip(&ROWS) {
        let mut place = row.lock();
        if let (None, Some(row)) = (&place.port, NonZeroU8::new(number)) {
            place.port = Some(port);
            place.life = place.life.wrapping_add(1);
            return Some(Home { row, life: place.life });
        }
    }
    None
}

/// The row with this number, counted from 1.
#[inline]
fn row(number: u8) -> Option<&'static Lock<Row>> {
    ROWS.get(usize::from(number).wrapping_sub(1))
}

impl Home {
    #[inline]
    fn row(self) -> Option<&'static Lock<Row>> {
        row(self.row.get())
    }

    /// The port, if it is still open.
    #[inline]
    fn with<R>(self, action: impl FnOnce(&mut Open) -> R) -> Option<R> {
        let mut row: Guard<'_, Row> = self.row()?.lock();
        if row.life != self.life {
            return None;
        }
        row.port.as_mut().map(action)
    }

    /// A number that changes with whatever happens at the port.
    pub(crate) fn moment(self) -> u32 {
        moment(self.row.get()).map_or(0, |moment| moment.load(Ordering::Acquire))
    }

    /// Something has happened: wakes the futures that wait.
    pub(crate) fn pass(self) {
        pass(self.row.get());
        self.with(|open| open.wakers.take()).into_iter().for_each(Wakers::wake);
    }

    /// Takes the port out, before it is closed: nothing looks at its pages any more.
    pub(crate) fn remove(self) {
        let waiting = self.row().and_then(|row| {
            let mut row = row.lock();
            if row.life == self.life { row.port.take() } else { None }
        });
        if let Some(open) = waiting {
            open.wakers.wake();
        }
    }

    /// Makes an interrupt this port's.
    pub(crate) fn own(self, intid: u32) {
        set_owner(intid, self.row.get());
    }

    /// Offers to take messages, for the first time.
    pub(crate) fn post(self) {
        self.with(|open| open.receiver.post(open.pages()));
    }

    /// Takes the next message, if it has come. A peer that waits is told that there is room.
    #[inline(always)]
    pub(crate) fn look(self) -> Option<Look> {
        let look = self.with(|open| {
            // In this order: what a peer sent is there when it is told that it has gone.
            let peer = open.peer();
            let Open { arrivals, credits, receiver, .. } = open;
            let pages = Pages { arrivals: arrivals.words(), credits: credits.words() };
            let arrival = receiver.take(pages);
            let is_starved = arrival.is_some() && pages.is_starved();
            Look { arrival, peer, starved: is_starved.then_some(open.handle) }
        })?;
        look.starved.into_iter().for_each(tell);
        Some(look)
    }

    /// Offers to take no more messages; false if the port is not open.
    pub(crate) fn withdraw(self) -> bool {
        self.with(|open| open.receiver.withdraw(open.pages())).is_some()
    }

    /// Takes the next message that has come, behind [`Home::withdraw`]: its area, if it has one.
    pub(crate) fn take_last(self) -> Option<Option<Parcel>> {
        self.with(|open| {
            let Open { arrivals, credits, receiver, .. } = open;
            let pages = Pages { arrivals: arrivals.words(), credits: credits.words() };
            receiver.take_last(pages).map(|arrival| arrival.parcel)
        })
        .flatten()
    }

    /// Says whether messages are polled for; futures that wait look again.
    pub(crate) fn set_polls(self, polls: bool) {
        let woken = self.with(|open| {
            open.pages().set_polls(polls);
            open.wakers.take()
        });
        woken.into_iter().for_each(Wakers::wake);
    }

    /// Who is at the other end.
    pub(crate) fn peer(self) -> Peer {
        self.with(|open| open.peer()).unwrap_or(Peer { is_there: false, count: 0 })
    }

    /// A slot of its window is vacant: a peer that waits is told.
    pub(crate) fn has_room(self) {
        let starved = self.with(|open| open.pages().is_starved().then_some(open.handle));
        starved.flatten().into_iter().for_each(tell);
    }

    /// Has whoever that is woken at the port's next event.
    pub(crate) fn register(self, waker: &Waker) {
        self.with(|open| open.wakers.add(waker)).flatten().into_iter().for_each(Waker::wake);
    }
}

impl Open {
    fn pages(&self) -> Pages<'_> {
        Pages { arrivals: self.arrivals.words(), credits: self.credits.words() }
    }

    fn peer(&self) -> Peer {
        self.pages().peer()
    }
}

/// Tells the peer of a port that there is room.
fn tell(port: Handle) {
    // It may have gone, or have been told by another vCPU.
    let _told = message::notify(port);
}

/// Makes an interrupt the listener's.
pub(crate) fn own_by_listener(intid: u32) {
    set_owner(intid, LISTENER);
}

/// Makes an interrupt nobody's.
pub(crate) fn disown(intid: u32) {
    set_owner(intid, 0);
}

fn set_owner(intid: u32, owner: u8) {
    let place = usize::try_from(intid).ok().and_then(|intid| OWNERS.get(intid));
    if let Some(place) = place {
        place.store(owner, Ordering::Release);
    }
}

/// Has whoever that is woken when a request comes.
pub(crate) fn register_for_requests(waker: &Waker) {
    let displaced = LISTENERS.lock().add(waker);
    displaced.into_iter().for_each(Waker::wake);
}

/// Wakes those who wait for a port; whether the interrupt is one's.
pub(crate) fn on_interrupt(intid: u32) -> bool {
    let place = usize::try_from(intid).ok().and_then(|intid| OWNERS.get(intid));
    let owner = place.map_or(0, |owner| owner.load(Ordering::Acquire));
    let wakers = match owner {
        0 => return false,
        LISTENER => {
            REQUESTS.fetch_add(1, Ordering::Release);
            LISTENERS.lock().take()
        }
        number => match row(number) {
            Some(row) => {
                pass(number);
                let mut row = row.lock();
                match &mut row.port {
                    Some(open) if !open.wakers.is_empty() => open.wakers.take(),
                    _ => return true,
                }
            }
            None => return false,
        },
    };
    wakers.wake();
    true
}

/// Something has happened at a row's port: what it was is to be seen by whoever sees the number.
fn pass(number: u8) {
    if let Some(moment) = moment(number) {
        moment.fetch_add(1, Ordering::Release);
    }
}

/// How much has happened at the row with this number, counted from 1.
fn moment(number: u8) -> Option<&'static AtomicU32> {
    MOMENTS.get(usize::from(number).wrapping_sub(1))
}

/// A number that changes with each request that comes when none waits.
pub(crate) fn requests() -> u32 {
    REQUESTS.load(Ordering::Acquire)
}

/// Futures that wait for something.
#[derive(Debug, Default)]
pub(crate) struct Wakers([Option<Waker>; MAX_WAKERS]);

impl Wakers {
    /// None.
    pub(crate) const fn new() -> Self {
        Self([const { None }; MAX_WAKERS])
    }

    /// Adds one; if there is no room, another one is the answer, to be woken at once.
    fn add(&mut self, waker: &Waker) -> Option<Waker> {
        if self.0.iter().flatten().any(|there| there.will_wake(waker)) {
            return None;
        }
        match self.0.iter_mut().find(|place| place.is_none()) {
            Some(free) => free.replace(waker.clone()),
            None => self.0.first_mut().and_then(|first| first.replace(waker.clone())),
        }
    }

    /// They are taken all at once, and the first place is filled first.
    #[inline]
    fn is_empty(&self) -> bool {
        matches!(self.0, [None, ..])
    }

    fn take(&mut self) -> Self {
        core::mem::take(self)
    }

    fn wake(self) {
        self.0.into_iter().flatten().for_each(Waker::wake);
    }
}
