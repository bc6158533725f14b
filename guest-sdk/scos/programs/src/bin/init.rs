//! The first program: runs what the command line names (`run=PROGRAM,ARGUMENT,…`) and ends the partition with it; or for ever the policy
//! program, if there is a policy, what the command line names as services (`service=PROGRAM,ARGUMENT,…`), and a shell. It waits for all
//! processes that have nobody else to wait for them.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use shikiri_scos_programs::os::{self, Ended};

/// What the policy program goes by.
const POLICY: &str = "/etc/policy.toml";
/// The pause before the policy program, or a service, is started again.
const PAUSE: Duration = Duration::from_secs(1);
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
fn ended(command: &mut Command) -> std::io::Result<Ended> {
    let child = command.spawn()?;
    loop {
        match os::wait(-1, 0) {
            Ok((id, how)) if u32::try_from(id) == Ok(child.id()) => return Ok(how),
            Ok(_) | Err(libc::EINTR) => {}
            Err(error) => return Err(std::io::Error::from_raw_os_error(error)),
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
    /// What it ends with when another start would change nothing.
    useless: Option<i32>,
}

impl Kept {
    fn new(what: String, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Self { what, words, process: None, useless: None }
    }

    /// Starts it; false if that cannot be.
    fn start(&mut self) -> bool {
        let Some((program, arguments)) = self.words.split_first() else { return false };
        match Command::new(program).args(arguments).spawn() {
            Ok(child) => self.process = Some(child.id()),
            Err(error) => println!("init: there is no {}: {error}", self.what),
        }
        self.process.is_some()
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
    for it in &mut kept {
        it.start();
    }
    let mut shell = Kept::new("shell".to_owned(), &["/bin/sh"]);
    if !shell.start() {
        return ExitCode::FAILURE;
    }
    loop {
        let (id, how) = match os::wait(-1, 0) {
            Ok((id, how)) => (u32::try_from(id).ok(), how),
            Err(_) => continue,
        };
        if id == shell.process {
            println!("init: the shell has ended: {how:?}");
            shell.process = None;
            if !shell.start() {
                return ExitCode::FAILURE;
            }
        } else if let Some(it) = kept.iter_mut().find(|it| it.process == id) {
            println!("init: the {} has ended: {how:?}", it.what);
            it.process = None;
            if it.useless.is_none_or(|status| how != Ended::Exit(status)) {
                thread::sleep(PAUSE);
                it.start();
            }
        }
    }
}
