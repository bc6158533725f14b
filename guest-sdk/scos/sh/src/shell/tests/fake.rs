//! The machine and the system that the tests run the shell on.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io;

use crate::line::{Pipeline, Redirect, Simple};
use crate::system::{Started, System};
use shikiri_abi::{PartitionId, PartitionRef, PartitionSlot, Resource, Status};
use shikiri_machine::{
    Account, Act, Asked, Cause, Exit, Line, Machine, NewPartition, Partition, Phase, Refusal,
    Thing, image_number,
};

pub(super) const fn reference(id: u32) -> PartitionRef {
    PartitionRef { place: PartitionSlot(0), id: PartitionId(id) }
}

/// The machine, and the system around the shell.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) partitions: Vec<Partition>,
    pub(super) accounts: BTreeMap<u32, Account>,
    pub(super) ids: u32,
    pub(super) made: Vec<NewPartition>,
    pub(super) focus: Option<PartitionRef>,
    /// Who was permitted, or forbidden, to talk to whom.
    pub(super) talk: Vec<(u32, u32, bool)>,
    pub(super) is_stranger: bool,
    pub(super) things: Vec<Thing>,
    pub(super) handout: Account,
    pub(super) refuses: Option<Refusal>,
    pub(super) programs: Vec<Pipeline>,
    pub(super) written: String,
    pub(super) files: BTreeMap<String, String>,
    pub(super) now: Duration,
    pub(super) pauses: u32,
    /// ^C was typed.
    pub(super) is_interrupted: bool,
    /// What is ended has still to be taken apart.
    pub(super) ends_slowly: bool,
    /// A key waits.
    pub(super) is_key_pressed: bool,
    /// Whether keys come singly, and how often that was so.
    pub(super) keys: (bool, u32),
    /// What happens during the next pauses.
    pub(super) during: Vec<fn(&mut Fake)>,
    /// What happens before each of the next things that are done to a partition.
    pub(super) before: Vec<fn(&mut Fake)>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) directory: String,
}

impl Fake {
    pub(super) fn new() -> Self {
        let mut fake = Self::default();
        fake.add("scos", Phase::Active);
        fake.add("hello", Phase::Ended);
        fake.partitions[0].makes_policy = true;
        fake.partitions[1].cause = Some(Cause::Code(3));
        fake
    }

    pub(super) fn add(&mut self, name: &str, phase: Phase) -> PartitionRef {
        self.ids += 1;
        let id = reference(self.ids);
        let mut account = Account::default();
        account.lines[usize::from(Resource::Memory.number())] =
            Line { limit: Some(1024), used: 512, high: 600 };
        account.lines[usize::from(Resource::CoreTime.number())] =
            Line { limit: None, used: 1_000_000, high: 1_000_000 };
        self.accounts.insert(id.id.0, account);
        self.partitions.push(Partition {
            id,
            name: name.into(),
            phase,
            cause: None,
            vcpus: 1,
            starts: 1,
            is_dynamic: false,
            makes_policy: false,
        });
        id
    }

    fn check(&self) -> Result<(), Refusal> {
        self.refuses.clone().map_or(Ok(()), Err)
    }
}

impl Machine for Fake {
    fn partitions(&self) -> Result<Vec<Partition>, Refusal> {
        let refused = Refusal::new("list", None, Status::NotPermitted);
        if self.is_stranger { Err(refused) } else { Ok(self.partitions.clone()) }
    }

    fn account(&self, id: PartitionRef) -> Result<Account, Refusal> {
        let gone = Refusal::new("account", Some(id), Status::NotFound);
        self.accounts.get(&id.id.0).copied().ok_or(gone)
    }

    fn handout(&self) -> Result<Account, Refusal> {
        Ok(self.handout)
    }

    fn images(&self) -> Result<Vec<String>, Refusal> {
        Ok(vec!["w.bin".into(), "a-very-long-name".into()])
    }

    fn create(&mut self, new: &NewPartition) -> Result<PartitionRef, Refusal> {
        self.check()?;
        for image in [Some(&new.image), new.initrd.as_ref()].into_iter().flatten() {
            image_number(&self.images()?, image)?;
        }
        self.made.push(new.clone());
        let id = self.add(&new.name, Phase::Created);
        self.partitions.iter_mut().filter(|it| it.id == id).for_each(|it| it.is_dynamic = true);
        for (resource, limit) in &new.limits {
            self.set_limit(id, *resource, Some(*limit))?;
        }
        Ok(id)
    }

    fn made_of(&self, id: PartitionRef) -> Result<Option<String>, Refusal> {
        let name = self.partitions.iter().find(|it| it.id == id).map(|it| &it.name);
        let made = self.made.iter().find(|made| Some(&made.name) == name);
        Ok(made.map(NewPartition::note))
    }

    fn is_held_first(&self, id: PartitionRef) -> Result<bool, Refusal> {
        let name = self.partitions.iter().find(|it| it.id == id).map(|it| &it.name);
        Ok(self.made.iter().any(|made| Some(&made.name) == name && made.wants_tree()))
    }

    fn set_limit(
        &mut self,
        id: PartitionRef,
        resource: Resource,
        limit: Option<u64>,
    ) -> Result<(), Refusal> {
        self.check()?;
        self.accounts.get_mut(&id.id.0).unwrap().lines[usize::from(resource.number())].limit =
            limit;
        Ok(())
    }

    fn act(&mut self, id: PartitionRef, act: Act) -> Result<PartitionRef, Refusal> {
        self.check()?;
        if !self.before.is_empty() {
            let before = self.before.remove(0);
            before(self);
        }
        let at = self.partitions.iter().position(|it| it.id == id).unwrap();
        let is_held_first = self.is_held_first(id)?;
        let it = &mut self.partitions[at];
        match act {
            Act::Start if it.phase == Phase::Held => it.phase = Phase::Active,
            Act::Start if is_held_first && matches!(it.phase, Phase::Building | Phase::Ending) => {
                return Err(Refusal::of_state(Act::Start, it));
            }
            Act::Start if is_held_first && matches!(it.phase, Phase::Active | Phase::Paused) => {}
            Act::Start | Act::Restart => {
                self.ids += 1;
                it.id = reference(self.ids);
                it.phase = if is_held_first { Phase::Building } else { Phase::Active };
                let account = self.accounts.remove(&id.id.0).unwrap();
                self.accounts.insert(it.id.id.0, account);
            }
            Act::Pause => it.phase = Phase::Paused,
            Act::Resume => it.phase = Phase::Active,
            Act::End if self.ends_slowly => it.phase = Phase::Ending,
            Act::End => (it.phase, it.cause) = (Phase::Ended, Some(Cause::Stopped)),
            Act::Destroy => {
                self.partitions.remove(at);
                return Ok(id);
            }
        }
        Ok(self.partitions[at].id)
    }

    fn take_notices(&mut self) -> Result<Vec<PartitionRef>, Refusal> {
        Ok(Vec::new())
    }

    fn take_request(&mut self) -> Result<Option<Asked>, Refusal> {
        Ok(None)
    }

    fn answer(&mut self, _: &Asked, _: Option<u64>) -> Result<(), Refusal> {
        Ok(())
    }

    fn permit(&mut self, from: PartitionRef, to: PartitionRef, may: bool) -> Result<(), Refusal> {
        self.check()?;
        self.talk.push((from.id.0, to.id.0, may));
        Ok(())
    }

    fn console(&self, id: PartitionRef, from: u64) -> Result<(Vec<u8>, u64), Refusal> {
        self.check()?;
        let text = format!("console of {}, from {from}", id.id.0);
        Ok((text.into_bytes(), 40))
    }

    fn focus(&mut self, id: PartitionRef) -> Result<(), Refusal> {
        self.check()?;
        self.focus = Some(id);
        Ok(())
    }

    fn things(&self, id: PartitionRef) -> Result<Vec<Thing>, Refusal> {
        let is_alive = self.partitions.iter().any(|it| it.id == id && it.phase == Phase::Active);
        let gone = Refusal::new("ports", Some(id), Status::WrongState);
        if is_alive { Ok(self.things.clone()) } else { Err(gone) }
    }

    fn exits(&self, id: PartitionRef, vcpu: u8) -> Result<Vec<Exit>, Refusal> {
        let exit = |us, syndrome, address| Exit {
            ago: Duration::from_micros(us),
            pc: 0x4008_0000,
            syndrome,
            address,
        };
        match vcpu {
            0 => Ok(vec![exit(2500, 1 << 26, 0), exit(61_000_000, 0x24 << 26, 0x900_0018)]),
            _ => Err(Refusal::new("exits", Some(id), Status::Range)),
        }
    }
}

impl System for Fake {
    fn machine(&mut self) -> &mut dyn Machine {
        self
    }

    fn run(&mut self, pipeline: &Pipeline) -> Started {
        self.programs.push(pipeline.clone());
        match pipeline[0].words[0].as_str() {
            "fails" => Ok(3),
            "interrupted" => {
                self.is_interrupted = true;
                Ok(130)
            }
            "absent" => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(0),
        }
    }

    fn write(&mut self, command: &Simple, text: &str) -> io::Result<()> {
        match command.redirects.last() {
            Some(Redirect::To(file) | Redirect::Append(file)) => {
                *self.files.entry(file.clone()).or_default() += text;
            }
            _ => self.written += text,
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn sleep(&mut self, span: Duration) {
        self.pause(span);
    }

    fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }

    fn single_keys(&mut self) {
        self.keys = (true, self.keys.1 + 1);
    }

    fn whole_lines(&mut self) {
        self.keys.0 = false;
    }

    fn pause(&mut self, span: Duration) -> bool {
        self.now += span;
        self.pauses += 1;
        if !self.during.is_empty() {
            let during = self.during.remove(0);
            during(self);
        }
        self.is_key_pressed
    }

    fn change_directory(&mut self, path: &str) -> io::Result<()> {
        if path == "/absent" {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.directory = path.into();
        Ok(())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.insert(name.into(), value.into());
    }
}
