//! Message channels that are there before the guests run.

use serde_spanned::Spanned;
use shikiri_abi::channel::MAX_WINDOW;
use shikiri_abi::{AreaClass, IntId, WindowSlot};
use shikiri_config::{ChannelSpec, EndSpec, EventSpec, MAX_CHANNELS, Places, SharedSpec};

use crate::devices::{DevicePlan, UART_SPI};
use crate::problem::Problem;
use crate::shared;
use crate::system::check_exists;
use crate::talk;
use crate::text::{ChannelText, Description, EndText, PartitionText};

/// The channels of the description, which come behind the shared areas.
pub(crate) fn plan(
    description: &Description,
    devices: &DevicePlan<'_>,
    shared: &[SharedSpec],
    vcpus: impl Fn(usize) -> usize,
) -> Result<Vec<ChannelSpec>, Problem> {
    let mut specs = Vec::new();
    for (index, channel) in description.channels.iter().enumerate() {
        let channel = channel.get_ref();
        talk::check_name(&channel.name, "a channel")?;
        let [first, second] = channel.ends.as_slice() else { return Err(not_two(channel)) };
        let ends = [first.get_ref(), second.get_ref()];
        if ends[0].partition.get_ref() == ends[1].partition.get_ref() {
            let name = ends[1].partition.get_ref();
            let problem = Problem::new(format!("`{name}` has both ends of a channel"));
            return Err(problem
                .at(ends[0].partition.span(), "one end")
                .at(ends[1].partition.span(), "the other end"));
        }
        let earlier = description.channels.iter().take(index).map(|other| {
            let other = other.get_ref();
            (&other.name, owners(other))
        });
        talk::check_one_name("channels", (&channel.name, owners(channel)), earlier)?;
        let class = class(channel)?;
        let mut made = Vec::new();
        for (place, end) in ends.into_iter().enumerate() {
            made.push(plan_end(description, devices, (index, place, end), &vcpus)?);
        }
        let ends = [made[0], made[1]];
        specs.push(ChannelSpec { name: channel.name.get_ref().clone(), class, ends });
    }
    for (index, partition) in description.partitions.iter().enumerate() {
        let name = partition.get_ref();
        let events = u64::from(talk::events_of(description, name));
        let before = behind_shared(events, shared, index);
        let places = own(&specs, index)
            .fold(before, |places, (channel, own, _)| places.behind(channel.class, own.slots));
        check_room(name, places)?;
    }
    Ok(specs)
}

/// A channel with another number of ends than two.
fn not_two(channel: &ChannelText) -> Problem {
    let (name, count) = (channel.name.get_ref(), channel.ends.len());
    let problem = Problem::new(format!("channel `{name}` has not two ends, but {count}"));
    match channel.ends.get(2) {
        Some(third) => problem
            .at(third.span(), "one too many")
            .help("a channel joins two partitions; write one for each pair"),
        None => problem.at(channel.name.span(), "needs two `ends`"),
    }
}

/// The partitions of the ends of a channel that was found to have two.
fn owners(channel: &ChannelText) -> [&String; 2] {
    [0, 1].map(|end: usize| channel.ends[end].get_ref().partition.get_ref())
}

/// The class of its slots.
fn class(channel: &ChannelText) -> Result<AreaClass, Problem> {
    let Some(slot) = &channel.slot else { return Ok(AreaClass::Page) };
    let mut classes = AreaClass::ALL.into_iter();
    classes.find(|class| class.pages().bytes() == Some(slot.get_ref().0)).ok_or_else(|| {
        let problem = Problem::new(format!("there are no slots of {}", slot.get_ref()));
        problem.at(slot.span(), "4KiB, 2MiB or 1GiB")
    })
}

fn plan_end(
    description: &Description,
    devices: &DevicePlan<'_>,
    (index, place, end): (usize, usize, &EndText),
    vcpus: impl Fn(usize) -> usize,
) -> Result<EndSpec, Problem> {
    let partition = check_exists(description, &end.partition)?;
    let slots = *end.slots.get_ref();
    if slots > MAX_WINDOW {
        let problem = Problem::new(format!("a window of {slots} slots is not possible"));
        return Err(problem.at(end.slots.span(), format!("at most {MAX_WINDOW}")));
    }
    check_spi(description, devices, (index, place, end), partition)?;
    let vcpu = end.vcpu.as_ref().map_or(0, |vcpu| *vcpu.get_ref());
    if let Some(stated) = end.vcpu.as_ref().filter(|_| usize::from(vcpu) >= vcpus(partition)) {
        let problem = Problem::new(format!("`{}` has no vCPU {vcpu}", end.partition.get_ref()));
        return Err(problem.at(stated.span(), format!("it has {}", vcpus(partition))));
    }
    Ok(EndSpec {
        partition: u8::try_from(partition).unwrap_or(u8::MAX),
        slots,
        intid: IntId::FIRST_SPI.0 + end.spi.get_ref(),
        vcpu,
    })
}

/// The interrupt is one, and nothing else's there.
fn check_spi(
    description: &Description,
    devices: &DevicePlan<'_>,
    (index, place, end): (usize, usize, &EndText),
    partition: usize,
) -> Result<(), Problem> {
    let (spi, owner) = (*end.spi.get_ref(), end.partition.get_ref());
    let last = IntId::END_SPI.0 - IntId::FIRST_SPI.0;
    if spi >= last {
        let problem = Problem::new(format!("there is no SPI {spi}"));
        return Err(problem.at(end.spi.span(), format!("0 to {}", last - 1)));
    }
    let name = description.channels[index].get_ref().name.get_ref();
    let clash = |who: String| {
        Problem::new(format!("SPI {spi} of `{owner}` is claimed by {who} and by channel `{name}`"))
            .at(end.spi.span(), format!("channel `{name}`"))
    };
    let has_console = description.partitions[partition].get_ref().console;
    if has_console && spi == UART_SPI {
        return Err(clash("its virtual UART".to_owned()));
    }
    let mut owned = devices.of(partition).iter();
    if let Some(device) = owned.find(|device| device.lines().any(|(_, line)| line == spi)) {
        return Err(clash(format!("device `{}`", device.path)).at(&device.place, "the device"));
    }
    let mut events = description.events.iter().map(Spanned::get_ref);
    if let Some(event) =
        events.find(|event| event.to.get_ref() == owner && *event.spi.get_ref() == spi)
    {
        let what = format!("event `{}`", event.name.get_ref());
        return Err(clash(what.clone()).at(event.spi.span(), what));
    }
    let earlier = description.channels.iter().take(index + 1).enumerate();
    let ends = earlier.flat_map(|(number, other)| {
        let other = other.get_ref();
        other.ends.iter().enumerate().map(move |(at, end)| ((number, at), other, end.get_ref()))
    });
    let mut same = ends.filter(|(at, _, other)| {
        *at < (index, place) && other.partition.get_ref() == owner && *other.spi.get_ref() == spi
    });
    match same.next() {
        None => Ok(()),
        Some((_, other, end)) => {
            let what = format!("channel `{}`", other.name.get_ref());
            Err(clash(what.clone()).at(end.spi.span(), what))
        }
    }
}

/// A partition has handles, places and message ports for its ends.
fn check_room(partition: &PartitionText, places: Places) -> Result<(), Problem> {
    let name = partition.name.get_ref();
    if places.ports == 0 {
        return Ok(());
    }
    let Some(areas) = &partition.areas else {
        let problem = Problem::new(format!("`{name}` has a channel, but no places for it"));
        return Err(problem.at(partition.name.span(), "needs `areas`"));
    };
    let has = areas.get_ref();
    let most = u64::from(has.channels).min(MAX_CHANNELS as u64);
    let slots = [has.pages, has.blocks, has.giants].map(u64::from);
    let [pages, blocks, giants] = places.slots;
    if places.ports > most || places.slots.iter().zip(slots).any(|(wanted, has)| *wanted > has) {
        let problem = Problem::new(format!("`{name}` has too few places for its channels"));
        return Err(problem.at(
            areas.span(),
            format!(
                "they need pages = {pages}, blocks = {blocks}, giants = {giants}, channels = {}",
                places.ports
            ),
        ));
    }
    let handles = partition.handles.as_ref();
    if handles.map_or(0, |handles| u64::from(*handles.get_ref())) < places.handles {
        let problem = Problem::new(format!("`{name}` has fewer handles than its channels need"));
        let span = handles.map_or(partition.name.span(), Spanned::span);
        return Err(
            problem.at(span, format!("{} with its events and shared areas", places.handles))
        );
    }
    Ok(())
}

/// What a partition's events and shared areas take.
fn behind_shared(events: u64, shared: &[SharedSpec], partition: usize) -> Places {
    shared::own(shared, partition)
        .fold(Places::behind_events(events), |places, area| places.behind_shared(area.class))
}

/// The ends of a partition, each with its channel and the other end.
fn own(
    specs: &[ChannelSpec],
    partition: usize,
) -> impl Iterator<Item = (&ChannelSpec, EndSpec, EndSpec)> {
    specs.iter().filter_map(move |channel| {
        let [first, second] = channel.ends;
        if usize::from(first.partition) == partition {
            Some((channel, first, second))
        } else if usize::from(second.partition) == partition {
            Some((channel, second, first))
        } else {
            None
        }
    })
}

/// The most SPI that the channels of a partition need.
pub(crate) fn highest_spi(specs: &[ChannelSpec], partition: usize) -> Option<u16> {
    own(specs, partition).map(|(_, own, _)| own.intid - IntId::FIRST_SPI.0).max()
}

/// What the windows and pages of a partition's ends are charged, in pages: memory, IPA space, management memory; and how many
/// event ports.
pub(crate) fn charges(specs: &[ChannelSpec], partition: usize) -> [u64; 4] {
    own(specs, partition).fold([0; 4], |[memory, ipa, management, ports], (channel, own, _)| {
        let slots = u64::from(own.slots);
        let pages = slots * channel.class.pages().0;
        let tables = slots * channel.class.most_tables();
        [memory + pages, ipa + pages + 2, management + tables + 2, ports + 1]
    })
}

/// How a partition's guest finds its end of a channel.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// The channel's name.
    pub(crate) name: String,
    /// The handles of its message port, and of the receive port at which it tells.
    pub(crate) handle: u64,
    pub(crate) events: u64,
    /// The other partition's position.
    pub(crate) peer: usize,
    /// Its interrupt.
    pub(crate) spi: u16,
    /// Where its pages are in the guest: arrivals and credits.
    pub(crate) pages: [u64; 2],
    /// Its window: slots, and their class.
    pub(crate) slots: u16,
    pub(crate) class: AreaClass,
}

/// The ends that a partition has by the description.
pub(crate) fn ends(
    events: &[EventSpec],
    shared: &[SharedSpec],
    specs: &[ChannelSpec],
    partition: usize,
) -> Vec<End> {
    let events = talk::ports(events, partition).len() as u64;
    let mut places = behind_shared(events, shared, partition);
    own(specs, partition)
        .map(|(channel, own, other)| {
            let here = places;
            places = here.behind(channel.class, own.slots);
            let page = |index: u64| {
                let index = u16::try_from(here.slots[0] + index).unwrap_or(u16::MAX);
                WindowSlot { class: AreaClass::Page, index }.ipa().0
            };
            // A fresh table's handles: generation 1, then the index.
            End {
                name: channel.name.clone(),
                handle: 1 << 16 | (here.handles + 1),
                events: 1 << 16 | here.handles,
                peer: usize::from(other.partition),
                spi: own.intid - IntId::FIRST_SPI.0,
                pages: [page(0), page(1)],
                slots: own.slots,
                class: channel.class,
            }
        })
        .collect()
}
