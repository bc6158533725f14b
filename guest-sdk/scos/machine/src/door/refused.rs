//! What a refused call means, in words: the hypervisor's status says which rule it was, and a second look whom and how much it is about.

use shikiri_abi::{PartitionRef, Resource, Status};

use super::{CORE_READ, Calls, Door, HANDOUT_READ, read};
use crate::amount::{Amount, resource_word};
use crate::refusal::{Act, Over, Refusal, Rule};
use crate::view::{Cores, NewPartition, NewVcpu, Partition, Phase};

/// The most cores of a machine.
const MOST_CORES: u64 = 128;

impl<C: Calls> Door<C> {
    /// The partition as it is now, if it has not gone.
    pub(super) fn now(&self, it: PartitionRef) -> Option<Partition> {
        self.at(u64::from(it.place.0)).ok()?.filter(|there| there.id == it)
    }

    /// Why something was not done to a partition, which stood so before it was asked for, if that was looked at.
    pub(super) fn not_done(
        &self,
        act: Act,
        (it, before): (PartitionRef, Option<Phase>),
        refusal: Refusal,
    ) -> Refusal {
        let Some(now) = self.now(it).filter(|_| refusal.rule.is_none()) else { return refusal };
        let name = &now.name;
        let why = match (refusal.status, refusal.over, act) {
            // One that has ended only since was refused for what it was before.
            (Status::WrongState, _, Act::Start)
                if now.phase == Phase::Ended && before.is_some_and(|it| it != Phase::Ended) =>
            {
                let phase = before.unwrap_or(now.phase);
                return Refusal::of_state(act, &Partition { phase, ..now });
            }
            // Only its devices keep an ended one of the description from that.
            (Status::WrongState, _, Act::Start | Act::Restart)
                if now.phase == Phase::Ended && !now.is_dynamic =>
            {
                format!("{name} cannot be started while others have devices of its")
            }
            (Status::WrongState, ..) => return Refusal::of_state(act, &now),
            (Status::InvalidParameter, _, Act::Destroy) => {
                format!(
                    "{name} is of the description: only one that was made at run time can be destroyed"
                )
            }
            (Status::InvalidParameter, _, Act::Pause) => format!("{name} cannot pause itself"),
            (Status::OverLimit, Some(Over::Handout(resource)), Act::Start) => format!(
                "{name} has no limit of {}, and needs one: what may be handed out of it is bounded",
                resource_word(resource)
            ),
            _ => return refusal,
        };
        refusal.for_that(Rule::Other(why))
    }

    /// Why one cannot be looked into: only such a one can.
    pub(super) fn not_seen(
        &self,
        it: PartitionRef,
        only: &'static str,
        refusal: Refusal,
    ) -> Refusal {
        match self.now(it).filter(|_| refusal.status == Status::WrongState) {
            Some(Partition { name, phase, .. }) => refusal.for_that(Rule::State(name, phase, only)),
            None => refusal,
        }
    }

    /// Why a limit was not set.
    pub(super) fn not_limited(
        &self,
        resource: Resource,
        limit: Option<u64>,
        refusal: Refusal,
    ) -> Refusal {
        let x = [u64::from(resource.number()), 0, 0, 0, 0, 0];
        let line = match refusal.over {
            Some(Over::Handout(_)) => self.call(("hand-out", None), HANDOUT_READ, x),
            _ => return refusal,
        };
        match line {
            Ok([most, given, _]) => {
                let rule = Rule::HandOut(resource, limit, read([most, given, given]));
                refusal.for_that(rule)
            }
            Err(_) => refusal,
        }
    }

    /// Why a partition could not be made.
    pub(super) fn not_made(new: &NewPartition, refusal: Refusal) -> Refusal {
        let name = &new.name;
        let why = match refusal.status {
            Status::InvalidParameter => "1 to 31 of a-z, 0-9, _ and - are possible",
            Status::Exists => "there is one of this name already",
            Status::Full => {
                let why =
                    "all places that the description has for partitions made at run time are taken";
                return refusal.for_that(Rule::Other(why.to_owned()));
            }
            _ => return refusal,
        };
        refusal.for_that(Rule::Key("name", format!("`{name}`: {why}")))
    }

    /// Why a vCPU was not given.
    pub(super) fn no_vcpu(&self, new: &NewPartition, vcpu: &NewVcpu, refusal: Refusal) -> Refusal {
        let share = |value| Amount { resource: Resource::CoreTime, value };
        let NewVcpu { cores, time, .. } = vcpu;
        let rule = match (refusal.status, refusal.over) {
            (Status::OverLimit, Some(Over::Own(_))) => {
                let all = new.vcpus.iter().map(|vcpu| vcpu.time.ppm()).fold(0, u64::saturating_add);
                Rule::Key(
                    "core_time_limit",
                    format!("its vCPUs take {}, which is more", share(all)),
                )
            }
            (Status::OverLimit, Some(over @ Over::Cores(_))) => {
                let takes = share(time.ppm());
                Rule::Key("cores", format!("`{cores}`: over {over}; a vCPU takes {takes}"))
            }
            (Status::Range, _) => match self.not_there(*cores) {
                Some(why) => Rule::Key("cores", why),
                None => return refusal,
            },
            _ => return refusal,
        };
        refusal.for_that(rule)
    }

    /// Which cores the machine has, if it lacks some of these.
    fn not_there(&self, cores: Cores) -> Option<String> {
        let is_there =
            |core: &u64| self.call(("core", None), CORE_READ, [*core, 0, 0, 0, 0, 0]).is_ok();
        let last = (0..MOST_CORES).take_while(is_there).last()?;
        let is_short = cores.last().is_some_and(|wanted| u64::from(wanted) > last);
        is_short.then(|| format!("`{cores}`: the machine has cores 0 to {last}"))
    }
}
