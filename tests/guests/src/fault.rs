//! Faults as results: a piece of assembly is tried, and what it raises is caught.
#![expect(unsafe_code, reason = "loads, stores and jumps to addresses that may be anything")]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_rt::platform::MAX_VCPUS;
use shikiri_rt::{smp, trap};

global_asm!(include_str!("fault.s"));

/// A caught synchronous exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The syndrome, ESR_EL1.
    pub esr: u64,
    /// The address, FAR_EL1; meaningful for aborts.
    pub far: u64,
    /// Where it happened.
    pub elr: u64,
}

impl Fault {
    /// The exception class.
    #[must_use]
    pub const fn class(&self) -> u64 {
        (self.esr >> 26) & 0x3f
    }

    /// The fault status code of an abort.
    #[must_use]
    pub const fn status(&self) -> u64 {
        self.esr & 0x3f
    }
}

/// What fault.s keeps while a piece is tried, at these offsets; `resume` is 0 when none is.
#[repr(C, align(64))]
struct Attempt {
    sp: AtomicU64,
    resume: AtomicU64,
    esr: AtomicU64,
    far: AtomicU64,
    elr: AtomicU64,
    daif: AtomicU64,
}

static ATTEMPTS: [Attempt; MAX_VCPUS] = [const {
    Attempt {
        sp: AtomicU64::new(0),
        resume: AtomicU64::new(0),
        esr: AtomicU64::new(0),
        far: AtomicU64::new(0),
        elr: AtomicU64::new(0),
        daif: AtomicU64::new(0),
    }
}; MAX_VCPUS];

/// A function in assembly that may fault at any instruction and keeps nothing on the stack.
pub type Piece = unsafe extern "C" fn(u64, u64) -> u64;

#[repr(C)]
struct Tried {
    value: u64,
    faulted: u64,
}

unsafe extern "C" {
    fn fault_try(piece: Piece, a: u64, b: u64, attempt: *const Attempt) -> Tried;

    /// Loads a byte from `a`.
    pub fn fault_load8(a: u64, b: u64) -> u64;
    /// Loads 2 bytes from `a`.
    pub fn fault_load16(a: u64, b: u64) -> u64;
    /// Loads 4 bytes from `a`.
    pub fn fault_load32(a: u64, b: u64) -> u64;
    /// Loads 8 bytes from `a`.
    pub fn fault_load64(a: u64, b: u64) -> u64;
    /// Stores the byte `b` to `a`.
    pub fn fault_store8(a: u64, b: u64) -> u64;
    /// Stores the 2 bytes `b` to `a`.
    pub fn fault_store16(a: u64, b: u64) -> u64;
    /// Stores the 4 bytes `b` to `a`.
    pub fn fault_store32(a: u64, b: u64) -> u64;
    /// Stores the 8 bytes `b` to `a`.
    pub fn fault_store64(a: u64, b: u64) -> u64;
    /// Clears a cache line by DC ZVA.
    pub fn fault_clear_line(a: u64, b: u64) -> u64;
    /// Cleans a cache line to the point of coherency by DC CVAC.
    pub fn fault_clean(a: u64, b: u64) -> u64;
    /// Cleans a cache line to the point of unification by DC CVAU.
    pub fn fault_clean_to_unification(a: u64, b: u64) -> u64;
    /// Cleans and invalidates a cache line by DC CIVAC.
    pub fn fault_clean_and_invalidate(a: u64, b: u64) -> u64;
    /// Invalidates a cache line by DC IVAC.
    pub fn fault_invalidate(a: u64, b: u64) -> u64;
    /// Invalidates instruction cache lines by IC IVAU.
    pub fn fault_invalidate_code(a: u64, b: u64) -> u64;
    /// Loads two registers from `a`, which gives no syndrome.
    pub fn fault_load_pair(a: u64, b: u64) -> u64;
    /// Stores with writeback to `a`, which gives no syndrome.
    pub fn fault_store_writeback(a: u64, b: u64) -> u64;
    /// Adds to memory at `a` exclusively.
    pub fn fault_exclusive(a: u64, b: u64) -> u64;
    /// Loads 8 bytes from `a` and stores `b` there exclusively.
    pub fn fault_exclusive64(a: u64, b: u64) -> u64;
    /// Calls `a`.
    pub fn fault_call(a: u64, b: u64) -> u64;
}

/// Installs the handler that catches.
pub fn catch_faults() {
    // SAFETY: `catch` sends a fault of `attempt` to that one's own end, and no other one anywhere.
    unsafe { trap::set_handler(trap::Kind::Synchronous, catch) };
}

/// Runs `piece` with two arguments.
///
/// # Errors
/// The exception that it raised.
///
/// # Safety
/// The piece is one of this file's, or has no effect but on memory that nobody else uses.
pub unsafe fn attempt(piece: Piece, a: u64, b: u64) -> Result<u64, Fault> {
    let record = &ATTEMPTS[smp::index()];
    // SAFETY: the caller vouches for the piece; the record is this vCPU's.
    let tried = unsafe { fault_try(piece, a, b, record) };
    if tried.faulted == 0 {
        return Ok(tried.value);
    }
    Err(Fault {
        esr: record.esr.load(Ordering::Relaxed),
        far: record.far.load(Ordering::Relaxed),
        elr: record.elr.load(Ordering::Relaxed),
    })
}

/// Sends a fault inside [`attempt`] to its end; any other one is a failed test.
fn catch(frame: &mut trap::Frame) {
    let record = &ATTEMPTS[smp::index()];
    let resume = record.resume.swap(0, Ordering::Relaxed);
    assert!(resume != 0, "unexpected {}:\n{frame}", trap::class_name(frame.class()));
    record.esr.store(frame.esr, Ordering::Relaxed);
    record.far.store(frame.far, Ordering::Relaxed);
    record.elr.store(frame.elr, Ordering::Relaxed);
    frame.sp = record.sp.load(Ordering::Relaxed);
    frame.elr = resume;
    // Back to EL1t with the interrupt masks of before.
    frame.spsr = record.daif.load(Ordering::Relaxed) | 4;
}
