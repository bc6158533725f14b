//! The processes of this system.

use std::fs;
use std::process;

/// Those that run a program of this name, without the one that asks.
#[must_use]
pub fn of_program(name: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| u32::try_from(*id).is_ok_and(|id| id != process::id()))
        .filter(|id| {
            let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let program = words.split(|byte| *byte == 0).next().unwrap_or_default();
            program.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes())
        })
        .collect()
}
