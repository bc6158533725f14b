//! ^C during a line, and single keys.

use super::{fake::Fake, say};
use shikiri_abi::Status;
use shikiri_machine::{Phase, Refusal};

#[test]
fn interrupt_ends_the_command_and_the_line() {
    let mut fake = Fake::new();
    fake.during = vec![|_| {}, |fake| fake.is_interrupted = true];
    let line = "part wait hello active 1m; echo never || echo never";
    assert_eq!(say(&mut fake, line), (130, String::new()));
    assert_eq!(fake.pauses, 2);
    // A program that it has ended.
    let mut fake = Fake::new();
    assert_eq!(say(&mut fake, "interrupted || echo never; echo never"), (130, String::new()));
    // One that ends it by itself: the line goes on.
    assert_eq!(say(&mut Fake::new(), "fails; echo on"), (0, "on\n".into()));
}

#[test]
fn a_start_that_waits_for_the_device_tree_is_interrupted() {
    let mut fake = Fake::new();
    assert_eq!(say(&mut fake, super::LINUX).0, 0);
    fake.during = vec![|fake| fake.is_interrupted = true];
    assert_eq!(say(&mut fake, "part start l; echo never"), (130, String::new()));
    assert_eq!(fake.partitions[2].phase, Phase::Building);
}

#[test]
fn top_has_single_keys_and_gives_them_back_however_it_ends() {
    let mut fake = Fake::new();
    fake.during = vec![|fake| assert!(fake.keys.0, "keys come one by one")];
    assert_eq!(say(&mut fake, "top -n 2").0, 0);
    assert_eq!(fake.keys, (false, 1));
    // ^C.
    fake.during = vec![|fake| fake.is_interrupted = true];
    fake.is_key_pressed = true;
    assert_eq!(say(&mut fake, "top; echo never").0, 130);
    assert_eq!(fake.keys, (false, 2));
    // It may look no more.
    let mut fake = Fake::new();
    fake.during = vec![|fake| fake.is_stranger = true];
    let text = Refusal::new("list", None, Status::NotPermitted).to_string();
    let (result, said) = say(&mut fake, "top -n 2");
    assert!(result == 1 && said.ends_with(&format!("top: {text}\n")), "{result} {said}");
    assert_eq!(fake.keys, (false, 1));
}
