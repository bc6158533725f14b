//! What the page on running a machine shows, typed at the machine that a newcomer starts.

use shikiri_qemu_tests::{Running, paths};

use crate::support::{Outcome, PATIENCE};

const PROMPT: &str = "shikiri:/# ";

/// What is typed, and the lines that come of it.
struct Exchange {
    line: String,
    answer: Vec<String>,
}

/// Types what stands behind each prompt at the start of a line of the page, and looks for the lines below it. Numbers may differ: ids are
/// never used again, and what a kernel needs is another kernel's another time.
pub(super) fn as_shown(running: &mut Running) -> Outcome {
    let page = std::fs::read_to_string(paths::root().join("hyp/doc/running.md"))?;
    let shown = exchanges(&page);
    if shown.len() < 7 {
        return Err(format!("the page shows {} lines that are typed", shown.len()).into());
    }
    for Exchange { line, answer } in shown {
        running.send(&format!("{line}\n"))?;
        let seen = running.wait_for(PROMPT, PATIENCE)?;
        let lines: Vec<String> = seen.lines().map(|line| shape(text_of(line))).collect();
        for wanted in answer {
            if !lines.contains(&shape(&wanted)) {
                let text = format!("`{line}` does not say {wanted:?} but {seen}");
                return Err(running.failure(text).into());
            }
        }
    }
    Ok(())
}

/// All of a page's, in order.
fn exchanges(page: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut is_within = false;
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix(PROMPT) {
            exchanges.push(Exchange { line: typed.to_owned(), answer: Vec::new() });
            is_within = true;
        } else if line.starts_with("```") {
            is_within = false;
        } else if let Some(exchange) = exchanges.last_mut().filter(|_| is_within) {
            exchange.answer.push(line.to_owned());
        }
    }
    exchanges
}

/// A console's line without its partition's name.
fn text_of(line: &str) -> &str {
    line.split_once("| ").map_or(line, |(_, text)| text)
}

/// The line with one digit for each number.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for c in line.trim_end().chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        if c != '0' || !shape.ends_with('0') {
            shape.push(c);
        }
    }
    shape
}
