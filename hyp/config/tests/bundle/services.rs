//! The rules of services: whose they are, their numbers, and who may ask for them.

use shikiri_config::{PartitionSet, ServiceSpec, SystemSpec};

use crate::sample::{accepted, refused, service};

const A: PartitionSet = PartitionSet(1);

fn with(service: ServiceSpec) -> impl Fn(&mut SystemSpec) {
    move |s: &mut SystemSpec| s.services.push(service.clone())
}

#[test]
fn a_service_is_open_to_partitions_that_may_ask_its_own() {
    accepted(with(service("log", 1, 8, A)));
    accepted(with(service("log", 1, 8, PartitionSet::EMPTY)));
    accepted(with(service("log", 1, 8, PartitionSet::ALL)));
    // Nobody may ask `a`, unless it is permitted at run time.
    accepted(with(service("kv", 0, 7, PartitionSet::ALL)));
    let closed = |of: &str, to: u64| {
        format!("service `log` of `{of}`: open to one that may not ask: {to:#x}")
    };
    for to in [2, 3, 4, 5, 1 << 63, u64::MAX - 1] {
        refused(with(service("log", 1, 8, PartitionSet(to))), &closed("b-2_x", to));
    }
    refused(with(service("log", 0, 8, PartitionSet(2))), &closed("a", 2));
    refused(with(service("log", 0, 8, A)), &closed("a", 1));
}

#[test]
fn a_service_has_a_name_and_a_partition() {
    let nobody = "bundle inconsistent: service of a partition that is not there";
    for of in [2, 63, 64, 255] {
        refused(with(service("log", of, 8, PartitionSet::ALL)), nobody);
    }
    let nameless = "bundle inconsistent: service without a name, or an unknown flag";
    for name in ["", "a b", "\u{7f}"] {
        refused(with(service(name, 1, 8, A)), nameless);
    }
}

#[test]
fn a_number_is_one_services_at_a_partition() {
    accepted(with(service("kv", 1, 6, A)));
    accepted(with(service("other", 0, 7, PartitionSet::ALL)));
    refused(
        with(service("other", 1, 7, A)),
        "service number 7 is claimed by service `kv` of `b-2_x` and by service `other` of `b-2_x`",
    );
}

#[test]
fn there_are_256_services_at_most() {
    let many = |count: u32| {
        move |s: &mut SystemSpec| {
            s.services = (0..count).map(|number| service("kv", 1, number, A)).collect();
        }
    };
    accepted(many(0));
    accepted(many(256));
    refused(many(257), "bundle inconsistent: too many services");
}
