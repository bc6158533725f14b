//! The shell's own commands: one file for each topic.

mod account;
mod look;
mod own;
mod part;
mod programs;
mod top;

use core::fmt;
use std::io;

use shikiri_machine::{BadAmount, Partition, Refusal};

use crate::line::Simple;
use crate::system::System;

pub use programs::{PROGRAMS, Page};

/// A command of the shell's own.
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// How it is used, a line for each form.
    pub usage: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What there is to know about it.
    pub page: &'static str,
    /// What it does with its first word.
    pub forms: &'static [Form],
    /// Does it.
    pub(crate) run: Run,
}

/// What a command does with its first word: a command of two words.
pub struct Form {
    /// The word; others of the same meaning stand behind it.
    pub words: &'static [&'static str],
    /// How it is used, in a line.
    pub usage: &'static str,
    /// What there is to know about it.
    pub page: &'static str,
}

impl Command {
    /// What it does with this first word.
    pub(crate) fn form(&self, word: &str) -> Option<&'static Form> {
        self.forms.iter().find(|form| form.words.contains(&word))
    }

    /// How it is used: with such a first word, if there is one, or at all.
    pub(crate) fn usage_with(&self, first: Option<&str>) -> String {
        if let Some(form) = first.and_then(|word| self.form(word)) {
            return form.usage.to_owned();
        }
        let words: Vec<&str> =
            self.forms.iter().filter_map(|form| form.words.first().copied()).collect();
        let with_words =
            format!("{} {} …; `help {} WORD` says how", self.name, words.join("|"), self.name);
        let usages = [self.usage, if words.is_empty() { "" } else { &with_words }];
        usages.into_iter().filter(|usage| !usage.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// That these words do not fit: what is missing, or that there are too many; `what` is what the command does, for who names none of its words.
    pub(crate) fn misfit<T>(&self, arguments: &[&str], what: &str) -> Result<T, Failure> {
        let Some((word, given)) = arguments.split_first() else { return misused(what) };
        let Some(form) = self.form(word) else {
            return misused(format!("`{word}` is nothing that {} does", self.name));
        };
        let wanted = form.usage.split_whitespace().skip(2).filter(|it| !it.starts_with('['));
        match wanted.into_iter().nth(given.len()) {
            Some(missing) => misused(format!("{word}: {missing} is missing")),
            None => {
                let last = given.last().unwrap_or(word);
                misused(format!("{word}: `{last}` is one word too many"))
            }
        }
    }
}

type Run = fn(&[&str], &mut dyn System, &mut Said<'_>) -> Result<(), Failure>;

/// All of them, in the order of `help`.
pub const COMMANDS: &[Command] = &[
    part::COMMAND,
    account::COMMAND,
    look::CHAN,
    look::EV,
    top::COMMAND,
    look::TRACE,
    own::CD,
    own::SET,
    own::ECHO,
    own::TRUE,
    own::HELP,
    own::EXIT,
];

/// The command with this name.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// Why a command did not do it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not called as it has to be.
    Misused(String),
    /// The hypervisor refused.
    Refused(Refusal),
    /// ^C was typed.
    Interrupted,
    /// Something else, in words.
    Other(String),
}

impl Failure {
    pub(crate) const fn is_misuse(&self) -> bool {
        matches!(self, Self::Misused(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misused(text) | Self::Other(text) => f.write_str(text),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<BadAmount> for Failure {
    fn from(bad: BadAmount) -> Self {
        Self::Misused(bad.to_string())
    }
}

pub(crate) fn misused<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Misused(text.into()))
}

/// That a word is one too many, and what is wanted.
pub(crate) fn too_many(word: &str, wanted: &str) -> String {
    format!("`{word}` is one word too many: {wanted}")
}

/// What a command says, and what else comes of it.
pub(crate) struct Said<'a> {
    command: &'a Simple,
    text: String,
    /// The shell is to end.
    pub(crate) is_over: bool,
    /// The result, if it is neither success nor failure.
    pub(crate) result: Option<i32>,
}

impl<'a> Said<'a> {
    pub(crate) const fn new(command: &'a Simple) -> Self {
        Self { command, text: String::new(), is_over: false, result: None }
    }

    /// Says something.
    pub(crate) fn say(&mut self, text: impl fmt::Display) {
        self.text += &text.to_string();
    }

    /// Writes what was said so far.
    pub(crate) fn flush(&mut self, system: &mut dyn System) -> io::Result<()> {
        let text = core::mem::take(&mut self.text);
        if text.is_empty() { Ok(()) } else { system.write(self.command, &text) }
    }
}

/// The partition that a word means: a name, or an id with `#` before it.
pub(crate) fn partition(word: &str, system: &mut dyn System) -> Result<Partition, Failure> {
    let partitions = system.machine().partitions()?;
    // One that was never started has none.
    let id = word.strip_prefix('#').and_then(|id| id.parse::<u32>().ok()).filter(|id| *id != 0);
    let found = partitions.iter().find(|it| it.name == word || id == Some(it.id.id.0));
    match found {
        Some(found) => Ok(found.clone()),
        None => {
            // As it was asked.
            let name = |it: &Partition| match (word.strip_prefix('#'), it.id.id.0) {
                (Some(_), id @ 1..) => format!("#{id} ({})", it.name),
                _ => it.name.clone(),
            };
            let names = partitions.iter().map(name).collect::<Vec<_>>().join(", ");
            Err(Failure::Other(format!("there is no partition `{word}`; there are {names}")))
        }
    }
}
