//! Answering the requests that wait (P8).

use shikiri_abi::Status;
use shikiri_machine::{Amount, Asked, Machine, Partition, Refusal, Wanted};

use crate::grant::{Answer, Judgement, Request};
use crate::policy::Policy;

/// The most that are answered in one go: as many as there can be. Others tell of themselves again.
const AT_ONCE: usize = 64;

/// Answers all requests that wait; `say` is told each answer with its rule.
///
/// # Errors
/// The caller may not make policy.
pub fn answer(
    policy: &Policy,
    machine: &mut dyn Machine,
    say: &mut dyn FnMut(&str),
) -> Result<(), Refusal> {
    for _ in 0..AT_ONCE {
        let Some(asked) = machine.take_request()? else { return Ok(()) };
        // Seen after it was taken: whoever asks, and whoever is meant, was there when it was made.
        let partitions = machine.partitions()?;
        let Some(from) = partitions.iter().find(|it| it.id == asked.from) else { continue };
        // Whoever asked may have gone since.
        let Ok((what, judgement)) = judge(policy, machine, &partitions, (from, asked)) else {
            continue;
        };
        let granted = match judgement.answer {
            Answer::Grant(amount) => Some(amount),
            Answer::Refuse => None,
        };
        let result = match (give(machine, &asked, granted), granted) {
            (Err(refusal), _) => refusal.to_string(),
            (Ok(()), Some(_)) => format!("granted, {}", judgement.why),
            (Ok(()), None) => format!("refused, {}", judgement.why),
        };
        say(&format!("{} asks for {what}: {result}", from.name));
    }
    Ok(())
}

/// Gives an answer. A grant that cannot be (it is not there to be handed out, the peer has gone) is a refusal: whoever asks is not left
/// waiting.
fn give(machine: &mut dyn Machine, asked: &Asked, granted: Option<u64>) -> Result<(), Refusal> {
    match machine.answer(asked, granted) {
        Err(refusal) if granted.is_some() && refusal.status != Status::PeerGone => {
            machine.answer(asked, None).and(Err(refusal))
        }
        answered => answered,
    }
}

/// What is asked for, in words, and the judgement.
fn judge(
    policy: &Policy,
    machine: &dyn Machine,
    partitions: &[Partition],
    (from, asked): (&Partition, Asked),
) -> Result<(String, Judgement), Refusal> {
    Ok(match asked.wanted {
        Wanted::More(resource, amount) => {
            let (own, handout) = (machine.account(from.id)?, machine.handout()?);
            let request = Request { from: from.id, resource, amount };
            let what = format!("{} {resource}", Amount { resource, value: amount });
            (what, policy.judge(&from.name, &request, &own, &handout))
        }
        Wanted::Peer(place) => {
            let to = partitions.iter().find(|it| u64::from(it.id.place.0) == place);
            let to = to.map_or("", |to| to.name.as_str());
            (format!("a way to {to}"), policy.judge_peer(&from.name, to))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::answer;
    use crate::policy::{Entry, Policy, Start};
    use shikiri_abi::{PartitionId, PartitionRef, PartitionSlot, Resource, Status};
    use shikiri_machine::{
        Account, Act, Asked, Exit, Machine, NewPartition, Partition, Phase, Refusal, Thing, Wanted,
    };
    use std::cell::RefCell;

    const fn at(place: u8, id: u32) -> PartitionRef {
        PartitionRef { place: PartitionSlot(place), id: PartitionId(id) }
    }

    fn partition(name: &str, id: PartitionRef) -> Partition {
        Partition {
            id,
            name: name.to_owned(),
            phase: Phase::Active,
            cause: None,
            vcpus: 1,
            starts: 1,
            is_dynamic: true,
            makes_policy: false,
        }
    }

    /// A machine of partitions that ask.
    #[derive(Default)]
    struct Fake {
        partitions: Vec<Partition>,
        asked: Vec<Asked>,
        /// What is to be there when a request has been taken.
        then: Option<Partition>,
        /// What a grant is refused with.
        refuses: Option<Status>,
        answers: RefCell<Vec<Option<u64>>>,
    }

    impl Machine for Fake {
        fn partitions(&self) -> Result<Vec<Partition>, Refusal> {
            Ok(self.partitions.clone())
        }

        fn take_request(&mut self) -> Result<Option<Asked>, Refusal> {
            let next = self.asked.pop();
            if next.is_some() {
                self.partitions.extend(self.then.take());
            }
            Ok(next)
        }

        fn answer(&mut self, asked: &Asked, granted: Option<u64>) -> Result<(), Refusal> {
            self.answers.borrow_mut().push(granted);
            match self.refuses.filter(|_| granted.is_some()) {
                Some(status) => Err(Refusal::new("answer", Some(asked.from), status)),
                None => Ok(()),
            }
        }

        fn account(&self, _: PartitionRef) -> Result<Account, Refusal> {
            Ok(Account::default())
        }

        fn handout(&self) -> Result<Account, Refusal> {
            Ok(Account::default())
        }

        fn images(&self) -> Result<Vec<String>, Refusal> {
            unreachable!("no request is about images")
        }

        fn create(&mut self, _: &NewPartition) -> Result<PartitionRef, Refusal> {
            unreachable!("no request makes a partition")
        }

        fn describe(&mut self, _: &NewPartition) -> Result<(), Refusal> {
            unreachable!("no request makes a partition")
        }

        fn is_held_first(&self, _: PartitionRef) -> Result<bool, Refusal> {
            unreachable!("no request starts a partition")
        }

        fn set_limit(
            &mut self,
            _: PartitionRef,
            _: Resource,
            _: Option<u64>,
        ) -> Result<(), Refusal> {
            unreachable!("an answer does that")
        }

        fn act(&mut self, _: PartitionRef, _: Act) -> Result<PartitionRef, Refusal> {
            unreachable!("no request starts a partition")
        }

        fn take_notices(&mut self) -> Result<u32, Refusal> {
            unreachable!("notices are somebody else's")
        }

        fn permit(&mut self, _: PartitionRef, _: PartitionRef, _: bool) -> Result<(), Refusal> {
            unreachable!("an answer does that")
        }

        fn console(&self, _: PartitionRef, _: u64) -> Result<(Vec<u8>, u64), Refusal> {
            unreachable!("nobody is looked at")
        }

        fn focus(&mut self, _: PartitionRef) -> Result<(), Refusal> {
            unreachable!("nobody is looked at")
        }

        fn things(&self, _: PartitionRef) -> Result<Vec<Thing>, Refusal> {
            unreachable!("nobody is looked at")
        }

        fn exits(&self, _: PartitionRef, _: u8) -> Result<Vec<Exit>, Refusal> {
            unreachable!("nobody is looked at")
        }
    }

    fn policy() -> Policy {
        let entry = |name: &str| Entry {
            name: name.to_owned(),
            create: None,
            limits: vec![],
            start: Start::Never,
            restart: None,
        };
        let partitions = ["a", "b"].map(entry).to_vec();
        Policy { partitions, grants: vec![], talk: vec![(0, 1)] }
    }

    /// `a` asks for a way to the partition at place 2.
    fn asks() -> Fake {
        let asked = Asked { from: at(1, 5), wanted: Wanted::Peer(2), number: 9 };
        let partitions = vec![partition("a", at(1, 5))];
        Fake { partitions, asked: vec![asked], ..Fake::default() }
    }

    fn answered(fake: &mut Fake) -> (Vec<Option<u64>>, String) {
        let mut said = String::new();
        answer(&policy(), fake, &mut |text| said += text).unwrap();
        (fake.answers.borrow().clone(), said)
    }

    #[test]
    fn a_peer_is_judged_as_it_is_when_it_is_asked_for() {
        let there = Fake { then: Some(partition("b", at(2, 6))), ..asks() };
        let (answers, said) = answered(&mut { there });
        assert_eq!(answers, [Some(0)], "{said}");
        let (answers, said) = answered(&mut asks());
        assert_eq!(answers, [None], "nobody is there");
        assert_eq!(said, "a asks for a way to : refused, there is no talk from a to ");
    }

    #[test]
    fn who_asks_for_a_peer_that_has_gone_is_refused_and_does_not_wait() {
        for status in [Status::NotFound, Status::OverLimit] {
            let then = Some(partition("b", at(2, 6)));
            let mut fake = Fake { then, refuses: Some(status), ..asks() };
            let (answers, said) = answered(&mut fake);
            assert_eq!(answers, [Some(0), None], "{said}");
        }
        let then = Some(partition("b", at(2, 6)));
        let mut fake = Fake { then, refuses: Some(Status::PeerGone), ..asks() };
        let (answers, said) = answered(&mut fake);
        assert_eq!(answers, [Some(0)], "nobody waits any more");
        assert_eq!(said, "a asks for a way to b: answer of partition 5: peer gone");
    }
}
