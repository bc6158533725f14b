//! The first program: runs what the command line names (`run=PROGRAM,ARGUMENT,…`) and ends the partition with it, or the policy
//! program, if there is a policy, and a shell for ever. It waits for all processes that have nobody else to wait for them.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use shikiri_scos_programs::os::{self, Ended};

/// What the policy program goes by.
const POLICY: &str = "/etc/policy.toml";
/// The pause before a policy program that has ended is started again.
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

/// A shell, and the policy program if there is a policy; another one when one of them ends. All are waited for whose parents have
/// ended before them.
fn shells() -> ExitCode {
    println!("scos: ready");
    let mut policy =
        Path::new(POLICY).exists().then(|| start("policy program", &mut policyd())).flatten();
    let Some(mut shell) = start("shell", &mut Command::new("/bin/sh")) else {
        return ExitCode::FAILURE;
    };
    loop {
        let (id, how) = match os::wait(-1, 0) {
            Ok((id, how)) => (u32::try_from(id).ok(), how),
            Err(_) => continue,
        };
        if id == Some(shell) {
            println!("init: the shell has ended: {how:?}");
            let Some(next) = start("shell", &mut Command::new("/bin/sh")) else {
                return ExitCode::FAILURE;
            };
            shell = next;
        } else if id.is_some() && id == policy {
            println!("init: the policy program has ended: {how:?}");
            policy = None;
            if how != Ended::Exit(WRONG_POLICY) {
                thread::sleep(PAUSE);
                policy = start("policy program", &mut policyd());
            }
        }
    }
}

/// The policy program: each one finds the machine as it is.
fn policyd() -> Command {
    let mut command = Command::new("/bin/policyd");
    command.arg(POLICY);
    command
}

/// Starts a program; its process.
fn start(what: &str, command: &mut Command) -> Option<u32> {
    match command.spawn() {
        Ok(child) => Some(child.id()),
        Err(error) => {
            println!("init: there is no {what}: {error}");
            None
        }
    }
}
