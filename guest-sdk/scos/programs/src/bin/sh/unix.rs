//! The system that the shell runs on: processes, files and the terminal by the standard library, which makes Linux's system calls.

use core::time::Duration;
use std::collections::BTreeMap;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgrp};
use shikiri_machine::Machine;
use shikiri_sh::{Pipeline, Redirect, Simple, Started, System};

use crate::terminal::{self, Keys, Terminal, Typed};

/// The system, and what the shell remembers of it.
pub(crate) struct Unix {
    machine: Box<dyn Machine>,
    start: Instant,
    /// Those that were set here; programs get them beside the environment that the shell itself was given.
    variables: BTreeMap<String, String>,
    /// The terminal, if somebody types at it.
    terminal: Option<Terminal>,
    /// While keys come one by one.
    keys: Option<Keys>,
}

impl Unix {
    /// The system as the shell finds it.
    pub(crate) fn new() -> Self {
        Self {
            machine: shikiri_machine::open(),
            start: Instant::now(),
            variables: BTreeMap::new(),
            terminal: None,
            keys: None,
        }
    }

    /// Somebody types at it: the terminal is the shell's, and ^C is for what it runs.
    ///
    /// # Errors
    /// It cannot be opened: lines are read as from a pipe.
    pub(crate) fn take_terminal(&mut self) -> io::Result<()> {
        self.terminal = Some(Terminal::take()?);
        Ok(())
    }

    /// The next line: after a prompt what is typed, else what comes through a pipe.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn line(&self) -> io::Result<Typed> {
        if let Some(terminal) = &self.terminal {
            return terminal.line(&self.prompt());
        }
        let mut line = Vec::new();
        Ok(match io::stdin().lock().read_until(b'\n', &mut line)? {
            0 => Typed::End,
            _ => Typed::Line(line),
        })
    }

    /// What a person sees first.
    pub(crate) fn greeting(&self) -> String {
        shikiri_sh::greeting(self.machine.as_ref())
    }

    /// What stands before a line.
    fn prompt(&self) -> String {
        let directory = env::current_dir().map_or("?".into(), |it| it.display().to_string());
        format!("shikiri:{directory}# ")
    }

    fn command(&self, simple: &Simple) -> io::Result<Command> {
        let (name, arguments) = simple
            .words
            .split_first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut command = Command::new(name);
        command.args(arguments).envs(&self.variables);
        for redirect in &simple.redirects {
            match redirect {
                Redirect::From(path) => command.stdin(open(path, OpenOptions::new().read(true))?),
                Redirect::To(_) | Redirect::Append(_) => command.stdout(target(redirect)?),
            };
        }
        Ok(command)
    }

    /// Starts all programs of a pipeline, in one process group.
    fn spawn(&self, pipeline: &Pipeline, children: &mut Vec<Child>) -> io::Result<()> {
        let mut input = None;
        for (at, simple) in pipeline.iter().enumerate() {
            let mut command = self.command(simple)?;
            let reads = simple.redirects.iter().any(|it| matches!(it, Redirect::From(_)));
            if let Some(input) = input.take().filter(|_| !reads) {
                command.stdin(Stdio::from(input));
            }
            let writes = simple.redirects.iter().any(|it| !matches!(it, Redirect::From(_)));
            let is_last = at + 1 == pipeline.len();
            if !is_last && !writes {
                command.stdout(Stdio::piped());
            }
            let group = children.first().map_or(0, |first| pid(first).as_raw());
            let child = command.process_group(group).spawn();
            let mut child = child.map_err(|error| named(&error, &simple.words))?;
            if children.is_empty() {
                terminal::give_to(pid(&child));
            }
            input = child.stdout.take();
            children.push(child);
        }
        Ok(())
    }

    /// A program's result. One that ^C has ended ends what stands behind it, in a script as well.
    fn result(status: ExitStatus) -> i32 {
        let Some(signal) = status.signal() else { return status.code().unwrap_or(0) };
        if [libc::SIGINT, libc::SIGQUIT].contains(&signal) {
            terminal::note_interrupt();
        }
        128 + signal
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(0))
}

fn named(error: &io::Error, words: &[String]) -> io::Error {
    let name = words.first().map_or("", String::as_str);
    let text = if error.kind() == io::ErrorKind::NotFound {
        format!("there is no program `{name}`")
    } else {
        format!("{name}: {error}")
    };
    io::Error::new(error.kind(), text)
}

fn open(path: &str, options: &OpenOptions) -> io::Result<File> {
    options.open(path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

/// The file that an output goes to.
fn target(redirect: &Redirect) -> io::Result<File> {
    match redirect {
        Redirect::From(path) | Redirect::To(path) => {
            open(path, OpenOptions::new().write(true).create(true).truncate(true))
        }
        Redirect::Append(path) => open(path, OpenOptions::new().append(true).create(true)),
    }
}

impl System for Unix {
    fn machine(&mut self) -> &mut dyn Machine {
        self.machine.as_mut()
    }

    fn run(&mut self, pipeline: &Pipeline) -> Started {
        io::stdout().flush()?;
        let mut children = Vec::new();
        let spawned = self.spawn(pipeline, &mut children);
        if let Some(first) = children.first().filter(|_| terminal::is_interrupted()) {
            // ^C came before they had the terminal; they may have ended already.
            let _was_there = killpg(pid(first), Signal::SIGINT);
        }
        let mut result = Ok(0);
        for mut child in children {
            if spawned.is_err() {
                // It waits for one that could not be started; it may have ended already.
                let _was_there = child.kill();
            }
            result = child.wait().map(Self::result);
        }
        terminal::give_to(getpgrp());
        spawned.and(result)
    }

    fn write(&mut self, command: &Simple, text: &str) -> io::Result<()> {
        let output = command.redirects.iter().rfind(|it| !matches!(it, Redirect::From(_)));
        match output {
            Some(redirect) => target(redirect)?.write_all(text.as_bytes()),
            None => io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()),
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&mut self, span: Duration) {
        terminal::sleep(span);
    }

    fn is_interrupted(&self) -> bool {
        terminal::is_interrupted()
    }

    fn single_keys(&mut self) {
        self.keys = Some(Keys::take());
    }

    fn whole_lines(&mut self) {
        self.keys = None;
    }

    fn pause(&mut self, span: Duration) -> bool {
        match &self.keys {
            Some(keys) => keys.wait(span),
            None => {
                terminal::sleep(span);
                terminal::is_interrupted()
            }
        }
    }

    fn change_directory(&mut self, path: &str) -> io::Result<()> {
        env::set_current_dir(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned().or_else(|| env::var(name).ok())
    }

    fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }
}
