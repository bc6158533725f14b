//! The shell as a program: `sh`, `sh SCRIPT`, `sh -c LINE`.

mod terminal;
mod unix;

use std::env;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use shikiri_sh::{Shell, System as _};

use terminal::Typed;
use unix::Unix;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut system = Unix::new();
    let mut shell = Shell::new();
    match arguments.as_slice() {
        [] => interact(&mut shell, &mut system),
        ["-c", line] => shell.run(line, &mut system, &mut complain),
        [script] => match fs::read_to_string(script) {
            Ok(text) => shell.script(&text, &mut system, &mut |text| {
                complain(&format!("{script}: {text}"));
            }),
            Err(error) => {
                complain(&format!("{script}: {error}"));
                return ExitCode::from(127);
            }
        },
        _ => {
            complain("usage: sh [SCRIPT | -c LINE]");
            return ExitCode::from(2);
        }
    }
    if !arguments.is_empty() && system.is_interrupted() {
        // Ended by the same signal, so that whoever has started this shell does not go on either.
        terminal::end_by_interrupt();
    }
    ExitCode::from(u8::try_from(shell.result()).unwrap_or(u8::MAX))
}

fn complain(text: &str) {
    eprintln!("{text}");
}

/// Runs lines as they are typed, or come through a pipe, until there are no more.
fn interact(shell: &mut Shell, system: &mut Unix) {
    let is_typed = io::stdin().is_terminal();
    if is_typed {
        if let Err(error) = system.take_terminal() {
            complain(&format!("the terminal cannot be opened: {error}"));
        }
        print!("{}", system.greeting());
    }
    while !shell.is_over() {
        let line = match system.line() {
            Ok(Typed::Line(line)) => line,
            Ok(Typed::Interrupted) => {
                shell.interrupt();
                println!();
                continue;
            }
            Ok(Typed::End) => {
                if is_typed {
                    println!();
                }
                return;
            }
            Err(error) => {
                complain(&format!("cannot read: {error}"));
                return;
            }
        };
        match core::str::from_utf8(&line) {
            Ok(line) => shell.run(line, system, &mut complain),
            Err(_) => complain("that line is not UTF-8"),
        }
        if system.is_interrupted() {
            // The prompt is not to stand behind the `^C`.
            println!();
        }
    }
}
