//! What all sides share: the service, the page between two of them, connecting, and doing something on all vCPUs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::task::{Context, Poll};

use shikiri_channel::{
    Area as Message, AreaClass, Channel, Listener, NotConnected, Port, Request, Window, Windows,
};
use shikiri_rpc::{Area, Client, Leg, Pool, Server, Side};
use shikiri_rpc_channel::Wire;
use shikiri_rt::sleep::{self, Ticks};
use shikiri_rt::{Lock, irq, platform, smp};
use shikiri_shared::{Access, Attachment, Offer, PageCount, Request as PageRequest, View};
use shikiri_test_guests::answers::{made, soon};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, equal};

/// How a connection is to be served: the number of the service that is asked for.
pub(crate) mod form {
    pub(crate) const BLOCKING: u32 = 1;
    pub(crate) const TIMED: u32 = 2;
    pub(crate) const POLLING: u32 = 3;
    pub(crate) const ASYNC: u32 = 4;
    /// Not at all, until the caller has gone; the port takes [`MUTE_DEPTH`](super::MUTE_DEPTH) messages.
    pub(crate) const MUTE: u32 = 5;
    /// While the page's gate is open.
    pub(crate) const GATED: u32 = 6;
    /// All calls are taken before the first is answered.
    pub(crate) const TOGETHER: u32 = 7;
    /// Not any more: whoever is asked ends.
    pub(crate) const END: u32 = 8;
    /// Over a ring in the page, without buffers.
    pub(crate) const RING: u32 = 9;
}

/// The service that the page is asked for by.
const PAGE: u32 = 10;

pub(crate) const MUTE_DEPTH: u8 = 2;

/// The interrupts. Pages stay attached, so that each has its own.
const LISTENER: u32 = 64;
const UP: u32 = 65;
const DOWN: u32 = 66;
static NEXT_PAGE: AtomicU32 = AtomicU32::new(67);

/// Buffers of the pool, and their size. The last free one is for replies.
pub(crate) const BUFFERS: usize = 3;
pub(crate) const BUFFER_BYTES: usize = 600;
/// Buffers of the second pool in the same page.
const MORE: usize = 2;

/// Words of the page: who waits for a buffer has the first sixteen, of which it uses two.
const GATE: usize = 4;
const POOLS: [(usize, usize); 2] = [(16, BUFFERS), (256, MORE)];

/// States of the gate. Who finds [`gate::ADD`](gate::ADD) adds the second pool, and closes it.
pub(crate) mod gate {
    pub(crate) const CLOSED: u64 = 0;
    pub(crate) const OPEN: u64 = 1;
    pub(crate) const ADD: u64 = 2;
}

/// As many calls as a case has in flight, and two.
pub(crate) const SLOTS: usize = 26;

pub(crate) type Caller = Client<'static, Wire<'static>, SLOTS>;
pub(crate) type Serving = Server<'static, Wire<'static>>;

shikiri_rpc::service! {
    /// What the server does.
    pub(crate) trait Sample, stub SampleStub, server SampleServer {
        /// Fits a short message both ways.
        1: fn sum(a: u16, b: u16) -> u32;
        /// Needs a buffer both ways.
        2: fn reverse(bytes: &[u8]) -> alloc::vec::Vec<u8>;
        /// How many buffers of its leg are in use while the server executes this.
        3: fn in_use(bytes: &[u8]) -> u32;
        /// The same, and the bytes' sum, once [`Sample::release`] was called; where calls are taken together.
        4: fn hold(bytes: &[u8]) -> (u32, u32);
        5: fn release() -> ();
        /// So many bytes ([`filled`]): needs a buffer for its result only.
        6: fn fill(count: u16) -> alloc::vec::Vec<u8>;
    }
}

/// So many bytes, none like the next.
pub(crate) fn filled(count: u16) -> alloc::vec::Vec<u8> {
    (0..count).map(|at| at as u8).collect()
}

/// One end of a connection: its leg, and the page, if it has one.
pub(crate) struct End {
    pub(crate) leg: Leg<'static, Wire<'static>>,
    pub(crate) page: Page,
}

/// The page that both sides share.
#[derive(Clone, Copy)]
pub(crate) struct Page(pub(crate) Area<'static>);

pub(crate) fn no(what: &'static str) -> Failure {
    Failure { what, got: 0, want: 1 }
}

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

impl Page {
    /// The first pool, or the second, as one more view of it.
    pub(crate) fn pool(self, which: usize) -> Result<Pool<'static>, Failure> {
        Pool::attach(self.part(which)?, BUFFER_BYTES).map_err(|_| no("a pool"))
    }

    fn part(self, which: usize) -> Result<Area<'static>, Failure> {
        let (first, count) = POOLS[which];
        self.0.part(first, 1 + count * (2 + BUFFER_BYTES / 8)).ok_or(no("the page is too small"))
    }

    /// Makes both pools, empty.
    fn format(self) -> Outcome {
        for (which, (_, count)) in POOLS.into_iter().enumerate() {
            let made = Pool::create(self.part(which)?, count, BUFFER_BYTES);
            made.map_err(|_| no("a pool is made"))?;
        }
        Ok(())
    }

    /// The end of the first pool's leg at one side.
    fn leg(self, channel: Channel, side: Side) -> Result<End, Failure> {
        let wire = Wire::with_area(channel, self.0, side).ok_or(no("the page is too small"))?;
        let leg = Leg::new(wire);
        leg.pools().add(self.pool(0)?).map_err(|_| no("a pool is added"))?;
        Ok(End { leg, page: self })
    }

    pub(crate) fn gate(self) -> Result<&'static AtomicU64, Failure> {
        self.0.word(GATE).ok_or(no("the page is too small"))
    }
}

/// A client on its own in the heap: it is large for a stack.
#[inline(never)]
pub(crate) fn client(leg: Leg<'static, Wire<'static>>) -> Arc<Caller> {
    Arc::new(Client::new(leg))
}

fn windows() -> Result<Windows, Failure> {
    Windows::map().map_err(|_| no("windows"))
}

pub(crate) fn port(intid: u32, window: Window) -> Result<Port, Failure> {
    made(Port::new(windows()?, window, intid))
}

/// The number of the next one.
fn next() -> u8 {
    platform::number_of("next").unwrap_or(0) as u8
}

/// Connects to the next one, which may not listen yet, without a page.
pub(crate) fn connect(form: u32) -> Result<Channel, Failure> {
    let mut port = port(DOWN, Window::of_short_messages())?;
    loop {
        match port.connect(next(), form, 0) {
            Ok(channel) => return Ok(channel),
            Err((_, NotConnected::NotAsked(why))) => {
                return Err(Failure { what: "may ask", got: why.code as u64, want: 0 });
            }
            Err((back, _)) => port = back,
        }
        rest();
    }
}

/// Connects to the next one; the end of the leg with the page's first pool.
pub(crate) fn reach(form: u32) -> Result<End, Failure> {
    let (channel, page) = connect_with_page(form)?;
    page.leg(channel, Side::B)
}

/// Connects to the next one and attaches its page.
pub(crate) fn connect_with_page(form: u32) -> Result<(Channel, Page), Failure> {
    let channel = connect(form)?;
    let intid = NEXT_PAGE.fetch_add(1, Ordering::Relaxed);
    let place = made(Attachment::new(View::of(windows()?), PageCount(1), AreaClass::Page, intid))?;
    let shared = place.connect(next(), PAGE, 0).map_err(|_| no("the page"))?;
    let words = leaked(shared).words().ok_or(no("the page is read-only"))?;
    Ok((channel, Page(Area::new(words))))
}

/// Has the others end. The next one refuses that, and a relay has passed it on before.
pub(crate) fn end_others() -> Outcome {
    let mut port = port(DOWN, Window::of_short_messages())?;
    loop {
        match port.connect(next(), form::END, 0) {
            Ok(_channel) => return Err(no("nobody serves that")),
            Err((_, NotConnected::Refused)) => return Ok(()),
            Err((back, _)) => port = back,
        }
        rest();
    }
}

pub(crate) fn listener() -> Result<Listener, Failure> {
    made(Listener::new(LISTENER))
}

/// Accepts a connection without a page.
pub(crate) fn accept(request: Request, window: Window) -> Result<Channel, Failure> {
    request.accept(port(UP, window)?).map_err(|_| no("accepted"))
}

/// Accepts a connection, and gives the other side its page; the end of the leg with the page's first pool.
pub(crate) fn welcome(listener: &Listener, request: Request) -> Result<End, Failure> {
    let (channel, page) = accept_with_page(listener, request, Page::format)?;
    page.leg(channel, Side::A)
}

/// Accepts a connection, and gives the other side its page, which is made ready before.
pub(crate) fn accept_with_page(
    listener: &Listener,
    request: Request,
    format: fn(Page) -> Outcome,
) -> Result<(Channel, Page), Failure> {
    let area = made(Message::alloc(windows()?, AreaClass::Page, 4096))?;
    let offer = made(Offer::of(View::of(windows()?), area, None).map_err(|(why, _)| why))?;
    let offer = leaked(offer);
    let page = Page(Area::new(offer.words()));
    format(page)?;
    let channel = accept(request, Window::of_short_messages())?;
    let wanted = PageRequest::of(made(listener.signal())?).map_err(|_| no("asks for the page"))?;
    equal("its number", u64::from(wanted.service), u64::from(PAGE))?;
    made(wanted.accept(offer, Access::ReadWrite).map_err(|(_, why)| why))?;
    Ok((channel, page))
}

/// Both of two futures, in one task.
pub(crate) async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|task| {
        poll(&mut first, a.as_mut(), task);
        poll(&mut second, b.as_mut(), task);
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            rest => {
                (first, second) = rest;
                Poll::Pending
            }
        }
    })
    .await
}

/// Polls a future unless it has ended.
fn poll<T>(
    result: &mut Option<T>,
    future: Pin<&mut impl Future<Output = T>>,
    task: &mut Context<'_>,
) {
    if result.is_none()
        && let Poll::Ready(value) = future.poll(task)
    {
        *result = Some(value);
    }
}

/// A while, in which others may do something.
pub(crate) fn rest() {
    let _nothing = sleep::until(Ticks::from_now_us(100), || None::<()>);
}

/// A deadline that comes soon, and one that does not.
pub(crate) fn near() -> Ticks {
    Ticks::from_now_us(20_000)
}

pub(crate) fn far() -> Ticks {
    Ticks::from_now_us(200_000_000)
}

type Job = Arc<dyn Fn() -> Outcome + Send + Sync>;

static JOB: Lock<Option<Job>> = Lock::new(None);
static FAILURE: Lock<Option<Failure>> = Lock::new(None);
static AT_WORK: AtomicU64 = AtomicU64::new(0);

/// Does something on all vCPUs at a time; the first failure. It is dropped before this returns.
pub(crate) fn on_all(job: impl Fn() -> Outcome + Send + Sync + 'static) -> Outcome {
    *JOB.lock() = Some(Arc::new(job));
    AT_WORK.store(smp::count() as u64, Ordering::Release);
    for index in 1..smp::count() {
        // It may not have turned itself off yet.
        soon("a vCPU starts", || smp::start(index, work).is_ok())?;
    }
    work();
    soon("all have ended", || AT_WORK.load(Ordering::Acquire) == 0)?;
    *JOB.lock() = None;
    FAILURE.lock().take().map_or(Ok(()), Err)
}

fn work() {
    irq::unmask();
    let job = JOB.lock().clone();
    if let Some(Err(failure)) = job.as_ref().map(|job| job()) {
        FAILURE.lock().get_or_insert(failure);
    }
    drop(job);
    AT_WORK.fetch_sub(1, Ordering::AcqRel);
}
