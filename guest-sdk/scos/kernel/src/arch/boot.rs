//! From the first Rust instruction to the kernel: what the device tree says, tables that protect, a heap.
#![expect(
    unsafe_code,
    reason = "joins Rust to the start-up assembly and reads memory by its address"
)]

use core::arch::global_asm;

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node as _, Property as _};

use super::{KERNEL_BASE, Ram, cpu, gic, heap, uart, window};
use crate::kernel;

global_asm!(include_str!("start.s"));
global_asm!(include_str!("vectors.s"));

const PAGE: u64 = 4096;
const BLOCK: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
const TABLE_ENTRIES: u64 = 512;

/// Descriptors of the upper half (Arm ARM D8.3): a table; memory to write, constants, code; a device.
const TABLE: u64 = 3;
const DATA: u64 = 0x0060_0000_0000_0705;
const CONSTANT: u64 = DATA | (1 << 7);
const CODE: u64 = 0x0040_0000_0000_0705 | (1 << 7);
const DEVICE: u64 = 0x0060_0000_0000_0401;
/// What makes a block's descriptor a page's.
const IS_PAGE: u64 = 2;

/// The heap's part of the memory.
const HEAP_SHARE: u64 = 4;

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __image_end: u8;
    static scos_guard: u8;

    fn scos_leave_boot_tables(root: u64, empty: u64, sctlr: u64);
}

/// What the kernel starts with.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The memory for programs.
    pub(crate) ram: Ram,
    /// The archive that the first files come from; empty if there is none.
    pub(crate) archive: &'static [u8],
    /// The command line.
    pub(crate) command_line: &'static str,
    /// The device tree.
    pub(crate) tree: &'static [u8],
}

/// Runs on the boot tables, with the physical addresses of the device tree and of the image.
#[unsafe(no_mangle)]
extern "C" fn scos_boot(tree: u64, image: u64) -> ! {
    uart::init();
    let Some(found) = read_tree(tree) else { panic!("no device tree at {tree:#x}") };
    let image_end = image.saturating_add(offset(&raw const __image_end));
    let mut free = found.largest_free(image, image_end);
    protect(image, &found, &mut free);
    let heap_bytes = (found.ram_bytes / HEAP_SHARE).next_multiple_of(PAGE);
    let heap_start = free.take(heap_bytes);
    heap::init(heap_start, heap_bytes);
    gic::init();
    let ram = Ram::new(free.next, free.end);
    let Found { archive, command_line, blob, .. } = found;
    kernel::run(Machine { ram, archive, command_line, tree: blob })
}

/// What the device tree says.
struct Found {
    tree: u64,
    tree_bytes: u64,
    ram_base: u64,
    ram_bytes: u64,
    archive_start: u64,
    archive: &'static [u8],
    command_line: &'static str,
    blob: &'static [u8],
}

impl Found {
    fn ram_end(&self) -> u64 {
        self.ram_base.saturating_add(self.ram_bytes)
    }

    /// The largest run of whole pages that holds neither the image nor the tree nor the archive.
    fn largest_free(&self, image: u64, image_end: u64) -> Free {
        let tree = (self.tree, self.tree.saturating_add(self.tree_bytes));
        let archive_end = self.archive_start.saturating_add(self.archive.len() as u64);
        let mut used = [
            (image, image_end),
            tree,
            (self.archive_start, archive_end),
            (self.ram_end(), u64::MAX),
        ];
        used.sort_unstable();
        let mut free = Free { next: 0, end: 0 };
        let mut next = self.ram_base;
        for (start, end) in used {
            let (from, to) = (next.next_multiple_of(PAGE), start & !(PAGE - 1));
            if to.saturating_sub(from) > free.end.saturating_sub(free.next) {
                free = Free { next: from, end: to };
            }
            next = next.max(end.min(self.ram_end()));
        }
        free
    }
}

fn read_tree(physical: u64) -> Option<Found> {
    if physical == 0 || !physical.is_multiple_of(8) {
        return None;
    }
    // SAFETY: x0 is the tree's address by the boot protocol; the boot tables map its GiB.
    let header = unsafe { bytes(physical, 8) };
    let size = u32::from_be_bytes(*header.get(4..)?.first_chunk()?);
    // SAFETY: the tree has this size by its header, and nothing writes to it.
    let blob = unsafe { bytes(physical, u64::from(size)) };
    let tree = Fdt::new(blob).ok()?;
    let memory = tree
        .find_node("/memory")
        .or_else(|| tree.root().children().find(|node| node.name_without_address() == "memory"))?;
    let region = memory.reg().ok()??.next()?;
    let chosen = tree.find_node("/chosen");
    let number = |name: &str| {
        let value = chosen.as_ref()?.property(name)?;
        match value.value() {
            word if word.len() == 4 => Some(u64::from(u32::from_be_bytes(*word.first_chunk()?))),
            long => Some(u64::from_be_bytes(*long.first_chunk()?)),
        }
    };
    let (start, end) = (number("linux,initrd-start"), number("linux,initrd-end"));
    let archive = match (start, end) {
        // SAFETY: the archive lies there by the device tree, and nothing writes to it.
        (Some(start), Some(end)) if start < end => unsafe { bytes(start, end - start) },
        _ => &[],
    };
    let command_line = chosen
        .as_ref()
        .and_then(|node| node.property("bootargs"))
        .and_then(|property| property.value_as::<&str>().ok())
        .unwrap_or("");
    Some(Found {
        tree: physical,
        tree_bytes: u64::from(size),
        ram_base: region.address().ok()?,
        ram_bytes: region.size().ok()?,
        archive_start: start.unwrap_or(0),
        archive,
        command_line,
        blob,
    })
}

/// The memory at a physical address.
///
/// # Safety
/// It is mapped and nothing writes to it.
unsafe fn bytes(physical: u64, size: u64) -> &'static [u8] {
    let pointer = core::ptr::with_exposed_provenance::<u8>(to_usize(physical + KERNEL_BASE));
    // SAFETY: the caller vouches for it.
    unsafe { core::slice::from_raw_parts(pointer, to_usize(size)) }
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A symbol's offset in the image.
fn offset(symbol: *const u8) -> u64 {
    symbol.addr().wrapping_sub((&raw const __image_start).addr()) as u64
}

/// Memory that nothing uses yet, physical.
struct Free {
    next: u64,
    end: u64,
}

impl Free {
    /// Takes whole pages.
    fn take(&mut self, size: u64) -> u64 {
        let start = self.next;
        self.next += size.next_multiple_of(PAGE);
        assert!(self.next <= self.end, "the memory is too small for the kernel");
        start
    }

    /// Takes a table with nothing in it.
    fn table(&mut self) -> Table {
        let table = Table(self.take(PAGE));
        for index in 0..TABLE_ENTRIES {
            table.set(index, 0);
        }
        table
    }
}

/// A table of the upper half while it is made, by its physical address.
#[derive(Clone, Copy)]
struct Table(u64);

impl Table {
    fn set(self, index: u64, descriptor: u64) {
        assert!(index < TABLE_ENTRIES);
        let at = to_usize(self.0 + KERNEL_BASE + index * 8);
        // SAFETY: the page was taken from free memory for this table.
        unsafe { core::ptr::with_exposed_provenance_mut::<u64>(at).write_volatile(descriptor) };
    }
}

/// Makes tables that map the memory and the devices and protect the image by its parts, and goes over to them.
fn protect(image: u64, found: &Found, free: &mut Free) {
    let (root, empty) = (free.table(), free.table());
    let devices = free.table();
    root.set(0, devices.0 | TABLE);
    for device in [gic::BLOCK, uart::BLOCK] {
        devices.set(device / BLOCK, device | DEVICE);
    }
    let mut gib = found.ram_base / GIB * GIB;
    while gib < found.ram_end() {
        let table = free.table();
        root.set(gib / GIB, table.0 | TABLE);
        for index in 0..TABLE_ENTRIES {
            let block = gib + index * BLOCK;
            if block + BLOCK <= found.ram_base || block >= found.ram_end() {
                continue;
            }
            let descriptor = match pages_of_image(image, block) {
                true => pages(image, block, free).0 | TABLE,
                false => block | DATA,
            };
            table.set(index, descriptor);
        }
        gib += GIB;
    }
    for (place, address) in window::blocks() {
        root.set(place, address | DATA);
    }
    // SAFETY: the new tables map this code, its data and its stack as before, and all that was taken.
    unsafe { scos_leave_boot_tables(root.0, empty.0, cpu::SCTLR) };
    cpu::set_empty_root(empty.0);
}

/// Whether the image reaches into a block.
fn pages_of_image(image: u64, block: u64) -> bool {
    image < block + BLOCK && image + offset(&raw const __image_end) > block
}

/// The table of a block that holds a part of the image.
fn pages(image: u64, block: u64, free: &mut Free) -> Table {
    let table = free.table();
    for index in 0..TABLE_ENTRIES {
        let page = block + index * PAGE;
        let kind = match page.checked_sub(image) {
            Some(at) if at < offset(&raw const __text_end) => CODE,
            Some(at) if at < offset(&raw const __rodata_end) => CONSTANT,
            Some(at) if at == offset(&raw const scos_guard) => continue,
            _ => DATA,
        };
        table.set(index, page | kind | IS_PAGE);
    }
    table
}
