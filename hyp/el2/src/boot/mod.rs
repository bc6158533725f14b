//! From reset to the run loop.
#![expect(unsafe_code, reason = "the entry is assembly")]

mod cores;
mod image;
mod known;
pub(crate) mod log;
mod machine;
mod memory;
mod mmu;
mod primary;
mod secondary;

core::arch::global_asm!(include_str!("start.s"));

/// The image with its tables and stacks, as far as it may be used.
pub(crate) fn image() -> image::Span {
    image::whole()
}

/// Where the image was loaded: for offsets in fault reports.
pub(crate) fn image_base() -> u64 {
    u64::try_from(image::whole().start).unwrap_or(0)
}
