//! The virtual GIC of a partition, as a pure state machine.
//!
//! A virtual GICv3 on GICv3 hardware, a virtual GICv2 on GICv2 hardware (IHI 0069, IHI 0048): distributor,
//! redistributors and software-generated interrupts are emulated here; the CPU interface is the hardware's
//! virtual one, fed through list registers. Complete for SGIs, PPIs and SPIs; no LPIs.
//!
//! [`Vgic`] is a partition's [`Distributor`] and [`CpuInterface`]s, opened under the partition's lock. A vCPU's
//! [`Quick`] is beside the lock: what a timer tick and an SGI need.
//! [`Here`] is the core that runs this code: its hardware, and which of the partition's vCPUs is loaded
//! on it. Every operation answers which other vCPUs must be *kicked*: a kicked vCPU that is loaded leaves
//! its guest and is given to [`Vgic::sync`]; one that is not, may now have a reason to run.
//!
//! Where the truth is: an interrupt in a list register of a loaded vCPU (it is *resident*) is true in that
//! register, and memory holds what was true when it was last folded back. All others are true in memory.
//! Changes from other cores to a resident interrupt are left as commands, which its core applies when it
//! folds; reads from other cores ask for a fold first ([`MmioOutcome::is_retry`]). Nothing here waits.
//!
//! Files: `bank` (32 interrupts), `distributor` and `interface` (the state), `lr` (list-register images),
//! `residency` (load, fold, place), `overflow` (choose), `delivery` (raise, lines, waiting sets), `change`
//! (what registers change), `event` (SPIs of event ports), `quick`, `quick_spi` and `fast` (short ways for what happens all the time), `mmio`, `settings`, `spi_registers`,
//! `redistributor` (decoding and registers), `sgi`, `wake`.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod bank;
mod bits;
mod change;
mod delivery;
mod distributor;
mod event;
mod fast;
mod interface;
mod lr;
mod mmio;
mod overflow;
mod quick;
mod quick_spi;
mod redistributor;
mod residency;
mod set;
mod settings;
mod sgi;
mod spi_registers;
mod vgic;
mod wake;

pub use delivery::Line;
pub use distributor::{Distributor, MAX_SPIS, Model};
pub use event::Polled;
pub use interface::CpuInterface;
pub use mmio::{Access, Frame, MmioOutcome};
pub use quick::{Quick, Sent, send_sgi1r, write_without_lock};
pub use quick_spi::{QuickSpis, raise_without_lock};
pub use residency::clear_hardware;
pub use set::VcpuSet;
pub use sgi::SgiRegister;
pub use vgic::{Here, MAX_VCPUS, Raised, Vgic};
pub use wake::Sleep;
