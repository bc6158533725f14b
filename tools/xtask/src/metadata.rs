//! What cargo knows about the workspace: packages, their binaries, their dependencies.

use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;

use crate::process;

/// The target triple of the hypervisor and the guests.
pub(crate) const BARE_METAL: &str = "aarch64-unknown-none-softfloat";

/// The target triple of the system control OS's programs.
pub(crate) const PROGRAMS_TARGET: &str = "aarch64-unknown-linux-musl";
/// Their package.
pub(crate) const PROGRAMS: &str = "shikiri-scos-programs";

/// The answer of `cargo metadata`, as far as it is used.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// The workspace's own packages (dependencies are left out).
    pub(crate) packages: Vec<Package>,
    workspace_default_members: Vec<String>,
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    /// Its name, `shikiri-…`.
    pub(crate) name: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest_path: PathBuf,
    /// What it depends on.
    pub(crate) dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

/// A dependency of a package.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package depended on.
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// The folder, for packages of this workspace.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Asks cargo.
pub(crate) fn load() -> Result<Workspace> {
    let mut cargo = process::cargo();
    let text = process::output(cargo.args(["metadata", "--format-version=1", "--no-deps"]))?;
    Ok(serde_json::from_str(&text)?)
}

impl Workspace {
    /// The packages that are built for the host (the workspace's default members).
    pub(crate) fn host_packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_host(package))
    }

    /// The packages that are built for the bare machine only.
    pub(crate) fn bare_metal_packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| !self.is_host(package) && package.name != PROGRAMS)
    }

    fn is_host(&self, package: &Package) -> bool {
        self.workspace_default_members.contains(&package.id)
    }
}

impl Package {
    /// The names of its binaries.
    pub(crate) fn binaries(&self) -> impl Iterator<Item = &str> {
        self.targets_of("bin")
    }

    /// The names of its examples.
    pub(crate) fn examples(&self) -> impl Iterator<Item = &str> {
        self.targets_of("example")
    }

    fn targets_of(&self, kind: &'static str) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter(move |target| target.kind.iter().any(|it| it == kind))
            .map(|target| target.name.as_str())
    }
}
