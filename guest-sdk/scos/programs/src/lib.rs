//! What the programs of the system control OS share. They are ordinary Linux programs: std, musl, static.

pub mod os;
pub mod partitions;
pub mod processes;
pub mod report;
pub mod socket;
