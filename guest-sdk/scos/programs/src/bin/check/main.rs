//! Checks from inside that the system does what Linux does, by topics: `check TOPIC …`. Each line says `ok` or `FAIL`.

mod door;
mod epoll;
mod faults;
mod files;
mod hog;
mod memory;
mod pointers;
mod processes;
mod signals;
mod threads;
mod time;
mod turns;

use std::process::ExitCode;

/// The topics by name.
const TOPICS: [(&str, fn()); 14] = [
    ("processes", processes::check),
    ("turns", turns::check),
    ("files", files::check),
    ("epoll", epoll::check),
    ("time", time::check),
    ("threads", threads::check),
    ("signals", signals::check),
    ("faults", faults::check),
    ("memory", memory::check),
    ("pointers", pointers::check),
    ("door", door::check),
    ("takes", door::takes),
    ("answers", door::answers),
    ("listens", door::listens),
];

fn main() -> ExitCode {
    for wanted in std::env::args().skip(1) {
        let Some((name, check)) = TOPICS.iter().find(|(name, _)| *name == wanted) else {
            println!("FAIL there is no topic {wanted:?}");
            return ExitCode::FAILURE;
        };
        check();
        println!("done {name}");
    }
    ExitCode::SUCCESS
}
