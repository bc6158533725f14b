//! What partitions are given, and what they are permitted.

use super::{Fake, reference, say};
use shikiri_abi::{Resource, Status};
use shikiri_machine::{NewAreas, Refusal};

#[test]
fn one_that_is_made_is_given_what_its_keys_say() {
    let mut fake = Fake::new();
    let (is, _) = say(
        &mut fake,
        "part create w image=w.bin memory=4M cores=1 vcpus=3 kept_vcpus=1 handles=64 requests=4 console=no areas=pages:16,blocks:8,giants:1,channels:2,shared:4 devices=clock:0,clock:2 kept_devices=clock:1 devices_limit=5 core_time=50%",
    );
    let made = &fake.made[0];
    assert_eq!((is, made.kept_vcpus, made.handles, made.requests), (0, 1, 64, 4));
    let areas = NewAreas { pages: 16, blocks: 8, giants: 1, channels: 2, shares: 4 };
    assert_eq!((made.areas, made.console), (areas, false));
    let devices: Vec<String> = made.devices.iter().map(ToString::to_string).collect();
    assert_eq!(devices, ["clock:0", "clock:2"]);
    assert_eq!(made.kept_devices.first().map(ToString::to_string).as_deref(), Some("clock:1"));
    assert_eq!(made.limits, [(Resource::Devices, 5), (Resource::CoreTime, 500_000)]);
    let (_, shown) = say(&mut fake, "part show w");
    assert!(
        shown.contains("\nmade at run time\nimage=w.bin memory=4M cores=1 vcpus=3 kept_"),
        "{shown}"
    );
}

#[test]
fn who_may_talk_to_whom_is_said_both_ways() {
    let mut fake = Fake::new();
    assert_eq!(
        say(&mut fake, "chan permit scos hello; chan forbid hello '#1'"),
        (0, String::new())
    );
    assert_eq!(fake.talk, [(1, 2, true), (2, 1, false)]);
    let (result, text) = say(&mut fake, "chan permit scos ghost");
    assert!(result == 1 && text.starts_with("chan: there is no partition `ghost`"), "{text}");
    assert_eq!(say(&mut fake, "chan permit scos").0, 2);
    fake.refuses = Some(Refusal::new("permission", Some(reference(1)), Status::InvalidParameter));
    let text = "chan: permission of partition 1: bad argument\n";
    assert_eq!(say(&mut fake, "chan permit scos scos"), (1, text.into()));
    assert_eq!(fake.talk.len(), 2);
}

#[test]
fn a_limit_that_nobody_enforces_says_so() {
    let mut fake = Fake::new();
    for (resource, amount, said) in [
        ("bus_share", "50%", "bus_share is recorded, and not enforced\n"),
        ("cache_colors", "4", "cache_colors is recorded, and not enforced\n"),
        ("event_ports", "4", ""),
    ] {
        let line = format!("part limit hello {resource} {amount}");
        assert_eq!(say(&mut fake, &line), (0, said.to_owned()));
    }
}

#[test]
fn cores_and_vcpus_have_the_bounds_of_the_call() {
    let mut fake = Fake::new();
    for (words, why) in [
        ("cores=64", "part: `64` are no cores such as `0` or `1-3`, 0 to 63\n"),
        ("cores=60-64", "part: `60-64` are no cores such as `0` or `1-3`, 0 to 63\n"),
        ("cores=1 vcpus=9", "part: `9` vCPUs; 1 to 8 are possible\n"),
    ] {
        let (result, text) =
            say(&mut fake, &format!("part create x image=w.bin memory=2M {words}"));
        assert!(result == 2 && text.starts_with(why), "{text}");
    }
    assert_eq!(say(&mut fake, "part create x image=w.bin memory=2M cores=63 vcpus=8").0, 0);
    assert_eq!((fake.made[0].vcpus[0].cores.0, fake.made[0].vcpus.len()), (1 << 63, 8));
}

#[test]
fn a_budget_is_no_longer_than_its_period() {
    let mut fake = Fake::new();
    let create = |share: &str| format!("part create x image=w.bin memory=2M cores=1 share={share}");
    for (share, why) in [
        ("2ms/1ms", "part: share=: a budget of 2ms is longer than its period of 1ms\n"),
        ("1s/72m", "part: `72m` is too long\n"),
    ] {
        let (result, text) = say(&mut fake, &create(share));
        assert!(result == 2 && text.starts_with(why), "{text}");
    }
    assert_eq!(say(&mut fake, &create("1ms/1ms")).0, 0);
    assert_eq!(fake.made[0].vcpus[0].time.ppm(), 1_000_000);
}
