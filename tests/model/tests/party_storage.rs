//! A party's storage is its partition's: charged when it is made, used, and back when it goes (P3 d, P3 e).

use shikiri_abi::{Ipa, PageCount, PartitionId, PartitionSlot, Resource};
use shikiri_config::{GicVersion, Memory, PartitionSpec, Place, Talk};
use shikiri_core::account::OverLimit;
use shikiri_core::event::{Before, Visitor};
use shikiri_core::partition::{BuildError, Holdings};
use shikiri_core::party::{EndStep, PartyState, Refusal, Sizes};
use shikiri_model::description;
use shikiri_model::machine::Machine;

const SLOT: PartitionSlot = PartitionSlot(3);
const SIZES: Sizes = Sizes { handles: 4096, requests: 200 };

fn machine() -> Machine {
    let mut spec = PartitionSpec::new("any", GicVersion::V3);
    spec.entry = Ipa(0x4000_0000);
    spec.vcpus = vec![description::vcpu()];
    spec.memory = vec![Memory { ipa: Ipa(0x4000_0000), bytes: 1 << 20, place: Place::Any }];
    let bundle = description::bundle(&description::system(GicVersion::V3, 1, vec![spec]));
    Machine::new(4, &bundle, &[])
}

fn state() -> PartyState {
    PartyState::new(PartitionId(1), SLOT, 1, [!0; 32])
}

#[test]
fn a_party_lives_in_pages_that_its_partition_pays_for() {
    let machine = machine();
    let free = machine.store.free_pages();
    let mut holdings = Holdings::new(PartitionId(1), SLOT);
    let (tables, mut locked) = SIZES.build(&mut holdings, &machine.store, state()).unwrap();
    let pages = SIZES.pages();
    let used = |holdings: &Holdings, resource| holdings.account().line(resource).used;
    assert_eq!(used(&holdings, Resource::ManagementMemory), pages.0);
    assert_eq!(machine.store.held(SLOT), pages);
    assert_eq!(PageCount(free.0 - machine.store.free_pages().0), pages);

    let mut ports = Vec::new();
    let mut party = tables.party(&mut locked);
    for _ in 0..2048 {
        let account = holdings.account_mut();
        let (send, receive) = (party.create_send(account), party.create_receive(account));
        party.connect(send.unwrap(), receive.unwrap()).unwrap();
        ports.push(send.unwrap());
    }
    let full = party.create_send(holdings.account_mut());
    assert_eq!(full, Err(Refusal::OverLimit(Resource::ManagementMemory)));
    assert_eq!(used(&holdings, Resource::EventPorts), 4096);
    let visitor = Visitor::new();
    for port in ports {
        let sent = tables.shared().send(port, &visitor, |_| Some(tables.shared())).unwrap();
        assert_eq!(sent.arrival.before, Before::Idle);
    }
    let mut party = tables.party(&mut locked);
    let mut steps = 1;
    while party.end_step(None, holdings.account_mut()).0 != EndStep::Done {
        steps += 1;
    }
    assert!((64..=66).contains(&steps), "{steps} steps for 4,096 entries of no other party");
    tables.give(locked, &mut holdings, &machine.store);
    assert_eq!(machine.store.free_pages(), free);
    assert_eq!(used(&holdings, Resource::ManagementMemory), 0);
    machine.end(holdings);
}

/// The description's check, which knows no records, and the records.
#[test]
fn the_description_counts_the_pages_that_talking_takes() {
    for handles in [1, 63, 64, 256, 257, 682, 683, 4096, 20_000, u16::MAX] {
        for requests in [0, 1, 170, 171, 5000, u16::MAX] {
            let talk = Talk { handles, requests, ..Talk::default() };
            let pages = Sizes { handles, requests }.pages().0;
            assert_eq!(talk.pages(), pages, "{handles} handles, {requests} requests");
        }
    }
    assert_eq!(Talk::default().pages(), 0);
}

#[test]
#[cfg_attr(
    miri,
    ignore = "a build for each limit: minutes under Miri, and the other test builds the same"
)]
fn what_cannot_be_had_in_full_is_not_taken_at_all() {
    let machine = machine();
    let free = machine.store.free_pages();
    for limit in 0..SIZES.pages().0 {
        let mut holdings = Holdings::new(PartitionId(1), SLOT);
        holdings.account_mut().set_limit(Resource::ManagementMemory, Some(limit));
        let refused = SIZES.build(&mut holdings, &machine.store, state()).err();
        assert!(matches!(refused, Some(BuildError::OverLimit(OverLimit { .. }))), "{refused:?}");
        assert_eq!(machine.store.free_pages(), free);
        machine.end(holdings);
    }
    let hoarded = machine.hoard(2);
    let mut holdings = Holdings::new(PartitionId(1), SLOT);
    let refused = SIZES.build(&mut holdings, &machine.store, state()).err();
    assert!(matches!(refused, Some(BuildError::NoMemory(_))), "{refused:?}");
    machine.give(hoarded);
    assert_eq!(machine.store.free_pages(), free);
    machine.end(holdings);
}
