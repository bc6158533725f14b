//! `hyp/doc/guest.md` read as a newcomer does: its files are written into an empty folder, its commands typed, and what it shows comes.

use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use shikiri_qemu_tests::paths;

use crate::support::{Outcome, Topic};

/// Adds this topic's tests.
pub(crate) fn trials(trials: &mut Vec<Trial>) {
    let mut topic = Topic::new("page", trials);
    topic.only_on_virt(
        "the page is for virt",
        "from_an_empty_folder_to_a_guest_that_runs",
        newcomer,
    );
}

/// A block of the page between fences.
struct Block<'p> {
    language: &'p str,
    text: &'p str,
}

/// The page's blocks, in order.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let parts = page.split("\n```").skip(1).step_by(2);
    parts
        .filter_map(|part| part.split_once('\n'))
        .map(|(language, text)| Block { language, text })
        .collect()
}

impl<'p> Block<'p> {
    /// The file that it is, by the name in its first line: `# Cargo.toml`, `// src/main.rs`.
    fn file(&self) -> Option<&'p str> {
        let first = self.text.lines().next()?;
        let name = first.strip_prefix("# ").or_else(|| first.strip_prefix("// "))?;
        let name = name.split([',', ' ']).next()?;
        [".toml", ".rs"].iter().any(|end| name.ends_with(end)).then_some(name)
    }
}

/// The folder is no part of the repository, so that nothing of its settings is found from there; beside it is the repository, under
/// the name that the page calls it by. Nothing is built that is there already.
fn newcomer() -> Outcome {
    let page = std::fs::read_to_string(paths::root().join("hyp/doc/guest.md"))?;
    let blocks = blocks(&page);
    let scratch = tempfile::tempdir()?;
    let guest = scratch.path().join("my-guest");
    let files = blocks.iter().filter_map(|block| Some((block.file()?, block.text)));
    for (name, text) in files {
        let file = guest.join(name);
        std::fs::create_dir_all(file.parent().ok_or("no folder")?)?;
        std::fs::write(file, format!("{text}\n"))?;
    }
    link_repository(&scratch.path().join("shikiri"))?;
    let is_typed = |block: &&Block<'_>| block.language == "sh";
    let typed = blocks.iter().filter(is_typed).enumerate();
    let typed = typed.map(|(number, block)| format!("echo {MARK} {number}\n{}\n", block.text));
    let console = run(&guest, &format!("{SHELL}{}", typed.collect::<String>()))?;
    let mut outputs = console.split(MARK);
    let mut shown = 0;
    for block in blocks {
        match block.language {
            "sh" => drop(outputs.next()),
            "text" => {
                shown += 1;
                let output = outputs.clone().next().unwrap_or_default();
                comes(block.text, output)?;
            }
            _ => {}
        }
    }
    // What stands nowhere is compared with nothing.
    if shown < 3 { Err(format!("the page shows {shown} outputs").into()) } else { Ok(()) }
}

/// What stands before each block's output.
const MARK: &str = "@@ block";

/// The first command that fails ends it; `cargo xtask` is the program that was built.
const SHELL: &str = r#"set -e
cargo() {
    if [ "$1" != xtask ]; then command cargo "$@"; return; fi
    shift
    case "$1" in run|check) command=$1; shift; set -- "$command" --no-build "$@";; esac
    "$XTASK" "$@"
}
"#;

/// A folder that has what the repository's has.
fn link_repository(folder: &Path) -> Outcome {
    std::fs::create_dir(folder)?;
    for entry in std::fs::read_dir(paths::root())? {
        let entry = entry?;
        std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name()))?;
    }
    Ok(())
}

/// Types this, and gives what was printed. What is not there is not fetched.
fn run(folder: &Path, script: &str) -> Result<String, Failed> {
    let output = Command::new("timeout")
        .args(["1200", "sh", "-c", script])
        .current_dir(folder)
        .env("XTASK", paths::xtask())
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .output()?;
    let [out, err] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    if output.status.success() {
        return Ok(out);
    }
    let why = if output.status.code() == Some(124) { ": not in 1200 s" } else { "" };
    Err(format!("{}{why}\nstdout: {out}\nstderr: {err}", output.status).into())
}

/// The lines come, in this order.
fn comes(lines: &str, output: &str) -> Outcome {
    let mut printed = output.lines().map(str::trim_end);
    for line in lines.lines() {
        if !printed.any(|printed| printed == line) {
            return Err(format!("the page shows {line:?}, and what came is:\n{output}").into());
        }
    }
    Ok(())
}
