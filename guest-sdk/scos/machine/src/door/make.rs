//! Making a partition: what can be found out before, and then call by call.

use shikiri_abi::{NewAreas, PartitionRef, Status};

use super::{
    AREAS_SET, CONSOLE_SET, Calls, DEVICE_ADD, Door, ENTRY_SET, IMAGE_ADD, IMAGE_INFO, MEMORY_ADD,
    TALK_SET, Trees, VCPU_ADD,
};
use crate::Machine as _;
use crate::given::{KEPT, OwnedDevice};
use crate::layout::{Layout, image_number};
use crate::memory::{MEMORY_AT, Region};
use crate::refusal::{Refusal, Rule};
use crate::view::{NewPartition, Time};

/// What a new partition is given besides what its maker says.
pub(super) struct Plan {
    image: u64,
    initrd: Option<u64>,
    layout: Layout,
    pub(super) tree: Option<Vec<u8>>,
    devices: Vec<Given>,
    /// What is noted at it.
    note: String,
}

/// A device of another partition's that the new one is given.
struct Given {
    /// The key that gives it.
    key: &'static str,
    device: OwnedDevice,
    owner: PartitionRef,
}

impl<C: Calls + Trees> Door<C> {
    /// What can be found out before anything is made.
    pub(super) fn plan(&self, new: &NewPartition) -> Result<Plan, Refusal> {
        if let Some((key, why)) = new.contradiction() {
            return Err(Refusal::by(Rule::Key(key, why)));
        }
        let names = self.images()?;
        let image = image_number(&names, &new.image)?;
        let initrd = new.initrd.as_ref().map(|name| image_number(&names, name)).transpose()?;
        let bytes = |image| {
            let told = self.call(("image", None), IMAGE_INFO, [image, 0, 0, 0, 0, 0]);
            told.map(|[bytes, ..]| bytes)
        };
        let layout = Layout::new(new, bytes(image)?, initrd.map(bytes).transpose()?)?;
        let tree = if new.wants_tree() {
            let unknown = "this system's does not name an interrupt controller".to_owned();
            let gic = self.0.gic().ok_or_else(|| Refusal::by(Rule::NoTree(unknown)))?;
            Some(layout.tree(new, gic)?)
        } else {
            None
        };
        let devices = self.owners(new)?;
        Ok(Plan { image, initrd, layout, tree, devices, note: new.note() })
    }

    /// Its devices, with the partitions whose they are.
    fn owners(&self, new: &NewPartition) -> Result<Vec<Given>, Refusal> {
        if new.all_devices().next().is_none() {
            return Ok(Vec::new());
        }
        let partitions = self.partitions()?;
        let with_owner = |(key, device): (&'static str, &OwnedDevice)| {
            let owner = partitions.iter().find(|it| it.name == device.owner);
            let why = || format!("`{device}`: there is no partition `{}`", device.owner);
            let owner = owner.ok_or_else(|| Refusal::by(Rule::Key(key, why())))?;
            Ok(Given { key, device: device.clone(), owner: owner.id })
        };
        new.all_devices().map(with_owner).collect()
    }

    /// Gives a partition that was just created all that `new` says.
    pub(super) fn furnish(
        &self,
        it: PartitionRef,
        new: &NewPartition,
        plan: &Plan,
    ) -> Result<(), Refusal> {
        for (resource, limit) in new.limits_to_set() {
            self.limit(it, resource, Some(limit))?;
        }
        let running = new.vcpus.len().saturating_sub(new.kept_vcpus.into());
        for (number, vcpu) in new.vcpus.iter().enumerate() {
            let time = match vcpu.time {
                Time::Owned => 0,
                Time::Reservation { budget_us, period_us } => {
                    u64::from(budget_us) | u64::from(period_us) << 32
                }
            };
            let kept = u64::from(number >= running) << 8;
            let x = [it.encode(), vcpu.cores.0, time, u64::from(vcpu.priority) | kept, 0, 0];
            let added = self.call(("vCPU", Some(it)), VCPU_ADD, x);
            added.map_err(|refusal| self.no_vcpu(new, vcpu, refusal))?;
        }
        let word = it.encode();
        // Before its memory, which is named then if both are at one place.
        if new.console {
            self.call(("console", Some(it)), CONSOLE_SET, [word, 1, 0, 0, 0, 0])?;
        }
        new.memory.iter().try_for_each(|region| self.add_memory(it, *region))?;
        let Layout { image, initrd } = plan.layout;
        self.call(("image", Some(it)), IMAGE_ADD, [word, plan.image, image, 0, 0, 0])?;
        if let (Some(number), Some((start, _))) = (plan.initrd, initrd) {
            self.call(("RAM disk", Some(it)), IMAGE_ADD, [word, number, start, 0, 0, 0])?;
        }
        let x0 = if plan.tree.is_some() { MEMORY_AT } else { new.x0.unwrap_or(0) };
        self.call(("entry", Some(it)), ENTRY_SET, [word, image, x0, 0, 0, 0])?;
        self.let_talk(it, new)?;
        plan.devices.iter().try_for_each(|device| self.give(it, device))?;
        self.set_note(it, &plan.note)?;
        self.remember(new, plan.tree.as_deref())
    }

    /// Gives it a region of memory.
    fn add_memory(&self, it: PartitionRef, region: Region) -> Result<(), Refusal> {
        let x = [it.encode(), region.at, region.bytes, 0, 0, 0];
        let added = self.call(("memory", Some(it)), MEMORY_ADD, x).map(|_| ());
        added.map_err(|refusal| {
            let why = match refusal.status {
                Status::Range => "no whole pages, or beyond its address space of 40 bits",
                Status::Exists => "other memory, its interrupt controller or its console is there",
                _ => return refusal,
            };
            let rule = Rule::Key("memory", format!("`{region}`: {why}"));
            Refusal { rule: Some(rule), ..refusal }
        })
    }

    /// Gives it handles, and areas.
    fn let_talk(&self, it: PartitionRef, new: &NewPartition) -> Result<(), Refusal> {
        if new.handles > 0 {
            let x = [it.encode(), new.handles.into(), new.requests.into(), 0, 0, 0];
            self.call(("handles", Some(it)), TALK_SET, x)?;
        }
        if new.areas != NewAreas::default() {
            let [slots, ends] = new.areas.encode();
            let set =
                self.call(("areas", Some(it)), AREAS_SET, [it.encode(), slots, ends, 0, 0, 0]);
            set.map_err(|refusal| {
                let why = match refusal.status {
                    Status::Range => "more than 4,096 pages, 512 blocks, 510 giants or 64 shares",
                    Status::Full => "so many places are not left for partitions that are made",
                    _ => return refusal,
                };
                Refusal { rule: Some(Rule::Key("areas", why.to_owned())), ..refusal }
            })?;
        }
        Ok(())
    }

    /// Gives it a device of another one's.
    fn give(&self, it: PartitionRef, Given { key, device, owner }: &Given) -> Result<(), Refusal> {
        let is_kept = u64::from(*key == KEPT) << 8;
        let x = [it.encode(), owner.encode(), u64::from(device.number) | is_kept, 0, 0, 0];
        let given = self.call(("device", Some(it)), DEVICE_ADD, x).map(|_| ());
        given.map_err(|refusal| {
            let owner = &device.owner;
            let why = match refusal.status {
                // A made one has none to give.
                Status::InvalidParameter => format!("`{owner}` is not of the description"),
                Status::NotFound => format!("`{owner}` has no such device"),
                Status::WrongState | Status::PeerGone => {
                    format!("`{owner}` has not ended, or will start again by itself")
                }
                Status::Exists => {
                    "it is given already, or something else has its address or interrupt".to_owned()
                }
                Status::NotSupported => "it masters the bus".to_owned(),
                Status::Full => "there is no room for its rows".to_owned(),
                Status::Range => "it has more registers than can be given in one step".to_owned(),
                _ => return refusal,
            };
            let rule = Rule::Key(key, format!("`{device}`: {why}"));
            Refusal { rule: Some(rule), ..refusal }
        })
    }
}
