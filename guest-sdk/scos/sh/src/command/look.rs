//! `chan`, `ev`, `trace`, and what `part` shows of consoles: a look into partitions, which notice nothing of it.

use core::time::Duration;

use shikiri_abi::Status;
use shikiri_machine::{Align, Exit, Partition, Stand, Table, Thing, What};

use super::{Command, Failure, Form, Said, misused, partition, too_many};
use crate::system::System;

pub(super) const CHAN: Command = Command {
    name: "chan",
    usage: "chan [PARTITION]",
    summary: "message channels, shared and message areas; who may talk to whom",
    page: "\
Shows the message ports and shared areas of one partition, or of all, how each stands and whom it is connected to: NAME:ENTRY is the
other end's entry in that partition's table. The message areas that a partition has are counted by their size. The states:

idle       never connected
asks       its request waits at the other partition
taken      the other partition has looked at the request and not answered it
connected  messages can go both ways
refused    the other partition has refused
gone       the other end was closed, or its partition has ended",
    forms: &[
        Form {
            words: &["permit"],
            usage: "chan permit FROM TO",
            page: "\
lets the partition FROM ask TO for connections, as `connect_to` and `accept_from` of a description do. That holds for later lives too, until either
is destroyed; but whose word stands in the policy file, that word is said again when one of the two is started. Both need handles, and FROM
requests (`help part create`)",
        },
        Form {
            words: &["forbid"],
            usage: "chan forbid FROM TO",
            page: "lets it do so no more: what is connected stays so",
        },
    ],
    run: |arguments, system, said| match arguments {
        ["permit", from, to] => talk((from, to), true, system),
        ["forbid", from, to] => talk((from, to), false, system),
        [word, ..] if CHAN.form(word).is_some() => CHAN.misfit(arguments, ""),
        _ => list(arguments, system, said, channel_rows),
    },
};

pub(super) const EV: Command = Command {
    name: "ev",
    usage: "ev [PARTITION]",
    summary: "event ports",
    page: "\
Shows the event ports of one partition, or of all: who is at the other end of those that send, and what those that receive are bound to. In
the column of their states `in use` says that something is connected (a port, a channel, or the hypervisor), `masked` that the guest does not listen,
`kept` that an event waits for it, `grouped` that the interrupt is shared with other ports.",
    forms: &[],
    run: |arguments, system, said| list(arguments, system, said, event_rows),
};

pub(super) const TRACE: Command = Command {
    name: "trace",
    usage: "trace PARTITION [VCPU]",
    summary: "why a partition came back to the hypervisor last",
    page: "\
Shows the last exits of a partition's vCPU (default 0), newest first, 16 at most: how long ago, where the guest was, and why. Only those are kept
that the hypervisor serves slowly: accesses to devices, trapped registers and instructions, faults. The partition runs on meanwhile.",
    forms: &[],
    run: |arguments, system, said| match arguments {
        [word] => trace(word, 0, system, said),
        [word, vcpu] => match vcpu.parse() {
            Ok(vcpu) => trace(word, vcpu, system, said),
            Err(_) => misused(format!("`{vcpu}` is no number of a vCPU, such as 0")),
        },
        [_, _, more, ..] => misused(too_many(more, "one partition, and perhaps a vCPU")),
        [] => misused("PARTITION is missing"),
    },
};

/// A row behind the partition's name: entry, what it is, how it stands, and its other end or what else there is to say.
type Cells = [String; 4];
type Rows = fn(&[Thing], &[Partition]) -> Vec<Cells>;

/// Says whether the first may ask the second for connections.
fn talk((from, to): (&str, &str), may: bool, system: &mut dyn System) -> Result<(), Failure> {
    let (from, to) = (partition(from, system)?, partition(to, system)?);
    Ok(system.machine().permit(from.id, to.id, may)?)
}

fn list(
    arguments: &[&str],
    system: &mut dyn System,
    said: &mut Said<'_>,
    rows: Rows,
) -> Result<(), Failure> {
    let all = system.machine().partitions()?;
    let chosen = match arguments {
        [] => all.clone(),
        [word] => vec![partition(word, system)?],
        [_, more, ..] => return misused(too_many(more, "one partition, or none")),
    };
    let mut table = Table::new(&[
        ("partition", Align::Left),
        ("entry", Align::Right),
        ("what", Align::Left),
        ("state", Align::Left),
        ("other end", Align::Left),
    ]);
    for it in &chosen {
        let things = match system.machine().things(it.id) {
            Ok(things) => things,
            // Those that do not live have nothing; asked for by name, that is the answer.
            Err(refusal) if arguments.is_empty() && is_no_life(refusal.status) => continue,
            Err(refusal) => return Err(refusal.into()),
        };
        for [entry, what, state, end] in rows(&things, &all) {
            table.row([it.name.clone(), entry, what, state, end]);
        }
    }
    said.say(table);
    Ok(())
}

const fn is_no_life(status: Status) -> bool {
    matches!(status, Status::WrongState | Status::PeerGone | Status::NotFound)
}

fn channel_rows(things: &[Thing], all: &[Partition]) -> Vec<Cells> {
    let mut rows = Vec::new();
    for Thing { entry, what } in things {
        let (what, (state, end)) = match what {
            What::Channel(stand) => ("message port", standing(*stand, all)),
            What::Shared(stand) => ("shared area", standing(*stand, all)),
            What::Attached(_) => ("shared area", ("attached", String::new())),
            What::Request(from) => ("request", asked(*from, all)),
            What::Send(_) | What::Receive { .. } | What::Area(_) | What::Object(_) => continue,
        };
        rows.push([entry.to_string(), what.to_owned(), state.to_owned(), end]);
    }
    for (class, size) in [(0, "4K"), (1, "2M"), (2, "1G")] {
        let count = things.iter().filter(|it| it.what == What::Area(class)).count();
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            let what = format!("{count} area{plural} of {size}");
            rows.push([String::new(), what, String::new(), String::new()]);
        }
    }
    rows
}

fn event_rows(things: &[Thing], all: &[Partition]) -> Vec<Cells> {
    let rows = things.iter().filter_map(|Thing { entry, what }| {
        let (what, state, end) = match what {
            What::Send(stand) => {
                let (state, end) = standing(*stand, all);
                ("send port", state.to_owned(), end)
            }
            What::Receive { is_connected, is_masked, is_pending, bound, is_grouped } => {
                let words = [
                    (*is_connected, "in use"),
                    (*is_masked, "masked"),
                    (*is_pending, "kept"),
                    (*is_grouped, "grouped"),
                ];
                let words: Vec<&str> =
                    words.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word).collect();
                let end = bound.map_or_else(String::new, |(intid, vcpu)| {
                    format!("interrupt {intid} of vCPU {vcpu}")
                });
                ("receive port", words.join(", "), end)
            }
            What::Channel(_)
            | What::Shared(_)
            | What::Attached(_)
            | What::Area(_)
            | What::Object(_)
            | What::Request(_) => return None,
        };
        Some([entry.to_string(), what.to_owned(), state, end])
    });
    rows.collect()
}

/// How a port stands, and its other end.
fn standing(stand: Stand, all: &[Partition]) -> (&'static str, String) {
    match stand {
        Stand::Idle => ("idle", String::new()),
        Stand::Waits(place) => ("asks", name_at(place, all)),
        Stand::Taken(place) => ("taken", name_at(place, all)),
        Stand::Connected(end) => {
            ("connected", format!("{}:{}", name_at(end.place, all), end.entry))
        }
        Stand::Refused => ("refused", String::new()),
        Stand::Gone => ("gone", String::new()),
    }
}

fn asked(from: Option<u8>, all: &[Partition]) -> (&'static str, String) {
    match from {
        Some(place) => ("to be answered", name_at(place, all)),
        None => ("withdrawn", String::new()),
    }
}

fn name_at(place: u8, all: &[Partition]) -> String {
    let found = all.iter().find(|it| it.id.place.0 == place);
    found.map_or_else(|| format!("place {place}"), |it| it.name.clone())
}

fn trace(
    word: &str,
    vcpu: u8,
    system: &mut dyn System,
    said: &mut Said<'_>,
) -> Result<(), Failure> {
    let it = partition(word, system)?;
    if u32::from(vcpu) >= it.vcpus {
        let (name, last) = (it.name, it.vcpus.saturating_sub(1));
        return Err(Failure::Other(format!("{name} has no vCPU {vcpu}; its last one is {last}")));
    }
    let mut table =
        Table::new(&[("ago", Align::Right), ("pc", Align::Right), ("why", Align::Left)]);
    for exit in system.machine().exits(it.id, vcpu)? {
        let Exit { ago, pc, .. } = exit;
        table.row([rounded(ago), format!("{pc:#x}"), exit.to_string()]);
    }
    said.say(if table.is_empty() {
        "no exit of that kind yet\n".to_owned()
    } else {
        table.to_string()
    });
    Ok(())
}

/// A time as people say it.
fn rounded(span: Duration) -> String {
    match span.as_micros() {
        us @ 0..10_000 => format!("{us} us"),
        us @ 10_000..10_000_000 => format!("{} ms", us / 1000),
        us => format!("{} s", us / 1_000_000),
    }
}

/// What a partition wrote last. Only text passes: another's control sequences are not for this terminal.
pub(super) fn log(word: &str, system: &mut dyn System, said: &mut Said<'_>) -> Result<(), Failure> {
    let it = partition(word, system)?;
    let (written, _) = match system.machine().console(it.id, 0) {
        Err(refusal) if refusal.status == Status::NotFound => return no_console(word),
        other => other?,
    };
    let text = plain(&String::from_utf8_lossy(&written));
    said.say(&text);
    said.say(if text.is_empty() || text.ends_with('\n') { "" } else { "\n" });
    Ok(())
}

/// A text without what would move the cursor or colour what follows (ECMA-48 control sequences).
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' | '\t' => plain.push(letter),
            '\x1b' if letters.peek() == Some(&'[') => {
                // Up to its final byte, 0x40 to 0x7e, behind the bracket.
                letters.next();
                letters.by_ref().find(|letter| ('@'..='~').contains(letter));
            }
            letter if letter.is_control() || letter == char::REPLACEMENT_CHARACTER => {}
            letter => plain.push(letter),
        }
    }
    plain
}

/// Gives the keyboard to a partition. What comes next is typed there.
pub(super) fn console(
    word: &str,
    system: &mut dyn System,
    said: &mut Said<'_>,
) -> Result<(), Failure> {
    let it = partition(word, system)?;
    let own = system.machine().partitions()?.into_iter().find(|it| it.makes_policy);
    match system.machine().focus(it.id) {
        Err(refusal) if refusal.status == Status::NotFound => return no_console(word),
        other => other?,
    }
    // The first place's console has the first number; of others the keys tell.
    let back = match own {
        Some(own) if own.id.place.0 == 0 => "Ctrl-A 1 brings it back",
        _ => "Ctrl-A n goes on to the next, Ctrl-A h shows them all",
    };
    said.say(format_args!("the keyboard is {}'s now; {back}\n", it.name));
    Ok(())
}

fn no_console<T>(word: &str) -> Result<T, Failure> {
    Err(Failure::Other(format!("{word} has no console now")))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn only_text_of_another_partition_passes() {
        assert_eq!(plain("a\r\nb\x1b[31mred\x1b[0m\t!\x07\n"), "a\nbred\t!\n");
        assert_eq!(plain("\x1b[2J\x1b[H\x1b]0;title\x07"), "]0;title");
        assert_eq!(plain("ends in \x1b[3"), "ends in ");
    }
}
