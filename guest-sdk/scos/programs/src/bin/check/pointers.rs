//! A bad pointer in each system call gives EFAULT.
//!
//! From the table of calls: every argument that is an address, with everything else as it has to be for the kernel to come that far.
//! Then the addresses in what those lead to, and those of calls that mean something else for a socket.
#![expect(unsafe_code, reason = "makes calls with bad addresses")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use shikiri_scos_core::calls::{CALLS, Call, Kind};
use shikiri_scos_programs::os::{self, Ended};
use shikiri_scos_programs::report::{equal, fail, ok};
use shikiri_scos_programs::socket::{Address, Socket};

/// Addresses that nobody may use: null, not mapped, the kernel's, not an address, the last bytes, the end of a program's part.
const BAD: [u64; 6] =
    [8, 0x7000_0000, 0xffff_ff80_4008_0000, 0x1234_5678_9abc_def0, u64::MAX - 3, (1 << 39) - 1];

const EFAULT: i64 = -14;
/// AT_FDCWD.
const HERE: u64 = -100_i64 as u64;

/// Bytes of a handler's stack.
const STACK: usize = 65536;
/// A service that nobody asks for.
const SERVICE: u32 = 7;
/// SHIKIRI_NEW and SHIKIRI_DISCARD.
const OF_SOCKETS: [u64; 2] = [0xc060_5301, 0x4060_5302];

/// Memory that all is well with.
struct Good {
    /// A path, `/tmp/p`.
    path: u64,
    /// The path of a symbolic link, `/tmp/l`.
    link: u64,
    /// A length, of 64 bytes.
    length: u64,
    /// Zeros.
    zeros: u64,
    /// A file that can be read and written.
    file: u64,
    /// The console.
    terminal: u64,
    /// A timer.
    timer: u64,
    /// A list of `epoll`.
    list: u64,
    /// An end of a pair of sockets.
    pair: u64,
    /// A socket that listens; on Linux, which has none of the family, the end of the pair.
    listener: u64,
    /// A socket that is new; on Linux as above.
    socket: u64,
}

pub(crate) fn check() {
    std::fs::write("/tmp/p", "contents").unwrap();
    std::fs::set_permissions("/tmp/p", Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("p", "/tmp/l").unwrap();
    let good = Good::new();
    let mut tried = 0;
    for call in CALLS {
        // Who waits for requests on Linux is of a family that is not here.
        if os::is_linux() && matches!(call.name, "accept" | "accept4") {
            continue;
        }
        for index in (0..call.arguments.len()).filter(|index| call.arguments[*index].is_pointer()) {
            tried += BAD.len();
            for bad in BAD {
                one(&good, call, index, bad);
            }
        }
    }
    println!("ok {tried} bad pointers");
    let nested = nested(&good);
    for (what, number, arguments, place) in &nested {
        for bad in BAD {
            inside(what, *number, *arguments, *place, bad);
        }
    }
    println!("ok {} bad pointers behind others", nested.len() * BAD.len());
    of_controls(&good);
    if !os::is_linux() {
        of_sockets(&good);
    }
    returned();
}

impl Good {
    fn new() -> Self {
        let memory =
            os::map(65536, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE).unwrap() as u64;
        for (index, byte) in b"/tmp/p\0/tmp/l\0".iter().enumerate() {
            os::poke(memory as usize + index, *byte);
        }
        os::poke(memory as usize + 64, 64);
        // SAFETY: these calls write no memory.
        let file = unsafe { os::call(56, [HERE, memory, 2, 0, 0, 0]) };
        // SAFETY: as above.
        let timer = unsafe { os::call(85, [1, 0, 0, 0, 0, 0]) };
        // SAFETY: as above.
        let list = unsafe { os::call(20, [0; 6]) };
        let pair = memory + 128;
        // SAFETY: writes two words of the mapping.
        let made = unsafe { os::call(199, [1, 1, 0, pair, 0, 0]) };
        assert_eq!(made, 0, "a pair of sockets");
        // Something that is ready to be told, and something to be read: EPOLLOUT, and bytes from the other end.
        let (one, other) = (os::peek(pair as usize), os::peek(pair as usize + 4));
        os::poke(memory as usize + 192, 4);
        // SAFETY: writes no memory.
        let added = unsafe { os::call(21, [list as u64, 1, u64::from(one), memory + 192, 0, 0]) };
        assert_eq!(added, 0, "a list that watches it");
        os::write(i32::from(other), &[0; 64]).unwrap();
        let (listener, socket) = if os::is_linux() {
            (u64::from(one), u64::from(one))
        } else {
            let sockets = [(); 2].map(|()| Socket::new(0).unwrap());
            sockets[0].bind(Address::service(SERVICE)).unwrap();
            sockets[0].listen(4).unwrap();
            // They stay until the program ends.
            let numbers = sockets.map(|socket| socket.into_number());
            (numbers[0], numbers[1])
        };
        Self {
            path: memory,
            link: memory + 7,
            length: memory + 64,
            zeros: memory + 4096,
            file: file as u64,
            terminal: 0,
            timer: timer as u64,
            list: list as u64,
            pair: u64::from(one),
            listener,
            socket,
        }
    }

    /// The arguments that lead a call to where it uses its addresses.
    fn arguments(&self, call: &Call) -> [u64; 6] {
        let mut arguments = [0; 6];
        for (argument, kind) in arguments.iter_mut().zip(call.arguments) {
            *argument = match kind {
                Kind::Fd => self.file,
                Kind::At => HERE,
                Kind::Path => self.path,
                Kind::In | Kind::Out | Kind::MayIn | Kind::MayOut => self.zeros,
                Kind::Number | Kind::Address => 8,
            };
        }
        match call.name {
            "ioctl" => arguments[..2].copy_from_slice(&[self.terminal, 0x5401]),
            "faccessat" | "faccessat2" => arguments[2..4].copy_from_slice(&[4, 0]),
            "linkat" | "fchownat" => arguments[4] = 0,
            "mkdirat" | "unlinkat" | "utimensat" | "renameat2" => {
                arguments[call.arguments.len() - 1] = 0
            }
            "newfstatat" => arguments[3] = 0,
            "statx" => arguments[2..4].copy_from_slice(&[0, 0x7ff]),
            "symlinkat" => arguments[2] = self.path,
            "pipe2" => arguments[1] = 0,
            "getcwd" => arguments[1] = 4096,
            "getdents64" => arguments[2] = 256,
            "preadv" | "readv" | "writev" => arguments[2] = 1,
            "pread64" | "pwrite64" => arguments[3] = 0,
            "timerfd_settime" => arguments[..2].copy_from_slice(&[self.timer, 0]),
            "timerfd_gettime" => arguments[0] = self.timer,
            "futex" => arguments[1..3].copy_from_slice(&[0, 0]),
            "getitimer" | "setitimer" | "clock_gettime" | "clock_getres" => arguments[0] = 0,
            "clock_nanosleep" => arguments[..2].copy_from_slice(&[0, 0]),
            "sched_getaffinity" => arguments[..2].copy_from_slice(&[0, 8]),
            "rt_sigaction" => arguments[0] = 10,
            "rt_sigprocmask" => arguments[0] = 0,
            "getrusage" => arguments[0] = 0,
            "getrandom" => arguments[2] = 0,
            "wait4" => arguments[..3].copy_from_slice(&[u64::MAX, self.zeros, 0]),
            "prlimit64" => arguments[..2].copy_from_slice(&[0, 7]),
            "epoll_ctl" => arguments[..3].copy_from_slice(&[self.list, 1, self.timer]),
            "epoll_pwait" => {
                arguments[0] = self.list;
                arguments[2..4].copy_from_slice(&[1, 0]);
            }
            "socketpair" => arguments[..3].copy_from_slice(&[1, 1, 0]),
            "sendto" | "recvfrom" => {
                arguments[0] = self.pair;
                arguments[3..].copy_from_slice(&[0; 3]);
            }
            "sendmsg" | "recvmsg" => {
                arguments[0] = self.pair;
                arguments[2] = 0;
            }
            "ppoll" => arguments[1] = 1,
            "pselect6" => arguments[0] = 1,
            "bind" | "connect" => arguments[0] = self.socket,
            "accept" | "accept4" => {
                arguments[0] = self.listener;
                arguments[2] = self.length;
            }
            "getsockname" | "getpeername" => {
                arguments[0] = self.socket;
                arguments[2] = self.length;
            }
            // On Linux: SOL_SOCKET, SO_RCVBUF.
            "setsockopt" => arguments[..3].copy_from_slice(&[self.socket, 1, 8]),
            "getsockopt" => {
                arguments[..3].copy_from_slice(&[self.socket, 1, 8]);
                arguments[4] = self.length;
            }
            "sigaltstack" => arguments[0] = 0,
            "readlinkat" => arguments[1] = self.link,
            _ => {}
        }
        arguments
    }
}

/// Makes a call with one bad address, in a child, which nothing of it can harm.
fn one(good: &Good, call: &Call, index: usize, bad: u64) {
    let mut arguments = good.arguments(call);
    // A word that is not aligned is EINVAL before it is looked for.
    arguments[index] = if call.name == "futex" { bad & !3 } else { bad };
    if call.name == "getdents64" {
        // SAFETY: opens the root.
        arguments[0] =
            unsafe { os::call(56, [HERE, c"/".as_ptr() as u64, 0o40000, 0, 0, 0]) } as u64;
    }
    let ended = os::end_of(|| {
        prepare(good, call, index, &mut arguments);
        if !matches!(call.name, "nanosleep" | "clock_nanosleep") {
            // What does not find its bad address at once might wait.
            os::set_alarm(20_000, 0);
        }
        is_refused(u64::from(call.number), arguments)
    });
    if call.name == "getdents64" {
        os::close(i32::try_from(arguments[0]).unwrap()).unwrap();
    }
    if ended != Ok(Ended::Exit(0)) {
        fail(&format!("{} argument {index} {bad:#x}", call.name), &format!("{ended:?}"));
    }
}

/// The status of a child: 0 if the call answers EFAULT.
fn is_refused(number: u64, arguments: [u64; 6]) -> i32 {
    // SAFETY: the child ends with this; all that is written is the mapping or nothing.
    i32::from(unsafe { os::call(number, arguments) } != EFAULT)
}

/// What it is, the call's number and arguments, and where the address is that is to be bad.
type Nested = (&'static str, u64, [u64; 6], u64);

/// The calls whose arguments lead to addresses, each in memory of its own and right but for the one that is to be bad.
fn nested(good: &Good) -> Vec<Nested> {
    let mut next = good.zeros + 512;
    let mut put = |words: &[u64]| {
        let start = next;
        next += 256;
        for (index, word) in words.iter().enumerate() {
            os::poke_word(start as usize + index * 8, *word);
        }
        start
    };
    let mut all = Vec::new();
    for (what, number) in [("readv piece", 65), ("writev piece", 66)] {
        let pieces = put(&[0, 8]);
        all.push((what, number, [good.file, pieces, 1, 0, 0, 0], pieces));
    }
    for (vector, piece, number) in
        [("sendmsg vector", "sendmsg piece", 211), ("recvmsg vector", "recvmsg piece", 212)]
    {
        let header = put(&[0, 0, 0, 1, 0, 0, 0]);
        all.push((vector, number, [good.pair, header, 0, 0, 0, 0], header + 16));
        let pieces = put(&[0, 8]);
        let header = put(&[0, 0, pieces, 1, 0, 0, 0]);
        all.push((piece, number, [good.pair, header, 0, 0, 0, 0], pieces));
    }
    let (texts, none) = (put(&[good.path, 0, 0]), put(&[0]));
    all.push(("execve argument", 221, [good.path, texts, none, 0, 0, 0], texts + 8));
    let (some, texts) = (put(&[good.path, 0]), put(&[good.path, 0, 0]));
    all.push(("execve environment", 221, [good.path, some, texts, 0, 0, 0], texts + 8));
    let mask = put(&[0, 8]);
    all.push(("pselect6 mask", 72, [0, 0, 0, 0, 0, mask], mask));
    all
}

/// Makes a call with a bad address where one of its arguments leads, in a child.
fn inside(what: &str, number: u64, arguments: [u64; 6], place: u64, bad: u64) {
    let ended = os::end_of(|| {
        os::poke_word(place as usize, bad);
        os::set_alarm(20_000, 0);
        is_refused(number, arguments)
    });
    if ended != Ok(Ended::Exit(0)) {
        fail(&format!("{what} {bad:#x}"), &format!("{ended:?}"));
    }
}

/// `ioctl`s with an address, each at what has it: the terminal's, and those of files, sockets and pipes.
const CONTROLS: [(&str, u64); 12] = [
    ("TCGETS", 0x5401),
    ("TCSETS", 0x5402),
    ("TCSETSW", 0x5403),
    ("TCSETSF", 0x5404),
    ("TIOCOUTQ", 0x5411),
    ("TIOCGWINSZ", 0x5413),
    ("TIOCSWINSZ", 0x5414),
    ("FIONREAD", 0x541b),
    ("FIONBIO", 0x5421),
    ("TIOCGPGRP", 0x540f),
    ("TIOCSPGRP", 0x5410),
    ("TIOCGSID", 0x5429),
];
/// The last of them are for whose terminal it is: on Linux it is nobody's.
const ANYBODYS: usize = 9;

fn of_controls(good: &Good) {
    let many = if os::is_linux() { ANYBODYS } else { CONTROLS.len() };
    let of_terminal = CONTROLS[..many].iter().map(|control| (*control, good.terminal));
    let [fionread, fionbio] = [CONTROLS[7], CONTROLS[8]];
    let others = [(fionread, good.file), (fionread, good.pair), (fionbio, good.pair)];
    let all: Vec<_> = of_terminal.chain(others).collect();
    for ((what, number), descriptor) in &all {
        for bad in BAD {
            refused(&format!("{what} {bad:#x}"), 29, [*descriptor, *number, bad, 0, 0, 0]);
        }
    }
    println!("ok {} bad pointers for ioctl", all.len() * BAD.len());
}

/// A call with a bad address, in a child.
fn refused(what: &str, number: u64, arguments: [u64; 6]) {
    let ended = os::end_of(|| {
        os::set_alarm(20_000, 0);
        is_refused(number, arguments)
    });
    if ended != Ok(Ended::Exit(0)) {
        fail(what, &format!("{ended:?}"));
    }
}

/// What `ioctl`, `read` and `write` take of sockets of the family.
fn of_sockets(good: &Good) {
    let calls = [
        ("SHIKIRI_NEW", 29, [good.socket, OF_SOCKETS[0]], 2),
        ("SHIKIRI_DISCARD", 29, [good.socket, OF_SOCKETS[1]], 2),
        ("read of a socket", 63, [good.socket, 0], 1),
        ("write to a socket", 64, [good.socket, 0], 1),
    ];
    for (what, number, [first, second], index) in calls {
        for bad in BAD {
            let mut arguments = [first, second, 96, 0, 0, 0];
            arguments[index] = bad;
            refused(&format!("{what} {bad:#x}"), number, arguments);
        }
    }
    println!("ok {} bad pointers for sockets", calls.len() * BAD.len());
}

/// What has to be so that a call comes to its address: a child to wait for, a sleep that is interrupted.
fn prepare(good: &Good, call: &Call, index: usize, arguments: &mut [u64; 6]) {
    let sleep = match (call.name, index) {
        ("nanosleep", 1) => 0,
        ("clock_nanosleep", 3) => 2,
        ("wait4", _) => {
            os::in_child(|| 0).unwrap();
            return;
        }
        _ => return,
    };
    // Four minutes, and signals until the child ends: one that comes before the sleep does not count.
    arguments[sleep] = good.zeros + 256;
    os::poke(arguments[sleep] as usize, 240);
    os::handle(libc::SIGALRM, nothing, 0).unwrap();
    os::set_alarm(20, 20);
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// A handler whose frame is damaged, and one without a stack.
fn returned() {
    // SAFETY: the child ends with this.
    let ended = os::end_of(|| i32::try_from(unsafe { os::call(139, [0; 6]) }).unwrap_or(1));
    equal("a_damaged_frame_ends_the_process", ended, Ok(Ended::Signal(libc::SIGSEGV)));
    let ended = os::end_of(|| {
        let start = os::map(STACK, libc::PROT_NONE, libc::MAP_PRIVATE).unwrap();
        let start = std::ptr::with_exposed_provenance_mut(start);
        let stack = libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: STACK };
        // SAFETY: reads the local variable. What is put on that stack faults.
        let set = unsafe { os::call(132, [(&raw const stack) as u64, 0, 0, 0, 0, 0]) };
        let handled = os::handle(libc::SIGUSR1, nothing, libc::SA_ONSTACK);
        // A handler of another topic, or the library's, would be called in its place.
        if set != 0 || handled.is_err() || os::ignore(libc::SIGSEGV, false).is_err() {
            return 1;
        }
        let sent = os::kill(i32::try_from(std::process::id()).unwrap_or(0), libc::SIGUSR1);
        2 + i32::from(sent.is_err())
    });
    equal("a_handler_without_a_stack_ends_the_process", ended, Ok(Ended::Signal(libc::SIGSEGV)));
    ok("and_the_system_goes_on");
}
