//! `part`: partitions.

mod forms;

use core::time::Duration;

use shikiri_abi::{PartitionRef, Resource};
use shikiri_machine::{
    Act, Align, Amount, NewPartition, Partition, Phase, Refusal, Span, Table, is_enforced,
    resource_named, resource_word, resource_words,
};

use super::{Command, Failure, Said, account, look, misused, partition};
use crate::system::System;

/// The pause between two looks at a partition that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long what takes a moment is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const COMMAND: Command = Command {
    name: "part",
    usage: "",
    summary: "partitions: look at them, make them, start and end them",
    page: "PARTITION is a name, or an id after `#`. An id is never used twice; each start gives a new one under the same name.",
    forms: forms::FORMS,
    run: |arguments, system, said| match arguments {
        ["list"] => list(system, said),
        ["show", word] => show(word, system, said),
        ["images"] => {
            let images = system.machine().images()?;
            said.say(images.iter().map(|name| format!("{name}\n")).collect::<String>());
            Ok(())
        }
        ["create", name, options @ ..] => create(name, options, system, said),
        ["limit", word, resource, amount @ ..] if amount.len() <= 1 => {
            limit((word, resource, amount.first().copied()), system, said)
        }
        ["wait", word, state, time @ ..] if time.len() <= 1 => {
            wait(word, state, time.first().copied(), system)
        }
        ["log", word] => look::log(word, system, said),
        ["console", word] => look::console(word, system, said),
        [verb, word] if act_named(verb).is_some() => act(verb, word, system, said),
        _ => COMMAND.misfit(arguments, "what about partitions?"),
    },
};

fn list(system: &mut dyn System, said: &mut Said<'_>) -> Result<(), Failure> {
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("id", Align::Right),
        ("state", Align::Left),
        ("vCPUs", Align::Right),
        ("memory", Align::Right),
        ("starts", Align::Right),
        ("last end", Align::Left),
    ]);
    for it in system.machine().partitions()? {
        let account = system.machine().account(it.id)?;
        let resource = Resource::Memory;
        let memory = Amount { resource, value: account.line(resource).used };
        let mark = if it.makes_policy { "*" } else { "" };
        table.row([
            format!("{}{mark}", it.name),
            it.id_text(),
            it.phase.to_string(),
            it.vcpus.to_string(),
            memory.to_string(),
            it.starts.to_string(),
            it.cause.map_or_else(String::new, |cause| cause.to_string()),
        ]);
    }
    said.say(table);
    Ok(())
}

fn show(word: &str, system: &mut dyn System, said: &mut Said<'_>) -> Result<(), Failure> {
    let it = partition(word, system)?;
    let shown = it.id_text();
    let Partition { id, name, phase, cause, vcpus, starts, is_dynamic, makes_policy } = it;
    let times = if starts == 1 { "once".to_owned() } else { format!("{starts} times") };
    said.say(format_args!("{name} (id {shown}): {phase}, started {times}"));
    if let Some(cause) = cause {
        said.say(format_args!(", last end: {cause}"));
    }
    let plural = if vcpus == 1 { "" } else { "s" };
    said.say(format_args!("\n{vcpus} vCPU{plural}\n"));
    said.say(if is_dynamic { "made at run time" } else { "from the description" });
    said.say(if makes_policy { ", makes policy\n" } else { "\n" });
    if is_dynamic && let Some(words) = system.machine().made_of(id)? {
        said.say(format_args!("{words}\n"));
    }
    account::show(&system.machine().account(id)?, said);
    Ok(())
}

/// What a verb does; `stop` is what people try first.
fn act_named(verb: &str) -> Option<Act> {
    let verb = if verb == "stop" { "end" } else { verb };
    Act::ALL.into_iter().find(|act| act.word() == verb)
}

fn act(
    verb: &str,
    word: &str,
    system: &mut dyn System,
    said: &mut Said<'_>,
) -> Result<(), Failure> {
    let Some(act) = act_named(verb) else { return misused(verb) };
    let it = partition(word, system)?;
    if act == Act::End {
        return end(&it, system, said);
    }
    let mut id = it.id;
    if matches!(act, Act::Start | Act::Restart) && system.machine().is_held_first(id)? {
        id = with_tree(&it, act, system)?;
    } else {
        id = system.machine().act(id, act)?;
    }
    if id != it.id {
        said.say(format_args!("{} has the id {} now\n", it.name, id.id.0));
    }
    Ok(())
}

/// Ends one, and says so when it is over. With the partition that makes policy this shell ends: what to do then is said before.
fn end(it: &Partition, system: &mut dyn System, said: &mut Said<'_>) -> Result<(), Failure> {
    let name = &it.name;
    if it.makes_policy {
        said.say(format_args!(
            "{name} is to end, and this shell with it; at the operator console (Ctrl-A c) `start {name}` starts it again\n"
        ));
        said.flush(system).map_err(|error| Failure::Other(error.to_string()))?;
    }
    system.machine().act(it.id, Act::End)?;
    let end = system.now().saturating_add(PATIENCE);
    loop {
        let now = system.machine().partitions()?.into_iter().find(|now| now.name == *name);
        // Somebody may have started it again since, or have destroyed it.
        let is_over = now.is_none_or(|now| now.id != it.id || now.phase == Phase::Ended);
        if is_over || system.now() >= end {
            let how = if is_over { "has ended" } else { "is ending" };
            said.say(format_args!("{name} {how}\n"));
            return Ok(());
        }
        look_again_later(system)?;
    }
}

/// Starts one that gets a device tree, when it is built; to start it again it is ended first. What somebody else does meanwhile counts.
fn with_tree(it: &Partition, act: Act, system: &mut dyn System) -> Result<PartitionRef, Failure> {
    let is_over = matches!(it.phase, Phase::Created | Phase::Ended);
    if act == Act::Restart && !is_over {
        system.machine().act(it.id, Act::End)?;
        until(&it.name, system, |now| now.phase == Phase::Ended)?;
    } else if matches!(it.phase, Phase::Active | Phase::Paused) {
        return Err(Refusal::of_state(act, it).into());
    }
    let begun = system.machine().act(it.id, Act::Start);
    let built = until(&it.name, system, |now| now.phase != Phase::Building)?;
    match (built.phase, built.cause) {
        // Whoever has begun it.
        (Phase::Held, _) => Ok(system.machine().act(built.id, Act::Start)?),
        (Phase::Active | Phase::Paused, _) => Ok(built.id),
        (Phase::Ended | Phase::Ending, Some(cause)) if begun.is_ok() => {
            Err(Failure::Other(format!("{} has ended: {cause}", it.name)))
        }
        _ => {
            begun?;
            Ok(built.id)
        }
    }
}

/// Looks at a partition until it is as it is to be, for a minute at most.
fn until(
    name: &str,
    system: &mut dyn System,
    is_so: fn(&Partition) -> bool,
) -> Result<Partition, Failure> {
    let end = system.now().saturating_add(PATIENCE);
    loop {
        let it = partition(name, system)?;
        if is_so(&it) {
            return Ok(it);
        }
        if system.now() >= end {
            let text = format!("{name} is still {} after {}", it.phase, Span(PATIENCE));
            return Err(Failure::Other(text));
        }
        look_again_later(system)?;
    }
}

/// The pause between two looks; ^C ends it and the looking.
fn look_again_later(system: &mut dyn System) -> Result<(), Failure> {
    system.sleep(LOOK_AGAIN);
    if system.is_interrupted() { Err(Failure::Interrupted) } else { Ok(()) }
}

fn limit(
    (word, resource, amount): (&str, &str, Option<&str>),
    system: &mut dyn System,
    said: &mut Said<'_>,
) -> Result<(), Failure> {
    let resource = named(resource)?;
    let it = partition(word, system)?;
    match amount {
        None => {
            let line = system.machine().account(it.id)?.line(resource);
            let amount = |value| Amount { resource, value }.to_string();
            said.say(line.limit.map_or_else(|| "none".to_owned(), amount));
            said.say("\n");
        }
        Some("none") => system.machine().set_limit(it.id, resource, None)?,
        Some(text) => {
            let amount = Amount::parse(resource, text)?;
            system.machine().set_limit(it.id, resource, Some(amount.value))?;
            if !is_enforced(resource) {
                said.say(format_args!(
                    "{} is recorded, and not enforced\n",
                    resource_word(resource)
                ));
            }
        }
    }
    Ok(())
}

fn named(word: &str) -> Result<Resource, Failure> {
    match resource_named(word) {
        Some(resource) => Ok(resource),
        None => misused(format!("there is no resource `{word}`; there are {}", resource_words())),
    }
}

fn wait(
    word: &str,
    state: &str,
    time: Option<&str>,
    system: &mut dyn System,
) -> Result<(), Failure> {
    const STATES: [Phase; 4] = [Phase::Created, Phase::Active, Phase::Paused, Phase::Ended];
    let Some(wanted) = STATES.into_iter().find(|phase| phase.to_string() == state) else {
        let states = STATES.map(|phase| phase.to_string()).join(", ");
        return misused(format!("`{state}` is no state to wait for; those are {states}"));
    };
    let patience =
        time.map_or(Ok(Duration::from_secs(10)), |time| Span::parse(time).map(|it| it.0))?;
    let until = system.now().saturating_add(patience);
    loop {
        let it = partition(word, system)?;
        if it.phase == wanted {
            return Ok(());
        }
        if system.now() >= until {
            let text = format!("{word} is {} and not {state} after {}", it.phase, Span(patience));
            return Err(Failure::Other(text));
        }
        look_again_later(system)?;
    }
}

fn create(
    name: &str,
    options: &[&str],
    system: &mut dyn System,
    said: &mut Said<'_>,
) -> Result<(), Failure> {
    let new = NewPartition::read(name, options.iter().copied()).map_err(Failure::Misused)?;
    let id = system.machine().create(&new)?;
    said.say(format_args!("{name} has the id {}; `part start {name}` starts it\n", id.id.0));
    Ok(())
}
