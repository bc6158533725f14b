//! The policy program: `policyd [FILE]`, by default `/etc/policy.toml`.

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use shikiri_machine::{
    Act, Amount, Asked, Device, Door, Events, Machine, Partition, Refusal, Wanted,
};
use shikiri_policyd::{Action, Answer, Engine, Judgement, Policy, Request, Seen};

/// Where the policy is, if nothing else is said.
const FILE: &str = "/etc/policy.toml";

fn main() -> ExitCode {
    let path = env::args().nth(1).unwrap_or_else(|| FILE.to_owned());
    let policy = match fs::read_to_string(&path) {
        Ok(text) => Policy::parse(&text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match policy {
        Ok(policy) => {
            let failure = govern(Engine::new(policy));
            say(&failure);
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("{path}: {error}"));
            ExitCode::from(2)
        }
    }
}

fn say(text: &str) {
    println!("policyd: {text}");
}

/// Looks at the machine whenever it tells of something, or the policy wants to; returns only why it no longer can.
fn govern(mut engine: Engine) -> String {
    let device = Device::open();
    let mut events = match device.events() {
        Ok(events) => events,
        Err(error) => return format!("{}: {error}", shikiri_machine::DEVICE),
    };
    let mut machine = Door(device);
    let start = Instant::now();
    loop {
        if let Err(refusal) = turn(&mut engine, &mut machine, start) {
            return refusal.to_string();
        }
        if let Err(error) = wait(&engine, &mut events, start.elapsed()) {
            return format!("{}: {error}", shikiri_machine::DEVICE);
        }
    }
}

/// Waits until the machine tells that something is otherwise than before, or the policy's next time has come.
fn wait(engine: &Engine, events: &mut Events, now: Duration) -> std::io::Result<bool> {
    events.wait(engine.next_look().map(|at| at.saturating_sub(now)))
}

/// One look, and all that comes of it.
fn turn(engine: &mut Engine, machine: &mut impl Machine, start: Instant) -> Result<(), Refusal> {
    machine.take_notices()?;
    let partitions = machine.partitions()?;
    answer(engine, machine, &partitions)?;
    for action in engine.look(Seen { partitions: &partitions, now: start.elapsed() }) {
        if let Err(refusal) = carry_out(&action, machine)
            && let Some(text) = engine.refused(&action, &refusal, start.elapsed())
        {
            say(&text);
        }
    }
    Ok(())
}

/// Answers the requests that wait.
fn answer(
    engine: &Engine,
    machine: &mut impl Machine,
    partitions: &[Partition],
) -> Result<(), Refusal> {
    // At most as many as there can be; others tell of themselves again.
    for _ in 0..64 {
        let Some(asked) = machine.take_request()? else { return Ok(()) };
        // Whoever asks may be newer than what was seen.
        let seen_now;
        let mut partitions = partitions;
        if partitions.iter().all(|it| it.id != asked.from) {
            seen_now = machine.partitions()?;
            partitions = &seen_now;
        }
        let Some(from) = partitions.iter().find(|it| it.id == asked.from) else { continue };
        let (what, judgement) = match judge(engine, machine, partitions, (from, asked)) {
            Ok(judged) => judged,
            // Whoever asked has gone.
            Err(_) => continue,
        };
        let granted = match judgement.answer {
            Answer::Grant(amount) => Some(amount),
            Answer::Refuse => None,
        };
        let answered = machine.answer(&asked, granted).or_else(|refusal| match refusal.over {
            // It is not there to be handed out: it is not left without an answer.
            Some(_) => machine.answer(&asked, None).and(Err(refusal)),
            None => Err(refusal),
        });
        let result = match (answered, granted) {
            (Err(refusal), _) => refusal.to_string(),
            (Ok(()), Some(_)) => format!("granted, {}", judgement.why),
            (Ok(()), None) => format!("refused, {}", judgement.why),
        };
        say(&format!("{} asks for {what}: {result}", from.name));
    }
    Ok(())
}

/// What is asked for, in words, and the judgement.
fn judge(
    engine: &Engine,
    machine: &impl Machine,
    partitions: &[Partition],
    (from, asked): (&Partition, Asked),
) -> Result<(String, Judgement), Refusal> {
    Ok(match asked.wanted {
        Wanted::More(resource, amount) => {
            let (own, handout) = (machine.account(from.id)?, machine.handout()?);
            let request = Request { from: from.id, resource, amount };
            let what = format!("{} {resource}", Amount { resource, value: amount });
            (what, engine.policy().judge(&from.name, &request, &own, &handout))
        }
        Wanted::Peer(place) => {
            let to = partitions.iter().find(|it| u64::from(it.id.place.0) == place);
            let to = to.map_or("", |to| to.name.as_str());
            (format!("a way to {to}"), engine.policy().judge_peer(&from.name, to))
        }
    })
}

fn carry_out(action: &Action, machine: &mut impl Machine) -> Result<(), Refusal> {
    match action {
        Action::Create(_, new) => {
            let id = machine.create(new)?;
            say(&format!("{} is made (id {})", new.name, id.id.0));
        }
        Action::Limit(_, id, resource, limit) => {
            machine.set_limit(*id, *resource, Some(*limit))?;
        }
        Action::Permit(from, to) => machine.permit(*from, *to, true)?,
        Action::Start(_, id) => {
            machine.act(*id, Act::Start)?;
        }
        Action::Say(text) => say(text),
    }
    Ok(())
}
