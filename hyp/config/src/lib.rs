//! The system description in the form that the hypervisor reads: the *bundle*.
//!
//! One file, made on the host from a text file (`tools/describe`), carries the checked tables of all partitions and the
//! images that they start with. [`Bundle::parse`] checks every number and every rule again before any guest runs; what
//! it returns can be believed. Reading needs no memory besides the bundle itself; writing ([`write()`], feature `alloc`)
//! is for tools and tests.
//!
//! Layout (little-endian, packed; see `row.rs`): header · partitions · vCPUs · memory · images · devices · interrupts ·
//! events · names · shared areas · channels · services · policy · blob table · strings · blobs. A CRC-32 covers all but the blobs, and each blob has its own.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

mod bundle;
mod check;
mod crc;
mod draft;
mod error;
mod partition;
mod row;
mod types;
mod wire;
#[cfg(feature = "alloc")]
mod writer;

pub use bundle::Bundle;
pub use check::{DraftFault, MachineFacts, check_loaded};
pub use crc::{crc32, crc32_step};
pub use draft::{DRAFT_DEVICES, DRAFT_IMAGES, DRAFT_MEMORY, DRAFT_VCPUS, Draft, is_name};
pub use error::{BundleError, Claimant, Contested, File, Item};
pub use partition::Partition;
pub use types::{
    Blob, Board, Channel, ChannelEnd, CoreTime, Device, Event, GIC_FRAME_BYTES, GicVersion,
    IPA_BITS, Image, ImageKind, Interrupt, MAX_ANSWER_MS, MAX_CHANNELS, MAX_EVENTS, MAX_KEPT_BYTES,
    MAX_KEPT_DEVICES, MAX_MODERATED, MAX_NAME_BYTES, MAX_OBJECTS, MAX_PARTITIONS, MAX_PERIOD_US,
    MAX_PLACED, MAX_POLICY_IMAGES, MAX_SERVICES, MAX_SHARED, MAX_SHARES, MAX_VCPUS,
    MAX_VCPUS_AT_HOME, MAX_VCPUS_GICV2, MIN_BUDGET_US, MIN_PERIOD_US, Memory, NameEntry, PA_BITS,
    PartitionSet, Place, Places, Platform, Policy, PolicyImage, REDISTRIBUTOR_BYTES, RecordBytes,
    Restart, RestartPolicy, Service, SharedArea, Talk, Unanswered, Vcpu, Windows,
};
#[cfg(feature = "alloc")]
pub use writer::{
    BlobSpec, ChannelSpec, DeviceSpec, EndSpec, EventSpec, InterruptSpec, NameSpec, PartitionSpec,
    PolicyImageSpec, ServiceSpec, SharedSpec, SystemSpec, write,
};
