//! Who may talk to whom, and how much.

use serde_spanned::Spanned;
use shikiri_abi::IntId;
use shikiri_config::{EventSpec, MAX_EVENTS, PartitionSet, Talk};

use crate::devices::{DevicePlan, UART_SPI};
use crate::problem::Problem;
use crate::system::check_exists;
use crate::text::{Description, EventText, PartitionText};

/// What each partition may, in the order of the description.
pub(crate) fn plan(description: &Description) -> Result<Vec<Talk>, Problem> {
    description
        .partitions
        .iter()
        .map(|partition| {
            let partition = partition.get_ref();
            let events = events_of(description, partition);
            let talk = Talk {
                handles: partition.handles.as_ref().map_or(events, |handles| *handles.get_ref()),
                requests: partition.requests.as_ref().map_or(0, |requests| *requests.get_ref()),
                connect_to: named(description, partition, &partition.connect_to)?,
                accept_from: named(description, partition, &partition.accept_from)?,
            };
            check_amounts(partition, talk)?;
            if talk.handles < events
                && let Some(handles) = &partition.handles
            {
                let name = partition.name.get_ref();
                let problem = Problem::new(format!("`{name}` has fewer handles than events"));
                return Err(problem.at(handles.span(), format!("{events} events")));
            }
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
            return Err(Problem::named_twice(names, name));
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
            return Err(problem.at(span, "needs `handles`").help(PartitionText::HANDLES_HELP));
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

/// How many events a partition sends or receives.
pub(crate) fn events_of(description: &Description, partition: &PartitionText) -> u16 {
    let name = partition.name.get_ref();
    let events = description.events.iter().map(Spanned::get_ref);
    let count =
        events.filter(|event| event.from.get_ref() == name || event.to.get_ref() == name).count();
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// The events of the description.
pub(crate) fn events(
    description: &Description,
    devices: &DevicePlan<'_>,
    vcpus: impl Fn(usize) -> usize,
) -> Result<Vec<EventSpec>, Problem> {
    let mut specs = Vec::new();
    for (index, event) in description.events.iter().enumerate() {
        let event = event.get_ref();
        check_name(&event.name, "an event")?;
        let from = check_exists(description, &event.from)?;
        let to = check_exists(description, &event.to)?;
        if from == to {
            let problem =
                Problem::new(format!("`{}` sends an event to itself", event.to.get_ref()));
            return Err(problem
                .at(event.to.span(), "the sender")
                .help("events within a partition are its guest's own affair"));
        }
        let own = [&event.from, &event.to].map(Spanned::get_ref);
        let earlier = description.events.iter().take(index).map(|other| {
            let other = other.get_ref();
            (&other.name, [&other.from, &other.to].map(Spanned::get_ref))
        });
        check_one_name("events", (&event.name, own), earlier)?;
        check_spi(description, devices, (index, event), to)?;
        let vcpu = event.vcpu.as_ref().map_or(0, |vcpu| *vcpu.get_ref());
        if let Some(stated) = event.vcpu.as_ref().filter(|_| usize::from(vcpu) >= vcpus(to)) {
            let problem = Problem::new(format!("`{}` has no vCPU {vcpu}", event.to.get_ref()));
            return Err(problem.at(stated.span(), format!("it has {}", vcpus(to))));
        }
        let place = |index| u8::try_from(index).unwrap_or(u8::MAX);
        specs.push(EventSpec {
            name: event.name.get_ref().clone(),
            from: place(from),
            to: place(to),
            intid: IntId::FIRST_SPI.0 + event.spi.get_ref(),
            vcpu,
        });
    }
    for partition in description.partitions.iter().map(Spanned::get_ref) {
        if usize::from(events_of(description, partition)) > MAX_EVENTS {
            let name = partition.name.get_ref();
            let problem = Problem::new(format!("`{name}` has more than {MAX_EVENTS} events"));
            return Err(problem.at(partition.name.span(), "sends or receives them"));
        }
    }
    Ok(specs)
}

/// A name that device trees call something by.
pub(crate) fn check_name(name: &Spanned<String>, what: &str) -> Result<(), Problem> {
    let span = name.span();
    let name = name.get_ref();
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if !(1..=31).contains(&name.len()) || !name.bytes().all(is_allowed) {
        let problem = Problem::new(format!("`{name}` cannot be {what}'s name"));
        return Err(problem.at(span, "a name has 1 to 31 of a-z, 0-9, _ and -"));
    }
    Ok(())
}

/// A partition's device tree has one node for a name. `own` and each of `earlier`: the name, and whose trees it stands in.
pub(crate) fn check_one_name<'a>(
    kind: &str,
    own: (&Spanned<String>, [&String; 2]),
    mut earlier: impl Iterator<Item = (&'a Spanned<String>, [&'a String; 2])>,
) -> Result<(), Problem> {
    let (name, partitions) = own;
    let found = earlier.find_map(|(other, others)| {
        let both = partitions.into_iter().find(|partition| others.contains(partition))?;
        (other.get_ref() == name.get_ref()).then_some((other, both))
    });
    let Some((first, both)) = found else { return Ok(()) };
    let problem = Problem::new(format!("two {kind} of `{both}` are called `{}`", name.get_ref()));
    Err(problem
        .at(first.span(), "the first")
        .at(name.span(), "the second")
        .help("its guest finds them by their names, in its device tree"))
}

/// The interrupt is one, and nothing else's at the receiver.
fn check_spi(
    description: &Description,
    devices: &DevicePlan<'_>,
    (index, event): (usize, &EventText),
    to: usize,
) -> Result<(), Problem> {
    let (spi, name) = (*event.spi.get_ref(), event.name.get_ref());
    let end = IntId::END_SPI.0 - IntId::FIRST_SPI.0;
    if spi >= end {
        let problem = Problem::new(format!("there is no SPI {spi}"));
        return Err(problem.at(event.spi.span(), format!("0 to {}", end - 1)));
    }
    let receiver = event.to.get_ref();
    let clash = |who: String| {
        Problem::new(format!("SPI {spi} of `{receiver}` is claimed by {who} and by event `{name}`"))
            .at(event.spi.span(), format!("event `{name}`"))
    };
    let has_console = description.partitions.get(to).is_some_and(|it| it.get_ref().console);
    if has_console && spi == UART_SPI {
        return Err(clash("its virtual UART".to_owned()));
    }
    let device = devices.of(to).iter().find(|device| device.lines().any(|(_, line)| line == spi));
    if let Some(device) = device {
        return Err(clash(format!("device `{}`", device.path)).at(&device.place, "the device"));
    }
    let earlier = description.events.iter().take(index).map(Spanned::get_ref);
    let mut same = earlier.filter(|other| other.to.get_ref() == receiver);
    match same.find(|other| *other.spi.get_ref() == spi) {
        None => Ok(()),
        Some(other) => Err(clash(format!("event `{}`", other.name.get_ref()))
            .at(other.spi.span(), format!("event `{}`", other.name.get_ref()))),
    }
}

/// The most SPI that events to a partition need.
pub(crate) fn highest_spi(events: &[EventSpec], partition: usize) -> Option<u16> {
    let own = events.iter().filter(|event| usize::from(event.to) == partition);
    own.map(|event| event.intid - IntId::FIRST_SPI.0).max()
}

/// How a partition's guest finds an event: as its sender, or as its receiver.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// Its name.
    pub(crate) name: String,
    /// The handle of its port.
    pub(crate) handle: u64,
    /// The other partition's position.
    pub(crate) peer: usize,
    /// The receiver's SPI; none for the sender.
    pub(crate) spi: Option<u16>,
}

/// A fresh table's handle: generation 1, then the index.
pub(crate) fn first_handle(index: usize) -> u64 {
    1 << 16 | index as u64
}

/// The ports that a partition has by the description.
pub(crate) fn ports(events: &[EventSpec], partition: usize) -> Vec<Port> {
    let concerns =
        |event: &&EventSpec| [event.from, event.to].map(usize::from).contains(&partition);
    let own = events.iter().filter(concerns);
    own.zip(0..)
        .map(|(event, index)| {
            let is_receiver = usize::from(event.to) == partition;
            Port {
                name: event.name.clone(),
                handle: first_handle(index),
                peer: usize::from(if is_receiver { event.from } else { event.to }),
                spi: is_receiver.then_some(event.intid - IntId::FIRST_SPI.0),
            }
        })
        .collect()
}
