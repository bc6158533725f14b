//! The initial file system of the Linux guest: busybox, `/init`, and the built-in scripts that
//! `shikiri.script=NAME` on the kernel's command line runs.

use anyhow::Result;

use shikiri_describe::cpio::Archive;

/// The first program.
const INIT: &[u8] = include_bytes!("../guest-linux/init");

/// The built-in scripts by name.
const SCRIPTS: [(&str, &[u8]); 9] = [
    ("all", include_bytes!("../guest-linux/scripts/all")),
    ("boot", include_bytes!("../guest-linux/scripts/boot")),
    ("hotplug", include_bytes!("../guest-linux/scripts/hotplug")),
    ("interrupts", include_bytes!("../guest-linux/scripts/interrupts")),
    ("load", include_bytes!("../guest-linux/scripts/load")),
    ("program", include_bytes!("../guest-linux/scripts/program")),
    ("rtc", include_bytes!("../guest-linux/scripts/rtc")),
    ("sleep", include_bytes!("../guest-linux/scripts/sleep")),
    ("tmpfs", include_bytes!("../guest-linux/scripts/tmpfs")),
];

/// The names under which the scripts find busybox's commands.
const COMMANDS: &str = "[ awk cat cp cut date dd dmesg echo expr false free grep halt head kill ls mkdir \
    mount nproc poweroff printf ps reboot rm sed seq setsid cttyhack sh sha256sum sleep sort stty sync tail test \
    top tr true umount uname uptime vi wc yes";

/// The archive with this busybox in it.
pub(crate) fn build(busybox: &[u8]) -> Result<Vec<u8>> {
    build_with(busybox, &[])
}

/// The archive with this busybox and further programs, by their paths, in it.
pub(crate) fn build_with(busybox: &[u8], programs: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "etc", "proc", "root", "scos", "scripts", "sys", "tmp"] {
        archive.directory(directory)?;
    }
    // The kernel opens these before /init has mounted anything.
    archive.device("dev/console", 5, 1)?;
    archive.device("dev/null", 1, 3)?;
    archive.program("bin/busybox", busybox)?;
    for command in COMMANDS.split_whitespace() {
        archive.link(&format!("bin/{command}"), "busybox")?;
    }
    for (path, program) in programs {
        archive.program(path, program)?;
    }
    archive.program("init", INIT)?;
    for (name, script) in SCRIPTS {
        archive.program(&format!("scripts/{name}"), script)?;
    }
    Ok(archive.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_is_a_shell_script() {
        for (name, script) in SCRIPTS {
            assert!(script.starts_with(b"#!/bin/sh\n"), "{name}");
        }
        assert!(INIT.starts_with(b"#!/bin/sh\n"));
    }

    #[test]
    fn the_archive_is_the_same_each_time() {
        assert_eq!(build(b"busybox").unwrap(), build(b"busybox").unwrap());
    }
}
