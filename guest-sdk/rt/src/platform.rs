//! Where things are: fixed addresses, and what the device tree says.
//!
//! The addresses are those of QEMU's `virt` machine. The hypervisor gives every guest this layout, whatever
//! the board.

use crate::start::{BootCell, read_tree};
use crate::tree::{Token, Tree, base_name, take_number, text, word};

/// The GIC's distributor.
pub const GICD: u64 = 0x0800_0000;
/// The CPU interface of a GICv2.
pub const GICC: u64 = 0x0801_0000;
/// The redistributors of a GICv3, one after the other.
pub const GICR: u64 = 0x080a_0000;
/// Bytes from one vCPU's redistributor to the next.
pub const GICR_STRIDE: u64 = 0x2_0000;
/// The PL011 of the console.
pub const UART: u64 = 0x0900_0000;
/// The console's interrupt: SPI 1.
pub const UART_INTID: u32 = 33;
/// The INTID of SPI 0.
const FIRST_SPI: u32 = 32;
/// Where RAM starts.
pub const RAM_BASE: u64 = 0x4000_0000;
/// The most vCPUs that this run-time starts.
pub const MAX_VCPUS: usize = 64;

static PLATFORM: BootCell<Platform> = BootCell::new();

/// What a guest learns from its device tree.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// Where the RAM that holds the image starts.
    pub ram_base: u64,
    /// How many bytes of RAM there are from there.
    pub ram_bytes: u64,
    /// Where the device tree lies; 0 if there was none.
    pub device_tree: u64,
    /// Where the RAM disk begins and ends; twice 0 if there is none.
    pub ram_disk: [u64; 2],
    /// How many vCPUs there are.
    pub vcpus: usize,
    mpidrs: [u64; MAX_VCPUS],
    command_line: &'static str,
}

/// What the device tree says.
#[must_use]
pub fn platform() -> &'static Platform {
    PLATFORM.get().unwrap_or(&Platform::DEFAULT)
}

/// The command line (`/chosen/bootargs`); empty if there is none.
#[must_use]
pub fn command_line() -> &'static str {
    platform().command_line
}

/// Whether the command line holds `word`, between spaces.
#[must_use]
pub fn has_word(word: &str) -> bool {
    command_line().split_ascii_whitespace().any(|candidate| candidate == word)
}

/// The value of `key=value` on the command line.
#[must_use]
pub fn value_of(key: &str) -> Option<&'static str> {
    command_line()
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The number in `key=number` on the command line, decimal or with `0x`.
#[must_use]
pub fn number_of(key: &str) -> Option<u64> {
    let value = value_of(key)?;
    match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// The number that a property of a node of `/hypervisor` is, of one word or two: where what the description has made for this
/// partition is. `described("channel-talk", "shikiri,handle")`, for example.
#[must_use]
pub fn described(node: &str, property: &str) -> Option<u64> {
    let mut value = value_in(node, property)?;
    let cells = u32::try_from(value.len() / 4).ok().filter(|cells| *cells <= 2)?;
    take_number(&mut value, cells)
}

/// The interrupt of a node of `/hypervisor`: the SPI's INTID.
#[must_use]
pub fn described_intid(node: &str) -> Option<u32> {
    // Three words: the type, the number, the trigger.
    let number = value_in(node, "interrupts")?.get(4..)?;
    word(number)?.checked_add(FIRST_SPI)
}

/// A property of a node of `/hypervisor`.
fn value_in(node: &str, property: &str) -> Option<&'static [u8]> {
    let (mut depth, mut is_below, mut is_it) = (0_u32, false, false);
    for token in read_tree(platform().device_tree)? {
        match token {
            Token::Begin(name) => {
                depth = depth.saturating_add(1);
                is_below = if depth == 2 { name == b"hypervisor" } else { is_below };
                is_it = depth == 3 && is_below && name == node.as_bytes();
            }
            Token::End => {
                depth = depth.saturating_sub(1);
                is_it = false;
            }
            Token::Property(name, value) if is_it && name == property.as_bytes() => {
                return Some(value);
            }
            Token::Property(..) => {}
        }
    }
    None
}

impl Platform {
    /// Without a device tree: the first 2 MiB and one vCPU.
    const DEFAULT: Self = Self {
        ram_base: RAM_BASE,
        ram_bytes: 1 << 21,
        device_tree: 0,
        ram_disk: [0; 2],
        vcpus: 1,
        mpidrs: [0; MAX_VCPUS],
        command_line: "",
    };

    /// The affinity of vCPU `index`, as PSCI wants it.
    #[must_use]
    pub fn mpidr(&self, index: usize) -> Option<u64> {
        self.mpidrs.get(..self.vcpus)?.get(index).copied()
    }

    /// Reads a device tree: the RAM region that holds `image`, the vCPUs and the command line.
    pub(crate) fn read(tree: Option<Tree<'static>>, image: u64) -> Self {
        let mut reader = Reader::new(image);
        for token in tree.into_iter().flatten() {
            reader.step(token);
        }
        reader.found.vcpus = reader.found.vcpus.max(1);
        reader.found
    }

    /// Makes this what [`platform`] answers.
    pub(crate) fn publish(self) {
        PLATFORM.set(self);
    }
}

/// Where a walk over the tree is, and what it found.
struct Reader {
    found: Platform,
    image: u64,
    depth: u32,
    /// The base name of the root's child that the walk is in.
    child: &'static [u8],
    /// The base name of the node that the walk is in.
    node: &'static [u8],
    /// The root's #address-cells and #size-cells.
    cells: (u32, u32),
    /// #address-cells of `/cpus`.
    cpu_cells: u32,
}

impl Reader {
    fn new(image: u64) -> Self {
        let found = Platform { vcpus: 0, ..Platform::DEFAULT };
        Self { found, image, depth: 0, child: b"", node: b"", cells: (2, 1), cpu_cells: 2 }
    }

    fn step(&mut self, token: Token<'static>) {
        match token {
            Token::Begin(name) => {
                self.depth = self.depth.saturating_add(1);
                self.node = base_name(name);
                if self.depth == 2 {
                    self.child = self.node;
                }
            }
            Token::End => {
                self.depth = self.depth.saturating_sub(1);
                self.node = b"";
            }
            Token::Property(name, value) => self.property(name, value),
        }
    }

    /// A property; those of a node come before its children (DTSpec 5.4.2).
    fn property(&mut self, name: &[u8], value: &'static [u8]) {
        match (self.depth, self.child, name) {
            (1, _, b"#address-cells") => self.cells.0 = word(value).unwrap_or(2).min(2),
            (1, _, b"#size-cells") => self.cells.1 = word(value).unwrap_or(1).min(2),
            (2, b"memory", b"reg") => self.memory(value),
            (2, b"chosen", b"bootargs") => {
                let line = text(value).and_then(|line| core::str::from_utf8(line).ok());
                self.found.command_line = line.unwrap_or("");
            }
            (2, b"chosen", b"linux,initrd-start") => self.ram_disk(0, value),
            (2, b"chosen", b"linux,initrd-end") => self.ram_disk(1, value),
            (2, b"cpus", b"#address-cells") => self.cpu_cells = word(value).unwrap_or(1).min(2),
            (3, b"cpus", b"reg") if self.node == b"cpu" => self.vcpu(value),
            _ => {}
        }
    }

    /// A number of one cell or two, as firmware likes.
    fn ram_disk(&mut self, end: usize, mut value: &[u8]) {
        let cells = if value.len() == 4 { 1 } else { 2 };
        let place = self.found.ram_disk.get_mut(end);
        if let (Some(place), Some(number)) = (place, take_number(&mut value, cells)) {
            *place = number;
        }
    }

    fn memory(&mut self, mut value: &[u8]) {
        while let (Some(base), Some(bytes)) =
            (take_number(&mut value, self.cells.0), take_number(&mut value, self.cells.1))
        {
            if self.image.checked_sub(base).is_some_and(|offset| offset < bytes) {
                self.found.ram_base = base;
                self.found.ram_bytes = bytes;
            }
            if value.is_empty() {
                return;
            }
        }
    }

    fn vcpu(&mut self, mut value: &[u8]) {
        let slot = self.found.mpidrs.get_mut(self.found.vcpus);
        if let (Some(slot), Some(id)) = (slot, take_number(&mut value, self.cpu_cells)) {
            *slot = id;
            self.found.vcpus = self.found.vcpus.saturating_add(1);
        }
    }
}
