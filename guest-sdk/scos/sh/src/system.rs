//! What the shell needs of the system that it runs on.

use core::time::Duration;
use std::io;

use shikiri_machine::Machine;

use crate::line::Pipeline;

/// What came of programs that were run.
pub type Started = io::Result<i32>;

/// Programs, time, and the machine.
pub trait System {
    /// The machine, for the shell's own commands.
    fn machine(&mut self) -> &mut dyn Machine;

    /// Runs programs as one pipeline and waits for the last one; its result, 128 + the signal's number if one ended it.
    ///
    /// # Errors
    /// A program or a file of a redirection that is not there.
    fn run(&mut self, pipeline: &Pipeline) -> Started;

    /// Writes what a command of the shell's own says, with its redirections.
    ///
    /// # Errors
    /// The file or the terminal cannot be written.
    fn write(&mut self, command: &crate::Simple, text: &str) -> io::Result<()>;

    /// The time since some moment.
    fn now(&self) -> Duration;

    /// Waits for a while, or until ^C is typed.
    fn sleep(&mut self, span: Duration);

    /// Whether ^C was typed since the line began, or has ended a program of it.
    fn is_interrupted(&self) -> bool;

    /// Has each key come at once and unseen, until [`System::whole_lines`], which always follows.
    fn single_keys(&mut self);

    /// Has keys come as lines again, which are edited and echoed.
    fn whole_lines(&mut self);

    /// Waits for a while; true if a key was pressed meanwhile. After [`System::single_keys`].
    fn pause(&mut self, span: Duration) -> bool;

    /// Changes the directory.
    ///
    /// # Errors
    /// There is none of that name.
    fn change_directory(&mut self, path: &str) -> io::Result<()>;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;

    /// Sets a variable, for programs too.
    fn set_variable(&mut self, name: &str, value: &str);
}
