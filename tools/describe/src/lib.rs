//! The description compiler: from a text file that divides a machine to the bundle that the hypervisor boots with.
//!
//! [`compile`] reads the TOML file (`text.rs`), checks it against the board's own device tree (`board.rs`), decides what
//! the file leaves open (`cores.rs`, `memory.rs`, `devices.rs`), generates each guest's device tree (`guest_tree.rs`),
//! and writes the bundle (`system.rs`), which it reads back with the hypervisor's own parser. Errors are reports with
//! file, line, caret and, where two things collide, both claimants.

mod board;
mod channels;
mod claims;
mod cores;
pub mod cpio;
mod devices;
mod explain;
mod guest_tree;
mod gzip;
mod images;
mod memory;
mod names;
mod overrides;
mod policy;
mod policy_file;
mod problem;
mod schema;
mod services;
mod shared;
mod system;
mod talk;
mod text;
mod units;

use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::Report;

pub use schema::json_schema;
pub use shikiri_config::MAX_PARTITIONS;
pub use units::size;

use crate::board::Board;
use crate::problem::Problem;
use crate::system::Plan;
use crate::text::Description;
use crate::units::Size;

/// What to compile.
#[derive(Clone, Debug)]
pub struct Request {
    /// The description.
    pub file: PathBuf,
    /// The device tree of the machine that it is for, as a flattened tree.
    pub board_dtb: Vec<u8>,
    /// Where images are looked for, before the folder of the description.
    pub image_dirs: Vec<PathBuf>,
    /// What the command line changes.
    pub overrides: Overrides,
    /// The partitions' seeds, in the description's order; who has none here gets none, and the bundle is the same each time.
    pub seeds: Vec<Seed>,
}

/// What a guest starts its random numbers with: `rng-seed` and `kaslr-seed` of its `/chosen`, as QEMU gives them. It is as secret
/// as the bundle, and the same at each start of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// For its generator.
    pub rng: [u8; 32],
    /// For the addresses of its kernel.
    pub kaslr: u64,
}

/// Changes to the partition with a kernel; used by `cargo xtask run linux`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Another kernel, or any flat binary. The description's RAM disk and command line go with its kernel: they are dropped.
    pub kernel: Option<PathBuf>,
    /// Another initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Words to put behind the command line.
    pub append: Option<String>,
    /// Another number of vCPUs, on cores of their own unless the partition shares its cores.
    pub vcpus: Option<u32>,
    /// Another size of memory in bytes.
    pub memory: Option<u64>,
}

/// The result of a compilation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The bundle, to be loaded as the hypervisor's initial RAM disk.
    pub bundle: Vec<u8>,
    /// What goes where, and what is left, as a table for people.
    pub explanation: String,
    /// What the user's own kernel does not find as it is promised, because its memory is too small.
    pub notes: Vec<String>,
}

/// The machine that a description asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The board's folder under `boards/`.
    pub board: String,
    /// Cores.
    pub cores: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Version of the GIC, if it matters.
    pub gic: Option<u8>,
}

/// Compiles a description.
///
/// # Errors
/// The first thing that is wrong, as a report that shows the place in the file.
pub fn compile(request: &Request) -> Result<Compiled, Report> {
    let text = read(&request.file)?;
    compile_text(request, &text).map_err(|problem| problem.report(&request.file, &text))
}

fn compile_text(request: &Request, text: &str) -> Result<Compiled, Problem> {
    let mut description = parse(text)?;
    overrides::apply(&request.overrides, &mut description)?;
    let board = Board::read(&request.board_dtb)?;
    let plan = Plan::make(request, &description, &board)?;
    let bundle = plan.bundle()?;
    let explanation = explain::explain(&plan, bundle.len());
    let notes = match request.overrides.kernel {
        Some(_) => near_trees(&plan),
        None => Vec::new(),
    };
    Ok(Compiled { bundle, explanation, notes })
}

/// The partitions with a kernel whose device tree is nearer than it should be.
fn near_trees(plan: &Plan<'_>) -> Vec<String> {
    let partitions = plan.description.partitions.iter().zip(&plan.spec.partitions);
    let kernels = partitions.filter(|(text, _)| text.get_ref().kernel.is_some());
    let near = kernels.filter_map(|(_, spec)| {
        let distance = spec.x0.checked_sub(spec.images.first()?.load.0)?;
        (distance < images::TREE_DISTANCE).then(|| {
            let (name, is, promised) = (&spec.name, Size(distance), Size(images::TREE_DISTANCE));
            format!(
                "the memory of `{name}` is small: its device tree is {is} above the program's start, not {promised}"
            )
        })
    });
    near.collect()
}

/// Reads what a description says about its machine, before there is a device tree to check it against.
///
/// # Errors
/// The file cannot be read, or is not a description.
pub fn machine(file: &Path) -> Result<Machine, Report> {
    let text = read(file)?;
    let machine = parse(&text)
        .map(|description| description.machine)
        .and_then(|machine| system::check_possible(&machine).map(|()| machine))
        .map_err(|problem| problem.report(file, &text))?;
    Ok(Machine {
        board: machine
            .board
            .map_or_else(|| "qemu-virt".to_owned(), serde_spanned::Spanned::into_inner),
        cores: machine.cores.map_or(4, serde_spanned::Spanned::into_inner),
        memory_bytes: machine.memory.map_or(1 << 30, |memory| memory.get_ref().0),
        gic: machine.gic.map(serde_spanned::Spanned::into_inner),
    })
}

fn read(file: &Path) -> Result<String, Report> {
    std::fs::read_to_string(file)
        .map_err(|error| Report::msg(format!("{} cannot be read: {error}", file.display())))
}

/// Parses the text; an error points at the key or value that TOML or the types do not allow.
fn parse(text: &str) -> Result<Description, Problem> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        if policy_file::is_one(text) {
            let problem = Problem::new("this is a policy file, and not a description");
            let advice = "call `cargo xtask check` with the description whose `files` name it: it is checked with that, for what it may hand out and whom it may start is said there";
            return problem.help(advice);
        }
        let place = error.span().map(|span| widen(text, span));
        if let Some(problem) = place.as_ref().and_then(|place| known(text, &message, place)) {
            return problem;
        }
        let (message, advice) = match message.split_once(", expected ") {
            Some((message, expected)) => (message.to_owned(), Some(format!("expected {expected}"))),
            None => (message, None),
        };
        let problem = Problem::new(message);
        let problem = match place {
            Some(place) => problem.at(place, "here"),
            None => problem,
        };
        match advice {
            Some(advice) => problem.help(advice),
            None => problem,
        }
    })
}

/// What the parser says in its own terms, said in the description's.
fn known(text: &str, message: &str, place: &Range<usize>) -> Option<Problem> {
    let here = text.get(place.clone())?;
    let table = here.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if message.starts_with("invalid type: map, expected a sequence")
        && let Some(name) = table
    {
        let problem = Problem::new(format!("`{here}` is one table, and there can be several"));
        return Some(problem.at(place.clone(), "here").help(format!("write `[[{name}]]`")));
    }
    if message.contains("toml_private_datetime") {
        let problem = Problem::new("there is no date in a description");
        return Some(problem.at(place.clone(), "here").help("is it a text without its quotes?"));
    }
    if message == "duplicate key" {
        let problem = Problem::new(format!("`{here}` is written twice"));
        let problem = match first_of_two(text, here, place.start) {
            Some(first) => problem.at(first, "the first"),
            None => problem,
        };
        return Some(problem.at(place.clone(), "the second"));
    }
    None
}

/// Where a key stands that is written again in the same table: at the beginning of a line, or as a table of its own.
fn first_of_two(text: &str, key: &str, second: usize) -> Option<Range<usize>> {
    let before = text.get(..second)?;
    let is_header = before.rsplit('\n').next().is_some_and(|line| line.starts_with('['));
    let table = if is_header { 0 } else { before.rfind("\n[").unwrap_or(0) };
    let mut at = table;
    for line in before.get(table..)?.split_inclusive('\n') {
        let start = at + line.len() - line.trim_start_matches([' ', '\t', '[']).len();
        let behind = text.get(start..at + line.len()).and_then(|rest| rest.strip_prefix(key));
        if behind.is_some_and(|rest| rest.trim_start().starts_with(['=', ']'])) {
            return Some(start..start + key.len());
        }
        at += line.len();
    }
    None
}

/// An empty span at the end of the text points at its last character.
fn widen(text: &str, span: Range<usize>) -> Range<usize> {
    if span.is_empty() && span.start >= text.len() {
        text.len().saturating_sub(1)..text.len()
    } else if span.is_empty() {
        span.start..span.start + 1
    } else {
        span
    }
}
