//! The reference page of the system calls is what the table says. `UPDATE=1 cargo test -p shikiri-scos-core` writes it anew.

use std::path::PathBuf;

use shikiri_scos_core::calls::{CALLS, Call};

const FILE: &str = "hyp/doc/scos-syscalls.md";

const HEAD: &str = "\
# System calls of the system control OS

This page is generated from the table of calls (`guest-sdk/scos/core/src/calls.rs`): `UPDATE=1 cargo test -p shikiri-scos-core` writes
it, and that crate's tests fail when it is out of date. What the OS is: [scos.md](scos.md).

Numbers, arguments, structures, flags and errors are Linux's for AArch64: section 2 of Linux's manual describes each call. `SVC #0`,
number in `x8`, arguments in `x0` to `x5`, answer in `x0`: a negative error (−1 to −133), or a value. All other registers are kept. What is
not in this table is ENOSYS.

The kinds of argument: *path*, *in* (read by the kernel) and *out* (written) are addresses, and a bad one is EFAULT; *fd* and *dirfd* are
descriptors, *address* is an address that is not copied from or to, *number* is anything else. A note says where a call does less than
Linux's. The file of the kernel that does a call is `guest-sdk/scos/kernel/src/calls/TOPIC.rs`.

";

const LIMITS: &str = "
## What one process can have the kernel hold

No process can use up the kernel's heap, a quarter of the partition's memory: all that is there for one is limited, and the rest is enough for
others ([0084](decisions/0084-a-process-has-a-part-of-the-kernels-memory.md)). The limits of the whole system are larger than those of one
process; only several together reach them.

| what | of one process | of all | beyond it |
|---|--:|--:|---|
| descriptors | 256, up to 1024 by RLIMIT_NOFILE | | EMFILE |
| descriptions: what is open, pipes, timers, counters, lists, sockets | 1024, as many as descriptors | 2048 | ENFILE |
| bytes of its pipes and pairs of sockets of more than 4 KiB each (as Linux's pipe-user-pages-soft) | 1 MiB | | its new ones hold 4 KiB; F_SETPIPE_SZ is EPERM |
| descriptors that its lists of `epoll` watch | 2048 | 4096 | ENOSPC |
| threads | 64 | 400 | EAGAIN |
| what its waiting threads wait for: an end of a pipe, a counter, a socket's direction; up to 64 of a thread are free | 8192 | | ENOMEM |
| areas of its memory | 1024 | | ENOMEM |
| mappings of message areas | 512 | | ENOMEM |
| what `ps` is told of its arguments | 1 KiB | | the rest is not told |
| processes | | 200 | EAGAIN |
| contents of files and targets of symbolic links | | half of the heap | ENOSPC |
| names of files | | one for each 8 KiB of the heap, 608 of them kept for `/proc` | ENOSPC |
| requests that wait at a listening socket | 64 each | the partition's `requests` | the asker is refused |
| connections and message areas | | the partition's `handles` and `areas` | ENOBUFS |

Who makes a pipe, a pair or a list pays for it as long as it is there, whoever has it then. Files are nobody's: as on Linux's tmpfs, whoever fills `/tmp` has
others find it full; `/proc` has its own place. Whatever the limits, a call that the heap has no room for is ENOMEM before it starts.
";

const TABLE: &str = "
## The calls

| number | call | arguments | topic | note |
|---|---|---|---|---|
";

fn row(call: &Call) -> String {
    let arguments: Vec<&str> = call.arguments.iter().map(|kind| kind.name()).collect();
    format!(
        "| {} | `{}` | {} | {} | {} |\n",
        call.number,
        call.name,
        arguments.join(", "),
        call.topic,
        call.note
    )
}

#[test]
fn the_reference_page_is_what_the_table_says() {
    let rows: String = CALLS.iter().map(row).collect();
    let expected = [HEAD.trim_end(), "\n", LIMITS, TABLE, &rows].concat();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..").join(FILE);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{FILE} is out of date: UPDATE=1 cargo test -p shikiri-scos-core");
}
