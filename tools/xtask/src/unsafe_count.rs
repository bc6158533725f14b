//! Counts `unsafe` in Rust source: blocks, functions, and implementations with traits. Comments,
//! strings and character literals are skipped.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// How much `unsafe` a crate holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    /// `unsafe { … }`.
    pub(crate) blocks: u32,
    /// `unsafe fn`, `unsafe extern`, and unsafe attributes.
    pub(crate) functions: u32,
    /// `unsafe impl` and `unsafe trait`.
    pub(crate) implementations: u32,
}

/// The counts of all crates by name; crates without `unsafe` are left out.
pub(crate) type Budget = BTreeMap<String, Count>;

impl Count {
    fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.functions += other.functions;
        self.implementations += other.implementations;
    }
}

/// Counts the crates in the given folders.
pub(crate) fn count_all<'a>(
    crates: impl IntoIterator<Item = (&'a str, &'a Path)>,
) -> Result<Budget> {
    let mut budget = Budget::new();
    for (name, folder) in crates {
        let count = count_folder(folder)?;
        if !count.is_zero() {
            budget.insert(name.to_owned(), count);
        }
    }
    Ok(budget)
}

/// Counts all Rust files under `folder`.
fn count_folder(folder: &Path) -> Result<Count> {
    let mut total = Count::default();
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            total.add(count_folder(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            total.add(count(&fs::read_to_string(&path)?));
        }
    }
    Ok(total)
}

/// One line for each crate whose count differs from the budget.
pub(crate) fn differences(budget: &Budget, found: &Budget) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = budget.keys().chain(found.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        let allowed = budget.get(name).copied().unwrap_or_default();
        let counted = found.get(name).copied().unwrap_or_default();
        let kinds = [
            ("blocks", allowed.blocks, counted.blocks),
            ("functions", allowed.functions, counted.functions),
            ("implementations", allowed.implementations, counted.implementations),
        ];
        for (kind, allowed, counted) in kinds {
            if counted > allowed {
                lines.push(format!("{name}: {counted} unsafe {kind}, the budget is {allowed}"));
            } else if counted < allowed {
                lines.push(format!(
                    "{name}: only {counted} unsafe {kind}: lower the budget of {allowed}"
                ));
            }
        }
    }
    lines
}

/// Counts the `unsafe` in one file.
fn count(source: &str) -> Count {
    let mut count = Count::default();
    let mut tokens = Tokens { rest: source }.peekable();
    while let Some(token) = tokens.next() {
        if token != "unsafe" {
            continue;
        }
        match tokens.peek().copied() {
            Some("{") => count.blocks += 1,
            Some("impl" | "trait") => count.implementations += 1,
            Some(_) | None => count.functions += 1,
        }
    }
    count
}

/// Words and single signs; comments, strings and spaces are passed over.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            self.rest = self.rest.trim_start();
            let skipped = skipped_length(self.rest);
            if skipped == 0 {
                break;
            }
            self.rest = self.rest.get(skipped..).unwrap_or_default();
        }
        let first = self.rest.chars().next()?;
        let length = if is_word(first) {
            self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len())
        } else {
            first.len_utf8()
        };
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(token)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment or literal that `text` starts with; 0 if it starts with neither.
fn skipped_length(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    if let Some(length) = raw_string(text) {
        return length;
    }
    let prefix = usize::from(text.starts_with("b\"") || text.starts_with("c\""));
    if text.get(prefix..).is_some_and(|rest| rest.starts_with('"')) {
        return quoted(text, prefix, '"');
    }
    if is_character(text) {
        return quoted(text, 0, '\'');
    }
    0
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut position = 0;
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            position += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`, `br#"…"#` and so on.
fn raw_string(text: &str) -> Option<usize> {
    let start = ["r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let after = text.get(start.len()..)?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let open = start.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    let body = text.get(open..)?;
    Some(body.find(&end).map_or(text.len(), |found| open + found + end.len()))
}

/// The length of a literal whose quote stands at `start`; a backslash takes the next sign along.
fn quoted(text: &str, start: usize, quote: char) -> usize {
    let mut escaped = false;
    for (position, c) in text.char_indices().skip_while(|(position, _)| *position <= start) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return position + 1;
        }
    }
    text.len()
}

/// Tells a character from a lifetime: `'x'` and `'\n'`, but not `'a`.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars();
    if chars.next() != Some('\'') {
        return false;
    }
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(source: &str) -> (u32, u32, u32) {
        let Count { blocks, functions, implementations } = count(source);
        (blocks, functions, implementations)
    }

    #[test]
    fn blocks_functions_and_implementations_are_told_apart() {
        let source = "unsafe fn f() { unsafe { g() } }\nunsafe impl Send for S {}\n\
                      unsafe extern \"C\" fn h() {}\n#[unsafe(no_mangle)] fn i() {}\nunsafe trait T {}";
        assert_eq!(counts(source), (1, 3, 2));
    }

    #[test]
    fn comments_and_strings_do_not_count() {
        let source = r###"
            // unsafe { }
            /* unsafe { /* nested unsafe { */ } */
            const A: &str = "unsafe { \" unsafe {";
            const B: &str = r#"unsafe { " unsafe {"#;
            const C: &[u8] = b"unsafe {";
            #[expect(unsafe_code, reason = "unsafe")]
            fn f() { let c = '"'; let d = '\''; unsafe { g(c, d) } }
        "###;
        assert_eq!(counts(source), (1, 0, 0));
    }

    #[test]
    fn a_lifetime_is_not_a_character() {
        assert_eq!(counts("fn f<'a>(x: &'a str) -> &'a str { unsafe { g(x) } }"), (1, 0, 0));
    }

    #[test]
    fn a_budget_that_is_too_high_is_as_wrong_as_one_that_is_too_low() {
        let one = Count { blocks: 1, ..Count::default() };
        let found = Budget::from([("a".into(), one)]);
        assert_eq!(differences(&found, &found), Vec::<String>::new());
        let more = differences(&Budget::new(), &found);
        assert_eq!(more, ["a: 1 unsafe blocks, the budget is 0"]);
        let less = differences(&found, &Budget::new());
        assert_eq!(less, ["a: only 0 unsafe blocks: lower the budget of 1"]);
    }
}
