//! What `cargo xtask run` and `check` promise to users and to CI: exit codes, what they wait for, what they pass on. V9.
//!
//! The program itself is started, as it was built; the images are those that the other tests use.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use shikiri_qemu_tests::console::{Console, Found};
use shikiri_qemu_tests::{System, paths};

use crate::support::{Outcome, PATIENCE, Partition, Topic, system};

/// One of them.
type Test = fn() -> Outcome;

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("commands", trials);
    let tests: [(&str, Test); 19] = [
        ("run_succeeds_when_the_text_that_is_waited_for_appears", until),
        ("run_does_not_take_the_boots_own_lines_for_the_text", until_of_the_boot),
        ("run_says_how_it_ended_on_a_line_of_its_own", partial_line),
        ("run_with_gdb_says_how_to_attach_once_it_waits", debugger),
        ("run_with_gdb_has_a_debugger_answered", attached),
        ("run_fails_when_its_time_is_over_and_says_what_it_waited_for", timeout),
        ("run_fails_when_the_boot_is_refused", refused),
        ("run_succeeds_when_the_machine_powers_off", power_off),
        ("run_fails_when_the_machine_powers_off_before_the_text_appears", too_early),
        ("run_types_what_is_piped_in_once_the_console_is_there", piped),
        ("run_types_what_is_piped_in_though_no_partition_starts_by_itself", piped_without_a_start),
        ("run_with_icount_is_the_same_each_time", icount),
        ("run_hands_the_cpu_the_gic_and_arguments_to_qemu", to_qemu),
        ("run_shows_what_qemu_refuses", refused_by_qemu),
        ("run_names_the_systems_that_there_are", wrong_name),
        ("run_on_a_terminal_is_raw_and_ends_with_its_key", terminal),
        ("check_explains_a_description_or_points_at_the_mistake", check),
        ("check_says_that_a_directory_is_no_description", check_directory),
        ("check_ends_quietly_when_nobody_reads_on", check_unread),
    ];
    for (sentence, test) in tests {
        topic.only_on_virt("commands are the same for each board", sentence, test);
    }
}

/// How a command ended.
pub(crate) struct Ran {
    code: Option<i32>,
    pub(crate) out: String,
    err: String,
}

impl Ran {
    /// Whether it has said so on standard error.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.err.contains(words)
    }

    /// Fails unless it ended with this exit code and has written these words.
    pub(crate) fn expect(&self, code: i32, out: &[&str], err: &[&str]) -> Outcome {
        let lacks = |text: &str, words: &[&str]| words.iter().any(|words| !text.contains(words));
        if self.code == Some(code) && !lacks(&self.out, out) && !lacks(&self.err, err) {
            return Ok(());
        }
        let Self { code: is, out: wrote, err: said } = self;
        let wanted = format!("code {code}, {out:?} and {err:?}");
        Err(format!("wanted {wanted}; code {is:?}\nstdout: {wrote}\nstderr: {said}").into())
    }
}

/// Runs `cargo xtask` with these arguments, and with `input` piped in.
pub(crate) fn xtask(arguments: &[&str], input: &str) -> Result<Ran, Failed> {
    let program = paths::xtask();
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who ends before it reads is judged by how it ends.
        drop(stdin.write_all(input.as_bytes()));
    }
    let ended = child.wait_with_output()?;
    let [out, err] =
        [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    Ok(Ran { code: ended.status.code(), out, err })
}

/// A command that is typed to while it runs. It ends with the test, however that ends.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self, Failed> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        started.map(Self).map_err(|error| format!("{command:?}: {error}").into())
    }

    /// Types something when something is shown.
    fn see(&mut self, console: &Console, shown: &str, typed: &str) -> Outcome {
        if !matches!(console.wait(shown, PATIENCE), Found::Text(_)) {
            return Err(format!("{shown:?} does not come: {}", console.text()).into());
        }
        Ok(self.0.stdin.as_mut().ok_or("no input")?.write_all(typed.as_bytes())?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever has ended already has no need of it.
        let _is_over = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// `run` of a system of ours.
fn run(system: &System, arguments: &[&str], input: &str) -> Result<Ran, Failed> {
    let file = system.file().to_string_lossy();
    xtask(&[&["run", "--no-build", &*file], arguments].concat(), input)
}

/// More than it takes, for runs that end in another way.
pub(crate) const LONG: [&str; 2] = ["--timeout", "300"];

/// A guest that ends the machine with itself.
fn hello() -> Result<System, Failed> {
    system([Partition::new("hello", "hello")])
}

/// A guest that goes on for ever.
fn spin() -> Result<System, Failed> {
    system([Partition::new("spin", "spin")])
}

fn until() -> Outcome {
    let until = ["--until", "spin: 1 vCPU"];
    run(&spin()?, &[until, LONG].concat(), "")?.expect(0, &["[11]", "spin: 1 vCPU"], &[])
}

/// A single word is a guest's: the interrupt controller is ready, and the frame ledger; no guest says so. Several may be the boot's.
fn until_of_the_boot() -> Outcome {
    let ran = run(&hello()?, &[LONG, ["--until", "ready"]].concat(), "")?;
    ran.expect(
        1,
        &["ready", "powering off"],
        &["machine powered off while waiting for \"ready\""],
    )?;
    run(&hello()?, &[LONG, ["--until", "all cores here"]].concat(), "")?.expect(0, &[], &[])
}

/// QEMU is killed while the console shows a prompt.
fn partial_line() -> Outcome {
    let (program, system) = (paths::xtask(), spin()?);
    let mut run = Running::start(
        Command::new(program)
            .args(["run", "--no-build"])
            .arg(system.file())
            .args(LONG)
            .stderr(Stdio::piped()),
    )?;
    let (console, thread) = Console::collect(run.0.stdout.take().ok_or("no output")?, None);
    // Behind the prompt nobody has anything to say.
    for (shown, typed) in [("spin: 1 vCPU", "\u{1}c"), ("shikiri> ", "")] {
        run.see(&console, shown, typed)?;
    }
    let children = format!("/proc/{0}/task/{0}/children", run.0.id());
    for qemu in std::fs::read_to_string(children)?.split_whitespace() {
        let qemu = Pid::from_raw(qemu.parse()?).ok_or("no process has the number 0")?;
        kill_process(qemu, Signal::KILL)?;
    }
    let mut err = String::new();
    run.0.stderr.take().ok_or("no errors")?.read_to_string(&mut err)?;
    let code = run.0.wait()?.code();
    drop(thread.join());
    Ran { code, out: console.text(), err }.expect(1, &[], &["\n\nerror: QEMU failed: signal: 9"])
}

/// With the hypervisor's symbols, at the addresses that it runs at.
fn debugger() -> Outcome {
    let ran = run(&spin()?, &["--gdb", "--timeout", "1"], "")?;
    let how = ["target remote 127.0.0.1:", "add-symbol-file ", "shikiri-el2 -o 0x40200000"];
    ran.expect(1, &[], &how)?;
    let (before, line) = ran.err.split_once("waiting for: gdb").ok_or("no such line")?;
    let symbols = line.split("add-symbol-file ").nth(1).and_then(|rest| rest.split(' ').next());
    let has_symbols = symbols.is_some_and(|file| std::path::Path::new(file).is_file());
    if before.contains("==> booting") && has_symbols {
        return Ok(());
    }
    ran.expect(1, &[], &["the line behind `booting`, with a file that is there"])
}

/// What it says to attach to answers as a debugger's stub does: to the question why the machine stands still with a signal.
fn attached() -> Outcome {
    let system = spin()?;
    let mut child = Command::new(paths::xtask())
        .args(["run", "--no-build", "--gdb"])
        .arg(system.file())
        .args(LONG)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let (console, thread) = Console::collect(child.stderr.take().ok_or("no output")?, None);
    let answer = || -> Result<String, Failed> {
        const REMOTE: &str = "target remote 127.0.0.1:";
        let (Found::Text(_), Found::Text(port)) =
            (console.wait(REMOTE, PATIENCE), console.wait("'", PATIENCE))
        else {
            return Err(format!("no port: {}", console.text()).into());
        };
        let port = port.trim_end_matches('\'').parse::<u16>()?;
        // QEMU listens a moment after it was started; GDB tries again, too (`set tcp auto-retry`).
        let end = Instant::now() + PATIENCE;
        let mut stub = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Err(_) if Instant::now() < end => std::thread::yield_now(),
                connected => break connected?,
            }
        };
        stub.set_read_timeout(Some(PATIENCE))?;
        stub.write_all(b"$?#3f")?;
        let mut answer = String::new();
        // A packet ends with # and two digits (GDB's remote protocol).
        while answer.split_once('#').is_none_or(|(_, sum)| sum.len() < 2) {
            let mut byte = [0];
            stub.read_exact(&mut byte)?;
            answer.push(char::from(byte[0]));
        }
        Ok(answer)
    };
    let answer = answer();
    // It ends the machine, too. The shell has it built in; a small Debian has no other.
    let _ended = Command::new("sh").args(["-c", "kill $0", &child.id().to_string()]).status()?;
    child.wait()?;
    drop(thread.join());
    let answer = answer?;
    if answer.starts_with("+$T05") { Ok(()) } else { Err(format!("the answer: {answer}").into()) }
}

fn timeout() -> Outcome {
    let soon = ["--timeout", "1"];
    let ran = run(&spin()?, &soon, "")?;
    ran.expect(1, &[], &["error: waited 1 s for the machine to power off", "--until TEXT"])?;
    let ran = run(&spin()?, &[soon, ["--until", "pigs fly"]].concat(), "")?;
    ran.expect(1, &[], &["error: waited 1 s for \"pigs fly\" on the console"])
}

/// A machine without EL2. The hypervisor says why, and nobody waits for the time to be over.
fn refused() -> Outcome {
    let without_el2 = [&LONG[..], &["--", "-machine", "virtualization=off"]].concat();
    let ran = run(&hello()?, &without_el2, "")?;
    ran.expect(1, &["entered at EL1"], &["error: the hypervisor refused to boot"])
}

fn power_off() -> Outcome {
    run(&hello()?, &LONG, "")?.expect(0, &["hello: 1 vCPU", "powering off"], &[])
}

fn too_early() -> Outcome {
    let ran = run(&hello()?, &[LONG, ["--until", "pigs fly"]].concat(), "")?;
    ran.expect(1, &[], &["error: the machine powered off while waiting for \"pigs fly\""])
}

fn piped() -> Outcome {
    let ran = run(&spin()?, &LONG, "\u{1}clist\raccounts\roff\r")?;
    ran.expect(0, &["shikiri> list", "starts  cores", "high water", "powering off"], &[])
}

fn piped_without_a_start() -> Outcome {
    let waiting = system([Partition::new("waiting", "hello").with("autostart = false")])?;
    let ran = run(&waiting, &LONG, "\u{1}cstart waiting\r")?;
    ran.expect(0, &["waiting is being started", "hello: 1 vCPU", "powering off"], &[])
}

/// Not only are the words the same, the ticks' lateness in nanoseconds is.
fn icount() -> Outcome {
    let timer = system([Partition::new("timer", "timer").with("cmdline = \"ticks=3\"")])?;
    let counted = ["--icount", "--until", "timer: tick 3"];
    let arguments = [&LONG[..], &counted].concat();
    let one = run(&timer, &arguments, "")?;
    one.expect(0, &["timer: tick 2, late by"], &[])?;
    let (ticks, _) = one.out.split_once("timer: tick 3").ok_or("no tick 3")?;
    run(&timer, &arguments, "")?.expect(0, &[ticks], &[])
}

fn to_qemu() -> Outcome {
    let arguments = ["--cpu", "max", "--gic", "2", "--cpus", "3", "--", "-m", "512M"];
    let ran = run(&hello()?, &[&LONG[..], &arguments].concat(), "")?;
    ran.expect(0, &["3 cores", "(GICv2)", "frame ledger ready (50", "hello: 1 vCPU"], &[])
}

fn refused_by_qemu() -> Outcome {
    let ran = run(&hello()?, &[&LONG[..], &["--cpu", "z80"]].concat(), "")?;
    ran.expect(1, &[], &["QEMU refuses this machine", "z80"])?;
    let ran = run(&hello()?, &[&LONG[..], &["--cpu", "cortex-a15"]].concat(), "")?;
    ran.expect(1, &[], &["the CPU model cortex-a15 is one of 32 bits"])?;
    let ran = run(&hello()?, &[&LONG[..], &["--", "-d", "nonsense"]].concat(), "")?;
    ran.expect(1, &[], &["QEMU refuses this machine", "Log items"])
}

fn wrong_name() -> Outcome {
    let ran = xtask(&["run", "--no-build", "dmeo"], "")?;
    let meant = "there is no system \"dmeo\" (did you mean \"demo\"?); there are:";
    ran.expect(1, &[], &[meant, " demo, ", "two-linux, uart;"])?;
    xtask(&["run", "--no-build", "no/such.toml"], "")?.expect(
        1,
        &[],
        &["there is no file no/such.toml"],
    )
}

fn check() -> Outcome {
    let explained = [
        "machine   qemu-virt (linux,dummy-virt): 1 core, 1 GiB of memory, GICv3\n",
        "\npartition hello\n  start      order 0, restart never\n  program    hello, entry 0x40080000, ",
        "\n  vCPU 0     owns core 0\n  memory     2 MiB, for the guest 0x40000000 to 0x401fffff, ",
        "\n  device     virtual PL011, 0x9000000, SPI 1\n",
        "\nleft over\n  cores      none\n  memory     ",
        "\n  device     /pl031@9010000: nobody's\n",
    ];
    xtask(&["check", "--no-build", "hello"], "")?.expect(0, &explained, &[])?;
    let at = |name: &str, place: &str| {
        Partition::new(name, "hello").with_memory(&format!("{{ size = \"4MiB\", at = {place} }}"))
    };
    let overlapping = system([at("one", "0x5000_0000"), at("other", "0x5020_0000")])?;
    let file = overlapping.file().to_string_lossy();
    let under = "─".repeat(17);
    // Both lines, with a mark under each of the two values and who it is of.
    let said = [
        "error: physical address 0x50200000 is claimed by memory of `one` and by memory of",
        &format!("{file}:4:10]"),
        &format!(
            "memory = {{ size = \"4MiB\", at = 0x5000_0000 }}\n   ·          {under}┬{under}\n"
        ),
        "╰── memory of `one`: 0x50000000 to 0x503fffff\n",
        &format!(
            "memory = {{ size = \"4MiB\", at = 0x5020_0000 }}\n   ·          {under}┬{under}\n"
        ),
        "╰── memory of `other`: 0x50200000 to 0x505fffff\n",
    ];
    xtask(&["check", "--no-build", &file], "")?.expect(1, &[], &said)
}

fn check_directory() -> Outcome {
    for folder in [paths::root().join("boards"), std::env::temp_dir()] {
        let folder = folder.to_string_lossy();
        let said = format!("error: {folder} is a directory; a system description is a file");
        xtask(&["check", "--no-build", &folder], "")?.expect(1, &[], &[&said])?;
    }
    // Without a slash it could be a name.
    xtask(&["check", "--no-build", "."], "")?.expect(1, &[], &["error: . is a directory"])
}

/// As `| head -1` leaves it. What a shell says of who is ended by SIGPIPE is 141.
fn check_unread() -> Outcome {
    let (unread, output) = std::io::pipe()?;
    drop(unread);
    let mut check = Command::new(paths::xtask());
    let ended = check.args(["check", "--no-build", "hello"]).stdout(output).output()?;
    let err = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.code() == Some(141) && err.is_empty() {
        return Ok(());
    }
    Err(format!("{}: {err}", ended.status).into())
}

/// On a terminal keys go to the machine as they are typed, also those that a terminal has uses for, and Ctrl-] ends it. `script`
/// (of Debian's base system) is the terminal.
fn terminal() -> Outcome {
    let system = spin()?;
    let words = [&paths::xtask(), system.file()].map(|path| path.display().to_string());
    let [program, file] = words;
    let mut script = Running::start(
        Command::new("script")
            .args(["-q", "-e", "-c", &format!("'{program}' run --no-build '{file}' --timeout 300")])
            .arg("/dev/null"),
    )?;
    let output = script.0.stdout.take().ok_or("no output")?;
    let (console, thread) = Console::collect(output, None);
    let steps = [
        ("spin: 1 vCPU", "\u{1}h"),
        ("(Ctrl-] ends QEMU; these are", ""),
        ("[console 1: ", "\u{1}c"),
        ("shikiri> ", "lis\u{3}"),
        ("^C", "no\u{4}\u{1a}\u{1d}"),
    ];
    for (shown, typed) in steps {
        script.see(&console, shown, typed)?;
    }
    let status = script.0.wait()?;
    drop(thread.join());
    let ran = Ran { code: status.code(), out: console.text(), err: String::new() };
    ran.expect(0, &["(Ctrl-] ends QEMU", "shikiri> lis^C"], &[])
}
