//! What a description says, as plain values.

mod areas;
mod board;
mod cores;
mod memory;
mod partition;
mod policy;
mod talk;

pub use areas::{
    Channel, ChannelEnd, MAX_CHANNELS, MAX_SHARED, MAX_SHARES, Places, SharedArea, Windows,
};
pub use board::{
    Board, GIC_FRAME_BYTES, GicVersion, IPA_BITS, MAX_VCPUS, MAX_VCPUS_GICV2, PA_BITS,
    REDISTRIBUTOR_BYTES,
};
pub use cores::{CoreTime, MAX_PERIOD_US, MAX_VCPUS_AT_HOME, MIN_BUDGET_US, MIN_PERIOD_US, Vcpu};
pub use memory::{
    Blob, Device, Image, ImageKind, Interrupt, MAX_KEPT_BYTES, MAX_KEPT_DEVICES, MAX_MODERATED,
    MAX_PLACED, Memory, Place,
};
pub use partition::{
    MAX_NAME_BYTES, MAX_PARTITIONS, PartitionSet, Platform, RecordBytes, Restart, RestartPolicy,
};
pub use policy::{MAX_ANSWER_MS, MAX_POLICY_IMAGES, Policy, PolicyImage, Unanswered};
pub use talk::{Event, MAX_EVENTS, MAX_OBJECTS, MAX_SERVICES, NameEntry, Service, Talk};
