//! Partitions of the description: seen, limited, started, held, paused, restarted, ended, and told of.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{
    CALLS, Hold, PartitionId, PartitionRef, PartitionSlot, Resource, Status, VcpuIndex,
};
use shikiri_policy::{Cause, Partition, State, notify, take_notice};
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::hvc::{Conduit, look, partition, policy, psci};
use shikiri_rt::timer::{self, Timer};
use shikiri_rt::{gic, irq, platform, power, println};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::tools::{ended, event, made, named, notice, refused, refused_for, wait, wait_for};

/// A number that no place has.
const NO_PLACE: u8 = 50;

pub(crate) fn calls() -> ! {
    case("the_partitions_of_the_description_are_listed", listed);
    case("limits_are_read_and_set_and_handed_out", limits);
    case("a_partition_is_started_and_stopped_under_new_ids", started);
    case("each_end_says_why", causes);
    case("ends_that_were_not_taken_are_counted", missed);
    case("the_port_is_raised_for_a_notice", told);
    case("the_port_is_raised_when_a_partition_is_held_or_active", seen);
    case("a_partition_is_looked_into", looked_into);
    case("one_that_is_held_goes_on_when_it_is_started_again", held);
    case("a_restart_by_itself_can_be_cancelled", cancelled);
    case("what_is_refused_says_why", refusals);
    done()
}

/// Every policy call is refused before its arguments are looked at.
pub(crate) fn stranger() -> ! {
    case("who_has_no_capability_is_refused_whatever_it_asks", || {
        let rows = CALLS.iter().filter(|row| row.number >= 0x100);
        let mut count = 0;
        for row in rows {
            for argument in [0, 1, u64::MAX] {
                let answer = raw(row.function_id(), argument);
                equal("the status", answer[0], Status::NotPermitted.code() as u64)?;
                equal("nothing more", answer[1] | answer[2] | answer[3], 0)?;
            }
            count += 1;
        }
        ensure("there are such calls", count >= 11)?;
        let free = shikiri_abi::smccc::VENDOR_HYP_FAST64 + 0x1ff;
        equal("no such call", raw(free, 0)[0], Status::NotSupported.code() as u64)
    });
    done()
}

#[expect(unsafe_code, reason = "calls with arguments that no wrapper makes")]
fn raw(function: u32, argument: u64) -> [u64; 4] {
    // SAFETY: the caller has no capability: whatever it asks, nothing is done.
    unsafe { shikiri_rt::hvc::raw::hvc(u64::from(function), [argument; 6]) }
}

fn listed() -> Outcome {
    let mut all = Partition::all();
    for (place, name) in [(0, "scos"), (1, "busy"), (2, "code"), (3, "fault"), (4, "again")] {
        let partition =
            all.next().ok_or(Failure { what: "fewer partitions", got: place, want: 5 })?;
        equal("the place", u64::from(partition.who().place.0), place)?;
        ensure("the name", made(partition.name())?.as_str() == name)?;
        let status = made(partition.status())?;
        ensure("the caller is the first", status.is_caller == (place == 0))?;
        ensure("none was made at run time", !status.is_made)?;
        equal("vCPUs", u64::from(status.vcpus), 1)?;
        if place > 0 {
            ensure("not started", status.state == State::Ended && status.cause.is_none())?;
            equal("starts", u64::from(status.starts), 0)?;
            equal("no id yet", u64::from(partition.id()), 0)?;
        }
    }
    ensure("five", all.next().is_none())?;
    let own = made(partition::info())?;
    let caller = named("scos")?;
    equal("the caller's id", u64::from(caller.id()), u64::from(own.id.0))?;
    ensure("it is active", made(caller.status())?.state == State::Active)
}

/// `busy` has a limit of 2,048 pages by the description, `code` none; 100 pages can be handed out.
fn limits() -> Outcome {
    let (busy, code) = (named("busy")?, named("code")?);
    let memory = Resource::Memory;
    ensure("the description's", made(busy.account(memory))?.limit == Some(2048))?;
    ensure("unset is not zero", made(code.account(memory))?.limit.is_none())?;
    made(busy.set_limit(memory, Some(2148)))?;
    let over = (Status::OverLimit, 0x102);
    refused_for("one page more", busy.set_limit(memory, Some(2149)), over)?;
    refused_for("all", busy.set_limit(memory, None), over)?;
    ensure("unchanged", made(busy.account(memory))?.limit == Some(2148))?;
    made(busy.set_limit(memory, Some(2047)))?;
    // Who has no limit by the description is not given one by the hand-out.
    made(code.set_limit(memory, Some(1 << 40)))?;
    made(code.set_limit(memory, None))?;
    // A life has the limits that were set before it.
    made(busy.set_limit(memory, Some(1023)))?;
    made(busy.set_limit(Resource::EventPorts, Some(7)))?;
    let life = made(busy.start())?;
    // It has 1,024 pages.
    ended(life, Cause::NotBuilt)?;
    made(life.set_limit(memory, Some(1024)))?;
    let life = made(life.start())?;
    wait_for(life, State::Active)?;
    let line = made(life.account(memory))?;
    ensure("limit and use", line.limit == Some(1024) && line.used == 1024 && line.high == 1024)?;
    ensure("ports", made(life.account(Resource::EventPorts))?.limit == Some(7))?;
    // A limit below what is used takes nothing away.
    made(life.set_limit(memory, Some(3)))?;
    equal("used as before", made(life.account(memory))?.used, 1024)?;
    made(life.stop())?;
    ended(life, Cause::Stopped)?;
    equal("nothing is used", made(life.account(memory))?.used, 0)?;
    made(life.set_limit(memory, Some(2048)))
}

fn started() -> Outcome {
    let before = named("busy")?;
    let life = made(before.start())?;
    ensure("a new id", life.id() > before.id())?;
    refused("the old one", before.status(), Status::PeerGone)?;
    wait_for(life, State::Active)?;
    let starts = made(life.status())?.starts;
    made(life.restart())?;
    ended(life, Cause::Restarted)?;
    wait("the next life", || Ok(named("busy")?.id() != life.id()))?;
    let next = named("busy")?;
    wait_for(next, State::Active)?;
    equal("starts", u64::from(made(next.status())?.starts), u64::from(starts) + 1)?;
    made(next.stop())?;
    ended(next, Cause::Stopped)?;
    ensure("why", made(next.status())?.cause == Some(Cause::Stopped))?;
    // One that has ended is started by a restart.
    made(next.restart())?;
    let last = named("busy")?;
    ensure("a new life", last.id() > next.id())?;
    made(last.stop())?;
    ended(last, Cause::Stopped)
}

fn causes() -> Outcome {
    let code = made(named("code")?.start())?;
    ended(code, Cause::Code(42))?;
    ensure("it stays", made(code.status())?.cause == Some(Cause::Code(42)))?;
    let fault = made(named("fault")?.start())?;
    ended(fault, Cause::Fault)?;
    let fault = made(fault.start())?;
    ended(fault, Cause::Fault)
}

fn missed() -> Outcome {
    let mut busy = named("busy")?;
    for _ in 0..3 {
        busy = made(busy.start())?;
        made(busy.stop())?;
        wait_for(busy, State::Ended)?;
    }
    let code = made(named("code")?.start())?;
    wait_for(code, State::Ended)?;
    busy = made(busy.start())?;
    made(busy.stop())?;
    wait_for(busy, State::Ended)?;
    ended(code, Cause::Code(42))?;
    let end = notice()?;
    ensure("the last one", end.partition == busy)?;
    equal("and those before it", end.missed, 3)?;
    ensure("no more", made(take_notice())?.is_none())
}

fn told() -> Outcome {
    refused("no port", notify(Handle(77)), Status::BadHandle)?;
    let send = made(talk::create_send())?;
    refused("a send port", notify(send), Status::BadHandle)?;
    let port = made(talk::create_receive())?;
    made(notify(port))?;
    ensure("nothing yet", !made(talk::poll(port))?)?;
    // When it is active, and when it has ended.
    let code = made(named("code")?.start())?;
    wait("raised", || made(talk::poll(port)))?;
    wait_for(code, State::Ended)?;
    // A port that is chosen later is told of what waits.
    let other = made(talk::create_receive())?;
    made(notify(other))?;
    wait("told at once", || made(talk::poll(other)))?;
    ended(code, Cause::Code(42))?;
    // A port that is gone is nobody's trouble.
    made(talk::close(other))?;
    let code = made(named("code")?.start())?;
    ended(code, Cause::Code(42))?;
    // Whatever came before the other was chosen.
    let _was_raised = made(talk::poll(port))?;
    made(notify(port))?;
    ensure("not for nothing", !made(talk::poll(port))?)
}

/// Nothing has ended: there is no notice, and all the same something to look at. Who looks only when it is told misses nothing.
fn seen() -> Outcome {
    let port = made(talk::create_receive())?;
    made(notify(port))?;
    ensure("nothing yet", !made(talk::poll(port))?)?;
    let told_of = |what, partition: Partition, state| {
        loop {
            wait(what, || made(talk::poll(port)))?;
            // It is told once until it looks, and of the end before this perhaps.
            ensure("nothing has ended", made(take_notice())?.is_none())?;
            if made(partition.status())?.state == state {
                return Ok(());
            }
        }
    };
    let busy = made(named("busy")?.start_held())?;
    told_of("held", busy, State::Held)?;
    made(busy.stop())?;
    ended(busy, Cause::Stopped)?;
    let busy = made(busy.start())?;
    told_of("active", busy, State::Active)?;
    made(busy.stop())?;
    ended(busy, Cause::Stopped)?;
    made(talk::close(port))
}

/// Its console, its ports and its last exits, while it lives and behind its end.
fn looked_into() -> Outcome {
    let busy = named("busy")?.who();
    refused("not alive", look::port(busy, 0), Status::WrongState)?;
    refused("not alive", look::exit(busy, VcpuIndex(0), 0), Status::WrongState)?;
    let life = made(named("busy")?.start())?;
    wait_for(life, State::Active)?;
    refused("another life", look::console(busy, 0), Status::PeerGone)?;
    let who = life.who();
    // Behind what it may have written in the lives before, of which some ended within a word.
    let (mut behind, mut last) = (0_u64, [0_u8; 16]);
    let has_come = |last: &[u8; 16]| last.windows(11).any(|words| words == b"crash: loop");
    wait("its words", || match look::console(who, behind) {
        Ok(written) => {
            behind = written.first + u64::from(written.count);
            for byte in &written.bytes[..usize::from(written.count)] {
                last.rotate_left(1);
                last[15] = *byte;
            }
            Ok(has_come(&last))
        }
        Err(refusal) if refusal.status() == Some(Status::Empty) => Ok(has_come(&last)),
        Err(refusal) => made(Err(refusal)),
    })?;
    refused("nothing there yet", look::console(who, u64::MAX), Status::Empty)?;
    // It has no handles: `again` neither; this partition has some.
    refused("no ports", look::port(who, 0), Status::Range)?;
    let own = named("scos")?.who();
    let port = made(talk::create_receive())?;
    let mut from = 0;
    loop {
        let [what, peer, detail] = made(look::port(own, from))?;
        let entry = what & 0xffff;
        if entry == port.0 & 0xffff {
            equal("a receive port", what >> 16, 2)?;
            equal("nobody's", peer & detail, 0)?;
            break;
        }
        ensure("it goes on", entry < 0xffff)?;
        from = entry as u16 + 1;
    }
    made(talk::close(port))?;
    // It has written to its console, a device.
    let [pc, why, address] = made(look::exit(who, VcpuIndex(0), 0))?;
    ensure("in its image", pc >= 0x4008_0000)?;
    ensure("a data abort", why >> 26 & 0x3f == 0x24)?;
    equal("the console", address & !0xfff, 0x900_0000)?;
    refused("no such vCPU", look::exit(who, VcpuIndex(1), 0), Status::Range)?;
    refused_for("nor that", look::exit(who, VcpuIndex(0), 16), (Status::InvalidParameter, 3))?;
    made(look::focus(who))?;
    made(look::focus(own))?;
    made(life.stop())?;
    ended(life, Cause::Stopped)?;
    // As soon as all that it wrote has been shown.
    wait("no console now", || match look::focus(who) {
        Err(refusal) if refusal.status() == Some(Status::NotFound) => Ok(true),
        done => made(done).map(|_| false),
    })?;
    made(look::focus(own))?;
    // What it wrote stays; it may have ended the line meanwhile.
    let kept = made(look::console(who, behind - 1))?;
    equal("its last words", kept.first, behind - 1)?;
    ensure("are there", kept.count > 0 && kept.bytes[0] == last[15])
}

fn held() -> Outcome {
    let code = made(named("code")?.start_held())?;
    wait_for(code, State::Held)?;
    timer::spin(20_000);
    ensure("it waits", made(code.status())?.state == State::Held)?;
    refused("twice", code.start_held(), Status::WrongState)?;
    refused("not paused", code.resume(), Status::WrongState)?;
    refused("nor to pause", code.pause(), Status::WrongState)?;
    let same = made(code.start())?;
    ensure("the same life", same == code)?;
    ended(code, Cause::Code(42))?;
    // One that is held can be ended.
    let code = made(code.start_held())?;
    wait_for(code, State::Held)?;
    made(code.stop())?;
    ended(code, Cause::Stopped)?;
    // Who meant that life begins no other one.
    refused("ended meanwhile", code.go_on(), Status::WrongState)?;
    ensure("still ended", made(code.status())?.state == State::Ended)?;
    let code = made(code.start_held())?;
    wait_for(code, State::Held)?;
    made(code.go_on())?;
    ended(code, Cause::Code(42))?;
    // Also while it is being built.
    let code = made(code.start_held())?;
    made(code.stop())?;
    ended(code, Cause::Stopped)?;
    equal("nothing is left", made(code.account(Resource::Memory))?.used, 0)
}

/// `again` restarts always, a minute after its end.
fn cancelled() -> Outcome {
    let again = made(named("again")?.start())?;
    let end = notice()?;
    ensure("it will restart", end.partition == again && end.restarts)?;
    ensure("so it says", made(again.status())?.restarts)?;
    made(again.stop())?;
    let status = made(again.status())?;
    ensure("no more", !status.restarts && status.state == State::Ended)?;
    refused("twice", again.stop(), Status::WrongState)
}

fn refusals() -> Outcome {
    let busy = named("busy")?;
    let nobody = PartitionRef { place: PartitionSlot(NO_PLACE), id: PartitionId(1) };
    let stale = PartitionRef { id: PartitionId(busy.id() ^ 0x8000), ..busy.who() };
    for (who, status) in [(nobody, Status::NotFound), (stale, Status::PeerGone)] {
        let partition = Partition::from_ref(who);
        refused("name", partition.name(), status)?;
        refused("limit read", partition.account(Resource::Memory), status)?;
        refused("limit set", partition.set_limit(Resource::Memory, None), status)?;
        refused("start", policy::start(who, Hold::No), status)?;
        refused("stop", partition.stop(), status)?;
        refused("restart", partition.restart(), status)?;
        refused("pause", partition.pause(), status)?;
        refused("resume", partition.resume(), status)?;
    }
    refused("list", policy::list(NO_PLACE), Status::Range)?;
    refused_for("no place at all", policy::list(64), (Status::InvalidParameter, 1))?;
    refused("stop", busy.stop(), Status::WrongState)?;
    refused("pause", busy.pause(), Status::WrongState)?;
    refused("resume", busy.resume(), Status::WrongState)?;
    let own = named("scos")?;
    refused("start", own.start(), Status::WrongState)?;
    refused_for("itself", own.pause(), (Status::InvalidParameter, 1))?;
    ensure("no notice", made(take_notice())?.is_none())?;
    refused("none", policy::take_notice(), Status::Empty)
}

/// The port at which a partition that ticks says so.
static TICK: AtomicU64 = AtomicU64::new(0);

/// How often the one beside a paused partition ticks in that time.
const TICKS_BESIDE: u32 = 30;

/// Sends an event with each tick, for ever.
pub(crate) fn ticking() -> ! {
    let name = platform::value_of("event").unwrap_or_default();
    match event(name) {
        Ok(port) => TICK.store(port.0, Ordering::Relaxed),
        Err(failure) => println!("FAIL ticking: {failure}"),
    }
    irq::set_handler(tick);
    gic::enable(Timer::Virtual.intid());
    tick(Timer::Virtual.intid());
    power::idle()
}

fn tick(_intid: u32) {
    Timer::Virtual.set_deadline(Timer::Virtual.now() + timer::ticks(1000));
    // Refused only if nobody waits for it any more.
    let _refused = talk::send(Handle(TICK.load(Ordering::Relaxed)));
}

/// Two partitions tick on one core. Whatever the machine's load: while the one ticks, the other one does not.
pub(crate) fn pauses() -> ! {
    case("a_paused_partition_stands_still_and_goes_on", || {
        let (ticks, beside) = (event("event-tick")?, event("event-beside")?);
        let ticking = made(named("ticking")?.start())?;
        let other = made(named("beside")?.start())?;
        for _ in 0..3 {
            wait("it ticks", || made(talk::poll(ticks)))?;
            made(ticking.pause())?;
            made(ticking.pause())?;
            ensure("paused", made(ticking.status())?.state == State::Paused)?;
            // None of its vCPUs runs any more, so that this was its last event.
            made(talk::poll(ticks))?;
            for _ in 0..TICKS_BESIDE {
                wait("the one beside it ticks", || made(talk::poll(beside)))?;
                ensure("it stands still", !made(talk::poll(ticks))?)?;
            }
            made(ticking.resume())?;
            refused("twice", ticking.resume(), Status::WrongState)?;
        }
        wait("it goes on", || made(talk::poll(ticks)))?;
        made(other.stop())?;
        ended(other, Cause::Stopped)?;
        // One that is paused can be ended.
        made(ticking.pause())?;
        made(ticking.stop())?;
        ended(ticking, Cause::Stopped)
    });
    done()
}

/// The program's own partition ends between two of its lives.
pub(crate) fn restarts() -> ! {
    let starts = partition::info().map_or(0, |info| info.starts);
    if starts == 1 {
        case("what_happens_before_the_restart", || {
            made(talk::create_receive()).and_then(|port| made(notify(port)))?;
            let busy = named("busy")?;
            made(busy.set_limit(Resource::EventPorts, Some(9)))?;
            made(made(busy.start())?.stop())?;
            let code = made(named("code")?.start())?;
            wait_for(code, State::Ended)?;
            wait("the other, too", || Ok(made(named("busy")?.status())?.state == State::Ended))
        });
        psci::system_reset(Conduit::Hvc);
    }
    case("its_successor_finds_the_machine_as_it_is", || {
        let (busy, code) = (named("busy")?, named("code")?);
        ensure("limits", made(busy.account(Resource::EventPorts))?.limit == Some(9))?;
        let port = made(talk::create_receive())?;
        ensure("not told yet", !made(talk::poll(port))?)?;
        made(notify(port))?;
        ensure("told of what waits", made(talk::poll(port))?)?;
        let ends = [notice()?, notice()?, notice()?];
        ensure("all", ends.iter().any(|end| end.partition == busy && end.cause == Cause::Stopped))?;
        ensure("of them", ends.iter().any(|end| end.partition == code))?;
        let own = ends.iter().find(|end| end.cause == Cause::Reset);
        ensure("its own, too", own.is_some_and(|end| end.restarts))?;
        let code = made(code.start())?;
        ended(code, Cause::Code(42))
    });
    done()
}

/// A limit below what the description's events of `crowded` need, before a life and while one lasts: the next one does not start, and
/// says why. `crowded` receives one event and sends one, and resets itself as soon as it runs.
pub(crate) fn crowded() -> ! {
    case("one_without_room_for_its_events_does_not_start", || {
        let ports = Resource::EventPorts;
        for limit in [0, 1] {
            made(named("crowded")?.set_limit(ports, Some(limit)))?;
            let life = made(named("crowded")?.start())?;
            ended(life, Cause::NotBuilt)?;
            equal("nothing is left", made(life.account(ports))?.used, 0)?;
        }
        made(named("crowded")?.set_limit(ports, Some(2)))?;
        let life = made(named("crowded")?.start_held())?;
        wait_for(life, State::Held)?;
        equal("its ports", made(life.account(ports))?.used, 2)?;
        made(life.set_limit(ports, Some(0)))?;
        made(life.go_on())?;
        ended(life, Cause::Reset)?;
        let next = notice()?;
        ensure("another life", next.partition != life && next.cause == Cause::NotBuilt)?;
        made(named("crowded")?.set_limit(ports, Some(2)))?;
        let life = made(named("crowded")?.start_held())?;
        wait_for(life, State::Held)?;
        made(life.stop())?;
        ended(life, Cause::Stopped)
    });
    done()
}
