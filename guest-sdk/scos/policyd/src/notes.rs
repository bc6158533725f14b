//! What a policy program writes down for the one after it: a line for each thing that the machine itself does not show.
//!
//! ```text
//! limit editor event_ports 4       this limit was set, by the policy
//! began editor 12884901893         this life was begun
//! ended editor 12884901893         the end of this life was dealt with
//! again editor 73000000000         then it is started again, in nanoseconds since the start of the system
//! restarts editor 2 71000000000    so many restarts, the last one then
//! talk 12884901893 4294967297      it was said whether the first of these lives may talk to the second
//! ```

use core::time::Duration;

use shikiri_abi::{PartitionRef, Resource};
use shikiri_machine::{resource_named, resource_word};

use crate::restart::Record;

/// One thing about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// This limit was set.
    Limit(Resource, u64),
    /// This life was begun.
    Began(PartitionRef),
    /// The end of this life was dealt with.
    DealtWith(PartitionRef),
    /// When it is started again.
    Again(Duration),
    /// Its restarts.
    Restarts(Record),
}

/// The lines.
#[derive(Debug, Default)]
pub(crate) struct Notes(String);

impl Notes {
    /// What a text says, by the partitions' names. A line that says nothing is passed over: who has written it was another program.
    pub(crate) fn read(text: &str) -> impl Iterator<Item = (&str, Note)> {
        text.lines().filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, name, rest @ ..] = words.as_slice() else { return None };
            Some((*name, note(what, rest)?))
        })
    }

    /// One more line.
    pub(crate) fn add(&mut self, name: &str, note: Note) {
        self.0 += &match note {
            Note::Limit(resource, limit) => {
                format!("limit {name} {} {limit}\n", resource_word(resource))
            }
            Note::Began(life) => format!("began {name} {}\n", life.encode()),
            Note::DealtWith(life) => format!("ended {name} {}\n", life.encode()),
            Note::Again(at) => format!("again {name} {}\n", at.as_nanos()),
            Note::Restarts(Record { restarts, last }) => {
                let last = last.unwrap_or_default().as_nanos();
                format!("restarts {name} {restarts} {last}\n")
            }
        };
    }

    /// Of which pairs of lives a text says that it was said whether they may talk.
    pub(crate) fn read_judged(text: &str) -> impl Iterator<Item = (u64, u64)> {
        text.lines().filter_map(|line| {
            let (from, to) = line.strip_prefix("talk ")?.split_once(' ')?;
            Some((from.parse().ok()?, to.parse().ok()?))
        })
    }

    /// One more pair.
    pub(crate) fn add_judged(&mut self, (from, to): (u64, u64)) {
        self.0 += &format!("talk {from} {to}\n");
    }

    /// All of them.
    pub(crate) fn text(self) -> String {
        self.0
    }
}

fn note(what: &str, words: &[&str]) -> Option<Note> {
    let number = |text: &str| text.parse::<u64>().ok();
    let time = |text| number(text).map(Duration::from_nanos);
    let life = |text| number(text).and_then(PartitionRef::decode);
    Some(match (what, words) {
        ("limit", [resource, limit]) => Note::Limit(resource_named(resource)?, number(limit)?),
        ("began", [id]) => Note::Began(life(id)?),
        ("ended", [id]) => Note::DealtWith(life(id)?),
        ("again", [at]) => Note::Again(time(at)?),
        ("restarts", [count, last]) => {
            Note::Restarts(Record { restarts: count.parse().ok()?, last: Some(time(last)?) })
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{Note, Notes};
    use crate::restart::Record;
    use shikiri_abi::{PartitionId, PartitionRef, PartitionSlot, Resource};

    #[test]
    fn notes_are_read_as_they_were_written_and_the_rest_is_passed_over() {
        let life = PartitionRef { place: PartitionSlot(3), id: PartitionId(5) };
        let record = Record { restarts: 2, last: Some(Duration::from_millis(70)) };
        let all = [
            Note::Limit(Resource::EventPorts, 4),
            Note::Began(life),
            Note::DealtWith(life),
            Note::Again(Duration::from_millis(90)),
            Note::Restarts(record),
        ];
        let mut notes = Notes::default();
        all.iter().for_each(|note| notes.add("a", *note));
        let text = notes.text();
        assert!(Notes::read(&text).eq(all.map(|note| ("a", note))), "{text}");
        for bad in
            ["", "limit", "limit a", "limit a sheets 3", "again a b", "restarts a 1", "x a 1"]
        {
            assert_eq!(Notes::read(bad).count(), 0, "{bad}");
        }
    }
}
