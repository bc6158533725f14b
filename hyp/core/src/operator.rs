//! The operator console: a few commands to look at the machine and to start and stop partitions.
//!
//! A [`LineEditor`] makes lines of typed bytes, [`Command::parse`] understands them, and [`answer`] writes
//! what can be shown at once or says which [`Request`] the caller has to carry out. What is shown of each
//! partition may be longer than the console's buffer: it is a [`Rest`], written piece by piece. Data comes
//! through [`MachineView`]: copies, so that no partition's lock is held while text is written.

mod command;
mod editor;

pub use command::{Command, CommandError};
pub use editor::{LINE_BYTES, Line, LineEditor, PROMPT};

use crate::account;
use crate::console::Name;
use crate::invariants::Audit;
use crate::lifecycle::EndCause;
use core::fmt;
use shikiri_abi::{CoreSet, PageCount, PartitionId, Resource};

/// A partition as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRow {
    /// Its name.
    pub name: Name,
    /// The id of its present or last run; `None` if it never ran.
    pub id: Option<PartitionId>,
    /// Its state in one word: `active`, `ended`, …
    pub state: &'static str,
    /// Why it ended last.
    pub end: Option<EndCause>,
    /// It has ended, and its restart policy starts it again.
    pub will_restart: bool,
    /// How many vCPUs it has.
    pub vcpus: u8,
    /// Where they may run.
    pub cores: CoreSet,
    /// The memory that it has now.
    pub memory: PageCount,
    /// How often it was started.
    pub starts: u32,
}

/// What the operator's commands can look at.
pub trait MachineView {
    /// How many partitions the description has.
    fn partition_count(&self) -> usize;
    /// A partition by its place in the description.
    fn partition(&self, index: usize) -> Option<PartitionRow>;
    /// A line of a partition's account.
    fn account(&self, index: usize, resource: Resource) -> Option<account::Line>;
    /// Compares all books on frames, at once: takes time in proportion to the machine's RAM.
    fn audit(&self) -> Audit;
    /// Hands the boot log over, piece by piece.
    fn boot_log(&self, write: &mut dyn FnMut(&[u8]));
}

/// The most that a partition has in an answer, in bytes.
pub const PIECE_BYTES: usize = 1024;
/// How many partitions [`Rest::go_on`] shows at once.
const PIECES: usize = 5;
/// So much room there has to be for [`Rest::go_on`]; and before the prompt, so that whatever is asked next is answered without loss.
pub const GO_ON_BYTES: usize = PIECES * PIECE_BYTES;

/// What has still to be written of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    table: Table,
    /// The next partition's place.
    next: u8,
}

/// What is shown partition by partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Table {
    /// Zero: see [`Rest::NOTHING`].
    Nothing = 0,
    List = 1,
    Accounts = 2,
}

impl Rest {
    /// The answer is complete. All zero: a static one costs nothing in the image.
    pub const NOTHING: Self = Self { table: Table::Nothing, next: 0 };

    const fn all_of(table: Table) -> Self {
        Self { table, next: 0 }
    }

    /// Goes on with the answer, for which there is room, and says what is left.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn go_on(
        mut self,
        view: &(impl MachineView + ?Sized),
        out: &mut impl fmt::Write,
    ) -> Result<Self, fmt::Error> {
        // Not with the last partition: the prompt waits for room, too.
        if usize::from(self.next) >= view.partition_count() {
            return Ok(Self::NOTHING);
        }
        for _ in 0..PIECES {
            let index = usize::from(self.next);
            match self.table {
                Table::Nothing => {}
                Table::List => list(index, view, out)?,
                Table::Accounts => accounts(index, view, out)?,
            }
            self.next = self.next.saturating_add(1);
        }
        Ok(self)
    }
}

/// What the caller has to do after [`answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Nothing: show the prompt.
    Done,
    /// Call [`Rest::go_on`] when there is room for [`GO_ON_BYTES`], until nothing is left; then show the prompt.
    More(Rest),
    /// End this partition.
    Stop(usize),
    /// Start this partition.
    Start(usize),
    /// End this partition and start it again.
    Restart(usize),
    /// Write an [`ExitReport`](crate::report::ExitReport) for each vCPU of this partition.
    Dump(usize),
    /// Move the console's focus to this partition.
    Focus(usize),
    /// Power the machine off.
    Off,
}

/// Carries out a line: writes the answer, or returns what remains to be done.
///
/// # Errors
/// Those of `out`.
pub fn answer(
    line: &str,
    view: &(impl MachineView + ?Sized),
    out: &mut impl fmt::Write,
) -> Result<Request, fmt::Error> {
    let command = match Command::parse(line, view) {
        Ok(command) => command,
        Err(error) => {
            error.write(view, out)?;
            return Ok(Request::Done);
        }
    };
    match command {
        Command::Nothing => {}
        Command::Help => help(out)?,
        Command::List => return Ok(Request::More(Rest::all_of(Table::List))),
        Command::Accounts(Some(index)) => accounts(index, view, out)?,
        Command::Accounts(None) => return Ok(Request::More(Rest::all_of(Table::Accounts))),
        Command::Audit => audit(view, out)?,
        Command::Log => log(view, out)?,
        Command::Stop(index) => return Ok(Request::Stop(index)),
        Command::Start(index) => return Ok(Request::Start(index)),
        Command::Restart(index) => return Ok(Request::Restart(index)),
        Command::Dump(index) => return Ok(Request::Dump(index)),
        Command::Focus(index) => return Ok(Request::Focus(index)),
        Command::Off => return Ok(Request::Off),
    }
    Ok(Request::Done)
}

fn help(out: &mut impl fmt::Write) -> fmt::Result {
    for entry in command::HELP {
        writeln!(out, "  {:<8} {}  {}", entry.word, entry.argument.text(), entry.text)?;
    }
    Ok(())
}

fn list(
    index: usize,
    view: &(impl MachineView + ?Sized),
    out: &mut impl fmt::Write,
) -> fmt::Result {
    if index == 0 {
        out.write_str(
            "  name               id state    vCPUs    memory   starts  cores  last end\n",
        )?;
    }
    let Some(row) = view.partition(index) else { return Ok(()) };
    write!(out, "  {:<16} ", row.name)?;
    match row.id {
        Some(id) => write!(out, "{:>4}", id.0)?,
        None => out.write_str("   -")?,
    }
    write!(out, " {:<8} {:>5} ", row.state, row.vcpus)?;
    amount(out, 9, Resource::Memory, row.memory.0)?;
    write!(out, " {:>8}  {}", row.starts, row.cores)?;
    if let Some(end) = row.end {
        write!(out, "  {}", end.word())?;
        if let EndCause::Code(code) = end {
            write!(out, " {code}")?;
        }
    }
    out.write_str(if row.will_restart { ", restarts\n" } else { "\n" })
}

fn accounts(
    index: usize,
    view: &(impl MachineView + ?Sized),
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let Some(row) = view.partition(index) else { return Ok(()) };
    writeln!(out, "  {:<19}        used   high water        limit", row.name)?;
    for resource in Resource::ALL {
        let Some(line) = view.account(index, resource) else { continue };
        write!(out, "    {:<17}", resource.name())?;
        amount(out, 12, resource, line.used)?;
        amount(out, 13, resource, line.high)?;
        match line.limit {
            Some(limit) => amount(out, 13, resource, limit)?,
            None => out.write_str("         none")?,
        }
        out.write_char('\n')?;
    }
    Ok(())
}

/// The counts of a clean audit in one line, or the first thing that is wrong, with its partition's name.
fn audit(view: &(impl MachineView + ?Sized), out: &mut impl fmt::Write) -> fmt::Result {
    let audit = view.audit();
    if let Some(violation) = audit.violation {
        out.write_str("AUDIT FAILED: ")?;
        let index = violation.slot().map(|slot| usize::from(slot.0));
        match index.and_then(|index| view.partition(index)) {
            Some(row) => write!(out, "partition {}: {violation}", row.name)?,
            None => write!(out, "{violation}")?,
        }
        return writeln!(out, "\nthis is a fault of the hypervisor: please report it");
    }
    let Audit { complete, ended, changing, held, free, .. } = audit;
    writeln!(out, "ledger, stage-2 tables and accounts agree")?;
    writeln!(out, "  registers: the hypervisor's own are in no table")?;
    writeln!(out, "  partitions: {complete} compared, {ended} ended and without frames")?;
    if changing > 0 {
        writeln!(out, "  partitions: {changing} being built or taken apart, compared in part")?;
    }
    write!(out, "  frames: {} held", held.0)?;
    match free {
        Some(free) => writeln!(out, ", {} free in pool and ledger", free.0),
        None => writeln!(out, "; the free ones could not be compared now: ask again"),
    }
}

fn log(view: &(impl MachineView + ?Sized), out: &mut impl fmt::Write) -> fmt::Result {
    let mut result = Ok(());
    view.boot_log(&mut |bytes| {
        for byte in bytes {
            // The log is ASCII; a cut first line is shown as it is.
            let shown = if byte.is_ascii_graphic() || b" \n".contains(byte) { *byte } else { b'?' };
            result = result.and_then(|()| out.write_char(char::from(shown)));
        }
    });
    result
}

/// Writes an amount of a resource with its unit, right-aligned in `width` columns.
fn amount(out: &mut impl fmt::Write, width: usize, of: Resource, value: u64) -> fmt::Result {
    let (value, unit) = match of {
        Resource::CoreTime | Resource::BusShare => (value, " ppm"),
        Resource::IpaSpace | Resource::Memory | Resource::ManagementMemory => bytes(value),
        Resource::EventPorts | Resource::Devices | Resource::CacheShare => (value, ""),
    };
    let width = width.saturating_sub(unit.len());
    write!(out, "{value:>width$}{unit}")
}

/// Pages in the largest unit that shows them exactly.
fn bytes(pages: u64) -> (u64, &'static str) {
    match pages {
        pages if pages != 0 && pages.trailing_zeros() >= 18 => (pages >> 18, " GiB"),
        pages if pages != 0 && pages.trailing_zeros() >= 8 => (pages >> 8, " MiB"),
        pages => (pages.saturating_mul(4), " KiB"),
    }
}

#[cfg(test)]
mod tests;
