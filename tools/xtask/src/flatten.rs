//! Makes a flat image of an ELF file: its loadable segments by virtual address, from address 0 to
//! the end of the last byte that the file holds. What follows (.bss) the image clears itself.

use anyhow::{Context as _, Result, bail, ensure};
use object::elf;
use object::read::elf::{ElfFile64, ProgramHeader as _, Rela as _, SectionHeader as _};

type File<'a> = ElfFile64<'a, object::Endianness>;

/// The largest image that is believed; more means a wrong linker script.
const LARGEST: u64 = 64 << 20;

/// The flat image of the ELF file `bytes`.
pub(crate) fn flatten(bytes: &[u8]) -> Result<Vec<u8>> {
    let file = File::parse(bytes).context("not a 64-bit ELF file")?;
    check_relocations(&file)?;
    let endian = file.endian();
    let mut image = Vec::new();
    for segment in file.elf_program_headers() {
        if segment.p_type(endian) != elf::PT_LOAD || segment.p_filesz(endian) == 0 {
            continue;
        }
        let start = segment.p_vaddr(endian);
        let data = segment.data(endian, bytes).ok().context("a segment lies outside the file")?;
        let end = start.saturating_add(segment.p_filesz(endian));
        ensure!(end <= LARGEST, "a segment at {start:#x} makes the image too large");
        let (start, end) = (usize::try_from(start)?, usize::try_from(end)?);
        if image.len() < end {
            image.resize(end, 0);
        }
        image
            .get_mut(start..end)
            .context("a segment lies outside the image")?
            .copy_from_slice(data);
    }
    ensure!(!image.is_empty(), "the file holds nothing to load");
    Ok(image)
}

/// A flat image can only apply relative relocations at start-up; any other kind must not be there.
fn check_relocations(file: &File<'_>) -> Result<()> {
    let endian = file.endian();
    for section in file.elf_section_table().iter() {
        if !section.sh_flags(endian).contains(elf::SHF_ALLOC) {
            continue;
        }
        let Some((entries, _)) = section.rela(endian, file.data())? else { continue };
        for entry in entries {
            let kind = entry.r_type(endian, false);
            if kind != elf::R_AARCH64_RELATIVE && kind != elf::R_AARCH64_NONE {
                bail!(
                    "relocation of kind {kind} at {:#x}: only relative ones are applied",
                    entry.r_offset(endian)
                );
            }
        }
    }
    Ok(())
}

/// Checks that a flat image starts as the arm64 Linux boot protocol asks.
pub(crate) fn check_boot_header(image: &[u8]) -> Result<()> {
    let magic = image.get(0x38..0x3c).context("the image is shorter than its header")?;
    ensure!(magic == b"ARM\x64", "the image has no arm64 boot header (\"ARM\\x64\" at byte 0x38)");
    Ok(())
}

/// Bytes of code and constants, and of writable data with .bss, in the ELF file `bytes`.
pub(crate) fn sizes(bytes: &[u8]) -> Result<Sizes> {
    let file = File::parse(bytes).context("not a 64-bit ELF file")?;
    let endian = file.endian();
    let mut sizes = Sizes::default();
    for section in file.elf_section_table().iter() {
        let flags = section.sh_flags(endian);
        if !flags.contains(elf::SHF_ALLOC) {
            continue;
        }
        if flags.contains(elf::SHF_EXECINSTR) {
            let code = section.data(endian, bytes).ok().context("code outside the file")?;
            sizes.largest_frame = sizes.largest_frame.max(largest_frame(code));
        }
        if !flags.contains(elf::SHF_WRITE) {
            sizes.read_only += section.sh_size(endian);
        } else {
            sizes.writable += section.sh_size(endian);
        }
    }
    Ok(sizes)
}

/// What an image takes in memory.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sizes {
    /// Code and constants, in bytes.
    pub(crate) read_only: u64,
    /// Writable data, zeroed memory and stacks, in bytes.
    pub(crate) writable: u64,
    /// The most that one function takes of the stack, in bytes, the registers that it saves left out.
    pub(crate) largest_frame: u64,
}

/// The largest constant that `code` takes from the stack pointer in one go (Arm ARM C6.2, SUB immediate): a run of
/// `SUB SP, SP, #imm12 {, LSL #12}`, between which a page is touched (`STR XZR, [SP]`) so that the guard page is not
/// jumped over; or the end of the loop that does the same for a larger frame, `SUB Xd, SP, #imm12, LSL #12`.
fn largest_frame(code: &[u8]) -> u64 {
    const TOUCH: u32 = 0xf900_03ff;
    let (mut largest, mut run) = (0, 0_u64);
    for word in code.chunks_exact(4).filter_map(|word| word.first_chunk()) {
        let word = u32::from_le_bytes(*word);
        let amount = u64::from((word >> 10) & 0xfff);
        run = match (word & 0xffc0_03ff, word & 0xffc0_03e0) {
            (0xd100_03ff, _) => run.saturating_add(amount),
            (0xd140_03ff, _) => run.saturating_add(amount << 12),
            (_, 0xd140_03e0) => amount << 12,
            _ if word == TOUCH => run,
            _ => 0,
        };
        largest = largest.max(run);
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_frame_is_read_from_the_code() {
        let (small, page, touch) = (0xd107_43ff_u32, 0xd140_07ff, 0xf900_03ff);
        let frame = |words: &[u32]| {
            largest_frame(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
        };
        assert_eq!(frame(&[small]), 0x1d0);
        assert_eq!(frame(&[page, touch, page, touch, small]), 0x21d0);
        // What stands between them is another function.
        assert_eq!(frame(&[page, 0xd65f_03c0, small]), 0x1000);
        // sub x9, sp, #8, lsl #12
        assert_eq!(frame(&[0xd140_23e9]), 0x8000);
        assert_eq!(frame(&[]), 0);
    }

    #[test]
    fn what_is_not_an_elf_file_is_refused() {
        assert!(flatten(b"MZ").is_err());
        assert!(flatten(&[0; 4096]).is_err());
    }

    #[test]
    fn the_boot_header_is_recognised_by_its_magic() {
        let mut image = vec![0; 64];
        assert!(check_boot_header(&image).is_err());
        image[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert!(check_boot_header(&image).is_ok());
        assert!(check_boot_header(&image[..0x3a]).is_err());
    }
}
