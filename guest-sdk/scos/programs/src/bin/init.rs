//! The first program: runs what the command line names (`run=PROGRAM,ARGUMENT,…`) and ends the partition with it; or for ever the policy
//! program, if there is a policy, what the command line names as services (`service=PROGRAM,ARGUMENT,…`), and a shell. It waits for all
//! processes that have nobody else to wait for them.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{getpgrp, tcsetpgrp};
use shikiri_scos_programs::os::{self, Ended};

/// What the policy program goes by.
const POLICY: &str = "/etc/policy.toml";
/// The pause before the policy program, or a service, is started again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause before what could not be started is tried again.
const LONGEST: Duration = Duration::from_secs(60);
/// How often init looks whether something is due, in milliseconds.
const TICK_MS: i64 = 100;
/// What it ends with when the policy is wrong: another start would change nothing.
const WRONG_POLICY: i32 = 2;

fn main() -> ExitCode {
    let wanted = std::env::args().find_map(|word| word.strip_prefix("run=").map(str::to_owned));
    match wanted {
        Some(line) => run(&line),
        None => shells(),
    }
}

/// Runs one program with its arguments, and says how it ended.
fn run(line: &str) -> ExitCode {
    let mut words = line.split(',');
    let program = words.next().unwrap_or_default();
    match ended(Command::new(format!("/bin/{program}")).args(words)) {
        Ok(Ended::Exit(status)) => {
            println!("init: {program}: exit status: {status}");
            if status == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(how) => {
            println!("init: {program}: {how:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("init: {program} cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How a program ends; meanwhile this one waits for all whose parents have ended before them.
fn ended(command: &mut Command) -> io::Result<Ended> {
    let child = command.spawn()?;
    loop {
        match os::wait(-1, 0) {
            Ok((id, how)) if u32::try_from(id) == Ok(child.id()) => return Ok(how),
            Ok(_) | Err(libc::EINTR) => {}
            Err(error) => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// A program that is started again when it has ended.
struct Kept {
    /// What it is, for messages.
    what: String,
    /// The words that start it.
    words: Vec<String>,
    /// Its process, while it runs.
    process: Option<u32>,
    /// When it is to be started, if it does not run.
    due: Option<Instant>,
    /// The pause after an end.
    pause: Duration,
    /// The pause after the next start that fails.
    patience: Duration,
    /// What it ends with when another start would change nothing.
    useless: Option<i32>,
    /// Somebody types at it: the terminal's keys are for it and whom it starts, and for nobody else that is kept.
    has_terminal: bool,
}

impl Kept {
    fn new(what: String, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let due = Some(Instant::now());
        Self {
            what,
            words,
            process: None,
            due,
            pause: PAUSE,
            patience: PAUSE,
            useless: None,
            has_terminal: false,
        }
    }

    /// Starts it, if its time has come. What cannot be started, for want of memory perhaps, is tried again later and later.
    fn tend(&mut self) {
        let now = Instant::now();
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let Some((program, arguments)) = self.words.split_first() else { return };
        let mut command = Command::new(program);
        command.args(arguments);
        if self.has_terminal {
            take_terminal();
        } else {
            // ^C and its like go to the process group in the terminal's foreground.
            command.process_group(0);
        }
        match command.spawn() {
            Ok(child) => {
                (self.process, self.due, self.patience) = (Some(child.id()), None, PAUSE);
            }
            Err(error) => {
                let pause = self.patience;
                let seconds = pause.as_secs();
                let what = &self.what;
                println!("init: {what} cannot be started: {error}; tried again in {seconds}s");
                (self.due, self.patience) = (Some(now + pause), (pause * 2).min(LONGEST));
            }
        }
    }

    fn has_ended(&mut self, how: Ended) {
        println!("init: the {} has ended: {how:?}", self.what);
        self.process = None;
        if self.useless.is_none_or(|status| how != Ended::Exit(status)) {
            self.due = Some(Instant::now() + self.pause);
        }
    }
}

/// The policy program, if there is a policy, the services that the command line names, and a shell; each is started again when it has
/// ended. All are waited for whose parents have ended before them.
fn shells() -> ExitCode {
    println!("scos: ready");
    let mut kept = Vec::new();
    if Path::new(POLICY).exists() {
        // Each one finds the machine as it is.
        let policy = Kept::new("policy program".to_owned(), &["/bin/policyd", POLICY]);
        kept.push(Kept { useless: Some(WRONG_POLICY), ..policy });
    }
    let words: Vec<String> = std::env::args().collect();
    for line in words.iter().filter_map(|word| word.strip_prefix("service=")) {
        let words: Vec<&str> = line.split(',').collect();
        let mut service = Kept::new(format!("service {line}"), &words);
        if let Some(program) = service.words.first_mut() {
            program.insert_str(0, "/bin/");
        }
        kept.push(service);
    }
    let shell = Kept::new("shell".to_owned(), &["/bin/sh"]);
    kept.push(Kept { pause: Duration::ZERO, has_terminal: true, ..shell });
    if os::handle(libc::SIGALRM, wake, 0).is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        kept.iter_mut().for_each(Kept::tend);
        // It comes again and again: one that came just before the wait would be missed.
        let ticks = if kept.iter().any(|it| it.due.is_some()) { TICK_MS } else { 0 };
        os::set_alarm(ticks, ticks);
        let (id, how) = match os::wait(-1, 0) {
            Ok((id, how)) => (u32::try_from(id).ok(), how),
            // A tick; or there is no child, and then nothing comes but ticks.
            Err(_) => {
                if kept.iter().all(|it| it.process.is_none()) {
                    thread::sleep(Duration::from_millis(TICK_MS.unsigned_abs()));
                }
                continue;
            }
        };
        if let Some(it) = kept.iter_mut().find(|it| it.process.is_some() && it.process == id) {
            it.has_ended(how);
        }
    }
}

/// Brings this process's group, in which the shell begins, to the terminal's foreground: what ran there may have outlived its shell.
fn take_terminal() {
    // A shell that cannot have it says so itself.
    let _is_taken = tcsetpgrp(io::stdin().as_fd(), getpgrp());
}

extern "C" fn wake(_signal: libc::c_int) {}
