//! The board's facts, read from the firmware's device tree once, before any guest exists.
//!
//! The tree is trusted like the firmware that made it; one that cannot be used stops the boot with a
//! [`TreeError`]. Nodes with `status` other than okay do not exist for us (with `secure=on` QEMU marks
//! its secure devices so). Addresses are translated by the `ranges` of each bus on the way down.

use core::fmt;

use fdt::Fdt;
use fdt::node::FdtNode;
use shikiri_abi::{IntId, MAX_CORES, Pa};

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    /// First byte.
    pub(crate) start: u64,
    /// One past the last byte.
    pub(crate) end: u64,
}

/// A list of at most `N` ranges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranges<const N: usize> {
    list: [Range; N],
    len: usize,
}

impl<const N: usize> Ranges<N> {
    const fn new() -> Self {
        Self { list: [Range { start: 0, end: 0 }; N], len: 0 }
    }

    /// Adds a range; whether there was room.
    pub(crate) fn push(&mut self, start: u64, bytes: u64) -> bool {
        let Some(slot) = self.list.get_mut(self.len) else { return false };
        *slot = Range { start, end: start.saturating_add(bytes) };
        self.len = self.len.saturating_add(1);
        true
    }

    /// The ranges.
    pub(crate) fn as_slice(&self) -> &[Range] {
        self.list.get(..self.len).unwrap_or(&[])
    }
}

/// How a secondary core is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartMethod {
    /// PSCI CPU_ON.
    Psci,
    /// A store of the entry address to this location, then SEV.
    SpinTable(Pa),
}

/// One core as the tree describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoreFact {
    /// The affinity fields of MPIDR_EL1.
    pub(crate) mpidr: u64,
    /// How to start it.
    pub(crate) start: StartMethod,
}

/// The interrupt controller's frames.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GicFact {
    /// GICv2: distributor, CPU interface, virtual interface control, virtual CPU interface.
    V2 { gicd: Pa, gicc: Pa, gich: Pa, gicv: Pa },
    /// GICv3: distributor and redistributor regions.
    V3 { gicd: Pa, gicr: Ranges<4> },
}

/// The console UART.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UartFact {
    /// Its registers.
    pub(crate) base: Pa,
    /// Its interrupt.
    pub(crate) intid: IntId,
}

/// What the tree says about the machine.
pub(crate) struct Board {
    /// The root's first `compatible` string.
    pub(crate) compatible: &'static str,
    /// RAM.
    pub(crate) ram: Ranges<16>,
    /// What firmware keeps: `/memreserve/` and `/reserved-memory`.
    pub(crate) reserved: Ranges<32>,
    /// The bundle.
    pub(crate) initrd: Option<Range>,
    /// Cores by number; the first `core_count` are filled.
    pub(crate) cores: [CoreFact; MAX_CORES],
    /// How many cores there are.
    pub(crate) core_count: usize,
    /// The interrupt controller.
    pub(crate) gic: GicFact,
    /// The console.
    pub(crate) uart: UartFact,
    /// Whether PSCI's conduit is SMC.
    pub(crate) has_psci_by_smc: bool,
}

/// Why the tree cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TreeError {
    /// No flattened device tree at x0.
    NotATree,
    /// No interrupt controller that we know.
    NoGic,
    /// A GICv2 without the virtualisation frames.
    NoGich,
    /// No PL011 as stdout.
    NoUart,
    /// No `/memory`.
    NoMemory,
    /// No core, or more than the image serves.
    Cores,
    /// More ranges than the fixed lists hold.
    TooManyRanges,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotATree => "x0 does not point to a device tree (FDT magic 0xd00dfeed missing)",
            Self::NoGic => "the device tree has no GICv2 or GICv3 (arm,cortex-a15-gic, arm,gic-400, arm,gic-v3)",
            Self::NoGich => "the GICv2 has no GICH and GICV frames in its reg property (QEMU: virtualization=on)",
            Self::NoUart => "the device tree's /chosen/stdout-path names no PL011",
            Self::NoMemory => "the device tree has no /memory node",
            Self::Cores => "the device tree has no usable core, or more than 128",
            Self::TooManyRanges => "the device tree has more memory or reserved ranges than this image holds",
        })
    }
}

/// Address translation of the buses above a node: child address = parent address + offset.
#[derive(Clone, Copy)]
struct Bus {
    windows: [(u64, u64, u64); 8],
    len: usize,
}

impl Bus {
    /// The root: child addresses are physical.
    const ROOT: Self = Self { windows: [(0, 0, 0); 8], len: 0 };

    fn to_physical(self, address: u64) -> u64 {
        let windows = self.windows.get(..self.len).unwrap_or(&[]);
        windows
            .iter()
            .find(|(child, _, size)| address.wrapping_sub(*child) < *size)
            .map_or(address, |(child, parent, _)| parent.wrapping_add(address.wrapping_sub(*child)))
    }

    /// The bus below `node`, from its `ranges` (cells: child by the node's own, parent by `parent_cells`).
    fn below(self, node: &NodeFacts<'_>, parent_cells: usize) -> Self {
        let mut bus = Self::ROOT;
        let mut cells = Cells(node.ranges);
        while !cells.0.is_empty() {
            let (Some(child), Some(parent), Some(size)) =
                (cells.take(node.address_cells), cells.take(parent_cells), cells.take(node.size_cells))
            else {
                break;
            };
            let Some(slot) = bus.windows.get_mut(bus.len) else { break };
            *slot = (child, self.to_physical(parent), size);
            bus.len = bus.len.saturating_add(1);
        }
        bus
    }
}

/// Big-endian cells of a property.
struct Cells<'a>(&'a [u8]);

impl Cells<'_> {
    fn take(&mut self, cells: usize) -> Option<u64> {
        let mut value = 0_u64;
        for _ in 0..cells {
            let (word, rest) = self.0.split_first_chunk::<4>()?;
            value = (value << 32) | u64::from(u32::from_be_bytes(*word));
            self.0 = rest;
        }
        Some(value)
    }
}

/// One node's properties, collected in a single pass.
struct NodeFacts<'a> {
    name: &'a str,
    compatible: &'a [u8],
    reg: &'a [u8],
    ranges: &'a [u8],
    has_ranges: bool,
    interrupts: &'a [u8],
    device_type: &'a [u8],
    enable_method: &'a [u8],
    release_addr: &'a [u8],
    method: &'a [u8],
    is_okay: bool,
    address_cells: usize,
    size_cells: usize,
}

impl<'a> NodeFacts<'a> {
    fn read(node: FdtNode<'_, 'a>) -> Self {
        let mut facts = Self {
            name: node.name,
            compatible: &[],
            reg: &[],
            ranges: &[],
            has_ranges: false,
            interrupts: &[],
            device_type: &[],
            enable_method: &[],
            release_addr: &[],
            method: &[],
            is_okay: true,
            address_cells: 2,
            size_cells: 1,
        };
        for property in node.properties() {
            let value = property.value;
            match property.name {
                "compatible" => facts.compatible = value,
                "reg" => facts.reg = value,
                "ranges" => (facts.ranges, facts.has_ranges) = (value, true),
                "interrupts" => facts.interrupts = value,
                "device_type" => facts.device_type = value,
                "enable-method" => facts.enable_method = value,
                "cpu-release-addr" => facts.release_addr = value,
                "method" => facts.method = value,
                "status" => facts.is_okay = matches!(value, b"okay\0" | b"ok\0"),
                "#address-cells" => facts.address_cells = small_cell(value),
                "#size-cells" => facts.size_cells = small_cell(value),
                _ => {}
            }
        }
        facts
    }

    fn is_compatible(&self, with: &[&str]) -> bool {
        self.compatible.split(|byte| *byte == 0).any(|entry| with.iter().any(|name| name.as_bytes() == entry))
    }
}

fn small_cell(value: &[u8]) -> usize {
    Cells(value).take(1).and_then(|cells| usize::try_from(cells).ok()).unwrap_or(0).min(2)
}

const GIC_V2: &[&str] = &["arm,gic-400", "arm,cortex-a15-gic", "arm,cortex-a7-gic"];
const GIC_V3: &[&str] = &["arm,gic-v3"];
const PL011: &[&str] = &["arm,pl011"];
const NO_CORE: CoreFact = CoreFact { mpidr: 0, start: StartMethod::Psci };

/// What the walk has found so far.
struct Finding<'a> {
    ram: Ranges<16>,
    reserved: Ranges<32>,
    cores: [CoreFact; MAX_CORES],
    core_count: usize,
    gic: Option<GicFact>,
    gic_lacks_virtual: bool,
    uart: Option<UartFact>,
    stdout: &'a str,
    has_psci_by_smc: bool,
    is_full: bool,
}

/// Reads the tree; `found_uart` is told the console before anything else can be refused.
///
/// # Errors
/// The first thing that is missing, as a [`TreeError`].
pub(crate) fn read(fdt: &Fdt<'static>, found_uart: impl FnOnce(UartFact)) -> Result<Board, TreeError> {
    let root = fdt.find_node("/").ok_or(TreeError::NotATree)?;
    let facts = NodeFacts::read(root);
    let stdout = stdout_name(fdt);
    let mut finding = Finding {
        ram: Ranges::new(),
        reserved: Ranges::new(),
        cores: [NO_CORE; MAX_CORES],
        core_count: 0,
        gic: None,
        gic_lacks_virtual: false,
        uart: None,
        stdout,
        has_psci_by_smc: false,
        is_full: false,
    };
    for reservation in fdt.memory_reservations() {
        let start = u64::try_from(reservation.address().addr()).unwrap_or(0);
        finding.reserve(start, u64::try_from(reservation.size()).unwrap_or(0));
    }
    let initrd = initrd(fdt);
    for child in root.children() {
        finding.visit(child, Bus::ROOT, &facts, 0);
    }
    if let Some(uart) = finding.uart {
        found_uart(uart);
    }
    finding.finish(first_string(facts.compatible), initrd)
}

impl Finding<'_> {
    fn reserve(&mut self, start: u64, bytes: u64) {
        self.is_full |= bytes != 0 && !self.reserved.push(start, bytes);
    }

    /// One node below `parent`; buses are followed at most three deep.
    fn visit(&mut self, node: FdtNode<'_, '_>, bus: Bus, parent: &NodeFacts<'_>, depth: u32) {
        let facts = NodeFacts::read(node);
        if !facts.is_okay {
            return;
        }
        let mut reg = Cells(facts.reg);
        let cells = (parent.address_cells, parent.size_cells);
        let mut next_reg = || Some((bus.to_physical(reg.take(cells.0)?), reg.take(cells.1)?));
        if facts.device_type == b"memory\0" {
            while let Some((start, bytes)) = next_reg() {
                self.is_full |= !self.ram.push(start, bytes);
            }
        } else if facts.name == "cpus" {
            for core in node.children() {
                self.visit_core(core, facts.address_cells);
            }
        } else if facts.name == "reserved-memory" {
            self.visit_reserved(node, &facts);
        } else if facts.is_compatible(&["arm,psci-1.0", "arm,psci-0.2"]) {
            self.has_psci_by_smc = facts.method == b"smc\0";
        } else if facts.is_compatible(GIC_V3) {
            self.gic = gic_v3(next_reg);
        } else if facts.is_compatible(GIC_V2) {
            self.gic = gic_v2(next_reg);
            self.gic_lacks_virtual = self.gic.is_none();
        } else if facts.is_compatible(PL011) && self.uart_is_wanted(facts.name) {
            self.uart = next_reg().map(|(base, _)| UartFact { base: Pa(base), intid: first_spi(facts.interrupts) });
        } else if facts.has_ranges && depth < 3 && facts.device_type.is_empty() {
            let below = bus.below(&facts, parent.address_cells);
            for child in node.children() {
                self.visit(child, below, &facts, depth.saturating_add(1));
            }
        }
    }

    fn uart_is_wanted(&self, name: &str) -> bool {
        if self.stdout.is_empty() { self.uart.is_none() } else { name == self.stdout }
    }

    fn visit_core(&mut self, node: FdtNode<'_, '_>, address_cells: usize) {
        let facts = NodeFacts::read(node);
        if facts.device_type != b"cpu\0" || !facts.is_okay {
            return;
        }
        let Some(mpidr) = Cells(facts.reg).take(address_cells) else { return };
        let start = match Cells(facts.release_addr).take(2) {
            Some(address) if facts.enable_method == b"spin-table\0" => StartMethod::SpinTable(Pa(address)),
            _ => StartMethod::Psci,
        };
        match self.cores.get_mut(self.core_count) {
            Some(slot) => *slot = CoreFact { mpidr, start },
            None => self.is_full = true,
        }
        self.core_count = self.core_count.saturating_add(1);
    }

    fn visit_reserved(&mut self, node: FdtNode<'_, '_>, facts: &NodeFacts<'_>) {
        for child in node.children() {
            let child = NodeFacts::read(child);
            let mut reg = Cells(child.reg);
            while let (Some(start), Some(bytes)) = (reg.take(facts.address_cells), reg.take(facts.size_cells)) {
                self.reserve(start, bytes);
            }
        }
    }

    fn finish(self, compatible: &'static str, initrd: Option<Range>) -> Result<Board, TreeError> {
        if self.is_full {
            return Err(TreeError::TooManyRanges);
        }
        if self.ram.as_slice().is_empty() {
            return Err(TreeError::NoMemory);
        }
        if self.core_count == 0 || self.core_count > MAX_CORES {
            return Err(TreeError::Cores);
        }
        let missing_gic = if self.gic_lacks_virtual { TreeError::NoGich } else { TreeError::NoGic };
        Ok(Board {
            compatible,
            ram: self.ram,
            reserved: self.reserved,
            initrd,
            cores: self.cores,
            core_count: self.core_count,
            gic: self.gic.ok_or(missing_gic)?,
            uart: self.uart.ok_or(TreeError::NoUart)?,
            has_psci_by_smc: self.has_psci_by_smc,
        })
    }
}

fn gic_v2(mut next: impl FnMut() -> Option<(u64, u64)>) -> Option<GicFact> {
    let (gicd, gicc, gich, gicv) = (next()?.0, next()?.0, next()?.0, next()?.0);
    Some(GicFact::V2 { gicd: Pa(gicd), gicc: Pa(gicc), gich: Pa(gich), gicv: Pa(gicv) })
}

/// Regions until the list ends; GICC, GICH and GICV frames for legacy operation may follow and are no
/// redistributors: their sizes are below one redistributor's 128 KiB.
fn gic_v3(mut next: impl FnMut() -> Option<(u64, u64)>) -> Option<GicFact> {
    let (gicd, _) = next()?;
    let mut gicr = Ranges::new();
    while let Some((start, bytes)) = next() {
        if bytes >= 0x2_0000 && !gicr.push(start, bytes) {
            break;
        }
    }
    Some(GicFact::V3 { gicd: Pa(gicd), gicr })
}

/// `interrupts = <0 n flags>`: SPI n.
fn first_spi(interrupts: &[u8]) -> IntId {
    let mut cells = Cells(interrupts);
    let (kind, number) = (cells.take(1), cells.take(1));
    match (kind, number.and_then(|n| u16::try_from(n).ok())) {
        (Some(0), Some(n)) => IntId(n.saturating_add(IntId::FIRST_SPI.0)),
        _ => IntId::SPURIOUS,
    }
}

/// The last path element of `/chosen/stdout-path` (an alias is resolved), options behind `:` left out.
fn stdout_name(fdt: &Fdt<'static>) -> &'static str {
    let Some(path) = fdt.find_node("/chosen").and_then(|chosen| chosen.property("stdout-path")) else { return "" };
    let path = path.value.split(|byte| *byte == 0 || *byte == b':').next().unwrap_or(&[]);
    let Ok(path) = core::str::from_utf8(path) else { return "" };
    let full = if path.starts_with('/') {
        path
    } else {
        fdt.find_node("/aliases")
            .and_then(|aliases| aliases.property(path))
            .map_or("", |alias| first_string(alias.value))
    };
    full.rsplit('/').next().unwrap_or("")
}

fn first_string(value: &'static [u8]) -> &'static str {
    value.split(|byte| *byte == 0).next().and_then(|text| core::str::from_utf8(text).ok()).unwrap_or("")
}

fn initrd(fdt: &Fdt<'static>) -> Option<Range> {
    let chosen = fdt.find_node("/chosen")?;
    let cell = |name| chosen.property(name).and_then(|property| Cells(property.value).take(property.value.len() >> 2));
    let (start, end) = (cell("linux,initrd-start")?, cell("linux,initrd-end")?);
    (start < end).then_some(Range { start, end })
}
