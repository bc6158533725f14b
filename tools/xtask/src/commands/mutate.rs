//! `cargo xtask mutate`: breaks the code in ways that a test must notice, one at a time.
//!
//! `tests/mutations.toml` says what is broken and which test has to fail, which passes as things are. The sources are copied, so that the working
//! tree stays as it is; a test on QEMU gets its images from there, too. A mutation whose code has changed since is an error, here and in the host tests: the list
//! cannot rot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Deserialize;
use shikiri_qemu_tests::{counts, paths};

use crate::commands::soak;
use crate::process::{self, step};

/// Breaks the code on purpose, and checks that a test fails.
#[derive(Debug, Args)]
pub(crate) struct Mutate {
    /// Only the mutations whose name contains this text.
    filter: Option<String>,
    /// Writes the result into `hyp/doc/spec.md`.
    #[arg(long)]
    write: bool,
}

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

/// One way to break the code.
#[derive(Debug, Deserialize)]
struct Mutation {
    /// What is wrong then.
    name: String,
    /// What is broken.
    #[serde(flatten)]
    edit: Edit,
    /// What else has to be there for it to compile.
    #[serde(default)]
    also: Vec<Edit>,
    /// The arguments of the `cargo test` that has to fail.
    test: Vec<String>,
    /// The test runs under loom.
    #[serde(default)]
    loom: bool,
    /// The test starts machines: the broken hypervisor and the guests are built first.
    #[serde(default)]
    machine: bool,
}

/// A piece of a file, and what stands in its place.
#[derive(Debug, Deserialize)]
struct Edit {
    /// The file, from the root.
    file: PathBuf,
    /// What stands there now, exactly once.
    find: String,
    /// What stands there instead.
    replace: String,
}

impl Mutate {
    pub(crate) fn execute(&self) -> Result<()> {
        let list = read_list()?;
        let filter = self.filter.as_deref().unwrap_or("");
        let chosen: Vec<_> =
            list.iter().filter(|mutation| mutation.name.contains(filter)).collect();
        if chosen.is_empty() {
            bail!("no mutation's name contains '{filter}'; tests/mutations.toml has them");
        }
        let tree = paths::target().join("mutations/tree");
        copy_sources(&tree)?;
        let mut survivors = Vec::new();
        let commit = self.write.then(soak::commit).transpose()?;
        let mut tried = Vec::new();
        for mutation in &chosen {
            // What fails anyway notices nothing.
            if !tried.contains(&&mutation.test) {
                step(&format!("unbroken: {}", mutation.test.join(" ")));
                let fails = mutation.run(&tree).context("without any mutation")?;
                if fails {
                    bail!("the test of mutation '{}' fails as things are", mutation.name);
                }
                tried.push(&mutation.test);
            }
            step(&mutation.name);
            if !mutation.is_noticed(&tree)? {
                eprintln!("SURVIVED: no test failed");
                survivors.push(mutation.name.as_str());
            }
        }
        println!("{} noticed, {} survived", chosen.len() - survivors.len(), survivors.len());
        if !survivors.is_empty() {
            bail!("nothing notices: {}", survivors.join(", "));
        }
        if let Some(commit) = commit {
            let run =
                self.filter.as_ref().map_or("mutate".into(), |filter| format!("mutate {filter}"));
            let (noticed, counts) = (chosen.len(), format!("{} mutations", chosen.len()));
            soak::record(&run, u64::try_from(noticed)?, counts::SEED, (&counts, &commit))?;
        }
        Ok(())
    }
}

impl Mutation {
    /// Breaks the copy, runs the test, and mends the copy again.
    fn is_noticed(&self, tree: &Path) -> Result<bool> {
        let mut sources = Vec::new();
        for edit in self.edits() {
            let file = tree.join(&edit.file);
            let source = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            sources.push((file, edit.applied_to(&source, &self.name)?, source));
        }
        for (file, broken, _) in &sources {
            fs::write(file, broken)?;
        }
        let noticed = self.run(tree);
        for (file, _, source) in sources {
            fs::write(file, source)?;
        }
        noticed
    }

    /// Of files that differ: each is read as it is now.
    fn edits(&self) -> impl Iterator<Item = &Edit> {
        std::iter::once(&self.edit).chain(&self.also)
    }

    fn run(&self, tree: &Path) -> Result<bool> {
        // What does not compile shows nothing.
        if !self.cargo(tree, &["--no-run", "--quiet"]).status()?.success() {
            bail!("the test of mutation '{}' does not compile", self.name);
        }
        if self.machine && !build(tree).status()?.success() {
            bail!("mutation '{}': its images cannot be built", self.name);
        }
        let output = self.cargo(tree, &["--quiet"]).output()?;
        Ok(!output.status.success())
    }

    fn cargo(&self, tree: &Path, more: &[&str]) -> Command {
        let mut cargo = process::cargo();
        cargo.current_dir(tree).arg("test").args(more).args(&self.test);
        cargo.env("CARGO_TARGET_DIR", build_folder());
        if self.loom {
            cargo.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "2");
        }
        cargo
    }
}

impl Edit {
    fn applied_to(&self, source: &str, mutation: &str) -> Result<String> {
        match source.matches(&self.find).count() {
            1 => Ok(source.replacen(&self.find, &self.replace, 1)),
            count => bail!(
                "mutation '{mutation}': its text stands {count} times in {} instead of once",
                self.file.display()
            ),
        }
    }
}

/// Builds the images of the copy.
fn build(tree: &Path) -> Command {
    let mut cargo = process::cargo();
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", build_folder());
    cargo.args(["run", "--quiet", "-p", env!("CARGO_PKG_NAME"), "--", "build"]);
    cargo
}

/// Where the copy is built, and where its tests look for images.
fn build_folder() -> PathBuf {
    paths::target().join("mutations/build")
}

fn read_list() -> Result<Vec<Mutation>> {
    let file = paths::root().join("tests/mutations.toml");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let List { mutation } = toml::from_str(&text).with_context(|| file.display().to_string())?;
    Ok(mutation)
}

/// Copies the sources; a file that is there already with the same content keeps its date, so that little is compiled.
fn copy_sources(tree: &Path) -> Result<()> {
    let listed = process::output(Command::new("git").current_dir(paths::root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (paths::root().join(name), tree.join(name));
        // Removed, but not yet from the index.
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file without a folder")?)?;
        fs::write(&to, content).with_context(|| to.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{fs, paths, read_list};
    use std::collections::HashSet;

    #[test]
    fn every_mutation_has_its_place_in_the_code() {
        let mut names = HashSet::new();
        for mutation in read_list().unwrap() {
            let mut files = HashSet::new();
            for edit in mutation.edits() {
                let source = fs::read_to_string(paths::root().join(&edit.file)).unwrap();
                let mutated = edit.applied_to(&source, &mutation.name).unwrap();
                assert_ne!(mutated, source, "{}: changes nothing", mutation.name);
                assert!(files.insert(&edit.file), "{}: a file twice", mutation.name);
            }
            assert!(!mutation.test.is_empty(), "{}: no test", mutation.name);
            assert!(names.insert(mutation.name.clone()), "{}: twice", mutation.name);
        }
    }
}
