//! The hardware traits of `shikiri_arch::hw`, implemented for the machine that we run on.

pub(crate) mod clock;
pub(crate) mod device;
pub(crate) mod gic;
pub(crate) mod mem;
pub(crate) mod tlb;
pub(crate) mod uart;
