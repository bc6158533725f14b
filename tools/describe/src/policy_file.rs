//! The policy file of the system control OS: what its policy program would refuse at run time is refused with the description.

use std::ops::Range;

use serde_spanned::Spanned;
use shikiri_abi::{RESOURCE_COUNT, Resource};
use shikiri_config::PolicyImageSpec;
use shikiri_machine::{Boot, NewPartition, Time, resource_word};
use shikiri_policyd::{BadPolicy, Entry, FILE, Policy};

use crate::Request;
use crate::board::Board;
use crate::images::{self, Files};
use crate::problem::Problem;
use crate::system::limit_values;
use crate::text::{Description, PartitionText, PolicyText};
use crate::units::stated;

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
    let text = core::str::from_utf8(files.get(index)).map_err(|error| {
        let problem = Problem::new(format!("the policy file `{}` is no text", file.get_ref()));
        let why = format!("it is no UTF-8 from byte {} on", error.valid_up_to());
        problem.at(file.span(), "the policy program would refuse it").help(why)
    })?;
    let path = images::locate(request, file.get_ref(), "").unwrap_or_default();
    let bad = |Wrong { why, span }: Wrong| {
        let problem = Problem::new(format!("the policy program would refuse this: {why}"));
        let problem = match span {
            // An empty one points at the character before the end.
            Some(span) => problem.at(crate::widen(text, span), "here"),
            None => problem,
        };
        let named_by = format!("`{}` names this file: `files`, {FILE:?}", request.file.display());
        problem.in_file(path.clone(), text.to_owned()).help(named_by)
    };
    let policy =
        Policy::parse(text).map_err(|BadPolicy { why, span, .. }| bad(Wrong { why, span }))?;
    let described = |name: &str| partitions(description).any(|it| it.name.get_ref() == name);
    let room = rights.partitions.as_ref().map_or(0, |stated| usize::from(*stated.get_ref()));
    let mut handout = HandOut { most: limit_values(&rights.handout)?, given: [0; RESOURCE_COUNT] };
    let made = policy.partitions.iter().enumerate();
    let made = made.filter_map(|(at, entry)| Some((at, entry, entry.create.as_ref()?)));
    for (count, (at, entry, new)) in made.enumerate() {
        let wrong = if described(&entry.name) {
            Err((vec!["name"], "it is described, so that nobody makes it".to_owned()))
        } else if count >= room {
            let why = format!(
                "the description has places for {room} that are made: `[policy] partitions`"
            );
            Err((vec!["create"], why))
        } else {
            check_made(new, board, images).and_then(|()| handout.take(entry, new))
        };
        wrong.map_err(|(keys, why)| {
            let why = format!("partition `{}`: create: {why}", entry.name);
            bad(Wrong { why, span: shikiri_policyd::span_of(text, at, &keys) })
        })?;
    }
    let unknown = policy.partitions.iter().filter(|it| it.create.is_none() && !described(&it.name));
    Ok(unknown.map(|entry| entry.name.clone()).collect())
}

/// What is wrong with the file, and where.
struct Wrong {
    why: String,
    span: Option<Range<usize>>,
}

/// The keys that lead to what is wrong with a partition, and why.
type Misfit = (Vec<&'static str>, String);

/// Whether a text is a policy file, right or wrong: it has what only a policy has, and nothing without which there is no description.
pub(crate) fn is_one(text: &str) -> bool {
    const ONLY_POLICYS: [&str; 5] = ["create", "start", "after", "after_end_of", "delay"];
    const ONLY_DESCRIPTIONS: [&str; 3] = ["memory", "image", "kernel"];
    let Ok(file) = text.parse::<toml::Table>() else { return false };
    let partitions = file.get("partition").and_then(toml::Value::as_array);
    let partitions: Vec<_> =
        partitions.into_iter().flatten().filter_map(|it| it.as_table()).collect();
    let has =
        |keys: &[&str]| partitions.iter().any(|it| keys.iter().any(|key| it.contains_key(*key)));
    let has_table = ["grant", "talk"].iter().any(|key| file.contains_key(*key));
    let is_description = file.contains_key("machine") || has(&ONLY_DESCRIPTIONS);
    (has_table || has(&ONLY_POLICYS)) && !is_description
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
fn check_made(new: &NewPartition, board: &Board, images: &[PolicyImageSpec]) -> Result<(), Misfit> {
    let program = if new.boot == Boot::Linux { "kernel" } else { "image" };
    let wanted = [(program, Some(&new.image)), ("initrd", new.initrd.as_ref())];
    for (key, wanted) in wanted.into_iter().filter_map(|(key, wanted)| Some((key, wanted?))) {
        if !images.iter().any(|image| image.name == *wanted) {
            let there: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            let why = format!("there is no image `{wanted}` in `[policy] images`, but {there}");
            return Err((vec!["create", key], why));
        }
    }
    let last = new.vcpus.iter().filter_map(|vcpu| vcpu.cores.last()).max();
    match last.filter(|last| *last >= board.cores) {
        Some(core) => {
            let why = format!("there is no core {core}; the machine has {}", board.cores);
            Err((vec!["create", "cores"], why))
        }
        None => Ok(()),
    }
}

/// What may be handed out, and what those that the policy makes take of it, one after the other.
struct HandOut {
    most: [Option<u64>; RESOURCE_COUNT],
    given: [u64; RESOURCE_COUNT],
}

impl HandOut {
    /// Takes what one is made with.
    fn take(&mut self, entry: &Entry, new: &NewPartition) -> Result<(), Misfit> {
        for (resource, need) in new.limits_to_set() {
            let number = usize::from(resource.number());
            let Some(most) = self.most[number] else { continue };
            let left = most.saturating_sub(self.given[number]);
            if need > left {
                let amount = |value| stated(resource, value);
                let (need, most, left) = (amount(need), amount(most), amount(left));
                let why = format!(
                    "it takes {need} of {resource}, and of the {most} that may be handed out {left} are left: `[policy] handout`"
                );
                return Err((keys_of(resource, entry, new), why));
            }
            self.given[number] = self.given[number].saturating_add(need);
        }
        Ok(())
    }
}

/// The keys by which a policy says how much of a resource one is made with.
fn keys_of(resource: Resource, entry: &Entry, new: &NewPartition) -> Vec<&'static str> {
    if entry.limits.iter().any(|(limited, _)| *limited == resource) {
        return vec!["limits", resource_word(resource)];
    }
    let is_owned = new.vcpus.iter().all(|vcpu| vcpu.time == Time::Owned);
    match resource {
        Resource::CoreTime if is_owned => vec!["create", "cores"],
        Resource::CoreTime => vec!["create", "share"],
        Resource::Memory => vec!["create", "memory"],
        _ => vec!["create", "devices"],
    }
}
