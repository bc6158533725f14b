//! The description as a whole: its machine, its names, its console.

use serde_spanned::Spanned;
use shikiri_abi::MAX_CORES;
use shikiri_config::{IPA_BITS, MAX_PARTITIONS, MAX_VCPUS_GICV2};

use shikiri_boards::BOARDS;

use crate::board::Board;
use crate::cores::find;
use crate::problem::Problem;
use crate::text::{Description, MachineText};
use crate::units::Size;

/// The least memory of a machine: what is set aside for the hypervisor (`memory.rs`), and as much again.
const LEAST_MEMORY: u64 = 32 << 20;
/// The most: as many physical addresses as a guest can have.
const MOST_MEMORY: u64 = 1 << IPA_BITS;

/// A machine that the hypervisor could serve; there need not be one yet.
pub(crate) fn check_possible(machine: &MachineText) -> Result<(), Problem> {
    let gic = machine.gic.as_ref().filter(|gic| !matches!(gic.get_ref(), 2 | 3));
    if let Some(gic) = gic {
        let problem = Problem::new(format!("there is no GICv{}", gic.get_ref()));
        return Err(problem.at(gic.span(), "2 or 3"));
    }
    if let Some(memory) = &machine.memory
        && !(LEAST_MEMORY..=MOST_MEMORY).contains(&memory.get_ref().0)
    {
        let problem = Problem::new(format!("a machine of {} is not possible", memory.get_ref()));
        let (least, most) = (Size(LEAST_MEMORY), Size(MOST_MEMORY));
        return Err(problem.at(memory.span(), format!("{least} to {most}")));
    }
    let Some(cores) = &machine.cores else { return Ok(()) };
    let gic2 = machine.gic.as_ref().filter(|gic| *gic.get_ref() == 2);
    let most = if gic2.is_some() { MAX_VCPUS_GICV2 } else { MAX_CORES };
    let wanted = usize::try_from(*cores.get_ref()).unwrap_or(usize::MAX);
    if (1..=most).contains(&wanted) {
        return Ok(());
    }
    let problem = Problem::new(format!("a machine of {wanted} cores is not possible"));
    let problem = problem.at(cores.span(), format!("1 to {most}"));
    Err(match gic2 {
        Some(gic) => problem.at(gic.span(), format!("a GICv2 serves {most}")),
        None => problem,
    })
}

/// What the description says about the machine must be true of the device tree.
pub(super) fn check_machine(description: &Description, board: &Board) -> Result<(), Problem> {
    let machine = &description.machine;
    check_possible(machine)?;
    if usize::try_from(board.cores).is_ok_and(|cores| cores > MAX_CORES) {
        return Err(Problem::new(format!(
            "the machine has {} cores, and the hypervisor serves {MAX_CORES}",
            board.cores
        )));
    }
    if let Some(name) = &machine.board {
        check_board_name(name, board)?;
    }
    if let Some(cores) = &machine.cores
        && *cores.get_ref() > board.cores
    {
        let problem = Problem::new("the machine has fewer cores than this description needs");
        return Err(problem.at(cores.span(), format!("it has {}", board.cores)));
    }
    if let Some(memory) = &machine.memory
        && memory.get_ref().0 > board.memory_bytes()
    {
        let has = Size(board.memory_bytes());
        let problem = Problem::new("the machine has less memory than this description needs");
        return Err(problem.at(memory.span(), format!("it has {has}")));
    }
    if let Some(gic) = &machine.gic
        && *gic.get_ref() != board.gic.number()
    {
        let problem = Problem::new("the machine has another GIC than this description needs");
        return Err(problem.at(gic.span(), format!("it has a GICv{}", board.gic.number())));
    }
    Ok(())
}

fn check_board_name(name: &Spanned<String>, board: &Board) -> Result<(), Problem> {
    let known: Vec<_> = BOARDS.iter().map(|board| format!("`{}`", board.folder)).collect();
    if !BOARDS.iter().any(|board| board.folder == name.get_ref()) {
        let problem = Problem::new(format!("there is no board `{}`", name.get_ref()));
        return Err(problem
            .at(name.span(), "not known")
            .help(format!("there is {}", known.join(", "))));
    }
    if board.name().is_some_and(|found| found != name.get_ref()) {
        let problem =
            Problem::new(format!("the device tree is of another board: `{}`", board.compatible));
        return Err(problem.at(name.span(), "this description is for this one"));
    }
    Ok(())
}

pub(super) fn check_names(description: &Description) -> Result<(), Problem> {
    let partitions = &description.partitions;
    let Some(last) = partitions.last() else {
        let problem = Problem::new("the description has no partition");
        return Err(problem.help(
            "add a table `[[partition]]` with at least `name`, `memory`, and `image` or `kernel`",
        ));
    };
    if partitions.len() > MAX_PARTITIONS {
        let problem = Problem::new(format!(
            "{} partitions, at most {MAX_PARTITIONS} are possible",
            partitions.len()
        ));
        return Err(problem.at(last.get_ref().name.span(), "the last one"));
    }
    for (index, partition) in partitions.iter().enumerate() {
        let name = &partition.get_ref().name;
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let text = name.get_ref();
        if text.is_empty()
            || text.len() > shikiri_config::MAX_NAME_BYTES
            || !text.bytes().all(is_allowed)
        {
            let problem = Problem::new(format!("`{text}` cannot be a partition's name"));
            return Err(problem.at(name.span(), "a name has 1 to 31 of a-z, 0-9, _ and -"));
        }
        let earlier = partitions.iter().take(index).map(|other| &other.get_ref().name);
        if let Some(other) = earlier.into_iter().find(|other| other.get_ref() == text) {
            let problem = Problem::new(format!("two partitions are called `{text}`"));
            return Err(problem.at(other.span(), "the first").at(name.span(), "the second"));
        }
    }
    Ok(())
}

/// `[rest]` names partitions that exist.
pub(super) fn check_rest(description: &Description) -> Result<(), Problem> {
    let rest = &description.rest;
    for heir in [&rest.cores, &rest.memory, &rest.devices].into_iter().flatten() {
        check_exists(description, heir)?;
    }
    Ok(())
}

/// The position of the partition with this name.
pub(crate) fn check_exists(
    description: &Description,
    name: &Spanned<String>,
) -> Result<usize, Problem> {
    find(description, name.get_ref()).ok_or_else(|| {
        let names: Vec<_> = description
            .partitions
            .iter()
            .map(|p| format!("`{}`", p.get_ref().name.get_ref()))
            .collect();
        Problem::new(format!("there is no partition `{}`", name.get_ref()))
            .at(name.span(), "not described")
            .help(format!("there is {}", names.join(", ")))
    })
}

/// Who has the console first.
pub(super) fn focus(description: &Description) -> Result<Option<usize>, Problem> {
    let partitions = || description.partitions.iter().map(Spanned::get_ref);
    let Some(stated) = &description.console.focus else {
        let with_kernel = partitions().position(|p| p.console && p.kernel.is_some());
        return Ok(with_kernel.or_else(|| partitions().position(|p| p.console)));
    };
    let index = check_exists(description, stated)?;
    match partitions().nth(index) {
        Some(partition) if !partition.console => {
            let problem = Problem::new(format!(
                "`{}` gets the console's focus, but has no console",
                stated.get_ref()
            ));
            Err(problem
                .at(stated.span(), "gets the focus")
                .at(partition.name.span(), "has `console = false`"))
        }
        _ => Ok(Some(index)),
    }
}
