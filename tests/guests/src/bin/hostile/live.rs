//! What a vCPU knows to be there: handles that the description or a call has given it, and what each is.

use shikiri_abi::Ipa;
use shikiri_rt::hvc::message;
use shikiri_rt::hvc::talk::Handle;
use shikiri_rt::platform::{described, described_intid};
use shikiri_test_guests::Failure;
use shikiri_test_guests::port::{Message, Port};
use shikiri_test_guests::random::Random;

/// What a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noun {
    Send,
    Receive,
    /// A receive port that something is connected to.
    Busy,
    /// Requests that were taken, by what they ask for.
    EventRequest,
    ChannelRequest,
    SharedRequest,
    Message,
    /// A message port that has asked, or was connected.
    Channel,
    Area,
    /// An area that has come and was not kept.
    Received,
    Offered,
    /// An offered area that was given to somebody.
    Used,
    Attachment,
    /// An attachment that has asked, or has its area.
    Attached,
    Object,
}

/// Requests.
pub(crate) const REQUESTS: [Noun; 3] =
    [Noun::EventRequest, Noun::ChannelRequest, Noun::SharedRequest];

#[derive(Clone, Copy, Debug)]
struct Entry {
    noun: Noun,
    handle: u64,
    /// The description has made it: it does not come again.
    is_described: bool,
}

/// The nodes of what the description may have made.
const EVENTS: [&str; 3] = ["event-there", "event-back", "event-unheard"];
const SHARED: [&str; 3] = ["shared-page", "shared-block", "shared-board"];
const CHANNELS: [&str; 2] = ["channel-talk", "channel-unheard"];

/// As many are known at most; from [`CROWD`] on some are closed.
const MOST: usize = 48;
const CROWD: usize = 28;

/// The handles, and those message ports at which is listened.
pub(crate) struct Live {
    entries: [Option<Entry>; MOST],
    ports: [Option<Ear>; 4],
}

/// A message port at which is listened, and how many messages it has offered to take.
struct Ear {
    port: Port,
    open: u64,
}

/// As many messages are taken at a time.
const OPEN: u64 = 4;

impl Ear {
    fn listen(&mut self) -> Result<Option<Message>, Failure> {
        if self.open < OPEN {
            self.port.post(1)?;
            self.open += 1;
        }
        let message = self.port.receive()?;
        self.open = self.open.saturating_sub(u64::from(message.is_some()));
        Ok(message)
    }
}

impl Live {
    /// What the description gives. The first vCPU listens at its channels.
    pub(crate) fn described(is_first: bool) -> Self {
        let mut live = Self { entries: [None; MOST], ports: [const { None }; 4] };
        for node in EVENTS {
            let noun = if described_intid(node).is_some() { Noun::Busy } else { Noun::Send };
            live.add_described(noun, node);
        }
        for node in SHARED {
            live.add_described(Noun::Attached, node);
        }
        for node in CHANNELS {
            live.add_described(Noun::Channel, node);
            let told = |property| described(node, property);
            if let (true, Some(handle), Some(events), Some(arrivals), Some(credits)) = (
                is_first,
                told("shikiri,handle"),
                told("shikiri,events"),
                told("shikiri,arrivals"),
                told("shikiri,credits"),
            ) {
                live.listen_at([handle, arrivals, credits], events);
            }
        }
        live
    }

    fn add_described(&mut self, noun: Noun, node: &str) {
        if let Some(handle) = described(node, "shikiri,handle") {
            self.put(Entry { noun, handle, is_described: true });
        }
    }

    fn put(&mut self, entry: Entry) {
        if let Some(place) = self.entries.iter_mut().find(|place| place.is_none()) {
            *place = Some(entry);
        }
    }

    /// Keeps a handle in mind; one that is known is something else from now on.
    pub(crate) fn add(&mut self, noun: Noun, handle: u64) {
        match self.entries.iter_mut().flatten().find(|entry| entry.handle == handle) {
            Some(entry) => entry.noun = noun,
            None => self.put(Entry { noun, handle, is_described: false }),
        }
    }

    /// A handle that is known names something else from now on.
    pub(crate) fn change(&mut self, from: Noun, to: Noun, handle: u64) {
        let is_it = |entry: &&mut Entry| entry.handle == handle && entry.noun == from;
        if let Some(entry) = self.entries.iter_mut().flatten().find(is_it) {
            entry.noun = to;
        }
    }

    /// Forgets a handle.
    pub(crate) fn forget(&mut self, handle: u64) {
        for place in &mut self.entries {
            *place = place.filter(|entry| entry.handle != handle);
        }
        for place in &mut self.ports {
            *place = place.take().filter(|ear| ear.port.handle.0 != handle);
        }
    }

    /// Listens at a message port that was made: its handle and its two pages, and the receive port that it tells at.
    pub(crate) fn listen_at(&mut self, [handle, arrivals, credits]: [u64; 3], events: u64) {
        let (arrivals, credits) = (Ipa(arrivals), Ipa(credits));
        let port = message::Port { handle: Handle(handle), arrivals, credits };
        if let Some(place) = self.ports.iter_mut().find(|place| place.is_none()) {
            *place = Some(Ear { port: Port::around(port, Handle(events)), open: 0 });
        }
    }

    /// Offers to take messages at the ports, and takes those that have come; how many. The areas that have come with them are kept
    /// in mind. What is written into the page of a port that others have closed, or that random stores have hit, is no matter.
    pub(crate) fn listen(&mut self) -> u64 {
        let mut count = 0;
        for at in 0..self.ports.len() {
            let Some(ear) = &mut self.ports[at] else { continue };
            match ear.listen() {
                Ok(None) => {}
                Ok(Some(message)) => {
                    count += 1;
                    if let Some(area) = message.area {
                        self.add(Noun::Received, area.0);
                    }
                }
                Err(_) => self.ports[at] = None,
            }
        }
        count
    }

    /// Whether so much is known that some of it should go.
    pub(crate) fn is_crowded(&self) -> bool {
        self.entries.iter().flatten().count() >= CROWD
    }

    /// What one of them is.
    pub(crate) fn any(&self, random: &mut Random) -> Option<Noun> {
        self.find(random, |_| true).map(|entry| entry.noun)
    }

    /// Whether there is one of these.
    pub(crate) fn has(&self, nouns: &[Noun]) -> bool {
        self.entries.iter().flatten().any(|entry| nouns.contains(&entry.noun))
    }

    /// What a request asks for, if one was taken.
    pub(crate) fn asked(&self, random: &mut Random) -> Option<Noun> {
        self.find(random, |entry| REQUESTS.contains(&entry.noun)).map(|entry| entry.noun)
    }

    /// One that is one of these, or 0.
    pub(crate) fn pick(&self, random: &mut Random, nouns: &[Noun]) -> u64 {
        self.find(random, |entry| nouns.contains(&entry.noun)).map_or(0, |entry| entry.handle)
    }

    /// The same to be closed: seldom one of the description.
    pub(crate) fn pick_to_close(&self, random: &mut Random, nouns: &[Noun]) -> u64 {
        let is_any = random.below(512) == 0;
        let fits = |entry: &Entry| nouns.contains(&entry.noun) && (is_any || !entry.is_described);
        self.find(random, fits).map_or(0, |entry| entry.handle)
    }

    /// The first behind a random place.
    fn find(&self, random: &mut Random, fits: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let start = random.below(MOST as u64) as usize;
        let (before, behind) = self.entries.split_at(start);
        behind.iter().chain(before).flatten().find(|entry| fits(entry)).copied()
    }
}
