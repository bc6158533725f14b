//! Lists a folder.

use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    match std::fs::read_dir(&folder) {
        Ok(entries) => {
            let mut names: Vec<String> = entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            println!("{}", names.join("\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ls: {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}
