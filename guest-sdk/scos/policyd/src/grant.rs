//! Judging a request for more of a resource (P8).

use shikiri_abi::{PartitionRef, Resource};
use shikiri_machine::{Account, Amount, Line};

use crate::policy::{Good, Grant, Policy};

/// A guest asks for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who.
    pub from: PartitionRef,
    /// Of what.
    pub resource: Resource,
    /// How much more, in the unit of the account.
    pub amount: u64,
}

/// What it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So much more; as asked, or less.
    Grant(u64),
    /// Nothing.
    Refuse,
}

/// The answer, with the rule that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The answer.
    pub answer: Answer,
    /// The rule, in words: for the log.
    pub why: String,
    /// The rule grants less where what it says cannot be.
    pub or_less: bool,
}

impl Policy {
    /// Judges a request to be allowed to ask another partition for connections.
    #[must_use]
    pub fn judge_peer(&self, from: &str, to: &str) -> Judgement {
        let is_said = self.may_talk(from, to);
        let why = format!(
            "{} talk from {from} to {to}",
            if is_said { "there is a" } else { "there is no" }
        );
        let answer = if is_said { Answer::Grant(0) } else { Answer::Refuse };
        Judgement { answer, why, or_less: false }
    }

    /// Judges a request by a partition of this name, whose account is `own`, while so much of what may be handed out is.
    #[must_use]
    pub fn judge(
        &self,
        name: &str,
        request: &Request,
        own: &Account,
        handout: &Account,
    ) -> Judgement {
        let resource = request.resource;
        let Some((number, rule)) = self.rule(name, |of| of == Good::Resource(resource)) else {
            return refused(format!("no grant names {resource} for {name}"));
        };
        let (own, handout) = (own.line(resource), handout.line(resource));
        // Of core time so much more is used, and only what the limit lacks is handed out; of all else the limit is raised.
        let (from, room) = match (resource, own.limit) {
            (Resource::CoreTime, limit) => (own.used, limit.unwrap_or(0).saturating_sub(own.used)),
            (_, Some(limit)) => (limit, 0),
            (_, None) => {
                return refused(format!("{name} has no limit of {resource}: it needs no more"));
            }
        };
        let below_bound = rule.up_to.map_or(u64::MAX, |up_to| up_to.saturating_sub(from));
        let below_keep = spare(handout, rule.keep).saturating_add(room);
        let fits = below_bound.min(below_keep);
        let amount = |value| Amount { resource, value };
        if request.amount <= fits {
            return granted(request.amount, rule.name(number), rule.or_less);
        }
        let bound = if below_bound <= below_keep {
            format!("up_to = {}", amount(rule.up_to.unwrap_or(u64::MAX)))
        } else {
            format!("keep = {}", amount(rule.keep))
        };
        let why = format!("{}: {bound} leaves {}", rule.name(number), amount(fits));
        if rule.or_less && fits > 0 {
            return granted(fits, why, true);
        }
        refused(why)
    }

    /// Judges a request by a partition of this name for so many of the vCPUs that are kept back for it.
    #[must_use]
    pub fn judge_vcpus(&self, name: &str, count: u64) -> Judgement {
        match self.rule(name, |of| of == Good::Vcpus) {
            Some((number, rule)) => granted(count, rule.name(number), false),
            None => refused(format!("no grant names vCPUs for {name}")),
        }
    }

    /// Judges a request by a partition of this name for the device that is kept back for it under this number.
    #[must_use]
    pub fn judge_device(&self, name: &str, number: u8) -> Judgement {
        let is_it = |of| matches!(of, Good::Device(which) if which.is_none_or(|it| it == number));
        match self.rule(name, is_it) {
            Some((rule_number, rule)) => granted(0, rule.name(rule_number), false),
            None => refused(format!("no grant names device {number} for {name}")),
        }
    }

    /// The first rule of such a good that is for a partition of this name, with its number.
    fn rule(&self, name: &str, is_meant: impl Fn(Good) -> bool) -> Option<(usize, &Grant)> {
        let position = self.partitions.iter().position(|entry| entry.name == name);
        let is_for = |grant: &Grant| {
            grant.to.as_ref().is_none_or(|to| position.is_some_and(|at| to.contains(&at)))
        };
        self.grants.iter().enumerate().find(|(_, grant)| is_meant(grant.of) && is_for(grant))
    }
}

const fn refused(why: String) -> Judgement {
    Judgement { answer: Answer::Refuse, why, or_less: false }
}

const fn granted(amount: u64, why: String, or_less: bool) -> Judgement {
    Judgement { answer: Answer::Grant(amount), why, or_less }
}

/// How much can be handed out so that `keep` stays.
fn spare(handout: Line, keep: u64) -> u64 {
    handout.left().map_or(u64::MAX, |left| left.saturating_sub(keep))
}

#[cfg(test)]
mod tests {
    use super::{Answer, Request};
    use crate::policy::{Entry, Good, Grant, Policy, Start};
    use proptest::prelude::*;
    use shikiri_abi::{PartitionId, PartitionRef, PartitionSlot, Resource};
    use shikiri_machine::{Account, Line};

    fn policy(grants: Vec<Grant>) -> Policy {
        let entry = |name: &str| Entry {
            name: name.into(),
            create: None,
            limits: vec![],
            start: Start::Never,
            restart: None,
        };
        Policy { partitions: vec![entry("a"), entry("b")], grants, ..Policy::default() }
    }

    fn account(resource: Resource, limit: Option<u64>, used: u64) -> Account {
        let mut account = Account::default();
        account.lines[usize::from(resource.number())] = Line { limit, used, high: used };
        account
    }

    const MEMORY: Grant = Grant {
        to: None,
        of: Good::Resource(Resource::Memory),
        up_to: Some(100),
        keep: 50,
        or_less: false,
    };

    fn ask(
        policy: &Policy,
        name: &str,
        limit: Option<u64>,
        amount: u64,
        left: u64,
    ) -> (Answer, String) {
        let from = PartitionRef { place: PartitionSlot(0), id: PartitionId(1) };
        let request = Request { from, resource: Resource::Memory, amount };
        let own = account(Resource::Memory, limit, 0);
        let handout = account(Resource::Memory, Some(1000), 1000 - left);
        let judgement = policy.judge(name, &request, &own, &handout);
        (judgement.answer, judgement.why)
    }

    #[test]
    fn the_bound_of_the_rule_and_what_it_keeps_decide() {
        let policy = policy(vec![MEMORY]);
        let why = |text: &str| text.to_owned();
        assert_eq!(
            ask(&policy, "a", Some(40), 60, 200),
            (Answer::Grant(60), why("grant 1 (memory)"))
        );
        assert_eq!(
            ask(&policy, "a", Some(40), 61, 200),
            (Answer::Refuse, why("grant 1 (memory): up_to = 400K leaves 240K"))
        );
        assert_eq!(
            ask(&policy, "a", Some(40), 60, 109),
            (Answer::Refuse, why("grant 1 (memory): keep = 200K leaves 236K"))
        );
        assert_eq!(ask(&policy, "a", Some(40), 59, 109).0, Answer::Grant(59));
        assert_eq!(ask(&policy, "a", None, 1, 200).0, Answer::Refuse);
    }

    #[test]
    fn or_less_gives_what_fits_and_nothing_is_a_refusal() {
        let policy = policy(vec![Grant { or_less: true, ..MEMORY }]);
        assert_eq!(ask(&policy, "a", Some(40), 61, 200).0, Answer::Grant(60));
        assert_eq!(ask(&policy, "a", Some(100), 1, 200).0, Answer::Refuse);
        assert_eq!(ask(&policy, "a", Some(40), 10, 50).0, Answer::Refuse);
    }

    /// Its account of core time is `(limit, used)`, and so much can be handed out.
    fn ask_time(rule: Grant, (limit, used): (Option<u64>, u64), amount: u64, left: u64) -> Answer {
        let from = PartitionRef { place: PartitionSlot(0), id: PartitionId(1) };
        let request = Request { from, resource: Resource::CoreTime, amount };
        let own = account(Resource::CoreTime, limit, used);
        let handout = account(Resource::CoreTime, Some(1000), 1000 - left);
        policy(vec![rule]).judge("a", &request, &own, &handout).answer
    }

    #[test]
    fn core_time_is_judged_by_what_will_be_used_and_what_the_limit_lacks() {
        let time = Grant { of: Good::Resource(Resource::CoreTime), ..MEMORY };
        // 50 are kept, and 100 are the most that is used.
        let ask = |own, amount, left| ask_time(time.clone(), own, amount, left);
        assert_eq!(ask((Some(60), 40), 60, 90), Answer::Grant(60), "40 are handed out");
        assert_eq!(ask((Some(60), 40), 60, 89), Answer::Refuse, "one too few");
        assert_eq!(ask((Some(60), 40), 61, 900), Answer::Refuse, "101 would be used");
        assert_eq!(ask((Some(60), 40), 20, 0), Answer::Grant(20), "the limit allows it");
        assert_eq!(ask((Some(20), 40), 10, 60), Answer::Grant(10), "it was lowered");
        assert_eq!(ask((Some(20), 40), 11, 60), Answer::Refuse);
        assert_eq!(ask((None, 40), 30, 80), Answer::Grant(30), "what it has is its own");
        assert_eq!(ask((None, 40), 31, 80), Answer::Refuse);
        let less = Grant { or_less: true, ..time };
        assert_eq!(ask_time(less.clone(), (None, 40), 31, 80), Answer::Grant(30));
        assert_eq!(ask_time(less.clone(), (Some(60), 40), 90, 900), Answer::Grant(60));
        assert_eq!(ask_time(less, (Some(60), 100), 1, 900), Answer::Refuse);
    }

    #[test]
    fn vcpus_are_granted_to_whom_a_rule_names() {
        let rule = Grant { to: Some(vec![1]), of: Good::Vcpus, up_to: None, ..MEMORY };
        let policy = policy(vec![MEMORY, rule]);
        let judged = |name| {
            let judgement = policy.judge_vcpus(name, 3);
            (judgement.answer, judgement.why)
        };
        assert_eq!(judged("b"), (Answer::Grant(3), "grant 2 (vcpus)".into()));
        assert_eq!(judged("a"), (Answer::Refuse, "no grant names vCPUs for a".into()));
        assert_eq!(judged("stranger").0, Answer::Refuse);
    }

    #[test]
    fn a_device_is_granted_to_whom_a_rule_names_it() {
        let one = Grant { to: Some(vec![1]), of: Good::Device(Some(3)), up_to: None, ..MEMORY };
        let any = Grant { to: Some(vec![0]), of: Good::Device(None), up_to: None, ..MEMORY };
        let policy = policy(vec![one, any]);
        let judged = |name, number| {
            let judgement = policy.judge_device(name, number);
            (judgement.answer, judgement.why)
        };
        assert_eq!(judged("b", 3), (Answer::Grant(0), "grant 1 (device)".into()));
        assert_eq!(judged("b", 2), (Answer::Refuse, "no grant names device 2 for b".into()));
        assert_eq!(judged("a", 2), (Answer::Grant(0), "grant 2 (device)".into()));
        assert_eq!(judged("stranger", 3).0, Answer::Refuse);
    }

    #[test]
    fn who_may_talk_is_who_the_policy_says() {
        let policy = Policy { talk: vec![(0, 1)], ..policy(vec![]) };
        assert_eq!(policy.judge_peer("a", "b").answer, Answer::Grant(0));
        for (from, to) in [("b", "a"), ("a", "a"), ("a", "stranger"), ("stranger", "b")] {
            assert_eq!(policy.judge_peer(from, to).answer, Answer::Refuse, "{from} to {to}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let closed = Grant { to: Some(vec![1]), up_to: Some(0), ..MEMORY };
        let ports = Grant { of: Good::Resource(Resource::EventPorts), ..MEMORY };
        let policy = policy(vec![ports, closed, MEMORY]);
        assert_eq!(ask(&policy, "b", Some(40), 1, 200).0, Answer::Refuse);
        assert_eq!(
            ask(&policy, "a", Some(40), 1, 200),
            (Answer::Grant(1), "grant 3 (memory)".into())
        );
        assert_eq!(
            ask(&policy, "stranger", Some(40), 1, 200).0,
            Answer::Grant(1),
            "a rule for all"
        );
        let none = super::super::Policy::default();
        assert_eq!(
            ask(&none, "a", Some(40), 1, 200),
            (Answer::Refuse, "no grant names memory for a".into())
        );
    }

    proptest! {
        #[test]
        fn no_grant_passes_its_bound_or_takes_what_is_kept(
            limit in 0..200_u64, amount in 1..300_u64, left in 0..1000_u64, up_to in proptest::option::of(0..200_u64),
            keep in 0..200_u64, or_less: bool,
        ) {
            let policy = policy(vec![Grant { up_to, keep, or_less, ..MEMORY }]);
            match ask(&policy, "a", Some(limit), amount, left).0 {
                Answer::Grant(granted) => {
                    prop_assert!(granted > 0 && granted <= amount);
                    prop_assert!(up_to.is_none_or(|up_to| limit + granted <= up_to));
                    prop_assert!(left - granted >= keep);
                    prop_assert!(granted == amount || or_less);
                }
                Answer::Refuse => {
                    let fits = up_to.map_or(u64::MAX, |up_to| up_to.saturating_sub(limit)).min(left.saturating_sub(keep));
                    prop_assert!(amount > fits && (fits == 0 || !or_less));
                }
            }
        }
    }
}
