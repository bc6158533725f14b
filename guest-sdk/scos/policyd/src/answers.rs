//! Answering the requests that wait (P8).

use shikiri_abi::{Resource, Status};
use shikiri_machine::{Amount, Asked, Machine, Partition, Refusal, Wanted};

use crate::grant::{Answer, Judgement, Request};
use crate::policy::Policy;

/// The most that are answered in one go, so that whoever asks without end does not keep the policy from the rest.
const AT_ONCE: usize = 64;

/// Answers the requests that wait, [`AT_ONCE`] at most; `say` is told each answer with its rule. True: more of them may wait, and
/// nothing need tell of those again.
///
/// # Errors
/// The caller may not make policy.
pub fn answer(
    policy: &Policy,
    machine: &mut dyn Machine,
    say: &mut dyn FnMut(&str),
) -> Result<bool, Refusal> {
    for _ in 0..AT_ONCE {
        let Some(asked) = machine.take_request()? else { return Ok(false) };
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
    Ok(true)
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
    let of_resource = |resource, amount| {
        let (own, handout) = (machine.account(from.id)?, machine.handout()?);
        let request = Request { from: from.id, resource, amount };
        let what = format!("{} {resource}", Amount { resource, value: amount });
        Ok((what, policy.judge(&from.name, &request, &own, &handout)))
    };
    Ok(match asked.wanted {
        Wanted::More(resource, amount) => of_resource(resource, amount)?,
        Wanted::Time(vcpu, ppm) => {
            let (what, judgement) = of_resource(Resource::CoreTime, ppm)?;
            (format!("{what} for vCPU {vcpu}"), judgement)
        }
        Wanted::Vcpus(count) => {
            let what = format!("{count} vCPU{}", if count == 1 { "" } else { "s" });
            (what, policy.judge_vcpus(&from.name, count))
        }
        Wanted::Device(number) => {
            (format!("device {number}"), policy.judge_device(&from.name, number))
        }
        Wanted::Peer(place) => {
            let to = partitions.iter().find(|it| u64::from(it.id.place.0) == place);
            let to = to.map_or("", |to| to.name.as_str());
            (format!("a way to {to}"), policy.judge_peer(&from.name, to))
        }
        Wanted::Other(what) => {
            let why = "no rule can be about it".to_owned();
            (format!("wish {what}"), Judgement { answer: Answer::Refuse, why })
        }
    })
}

#[cfg(test)]
mod tests;
