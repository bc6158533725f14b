//! `cargo xtask misuse`: what the guests' libraries do not let one write does not compile.
//!
//! Each example of the libraries by which partitions talk is such a program, or the counterpart that compiles. The first line of one that must not compile
//! says why: `//! error[CODE]: reason`.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use shikiri_qemu_tests::paths;

use crate::metadata::{self, BARE_METAL};
use crate::process;

/// The packages whose examples these are, their folders, and what they are compiled for: `None` is the host, where the calls between
/// partitions are tested too.
const PACKAGES: [(&str, &str, Option<&str>); 5] = [
    ("shikiri-rt", "guest-sdk/rt", Some(BARE_METAL)),
    ("shikiri-channel", "guest-sdk/channel", Some(BARE_METAL)),
    ("shikiri-shared", "guest-sdk/shared", Some(BARE_METAL)),
    ("shikiri-object", "guest-sdk/object", Some(BARE_METAL)),
    ("shikiri-rpc", "guest-sdk/rpc", None),
];

/// Checks that misuse of the guests' libraries does not compile.
#[derive(Debug, Args)]
pub(crate) struct Misuse {}

impl Misuse {
    pub(crate) fn execute(&self) -> Result<()> {
        check()?;
        println!("Misuse does not compile.");
        Ok(())
    }
}

/// Fails if one compiles that must not, for another reason than it says, or one does not that must.
pub(crate) fn check() -> Result<()> {
    let workspace = metadata::load()?;
    for (name, folder, target) in PACKAGES {
        let package = workspace.packages.iter().find(|package| package.name == name);
        let examples: Vec<&str> = package.context(name)?.examples().collect();
        ensure!(examples.len() > 1, "{name} has no examples of misuse");
        for example in examples {
            check_one((name, target), folder, example).with_context(|| example.to_owned())?;
        }
    }
    Ok(())
}

fn check_one((package, target): (&str, Option<&str>), folder: &str, name: &str) -> Result<()> {
    let file = paths::root().join(folder).join("misuse").join(format!("{name}.rs"));
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let mut cargo = target.map_or_else(process::cargo, |_| process::bare_metal_cargo());
    cargo.args(["check", "--quiet", "--message-format", "short"]);
    cargo.args(target.into_iter().flat_map(|target| ["--target", target]));
    cargo.args(["-p", package, "--example", name]);
    // Else the host's lints would meet them.
    cargo.args(target.is_none().then_some("--features=misuse"));
    let output = cargo.output().context("cargo cannot be started")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    judge(expected(&text), output.status.success(), &errors)
}

/// The code of the error that a program must have.
fn expected(text: &str) -> Option<&str> {
    text.strip_prefix("//! error[")?.split_once(']').map(|(code, _)| code)
}

fn judge(expected: Option<&str>, compiles: bool, errors: &str) -> Result<()> {
    let mut codes = errors.lines().filter_map(|line| line.split_once("error[")?.1.get(..5));
    match expected {
        None if compiles => Ok(()),
        None => bail!("does not compile:\n{errors}"),
        Some(_) if compiles => bail!("compiles"),
        Some(code) => {
            let first = codes.next();
            let is_it = first == Some(code) && codes.all(|other| other == code);
            ensure!(is_it, "has other errors than {code}:\n{errors}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{expected, judge};

    #[test]
    fn a_program_fails_for_the_reason_that_it_says() {
        let code = expected("//! error[E0382]: why\n");
        assert_eq!((code, expected("//! Compiles")), (Some("E0382"), None));
        let found = "a.rs:9:5: error[E0382]: borrow of moved value\nerror: could not compile";
        assert!(judge(code, false, found).is_ok());
        assert!(judge(code, true, "").is_err());
        assert!(judge(code, false, "error: no such package").is_err());
        assert!(judge(code, false, &format!("{found}\nb.rs:1:1: error[E0425]: x")).is_err());
        assert!(judge(None, true, "").is_ok() && judge(None, false, found).is_err());
    }
}
