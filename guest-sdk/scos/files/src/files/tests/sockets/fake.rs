//! A hypervisor for tests, which is also all of the peers.

use crate::abi::socket::Window;
use crate::socket::{Arrived, Channels, Connecting, Received, Refusal, Request};
use std::collections::{BTreeMap, VecDeque};
use std::vec;
use std::vec::Vec;

/// The hypervisor.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) requests: VecDeque<Request>,
    /// Requests that were taken, and not answered yet.
    pub(super) taken: Vec<u64>,
    pub(super) refused: Vec<u64>,
    pub(super) withdrawn: Vec<u64>,
    pub(super) ports: BTreeMap<u64, Port>,
    /// The areas that are this partition's: what is in them.
    pub(super) areas: BTreeMap<u64, Vec<u8>>,
    pub(super) free_ports: usize,
    pub(super) free_areas: usize,
    pub(super) free_handles: usize,
    /// What connecting answers at once.
    pub(super) connects: Result<(), Refusal>,
    /// Ports where a peer was told that there is room.
    pub(super) told: Vec<u64>,
    /// Who has the number 2: the id and the name.
    pub(super) second: (u32, &'static str),
    next: u64,
}

/// A port of this partition, and its peer.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) window: Window,
    pub(super) answer: Connecting,
    pub(super) asked: Option<(u16, u32)>,
    arrivals: VecDeque<(Option<Arrived>, [u64; 3])>,
    /// What the peer has got.
    pub(super) sent: VecDeque<(Option<Vec<u8>>, [u64; 3])>,
    /// How many messages more the peer takes.
    pub(super) credits: usize,
    pub(super) is_gone: bool,
}

impl Port {
    /// Areas that have come and were not received.
    pub(super) fn areas_waiting(&self) -> usize {
        self.arrivals.iter().filter(|(area, _)| area.is_some()).count()
    }
}

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            requests: VecDeque::new(),
            taken: Vec::new(),
            refused: Vec::new(),
            withdrawn: Vec::new(),
            ports: BTreeMap::new(),
            areas: BTreeMap::new(),
            free_ports: 80,
            free_areas: 16,
            free_handles: 80,
            connects: Ok(()),
            told: Vec::new(),
            second: (9, "net"),
            next: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn newest_port(&self) -> u64 {
        *self.ports.keys().next_back().unwrap()
    }

    /// A partition asks for a service.
    pub(super) fn ask(&mut self, from: u32, service: u32) -> u64 {
        let handle = self.number();
        self.requests.push_back(Request { handle, from, service });
        handle
    }

    /// The peer of a port sends.
    pub(super) fn deliver(&mut self, port: u64, data: Option<&[u8]>, short: [u64; 3]) {
        let area = data.map(|data| self.make(data.len() as u64, data.to_vec()));
        let port = self.ports.get_mut(&port).unwrap();
        assert!(!port.is_gone && port.answer == Connecting::Connected);
        port.arrivals.push_back((area, short));
    }

    fn make(&mut self, bytes: u64, mut data: Vec<u8>) -> Arrived {
        let handle = self.number();
        data.resize(data.len().next_multiple_of(4096), 0);
        let pages = data.len() as u64 / 4096;
        self.areas.insert(handle, data);
        Arrived { handle, address: handle << 32, pages, bytes }
    }

    /// The peer of a port leaves.
    pub(super) fn leave(&mut self, port: u64) {
        self.ports.get_mut(&port).unwrap().is_gone = true;
    }
}

impl Channels for Fake {
    fn is_there(&self) -> bool {
        true
    }

    fn take_request(&mut self) -> Result<Option<Request>, Refusal> {
        if !self.requests.is_empty() && self.taken.len() >= self.free_handles {
            return Err(Refusal::OverLimit);
        }
        let request = self.requests.pop_front();
        self.taken.extend(request.map(|request| request.handle));
        Ok(request)
    }

    fn refuse(&mut self, request: u64) {
        let place = self.taken.iter().position(|taken| *taken == request);
        self.taken.remove(place.expect("the request was taken, and not answered"));
        self.refused.push(request);
    }

    fn create(&mut self, window: Window) -> Result<u64, Refusal> {
        if self.ports.len() >= self.free_ports {
            return Err(Refusal::OverLimit);
        }
        let number = self.number();
        let port = Port {
            window,
            answer: Connecting::Open,
            asked: None,
            arrivals: VecDeque::new(),
            sent: VecDeque::new(),
            credits: 4,
            is_gone: false,
        };
        self.ports.insert(number, port);
        Ok(number)
    }

    fn accept(&mut self, request: u64, port: u64) -> Result<(), Refusal> {
        if self.withdrawn.contains(&request) {
            return Err(Refusal::PeerGone);
        }
        let place = self.taken.iter().position(|taken| *taken == request).unwrap();
        self.taken.remove(place);
        self.ports.get_mut(&port).unwrap().answer = Connecting::Connected;
        Ok(())
    }

    fn connect(&mut self, port: u64, partition: u16, service: u32) -> Result<(), Refusal> {
        self.ports.get_mut(&port).unwrap().asked = Some((partition, service));
        self.connects
    }

    fn answer(&mut self, port: u64) -> Connecting {
        self.ports[&port].answer
    }

    fn close(&mut self, port: u64) {
        let port = self.ports.remove(&port).expect("the port is closed once");
        // What was not received is freed with the port.
        for (area, _) in port.arrivals {
            area.iter().for_each(|area| drop(self.areas.remove(&area.handle)));
        }
    }

    fn receive(&mut self, port: u64) -> Received {
        let port = self.ports.get_mut(&port).expect("the port is open");
        match port.arrivals.pop_front() {
            Some((area, short)) => Received::Message(area, short),
            None if port.is_gone => Received::Gone,
            None => Received::Nothing,
        }
    }

    fn send(
        &mut self,
        port: u64,
        area: Option<(u64, u64)>,
        short: [u64; 3],
    ) -> Result<(), Refusal> {
        let port = self.ports.get_mut(&port).expect("the port is open");
        let data = area.map(|(handle, bytes)| &self.areas[&handle][..bytes as usize]);
        if port.is_gone {
            return Err(Refusal::PeerGone);
        }
        // The peer's window has slots of one page.
        if area.is_some_and(|(handle, _)| self.areas[&handle].len() > 4096) {
            return Err(Refusal::Range);
        }
        if port.sent.len() >= port.credits {
            return Err(Refusal::Full);
        }
        port.sent.push_back((data.map(<[u8]>::to_vec), short));
        area.iter().for_each(|(handle, _)| drop(self.areas.remove(handle)));
        Ok(())
    }

    fn has_room(&mut self, port: u64) {
        assert!(self.ports.contains_key(&port), "the port is open");
        self.told.push(port);
    }

    fn alloc(&mut self, bytes: u64, class: u8) -> Result<Arrived, Refusal> {
        let most = 4096 << (9 * class);
        if bytes > most {
            return Err(Refusal::Range);
        }
        if self.areas.len() >= self.free_areas {
            return Err(Refusal::OverLimit);
        }
        Ok(self.make(bytes, vec![0; bytes as usize]))
    }

    fn free(&mut self, handle: u64) {
        self.areas.remove(&handle).expect("an area is freed once, by who has it");
    }

    fn read(&self, area: &Arrived, at: u64, out: &mut [u8]) {
        out.copy_from_slice(&self.areas[&area.handle][at as usize..][..out.len()]);
    }

    fn write(&mut self, area: &Arrived, at: u64, data: &[u8]) {
        let bytes = self.areas.get_mut(&area.handle).unwrap();
        bytes[at as usize..][..data.len()].copy_from_slice(data);
    }

    fn number_of_name(&self, name: &[u8]) -> Option<u16> {
        (name == self.second.1.as_bytes()).then_some(2)
    }

    fn partition_with_id(&self, id: u32) -> Option<(u16, [u8; 32])> {
        self.partition(2).filter(|(known, _)| *known == id).map(|(_, name)| (2, name))
    }

    fn partition(&self, number: u16) -> Option<(u32, [u8; 32])> {
        let (id, text) = self.second;
        let mut name = [0; 32];
        name[..text.len()].copy_from_slice(text.as_bytes());
        (number == 2).then_some((id, name))
    }
}
