//! Random system calls: `fuzz SEED CALLS`. Where this partition makes policy, its calls are among them.
//!
//! A child at a time makes calls with arguments that may mean something, from the table of calls, until it ends by what it did or has made
//! its share. The same seed makes the same calls. Afterwards the system must be as it was: a program runs, and the memory is there.
#![expect(unsafe_code, reason = "makes calls with random arguments")]

mod peer;
mod things;
mod victim;

use std::process::Command;
use std::time::{Duration, Instant};

use shikiri_scos_core::calls::{CALLS, Kind};
use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::holds;
use shikiri_scos_programs::socket::Socket;

use peer::Peer;
use things::Things;
use victim::Victims;

/// AF_SHIKIRI, and SOCK_SEQPACKET with SOCK_NONBLOCK.
const SOCKET: [u64; 2] = [77, 5 | 0o4000];
/// Bytes of an address of that family, and where in the memory there are two: a service of anybody and one of a partition.
const ADDRESS_BYTES: u64 = 48;
const ADDRESSES: [(u64, u16); 2] = [(1024, 0xffff), (1088, 1)];
/// Calls of one child at most.
const SHARE: u64 = 200;
/// What children count, each in a byte behind that of all calls that were made: the policy calls that were done, the calls at files of areas,
/// and the messages that were sent to the peer and received from it.
const DONE: [usize; 4] = [1, 2, 3, 4];
/// A child that waits longer than this is ended.
const PATIENCE: Duration = Duration::from_millis(50);
/// AT_FDCWD.
const HERE: u64 = -100_i64 as u64;

fn main() {
    let number = |index| std::env::args().nth(index).and_then(|word| word.parse().ok());
    let (seed, calls): (u64, u64) = (number(1).unwrap_or(1), number(2).unwrap_or(20_000));
    println!("fuzz: seed {seed}, {calls} calls");
    for signal in (1..32).filter(|signal| *signal != libc::SIGCHLD) {
        // Some cannot be ignored.
        let _refused: Result<(), i32> = os::ignore(signal, true);
    }
    let shared = os::map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED).unwrap();
    // The first of everything that stays.
    let (mut victims, mut peer) = (Victims::new(), Peer::find());
    one(shared, seed, 0, (victims.tend(), peer.tend()));
    clean();
    holds("a_program_runs", runs());
    holds("there_are_sockets", Socket::new(0).is_ok());
    let before = os::free_kib();
    let (mut made, mut children, mut signals, mut done) = (0, 0_u64, 0_u64, [0_u64; 4]);
    while made < calls {
        let ended = one(shared, seed.wrapping_add(children), SHARE, (victims.tend(), peer.tend()));
        made += u64::from(os::peek(shared)).max(1);
        done = std::array::from_fn(|which| done[which] + u64::from(os::peek(shared + DONE[which])));
        children += 1;
        signals += u64::from(matches!(ended, Ended::Signal(_)));
        clean();
    }
    println!("fuzz: {made} calls, {children} children, {signals} ended by signals");
    let [policy, files, sends, receives] = done;
    println!("fuzz: {policy} policy calls were done, {files} calls at files of areas");
    println!("fuzz: {sends} messages were sent to the peer, {receives} received");
    holds("children_make_calls", made > children);
    holds("some_are_done", files > 0 && (policy > 0 || victims.are_none()));
    holds("messages_go_and_come", sends > 0 && receives > 0 || peer.is_none());
    holds("a_program_runs_afterwards", runs());
    holds("there_are_sockets_and_areas_afterwards", {
        let area = Socket::new(0).and_then(|socket| socket.make(64));
        area.and_then(|area| std::fs::remove_file(area.name)).is_ok()
    });
    victims.end();
    peer.end();
    let lost = before.saturating_sub(os::free_kib());
    // This program's own heap has grown a little.
    holds(&format!("the_memory_is_there_but_for_{lost}_kib"), lost <= 64);
    println!("done fuzz");
}

/// Whether a program can be run.
fn runs() -> bool {
    Command::new("/bin/hello").output().is_ok_and(|output| output.status.success())
}

/// Runs a child and ends all that came of it.
fn one(shared: usize, seed: u64, calls: u64, others: (u64, u64)) -> Ended {
    os::poke(shared, 0);
    DONE.into_iter().for_each(|count| os::poke(shared + count, 0));
    let child = os::in_child(|| {
        wild(shared, seed, calls, others);
        0
    });
    let child = child.unwrap();
    let start = Instant::now();
    let mut ended = Ended::Not;
    // `wait` has no time limit; a child that hangs is a finding.
    while ended == Ended::Not && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(500));
        ended = os::wait(child, libc::WNOHANG).map_or(Ended::Exit(0), |(_, ended)| ended);
    }
    // Everybody but the first program and this one. There may be nobody.
    let _nobody: Result<(), i32> = os::kill(-1, libc::SIGKILL);
    while let Ok((_, last)) = os::wait(-1, 0) {
        ended = last;
    }
    ended
}

/// Takes away what children have left in the tree of files.
fn clean() {
    let entries =
        ["/tmp", "/areas"].into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    for entry in entries.flatten().flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // What cannot be removed is still there for the next one.
        drop(if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) });
    }
}

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of(&mut self, choices: &[u64]) -> u64 {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Paths that nobody else needs.
const PATHS: [&[u8]; 8] = [
    b"/tmp/a\0",
    b"/tmp/b\0",
    b"/tmp/a/c\0",
    b"/tmp/d/../b\0",
    b"/tmp/missing/x\0",
    b"/tmp/a/\0",
    b"/bin/true\0",
    b"\0",
];

/// Makes random calls; `others` are a partition to which everything may be done, and the descriptor of one that is talked to.
fn wild(shared: usize, seed: u64, calls: u64, others: (u64, u64)) {
    for signal in 1..32 {
        let _refused: Result<(), i32> = os::ignore(signal, false);
    }
    let memory =
        os::map(1 << 16, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE).unwrap() as u64;
    let mut random = Random(seed);
    for (index, path) in PATHS.iter().enumerate() {
        for (at, byte) in path.iter().enumerate() {
            os::poke(memory as usize + index * 32 + at, *byte);
        }
    }
    for at in (4096..1 << 16).step_by(8) {
        // Addresses, small numbers and noise: what a vector, a time or a set may be.
        let word = match random.below(4) {
            0 => memory + random.below(1 << 16),
            1 => random.below(64),
            2 => 0,
            _ => random.next(),
        };
        for (index, byte) in word.to_le_bytes().iter().enumerate() {
            os::poke(memory as usize + at + index, *byte);
        }
    }
    // What is written to the console is the parent's alone.
    for fd in 0..3 {
        os::close(fd).unwrap();
    }
    std::env::set_current_dir("/tmp").unwrap();
    for (place, partition) in ADDRESSES {
        let service = u32::try_from(random.below(4)).unwrap_or(0);
        let words = [77_u16.to_le_bytes(), partition.to_le_bytes()].concat();
        for (index, byte) in words.into_iter().chain(service.to_le_bytes()).enumerate() {
            os::poke((memory + place) as usize + index, byte);
        }
    }
    // One that listens and one that is new, among the lowest descriptors.
    let (listener, address) = (new_socket(), memory + ADDRESSES[0].0);
    new_socket();
    // SAFETY: writes no memory.
    let _bound = unsafe { os::call(200, [listener, address, ADDRESS_BYTES, 0, 0, 0]) };
    // SAFETY: as above.
    let _listens = unsafe { os::call(201, [listener, 4, 0, 0, 0, 0]) };
    let things = Things::open(memory, others);
    for made in 0..calls {
        let (number, arguments) = match random.below(6) {
            0 => things.call(&mut random),
            _ => choose(&mut random, memory),
        };
        os::poke(shared, u8::try_from(made + 1).unwrap_or(u8::MAX));
        // SAFETY: there is none; what happens to this child is what is looked at.
        let answer = unsafe { os::call(number, arguments) };
        for (is_done, count) in things.has_done(number, arguments, answer).into_iter().zip(DONE) {
            if is_done {
                os::poke(shared + count, os::peek(shared + count).saturating_add(1));
            }
        }
    }
}

/// A new socket.
fn new_socket() -> u64 {
    // SAFETY: writes no memory.
    unsafe { os::call(198, [SOCKET[0], SOCKET[1], 0, 0, 0, 0]) }.cast_unsigned()
}

/// A call and its arguments.
fn choose(random: &mut Random, memory: u64) -> (u64, [u64; 6]) {
    if random.below(50) == 0 {
        // What there may not be.
        return (random.below(600), [(); 6].map(|()| random.next()));
    }
    let call = loop {
        let call = &CALLS[random.below(CALLS.len() as u64) as usize];
        // These two end the child: seldom.
        if !matches!(call.name, "exit" | "exit_group") || random.below(20) == 0 {
            break call;
        }
    };
    let mut arguments = [0; 6];
    for (argument, kind) in arguments.iter_mut().zip(call.arguments) {
        *argument = argument_of(random, *kind, memory);
    }
    if matches!(call.name, "kill" | "tkill" | "tgkill") {
        // Nobody else is to be hit: that is not what is looked for.
        let own = u64::from(std::process::id());
        arguments[0] = own;
        if call.name == "tgkill" {
            arguments[1] = own;
        }
    }
    match call.name {
        "socket" if random.below(4) != 0 => {
            arguments[..3].copy_from_slice(&[SOCKET[0], SOCKET[1], 0]);
        }
        "bind" | "connect" if random.below(4) != 0 => {
            let places = ADDRESSES.map(|(place, _)| memory + place);
            arguments[1..3].copy_from_slice(&[random.one_of(&places), ADDRESS_BYTES]);
        }
        _ => {}
    }
    if call.name == "clone" {
        // Who goes on with a stack of noise calls whom it likes.
        arguments[1] = 0;
    }
    if call.name == "execve" && random.below(4) != 0 {
        arguments[0] = memory + 6 * 32;
    } else if arguments[..5].contains(&(memory + 6 * 32)) {
        // The programs stay.
        arguments = arguments.map(|value| if value == memory + 6 * 32 { memory } else { value });
    }
    (u64::from(call.number), arguments)
}

fn argument_of(random: &mut Random, kind: Kind, memory: u64) -> u64 {
    const EDGES: [u64; 12] = [
        0,
        1,
        u64::MAX,
        u64::MAX - 4095,
        i64::MAX as u64,
        i64::MIN as u64,
        u32::MAX as u64,
        1 << 31,
        1 << 32,
        1 << 39,
        0xffff_ff80_4008_0000,
        4096,
    ];
    if random.below(8) == 0 {
        return random.one_of(&EDGES);
    }
    match kind {
        Kind::Number => match random.below(6) {
            0 => 1 << random.below(64),
            1 => random.next(),
            2 => random.below(4096) & !7,
            _ => random.below(32),
        },
        Kind::Fd => random.below(12),
        Kind::At => random.one_of(&[HERE, HERE, HERE, 3, 5]),
        Kind::Path if random.below(9) == 0 => memory + things::PATH,
        Kind::Path => memory + random.below(PATHS.len() as u64) * 32,
        Kind::In | Kind::Out | Kind::MayIn | Kind::MayOut => match random.below(8) {
            0 => memory + (1 << 16) - random.below(32),
            _ => memory + 4096 + (random.below(0xe000) & !7),
        },
        Kind::Address => match random.below(4) {
            0 => (memory + random.below(1 << 16)) & !4095,
            1 => 0x1000_0000 + (random.below(1 << 20) << 12),
            2 => 0,
            _ => memory + 4096 + (random.below(0x8000) & !3),
        },
    }
}
