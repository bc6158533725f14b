//! How deep EL2's stacks have been used, seen from outside: the memory of `virt` is a file, and what was never written is zero there.
//!
//! The stacks are the end of what the image's header reserves (linker/hyp.ld): for each core a guard page and the stack. What a
//! function reserves without writing to it does not show.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::machine::{Board, Machine};
use crate::paths;

/// Where QEMU puts an image with the arm64 header and text offset 0, behind the start of memory.
const IMAGE: u64 = 2 << 20;
/// Where the header has the image's size, and its magic number (Linux, Documentation/arch/arm64/booting.rst).
const SIZE: usize = 16;
const MAGIC: usize = 56;

/// Bytes of a stack.
pub const STACK: u64 = (STRIDE - GUARD) as u64;

/// Cores that there are stacks for, the guard page of one, and both together.
const CORES: u64 = 128;
const GUARD: usize = 4096;
const STRIDE: usize = 9 * 4096;

/// The memory of a machine.
#[derive(Debug)]
pub struct Stacks {
    file: PathBuf,
    cores: u32,
    _folder: tempfile::TempDir,
}

impl Stacks {
    /// Has a machine keep its memory in a file. It has to be the memory that the system asks for.
    ///
    /// # Errors
    /// It is not QEMU's `virt`, or there is no room for the file.
    pub fn watch(machine: Machine) -> Result<(Machine, Self)> {
        ensure!(machine.board() == Board::QemuVirt, "only of `virt` the memory can be a file");
        std::fs::create_dir_all(paths::scratch())?;
        let folder = tempfile::tempdir_in(paths::scratch())?;
        let file = folder.path().join("memory");
        let backend = format!(
            "memory-backend-file,id=memory,share=on,size={}M,mem-path={}",
            machine.memory_bytes().div_ceil(1 << 20),
            file.display()
        );
        let cores = machine.cpu_count();
        let machine = machine.args(["-object", &backend, "-machine", "memory-backend=memory"]);
        Ok((machine, Self { file, cores, _folder: folder }))
    }

    /// How many bytes of its stack each core has written to. The first is the one that boots.
    ///
    /// # Errors
    /// The machine has not started, or another image has.
    pub fn depths(&self) -> Result<Vec<u64>> {
        (0..self.cores).map(|core| Ok(used(&self.read(core)?[GUARD..]) as u64)).collect()
    }

    /// Whether somebody has written to the guard page below a core's stack.
    ///
    /// # Errors
    /// As [`Stacks::depths`].
    pub fn is_guard_touched(&self, core: u32) -> Result<bool> {
        Ok(self.read(core)?[..GUARD].iter().any(|byte| *byte != 0))
    }

    /// A core's guard page and its stack.
    fn read(&self, core: u32) -> Result<[u8; STRIDE]> {
        let memory = File::open(&self.file).context("the machine has no memory yet")?;
        let mut header = [0; 64];
        memory.read_exact_at(&mut header, IMAGE)?;
        let stacks = stacks_of(&header).context("there is no image where QEMU puts it")?;
        let mut stack = [0; STRIDE];
        memory.read_exact_at(&mut stack, IMAGE + stacks + u64::from(core) * STRIDE as u64)?;
        Ok(stack)
    }
}

/// Where the stacks begin, from the start of the image with this header.
fn stacks_of(header: &[u8; 64]) -> Option<u64> {
    if !header[MAGIC..].starts_with(b"ARM\x64") {
        return None;
    }
    let size = u64::from_le_bytes(*header[SIZE..].first_chunk()?);
    size.checked_sub(CORES * STRIDE as u64)
}

/// How much of a stack was written to, from its end down.
fn used(stack: &[u8]) -> usize {
    stack.iter().position(|byte| *byte != 0).map_or(0, |lowest| stack.len() - lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stacks_are_the_last_of_what_the_header_reserves() {
        let mut header = [0; 64];
        assert_eq!(stacks_of(&header), None);
        header[MAGIC..MAGIC + 4].copy_from_slice(b"ARM\x64");
        header[SIZE..SIZE + 8].copy_from_slice(&0x50_0000_u64.to_le_bytes());
        assert_eq!(stacks_of(&header), Some(0x50_0000 - 128 * 36 * 1024));
    }

    #[test]
    fn a_stack_is_used_from_its_end_to_the_lowest_byte_that_is_not_zero() {
        assert_eq!(used(&[0; 16]), 0);
        assert_eq!(used(&[0, 0, 7, 0, 0, 9, 0, 0]), 6);
        assert_eq!(used(&[1, 0, 0, 0]), 4);
    }
}
