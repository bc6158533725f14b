//! Where the parts of our own image lie: the linker script's symbols, at their run-time addresses.
#![expect(unsafe_code, reason = "linker symbols are extern statics")]

use core::ptr::addr_of;

use shikiri_abi::CoreId;

/// A span of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
}

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __tables_start: u8;
    static __tables_end: u8;
    static __stacks_start: u8;
    static __image_end: u8;
}

/// Bytes between two stacks: a guard page and the stack.
const STACK_STRIDE: usize = 9 * 4096;
/// The page below each stack that is never mapped.
const GUARD: usize = 4096;

/// Defines the address of a symbol; taking an address reads nothing.
macro_rules! address {
    ($symbol:ident) => {
        addr_of!($symbol).expose_provenance()
    };
}

/// The whole image with everything that its header reserves.
pub(crate) fn whole() -> Span {
    Span { start: address!(__image_start), end: address!(__image_end) }
}

/// Executable code.
pub(crate) fn text() -> Span {
    Span { start: address!(__image_start), end: address!(__text_end) }
}

/// Constants.
pub(crate) fn rodata() -> Span {
    Span { start: address!(__text_end), end: address!(__rodata_end) }
}

/// Frames for EL2's own tables.
pub(crate) fn tables() -> Span {
    Span { start: address!(__tables_start), end: address!(__tables_end) }
}

/// A stack by its number, guard page not included.
pub(crate) fn stack(number: usize) -> Span {
    let base = address!(__stacks_start).saturating_add(number.saturating_mul(STACK_STRIDE));
    Span { start: base.saturating_add(GUARD), end: base.saturating_add(STACK_STRIDE) }
}

/// A core's stack: the core that boots has had the first since its first instruction, core 0 gets that one's.
pub(crate) fn stack_of(core: CoreId, boot_core: CoreId) -> Span {
    let number = match core {
        CoreId(0) => boot_core,
        core if core == boot_core => CoreId(0),
        core => core,
    };
    stack(usize::from(number.0))
}

/// The image as far as `cores` cores use it.
pub(crate) fn used(cores: usize) -> Span {
    Span { start: whole().start, end: stack(cores.saturating_sub(1)).end }
}
