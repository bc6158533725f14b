//! The system control OS: its programs, and the archive that its kernel unpacks.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use shikiri_qemu_tests::paths;

use crate::metadata::{self, PROGRAMS, PROGRAMS_TARGET};
use crate::process::{self, step};
use crate::{c_guests, files, initrd};
use shikiri_describe::cpio::Archive;

/// The folder of the programs in C.
const C_FOLDER: &str = "guest-sdk/scos/c";

/// What a program in C is built with, beside its own file: nothing of ours.
const C_FLAGS: [&str; 6] = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-static"];

/// Commands of busybox that it is packed with.
const BUSYBOX_COMMANDS: [&str; 20] = [
    "awk", "cat", "cut", "date", "echo", "expr", "grep", "head", "kill", "ls", "mkdir", "ps", "rm",
    "sed", "seq", "sh", "sleep", "sort", "true", "wc",
];

/// Builds the programs and packs them.
pub(crate) fn build() -> Result<()> {
    step("building the system control OS's programs");
    let mut cargo = process::bare_metal_cargo();
    cargo.args([
        "build",
        "--quiet",
        "--profile",
        "programs",
        "--bins",
        "--target",
        PROGRAMS_TARGET,
    ]);
    cargo.args(["-p", PROGRAMS, "--target-dir"]).arg(paths::target());
    process::run(&mut cargo)?;
    let mut found = Vec::new();
    for (name, file) in programs()?.into_iter().chain(c_programs()?) {
        let contents = fs::read(&file).with_context(|| file.display().to_string())?;
        found.push((name, contents));
    }
    files::replace(&paths::scos_archive(), &archive(&found, None)?)?;
    let Ok(busybox) = fs::read(paths::guests().join("linux").join("busybox")) else {
        return Ok(());
    };
    files::replace(&paths::scos_with_busybox(), &archive(&found, Some(&busybox))?)?;
    for_linux(&busybox, found)
}

/// The archive that the kernel unpacks: with Debian's busybox, whose commands take the place of ours, or without.
fn archive(programs: &[(String, Vec<u8>)], busybox: Option<&[u8]>) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "etc", "proc", "tmp"] {
        archive.directory(directory)?;
    }
    archive.device("dev/console", 5, 1)?;
    let commands: &[&str] = if busybox.is_some() { &BUSYBOX_COMMANDS } else { &[] };
    for (name, contents) in programs.iter().filter(|(name, _)| !commands.contains(&name.as_str())) {
        let path = if name == "init" { name.clone() } else { format!("bin/{name}") };
        archive.program(&path, contents)?;
    }
    if let Some(busybox) = busybox {
        archive.program("bin/busybox", busybox)?;
    }
    for command in commands {
        archive.link(&format!("bin/{command}"), "busybox")?;
    }
    Ok(archive.finish()?)
}

/// The same programs in a Linux guest's initrd, under `/scos`, with busybox: what they find there is what they have to find here.
fn for_linux(busybox: &[u8], programs: Vec<(String, Vec<u8>)>) -> Result<()> {
    let under: Vec<(String, Vec<u8>)> =
        programs.into_iter().map(|(name, contents)| (format!("scos/{name}"), contents)).collect();
    files::replace(&paths::scos_on_linux(), &initrd::build_with(busybox, &under)?)
}

/// The programs in Rust: their names and files.
fn programs() -> Result<Vec<(String, PathBuf)>> {
    let folder = paths::target().join(PROGRAMS_TARGET).join("programs");
    let workspace = metadata::load()?;
    let package = workspace.packages.iter().find(|package| package.name == PROGRAMS);
    let names = package.context("the package of the programs is missing")?.binaries();
    Ok(names.map(|name| (name.to_owned(), folder.join(name))).collect())
}

/// Whether a C library for static programs is there.
pub(crate) fn has_c_library() -> bool {
    c_guests::compiler().is_some_and(|compiler| {
        let mut ask = Command::new(compiler);
        process::output(ask.arg("-print-file-name=libc.a"))
            .is_ok_and(|path| path.trim().contains('/'))
    })
}

/// The programs in C, if there is what builds them.
fn c_programs() -> Result<Vec<(String, PathBuf)>> {
    let folder = paths::root().join(C_FOLDER);
    if !has_c_library() {
        eprintln!("    no C library for arm64: the programs in C are left out");
        return Ok(Vec::new());
    }
    let compiler = c_guests::compiler().context("there is no cross compiler")?;
    let mut programs = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let source = entry?.path();
        let Some(name) = source.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let program = paths::scos_programs().join(name);
        fs::create_dir_all(paths::scos_programs())?;
        let mut compile = Command::new(compiler);
        process::run(compile.args(C_FLAGS).arg(&source).arg("-o").arg(&program))?;
        programs.push((name.to_owned(), program));
    }
    programs.sort();
    Ok(programs)
}
