//! The kernel of the system control OS: an ordinary EL1 guest whose programs run at EL0 with Linux's system calls for
//! AArch64.
//!
//! One vCPU, one kernel stack, interrupts masked while the kernel runs. A program is entered by a function that returns why it came
//! back (`arch::enter`); a call that has to wait leaves its thread waiting for keys and is tried again from the start when one of
//! them is woken. So the whole state is one value, [`kernel::Kernel`], and no two parts of the kernel ever run at once.
//!
//! ```text
//! arch/      start-up, vectors, registers, devices, memory by frame number: all unsafe code
//! kernel     the state, and the loop: settle what has happened, choose a thread, run it, see why it came back
//! process, thread, life      what they are; how they begin and end
//! wake       who waits for what, and is told
//! hypervisor channels and areas of other partitions, for the sockets
//! policy     /dev/shikiri: the calls of who makes policy
//! fault      exceptions of programs; signal: signals and their handlers
//! proc       what /proc says
//! program    execve: the file, the stack, the first registers
//! user       what a call sees: its arguments, copies from and to its program
//! calls/     the system calls, a file for each topic, by the table of shikiri-scos-core
//! ```
//!
//! What programs do is hostile: no pointer of theirs is ever used as an address by the kernel (shikiri-scos-core's `Space` walks their tables),
//! no number of theirs decides how much the kernel allocates, and what the kernel needs is a part of the memory that programs do not get.
#![no_std]
#![no_main]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

extern crate alloc;

mod arch;
mod areas;
mod calls;
mod clock;
mod console;
mod fault;
mod hypervisor;
mod kernel;
mod life;
mod policy;
mod proc;
mod process;
mod program;
mod quiet;
mod signal;
mod thread;
mod trigger;
mod user;
mod wake;
