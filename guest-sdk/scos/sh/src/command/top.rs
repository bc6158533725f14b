//! `top`: who uses what, again and again.

use core::time::Duration;

use shikiri_abi::Resource;
use shikiri_machine::{Align, Amount, Partition, Span, Table};

use super::{Command, Failure, Said, misused};
use crate::system::System;

pub(super) const COMMAND: Command = Command {
    name: "top",
    usage: "top [-n TIMES] [-d TIME]",
    summary: "what the partitions use, live",
    page: "\
Shows the partitions and what they use, again after each TIME (default 1s), until a key is pressed; with -n, so often. What has changed since
the last time is marked with `*`.",
    forms: &[],
    run: |arguments, system, said| {
        let (times, pause) = options(arguments)?;
        system.single_keys();
        let result = live(times, pause, system, said);
        system.whole_lines();
        result
    },
};

/// Shows it so often, or until a key is pressed.
fn live(
    times: Option<u32>,
    pause: Duration,
    system: &mut dyn System,
    said: &mut Said<'_>,
) -> Result<(), Failure> {
    let mut before: Vec<Row> = Vec::new();
    let mut time = 0;
    loop {
        let rows = look(system)?;
        // The screen is cleared and written from its top left corner (ECMA-48 CUP, ED).
        said.say(if times == Some(1) { "" } else { "\x1b[H\x1b[2J" });
        said.say(show(&rows, &before));
        said.flush(system).map_err(|error| Failure::Other(error.to_string()))?;
        before = rows;
        time += 1;
        if times == Some(time) || system.pause(pause) {
            return Ok(());
        }
    }
}

fn options(arguments: &[&str]) -> Result<(Option<u32>, Duration), Failure> {
    let (mut times, mut pause) = (None, Duration::from_secs(1));
    let mut arguments = arguments.iter();
    while let Some(option) = arguments.next() {
        if !["-n", "-d"].contains(option) {
            return misused(format!("`{option}` is no option; -n and -d are"));
        }
        let Some(value) = arguments.next() else {
            return misused(format!("{option} needs a value"));
        };
        match *option {
            "-n" => match value.parse::<u32>() {
                Ok(number) if number > 0 => times = Some(number),
                _ => return misused(format!("`{value}` is no number of times; 1 and more are")),
            },
            _ => pause = Span::parse(value)?.0,
        }
    }
    Ok((times, pause))
}

/// A partition and what it uses.
struct Row {
    partition: Partition,
    used: [u64; 4],
}

const SHOWN: [(Resource, &str); 4] = [
    (Resource::CoreTime, "core time"),
    (Resource::Memory, "memory"),
    (Resource::ManagementMemory, "management"),
    (Resource::EventPorts, "ports"),
];

fn look(system: &mut dyn System) -> Result<Vec<Row>, Failure> {
    let machine = system.machine();
    let mut rows = Vec::new();
    for partition in machine.partitions()? {
        // One that has gone meanwhile is not shown.
        if let Ok(account) = machine.account(partition.id) {
            let used = SHOWN.map(|(resource, _)| account.line(resource).used);
            rows.push(Row { partition, used });
        }
    }
    Ok(rows)
}

fn show(rows: &[Row], before: &[Row]) -> Table {
    let mut columns =
        vec![("partition", Align::Left), ("id", Align::Right), ("state", Align::Left)];
    columns.extend(SHOWN.map(|(_, name)| (name, Align::Right)));
    let mut table = Table::new(&columns);
    for row in rows {
        let old = before.iter().find(|old| old.partition.name == row.partition.name);
        let has_changed = old.is_some_and(|old| old.partition.phase != row.partition.phase);
        let phase = format!("{}{}", row.partition.phase, mark(has_changed));
        let mut cells = vec![row.partition.name.clone(), row.partition.id_text(), phase];
        for (at, (resource, _)) in SHOWN.into_iter().enumerate() {
            let value = row.used.get(at).copied().unwrap_or(0);
            let has_changed =
                old.is_some_and(|old| old.used.get(at).is_some_and(|old| *old != value));
            cells.push(format!("{}{}", Amount { resource, value }, mark(has_changed)));
        }
        table.row(cells);
    }
    table
}

const fn mark(has_changed: bool) -> &'static str {
    if has_changed { "*" } else { "" }
}
