//! Memory for tests.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

use crate::{FRAME_BYTES, Frame, Memory, Pool};

/// Where the frames begin.
const START: u64 = 0x4000_0000;

/// Frames on the host.
pub(crate) struct Host {
    pub(crate) frames: Vec<Box<[u8; FRAME_BYTES]>>,
    /// Pages whose translations were forgotten.
    pub(crate) forgotten: Vec<(u16, u64)>,
    /// Memory that is not of the frames, by its address.
    guest: BTreeMap<u64, u8>,
}

impl Host {
    /// Bytes of memory that is not of the frames.
    pub(crate) fn guest_bytes(&self, physical: u64, count: u64) -> Vec<u8> {
        (physical..physical + count).map(|at| self.guest.get(&at).copied().unwrap_or(0)).collect()
    }
}

/// So many frames.
pub(crate) fn pool(count: u32) -> Pool<Host> {
    let frames = (0..count).map(|_| Box::new([0xaa; FRAME_BYTES])).collect();
    Pool::new(Host { frames, forgotten: Vec::new(), guest: BTreeMap::new() }, count)
}

impl Memory for Host {
    fn physical(&self, frame: Frame) -> u64 {
        START + u64::from(frame.0) * 4096
    }

    fn frame_at(&self, physical: u64) -> Option<Frame> {
        let index = u32::try_from(physical.checked_sub(START)? / 4096).unwrap();
        ((index as usize) < self.frames.len()).then_some(Frame(index))
    }

    fn read(&self, frame: Frame, offset: usize, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.frames[frame.0 as usize][offset..offset + bytes.len()]);
    }

    fn write(&mut self, frame: Frame, offset: usize, bytes: &[u8]) {
        self.frames[frame.0 as usize][offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn clear(&mut self, frame: Frame) {
        self.frames[frame.0 as usize].fill(0);
    }

    fn copy(&mut self, from: Frame, to: Frame) {
        let bytes = *self.frames[from.0 as usize];
        *self.frames[to.0 as usize] = bytes;
    }

    fn read_entry(&self, table: Frame, index: usize) -> u64 {
        let mut bytes = [0; 8];
        self.read(table, index * 8, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn write_entry(&mut self, table: Frame, index: usize, entry: u64) {
        self.write(table, index * 8, &entry.to_le_bytes());
    }

    fn read_guest(&self, physical: u64, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.guest_bytes(physical, bytes.len() as u64));
    }

    fn write_guest(&mut self, physical: u64, bytes: &[u8]) {
        self.guest.extend((physical..).zip(bytes.iter().copied()));
    }

    fn clean_code(&mut self, _frame: Frame) {}

    fn forget(&mut self, asid: u16, address: u64) {
        self.forgotten.push((asid, address));
    }
}
