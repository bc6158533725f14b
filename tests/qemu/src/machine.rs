//! The QEMU machine: its parameters and its command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// The program that is started.
pub const QEMU: &str = "qemu-system-aarch64";

/// The version of the generic interrupt controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gic {
    /// GICv2: at most 8 cores.
    V2,
    /// GICv3.
    V3,
}

impl Gic {
    /// The number in QEMU's `gic-version=`.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// What starts first on the machine.
#[derive(Debug, Clone)]
pub enum Boot {
    /// The hypervisor with a bundle, at EL2.
    Hypervisor {
        /// The flat image.
        image: PathBuf,
        /// The bundle, handed over as the initrd.
        bundle: PathBuf,
    },
    /// A guest on the bare machine at EL1, with no hypervisor: what it must also find under one.
    Bare {
        /// The guest's flat image or kernel.
        image: PathBuf,
        /// Its initrd.
        initrd: Option<PathBuf>,
        /// Its command line.
        append: Option<String>,
    },
    /// Any image, entered at EL2 or at EL1, without an initrd: for refusals.
    Image {
        /// The flat image.
        image: PathBuf,
        /// Whether the machine has EL2.
        el2: bool,
    },
    /// Any image at EL2, placed by no loader that knows the boot protocol: x0 is 0.
    Raw {
        /// The flat image.
        image: PathBuf,
    },
}

/// A machine that can be started.
#[derive(Debug, Clone)]
pub struct Machine {
    gic: Gic,
    cpu: String,
    cpus: u32,
    memory: u64,
    icount: bool,
    gdb_port: Option<u16>,
    extra: Vec<OsString>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            gic: Gic::V3,
            cpu: "cortex-a72".into(),
            cpus: 2,
            memory: 1 << 30,
            icount: false,
            gdb_port: None,
            extra: Vec::new(),
        }
    }
}

impl Machine {
    /// QEMU's `virt` with GICv3, two Cortex-A72 cores and 1 GiB of memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses the interrupt controller.
    #[must_use]
    pub fn gic(mut self, gic: Gic) -> Self {
        self.gic = gic;
        self
    }

    /// Chooses the CPU model; the text goes to QEMU unchanged.
    #[must_use]
    pub fn cpu(mut self, model: &str) -> Self {
        model.clone_into(&mut self.cpu);
        self
    }

    /// Chooses the number of cores.
    #[must_use]
    pub fn cpus(mut self, count: u32) -> Self {
        self.cpus = count;
        self
    }

    /// Has at least this many cores.
    #[must_use]
    pub fn at_least_cpus(mut self, count: u32) -> Self {
        self.cpus = self.cpus.max(count);
        self
    }

    /// Chooses the size of the memory, in bytes.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Has memory for a partition of `bytes`, and for what is around it.
    #[must_use]
    pub fn room_for(mut self, bytes: u64) -> Self {
        const AROUND: u64 = 256 << 20;
        self.memory = self.memory.max(bytes.saturating_add(AROUND));
        self
    }

    /// Runs by counted instructions: the same input gives the same run, one instruction per
    /// nanosecond of the machine's time.
    #[must_use]
    pub fn icount(mut self) -> Self {
        self.icount = true;
        self
    }

    /// Waits for a debugger on this port of the loopback interface before the first instruction.
    #[must_use]
    pub fn gdb(mut self, port: u16) -> Self {
        self.gdb_port = Some(port);
        self
    }

    /// Adds an argument to QEMU's command line.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.extra.push(argument.into());
        self
    }

    /// Adds arguments to QEMU's command line.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.extra.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The number of cores.
    #[must_use]
    pub fn cpu_count(&self) -> u32 {
        self.cpus
    }

    /// The machine's own device tree, as QEMU hands it to the image.
    ///
    /// # Errors
    /// QEMU is missing or refuses the parameters; its own words are in the error.
    pub fn device_tree(&self) -> Result<Vec<u8>> {
        std::fs::create_dir_all(paths::scratch())?;
        let dir = tempfile::tempdir_in(paths::scratch())?;
        let file = dir.path().join("board.dtb");
        let mut command = self.base(true, Some(&file));
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{QEMU} could not be started (see `cargo xtask setup`)"))?;
        if !output.status.success() {
            // Lists of what an argument may be come on standard output.
            let said = [output.stderr, output.stdout].concat();
            bail!("QEMU refuses this machine:\n{}", String::from_utf8_lossy(&said).trim());
        }
        std::fs::read(&file).context("QEMU wrote no device tree")
    }

    /// The command that starts the machine with its console on standard input and output.
    #[must_use]
    pub fn command(&self, boot: &Boot) -> Command {
        let el2 = match boot {
            Boot::Hypervisor { .. } => true,
            Boot::Bare { .. } => false,
            Boot::Image { el2, .. } => *el2,
            Boot::Raw { .. } => true,
        };
        let mut command = self.base(el2, None);
        match boot {
            Boot::Hypervisor { image, bundle } => {
                command.arg("-kernel").arg(image).arg("-initrd").arg(bundle);
            }
            Boot::Bare { image, initrd, append } => {
                command.arg("-kernel").arg(image);
                if let Some(initrd) = initrd {
                    command.arg("-initrd").arg(initrd);
                }
                if let Some(append) = append {
                    command.arg("-append").arg(append);
                }
            }
            Boot::Image { image, .. } => {
                command.arg("-kernel").arg(image);
            }
            Boot::Raw { image } => {
                let mut loader =
                    OsString::from("loader,addr=0x40200000,cpu-num=0,force-raw=on,file=");
                loader.push(image);
                command.arg("-device").arg(loader);
            }
        }
        command
    }

    /// The part of the command line that describes the machine.
    fn base(&self, el2: bool, dump: Option<&Path>) -> Command {
        let mut machine = OsString::from(format!(
            "virt,virtualization={},gic-version={},dtb-randomness=off",
            if el2 { "on" } else { "off" },
            self.gic.number()
        ));
        if let Some(file) = dump {
            machine.push(",dumpdtb=");
            machine.push(file);
        }
        let mut command = contained(QEMU);
        command.arg("-M").arg(machine);
        command.args(["-cpu", &self.cpu, "-smp", &self.cpus.to_string()]);
        command.args(["-m", &format!("{}M", self.memory.div_ceil(1 << 20))]);
        command.args("-serial stdio -monitor none -display none -net none -no-reboot".split(' '));
        if self.icount {
            command.args(["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]);
        }
        if let (Some(port), None) = (self.gdb_port, dump) {
            command.args(["-S", "-gdb", &format!("tcp:127.0.0.1:{port}")]);
        }
        command.args(&self.extra);
        command
    }
}

/// A command that the kernel ends when the thread that started it ends, however that happens.
///
/// `setpriv` is part of Debian's base system; without it only the orderly ways out end the machine.
fn contained(program: &str) -> Command {
    if !Path::new("/usr/bin/setpriv").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(command: &Command) -> String {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn the_hypervisor_is_entered_at_el2_with_the_bundle_as_initrd() {
        let boot = Boot::Hypervisor { image: "hyp.img".into(), bundle: "b".into() };
        let line = line(&Machine::new().gic(Gic::V2).cpus(4).command(&boot));
        assert!(line.contains("virt,virtualization=on,gic-version=2,dtb-randomness=off"));
        assert!(line.contains("-smp 4 -m 1024M"));
        assert!(line.contains("-serial stdio -monitor none"));
        assert!(line.ends_with("-kernel hyp.img -initrd b"));
    }

    #[test]
    fn a_bare_guest_has_no_el2_and_no_initrd_unless_given() {
        let boot = Boot::Bare { image: "hello.bin".into(), initrd: None, append: None };
        let line = line(&Machine::new().command(&boot));
        assert!(line.contains("virtualization=off"));
        assert!(!line.contains("-initrd"));
    }

    #[test]
    fn what_qemu_refuses_comes_with_its_words() {
        // Whoever has no QEMU sees that instead.
        let error =
            format!("{:#}", Machine::new().args(["-d", "nonsense"]).device_tree().unwrap_err());
        assert!(error.contains("could not be started") || error.contains("Log items"), "{error}");
    }

    #[test]
    fn counted_runs_depend_on_nothing_outside() {
        let boot = Boot::Bare { image: "hello.bin".into(), initrd: None, append: None };
        let line = line(&Machine::new().icount().command(&boot));
        assert!(line.contains("-icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm"));
    }
}
