//! One partition: what each call answers.
//!
//! The description lets it open `solo` and up to two of `log/*`; `others` is another partition's. It has 16 handles.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use shikiri_abi::{ObjectKind, Status, Units};
use shikiri_channel::block_on;
use shikiri_object::{Counter, Event, Queue, Semaphore, Ticks, Waiting};
use shikiri_rt::event::{self, Receiving as _, SendPort};
use shikiri_rt::hvc::object as calls;
use shikiri_rt::hvc::partition::{self, Refusal, Resource};
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::timer::Timer;
use shikiri_test_guests::answers::{Tables, over_limit};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::tools::{FIRST, came, made, port, refused, soon, waiting};

const NOTHING: [u64; 3] = [0; 3];
const BAD: (Status, u64) = (Status::BadHandle, 0);

fn used() -> Result<u64, Failure> {
    made(partition::account(Resource::ManagementMemory)).map(|line| line.used)
}

/// Opens `solo`, with a name anywhere.
#[repr(C, align(64))]
struct Buffer([u8; 128]);

impl Buffer {
    fn new(name: &[u8]) -> Self {
        let mut buffer = Self([0; 128]);
        buffer.0[..name.len()].copy_from_slice(name);
        buffer
    }

    /// Its address, which is the physical one.
    fn at(&self) -> u64 {
        core::ptr::from_ref(self).expose_provenance() as u64
    }

    fn open(&self, length: u64, kind: [u64; 4]) -> Result<(Handle, bool), Refusal> {
        calls::open(self.at(), length, kind)
    }
}

/// Runs a future on this vCPU; what makes it ready is done only when it waits already.
fn after_waiting<R>(
    future: impl Future<Output = Result<R, Refusal>>,
    cause: impl Fn() -> Result<bool, Refusal>,
) -> Result<(R, u32), Failure> {
    let mut future = pin!(future);
    let mut polls = 0;
    let result = block_on(poll_fn(|context| {
        polls += 1;
        let polled = future.as_mut().poll(context);
        if polls == 1 && polled.is_pending() && cause() != Ok(true) {
            return Poll::Ready(None);
        }
        polled.map(Some)
    }));
    Ok((made(result.ok_or(Failure { what: "the cause", got: 0, want: 1 })?)?, polls))
}

/// A future of each kind waits, and is woken by the interrupt of the post that it waits for.
pub(crate) fn tasks() -> Outcome {
    let queue = waiting(Queue::open("log/q", 1), FIRST + 4)?;
    let (message, polls) = after_waiting(queue.received(), || queue.try_send([1, 2, 3]))?;
    ensure("message", message == [1, 2, 3])?;
    ensure("it waited", polls > 1)?;
    ensure("full", made(queue.try_send([4, 5, 6]))?)?;
    let ((), polls) =
        after_waiting(queue.sent([7, 8, 9]), || Ok(queue.try_receive()? == Some([4, 5, 6])))?;
    ensure("it waited for room", polls > 1)?;
    ensure("sent", made(queue.try_receive())? == Some([7, 8, 9]))?;
    drop(queue);
    let event = waiting(Event::open("solo"), FIRST + 4)?;
    let ((), polls) = after_waiting(event.waited(), || event.post().map(|()| true))?;
    ensure("it waited for a post", polls > 1)?;
    drop(event);
    let counter = waiting(Counter::open("solo", 0, 2), FIRST + 4)?;
    let ((), polls) = after_waiting(counter.taken(), || counter.post().map(|()| true))?;
    ensure("it waited for one", polls > 1)?;
    drop(counter);
    let semaphore = waiting(Semaphore::open("solo", 1, 1), FIRST + 4)?;
    let unit = made(block_on(semaphore.taken()))?;
    drop(unit);
    Ok(())
}

pub(crate) fn permitted() -> Outcome {
    let before = used()?;
    let not = (Status::NotPermitted, 0);
    for name in ["others", "nobodys", "sol", "solo2", "log", "SOLO"] {
        refused(name, Event::open(name), not)?;
    }
    for name in ["solo", "log/", "log/a"] {
        made(Event::open(name))?;
    }
    equal("nothing is left", used()?, before)
}

pub(crate) fn arguments() -> Outcome {
    let buffer = Buffer::new(b"solo");
    let wrong = |which| (Status::InvalidParameter, which);
    for length in [0, 64, 65, u64::MAX] {
        refused("length", buffer.open(length, [1, 0, 0, 0]), wrong(2))?;
    }
    for (kind, which) in [
        ([0, 0, 0, 0], 3),
        ([4, 0, 0, 0], 3),
        ([1, 1, 0, 0], 4),
        ([1, 0, 1, 0], 5),
        ([1, 0, 0, 1], 6),
        ([2, 2, 1, 0], 4),
        ([2, 0, 0, 0], 5),
        ([2, 0, 1 << 32, 0], 5),
        ([2, 0, 1, 2], 6),
        ([3, 0, 0, 0], 4),
        ([3, 65, 0, 0], 4),
        ([3, 1, 1, 0], 5),
    ] {
        refused("kind", buffer.open(4, kind), wrong(which))?;
    }
    for name in [&b"so lo"[..], b"sol\x7f", b"sol*", b"\0olo", b"sol\xc3\xb6"] {
        let length = name.len() as u64;
        refused("name", Buffer::new(name).open(length, [1, 0, 0, 0]), wrong(1))?;
    }
    // What is behind the name does not matter.
    let (handle, is_new) = made(Buffer::new(b"solo\0 *").open(4, [1, 0, 0, 0]))?;
    ensure("new", is_new)?;
    made(calls::close(handle))
}

pub(crate) fn addresses() -> Outcome {
    let buffer = Buffer::new(b"solo");
    for offset in [1, 8, 32, 63] {
        let opened = calls::open(buffer.at() + offset, 4, [1, 0, 0, 0]);
        refused("alignment", opened, (Status::Alignment, 1))?;
    }
    // Nothing, the virtual GIC, the virtual UART, behind the end of memory, and where no address is.
    for at in [0, 0x0800_0000, 0x0900_0000, 0x4040_0000, 1 << 40, !63] {
        refused("address", calls::open(at, 4, [1, 0, 0, 0]), (Status::Range, 1))?;
    }
    // The last bytes of memory can be read: they hold no name.
    let last = calls::open(0x4040_0000 - 64, 1, [1, 0, 0, 0]);
    ensure("the last bytes", last.is_err_and(|refusal| refusal.which == 1 || refusal.code == -17))
}

pub(crate) fn kinds() -> Outcome {
    let held = |initial, maximum, units| ObjectKind::Semaphore { initial, maximum, units };
    let kinds = [
        ObjectKind::Event,
        held(1, 2, Units::Held),
        held(0, 2, Units::Held),
        held(1, 3, Units::Held),
        held(1, 2, Units::Spent),
        ObjectKind::Queue { depth: 2 },
        ObjectKind::Queue { depth: 3 },
    ];
    let buffer = Buffer::new(b"solo");
    for made_as in kinds {
        let (object, is_new) = made(buffer.open(4, made_as.encode()))?;
        ensure("new", is_new)?;
        for asked in kinds.into_iter().filter(|asked| *asked != made_as) {
            refused("another", buffer.open(4, asked.encode()), (Status::Exists, 0))?;
        }
        let (again, is_new) = made(buffer.open(4, made_as.encode()))?;
        ensure("the same", again == object && !is_new)?;
        made(calls::close(object))?;
        made(calls::close(object))?;
    }
    Ok(())
}

pub(crate) fn full() -> Outcome {
    let first = made(Event::open("log/1"))?;
    let second = made(Event::open("log/2"))?;
    let full = (Status::Full, 0);
    refused("third", Event::open("log/3"), full)?;
    // Another entry's are its own.
    let solo = made(Event::open("solo"))?;
    drop(first);
    let third = made(Event::open("log/3"))?;
    refused("fourth", Event::open("log/1"), full)?;
    drop((second, third, solo));
    Ok(())
}

pub(crate) fn charges() -> Outcome {
    let before = used()?;
    let first = made(Event::open("solo"))?;
    equal("one", used()?, before + 1)?;
    let again = made(Event::open("solo"))?;
    equal("once", used()?, before + 1)?;
    let second = made(Queue::open("log/a", 64))?;
    equal("two", used()?, before + 2)?;
    drop(first);
    equal("open once more", used()?, before + 2)?;
    drop((again, second));
    equal("all is refunded", used()?, before)?;
    // As many handles as there are, and none for the object.
    let mut ports = [const { None }; 16];
    for place in &mut ports {
        *place = Some(made(SendPort::new())?);
    }
    let over = (Status::OverLimit, u64::from(Resource::ManagementMemory.number()));
    refused("no handle", Event::open("solo"), over)?;
    ports[7] = None;
    made(Event::open("solo"))?;
    equal("nothing is left", used()?, before)
}

/// With as much management memory in use as the limit allows.
pub(crate) fn limited() -> Outcome {
    let before = used()?;
    let mut tables = Tables::take_all()?;
    let (resource, open) = (Resource::ManagementMemory, || Event::open("solo"));
    over_limit("an object", open, resource)?;
    over_limit("a queue", || Queue::open("log/a", 64), resource)?;
    tables.free_one()?;
    let event = made(open())?;
    over_limit("a second object", || Queue::open("log/a", 64), resource)?;
    // The one that is open is charged already.
    drop(made(open())?);
    drop(event);
    drop(made(Queue::open("log/a", 64))?);
    tables.free()?;
    equal("all is refunded", used()?, before)
}

pub(crate) fn counted() -> Outcome {
    let buffer = Buffer::new(b"solo");
    let counter = ObjectKind::Semaphore { initial: 0, maximum: 9, units: Units::Spent };
    let mut last = Handle(0);
    for round in 0..3 {
        for open in 0..4 {
            let (object, is_new) = made(buffer.open(4, counter.encode()))?;
            ensure("new at first", is_new == (open == 0))?;
            ensure("one handle", open == 0 || object == last)?;
            ensure("no handle comes twice", round == 0 || open > 0 || object != last)?;
            last = object;
        }
        refused("new and empty", calls::wait(last), (Status::Empty, 0))?;
        made(calls::post(last, NOTHING))?;
        for _ in 0..4 {
            made(calls::close(last))?;
        }
        refused("closed", calls::close(last), BAD)?;
    }
    Ok(())
}

pub(crate) fn bad_handles() -> Outcome {
    let buffer = Buffer::new(b"solo");
    let (object, _) = made(buffer.open(4, [1, 0, 0, 0]))?;
    let receive = port(FIRST)?;
    let all = |handle: Handle| -> Outcome {
        refused("wait", calls::wait(handle), BAD)?;
        refused("post", calls::post(handle, NOTHING), BAD)?;
        refused("notify", calls::notify(handle, None), BAD)?;
        refused("notify", calls::notify(handle, Some(receive.handle())), BAD)?;
        refused("close", calls::close(handle), BAD)
    };
    for handle in [0, u64::MAX, object.0 ^ 1 << 16, object.0 ^ 1, object.0 | 1 << 63] {
        all(Handle(handle))?;
    }
    // A port is no object, and an object is no port.
    all(receive.handle())?;
    refused("close", talk::close(object), BAD)?;
    refused("send", talk::send(object), BAD)?;
    refused("poll", talk::poll(object), BAD)?;
    refused("notify", calls::notify(object, Some(object)), BAD)?;
    refused("notify", calls::notify(object, Some(Handle(u64::MAX))), BAD)?;
    made(calls::close(object))?;
    all(object)
}

pub(crate) fn event() -> Outcome {
    let event = made(Event::open("solo"))?;
    ensure("not yet", !made(event.try_wait())?)?;
    for _ in 0..3 {
        made(event.post())?;
    }
    ensure("seen", made(event.try_wait())?)?;
    ensure("once", !made(event.try_wait())?)?;
    // Nobody had it open: it is dropped.
    made(event.post())?;
    drop(event);
    ensure("dropped", !made(made(Event::open("solo"))?.try_wait())?)
}

pub(crate) fn semaphore() -> Outcome {
    let semaphore = made(Semaphore::open("solo", 1, 2))?;
    refused(
        "no words",
        calls::post(shikiri_object::Object::handle(&semaphore), [0, 1, 1]),
        (Status::InvalidParameter, 3),
    )?;
    let first = made(semaphore.try_take())?.ok_or(Failure { what: "one", got: 0, want: 1 })?;
    ensure("nobody has gone", first.lost.is_none())?;
    ensure("no more", made(semaphore.try_take())?.is_none())?;
    drop(first);
    // A unit more, which nobody holds; then there are as many as can be, held ones included.
    made(semaphore.post())?;
    refused("the most", semaphore.post(), (Status::Range, 0))?;
    let first = made(semaphore.try_take())?;
    let second = made(semaphore.try_take())?;
    ensure("two", first.is_some() && second.is_some())?;
    ensure("no more", made(semaphore.try_take())?.is_none())?;
    drop((first, second));
    refused("all are back", semaphore.post(), (Status::Range, 0))?;
    if let Some(unit) = made(semaphore.try_take())? {
        unit.keep();
    }
    made(semaphore.post())
}

pub(crate) fn counter() -> Outcome {
    let counter = made(Counter::open("solo", 1, 2))?;
    ensure("one", made(counter.try_take())?)?;
    ensure("used up", !made(counter.try_take())?)?;
    for _ in 0..2 {
        made(counter.post())?;
    }
    refused("the most", counter.post(), (Status::Range, 0))?;
    for want in [true, true, false] {
        ensure("two", made(counter.try_take())? == want)?;
    }
    Ok(())
}

pub(crate) fn queue() -> Outcome {
    let queue = made(Queue::open("solo", 3))?;
    ensure("empty", made(queue.try_receive())?.is_none())?;
    let mut next = 0;
    for word in 0..40_u64 {
        ensure("room", made(queue.try_send([word, !word, word << 32]))?)?;
        if word >= 2 {
            ensure("full", !made(queue.try_send([99; 3]))?)?;
            ensure("oldest", made(queue.try_receive())? == Some([next, !next, next << 32]))?;
            next += 1;
        }
    }
    for last in [next, next + 1] {
        ensure("rest", made(queue.try_receive())?.is_some_and(|[word, ..]| word == last))?;
    }
    ensure("empty", made(queue.try_receive())?.is_none())
}

pub(crate) fn told() -> Outcome {
    let event = waiting(Event::open("solo"), FIRST)?;
    let before = came(FIRST);
    ensure("nothing", !made(event.try_wait())?)?;
    made(event.post())?;
    soon("told", || came(FIRST) == before + 1)?;
    // Told already, and not noted again as waiting.
    made(event.post())?;
    ensure("there", made(event.try_wait())?)?;
    ensure("nothing", !made(event.try_wait())?)?;
    made(event.post())?;
    soon("told again", || came(FIRST) == before + 2)?;
    drop(event);
    let queue = made(Queue::open("log/q", 1))?;
    made(queue.try_send([1, 2, 3]))?;
    let before = came(FIRST + 1);
    // A message is there when the port is chosen.
    let queue = Waiting::new(queue, port(FIRST + 1)?);
    let queue = made(queue.map_err(|(_, _, refusal)| refusal))?;
    soon("told at once", || came(FIRST + 1) == before + 1)?;
    ensure("full", !made(queue.try_send([4, 5, 6]))?)?;
    ensure("one", made(queue.try_receive())? == Some([1, 2, 3]))?;
    soon("told of the room", || came(FIRST + 1) == before + 2)?;
    let (queue, port) = queue.into_parts();
    ensure("room", made(queue.try_send([4, 5, 6]))?)?;
    drop(port);
    ensure("kept", made(queue.try_receive())? == Some([4, 5, 6]))?;
    equal("no more", came(FIRST + 1), before + 2)
}

pub(crate) fn ports() -> Outcome {
    let first = made(Event::open("log/1"))?;
    let second = made(Event::open("log/2"))?;
    let in_use = (Status::WrongState, 0);
    let notify = |event: &Event, port: Option<Handle>| {
        calls::notify(shikiri_object::Object::handle(event), port)
    };
    let port = port(FIRST)?;
    made(notify(&first, Some(port.handle())))?;
    made(notify(&first, Some(port.handle())))?;
    refused("another's", notify(&second, Some(port.handle())), in_use)?;
    refused("for signals", event::notify(&port), in_use)?;
    let send = made(SendPort::new())?;
    let (send, refusal) =
        send.connect(&port).err().ok_or(Failure { what: "connected", got: 1, want: 0 })?;
    refused("for a sender", Err::<(), _>(refusal), in_use)?;
    // Free again: given up, then closed with its object.
    made(notify(&first, None))?;
    made(notify(&second, Some(port.handle())))?;
    drop(second);
    let sender = send.connect(&port);
    let sender = made(sender.map_err(|(_, refusal)| refusal))?;
    refused("a sender's", notify(&first, Some(port.handle())), in_use)?;
    drop(sender);
    made(notify(&first, Some(port.handle())))?;
    // The port goes first: nothing is told, and another can be chosen.
    drop(port);
    made(first.post())?;
    let other = crate::tools::port(FIRST)?;
    let before = came(FIRST);
    made(notify(&first, Some(other.handle())))?;
    soon("told at the other", || came(FIRST) == before + 1)
}

pub(crate) fn deadlines() -> Outcome {
    let queue = waiting(Queue::open("solo", 1), FIRST)?;
    let start = Timer::Virtual.now();
    ensure("nothing", made(queue.receive_until(Ticks::from_now_us(3_000)))?.is_none())?;
    let passed = Timer::Virtual.now() - start;
    ensure("not before its time", passed >= shikiri_rt::timer::ticks(3_000))?;
    ensure("the timer is as it was", Timer::Virtual.control() & 1 == 0)?;
    made(queue.send([1, 2, 3]))?;
    ensure("full", !made(queue.send_until([4, 5, 6], Ticks::from_now_us(3_000)))?)?;
    let late = made(queue.receive_until(Ticks(0)))?;
    ensure("what is there is had at any time", late == Some([1, 2, 3]))?;
    ensure("no time, nothing there", made(queue.receive_until(Ticks(0)))?.is_none())?;
    ensure("room", made(queue.send_until([4, 5, 6], Ticks(0)))?)
}
