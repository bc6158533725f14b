//! What lies at a partition's addresses: its memory, the images that are put there, the board's devices.

use shikiri_abi::{IntId, Ipa, Pa};

/// The most regions of memory with a physical address, those of all partitions together.
pub const MAX_PLACED: usize = 32;
/// The most moderated regions of devices, those of all partitions together: EL2 makes their accesses itself, and never
/// gives back the place that it has for each of their pages.
pub const MAX_MODERATED: usize = 512;
/// The most devices of a partition that are kept back.
pub const MAX_KEPT_DEVICES: usize = 64;
/// The most bytes of one's registers: it is mapped in one step.
pub const MAX_KEPT_BYTES: u64 = 4 << 20;

/// Where a memory region lies physically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Wherever the hypervisor finds frames.
    Any,
    /// Exactly here.
    At(Pa),
}

/// A region of a partition's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Where the guest sees it, 4 KiB-aligned.
    pub ipa: Ipa,
    /// Its size, a multiple of 4 KiB.
    pub bytes: u64,
    /// Where it lies.
    pub place: Place,
}

/// What an image is; for tables and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// Code.
    Program,
    /// Linux's initial RAM disk.
    Initrd,
    /// The guest's device tree.
    DeviceTree,
}

impl ImageKind {
    /// In words; code is the description's `image` or `kernel`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Program => "image",
            Self::Initrd => "initrd",
            Self::DeviceTree => "device tree",
        }
    }

    #[cfg(feature = "alloc")]
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Program => 0,
            Self::Initrd => 1,
            Self::DeviceTree => 2,
        }
    }

    pub(crate) const fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::Program),
            1 => Some(Self::Initrd),
            2 => Some(Self::DeviceTree),
            _ => None,
        }
    }
}

/// A blob and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The blob's index.
    pub blob: usize,
    /// Where its first byte goes; all of it lies in one memory region.
    pub load: Ipa,
    /// What it is.
    pub kind: ImageKind,
}

/// A file in the bundle; `verify` it before using its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob<'a> {
    /// The content.
    pub bytes: &'a [u8],
    /// The content's CRC-32 (IEEE).
    pub crc32: u32,
    /// Where it starts in the bundle.
    pub offset: usize,
}

impl Blob<'_> {
    /// Whether the content is undamaged, by `crc32`, a function that computes CRC-32 (IEEE).
    #[must_use]
    pub fn verify(&self, crc32: impl Fn(&[u8]) -> u32) -> bool {
        crc32(self.bytes) == self.crc32
    }
}

/// One register region of a passed-through device; a device with several has several of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// Where the guest sees it.
    pub ipa: Ipa,
    /// Where it is.
    pub pa: Pa,
    /// Its size.
    pub bytes: u64,
    /// The device shares its page with others: EL2 traps the accesses and lets only those to this region through. The
    /// region lies within one page, at the same offset in IPA and PA. Otherwise everything is 4 KiB-aligned and mapped.
    pub moderated: bool,
    /// It can write memory by itself without an SMMU, and the description trusts it. All of the partition's memory
    /// has IPA = PA; its frames are quarantined at the end, for this partition alone.
    pub dma_trusted: bool,
    /// It is the partition's, but out of its reach in each life until the policy program grants it.
    pub is_kept: bool,
    /// Its path in the board's device tree.
    pub path: &'a str,
}

/// An interrupt of a passed-through device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt<'a> {
    /// The SPI on the board.
    pub physical: IntId,
    /// The SPI that the guest sees.
    pub virtual_id: IntId,
    /// Edge-triggered; else level.
    pub edge: bool,
    /// The path of the device.
    pub path: &'a str,
}
