//! What the operator can ask for.

use super::MachineView;
use core::fmt;

/// A command that has been understood; partitions are indices of the [`MachineView`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing was typed.
    Nothing,
    /// Show the commands.
    Help,
    /// Show all partitions.
    List,
    /// Show the accounts of one partition, or of all.
    Accounts(Option<usize>),
    /// Compare all books on frames.
    Audit,
    /// Show the log of the boot.
    Log,
    /// End a partition.
    Stop(usize),
    /// Start a partition that has ended.
    Start(usize),
    /// End a partition and start it again.
    Restart(usize),
    /// Show the vCPUs' registers and last exits.
    Dump(usize),
    /// Give a partition's console the keyboard.
    Focus(usize),
    /// Power the machine off.
    Off,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError<'a> {
    /// There is no such command; perhaps this one was meant.
    Unknown(&'a str, Option<&'static str>),
    /// There is no such partition; perhaps this one, by index, was meant.
    NoPartition(&'a str, Option<usize>),
    /// The command needs a partition's name.
    NameMissing(&'static str),
    /// There is a word too many.
    TooMany(&'a str),
}

/// One row of what can be typed.
pub(super) struct Entry {
    pub(super) word: &'static str,
    pub(super) argument: Argument,
    pub(super) text: &'static str,
    verb: Verb,
}

/// Whether a command takes a partition's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    No,
    Name,
    Optional,
}

impl Argument {
    /// As the help shows it, six columns wide.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::No => "      ",
            Self::Name => "NAME  ",
            Self::Optional => "[NAME]",
        }
    }
}

/// What is to be done, before it is known with which partition.
#[derive(Clone, Copy, Debug)]
enum Verb {
    List,
    Accounts,
    Stop,
    Start,
    Restart,
    Dump,
    Focus,
    Audit,
    Log,
    Off,
    Help,
}

const fn entry(word: &'static str, verb: Verb, argument: Argument, text: &'static str) -> Entry {
    Entry { word, argument, text, verb }
}

/// All that can be typed.
pub(super) const HELP: &[Entry] = &[
    entry("list", Verb::List, Argument::No, "partitions with their state, vCPUs, cores and memory"),
    entry(
        "accounts",
        Verb::Accounts,
        Argument::Optional,
        "what a partition, or each, may use and uses",
    ),
    entry("stop", Verb::Stop, Argument::Name, "end a partition"),
    entry("start", Verb::Start, Argument::Name, "start a partition that has ended"),
    entry("restart", Verb::Restart, Argument::Name, "end a partition and start it again"),
    entry("dump", Verb::Dump, Argument::Name, "a partition's registers and last exits"),
    entry(
        "focus",
        Verb::Focus,
        Argument::Name,
        "type to a partition's console (Ctrl-A c comes back)",
    ),
    entry("audit", Verb::Audit, Argument::No, "compare ledger, stage-2 tables and accounts"),
    entry("log", Verb::Log, Argument::No, "the log of the boot"),
    entry("off", Verb::Off, Argument::No, "power the machine off"),
    entry("help", Verb::Help, Argument::No, "this list"),
];

impl Command {
    /// Understands a line.
    ///
    /// # Errors
    /// [`CommandError`] names the word and, where one is near, what was probably meant.
    pub fn parse<'a>(
        line: &'a str,
        view: &(impl MachineView + ?Sized),
    ) -> Result<Self, CommandError<'a>> {
        let mut words = line.split_ascii_whitespace();
        let Some(word) = words.next() else { return Ok(Self::Nothing) };
        let name = words.next();
        if let Some(extra) = words.next() {
            return Err(CommandError::TooMany(extra));
        }
        let Some(entry) = HELP.iter().find(|entry| entry.word == word) else {
            return Err(CommandError::Unknown(word, nearest(word)));
        };
        let partition = match (entry.argument, name) {
            (Argument::No, Some(extra)) => return Err(CommandError::TooMany(extra)),
            (Argument::Name, None) => return Err(CommandError::NameMissing(entry.word)),
            (Argument::No | Argument::Optional, None) => None,
            (Argument::Name | Argument::Optional, Some(name)) => Some(find(name, view)?),
        };
        Ok(Self::of(entry.verb, partition))
    }

    fn of(verb: Verb, partition: Option<usize>) -> Self {
        // A command that needs a partition has one here.
        let index = partition.unwrap_or(usize::MAX);
        match verb {
            Verb::List => Self::List,
            Verb::Accounts => Self::Accounts(partition),
            Verb::Stop => Self::Stop(index),
            Verb::Start => Self::Start(index),
            Verb::Restart => Self::Restart(index),
            Verb::Dump => Self::Dump(index),
            Verb::Focus => Self::Focus(index),
            Verb::Audit => Self::Audit,
            Verb::Log => Self::Log,
            Verb::Off => Self::Off,
            Verb::Help => Self::Help,
        }
    }
}

impl CommandError<'_> {
    /// Writes one line that says what is wrong.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(
        &self,
        view: &(impl MachineView + ?Sized),
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        match self {
            Self::Unknown(word, Some(near)) => {
                writeln!(out, "no command '{word}': did you mean '{near}'?")
            }
            Self::Unknown(word, None) => writeln!(out, "no command '{word}': 'help' lists them"),
            Self::NoPartition(name, near) => match near.and_then(|index| view.partition(index)) {
                Some(row) => {
                    writeln!(out, "no partition '{name}': did you mean '{}'?", row.name)
                }
                None => writeln!(out, "no partition '{name}': 'list' shows them"),
            },
            Self::NameMissing(command) => {
                writeln!(out, "{command} needs a partition's name: 'list' shows them")
            }
            Self::TooMany(word) => writeln!(out, "'{word}' is one word too many"),
        }
    }
}

/// The index of the partition with this name.
fn find<'a>(name: &'a str, view: &(impl MachineView + ?Sized)) -> Result<usize, CommandError<'a>> {
    let rows =
        || (0..view.partition_count()).filter_map(|index| Some((index, view.partition(index)?)));
    if let Some((index, _)) = rows().find(|(_, row)| row.name.as_str() == name) {
        return Ok(index);
    }
    let near = rows()
        .map(|(index, row)| (distance(name, row.name.as_str()), index))
        .min()
        .filter(|(distance, _)| *distance <= NEAR)
        .map(|(_, index)| index);
    Err(CommandError::NoPartition(name, near))
}

/// So many letters may be wrong for a word to count as meant.
const NEAR: usize = 2;

fn nearest(word: &str) -> Option<&'static str> {
    HELP.iter()
        .map(|entry| (distance(word, entry.word), entry.word))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= NEAR)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be changed, added or removed (Levenshtein), counted up to the first 31.
fn distance(a: &str, b: &str) -> usize {
    let mut row: [usize; 32] = core::array::from_fn(|index| index);
    for (line, left) in (1_usize..).zip(a.bytes().take(31)) {
        let mut diagonal = core::mem::replace(&mut row[0], line);
        let mut left_cell = line;
        for (cell, right) in row.iter_mut().skip(1).zip(b.bytes()) {
            let changed = diagonal.saturating_add(usize::from(left != right));
            diagonal = *cell;
            *cell = changed.min(diagonal.saturating_add(1)).min(left_cell.saturating_add(1));
            left_cell = *cell;
        }
    }
    row.get(b.len().min(31)).copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in [
            ("", "", 0),
            ("list", "list", 0),
            ("lits", "list", 2),
            ("lst", "list", 1),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
            ("abc", "", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
        let long = "x".repeat(100);
        assert_eq!(distance(&long, &long), 0);
    }
}
