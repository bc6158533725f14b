//! The system that the shell runs on: processes, files and the terminal by the standard library, which makes Linux's system calls.

use core::time::Duration;
use std::collections::BTreeMap;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getpgrp, tcsetpgrp};
use shikiri_machine::Machine;
use shikiri_scos_programs::os;
use shikiri_sh::{Pipeline, Redirect, Simple, Started, System};

extern "C" fn nothing(_signal: libc::c_int) {}

/// The system, and what the shell remembers of it.
pub(crate) struct Unix {
    machine: Box<dyn Machine>,
    start: Instant,
    /// Those that were set here; programs get them beside the environment that the shell itself was given.
    variables: BTreeMap<String, String>,
}

impl Unix {
    /// The system as the shell finds it.
    pub(crate) fn new() -> Self {
        Self { machine: shikiri_machine::open(), start: Instant::now(), variables: BTreeMap::new() }
    }

    /// ^C is for the programs: a handler is gone in who is run, what is ignored or held back would stay so.
    pub(crate) fn guard_the_prompt(&self) {
        for signal in [libc::SIGINT, libc::SIGQUIT] {
            if os::handle(signal, nothing, libc::SA_RESTART).is_err() {
                eprintln!("signal {signal} cannot be handled: it ends the shell");
            }
        }
    }

    /// What a person sees first.
    pub(crate) fn greeting(&self) -> String {
        shikiri_sh::greeting(self.machine.as_ref())
    }

    /// What stands before a line.
    pub(crate) fn prompt(&self) -> String {
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
                give_terminal(pid(&child));
            }
            input = child.stdout.take();
            children.push(child);
        }
        Ok(())
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

/// Lets a process group read from the terminal, and have its ^C.
fn give_terminal(group: Pid) {
    let terminal = io::stdin();
    if terminal.is_terminal() {
        // A group that has ended already needs none.
        let _is_given = tcsetpgrp(terminal.as_fd(), group);
    }
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
        let mut result = Ok(0);
        for mut child in children {
            if spawned.is_err() {
                // It waits for one that could not be started; it may have ended already.
                let _was_there = child.kill();
            }
            result = child
                .wait()
                .map(|status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        give_terminal(getpgrp());
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
        std::thread::sleep(span);
    }

    fn pause(&mut self, span: Duration) -> bool {
        let keys = io::stdin();
        if !keys.is_terminal() {
            std::thread::sleep(span);
            return false;
        }
        let mut wanted = [PollFd::new(keys.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(span).unwrap_or(PollTimeout::MAX);
        match poll(&mut wanted, patience) {
            Ok(0) => return false,
            Ok(_) => {}
            // ^C
            Err(_) => return true,
        }
        // The line that ended it is not a command.
        let mut line = [0; 256];
        keys.lock().read(&mut line).is_ok()
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
