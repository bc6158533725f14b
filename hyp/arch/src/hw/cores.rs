//! Other cores.

use shikiri_abi::{CoreId, CoreSet};

/// Reaching other cores: by one SGI each, never by waiting for them.
pub trait Cores {
    /// The core that runs this code.
    fn this_core(&self) -> CoreId;

    /// Makes each core of the set leave its guest (or its idle wait) and look at its kick bits. What the
    /// caller stored before is visible to it (DSB ISHST before the SGI).
    fn kick(&self, cores: CoreSet);
}
