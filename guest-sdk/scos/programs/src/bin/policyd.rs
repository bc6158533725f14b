//! The policy program: `policyd [FILE]`, by default `/etc/policy.toml`.

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use shikiri_machine::{Act, Device, Door, Events, Machine, Refusal};
use shikiri_policyd::{Action, Engine, FILE, Policy, Seen};

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
        match turn(&mut engine, &mut machine, start) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(refusal) => return refusal.to_string(),
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

/// One look, and all that comes of it; whether the next one comes at once.
fn turn(engine: &mut Engine, machine: &mut dyn Machine, start: Instant) -> Result<bool, Refusal> {
    machine.take_notices()?;
    let is_more = shikiri_policyd::answer(engine.policy(), machine, &mut say)?;
    let partitions = machine.partitions()?;
    for action in engine.look(Seen { partitions: &partitions, now: start.elapsed() }) {
        if let Err(refusal) = carry_out(&action, engine, machine)
            && let Some(text) = engine.refused(&action, &refusal, start.elapsed())
        {
            say(&text);
        }
    }
    Ok(is_more)
}

fn carry_out(
    action: &Action,
    engine: &mut Engine,
    machine: &mut dyn Machine,
) -> Result<(), Refusal> {
    match action {
        Action::Create(_, new) => {
            let id = machine.create(new)?;
            say(&format!("{} is made (id {})", new.name, id.id.0));
        }
        Action::Describe(_, new) => machine.describe(new)?,
        Action::Limit(_, id, resource, limit) => {
            machine.set_limit(*id, *resource, Some(*limit))?;
        }
        Action::Permit(from, to) => machine.permit(*from, *to, true)?,
        Action::Start(position, id) => engine.started(*position, machine.act(*id, Act::Start)?),
        Action::Say(text) => say(text),
    }
    Ok(())
}
