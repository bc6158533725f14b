//! Answering the requests that wait (P8).

use shikiri_abi::{Resource, Status};
use shikiri_machine::{Amount, Asked, Machine, Over, Partition, Refusal, Wanted};

use crate::grant::{Answer, Judgement, Request};
use crate::policy::Policy;

/// The most that are answered in one go, so that whoever asks without end does not keep the policy from the rest.
const AT_ONCE: usize = 64;
/// How often less is granted in place of what could not be given: whoever takes of what is left meanwhile does not keep the policy from the
/// rest.
const RETRIES: u32 = 8;

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
        let mut judged = judgement;
        let mut result = give(machine, &asked, &judged);
        for _ in 0..RETRIES {
            let Some(less) = lesser(policy, machine, &partitions, (from, asked), &judged, &result)
            else {
                break;
            };
            judged = less;
            result = give(machine, &asked, &judged);
        }
        let result = match (result, judged.answer) {
            (Err(refusal), answer) => {
                give_up(machine, &asked, answer, &refusal);
                refusal.to_string()
            }
            (Ok(()), Answer::Grant(_)) => format!("granted, {}", judged.why),
            (Ok(()), Answer::Refuse) => format!("refused, {}", judged.why),
        };
        say(&format!("{} asks for {what}: {result}", from.name));
    }
    Ok(true)
}

fn give(machine: &mut dyn Machine, asked: &Asked, judged: &Judgement) -> Result<(), Refusal> {
    let granted = match judged.answer {
        Answer::Grant(amount) => Some(amount),
        Answer::Refuse => None,
    };
    machine.answer(asked, granted)
}

/// A grant that cannot be (it is not there to be handed out, the peer has gone) is a refusal: whoever asks is not left waiting.
fn give_up(machine: &mut dyn Machine, asked: &Asked, answer: Answer, refusal: &Refusal) {
    if matches!(answer, Answer::Grant(_)) && refusal.status != Status::PeerGone {
        // Whoever asked may have gone in this moment.
        let _gone = machine.answer(asked, None);
    }
}

/// The judgement anew of what was granted and could not be given, where the rule grants less then: what is left was seen before others got of
/// it, and of a core's time the policy sees only by the refusal what is left. `None`: there is no less.
fn lesser(
    policy: &Policy,
    machine: &dyn Machine,
    partitions: &[Partition],
    (from, mut asked): (&Partition, Asked),
    judged: &Judgement,
    result: &Result<(), Refusal>,
) -> Option<Judgement> {
    let (Err(refusal), Answer::Grant(granted)) = (result, judged.answer) else { return None };
    let over = refusal.over.filter(|_| judged.or_less)?;
    let most = match over {
        Over::Cores(most) => most.min(granted),
        Over::Own(_) | Over::Handout(_) | Over::Vcpus => granted,
    };
    match &mut asked.wanted {
        Wanted::More(_, amount) | Wanted::Time(_, amount) => *amount = most,
        Wanted::Vcpus(_) | Wanted::Device(_) | Wanted::Peer(_) | Wanted::Other(_) => return None,
    }
    let (less, again) = judge(policy, machine, partitions, (from, asked)).ok()?;
    let is_less = matches!(again.answer, Answer::Grant(amount) if amount > 0 && amount < granted);
    let why = format!("{}: {less}, more is over {over}", again.why);
    is_less.then_some(Judgement { why, ..again })
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
            (format!("wish {what}"), Judgement { answer: Answer::Refuse, why, or_less: false })
        }
    })
}

#[cfg(test)]
mod tests;
