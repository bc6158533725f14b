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
    let expected = HEAD.to_owned() + &CALLS.iter().map(row).collect::<String>();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..").join(FILE);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{FILE} is out of date: UPDATE=1 cargo test -p shikiri-scos-core");
}
