//! What there is to know about the programs in `/bin`, for `help`.

/// A program's page.
#[derive(Debug)]
pub struct Page {
    /// Its name.
    pub name: &'static str,
    /// How it is used, a line for each form.
    pub usage: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What there is to know about it.
    pub page: &'static str,
    /// Whether it tests or measures the system, and is of no use otherwise.
    pub is_test: bool,
}

/// One for who uses the system.
const fn program(
    name: &'static str,
    usage: &'static str,
    summary: &'static str,
    page: &'static str,
) -> Page {
    Page { name, usage, summary, page, is_test: false }
}

/// One that tests or measures the system.
const fn test(
    name: &'static str,
    usage: &'static str,
    summary: &'static str,
    page: &'static str,
) -> Page {
    Page { name, usage, summary, page, is_test: true }
}

/// All programs that come with the system, by name.
pub const PROGRAMS: &[Page] = &[
    program(
        "cat",
        "cat [FILE …]",
        "copy files, or what is typed",
        "Writes the files one behind the other; without any, its input up to ^D. `cat > FILE` writes a file.",
    ),
    test(
        "check",
        "check TOPIC …",
        "check from inside that the system does what Linux does",
        "Topics: processes turns files epoll time threads signals faults memory pointers, and with the policy capability door takes answers listens.
Each line says ok or FAIL. `takes` takes a request of a partition and ends without an answer, `answers` grants half of one.",
    ),
    test(
        "chello",
        "chello [WORD …]",
        "say hello from C",
        "A static C program for Linux, built with the cross compiler and run here unchanged.",
    ),
    test(
        "fuzz",
        "fuzz [SEED [CALLS]]",
        "make random system calls",
        "From a seed, without one from 1: the same seed makes the same calls; without a number 20000. Children make them, each until it ends by what it did.
A partition `echo` that they may ask gets messages of theirs, and must answer in the end. Afterwards programs must run, the memory must be there, and no
partition may be another one than before.",
    ),
    test("hello", "hello [WORD …]", "say hello from Rust", "A std program for Linux's musl, run here unchanged."),
    program(
        "init",
        "init [run=PROGRAM,ARGUMENT,…] [service=PROGRAM,ARGUMENT,…]",
        "the first program",
        "The kernel starts it as /init with the words of the partition's command line. With `run=` it runs that program and ends the partition with it; else
it keeps the policy program (if there is /etc/policy.toml), each service and a shell, and starts again what ends.",
    ),
    program(
        "kill",
        "kill [-SIGNAL] PROCESS …",
        "send a signal to processes",
        "PROCESS is a number, as `ps` shows it, or a program's name, of which all are meant. SIGNAL is a number or HUP INT QUIT KILL USR1 USR2 TERM CONT STOP; without one
it is TERM. What ends is a process of this system: partitions are ended by `part end`.",
    ),
    program(
        "ln",
        "ln TARGET LINK",
        "make a symbolic link",
        "LINK is a new name that stands for the path TARGET, which need not be there. A target is looked up from the folder that the link is in.",
    ),
    program(
        "ls",
        "ls [FOLDER]",
        "list a folder",
        "The names in it, one a line, sorted; without a folder those of the present one. /proc has processes, /areas the message areas that are files now.",
    ),
    program(
        "policyd",
        "policyd [FILE]",
        "the policy at work",
        "Reads a policy, by default /etc/policy.toml, and goes by it: starts partitions in order, answers their requests, starts again what ends. init keeps it, and one runs at
a time: another one is refused. A policy that cannot be read ends it with 2, and init leaves it so.",
    ),
    program(
        "ps",
        "ps",
        "list the processes",
        "Number, parent's number, state (R runs or waits for its turn, S sleeps, T is stopped, Z has ended and its parent was not told), threads, KiB of memory that it has, and
the command. Partitions are listed by `part list`.",
    ),
    test(
        "relay",
        "relay",
        "relay lines between processes over pipes",
        "A C program with poll, non-blocking mode and EINTR, which must print here what it prints on Linux.",
    ),
    program(
        "sh",
        "sh\nsh SCRIPT\nsh -c LINE",
        "this shell",
        "Runs what is typed, a script, or a line. A script ends at its first failure; `… || true` goes on. `help` lists what the shell knows itself.",
    ),
    program(
        "socket-ask",
        "socket-ask PARTITION SERVICE TEXT",
        "ask a service of another partition",
        "Connects to the service, sends the text in a message area, and writes what comes back in it. The other partition must accept (`accept_from`), and this one
be permitted to ask (`connect_to`).",
    ),
    test(
        "socket-bench",
        "socket-bench",
        "measure what messages cost",
        "The rows socket_* of the specification; its other side is the guest `sockets`.",
    ),
    program(
        "socket-echo",
        "socket-echo SERVICE",
        "serve whoever connects",
        "Answers each message with its own area, the first byte counted up, for all clients at once. ^C ends it; the clients are told.",
    ),
    test("socket-peer", "socket-peer", "be the other end of `sockets`", "Does in a second system of this kind what the guest `sockets` does."),
    test(
        "sockets",
        "sockets [peers|loads|made NAME]",
        "check channels to other partitions",
        "Goes through the sequences of sockets, virtual files and mappings with two partitions `one` and `two`; `type two lines` waits for them at the console.
With `peers` these have sockets themselves; `made NAME` does it with one that is made meanwhile, and `loads` runs a program that a guest sends.",
    ),
    program("true", "true", "succeed", "Does nothing, successfully. In the shell its own command of this name is meant."),
];

/// The page of a program.
pub(super) fn page_of(name: &str) -> Option<&'static Page> {
    PROGRAMS.iter().find(|page| page.name == name)
}
