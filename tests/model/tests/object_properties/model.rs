//! The model: objects by name, and what each opener may expect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shikiri_abi::{Message, ObjectKind};
use shikiri_core::handle::Handle;
use shikiri_core::object::Refusal;

use crate::{PARTITIONS, ROWS};

#[derive(Clone, Debug)]
pub(crate) struct Opener {
    pub(crate) handle: u64,
    pub(crate) opens: u32,
    pub(crate) held: u32,
    pub(crate) posted: bool,
    pub(crate) waiting: bool,
    pub(crate) lacking: bool,
    /// The port's handle; the port may be closed by now.
    pub(crate) port: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Thing {
    pub(crate) name: &'static str,
    pub(crate) kind: ObjectKind,
    pub(crate) openers: BTreeMap<usize, Opener>,
    pub(crate) count: u32,
    /// Partitions that went with units, by slot.
    pub(crate) lost: BTreeMap<usize, u32>,
    pub(crate) queue: VecDeque<Message>,
    /// Units that there are, whoever has them.
    pub(crate) units: u32,
}

impl Thing {
    pub(crate) fn new(name: &'static str, kind: ObjectKind) -> Self {
        let count = if let ObjectKind::Semaphore { initial, .. } = kind { initial } else { 0 };
        Self {
            name,
            kind,
            openers: BTreeMap::new(),
            count,
            lost: BTreeMap::new(),
            queue: VecDeque::new(),
            units: count,
        }
    }

    pub(crate) fn is_there_for(&self, who: usize) -> bool {
        match self.kind {
            ObjectKind::Event => self.openers.get(&who).is_some_and(|opener| opener.posted),
            ObjectKind::Semaphore { .. } => self.count > 0,
            ObjectKind::Queue { .. } => !self.queue.is_empty(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        matches!(self.kind, ObjectKind::Queue { depth } if self.queue.len() < usize::from(depth))
    }

    /// Who is owed an event.
    pub(crate) fn due(&mut self) -> BTreeSet<usize> {
        let mut due = BTreeSet::new();
        let there: BTreeSet<usize> =
            (0..PARTITIONS).filter(|who| self.is_there_for(*who)).collect();
        let has_room = self.has_room();
        for (who, opener) in &mut self.openers {
            if opener.waiting && there.contains(who) {
                opener.waiting = false;
                due.insert(*who);
            }
            if opener.lacking && has_room {
                opener.lacking = false;
                due.insert(*who);
            }
        }
        due
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) intid: u16,
    /// The row whose object tells it.
    pub(crate) of: Option<usize>,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) rows: [Option<Thing>; ROWS],
    pub(crate) ports: [BTreeMap<u64, Port>; PARTITIONS],
}

impl Model {
    /// The row of a handle.
    pub(crate) fn row(&self, who: usize, handle: Handle) -> Result<usize, Refusal> {
        let is_it = |thing: &Option<Thing>| {
            let opener = thing.as_ref().and_then(|thing| thing.openers.get(&who));
            opener.is_some_and(|opener| opener.handle == handle.0)
        };
        self.rows.iter().position(is_it).ok_or(Refusal::BadHandle)
    }

    pub(crate) fn thing(&mut self, row: usize) -> &mut Thing {
        self.rows[row].as_mut().unwrap()
    }

    pub(crate) fn opener(&mut self, row: usize, who: usize) -> &mut Opener {
        self.thing(row).openers.get_mut(&who).unwrap()
    }

    pub(crate) fn open_count(&self, who: usize) -> usize {
        self.rows.iter().flatten().filter(|thing| thing.openers.contains_key(&who)).count()
    }

    pub(crate) fn handles(&self, who: usize) -> usize {
        self.open_count(who) + self.ports[who].len()
    }

    /// The port that is told, if it is there.
    pub(crate) fn port_of(&self, row: usize, who: usize) -> Option<u64> {
        let chosen = self.rows[row].as_ref()?.openers.get(&who)?.port?;
        self.ports[who].get(&chosen).filter(|port| port.of == Some(row)).map(|_| chosen)
    }

    pub(crate) fn unhook(&mut self, row: usize, who: usize) {
        if let Some(port) = self.port_of(row, who) {
            self.ports[who].get_mut(&port).unwrap().of = None;
        }
        self.opener(row, who).port = None;
    }

    /// A partition's flag goes; who is owed an event then.
    pub(crate) fn leave(&mut self, row: usize, who: usize, id: u32) -> BTreeSet<usize> {
        self.unhook(row, who);
        let thing = self.thing(row);
        let opener = thing.openers.remove(&who).unwrap();
        if opener.held > 0 {
            thing.count += opener.held;
            thing.lost.insert(who, id);
        }
        if thing.openers.is_empty() {
            self.rows[row] = None;
            return BTreeSet::new();
        }
        thing.due()
    }

    /// Where those who are owed an event are told now.
    pub(crate) fn tell(&self, row: usize, due: &BTreeSet<usize>) -> Vec<(usize, u16)> {
        let told = due.iter().filter_map(|who| {
            let port = self.port_of(row, *who)?;
            Some((*who, self.ports[*who][&port].intid))
        });
        told.collect()
    }
}

/// What was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lack {
    Thing,
    Room,
}
