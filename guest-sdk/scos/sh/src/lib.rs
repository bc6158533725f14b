//! The shell of the system control OS: a prompt from which a machine is run.
//!
//! A line is taken apart by [`line`](parse), its words looked up among the shell's own commands, which look at partitions and act on
//! them through [`Machine`](shikiri_machine::Machine), and what is none of those is a program that [`System`] starts. Nothing here
//! makes a system call: the tests run the same shell on a machine of their own.

mod command;
mod greeting;
mod line;
mod shell;
mod system;

pub use command::{COMMANDS, Command, Form, PROGRAMS, Page};
pub use greeting::greeting;
pub use line::{BadLine, Joint, List, Pipeline, Redirect, Simple, Typed, Word, parse};
pub use shell::Shell;
pub use system::{Started, System};
