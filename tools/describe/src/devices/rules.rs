//! What a partition may say about its devices, and what two of them may not share.

use serde_spanned::Spanned;
use shikiri_abi::{PAGE_BYTES, Pa};
use shikiri_config::{MAX_KEPT_BYTES, MAX_KEPT_DEVICES, MAX_MODERATED, Place as Where};

use super::{DevicePlan, Owned, UART_SPI};
use crate::board::{Board, BoardDevice, Range, Window};
use crate::claims::{self, Claim};
use crate::memory::{MemoryPlan, span_text};
use crate::problem::{Place, Problem};
use crate::text::{Description, DeviceTable, DeviceText, PartitionText};
use crate::units::Size;

pub(super) fn check_table(
    device: &BoardDevice,
    table: &DeviceTable,
    text: &Spanned<DeviceText>,
) -> Result<(), Problem> {
    let path = &table.path;
    let lines = device.interrupts.as_deref().unwrap_or(&[]).len();
    if let Some(spis) = &table.spis
        && spis.get_ref().len() != lines
    {
        let problem = Problem::new(format!(
            "`spis` of device `{path}` has not one number for each interrupt"
        ));
        return Err(problem.at(spis.span(), format!("{} for {lines}", spis.get_ref().len())));
    }
    if let Some(rate) = table.clock_hz.as_ref().filter(|rate| *rate.get_ref() == 0) {
        let problem = Problem::new(format!("the clocks of device `{path}` do not run"));
        return Err(problem.at(rate.span(), "their rate in Hz, as the firmware has set it"));
    }
    let Some(ipa) = &table.ipa else { return Ok(()) };
    let offset = device.regions.first().map_or(0, |region| region.start % PAGE_BYTES);
    if ipa.get_ref() % PAGE_BYTES != offset {
        let problem = Problem::new(format!(
            "guest address of device `{path}` does not fit its place in a page"
        ));
        return Err(problem
            .at(ipa.span(), format!("{:#x}", ipa.get_ref()))
            .help(format!("the address must end in {offset:#05x}, as the device's own does")));
    }
    if device.regions.len() > 1 {
        let problem = Problem::new(format!(
            "device `{path}` has several register regions and cannot be moved"
        ));
        return Err(problem
            .at(ipa.span(), "one address")
            .at(text.span(), format!("{} regions", device.regions.len())));
    }
    Ok(())
}

/// A path that is not there, with the nearest ones that are.
pub(super) fn unknown(board: &Board, path: &str, place: Place) -> Problem {
    let problem = Problem::new(format!("the board's device tree has no device `{path}`"));
    let problem = problem.at(place, "not found, or disabled, or without registers");
    let last = path.rsplit('/').next().unwrap_or(path);
    let stem = last.split('@').next().unwrap_or(last);
    let near: Vec<_> = board
        .devices
        .keys()
        .filter(|known| !stem.is_empty() && known.contains(stem))
        .take(4)
        .map(|known| format!("`{known}`"))
        .collect();
    if near.is_empty() {
        return problem.help("`cargo xtask check` without this line lists the board's devices");
    }
    problem.help(format!("there is {}", near.join(", ")))
}

pub(super) fn same_interrupt(
    spi: u16,
    first: (&str, &Owned<'_>),
    second: (&str, &Owned<'_>),
) -> Problem {
    let message = format!(
        "SPI {spi} is claimed by device `{}` of `{}` and by device `{}` of `{}`",
        first.1.path, first.0, second.1.path, second.0
    );
    let problem = Problem::new(message);
    problem
        .at(&first.1.place, format!("`{}` gets SPI {spi}", first.0))
        .at(&second.1.place, format!("`{}` gets it, too", second.0))
        .help("devices that share an interrupt go to the same partition")
}

pub(super) fn kept_interrupt(spi: u16, kept: &str, second: (&str, &Owned<'_>)) -> Problem {
    let (name, device) = second;
    let message = format!(
        "SPI {spi} is claimed by `{kept}` of the hypervisor and by device `{}` of `{name}`",
        device.path
    );
    Problem::new(message).at(&device.place, format!("`{name}` wants it, too"))
}

pub(super) fn same_guest_interrupt(
    name: &str,
    spi: u16,
    first: &Owned<'_>,
    second: &Owned<'_>,
) -> Problem {
    let message = format!(
        "guest SPI {spi} of `{name}` is claimed by device `{}` and by device `{}`",
        first.path, second.path
    );
    Problem::new(message)
        .at(&first.place, format!("`{}` has it", first.path))
        .at(&second.place, format!("`{}` wants it, too", second.path))
}

/// A line is given with the device that is kept back, so nothing else can hang on it.
pub(super) fn interrupt_kept_in_parts(
    spi: u16,
    name: &str,
    first: &Owned<'_>,
    second: &Owned<'_>,
) -> Problem {
    let message = format!(
        "SPI {spi} belongs to device `{}` and to device `{}` of `{name}`, of which one is kept back",
        first.path, second.path
    );
    let what =
        |device: &Owned<'_>| if device.kept.is_some() { "kept back" } else { "not kept back" };
    Problem::new(message).at(&first.place, what(first)).at(&second.place, what(second))
}

/// What is kept back is given in one step, by a number.
pub(super) fn check_kept(name: &str, device: &Owned<'_>) -> Result<(), Problem> {
    let Some(number) = device.kept else { return Ok(()) };
    if number >= MAX_KEPT_DEVICES {
        let problem = Problem::new(format!("too many devices of `{name}` are kept back"));
        return Err(problem.at(&device.place, format!("at most {MAX_KEPT_DEVICES}")));
    }
    let bytes: u64 = device.pieces().iter().map(|piece| piece.bytes).sum();
    if bytes > MAX_KEPT_BYTES {
        let path = &device.path;
        let problem =
            Problem::new(format!("device `{path}` of `{name}` is too large to be kept back"));
        return Err(problem.at(
            &device.place,
            format!("{} of registers, at most {}", Size(bytes), Size(MAX_KEPT_BYTES)),
        ));
    }
    Ok(())
}

pub(super) fn check_guest_spi(
    description: &Description,
    name: &str,
    device: &Owned<'_>,
    spi: u16,
) -> Result<(), Problem> {
    let path = &device.path;
    if spi >= 988 {
        let problem = Problem::new(format!("guest SPI {spi} of device `{path}` does not exist"));
        return Err(problem.at(&device.place, "SPIs are 0 to 987"));
    }
    let has_console = crate::cores::find(description, name)
        .and_then(|index| description.partitions.get(index))
        .is_some_and(|partition| partition.get_ref().console);
    if has_console && spi == UART_SPI {
        let problem = Problem::new(format!(
            "guest SPI {spi} of `{name}` is claimed by its virtual UART and by device `{path}`"
        ));
        return Err(problem
            .at(&device.place, "this device")
            .help("give it another number with `spis`, or write `console = false`"));
    }
    Ok(())
}

/// A trusted bus master sees physical addresses, so all of its partition's memory must have IPA = PA.
pub(crate) fn check_dma(
    partition: &PartitionText,
    devices: &[Owned<'_>],
    memory: &MemoryPlan,
    index: usize,
) -> Result<(), Problem> {
    for device in devices.iter().filter(|device| device.dma) {
        check_reach(partition, device, memory, index)?;
    }
    let Some(device) = devices.iter().find(|device| device.dma) else { return Ok(()) };
    let is_identity =
        |region: &&crate::memory::Region| region.memory.place != Where::At(Pa(region.memory.ipa.0));
    let Some(region) = memory.regions(index).iter().find(is_identity) else { return Ok(()) };
    let name = partition.name.get_ref();
    let problem = Problem::new(format!(
        "device `{}` of `{name}` writes to physical addresses, but the memory of `{name}` is elsewhere",
        device.path
    ));
    Err(problem
        .at(&device.place, "trusted with DMA")
        .at(&region.place, "guest and physical address are not the same")
        .help("write `memory = { size = …, at = ADDRESS, ipa = ADDRESS }` with the same address twice"))
}

/// A bus may lead to a part of memory only: all of the partition's has to be there, because the guest may hand the device any of
/// it. At which addresses the device sees it is the guest's tree's business.
fn check_reach(
    partition: &PartitionText,
    device: &Owned<'_>,
    memory: &MemoryPlan,
    index: usize,
) -> Result<(), Problem> {
    let Some(reach) = &device.board.reach else { return Ok(()) };
    let (name, path) = (partition.name.get_ref(), &device.path);
    for region in memory.regions(index) {
        let Where::At(Pa(start)) = region.memory.place else { continue };
        let end = start.saturating_add(region.memory.bytes);
        let holds = |window: &Window| {
            window.above <= start && end <= window.above.saturating_add(window.bytes)
        };
        if reach.iter().any(holds) {
            continue;
        }
        let leads = |window: &Window| Range { start: window.above, bytes: window.bytes };
        let windows: Vec<_> = reach.iter().map(|window| span_text(leads(window))).collect();
        let windows = if windows.is_empty() { "no memory".into() } else { windows.join(", ") };
        let problem = Problem::new(format!(
            "device `{path}` of `{name}` does not reach all of the memory of `{name}`"
        ));
        return Err(problem
            .at(&device.place, format!("its bus leads to {windows}"))
            .at(&region.place, format!("{start:#x} to {:#x}", end.saturating_sub(1))));
    }
    Ok(())
}

/// Refuses the device with which more regions are moderated than the hypervisor has places for.
pub(crate) fn check_moderated(
    description: &Description,
    devices: &DevicePlan<'_>,
) -> Result<(), Problem> {
    let mut before = 0;
    for (name, device) in devices.with_owner(description) {
        let own = device.pieces().iter().filter(|piece| piece.moderated).count();
        if before + own > MAX_MODERATED {
            let problem = Problem::new(format!(
                "device `{}` of `{name}` is moderated, and too many are: the machine has room for {MAX_MODERATED} such regions",
                device.path
            ));
            return Err(problem
                .at(&device.place, format!("has {own}, after {before} of others"))
                .help("moderated are registers that do not fill whole 4 KiB pages"));
        }
        before += own;
    }
    Ok(())
}

/// Refuses devices that overlap physically.
pub(crate) fn check_physical(
    description: &Description,
    board: &Board,
    devices: &DevicePlan<'_>,
    memory: &MemoryPlan,
) -> Result<(), Problem> {
    let mut all = memory.physical_claims(description);
    let kept: Vec<Claim> = devices.physical_claims(description, board);
    // The hypervisor's own regions may touch each other in the board's tree: only pairs with a partition count.
    let (own, given): (Vec<_>, Vec<_>) =
        kept.into_iter().partition(|claim| claim.who.ends_with("of the hypervisor"));
    all.extend(given);
    claims::check_disjoint(&all, "physical address")?;
    for kept in own {
        for claim in &all {
            claims::check_disjoint(&[kept.clone(), claim.clone()], "physical address")?;
        }
    }
    Ok(())
}
