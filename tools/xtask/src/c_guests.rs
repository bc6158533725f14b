//! The guests in C: built if there is a cross compiler.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use shikiri_qemu_tests::paths;

use crate::process::{self, step};
use crate::{files, flatten};

/// Compilers that will do, the first that is there.
const COMPILERS: [&str; 2] = ["aarch64-linux-gnu-gcc", "aarch64-none-elf-gcc"];

/// The guests, and their files in `guest-sdk/c`.
pub(crate) const GUESTS: [(&str, &[&str]); 1] = [("c-hello", &["start.S", "hello.c"])];

/// A guest has neither a C library nor, as long as its MMU is off, unaligned accesses; it runs wherever it is loaded.
const FLAGS: [&str; 15] = [
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Os",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-mgeneral-regs-only",
    "-mstrict-align",
    "-mcmodel=tiny",
    "-fpie",
    "-nostdlib",
    "-static",
    "-Wl,-pie,--no-dynamic-linker,--build-id=none,--no-warn-rwx-segments,-Tguest.ld",
];

/// The cross compiler, if there is one.
pub(crate) fn compiler() -> Option<&'static str> {
    COMPILERS.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok())
}

/// Builds the flat images, if there is a compiler.
pub(crate) fn build() -> Result<()> {
    let Some(compiler) = compiler() else {
        eprintln!(
            "    no cross compiler for C ({}): its guests are left out",
            COMPILERS.join(", ")
        );
        return Ok(());
    };
    for (name, sources) in GUESTS {
        step(&format!("building {name} with {compiler}"));
        let temporary = tempfile::tempdir()?;
        let elf = temporary.path().join(name);
        let mut compile = Command::new(compiler);
        compile.current_dir(paths::root().join("guest-sdk").join("c"));
        compile.args(FLAGS).args(sources).arg("-o").arg(&elf);
        process::run(&mut compile)?;
        let image = flatten::flatten(&fs::read(&elf)?).context(name)?;
        files::replace(&paths::guests().join(format!("{name}.bin")), &image)?;
    }
    Ok(())
}
