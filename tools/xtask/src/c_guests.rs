//! The guests in C: built if there is a cross compiler.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use shikiri_qemu_tests::{compilers, paths};

use crate::process::{self, step};
use crate::{files, flatten};

/// The guests, and their files in `guest-sdk/c`.
pub(crate) const GUESTS: [(&str, &[&str]); 2] =
    [("c-hello", &["start.S", "hello.c"]), ("c-echo", &["start.S", "echo.c"])];

/// A guest has no C library, no floating point, and no unaligned accesses, of which devices have none; it runs wherever it is loaded.
const FLAGS: [&str; 17] = [
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
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
    compilers::first_of(&compilers::CROSS_C)
}

/// Builds the flat images, if there is a compiler.
pub(crate) fn build() -> Result<()> {
    let Some(compiler) = compiler() else {
        eprintln!(
            "    no cross compiler for C ({}): its guests are left out",
            compilers::CROSS_C.join(", ")
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
