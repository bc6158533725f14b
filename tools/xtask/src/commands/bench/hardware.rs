//! The same rows in cycles, from a real board: `cargo xtask bench --board rpi4 --hardware PORT` listens to its serial line.
//!
//! The board boots `boards/rpi4/systems/cycles.toml` or `cycles-shared.toml` from a card (`cargo xtask image`). Here, the tests let QEMU's
//! board speak at a pseudo-terminal: what its cycles are is of no account, only that all rows come.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use shikiri_qemu_tests::{Board, Machine, System, paths, system};

use crate::bench_table::{self, Values};
use crate::commands::{build, setup};
use crate::doc_table;
use crate::process::step;
use crate::serial_port::{self, Line};

/// What the hypervisor says when the last guest is done.
const END: &str = "all partitions have ended";
/// How many cycles 1,024 ticks of the counter are, from a guest that has both.
const RATIO: &str = "cycles_per_1024_ticks";

/// The rows of the system `cycles-shared`; all others are of `cycles`.
const SHARED: [&str; 3] = ["event_flood_witness", "vcpu_switch", "vcpu_wake"];

/// Rows that no guest can measure, and why.
const NOT_ON_HARDWARE: [(&str, &str); 6] = [
    ("channel_send_short_60_partitions", "58 more partitions are no system of their own"),
    ("reset_4_core", FROM_OUTSIDE),
    ("linux_boot", FROM_OUTSIDE),
    ("linux_boot_bare", FROM_OUTSIDE),
    ("linux_boot_more_ppm", FROM_OUTSIDE),
    ("linux_boot_el2_ppm", FROM_OUTSIDE),
];
const FROM_OUTSIDE: &str = "counted from outside of the machine";

/// Listens until the board is done or `patience` is over, and prints the rows beside the instructions of `table`.
pub(super) fn collect(port: &str, table: &str, patience: Duration) -> Result<()> {
    step(&format!("listening to {port}: turn the board on"));
    let text = listen(serial_port::open(port)?, patience)?;
    let found = rows_of(&text)?;
    print!("{}", beside(table, &found)?);
    Ok(())
}

/// All that comes, up to [`END`]; each line is shown.
fn listen(line: Box<dyn Line>, patience: Duration) -> Result<String> {
    let lines = lines_of(line);
    let deadline = Instant::now() + patience;
    let mut text = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A board that never stops talking is not done either.
        let next =
            if left.is_zero() { Err(RecvTimeoutError::Timeout) } else { lines.recv_timeout(left) };
        match next {
            Ok(line) => {
                eprintln!("  | {line}");
                writeln!(text, "{line}")?;
                if line.contains(END) {
                    return Ok(text);
                }
                ensure!(!line.contains("boot refused"), "the board does not boot: {line}");
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("the board was not done after {} s", patience.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the line was closed"),
        }
    }
}

/// The lines as they come; the thread ends with the line.
fn lines_of(line: Box<dyn Line>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(line);
        let mut bytes = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut bytes) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The rows in cycles. Those that say that they are ticks are made cycles by the ratio that another guest has found.
fn rows_of(text: &str) -> Result<Values> {
    let mut rows = bench_table::rows_of(text);
    let ratio = rows.remove(RATIO);
    let ticks =
        bench_table::rows_of(&text.replace("bench: ", "").replace("bench-ticks: ", "bench: "));
    for (name, ticks) in ticks {
        let ratio =
            ratio.with_context(|| format!("{name} is in ticks, and nobody said {RATIO}"))?;
        rows.insert(name, ticks.saturating_mul(ratio) / 1024);
    }
    Ok(rows)
}

/// The table with the cycles as one more column; an error names each row that the system should have and has not.
fn beside(table: &str, found: &Values) -> Result<String> {
    let is_shared = SHARED.iter().any(|name| found.contains_key(*name));
    let mut text = "| row | what | instructions | cycles |\n|---|---|--:|--:|\n".to_owned();
    let mut missing = BTreeSet::new();
    for line in table.lines().skip(2) {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [name, what, _limit, instructions] = cells[..] else { continue };
        let is_here = SHARED.contains(&name) == is_shared
            && !NOT_ON_HARDWARE.iter().any(|(exempt, _)| *exempt == name);
        match found.get(name) {
            Some(cycles) => {
                let cycles = bench_table::grouped(*cycles);
                writeln!(text, "| {name} | {what} | {instructions} | {cycles} |")?;
            }
            None if is_here => drop(missing.insert(name)),
            None => {}
        }
    }
    ensure!(missing.is_empty(), "{text}not measured: {}", Vec::from_iter(missing).join(", "));
    Ok(text)
}

/// The same against QEMU's board, at a pseudo-terminal.
pub(crate) fn check_against_qemu() -> Result<()> {
    setup::qemu()?;
    setup::linux()?;
    build::all()?;
    let table = doc_table::read(&paths::root().join("hyp/doc/spec.md"), super::rpi4::TABLE)?;
    for name in ["cycles", "cycles-shared"] {
        let bundle = System::find_on(Board::Rpi4, name)?.compile(&Machine::rpi4())?.bundle;
        // Stopped until somebody listens: what nobody reads is lost.
        let machine = Machine::rpi4().console_at("pty").args(["-S", "-monitor", "stdio"]);
        let mut running = system::start(&machine, paths::hypervisor(), &bundle, None)?;
        running.wait_for("char device redirected to ", super::TIMEOUT)?;
        let port = running.wait_for(" ", super::TIMEOUT)?;
        let line = serial_port::open(port.trim())?;
        running.send("cont\n")?;
        print!("{}", beside(&table, &rows_of(&listen(line, super::TIMEOUT)?)?)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| row | what | limit | measured |\n|---|---|--:|--:|\n\
                         | null_call | HVC | 60 | 57 |\n| vcpu_wake | a wake | 100 | 90 |\n\
                         | reset_4_core | start | 10 | 9 |\n";

    #[test]
    fn ticks_become_cycles_by_the_ratio_of_whoever_has_both() {
        let text = "a| bench-ticks: vcpu_wake 10\nb| bench: cycles_per_1024_ticks 2048\n\
                    b| bench: event_flood_witness 7\n";
        let rows = rows_of(text).unwrap();
        let expected = [("event_flood_witness", 7), ("vcpu_wake", 20)];
        assert_eq!(rows, expected.map(|(name, value)| (name.to_owned(), value)).into());
        let error = rows_of("a| bench-ticks: vcpu_wake 10\n").unwrap_err().to_string();
        assert_eq!(error, "vcpu_wake is in ticks, and nobody said cycles_per_1024_ticks");
    }

    #[test]
    fn cycles_stand_beside_the_instructions() {
        let found = Values::from([("null_call".to_owned(), 1234)]);
        let text = beside(TABLE, &found).unwrap();
        assert!(text.ends_with("|--:|--:|\n| null_call | HVC | 57 | 1,234 |\n"), "{text}");
    }

    #[test]
    fn each_row_that_the_system_should_have_is_missed_by_name() {
        let error = beside(TABLE, &Values::new()).unwrap_err().to_string();
        assert!(error.ends_with("not measured: null_call"), "{error}");
        let shared = Values::from([("event_flood_witness".to_owned(), 1)]);
        let error = beside(TABLE, &shared).unwrap_err().to_string();
        assert!(error.ends_with("not measured: vcpu_wake"), "{error}");
    }

    #[test]
    fn a_board_that_does_not_boot_or_falls_silent_ends_the_listening() {
        let text = b"shikiri: [01]\r\nshikiri: boot refused: no\r\n";
        let line = Box::new(std::io::Cursor::new(text.to_vec()));
        let error = listen(line, Duration::from_secs(5)).unwrap_err().to_string();
        assert_eq!(error, "the board does not boot: shikiri: boot refused: no");
        let error = listen(Box::new(std::io::Cursor::new(Vec::new())), Duration::from_secs(5));
        assert_eq!(error.unwrap_err().to_string(), "the line was closed");
    }
}
