//! From the file to the policy: every name known, every amount read, no circle.

use core::fmt;
use core::ops::Range;
use core::time::Duration;

use shikiri_abi::{PAGE_BYTES, Resource};
use shikiri_machine::{
    Amount, Boot, Cores, NewAreas, NewPartition, NewVcpu, OwnedDevice, Region, Span, Time,
    resource_named,
};

use crate::file::{
    AreasTable, CreateTable, File, GrantTable, MemoryText, Number, On, PartitionTable, RegionTable,
    RegionText, RestartTable, Scope, ShareTable,
};
use crate::place::{Place, Wrong};
use crate::policy::{DEVICE, Entry, Good, Grant, Policy, Start, VCPUS};
use crate::restart::{RestartOn, RestartRule};

/// What is wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPolicy {
    /// In words: whose key, and why.
    pub why: String,
    /// Where in the file, in bytes, if that is known.
    pub span: Option<Range<usize>>,
    /// All of it, for who has not the file at hand: with the line.
    report: String,
}

impl BadPolicy {
    /// What the parser says; its report has the line's text.
    fn toml(error: &toml::de::Error) -> Self {
        let report = error.to_string().trim_end().to_owned();
        Self { why: error.message().to_owned(), span: error.span(), report }
    }

    /// What cannot be.
    fn wrong(wrong: &Wrong, text: &str) -> Self {
        let (why, span) = (wrong.words(), wrong.span(text));
        let before = span.as_ref().and_then(|span| text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count().saturating_add(1));
        let line = line.map_or_else(String::new, |line| format!("line {line}: "));
        Self { report: format!("{line}{why}"), why, span }
    }
}

impl fmt::Display for BadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

impl std::error::Error for BadPolicy {}

/// Where a key of a policy's `[[partition]]` stands, which is known by its position, or the last one that leads there.
#[must_use]
pub fn span_of(text: &str, partition: usize, keys: &[&str]) -> Option<Range<usize>> {
    let table = Place::table("partition", partition, String::new());
    keys.iter().fold(table, |place, key| place.key(key)).span(text)
}

impl Policy {
    /// Reads and checks a policy file.
    ///
    /// # Errors
    /// The first thing that is wrong: its line, where that is, its key, and why.
    pub fn parse(text: &str) -> Result<Self, BadPolicy> {
        let file: File = toml::from_str(text).map_err(|error| BadPolicy::toml(&error))?;
        policy(&file).map_err(|wrong| BadPolicy::wrong(&wrong, text))
    }
}

fn policy(file: &File) -> Result<Policy, Wrong> {
    let names: Vec<&str> = file.partition.iter().map(|table| table.name.as_str()).collect();
    let place =
        |at: usize, name: &str| Place::table("partition", at, format!("partition `{name}`"));
    for (at, name) in names.iter().enumerate() {
        let name_at = place(at, name).key("name");
        if !is_name(name) {
            return Err(name_at.wrong("a name is 1 to 31 of a-z, 0-9, _ and -"));
        }
        if names.iter().position(|other| other == name) != Some(at) {
            return Err(name_at.wrong("it stands twice"));
        }
    }
    let entries = file.partition.iter().enumerate();
    let entries = entries.map(|(at, table)| entry(table, &names, &place(at, &table.name)));
    let partitions: Vec<Entry> = entries.collect::<Result<_, _>>()?;
    if let Some((at, circle)) = circle(&partitions) {
        let name = names.get(at).copied().unwrap_or_default();
        let why = format!("these would wait for ever: {circle}");
        return Err(place(at, name).key("after").wrong(why));
    }
    let grants = file.grant.iter().enumerate().map(|(at, table)| {
        let words = format!("grant {}", at.saturating_add(1));
        grant(table, &names, &Place::table("grant", at, words))
    });
    let talk = file.talk.iter().enumerate().map(|(at, table)| {
        let place = Place::table("talk", at, format!("talk {}", at.saturating_add(1)));
        let find = |name, key| position(name, &names, &place.key(key));
        Ok((find(&table.from, "from")?, find(&table.to, "to")?))
    });
    Ok(Policy {
        grants: grants.collect::<Result<_, _>>()?,
        talk: talk.collect::<Result<_, _>>()?,
        forbids_other_talk: file.policy.talk == Scope::Only,
        partitions,
    })
}

fn is_name(name: &str) -> bool {
    let is_right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=31).contains(&name.len()) && name.chars().all(is_right)
}

fn position(name: &str, names: &[&str], place: &Place) -> Result<usize, Wrong> {
    let found = names.iter().position(|other| *other == name);
    found.ok_or_else(|| place.wrong(format!("there is no [[partition]] `{name}` in the policy")))
}

fn entry(table: &PartitionTable, names: &[&str], place: &Place) -> Result<Entry, Wrong> {
    let limits = limits(table, &place.key("limits"))?;
    let positions = |list: &[String], key: &str| {
        list.iter()
            .map(|name| position(name, names, &place.key(key)))
            .collect::<Result<Vec<_>, _>>()
    };
    let waits = [
        ("after", !table.after.is_empty()),
        ("after_end_of", !table.after_end_of.is_empty()),
        ("delay", table.delay.is_some()),
    ];
    if let Some((key, _)) = waits.into_iter().find(|(_, is_said)| *is_said && !table.start) {
        return Err(place.key(key).wrong("it needs `start = true`"));
    }
    let start = if table.start {
        Start::When {
            active: positions(&table.after, "after")?,
            ended: positions(&table.after_end_of, "after_end_of")?,
            delay: span(table.delay.as_deref(), Duration::ZERO, &place.key("delay"))?,
        }
    } else {
        Start::Never
    };
    let made = table.create.as_ref();
    let made = made.map(|it| create(&table.name, it, &limits, &place.key("create")));
    let restart = table.restart.as_ref();
    let restart = restart.map(|table| restart_rule(table, &place.key("restart")));
    Ok(Entry {
        name: table.name.clone(),
        create: made.transpose()?,
        limits,
        start,
        restart: restart.transpose()?,
    })
}

fn limits(table: &PartitionTable, place: &Place) -> Result<Vec<(Resource, u64)>, Wrong> {
    let read = |(word, number): (&String, &Number)| {
        let place = place.key(word);
        let resource = resource_named(word);
        let resource = resource.ok_or_else(|| place.wrong("there is no such resource"))?;
        Ok((resource, amount(resource, number, &place)?))
    };
    table.limits.iter().map(read).collect()
}

fn amount(resource: Resource, number: &Number, place: &Place) -> Result<u64, Wrong> {
    let read = Amount::parse(resource, &number.text());
    read.map(|amount| amount.value).map_err(|error| place.wrong(error.to_string()))
}

fn span(text: Option<&str>, default: Duration, place: &Place) -> Result<Duration, Wrong> {
    let Some(text) = text else { return Ok(default) };
    Span::parse(text).map(|span| span.0).map_err(|error| place.wrong(error.to_string()))
}

fn create(
    name: &str,
    table: &CreateTable,
    limits: &[(Resource, u64)],
    place: &Place,
) -> Result<NewPartition, Wrong> {
    let cores = Cores::parse(&table.cores).map_err(|why| place.key("cores").wrong(why))?;
    let (time, priority) = match &table.share {
        None => (Time::Owned, 0),
        Some(share) => (reservation(share, &place.key("share"))?, share.priority),
    };
    let (image, boot) = match (&table.image, &table.kernel) {
        (Some(image), None) => (image, Boot::Flat),
        (None, Some(kernel)) => (kernel, Boot::Linux),
        (Some(_), Some(_)) => return Err(place.key("kernel").wrong("either `image` or `kernel`")),
        (None, None) => return Err(place.wrong("either `image` or `kernel`")),
    };
    let memory = memory(&table.memory, &place.key("memory"))?;
    let devices = |texts: &[String], key| {
        let read =
            |text: &String| OwnedDevice::parse(text).map_err(|why| place.key(key).wrong(why));
        texts.iter().map(read).collect::<Result<_, _>>()
    };
    let AreasTable { pages: page_slots, blocks, giants, channels, shared } = table.areas;
    let new = NewPartition {
        name: name.to_owned(),
        limits: limits.to_vec(),
        vcpus: vec![NewVcpu { cores, time, priority }; usize::from(table.vcpus)],
        kept_vcpus: table.kept_vcpus,
        memory,
        x0: table.x0,
        image: image.clone(),
        boot,
        initrd: table.initrd.clone(),
        cmdline: table.cmdline.clone(),
        console: table.console,
        handles: table.handles,
        requests: table.requests,
        areas: NewAreas { pages: page_slots, blocks, giants, channels, shares: shared },
        devices: devices(&table.devices, "devices")?,
        kept_devices: devices(&table.kept_devices, "kept_devices")?,
    };
    match new.contradiction() {
        Some((key, why)) => Err(place.key(key).wrong(why)),
        None => Ok(new),
    }
}

fn memory(text: &MemoryText, place: &Place) -> Result<Vec<Region>, Wrong> {
    let texts = match text {
        MemoryText::One(text) => core::slice::from_ref(text),
        MemoryText::Several(texts) => texts,
    };
    let mut regions = Vec::new();
    for text in texts {
        let (size, at) = match text {
            RegionText::Size(size) => (size, None),
            RegionText::Table(RegionTable { size, ipa }) => (size, *ipa),
        };
        let pages = amount(Resource::Memory, &Number::Text(size.clone()), place)?;
        regions.push(Region::behind(&regions, pages.saturating_mul(PAGE_BYTES), at));
    }
    Ok(regions)
}

fn reservation(table: &ShareTable, place: &Place) -> Result<Time, Wrong> {
    let read = |text: &str, key: &str| span(Some(text), Duration::ZERO, &place.key(key)).map(Span);
    let (budget, period) = (read(&table.budget, "budget")?, read(&table.period, "period")?);
    Time::reservation(budget, period).map_err(|why| place.wrong(why))
}

fn restart_rule(table: &RestartTable, place: &Place) -> Result<RestartRule, Wrong> {
    let time =
        |text: &Option<String>, key: &str, default| span(text.as_deref(), default, &place.key(key));
    let delay = time(&table.delay, "delay", Duration::from_millis(100))?;
    let longest = time(&table.longest, "longest", Duration::from_secs(10).max(delay))?;
    if longest < delay {
        return Err(place.key("longest").wrong("it is shorter than `delay`"));
    }
    if table.factor == 0 {
        return Err(place.key("factor").wrong("it is at least 1"));
    }
    Ok(RestartRule {
        on: match table.on {
            On::Failure => RestartOn::Failure,
            On::End => RestartOn::End,
        },
        delay,
        factor: table.factor,
        longest,
        give_up_after: table.give_up_after,
        window: time(&table.window, "window", Duration::from_secs(60))?,
    })
}

fn grant(table: &GrantTable, names: &[&str], place: &Place) -> Result<Grant, Wrong> {
    let to = table.to.iter().map(|name| position(name, names, &place.key("to")));
    let to = to.collect::<Result<Vec<_>, _>>()?;
    let to = (!to.is_empty()).then_some(to);
    if table.device.is_some() && table.resource != DEVICE {
        let why = format!("it is for `resource = \"{DEVICE}\"`");
        return Err(place.key("device").wrong(why));
    }
    let amounts = [
        ("up_to", table.up_to.is_some()),
        ("keep", table.keep.is_some()),
        ("or_less", table.or_less),
    ];
    let amount_key = amounts.into_iter().find(|(_, is_said)| *is_said).map(|(key, _)| key);
    let whole = |of, why: &str| match amount_key {
        Some(key) => Err(place.key(key).wrong(why)),
        None => Ok(Grant { to: to.clone(), of, up_to: None, keep: 0, or_less: false }),
    };
    if table.resource == VCPUS {
        return whole(
            Good::Vcpus,
            "of vCPUs all that are asked for are granted; `kept_vcpus` says how many there are",
        );
    }
    if table.resource == DEVICE {
        return whole(Good::Device(table.device), "a device is granted as it is");
    }
    let resource = resource_named(&table.resource).ok_or_else(|| {
        place.key("resource").wrong(format!("there is no resource `{}`", table.resource))
    })?;
    let read = |number: &Option<Number>, key: &str| {
        number.as_ref().map(|number| amount(resource, number, &place.key(key))).transpose()
    };
    Ok(Grant {
        to,
        of: Good::Resource(resource),
        up_to: read(&table.up_to, "up_to")?,
        keep: read(&table.keep, "keep")?.unwrap_or(0),
        or_less: table.or_less,
    })
}

/// Those that would wait for each other for ever, or for one that does; and the position of the first of them.
fn circle(partitions: &[Entry]) -> Option<(usize, String)> {
    let waits = |at: usize| match partitions.get(at).map(|entry| &entry.start) {
        Some(Start::When { active, ended, .. }) => [active.as_slice(), ended.as_slice()].concat(),
        Some(Start::Never) | None => Vec::new(),
    };
    // Whoever waits for nobody that is left can start: take them away until nobody changes.
    let mut left: Vec<usize> = (0..partitions.len()).collect();
    loop {
        let stuck: Vec<usize> = left
            .iter()
            .copied()
            .filter(|at| waits(*at).iter().any(|it| left.contains(it)))
            .collect();
        let first = *stuck.first()?;
        if stuck.len() == left.len() {
            let names = stuck.iter().filter_map(|at| partitions.get(*at));
            let names: Vec<&str> = names.map(|entry| entry.name.as_str()).collect();
            return Some((first, names.join(", ")));
        }
        left = stuck;
    }
}

#[cfg(test)]
mod tests;
