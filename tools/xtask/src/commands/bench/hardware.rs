//! The same rows in cycles, from a real board: `cargo xtask bench --board rpi4 --hardware PORT` listens to its serial line.
//!
//! The board boots one of `boards/rpi4/systems/cycles*.toml`, or `hello`, from a card (`cargo xtask image`). Here, the tests let QEMU's
//! board speak at a pseudo-terminal: what its cycles are is of no account, only that all rows come.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::process::{self, step};
use crate::serial_port::{self, Line};

/// How long QEMU's board may take for one system; a busy host plays 60 partitions slowly.
const FOR_QEMU: Duration = Duration::from_secs(600);

/// What the hypervisor says when the last guest is done.
const END: &str = "all partitions have ended";
/// How many cycles 1,024 ticks of the counter are, from a guest that has both.
const RATIO: &str = "cycles_per_1024_ticks";

/// The rows of the systems beside `cycles`, which has all others.
const SYSTEMS: [(&str, &[&str]); 6] = [
    ("cycles-shared", &["event_flood_witness", "vcpu_switch", "vcpu_wake"]),
    ("cycles-60", &["channel_send_short_60_partitions", "channel_send_area_60_partitions"]),
    ("cycles-sockets", SOCKETS),
    ("cycles-policy", POLICY),
    ("cycles-linux", &["linux_boot"]),
    ("hello", &["reset_4_core"]),
];

/// Rows that no guest can measure: they are the time between two lines, with what the line itself takes.
const BY_LINE: [(&str, &str, &str); 2] = [
    ("reset_4_core", "[01] entered", "hello: 1 vCPU"),
    ("linux_boot", "partition linux (id 1) starts", "partition linux (id 1) has ended"),
];

/// Rows of guests that know the counter's ticks only.
const SOCKETS: &[&str] = &[
    "socket_short",
    "socket_file",
    "socket_mapping",
    "socket_poll_1",
    "socket_poll_64",
    "socket_select_1",
    "socket_select_64",
    "socket_epoll_64",
];
const POLICY: &[&str] = &["policy_create_to_guest", "policy_load_64k", "policy_request"];

/// Rows that do not come from a board: they are counted from outside of the machine, or there is no system for a board that has
/// their guests.
const NOT_ON_HARDWARE: [&str; 25] = [
    "linux_boot_bare",
    "linux_boot_more_ppm",
    "linux_boot_el2_ppm",
    "shared_in_4k",
    "shared_in_64k",
    "shared_in_2m",
    "shared_in_out_4k",
    "shared_in_out_64k",
    "shared_in_out_2m",
    "channel_one_way_2m_scattered",
    "channel_round_trip_2m_scattered",
    "witness_alone",
    "witness_alone_later",
    "event_flood_witness_later",
    "event_flood_witness_shared",
    "event_send_between",
    "event_send_between_60_partitions",
    "event_send_between_4000_ports",
    "event_other_between",
    "event_other_between_60_partitions",
    "event_other_between_4000_ports",
    "event_send_grouped_4000_ports",
    "event_send_disabled",
    "event_take_64",
    "event_take_none",
];

/// A line, and when it came.
type Heard = Vec<(Instant, String)>;

/// What stands in the last column, by row.
type Cells = BTreeMap<String, String>;

/// Listens until the board is done or `patience` is over, and prints the rows beside the instructions of `table`.
pub(super) fn collect(port: &str, table: &str, patience: Duration) -> Result<()> {
    step(&format!("listening to {port}: turn the board on"));
    let heard = listen(serial_port::open(port)?, patience)?;
    process::print(beside(table, &cells_of(&heard)?)?);
    Ok(())
}

/// All that comes, up to [`END`]; each line is shown.
fn listen(line: Box<dyn Line>, patience: Duration) -> Result<Heard> {
    let lines = lines_of(line);
    let deadline = Instant::now() + patience;
    let mut heard = Heard::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A board that never stops talking is not done either.
        let next =
            if left.is_zero() { Err(RecvTimeoutError::Timeout) } else { lines.recv_timeout(left) };
        match next {
            Ok((when, line)) => {
                eprintln!("  | {line}");
                ensure!(!line.contains("boot refused"), "the board does not boot: {line}");
                let is_last = line.contains(END);
                heard.push((when, line));
                if is_last {
                    return Ok(heard);
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("the board was not done after {} s", patience.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the line was closed"),
        }
    }
}

/// The lines as they come; the thread ends with the line.
fn lines_of(line: Box<dyn Line>) -> Receiver<(Instant, String)> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(line);
        let mut bytes = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut bytes) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send((Instant::now(), text)).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The rows in cycles. Those that are ticks are made cycles by the ratio that another guest has found.
fn rows_of(text: &str) -> Result<Values> {
    let mut rows = bench_table::rows_of(text);
    let ratio = rows.remove(RATIO);
    let mut ticks =
        bench_table::rows_of(&text.replace("bench: ", "").replace("bench-ticks: ", "bench: "));
    ticks.extend(SOCKETS.iter().chain(POLICY).filter_map(|name| rows.remove_entry(*name)));
    for (name, ticks) in ticks {
        let ratio =
            ratio.with_context(|| format!("{name} is in ticks, and nobody said {RATIO}"))?;
        rows.insert(name, ticks.saturating_mul(ratio) / 1024);
    }
    Ok(rows)
}

/// The rows of all lines: cycles, or the time between two of them.
fn cells_of(heard: &Heard) -> Result<Cells> {
    let text: Vec<&str> = heard.iter().map(|(_, line)| line.as_str()).collect();
    let cycles = rows_of(&text.join("\n"))?;
    let mut cells: Cells =
        cycles.iter().map(|(name, value)| (name.clone(), bench_table::grouped(*value))).collect();
    for (name, from, to) in BY_LINE {
        let at = |words: &str| heard.iter().find(|(_, line)| line.contains(words));
        if let (Some((from, _)), Some((to, _))) = (at(from), at(to)) {
            let taken = to.saturating_duration_since(*from).as_millis();
            cells.insert(name.to_owned(), format!("{taken} ms"));
        }
    }
    Ok(cells)
}

/// The table with the cycles as one more column; an error names each row that the system should have and has not.
fn beside(table: &str, found: &Cells) -> Result<String> {
    let others: Vec<&str> = SYSTEMS.iter().flat_map(|(_, rows)| rows.iter().copied()).collect();
    let system = SYSTEMS.iter().find(|(_, rows)| rows.iter().any(|row| found.contains_key(*row)));
    let mut text =
        "| row | what | instructions, without TLB and cache costs | cycles |\n|---|---|--:|--:|\n"
            .to_owned();
    let mut missing = BTreeSet::new();
    for line in table.lines().skip(2) {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [name, what, _limit, instructions] = cells[..] else { continue };
        let is_here = match system {
            Some((_, rows)) => rows.contains(&name),
            None => !others.contains(&name) && !NOT_ON_HARDWARE.contains(&name),
        };
        match found.get(name) {
            Some(cell) => writeln!(text, "| {name} | {what} | {instructions} | {cell} |")?,
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
    for name in ["cycles"].into_iter().chain(SYSTEMS.iter().map(|(name, _)| *name)) {
        let bundle = System::find_on(Board::Rpi4, name)?.compile(&Machine::rpi4())?.bundle;
        // Stopped until somebody listens, and not gone before all is read: what nobody has read by then is lost.
        let machine = Machine::rpi4().console_at("pty");
        let machine = machine.args(["-S", "-no-shutdown", "-monitor", "stdio"]);
        let mut running = system::start(&machine, paths::hypervisor(), &bundle, None)?;
        running.wait_for("char device redirected to ", super::TIMEOUT)?;
        let port = running.wait_for(" ", super::TIMEOUT)?;
        let line = serial_port::open(port.trim())?;
        running.send("cont\n")?;
        process::print(beside(&table, &cells_of(&listen(line, FOR_QEMU)?)?)?);
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
        let sockets = rows_of("a| bench: socket_short 300\nb| bench: cycles_per_1024_ticks 2048\n");
        assert_eq!(sockets.unwrap(), [("socket_short".to_owned(), 600)].into());
        let error = rows_of("a| bench-ticks: vcpu_wake 10\n").unwrap_err().to_string();
        assert_eq!(error, "vcpu_wake is in ticks, and nobody said cycles_per_1024_ticks");
    }

    /// Lines, a second apart.
    fn heard(lines: &[&str]) -> Heard {
        let start = Instant::now();
        let line = |(second, line): (u64, &&str)| {
            (start + Duration::from_secs(second), (*line).to_owned())
        };
        (0..).zip(lines).map(line).collect()
    }

    #[test]
    fn cycles_stand_beside_the_instructions() {
        let found = cells_of(&heard(&["a| bench: null_call 1234"])).unwrap();
        let text = beside(TABLE, &found).unwrap();
        assert!(text.ends_with("|--:|--:|\n| null_call | HVC | 57 | 1,234 |\n"), "{text}");
    }

    #[test]
    fn the_start_is_the_time_between_its_lines() {
        let lines = ["firmware", "shikiri: [01] entered (at EL2)", "[02]", "hello: 1 vCPU, 2"];
        let found = cells_of(&heard(&lines)).unwrap();
        let text = beside(TABLE, &found).unwrap();
        assert!(text.ends_with("| reset_4_core | start | 9 | 2000 ms |\n"), "{text}");
        assert!(cells_of(&heard(&lines[..3])).unwrap().is_empty());
    }

    #[test]
    fn every_row_comes_from_a_system_or_is_exempt_by_name() {
        let file = paths::root().join("hyp/doc/spec.md");
        let table = doc_table::read(&file, super::super::rpi4::TABLE).unwrap();
        let has = |name: &str| table.contains(&format!("| {name} |"));
        for (system, rows) in SYSTEMS {
            assert!(rows.iter().all(|row| has(row)), "{system}");
            let file = format!("boards/rpi4/systems/{system}.toml");
            assert!(paths::root().join(file).is_file(), "{system}");
        }
        assert!(NOT_ON_HARDWARE.iter().all(|name| has(name)));
    }

    #[test]
    fn each_row_that_the_system_should_have_is_missed_by_name() {
        let error = beside(TABLE, &Cells::new()).unwrap_err().to_string();
        assert!(error.ends_with("not measured: null_call"), "{error}");
        let shared = Cells::from([("event_flood_witness".to_owned(), "1".to_owned())]);
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
