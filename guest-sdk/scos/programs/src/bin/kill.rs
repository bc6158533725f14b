//! Sends a signal: `kill [-SIGNAL] PROCESS…`, where PROCESS is a number, or the name of a program of which one or more run.

use std::env;
use std::process::ExitCode;

use shikiri_scos_programs::{os, processes};

/// Signals by the names that people use.
const SIGNALS: [(&str, i32); 9] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("TERM", libc::SIGTERM),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let (signal, names) = match words.split_first() {
        Some((first, rest)) if first.starts_with('-') => (signal(&first[1..]), rest),
        _ => (Some(libc::SIGTERM), words.as_slice()),
    };
    let Some(signal) = signal.filter(|_| !names.is_empty()) else {
        eprintln!("usage: kill [-SIGNAL] PROCESS…");
        eprintln!("PROCESS: a number, as `ps` shows it, or a program's name; SIGNAL: a number, or");
        eprintln!("{}", SIGNALS.map(|(name, _)| name).join(", "));
        return ExitCode::from(2);
    };
    let mut result = ExitCode::SUCCESS;
    for name in names {
        if let Err(text) = send(name, signal) {
            eprintln!("kill: {name}: {text}");
            result = ExitCode::FAILURE;
        }
    }
    result
}

fn signal(word: &str) -> Option<i32> {
    let word = word.strip_prefix("SIG").unwrap_or(word);
    let named = SIGNALS.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    named.or_else(|| word.parse().ok().filter(|number| (0..=64).contains(number)))
}

fn send(name: &str, signal: i32) -> Result<(), String> {
    let ids = match name.parse() {
        Ok(id) => vec![id],
        Err(_) => processes::of_program(name),
    };
    if ids.is_empty() {
        return Err("no process of that name".to_owned());
    }
    for id in ids {
        let failure = |error| std::io::Error::from_raw_os_error(error).to_string();
        os::kill(id, signal).map_err(failure)?;
    }
    Ok(())
}
