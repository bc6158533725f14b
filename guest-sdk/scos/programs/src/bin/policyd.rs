//! The policy program: `policyd [FILE]`, by default `/etc/policy.toml`.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use shikiri_machine::{Act, Device, Door, Events, Machine, Refusal};
use shikiri_policyd::{Action, Engine, FILE, Policy, Seen};
use shikiri_scos_programs::processes;

/// Where the notes are that each policy program leaves to the next one of the same file, for this life of the system.
const NOTES: &str = "/run/policyd";

fn main() -> ExitCode {
    let path = env::args().nth(1).unwrap_or_else(|| FILE.to_owned());
    let policy = match fs::read_to_string(&path) {
        Ok(text) => Policy::parse(&text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match policy {
        Ok(policy) => {
            // Two would answer and start the same partitions by turns.
            if let Some(other) = processes::of_program("policyd").first() {
                say(&format!(
                    "another one runs already, as process {other}; where init keeps it, `kill policyd` starts it anew"
                ));
                return ExitCode::FAILURE;
            }
            let failure = govern(Engine::new(policy), Notes::of(&path));
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
fn govern(mut engine: Engine, mut notes: Notes) -> String {
    let device = Device::open();
    let mut events = match device.events() {
        Ok(events) => events,
        Err(error) => return format!("{}: {error}", shikiri_machine::DEVICE),
    };
    let mut machine = Door(device);
    let mut begun = match begin(&mut engine, &mut machine, &mut notes) {
        Ok(begun) => begun,
        Err(refusal) => return refusal.to_string(),
    };
    loop {
        let turned = turn(&mut engine, &mut machine);
        notes.keep(&engine);
        begun.take().into_iter().for_each(say);
        match turned {
            Ok(true) => continue,
            Ok(false) => {}
            Err(refusal) => return refusal.to_string(),
        }
        if let Err(error) = wait(&engine, &mut events) {
            return format!("{}: {error}", shikiri_machine::DEVICE);
        }
    }
}

/// Goes on where the policy program before has stopped, if there was one: in this life of the system, or in one before. What there is to
/// say of it after the first look.
fn begin(
    engine: &mut Engine,
    machine: &mut dyn Machine,
    notes: &mut Notes,
) -> Result<Option<&'static str>, Refusal> {
    if let Some(text) = notes.read() {
        engine.go_on(text);
        return Ok(Some("goes on where the one before has stopped"));
    }
    // In this order: whose end is seen has a notice by then, if nobody has taken it.
    let found = machine.partitions()?;
    if found.iter().all(|it| !it.makes_policy || it.starts <= 1) {
        return Ok(None);
    }
    let told = machine.take_notices()?;
    engine.find(&found, &told).iter().for_each(|text| say(text));
    Ok(Some("goes on with the machine as it is"))
}

/// The file of notes.
struct Notes {
    path: PathBuf,
    /// What is in it; `None`: it is not there.
    written: Option<String>,
    /// The operator knows why it cannot be written.
    is_failing: bool,
}

impl Notes {
    /// Those of the policy in this file.
    fn of(policy: &str) -> Self {
        let name = policy.replace('/', "-");
        let path = Path::new(NOTES).join(name.trim_start_matches('-'));
        Self { path, written: None, is_failing: false }
    }

    /// What the policy program before this one has left.
    fn read(&mut self) -> Option<&str> {
        self.written = fs::read_to_string(&self.path).ok();
        self.written.as_deref()
    }

    /// Leaves what the next one has to know. What could not be written is tried again after each look, and said once.
    fn keep(&mut self, engine: &Engine) {
        let notes = engine.notes();
        if self.written.as_ref() == Some(&notes) {
            return;
        }
        match self.write(&notes) {
            Ok(()) => (self.written, self.is_failing) = (Some(notes), false),
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                say(&format!("{}: {error}", self.path.display()));
            }
            Err(_) => {}
        }
    }

    fn write(&self, notes: &str) -> io::Result<()> {
        fs::create_dir_all(NOTES)?;
        shikiri_machine::replace(&self.path, notes.as_bytes())
    }
}

/// The time since the system's start: each policy program of this life counts the same.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Waits until the machine tells that something is otherwise than before, or the policy's next time has come.
fn wait(engine: &Engine, events: &mut Events) -> io::Result<bool> {
    events.wait(engine.next_look().map(|at| at.saturating_sub(now())))
}

/// One look, and all that comes of it; whether the next one comes at once.
fn turn(engine: &mut Engine, machine: &mut dyn Machine) -> Result<bool, Refusal> {
    machine.take_notices()?;
    let partitions = machine.partitions()?;
    for action in engine.look(Seen { partitions: &partitions, now: now() }) {
        if let Err(refusal) = carry_out(&action, engine, machine)
            && let Some(text) = engine.refused(&action, &refusal, now())
        {
            say(&text);
        }
    }
    // After the limits are set: what is granted goes on top of them.
    shikiri_policyd::answer(engine.policy(), machine, &mut say)
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
        Action::Limit(_, id, resource, limit) => {
            machine.set_limit(*id, *resource, Some(*limit))?;
        }
        Action::LimitIfUnset(_, id, resource, limit) => {
            if machine.account(*id)?.line(*resource).limit.is_none() {
                machine.set_limit(*id, *resource, Some(*limit))?;
            }
        }
        Action::Permit(from, to) => machine.permit(*from, *to, true)?,
        Action::Forbid(from, to) => machine.permit(*from, *to, false)?,
        Action::Start(position, id) => engine.started(*position, machine.act(*id, Act::Start)?),
        Action::GoOn(id) => {
            if machine.is_held_first(*id)? {
                machine.act(*id, Act::Start)?;
            }
        }
        Action::Say(text) => say(text),
    }
    Ok(())
}
