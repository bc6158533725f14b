//! Where things are: the workspace, the build's output, the systems.

use std::path::{Path, PathBuf};

use crate::counts;

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The build's output: `target/`, or what `CARGO_TARGET_DIR` names.
#[must_use]
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The hypervisor's flat image: that with checks, if `SHIKIRI_CHECKED` is set.
#[must_use]
pub fn hypervisor() -> PathBuf {
    if counts::is_checked() { checked_hypervisor() } else { target().join("shikiri.img") }
}

/// The flat image of the hypervisor that compares its books after each call.
#[must_use]
pub fn checked_hypervisor() -> PathBuf {
    target().join("checked/shikiri.img")
}

/// The program of all commands: the one that runs the tests (`SHIKIRI_XTASK`), or the one that cargo has built last.
#[must_use]
pub fn xtask() -> PathBuf {
    match std::env::var_os("SHIKIRI_XTASK") {
        Some(program) => program.into(),
        None => target().join("debug/xtask"),
    }
}

/// The folder of the guests' flat images.
#[must_use]
pub fn guests() -> PathBuf {
    target().join("guests")
}

/// The Linux kernel that `cargo xtask setup` fetched (an arm64 `Image`).
#[must_use]
pub fn linux_kernel() -> PathBuf {
    guests().join("linux").join("Image")
}

/// The initrd that `cargo xtask setup` made for it.
#[must_use]
pub fn linux_initrd() -> PathBuf {
    guests().join("linux").join("initrd.cpio")
}

/// The name of the Raspberry Pi 4's device tree, as Linux and the Pi's firmware have it.
pub const RPI4_TREE_NAME: &str = "bcm2711-rpi-4-b.dtb";

/// The Raspberry Pi 4's device tree that `cargo xtask setup` fetched with the kernel.
#[must_use]
pub fn rpi4_tree() -> PathBuf {
    guests().join("linux").join(RPI4_TREE_NAME)
}

/// The folder of short-lived files (bundles, device trees) of running machines.
#[must_use]
pub fn scratch() -> PathBuf {
    target().join("run")
}

/// The archive of the system control OS's programs and files.
#[must_use]
pub fn scos_archive() -> PathBuf {
    guests().join("scos").join("root.cpio")
}

/// The same with Debian's busybox.
#[must_use]
pub fn scos_with_busybox() -> PathBuf {
    guests().join("scos").join("busybox.cpio")
}

/// The same programs in a Linux guest's initrd.
#[must_use]
pub fn scos_on_linux() -> PathBuf {
    guests().join("scos").join("linux.cpio")
}

/// The folder of its programs in C.
#[must_use]
pub fn scos_programs() -> PathBuf {
    guests().join("scos").join("c")
}
