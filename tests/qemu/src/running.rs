//! A running machine: its console, its end. It is ended when this value is dropped.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::console::{Console, Found};
use crate::failure::Failure;
use crate::machine::{Boot, Machine};
use crate::{comparisons, counts, paths};

/// How long the rest of a failure's report may take.
const REPORT: Duration = Duration::from_secs(5);

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It powered itself off (or reset, which ends it as well).
    PoweredOff,
    /// QEMU ended with an error.
    Error(ExitStatus),
}

/// A QEMU process and the streams of its console.
#[derive(Debug)]
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    console: Console,
    messages: Console,
    threads: Vec<JoinHandle<()>>,
    /// Its hypervisor says how much it has compared.
    is_checked: bool,
    /// Files that live as long as the machine.
    _scratch: Option<tempfile::TempDir>,
}

impl Running {
    /// Starts `machine`; what it prints is also written to `tee`.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn start(
        machine: &Machine,
        boot: &Boot,
        scratch: Option<tempfile::TempDir>,
        tee: Option<Box<dyn Write + Send>>,
    ) -> Result<Self> {
        let mut child = machine
            .command(boot)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("QEMU could not be started (see `cargo xtask setup`)")?;
        let output = child.stdout.take().context("QEMU has no output stream")?;
        let errors = child.stderr.take().context("QEMU has no error stream")?;
        let (console, console_thread) = Console::collect(output, tee);
        let (messages, messages_thread) = Console::collect(errors, None);
        let is_checked = counts::is_checked()
            && matches!(boot, Boot::Hypervisor { image, .. } if *image == paths::hypervisor());
        Ok(Self {
            is_checked,
            input: child.stdin.take(),
            child,
            console,
            messages,
            threads: vec![console_thread, messages_thread],
            _scratch: scratch,
        })
    }

    /// Starts a guest on the bare machine, without a hypervisor.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn bare(machine: &Machine, image: PathBuf, append: Option<String>) -> Result<Self> {
        Self::start(machine, &Boot::Bare { image, initrd: None, append }, None, None)
    }

    /// Waits until `text` appears on the console, behind all that was waited for before, and gives
    /// what was printed up to and with it.
    ///
    /// # Errors
    /// The time is over, or the machine ended; the failure shows the console's last lines.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<String, Failure> {
        let found = self.console.wait(text, scaled(timeout));
        self.found(found, &format!("{text:?}"), timeout)
    }

    /// Waits until all of these texts have appeared, as [`wait_for`](Self::wait_for) does, in any order: what two partitions write, or
    /// one of them and the hypervisor, may come in either.
    ///
    /// # Errors
    /// As of [`wait_for`](Self::wait_for).
    pub fn wait_for_all(&mut self, texts: &[&str], timeout: Duration) -> Result<String, Failure> {
        let found = self.console.wait_for_all(texts, scaled(timeout));
        self.found(found, &format!("{texts:?}"), timeout)
    }

    fn found(&self, found: Found, what: &str, timeout: Duration) -> Result<String, Failure> {
        match found {
            Found::Text(found) => Ok(found),
            Found::TimedOut => {
                Err(self.failure(format!("waited {} s for {what}", timeout.as_secs_f32())))
            }
            Found::Alarm => Err(self.alarm(&format!("{what} came"))),
            Found::Closed => Err(self.failure(format!("the machine ended before {what} came"))),
        }
    }

    /// Types `text` on the console.
    ///
    /// # Errors
    /// The machine has ended.
    pub fn send(&mut self, text: &str) -> Result<(), Failure> {
        let Some(input) = &mut self.input else {
            return Err(self.failure("the console's input is not connected".into()));
        };
        match input.write_all(text.as_bytes()).and_then(|()| input.flush()) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failure(format!("typing {text:?} failed: {error}"))),
        }
    }

    /// Waits until the machine has powered off, and gives all that it printed.
    ///
    /// # Errors
    /// The time is over, or QEMU ended with an error.
    pub fn wait_for_power_off(&mut self, timeout: Duration) -> Result<String, Failure> {
        let ended = self.wait_for_end(scaled(timeout));
        if self.console.is_alarmed() {
            return Err(self.alarm("the machine powered off"));
        }
        match ended {
            Ok(Some(Ended::PoweredOff)) => Ok(self.console.text()),
            Ok(Some(Ended::Error(status))) => {
                Err(self.failure(format!("QEMU failed: {status}; {}", self.messages.text().trim())))
            }
            Ok(None) => Err(self.failure(format!(
                "waited {} s for the machine to power off",
                timeout.as_secs_f32()
            ))),
            Err(error) => Err(self.failure(format!("QEMU's state is unknown: {error}"))),
        }
    }

    /// Waits at most `timeout` for the machine's end; `None` if it still runs.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn wait_for_end(&mut self, timeout: Duration) -> Result<Option<Ended>> {
        // QEMU's output ends when QEMU does, and the last of it has been collected by then.
        if !self.console.wait_closed(timeout) {
            return Ok(None);
        }
        let status = self.child.wait()?;
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
        Ok(Some(if status.success() { Ended::PoweredOff } else { Ended::Error(status) }))
    }

    /// What the machine has printed.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// What QEMU itself has to say.
    #[must_use]
    pub fn messages(&self) -> String {
        self.messages.text()
    }

    /// Takes the console's input stream, for a terminal that is copied to it.
    #[must_use]
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.input.take()
    }

    /// The process's id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// The failure after an alarm; what is still being printed about it is waited for.
    fn alarm(&self, before: &str) -> Failure {
        self.console.wait_for_report(REPORT);
        self.failure(format!("the hypervisor itself failed before {before}"))
    }

    /// A failure that shows this machine's console.
    #[must_use]
    pub fn failure(&self, what: String) -> Failure {
        let messages = self.messages.text();
        let what = if messages.trim().is_empty() {
            what
        } else {
            format!("{what}\nQEMU says: {}", messages.trim())
        };
        Failure::new(what, &self.console.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if self.is_checked {
            for thread in self.threads.drain(..) {
                drop(thread.join());
            }
            comparisons::note(&self.console.text());
        }
    }
}

/// A timeout on a slow or busy host, which `SHIKIRI_TIME_SCALE` multiplies, or with a slower hypervisor.
fn scaled(timeout: Duration) -> Duration {
    let scale = std::env::var("SHIKIRI_TIME_SCALE").ok().and_then(|text| text.parse::<u32>().ok());
    let checked = if counts::is_checked() { counts::CHECKED_PATIENCE } else { 1 };
    timeout * scale.unwrap_or(1).max(1) * checked
}
