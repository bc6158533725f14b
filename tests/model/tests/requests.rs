//! Requests of all three kinds at once (P9): whoever waits for an answer is told when it comes, and when it never will.
//!
//! Two of the three partitions have services (`OPEN`): what is closed to its asker is refused and changes nothing, and never taken.
//!
//! Whether a port still waits is looked at behind each call and each step of an end: one that waits no more has been told in that
//! step, at the interrupt that is its own.

use proptest::collection::vec;
use shikiri_abi::{AreaClass, Status};
use shikiri_config::{PartitionSet, Service};
use shikiri_core::area::AreaSizes;
use shikiri_core::handle::Handle;
use shikiri_model::calls::{
    ASK, BIND, CLOSE, CLOSE_HANDLE, CONNECT, CONNECT_SHARE, CREATE, CREATE_RECEIVE, CREATE_SEND,
    CREATE_SHARE, DETACH, NOTIFY_ME, REFUSE, STATE_OF_SHARE, TAKE, Told, call, refused, through,
    told,
};
use shikiri_model::estates::Estates;
use shikiri_model::random_calls;
use shikiri_stage2::WindowSizes;

const SIZES: AreaSizes =
    AreaSizes { windows: WindowSizes { pages: 12, blocks: 0, giants: 0 }, ports: 2, shares: 2 };
const PARTITIONS: usize = 3;
/// Two ports of each kind; the model's partitions have room for four requests at a time.
const PORTS: usize = 6;
/// Where a partition is told of answers to its event ports, and of requests that wait for it.
const NOTIFIED: u16 = 40;
/// Where its ports are told that have receive ports of their own: this one and those behind it.
const OWN: u16 = 41;

/// The numbers that are asked for.
const NUMBERS: [u32; 3] = [7, 8, u32::MAX];
/// Who may ask whom for which of them: by the asked one and the number, a bit for each asker.
const OPEN: [[u64; 3]; PARTITIONS] = [[0b010, !0, 0b100], [0b100, 0, 0b101], [!0; 3]];

/// The table that says so; the last partition is in none of its rows.
fn services() -> Vec<Service<'static>> {
    let rows = OPEN.iter().enumerate().take(2).flat_map(|(of, row)| {
        NUMBERS.into_iter().zip(row).map(move |(number, to)| Service {
            name: "",
            of,
            number,
            to: PartitionSet(*to),
        })
    });
    // One of the rows says the same as none.
    rows.filter(|service| service.to != PartitionSet::EMPTY).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Event,
    Channel,
    Share,
}

/// A port that can ask.
#[derive(Clone, Copy, Debug)]
struct Port {
    kind: Kind,
    handle: u64,
    /// Its own receive port; an event port has none.
    events: Option<u64>,
    /// The interrupt of what becomes of its request.
    intid: u16,
    /// Whom it has asked.
    asked: Option<usize>,
}

struct World {
    estates: Estates,
    ports: Vec<Vec<Port>>,
    /// Requests that each partition has taken.
    taken: Vec<Vec<u64>>,
    /// How often somebody was told that nobody answers any more.
    ends_told: usize,
}

impl World {
    fn new() -> Self {
        let mut estates = Estates::new(PARTITIONS, 16, SIZES);
        estates.services = services();
        let taken = vec![Vec::new(); PARTITIONS];
        let mut world = Self { estates, ports: vec![Vec::new(); PARTITIONS], taken, ends_told: 0 };
        for who in 0..PARTITIONS {
            world.begin(who);
        }
        world
    }

    /// Makes the ports of a partition that has started.
    fn begin(&mut self, who: usize) {
        let notified = self.receive_port(who, NOTIFIED);
        self.ok(who, NOTIFY_ME, &[notified]);
        self.taken[who].clear();
        self.ports[who].clear();
        for at in 0..PORTS {
            let kind = [Kind::Event, Kind::Channel, Kind::Share][at % 3];
            let intid = OWN + at as u16;
            let events = (kind != Kind::Event).then(|| self.receive_port(who, intid));
            let intid = if events.is_some() { intid } else { NOTIFIED };
            let port = Port { kind, handle: 0, events, intid, asked: None };
            let handle = self.make(who, port);
            self.ports[who].push(Port { handle, ..port });
        }
    }

    fn receive_port(&mut self, who: usize, intid: u16) -> u64 {
        let port = self.ok(who, CREATE_RECEIVE, &[]);
        self.ok(who, BIND, &[port, u64::from(intid), 0, 0]);
        port
    }

    fn make(&mut self, who: usize, port: Port) -> u64 {
        let page = u64::from(AreaClass::Page.code());
        match (port.kind, port.events) {
            (Kind::Channel, Some(events)) => self.ok(who, CREATE, &[events, 1, page]),
            (Kind::Share, Some(events)) => self.ok(who, CREATE_SHARE, &[events, 4096, page]),
            _ => self.ok(who, CREATE_SEND, &[]),
        }
    }

    /// A call that succeeds and tells nobody of anything; its first result.
    fn ok(&mut self, who: usize, number: u32, arguments: &[u64]) -> u64 {
        let ([status, x1, ..], told) = call(&mut self.estates, who, number, arguments);
        assert_eq!((status, told), (0, vec![]), "call {number:#x} {arguments:x?}");
        x1
    }

    fn ask(&mut self, who: usize, at: usize, to: usize, which: usize) {
        let Port { kind, handle, asked, .. } = self.ports[who][at];
        let number = match kind {
            Kind::Event => ASK,
            Kind::Channel => CONNECT,
            Kind::Share => CONNECT_SHARE,
        };
        // The word says who asks.
        let arguments = [handle, to as u64, u64::from(NUMBERS[which]), who as u64];
        let ([status, ..], told) = call(&mut self.estates, who, number, &arguments);
        if OPEN[to][which] >> who & 1 == 0 {
            assert_eq!((status, &told), (refused(Status::NotPermitted), &vec![]));
        } else if asked.is_some() {
            assert_eq!(status, refused(Status::WrongState));
        } else if [0, refused(Status::Pending)].contains(&status) {
            self.ports[who][at].asked = Some(to);
        } else {
            // A fifth request; or who ends takes none any more.
            let possible = [Status::OverLimit, Status::PeerGone].map(refused);
            assert!(possible.contains(&status), "{status:#x}");
        }
        self.compare(&told);
    }

    fn take(&mut self, who: usize) {
        let ([status, request, from, asker], told) = call(&mut self.estates, who, TAKE, &[]);
        if status == 0 {
            let which = NUMBERS.iter().position(|number| u64::from(*number) == from >> 32);
            assert_eq!(OPEN[who][which.unwrap()] >> asker & 1, 1, "{asker} has not come through");
            self.taken[who].push(request & ((1 << 56) - 1));
        } else {
            assert_eq!(status, refused(Status::Empty));
        }
        self.compare(&told);
    }

    /// Refuses a request that was taken, by the call for it or by closing its handle.
    fn refuse(&mut self, who: usize, at: usize, number: u32) {
        if self.taken[who].is_empty() {
            return;
        }
        let at = at % self.taken[who].len();
        let request = self.taken[who].swap_remove(at);
        let ([status, ..], told) = call(&mut self.estates, who, number, &[request]);
        assert_eq!(status, 0, "call {number:#x}");
        self.compare(&told);
    }

    /// Closes a port, whatever became of it, and makes it anew: what it asked is withdrawn.
    fn renew(&mut self, who: usize, at: usize) {
        let port = self.ports[who][at];
        let number = match port.kind {
            Kind::Event => CLOSE_HANDLE,
            Kind::Channel => CLOSE,
            Kind::Share => DETACH,
        };
        self.ports[who][at].asked = None;
        let told = through(&mut self.estates, who, number, &[port.handle]);
        self.ports[who][at].handle = self.make(who, port);
        self.compare(&told);
    }

    /// One partition ends, in steps; between them another one makes a call now and then. Then it starts again.
    fn end(&mut self, who: usize, calls: &[(usize, usize)]) {
        let mut calls = calls.iter().cycle();
        self.ports[who].clear();
        let mut others = |world: &mut Self| {
            if let Some((other, at)) = calls.next()
                && *other != who
            {
                world.ask(*other, *at, who, *at % NUMBERS.len());
            }
        };
        for step in [Estates::leave_step, Estates::party_step] {
            loop {
                let (is_last, raise) = step(&mut self.estates, who);
                self.compare(&told([raise]));
                if is_last {
                    break;
                }
                others(self);
            }
        }
        let waits = self.ports.iter().flatten().any(|port| port.asked == Some(who));
        assert!(!waits, "somebody waits for a partition that has ended");
        self.estates.bury(who);
        self.estates.start(who);
        self.begin(who);
    }

    /// Finds the ports that wait no more: each of them was told just now.
    fn compare(&mut self, told: &Told) {
        for who in 0..PARTITIONS {
            for at in 0..self.ports[who].len() {
                let port = self.ports[who][at];
                if port.asked.is_some() && !self.waits(who, port) {
                    let its = (who as u8, port.intid);
                    assert!(told.contains(&its), "{port:?} of {who} was not told: {told:?}");
                    self.ends_told += 1;
                    self.ports[who][at].asked = None;
                }
            }
        }
        self.estates.audit();
    }

    fn waits(&mut self, who: usize, port: Port) -> bool {
        if port.kind == Kind::Share {
            let state = call(&mut self.estates, who, STATE_OF_SHARE, &[port.handle]).0[0];
            return state == refused(Status::Pending);
        }
        self.estates.side(who).open().party.other_end(Handle(port.handle)).is_some()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            (0..PARTITIONS).for_each(|who| self.estates.end(who));
        }
    }
}

/// Who asks by an event port and a message port, in either order, is told of both when the asked partition ends.
#[test]
fn an_end_tells_each_port_that_waits_whatever_stands_before_it_p9() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut world = World::new();
        for at in order {
            world.ask(0, at, 1, 2);
        }
        world.end(1, &[]);
        assert_eq!(world.ends_told, 3, "{order:?}");
    }
}

/// Whoever waits for an answer is told, whatever any partition does.
#[test]
fn any_requests_are_answered_or_their_askers_told_p9() {
    let calls = vec((0..8_u8, 0..PARTITIONS, 0..PORTS, 1..PARTITIONS, 0..NUMBERS.len()), 1..80);
    let meanwhile = vec((0..PARTITIONS, 0..PORTS), 1..6);
    random_calls(&(calls, meanwhile), |(calls, meanwhile)| {
        let mut world = World::new();
        for (what, who, at, to, number) in calls {
            let to = (who + to) % PARTITIONS;
            match what {
                0..=3 => world.ask(who, at, to, number),
                4 => world.take(who),
                5 => world.refuse(who, at, if at % 2 == 0 { REFUSE } else { CLOSE_HANDLE }),
                6 => world.renew(who, at),
                _ => world.end(who, &meanwhile),
            }
        }
        world.estates.calls
    });
}
