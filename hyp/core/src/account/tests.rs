//! The account's rules, one by one and against a model.
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows is a failed test")]

use std::string::ToString;
use std::vec::Vec;

use shikiri_abi::{PartitionId, Resource};

use super::{Account, Charge, OverLimit};

fn account() -> Account {
    Account::new(PartitionId(7))
}

/// Unwraps a refusal without needing `Debug` on what was not refused.
fn refused<T>(result: Result<T, OverLimit>) -> OverLimit {
    match result {
        Ok(_) => panic!("was not refused"),
        Err(refusal) => refusal,
    }
}

#[test]
fn a_line_above_its_limit_is_seen() {
    let mut account = account();
    account.set_limit(Resource::Memory, Some(8));
    let charge = account.charge(Resource::Memory, 8).unwrap();
    assert!(account.keeps_limits());
    // Allowed (P2): what is used stays, so that this says nothing of one whose limits are lowered.
    account.set_limit(Resource::Memory, Some(7));
    assert!(!account.keeps_limits());
    account.refund(charge);
    assert!(account.keeps_limits());
}

#[test]
fn a_new_account_uses_nothing_and_has_no_limit_p2() {
    let account = account();
    assert!(account.is_zero());
    for resource in Resource::ALL {
        assert_eq!(account.line(resource).limit, None);
        assert_eq!(account.line(resource).high, 0);
    }
}

#[test]
fn an_unset_limit_is_not_zero_p2() {
    let mut account = account();
    account.set_limit(Resource::Memory, Some(0));
    assert_eq!(refused(account.charge(Resource::Memory, 1)).limit, Some(0));
    account.set_limit(Resource::Memory, None);
    let charge = account.charge(Resource::Memory, u64::MAX).unwrap();
    account.refund(charge);
}

#[test]
fn each_resource_has_its_own_line_p3() {
    for charged in Resource::ALL {
        let mut account = account();
        account.set_limit(charged, Some(9));
        let charge = account.charge(charged, 5).unwrap();
        for resource in Resource::ALL {
            let expected = if resource == charged { (5, 5) } else { (0, 0) };
            let line = account.line(resource);
            assert_eq!((line.used, line.high), expected, "{resource} after charging {charged}");
            assert_eq!(line.limit.is_some(), resource == charged);
        }
        account.refund(charge);
        assert!(account.is_zero());
        assert_eq!(account.line(charged).high, 5);
    }
}

#[test]
fn a_limit_is_reached_but_not_passed() {
    let mut account = account();
    account.set_limit(Resource::EventPorts, Some(10));
    let mut held = account.charge(Resource::EventPorts, 8).unwrap();
    let refusal = refused(account.charge(Resource::EventPorts, 3));
    assert_eq!(
        refusal,
        OverLimit { resource: Resource::EventPorts, limit: Some(10), used: 8, asked: 3 }
    );
    assert_eq!(refusal.to_string(), "event ports: 3 more on top of 8 passes the limit 10");
    held.absorb(account.charge(Resource::EventPorts, 2).unwrap());
    assert_eq!(held.amount(), 10);
    account.refund(held);
}

#[test]
fn a_sum_past_64_bits_is_refused() {
    let mut account = account();
    let held = account.charge(Resource::Memory, u64::MAX).unwrap();
    let refusal = refused(account.charge(Resource::Memory, 1));
    assert_eq!(refusal.limit, None);
    assert_eq!(refusal.to_string().split(": ").next(), Some("memory"));
    assert_eq!(account.line(Resource::Memory).used, u64::MAX);
    account.refund(held);
}

#[test]
fn a_limit_below_use_takes_nothing_and_refuses_the_next() {
    let mut account = account();
    let mut held = account.charge(Resource::Devices, 4).unwrap();
    account.set_limit(Resource::Devices, Some(2));
    assert_eq!(account.line(Resource::Devices).used, 4);
    assert_eq!(refused(account.charge(Resource::Devices, 1)).used, 4);
    let none = account.charge(Resource::Devices, 0).unwrap();
    assert_eq!(none.amount(), 0);
    account.refund(held.split(3));
    held.absorb(account.charge(Resource::Devices, 1).unwrap());
    account.refund(held);
    assert!(account.is_zero());
}

#[test]
fn several_resources_are_charged_together_or_not_at_all() {
    let mut account = account();
    account.set_limit(Resource::IpaSpace, Some(3));
    let pair = [(Resource::Memory, 4), (Resource::IpaSpace, 4)];
    assert_eq!(refused(account.charge_all(pair)).resource, Resource::IpaSpace);
    assert!(account.is_zero());
    assert_eq!(account.line(Resource::Memory).high, 0);
    let [memory, ipa] =
        account.charge_all([(Resource::Memory, 4), (Resource::IpaSpace, 3)]).unwrap();
    assert_eq!((memory.resource(), memory.amount()), (Resource::Memory, 4));
    account.refund(ipa);
    account.refund(memory);
}

#[test]
fn one_resource_named_twice_counts_twice() {
    let mut account = account();
    account.set_limit(Resource::Memory, Some(5));
    let twice = [(Resource::Memory, 3), (Resource::Memory, 3)];
    assert_eq!(refused(account.charge_all(twice)).asked, 6);
    account.set_limit(Resource::Memory, None);
    let past = [(Resource::Memory, u64::MAX), (Resource::Memory, 1)];
    assert_eq!(refused(account.charge_all(past)).limit, None);
    assert!(account.is_zero());
}

#[test]
#[should_panic(expected = "was forgotten")]
fn a_forgotten_charge_stops_a_debug_build() {
    let _charge = account().charge(Resource::Memory, 1).unwrap();
}

#[test]
#[should_panic(expected = "another account")]
fn a_charge_cannot_be_refunded_elsewhere() {
    let mut other = Account::new(PartitionId(8));
    let charge = account().charge(Resource::Memory, 0).unwrap();
    other.refund(charge);
}

#[test]
fn a_split_takes_no_more_than_there_is() {
    let mut account = account();
    let mut charge = account.charge(Resource::Memory, 3).unwrap();
    let all = charge.split(9);
    assert_eq!((all.amount(), charge.amount()), (3, 0));
    account.refund(all);
    account.refund(charge);
    assert!(account.is_zero());
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Limit(usize, Option<u64>),
        Charge(usize, u64),
        Refund(usize),
        Split(usize, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let amount = prop_oneof![0..20_u64, Just(u64::MAX), Just(u64::MAX / 2)];
        prop_oneof![
            (0..8_usize, proptest::option::of(0..40_u64)).prop_map(|(r, l)| Step::Limit(r, l)),
            (0..8_usize, amount).prop_map(|(r, n)| Step::Charge(r, n)),
            any::<usize>().prop_map(Step::Refund),
            (any::<usize>(), 0..20_u64).prop_map(|(i, n)| Step::Split(i, n)),
        ]
    }

    /// What is used is the sum of the charges that are held, never passes the limit by a new charge, and a
    /// refusal changes nothing.
    fn run(account: &mut Account, held: &mut Vec<Charge>, step: Step) {
        match step {
            Step::Limit(r, limit) => account.set_limit(Resource::ALL[r], limit),
            Step::Charge(r, amount) => {
                let resource = Resource::ALL[r];
                let before = account.line(resource);
                let fits = before.used.checked_add(amount).is_some_and(|sum| {
                    amount == 0 || before.limit.is_none_or(|limit| sum <= limit)
                });
                match account.charge(resource, amount) {
                    Ok(charge) => {
                        assert!(fits);
                        held.push(charge);
                    }
                    Err(refusal) => {
                        assert!(!fits && refusal.resource == resource);
                        assert_eq!(account.line(resource), before);
                    }
                }
            }
            Step::Refund(at) if !held.is_empty() => {
                let charge = held.swap_remove(at % held.len());
                account.refund(charge);
            }
            Step::Split(at, amount) if !held.is_empty() => {
                let at = at % held.len();
                let part = held[at].split(amount);
                held.push(part);
            }
            Step::Refund(_) | Step::Split(..) => {}
        }
    }

    proptest! {
        #[test]
        fn used_is_always_the_sum_of_what_is_held(
            steps in proptest::collection::vec(step(), 0..60)
        ) {
            let mut account = account();
            let mut held = Vec::new();
            let mut high = [0_u64; 8];
            for step in steps {
                run(&mut account, &mut held, step);
                for (resource, high) in Resource::ALL.into_iter().zip(&mut high) {
                    let sum: u64 = held.iter().filter(|c| c.resource() == resource)
                        .map(Charge::amount).sum();
                    *high = sum.max(*high);
                    assert_eq!(account.line(resource).used, sum);
                    assert_eq!(account.line(resource).high, *high);
                }
            }
            for charge in held {
                account.refund(charge);
            }
            assert!(account.is_zero());
        }
    }
}
