//! Everything that touches the machine: start-up, the way to a program and back, registers, devices, and the
//! checked access to the memory that programs and tables live in. All `unsafe` of the kernel is here.

mod boot;
mod cpu;
mod device;
mod frame;
mod gic;
mod heap;
mod panic;
mod policy;
mod ram;
mod uart;
mod window;

pub(crate) use boot::Machine;
pub(crate) use cpu::{
    Reason, arm_timer, clock, disarm_timer, enter, forget_space, frequency, power_off, random_word,
    use_space, wait_for_interrupt,
};
pub(crate) use frame::Frame;
pub(crate) use gic::{
    Interrupt, acknowledge, disable as disable_interrupt, enable as enable_interrupt, end,
};
pub(crate) use heap::{free_bytes as heap_free_bytes, is_low as heap_is_low};
pub(crate) use policy::{listen_to_policy, policy_call, policy_load, policy_load_area};
pub(crate) use ram::Ram;
pub(crate) use uart::{read_bytes, write_bytes};
pub(crate) use window::{
    Page, close as close_port, free, read as read_window, send, write as write_window,
};

/// What the kernel's address of a byte is above its physical address: the upper half of 39 bits.
pub(crate) const KERNEL_BASE: u64 = 0xffff_ff80_0000_0000;
