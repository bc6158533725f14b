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

/// Name, argument, explanation.
pub(super) const HELP: &[(&str, &str, &str)] = &[
    ("list", "", "partitions with their state, vCPUs, cores and memory"),
    ("accounts", "[NAME]", "what a partition, or each, may use and uses"),
    ("stop", "NAME", "end a partition"),
    ("start", "NAME", "start a partition that has ended"),
    ("restart", "NAME", "end a partition and start it again"),
    ("dump", "NAME", "a partition's registers and last exits"),
    ("focus", "NAME", "type to a partition's console (Ctrl-A c comes back)"),
    ("audit", "", "compare ledger, stage-2 tables and accounts"),
    ("log", "", "the log of the boot"),
    ("off", "", "power the machine off"),
    ("help", "", "this list"),
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
        let Some((command, argument, _)) = HELP.iter().find(|(command, ..)| *command == word)
        else {
            let commands = HELP.iter().map(|(command, ..)| *command);
            return Err(CommandError::Unknown(word, nearest(word, commands)));
        };
        match (*argument, name) {
            ("", Some(extra)) => return Err(CommandError::TooMany(extra)),
            ("NAME", None) => return Err(CommandError::NameMissing(command)),
            _ => {}
        }
        let partition = name.map(|name| find(name, view)).transpose()?;
        Ok(Self::of(command, partition))
    }

    fn of(command: &str, partition: Option<usize>) -> Self {
        match (command, partition) {
            ("list", _) => Self::List,
            ("accounts", partition) => Self::Accounts(partition),
            ("stop", Some(index)) => Self::Stop(index),
            ("start", Some(index)) => Self::Start(index),
            ("restart", Some(index)) => Self::Restart(index),
            ("dump", Some(index)) => Self::Dump(index),
            ("focus", Some(index)) => Self::Focus(index),
            ("audit", _) => Self::Audit,
            ("log", _) => Self::Log,
            ("off", _) => Self::Off,
            _ => Self::Help,
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

fn nearest(word: &str, words: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    words
        .map(|candidate| (distance(word, candidate), candidate))
        .min()
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
