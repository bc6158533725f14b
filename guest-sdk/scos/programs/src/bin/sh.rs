//! A small shell: programs by name or path, with arguments and `>`, `<`, `|`; `cd`, `exit`.

use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::process::{Child, Command, Stdio};

use libc::c_int;
use shikiri_scos_programs::os;

extern "C" fn nothing(_signal: c_int) {}

fn main() {
    // ^C is for the programs: a handler is gone in who is run, what is ignored would stay so.
    if let Err(error) = os::handle(libc::SIGINT, nothing, libc::SA_RESTART) {
        println!("sh: SIGINT cannot be handled: {error}");
    }
    let input = std::io::stdin();
    loop {
        print!("$ ");
        // A console that cannot be written to is the end.
        if std::io::stdout().flush().is_err() {
            return;
        }
        let mut line = String::new();
        match input.lock().read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["exit", ..] => return,
            ["cd", folder] => {
                if let Err(error) = std::env::set_current_dir(folder) {
                    println!("cd: {folder}: {error}");
                }
            }
            words => run(words),
        }
    }
}

/// Runs the programs of a line, each one's output the next one's input.
fn run(words: &[&str]) {
    let mut children: Vec<Child> = Vec::new();
    let mut input: Option<Stdio> = None;
    let pieces: Vec<&[&str]> = words.split(|word| *word == "|").collect();
    for (index, piece) in pieces.iter().enumerate() {
        let is_last = index + 1 == pieces.len();
        match start(piece, input.take(), is_last) {
            Ok(mut child) => {
                input = child.stdout.take().map(Stdio::from);
                children.push(child);
            }
            Err(error) => println!("{}: {error}", piece.first().unwrap_or(&"")),
        }
    }
    for mut child in children {
        match child.wait() {
            Ok(status) if !status.success() => println!("{status}"),
            Ok(_) => {}
            Err(error) => println!("wait: {error}"),
        }
    }
}

/// Starts a program.
fn start(words: &[&str], input: Option<Stdio>, is_last: bool) -> std::io::Result<Child> {
    let mut words = words.iter();
    let name = words.next().copied().unwrap_or_default();
    let path = if name.contains('/') { name.to_owned() } else { format!("/bin/{name}") };
    let mut command = Command::new(path);
    if let Some(input) = input {
        command.stdin(input);
    }
    if !is_last {
        command.stdout(Stdio::piped());
    }
    while let Some(word) = words.next() {
        match *word {
            ">" => {
                command.stdout(File::create(words.next().copied().unwrap_or_default())?);
            }
            "<" => {
                command.stdin(File::open(words.next().copied().unwrap_or_default())?);
            }
            word => {
                command.arg(word);
            }
        }
    }
    command.spawn()
}
