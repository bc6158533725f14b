//! Signals: sets, actions, what happens without an action, and the frame that a handler finds on its stack (Linux,
//! arch/arm64/include/uapi/asm/sigcontext.h).

use alloc::vec::Vec;

/// Numbers of signals that the kernel itself means.
pub const SIGHUP: u8 = 1;
/// From the terminal.
pub const SIGINT: u8 = 2;
/// An instruction that there is none.
pub const SIGILL: u8 = 4;
/// A breakpoint.
pub const SIGTRAP: u8 = 5;
/// A misaligned access, or a page without memory.
pub const SIGBUS: u8 = 7;
/// Cannot be caught.
pub const SIGKILL: u8 = 9;
/// A bad address.
pub const SIGSEGV: u8 = 11;
/// Nobody reads.
pub const SIGPIPE: u8 = 13;
/// The timer of `setitimer`.
pub const SIGALRM: u8 = 14;
/// A child has ended.
pub const SIGCHLD: u8 = 17;
/// Go on.
pub const SIGCONT: u8 = 18;
/// Cannot be caught.
pub const SIGSTOP: u8 = 19;
/// The highest number.
pub const LAST: u8 = 64;

/// `sa_flags`: the handler wants the information.
pub const SA_SIGINFO: u64 = 4;
/// No SIGCHLD for children that stop, and none that wait to be waited for.
pub const SA_NOCLDWAIT: u64 = 2;
/// `sa_restorer` is given.
pub const SA_RESTORER: u64 = 0x0400_0000;
/// The handler runs on the alternate stack.
pub const SA_ONSTACK: u64 = 0x0800_0000;
/// An interrupted call is tried again.
pub const SA_RESTART: u64 = 0x1000_0000;
/// The signal may come again while it is handled.
pub const SA_NODEFER: u64 = 0x4000_0000;
/// The action is for once.
pub const SA_RESETHAND: u64 = 0x8000_0000;
/// `sa_handler`: the default.
pub const SIG_DFL: u64 = 0;
/// `sa_handler`: nothing.
pub const SIG_IGN: u64 = 1;

/// A set of signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(pub u64);

impl Set {
    /// Those that cannot be caught, ignored or held back.
    pub const UNMASKABLE: Self = Self::of(SIGKILL).with(SIGSTOP);

    /// One signal, 1 to 64.
    #[must_use]
    pub const fn of(signal: u8) -> Self {
        Self(1_u64.wrapping_shl(signal.wrapping_sub(1) as u32))
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, signal: u8) -> Self {
        Self(self.0 | Self::of(signal).0)
    }

    /// Without one.
    #[must_use]
    pub const fn without(self, signal: u8) -> Self {
        Self(self.0 & !Self::of(signal).0)
    }

    /// Whether it is in.
    #[must_use]
    pub const fn has(self, signal: u8) -> bool {
        self.0 & Self::of(signal).0 != 0
    }

    /// Those in this one and not in the other.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in either.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As a mask: without those that cannot be held back.
    #[must_use]
    pub const fn as_mask(self) -> Self {
        self.minus(Self::UNMASKABLE)
    }

    /// The one that comes first: what a fault has caused, then by number.
    #[must_use]
    pub fn first(self) -> Option<u8> {
        const FAULTS: Set = Set::of(SIGSEGV).with(SIGBUS).with(SIGILL).with(SIGTRAP);
        let chosen = match self.0 & FAULTS.0 {
            0 => self.0,
            faults => faults,
        };
        let number = chosen.trailing_zeros().wrapping_add(1);
        u8::try_from(number).ok().filter(|number| *number <= LAST)
    }
}

/// What happens without an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// The process ends.
    End,
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// A stopped process goes on.
    Continue,
}

/// What happens without an action.
#[must_use]
pub const fn default_of(signal: u8) -> Default {
    match signal {
        SIGCHLD | 23 | 28 => Default::Ignore,
        SIGCONT => Default::Continue,
        SIGSTOP | 20 | 21 | 22 => Default::Stop,
        _ => Default::End,
    }
}

/// `struct sigaction` as the kernel has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// The handler, [`SIG_DFL`] or [`SIG_IGN`].
    pub handler: u64,
    /// The flags.
    pub flags: u64,
    /// Where a handler returns to, with [`SA_RESTORER`].
    pub restorer: u64,
    /// What is held back while the handler runs.
    pub mask: Set,
}

impl Action {
    /// Bytes of the structure.
    pub const BYTES: usize = 32;

    /// As a program gives it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let field = |at| long(bytes, at);
        Self { handler: field(0), flags: field(8), restorer: field(16), mask: Set(field(24)) }
    }

    /// As a program gets it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (at, field) in
            [(0, self.handler), (8, self.flags), (16, self.restorer), (24, self.mask.0)]
        {
            put(&mut bytes, at, &field.to_le_bytes());
        }
        bytes
    }

    /// Whether a handler is called.
    #[must_use]
    pub const fn is_caught(&self) -> bool {
        self.handler > SIG_IGN
    }

    /// Whether nothing happens.
    #[must_use]
    pub fn is_ignored(&self, signal: u8) -> bool {
        self.handler == SIG_IGN
            || (self.handler == SIG_DFL && default_of(signal) == Default::Ignore)
    }
}

/// Why a signal came: the part of `siginfo_t` that is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// `si_code`.
    pub code: i32,
    /// `si_pid` and `si_uid`, or the address of a fault.
    pub value: u64,
    /// `si_status` of a child.
    pub status: i32,
}

impl Info {
    /// From a process (SI_USER).
    #[must_use]
    pub const fn from_process(process: u32) -> Self {
        Self { code: 0, value: process as u64, status: 0 }
    }

    /// `siginfo_t`.
    #[must_use]
    pub fn to_bytes(&self, signal: u8) -> [u8; 128] {
        let mut bytes = [0; 128];
        put(&mut bytes, 0, &u32::from(signal).to_le_bytes());
        put(&mut bytes, 8, &self.code.to_le_bytes());
        put(&mut bytes, 16, &self.value.to_le_bytes());
        put(&mut bytes, 24, &self.status.to_le_bytes());
        bytes
    }
}

/// A program's registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// `x0` to `x30`.
    pub x: [u64; 31],
    /// The stack pointer.
    pub sp: u64,
    /// The next instruction.
    pub pc: u64,
    /// The processor state.
    pub pstate: u64,
    /// FPSR.
    pub fpsr: u32,
    /// FPCR.
    pub fpcr: u32,
    /// `q0` to `q31`.
    pub q: [u128; 32],
}

/// `stack_t`: the alternate stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlternateStack {
    /// Where it begins.
    pub start: u64,
    /// Its bytes; 0: there is none.
    pub bytes: u64,
}

impl AlternateStack {
    /// SS_ONSTACK.
    const IN_USE: u32 = 1;
    /// SS_DISABLE.
    const DISABLED: u32 = 2;
    /// MINSIGSTKSZ for AArch64.
    const LEAST: u64 = 5120;

    /// Whether a stack pointer is on it.
    #[must_use]
    pub const fn holds(&self, sp: u64) -> bool {
        sp > self.start && sp.wrapping_sub(self.start) <= self.bytes
    }

    /// As a program gives it: `None` for what is refused (EINVAL, or ENOMEM if it is too small).
    ///
    /// # Errors
    /// Whether it is too small.
    pub fn from_bytes(bytes: &[u8; 24]) -> Result<Self, bool> {
        let flags = word(bytes, 8);
        match flags {
            0 | Self::IN_USE => {
                let stack = Self { start: long(bytes, 0), bytes: long(bytes, 16) };
                if stack.bytes < Self::LEAST { Err(true) } else { Ok(stack) }
            }
            Self::DISABLED => Ok(Self::default()),
            _ => Err(false),
        }
    }

    /// As a program gets it.
    #[must_use]
    pub fn to_bytes(&self, sp: u64) -> [u8; 24] {
        let flags = match self.bytes {
            0 => Self::DISABLED,
            _ if self.holds(sp) => Self::IN_USE,
            _ => 0,
        };
        let mut bytes = [0; 24];
        put(&mut bytes, 0, &self.start.to_le_bytes());
        put(&mut bytes, 8, &flags.to_le_bytes());
        put(&mut bytes, 16, &self.bytes.to_le_bytes());
        bytes
    }
}

/// Where the parts of the frame are: `siginfo_t`, `ucontext_t`, and a record for who walks the stack.
const CONTEXT: usize = 128;
const STACK: usize = CONTEXT + 16;
const MASK: usize = CONTEXT + 40;
const MACHINE: usize = CONTEXT + 176;
const X: usize = MACHINE + 8;
const SP: usize = X + 31 * 8;
const VECTORS: usize = MACHINE + 288;
const Q: usize = VECTORS + 16;
const RECORD: usize = VECTORS + 4096;
/// FPSIMD_MAGIC, and the record's bytes.
const VECTORS_MAGIC: u32 = 0x4650_8001;
const VECTORS_BYTES: u32 = 528;

/// Bytes of the frame.
pub const FRAME_BYTES: u64 = RECORD as u64 + 16;
/// Where in it the context is.
pub const CONTEXT_OFFSET: u64 = CONTEXT as u64;
/// Where in it the record for who walks the stack is.
pub const RECORD_OFFSET: u64 = RECORD as u64;

/// The frame on the stack of a handler.
#[must_use]
pub fn frame(
    signal: u8,
    info: &Info,
    registers: &Registers,
    mask: Set,
    stack: &AlternateStack,
) -> Vec<u8> {
    let mut bytes: Vec<u8> = core::iter::repeat_n(0, RECORD + 16).collect();
    put(&mut bytes, 0, &info.to_bytes(signal));
    put(&mut bytes, STACK, &stack.to_bytes(registers.sp));
    put(&mut bytes, MASK, &mask.0.to_le_bytes());
    put(&mut bytes, MACHINE, &info.value.to_le_bytes());
    for (index, value) in registers.x.iter().enumerate() {
        put(&mut bytes, X.saturating_add(index.saturating_mul(8)), &value.to_le_bytes());
    }
    for (at, value) in [(SP, registers.sp), (SP + 8, registers.pc), (SP + 16, registers.pstate)] {
        put(&mut bytes, at, &value.to_le_bytes());
    }
    let vectors = [VECTORS_MAGIC, VECTORS_BYTES, registers.fpsr, registers.fpcr];
    for (index, value) in vectors.iter().enumerate() {
        put(&mut bytes, VECTORS.saturating_add(index.saturating_mul(4)), &value.to_le_bytes());
    }
    for (index, value) in registers.q.iter().enumerate() {
        put(&mut bytes, Q.saturating_add(index.saturating_mul(16)), &value.to_le_bytes());
    }
    if let (Some(fp), Some(lr)) = (registers.x.get(29), registers.x.get(30)) {
        put(&mut bytes, RECORD, &fp.to_le_bytes());
        put(&mut bytes, RECORD + 8, &lr.to_le_bytes());
    }
    bytes
}

/// What a frame says when its handler returns: the registers and the mask. `None` if it is damaged. The state is as the
/// program says: who runs it restricts it.
#[must_use]
pub fn read_frame(bytes: &[u8]) -> Option<(Registers, Set)> {
    if bytes.len() < RECORD
        || word(bytes, VECTORS) != VECTORS_MAGIC
        || word(bytes, VECTORS + 4) != VECTORS_BYTES
    {
        return None;
    }
    let x = core::array::from_fn(|index| long(bytes, X.saturating_add(index.saturating_mul(8))));
    let q = core::array::from_fn(|index| {
        let at = Q.saturating_add(index.saturating_mul(16));
        u128::from(long(bytes, at)) | (u128::from(long(bytes, at.saturating_add(8))) << 64)
    });
    let registers = Registers {
        x,
        sp: long(bytes, SP),
        pc: long(bytes, SP + 8),
        pstate: long(bytes, SP + 16),
        fpsr: word(bytes, VECTORS + 8),
        fpcr: word(bytes, VECTORS + 12),
        q,
    };
    Some((registers, Set(long(bytes, MASK)).as_mask()))
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    let end = at.saturating_add(field.len());
    if let Some(place) = bytes.get_mut(at..end) {
        place.copy_from_slice(field);
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u32::from_le_bytes(*field))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers() -> Registers {
        Registers {
            x: core::array::from_fn(|index| index as u64 + 100),
            sp: 0x7000,
            pc: 0x40_0000,
            pstate: 0x8000_0000,
            fpsr: 3,
            fpcr: 4,
            q: core::array::from_fn(|index| (index as u128) << 64 | 9),
        }
    }

    #[test]
    fn a_frame_gives_back_what_was_put_in() {
        let bytes =
            frame(SIGALRM, &Info::default(), &registers(), Set(5), &AlternateStack::default());
        assert_eq!(bytes.len() as u64, FRAME_BYTES);
        assert!(FRAME_BYTES.is_multiple_of(16));
        assert_eq!(read_frame(&bytes), Some((registers(), Set(5))));
    }

    #[test]
    fn a_frame_has_its_fields_where_linux_has_them() {
        let info = Info { code: 1, value: 0xdead, status: 0 };
        let stack = AlternateStack { start: 0x1000, bytes: 0x7000 };
        let bytes = frame(SIGSEGV, &info, &registers(), Set(5), &stack);
        assert_eq!((word(&bytes, 0), word(&bytes, 8), long(&bytes, 16)), (11, 1, 0xdead));
        // uc_stack, on which the stack pointer is, and uc_sigmask.
        assert_eq!((long(&bytes, 144), word(&bytes, 152), long(&bytes, 160)), (0x1000, 1, 0x7000));
        assert_eq!(long(&bytes, 168), 5);
        // fault_address, regs, sp, pc, pstate.
        assert_eq!((long(&bytes, 304), long(&bytes, 312), long(&bytes, 552)), (0xdead, 100, 130));
        assert_eq!((long(&bytes, 560), long(&bytes, 568)), (0x7000, 0x40_0000));
        assert_eq!((word(&bytes, 592), word(&bytes, 596)), (0x4650_8001, 528));
    }

    #[test]
    fn a_damaged_frame_is_none() {
        let bytes = frame(1, &Info::default(), &registers(), Set(0), &AlternateStack::default());
        assert_eq!(read_frame(&bytes[..600]), None);
        let mut bad = bytes.clone();
        bad[592] ^= 1;
        assert_eq!(read_frame(&bad), None);
    }

    #[test]
    fn a_handler_never_holds_back_sigkill() {
        let bytes =
            frame(1, &Info::default(), &registers(), Set(u64::MAX), &AlternateStack::default());
        let (_, mask) = read_frame(&bytes).unwrap();
        assert!(!mask.has(SIGKILL) && !mask.has(SIGSTOP) && mask.has(SIGINT));
    }

    #[test]
    fn faults_come_first_then_the_lowest() {
        let set = Set::of(SIGHUP).with(SIGSEGV).with(64);
        assert_eq!(set.first(), Some(SIGSEGV));
        assert_eq!(set.without(SIGSEGV).first(), Some(SIGHUP));
        assert_eq!(Set::of(64).first(), Some(64));
        assert_eq!(Set(0).first(), None);
    }

    #[test]
    fn an_alternate_stack_is_checked() {
        let stack = AlternateStack { start: 0x1000, bytes: 0x2000 };
        assert_eq!(AlternateStack::from_bytes(&stack.to_bytes(0)), Ok(stack));
        assert!(stack.holds(0x3000) && !stack.holds(0x1000) && !stack.holds(0x3001));
        let small = AlternateStack { bytes: 100, ..stack };
        assert_eq!(AlternateStack::from_bytes(&small.to_bytes(0)), Err(true));
        let none = AlternateStack::default();
        assert_eq!(AlternateStack::from_bytes(&none.to_bytes(0)), Ok(none));
    }

    #[test]
    fn what_happens_without_an_action_is_linux_s() {
        assert_eq!(default_of(SIGINT), Default::End);
        assert_eq!(default_of(SIGCHLD), Default::Ignore);
        assert_eq!(default_of(SIGCONT), Default::Continue);
        assert_eq!(default_of(20), Default::Stop);
        assert!(Action::default().is_ignored(SIGCHLD) && !Action::default().is_ignored(SIGINT));
    }
}
