//! What the hypervisor, its guests and the host tools agree on.
//!
//! Typed addresses and ids, status codes, the account's resources, and the one table of hypercalls
//! (`call`). Pure data: no assembly, no state, nothing imported. Everything in the workspace may import
//! this crate; it imports nothing.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod addr;
mod area;
mod call;
pub mod channel;
mod id;
mod look;
mod message;
mod object;
mod policy;
mod resource;
mod rights;
mod shared;
pub mod smccc;
mod standing;
mod status;
mod talk;

pub use addr::{Ipa, PAGE_BYTES, PAGE_SHIFT, Pa, PageCount};
pub use area::{AreaClass, WINDOWS, WindowSlot};
pub use call::{Argument, CALLS, Call, CallRow, DecodeError, POLICY_FIRST};
pub use id::{CoreId, CoreSet, IntId, MAX_CORES, PartitionId, PartitionSlot, VcpuIndex, Vmid};
pub use look::{LookCall, PortStand, ThingKind};
pub use message::MessageCall;
pub use object::{
    MESSAGE_WORDS, Message, OBJECT_NAME_ALIGN, OBJECT_NAME_BYTES, ObjectCall, ObjectKind,
    ObjectName, QUEUE_DEPTH, Units,
};
pub use policy::{
    Copying, Hold, NamePart, NewAreas, NewDevice, NewVcpu, PartitionRef, PolicyCall, Wanted, Wish,
};
pub use resource::{RESOURCE_COUNT, Resource};
pub use rights::Rights;
pub use shared::SharedCall;
pub use standing::{EndCause, PartitionState};
pub use status::Status;
pub use talk::{Sharing, SignalKind, TalkCall};
