//! Services: what the bundle has of them, what is shown, and what a client's guest finds.

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node as _, Property as _};
use shikiri_config::{Bundle, MAX_SERVICES, PartitionSet, crc32};

use crate::support::{Board, compile_text, guest_tree};

/// A server with three clients.
const PARTITIONS: &str = r#"
[[partition]]
name = "server"
memory = "2MiB"
image = "hello"
share = { budget = "1ms", period = "10ms" }
handles = 8
accept_from = ["one", "two", "three"]
[[partition]]
name = "one"
memory = "2MiB"
image = "hello"
share = { budget = "1ms", period = "10ms" }
handles = 8
requests = 2
connect_to = ["server"]
[[partition]]
name = "two"
memory = "2MiB"
image = "hello"
share = { budget = "1ms", period = "10ms" }
handles = 8
requests = 2
connect_to = ["server", "three"]
[[partition]]
name = "three"
memory = "2MiB"
image = "hello"
share = { budget = "1ms", period = "10ms" }
handles = 8
requests = 2
connect_to = ["server"]
accept_from = ["two"]
"#;

fn service(name: &str, number: u32, to: &str) -> String {
    format!("[[service]]\nname = \"{name}\"\nof = \"server\"\nnumber = {number}\nto = {to}\n")
}

fn described() -> String {
    PARTITIONS.to_owned()
        + &service("kv", 7, "[\"one\", \"two\"]")
        + &service("admin", 0xffff_ffff, "[\"two\"]")
}

#[test]
fn the_bundle_says_who_may_ask_for_what() {
    let text = described() + &service("time", 0, "\"anyone\"");
    let compiled = compile_text("services", &text, Board::VirtGic3).unwrap();
    let bundle = Bundle::parse(&compiled.bundle, crc32).unwrap();
    let services = bundle.services().map(|it| (it.name, it.of, it.number, it.to));
    let expected = [
        ("kv", 0, 7, PartitionSet(0b0110)),
        ("admin", 0, u32::MAX, PartitionSet(0b0100)),
        ("time", 0, 0, PartitionSet::ALL),
    ];
    assert_eq!(services.collect::<Vec<_>>(), expected);
}

#[test]
fn who_may_ask_for_what_is_shown_and_who_for_nothing() {
    let explanation =
        |text: &str| compile_text("services-shown", text, Board::VirtGic3).unwrap().explanation;
    let shown = explanation(&described());
    let table = "\nservices\n  kv of server, number 7: one, two\n  admin of server, number 4294967295: two\n  none of server: three\n\n";
    assert!(shown.contains(table), "{shown}");
    let shown = explanation(&(described() + &service("time", 0, "\"anyone\"")));
    assert!(shown.contains("  time of server, number 0: whoever may ask it\n\n"), "{shown}");
    assert!(!explanation(PARTITIONS).contains("services"));
}

#[test]
fn a_guest_finds_what_it_may_ask_a_peer_for() {
    let compiled = compile_text("services-found", &described(), Board::VirtGic3).unwrap();
    let found = |partition, peer| {
        let tree = guest_tree(&compiled, partition);
        let fdt = Fdt::new(&tree).unwrap();
        let node = fdt.find_node(&format!("/hypervisor/peer@{peer}")).unwrap();
        let numbers = node.property("shikiri,services")?;
        let numbers: Vec<_> = numbers.value().chunks_exact(4).map(<[u8]>::to_vec).collect();
        let names = node.property("shikiri,service-names").unwrap().value().to_vec();
        Some((numbers.concat(), String::from_utf8(names).unwrap()))
    };
    assert_eq!(found(1, 0), Some((vec![0, 0, 0, 7], "kv\0".to_owned())));
    let both = vec![0, 0, 0, 7, 255, 255, 255, 255];
    assert_eq!(found(2, 0), Some((both, "kv\0admin\0".to_owned())));
    assert_eq!(found(3, 0), Some((vec![], String::new())), "none of its services is open to it");
    assert_eq!(found(2, 3), None, "it has no services, and is asked for whatever one likes");
    assert_eq!(found(0, 1), None, "it may not be asked");
}

#[test]
fn there_are_so_many_and_no_more() {
    let many = |count: usize| {
        let services = (0..count).map(|n| service(&format!("s{n}"), n as u32, "[\"one\"]"));
        PARTITIONS.to_owned() + &services.collect::<String>()
    };
    assert!(compile_text("services-many", &many(MAX_SERVICES), Board::VirtGic3).is_ok());
    let error =
        compile_text("services-many", &many(MAX_SERVICES + 1), Board::VirtGic3).unwrap_err();
    assert!(error.to_string().contains("more than 256 services"), "{error}");
}
