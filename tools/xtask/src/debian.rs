//! Debian's packages: installing them for this machine, and fetching arm64 ones for the guests.
//!
//! Nothing of the machine's own package configuration is changed. The guests' packages, and the
//! backports that a Debian 12 needs for its QEMU, are looked up in a private state under `target/`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use shikiri_qemu_tests::paths;

use crate::process::{self, step};

/// The unpacked files of the Linux guest.
pub(crate) struct ArmGuest {
    /// The kernel's `Image`.
    pub(crate) kernel: PathBuf,
    /// The static busybox.
    pub(crate) busybox: PathBuf,
    /// The kernel's device tree of the Raspberry Pi 4.
    pub(crate) rpi4_tree: PathBuf,
}

/// Fails on a machine without Debian's package tools, naming what the user has to provide.
pub(crate) fn require(what: &str) -> Result<()> {
    if Path::new("/etc/debian_version").exists() && codename().is_some() && is_debian() {
        return Ok(());
    }
    bail!("this machine is not Debian, so nothing is installed; please provide: {what}");
}

/// Installs packages of the machine's own release.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    process::run(apt_as_root(&[])?.arg("update"))?;
    process::run(apt_as_root(&[])?.args(INSTALL).args(packages))
}

/// Installs packages from the release's backports where there are any, else from the release.
///
/// Debian 12's own QEMU is too old, and a plain installation beside an already backported
/// `qemu-utils` fails: the target release has to be named.
pub(crate) fn install_newest(packages: &[&str]) -> Result<()> {
    let codename = codename().context("the release has no codename")?;
    let state = State::update()?;
    let backports = format!("{codename}-backports");
    if codename != "bookworm" || !state.add_backports(&codename, &backports)? {
        return install(packages);
    }
    let options = state.options();
    let mut apt = apt_as_root(&options)?;
    apt.args(INSTALL).args(["-t", &backports]).args(packages);
    process::run(&mut apt)
}

/// Downloads and unpacks the kernel, with its device trees, and busybox for arm64 into `folder`.
pub(crate) fn fetch_arm64_guest(folder: &Path) -> Result<ArmGuest> {
    let state = State::update()?;
    let kernel = state.kernel_package()?;
    for package in [kernel.as_str(), "busybox-static"] {
        step(&format!("downloading {package}:arm64"));
        let mut apt = state.command("apt-get");
        apt.arg("download").arg(format!("{package}:arm64")).current_dir(folder);
        process::run(&mut apt)?;
    }
    let unpacked = folder.join("unpacked");
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension() == Some(OsStr::new("deb")) {
            process::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&unpacked))?;
        }
    }
    let busybox = ["usr/bin/busybox", "bin/busybox"].map(|path| unpacked.join(path));
    Ok(ArmGuest {
        kernel: the_kernel_in(&unpacked.join("boot"))?,
        busybox: busybox.into_iter().find(|file| file.is_file()).context("no busybox came")?,
        rpi4_tree: unpacked
            .join("usr/lib")
            .join(&kernel)
            .join("broadcom")
            .join(paths::RPI4_TREE_NAME),
    })
}

const INSTALL: [&str; 3] = ["install", "--yes", "--no-install-recommends"];

/// A private package state: lists for this machine and for arm64.
struct State {
    folder: PathBuf,
}

impl State {
    /// Reads the lists of the machine's own sources.
    fn update() -> Result<Self> {
        let folder = paths::target().join("apt");
        for part in ["lists/partial", "cache/archives/partial", "sources.list.d"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let state = Self { folder: folder.canonicalize()? };
        state.copy_sources()?;
        state.refresh()?;
        Ok(state)
    }

    /// Reads the lists again. A foreign source without arm64 packages may fail: what matters is
    /// whether the packages are found afterwards.
    fn refresh(&self) -> Result<()> {
        step("reading the package lists");
        if !self.command("apt-get").args(["--quiet", "update"]).status()?.success() {
            step("some package sources failed; going on with the others");
        }
        Ok(())
    }

    fn copy_sources(&self) -> Result<()> {
        let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            fs::copy(entry.path(), self.folder.join("sources.list.d").join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Adds the backports of the mirror that the machine uses, unless they are configured already.
    /// The answer is whether backports are there.
    fn add_backports(&self, codename: &str, backports: &str) -> Result<bool> {
        if self.mirror_of(backports)?.is_some() {
            return Ok(true);
        }
        let Some(mirror) = self.mirror_of(codename)? else { return Ok(false) };
        let source = format!(
            "Types: deb\nURIs: {mirror}\nSuites: {backports}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
        fs::write(self.folder.join("sources.list.d/shikiri-backports.sources"), source)?;
        self.refresh()?;
        Ok(self.mirror_of(backports)?.is_some())
    }

    /// The address that the machine's sources use for a release.
    fn mirror_of(&self, codename: &str) -> Result<Option<String>> {
        let mut apt = self.command("apt-get");
        apt.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
        apt.arg(format!("Codename: {codename}"));
        Ok(process::output(&mut apt)?.lines().next().map(str::to_owned))
    }

    /// The kernel package that `linux-image-arm64` stands for today.
    fn kernel_package(&self) -> Result<String> {
        let mut cache = self.command("apt-cache");
        let text = process::output(cache.args(["depends", "linux-image-arm64:arm64"]))?;
        kernel_in(&text).context("the package lists name no arm64 kernel")
    }

    fn options(&self) -> Vec<String> {
        let folder = self.folder.display();
        [
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            format!("Dir::Etc::sourceparts={folder}/sources.list.d"),
            "APT::Architectures::=amd64".into(),
            "APT::Architectures::=arm64".into(),
            // As root, apt would download as a user who may not write here.
            "APT::Sandbox::User=root".into(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".into(), option])
        .collect()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.options());
        command
    }
}

/// `apt-get` with the rights to install.
fn apt_as_root(options: &[String]) -> Result<Command> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("apt-get")
    } else if Command::new("sudo").arg("--version").output().is_ok() {
        // sudo does not hand the environment on.
        let mut sudo = Command::new("sudo");
        sudo.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    } else {
        bail!("packages have to be installed: run `cargo xtask setup` as root, or install sudo");
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").args(options);
    Ok(command)
}

fn kernel_in(depends: &str) -> Option<String> {
    let line = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "))?;
    let name = line.trim().trim_end_matches(":arm64");
    name.starts_with("linux-image-").then(|| name.to_owned())
}

fn the_kernel_in(boot: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(boot).context("the kernel package holds no /boot")? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("vmlinuz-") {
            return Ok(entry.path());
        }
    }
    bail!("the kernel package holds no kernel")
}

fn is_debian() -> bool {
    os_release("ID").is_some_and(|id| id == "debian")
}

fn codename() -> Option<String> {
    os_release("VERSION_CODENAME")
}

fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    field(&text, key)
}

fn field(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_package_is_read_from_its_meta_package() {
        let text = "linux-image-arm64:arm64\n  Depends: linux-image-6.1.0-40-arm64:arm64\n";
        assert_eq!(kernel_in(text).as_deref(), Some("linux-image-6.1.0-40-arm64"));
        assert_eq!(kernel_in("linux-image-arm64\n  Depends: libc6\n"), None);
        assert_eq!(kernel_in(""), None);
    }

    #[test]
    fn the_release_is_read_from_its_file() {
        let text = "PRETTY_NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(field(text, "VERSION_CODENAME").as_deref(), Some("bookworm"));
        assert_eq!(field(text, "ID").as_deref(), Some("debian"));
        assert_eq!(field(text, "VERSION"), None);
    }
}
