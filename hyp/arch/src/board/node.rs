//! A node's properties, and the buses on the way to it.

use super::UartKind;

/// A bus, and what its `ranges` make of addresses on it: rows of its own address, the address above and the size, looked up in the
/// tree itself, so that there can be any number of them.
pub(super) struct Bus<'a> {
    /// Empty if the addresses are those above.
    pub(super) ranges: &'a [u8],
    /// Cells of the three.
    pub(super) sizes: [usize; 3],
    /// The bus above; at the root there is none, and addresses are physical.
    pub(super) above: Option<&'a Bus<'a>>,
}

impl Bus<'_> {
    /// The root.
    pub(super) const ROOT: Self = Self { ranges: &[], sizes: [0; 3], above: None };

    /// `None` if no window leads there: the cores do not reach it.
    pub(super) fn to_physical(&self, address: u64) -> Option<u64> {
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
pub(super) struct Cells<'a>(pub(super) &'a [u8]);

impl Cells<'_> {
    #[inline(never)]
    pub(super) fn take(&mut self, cells: usize) -> Option<u64> {
        let mut value = 0_u64;
        for _ in 0..cells {
            let (word, rest) = self.0.split_first_chunk::<4>()?;
            value = (value << 32) | u64::from(u32::from_be_bytes(*word));
            self.0 = rest;
        }
        Some(value)
    }

    /// The next entry: numbers of so many cells each. One without any cell is none: it would not end.
    pub(super) fn entry<const N: usize>(&mut self, sizes: [usize; N]) -> Option<[u64; N]> {
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
pub(super) struct NodeFacts<'a> {
    pub(super) name: &'a [u8],
    pub(super) compatible: &'a [u8],
    pub(super) reg: &'a [u8],
    pub(super) ranges: Option<&'a [u8]>,
    pub(super) interrupts: &'a [u8],
    pub(super) device_type: &'a [u8],
    pub(super) enable_method: &'a [u8],
    pub(super) release_addr: &'a [u8],
    pub(super) method: &'a [u8],
    pub(super) is_okay: bool,
    pub(super) is_unmapped: bool,
    pub(super) address_cells: usize,
    pub(super) size_cells: usize,
}

impl<'a> NodeFacts<'a> {
    pub(super) const fn new(name: &'a [u8]) -> Self {
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

    pub(super) fn take(&mut self, name: &[u8], value: &'a [u8]) {
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
    pub(super) const fn cells(&self) -> [usize; 2] {
        [self.address_cells, self.size_cells]
    }

    /// Whether its `reg` is whole entries of these cells.
    pub(super) const fn is_whole(&self, [address, size]: [usize; 2]) -> bool {
        self.reg.len().is_multiple_of(address.saturating_add(size) << 2)
    }

    /// What the first entry of `compatible` that we know stands for.
    #[inline(never)]
    pub(super) fn kind(&self) -> Option<Kind> {
        let ours = |entry: &&[u8]| matches!(entry.first_chunk(), Some(b"arm," | b"brcm"));
        self.compatible.split(|byte| *byte == 0).filter(ours).find_map(kind_of)
    }
}

/// What entries of `compatible` stand for.
const KNOWN: &[(&[u8], Kind)] = &[
    (b"arm,psci-1.0", Kind::Psci),
    (b"arm,psci-0.2", Kind::Psci),
    (b"arm,gic-v3", Kind::GicV3),
    (b"arm,gic-v3-its", Kind::Its),
    (b"arm,gic-400", Kind::GicV2),
    (b"arm,cortex-a15-gic", Kind::GicV2),
    (b"arm,cortex-a7-gic", Kind::GicV2),
    (b"arm,pl011", Kind::Uart(UartKind::Pl011)),
    (b"brcm,bcm2835-aux-uart", Kind::Uart(UartKind::Mini)),
    (b"brcm,bcm2835-pm-wdt", Kind::BcmPower),
];

/// A table and no match: the comparisons of one are a kilobyte of code.
fn kind_of(entry: &[u8]) -> Option<Kind> {
    KNOWN.iter().find(|(name, _)| *name == entry).map(|(_, kind)| *kind)
}

fn small_cell(value: &[u8]) -> usize {
    Cells(value).take(1).and_then(|cells| usize::try_from(cells).ok()).unwrap_or(0).min(2)
}

/// Devices that EL2 knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Psci,
    GicV3,
    Its,
    GicV2,
    Uart(UartKind),
    BcmPower,
}
