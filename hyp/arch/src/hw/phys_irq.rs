//! The physical interrupt controller, as far as decisions in the core need it.

use shikiri_abi::{CoreId, IntId};

/// Changes to physical interrupts. Bounded, per interrupt.
pub trait PhysIrq {
    /// Lets a physical SPI reach the cores, or holds it back.
    fn set_enabled(&self, intid: IntId, is_enabled: bool);

    /// Sends a physical SPI to this core from now on.
    fn route(&self, intid: IntId, core: CoreId);

    /// Clears an SPI's active and pending state: when its owner ends or restarts.
    fn clear_state(&self, intid: IntId);
}
