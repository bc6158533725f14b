//! What a child finds among its descriptors besides sockets that are not connected: the policy device, if there is one, a file of a message
//! area, and a channel to another partition; and the calls at them.

use std::fs::OpenOptions;
use std::os::fd::IntoRawFd as _;

use shikiri_scos_programs::os;
use shikiri_scos_programs::socket::{FILE, MAPPING, Message, NON_BLOCKING, Socket};

use super::Random;

/// `ioctl`s of the policy device: a call, what loads an area, and an eventfd of what the hypervisor tells.
const CALL: u64 = 0xc038_5340;
const LOAD_AREA: u64 = 0xc038_5342;
const EVENTS: u64 = 0x5341;
/// And of sockets: an area is made, or discarded.
const NEW: u64 = 0xc060_5301;
const DISCARD: u64 = 0x4060_5302;
/// This system's partition, as calls name it: the first place, and the first id. It is not to be ended.
const OWN: u64 = 1;
/// Where in the memory the seven words of a call are, and the messages: with a file, a mapping, and nothing.
const WORDS: u64 = 1536;
const MESSAGES: [u64; 3] = [2048, 2304, 2560];
/// Where a socket's form is.
const FORM: u64 = 2816;
/// Where the path of the area's file is.
pub(crate) const PATH: u64 = 8 * 32;

/// What is there.
pub(crate) struct Things {
    memory: u64,
    /// The policy device, or no descriptor.
    device: u64,
    /// A socket whose areas these are, and the open file of one.
    socket: u64,
    file: u64,
    /// A socket that is connected, or no descriptor.
    peer: u64,
    /// A partition that everything may be done to; 0: there is none.
    victim: u64,
}

impl Things {
    /// Opens all of it. What is not there now is left out.
    pub(crate) fn open(memory: u64, (victim, peer): (u64, u64)) -> Self {
        let none = u64::MAX;
        let opened = |path: &str| {
            let file = OpenOptions::new().read(true).write(true).open(path);
            file.map_or(none, |file| u64::try_from(file.into_raw_fd()).unwrap_or(none))
        };
        let device = opened("/dev/shikiri");
        let mut things = Self { memory, device, socket: none, file: none, peer, victim };
        let Ok(socket) = Socket::new(NON_BLOCKING) else { return things };
        for (form, place) in [FILE, MAPPING].into_iter().zip(MESSAGES) {
            let Ok(message) = socket.set_form(form).and_then(|()| socket.make(64)) else {
                continue;
            };
            if form == FILE {
                things.file = opened(&message.name);
                put(memory + PATH, message.name.as_bytes());
                put(memory + PATH + message.name.len() as u64, &[0]);
            }
            put(memory + place, &message.to_bytes());
        }
        put(memory + MESSAGES[2], &Message { bytes: 64, ..Message::default() }.to_bytes());
        things.socket = socket.into_number();
        things
    }

    /// A call at one of them.
    pub(crate) fn call(&self, random: &mut Random) -> (u64, [u64; 6]) {
        const IOCTL: u64 = 29;
        let message = self.memory + random.one_of(&MESSAGES);
        let somewhere = self.memory + 4096 + (random.below(0xe000) & !7);
        match random.below(11) {
            0..=2 => {
                self.choose_words(random);
                // Nowhere else: noise could name this partition.
                let words = if random.below(16) == 0 { 8 } else { self.memory + WORDS };
                let request = random.one_of(&[CALL, CALL, CALL, LOAD_AREA]);
                (IOCTL, [self.device, request, words, 0, 0, 0])
            }
            3 => (IOCTL, [self.device, EVENTS, 0, 0, 0, 0]),
            4 => (IOCTL, [self.socket, random.one_of(&[NEW, DISCARD]), message, 0, 0, 0]),
            // setsockopt(SHIKIRI_FORM), and what is written then.
            5 => match random.below(2) {
                0 => (208, [self.socket, 377, 1, self.memory + 4096, 4, 0]),
                _ => (64, [self.socket, message, 96, 0, 0, 0]),
            },
            6 => {
                // read, write, pread64, pwrite64, ftruncate, lseek, fstat.
                let call = random.one_of(&[63, 64, 67, 68, 46, 62, 80]);
                let place = if call == 46 || call == 62 { random.below(8192) } else { somewhere };
                (call, [self.file, place, random.below(5000), random.below(5000), 0, 0])
            }
            7..=9 => self.call_at_peer(random, message, somewhere),
            // mmap of it: private or shared, read-only or written to; or its end by unlinkat.
            _ if random.below(4) != 0 => {
                let (bytes, access) = (random.below(9000), random.one_of(&[1, 3]));
                (222, [0, bytes, access, random.one_of(&[1, 2]), self.file, random.below(2) << 12])
            }
            _ => (35, [super::HERE, self.memory + PATH, 0, 0, 0, 0]),
        }
    }

    /// A message to the peer or from it, with an area or without, and what may become of the socket between.
    fn call_at_peer(&self, random: &mut Random, message: u64, somewhere: u64) -> (u64, [u64; 6]) {
        const BYTES: u64 = 96;
        const DONT_WAIT: u64 = 0x40;
        match random.below(16) {
            0..=2 => (64, [self.peer, message, BYTES, 0, 0, 0]),
            3 => (206, [self.peer, message, BYTES, DONT_WAIT, 0, 0]),
            // What has come is looked at in its place, and perhaps sent back.
            4..=7 => (63, [self.peer, somewhere, BYTES, 0, 0, 0]),
            8 => (207, [self.peer, somewhere, BYTES, DONT_WAIT, 0, 0]),
            9 => (64, [self.peer, somewhere, BYTES, 0, 0, 0]),
            // The form: a word of 0 to 2, or noise.
            10 | 11 => {
                put(self.memory + FORM, &random.below(4).to_le_bytes());
                (208, [self.peer, 377, 1, self.memory + FORM, 4, 0])
            }
            12 => (29, [self.peer, random.one_of(&[NEW, DISCARD]), message, 0, 0, 0]),
            // getpeername, getsockname: with any room.
            13 => (random.one_of(&[204, 205]), [self.peer, somewhere, somewhere + 64, 0, 0, 0]),
            14 => (25, [self.peer, 4, random.one_of(&[0, 0o4000]), 0, 0, 0]),
            // A direction's end, or both.
            _ => (210, [self.peer, random.below(4), 0, 0, 0, 0]),
        }
    }

    /// Whether a call was done that reached the hypervisor, whether one was at an area's file, and whether a message was sent to
    /// the peer, or received from it.
    pub(crate) fn has_done(&self, number: u64, arguments: [u64; 6], answer: i64) -> [bool; 4] {
        let [descriptor, request, ..] = arguments;
        let is_done = os::peek((self.memory + WORDS) as usize) == 0;
        let is_policy = number == 29 && descriptor == self.device && request == CALL && is_done;
        let at_file =
            number != 222 && descriptor == self.file || number == 222 && arguments[4] == self.file;
        let at_peer = |calls: [u64; 2]| calls.contains(&number) && descriptor == self.peer;
        let [sent, received] = [[64, 206], [63, 207]].map(|calls| at_peer(calls) && answer == 96);
        [is_policy && answer == 0, at_file && answer >= 0, sent, received]
    }

    /// The words of a policy call: any number, arguments that may mean something, and never this partition.
    fn choose_words(&self, random: &mut Random) {
        let number = match random.below(8) {
            0 => random.below(0x300),
            _ => 0x100 + random.below(0x30),
        };
        let mut words = [number, 0, 0, 0, 0, 0, 0];
        for word in &mut words[1..] {
            *word = match random.below(8) {
                0 => random.next(),
                1 => self.memory + 4096 + (random.below(0xe000) & !7),
                2 => 1 << random.below(64),
                3..=5 => random.below(8),
                _ => 0,
            };
        }
        // Calls have few arguments, and what is behind them is 0.
        words[2 + random.below(5) as usize..].fill(0);
        if random.below(4) != 0 {
            words[1] = self.victim;
        }
        if words[1] == OWN {
            words[1] = 2;
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        put(self.memory + WORDS, &bytes);
    }
}

/// Writes to the memory, which nobody else uses.
fn put(address: u64, bytes: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        os::poke(address as usize + index, *byte);
    }
}
