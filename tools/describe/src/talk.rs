//! Who may talk to whom, and how much.

use serde_spanned::Spanned;
use shikiri_config::{PartitionSet, Talk};

use crate::problem::Problem;
use crate::system::check_exists;
use crate::text::{Description, PartitionText};

/// What each partition may, in the order of the description.
pub(crate) fn plan(description: &Description) -> Result<Vec<Talk>, Problem> {
    description
        .partitions
        .iter()
        .map(|partition| {
            let partition = partition.get_ref();
            let talk = Talk {
                handles: partition.handles.as_ref().map_or(0, |handles| *handles.get_ref()),
                requests: partition.requests.as_ref().map_or(0, |requests| *requests.get_ref()),
                connect_to: named(description, partition, &partition.connect_to)?,
                accept_from: named(description, partition, &partition.accept_from)?,
            };
            check_amounts(partition, talk)?;
            check_both_sides(description, partition)?;
            Ok(talk)
        })
        .collect()
}

/// The partitions of a list: each once, and not the one whose list it is.
fn named(
    description: &Description,
    partition: &PartitionText,
    names: &[Spanned<String>],
) -> Result<PartitionSet, Problem> {
    let mut set = PartitionSet::EMPTY;
    for name in names {
        let index = check_exists(description, name)?;
        if name.get_ref() == partition.name.get_ref() {
            let problem = Problem::new(format!("`{}` names itself as a peer", name.get_ref()));
            return Err(problem
                .at(name.span(), "itself")
                .help("events within a partition are its guest's own affair"));
        }
        let one = PartitionSet::one(index);
        if set.union(one) == set {
            let problem = Problem::new(format!("`{}` is named twice", name.get_ref()));
            return Err(problem.at(name.span(), "again"));
        }
        set = set.union(one);
    }
    Ok(set)
}

/// Whoever may talk has the tables for it.
fn check_amounts(partition: &PartitionText, talk: Talk) -> Result<(), Problem> {
    let name = partition.name.get_ref();
    let peer = partition.connect_to.first().or(partition.accept_from.first());
    if talk.handles == 0 {
        let requests = partition.requests.as_ref().filter(|requests| *requests.get_ref() != 0);
        let span = peer.map(Spanned::span).or(requests.map(Spanned::span));
        if let Some(span) = span {
            let problem = Problem::new(format!("`{name}` may talk, but has no handles"));
            return Err(problem.at(span, "needs `handles`").help(
                "`handles` is how many ports, and requests of others, it can have at a time",
            ));
        }
    }
    if talk.requests == 0
        && let Some(asked) = partition.connect_to.first()
    {
        let problem = Problem::new(format!("`{name}` may connect to others, but has no requests"));
        return Err(problem
            .at(asked.span(), "needs `requests`")
            .help("`requests` is how many requests of its own can wait at others"));
    }
    Ok(())
}

/// A permission that only one side gives is a mistake of one of them.
fn check_both_sides(description: &Description, partition: &PartitionText) -> Result<(), Problem> {
    let own = &partition.name;
    let peers =
        |names: &[Spanned<String>]| names.iter().any(|name| name.get_ref() == own.get_ref());
    let find = |name: &Spanned<String>| {
        let all = description.partitions.iter().map(Spanned::get_ref);
        all.into_iter().find(|other| other.name.get_ref() == name.get_ref())
    };
    for name in &partition.connect_to {
        if let Some(other) = find(name).filter(|other| !peers(&other.accept_from)) {
            let (own, other_name) = (own.get_ref(), other.name.get_ref());
            let problem = Problem::new(format!(
                "`{own}` may connect to `{other_name}`, which does not accept from `{own}`"
            ));
            return Err(problem
                .at(name.span(), "may connect to it")
                .at(other.name.span(), format!("has no `{own}` in `accept_from`")));
        }
    }
    for name in &partition.accept_from {
        if let Some(other) = find(name).filter(|other| !peers(&other.connect_to)) {
            let (own, other_name) = (own.get_ref(), other.name.get_ref());
            let problem = Problem::new(format!(
                "`{own}` accepts from `{other_name}`, which may not connect to `{own}`"
            ));
            return Err(problem
                .at(name.span(), "accepts from it")
                .at(other.name.span(), format!("has no `{own}` in `connect_to`")));
        }
    }
    Ok(())
}
