//! From the file to the policy: every name known, every amount read, no circle.

use core::fmt;
use core::time::Duration;

use shikiri_abi::{PAGE_BYTES, Resource};
use shikiri_machine::{Amount, Boot, Cores, NewPartition, NewVcpu, Span, Time, resource_named};

use crate::file::{CreateTable, File, GrantTable, Number, On, PartitionTable, RestartTable};
use crate::policy::{DEVICE, Entry, Good, Grant, Policy, Start, VCPUS};
use crate::restart::{RestartOn, RestartRule};

/// What is wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPolicy(String);

impl fmt::Display for BadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPolicy {}

fn bad<T>(text: String) -> Result<T, BadPolicy> {
    Err(BadPolicy(text))
}

impl Policy {
    /// Reads and checks a policy file.
    ///
    /// # Errors
    /// The first thing that is wrong, with where it stands.
    pub fn parse(text: &str) -> Result<Self, BadPolicy> {
        let file: File = toml::from_str(text)
            .map_err(|error| BadPolicy(error.to_string().trim_end().to_owned()))?;
        let names: Vec<&str> = file.partition.iter().map(|table| table.name.as_str()).collect();
        for (at, name) in names.iter().enumerate() {
            if !is_name(name) {
                return bad(format!("partition `{name}`: a name is 1 to 31 of a-z, 0-9, _ and -"));
            }
            if names.iter().position(|other| other == name) != Some(at) {
                return bad(format!("partition `{name}` stands twice"));
            }
        }
        let partitions: Vec<Entry> =
            file.partition.iter().map(|table| entry(table, &names)).collect::<Result<_, _>>()?;
        if let Some(circle) = circle(&partitions) {
            return bad(format!("these would wait for ever: {circle}"));
        }
        let grants = (1_usize..).zip(&file.grant).map(|(at, table)| grant(at, table, &names));
        let talk = file.talk.iter().map(|table| {
            let find = |name| position(name, &names, "talk");
            Ok((find(&table.from)?, find(&table.to)?))
        });
        Ok(Self {
            grants: grants.collect::<Result<_, _>>()?,
            talk: talk.collect::<Result<_, _>>()?,
            partitions,
        })
    }
}

fn is_name(name: &str) -> bool {
    let is_right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=31).contains(&name.len()) && name.chars().all(is_right)
}

fn position(name: &str, names: &[&str], place: &str) -> Result<usize, BadPolicy> {
    match names.iter().position(|other| *other == name) {
        Some(at) => Ok(at),
        None => bad(format!("{place}: there is no [[partition]] `{name}` in the policy")),
    }
}

fn entry(table: &PartitionTable, names: &[&str]) -> Result<Entry, BadPolicy> {
    let place = format!("partition `{}`", table.name);
    let limits = limits(table, &place)?;
    let positions = |list: &[String], key: &str| {
        let place = format!("{place}: {key}");
        list.iter().map(|name| position(name, names, &place)).collect::<Result<Vec<_>, _>>()
    };
    let waits = !(table.after.is_empty() && table.after_end_of.is_empty()) || table.delay.is_some();
    if waits && !table.start {
        return bad(format!("{place}: `after`, `after_end_of` and `delay` need `start = true`"));
    }
    let start = if table.start {
        Start::When {
            active: positions(&table.after, "after")?,
            ended: positions(&table.after_end_of, "after_end_of")?,
            delay: span(table.delay.as_deref(), Duration::ZERO, &place)?,
        }
    } else {
        Start::Never
    };
    Ok(Entry {
        name: table.name.clone(),
        create: table
            .create
            .as_ref()
            .map(|it| create(&table.name, it, &limits, &place))
            .transpose()?,
        limits,
        start,
        restart: table.restart.as_ref().map(|table| restart(table, &place)).transpose()?,
    })
}

fn limits(table: &PartitionTable, place: &str) -> Result<Vec<(Resource, u64)>, BadPolicy> {
    let read = |(word, number): (&String, &Number)| {
        let Some(resource) = resource_named(word) else {
            return bad(format!("{place}: limits: there is no resource `{word}`"));
        };
        Ok((resource, amount(resource, number, &format!("{place}: limits: {word}"))?))
    };
    table.limits.iter().map(read).collect()
}

fn amount(resource: Resource, number: &Number, place: &str) -> Result<u64, BadPolicy> {
    let read = Amount::parse(resource, &number.text());
    read.map(|amount| amount.value).map_err(|error| BadPolicy(format!("{place}: {error}")))
}

fn span(text: Option<&str>, default: Duration, place: &str) -> Result<Duration, BadPolicy> {
    let Some(text) = text else { return Ok(default) };
    Span::parse(text).map(|span| span.0).map_err(|error| BadPolicy(format!("{place}: {error}")))
}

fn create(
    name: &str,
    table: &CreateTable,
    limits: &[(Resource, u64)],
    place: &str,
) -> Result<NewPartition, BadPolicy> {
    let Some(cores) = Cores::parse(&table.cores) else {
        return bad(format!(
            "{place}: create: `{}` are no cores such as `0` or `1-3`",
            table.cores
        ));
    };
    let (time, priority) = match &table.share {
        None => (Time::Owned, 0),
        Some(share) => {
            let us = |text: &str| {
                let span = span(Some(text), Duration::ZERO, place)?;
                u32::try_from(span.as_micros())
                    .map_err(|_| BadPolicy(format!("{place}: create: `{text}` is too long")))
            };
            let (budget_us, period_us) = (us(&share.budget)?, us(&share.period)?);
            if budget_us > period_us {
                return bad(format!(
                    "{place}: create: a budget of {} in {}",
                    share.budget, share.period
                ));
            }
            (Time::Reservation { budget_us, period_us }, share.priority)
        }
    };
    let (image, boot) = match (&table.image, &table.kernel) {
        (Some(image), None) => (image, Boot::Flat),
        (None, Some(kernel)) => (kernel, Boot::Linux),
        _ => return bad(format!("{place}: create: either `image` or `kernel`")),
    };
    if table.vcpus == 0 || table.vcpus > 64 {
        return bad(format!("{place}: create: {} vCPUs; 1 to 64 are possible", table.vcpus));
    }
    let memory = Number::Text(table.memory.clone());
    let pages = amount(Resource::Memory, &memory, &format!("{place}: create: memory"))?;
    Ok(NewPartition {
        name: name.to_owned(),
        limits: limits.to_vec(),
        vcpus: vec![NewVcpu { cores, time, priority }; usize::from(table.vcpus)],
        memory_bytes: pages.saturating_mul(PAGE_BYTES),
        image: image.clone(),
        boot,
        initrd: table.initrd.clone(),
        cmdline: table.cmdline.clone(),
        console: table.console,
    })
}

fn restart(table: &RestartTable, place: &str) -> Result<RestartRule, BadPolicy> {
    let place = format!("{place}: restart");
    let delay = span(table.delay.as_deref(), Duration::from_millis(100), &place)?;
    let longest = span(table.longest.as_deref(), Duration::from_secs(10).max(delay), &place)?;
    if longest < delay {
        return bad(format!("{place}: `longest` is shorter than `delay`"));
    }
    if table.factor == 0 {
        return bad(format!("{place}: `factor` is at least 1"));
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
        window: span(table.window.as_deref(), Duration::from_secs(60), &place)?,
    })
}

fn grant(number: usize, table: &GrantTable, names: &[&str]) -> Result<Grant, BadPolicy> {
    let place = format!("grant {number}");
    let to =
        table.to.iter().map(|name| position(name, names, &place)).collect::<Result<Vec<_>, _>>()?;
    let to = (!to.is_empty()).then_some(to);
    if table.device.is_some() && table.resource != DEVICE {
        return bad(format!("{place}: `device` is for `resource = \"{DEVICE}\"`"));
    }
    if table.resource == VCPUS {
        if table.up_to.is_some() || table.keep.is_some() || table.or_less {
            return bad(format!(
                "{place}: of vCPUs all that are asked for are granted; `kept_vcpus` of the description says how many there are"
            ));
        }
        return Ok(Grant { to, of: Good::Vcpus, up_to: None, keep: 0, or_less: false });
    }
    if table.resource == DEVICE {
        if table.up_to.is_some() || table.keep.is_some() || table.or_less {
            return bad(format!("{place}: a device is granted as it is"));
        }
        let of = Good::Device(table.device);
        return Ok(Grant { to, of, up_to: None, keep: 0, or_less: false });
    }
    let Some(resource) = resource_named(&table.resource) else {
        return bad(format!("{place}: there is no resource `{}`", table.resource));
    };
    let read = |number: &Option<Number>, key: &str| {
        let place = format!("{place}: {key}");
        number.as_ref().map(|number| amount(resource, number, &place)).transpose()
    };
    Ok(Grant {
        to,
        of: Good::Resource(resource),
        up_to: read(&table.up_to, "up_to")?,
        keep: read(&table.keep, "keep")?.unwrap_or(0),
        or_less: table.or_less,
    })
}

/// Those that would wait for each other for ever, or for one that does.
fn circle(partitions: &[Entry]) -> Option<String> {
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
        if stuck.is_empty() {
            return None;
        }
        if stuck.len() == left.len() {
            let names = stuck.iter().filter_map(|at| partitions.get(*at));
            return Some(names.map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", "));
        }
        left = stuck;
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::Policy;
    use crate::policy::{Good, Grant, Start};
    use shikiri_abi::Resource;
    use shikiri_machine::{Boot, Cores, NewVcpu, Time};

    const FILE: &str = r#"
        [[partition]]
        name = "log"
        start = true

        [[partition]]
        name = "worker"
        create = { image = "worker.bin", memory = "4M", cores = "1-2", vcpus = 2, share = { budget = "2ms", period = "10ms", priority = 3 }, console = true }
        limits = { memory = "8M", event_ports = 16 }
        start = true
        after = ["log"]
        after_end_of = ["flash"]
        delay = "50ms"
        restart = { on = "failure", delay = "200ms", factor = 3, longest = "5s", give_up_after = 4, window = "1m" }

        [[partition]]
        name = "flash"

        [[grant]]
        to = ["worker"]
        resource = "memory"
        up_to = "16M"
        keep = "32M"
        or_less = true

        [[grant]]
        resource = "core_time"
        up_to = "80%"

        [[grant]]
        to = ["worker", "log"]
        resource = "vcpus"

        [[grant]]
        resource = "device"
        device = 1

        [[talk]]
        from = "worker"
        to = "log"
    "#;

    #[test]
    fn a_file_is_read() {
        let policy = Policy::parse(FILE).unwrap();
        let worker = &policy.partitions[1];
        assert_eq!(worker.limits, [(Resource::EventPorts, 16), (Resource::Memory, 2048)]);
        assert_eq!(
            worker.start,
            Start::When { active: vec![0], ended: vec![2], delay: Duration::from_millis(50) }
        );
        let new = worker.create.as_ref().unwrap();
        let vcpu = NewVcpu {
            cores: Cores(0b110),
            time: Time::Reservation { budget_us: 2_000, period_us: 10_000 },
            priority: 3,
        };
        assert_eq!(
            (new.vcpus.as_slice(), new.memory_bytes, new.console),
            (&[vcpu; 2][..], 4 << 20, true)
        );
        assert_eq!(new.limits, worker.limits);
        let rule = worker.restart.unwrap();
        assert_eq!((rule.factor, rule.give_up_after, rule.window), (3, 4, Duration::from_secs(60)));
        let memory = Grant {
            to: Some(vec![1]),
            of: Good::Resource(Resource::Memory),
            up_to: Some(4096),
            keep: 8192,
            or_less: true,
        };
        let none = Grant { to: None, of: Good::Vcpus, up_to: None, keep: 0, or_less: false };
        let time = Good::Resource(Resource::CoreTime);
        let time = Grant { of: time, up_to: Some(800_000), ..none.clone() };
        let device = Grant { of: Good::Device(Some(1)), ..none.clone() };
        let vcpus = Grant { to: Some(vec![1, 0]), ..none };
        assert_eq!(policy.grants, [memory, time, vcpus, device]);
        assert_eq!(policy.talk, [(1, 0)]);
        assert_eq!(policy.partitions[2].start, Start::Never);
    }

    #[test]
    fn whoever_owns_its_cores_needs_no_share() {
        let text = "[[partition]]\nname = \"a\"\ncreate = { image = \"x\", memory = \"2M\", cores = \"3\" }";
        let policy = Policy::parse(text).unwrap();
        assert_eq!(policy.partitions[0].create.as_ref().unwrap().vcpus[0].time, Time::Owned);
    }

    #[test]
    fn linux_has_a_kernel_a_ram_disk_and_a_command_line() {
        let text = "[[partition]]\nname = \"a\"\ncreate = { kernel = \"linux/Image\", \
                    initrd = \"linux/initrd.cpio\", cmdline = \"quiet\", memory = \"64M\", cores = \"1\" }";
        let policy = Policy::parse(text).unwrap();
        let new = policy.partitions[0].create.as_ref().unwrap();
        assert_eq!((new.image.as_str(), new.boot), ("linux/Image", Boot::Linux));
        assert_eq!(new.initrd.as_deref(), Some("linux/initrd.cpio"));
        assert_eq!(new.cmdline.as_deref(), Some("quiet"));
    }

    #[test]
    fn mistakes_are_named() {
        let with = |rest: &str| format!("[[partition]]\nname = \"a\"\n{rest}");
        for (text, message) in [
            (
                "[[partition]]\nname = \"A\"".into(),
                "partition `A`: a name is 1 to 31 of a-z, 0-9, _ and -",
            ),
            (with("[[partition]]\nname = \"a\""), "partition `a` stands twice"),
            (
                with("start = true\nafter = [\"b\"]"),
                "partition `a`: after: there is no [[partition]] `b` in the policy",
            ),
            (
                with("after = [\"a\"]"),
                "partition `a`: `after`, `after_end_of` and `delay` need `start = true`",
            ),
            (with("start = true\nafter = [\"a\"]"), "these would wait for ever: a"),
            (with("limits = { cpu = 1 }"), "partition `a`: limits: there is no resource `cpu`"),
            (
                with("limits = { memory = 1 }"),
                "partition `a`: limits: memory: `1` is not a size of whole pages such as `64M` or `4KiB`",
            ),
            (
                with("start = true\ndelay = \"soon\""),
                "partition `a`: `soon` is not a time such as `500us`, `10ms`, `2s` or `1m`",
            ),
            (
                with("create = { image = \"x\", memory = \"2M\", cores = \"x\" }"),
                "partition `a`: create: `x` are no cores such as `0` or `1-3`",
            ),
            (
                with("create = { memory = \"2M\", cores = \"0\" }"),
                "partition `a`: create: either `image` or `kernel`",
            ),
            (
                with("create = { image = \"x\", kernel = \"y\", memory = \"2M\", cores = \"0\" }"),
                "partition `a`: create: either `image` or `kernel`",
            ),
            (
                with("create = { image = \"x\", memory = \"2M\", cores = \"0\", vcpus = 0 }"),
                "partition `a`: create: 0 vCPUs; 1 to 64 are possible",
            ),
            (
                with(
                    "create = { image = \"x\", memory = \"2M\", cores = \"0\", share = { budget = \"2ms\", period = \"1ms\" } }",
                ),
                "partition `a`: create: a budget of 2ms in 1ms",
            ),
            (
                with("restart = { on = \"end\", delay = \"2s\", longest = \"1s\" }"),
                "partition `a`: restart: `longest` is shorter than `delay`",
            ),
            (
                with("restart = { on = \"end\", factor = 0 }"),
                "partition `a`: restart: `factor` is at least 1",
            ),
            (with("[[grant]]\nresource = \"time\""), "grant 1: there is no resource `time`"),
            (
                with("[[grant]]\nresource = \"vcpus\"\nup_to = 2"),
                "grant 1: of vCPUs all that are asked for are granted; `kept_vcpus` of the description says how many there are",
            ),
            (
                with("[[grant]]\nresource = \"device\"\nkeep = 2"),
                "grant 1: a device is granted as it is",
            ),
            (
                with("[[grant]]\nresource = \"vcpus\"\ndevice = 2"),
                "grant 1: `device` is for `resource = \"device\"`",
            ),
            (
                with("[[grant]]\nresource = \"memory\"\nto = [\"b\"]"),
                "grant 1: there is no [[partition]] `b` in the policy",
            ),
            (
                with("[[talk]]\nfrom = \"a\"\nto = \"b\""),
                "talk: there is no [[partition]] `b` in the policy",
            ),
        ] {
            assert_eq!(Policy::parse(&text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn what_is_no_policy_is_pointed_at() {
        let error =
            Policy::parse("[[partition]]\nname = \"a\"\ncolour = 1").unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("unknown field `colour`"), "{error}");
    }

    #[test]
    fn circles_of_several_are_found_and_chains_are_none() {
        let text = |edges: &[(&str, &str)]| {
            edges.iter().fold(String::new(), |text, (name, after)| {
                let after = if after.is_empty() { String::new() } else { format!("\"{after}\"") };
                format!("{text}[[partition]]\nname = \"{name}\"\nstart = true\nafter = [{after}]\n")
            })
        };
        assert!(Policy::parse(&text(&[("a", "b"), ("b", "c"), ("c", "")])).is_ok());
        let error =
            Policy::parse(&text(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "")])).unwrap_err();
        assert_eq!(error.to_string(), "these would wait for ever: a, b, c");
    }
}
