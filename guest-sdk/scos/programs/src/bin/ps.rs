//! Lists the processes.

use std::fs;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    match list() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ps: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> io::Result<()> {
    println!("  PID  PPID S THREADS     KiB COMMAND");
    let entries =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut ids: Vec<u32> = entries.collect();
    ids.sort_unstable();
    for id in ids {
        // It may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or("?");
        let kib = field(21).parse().map_or(0, |pages: u64| pages * 4);
        let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        println!("{id:5} {:>5} {} {:>7} {kib:>7} {command}", field(1), field(0), field(17));
    }
    Ok(())
}
