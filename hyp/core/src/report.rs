//! The report about an unexpected guest exit: everything that one asks first, on one screen.
//!
//! [`ExitReport`] is plain data that EL2 fills in from the vCPU's frame, the partition's stage-2 tables and
//! the frame ledger; it displays itself. The operator's `dump` shows the same of a living partition. The
//! hypervisor decides nothing by it.

mod ring;
mod syndrome;

pub use ring::{ExitRecord, ExitRing, KEPT_EXITS};
pub use syndrome::{FaultStatus, Syndrome, class_name};

use core::fmt;
use shikiri_abi::{CoreId, Ipa, PartitionId, VcpuIndex};
use shikiri_stage2::{Access, Attributes, Execute, Memory, Walk, WalkEnd};

/// A vCPU's registers as a report shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// x0 to x30.
    pub x: [u64; 31],
    /// Where it was: `ELR_EL2`.
    pub pc: u64,
    /// `SPSR_EL2`.
    pub spsr: u64,
    /// `SP_EL0`.
    pub sp_el0: u64,
    /// `SP_EL1`.
    pub sp_el1: u64,
    /// `ELR_EL1`: where the guest's last exception came from.
    pub elr_el1: u64,
    /// `ESR_EL1`: why.
    pub esr_el1: u64,
    /// `FAR_EL1`.
    pub far_el1: u64,
    /// `VBAR_EL1`.
    pub vbar_el1: u64,
    /// `SCTLR_EL1`.
    pub sctlr_el1: u64,
    /// `TTBR0_EL1`.
    pub ttbr0_el1: u64,
    /// `TTBR1_EL1`.
    pub ttbr1_el1: u64,
}

/// The address that an exit was about.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The virtual address, `FAR_EL2`.
    pub far: u64,
    /// The intermediate physical address.
    pub ipa: Ipa,
    /// What the partition's stage-2 tables say about it.
    pub walk: Walk,
    /// Who owns it: `RAM of linux`, `device /pl031@9010000 of nobody`, `nothing there`.
    pub owner: &'a dyn fmt::Display,
}

/// Everything about one exit.
#[derive(Clone, Copy)]
pub struct ExitReport<'a> {
    /// The partition's name.
    pub partition: &'a str,
    /// Its id.
    pub id: PartitionId,
    /// The vCPU.
    pub vcpu: VcpuIndex,
    /// The core that it ran on; `None` if it runs on none.
    pub core: Option<CoreId>,
    /// What has happened, as the rest of "partition X …": `ended: unexpected exit`, `dump`.
    pub what: &'a dyn fmt::Display,
    /// The syndrome, `ESR_EL2`; `None` in a dump.
    pub syndrome: Option<Syndrome>,
    /// The registers.
    pub registers: &'a Registers,
    /// The address; `None` if the exit was not about one.
    pub place: Option<Place<'a>>,
    /// The vCPU's last exits.
    pub exits: &'a ExitRing,
    /// The counter now.
    pub now: u64,
    /// Counter ticks per second.
    pub ticks_per_second: u64,
    /// Who and why alone: see [`Lifecycle::reports_in_full`](crate::lifecycle::Lifecycle::reports_in_full).
    pub is_brief: bool,
}

impl fmt::Display for ExitReport<'_> {
    /// Writes at most 42 lines, each ended with LF; two if it is brief.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        if self.is_brief {
            return Ok(());
        }
        write_registers(self.registers, f)?;
        if let Some(place) = &self.place {
            write_place(place, f)?;
        }
        self.exits(f)
    }
}

impl ExitReport<'_> {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shikiri: partition {} (id {}) {}", self.partition, self.id.0, self.what)?;
        write!(f, "; vCPU {}", self.vcpu.0)?;
        match self.core {
            Some(core) => writeln!(f, " on core {}", core.0)?,
            None => writeln!(f, " on no core")?,
        }
        if let Some(syndrome) = self.syndrome {
            writeln!(f, "  why   esr {:016x}  {syndrome}", syndrome.0)?;
        }
        Ok(())
    }

    fn exits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.exits.count();
        let kept = self.exits.newest_first().count();
        writeln!(f, "  last {kept} of {count} exits, newest first")?;
        for record in self.exits.newest_first() {
            let age = microseconds(self.now.wrapping_sub(record.time), self.ticks_per_second);
            write!(f, "  {age:>11} us ago  pc {:016x}  ", record.pc)?;
            writeln!(f, "{:012x}  {:#}", record.address, record.syndrome())?;
        }
        Ok(())
    }
}

fn write_registers(registers: &Registers, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "  at    pc  {:016x}  {}", registers.pc, ProcessorState(registers.spsr))?;
    for (row, values) in (0_u32..).zip(registers.x.chunks(4)) {
        for (column, value) in (0_u32..).zip(values) {
            let number = row.wrapping_mul(4).wrapping_add(column);
            let pad = if number < 10 { " " } else { "" };
            write!(f, "  {pad}x{number} {value:016x}")?;
        }
        writeln!(f)?;
    }
    let r = registers;
    writeln!(f, "  sp_el0 {:016x}  sp_el1 {:016x}  vbar  {:016x}", r.sp_el0, r.sp_el1, r.vbar_el1)?;
    writeln!(
        f,
        "  sctlr  {:016x}  ttbr0  {:016x}  ttbr1 {:016x}",
        r.sctlr_el1, r.ttbr0_el1, r.ttbr1_el1
    )?;
    writeln!(
        f,
        "  its own last exception: elr {:016x}  far {:016x}  {}",
        r.elr_el1,
        r.far_el1,
        Own(r.esr_el1)
    )
}

/// The syndrome of the guest's own last exception: none while the register is as it was at its start.
struct Own(u64);

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("none") } else { write!(f, "{}", Syndrome(self.0)) }
    }
}

fn write_place(place: &Place<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "  about far {:016x}  {}  {}", place.far, place.ipa, place.owner)?;
    for step in place.walk.steps.iter().flatten() {
        let level = step.level.number();
        writeln!(f, "        stage 2 level {level}: [{}] = {:016x}", step.at, step.descriptor)?;
    }
    match place.walk.end {
        WalkEnd::Leaf(leaf) => {
            let pa = leaf.translate(place.ipa);
            writeln!(f, "        mapped to {pa}: {}", Words(leaf.attributes))
        }
        WalkEnd::Hole(level) => {
            writeln!(f, "        not mapped: nothing at level {}", level.number())
        }
        WalkEnd::OutOfRange => writeln!(f, "        not mapped: outside the IPA space"),
    }
}

/// A leaf's attributes in words.
struct Words(Attributes);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.memory {
            Memory::Normal => "normal memory",
            Memory::Device => "device memory",
        })?;
        f.write_str(match self.0.access {
            Access::ReadOnly => ", read only",
            Access::ReadWrite => ", read and write",
        })?;
        f.write_str(match self.0.execute {
            Execute::Allowed => ", execute",
            Execute::Never => ", no execute",
        })
    }
}

/// A saved processor state, `SPSR_EL2`, in words (Arm ARM C5.2.20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorState(pub u64);

impl fmt::Display for ProcessorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.0 & 0x1f {
            0x00 => "EL0",
            0x04 => "EL1 with SP_EL0",
            0x05 => "EL1",
            0x08 => "EL2 with SP_EL0",
            0x09 => "EL2",
            mode if mode & 0x10 != 0 => "AArch32",
            _ => "reserved mode",
        };
        write!(f, "{mode}, masked ")?;
        flags(f, self.0, &[(9, 'D'), (8, 'A'), (7, 'I'), (6, 'F')])?;
        f.write_str(", flags ")?;
        flags(f, self.0, &[(31, 'N'), (30, 'Z'), (29, 'C'), (28, 'V')])
    }
}

fn flags(f: &mut fmt::Formatter<'_>, value: u64, names: &[(u32, char)]) -> fmt::Result {
    for (bit, name) in names {
        let is_set = value.wrapping_shr(*bit) & 1 != 0;
        fmt::Write::write_char(f, if is_set { *name } else { '-' })?;
    }
    Ok(())
}

/// Ticks in microseconds; a clock that is not known counts as 1 MHz.
fn microseconds(ticks: u64, ticks_per_second: u64) -> u64 {
    // In two parts, each of which fits 64 bits.
    let Some(seconds) = ticks.checked_div(ticks_per_second) else { return ticks };
    let rest = ticks.wrapping_sub(seconds.wrapping_mul(ticks_per_second)).saturating_mul(1_000_000);
    let micros = rest.checked_div(ticks_per_second).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(micros)
}

#[cfg(test)]
mod tests;
