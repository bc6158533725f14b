//! The hypervisor's channels and areas, as the sockets see them (`shikiri_scos_files::socket::Channels`): calls, the pages of the ports, and
//! which interrupt tells of which port.

use alloc::collections::BTreeMap;

use shikiri_abi::{AreaClass, Status};
use shikiri_arrivals::{Arrival, Pages, Receiver};
use shikiri_hvc::partition::Refusal as Refused;
use shikiri_hvc::talk::{self, Handle, Sharing, SignalKind};
use shikiri_hvc::{message, smccc};
use shikiri_scos_files::abi::socket::Window;
use shikiri_scos_files::socket::{Arrived, Channels, Connecting, Received, Refusal, Request};

use crate::arch::{self, Page};

/// The interrupt that tells of requests: SPIs from here on are no device's.
const REQUESTS: u32 = 64;
/// The interrupts of ports: one for each.
const PORTS: core::ops::RangeInclusive<u32> = 65..=191;
/// The most requests for other things that are refused at once.
const AT_ONCE: usize = 64;

/// The numbers that partitions have. Which of them are peers changes while this runs (PEERS_SET): it is asked for each time.
const NUMBERS: core::ops::Range<u8> = 0..64;

/// The files, with sockets.
pub(crate) type Files = shikiri_scos_files::Files<Hypervisor>;

/// The hypervisor, or none.
#[derive(Debug)]
pub(crate) struct Hypervisor {
    is_there: bool,
    ports: BTreeMap<u64, Port>,
}

/// A message port.
#[derive(Debug)]
struct Port {
    events: Handle,
    intid: u32,
    arrivals: Page,
    credits: Page,
    receiver: Receiver,
    /// How many peers it had when it asked.
    peers: u64,
}

/// What an interrupt tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Requests have come, or a request was answered.
    Requests,
    /// Something has happened at this port.
    Port(u64),
}

impl Hypervisor {
    /// Asks whether it is there, and has it tell of requests.
    pub(crate) fn find() -> Self {
        let is_there = smccc::is_shikiri() && notify_of_requests().is_ok();
        Self { is_there, ports: BTreeMap::new() }
    }

    /// What an interrupt tells of.
    pub(crate) fn event(&self, intid: u32) -> Option<Event> {
        if intid == REQUESTS {
            return Some(Event::Requests);
        }
        let mut ports = self.ports.iter();
        ports.find(|(_, port)| port.intid == intid).map(|(handle, _)| Event::Port(*handle))
    }

    fn free_intid(&self) -> Option<u32> {
        PORTS.into_iter().find(|intid| !self.ports.values().any(|port| port.intid == *intid))
    }

    /// Makes a port whose events are this interrupt.
    fn open(&mut self, window: Window, intid: u32) -> Result<u64, Refused> {
        let events = talk::create_receive()?;
        let made = talk::bind(events, intid, 0, Sharing::Alone).and_then(|()| {
            let class = AreaClass::from_code(u64::from(window.class)).unwrap_or(AreaClass::Page);
            message::create(events, window.slots, class)
        });
        let pages =
            made.map(|port| Some((port.handle, Page::at(port.arrivals)?, Page::at(port.credits)?)));
        match pages {
            Ok(Some((handle, arrivals, credits))) => {
                let receiver = Receiver::new(window.depth);
                let port = Port { events, intid, arrivals, credits, receiver, peers: 0 };
                port.receiver.post(port.pages());
                self.ports.insert(handle.0, port);
                arch::enable_interrupt(intid);
                Ok(handle.0)
            }
            Ok(None) => {
                // Nothing of it is seen: it is closed with its events.
                talk::close(events)?;
                Err(Refused { code: Status::OverLimit.code(), which: 0 })
            }
            Err(refused) => {
                talk::close(events)?;
                Err(refused)
            }
        }
    }
}

impl Port {
    fn pages(&self) -> Pages<'_> {
        Pages { arrivals: self.arrivals.words(), credits: self.credits.words() }
    }

    fn take(&mut self) -> Option<Arrival> {
        let pages = Pages { arrivals: self.arrivals.words(), credits: self.credits.words() };
        self.receiver.take(pages)
    }

    fn take_last(&mut self) -> Option<Arrival> {
        let pages = Pages { arrivals: self.arrivals.words(), credits: self.credits.words() };
        self.receiver.take_last(pages)
    }
}

/// Has requests told by their interrupt.
fn notify_of_requests() -> Result<(), Refused> {
    let events = talk::create_receive()?;
    talk::bind(events, REQUESTS, 0, Sharing::Alone)?;
    talk::notify(events)?;
    arch::enable_interrupt(REQUESTS);
    Ok(())
}

/// Why the hypervisor has refused.
fn reason(refused: Refused) -> Refusal {
    match refused.status() {
        Some(Status::Full) => Refusal::Full,
        Some(Status::PeerGone | Status::BadHandle) => Refusal::PeerGone,
        Some(Status::Refused) => Refusal::Refused,
        Some(Status::NotPermitted) => Refusal::NotPermitted,
        Some(Status::OverLimit) => Refusal::OverLimit,
        Some(Status::NoMemory) => Refusal::NoMemory,
        Some(Status::Range) => Refusal::Range,
        _ => Refusal::Other,
    }
}

impl Channels for Hypervisor {
    fn is_there(&self) -> bool {
        self.is_there
    }

    fn take_request(&mut self) -> Result<Option<Request>, Refusal> {
        for _ in 0..AT_ONCE {
            match talk::take_signal() {
                Ok(signal) if signal.kind == Some(SignalKind::ChannelConnect) => {
                    let (handle, service) = (signal.request.0, signal.service);
                    return Ok(Some(Request { handle, from: signal.from.0, service }));
                }
                Ok(signal) => self.refuse(signal.request.0),
                Err(refused) if refused.status() == Some(Status::Empty) => return Ok(None),
                Err(refused) => return Err(reason(refused)),
            }
        }
        Ok(None)
    }

    fn refuse(&mut self, request: u64) {
        // One that was withdrawn is only closed.
        let _refused = talk::refuse(Handle(request));
    }

    fn create(&mut self, window: Window) -> Result<u64, Refusal> {
        let intid = self.free_intid().ok_or(Refusal::OverLimit)?;
        self.open(window, intid).map_err(reason)
    }

    fn accept(&mut self, request: u64, port: u64) -> Result<(), Refusal> {
        message::accept(Handle(request), Handle(port)).map_err(reason)
    }

    fn connect(&mut self, port: u64, partition: u16, service: u32) -> Result<(), Refusal> {
        let partition = u8::try_from(partition).map_err(|_| Refusal::NotPermitted)?;
        let there = self.ports.get_mut(&port).ok_or(Refusal::Other)?;
        there.peers = there.pages().peer().count;
        message::connect(Handle(port), partition, service, 0).map_err(reason)
    }

    fn answer(&mut self, port: u64) -> Connecting {
        let Some(there) = self.ports.get(&port) else { return Connecting::PeerGone };
        let has_come = || there.pages().peer().count != there.peers;
        if has_come() {
            return Connecting::Connected;
        }
        // The page tells of peers only. This call does nothing to a port that nobody waits for, and says how it stands.
        let state = message::notify(Handle(port));
        match state.map_err(|refused| refused.status()) {
            _ if has_come() => Connecting::Connected,
            Err(Some(Status::Refused)) => Connecting::Refused,
            Err(Some(Status::PeerGone)) => Connecting::PeerGone,
            Ok(()) | Err(_) => Connecting::Open,
        }
    }

    fn close(&mut self, port: u64) {
        let Some(mut there) = self.ports.remove(&port) else { return };
        // What has come and was not received would stay this partition's. The call between waits for a send that was permitted before.
        there.receiver.withdraw(there.pages());
        let _state = message::notify(Handle(port));
        while let Some(arrival) = there.take_last() {
            if let Some(parcel) = arrival.parcel {
                self.free(parcel.handle);
            }
        }
        arch::close_port(Handle(port), [there.arrivals, there.credits]);
        // It is ours until here.
        let _closed = talk::close(there.events);
        arch::disable_interrupt(there.intid);
    }

    fn receive(&mut self, port: u64) -> Received {
        let Some(there) = self.ports.get_mut(&port) else { return Received::Gone };
        // In this order: what a peer has sent is there when it is told that it has gone.
        let is_there = there.pages().peer().is_there;
        let Some(arrival) = there.take() else {
            return if is_there { Received::Nothing } else { Received::Gone };
        };
        self.has_room(port);
        let area = arrival.parcel.map(|parcel| Arrived {
            handle: parcel.handle,
            address: parcel.address.0,
            pages: parcel.pages.0,
            bytes: parcel.bytes,
        });
        Received::Message(area, arrival.short)
    }

    fn send(
        &mut self,
        port: u64,
        area: Option<(u64, u64)>,
        short: [u64; 3],
    ) -> Result<(), Refusal> {
        let area = area.map(|(handle, bytes)| (Handle(handle), bytes));
        arch::send(Handle(port), area, short).map_err(reason)
    }

    fn has_room(&mut self, port: u64) {
        if self.ports.get(&port).is_some_and(|port| port.pages().is_starved()) {
            // A peer that has gone waits for nothing.
            let _told = message::notify(Handle(port));
        }
    }

    fn alloc(&mut self, bytes: u64, class: u8) -> Result<Arrived, Refusal> {
        let class = AreaClass::from_code(u64::from(class)).ok_or(Refusal::Range)?;
        let area = message::alloc(bytes, class).map_err(reason)?;
        let (handle, address, pages) = (area.handle.0, area.address.0, area.pages.0);
        Ok(Arrived { handle, address, pages, bytes })
    }

    fn free(&mut self, handle: u64) {
        arch::free(Handle(handle));
    }

    fn read(&self, area: &Arrived, at: u64, out: &mut [u8]) {
        arch::read_window(area.address.saturating_add(at), out);
    }

    fn write(&mut self, area: &Arrived, at: u64, data: &[u8]) {
        arch::write_window(area.address.saturating_add(at), data);
    }

    fn number_of_name(&self, name: &[u8]) -> Option<u16> {
        let is_meant = |known: [u8; 32]| known.split(|byte| *byte == 0).next() == Some(name);
        let mut numbers = NUMBERS;
        numbers.find(|number| talk::peer_name(*number).is_ok_and(is_meant)).map(u16::from)
    }

    fn partition_with_id(&self, id: u32) -> Option<(u16, [u8; 32])> {
        NUMBERS.map(u16::from).find_map(|number| {
            let (_, name) = self.partition(number).filter(|(life, _)| *life == id)?;
            Some((number, name))
        })
    }

    fn partition(&self, number: u16) -> Option<(u32, [u8; 32])> {
        let number = u8::try_from(number).ok()?;
        let peer = talk::peer(number).ok()?;
        Some((peer.id.map_or(0, |id| id.0), talk::peer_name(number).ok()?))
    }
}
