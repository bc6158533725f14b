//! From the first Rust instruction to `main`.
#![expect(unsafe_code, reason = "joins Rust to the start-up assembly")]

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::memory::{self, FreeMemory, PAGE_BYTES};
use crate::mmu::{Access, NoMemory, Regime, Tables};
use crate::platform::Platform;
use crate::tree::{self, Tree};
use crate::{console, gic, power, reg, smp, timer};

global_asm!(include_str!("start.s"));
global_asm!(include_str!("vectors.s"));
global_asm!(include_str!("copy.s"));

/// Pages of the first vCPU's stack and of its exception stack, as start.s lays them out after a guard page each.
const STACK_PAGES: u64 = 16;

static ENTRY_TIME: AtomicU64 = AtomicU64::new(0);

/// The physical counter at the image's first instruction.
#[must_use]
pub fn entry_time() -> u64 {
    ENTRY_TIME.load(Ordering::Relaxed)
}

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __image_end: u8;
    static rt_guards: u8;

    fn rt_discard_cached(start: u64, end: u64);
    fn rt_mmu_on(ttbr0: u64, tcr: u64, mair: u64, sctlr: u64);
}

unsafe extern "Rust" {
    /// What `entry!` defines.
    safe fn __shikiri_main();
}

/// The image's parts, by address.
struct Image {
    start: u64,
    text_end: u64,
    rodata_end: u64,
    end: u64,
    guards: u64,
}

impl Image {
    fn locate() -> Self {
        Self {
            start: address(&raw const __image_start),
            text_end: address(&raw const __text_end),
            rodata_end: address(&raw const __rodata_end),
            end: address(&raw const __image_end),
            guards: address(&raw const rt_guards),
        }
    }
}

/// Prepares the run-time on the first vCPU and runs `main`. Entered from start.s with the MMU off: until it is
/// on, no atomic read-modify-write and no unaligned access.
#[unsafe(no_mangle)]
extern "C" fn rt_boot(device_tree: u64, entry_time: u64) -> ! {
    ENTRY_TIME.store(entry_time, Ordering::Relaxed);
    let image = Image::locate();
    let tree = read_tree(device_tree);
    let has_tree = tree.is_some();
    let mut platform = Platform::read(tree, image.start);
    platform.device_tree = if has_tree { device_tree } else { 0 };
    let mut free = free_memory(&image, &platform);
    match build_tables(&image, &platform, &mut free) {
        Ok(regime) => turn_on(&image, &free, &regime),
        // Without memory for tables there is nothing to run in; main sees no free pages either.
        Err(NoMemory) => power::hang(),
    }
    platform.publish();
    memory::publish(free);
    console::init();
    gic::init();
    gic::init_core();
    timer::init_core();
    reg::unmask_serror();
    __shikiri_main();
    power::off()
}

/// Runs on each further vCPU, from start.s with the MMU on.
#[unsafe(no_mangle)]
extern "C" fn rt_secondary() -> ! {
    gic::init_core();
    timer::init_core();
    reg::unmask_serror();
    smp::run_entry()
}

/// A walk over the device tree, whose address the start has given.
pub(crate) fn read_tree(address: u64) -> Option<Tree<'static>> {
    let pointer = core::ptr::with_exposed_provenance::<u8>(usize::try_from(address).ok()?);
    if pointer.is_null() || !address.is_multiple_of(8) {
        return None;
    }
    // SAFETY: x0 holds the device tree's address by the boot protocol, at least a header is readable there.
    let header = unsafe { core::slice::from_raw_parts(pointer, tree::HEADER_BYTES) };
    let bytes = tree::total_bytes(header)?;
    // SAFETY: the tree has this size by its header, and nothing writes to it: the free memory leaves it out.
    Tree::new(unsafe { core::slice::from_raw_parts(pointer, bytes) })
}

/// What lies between the image and the device tree, or the end of RAM if the tree is elsewhere.
fn free_memory(image: &Image, platform: &Platform) -> FreeMemory {
    let ram_end = platform.ram_base.saturating_add(platform.ram_bytes);
    let [ram_disk, _] = platform.ram_disk;
    let behind = |at: &u64| *at >= image.end && *at < ram_end;
    let end = [platform.device_tree, ram_disk].into_iter().filter(behind).min();
    FreeMemory::new(image.end, end.unwrap_or(ram_end))
}

/// Builds the tables: RAM cacheable, the image by its parts, guard pages under the stacks.
fn build_tables(
    image: &Image,
    platform: &Platform,
    free: &mut FreeMemory,
) -> Result<Regime, NoMemory> {
    let mut tables = Tables::new(free)?;
    let ram_bytes = platform.ram_bytes & !(PAGE_BYTES.wrapping_sub(1));
    tables.map(platform.ram_base, platform.ram_base, ram_bytes, Access::Data)?;
    let mut part =
        |start: u64, end: u64, access| tables.map(start, start, end.saturating_sub(start), access);
    part(image.start, image.text_end, Access::Code)?;
    part(image.text_end, image.rodata_end, Access::Constant)?;
    part(image.rodata_end, image.end, Access::Data)?;
    let second_guard =
        image.guards.wrapping_add(PAGE_BYTES.wrapping_mul(STACK_PAGES.wrapping_add(1)));
    for guard in [image.guards, second_guard] {
        part(guard, guard.wrapping_add(PAGE_BYTES), Access::Nothing)?;
    }
    smp::reserve_stacks(&mut tables, platform.vcpus)?;
    let regime = Regime::new(tables.root());
    smp::publish_regime(&regime);
    Ok(regime)
}

/// Turns the MMU and the caches on.
fn turn_on(image: &Image, free: &FreeMemory, regime: &Regime) {
    // SAFETY: all that was written so far went past the caches, so they hold nothing newer of this range.
    unsafe { rt_discard_cached(image.start, free.next()) };
    // SAFETY: the tables map this code, its stack and its data to themselves.
    unsafe { rt_mmu_on(regime.ttbr0, regime.tcr, regime.mair, regime.sctlr) };
}

fn address(symbol: *const u8) -> u64 {
    u64::try_from(symbol.expose_provenance()).unwrap_or(0)
}

/// A value that start-up sets once, before a second vCPU or an interrupt can look.
pub(crate) struct BootCell<T>(UnsafeCell<Option<T>>);

// SAFETY: written once by the only running vCPU with interrupts masked, read only afterwards.
unsafe impl<T: Sync> Sync for BootCell<T> {}

impl<T> BootCell<T> {
    /// An empty cell.
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// Sets the value; only start-up does.
    pub(crate) fn set(&self, value: T) {
        // SAFETY: start-up runs alone and nothing holds a reference yet.
        unsafe { *self.0.get() = Some(value) };
    }

    /// The value, if it has been set.
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: after start-up nothing writes.
        unsafe { &*self.0.get() }.as_ref()
    }
}
