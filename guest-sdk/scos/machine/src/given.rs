//! What a new partition is given besides time, memory and images, as people write it: areas, and devices of others.

use core::fmt;

use shikiri_abi::{NewAreas, PAGE_BYTES, Resource};

use crate::amount::Span;
use crate::memory::{MEMORY_AT, MOST_REGIONS};
use crate::view::{NewPartition, Time};

/// The most vCPUs of a partition that is made at run time (VCPU_ADD answers FULL beyond).
pub const MOST_VCPUS: u8 = 8;
/// The most devices of a partition that can be named.
const MOST_DEVICES: u8 = 64;

/// A device that belongs to a partition of the description: `clock:0` is the first one that the description gives to `clock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedDevice {
    /// The partition's name.
    pub owner: String,
    /// Which of its devices, in the description's order.
    pub number: u8,
}

/// The key of devices that are kept back.
pub(crate) const KEPT: &str = "kept_devices";

impl OwnedDevice {
    /// Reads `OWNER:NUMBER`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = text.split_once(':').and_then(|(owner, number)| {
            let number = number.parse().ok().filter(|number| *number < MOST_DEVICES)?;
            (!owner.is_empty()).then(|| Self { owner: owner.to_owned(), number })
        });
        read.ok_or_else(|| {
            format!(
                "`{text}` is no device such as `clock:0`: whose, and which of its devices, 0 to 63"
            )
        })
    }
}

impl fmt::Display for OwnedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.owner, self.number)
    }
}

/// The numbers with their keys, which are the description's.
const fn by_keys(areas: &mut NewAreas) -> [(&'static str, &mut u16); 5] {
    let NewAreas { pages, blocks, giants, channels, shares } = areas;
    [
        ("pages", pages),
        ("blocks", blocks),
        ("giants", giants),
        ("channels", channels),
        ("shared", shares),
    ]
}

/// Reads areas written in one word, with the description's keys: `pages:16,channels:2`.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn areas_in(text: &str) -> Result<NewAreas, String> {
    let mut areas = NewAreas::default();
    for part in text.split(',') {
        let Some((key, number)) = part.split_once(':') else {
            return Err(format!("`{part}` is not such as `pages:16`"));
        };
        let numbers = by_keys(&mut areas);
        let [others @ .., last] = numbers.each_ref().map(|(known, _)| *known);
        let found = numbers.into_iter().find(|(known, _)| *known == key);
        let Some((_, place)) = found else {
            return Err(format!("there is no `{key}`: {} and {last}", others.join(", ")));
        };
        *place = number.parse().map_err(|_| format!("`{part}`: 0 to 65535 are possible"))?;
    }
    Ok(areas)
}

/// Areas in one word, as they are read.
pub(crate) fn areas_text(mut areas: NewAreas) -> String {
    let said = by_keys(&mut areas).into_iter().filter(|(_, number)| **number > 0);
    said.map(|(key, number)| format!("{key}:{number}")).collect::<Vec<_>>().join(",")
}

impl NewPartition {
    /// The limits that it is made with: those that are said, and of core time, memory and devices what it is given, so that what it has is
    /// taken from what may be handed out, and no more.
    #[must_use]
    pub fn limits_to_set(&self) -> Vec<(Resource, u64)> {
        let mut limits = self.limits.clone();
        let share = self.vcpus.iter().map(|vcpu| vcpu.time.ppm()).fold(0, u64::saturating_add);
        let devices = u64::try_from(self.all_devices().count()).unwrap_or(u64::MAX);
        for (resource, need) in [
            (Resource::CoreTime, share),
            (Resource::Memory, self.memory_bytes() / PAGE_BYTES),
            (Resource::Devices, devices),
        ] {
            if resource == Resource::Devices && devices == 0 {
                continue;
            }
            if limits.iter().all(|(said, _)| *said != resource) {
                limits.push((resource, need));
            }
        }
        limits
    }

    /// What cannot be right whatever machine it is for: the key, and why.
    #[must_use]
    pub fn contradiction(&self) -> Option<(&'static str, String)> {
        self.mismatch().or_else(|| self.not_noted())
    }

    /// What does not fit the rest of it.
    pub(crate) fn mismatch(&self) -> Option<(&'static str, String)> {
        let (vcpus, kept) = (self.vcpus.len(), usize::from(self.kept_vcpus));
        if vcpus == 0 || vcpus > usize::from(MOST_VCPUS) {
            return Some(("vcpus", format!("{vcpus} vCPUs; 1 to {MOST_VCPUS} are possible")));
        }
        if kept >= vcpus {
            return Some((
                "kept_vcpus",
                format!("{kept} of {vcpus} vCPUs; the first one is never kept back"),
            ));
        }
        if let Some(why) = self.vcpus.iter().find_map(|vcpu| out_of_range(vcpu.time)) {
            return Some(("share", why));
        }
        let longer = self.vcpus.iter().find_map(|vcpu| match vcpu.time {
            Time::Reservation { budget_us, period_us } if budget_us > period_us => {
                Some([budget_us, period_us].map(Span::of_us))
            }
            Time::Reservation { .. } | Time::Owned => None,
        });
        if let Some([budget, period]) = longer {
            return Some((
                "share",
                format!("a budget of {budget} is longer than its period of {period}"),
            ));
        }
        let regions = self.memory.len();
        if regions == 0 || regions > MOST_REGIONS {
            let why = format!("{regions} regions; 1 to {MOST_REGIONS} are possible");
            return Some(("memory", why));
        }
        if self.memory.first().is_some_and(|region| region.at != MEMORY_AT) {
            return Some(("memory", format!("the first region is always at {MEMORY_AT:#x}")));
        }
        if self.x0.is_some() && self.wants_tree() {
            let why = "that is where the device tree is, which it is given".to_owned();
            return Some(("x0", why));
        }
        if self.requests > 0 && self.handles == 0 {
            return Some(("requests", "without `handles` nothing can be asked for".to_owned()));
        }
        let NewAreas { pages, channels, .. } = self.areas;
        if self.areas != NewAreas::default() && self.handles == 0 {
            return Some(("areas", "without `handles` nothing can be done with them".to_owned()));
        }
        let needs = u32::from(channels).saturating_mul(2);
        if u32::from(pages) < needs {
            return Some((
                "areas",
                format!(
                    "{channels} channels take {needs} pages of their own, and there are {pages}"
                ),
            ));
        }
        let mut devices = self.all_devices().enumerate();
        let is_before = |at, device| self.all_devices().take(at).any(|(_, other)| other == device);
        let twice = devices.find(|(at, (_, device))| is_before(*at, *device));
        twice.map(|(_, (key, device))| (key, format!("`{device}` stands twice")))
    }

    /// All its devices, with the keys that give them: those that are kept back come last.
    pub(crate) fn all_devices(&self) -> impl Iterator<Item = (&'static str, &OwnedDevice)> {
        let own = self.devices.iter().map(|device| ("devices", device));
        own.chain(self.kept_devices.iter().map(|device| (KEPT, device)))
    }
}

/// What VCPU_ADD does not take: a budget below 50 us, a period below 100 us or above 1 s.
fn out_of_range(time: Time) -> Option<String> {
    let Time::Reservation { budget_us, period_us } = time else { return None };
    let [budget, period] = [budget_us, period_us].map(Span::of_us);
    if budget_us < 50 {
        return Some(format!("a budget of {budget}; 50us is the least"));
    }
    let is_possible = (100..=1_000_000).contains(&period_us);
    (!is_possible).then(|| format!("a period of {period}; 100us to 1s are possible"))
}

#[cfg(test)]
mod tests {
    use super::{OwnedDevice, areas_in};
    use crate::memory::Region;
    use crate::view::{Boot, Cores, NewPartition, NewVcpu, Time};
    use shikiri_abi::NewAreas;

    #[test]
    fn devices_are_written_as_they_are_read() {
        for text in ["clock:0", "a-b_c:63"] {
            assert_eq!(OwnedDevice::parse(text).map(|it| it.to_string()).as_deref(), Ok(text));
        }
        for bad in ["3", "clock", ":0", "clock:", "clock:64", "clock:-1", ""] {
            let error = OwnedDevice::parse(bad).unwrap_err();
            assert!(error.starts_with(&format!("`{bad}` is no device")), "{error}");
        }
    }

    #[test]
    fn areas_are_read_by_the_descriptions_keys() {
        let areas = NewAreas { pages: 16, blocks: 8, giants: 1, channels: 2, shares: 4 };
        assert_eq!(areas_in("pages:16,blocks:8,giants:1,channels:2,shared:4"), Ok(areas));
        for (text, why) in [
            ("pages", "`pages` is not such as `pages:16`"),
            ("sheets:3", "there is no `sheets`: pages, blocks, giants, channels and shared"),
            ("pages:70000", "`pages:70000`: 0 to 65535 are possible"),
        ] {
            assert_eq!(areas_in(text).unwrap_err(), why);
        }
    }

    #[test]
    fn contradictions_are_named_by_their_key() {
        let vcpu = NewVcpu { cores: Cores(1), time: Time::Owned, priority: 0 };
        let memory = vec![Region::first(4096)];
        let image = "i".to_owned();
        let right = NewPartition { vcpus: vec![vcpu; 2], memory, image, ..NewPartition::default() };
        let time = Time::Reservation { budget_us: 2, period_us: 1 };
        let more = NewVcpu { time, ..vcpu };
        let elsewhere = Region { at: 0x8000_0000, bytes: 4096 };
        assert_eq!(right.contradiction(), None);
        let device = OwnedDevice { owner: "clock".to_owned(), number: 0 };
        let devices = vec![device.clone()];
        let areas = |pages, channels| NewAreas { pages, channels, ..NewAreas::default() };
        for (wrong, key) in [
            (NewPartition { vcpus: vec![], ..right.clone() }, "vcpus"),
            (NewPartition { vcpus: vec![vcpu; 9], ..right.clone() }, "vcpus"),
            (NewPartition { kept_vcpus: 2, ..right.clone() }, "kept_vcpus"),
            (NewPartition { vcpus: vec![vcpu, more], ..right.clone() }, "share"),
            (NewPartition { memory: vec![], ..right.clone() }, "memory"),
            (NewPartition { memory: vec![elsewhere], ..right.clone() }, "memory"),
            (NewPartition { memory: vec![Region::first(4096); 5], ..right.clone() }, "memory"),
            (NewPartition { x0: Some(0), boot: Boot::Linux, ..right.clone() }, "x0"),
            (NewPartition { requests: 1, ..right.clone() }, "requests"),
            (NewPartition { areas: areas(1, 0), ..right.clone() }, "areas"),
            (NewPartition { areas: areas(3, 2), handles: 8, ..right.clone() }, "areas"),
            (NewPartition { devices: vec![device.clone(), device], ..right.clone() }, "devices"),
            (
                NewPartition { devices: devices.clone(), kept_devices: devices, ..right.clone() },
                "kept_devices",
            ),
        ] {
            assert_eq!(wrong.contradiction().map(|(key, _)| key), Some(key));
        }
        let some =
            NewPartition { handles: 8, requests: 1, areas: areas(4, 2), x0: Some(0), ..right };
        assert_eq!(NewPartition { kept_vcpus: 1, ..some }.contradiction(), None);
    }
}
