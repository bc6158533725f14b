//! A new partition in words, `KEY=VALUE` each: as a person types them, and as they are noted at it.

use std::str::FromStr;

use shikiri_abi::{NewAreas, Resource};

use crate::amount::{Amount, Span, resource_named, resource_word, resource_words};
use crate::given::{KEPT, MOST_VCPUS, OwnedDevice, areas_in, areas_text};
use crate::memory::{self, Region};
use crate::view::{Boot, Cores, NewPartition, NewVcpu, Time};

/// The most bytes of a note (NOTE_SET: 252 pieces of 16).
pub(crate) const MOST_NOTE: usize = 4032;

/// What is given, or said, of a new partition.
const KEYS: [&str; 17] = [
    "image",
    "kernel",
    "initrd",
    "cmdline",
    "memory",
    "cores",
    "vcpus",
    "kept_vcpus",
    "share",
    "priority",
    "console",
    "handles",
    "requests",
    "areas",
    "devices",
    KEPT,
    "x0",
];

/// The last word of a note, because it has spaces.
const CMDLINE: &str = " cmdline=";

impl NewPartition {
    /// Reads the words of one with this name.
    ///
    /// # Errors
    /// What is wrong with which of them, and what is missing, in words.
    pub fn read<'a>(name: &str, words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let vcpu = NewVcpu { cores: Cores::default(), time: Time::Owned, priority: 0 };
        let new = Self { name: name.to_owned(), ..Self::default() };
        let mut said = Said { new, vcpu, vcpus: 1 };
        for word in words {
            let pair = word.split_once('=');
            let (key, value) = pair.ok_or_else(|| format!("`{word}` is no KEY=VALUE"))?;
            said.take(key, value)?;
        }
        let Said { mut new, vcpu, vcpus } = said;
        for (is_missing, key) in [
            (new.image.is_empty(), "image= or kernel"),
            (new.memory.is_empty(), "memory"),
            (vcpu.cores == Cores::default(), "cores"),
        ] {
            if is_missing {
                return Err(format!("{key}= is missing"));
            }
        }
        new.vcpus = vec![vcpu; usize::from(vcpus)];
        match new.mismatch() {
            Some((key, why)) => Err(format!("{key}=: {why}")),
            None => Ok(new),
        }
    }

    /// Its words, with spaces between: without its name, and without what nobody has said. Of its vCPUs the first one tells of all.
    #[must_use]
    pub fn note(&self) -> String {
        let mut words = vec![format!("{}={}", self.kind(), self.image)];
        let mut say = |is_said: bool, key: &str, value: String| {
            if is_said {
                words.push(format!("{key}={value}"));
            }
        };
        say(self.initrd.is_some(), "initrd", self.initrd.clone().unwrap_or_default());
        say(true, "memory", list(&self.memory));
        if let Some(NewVcpu { cores, time, priority }) = self.vcpus.first() {
            say(true, "cores", cores.to_string());
            say(self.vcpus.len() > 1, "vcpus", self.vcpus.len().to_string());
            say(self.kept_vcpus > 0, "kept_vcpus", self.kept_vcpus.to_string());
            if let Time::Reservation { budget_us, period_us } = *time {
                let [budget, period] = [budget_us, period_us].map(Span::of_us);
                say(true, "share", format!("{budget}/{period}"));
            }
            say(*priority > 0, "priority", priority.to_string());
        }
        say(self.console, "console", "yes".to_owned());
        say(self.handles > 0, "handles", self.handles.to_string());
        say(self.requests > 0, "requests", self.requests.to_string());
        say(self.areas != NewAreas::default(), "areas", areas_text(self.areas));
        say(!self.devices.is_empty(), "devices", list(&self.devices));
        say(!self.kept_devices.is_empty(), KEPT, list(&self.kept_devices));
        for (resource, value) in &self.limits {
            let limit = Amount { resource: *resource, value: *value };
            say(true, &format!("{}_limit", resource_word(*resource)), limit.to_string());
        }
        say(self.x0.is_some(), "x0", format!("{:#x}", self.x0.unwrap_or(0)));
        let cmdline = self.cmdline.as_ref();
        let cmdline = cmdline.map_or_else(String::new, |words| format!("{CMDLINE}{words}"));
        words.join(" ") + &cmdline
    }

    /// What cannot be noted at it: the key, and why. Whoever makes policy later knows it by its note only.
    pub(crate) fn not_noted(&self) -> Option<(&'static str, String)> {
        let note = self.note();
        if note.len() > MOST_NOTE {
            let bytes = note.len();
            let why = format!("{bytes} bytes say what it is made of, and at most {MOST_NOTE} fit");
            return Some(("cmdline", why));
        }
        // A note ends at its first zero.
        let read = Self::read_note(&self.name, note.split('\0').next().unwrap_or_default());
        if read.as_ref() == Ok(self) {
            return None;
        }
        let names = [(self.kind(), Some(&self.image)), ("initrd", self.initrd.as_ref())];
        let names = names.into_iter().filter_map(|(key, name)| Some((key, name?)));
        let name = names.clone().find(|(_, name)| name.contains([' ', '\0']));
        if let Some((key, name)) = name {
            return Some((key, format!("`{name}`: a name with a space or a zero cannot be noted")));
        }
        let zero = self.cmdline.as_ref().filter(|words| words.contains('\0'));
        if zero.is_some() {
            return Some(("cmdline", "words with a zero cannot be noted".to_owned()));
        }
        let why = read.err().unwrap_or_else(|| "it would be read as another one".to_owned());
        Some((self.kind(), format!("`{note}` cannot be noted: {why}")))
    }

    /// The key of what it runs.
    const fn kind(&self) -> &'static str {
        match self.boot {
            Boot::Flat => "image",
            Boot::Linux => "kernel",
        }
    }

    /// Reads what was noted at one with this name.
    ///
    /// # Errors
    /// As of [`NewPartition::read`].
    pub fn read_note(name: &str, note: &str) -> Result<Self, String> {
        let (words, cmdline) = match note.split_once(CMDLINE) {
            Some((words, _)) => (words, note.get(words.len().saturating_add(1)..)),
            None => (note, None),
        };
        Self::read(name, words.split(' ').chain(cmdline))
    }
}

fn list<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What the words say, key by key.
struct Said {
    new: NewPartition,
    vcpu: NewVcpu,
    vcpus: u8,
}

impl Said {
    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let Self { new, vcpu, vcpus } = self;
        match key {
            "image" | "kernel" if !new.image.is_empty() => {
                return Err("one image or one kernel".to_owned());
            }
            "image" => new.image = value.to_owned(),
            "kernel" => (new.image, new.boot) = (value.to_owned(), Boot::Linux),
            "initrd" => new.initrd = Some(value.to_owned()),
            "cmdline" => new.cmdline = Some(value.to_owned()),
            "memory" => new.memory = Region::parse_all(value)?,
            "cores" => vcpu.cores = Cores::parse(value)?,
            "vcpus" => match value.parse() {
                Ok(count @ 1..=MOST_VCPUS) => *vcpus = count,
                _ => return Err(format!("`{value}` vCPUs; 1 to {MOST_VCPUS} are possible")),
            },
            "kept_vcpus" => new.kept_vcpus = number((key, value), 255)?,
            "share" => vcpu.time = share(value)?,
            "priority" => vcpu.priority = number((key, value), 255)?,
            "console" => {
                new.console = match value {
                    "yes" => true,
                    "no" => false,
                    _ => return Err(format!("console=`{value}`: yes or no")),
                }
            }
            "handles" => new.handles = number((key, value), 65_535)?,
            "requests" => new.requests = number((key, value), 65_535)?,
            "areas" => new.areas = areas_in(value).map_err(|why| format!("{key}=: {why}"))?,
            "devices" => new.devices = devices((key, value))?,
            KEPT => new.kept_devices = devices((key, value))?,
            "x0" => {
                let why = || format!("x0=`{value}`: a number, such as `0x40000000`");
                new.x0 = Some(memory::number(value).ok_or_else(why)?);
            }
            key => new.limits.push(limit(key, value)?),
        }
        Ok(())
    }
}

/// A limit; that of what a key of its own gives has a word of its own.
fn limit(key: &str, value: &str) -> Result<(Resource, u64), String> {
    let resource = resource_named(key.strip_suffix("_limit").unwrap_or(key));
    let resource = resource.ok_or_else(|| no_key(key))?;
    let amount = Amount::parse(resource, value).map_err(|bad| bad.to_string())?;
    Ok((resource, amount.value))
}

/// That a key is none, with those that are.
fn no_key(key: &str) -> String {
    let resources = resource_words();
    match key.strip_suffix("_limit") {
        Some(resource) => {
            format!("`{key}`: there is no resource `{resource}`; there are {resources}")
        }
        None => format!(
            "there is no key `{key}`; there are {}, and RESOURCE_limit of {resources}",
            KEYS.join(", ")
        ),
    }
}

/// A key's number.
fn number<T: FromStr>((key, value): (&str, &str), most: u32) -> Result<T, String> {
    value.parse().map_err(|_| format!("{key}=`{value}`: 0 to {most} are possible"))
}

/// A key's devices.
fn devices((key, value): (&str, &str)) -> Result<Vec<OwnedDevice>, String> {
    let devices = value.split(',').map(OwnedDevice::parse).collect::<Result<_, _>>();
    devices.map_err(|why| format!("{key}=: {why}"))
}

fn share(text: &str) -> Result<Time, String> {
    let span = |text: &str| Span::parse(text).map_err(|bad| bad.to_string());
    let Some((budget, period)) = text.split_once('/') else {
        return Err(format!("`{text}` is no share such as `2ms/10ms`"));
    };
    Time::reservation(span(budget)?, span(period)?)
}

#[cfg(test)]
mod tests {
    use crate::given::OwnedDevice;
    use crate::view::{Boot, NewPartition};

    #[test]
    fn what_is_noted_is_read_again() {
        for note in [
            "image=a memory=2M cores=1",
            "kernel=linux/Image initrd=i memory=128M cores=1-3 vcpus=2 console=yes cmdline=console=ttyAMA0 cmdline=x  y ",
            "image=a memory=4M,8M@0x80000000 cores=0,2 vcpus=3 kept_vcpus=1 share=1500us/10ms priority=3 handles=64 requests=4 \
             areas=pages:16,blocks:8,giants:1,channels:2,shared:4 devices=c:0,c:2 kept_devices=c:1 \
             event_ports_limit=9 core_time_limit=12.5% memory_limit=64M x0=0xffffffffffffffff",
        ] {
            let new = NewPartition::read_note("a", note).unwrap();
            assert_eq!(new.note(), note);
        }
        let linux =
            NewPartition::read_note("a", "kernel=k memory=64M cores=1 cmdline=a b").unwrap();
        assert_eq!(linux.cmdline.as_deref(), Some("a b"));
        assert!(NewPartition::read_note("a", "").is_err());
    }

    #[test]
    fn what_could_not_be_read_again_is_refused_by_its_key() {
        let right =
            NewPartition::read_note("a", "kernel=k initrd=i memory=64M cores=1 cmdline=a").unwrap();
        assert_eq!(right.contradiction(), None);
        let text = |text: &str| Some(text.to_owned());
        let image = |image: &str| NewPartition { image: image.to_owned(), ..right.clone() };
        let cmdline = |cmdline| NewPartition { cmdline, ..right.clone() };
        let flat = NewPartition { boot: Boot::Flat, initrd: None, cmdline: None, ..image("a b") };
        let owner = "o p".to_owned();
        let devices = vec![OwnedDevice { owner, number: 0 }];
        let mut vcpus = right.vcpus.repeat(2);
        vcpus[1].priority = 7;
        for (wrong, key, why) in [
            (flat, "image", "`a b`: a name with a space"),
            (image("k initrd=j"), "kernel", "`k initrd=j`: a name with a space"),
            (image("k\0"), "kernel", "`k\0`: a name with a space or a zero"),
            (image(""), "kernel", "`kernel= initrd=i "),
            (NewPartition { initrd: text("i "), ..right.clone() }, "initrd", "`i `: a name"),
            (cmdline(text("a\0b")), "cmdline", "words with a zero"),
            (cmdline(text(&"x".repeat(4_000))), "cmdline", "4045 bytes say"),
            (NewPartition { devices, ..right.clone() }, "kernel", "`kernel=k "),
            (NewPartition { vcpus, ..right.clone() }, "kernel", "`kernel=k "),
        ] {
            let (found, text) = wrong.contradiction().unwrap();
            assert!(found == key && text.starts_with(why), "{found}: {text}");
        }
        for right in [cmdline(None), cmdline(text("")), cmdline(text(" x cmdline=y\n"))] {
            assert_eq!(right.contradiction(), None, "{right:?}");
        }
    }
}
