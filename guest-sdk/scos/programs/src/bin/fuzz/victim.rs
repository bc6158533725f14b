//! Partitions that random policy calls may do everything to.

use std::path::Path;
use std::thread;
use std::time::Duration;

use shikiri_machine::{Act, Cores, Machine, NewPartition, NewVcpu, Region, Time};
use shikiri_scos_programs::report::{equal, holds};

/// The name of the one that is made on purpose.
const NAME: &str = "victim";
/// How often it is looked whether all have gone, a hundredth of a second each.
const LOOKS: u32 = 6_000;

/// The machine, if this partition makes policy.
pub(crate) struct Victims {
    machine: Option<Box<dyn Machine>>,
    /// How many were made.
    made: u32,
}

impl Victims {
    pub(crate) fn new() -> Self {
        let is_there = Path::new("/dev/shikiri").exists();
        Self { machine: is_there.then(shikiri_machine::open), made: 0 }
    }

    /// Whether this partition makes no policy.
    pub(crate) fn are_none(&self) -> bool {
        self.machine.is_none()
    }

    /// The victim's id as a word, made again if it has gone; 0 if there is none now.
    pub(crate) fn tend(&mut self) -> u64 {
        let Some(machine) = &mut self.machine else { return 0 };
        let there = machine.partitions().unwrap_or_default();
        if let Some(victim) = there.iter().find(|it| it.name == NAME) {
            return victim.id.encode();
        }
        let time = Time::Reservation { budget_us: 1000, period_us: 10_000 };
        let new = NewPartition {
            name: NAME.to_owned(),
            vcpus: vec![NewVcpu { cores: Cores(2), time, priority: 0 }],
            memory: vec![Region::first(2 << 20)],
            image: "timer".to_owned(),
            cmdline: Some("ticks=1000000".to_owned()),
            ..NewPartition::default()
        };
        // Others have been made meanwhile, perhaps, and hold what it needs.
        let Ok(id) = machine.create(&new) else {
            self.clear();
            return 0;
        };
        self.made += 1;
        machine.act(id, Act::Start).unwrap_or(id).encode()
    }

    /// Ends and destroys all that was made; whether nothing is left.
    fn clear(&mut self) -> bool {
        let Some(machine) = &mut self.machine else { return true };
        for _ in 0..LOOKS {
            let there = machine.partitions().unwrap_or_default();
            let mut made = there.iter().filter(|it| it.is_dynamic).peekable();
            if made.peek().is_none() {
                return !there.is_empty();
            }
            for partition in made {
                // What is on its way to its end goes on when it is told to go; what is not over yet, or starts again, is ended first.
                if machine.act(partition.id, Act::Destroy).is_err() {
                    let _ended = machine.act(partition.id, Act::End);
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        for left in machine.partitions().unwrap_or_default() {
            println!("left: {left:?}");
        }
        false
    }

    /// Nothing is left of them, and as much can be made as before.
    pub(crate) fn end(mut self) {
        if self.machine.is_none() {
            return;
        }
        println!("fuzz: {} victims", self.made);
        holds("what_was_made_is_gone", self.clear());
        holds("another_one_can_be_made", self.tend() != 0);
        holds("and_goes_again", self.clear());
        let requests = self.machine.as_mut().map(|machine| machine.take_request());
        equal("nobody_asks", requests, Some(Ok(None)));
    }
}
