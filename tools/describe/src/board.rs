//! The machine, as its own device tree tells it.

use std::collections::BTreeMap;

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode};
use dtoolkit::{Node as _, Property as _};
use shikiri_boards::BOARDS;
use shikiri_config::GicVersion;

use crate::problem::Problem;

/// Devices that have no way to write memory by themselves. All others count as bus masters, because a wrong guess here
/// would hand the machine to a guest.
const REGISTERS_ONLY: &[&str] = &[
    "arm,pl010",
    "arm,pl011",
    "arm,pl031",
    "arm,pl061",
    "arm,sp804",
    "arm,sp805",
    "brcm,bcm2711-gpio",
    "brcm,bcm2711-thermal",
    "brcm,bcm2835-aux-uart",
    "brcm,bcm2835-i2c",
    "brcm,bcm2835-rng",
    "brcm,bcm2835-spi",
    "cfi-flash",
];

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// First byte.
    pub(crate) start: u64,
    /// Size.
    pub(crate) bytes: u64,
}

impl Range {
    /// One past the last byte.
    pub(crate) fn end(self) -> u64 {
        self.start.saturating_add(self.bytes)
    }
}

/// What the hypervisor needs to know about the machine.
#[derive(Debug)]
pub(crate) struct Board {
    /// The first `compatible` of the root.
    pub(crate) compatible: String,
    /// Number of cores.
    pub(crate) cores: u32,
    /// RAM.
    pub(crate) memory: Vec<Range>,
    /// The GIC.
    pub(crate) gic: GicVersion,
    /// Every enabled node with registers, by its path.
    pub(crate) devices: BTreeMap<String, BoardDevice>,
    /// Memory that the firmware keeps (`/memreserve/`).
    pub(crate) reserved: Vec<Range>,
    /// Every node, for what devices refer to.
    pub(crate) tree: DeviceTree,
}

/// A device of the board.
#[derive(Debug)]
pub(crate) struct BoardDevice {
    /// Its register regions.
    pub(crate) regions: Vec<Range>,
    /// Its interrupts, or why they cannot be passed on.
    pub(crate) interrupts: Result<Vec<Line>, String>,
    /// Whether it may write memory by itself.
    pub(crate) may_master: bool,
    /// The memory that it reaches by itself, if its bus or itself says so.
    pub(crate) reach: Option<Vec<Window>>,
    /// What its bus leads to, for the guest's tree.
    pub(crate) bus_reach: Option<Vec<Window>>,
    /// What the hypervisor needs it for.
    pub(crate) kept_for: Option<&'static str>,
    /// The whole board is coherent with device accesses.
    pub(crate) coherent: bool,
    /// Its node.
    pub(crate) node: DeviceTreeNode,
}

/// A window between two address spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The address below: a device's own.
    pub(crate) own: u64,
    /// The address above: the cores'.
    pub(crate) above: u64,
    /// Its size.
    pub(crate) bytes: u64,
}

/// An interrupt of a device: an SPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The number as a device tree writes it; INTID = 32 + this.
    pub(crate) spi: u16,
    /// The flags as a device tree writes them.
    pub(crate) flags: u32,
}

impl Line {
    /// Edge-triggered (GIC binding, third cell: 1 rising, 2 falling).
    pub(crate) fn is_edge(self) -> bool {
        self.flags & 3 != 0
    }
}

impl Board {
    /// Reads the board's device tree.
    pub(crate) fn read(dtb: &[u8]) -> Result<Self, Problem> {
        let fdt = Fdt::new(dtb).map_err(|error| {
            Problem::new(format!("the board's device tree is damaged: {error}"))
        })?;
        let tree = DeviceTree::from_fdt(&fdt);
        let compatible = first_string(&tree.root, "compatible")
            .ok_or_else(|| Problem::new("the board's device tree has no `compatible`"))?;
        let gic_node =
            Walk::new(&tree).nodes.into_iter().find(|found| gic_version(found.node).is_some());
        let (gic_path, gic) = gic_node
            .and_then(|found| Some((found.path, gic_version(found.node)?)))
            .ok_or_else(|| Problem::new("the board's device tree has no GIC that is known here"))?;
        let mut board = Self {
            compatible,
            cores: cores(&tree),
            memory: Vec::new(),
            gic,
            devices: BTreeMap::new(),
            reserved: Vec::new(),
            tree,
        };
        board.fill(&gic_path);
        if board.memory.is_empty() || board.cores == 0 {
            return Err(Problem::new("the board's device tree has no memory or no cores"));
        }
        Ok(board)
    }

    /// Collects memory and devices.
    fn fill(&mut self, gic_path: &str) {
        let console = self.console_path();
        let coherent = self.tree.root.property("dma-coherent").is_some();
        let walk = Walk::new(&self.tree);
        let mut memory = Vec::new();
        let mut devices = BTreeMap::new();
        for found in &walk.nodes {
            if first_string(found.node, "device_type").as_deref() == Some("memory") {
                memory.extend_from_slice(&found.regions);
                continue;
            }
            if found.regions.is_empty() {
                continue;
            }
            let device = BoardDevice {
                regions: found.regions.clone(),
                interrupts: lines(found.node, found.parent_phandle, walk.phandle(gic_path)),
                may_master: may_master(found.node),
                reach: found.reach.clone(),
                bus_reach: found.bus_reach.clone(),
                kept_for: kept_for(found, gic_path, console.as_deref()),
                coherent,
                node: found.node.clone(),
            };
            devices.insert(found.path.clone(), device);
        }
        memory.sort_by_key(|range| range.start);
        let reservations = &self.tree.memory_reservations;
        self.reserved =
            reservations.iter().map(|r| Range { start: r.address(), bytes: r.size() }).collect();
        self.memory = memory;
        self.devices = devices;
    }

    /// The path of the UART that the hypervisor uses: `/chosen/stdout-path`, aliases resolved, else `serial0`.
    fn console_path(&self) -> Option<String> {
        let chosen = self.tree.find_node("/chosen");
        let path = chosen.and_then(|chosen| first_string(chosen, "stdout-path"));
        let path = path.as_deref().unwrap_or("serial0").split(':').next()?.to_owned();
        if path.starts_with('/') {
            return Some(path);
        }
        first_string(self.tree.find_node("/aliases")?, &path)
    }

    /// The device of the hypervisor that has this interrupt.
    pub(crate) fn keeper_of(&self, spi: u16) -> Option<&str> {
        let kept = self.devices.iter().filter(|(_, device)| device.kept_for.is_some());
        let has = |device: &BoardDevice| {
            device.interrupts.as_ref().is_ok_and(|lines| lines.iter().any(|line| line.spi == spi))
        };
        kept.into_iter().find(|(_, device)| has(device)).map(|(path, _)| path.as_str())
    }

    /// The name of the board's folder.
    pub(crate) fn name(&self) -> Option<&'static str> {
        BOARDS.iter().find(|board| board.compatible == self.compatible).map(|board| board.folder)
    }

    /// All of the RAM.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.iter().map(|range| range.bytes).sum()
    }

    /// The RAM that the firmware keeps; what is kept twice counts twice.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let nodes = self.devices.values().filter(|device| device.kept_for == Some(KEPT_MEMORY));
        let kept = nodes.flat_map(|device| &device.regions).chain(&self.reserved);
        let inside = |range: &Range, ram: &Range| {
            range.end().min(ram.end()).saturating_sub(range.start.max(ram.start))
        };
        kept.flat_map(|range| self.memory.iter().map(|ram| inside(range, ram))).sum()
    }
}

/// A node with its path and translated registers.
struct Found<'a> {
    path: String,
    node: &'a DeviceTreeNode,
    regions: Vec<Range>,
    /// What it leads to itself, or else its bus.
    reach: Option<Vec<Window>>,
    /// What the bus that it is on leads to.
    bus_reach: Option<Vec<Window>>,
    /// The interrupt parent that it inherits.
    parent_phandle: Option<u32>,
}

/// All enabled nodes of a tree.
struct Walk<'a> {
    nodes: Vec<Found<'a>>,
}

/// What a node's children need from it.
#[derive(Clone)]
struct Bus {
    path: String,
    address_cells: usize,
    size_cells: usize,
    /// From its addresses to the cores'; `None` = same addresses.
    windows: Option<Vec<Window>>,
    /// Whether registers below are CPU addresses at all.
    is_mapped: bool,
    /// `dma-ranges`, from a device's addresses to the cores'; `None` = same addresses, all of them.
    reach: Option<Vec<Window>>,
    interrupt_parent: Option<u32>,
}

impl<'a> Walk<'a> {
    fn new(tree: &'a DeviceTree) -> Self {
        let bus = Bus {
            path: String::new(),
            address_cells: cell_count(&tree.root, "#address-cells", 2),
            size_cells: cell_count(&tree.root, "#size-cells", 1),
            windows: None,
            is_mapped: true,
            reach: None,
            interrupt_parent: cells(&tree.root, "interrupt-parent").first().copied(),
        };
        let mut walk = Self { nodes: Vec::new() };
        for child in tree.root.children() {
            walk.visit(child, &bus);
        }
        walk
    }

    fn visit(&mut self, node: &'a DeviceTreeNode, bus: &Bus) {
        if !is_enabled(node) {
            return;
        }
        let path = format!("{}/{}", bus.path, node.name());
        let regions = if bus.is_mapped { registers(node, bus) } else { Vec::new() };
        let own_parent = cells(node, "interrupt-parent").first().copied();
        let inner = inner_bus(node, bus, &path, own_parent.or(bus.interrupt_parent));
        let (reach, bus_reach) = (inner.reach.clone(), bus.reach.clone());
        let parent_phandle = inner.interrupt_parent;
        self.nodes.push(Found { path, node, regions, reach, bus_reach, parent_phandle });
        for child in node.children() {
            self.visit(child, &inner);
        }
    }

    fn phandle(&self, path: &str) -> Option<u32> {
        let found = self.nodes.iter().find(|found| found.path == path)?;
        cells(found.node, "phandle").first().copied()
    }
}

fn inner_bus(node: &DeviceTreeNode, bus: &Bus, path: &str, interrupt_parent: Option<u32>) -> Bus {
    let address_cells = cell_count(node, "#address-cells", 2);
    let size_cells = cell_count(node, "#size-cells", 1);
    let ranges = node.property("ranges").map(|property| words(property.value()));
    let row_cells = address_cells + bus.address_cells + size_cells;
    let rows = |all: &[u32]| -> Vec<Window> {
        let rows = all.chunks_exact(row_cells).filter_map(|row| {
            let (child, rest) = row.split_at(address_cells);
            let (parent, size) = rest.split_at(bus.address_cells);
            // The first of three cells says which space of PCI's it is (PCI Bus Binding, 2.2.1.1).
            let child = if address_cells == 3 { child.get(1..)? } else { child };
            Some(Window { own: join(child)?, above: join(parent)?, bytes: join(size)? })
        });
        rows.collect()
    };
    let is_list = |all: &&Vec<u32>| !all.is_empty() && row_cells != 0;
    let windows = ranges.as_ref().filter(is_list).map(|all| {
        let up = |row: Window| Some(Window { above: translate(bus, row.above)?, ..row });
        rows(all).into_iter().filter_map(up).collect()
    });
    let dma = node.property("dma-ranges").map(|property| words(property.value()));
    let reach = match (dma.as_ref().filter(is_list), &bus.reach) {
        (Some(all), None) => Some(rows(all)),
        (Some(all), Some(above)) => Some(through(&rows(all), above)),
        (None, above) => above.clone(),
    };
    let is_mapped = bus.is_mapped && ranges.is_some();
    let windows =
        if ranges.as_ref().is_some_and(Vec::is_empty) { bus.windows.clone() } else { windows };
    Bus {
        path: path.to_owned(),
        address_cells,
        size_cells,
        windows,
        is_mapped,
        reach,
        interrupt_parent,
    }
}

/// What is left of these windows above, where the next bus has its own: the parts that both have.
fn through(below: &[Window], above: &[Window]) -> Vec<Window> {
    let both = |low: &Window, high: &Window| {
        let start = low.above.max(high.own);
        let end = low.above.saturating_add(low.bytes).min(high.own.saturating_add(high.bytes));
        (start < end).then(|| Window {
            own: low.own.saturating_add(start - low.above),
            above: high.above.saturating_add(start - high.own),
            bytes: end - start,
        })
    };
    below.iter().flat_map(|low| above.iter().filter_map(move |high| both(low, high))).collect()
}

/// From a bus address to the CPU's.
fn translate(bus: &Bus, address: u64) -> Option<u64> {
    match &bus.windows {
        None => Some(address),
        Some(windows) => windows.iter().find_map(|window| {
            let offset = address.checked_sub(window.own)?;
            (offset < window.bytes).then(|| window.above.checked_add(offset))?
        }),
    }
}

/// A node's `reg` as CPU addresses; pairs that lead nowhere are left out.
fn registers(node: &DeviceTreeNode, bus: &Bus) -> Vec<Range> {
    if bus.size_cells == 0 || bus.address_cells == 0 {
        return Vec::new();
    }
    cells(node, "reg")
        .chunks_exact(bus.address_cells + bus.size_cells)
        .filter_map(|pair| {
            let (address, size) = pair.split_at(bus.address_cells);
            let bytes = join(size)?;
            let start = translate(bus, join(address)?)?;
            (bytes != 0).then_some(Range { start, bytes })
        })
        .collect()
}

/// Big-endian words of a property's value.
fn words(value: &[u8]) -> Vec<u32> {
    value.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect()
}

/// A property as cells; empty if it is not there.
pub(crate) fn cells(node: &DeviceTreeNode, name: &str) -> Vec<u32> {
    node.property(name).map(|property| words(property.value())).unwrap_or_default()
}

/// The first string of a property.
pub(crate) fn first_string(node: &DeviceTreeNode, name: &str) -> Option<String> {
    let property = node.property(name)?;
    let first = property.value().split(|byte| *byte == 0).next()?;
    String::from_utf8(first.to_vec()).ok()
}

/// All strings of a property.
pub(crate) fn strings(node: &DeviceTreeNode, name: &str) -> Vec<String> {
    let Some(property) = node.property(name) else { return Vec::new() };
    let all = property.value().split(|byte| *byte == 0).filter(|string| !string.is_empty());
    all.map(|string| String::from_utf8_lossy(string).into_owned()).collect()
}

fn cell_count(node: &DeviceTreeNode, name: &str, default: usize) -> usize {
    let count = cells(node, name).first().and_then(|count| usize::try_from(*count).ok());
    count.filter(|count| *count <= 4).unwrap_or(default)
}

/// Joins cells to a number; `None` if it has more than 64 bits.
fn join(cells: &[u32]) -> Option<u64> {
    cells.iter().try_fold(0_u64, |value, cell| {
        if value >> 32 == 0 { Some((value << 32) | u64::from(*cell)) } else { None }
    })
}

fn is_enabled(node: &DeviceTreeNode) -> bool {
    first_string(node, "status").is_none_or(|status| status == "okay" || status == "ok")
}

/// The cores that the hypervisor will count.
fn cores(tree: &DeviceTree) -> u32 {
    let Some(cpus) = tree.find_node("/cpus") else { return 0 };
    let is_core = |node: &&DeviceTreeNode| {
        first_string(node, "device_type").as_deref() == Some("cpu") && is_enabled(node)
    };
    u32::try_from(cpus.children().filter(is_core).count()).unwrap_or(u32::MAX)
}

fn gic_version(node: &DeviceTreeNode) -> Option<GicVersion> {
    let compatible = strings(node, "compatible");
    let is = |names: &[&str]| compatible.iter().any(|name| names.contains(&name.as_str()));
    if !is_enabled(node) {
        None
    } else if is(&["arm,gic-v3"]) {
        Some(GicVersion::V3)
    } else if is(&["arm,gic-400", "arm,cortex-a15-gic"]) {
        Some(GicVersion::V2)
    } else {
        None
    }
}

fn may_master(node: &DeviceTreeNode) -> bool {
    !strings(node, "compatible").iter().any(|name| REGISTERS_ONLY.contains(&name.as_str()))
}

/// What the nodes below `/reserved-memory` are.
const KEPT_MEMORY: &str = "memory that the firmware keeps";

/// Why a device cannot be given away.
fn kept_for(found: &Found<'_>, gic: &str, console: Option<&str>) -> Option<&'static str> {
    let path = found.path.as_str();
    let is = |name: &str| strings(found.node, "compatible").iter().any(|own| own == name);
    if path == gic || path.starts_with(&format!("{gic}/")) || is("arm,gic-v3-its") {
        Some("the interrupt controller")
    } else if console == Some(path) {
        Some("the hypervisor's console")
    } else if is("brcm,bcm2835-aux") {
        Some("the switch of the mini UART, which may be the hypervisor's console")
    } else if is("brcm,bcm2835-pm-wdt") {
        Some("what resets the machine and turns it off")
    } else if path.starts_with("/reserved-memory/") {
        Some(KEPT_MEMORY)
    } else if path.starts_with("/cpus/") {
        Some("the cores")
    } else {
        None
    }
}

/// A device's interrupts, as far as they go to the GIC as SPIs.
fn lines(
    node: &DeviceTreeNode,
    parent: Option<u32>,
    gic: Option<u32>,
) -> Result<Vec<Line>, String> {
    if node.property("interrupts-extended").is_some() {
        let all = cells(node, "interrupts-extended");
        let rows = all.as_chunks::<4>();
        if !rows.1.is_empty() || rows.0.iter().any(|row| Some(row[0]) != gic) {
            return Err("some of its interrupts do not go to the GIC".to_owned());
        }
        return rows.0.iter().map(|row| line([row[1], row[2], row[3]])).collect();
    }
    let all = cells(node, "interrupts");
    if all.is_empty() {
        return Ok(Vec::new());
    }
    if parent != gic {
        return Err("its interrupts do not go to the GIC".to_owned());
    }
    let rows = all.as_chunks::<3>();
    if !rows.1.is_empty() {
        return Err("its `interrupts` cannot be read".to_owned());
    }
    rows.0.iter().map(|row| line(*row)).collect()
}

/// One interrupt of the GIC binding: type, number, flags.
fn line([kind, number, flags]: [u32; 3]) -> Result<Line, String> {
    match (kind, u16::try_from(number)) {
        (0, Ok(spi)) if spi < 988 => Ok(Line { spi, flags: flags & 0xf }),
        (1, _) => Err("it has a private interrupt (PPI) of the cores".to_owned()),
        _ => Err("it has an interrupt that the GIC does not have".to_owned()),
    }
}
