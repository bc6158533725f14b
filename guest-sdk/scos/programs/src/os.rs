//! What std does not have: processes by `fork`, signals, `poll`, mappings, and calls by number. Each answers the error's
//! number on failure.
#![expect(unsafe_code, reason = "calls the C library")]

use std::os::fd::RawFd;

use libc::c_int;

/// The error's number, if a function has answered −1.
fn checked(answer: c_int) -> Result<c_int, i32> {
    if answer == -1 { Err(errno()) } else { Ok(answer) }
}

/// The number of the last error.
#[must_use]
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// `fork`: 0 in the child.
///
/// # Errors
/// EAGAIN, ENOMEM.
pub fn fork() -> Result<i32, i32> {
    // SAFETY: the test programs fork with one thread only, so the child may do everything.
    checked(unsafe { libc::fork() })
}

/// A child that ends after `action` and whose end is told by this signal; its number.
///
/// # Errors
/// EAGAIN, ENOMEM, EINVAL.
pub fn fork_with(signal: c_int, action: impl FnOnce()) -> Result<i32, i32> {
    // SAFETY: as fork, with one thread only.
    match unsafe { call(220, [u64::from(signal.unsigned_abs()), 0, 0, 0, 0, 0]) } {
        0 => {
            action();
            exit_now(0)
        }
        child @ 1.. => i32::try_from(child).map_err(|_| libc::ERANGE),
        error => Err(i32::try_from(-error).unwrap_or(0)),
    }
}

/// Runs `action` in a child, which ends with its answer; the child's number.
///
/// # Errors
/// As [`fork`].
pub fn in_child(action: impl FnOnce() -> i32) -> Result<i32, i32> {
    match fork()? {
        0 => {
            let status = action();
            exit_now(status)
        }
        child => Ok(child),
    }
}

/// Ends the process without cleaning up.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It has stopped only, by this signal.
    Stopped(i32),
    /// It has not yet (WNOHANG).
    Not,
}

/// Waits for a child, or for any with −1.
///
/// # Errors
/// ECHILD, EINTR, EINVAL.
pub fn wait(child: i32, options: c_int) -> Result<(i32, Ended), i32> {
    let mut status = 0;
    // SAFETY: the status is a local variable.
    let id = checked(unsafe { libc::waitpid(child, &raw mut status, options) })?;
    let ended = if id == 0 {
        Ended::Not
    } else if libc::WIFSIGNALED(status) {
        Ended::Signal(libc::WTERMSIG(status))
    } else if libc::WIFSTOPPED(status) {
        Ended::Stopped(libc::WSTOPSIG(status))
    } else {
        Ended::Exit(libc::WEXITSTATUS(status))
    };
    Ok((id, ended))
}

/// How a child that runs `action` ends.
///
/// # Errors
/// As [`fork`] and [`wait`].
pub fn end_of(action: impl FnOnce() -> i32) -> Result<Ended, i32> {
    let child = in_child(action)?;
    Ok(wait(child, 0)?.1)
}

/// Sends a signal.
///
/// # Errors
/// ESRCH, EINVAL.
pub fn kill(process: i32, signal: c_int) -> Result<(), i32> {
    // SAFETY: sends a signal.
    checked(unsafe { libc::kill(process, signal) }).map(drop)
}

/// A signal's handler.
pub type Handler = extern "C" fn(c_int);

/// Has a handler called, with these flags.
///
/// # Errors
/// EINVAL.
pub fn handle(signal: c_int, handler: Handler, flags: c_int) -> Result<(), i32> {
    set_action(signal, handler as *const () as usize, flags)
}

/// Has a signal ignored, or not any more.
///
/// # Errors
/// EINVAL.
pub fn ignore(signal: c_int, is_ignored: bool) -> Result<(), i32> {
    set_action(signal, if is_ignored { libc::SIG_IGN } else { libc::SIG_DFL }, 0)
}

fn set_action(signal: c_int, handler: usize, flags: c_int) -> Result<(), i32> {
    // SAFETY: all zeros are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the action is a local variable; the handlers of the test programs only touch atomics.
    checked(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }).map(drop)
}

/// Holds a signal back, or lets it through.
///
/// # Errors
/// EINVAL.
pub fn hold_back(signal: c_int, is_held: bool) -> Result<(), i32> {
    let set = set_of(signal);
    let how = if is_held { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the set is a local variable.
    checked(unsafe { libc::sigprocmask(how, &raw const set, std::ptr::null_mut()) }).map(drop)
}

fn set_of(signal: c_int) -> libc::sigset_t {
    // SAFETY: all zeros are a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is a local variable.
    unsafe { libc::sigemptyset(&raw mut set) };
    if signal != 0 {
        // SAFETY: the set is a local variable.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// Waits for a signal with none held back.
#[must_use]
pub fn suspend() -> i32 {
    let set = set_of(0);
    // SAFETY: the set is a local variable.
    unsafe { libc::sigsuspend(&raw const set) };
    errno()
}

/// Has SIGALRM come after so many milliseconds, and then as often; 0: not.
pub fn set_alarm(first_ms: i64, interval_ms: i64) {
    set_alarm_us(first_ms * 1000, interval_ms * 1000);
}

/// The same in microseconds.
pub fn set_alarm_us(first_us: i64, interval_us: i64) {
    let time = |us: i64| libc::timeval { tv_sec: us / 1_000_000, tv_usec: us % 1_000_000 };
    let timer = libc::itimerval { it_interval: time(interval_us), it_value: time(first_us) };
    // SAFETY: the timer is a local variable.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Gives this thread an alternate stack of so many bytes, for ever.
///
/// # Errors
/// ENOMEM, EPERM.
pub fn set_alternate_stack(bytes: usize) -> Result<(usize, usize), i32> {
    let memory = Box::leak(vec![0_u8; bytes].into_boxed_slice());
    let start = memory.as_mut_ptr();
    let stack = libc::stack_t { ss_sp: start.cast(), ss_flags: 0, ss_size: bytes };
    // SAFETY: the memory lives for ever.
    checked(unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) })?;
    Ok((start.addr(), bytes))
}

/// Reads.
///
/// # Errors
/// EINTR, EAGAIN, EBADF and others.
pub fn read(fd: RawFd, bytes: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the buffer is exclusive.
    let count = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    usize::try_from(count).map_err(|_| errno())
}

/// Writes.
///
/// # Errors
/// EINTR, EAGAIN, EPIPE and others.
pub fn write(fd: RawFd, bytes: &[u8]) -> Result<usize, i32> {
    // SAFETY: the buffer is only read.
    let count = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(count).map_err(|_| errno())
}

/// A pipe: the end for reading and the one for writing.
///
/// # Errors
/// EMFILE, ENFILE.
pub fn pipe(flags: c_int) -> Result<(RawFd, RawFd), i32> {
    let mut ends = [0; 2];
    // SAFETY: the array has the two numbers.
    checked(unsafe { libc::pipe2(ends.as_mut_ptr(), flags) })?;
    Ok((ends[0], ends[1]))
}

/// Closes.
///
/// # Errors
/// EBADF.
pub fn close(fd: RawFd) -> Result<(), i32> {
    // SAFETY: the test programs close what they opened themselves.
    checked(unsafe { libc::close(fd) }).map(drop)
}

/// `poll`: what was found for each descriptor.
///
/// # Errors
/// EINTR, EINVAL.
pub fn poll(asked: &[(RawFd, i16)], timeout_ms: c_int) -> Result<Vec<i16>, i32> {
    let mut fds: Vec<libc::pollfd> = asked
        .iter()
        .map(|(fd, events)| libc::pollfd { fd: *fd, events: *events, revents: 0 })
        .collect();
    // SAFETY: the array has so many entries.
    checked(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) })?;
    Ok(fds.iter().map(|fd| fd.revents).collect())
}

/// Three sets of 128 descriptors: for reading, for writing, and for what is exceptional. The lowest bit is descriptor 0.
pub type Sets = [u128; 3];

/// `pselect6` for the descriptors below `end`, which is at most 128: how many were found, and the sets afterwards.
///
/// # Errors
/// EBADF, EINTR, EINVAL.
pub fn select(end: u64, asked: Sets, timeout_ms: Option<i64>) -> Result<(i64, Sets), i32> {
    let mut sets = asked;
    let [reading, writing, exceptional] = &mut sets;
    let mut time =
        timeout_ms.map(|ms| libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 });
    let time = time.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
    let none = std::ptr::null_mut::<u8>();
    // SAFETY: at most 16 bytes of each set are read and written, and the time; all are local variables.
    let found = unsafe {
        libc::syscall(
            libc::SYS_pselect6,
            end.min(128),
            &raw mut *reading,
            &raw mut *writing,
            &raw mut *exceptional,
            time,
            none,
        )
    };
    if found == -1 { Err(errno()) } else { Ok((found, sets)) }
}

/// Maps memory that is zero.
///
/// # Errors
/// ENOMEM, EINVAL, EACCES.
pub fn map(bytes: usize, protection: c_int, flags: c_int) -> Result<usize, i32> {
    let flags = flags | libc::MAP_ANONYMOUS;
    // SAFETY: without MAP_FIXED, nothing that is there is replaced.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(errno()) } else { Ok(start.addr()) }
}

/// Changes the protection of mapped memory, which is nobody else's.
///
/// # Errors
/// ENOMEM, EINVAL, EACCES.
pub fn protect(start: usize, bytes: usize, protection: c_int) -> Result<(), i32> {
    // SAFETY: only the test programs' own mappings come here.
    checked(unsafe { libc::mprotect(std::ptr::without_provenance_mut(start), bytes, protection) })
        .map(drop)
}

/// Takes a mapping away, which is nobody else's.
///
/// # Errors
/// EINVAL.
pub fn unmap(start: usize, bytes: usize) -> Result<(), i32> {
    // SAFETY: only the test programs' own mappings come here.
    checked(unsafe { libc::munmap(std::ptr::without_provenance_mut(start), bytes) }).map(drop)
}

/// Reads a byte, wherever that is: for who wants to see what happens.
#[must_use]
pub fn peek(address: usize) -> u8 {
    let value: u64;
    // SAFETY: not for a bad address: the process ends then, which is what its parent looks at.
    unsafe {
        std::arch::asm!("ldrb {0:w}, [{1}]", out(reg) value, in(reg) address, options(nostack))
    };
    value.to_le_bytes()[0]
}

/// Writes a byte, wherever that is.
pub fn poke(address: usize, value: u8) {
    // SAFETY: not for memory that Rust knows of: the test programs name mappings of their own, or bad addresses.
    unsafe {
        std::arch::asm!("strb {0:w}, [{1}]", in(reg) u32::from(value), in(reg) address, options(nostack))
    };
}

/// As [`poke`], for eight bytes.
pub fn poke_word(address: usize, value: u64) {
    for (index, byte) in value.to_le_bytes().into_iter().enumerate() {
        poke(address.wrapping_add(index), byte);
    }
}

/// Calls what is there.
pub fn execute(address: usize) {
    // SAFETY: what is called there either faults or returns at once, by the rules of C.
    unsafe { std::arch::asm!("blr {0}", in(reg) address, clobber_abi("C")) };
}

/// Executes one word of code that is no instruction.
pub fn undefined() {
    // SAFETY: ends the process.
    unsafe { std::arch::asm!("udf #0") };
}

/// Executes a breakpoint.
pub fn breakpoint() {
    // SAFETY: ends the process.
    unsafe { std::arch::asm!("brk #1") };
}

/// Reads a register that programs have no right to.
pub fn forbidden_register() {
    // SAFETY: ends the process.
    unsafe { std::arch::asm!("mrs {0}, ttbr0_el1", out(reg) _) };
}

/// Spins with values in the registers of floating point until `stop` answers true; whether they are still there.
pub fn keeps_vectors(stop: impl Fn() -> bool) -> bool {
    let mut same = true;
    let mut round = 0_u64;
    while !stop() {
        round = round.wrapping_add(1);
        let (low, high): (u64, u64);
        // SAFETY: only the registers that are named change.
        unsafe {
            std::arch::asm!(
                "dup v8.2d, {round}", "dup v31.2d, {round}", "mov {count}, #2000",
                "2: subs {count}, {count}, #1", "b.ne 2b",
                "umov {low}, v8.d[1]", "umov {high}, v31.d[0]",
                round = in(reg) round, count = out(reg) _, low = out(reg) low, high = out(reg) high,
                out("v8") _, out("v31") _, options(nostack)
            );
        }
        same &= low == round && high == round;
    }
    same
}

/// A system call as it is: the answer in `x0`.
///
/// # Safety
/// What the kernel writes by these arguments is memory that Rust does not know of, and what goes away by them is not used any more.
#[must_use]
pub unsafe fn call(number: u64, arguments: [u64; 6]) -> i64 {
    let answer: i64;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller vouches for the arguments.
    unsafe {
        std::arch::asm!(
            "svc #0",
            in("x8") number, inlateout("x0") a => answer, in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack)
        );
    }
    answer
}

/// Whether the system is Linux, and not ours.
#[must_use]
pub fn is_linux() -> bool {
    // SAFETY: all zeros are a valid `utsname`.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is a local variable.
    unsafe { libc::uname(&raw mut names) };
    names.sysname.starts_with(&b"Linux\0".map(|letter| letter as libc::c_char))
}

/// KiB of memory that nobody has.
#[must_use]
pub fn free_kib() -> u64 {
    // SAFETY: all zeros are a valid `sysinfo`.
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is a local variable.
    unsafe { libc::sysinfo(&raw mut info) };
    info.freeram / 1024
}
