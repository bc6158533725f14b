//! The hardware, as six small traits: what must happen in the middle of a step.
//!
//! The EL2 binary implements them once, the tests' model machine once. All methods take `&self`: an
//! implementation is a handle, and its state is the machine's.

mod clock;
mod cores;
mod phys_irq;
mod phys_mem;
mod regime;
mod tlb;

pub use clock::Clock;
pub use cores::Cores;
pub use phys_irq::{ActivePriorities, ListRegisters, PhysIrq};
pub use phys_mem::PhysMem;
pub use regime::{Regime, SCTLR_EL1_RESET};
pub use tlb::{Tlb, Vttbr};
