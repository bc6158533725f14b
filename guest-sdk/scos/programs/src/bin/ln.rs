//! Makes a symbolic link: `ln TARGET LINK`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [target, link] = words.as_slice() else {
        eprintln!("usage: ln TARGET LINK");
        return ExitCode::from(2);
    };
    match std::os::unix::fs::symlink(target, link) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ln: {link}: {error}");
            ExitCode::FAILURE
        }
    }
}
