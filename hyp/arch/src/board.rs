//! The board's facts, read from the firmware's device tree once, before any guest exists: [`read`] makes a [`Board`].
//!
//! The tree is trusted like the firmware that made it; one that cannot be used stops the boot with a
//! [`TreeError`]. Nodes with `status` other than okay do not exist for us (with `secure=on` QEMU marks
//! its secure devices so). Addresses are translated by the `ranges` of each bus on the way down. One pass
//! over the tokens: properties come before child nodes.

use core::fmt;

use crate::devicetree::{Blob, Token, Tokens};
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

/// Registers that are the hypervisor's alone: start and size of each range; a distributor, four regions of redistributors, a
/// console and a power manager at most. Ranges that are not there are empty.
pub type OwnRegisters = [(Pa, u64); 7];

impl Board {
    /// The registers that are the hypervisor's alone, so that no guest's table may lead there: the interrupt controller's, but
    /// for GICV's first page, the console's, and the power manager's. GICC_DIR, on the second page of GICV, is not for guests
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
                [(*gicd, PAGE_BYTES), gicc, gich, deactivation, uart, power, none]
            }
            GicFact::V3 { gicd, gicr } => {
                let [a, b, c, d] = gicr
                    .list
                    .map(|region| (Pa(region.start), region.end.saturating_sub(region.start)));
                [(*gicd, 0x1_0000), a, b, c, d, uart, power]
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
            Self::NoGic => "the device tree has no GICv2 or GICv3 (arm,cortex-a15-gic, arm,gic-400, arm,gic-v3)",
            Self::NoGich => "the GICv2 has no GICH and GICV frames in its reg property (QEMU: virtualization=on)",
            Self::NoUart => "the device tree's /chosen/stdout-path names no PL011 and no mini UART",
            Self::NoMemory => "the device tree has no /memory node",
            Self::OtherMachine => "the device tree is another machine's: this image does not lie in the memory that it names",
            Self::Cores => "the device tree has no usable core, or more than 128",
            Self::TooManyRanges => "the device tree has more ranges of memory (16) or reserved ones (32) than this image holds",
            Self::BadReg => "the device tree has a reg of memory, or of a reserved region, that is no list of whole entries",
        })
    }
}

/// A bus, and what its `ranges` make of addresses on it: rows of its own address, the address above and the size, looked up in the
/// tree itself, so that there can be any number of them.
struct Bus<'a> {
    /// Empty if the addresses are those above.
    ranges: &'a [u8],
    /// Cells of the three.
    sizes: [usize; 3],
    /// The bus above; at the root there is none, and addresses are physical.
    above: Option<&'a Bus<'a>>,
}

impl Bus<'_> {
    /// The root.
    const ROOT: Self = Self { ranges: &[], sizes: [0; 3], above: None };

    /// `None` if no window leads there: the cores do not reach it.
    fn to_physical(&self, address: u64) -> Option<u64> {
        let Some(above) = self.above else { return Some(address) };
        let mut rows = Cells(self.ranges);
        while let Some([own, parent, size]) = rows.entry(self.sizes) {
            let offset = address.wrapping_sub(own);
            if offset >= size {
                continue;
            }
            if let Some(physical) = above.to_physical(parent.wrapping_add(offset)) {
                return Some(physical);
            }
        }
        None
    }
}

/// Big-endian cells of a property.
struct Cells<'a>(&'a [u8]);

impl Cells<'_> {
    #[inline(never)]
    fn take(&mut self, cells: usize) -> Option<u64> {
        let mut value = 0_u64;
        for _ in 0..cells {
            let (word, rest) = self.0.split_first_chunk::<4>()?;
            value = (value << 32) | u64::from(u32::from_be_bytes(*word));
            self.0 = rest;
        }
        Some(value)
    }

    /// The next entry: numbers of so many cells each. One without any cell is none: it would not end.
    fn entry<const N: usize>(&mut self, sizes: [usize; N]) -> Option<[u64; N]> {
        if sizes == [0; N] {
            return None;
        }
        let mut entry = [0; N];
        for (number, cells) in entry.iter_mut().zip(sizes) {
            *number = self.take(cells)?;
        }
        Some(entry)
    }
}

/// One node's properties, collected in a single pass.
struct NodeFacts<'a> {
    name: &'a [u8],
    compatible: &'a [u8],
    reg: &'a [u8],
    ranges: Option<&'a [u8]>,
    interrupts: &'a [u8],
    device_type: &'a [u8],
    enable_method: &'a [u8],
    release_addr: &'a [u8],
    method: &'a [u8],
    is_okay: bool,
    is_unmapped: bool,
    address_cells: usize,
    size_cells: usize,
}

impl<'a> NodeFacts<'a> {
    const fn new(name: &'a [u8]) -> Self {
        Self {
            name,
            compatible: &[],
            reg: &[],
            ranges: None,
            interrupts: &[],
            device_type: &[],
            enable_method: &[],
            release_addr: &[],
            method: &[],
            is_okay: true,
            is_unmapped: false,
            address_cells: 2,
            size_cells: 1,
        }
    }

    fn take(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b"compatible" => self.compatible = value,
            b"reg" => self.reg = value,
            b"ranges" => self.ranges = Some(value),
            b"interrupts" => self.interrupts = value,
            b"device_type" => self.device_type = value,
            b"enable-method" => self.enable_method = value,
            b"cpu-release-addr" => self.release_addr = value,
            b"method" => self.method = value,
            b"status" => self.is_okay = matches!(value, b"okay\0" | b"ok\0"),
            b"no-map" => self.is_unmapped = true,
            b"#address-cells" => self.address_cells = small_cell(value),
            b"#size-cells" => self.size_cells = small_cell(value),
            _ => {}
        }
    }

    /// The cells of an address and a size in its children's `reg`.
    const fn cells(&self) -> [usize; 2] {
        [self.address_cells, self.size_cells]
    }

    /// Whether its `reg` is whole entries of these cells.
    const fn is_whole(&self, [address, size]: [usize; 2]) -> bool {
        self.reg.len().is_multiple_of(address.saturating_add(size) << 2)
    }

    /// What the first entry of `compatible` that we know stands for.
    #[inline(never)]
    fn kind(&self) -> Option<Kind> {
        let ours = |entry: &&[u8]| matches!(entry.first_chunk(), Some(b"arm," | b"brcm"));
        self.compatible.split(|byte| *byte == 0).filter(ours).find_map(kind_of)
    }
}

/// What an entry of `compatible` stands for.
#[inline(never)]
fn kind_of(entry: &[u8]) -> Option<Kind> {
    match entry {
        b"arm,psci-1.0" | b"arm,psci-0.2" => Some(Kind::Psci),
        b"arm,gic-v3" => Some(Kind::GicV3),
        b"arm,gic-400" | b"arm,cortex-a15-gic" | b"arm,cortex-a7-gic" => Some(Kind::GicV2),
        b"arm,pl011" => Some(Kind::Uart(UartKind::Pl011)),
        b"brcm,bcm2835-aux-uart" => Some(Kind::Uart(UartKind::Mini)),
        b"brcm,bcm2835-pm-wdt" => Some(Kind::BcmPower),
        _ => None,
    }
}

fn small_cell(value: &[u8]) -> usize {
    Cells(value).take(1).and_then(|cells| usize::try_from(cells).ok()).unwrap_or(0).min(2)
}

/// Devices that EL2 knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Psci,
    GicV3,
    GicV2,
    Uart(UartKind),
    BcmPower,
}

const NO_CORE: CoreFact = CoreFact { mpidr: 0, start: StartMethod::Psci };
/// Nodes nested deeper than this are not looked at.
const MAX_DEPTH: u32 = 6;

/// What a node's children are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Children {
    /// Devices on a bus, or the root's nodes.
    Devices,
    /// Cores.
    Cores,
    /// Reserved memory.
    Reserved,
    /// Nothing that matters.
    Ignored,
}

/// What the walk has found so far.
struct Finding<'a> {
    ram: Ranges<16>,
    reserved: Ranges<32>,
    unmapped: u32,
    cores: [CoreFact; MAX_CORES],
    core_count: usize,
    gic: Option<GicFact>,
    gic_lacks_virtual: bool,
    /// UARTs, by node name.
    uarts: [Option<(&'a [u8], UartFact)>; 8],
    stdout: &'a [u8],
    initrd_start: Option<u64>,
    initrd_end: Option<u64>,
    has_psci_by_smc: bool,
    bcm_power: Option<Pa>,
    is_full: bool,
    is_cut: bool,
    compatible: &'a [u8],
}

/// Reads the tree, for an image that begins at `image`; `found_uart` is told the console before anything else can be refused, but not
/// that of another machine.
///
/// # Errors
/// The first thing that is missing, as a [`TreeError`].
pub fn read(
    bytes: &'static [u8],
    image: Pa,
    found_uart: impl FnOnce(UartFact),
) -> Result<Board, TreeError> {
    let blob = Blob::new(bytes).ok_or(TreeError::NotATree)?;
    let mut finding = Finding {
        ram: Ranges::new(),
        reserved: Ranges::new(),
        unmapped: 0,
        cores: [NO_CORE; MAX_CORES],
        core_count: 0,
        gic: None,
        gic_lacks_virtual: false,
        uarts: [None; 8],
        stdout: &[],
        initrd_start: None,
        initrd_end: None,
        has_psci_by_smc: false,
        bcm_power: None,
        is_full: false,
        is_cut: false,
        compatible: &[],
    };
    for (start, size) in blob.reservations() {
        finding.reserve(start, size);
    }
    let mut tokens = blob.tokens();
    let Some(Token::Begin(name)) = tokens.next() else { return Err(TreeError::NotATree) };
    finding.node(&mut tokens, name, &Bus::ROOT, None, (Children::Devices, 0));
    let ram = finding.ram.as_slice();
    let is_here = ram.iter().any(|range| (range.start..range.end).contains(&image.0));
    if !is_here && !ram.is_empty() && !finding.is_cut {
        return Err(TreeError::OtherMachine);
    }
    let uart = finding.console(&blob);
    if let Some(uart) = uart {
        found_uart(uart);
    }
    finding.finish(uart)
}

impl<'a> Finding<'a> {
    fn reserve(&mut self, start: u64, bytes: u64) {
        self.is_full |= bytes != 0 && !self.reserved.push(start, bytes);
    }

    /// Reads a node that has just begun, to its end.
    fn node(
        &mut self,
        tokens: &mut Tokens<'a>,
        name: &'a [u8],
        bus: &Bus,
        parent: Option<&NodeFacts<'a>>,
        (place, depth): (Children, u32),
    ) {
        let mut facts = NodeFacts::new(name);
        let mut next = tokens.next();
        while let Some(Token::Property { name: property, value }) = next {
            facts.take(property, value);
            if depth == 1 {
                self.special(name, property, value);
            }
            next = tokens.next();
        }
        let children = match (parent, place) {
            (None, _) => {
                self.compatible = facts.compatible;
                Children::Devices
            }
            (Some(parent), Children::Devices) => self.device(&facts, parent, bus),
            (Some(parent), Children::Cores) => {
                self.core(&facts, parent.address_cells);
                Children::Ignored
            }
            (Some(parent), Children::Reserved) => {
                self.reserved_region(&facts, parent);
                Children::Ignored
            }
            (Some(_), Children::Ignored) => Children::Ignored,
        };
        let bridge = match (parent, facts.ranges) {
            // Without windows the addresses are those of the bus above.
            (Some(parent), Some(ranges)) if children == Children::Devices && !ranges.is_empty() => {
                let sizes = [facts.address_cells, parent.address_cells, facts.size_cells];
                Some(Bus { ranges, sizes, above: Some(bus) })
            }
            _ => None,
        };
        let below = bridge.as_ref().unwrap_or(bus);
        while let Some(Token::Begin(child)) = next {
            if children == Children::Ignored || depth >= MAX_DEPTH {
                tokens.skip_node();
            } else {
                self.node(tokens, child, below, Some(&facts), (children, depth.saturating_add(1)));
            }
            next = tokens.next();
        }
    }

    /// Properties of `/chosen`.
    fn special(&mut self, node: &[u8], name: &'a [u8], value: &'a [u8]) {
        let number = || Cells(value).take(value.len() >> 2);
        match (node, name) {
            (b"chosen", b"stdout-path") => self.stdout = value,
            (b"chosen", b"linux,initrd-start") => self.initrd_start = number(),
            (b"chosen", b"linux,initrd-end") => self.initrd_end = number(),
            _ => {}
        }
    }

    /// A node on a bus: what it is, and what its children are.
    #[inline(never)]
    fn device(&mut self, facts: &NodeFacts<'a>, parent: &NodeFacts<'a>, bus: &Bus) -> Children {
        if !facts.is_okay {
            return Children::Ignored;
        }
        let kind = facts.kind();
        let mut reg = Cells(facts.reg);
        let cells = parent.cells();
        let mut next_reg = || {
            let [start, bytes] = reg.entry(cells)?;
            Some((bus.to_physical(start)?, bytes))
        };
        if facts.device_type == b"memory\0" {
            self.is_cut |= !facts.is_whole(cells);
            while let Some((start, bytes)) = next_reg() {
                self.is_full |= !self.ram.push(start, bytes);
            }
        } else if facts.name == b"cpus" {
            return Children::Cores;
        } else if facts.name == b"reserved-memory" {
            return Children::Reserved;
        } else if kind == Some(Kind::Psci) {
            self.has_psci_by_smc = facts.method == b"smc\0";
        } else if kind == Some(Kind::GicV3) {
            self.gic = gic_v3(next_reg);
        } else if kind == Some(Kind::GicV2) {
            self.gic = gic_v2(next_reg);
            self.gic_lacks_virtual = self.gic.is_none();
        } else if let Some(Kind::Uart(kind)) = kind {
            let free = self.uarts.iter_mut().find(|place| place.is_none());
            let known = next_reg().filter(|(base, _)| kind.fits(*base));
            if let (Some(place), Some((base, _))) = (free, known) {
                let intid = first_spi(facts.interrupts);
                *place = Some((facts.name, UartFact { kind, base: Pa(base), intid }));
            }
        } else if kind == Some(Kind::BcmPower) {
            self.bcm_power = next_reg().map(|(base, _)| Pa(base));
        } else if facts.ranges.is_some() && facts.device_type.is_empty() {
            return Children::Devices;
        }
        Children::Ignored
    }

    #[inline(never)]
    fn core(&mut self, facts: &NodeFacts<'a>, address_cells: usize) {
        if facts.device_type != b"cpu\0" || !facts.is_okay {
            return;
        }
        let Some(mpidr) = Cells(facts.reg).take(address_cells) else { return };
        let start = match Cells(facts.release_addr).take(2) {
            Some(address) if facts.enable_method == b"spin-table\0" => {
                StartMethod::SpinTable(Pa(address))
            }
            _ => StartMethod::Psci,
        };
        if let Some(slot) = self.cores.get_mut(self.core_count) {
            *slot = CoreFact { mpidr, start };
        }
        self.core_count = self.core_count.saturating_add(1);
    }

    #[inline(never)]
    fn reserved_region(&mut self, facts: &NodeFacts<'a>, parent: &NodeFacts<'a>) {
        let mut reg = Cells(facts.reg);
        let cells = parent.cells();
        self.is_cut |= !facts.is_whole(cells);
        while let Some([start, bytes]) = reg.entry(cells) {
            let number = u32::try_from(self.reserved.len).unwrap_or(0);
            self.reserve(start, bytes);
            if facts.is_unmapped && bytes != 0 {
                self.unmapped |= 1_u32.wrapping_shl(number);
            }
        }
    }

    /// The UART that `/chosen/stdout-path` names, itself or by an alias. Without one, that which is called `serial0`, as the
    /// Raspberry Pi's firmware calls the UART on the pins; else the first.
    fn console(&self, blob: &Blob<'a>) -> Option<UartFact> {
        let path = self.stdout.split(|byte| matches!(byte, 0 | b':')).next().unwrap_or(&[]);
        let full = match path.first() {
            None => alias(blob, b"serial0").unwrap_or(path),
            Some(b'/') => path,
            Some(_) => alias(blob, path).unwrap_or(path),
        };
        let full = full.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let wanted = full.rsplit(|byte| *byte == b'/').next().unwrap_or(&[]);
        let mut uarts = self.uarts.iter().flatten();
        let first = uarts.clone().next().filter(|_| path.is_empty());
        uarts.find(|(name, _)| *name == wanted).or(first).map(|(_, uart)| *uart)
    }

    fn finish(self, uart: Option<UartFact>) -> Result<Board, TreeError>
    where
        'a: 'static,
    {
        if self.is_full {
            return Err(TreeError::TooManyRanges);
        }
        if self.is_cut {
            return Err(TreeError::BadReg);
        }
        if self.ram.as_slice().is_empty() {
            return Err(TreeError::NoMemory);
        }
        if self.core_count == 0 || self.core_count > MAX_CORES {
            return Err(TreeError::Cores);
        }
        let missing_gic = if self.gic_lacks_virtual { TreeError::NoGich } else { TreeError::NoGic };
        let initrd = self.initrd_start.zip(self.initrd_end).filter(|(start, end)| start < end);
        Ok(Board {
            compatible: first_string(self.compatible),
            ram: self.ram,
            reserved: self.reserved,
            unmapped: self.unmapped,
            initrd: initrd.map(|(start, end)| Range { start, end }),
            cores: self.cores,
            core_count: self.core_count,
            boot_core: CoreId(0),
            gic: self.gic.ok_or(missing_gic)?,
            uart: uart.ok_or(TreeError::NoUart)?,
            has_psci_by_smc: self.has_psci_by_smc,
            bcm_power: self.bcm_power,
        })
    }
}

/// A property of `/aliases`. It is looked up in the tree itself: the Raspberry Pi's firmware hands over some sixty.
#[inline(never)]
fn alias<'a>(blob: &Blob<'a>, wanted: &[u8]) -> Option<&'a [u8]> {
    let mut tokens = blob.tokens();
    loop {
        match tokens.next()? {
            // The root and what it says.
            Token::Begin(b"") | Token::Property { .. } => {}
            Token::Begin(b"aliases") => break,
            Token::Begin(_) => tokens.skip_node(),
            Token::End => return None,
        }
    }
    tokens.find_map(|token| match token {
        Token::Property { name, value } => (name == wanted).then_some(Some(value)),
        Token::Begin(_) | Token::End => Some(None),
    })?
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

fn first_string(value: &'static [u8]) -> &'static str {
    value
        .split(|byte| *byte == 0)
        .next()
        .and_then(|text| core::str::from_utf8(text).ok())
        .unwrap_or("")
}

#[cfg(test)]
mod tests;
