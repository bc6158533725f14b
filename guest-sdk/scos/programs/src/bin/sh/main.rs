//! The shell as a program: `sh`, `sh SCRIPT`, `sh -c LINE`.

mod unix;

use std::env;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use shikiri_sh::Shell;

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
    ExitCode::from(u8::try_from(shell.result()).unwrap_or(u8::MAX))
}

fn complain(text: &str) {
    eprintln!("{text}");
}

/// Runs lines as they are typed, or come through a pipe, until there are no more.
fn interact(shell: &mut Shell, system: &mut Unix) {
    let is_typed = io::stdin().is_terminal();
    if is_typed {
        system.guard_the_prompt();
        print!("{}", system.greeting());
    }
    while !shell.is_over() {
        if is_typed {
            print!("{}", system.prompt());
        }
        let mut line = String::new();
        if io::stdout().flush().is_err() {
            return;
        }
        match io::stdin().read_line(&mut line) {
            Ok(0) => {
                if is_typed {
                    println!();
                }
                return;
            }
            Ok(_) => shell.run(&line, system, &mut complain),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                complain("that line is not UTF-8");
            }
            Err(error) => {
                complain(&format!("cannot read: {error}"));
                return;
            }
        }
    }
}
