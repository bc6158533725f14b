//! The first program: runs what the command line names (`run=PROGRAM,ARGUMENT,…`) and ends the partition with it, or a shell
//! for ever. It waits for all processes that have nobody else to wait for them.

use std::process::{Command, ExitCode};

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
    match Command::new(format!("/bin/{program}")).args(words).status() {
        Ok(status) => {
            println!("init: {program}: {status}");
            if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
        match Command::new("/bin/sh").status() {
            Ok(status) => println!("init: the shell has ended: {status}"),
            Err(error) => {
                println!("init: there is no shell: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
}
