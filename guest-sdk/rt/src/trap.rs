//! Exceptions taken to EL1: the saved registers, and who handles what.
//!
//! Code runs at EL1t, so that the usual entries are the first four of the vector table; an exception inside a
//! handler takes the second four. What has no handler is reported and ends the partition.
#![expect(unsafe_code, reason = "called from the vectors; keeps functions in atomic pointers")]

use core::fmt;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::{console, irq, power, reg};

/// The interrupted code's registers, as vectors.s saves them; what a handler changes is what the code gets.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Frame {
    /// `x0` to `x30`.
    pub x: [u64; 31],
    /// Where the code goes on (ELR_EL1).
    pub elr: u64,
    /// Its processor state (SPSR_EL1).
    pub spsr: u64,
    /// Why (ESR_EL1); changing it has no effect.
    pub esr: u64,
    /// The address of an abort (FAR_EL1); changing it has no effect.
    pub far: u64,
    /// The code's stack pointer (SP_EL0).
    pub sp: u64,
}

const _: () = assert!(size_of::<Frame>() == 288, "vectors.s has this size and these offsets");

impl Frame {
    /// The exception class (ESR_EL1.EC).
    #[must_use]
    pub const fn class(&self) -> u64 {
        (self.esr >> 26) & 0x3f
    }
}

impl fmt::Display for Frame {
    /// Writes the registers, two on a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "elr {:016x}  spsr {:016x}", self.elr, self.spsr)?;
        writeln!(f, "esr {:016x}  far  {:016x}", self.esr, self.far)?;
        write!(f, "sp  {:016x}", self.sp)?;
        for (index, value) in self.x.iter().enumerate() {
            let separator = if index.is_multiple_of(2) { "\n" } else { "  " };
            write!(f, "{separator}x{index:<2} {value:016x}")?;
        }
        Ok(())
    }
}

/// What a handler is.
pub type Handler = fn(&mut Frame);

/// The four kinds of exception (Arm ARM D1.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Synchronous: aborts, SVC, BRK, undefined instructions.
    Synchronous,
    /// An interrupt.
    Irq,
    /// A fast interrupt: GIC group 0 where both groups are used.
    Fiq,
    /// A system error.
    SError,
}

static SYNCHRONOUS: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static IRQ: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static FIQ: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static SERROR: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

impl Kind {
    const fn slot(self) -> &'static AtomicPtr<()> {
        match self {
            Self::Synchronous => &SYNCHRONOUS,
            Self::Irq => &IRQ,
            Self::Fiq => &FIQ,
            Self::SError => &SERROR,
        }
    }

    const fn of(vector: u64) -> Self {
        match vector % 4 {
            0 => Self::Synchronous,
            1 => Self::Irq,
            2 => Self::Fiq,
            _ => Self::SError,
        }
    }
}

/// Makes `handler` what runs for `kind` on every vCPU, with interrupts masked, on the exception stack. For IRQ
/// this replaces the dispatch by INTID ([`irq::set_handler`]).
///
/// # Safety
/// The handler leaves the frame so that the code can go on from it: it may have been interrupted at any instruction, and what it finds in
/// its registers, and where it goes on, is what the handler says.
#[expect(clippy::as_conversions, reason = "a function's address has no other spelling")]
pub unsafe fn set_handler(kind: Kind, handler: Handler) {
    kind.slot().store(handler as *mut (), Ordering::Release);
}

/// Forgets the handler for `kind`.
pub fn clear_handler(kind: Kind) {
    kind.slot().store(core::ptr::null_mut(), Ordering::Release);
}

/// Whether there is a handler for `kind`.
pub(crate) fn has_handler(kind: Kind) -> bool {
    !kind.slot().load(Ordering::Acquire).is_null()
}

/// Called by the vectors; `vector` is the entry's number, 0 to 15.
#[unsafe(no_mangle)]
extern "C" fn rt_trap(frame: &mut Frame, vector: u64) {
    let kind = Kind::of(vector);
    let handler = kind.slot().load(Ordering::Acquire);
    if !handler.is_null() {
        // SAFETY: only `set_handler` stores a pointer that is not null, and it stores a `Handler`.
        let handler = unsafe { core::mem::transmute::<*mut (), Handler>(handler) };
        handler(frame);
    } else if kind == Kind::Irq {
        irq::dispatch();
    } else {
        if begin_last_words() {
            report(kind, frame);
        }
        power::end(power::CODE_EXCEPTION)
    }
}

/// The vCPUs that say why they end, as bits.
static LAST_WORDS: AtomicU64 = AtomicU64::new(0);

/// Whether this vCPU may say why it ends: false if it has begun to already, and has met this on the way. Without a console, for
/// example, it is the saying itself that faults.
pub(crate) fn begin_last_words() -> bool {
    let own = 1 << (reg::tpidr_el1() % 64);
    LAST_WORDS.fetch_or(own, Ordering::Relaxed) & own == 0
}

fn report(kind: Kind, frame: &Frame) {
    let (vcpu, class) = (reg::tpidr_el1(), class_name(frame.class()));
    // The code may hold the console's lock.
    console::write_in_panic(format_args!("{kind:?} exception on vCPU {vcpu}: {class}\n{frame}\n"));
}

/// An exception class in words, as far as EL1 meets it (Arm ARM, ESR_EL1.EC).
#[must_use]
pub const fn class_name(class: u64) -> &'static str {
    match class {
        0x00 => "undefined instruction",
        0x07 => "access to FP/SIMD while it is off",
        0x0e => "illegal execution state",
        0x15 => "SVC",
        0x18 => "trapped system register",
        0x20 | 0x21 => "instruction abort",
        0x22 => "misaligned PC",
        0x24 | 0x25 => "data abort",
        0x26 => "misaligned SP",
        0x2f => "SError",
        0x30 | 0x31 => "breakpoint",
        0x32 | 0x33 => "single step",
        0x34 | 0x35 => "watchpoint",
        0x3c => "BRK",
        _ => "unexpected exception class",
    }
}
