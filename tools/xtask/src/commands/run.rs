//! `cargo xtask run`: boots a system in QEMU, with the terminal or the given end condition attached.

use std::ffi::OsString;
use std::io::{self, Read as _, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use shikiri_qemu_tests::console::{Console, Event};
use shikiri_qemu_tests::{
    Board, Ended, Gic, Machine, Overrides, Running, System, system as systems,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::commands::{build, setup};
use crate::process::step;
use crate::{process, terminal};

/// The key that ends the run from an interactive terminal: Ctrl-].
const QUIT_KEY: u8 = 0x1d;
/// The key that the hypervisor's own commands begin with: Ctrl-A.
const PREFIX_KEY: u8 = 0x01;

/// Boots a system in QEMU with the terminal attached.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The system: a name under boards/*/systems/, or the path of a .toml file.
    #[arg(default_value = "demo")]
    system: String,
    /// The board: a folder under boards/. Default: the description's own, or qemu-virt.
    #[arg(long, value_parser = board)]
    board: Option<Board>,
    /// The version of the interrupt controller, 2 or 3.
    #[arg(long, value_parser = gic)]
    gic: Option<Gic>,
    /// The CPU model, as QEMU names it.
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// The machine's number of cores.
    #[arg(long, value_name = "N")]
    cpus: Option<u32>,
    /// Ends with success as soon as this text appears on the console, also in a partition's line that others break; a single word
    /// not in the boot's numbered lines: "ready" is a guest's.
    #[arg(long, value_name = "TEXT")]
    until: Option<String>,
    /// Ends with exit code 1 after this time.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Runs deterministically, one instruction per nanosecond.
    #[arg(long)]
    icount: bool,
    /// Waits for a debugger before the first instruction, and says how to attach one.
    #[arg(long)]
    gdb: bool,
    /// Boots the images as they are, without building them first.
    #[arg(long)]
    no_build: bool,
    /// The user's own kernel or flat image, for a system with one such guest.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Its initrd.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Its command line.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    append: Option<String>,
    /// Its number of vCPUs.
    #[arg(long, value_name = "N")]
    vcpus: Option<u32>,
    /// The size of its memory, such as 256M.
    #[arg(long, value_name = "SIZE", value_parser = shikiri_describe::size)]
    memory: Option<u64>,
    /// Arguments handed to QEMU unchanged.
    #[arg(last = true, value_name = "QEMU ARGUMENTS")]
    qemu: Vec<OsString>,
}

/// Parses `--gic`.
pub(crate) fn gic(text: &str) -> Result<Gic, String> {
    match text {
        "2" => Ok(Gic::V2),
        "3" => Ok(Gic::V3),
        _ => Err("the interrupt controller is 2 or 3".into()),
    }
}

/// Parses `--board`.
pub(crate) fn board(text: &str) -> Result<Board, String> {
    Board::named(text).ok_or_else(|| {
        let names = Board::ALL.map(Board::folder).join(", ");
        format!("there is no such board for QEMU; there are: {names}")
    })
}

/// How a run came to its end.
#[derive(Debug)]
enum Outcome {
    Found,
    PoweredOff,
    TimedOut,
    Quit,
    Refused,
    Signal(i32),
    QemuFailed(ExitStatus),
}

impl Run {
    pub(crate) fn execute(&self) -> ExitCode {
        match self.session() {
            Ok(outcome) => self.report(&outcome),
            Err(error) => process::exit_code(Err(error)),
        }
    }

    fn session(&self) -> Result<Outcome> {
        for (flag, file) in [("--kernel", &self.kernel), ("--initrd", &self.initrd)] {
            check_file(flag, file.as_deref())?;
        }
        let system = System::find_on(self.board.unwrap_or(Board::QemuVirt), &self.system)?;
        let system = system.with(self.overrides());
        // As QEMU does for a kernel of its own; some wait for it.
        let system = if self.icount { system.seeded_alike() } else { system.seeded() };
        let mut machine = self.machine(&system)?;
        let port = self.gdb.then(free_port).transpose()?;
        if let Some(port) = port {
            machine = machine.gdb(port);
        }
        setup::qemu()?;
        if machine.board() == Board::Rpi4 {
            // Its device tree comes with the kernel.
            setup::linux()?;
        }
        if self.kernel.is_none() {
            setup::for_what_is_named_in(system.file())?;
        }
        if !self.no_build {
            build::all()?;
        }
        let compiled = system.compile(&machine)?;
        for note in &compiled.notes {
            eprintln!("note: {note}");
        }
        step(&format!("booting {}", system.file().display()));
        let stop = Arc::new(AtomicI32::new(RUNNING));
        let boot = BootWatch { ends: !self.gdb, ..BootWatch::default() };
        let takes_input = Arc::clone(&boot.takes_input);
        let is_in_line = Arc::<AtomicBool>::default();
        let tee = Tee { stop: Arc::clone(&stop), boot, is_in_line: Arc::clone(&is_in_line) };
        let running = systems::boot(&machine, &compiled.bundle, Some(Box::new(tee)))?;
        if let Some(port) = port {
            step(&how_to_attach(machine.board(), port));
        }
        self.attend(running, &stop, takes_input, &is_in_line)
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            kernel: self.kernel.clone(),
            initrd: self.initrd.clone(),
            append: self.append.clone(),
            vcpus: self.vcpus,
            memory: self.memory,
        }
    }

    /// The size of the user's own files, which stay in the machine's memory for restarts.
    fn file_bytes(&self) -> u64 {
        let files = self.kernel.iter().chain(&self.initrd);
        files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
    }

    /// What the description asks for, changed by the flags.
    fn machine(&self, system: &System) -> Result<Machine> {
        let mut machine = system.machine()?;
        if let Some(board) = self.board.filter(|board| *board != machine.board()) {
            machine = Machine::on(board);
        }
        if machine.board() == Board::Rpi4
            && (self.gic.is_some() || self.cpu.is_some() || self.cpus.is_some())
        {
            bail!(
                "QEMU's Raspberry Pi 4 has four Cortex-A72 and a GICv2: no --gic, --cpu or --cpus"
            );
        }
        if let Some(gic) = self.gic {
            machine = machine.gic(gic);
        }
        if let Some(model) = &self.cpu {
            machine = machine.cpu(model);
        }
        if let Some(cpus) = self.cpus {
            machine = machine.cpus(cpus);
        } else if let Some(vcpus) = self.vcpus {
            machine = machine.at_least_cpus(vcpus);
        }
        if let Some(memory) = self.memory {
            machine = machine.room_for(memory.saturating_add(self.file_bytes()));
        }
        if self.icount {
            machine = machine.icount();
        }
        Ok(machine.args(&self.qemu))
    }

    /// Connects the terminal, what is piped in as soon as the machine `takes_input`, and waits for one of the ends.
    fn attend(
        &self,
        mut running: Running,
        stop: &Arc<AtomicI32>,
        takes_input: Arc<AtomicBool>,
        is_in_line: &AtomicBool,
    ) -> Result<Outcome> {
        catch_signals(stop, running.console())?;
        let interactive = terminal::is_interactive();
        let raw = if interactive {
            eprintln!("(Ctrl-] ends QEMU; Ctrl-A h shows the hypervisor's own keys)");
            Some(terminal::Raw::enter().context("the terminal cannot be made raw")?)
        } else {
            None
        };
        if let Some(input) = running.take_input() {
            let (stop, console) = (Arc::clone(stop), running.console().clone());
            thread::spawn(move || {
                // What is piped in is there before the hypervisor has its console, and would be lost.
                if !interactive {
                    let is_due = || {
                        takes_input.load(Ordering::SeqCst) || stop.load(Ordering::SeqCst) != RUNNING
                    };
                    console.wait_for_any(None, None, is_due);
                }
                copy_input(input, interactive, &stop);
                console.wake();
            });
        }
        let outcome = self.wait(&mut running, stop);
        if is_in_line.load(Ordering::SeqCst)
            && !outcome.as_ref().is_ok_and(|end| self.is_plain(end))
        {
            // What is said now begins a line.
            eprintln!();
        }
        if let Ok(Outcome::QemuFailed(_)) = &outcome {
            eprint!("{}", running.messages());
        }
        drop(running);
        drop(raw);
        outcome
    }

    fn wait(&self, running: &mut Running, stop: &AtomicI32) -> Result<Outcome> {
        let deadline = self.timeout.and_then(|seconds| deadline(Instant::now(), seconds));
        // A user may want to look at a hypervisor that has failed: its alarm is no end.
        let event = running.console().wait_for_any(self.until.as_deref(), deadline, || {
            stop.load(Ordering::SeqCst) != RUNNING
        });
        Ok(match event {
            Event::Text => Outcome::Found,
            Event::TimedOut => Outcome::TimedOut,
            Event::Stopped => match stop.load(Ordering::SeqCst) {
                QUIT => Outcome::Quit,
                REFUSED => Outcome::Refused,
                signal => Outcome::Signal(signal),
            },
            Event::Closed => match running.wait_for_end(Duration::ZERO)? {
                Some(Ended::Error(status)) => Outcome::QemuFailed(status),
                Some(Ended::PoweredOff) | None => Outcome::PoweredOff,
            },
        })
    }

    /// Whether nothing is to be said about the end; of a signal the shell speaks.
    fn is_plain(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Found | Outcome::Quit | Outcome::Signal(_) => true,
            Outcome::PoweredOff => self.until.is_none(),
            Outcome::TimedOut | Outcome::Refused | Outcome::QemuFailed(_) => false,
        }
    }

    /// Says how it ended, unless that is plain, and gives the exit code of the contract.
    fn report(&self, outcome: &Outcome) -> ExitCode {
        match (outcome, &self.until) {
            (Outcome::Found | Outcome::Quit, _) | (Outcome::PoweredOff, None) => ExitCode::SUCCESS,
            (Outcome::PoweredOff, Some(text)) => {
                eprintln!("error: the machine powered off while waiting for {text:?}");
                ExitCode::FAILURE
            }
            (Outcome::TimedOut, until) => {
                let seconds = self.timeout.unwrap_or_default();
                let awaited = match until {
                    Some(text) => format!("{text:?} on the console"),
                    None => "the machine to power off, as it does when all partitions have ended \
                             (one that stays up: --until TEXT ends its run)"
                        .into(),
                };
                eprintln!("error: waited {seconds} s for {awaited}");
                ExitCode::FAILURE
            }
            (Outcome::Refused, _) => {
                eprintln!("error: the hypervisor refused to boot; its last line above says why");
                ExitCode::FAILURE
            }
            (Outcome::QemuFailed(status), _) => {
                eprintln!("error: QEMU failed: {status}");
                ExitCode::FAILURE
            }
            (Outcome::Signal(signal), _) => {
                ExitCode::from(u8::try_from(*signal).map_or(1, |number| number.saturating_add(128)))
            }
        }
    }
}

/// The command of a debugger that the machine waits for.
fn how_to_attach(board: Board, port: u16) -> String {
    let (elf, base) = (build::elf(build::HYPERVISOR), board.image_base());
    format!(
        "waiting for: gdb-multiarch -ex 'set architecture aarch64' -ex 'target remote 127.0.0.1:{port}' \
         -ex 'add-symbol-file {} -o {base:#x}'",
        elf.display()
    )
}

/// The stop word: nothing happened yet.
const RUNNING: i32 = 0;
/// The stop word: the user's quit key, or the reader of our output went away. Positive values are
/// signals.
const QUIT: i32 = -1;
/// The stop word: the hypervisor has refused to boot, and nothing more will come.
const REFUSED: i32 = -2;

/// Standard output; when its reader goes away, or the boot is refused, the run ends.
struct Tee {
    stop: Arc<AtomicI32>,
    boot: BootWatch,
    /// Whether the console's last line has not ended.
    is_in_line: Arc<AtomicBool>,
}

/// Reads the console's lines until the first partition starts: what a guest says is no refusal.
#[derive(Debug, Default)]
struct BootWatch {
    /// How the line begins.
    line: Vec<u8>,
    is_over: bool,
    /// The hypervisor has its console, and nothing that is typed is lost any more: whether or not a partition starts by itself.
    takes_input: Arc<AtomicBool>,
    /// Whether a refusal ends the run: a debugger may want to look.
    ends: bool,
}

impl BootWatch {
    /// Takes note of what was printed; whether it completes the line with which the hypervisor gives up.
    fn refuses(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.is_over {
                return false;
            }
            if *byte != b'\n' {
                if self.line.len() < 64 {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let is_refused = line.starts_with(b"shikiri: boot refused: ");
            if is_refused || line.starts_with(b"shikiri: [10]") {
                self.takes_input.store(true, Ordering::SeqCst);
            }
            if is_refused || line.starts_with(b"shikiri: [11]") {
                self.is_over = true;
                return is_refused && self.ends;
            }
        }
        false
    }
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = io::stdout().write(bytes);
        if result.is_err() {
            self.stop.store(QUIT, Ordering::SeqCst);
        }
        if let Ok(length @ 1..) = &result
            && let Some(last) = bytes.get(length - 1)
        {
            self.is_in_line.store(*last != b'\n', Ordering::SeqCst);
        }
        if let Ok(length) = &result
            && self.boot.refuses(bytes.get(..*length).unwrap_or(bytes))
        {
            self.stop.store(REFUSED, Ordering::SeqCst);
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Lets the signals that would end us end the machine first.
fn catch_signals(stop: &Arc<AtomicI32>, console: &Console) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (stop, console) = (Arc::clone(stop), console.clone());
    thread::spawn(move || {
        for signal in signals.forever() {
            stop.store(signal, Ordering::SeqCst);
            console.wake();
        }
    });
    Ok(())
}

/// Copies standard input to the machine, byte for byte.
fn copy_input(mut input: ChildStdin, interactive: bool, stop: &AtomicI32) {
    let mut piece = [0_u8; 256];
    let mut help = HelpWatch::default();
    while let Ok(length @ 1..) = io::stdin().read(&mut piece) {
        let Some(typed) = piece.get(..length) else { break };
        if interactive && typed.contains(&QUIT_KEY) {
            stop.store(QUIT, Ordering::SeqCst);
            break;
        }
        if interactive && help.is_asked_for(typed) {
            // The hypervisor does not know this one; the terminal is raw.
            eprint!("\r\n(Ctrl-] ends QEMU; these are the hypervisor's keys:)\r\n");
        }
        if input.write_all(typed).and_then(|()| input.flush()).is_err() {
            break;
        }
    }
    // An input that ended is no end of the machine: keep its console connected.
    std::mem::forget(input);
}

/// Looks for the hypervisor's key for help, Ctrl-A and h or ?, among what is typed.
#[derive(Default)]
struct HelpWatch {
    is_prefixed: bool,
}

impl HelpWatch {
    /// Whether these bytes, after those before them, end in or hold that key.
    fn is_asked_for(&mut self, typed: &[u8]) -> bool {
        let mut is_asked_for = false;
        for byte in typed {
            if std::mem::take(&mut self.is_prefixed) {
                is_asked_for |= matches!(byte, b'h' | b'?');
            } else {
                self.is_prefixed = *byte == PREFIX_KEY;
            }
        }
        is_asked_for
    }
}

/// When a run has taken so many seconds; never, if the clock does not reach that far.
fn deadline(start: Instant, seconds: u64) -> Option<Instant> {
    start.checked_add(Duration::from_secs(seconds))
}

/// Finds a mistyped path before anything is built.
fn check_file(flag: &str, file: Option<&Path>) -> Result<()> {
    match file {
        Some(file) if file.is_dir() => bail!("{flag} {}: this is a folder", file.display()),
        Some(file) if !file.exists() => bail!("{flag} {}: there is no such file", file.display()),
        Some(file) if !file.is_file() => {
            bail!("{flag} {}: a device or a pipe; it has to be a file", file.display())
        }
        _ => Ok(()),
    }
}

/// A port of the loopback interface that nobody uses.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port for the debugger")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_for_help_is_seen_in_pieces_and_not_in_text() {
        let asks = |pieces: &[&[u8]]| {
            let mut watch = HelpWatch::default();
            pieces.iter().filter(|piece| watch.is_asked_for(piece)).count()
        };
        assert_eq!(asks(&[b"\x01h", b"h", b"x\x01", b"?", b"\x01n"]), 2);
        assert_eq!(asks(&[b"\x01\x01h", b"?h"]), 0, "Ctrl-A itself, and then a letter");
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_its_flag() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |file: &Path| check_file("--kernel", Some(file)).unwrap_err().to_string();
        let missing = folder.path().join("Imge");
        assert_eq!(
            refusal(&missing),
            format!("--kernel {}: there is no such file", missing.display())
        );
        assert!(refusal(folder.path()).ends_with(": this is a folder"));
        assert_eq!(
            refusal(Path::new("/dev/null")),
            "--kernel /dev/null: a device or a pipe; it has to be a file"
        );
        assert!(check_file("--kernel", None).is_ok());
    }

    #[test]
    fn the_machine_has_room_for_the_users_files_beside_the_guests_memory() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            run: Run,
        }
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::File::create(&disk).unwrap().set_len(300 << 20).unwrap();
        let disk = disk.to_string_lossy().into_owned();
        let words = ["run", "linux", "--memory", "1G", "--initrd", &disk, "--append", "-x quiet"];
        let Line { run } = <Line as clap::Parser>::try_parse_from(words).unwrap();
        assert_eq!(run.append.as_deref(), Some("-x quiet"));
        let machine = run.machine(&System::find("linux").unwrap()).unwrap();
        assert_eq!(machine.memory_bytes(), (1 << 30) + (300 << 20) + (256 << 20));
    }

    #[test]
    fn a_time_beyond_the_clock_is_no_deadline() {
        let now = Instant::now();
        assert_eq!(deadline(now, 5), Some(now + Duration::from_secs(5)));
        assert_eq!(deadline(now, u64::MAX), None);
    }

    #[test]
    fn the_hypervisors_own_refusal_is_noticed_when_its_line_is_complete() {
        let watch = || BootWatch { ends: true, ..BootWatch::default() };
        let mut boot = watch();
        assert!(!boot.refuses(b"shikiri: [02] tree read\r\nshikiri: boot ref"));
        assert!(!boot.refuses(b"used: the bundle: \r"));
        assert!(boot.refuses(b"\n"));
        assert!(!boot.refuses(b"shikiri: boot refused: again\n"), "it stops at the first");
        let mut guests = watch();
        let started =
            b"shikiri: [11] first partition started (a)\r\nshikiri: boot refused: said a guest\r\n";
        assert!(!guests.refuses(started));
        assert!(!watch().refuses(b"a| shikiri: boot refused: \n"));
        assert!(!BootWatch::default().refuses(b"shikiri: boot refused: \n"), "with a debugger");
    }

    #[test]
    fn input_is_typed_once_the_hypervisor_has_its_console_though_no_partition_starts() {
        let mut boot = BootWatch { ends: true, ..BootWatch::default() };
        let takes_input = Arc::clone(&boot.takes_input);
        assert!(!boot.refuses(b"shikiri: [07] frame ledger ready (970 MiB)\r\n"));
        assert!(!takes_input.load(Ordering::SeqCst), "it would be lost");
        assert!(!boot.refuses(b"shikiri: [10] partitions made (1)\r\n"));
        assert!(takes_input.load(Ordering::SeqCst));
        assert!(boot.refuses(b"shikiri: boot refused: partition a is ended at boot\r\n"));
    }
}
