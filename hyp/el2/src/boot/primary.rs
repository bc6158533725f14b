//! The boot core's way, MMU off to run loop.
#![expect(unsafe_code, reason = "entered from assembly, makes the device tree a slice")]

use shikiri_abi::{PAGE_BYTES, Pa};
use shikiri_arch::board::{self, Board, GicFact, Range, TreeError, UartKind};
use shikiri_arch::devicetree::Blob;
use shikiri_core::bootlog::{Checkpoint, plural};

use super::log::{self, refuse};
use super::mmu::MapBuilder;
use super::{cores, image, known, machine, secondary};
use crate::hw::mem;
use crate::hw::uart::Direct;
use crate::{guest, regs};

/// No tree is larger: the arm64 boot protocol's limit.
const FDT_MAX_BYTES: u64 = 2 << 20;

/// HCR_EL2.E2H, which `start.s` has cleared where it can be (Arm ARM D24.2, HCR_EL2; FEAT_E2H0).
const HCR_E2H: u64 = 1 << 34;

/// Entered from `start.s` with MMU and caches off, on the first stack.
#[unsafe(no_mangle)]
extern "C" fn boot_primary(tree_at: u64, loaded_at: u64, level: u64) -> ! {
    if level == 2 {
        guest::setup::set_vectors();
    }
    log::checkpoint(Checkpoint::Entered, format_args!("at EL{level}"));
    let tree = find_tree(tree_at);
    // Looked at where it is: a copy is a tenth of the stack.
    let mut read = tree.and_then(read_tree);
    let board = match &mut read {
        Ok(board) => board,
        Err(error) => {
            if level == 2 {
                speak_without_tree();
            }
            refuse(format_args!("{error}"))
        }
    };
    if level != 2 {
        refuse(format_args!(
            "entered at EL{level}, but a hypervisor needs EL2 (QEMU: -machine virtualization=on)"
        ));
    }
    if loaded_at != super::image_base() {
        refuse(format_args!(
            "the image was loaded at {loaded_at:#x}, which is no multiple of 4 KiB"
        ));
    }
    if regs::hcr_el2() & HCR_E2H != 0 {
        refuse(format_args!(
            "this core's EL2 has the host extensions always (HCR_EL2.E2H is RES1), and this hypervisor does without"
        ));
    }
    let mpidr = regs::mpidr_el1() & 0xff_00ff_ffff;
    if !board.boots_on(mpidr) {
        refuse(format_args!(
            "the core that boots, MPIDR {mpidr:#x}, is not among the device tree's"
        ));
    }
    let Board { ref compatible, core_count, boot_core, .. } = *board;
    let plural = plural(core_count);
    let detail = format_args!("{compatible}, {core_count} core{plural}, on core {}", boot_core.0);
    log::checkpoint(Checkpoint::TreeRead, detail);
    let mmu = map(board).finish(regs::id_aa64mmfr0_el1() & 15);
    mmu.enable();
    log::checkpoint(Checkpoint::MmuOn, format_args!(""));
    let world = machine::make(board, tree.unwrap_or_default());
    let core = cores::join(world, board.boot_core);
    secondary::start(world, board, &mmu);
    log::checkpoint(Checkpoint::CoresAsked, format_args!(""));
    secondary::wait_for_all(world);
    log::checkpoint(Checkpoint::CoresHere, format_args!("{}", world.cores.len()));
    log::checkpoint(Checkpoint::PartitionsMade, format_args!("{}", world.slots.len()));
    machine::start_partitions(world);
    cores::run(core)
}

/// Before a refusal that would be silent, since no console is known: looks for one where the known boards have it.
fn speak_without_tree() {
    if Direct::is_found() {
        return;
    }
    if let Some((board, kind, base)) = known::console() {
        // SAFETY: the identification registers say that it is a PL011, or that the board is the one that has a mini UART here, and
        // that one is on; the MMU is off.
        unsafe { Direct::found(kind, base) };
        log::print_kept();
        let uart = match kind {
            UartKind::Pl011 => "PL011",
            UartKind::Mini => "mini UART",
        };
        log::note(format_args!(
            "the device tree tells no console; this is a {uart} at {base:#x}, as {board} has it"
        ));
    }
}

/// Finds out where the device tree at x0 is.
fn find_tree(at: u64) -> Result<Range, TreeError> {
    if at == 0 || at & 7 != 0 {
        return Err(TreeError::NotATree);
    }
    let own = image::used(1);
    if usize::try_from(at).is_ok_and(|at| (own.start..own.end).contains(&at)) {
        return Err(TreeError::InImage);
    }
    // SAFETY: the boot protocol puts a tree at x0; its header's 8 bytes are looked at first.
    let head = unsafe { mem::bytes(Pa(at), 8) };
    let size = Blob::claimed_bytes(head).ok_or(TreeError::NotATree)?;
    if size > FDT_MAX_BYTES {
        return Err(TreeError::TooLarge);
    }
    Ok(Range { start: at, end: at.saturating_add(size) })
}

/// Reads the device tree. Out of line, so that what it needs of the stack is free again behind it.
#[inline(never)]
fn read_tree(tree: Range) -> Result<Board, TreeError> {
    // SAFETY: the magic says that it is a tree of this size; nobody writes it.
    let bytes = unsafe { mem::bytes(Pa(tree.start), tree.end.saturating_sub(tree.start)) };
    board::read(bytes, Pa(super::image_base()), |uart| {
        // SAFETY: the tree names such a UART here; the MMU is off.
        unsafe { Direct::found(uart.kind, uart.base.0) };
        log::print_kept();
    })
}

/// EL2's map: RAM but what nobody may map, the image, and the devices that EL2 itself drives.
#[inline(never)]
fn map(board: &Board) -> MapBuilder {
    let mut map = MapBuilder::new();
    for range in board.ram.as_slice() {
        map.ram(*range, board.core_count);
    }
    for (number, range) in (0..32).zip(board.reserved.as_slice()) {
        if board.unmapped >> number & 1 != 0 {
            map.unmapped(*range);
        }
    }
    map.image(board.core_count);
    let console = board.uart.base.page_base();
    // A PL011's block is a page, of which the last registers, that nobody uses, may lie in the next.
    let is_across = board.uart.kind == UartKind::Pl011 && board.uart.base != console;
    map.device(console.0, if is_across { PAGE_BYTES << 1 } else { PAGE_BYTES });
    if let Some(power) = board.bcm_power {
        map.device(power.page_base().0, PAGE_BYTES);
    }
    match board.gic {
        GicFact::V2 { gicd, gicc, gich, .. } => {
            map.device(gicd.0, 0x1000);
            map.device(gicc.0, 0x2000);
            map.device(gich.0, 0x1000);
        }
        GicFact::V3 { gicd, gicr } => {
            map.device(gicd.0, 0x1_0000);
            for region in gicr.as_slice().iter().chain(board.its.as_slice()) {
                map.device(region.start, region.end.saturating_sub(region.start));
            }
        }
    }
    map
}
