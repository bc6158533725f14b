//! Who may open which names of objects.

use serde_spanned::Spanned;
use shikiri_abi::ObjectName;
use shikiri_config::{MAX_OBJECTS, NameSpec, PartitionSet};

use crate::problem::Problem;
use crate::system::check_exists;
use crate::text::{Description, NameText};

/// Objects of a pattern that does not say how many.
const USUAL: u16 = 8;

/// The entries, in the order of the description.
pub(crate) fn plan(description: &Description) -> Result<Vec<NameSpec>, Problem> {
    let mut specs: Vec<NameSpec> = Vec::new();
    let mut objects = 0;
    for entry in description.names.iter().map(Spanned::get_ref) {
        let spec = spec(description, entry)?;
        let same =
            |other: &NameSpec| (&other.text, other.is_prefix) == (&spec.text, spec.is_prefix);
        if let Some(earlier) = specs.iter().position(same) {
            let first = &description.names[earlier].get_ref().name;
            let problem = Problem::new(format!("two entries for `{}`", entry.name.get_ref()));
            return Err(problem.at(first.span(), "the first").at(entry.name.span(), "the second"));
        }
        objects += usize::from(spec.objects);
        if objects > MAX_OBJECTS {
            let problem = Problem::new(format!("more than {MAX_OBJECTS} objects"));
            let place = entry.objects.as_ref().map_or(entry.name.span(), Spanned::span);
            return Err(problem.at(place, format!("{objects} up to here")));
        }
        specs.push(spec);
    }
    Ok(specs)
}

fn spec(description: &Description, entry: &NameText) -> Result<NameSpec, Problem> {
    let written = entry.name.get_ref();
    let (text, is_prefix) = match written.strip_suffix('*') {
        Some(text) => (text, true),
        None => (written.as_str(), false),
    };
    let is_any = is_prefix && text.is_empty();
    if !is_any && ObjectName::new(text.as_bytes()).is_none() {
        let problem = Problem::new(format!("`{written}` cannot be the name of an object"));
        return Err(problem.at(
            entry.name.span(),
            "1 to 63 printable characters, no spaces, `*` at the end only",
        ));
    }
    let objects = match &entry.objects {
        None if is_prefix => USUAL,
        None => 1,
        Some(stated) if !is_prefix => {
            let problem = Problem::new(format!("`{written}` is one name, and so one object"));
            return Err(problem
                .at(stated.span(), "says how many")
                .help(format!("`{written}*` stands for all names that begin like that")));
        }
        Some(stated) if *stated.get_ref() == 0 => {
            let problem = Problem::new(format!("no object of `{written}` is possible"));
            return Err(problem.at(stated.span(), "at least 1"));
        }
        Some(stated) => *stated.get_ref(),
    };
    let partitions = openers(description, entry)?;
    Ok(NameSpec { text: text.to_owned(), is_prefix, partitions, objects })
}

/// Who may open it: each once, and with a table for the handle.
fn openers(description: &Description, entry: &NameText) -> Result<PartitionSet, Problem> {
    let written = entry.name.get_ref();
    if entry.partitions.is_empty() {
        let problem = Problem::new(format!("nobody may open `{written}`"));
        return Err(problem.at(entry.name.span(), "has no `partitions`"));
    }
    let mut set = PartitionSet::EMPTY;
    for name in &entry.partitions {
        let index = check_exists(description, name)?;
        let one = PartitionSet::one(index);
        if set.union(one) == set {
            return Err(Problem::named_twice(&entry.partitions, name));
        }
        set = set.union(one);
        let partition = description.partitions[index].get_ref();
        if !partition.has_handles() {
            let problem = Problem::new(format!(
                "`{}` may open `{written}`, but has no handles",
                name.get_ref()
            ));
            return Err(problem
                .at(name.span(), "may open it")
                .at(partition.name.span(), "needs `handles`")
                .help("`handles` is how many ports, requests and objects it can have at a time"));
        }
    }
    Ok(set)
}
