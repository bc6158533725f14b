//! Devices that are kept back: a partition's own, which it reaches in a life when they were granted (P8).
//!
//! They were charged when the partition was built, and its tables were taken for them as well: nobody else takes any of those, so that
//! giving one cannot fail.

use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_config::Partition;

use super::Holdings;
use super::build::{map_some, mapped_devices, registers};

impl Holdings {
    /// Maps the registers of the device with this path, which is kept back and not given yet, in one step
    /// (`shikiri_config::MAX_KEPT_BYTES`). What is moderated is not mapped.
    ///
    /// # Panics
    /// If it is mapped already, or the partition is not built: our bug.
    pub fn map_kept<P: PhysMem, T: Tlb>(
        &mut self,
        description: &Partition<'_>,
        path: &str,
        machine: (&P, &T),
    ) {
        let regions = mapped_devices(description);
        for region in regions.filter(|device| device.is_kept && device.path == path) {
            let mut next = Some(0);
            while let Some(done) = next {
                match map_some(self, machine, registers(&region), done) {
                    Ok(left) => next = left,
                    Err(error) => unreachable!("a device that was kept back: {error}"),
                }
            }
        }
    }
}
