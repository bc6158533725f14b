//! What somebody's own guest finds that comes without a description: the device tree, the UART and the interrupt controller
//! of QEMU's `virt`, and nothing that it was not given. What it was given its command line says: `ram_kib=`, `vcpus=`, `initrd=`
//! with the RAM disk's bytes.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "reads the device tree and device registers by address")]

use shikiri_rt::gic::{self, Version};
use shikiri_rt::mmio::Registers;
use shikiri_rt::platform::{
    GICD, GICR, GICR_STRIDE, RAM_BASE, UART, command_line, number_of, platform,
};
use shikiri_rt::{hvc, println};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{case, done, ensure, equal};

shikiri_rt::entry!(main);

fn main() {
    case("the_device_tree_is_16_mib_above_the_first_byte", place);
    case("the_tree_tells_what_is_there", tree);
    case("there_is_as_much_as_was_asked_for", asked);
    case("the_ram_disk_is_where_the_tree_says_if_there_is_one", ram_disk);
    case("psci_answers", psci);
    case("the_pl011_has_its_primecell_ids", primecell);
    case("there_are_no_lpis", lpis);
    println!("command line: {:?}", command_line());
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
    unsafe { Registers::new(address, 0x1000) }
}

fn blob() -> &'static [u8] {
    let address = platform().device_tree;
    bytes(address, at(address).read32(4).swap_bytes().into())
}

/// What is in RAM at an address.
fn bytes(at: u64, bytes: u64) -> &'static [u8] {
    // SAFETY: each caller names the device tree or the RAM disk, both as the tree says; they are in RAM, and nobody writes them.
    unsafe {
        core::slice::from_raw_parts(core::ptr::with_exposed_provenance(at as usize), bytes as usize)
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
    if gic::version() == Version::V2 {
        return Ok(());
    }
    // Distributor, and one region with the redistributors of all vCPUs.
    let bytes = u64::try_from(platform().vcpus).map_or(0, |vcpus| GICR_STRIDE * vcpus);
    let frames = [GICD, 0x1_0000, GICR, bytes].map(u64::to_be_bytes);
    let mut reg = [0; 36];
    reg[3] = 32;
    reg[4..].copy_from_slice(frames.as_flattened());
    // The name stands between the length and the value.
    let is_reg = |bytes: &[u8]| bytes[..4] == reg[..4] && bytes[8..] == reg[4..];
    ensure("one contiguous region", blob.windows(40).any(is_reg))
}

fn asked() -> Outcome {
    if let Some(kib) = number_of("ram_kib") {
        equal("RAM in KiB", platform().ram_bytes >> 10, kib)?;
    }
    match number_of("vcpus") {
        Some(vcpus) => equal("vCPUs", platform().vcpus as u64, vcpus),
        None => Ok(()),
    }
}

/// Its bytes are those that `own.rs` of the QEMU tests writes.
fn ram_disk() -> Outcome {
    let [start, end] = platform().ram_disk;
    let Some(size) = number_of("initrd") else {
        let name = b"linux,initrd";
        return ensure("no initrd", !blob().windows(name.len()).any(|bytes| bytes == name));
    };
    equal("its size", end.wrapping_sub(start), size)?;
    ensure("in RAM", start >= RAM_BASE && end <= RAM_BASE + platform().ram_bytes)?;
    let tree = platform().device_tree;
    ensure("apart from the tree", end <= tree || start >= tree + blob().len() as u64)?;
    let is_right = |(at, byte): (usize, &u8)| *byte == (at * 31 + (at >> 8)) as u8;
    ensure("its bytes", bytes(start, end - start).iter().enumerate().all(is_right))
}

fn psci() -> Outcome {
    ensure("version 1.0 or later", hvc::psci::version(hvc::Conduit::Hvc) >= 0x1_0000)
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
