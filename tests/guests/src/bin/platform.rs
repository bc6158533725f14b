//! What somebody's own guest finds that comes without a description: the device tree, the UART and the interrupt controller
//! of QEMU's `virt`, and nothing that it was not given.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "reads the device tree and device registers by address")]

use shikiri_rt::gic::{self, Version};
use shikiri_rt::mmio::Registers;
use shikiri_rt::platform::{GICD, GICR, GICR_STRIDE, RAM_BASE, UART, platform};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal};

shikiri_rt::entry!(main);

fn main() {
    case("the_device_tree_is_16_mib_above_the_first_byte", place);
    case("the_tree_tells_what_is_there_and_no_initrd", tree);
    case("the_pl011_has_its_primecell_ids", primecell);
    case("there_are_no_lpis", lpis);
    done()
}

unsafe extern "C" {
    /// `guest.ld`: the image's first byte; only its address is taken.
    static __image_start: u8;
}

fn place() -> Outcome {
    let first = (&raw const __image_start).addr() as u64;
    let tree = platform().device_tree;
    equal("RAM", platform().ram_base, RAM_BASE)?;
    ensure("16 MiB above", tree >= first + (16 << 20))?;
    ensure("in RAM", tree < RAM_BASE + platform().ram_bytes)
}

/// What the platform has at an address.
fn at(address: u64) -> Registers {
    // SAFETY: each caller names the UART, a part of the interrupt controller, or the device tree, and only reads.
    unsafe { Registers::new(address) }
}

fn blob() -> &'static [u8] {
    let address = platform().device_tree;
    let bytes = at(address).read32(4).swap_bytes() as usize;
    // SAFETY: the run-time has read the tree there; its header says that it has this size, and nobody writes it.
    unsafe {
        core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address as usize), bytes)
    }
}

fn tree() -> Outcome {
    let blob = blob();
    let has = |text: &[u8]| blob.windows(text.len()).any(|bytes| bytes == text);
    ensure("PSCI", has(b"arm,psci-1.0\0"))?;
    ensure("PL011", has(b"arm,pl011\0arm,primecell\0"))?;
    for ppi in [13, 14, 11, 10] {
        ensure("a timer's PPI", has(&[0, 0, 0, 1, 0, 0, 0, ppi]))?;
    }
    ensure("no initrd", !has(b"linux,initrd"))
}

fn primecell() -> Outcome {
    // PrimeCell UART (PL011) TRM, 3.3.15 to 3.3.22, revision 1.
    let ids = [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];
    ids.into_iter()
        .zip((0xfe0..).step_by(4))
        .try_for_each(|(id, offset)| equal("an identification", at(UART).read32(offset).into(), id))
}

fn lpis() -> Outcome {
    equal("GICD_TYPER.LPIS", (u64::from(at(GICD).read32(4)) >> 17) & 1, 0)?;
    if gic::version() == Version::V2 {
        return Ok(());
    }
    for index in 0..platform().vcpus as u64 {
        let kind = at(GICR + GICR_STRIDE * index).read64(8);
        equal("GICR_TYPER.PLPIS", kind & 1, 0)?;
        equal("Last", (kind >> 4) & 1, u64::from(index + 1 == platform().vcpus as u64))?;
    }
    Ok(())
}
