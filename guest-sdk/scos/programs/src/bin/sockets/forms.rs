//! Areas in all forms, and what becomes of what still has one that has gone (C7, C8, C8b).

use std::fs::{self, File};
use std::io::{Error, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use shikiri_scos_programs::os::Ended;
use shikiri_scos_programs::report::{equal, holds, ok};
use shikiri_scos_programs::socket::{
    FILE, KERNEL, MAPPING, Message, apart, map, peek, poke, poll, unmap,
};

use crate::other::Other;
use crate::{
    ECHO, Guests, IN, Outcome, QUIET, SEND, SHORT, SIGBUS, SIGSEGV, come, number, open, sent_by,
    tell,
};

pub(crate) fn files(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    // Nothing has been sent yet: the read waits.
    let message = sent_by(guest)?;
    equal("short", message.short, [11, 12, 13]);
    equal("bytes", message.bytes, 8);
    let mut file = open(&message.name)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    equal("read", text.as_str(), "question");
    equal("its length", file.metadata()?.len(), 8);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(b"my answer")?;
    drop(file);
    guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() })?;
    equal("the file has disappeared", number(open(&message.name)), Some(libc::ENOENT));
    let back = come(guest)?;
    equal("what the guest has made of it", fs::read(&back.name)?, b"ny answer".to_vec());
    // It waits already: the read does not.
    tell(guest, SHORT)?;
    equal("poll", poll(&[(guest.number(), IN)], None)?, vec![IN]);
    equal("short alone", come(guest)?, Message::short([33, 0, 0]));
    fs::remove_file(&back.name)?;
    equal("unlinked", number(open(&back.name)), Some(libc::ENOENT));
    // More than the window has slots, one after another: each discarded makes room.
    for _ in 0..10 {
        fs::remove_file(sent_by(guest)?.name)?;
    }
    ok("ten areas through a window of four");
    Ok(())
}

pub(crate) fn mappings(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    guest.set_form(MAPPING)?;
    // It waits already: the read does not.
    tell(guest, SEND)?;
    equal("an area waits", poll(&[(guest.number(), IN)], None)?, vec![IN]);
    let message = come(guest)?;
    equal("and is mapped", (message.bytes, peek(message.address)), (8, b'q'));
    guest.send(&Message { short: [QUIET, 0, 0], ..message })?;
    let message = sent_by(guest)?;
    equal("bytes", message.bytes, 8);
    let text: Vec<u8> = (0..8).map(|at| peek(message.address + at)).collect();
    equal("in place", text, b"question".to_vec());
    poke(message.address, b'Q');
    // The kernel copies from it, too.
    let mut copy = File::create("/tmp/copy")?;
    copy.write_all(&[peek(message.address)])?;
    guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() })?;
    let stale = apart(|| {
        std::hint::black_box(peek(message.address));
    })?;
    equal("a child does not have it", stale, SIGSEGV);
    let back = come(guest)?;
    equal("sent back changed", peek(back.address), b'R');
    unmap(back.address, 4096)?;
    let next = sent_by(guest)?;
    equal("discarded by unmapping", peek(next.address), b'q');
    unmap(next.address, 4096)?;
    // More than there are places for: what is sent leaves its place.
    for round in 0..600_u64 {
        let message = sent_by(guest)?;
        if peek(message.address) != b'q' {
            return Err(Error::other(format!("no question in round {round}")));
        }
        guest.send(&Message { short: [QUIET, 0, 0], ..message })?;
    }
    ok("six hundred areas, each where the others were");
    equal("no area is mapped there", number(guest.send(&next)), Some(libc::EINVAL));
    guest.set_form(FILE)
}

pub(crate) fn kernels(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    guest.set_form(KERNEL)?;
    let message = sent_by(guest)?;
    holds("a number", message.area != 0 && message.address == 0 && message.name.is_empty());
    guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() })?;
    equal("spent", number(guest.send(&message)), Some(libc::EINVAL));
    let back = come(guest)?;
    guest.send(&Message { short: [ECHO, 0, 0], ..back })?;
    guest.set_form(FILE)?;
    let back = come(guest)?;
    equal("twice through the guest", fs::read(&back.name)?, b"suestion".to_vec());
    fs::remove_file(back.name)
}

pub(crate) fn gone(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    let message = sent_by(guest)?;
    let file = open(&message.name)?;
    let name = message.name.clone();
    let child = apart(|| {
        let Ok(address) = map(&file, 0, 4096) else { std::process::exit(1) };
        if peek(address) != b'q' || fs::remove_file(&name).is_err() {
            std::process::exit(1);
        }
        std::hint::black_box(peek(address));
    })?;
    equal("unlinked while it is mapped", child, SIGBUS);
    equal("unlinked while it is open", number(file.read_at(&mut [0; 4], 0)), Some(libc::ESTALE));
    equal("nor written", number(file.write_at(b"x", 0)), Some(libc::ESTALE));
    let message = sent_by(guest)?;
    let file = open(&message.name)?;
    let child = apart(|| {
        let Ok(address) = map(&file, 0, 4096) else { std::process::exit(1) };
        poke(address, b'a');
        let is_sent = guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() });
        if is_sent.is_err() {
            std::process::exit(1);
        }
        poke(address, b'b');
    })?;
    equal("sent while it is mapped", child, SIGBUS);
    equal("sent while it is open", number(file.read_at(&mut [0; 4], 0)), Some(libc::ESTALE));
    let back = come(guest)?;
    equal("what was written before", fs::read(&back.name)?, b"buestion".to_vec());
    fs::remove_file(back.name)?;
    let child = apart(|| {
        let sent = guest.set_form(MAPPING).and_then(|()| sent_by(guest)).and_then(|message| {
            guest.send(&Message { short: [ECHO, 0, 0], ..message.clone() }).map(|()| message)
        });
        let Ok(message) = sent else { std::process::exit(1) };
        std::hint::black_box(peek(message.address));
    })?;
    equal("unmapped by being sent", child, SIGSEGV);
    let back = come(guest)?;
    equal("what came back is mapped here", peek(back.address), b'r');
    unmap(back.address, 4096)?;
    guest.set_form(FILE)
}

/// Another process has it mapped, and waits: its calls with such addresses are EFAULT from then on, and its accesses SIGBUS.
pub(crate) fn gone_elsewhere(guests: &Guests) -> Outcome {
    let guest = &guests.one;
    let message = sent_by(guest)?;
    let file = open(&message.name)?;
    let others = [Other::mapping(&file, 4096)?, Other::mapping(&file, 4096)?];
    fs::remove_file(&message.name)?;
    for other in others {
        equal("unlinked while another process has it", other.look()?, Ended::Signal(SIGBUS));
    }
    let message = sent_by(guest)?;
    let file = open(&message.name)?;
    let other = Other::mapping(&file, 4096)?;
    guest.send(&Message { short: [ECHO, 0, 0], ..message })?;
    equal("sent while another process has it", other.look()?, Ended::Signal(SIGBUS));
    let back = come(guest)?;
    equal("the guest has it", fs::read(&back.name)?, b"ruestion".to_vec());
    fs::remove_file(back.name)
}

pub(crate) fn originated(guests: &Guests) -> Outcome {
    let guest = &guests.two;
    let message = guest.make(5)?;
    open(&message.name)?.write_all(b"hello")?;
    guest.send(&Message { short: [ECHO, 0, 0], ..message })?;
    let back = come(guest)?;
    equal("a new file", fs::read(&back.name)?, b"iello".to_vec());
    fs::remove_file(back.name)?;
    guest.set_form(MAPPING)?;
    let message = guest.make(4096)?;
    equal("cleared", peek(message.address + 4095), 0);
    poke(message.address, 7);
    guest.send(&Message { short: [ECHO, 0, 0], bytes: 1, ..message })?;
    let back = come(guest)?;
    equal("a new mapping", (peek(back.address), back.bytes), (8, 1));
    unmap(back.address, 4096)?;
    equal("more than its class has", number(guest.make(4097)), Some(libc::EMSGSIZE));
    guest.set_form(FILE)
}
