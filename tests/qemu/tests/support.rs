//! What the topics share: how a test is named and run, and what test guests print.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::comparisons::{self, Comparisons};
use shikiri_qemu_tests::console::has;
use shikiri_qemu_tests::{Failure, Gic, Machine, Running, System, counts};

/// The longest that a machine may take for anything: a loaded host with two cores runs eight vCPUs. It ends a test that hangs, and
/// says nothing about how long something should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// What a test gives.
pub(crate) type Outcome = Result<(), Failed>;

/// A machine and its name in the tests' names.
#[derive(Clone)]
pub(crate) struct Variant {
    name: String,
    cores: u32,
    machine: Machine,
}

impl Variant {
    /// A machine with this interrupt controller, number of cores and CPU model.
    pub(crate) fn new(gic: Gic, cores: u32, cpu: &str) -> Self {
        let plural = if cores == 1 { "" } else { "s" };
        let name = format!("gic{}, {cores} core{plural}, {cpu}", gic.number());
        Self { name, cores, machine: Machine::new().gic(gic).cpus(cores).cpu(cpu) }
    }

    /// The Raspberry Pi 4 in place of a machine with so many cores: it has four.
    fn rpi4(cores: u32) -> Self {
        Self { name: format!("rpi4, {cores} of 4 cores"), cores, machine: Machine::rpi4() }
    }
}

/// Both interrupt controllers with this number of Cortex-A72 cores.
pub(crate) fn both_gics(cores: u32) -> Vec<Variant> {
    [Gic::V2, Gic::V3].map(|gic| Variant::new(gic, cores, "cortex-a72")).into()
}

/// Both interrupt controllers, and the CPU model with everything that QEMU has.
pub(crate) fn all_kinds(cores: u32) -> Vec<Variant> {
    let mut kinds = both_gics(cores);
    kinds.push(Variant::new(Gic::V3, cores, "max"));
    kinds
}

/// Each interrupt controller and each CPU model once, where each time is long.
pub(crate) fn unlike(cores: u32) -> Vec<Variant> {
    [(Gic::V2, "cortex-a72"), (Gic::V3, "max")]
        .map(|(gic, cpu)| Variant::new(gic, cores, cpu))
        .into()
}

/// All kinds, and that CPU model with a GICv2: for tests that take no time, of what the two have to do with each other.
pub(crate) fn each_kind(cores: u32) -> Vec<Variant> {
    let mut kinds = all_kinds(cores);
    kinds.push(Variant::new(Gic::V2, cores, "max"));
    kinds
}

/// What takes longer than this by itself is worth knowing, where the whole run has a limit.
const SLOW: Duration = Duration::from_secs(20);

/// Runs a test, and says how long it took if that was long. With checks one that has compared nothing fails: it has shown nothing.
fn watched(name: &str, test: impl FnOnce() -> Outcome) -> Outcome {
    comparisons::begin_test();
    let started = Instant::now();
    let outcome = test();
    let took = started.elapsed();
    if took >= SLOW {
        eprintln!("{} s: {name}", took.as_secs());
    }
    outcome?;
    match comparisons::take_of_this_test() {
        Some(Comparisons { parties: 0, .. }) => Err("its hypervisor has compared nothing".into()),
        Some(_) | None => Ok(()),
    }
}

/// How a test for several machines stands with the Raspberry Pi 4.
#[derive(Clone, Copy)]
enum OnRpi4 {
    /// It runs there in every test run.
    Always,
    /// It runs there with `--board rpi4` alone: on `virt`, with the same GIC and the same cores, it says the same.
    WhenAsked,
    /// It does not run there, for this reason.
    Never(&'static str),
}

/// Tests under construction.
pub(crate) struct Topic<'a> {
    name: &'static str,
    trials: &'a mut Vec<Trial>,
    is_slow: bool,
    on_rpi4: OnRpi4,
}

impl<'a> Topic<'a> {
    /// The tests of one topic; its name comes first in theirs.
    pub(crate) fn new(name: &'static str, trials: &'a mut Vec<Trial>) -> Self {
        Self { name, trials, is_slow: false, on_rpi4: OnRpi4::WhenAsked }
    }

    /// The tests that follow are slow: `--fast` leaves them out.
    pub(crate) fn slow(&mut self) -> &mut Self {
        self.is_slow = true;
        self
    }

    /// The next test for several machines runs on the Raspberry Pi 4 in every test run.
    pub(crate) fn also_on_rpi4(&mut self) -> &mut Self {
        self.on_rpi4 = OnRpi4::Always;
        self
    }

    /// The next test for several machines never runs on the Raspberry Pi 4, for this reason.
    pub(crate) fn not_on_rpi4(&mut self, reason: &'static str) -> &mut Self {
        self.on_rpi4 = OnRpi4::Never(reason);
        self
    }

    /// Adds a test that makes its own machine, one of the topic's own board.
    pub(crate) fn test(
        &mut self,
        sentence: &str,
        test: impl FnOnce() -> Outcome + Send + 'static,
    ) -> &mut Self {
        self.add(sentence, test)
    }

    /// Adds a test that makes its own `virt`, for this reason.
    pub(crate) fn only_on_virt(
        &mut self,
        reason: &str,
        sentence: &str,
        test: impl FnOnce() -> Outcome + Send + 'static,
    ) -> &mut Self {
        if counts::is_rpi4_alone() {
            eprintln!("not on rpi4: {}::{sentence}: {reason}", self.name);
            return self;
        }
        self.add(sentence, test)
    }

    fn add(
        &mut self,
        sentence: &str,
        test: impl FnOnce() -> Outcome + Send + 'static,
    ) -> &mut Self {
        let name = format!("{}::{sentence}", self.name);
        let trial = Trial::test(name.clone(), move || watched(&name, test));
        self.trials.push(trial.with_ignored_flag(self.is_slow && counts::is_fast()));
        self
    }

    /// Adds a test for each machine, and for the Raspberry Pi 4 where that can take the place of one of them: a GICv2
    /// with at most four cores.
    pub(crate) fn on_each(
        &mut self,
        variants: Vec<Variant>,
        sentence: &str,
        test: impl Fn(Machine) -> Outcome + Clone + Send + 'static,
    ) -> &mut Self {
        let pi = self.rpi4_for(&variants, sentence);
        let virt = variants.into_iter().filter(|_| !counts::is_rpi4_alone());
        for variant in virt.chain(pi) {
            let test = test.clone();
            let sentence = format!("{sentence} [{}]", variant.name);
            self.add(&sentence, move || test(variant.machine));
        }
        self
    }

    /// The Pi, if it takes part in a test for these machines.
    fn rpi4_for(&mut self, variants: &[Variant], sentence: &str) -> Option<Variant> {
        let how = std::mem::replace(&mut self.on_rpi4, OnRpi4::WhenAsked);
        let cores = variants.first()?.cores;
        let reason = match how {
            OnRpi4::Never(reason) => reason,
            _ if cores > 4 => "it has four cores",
            _ if !variants.iter().any(|variant| variant.name.starts_with("gic2")) => {
                "its GIC is version 2"
            }
            OnRpi4::Always => return Some(Variant::rpi4(cores)),
            OnRpi4::WhenAsked => return counts::is_rpi4_alone().then(|| Variant::rpi4(cores)),
        };
        if counts::is_rpi4_alone() {
            eprintln!("not on rpi4: {}::{sentence}: {reason}", self.name);
        }
        None
    }
}

/// Runs the system until the machine powers off, and checks what its test guests say.
pub(crate) fn passes(system: &System, machine: &Machine) -> Result<String, Failed> {
    let mut running = system.boot(machine)?;
    let console = running.wait_for_power_off(PATIENCE)?;
    approve(&console)?;
    Ok(console)
}

/// Fails unless the test guests whose output this is have passed.
pub(crate) fn approve(console: &str) -> Outcome {
    verdict(console).map_err(|what| Failure::new(what, console).into())
}

/// What the test guests' lines say together.
fn verdict(console: &str) -> Result<(), String> {
    if let Some(line) = console.lines().find(|line| says(line, "FAIL ")) {
        return Err(format!("a guest failed: {}", line.trim()));
    }
    if !console.lines().any(|line| says(line, "ok ")) {
        return Err("no guest tested anything".into());
    }
    if !console.lines().any(|line| says(line, "done")) && !has(console, "| done") {
        return Err("no guest came to its end".into());
    }
    Ok(())
}

/// Whether a console line, with or without a partition's name before it, starts with `word`.
fn says(line: &str, word: &str) -> bool {
    let text = line.split_once("| ").map_or(line, |(_, text)| text);
    text.trim_start().starts_with(word)
}

/// A partition of a description under construction.
pub(crate) struct Partition(String);

impl Partition {
    /// A bare-metal guest, with 4 MiB of memory.
    pub(crate) fn new(name: &str, image: &str) -> Self {
        Self(format!("[[partition]]\nname = \"{name}\"\nimage = \"{image}\"\nmemory = \"4MiB\"\n"))
    }

    /// The Debian Linux, with 256 MiB of memory.
    pub(crate) fn linux(name: &str, words: &str) -> Self {
        Self(format!(
            "[[partition]]\nname = \"{name}\"\nkernel = \"linux/Image\"\ninitrd = \"linux/initrd.cpio\"\n\
             memory = \"256MiB\"\ncmdline = \"console=ttyAMA0 {words}\"\n"
        ))
    }

    /// The Linux has this initrd.
    pub(crate) fn packed(self, initrd: &str) -> Self {
        Self(self.0.replacen("linux/initrd.cpio", initrd, 1))
    }

    /// Has this much memory.
    pub(crate) fn sized(self, memory: &str) -> Self {
        self.with_memory(&format!("\"{memory}\""))
    }

    /// Has this memory, in place of the usual.
    pub(crate) fn with_memory(self, memory: &str) -> Self {
        let lines = self.0.lines().map(|line| {
            if line.starts_with("memory = ") {
                format!("memory = {memory}\n")
            } else {
                format!("{line}\n")
            }
        });
        Self(lines.collect())
    }

    /// Adds a line of the description, in place of the usual if that has one for the same.
    pub(crate) fn changed(self, line: &str) -> Self {
        match line.strip_prefix("memory = ") {
            Some(memory) => self.with_memory(memory),
            None => self.with(line),
        }
    }

    /// Adds a line of the description.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.0.push_str(line);
        self.0.push('\n');
        self
    }
}

/// One that runs the system control OS, with the files that every such system has and memory for them.
pub(crate) fn control_os(name: &str) -> Partition {
    Partition::new(name, "scos").sized("64MiB").with("initrd = \"scos/root.cpio\"")
}

/// One that has a deadline every 20 us, for tests by counted instructions. When a core's turn ends in the middle of its interrupt, the
/// emulator lets another run until its next deadline, for 30 ms if there is none before: this keeps that below 500 us (200 were seen).
pub(crate) fn deadlines() -> Partition {
    Partition::new("deadlines", "witness")
        .with("cmdline = \"reports=1 report_ms=100 period_us=20\"")
}

/// The system of these partitions.
pub(crate) fn system(partitions: impl IntoIterator<Item = Partition>) -> Result<System, Failed> {
    let texts: Vec<String> = partitions.into_iter().map(|partition| partition.0).collect();
    Ok(System::from_text(&texts.join("\n"))?)
}

/// One partition that runs a test guest on cores of its own.
pub(crate) fn one_guest(image: &str, words: &str, vcpus: u32) -> Result<System, Failed> {
    system([Partition::new(image, image)
        .with(&format!("cores = {vcpus}"))
        .with(&format!("cmdline = \"{words}\""))])
}

/// The code of one of the assembly files beside the tests.
pub(crate) fn assemble(source: &str, scratch: &Path) -> Result<Vec<u8>, Failed> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let (object, flat) = (scratch.join("assembled.o"), scratch.join("assembled.bin"));
    let has_gcc =
        |prefix: &&str| Command::new(format!("{prefix}gcc")).arg("--version").output().is_ok();
    let prefix = ["aarch64-linux-gnu-", "aarch64-none-elf-"].into_iter().find(has_gcc);
    let prefix = prefix.ok_or("there is no cross compiler (see `cargo xtask setup`)")?;
    let run = |program: &str, arguments: &[&Path]| -> Outcome {
        let status = Command::new(format!("{prefix}{program}")).args(arguments).status()?;
        if status.success() { Ok(()) } else { Err(format!("{program}: {status}").into()) }
    };
    run("gcc", &[Path::new("-c"), &source, Path::new("-o"), &object])?;
    run("objcopy", &[Path::new("-O"), Path::new("binary"), &object, &flat])?;
    Ok(std::fs::read(flat)?)
}

/// Types a command at the operator console, whose prompt has to be there, and gives the answer.
///
/// If others write into the line while it is typed, it is shown again behind another prompt: the answer's prompt is the first one
/// behind text that is the hypervisor's answer, which each command has.
pub(crate) fn operator(running: &mut Running, command: &str) -> Result<String, Failed> {
    running.send(&format!("{command}\r"))?;
    running.wait_for(command, PATIENCE)?;
    let mut answer = running.wait_for(OPERATOR_PROMPT, PATIENCE)?;
    while !answer.lines().any(|line| is_answer(line, command)) {
        answer += &running.wait_for(OPERATOR_PROMPT, PATIENCE)?;
    }
    Ok(answer)
}

/// The same without what partitions and the hypervisor's messages have put between the answer's lines.
pub(crate) fn answer_lines(running: &mut Running, command: &str) -> Result<Vec<String>, Failed> {
    let answer = operator(running, command)?;
    let lines = answer.lines().filter(|line| is_answer(line, command));
    Ok(lines.map(|line| line.trim().to_owned()).collect())
}

/// Whether a line belongs to a command's answer: it is not a partition's, no message, and not the command itself.
fn is_answer(line: &str, command: &str) -> bool {
    let line = line.trim();
    let is_partitions = line.split_once("| ").is_some_and(|(name, _)| !name.contains(' '));
    !line.is_empty()
        && !is_partitions
        && !line.starts_with("shikiri: ")
        && line.trim_end_matches(OPERATOR_PROMPT.trim()) != command
        && line != OPERATOR_PROMPT.trim()
}

/// The same of a command that makes something happen, of which `text` tells: that may come before the prompt, or behind it, or in
/// a partition's line that the prompt breaks.
pub(crate) fn operate(running: &mut Running, command: &str, text: &str) -> Outcome {
    operate_until(running, command, &[text])
}

/// The same with several texts, in any order.
pub(crate) fn operate_until(running: &mut Running, command: &str, texts: &[&str]) -> Outcome {
    running.send(&format!("{command}\r"))?;
    running.wait_for(command, PATIENCE)?;
    running.wait_for_all(&[&[OPERATOR_PROMPT], texts].concat(), PATIENCE)?;
    Ok(())
}

/// Waits until a partition, in its life with this id, has said `done` and has ended, and gives what was printed.
pub(crate) fn wait_for_end(running: &mut Running, name: &str, id: u32) -> Result<String, Failed> {
    wait_for_long_end(running, name, id, PATIENCE)
}

/// The same of one that may take this long.
pub(crate) fn wait_for_long_end(
    running: &mut Running,
    name: &str,
    id: u32,
    patience: Duration,
) -> Result<String, Failed> {
    let ended = format!("partition {name} (id {id}) has ended");
    let said = format!("{name}| done");
    Ok(running.wait_for_all(&[&said, &ended], patience)?)
}

/// Goes to the operator console.
pub(crate) fn open_operator(running: &mut Running) -> Outcome {
    running.send("\u{1}c")?;
    running.wait_for(OPERATOR_PROMPT, PATIENCE)?;
    Ok(())
}

/// Lets the hypervisor compare all its books on frames, with the operator console open: they have to agree, those on free
/// frames as well. While a partition is being built or taken apart the answer says to ask again, and so it is. Gives the
/// answer.
pub(crate) fn audit(running: &mut Running) -> Result<String, Failed> {
    let end = Instant::now() + PATIENCE;
    let mut answer = operator(running, "audit")?;
    while answer.contains("ask again") && Instant::now() < end {
        answer = operator(running, "audit")?;
    }
    let agrees = [
        "ledger, stage-2 tables and accounts agree",
        "the hypervisor's own are in no table",
        "free in pool and ledger",
    ];
    if agrees.iter().all(|words| answer.contains(words)) && !answer.contains("AUDIT FAILED") {
        return Ok(answer);
    }
    Err(running.failure(format!("the audit's answer is {answer:?}")).into())
}

/// The operator console's prompt.
const OPERATOR_PROMPT: &str = "shikiri> ";
