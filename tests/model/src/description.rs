//! Small system descriptions for the model machine, in their binary form.

use shikiri_abi::{CoreId, CoreSet};
use shikiri_config::{Bundle, CoreTime, GicVersion, PartitionSpec, SystemSpec, Vcpu, crc32, write};

/// A system of these partitions and nothing else.
#[must_use]
pub fn system(gic: GicVersion, cores: u32, partitions: Vec<PartitionSpec>) -> SystemSpec {
    SystemSpec {
        board: "model".to_string(),
        gic,
        cores,
        focus: None,
        partitions,
        blobs: Vec::new(),
        events: Vec::new(),
        channels: Vec::new(),
        policy: None,
        policy_images: Vec::new(),
        names: Vec::new(),
        services: Vec::new(),
        shared: Vec::new(),
    }
}

/// A vCPU on core 0, with a tenth of it.
#[must_use]
pub fn vcpu() -> Vcpu {
    Vcpu {
        cores: CoreSet::one(CoreId(0)),
        home: CoreId(0),
        time: CoreTime::Reservation { budget_us: 100, period_us: 1000 },
        priority: 1,
    }
}

/// The system's bytes at a multiple of 8, as a bundle wants them, for ever.
#[must_use]
pub fn written(system: &SystemSpec) -> &'static mut [u8] {
    let written = write(system);
    let room = vec![0; written.len() + 8].leak();
    let start = room.as_ptr().align_offset(8);
    let bytes = &mut room[start..start + written.len()];
    bytes.copy_from_slice(&written);
    bytes
}

/// The system's bundle.
///
/// # Panics
/// It is not one.
#[must_use]
pub fn bundle(system: &SystemSpec) -> Bundle<'static> {
    Bundle::parse(written(system), crc32).expect("what is written can be read")
}
