//! The calls by which partitions talk, with arguments that mostly name what is there: ports that are connected, requests that
//! wait, areas in use, objects that others have open. How many of each succeeded is counted: a guest whose calls are all refused
//! attacks nothing.

use core::sync::atomic::{AtomicU64, Ordering};

use shikiri_abi::{CALLS, ObjectKind, Status, Units};
use shikiri_rt::platform::{has_word, number_of};
use shikiri_rt::println;
use shikiri_test_guests::random::Random;

use crate::live::{Live, Noun, REQUESTS};

/// What an argument means.
#[derive(Clone, Copy)]
enum Meaning {
    /// A handle of one of these.
    Of(&'static [Noun]),
    /// The same, or 0.
    OrNone(&'static [Noun]),
    /// A partition's number.
    Partition,
    /// Below this.
    Below(u64),
    Intid,
    Class,
    /// Of an area.
    Bytes,
    /// To keep.
    Rights,
}

use Meaning::{Below, Bytes, Class, Intid, Of, OrNone, Partition, Rights};

const SEND: Meaning = Of(&[Noun::Send]);
const RECEIVE: Meaning = Of(&[Noun::Receive, Noun::Busy]);
const FREE: Meaning = Of(&[Noun::Receive]);
const FREE_OR_NONE: Meaning = OrNone(&[Noun::Receive]);
const PORT: Meaning = Of(&[Noun::Message, Noun::Channel]);
const LIMITED: Meaning = Of(&[
    Noun::Send,
    Noun::Receive,
    Noun::Busy,
    Noun::EventRequest,
    Noun::ChannelRequest,
    Noun::SharedRequest,
    Noun::Message,
    Noun::Channel,
    Noun::Attachment,
    Noun::Attached,
    Noun::Object,
]);
const AREA: Meaning = Of(&[Noun::Area, Noun::Received]);
const AREA_OR_NONE: Meaning = OrNone(&[Noun::Area, Noun::Received]);
const OFFERED: Meaning = Of(&[Noun::Offered, Noun::Used]);
const ATTACHMENT: Meaning = Of(&[Noun::Attachment]);
const EITHER: Meaning = Of(&[Noun::Attachment, Noun::Attached, Noun::Offered, Noun::Used]);
const OBJECT: Meaning = Of(&[Noun::Object]);
const REQUEST: Meaning = Of(&REQUESTS);
const ENDS: Meaning = Of(&[
    Noun::Send,
    Noun::Receive,
    Noun::Busy,
    Noun::EventRequest,
    Noun::ChannelRequest,
    Noun::SharedRequest,
]);

const LIMIT: u16 = 0x09;
const AREA_ALLOC: u16 = 0x20;
const OBJECT_OPEN: u16 = 0x38;
/// The calls of ports, areas, channels and objects.
const FIRST: u16 = 0x08;
const END: u16 = 0x40;

/// A call's number, and its arguments.
type Row = (u16, &'static [Meaning]);

/// Each of them.
const ROWS: [Row; COUNT] = [
    (0x08, &[Partition, Below(2)]),
    (LIMIT, &[LIMITED, Rights]),
    (0x10, &[]),
    (0x11, &[]),
    (0x12, &[SEND, FREE]),
    (0x13, &[RECEIVE, Intid, Below(2), Below(2)]),
    (0x14, &[RECEIVE, Below(2)]),
    (0x15, &[SEND]),
    (0x16, &[RECEIVE]),
    (0x17, &[Below(2)]),
    (0x18, &[SEND]),
    (0x19, &[ENDS]),
    (0x1a, &[FREE]),
    (0x1b, &[SEND, Partition, Below(8), Below(8)]),
    (0x1c, &[]),
    (0x1d, &[Of(&[Noun::EventRequest]), FREE]),
    (0x1e, &[REQUEST]),
    (0x1f, &[Partition]),
    (AREA_ALLOC, &[Bytes, Class, Below(1)]),
    (0x21, &[AREA]),
    (0x22, &[AREA]),
    (0x23, &[Of(&[Noun::Received])]),
    (0x24, &[AREA, Bytes]),
    (0x25, &[AREA, Bytes, Class, AREA_OR_NONE]),
    (0x28, &[FREE, Below(4), Class]),
    (0x29, &[PORT, Partition, Below(8), Below(8)]),
    (0x2a, &[Of(&[Noun::ChannelRequest]), Of(&[Noun::Message])]),
    (
        0x2b,
        &[
            Of(&[Noun::Channel]),
            OrNone(&[Noun::Area, Noun::Received]),
            Below(2),
            Below(8),
            Below(8),
            Below(8),
        ],
    ),
    (0x2c, &[PORT]),
    (0x2d, &[PORT]),
    (0x2e, &[]),
    (0x30, &[AREA, FREE_OR_NONE]),
    (0x31, &[OFFERED]),
    (0x32, &[Of(&[Noun::Used]), Partition]),
    (0x33, &[FREE, Bytes, Class]),
    (0x34, &[ATTACHMENT, Partition, Below(8), Below(8)]),
    (0x35, &[Of(&[Noun::SharedRequest]), OFFERED, Below(2)]),
    (0x36, &[EITHER]),
    (0x37, &[EITHER]),
    (OBJECT_OPEN, &[Below(1), Below(1), Below(1), Below(1), Below(1), Below(1)]),
    (0x39, &[OBJECT]),
    (0x3a, &[OBJECT, Below(2), Below(2), Below(2)]),
    (0x3b, &[OBJECT, FREE_OR_NONE]),
    (0x3c, &[OBJECT]),
];

/// Those that are made more often than others, since they need somebody else's: asking, taking what was asked, sending, and what is
/// done with what has come. And how each kind of request is accepted.
const OFTEN: [u16; 11] = [0x1b, 0x1c, 0x1c, 0x1c, 0x29, 0x34, 0x2b, 0x2b, 0x2b, 0x23, 0x32];
const ACCEPTING: [(Noun, u16); 3] =
    [(Noun::EventRequest, 0x1d), (Noun::ChannelRequest, 0x2a), (Noun::SharedRequest, 0x35)];

/// Those that close.
const CLOSING: [u16; 6] = [0x19, 0x21, 0x2d, 0x31, 0x37, 0x3c];

/// As many as the table of calls has, with as many arguments each.
const COUNT: usize = count(CALLS);
const _: () = assert!(agrees(&ROWS), "the rows are those of the table of calls");

const fn count(mut rows: &[shikiri_abi::CallRow]) -> usize {
    let mut count = 0;
    while let [row, rest @ ..] = rows {
        if row.number >= FIRST && row.number < END {
            count += 1;
        }
        rows = rest;
    }
    count
}

const fn agrees(ours: &[Row]) -> bool {
    let (mut at, mut place) = (0, 0);
    while at < CALLS.len() {
        let row = &CALLS[at];
        if row.number >= FIRST && row.number < END {
            let (number, meanings) = ours[place];
            if number != row.number || meanings.len() != row.arguments.len() {
                return false;
            }
            place += 1;
        }
        at += 1;
    }
    place == ours.len()
}

/// What can be opened: in one page each, and zero behind.
#[repr(C, align(64))]
struct Name([u8; 64]);

static NAMES: [Name; 3] = [name(b"open/event"), name(b"open/lock"), name(b"open/mail")];
const KINDS: [ObjectKind; 3] = [
    ObjectKind::Event,
    ObjectKind::Semaphore { initial: 2, maximum: 3, units: Units::Held },
    ObjectKind::Queue { depth: 4 },
];

const fn name(text: &[u8]) -> Name {
    let mut bytes = [0; 64];
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    Name(bytes)
}

/// The row with this number.
fn find(number: u16) -> Option<Row> {
    ROWS.iter().find(|row| row.0 == number).copied()
}

/// How often each succeeded, on all vCPUs; how many were made, and how many messages were received.
static LIVE: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];
static MADE: AtomicU64 = AtomicU64::new(0);
static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// Whether each has succeeded.
pub(crate) fn is_complete() -> bool {
    LIVE.iter().all(|count| count.load(Ordering::Relaxed) > 0)
}

/// Prints the counts.
pub(crate) fn report() {
    let names = CALLS.iter().filter(|row| (FIRST..END).contains(&row.number)).map(|row| row.name);
    for (name, count) in names.zip(&LIVE).filter(|_| !has_word("brief")) {
        println!("hostile: live {name} {}", count.load(Ordering::Relaxed));
    }
    let live: u64 = LIVE.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    println!("hostile: live calls {live} of {}", MADE.load(Ordering::Relaxed));
    println!("hostile: messages received {}", RECEIVED.load(Ordering::Relaxed));
}

/// One vCPU's part: what it knows, and the arguments of an area that it has not made in full.
pub(crate) struct Talker {
    live: Live,
    making: Option<[u64; 3]>,
    /// How many handles have lost a right: what is never closed stays in the table.
    limited: u32,
}

/// The most handles that a vCPU takes rights from.
const MOST_LIMITED: u32 = 8;
const ALL_RIGHTS: u64 = 3;

impl Talker {
    pub(crate) fn new(is_first: bool) -> Self {
        Self { live: Live::described(is_first), making: None, limited: 0 }
    }

    /// The next call's number and its arguments.
    pub(crate) fn choose(&mut self, random: &mut Random) -> (u16, [u64; 6]) {
        if random.below(4) == 0 {
            RECEIVED.fetch_add(self.live.listen(), Ordering::Relaxed);
        }
        let row = self.row(random);
        let (number, meanings) = if random.below(16) == 0 { row } else { self.prepared(row) };
        let mut arguments = [0; 6];
        for (place, meaning) in arguments.iter_mut().zip(meanings) {
            let closes = number == LIMIT || CLOSING.contains(&number);
            *place = self.value(random, *meaning, closes);
        }
        match (number, self.making) {
            (AREA_ALLOC, None) if arguments[0] > 4096 => arguments[1] = 1,
            (AREA_ALLOC, Some(making)) => arguments[..3].copy_from_slice(&making),
            (OBJECT_OPEN, _) => {
                let (name, kind) = random.pick(&[(0, 0), (1, 1), (2, 2), (0, 2)]);
                arguments[0] = core::ptr::from_ref(&NAMES[name]).expose_provenance() as u64;
                arguments[1] = NAMES[name].0.iter().take_while(|byte| **byte != 0).count() as u64;
                arguments[2..].copy_from_slice(&KINDS[kind].encode());
            }
            _ => {}
        }
        MADE.fetch_add(1, Ordering::Relaxed);
        (number, arguments)
    }

    /// Half of them are any, the others about something that is known. What was begun is mostly ended, and who has asked mostly
    /// gets an answer.
    fn row(&self, random: &mut Random) -> Row {
        let chosen = match random.below(8) {
            0 | 1 => Some(random.pick(&OFTEN)),
            2 | 3 => self.live.asked(random).and_then(|asked| {
                ACCEPTING.iter().find(|(noun, _)| *noun == asked).map(|(_, number)| *number)
            }),
            _ => None,
        };
        let chosen =
            chosen.or(if random.below(4) != 0 { self.making.map(|_| AREA_ALLOC) } else { None });
        if let Some(row) = chosen.and_then(find) {
            return row;
        }
        let about = if random.below(2) == 0 { None } else { self.live.any(random) };
        let is_crowded = self.live.is_crowded();
        let fits = |(number, meanings): &&Row| {
            let is_about =
                |noun| matches!(meanings.first(), Some(Of(nouns)) if nouns.contains(&noun));
            about.is_none_or(is_about) && (!is_crowded || CLOSING.contains(number))
        };
        let count = ROWS.iter().filter(fits).count() as u64;
        let chosen = random.below(count.max(1)) as usize;
        *ROWS.iter().filter(fits).nth(chosen).unwrap_or(&ROWS[0])
    }

    /// The call, or, if it needs what is not there, one that makes that.
    fn prepared(&self, mut row: Row) -> Row {
        let is_missing = |meaning: &&Meaning| matches!(meaning, Of(nouns) if !self.live.has(nouns));
        // What is made needs something itself.
        for _ in 0..4 {
            let Some(Of(nouns)) = row.1.iter().find(is_missing) else { break };
            let maker = match nouns[0] {
                Noun::Send => 0x10,
                Noun::Receive | Noun::Busy => 0x11,
                Noun::EventRequest | Noun::ChannelRequest | Noun::SharedRequest => 0x1c,
                Noun::Message | Noun::Channel => 0x28,
                Noun::Area | Noun::Received => AREA_ALLOC,
                Noun::Offered => 0x30,
                Noun::Used => 0x35,
                Noun::Attachment | Noun::Attached => 0x33,
                Noun::Object => OBJECT_OPEN,
            };
            row = find(maker).unwrap_or(row);
        }
        row
    }

    fn value(&self, random: &mut Random, meaning: Meaning, closes: bool) -> u64 {
        if random.below(24) == 0 {
            return random.edgy();
        }
        match meaning {
            Of(nouns) if closes => self.live.pick_to_close(random, nouns),
            Of(nouns) => self.live.pick(random, nouns),
            OrNone(nouns) if random.below(2) == 0 => self.live.pick(random, nouns),
            OrNone(_) => 0,
            Partition => match random.below(8) {
                0 => random.below(4),
                _ => number_of("peer").unwrap_or(0),
            },
            Below(end) => random.below(end),
            Intid => 32 + random.below(64),
            Class => u64::from(random.below(8) == 0),
            Rights if self.limited < MOST_LIMITED => random.below(ALL_RIGHTS + 1),
            Rights => ALL_RIGHTS,
            // In a slot of 4 KiB, or of 2 MiB.
            Bytes if random.below(8) == 0 => random.below(100 << 12),
            Bytes => 1 + random.below(4096),
        }
    }

    /// Looks at an answer, of whatever kind of attack: what has come, what is something else now, what has gone.
    pub(crate) fn learn(&mut self, number: u16, arguments: [u64; 6], [x0, x1, x2, x3]: [u64; 4]) {
        let status = Status::from_code(x0 as i64);
        let [first, second, ..] = arguments;
        match status {
            Some(Status::Ok | Status::Pending) => {
                if let Some(at) = ROWS.iter().position(|row| row.0 == number) {
                    LIVE[at].fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(Status::Again) if number == AREA_ALLOC && x1 != 0 => {
                self.making = Some([first, second, x1]);
                return;
            }
            Some(Status::BadHandle | Status::NotOwner) => {
                let which = usize::try_from(x1).unwrap_or(0).wrapping_sub(1);
                self.live.forget(*arguments.get(which).unwrap_or(&first));
                self.making = self.making.filter(|[.., making]| arguments[2] != *making);
                return;
            }
            Some(Status::PeerGone) if [0x1d, 0x2a, 0x35].contains(&number) => {
                self.live.forget(first);
                return;
            }
            Some(Status::PeerGone) if number == 0x32 => {
                self.live.change(Noun::Used, Noun::Offered, first);
                return;
            }
            // It is not offered any more.
            Some(Status::WrongState) if number == 0x35 => {
                self.live.change(Noun::Offered, Noun::Area, second);
                self.live.change(Noun::Used, Noun::Area, second);
                return;
            }
            _ => {
                // It can be freed, and no more.
                if let Some([.., making]) = self.making.filter(|_| number == AREA_ALLOC) {
                    self.live.add(Noun::Area, making);
                    self.making = None;
                }
                return;
            }
        }
        let live = &mut self.live;
        match number {
            LIMIT => self.limited += u32::from(x1 != ALL_RIGHTS),
            0x10 => live.add(Noun::Send, x1),
            0x11 => live.add(Noun::Receive, x1),
            0x12 => live.change(Noun::Receive, Noun::Busy, second),
            0x1c => {
                let noun = match x1 >> 56 {
                    0 => Noun::EventRequest,
                    1 => Noun::ChannelRequest,
                    _ => Noun::SharedRequest,
                };
                live.add(noun, x1 << 8 >> 8);
            }
            0x1d => {
                live.forget(first);
                live.change(Noun::Receive, Noun::Busy, second);
            }
            AREA_ALLOC => {
                self.making = None;
                live.add(Noun::Area, x1);
            }
            0x28 => {
                live.add(Noun::Message, x1);
                live.change(Noun::Receive, Noun::Busy, first);
                live.listen_at([x1, x2, x3], first);
            }
            0x29 => live.change(Noun::Message, Noun::Channel, first),
            0x2a => {
                live.forget(first);
                live.change(Noun::Message, Noun::Channel, second);
            }
            0x23 => live.change(Noun::Received, Noun::Area, first),
            0x2b => live.forget(second),
            0x30 => live.add(Noun::Offered, first),
            0x31 => live.add(Noun::Area, first),
            0x33 => {
                live.add(Noun::Attachment, x1);
                live.change(Noun::Receive, Noun::Busy, first);
            }
            OBJECT_OPEN => live.add(Noun::Object, x1),
            0x32 => live.change(Noun::Used, Noun::Offered, first),
            0x34 => live.change(Noun::Attachment, Noun::Attached, first),
            0x35 => {
                live.forget(first);
                live.change(Noun::Offered, Noun::Used, second);
            }
            0x19 | 0x1e | 0x21 | 0x2d | 0x37 | 0x3c => live.forget(first),
            _ => {}
        }
    }
}
