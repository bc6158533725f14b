//! What the distributor's and redistributors' registers read after they were written.

use shikiri_rt::gic::{self, Version};
use shikiri_rt::mmio::Registers;
use shikiri_rt::platform::{GICR, GICR_STRIDE, platform};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::tools::{PPIS, SPIS, case};

pub(crate) fn run() {
    case("enables_read_back_and_stay_apart", || bits(0x100, 0x180));
    case("pendings_read_back_and_stay_apart", || bits(0x200, 0x280));
    case("actives_read_back_and_stay_apart", || bits(0x300, 0x380));
    case("priorities_read_back_by_byte_and_word", priorities);
    case("triggers_read_back", triggers);
    case("routes_read_back", routes);
    case("type_and_identity_registers", identity);
    case("registers_above_the_last_interrupt_read_zero", above);
    case("unused_offsets_read_zero_and_ignore_writes", unused);
    if gic::version() == Version::V3 {
        case("redistributors_are_contiguous_and_the_last_says_so", redistributors);
    }
}

/// A pair of set and clear registers, over all SPIs of the cases and some PPIs.
fn bits(set: u64, clear: u64) -> Outcome {
    for intid in SPIS.chain(PPIS) {
        let block = gic::block(intid);
        let (offset, bit) = (u64::from(intid / 32) * 4, 1_u32 << (intid % 32));
        let others = block.read32(set + offset) & !bit;
        block.write32(set + offset, bit);
        equal("set", u64::from(block.read32(set + offset)), u64::from(others | bit))?;
        equal("clear register", u64::from(block.read32(clear + offset)), u64::from(others | bit))?;
        // Zeros change nothing.
        block.write32(set + offset, 0);
        block.write32(clear + offset, 0);
        equal("zeros", u64::from(block.read32(set + offset)), u64::from(others | bit))?;
        block.write32(clear + offset, bit);
        equal("cleared", u64::from(block.read32(set + offset)), u64::from(others))?;
    }
    Ok(())
}

fn priorities() -> Outcome {
    for base in [SPIS.start, SPIS.end - 4, 20] {
        let block = gic::block(base);
        let offset = 0x400 + u64::from(base);
        block.write32(offset, 0xc080_4020);
        equal("word", u64::from(block.read32(offset)), 0xc080_4020)?;
        for (byte, want) in [(0, 0x20), (1, 0x40), (2, 0x80), (3, 0xc0)] {
            equal("byte", u64::from(block.read8(offset + byte)), want)?;
        }
        block.write8(offset + 2, 0xa0);
        equal("one byte written", u64::from(block.read32(offset)), 0xc0a0_4020)?;
        // At least 16 levels are there.
        block.write8(offset, 0xff);
        equal("top bits", u64::from(block.read8(offset) & 0xf0), 0xf0)?;
    }
    Ok(())
}

fn triggers() -> Outcome {
    for intid in SPIS {
        let offset = 0xc00 + u64::from(intid / 16) * 4;
        let shift = (intid % 16) * 2;
        let read = || (gic::block(intid).read32(offset) >> shift) & 3;
        gic::set_edge(intid);
        equal("edge", u64::from(read() & 2), 2)?;
        gic::set_level(intid);
        equal("level", u64::from(read() & 2), 0)?;
    }
    // SGIs are always edge-triggered.
    equal("SGIs", u64::from(gic::block(0).read32(0xc00) & 0xaaaa_aaaa), 0xaaaa_aaaa)
}

fn routes() -> Outcome {
    for vcpu in 0..platform().vcpus {
        for intid in [SPIS.start, SPIS.end - 1] {
            gic::route(intid, vcpu);
            let block = gic::block(intid);
            let (got, want) = match gic::version() {
                Version::V2 => (u64::from(block.read8(0x800 + u64::from(intid))), 1 << vcpu),
                Version::V3 => (
                    block.read64(0x6000 + u64::from(intid) * 8),
                    platform().mpidr(vcpu).unwrap_or(0),
                ),
            };
            // With one vCPU, a GICv2's target registers may read zero.
            if gic::version() == Version::V3 || platform().vcpus > 1 {
                equal("route", got, want)?;
            }
        }
    }
    Ok(())
}

fn identity() -> Outcome {
    let block = gic::block(32);
    let kind = block.read32(4);
    ensure("at least the cases' SPIs", ((kind & 0x1f) + 1) * 32 >= SPIS.end)?;
    match gic::version() {
        Version::V2 => equal("vCPUs", u64::from((kind >> 5) & 7) + 1, platform().vcpus as u64),
        Version::V3 => {
            equal("architecture", u64::from(block.read32(0xffe8) & 0xf0), 0x30)?;
            equal("affinity routing", u64::from(block.read32(0) & 0x10), 0x10)
        }
    }
}

/// The first register above the implemented interrupts; there may be none.
fn above() -> Outcome {
    let block = gic::block(32);
    let end = ((u64::from(block.read32(4)) & 0x1f) + 1) * 32;
    if end >= 1020 {
        return Ok(());
    }
    for (register, per_word) in [(0x100, 32), (0x200, 32), (0x300, 32), (0x400, 4), (0xc00, 16)] {
        let offset = register + end / per_word * 4;
        block.write32(offset, u32::MAX);
        equal("above", u64::from(block.read32(offset)), 0)?;
    }
    Ok(())
}

fn unused() -> Outcome {
    let block = gic::block(32);
    for offset in [0x0c_u64, 0x14, 0x1c, 0x30, 0x7c, 0xe0c] {
        block.write32(offset, u32::MAX);
        equal("reserved", u64::from(block.read32(offset)), 0)?;
    }
    Ok(())
}

fn redistributors() -> Outcome {
    for index in 0..platform().vcpus {
        // SAFETY: the platform has one redistributor for each vCPU.
        #[expect(unsafe_code, reason = "names the redistributors' addresses")]
        let frame = unsafe { Registers::new(GICR + GICR_STRIDE * index as u64, GICR_STRIDE) };
        let kind = frame.read64(8);
        let mpidr = platform().mpidr(index).unwrap_or(0);
        equal("affinity", kind >> 32, (mpidr & 0xff_ffff) | ((mpidr >> 8) & 0xff00_0000))?;
        equal("number", (kind >> 8) & 0xffff, index as u64)?;
        equal("Last", (kind >> 4) & 1, u64::from(index + 1 == platform().vcpus))?;
        let halves = u64::from(frame.read32(8)) | (u64::from(frame.read32(12)) << 32);
        equal("by halves", halves, kind)?;
        equal("architecture", u64::from(frame.read32(0xffe8) & 0xf0), 0x30)?;
    }
    Ok(())
}
