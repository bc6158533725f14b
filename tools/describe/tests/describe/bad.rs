//! Every file in `tests/bad` is refused with exactly the message beside it. The name's first word chooses the board.
//!
//! After a deliberate change of messages: `UPDATE=1 cargo test -p shikiri-describe bad`, then read the differences.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::{Board, rendered, request};

const FOLDER: &str = "tests/bad";

#[test]
fn bad_descriptions_are_refused_with_their_message() {
    let mut wrong = Vec::new();
    let files = descriptions();
    assert!(files.len() >= 30, "only {} bad descriptions", files.len());
    for file in &files {
        if let Err(difference) = check(file) {
            wrong.push(difference);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn descriptions() -> BTreeSet<PathBuf> {
    let entries = Path::new(FOLDER).read_dir().unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "toml")).collect()
}

fn check(file: &Path) -> Result<(), String> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let board = match name.split_once('-') {
        Some(("gic2", _)) => Board::VirtGic2,
        Some(("odd", _)) => Board::Odd,
        Some(("pi", _)) => Board::Rpi4,
        Some(("crowded", _)) => Board::Crowded,
        _ => Board::VirtGic3,
    };
    let Err(report) = shikiri_describe::compile(&request(file, board)) else {
        return Err(format!("{} is accepted", file.display()));
    };
    let found = rendered(&report);
    let expected_file = file.with_extension("txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&expected_file, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
    if found == expected {
        Ok(())
    } else {
        Err(format!("{}:\n--- expected\n{expected}--- found\n{found}", file.display()))
    }
}
