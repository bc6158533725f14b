//! The walk through the tree that finds the board's facts.

use crate::devicetree::{Blob, Token, Tokens};
use shikiri_abi::{CoreId, IntId, MAX_CORES, PAGE_BYTES, Pa};

use super::node::{Bus, Cells, Kind, NodeFacts};
use super::{Board, CoreFact, GicFact, Range, Ranges, StartMethod, TreeError, UartFact};

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
    /// Nothing that matters, but for PSCI.
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
    its: Ranges<4>,
    gic_lacks_virtual: bool,
    /// UARTs, by node name.
    uarts: [Option<(&'a [u8], UartFact)>; 8],
    stdout: &'a [u8],
    initrd_start: Option<u64>,
    initrd_end: Option<u64>,
    /// Whether PSCI is called by SMC; `None`: no node says anything of it.
    has_psci_by_smc: Option<bool>,
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
        its: Ranges::new(),
        gic_lacks_virtual: false,
        uarts: [None; 8],
        stdout: &[],
        initrd_start: None,
        initrd_end: None,
        has_psci_by_smc: None,
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
        let kind = if facts.is_okay { facts.kind() } else { None };
        // Wherever it is: some trees have it below `/firmware`, which is no bus. The first node is it, as for Linux.
        if kind == Some(Kind::Psci) {
            self.has_psci_by_smc.get_or_insert(facts.method == b"smc\0");
        }
        let children = match (parent, place) {
            (None, _) => {
                self.compatible = facts.compatible;
                Children::Devices
            }
            (Some(parent), Children::Devices) => self.device(&facts, kind, parent, bus),
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
            if depth >= MAX_DEPTH {
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
    fn device(
        &mut self,
        facts: &NodeFacts<'a>,
        kind: Option<Kind>,
        parent: &NodeFacts<'a>,
        bus: &Bus,
    ) -> Children {
        if !facts.is_okay {
            return Children::Ignored;
        }
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
        } else if kind == Some(Kind::GicV3) {
            self.gic = gic_v3(next_reg);
            // The ITSs are below it.
            if facts.ranges.is_some() {
                return Children::Devices;
            }
        } else if kind == Some(Kind::Its) {
            self.is_full |= !next_reg().is_none_or(|(base, _)| self.its.push(base, PAGE_BYTES));
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
            its: self.its,
            uart: uart.ok_or(TreeError::NoUart)?,
            has_psci_by_smc: self.has_psci_by_smc.unwrap_or(false),
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
