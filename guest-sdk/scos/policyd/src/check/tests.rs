//! What a policy file says, and what is wrong with one.

use core::time::Duration;

use super::Policy;
use crate::policy::{Good, Grant, Start};
use shikiri_abi::Resource;
use shikiri_machine::{Boot, Cores, NewAreas, NewVcpu, Region, Time};

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
        (new.vcpus.as_slice(), new.memory_bytes(), new.console),
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
    let text =
        "[[partition]]\nname = \"a\"\ncreate = { image = \"x\", memory = \"2M\", cores = \"3\" }";
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
fn mistakes_are_named_with_line_key_and_cause() {
    let with = |rest: &str| format!("[[partition]]\nname = \"a\"\n{rest}");
    let create = |rest: &str| {
        with(&format!("create = {{ image = \"x\", memory = \"2M\", cores = \"0\", {rest} }}"))
    };
    let grant = |rest: &str| with(&format!("[[grant]]\n{rest}"));
    for (text, message) in [
        (
            "[[partition]]\nname = \"A\"".into(),
            "line 2: partition `A`: name: a name is 1 to 31 of a-z, 0-9, _ and -",
        ),
        (with("[[partition]]\nname = \"a\""), "line 4: partition `a`: name: it stands twice"),
        (
            with("start = true\nafter = [\"b\"]"),
            "line 4: partition `a`: after: there is no [[partition]] `b` in the policy",
        ),
        (with("delay = \"1s\""), "line 3: partition `a`: delay: it needs `start = true`"),
        (
            with("start = true\nafter = [\"a\"]"),
            "line 4: partition `a`: after: these would wait for ever: a",
        ),
        (
            with("limits = { cpu = 1 }"),
            "line 3: partition `a`: limits: cpu: there is no such resource",
        ),
        (
            with("[partition.limits]\n# So much.\nmemory = 1"),
            "line 5: partition `a`: limits: memory: `1` is not a size of whole pages such as `64M` or `4KiB`",
        ),
        (
            with("start = true\ndelay = \"soon\""),
            "line 4: partition `a`: delay: `soon` is not a time such as `500us`, `10ms`, `2s` or `1m`",
        ),
        (
            with("create = { image = \"x\", memory = \"2M\", cores = \"x\" }"),
            "line 3: partition `a`: create: cores: `x` are no cores such as `0` or `1-3`, 0 to 63",
        ),
        (
            with("create = { memory = \"2M\", cores = \"0\" }"),
            "line 3: partition `a`: create: either `image` or `kernel`",
        ),
        (
            create("kernel = \"y\""),
            "line 3: partition `a`: create: kernel: either `image` or `kernel`",
        ),
        (create("vcpus = 0"), "line 3: partition `a`: create: vcpus: 0 vCPUs; 1 to 8 are possible"),
        (
            create("share = { budget = \"2ms\", period = \"1ms\" }"),
            "line 3: partition `a`: create: share: a budget of 2ms is longer than its period of 1ms",
        ),
        (
            create("share = { budget = \"1s\", period = \"72m\" }"),
            "line 3: partition `a`: create: share: `72m` is too long",
        ),
        (
            create("vcpus = 2, kept_vcpus = 2"),
            "line 3: partition `a`: create: kept_vcpus: 2 of 2 vCPUs; the first one is never kept back",
        ),
        (
            create("requests = 2"),
            "line 3: partition `a`: create: requests: without `handles` nothing can be asked for",
        ),
        (
            create("handles = 8, areas = { channels = 2 }"),
            "line 3: partition `a`: create: areas: 2 channels take 4 pages of their own, and there are 0",
        ),
        (
            create("devices = [\"clock\"]"),
            "line 3: partition `a`: create: devices: `clock` is no device such as `clock:0`: whose, and which of its devices, 0 to 63",
        ),
        (
            create("x0 = 1, cmdline = \"a\""),
            "line 3: partition `a`: create: x0: that is where the device tree is, which it is given",
        ),
        (
            create("devices = [\"c:1\"], kept_devices = [\"c:0\", \"c:1\"]"),
            "line 3: partition `a`: create: kept_devices: `c:1` stands twice",
        ),
        (
            with("create = { image = \"x y\", memory = \"2M\", cores = \"0\" }"),
            "line 3: partition `a`: create: image: `x y`: a name with a space or a zero cannot be noted",
        ),
        (
            create(&format!("cmdline = \"{}\"", "c".repeat(4_000))),
            "line 3: partition `a`: create: cmdline: 4034 bytes say what it is made of, and at most 4032 fit",
        ),
        (
            with("restart = { on = \"end\", delay = \"2s\", longest = \"1s\" }"),
            "line 3: partition `a`: restart: longest: it is shorter than `delay`",
        ),
        (
            with("restart = { on = \"end\", factor = 0 }"),
            "line 3: partition `a`: restart: factor: it is at least 1",
        ),
        (grant("resource = \"time\""), "line 4: grant 1: resource: there is no resource `time`"),
        (
            grant("resource = \"vcpus\"\nup_to = 2"),
            "line 5: grant 1: up_to: of vCPUs all that are asked for are granted; `kept_vcpus` says how many there are",
        ),
        (
            grant("resource = \"device\"\nkeep = 2"),
            "line 5: grant 1: keep: a device is granted as it is",
        ),
        (
            grant("resource = \"vcpus\"\ndevice = 2"),
            "line 5: grant 1: device: it is for `resource = \"device\"`",
        ),
        (
            grant("resource = \"memory\"\nto = [\"b\"]"),
            "line 5: grant 1: to: there is no [[partition]] `b` in the policy",
        ),
        (
            with("[[talk]]\nfrom = \"a\"\nto = \"b\""),
            "line 5: talk 1: to: there is no [[partition]] `b` in the policy",
        ),
    ] {
        assert_eq!(Policy::parse(&text).unwrap_err().to_string(), message);
    }
}

#[test]
fn one_that_is_made_is_given_all_that_can_be_given() {
    let text = "[[partition]]\nname = \"a\"\n[partition.create]\nimage = \"x\"\nmemory = [\"2M\", { size = \"4M\", ipa = 0x8000_0000 }, \"1M\"]\nx0 = 0x77\n\
                cores = \"3\"\nvcpus = 3\nkept_vcpus = 1\nhandles = 64\nrequests = 4\n\
                areas = { pages = 16, blocks = 8, giants = 1, channels = 2, shared = 4 }\n\
                devices = [\"clock:0\", \"clock:2\"]\nkept_devices = [\"clock:1\"]";
    let policy = Policy::parse(text).unwrap();
    let new = policy.partitions[0].create.as_ref().unwrap();
    assert_eq!((new.vcpus.len(), new.kept_vcpus, new.handles, new.requests), (3, 1, 64, 4));
    let regions = [(0x4000_0000, 2 << 20), (0x8000_0000, 4 << 20), (0x8040_0000, 1 << 20)];
    assert_eq!(new.memory, regions.map(|(at, bytes)| Region { at, bytes }));
    assert_eq!(new.x0, Some(0x77));
    let areas = NewAreas { pages: 16, blocks: 8, giants: 1, channels: 2, shares: 4 };
    assert_eq!(new.areas, areas);
    let devices: Vec<String> = new.devices.iter().map(ToString::to_string).collect();
    assert_eq!(devices, ["clock:0", "clock:2"]);
    assert_eq!(new.kept_devices.first().map(ToString::to_string).as_deref(), Some("clock:1"));
}

#[test]
fn what_is_no_policy_is_pointed_at() {
    let error = Policy::parse("[[partition]]\nname = \"a\"\ncolour = 1").unwrap_err().to_string();
    assert!(error.contains("line 3") && error.contains("unknown field `colour`"), "{error}");
    let text = "[[partition]]\nname = \"a\"\n[partition.create]\nimage = \"x\"\nmemory = \"2M\"\n\
                cores = \"0\"\nconsole = \"maybe\"";
    let error = Policy::parse(text).unwrap_err().to_string();
    let is_named = error.contains("line 7") && error.contains("console = \"maybe\"");
    assert!(is_named && error.contains("expected a boolean"), "{error}");
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
    let error = Policy::parse(&text(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "")])).unwrap_err();
    let message = "line 4: partition `a`: after: these would wait for ever: a, b, c";
    assert_eq!(error.to_string(), message);
}
