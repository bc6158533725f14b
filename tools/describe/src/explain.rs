//! The division of the machine as a table for people.

use std::fmt::Write as _;

use serde_spanned::Spanned;
use shikiri_abi::{CoreSet, PAGE_BYTES, Resource};
use shikiri_config::{
    CoreTime, PartitionSet, PartitionSpec, Place, RestartPolicy, Unanswered, Vcpu, Windows,
};

use crate::board::Range;
use crate::channels;
use crate::cores::percent;
use crate::memory::span_text;
use crate::shared::{self, View};
use crate::system::Plan;
use crate::talk;
use crate::units::{Size, how_many, stated};

/// Explains a plan.
pub(crate) fn explain(plan: &Plan<'_>, bundle_bytes: usize) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    let _ = write_machine(&mut out, plan, bundle_bytes);
    for (index, partition) in plan.spec.partitions.iter().enumerate() {
        let _ = write_partition(&mut out, plan, index, partition);
    }
    let _ = write_services(&mut out, plan);
    let _ = write_names(&mut out, plan);
    let _ = write_policy(&mut out, plan);
    let _ = write_left(&mut out, plan);
    out
}

fn write_machine(out: &mut String, plan: &Plan<'_>, bundle_bytes: usize) -> std::fmt::Result {
    let board = plan.board;
    writeln!(
        out,
        "machine   {} ({}): {} core{}, {} of memory, GICv{}",
        board.name().unwrap_or("unknown board"),
        board.compatible,
        board.cores,
        if board.cores == 1 { "" } else { "s" },
        Size(board.memory_bytes()),
        board.gic.number()
    )?;
    writeln!(out, "bundle    {}", Size(bundle_bytes as u64))?;
    let focus = plan.focus.and_then(|index| plan.spec.partitions.get(index));
    let focus = focus.map_or("nobody", |partition| &partition.name);
    writeln!(out, "console   {focus} gets the keys at start")
}

fn write_partition(
    out: &mut String,
    plan: &Plan<'_>,
    index: usize,
    partition: &PartitionSpec,
) -> std::fmt::Result {
    let text = plan.description.partitions.get(index).map(Spanned::get_ref);
    let program = text.and_then(|text| text.kernel.as_ref().or(text.image.as_ref()));
    let program = program.map_or("", |program| program.get_ref().as_str());
    let start = if partition.autostart {
        format!("order {}", partition.start_order)
    } else {
        "by hand".to_owned()
    };
    writeln!(out)?;
    writeln!(out, "partition {}", partition.name)?;
    writeln!(out, "  start      {start}, restart {}", restart(partition))?;
    writeln!(
        out,
        "  program    {program}, entry {:#x}, device tree {:#x}",
        partition.entry.0, partition.x0
    )?;
    if let Some(initrd) = text.and_then(|text| text.initrd.as_ref()) {
        writeln!(out, "  initrd     {}", initrd.get_ref())?;
    }
    if let Some(cmdline) = text.and_then(|text| text.cmdline.as_ref()) {
        writeln!(out, "  words      {}", cmdline.get_ref())?;
    }
    for (number, vcpu) in partition.vcpus.iter().enumerate() {
        writeln!(out, "  vCPU {number:<6}{}", cores(vcpu))?;
    }
    if partition.kept_vcpus != 0 {
        writeln!(out, "  kept back  {} of its vCPUs, the last ones", partition.kept_vcpus)?;
    }
    if partition.has_pmu {
        writeln!(out, "  pmu        the performance monitors of its cores")?;
    }
    for region in &partition.memory {
        let range = Range { start: region.ipa.0, bytes: region.bytes };
        let place = match region.place {
            Place::Any => "anywhere in RAM".to_owned(),
            Place::At(pa) => format!("in RAM at {:#x}", pa.0),
        };
        let (size, span) = (Size(region.bytes), span_text(range));
        writeln!(out, "  memory     {size}, for the guest {span}, {place}")?;
    }
    write_talk(out, plan, partition)?;
    write_devices(out, plan, index, partition)
}

fn write_talk(out: &mut String, plan: &Plan<'_>, partition: &PartitionSpec) -> std::fmt::Result {
    let talk = partition.talk;
    if talk.handles == 0 {
        return Ok(());
    }
    let pages = talk.pages();
    writeln!(
        out,
        "  talk       {}, {}, {}",
        how_many(talk.handles, "handle"),
        how_many(talk.requests, "request"),
        how_many(pages, "page")
    )?;
    let windows = partition.windows;
    if !windows.is_none() {
        let Windows { pages, blocks, giants, channels, shared } = windows;
        writeln!(
            out,
            "  areas      {pages} of 4 KiB, {blocks} of 2 MiB, {giants} of 1 GiB; {channels} channels, {shared} shared, {} pages",
            windows.tables_pages()
        )?;
    }
    for (what, set) in [("may connect to", talk.connect_to), ("accepts from", talk.accept_from)] {
        if set != PartitionSet::EMPTY {
            writeln!(out, "  talk       {what} {}", names(plan, set))?;
        }
    }
    let position = plan.spec.partitions.iter().position(|other| other.name == partition.name);
    for port in position.map_or_else(Vec::new, |index| talk::ports(&plan.spec.events, index)) {
        let peer = plan.spec.partitions.get(port.peer).map_or("", |peer| &peer.name);
        let (name, handle) = (port.name, port.handle);
        match port.spi {
            Some(spi) => {
                writeln!(out, "  event      {name} from {peer}, SPI {spi}, handle {handle:#x}")?
            }
            None => writeln!(out, "  event      {name} to {peer}, handle {handle:#x}")?,
        }
    }
    let shared = |index| shared::views(&plan.spec.shared, &plan.spec.events, index);
    for View { name, address, bytes, handle, is_writable } in position.map_or_else(Vec::new, shared)
    {
        let access = if is_writable { "" } else { ", read-only" };
        writeln!(
            out,
            "  shared     {name}, {} KiB at {address:#x}{access}, handle {handle:#x}",
            bytes >> 10
        )?;
    }
    let spec = &plan.spec;
    let ends = |index| channels::ends(&spec.events, &spec.shared, &spec.channels, index);
    for end in position.map_or_else(Vec::new, ends) {
        let peer = spec.partitions.get(end.peer).map_or("", |peer| &peer.name);
        let size = Size(end.class.pages().bytes().unwrap_or(0));
        writeln!(
            out,
            "  channel    {} with {peer}, {} slots of {size}, SPI {}, handle {:#x}",
            end.name, end.slots, end.spi, end.handle
        )?;
    }
    Ok(())
}

fn names(plan: &Plan<'_>, set: PartitionSet) -> String {
    let named = set.iter().filter_map(|index| plan.spec.partitions.get(index));
    named.map(|partition| partition.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Who may ask whom for what; of those that may ask one with services at all, whoever finds none open to it, too.
fn write_services(out: &mut String, plan: &Plan<'_>) -> std::fmt::Result {
    let services = &plan.spec.services;
    if !services.is_empty() {
        writeln!(out, "\nservices")?;
    }
    for (index, partition) in plan.spec.partitions.iter().enumerate() {
        let own = || services.iter().filter(|service| usize::from(service.of) == index);
        let name = &partition.name;
        for service in own() {
            let to = match service.to {
                PartitionSet::ALL => "whoever may ask it".to_owned(),
                to => names(plan, to),
            };
            writeln!(out, "  {} of {name}, number {}: {to}", service.name, service.number)?;
        }
        let open = own().fold(PartitionSet::EMPTY, |set, service| set.union(service.to));
        let closed = PartitionSet(partition.talk.accept_from.0 & !open.0);
        if own().next().is_some() && closed != PartitionSet::EMPTY {
            writeln!(out, "  none of {name}: {}", names(plan, closed))?;
        }
    }
    Ok(())
}

fn write_names(out: &mut String, plan: &Plan<'_>) -> std::fmt::Result {
    if !plan.spec.names.is_empty() {
        writeln!(out, "\nnames of objects")?;
    }
    for name in &plan.spec.names {
        let many =
            if name.is_prefix { format!("*, {} at a time", name.objects) } else { String::new() };
        writeln!(out, "  {}{many}: {}", name.text, names(plan, name.partitions))?;
    }
    Ok(())
}

fn write_devices(
    out: &mut String,
    plan: &Plan<'_>,
    index: usize,
    partition: &PartitionSpec,
) -> std::fmt::Result {
    if partition.has_console {
        let uart = partition.platform.uart.0;
        writeln!(out, "  device     virtual PL011, {uart:#x}, SPI {}", crate::devices::UART_SPI)?;
    }
    for device in plan.devices.of(index) {
        let pieces = device.pieces();
        let first = device.ipas.first().copied().unwrap_or(0);
        let dma = if device.dma { ", trusted with DMA" } else { "" };
        let moderated =
            if pieces.iter().any(|piece| piece.moderated) { ", shares its page" } else { "" };
        let kept = match device.kept {
            Some(number) => format!(", kept back as number {number}"),
            None => String::new(),
        };
        writeln!(out, "  device     {}, {first:#x}{moderated}{dma}{kept}", device.path)?;
        for (line, spi) in device.lines() {
            let kind = if line.is_edge() { "edge" } else { "level" };
            let renamed =
                if line.spi == spi { String::new() } else { format!(", the guest's SPI {spi}") };
            writeln!(
                out,
                "  interrupt  SPI {} (INTID {}), {kind}{renamed}",
                line.spi,
                line.spi + 32
            )?;
        }
    }
    Ok(())
}

fn cores(vcpu: &Vcpu) -> String {
    match vcpu.time {
        CoreTime::Owned => format!("owns core {}", vcpu.home.0),
        CoreTime::Reservation { budget_us, period_us } => format!(
            "{budget_us} us of every {period_us} us on core {}, may run on {}, priority {}",
            vcpu.home.0, vcpu.cores, vcpu.priority
        ),
    }
}

fn restart(partition: &PartitionSpec) -> String {
    let restart = partition.restart;
    let policy = match restart.policy {
        RestartPolicy::Never => return "never".to_owned(),
        RestartPolicy::OnFault => "on fault",
        RestartPolicy::Always => "always",
    };
    let delay = if restart.delay_ms == 0 {
        String::new()
    } else {
        format!(" after {} ms", restart.delay_ms)
    };
    if restart.max == 0 {
        return format!("{policy}{delay}");
    }
    format!("{policy}{delay}, at most {} times in {} ms", restart.max, restart.window_ms)
}

/// Who makes policy, if the description says so.
fn write_policy(out: &mut String, plan: &Plan<'_>) -> std::fmt::Result {
    let Some(policy) = &plan.spec.policy else { return Ok(()) };
    let holder = policy.partition.and_then(|index| plan.spec.partitions.get(index));
    let holder = holder.map_or("nobody", |partition| &partition.name);
    let default = match policy.default {
        Unanswered::Refused => "refused",
        Unanswered::Granted => "granted",
    };
    writeln!(out)?;
    let spare = how_many(policy.spare, "partition");
    writeln!(out, "policy    {holder}, {spare} at run time")?;
    writeln!(out, "  requests   {default} if not answered within {} ms", policy.answer_ms)?;
    for resource in Resource::ALL {
        if let Some(limit) = policy.handout[usize::from(resource.number())] {
            let most = stated(resource, limit);
            writeln!(out, "  hand out   {resource} up to {most}")?;
            if let Some(left) = left_of(plan, resource).filter(|left| limit > *left) {
                let left = stated(resource, left);
                writeln!(
                    out,
                    "  warning    {most} of {resource} may be handed out, and {left} is left over while all described partitions live"
                )?;
            }
        }
    }
    let images: Vec<_> = plan.spec.policy_images.iter().map(|image| image.name.as_str()).collect();
    if !images.is_empty() {
        writeln!(out, "  images     {}", images.join(", "))?;
    }
    for name in &plan.unmade {
        writeln!(
            out,
            "  waits      the policy file names `{name}`, which is not described: until somebody makes it"
        )?;
    }
    Ok(())
}

/// What no described partition has of a resource that the machine bounds, in the unit of its account.
fn left_of(plan: &Plan<'_>, resource: Resource) -> Option<u64> {
    match resource {
        Resource::CoreTime => {
            let whole = plan.cores.left().iter().map(|_| 1_000_000_u64);
            let shared = plan.cores.shared().map(|(_, ppm)| 1_000_000_u64.saturating_sub(ppm));
            Some(whole.chain(shared).fold(0, u64::saturating_add))
        }
        Resource::Memory | Resource::ManagementMemory => Some(plan.memory.left / PAGE_BYTES),
        Resource::IpaSpace
        | Resource::EventPorts
        | Resource::Devices
        | Resource::CacheShare
        | Resource::BusShare => None,
    }
}

fn write_left(out: &mut String, plan: &Plan<'_>) -> std::fmt::Result {
    writeln!(out, "\nleft over")?;
    let left: CoreSet = plan.cores.left();
    writeln!(out, "  cores      {}", if left.is_empty() { "none".to_owned() } else { runs(left) })?;
    for (core, ppm) in plan.cores.shared() {
        let rest = 1_000_000_u64.saturating_sub(ppm);
        writeln!(out, "  core {core:<6}{} % not reserved", percent(rest))?;
    }
    let (free, reserved) = (Size(plan.memory.left), Size(plan.memory.reserved));
    writeln!(
        out,
        "  memory     {free}; {reserved} are set aside for firmware, hypervisor and images"
    )?;
    for group in left_devices(plan) {
        let (first, last) = (&group.first, &group.last);
        let name = if group.count == 1 {
            first.clone()
        } else {
            format!("{first} to {last} ({})", group.count)
        };
        writeln!(out, "  device     {name}: {}", group.state)?;
    }
    Ok(())
}

/// A set of cores as `0,2-5`.
fn runs(set: CoreSet) -> String {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    for core in set.iter().map(|core| core.0) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => runs.push((core, core)),
        }
    }
    let name = |(first, last): &(u8, u8)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.iter().map(name).collect::<Vec<_>>().join(",")
}

/// Neighbouring devices of the same kind and state.
struct Group {
    first: String,
    last: String,
    state: String,
    count: usize,
}

/// The devices that no partition has, with why.
fn left_devices(plan: &Plan<'_>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (path, device) in &plan.board.devices {
        if plan.devices.is_owned(path) {
            continue;
        }
        let state = match (device.kept_for, &device.interrupts) {
            (Some(purpose), _) => format!("is {purpose}"),
            (None, Err(reason)) => format!("cannot be passed on: {reason}"),
            (None, Ok(_)) if device.may_master => "nobody's; may write memory by itself".to_owned(),
            (None, Ok(_)) => "nobody's".to_owned(),
        };
        match groups
            .last_mut()
            .filter(|group| group.state == state && stem(&group.last) == stem(path))
        {
            Some(group) => {
                path.clone_into(&mut group.last);
                group.count += 1;
            }
            None => groups.push(Group { first: path.clone(), last: path.clone(), state, count: 1 }),
        }
    }
    groups
}

/// A path without its unit address.
fn stem(path: &str) -> &str {
    path.rsplit_once('@').map_or(path, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use shikiri_abi::CoreSet;

    #[test]
    fn neighbouring_cores_are_written_as_a_run() {
        for (set, text) in [(1, "0"), (0b11, "0,1"), (0b101_1101, "0,2-4,6"), (u128::MAX, "0-127")]
        {
            assert_eq!(super::runs(CoreSet(set)), text);
        }
    }
}
