//! Text in a document between markers: `<!-- NAME -->` and `<!-- /NAME -->`, each on a line.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The text between the markers called `name`.
pub(crate) fn read(file: &Path, name: &str) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let (_, inside, _) = split(&text, name)
        .with_context(|| format!("{} has no markers {name:?}", file.display()))?;
    Ok(inside.to_owned())
}

/// Replaces the text between the markers called `name`.
pub(crate) fn replace(file: &Path, name: &str, new: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let (before, _, after) = split(&text, name)
        .with_context(|| format!("{} has no markers {name:?}", file.display()))?;
    fs::write(file, format!("{before}{}\n{after}", new.trim_end()))?;
    Ok(())
}

/// Puts a row into the table called `name`: in place of the one with the same first cell, or behind the last.
pub(crate) fn set_row(file: &Path, name: &str, first_cell: &str, row: &str) -> Result<()> {
    let table = read(file, name)?;
    let start = format!("| {first_cell} |");
    let mut rows: Vec<_> = table.lines().filter(|line| !line.is_empty()).collect();
    match rows.iter_mut().find(|line| line.starts_with(&start)) {
        Some(old) => *old = row,
        None => rows.push(row),
    }
    replace(file, name, &rows.join("\n"))
}

/// What stands before (with the opening marker), between, and after (with the closing marker).
fn split<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let open = format!("<!-- {name} -->\n");
    let start = text.find(&open)? + open.len();
    let end = start + text.get(start..)?.find(&format!("<!-- /{name} -->"))?;
    Some((text.get(..start)?, text.get(start..end)?, text.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_markers_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spec.md");
        fs::write(&file, "a\n<!-- t -->\nold\n<!-- /t -->\nb\n").unwrap();
        assert_eq!(read(&file, "t").unwrap(), "old\n");
        replace(&file, "t", "new\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\n<!-- t -->\nnew\n<!-- /t -->\nb\n");
    }

    #[test]
    fn a_row_takes_the_place_of_its_predecessor() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spec.md");
        fs::write(&file, "<!-- t -->\n| x | y |\n|---|---|\n| a | 1 |\n| b | 2 |\n<!-- /t -->\n")
            .unwrap();
        set_row(&file, "t", "a", "| a | 3 |").unwrap();
        set_row(&file, "t", "c", "| c | 4 |").unwrap();
        assert_eq!(
            read(&file, "t").unwrap(),
            "| x | y |\n|---|---|\n| a | 3 |\n| b | 2 |\n| c | 4 |\n"
        );
    }

    #[test]
    fn a_document_without_the_markers_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spec.md");
        fs::write(&file, "<!-- t -->\nnever closed\n").unwrap();
        assert!(read(&file, "t").is_err());
        assert!(replace(&file, "t", "x").is_err());
    }
}
