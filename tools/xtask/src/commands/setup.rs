//! `cargo xtask setup`: installs what is missing, or names it. Each check is quick when all is
//! there, so that the other commands call them first.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use shikiri_qemu_tests::{compilers, machine, paths};

use crate::metadata::{BARE_METAL, PROGRAMS_TARGET};
use crate::process::{self, step};
use crate::{c_guests, debian, files, initrd, scos};

/// The oldest QEMU whose machines behave as the hardware does where we depend on it: from version 9
/// on, unaligned accesses with the MMU off are faults.
const OLDEST_QEMU: u32 = 9;

/// Installs what is missing, or names it.
#[derive(Debug, Args)]
pub(crate) struct Setup {}

impl Setup {
    pub(crate) fn execute(&self) -> Result<()> {
        all_of([
            rust_target(),
            programs_target(),
            rust_components(),
            qemu(),
            device_tree_compiler(),
            linux(),
            c_compiler(),
        ])?;
        process::print("All that is needed is there:\n");
        for (what, is) in [
            ("Rust targets", format!("{BARE_METAL}, {PROGRAMS_TARGET}")),
            ("QEMU", qemu_version().map_or_else(String::new, |v| v.1)),
            ("C cross compiler", c_guests::compiler().unwrap_or_default().to_owned()),
            ("Linux guest", paths::linux_kernel().display().to_string()),
            ("its initrd", paths::linux_initrd().display().to_string()),
            ("Raspberry Pi 4", paths::rpi4_tree().display().to_string()),
        ] {
            process::print(format_args!("  {what:<18} {is}\n"));
        }
        Ok(())
    }
}

/// One error for all that could not be had: whoever has to install it himself does so once.
fn all_of(checks: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let failed = checks.into_iter().filter_map(Result::err).map(|error| format!("{error:#}"));
    let failed: Vec<_> = failed.collect();
    match failed.as_slice() {
        [] => Ok(()),
        [one] => bail!("{one}"),
        several => bail!("{} things are missing:\n- {}", several.len(), several.join("\n- ")),
    }
}

/// Makes sure that Rust can compile for the bare machine.
pub(crate) fn rust_target() -> Result<()> {
    target(BARE_METAL)
}

/// Makes sure that Rust can compile the programs of the system control OS.
pub(crate) fn programs_target() -> Result<()> {
    target(PROGRAMS_TARGET)
}

fn target(name: &str) -> Result<()> {
    if has_target(name)? {
        return Ok(());
    }
    step(&format!("installing the Rust target {name}"));
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", name]).current_dir(paths::root());
    let added = process::run(&mut rustup);
    if added.is_err() || !has_target(name)? {
        bail!("the Rust target {name} is missing: run `rustup target add {name}`");
    }
    Ok(())
}

fn has_target(name: &str) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    let root = process::output(rustc.args(["--print", "sysroot"]).current_dir(paths::root()))?;
    Ok(Path::new(root.trim()).join("lib/rustlib").join(name).join("lib").is_dir())
}

/// Makes sure that the components of Rust are there with which sources are formatted and looked through. A linker is there: this
/// program was linked.
pub(crate) fn rust_components() -> Result<()> {
    for (name, program) in [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")] {
        if has_component(program) {
            continue;
        }
        step(&format!("installing Rust's component {name}"));
        let mut rustup = Command::new("rustup");
        rustup.args(["component", "add", name]).current_dir(paths::root());
        if process::run(&mut rustup).is_err() || !has_component(program) {
            bail!("Rust's component {name} is missing: run `rustup component add {name}`");
        }
    }
    Ok(())
}

/// Whether a program of the toolchain runs: rustup has a stand-in for each, which fails if its component is missing.
fn has_component(program: &str) -> bool {
    let mut command = Command::new(program);
    let output = command.arg("--version").current_dir(paths::root()).output();
    output.is_ok_and(|output| output.status.success())
}

/// Makes sure that a QEMU of the right age is there.
pub(crate) fn qemu() -> Result<()> {
    if is_new_enough(qemu_version()) {
        return Ok(());
    }
    step(&format!("installing QEMU (at least version {OLDEST_QEMU})"));
    debian::require("QEMU's qemu-system-aarch64, version 9 or newer")?;
    debian::install_newest(&["qemu-system-arm", "ipxe-qemu"])?;
    match qemu_version() {
        Some((major, _)) if major >= OLDEST_QEMU => Ok(()),
        Some((_, text)) => bail!("QEMU {text} is too old: install version {OLDEST_QEMU} or newer"),
        None => bail!("{} is still missing after its installation", machine::QEMU),
    }
}

fn is_new_enough(version: Option<(u32, String)>) -> bool {
    version.is_some_and(|(major, _)| major >= OLDEST_QEMU)
}

/// QEMU's major version, and its version as it prints it.
fn qemu_version() -> Option<(u32, String)> {
    let text = process::output(Command::new(machine::QEMU).arg("--version")).ok()?;
    parse_version(&text)
}

fn parse_version(text: &str) -> Option<(u32, String)> {
    let version = text.split_whitespace().skip_while(|word| *word != "version").nth(1)?;
    Some((version.split('.').next()?.parse().ok()?, version.to_owned()))
}

/// Makes sure that `dtc` is there: with it one reads the device trees that boards and guests get.
fn device_tree_compiler() -> Result<()> {
    if Command::new("dtc").arg("--version").output().is_ok() {
        return Ok(());
    }
    step("installing the device-tree compiler");
    debian::require("dtc, the device-tree compiler")?;
    debian::install(&["device-tree-compiler"])
}

/// Fetches the Linux guest, and the compiler for a guest in C, if the description in `file` names one.
pub(crate) fn for_what_is_named_in(file: &Path) -> Result<()> {
    let text =
        fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    if text.contains("linux/") {
        linux()?;
    }
    if c_guests::GUESTS.iter().any(|(name, _)| text.contains(&format!("\"{name}\""))) {
        c_compiler()?;
    }
    Ok(())
}

/// Makes sure that there is a cross compiler, with a C library, for the guests and programs in C; and any compiler for C++, by which a
/// test looks whether guests in C++ can include the header. A machine that links Rust's programs has most of that one.
pub(crate) fn c_compiler() -> Result<()> {
    cpp_compiler()?;
    if c_guests::compiler().is_some() && scos::has_c_library() {
        return Ok(());
    }
    step("installing a cross compiler for the guests in C (60 MB)");
    debian::require("aarch64-linux-gnu-gcc and its libc, for the guests in C")?;
    debian::install(&["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"])
}

fn cpp_compiler() -> Result<()> {
    if compilers::first_of(&compilers::CPP).is_some() {
        return Ok(());
    }
    step("installing a compiler for C++ (12 MB)");
    debian::require("g++, by which the header for C is compiled as C++")?;
    debian::install(&["g++"])
}

/// Makes sure that the Linux guest is there: Debian's arm64 kernel, and an initrd around Debian's
/// static busybox. The kernel's package has the Raspberry Pi 4's device tree, which is kept, too.
pub(crate) fn linux() -> Result<()> {
    let folder = paths::guests().join("linux");
    fs::create_dir_all(&folder)?;
    let (kernel, busybox) = (paths::linux_kernel(), folder.join("busybox"));
    if !(kernel.is_file() && busybox.is_file() && paths::rpi4_tree().is_file()) {
        fetch_linux(&folder, &kernel, &busybox)?;
    }
    let archive = initrd::build(&fs::read(&busybox)?)?;
    files::replace(&paths::linux_initrd(), &archive)
}

fn fetch_linux(folder: &Path, kernel: &Path, busybox: &Path) -> Result<()> {
    step("fetching Debian's arm64 kernel and busybox (60 MB)");
    debian::require(&format!(
        "an arm64 Linux kernel (`Image`) as {}, a static arm64 busybox as {}, and the kernel's {} as {}",
        kernel.display(),
        busybox.display(),
        paths::RPI4_TREE_NAME,
        paths::rpi4_tree().display()
    ))?;
    let temporary = tempfile::tempdir_in(folder)?;
    let fetched = debian::fetch_arm64_guest(temporary.path())?;
    let image = fs::read(&fetched.kernel)?;
    if image.get(0x38..0x3c) != Some(b"ARM\x64") {
        bail!("{} is not an arm64 `Image`", fetched.kernel.display());
    }
    files::replace(kernel, &image)?;
    files::replace(busybox, &fs::read(&fetched.busybox)?)?;
    files::replace(&paths::rpi4_tree(), &fs::read(&fetched.rpi4_tree)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let missing = |what| Err(anyhow::anyhow!("please provide: {what}"));
        all_of([Ok(()), Ok(())]).unwrap();
        let one = all_of([Ok(()), missing("a")]).unwrap_err();
        assert_eq!(one.to_string(), "please provide: a");
        let two = all_of([missing("a"), Ok(()), missing("b")]).unwrap_err();
        let expected = "2 things are missing:\n- please provide: a\n- please provide: b";
        assert_eq!(two.to_string(), expected);
    }

    #[test]
    fn the_version_is_found_in_what_qemu_prints() {
        let text = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003-2025";
        assert_eq!(parse_version(text), Some((10, "10.0.2".into())));
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn the_qemu_of_plain_bookworm_is_too_old() {
        assert!(!is_new_enough(parse_version("QEMU emulator version 7.2.17 (Debian 1:7.2)")));
        assert!(!is_new_enough(None));
        assert!(is_new_enough(Some((10, "10.0.2".into()))));
    }
}
