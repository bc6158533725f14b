//! Areas of 2 MiB, which come through a window of their class: 512 pages are mapped, seen, and taken away at once (C8).

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use shikiri_scos_programs::os::Ended;
use shikiri_scos_programs::report::{equal, holds};
use shikiri_scos_programs::socket::{Address, MAPPING, Message, Socket, map, peek, poke, unmap};

use crate::other::{Other, is_gone};
use crate::{CLOSE, ECHO, Guests, LARGE, LARGE_SERVICE, Outcome, SIGBUS, come, number, open, tell};

/// Bytes of an area.
const BYTES: u64 = 2 << 20;
/// Bytes of a page.
const PAGE: u64 = 4096;
/// The class of [`BYTES`].
const BLOCK: u8 = 1;

pub(crate) fn large(guests: &Guests) -> Outcome {
    let listener = Socket::new(0)?;
    listener.bind(Address::service(LARGE_SERVICE))?;
    listener.set_window(2, BLOCK, 4)?;
    equal("its window", listener.window()?, (2, BLOCK, 4));
    equal("no such class", number(listener.set_window(2, 3, 4)), Some(libc::EINVAL));
    listener.listen(1)?;
    tell(&guests.two, LARGE)?;
    let (peer, _) = listener.accept(0)?;
    equal("the window is the listener's", peer.window()?, (2, BLOCK, 4));
    equal("which stays", number(peer.set_window(1, BLOCK, 4)), Some(libc::EISCONN));
    file(&peer)?;
    classes(guests, &peer)?;
    mapping(&peer)
}

/// The area is a file: mapped as a whole and in part, here and in another process, and sent away below all of that.
fn file(peer: &Socket) -> Outcome {
    let message = come(peer)?;
    equal("bytes", message.bytes, BYTES);
    let mut file = open(&message.name)?;
    equal("its length", file.metadata()?.len(), BYTES);
    let address = map(&file, 0, BYTES)?;
    holds(
        "each page has its number",
        (0..BYTES / PAGE).all(|page| number_at(address, page) == page),
    );
    let half = map(&file, BYTES / 2, BYTES / 2)?;
    equal("mapped from its middle on", number_at(half, 0), 256);
    poke(half + BYTES / 2 - 1, 7);
    equal("what is written there", peek(address + BYTES - 1), 7);
    file.seek(SeekFrom::End(-4))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    equal("is in the file", end, vec![0, 0, 0, 7]);
    equal("written over its end", file.write_at(b"ab", BYTES - 1)?, 1);
    let other = Other::mapping(&file, BYTES)?;
    peer.send(&Message { short: [ECHO, 0, 0], ..message })?;
    equal("gone in another process", other.look()?, Ended::Signal(SIGBUS));
    holds("all pages are gone here", is_gone(address, BYTES)? && is_gone(half, BYTES / 2)?);
    equal("and the file", number(file.read_at(&mut [0], 0)), Some(libc::ESTALE));
    unmap(half, BYTES / 2)?;
    unmap(address, BYTES)
}

/// What is of another class than the peer's window is not sent, and stays.
fn classes(guests: &Guests, peer: &Socket) -> Outcome {
    let small = guests.one.make(8)?;
    equal("a page", number(peer.send(&small)), Some(libc::EMSGSIZE));
    equal("it is still there", fs::metadata(&small.name)?.len(), 8);
    fs::remove_file(small.name)?;
    let large = peer.make(BYTES)?;
    equal("a block", number(guests.one.send(&large)), Some(libc::EMSGSIZE));
    equal("more than a block", number(peer.make(BYTES + 1)), Some(libc::EMSGSIZE));
    fs::remove_file(large.name)
}

/// What comes back is mapped, and so is one of this side's own.
fn mapping(peer: &Socket) -> Outcome {
    peer.set_form(MAPPING)?;
    let back = come(peer)?;
    equal("its first byte", (back.bytes, peek(back.address)), (BYTES, 1));
    equal("its last one", peek(back.address + BYTES - 1), b'a');
    let new = peer.make(BYTES)?;
    holds("cleared", (0..BYTES).step_by(61).all(|at| peek(new.address + at) == 0));
    poke(new.address, 40);
    peer.send(&Message { short: [ECHO, 0, 0], ..new.clone() })?;
    holds("unmapped by being sent", is_gone(new.address, BYTES)?);
    let again = come(peer)?;
    equal("and sent back", peek(again.address), 41);
    unmap(back.address, PAGE)?;
    holds("as a whole", is_gone(back.address, BYTES)?);
    peer.send(&Message { short: [CLOSE, 0, 0], ..again })?;
    equal("the end", peer.receive()?, None);
    Ok(())
}

/// The number that the guest has written at the beginning of a page.
fn number_at(address: u64, page: u64) -> u64 {
    let at = address + page * PAGE;
    u64::from(u16::from_le_bytes([peek(at), peek(at + 1)]))
}
