//! Memory that partitions share from their start (V7).

use serde_spanned::Spanned;
use shikiri_abi::{AreaClass, PAGE_BYTES, PageCount, WindowSlot};
use shikiri_config::{EventSpec, MAX_SHARED, PartitionSet, SharedSpec};

use crate::problem::Problem;
use crate::system::check_exists;
use crate::talk;
use crate::text::{Description, PartitionText, SharedText};

/// A shared area as one of its partitions has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Where the guest sees it.
    pub(crate) address: u64,
    /// Its size.
    pub(crate) bytes: u64,
    /// The handle of the partition's share.
    pub(crate) handle: u64,
    /// Whether the partition may write there.
    pub(crate) is_writable: bool,
}

/// The areas, in the order of the description.
pub(crate) fn plan(description: &Description) -> Result<Vec<SharedSpec>, Problem> {
    let mut specs: Vec<SharedSpec> = Vec::new();
    for area in description.shared.iter().map(Spanned::get_ref) {
        let name = area.name.get_ref();
        talk::check_name(&area.name, "a shared area")?;
        if let Some(earlier) = specs.iter().position(|other| other.name == *name) {
            let first = &description.shared[earlier].get_ref().name;
            let problem = Problem::new(format!("two shared areas are called `{name}`"));
            return Err(problem.at(first.span(), "the first").at(area.name.span(), "the second"));
        }
        if specs.len() == MAX_SHARED {
            let problem = Problem::new(format!("more than {MAX_SHARED} shared areas"));
            return Err(problem.at(area.name.span(), "one too many"));
        }
        let bytes = area.size.get_ref().0;
        let pages = bytes.div_ceil(PAGE_BYTES);
        let Some(class) = AreaClass::holding(PageCount(pages)) else {
            let problem = Problem::new(format!("`{name}` has a size that no area has"));
            return Err(problem.at(area.size.span(), "at least 1 byte, at most 1 GiB"));
        };
        let writers = users(description, area, PartitionSet::EMPTY, &area.partitions)?;
        let readers = users(description, area, writers, &area.readers)?;
        let partitions = writers.union(readers);
        if partitions == PartitionSet::EMPTY {
            let problem = Problem::new(format!("nobody has the shared area `{name}`"));
            return Err(problem.at(area.name.span(), "has no `partitions`"));
        }
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        specs.push(SharedSpec { name: name.clone(), pages, class, partitions, writers });
        for index in partitions.iter() {
            let partition = description.partitions[index].get_ref();
            check_room(description, partition, area, own(&specs, index))?;
        }
    }
    Ok(specs)
}

/// The areas of one partition.
pub(crate) fn own(specs: &[SharedSpec], index: usize) -> impl Iterator<Item = &SharedSpec> + Clone {
    specs.iter().filter(move |area| area.partitions.contains(index))
}

/// The partitions of a list: each once, and none of those that are in another one.
fn users(
    description: &Description,
    area: &SharedText,
    others: PartitionSet,
    names: &[Spanned<String>],
) -> Result<PartitionSet, Problem> {
    let mut set = PartitionSet::EMPTY;
    for name in names {
        let one = PartitionSet::one(check_exists(description, name)?);
        if set.union(others).union(one) == set.union(others) {
            return Err(Problem::named_twice(area.partitions.iter().chain(names), name));
        }
        set = set.union(one);
    }
    Ok(set)
}

/// A partition has a share, a slot and a handle for each of its areas.
fn check_room<'s>(
    description: &Description,
    partition: &PartitionText,
    area: &SharedText,
    own: impl Iterator<Item = &'s SharedSpec> + Clone,
) -> Result<(), Problem> {
    let name = partition.name.get_ref();
    let areas = partition.areas.as_ref().map(|areas| *areas.get_ref()).unwrap_or_default();
    let handles = partition.handles.as_ref().map_or(0, |handles| *handles.get_ref());
    let count = own.clone().count();
    let of = |class| own.clone().filter(|area| area.class == class).count();
    let events = usize::from(talk::events_of(description, partition));
    let slots = [
        (AreaClass::Page, "pages", areas.pages),
        (AreaClass::Block, "blocks", areas.blocks),
        (AreaClass::Giant, "giants", areas.giants),
    ];
    let short = slots.into_iter().find(|(class, _, slots)| of(*class) > usize::from(*slots));
    let (what, needed) = if count > usize::from(areas.shared) {
        ("shared", count)
    } else if let Some((class, what, _)) = short {
        (what, of(class))
    } else if count + events > usize::from(handles) {
        let problem = Problem::new(format!("`{name}` has too few handles for its shared areas"));
        return Err(problem
            .at(area.name.span(), "one more shared area")
            .at(partition.name.span(), format!("needs `handles` of {} or more", count + events)));
    } else {
        return Ok(());
    };
    let problem = Problem::new(format!("`{name}` has no room for the shared area"));
    let span = partition.areas.as_ref().map_or(partition.name.span(), Spanned::span);
    Err(problem
        .at(area.name.span(), "one more shared area")
        .at(span, format!("needs `areas` with `{what}` of {needed} or more")))
}

/// The areas of one partition, as its guest finds them.
pub(crate) fn views<'s>(
    specs: &'s [SharedSpec],
    events: &[EventSpec],
    index: usize,
) -> Vec<View<'s>> {
    let ports = talk::ports(events, index).len();
    let view = |(number, area): (usize, &'s SharedSpec)| {
        let before = own(specs, index).take(number).filter(|other| other.class == area.class);
        let slot = u16::try_from(before.count()).unwrap_or(u16::MAX);
        View {
            name: &area.name,
            address: WindowSlot { class: area.class, index: slot }.ipa().0,
            bytes: u64::from(area.pages) * PAGE_BYTES,
            handle: talk::first_handle(ports + number),
            is_writable: area.writers.contains(index),
        }
    };
    own(specs, index).enumerate().map(view).collect()
}
