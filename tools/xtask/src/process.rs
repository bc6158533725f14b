//! Running other programs, with visible progress and errors that say what failed.

use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{self, Command, ExitCode, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, bail};
use shikiri_qemu_tests::paths;

/// Says on standard error what is being done now.
pub(crate) fn step(what: &str) {
    eprintln!("==> {what}");
}

/// What a program results in that SIGPIPE has ended, as a shell has it: 128 and the signal's number.
const ENDED_BY_SIGPIPE: i32 = 141;

/// Prints text. Where nobody reads any more, as behind `| head -1`, this program ends with it, quietly.
pub(crate) fn print(text: impl Display) {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(ENDED_BY_SIGPIPE),
        Err(error) => eprintln!("error: standard output: {error}"),
        Ok(()) => {}
    }
}

/// `cargo`, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(paths::root());
    command
}

/// `cargo` for the bare-metal target: the flags of `.cargo/config.toml` hold, whatever the caller's
/// environment says, because an image that is not position-independent does not boot.
pub(crate) fn bare_metal_cargo() -> Command {
    let mut command = cargo();
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// Runs `command` with its output visible.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = describe(command);
    let status = command.status().with_context(|| format!("{name}: cannot be started"))?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}

/// A program that runs beside others.
#[derive(Debug)]
pub(crate) struct Beside {
    name: String,
    output: JoinHandle<io::Result<process::Output>>,
}

/// Starts `command` and goes on.
pub(crate) fn beside(mut command: Command) -> Beside {
    let name = describe(&command);
    let output = thread::spawn(move || command.stdin(Stdio::null()).output());
    Beside { name, output }
}

impl Beside {
    /// Waits for its end, and prints what it has printed.
    pub(crate) fn end(self) -> Result<()> {
        let Self { name, output } = self;
        let Ok(output) = output.join() else { bail!("{name}: it is not known how it ended") };
        let output = output.with_context(|| format!("{name}: cannot be started"))?;
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        print(String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            bail!("{name}: {}", output.status);
        }
        Ok(())
    }
}

/// Runs `command` and gives what it prints; its errors are part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name}: cannot be started"))?;
    if !output.status.success() {
        bail!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name}: the output is not text"))
}

/// Runs `command` and gives each line of its output to `each` as it comes; prints those for which that answers true, and
/// of several empty ones that follow each other the first. The answer is whether the command succeeded.
pub(crate) fn watch(command: &mut Command, mut each: impl FnMut(&str) -> bool) -> Result<bool> {
    let name = describe(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name}: cannot be started"))?;
    let stdout = child.stdout.take().with_context(|| format!("{name}: has no output"))?;
    let mut was_empty = true;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let is_empty = line.trim().is_empty();
        if each(&line) && !(is_empty && was_empty) {
            print(format_args!("{line}\n"));
            was_empty = is_empty;
        }
    }
    Ok(child.wait()?.success())
}

/// Prints an error and turns the result into the process's exit code.
pub(crate) fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut text = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
