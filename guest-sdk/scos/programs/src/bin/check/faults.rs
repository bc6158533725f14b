//! What a program must not do ends it, and nobody else.

use libc::{PROT_EXEC, PROT_READ, PROT_WRITE, SIGILL, SIGSEGV, SIGTRAP, c_int};
use std::sync::atomic::{AtomicUsize, Ordering};

use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, holds};

static PAGE: AtomicUsize = AtomicUsize::new(0);

/// Makes the page that faulted writable.
extern "C" fn repair(_signal: c_int) {
    let page = PAGE.load(Ordering::Relaxed);
    os::protect(page, 4096, PROT_READ | PROT_WRITE).unwrap();
}

/// An address of the kernel.
const KERNEL: usize = 0xffff_ff80_4008_0000;

/// `ret`.
const RETURN: [u8; 4] = 0xd65f_03c0_u32.to_le_bytes();

pub(crate) fn check() {
    let data = os::map(4096, PROT_READ | PROT_WRITE, libc::MAP_PRIVATE).unwrap();
    for (index, byte) in RETURN.iter().enumerate() {
        os::poke(data + index, *byte);
    }
    let code = check as *const () as usize;
    dies("null_cannot_be_read", SIGSEGV, || assert_ne!(os::peek(0), 0));
    dies("null_cannot_be_written", SIGSEGV, || os::poke(8, 1));
    dies("null_cannot_be_called", SIGSEGV, || os::execute(0));
    dies("the_kernel_cannot_be_read", SIGSEGV, || assert_ne!(os::peek(KERNEL), 0));
    dies("the_kernel_cannot_be_written", SIGSEGV, || os::poke(KERNEL, 1));
    dies("the_kernel_cannot_be_called", SIGSEGV, || os::execute(KERNEL));
    dies("code_cannot_be_written", SIGSEGV, || os::poke(code, 1));
    dies("data_cannot_be_called", SIGSEGV, || os::execute(data));
    dies("what_is_no_address_faults", SIGSEGV, || assert_ne!(os::peek(0x1234_5678_9abc_def0), 0));
    dies("what_is_no_instruction_is_sigill", SIGILL, os::undefined);
    dies("a_register_of_the_kernel_is_sigill", SIGILL, os::forbidden_register);
    dies("a_breakpoint_is_sigtrap", SIGTRAP, os::breakpoint);
    dies("a_stack_has_an_end", SIGSEGV, || assert_ne!(deep(1), 0));
    equal("code_can_be_made", os::protect(data, 4096, PROT_READ | PROT_EXEC), Ok(()));
    let called = os::end_of(|| {
        os::execute(data);
        0
    });
    equal("and_called", called, Ok(Ended::Exit(0)));
    dies("and_then_not_written", SIGSEGV, || os::poke(data, 1));
    repaired();
}

/// A child ends by this signal.
fn dies(what: &str, signal: c_int, action: impl FnOnce()) {
    let ended = os::end_of(|| {
        // Rust's own handlers for stack overflows would print.
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            os::ignore(signal, false).unwrap();
        }
        action();
        0
    });
    equal(what, ended, Ok(Ended::Signal(signal)));
}

/// Uses up the stack.
#[expect(unconditional_recursion, reason = "that is what is checked")]
fn deep(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    deep(depth + 1) + room[0]
}

fn repaired() {
    let page = os::map(4096, PROT_READ, libc::MAP_PRIVATE).unwrap();
    PAGE.store(page, Ordering::Relaxed);
    os::handle(SIGSEGV, repair, 0).unwrap();
    os::poke(page, 7);
    holds("a_handler_repairs_a_fault", os::peek(page) == 7);
}
