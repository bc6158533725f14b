//! Copies files, or its input, to its output.

use std::fs::File;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    match copy() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn copy() -> io::Result<()> {
    let mut output = io::stdout().lock();
    let files: Vec<String> = std::env::args().skip(1).collect();
    for file in &files {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{file}: {error}"));
        let mut input = File::open(file).map_err(named)?;
        io::copy(&mut input, &mut output).map_err(named)?;
    }
    if files.is_empty() {
        io::copy(&mut io::stdin().lock(), &mut output)?;
    }
    output.flush()
}
