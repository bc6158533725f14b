//! The QEMU machine: its parameters and its command line.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// The program that is started.
pub const QEMU: &str = "qemu-system-aarch64";

/// The board that QEMU plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// QEMU's own `virt`.
    QemuVirt,
    /// The Raspberry Pi 4: four Cortex-A72 and GICv2 always, and 960 MiB of its memory.
    Rpi4,
}

impl Board {
    /// Every board.
    pub const ALL: [Self; 2] = [Self::QemuVirt, Self::Rpi4];

    /// The name of its folder under `boards/`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::QemuVirt => "qemu-virt",
            Self::Rpi4 => "rpi4",
        }
    }

    /// Where QEMU's loader puts the hypervisor's image, which is linked at 0.
    #[must_use]
    pub fn image_base(self) -> u64 {
        match self {
            Self::QemuVirt => 0x4020_0000,
            Self::Rpi4 => 0x20_0000,
        }
    }

    /// The board of a folder.
    #[must_use]
    pub fn named(folder: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|board| board.folder() == folder)
    }
}

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
    /// Nothing but what `-device loader` arguments put there: the cores begin at address 0, at their highest level.
    Firmware,
    /// Any image at EL2, placed by no loader that knows the boot protocol: x0 is 0.
    Raw {
        /// The flat image.
        image: PathBuf,
    },
}

/// A machine that can be started.
#[derive(Debug, Clone)]
pub struct Machine {
    board: Board,
    gic: Gic,
    cpu: String,
    cpus: u32,
    memory: u64,
    icount: bool,
    gdb_port: Option<u16>,
    /// The Pi's device tree, if not the kernel's.
    tree: Option<PathBuf>,
    /// Whether the Pi's console is its PL011; else the mini UART.
    is_on_pl011: bool,
    /// Where the Pi's PL011 writes to, if it is not looked at.
    pl011_file: Option<PathBuf>,
    /// Where the console is, as QEMU names it.
    console: String,
    extra: Vec<OsString>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            board: Board::QemuVirt,
            gic: Gic::V3,
            cpu: "cortex-a72".into(),
            cpus: 2,
            memory: 1 << 30,
            icount: false,
            gdb_port: None,
            tree: None,
            is_on_pl011: false,
            pl011_file: None,
            console: "stdio".into(),
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

    /// QEMU's Raspberry Pi 4, whose number of cores, GIC, CPU model and memory cannot be chosen.
    #[must_use]
    pub fn rpi4() -> Self {
        Self { board: Board::Rpi4, gic: Gic::V2, cpus: 4, ..Self::default() }
    }

    /// The machine of this board, with QEMU's defaults.
    #[must_use]
    pub fn on(board: Board) -> Self {
        match board {
            Board::QemuVirt => Self::new(),
            Board::Rpi4 => Self::rpi4(),
        }
    }

    /// The board.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board
    }

    /// The version of the interrupt controller.
    #[must_use]
    pub fn gic_version(&self) -> Gic {
        self.gic
    }

    /// Gives the Pi another device tree than the kernel's; QEMU still changes what it has to.
    #[must_use]
    pub fn tree(mut self, file: &Path) -> Self {
        self.tree = Some(file.to_owned());
        self
    }

    /// Looks at the Pi's PL011, not at its mini UART.
    #[must_use]
    pub fn on_pl011(mut self) -> Self {
        self.is_on_pl011 = true;
        self
    }

    /// Writes what the Pi's PL011 sends to a file.
    #[must_use]
    pub fn pl011_to(mut self, file: &Path) -> Self {
        self.pl011_file = Some(file.to_owned());
        self
    }

    /// Has the console at this character device of QEMU's, not on standard input and output.
    #[must_use]
    pub fn console_at(mut self, device: &str) -> Self {
        device.clone_into(&mut self.console);
        self
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

    /// The size of the memory, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory
    }

    /// The machine's own device tree, as QEMU hands it to the image.
    ///
    /// # Errors
    /// QEMU is missing or refuses the parameters; its own words are in the error.
    pub fn device_tree(&self) -> Result<Vec<u8>> {
        std::fs::create_dir_all(paths::scratch())?;
        let dir = tempfile::tempdir_in(paths::scratch())?;
        let file = dir.path().join("board.dtb");
        let output = match self.board {
            Board::QemuVirt => self.virt(true, Some(&file)).stdin(Stdio::null()).output(),
            Board::Rpi4 => self.dump_rpi4_tree(&file),
        };
        let output = output
            .with_context(|| format!("{QEMU} could not be started (see `cargo xtask setup`)"))?;
        if !output.status.success() {
            // Lists of what an argument may be come on standard output.
            let said = [output.stderr, output.stdout].concat();
            bail!("QEMU refuses this machine:\n{}", String::from_utf8_lossy(&said).trim());
        }
        let mut tree = std::fs::read(&file).context("QEMU wrote no device tree")?;
        if let Some(&[m0, m1, m2, m3, s0, s1, s2, s3]) = tree.first_chunk() {
            if [m0, m1, m2, m3] != [0xd0, 0x0d, 0xfe, 0xed] {
                bail!("QEMU has put no device tree where one was looked for");
            }
            tree.truncate(usize::try_from(u32::from_be_bytes([s0, s1, s2, s3]))?);
        }
        if self.board == Board::QemuVirt && !has_timer_of_armv8(&tree) {
            bail!("the CPU model {} is one of 32 bits: it cannot run the hypervisor", self.cpu);
        }
        Ok(tree)
    }

    /// Stops the Pi before its first instruction and saves what QEMU has made of the tree: memory, and no node for what
    /// it does not play. A kernel has to be there; the tree is as good as any.
    fn dump_rpi4_tree(&self, file: &Path) -> std::io::Result<std::process::Output> {
        const PLACE: &str = "0x8000000 0x20000";
        let mut command = contained(QEMU);
        let tree = self.rpi4_tree();
        command.args(["-M", "raspi4b", "-S", "-display", "none", "-monitor", "stdio"]);
        command.args(["-serial", "null", "-serial", "null", "-kernel"]).arg(&tree);
        command.arg("-dtb").arg(&tree).args(&self.extra);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            writeln!(input, "pmemsave {PLACE} \"{}\"\nquit", file.display())?;
        }
        child.wait_with_output()
    }

    fn rpi4_tree(&self) -> PathBuf {
        self.tree.clone().unwrap_or_else(paths::rpi4_tree)
    }

    /// The command that starts the machine with its console on standard input and output.
    #[must_use]
    pub fn command(&self, boot: &Boot) -> Command {
        let el2 = match boot {
            Boot::Hypervisor { .. } => true,
            Boot::Bare { .. } => false,
            Boot::Image { el2, .. } => *el2,
            Boot::Raw { .. } | Boot::Firmware => true,
        };
        let mut command = match self.board {
            Board::QemuVirt => self.virt(el2, None),
            Board::Rpi4 => self.rpi4_base(boot),
        };
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
            Boot::Firmware => {}
            // There, without a device tree, x0 is not 0 but what QEMU's own ATAGs would be at.
            Boot::Raw { image } if self.board == Board::Rpi4 => {
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

    /// The part of the command line that describes the Pi.
    fn rpi4_base(&self, boot: &Boot) -> Command {
        let mut command = contained(QEMU);
        command.args("-M raspi4b -monitor none -display none -no-reboot".split(' '));
        match &self.pl011_file {
            _ if self.is_on_pl011 => {}
            Some(file) => {
                let mut sink = OsString::from("file:");
                sink.push(file);
                command.arg("-serial").arg(sink);
            }
            None => drop(command.args(["-serial", "null"])),
        }
        command.args(["-serial", &self.console]);
        if !matches!(boot, Boot::Raw { .. } | Boot::Firmware) {
            command.arg("-dtb").arg(self.rpi4_tree());
        }
        self.common(&mut command, true);
        command
    }

    /// The part of the command line that describes the machine `virt`.
    fn virt(&self, el2: bool, dump: Option<&Path>) -> Command {
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
        command.args(["-serial", &self.console]);
        command.args("-monitor none -display none -net none -no-reboot".split(' '));
        self.common(&mut command, dump.is_none());
        command
    }

    /// What both boards take.
    fn common(&self, command: &mut Command, is_run: bool) {
        if self.icount {
            command.args(["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]);
        }
        if let (Some(port), true) = (self.gdb_port, is_run) {
            command.args(["-S", "-gdb", &format!("tcp:127.0.0.1:{port}")]);
        }
        command.args(&self.extra);
    }
}

/// Whether the tree of a `virt` names the Armv8 generic timer, which QEMU has it do for such CPUs alone.
fn has_timer_of_armv8(tree: &[u8]) -> bool {
    let name = b"arm,armv8-timer\0";
    tree.windows(name.len()).any(|bytes| bytes == name)
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
    fn the_pis_console_is_its_mini_uart_unless_the_pl011_is_wanted() {
        let boot = Boot::Hypervisor { image: "hyp.img".into(), bundle: "b".into() };
        let mini = line(&Machine::rpi4().command(&boot));
        assert!(mini.contains("-M raspi4b"), "{mini}");
        assert!(mini.contains("-serial null -serial stdio -dtb "), "{mini}");
        assert!(mini.ends_with("-kernel hyp.img -initrd b"), "{mini}");
        let pl011 = line(&Machine::rpi4().on_pl011().command(&boot));
        assert!(!pl011.contains("-serial null"), "{pl011}");
    }

    #[test]
    fn counted_runs_depend_on_nothing_outside() {
        let boot = Boot::Bare { image: "hello.bin".into(), initrd: None, append: None };
        let line = line(&Machine::new().icount().command(&boot));
        assert!(line.contains("-icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm"));
    }
}
