//! The board's facts, read from the firmware's device tree once, before any guest exists: [`read`] makes a [`Board`].
//!
//! The tree is trusted like the firmware that made it; one that cannot be used stops the boot with a
//! [`TreeError`]. Nodes with `status` other than okay do not exist for us (with `secure=on` QEMU marks
//! its secure devices so). Addresses are translated by the `ranges` of each bus on the way down. One pass
//! over the tokens: properties come before child nodes.

mod node;
mod read;

pub use read::read;

use core::fmt;

use shikiri_abi::{CoreId, IntId, MAX_CORES, PAGE_BYTES, Pa};

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// A list of at most `N` ranges.
#[derive(Clone, Copy, Debug)]
pub struct Ranges<const N: usize> {
    list: [Range; N],
    len: usize,
}

impl<const N: usize> Ranges<N> {
    /// No range.
    const fn new() -> Self {
        Self { list: [Range { start: 0, end: 0 }; N], len: 0 }
    }

    /// Adds a range; whether there was room.
    pub fn push(&mut self, start: u64, bytes: u64) -> bool {
        let Some(slot) = self.list.get_mut(self.len) else { return false };
        *slot = Range { start, end: start.saturating_add(bytes) };
        self.len = self.len.saturating_add(1);
        true
    }

    /// The ranges.
    pub fn as_slice(&self) -> &[Range] {
        self.list.get(..self.len).unwrap_or(&[])
    }
}

/// How a secondary core is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartMethod {
    /// PSCI CPU_ON.
    Psci,
    /// A store of the entry address to this location, then SEV.
    SpinTable(Pa),
}

/// One core as the tree describes it.
#[derive(Clone, Copy, Debug)]
pub struct CoreFact {
    /// The affinity fields of MPIDR_EL1.
    pub mpidr: u64,
    /// How to start it.
    pub start: StartMethod,
}

/// The interrupt controller's frames.
#[derive(Clone, Copy, Debug)]
pub enum GicFact {
    /// GICv2 with its virtualisation frames.
    V2 {
        /// Distributor.
        gicd: Pa,
        /// CPU interface.
        gicc: Pa,
        /// Virtual interface control.
        gich: Pa,
        /// Virtual CPU interface.
        gicv: Pa,
    },
    /// GICv3.
    V3 {
        /// Distributor.
        gicd: Pa,
        /// Redistributor regions.
        gicr: Ranges<4>,
    },
}

/// The kinds of UART that EL2 has a driver for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UartKind {
    /// Arm's PL011.
    Pl011,
    /// The BCM2835's mini UART, of the Raspberry Pi.
    Mini,
}

impl UartKind {
    /// Where the registers are that are used of one at this address, and how many bytes they take: what [`fits`](Self::fits) says.
    /// The mini UART is switched on and off by the 64 bytes before its own; behind them the Pi's block has other devices.
    const fn registers(self, base: Pa) -> (Pa, u64) {
        match self {
            Self::Pl011 => (base, 0x200),
            Self::Mini => (Pa(base.0.wrapping_sub(0x40)), 0x80),
        }
    }

    /// Whether all registers that are used of one at this address are in the address's page: the first 512 bytes of a PL011, and of a
    /// mini UART, which is the second of at least 64 bytes in a block, the first too.
    const fn fits(self, base: u64) -> bool {
        let offset = base & PAGE_BYTES.wrapping_sub(1);
        match self {
            Self::Pl011 => base & 3 == 0 && offset <= PAGE_BYTES.wrapping_sub(0x200),
            Self::Mini => {
                base & 3 == 0 && offset >= 0x40 && offset <= PAGE_BYTES.wrapping_sub(0x40)
            }
        }
    }
}

/// The console UART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UartFact {
    /// What it is.
    pub kind: UartKind,
    /// Its registers.
    pub base: Pa,
    /// Its interrupt.
    pub intid: IntId,
}

/// What the tree says about the machine.
pub struct Board {
    /// The root's first `compatible` string.
    pub compatible: &'static str,
    /// RAM.
    pub ram: Ranges<16>,
    /// What firmware keeps: `/memreserve/` and `/reserved-memory`.
    pub reserved: Ranges<32>,
    /// Which of these ranges nobody may map (`no-map`), by bits.
    pub unmapped: u32,
    /// The bundle.
    pub initrd: Option<Range>,
    /// Cores by number; the first `core_count` are filled.
    pub cores: [CoreFact; MAX_CORES],
    /// How many cores there are.
    pub core_count: usize,
    /// The core that boots.
    pub boot_core: CoreId,
    /// The interrupt controller.
    pub gic: GicFact,
    /// The first pages of a GICv3's ITSs, which are only turned off.
    pub its: Ranges<4>,
    /// The console.
    pub uart: UartFact,
    /// Whether PSCI's conduit is SMC.
    pub has_psci_by_smc: bool,
    /// The BCM2835's power manager, which turns a board without PSCI off.
    pub bcm_power: Option<Pa>,
}

impl Board {
    /// Notes which core boots; `false` if it is not among them. Its number is its place in the tree, like the others'.
    pub fn boots_on(&mut self, mpidr: u64) -> bool {
        let cores = (0..).map(CoreId).zip(self.cores.iter().take(self.core_count));
        let found = cores.into_iter().find(|(_, core)| core.mpidr == mpidr);
        self.boot_core = found.map_or(CoreId(0), |(id, _)| id);
        found.is_some()
    }
}

/// Registers that are the hypervisor's alone: start and size of each range; a distributor, four regions of redistributors, four
/// ITSs, a console and a power manager at most. Ranges that are not there are empty.
pub type OwnRegisters = [(Pa, u64); 11];

/// The frames of an ITS: its control registers, and GITS_TRANSLATER's (GIC spec, IHI 0069, 12.18).
const ITS_BYTES: u64 = 0x2_0000;

impl Board {
    /// The registers that are the hypervisor's alone, so that no guest's table may lead there: the interrupt controller's with
    /// its ITSs, but for GICV's first page, the console's, and the power manager's. GICC_DIR, on the second page of GICV, is not for guests
    /// either: they could deactivate interrupts of others there (GICv2 architecture, 5.5.9). Sizes of GICv2: GIC-400 TRM, 3.2.
    #[must_use]
    pub fn own_registers(&self) -> OwnRegisters {
        let uart = self.uart.kind.registers(self.uart.base);
        let none = (Pa(0), 0);
        let power = self.bcm_power.map_or(none, |base| (base, PAGE_BYTES));
        match &self.gic {
            GicFact::V2 { gicd, gicc, gich, gicv } => {
                let deactivation = (gicv.wrapping_add(PAGE_BYTES), PAGE_BYTES);
                let (gicc, gich) = ((*gicc, 2 * PAGE_BYTES), (*gich, 2 * PAGE_BYTES));
                let gicd = (*gicd, PAGE_BYTES);
                [gicd, gicc, gich, deactivation, uart, power, none, none, none, none, none]
            }
            GicFact::V3 { gicd, gicr } => {
                let [a, b, c, d] = gicr
                    .list
                    .map(|region| (Pa(region.start), region.end.saturating_sub(region.start)));
                // Whoever has an ITS has it write where it says.
                let [e, f, g, h] = self.its.list.map(|its| {
                    let bytes = if its.start == its.end { 0 } else { ITS_BYTES };
                    (Pa(its.start), bytes)
                });
                [(*gicd, 0x1_0000), a, b, c, d, uart, power, e, f, g, h]
            }
        }
    }
}

impl Board {
    /// Whether a core's release address can be here: 8 aligned bytes of RAM that is mapped, and that the firmware keeps, so
    /// that nobody else is given them.
    #[must_use]
    pub fn can_release_at(&self, place: Pa) -> bool {
        let Some(end) = place.0.checked_add(8).filter(|end| end & 7 == 0) else { return false };
        let holds = |range: &Range| range.start <= place.0 && end <= range.end;
        let meets = |range: &Range| range.start < end && place.0 < range.end;
        let is_unmapped =
            |number| 1_u32.checked_shl(number).is_some_and(|bit| self.unmapped & bit != 0);
        let kept = self.reserved.as_slice();
        self.ram.as_slice().iter().any(holds)
            && kept.iter().any(holds)
            && !(0..).zip(kept).any(|(number, range)| is_unmapped(number) && meets(range))
    }
}

/// Why the tree cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// No flattened device tree at x0.
    NotATree,
    /// It is larger than the boot protocol allows.
    TooLarge,
    /// It lies where this image is, or in memory that the image has cleared or runs on.
    InImage,
    /// No interrupt controller that we know.
    NoGic,
    /// A GICv2 without the virtualisation frames.
    NoGich,
    /// No UART that we know as stdout.
    NoUart,
    /// No `/memory`.
    NoMemory,
    /// Memory, but not where this image lies.
    OtherMachine,
    /// No core, or more than the image serves.
    Cores,
    /// More ranges than the fixed lists hold.
    TooManyRanges,
    /// The `reg` of memory, or of a reserved region, is no list of whole entries.
    BadReg,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotATree => "x0 does not point to a device tree (FDT magic 0xd00dfeed missing)",
            Self::TooLarge => "the device tree at x0 is larger than 2 MiB (the arm64 boot protocol's limit)",
            Self::InImage => "the device tree at x0 lies in this image's memory",
            Self::NoGic => "the device tree has no GICv2 or GICv3 (arm,cortex-a15-gic, arm,gic-400, arm,gic-v3)",
            Self::NoGich => "the GICv2 has no GICH and GICV frames in its reg property (QEMU: virtualization=on)",
            Self::NoUart => "the device tree's /chosen/stdout-path names no PL011 and no mini UART",
            Self::NoMemory => "the device tree has no /memory node",
            Self::OtherMachine => "the device tree is another machine's: this image does not lie in the memory that it names",
            Self::Cores => "the device tree has no usable core, or more than 128",
            Self::TooManyRanges => "the device tree has more ranges of memory (16), reserved ones (32) or ITSs (4) than this image holds",
            Self::BadReg => "the device tree has a reg of memory, or of a reserved region, that is no list of whole entries",
        })
    }
}

#[cfg(test)]
mod tests;
