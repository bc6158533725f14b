//! The devices that EL2 itself drives: a UART, the interrupt controller, and what turns a board without PSCI off.
//! Nothing else belongs here.
//!
//! Key types: [`Uart`], a [`Pl011`] or a [`MiniUart`]; [`Gic`] (shared interrupts, any core) and [`CoreGic`] (private interrupts and the CPU
//! interface, one for each core), which are GICv2 or GICv3 by the board's device tree; [`Gich`], the GICv2's
//! virtual interface control, whose GICv3 counterpart is made of system registers and therefore EL2's; [`BcmPower`].
//!
//! Registers are typed blocks of `safe-mmio` behind constructors that are the only unsafe functions. Everything
//! is bounded: no function waits for a device without a limit, none walks over all interrupts after start-up.
#![no_std]

#[cfg(test)]
extern crate std;

mod bcm_power;
mod gic;
mod mini_uart;
mod pl011;
#[cfg(test)]
mod testing;
mod uart;

pub use arm_gic::Trigger;
pub use bcm_power::BcmPower;
pub use gic::bank::InterruptBank;
pub use gic::gich::{Gich, GichRegisters};
pub use gic::v2::{CoreGicV2, GicV2};
pub use gic::v3::{GicV3, Redistributor, check_virtual_interface};
#[cfg(target_arch = "aarch64")]
pub use gic::{Acknowledged, CoreGic, CpuInterface, SystemInterface};
pub use gic::{CoreTarget, Gic, GicError, RedistributorRegion};
pub use mini_uart::MiniUart;
pub use pl011::{LineInterrupts, Pl011};
pub use uart::Uart;
