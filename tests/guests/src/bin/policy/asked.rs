//! Requests for more (P8): the partition that asks, and the policy program that judges. By the amount both know what is tried.

use shikiri_abi::{PartitionSlot, Resource, Status, VcpuIndex};
use shikiri_policy::{
    Cause, Partition, Request, State, Wish, handout, notify, take_notice, take_request,
};
use shikiri_rt::hvc::partition::{self, Asked};
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::hvc::{Conduit, psci};
use shikiri_rt::{platform, power, println, reg, timer};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::kept;
use crate::tools::{event, made, named, refused, refused_for, wait};

/// As asked.
const ALL: u64 = 3;
/// Half of it.
const HALF: u64 = 4;
const REFUSED: u64 = 5;
/// Taken, and answered when its time was over.
const IGNORED: u64 = 6;
/// Taken, and answered when it was cancelled.
const CANCELLED: u64 = 7;
/// More than can be handed out; what is left is granted.
const TOO_MUCH: u64 = 1000;
/// Taken by a life of the policy program that ends before it answers.
const OUTLIVED: u64 = 8;

const PORTS: Resource = Resource::EventPorts;

fn more(amount: u64) -> Wish {
    Wish::More(PORTS, amount)
}

fn limit() -> Result<u64, Failure> {
    Ok(made(partition::account(PORTS))?.limit.unwrap_or(u64::MAX))
}

/// Asks, and reads the answer when its port was raised.
pub(crate) fn answered(
    wish: Wish,
    port: Handle,
) -> Result<Result<u64, partition::Refusal>, Failure> {
    match partition::ask(wish, Some(port)) {
        Ok(Asked::Pending) => {}
        Ok(Asked::Granted(granted)) => return Ok(Ok(granted)),
        Err(refusal) => return Ok(Err(refusal)),
    }
    wait("the answer", || made(talk::poll(port)))?;
    match partition::answer() {
        Ok(Asked::Granted(granted)) => Ok(Ok(granted)),
        Ok(Asked::Pending) => Err(Failure { what: "told without an answer", got: 0, want: 1 }),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn granted(wish: Wish, port: Handle, amount: u64) -> Outcome {
    let before = limit()?;
    let got = made(answered(wish, port)?)?;
    equal("granted", got, amount)?;
    if matches!(wish, Wish::More(..)) {
        equal("the limit", limit()?, before + amount)?;
    }
    refused("told once", partition::answer(), Status::Empty)
}

fn denied(wish: Wish, port: Handle) -> Outcome {
    let before = limit()?;
    refused("denied", answered(wish, port)?, Status::DeniedByPolicy)?;
    equal("the limit", limit()?, before)?;
    refused("told once", partition::answer(), Status::Empty)
}

/// The partition that asks; its limit of ports is 4 by the description.
pub(crate) fn asker() -> ! {
    case("a_request_is_granted_changed_refused_or_cancelled", || {
        let port = made(talk::create_receive())?;
        refused("none yet", partition::answer(), Status::Empty)?;
        refused("nothing to cancel", partition::cancel(), Status::Empty)?;
        refused("no port", partition::ask(more(1), Some(Handle(9))), Status::BadHandle)?;
        granted(more(ALL), port, ALL)?;
        granted(more(HALF), port, HALF / 2)?;
        denied(more(REFUSED), port)?;
        cancelled()?;
        let left = made(answered(more(TOO_MUCH), port)?)?;
        ensure("what was left", left > 0 && left < TOO_MUCH)?;
        // A limit is not used up by asking: ports can be made up to it.
        let line = made(partition::account(PORTS))?;
        for _ in line.used..line.limit.unwrap_or(0) {
            made(talk::create_receive())?;
        }
        refused("no more", talk::create_receive(), Status::OverLimit)?;
        // What has no limit needs nobody.
        let unset = Wish::More(Resource::Memory, 5);
        ensure("at once", made(partition::ask(unset, None))? == Asked::Granted(5))?;
        granted(Wish::Peer(PartitionSlot(2)), port, 1)?;
        ensure("it may be asked", made(talk::peer(2))?.may_be_asked)?;
        denied(Wish::Peer(PartitionSlot(3)), port)?;
        refused("not so", talk::peer(3), Status::NotPermitted)
    });
    println!("asker done");
    power::off()
}

/// The policy program says by an event that it has the request, and holds it until it is told that it is over.
fn cancelled() -> Outcome {
    let taken = event("event-taken")?;
    let before = limit()?;
    ensure("asked", made(partition::ask(more(CANCELLED), None))? == Asked::Pending)?;
    refused("one at a time", partition::ask(more(1), None), Status::WrongState)?;
    wait("it is taken", || made(talk::poll(taken)))?;
    ensure("no answer yet", made(partition::answer())? == Asked::Pending)?;
    made(partition::cancel())?;
    refused("it is gone", partition::answer(), Status::Empty)?;
    refused("nothing to cancel", partition::cancel(), Status::Empty)?;
    made(talk::send(event("event-over")?))?;
    // Nothing else of this partition tells the policy program before it says that it was told.
    wait("it is known there", || made(talk::poll(taken)))?;
    equal("the limit", limit()?, before)
}

/// A request that the policy program has taken and does not answer: the description refuses when the time is over.
pub(crate) fn overdue() -> ! {
    case("a_request_is_refused_when_its_time_is_over", || {
        let (taken, port) = (event("event-taken")?, made(talk::create_receive())?);
        // Its time may be over before it is taken.
        wait("one is taken", || {
            denied(more(IGNORED), port)?;
            made(talk::poll(taken))
        })?;
        made(talk::send(event("event-over")?))?;
        wait("it is known there", || made(talk::poll(taken)))
    });
    println!("asker done");
    power::off()
}

/// The policy program.
pub(crate) fn judge() -> ! {
    case("requests_are_judged_by_what_is_asked", || {
        let port = made(talk::create_receive())?;
        made(notify(port))?;
        loop {
            wait("something to do", || made(talk::poll(port)))?;
            while let Some(request) = made(take_request())? {
                judge_one(request, port)?;
            }
            if let Some(end) = made(take_notice())? {
                return ensure("it is through", end.cause == Cause::Off);
            }
        }
    });
    done()
}

fn judge_one(request: Request, news: Handle) -> Outcome {
    let asker = named("asker")?;
    ensure("who asks", request.partition == asker)?;
    let amount = match request.wish {
        Wish::More(resource, amount) => {
            ensure("what", resource == PORTS)?;
            amount
        }
        Wish::Peer(place) if place.0 == 2 => {
            return made(request.grant_all().map_err(|(_, it)| it));
        }
        Wish::Peer(_) | Wish::Time(..) | Wish::Vcpus(_) | Wish::Device(_) => {
            return made(request.refuse());
        }
    };
    match amount {
        ALL => made(request.grant_all().map_err(|(_, refusal)| refusal)),
        HALF => made(request.grant(HALF / 2).map_err(|(_, refusal)| refusal)),
        REFUSED => made(request.refuse()),
        IGNORED | CANCELLED => {
            made(talk::send(event("event-taken")?))?;
            wait("it is told that there is nothing to answer", || made(talk::poll(news)))?;
            let over = event("event-over")?;
            wait("it is over", || made(talk::poll(over)))?;
            made(talk::send(event("event-taken")?))?;
            late(request)
        }
        TOO_MUCH => {
            let (most, given) = made(handout(PORTS))?;
            let over = (Status::OverLimit, 0x104);
            let (request, refusal) = match request.grant_all() {
                Err(refused) => refused,
                Ok(()) => return Err(Failure { what: "too much", got: 0, want: 1 }),
            };
            refused_for::<()>("too much", Err(refusal), over)?;
            // It is still there, and the answer depends on the accounts.
            made(request.grant(most.unwrap_or(0) - given).map_err(|(_, refusal)| refusal))
        }
        amount => Err(Failure { what: "an amount of nobody's", got: amount, want: 0 }),
    }
}

/// Whoever answers too late changes nothing.
fn late(request: Request) -> Outcome {
    let (_, given) = made(handout(PORTS))?;
    match request.grant_all() {
        Err((_, refusal)) => refused::<()>("too late", Err(refusal), Status::PeerGone)?,
        Ok(()) => return Err(Failure { what: "answered too late", got: 0, want: 1 }),
    }
    equal("nothing is given", made(handout(PORTS))?.1, given)
}

/// Without a policy program, by the description's default: 5 ports can be handed out.
pub(crate) fn alone() -> ! {
    case("without_a_policy_program_the_description_decides_at_once", || {
        let before = limit()?;
        if platform::has_word("grants") {
            ensure("granted", made(partition::ask(more(3), None))? == Asked::Granted(3))?;
            equal("the limit", limit()?, before + 3)?;
            refused_for("too much", partition::ask(more(3), None), (Status::OverLimit, 0x104))?;
            ensure("the rest", made(partition::ask(more(2), None))? == Asked::Granted(2))?;
            equal("the limit", limit()?, before + 5)?;
        } else {
            refused("denied", partition::ask(more(1), None), Status::DeniedByPolicy)?;
            equal("the limit", limit()?, before)?;
        }
        kept::by_default(platform::has_word("grants"), false)?;
        refused("nothing waits", partition::answer(), Status::Empty)?;
        refused("nothing to cancel", partition::cancel(), Status::Empty)
    });
    done()
}

/// A policy program that answers nothing; the default of the description grants.
pub(crate) fn patient() -> ! {
    case("the_default_decides_when_the_time_is_over", || {
        let port = made(talk::create_receive())?;
        let start = reg::now();
        granted(more(ALL), port, ALL)?;
        let took = reg::now() - start;
        ensure("not before its time", took >= timer::ticks(100_000))?;
        // More than can be handed out is refused by the same default.
        denied(more(TOO_MUCH), port)?;
        kept::by_default(true, true)
    });
    done()
}

/// Ends between the request and its answer, and answers it in its next life.
pub(crate) fn forgetful() -> ! {
    let starts = partition::info().map_or(0, |info| info.starts);
    if starts == 1 {
        case("a_request_is_taken_before_the_restart", || {
            wait("a request", || Ok(made(take_request())?.is_some()))?;
            ensure("once", made(take_request())?.is_none())
        });
        psci::system_reset(Conduit::Hvc);
    }
    case("its_successor_takes_it_again", || {
        let mut taken = None;
        wait("the same", || {
            taken = made(take_request())?;
            Ok(taken.is_some())
        })?;
        let request = taken.ok_or(Failure { what: "none", got: 0, want: 1 })?;
        ensure("what was asked", request.wish == more(OUTLIVED))?;
        made(request.grant_all().map_err(|(_, refusal)| refusal))
    });
    done()
}

pub(crate) fn outliving() -> ! {
    case("an_answer_comes_from_the_next_life", || {
        let port = made(talk::create_receive())?;
        granted(more(OUTLIVED), port, OUTLIVED)
    });
    done()
}

/// Asks for ever.
pub(crate) fn greedy() -> ! {
    loop {
        let _asked = partition::ask(more(50), None);
        let _answer = partition::answer();
    }
}

/// Comes late, asks for little, and gets it before the time for an answer is over.
pub(crate) fn modest() -> ! {
    case("a_modest_guest_is_served_beside_two_greedy_ones", || {
        let port = made(talk::create_receive())?;
        for _ in 0..10 {
            granted(more(3), port, 3)?;
        }
        Ok(())
    });
    println!("modest done");
    power::off()
}

/// Nobody gets more than a third of what can be handed out.
pub(crate) fn fair() -> ! {
    case("two_greedy_guests_cannot_starve_a_third", || {
        let port = made(talk::create_receive())?;
        made(notify(port))?;
        let most = made(handout(PORTS))?.0.unwrap_or(0) / 3;
        let mut denied = 0;
        let mut is_started = false;
        // 4 by the description.
        let got = |name| Ok(made(named(name)?.account(PORTS))?.limit.unwrap_or(0) - 4);
        loop {
            wait("something to do", || made(talk::poll(port)))?;
            while let Some(request) = made(take_request())? {
                let line = made(request.partition.account(PORTS))?;
                // 4 by the description.
                let has = line.limit.unwrap_or(0) - 4;
                let room = most.saturating_sub(has);
                let Wish::More(_, wanted) = request.wish else { continue };
                if room == 0 {
                    denied += 1;
                    made(request.refuse())?;
                    // Both greedy ones have all that they get.
                    if denied >= 11
                        && !is_started
                        && got("greedy-a")? == most
                        && got("greedy-b")? == most
                    {
                        made(named("modest")?.start())?;
                        is_started = true;
                    }
                } else {
                    made(request.grant(wanted.min(room)).map_err(|(_, refusal)| refusal))?;
                }
            }
            if let Some(end) = made(take_notice())? {
                ensure("the modest one", made(end.partition.name())?.as_str() == "modest")?;
                break;
            }
        }
        ensure("the greedy ones went on asking", denied > 11)?;
        for name in ["greedy-a", "greedy-b"] {
            let greedy = named(name)?;
            let limit = made(greedy.account(PORTS))?.limit.unwrap_or(0);
            ensure("no more than its part", limit - 4 == most)?;
            made(greedy.stop())?;
        }
        equal("the modest one has its own", modest_has()?, 30)
    });
    done()
}

/// Asks and cancels, so many times, and says when it begins and that it is through.
pub(crate) fn flooding() -> ! {
    case("asking_and_cancelling_is_always_possible", || {
        for _ in 0..FLOOD {
            ensure("asked", made(partition::ask(more(1), None))? == Asked::Pending)?;
            made(partition::cancel())?;
        }
        Ok(())
    });
    power::off()
}

/// How often a guest asks and cancels.
const FLOOD: u32 = 2_000;

/// Counts how often it is told while a guest asks and cancels: once, until it looks; and once of the guest's end, for which it
/// looks.
pub(crate) fn flooded() -> ! {
    case("who_asks_and_cancels_without_end_is_told_of_once", || {
        let port = made(talk::create_receive())?;
        made(notify(port))?;
        let flooding = made(named("flooding")?.start())?;
        let mut told = 0_u32;
        wait("its end", || {
            told += u32::from(made(talk::poll(port))?);
            Ok(made(flooding.status())?.state == State::Ended)
        })?;
        told += u32::from(made(talk::poll(port))?);
        equal("told", u64::from(told), 1)?;
        // What came meanwhile is there, and is told of again when it was looked for.
        ensure("it was cancelled", made(take_request())?.is_none())?;
        let end = crate::tools::notice()?;
        ensure("its end", end.partition == flooding && end.cause == Cause::Off)?;
        ensure("nothing new", !made(talk::poll(port))?)?;
        let again = made(flooding.start())?;
        wait("the next one is told of", || made(talk::poll(port)))?;
        wait("its end", || Ok(made(again.status())?.state == State::Ended))
    });
    done()
}

/// Wants to talk to the partition at the first place that the description leaves free.
pub(crate) fn mistaken() -> ! {
    case("the_permission_was_for_another", || {
        let port = made(talk::create_receive())?;
        let place = PartitionSlot(platform::number_of("place").unwrap_or(0) as u8);
        denied(Wish::Peer(place), port)?;
        refused("nobody has said so", talk::peer(place.0), Status::NotPermitted)?;
        granted(Wish::Peer(place), port, 1)?;
        ensure("who is meant now", made(talk::peer(place.0))?.may_be_asked)
    });
    power::off()
}

/// Between the request and its answer another partition comes to the place that it names.
pub(crate) fn replacing() -> ! {
    case("an_answer_about_a_peer_is_for_the_partition_that_was_meant", || {
        let meant = made(Partition::create("meant"))?;
        let mistaken = made(named("mistaken")?.start())?;
        let request = next_request()?;
        ensure("who asks", request.partition == mistaken)?;
        ensure("for whom", request.wish == Wish::Peer(meant.who().place))?;
        made(meant.destroy())?;
        let other = made(Partition::create("other"))?;
        equal("at the same place", other.who().place.0.into(), meant.who().place.0.into())?;
        let request = match request.grant_all() {
            Err((request, refusal)) => {
                refused::<()>("not that one", Err(refusal), Status::NotFound)?;
                request
            }
            Ok(()) => return Err(Failure { what: "a stranger", got: 1, want: 0 }),
        };
        made(request.refuse())?;
        let request = next_request()?;
        ensure("for whom", request.wish == Wish::Peer(other.who().place))?;
        made(request.grant_all().map_err(|(_, refusal)| refusal))?;
        crate::tools::ended(mistaken, Cause::Off)?;
        made(other.destroy())
    });
    done()
}

fn next_request() -> Result<Request, Failure> {
    let mut taken = None;
    wait("a request", || {
        taken = made(take_request())?;
        Ok(taken.is_some())
    })?;
    taken.ok_or(Failure { what: "none", got: 0, want: 1 })
}

fn modest_has() -> Result<u64, Failure> {
    let modest: Partition = named("modest")?;
    Ok(made(modest.account(PORTS))?.limit.unwrap_or(0) - 4)
}

/// Asks the system control OS's policy program the same several times, and for ways to others, and says what it is told.
pub(crate) fn wants() -> ! {
    let port = talk::create_receive().ok();
    for word in platform::command_line().split_whitespace() {
        let Some((what, amount)) = word.split_once('=') else { continue };
        let Ok(amount) = amount.parse::<u64>() else { continue };
        let wish = match what {
            "ports" => more(amount),
            "memory" => Wish::More(Resource::Memory, amount),
            "peer" => Wish::Peer(shikiri_abi::PartitionSlot(amount as u8)),
            // Of its last vCPU, by so many ppm.
            "time" => Wish::Time(VcpuIndex(1), amount as u32),
            "vcpus" => Wish::Vcpus(amount as u8),
            _ => continue,
        };
        let Some(port) = port else { break };
        match answered(wish, port) {
            Ok(Ok(granted)) => println!("{what} {amount}: granted {granted}"),
            Ok(Err(refusal)) => println!("{what} {amount}: {refusal}"),
            Err(failure) => println!("FAIL {failure}"),
        }
    }
    println!("wants no more");
    loop {
        // Its account stays.
        timer::spin(1_000_000);
    }
}
