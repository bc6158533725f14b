//! The compilers for guests in C, and for a look at what guests in C++ would include.

use std::process::Command;

/// Cross compilers for C, in the order of preference.
pub const CROSS_C: [&str; 2] = ["aarch64-linux-gnu-gcc", "aarch64-none-elf-gcc"];

/// Compilers for C++: a cross compiler, which is not always there, or that of this machine.
pub const CPP: [&str; 4] = ["aarch64-linux-gnu-g++", "aarch64-none-elf-g++", "g++", "clang++"];

/// The first of these that runs.
#[must_use]
pub fn first_of(names: &[&'static str]) -> Option<&'static str> {
    names.iter().copied().find(|name| Command::new(name).arg("--version").output().is_ok())
}
