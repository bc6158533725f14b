//! The first program: runs what the command line names (`run=PROGRAM,ARGUMENT,…`) and ends the partition with it, or a shell
//! for ever. It waits for all processes that have nobody else to wait for them.

use std::process::{Command, ExitCode};

use shikiri_scos_programs::os::{self, Ended};

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

/// A shell, and another one when it ends.
fn shells() -> ExitCode {
    println!("scos: ready");
    loop {
        match ended(&mut Command::new("/bin/sh")) {
            Ok(how) => println!("init: the shell has ended: {how:?}"),
            Err(error) => {
                println!("init: there is no shell: {error}");
                return ExitCode::FAILURE;
            }
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
