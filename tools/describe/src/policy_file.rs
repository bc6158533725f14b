//! The policy file of the system control OS: what its policy program would refuse at run time is refused with the description.

use serde_spanned::Spanned;
use shikiri_config::PolicyImageSpec;
use shikiri_policyd::{Entry, FILE, Policy};

use crate::Request;
use crate::board::Board;
use crate::images::{self, Files};
use crate::problem::Problem;
use crate::text::{Description, PartitionText, PolicyText};

/// The image whose policy program reads [`FILE`]; what another one finds there is its own affair.
const CONTROL_OS: &str = "scos";

/// Reads the policy file of the partition that holds the policy capability, if there is one. Answers which partitions it is
/// about that are neither described nor made by it: they wait until somebody makes them.
pub(crate) fn check(
    request: &Request,
    description: &Description,
    board: &Board,
    images: &[PolicyImageSpec],
) -> Result<Vec<String>, Problem> {
    let Some((rights, file)) = named(description) else { return Ok(Vec::new()) };
    let mut files = Files::default();
    let index = images::find(request, &mut files, file, "")?;
    let bad = |why: String| {
        Problem::new(format!("the policy file `{}` is wrong", file.get_ref()))
            .at(file.span(), "the policy program would refuse it, or a part of it")
            .help(why)
    };
    let text = core::str::from_utf8(files.get(index)).map_err(|error| {
        bad(format!("it is no UTF-8 text, from byte {} on", error.valid_up_to()))
    })?;
    let policy = Policy::parse(text).map_err(|error| bad(error.to_string()))?;
    let described = |name: &str| partitions(description).any(|it| it.name.get_ref() == name);
    for entry in &policy.partitions {
        check_made(entry, described(&entry.name), board, images)
            .map_err(|why| bad(format!("partition `{}`: create: {why}", entry.name)))?;
    }
    let made = policy.partitions.iter().filter(|entry| entry.create.is_some()).count();
    let room = rights.partitions.as_ref().map_or(0, |stated| usize::from(*stated.get_ref()));
    if made > room {
        let why = format!(
            "it makes {made} partitions, and the description has places for {room}: `[policy] partitions`"
        );
        return Err(bad(why));
    }
    let unknown = policy.partitions.iter().filter(|it| it.create.is_none() && !described(&it.name));
    Ok(unknown.map(|entry| entry.name.clone()).collect())
}

fn partitions(description: &Description) -> impl Iterator<Item = &PartitionText> {
    description.partitions.iter().map(Spanned::get_ref)
}

/// Who may do what at run time, and the policy file's name in the description.
fn named(description: &Description) -> Option<(&PolicyText, &Spanned<String>)> {
    let rights = description.policy.as_ref()?.get_ref();
    let name = rights.partition.as_ref()?.get_ref();
    let holder = partitions(description).find(|it| it.name.get_ref() == name)?;
    let is_ours = holder.image.as_ref().is_some_and(|image| image.get_ref() == CONTROL_OS);
    let file = if is_ours { holder.files.get(FILE) } else { None };
    Some((rights, file?))
}

/// Whether a partition can be made as the policy says, as far as the description tells.
fn check_made(
    entry: &Entry,
    is_described: bool,
    board: &Board,
    images: &[PolicyImageSpec],
) -> Result<(), String> {
    let Some(new) = &entry.create else { return Ok(()) };
    if is_described {
        return Err("it is described, so that nobody makes it".to_owned());
    }
    for wanted in [Some(&new.image), new.initrd.as_ref()].into_iter().flatten() {
        if !images.iter().any(|image| image.name == *wanted) {
            let there: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            return Err(format!("there is no image `{wanted}` in `[policy] images`, but {there}"));
        }
    }
    let last = new.vcpus.iter().filter_map(|vcpu| vcpu.cores.last()).max();
    match last.filter(|last| *last >= board.cores) {
        Some(core) => Err(format!("there is no core {core}; the machine has {}", board.cores)),
        None => Ok(()),
    }
}
