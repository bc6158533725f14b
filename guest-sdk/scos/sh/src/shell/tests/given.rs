//! What partitions are given, and what they are permitted.

use super::{Fake, reference, say};
use shikiri_abi::Status;
use shikiri_machine::Refusal;

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
