//! A guest that was made while this system ran: it is a peer as others are, with its number, id and name (C6, C10).

use std::fs;

use shikiri_scos_programs::report::{equal, holds};
use shikiri_scos_programs::socket::{Address, Message, PARTITION_ANY, Socket};

use crate::{ECHO, Outcome, SERVE, SERVICE, THEIRS, come, end, number, sent_by, tell};

/// A guest of which no `[[talk]]` says anything.
const STRANGER: &str = "stranger";

/// It asks this side, and then this side asks it, by its name and by its number.
pub(crate) fn check(name: &str) -> Outcome {
    let listener = Socket::new(0)?;
    listener.bind(Address::service(SERVICE))?;
    listener.listen(1)?;
    let (guest, who) = listener.accept(0)?;
    equal("who has asked", who.name().as_str(), name);
    holds("its number and its id", who.partition != PARTITION_ANY && who.id != 0);
    equal("the same again", guest.peer()?, who);
    let message = sent_by(&guest)?;
    equal("what it sends", fs::read(&message.name)?, b"question".to_vec());
    guest.send(&Message { short: [ECHO, 0, 0], ..message })?;
    let back = come(&guest)?;
    equal("what it sends back", fs::read(&back.name)?, b"ruestion".to_vec());
    fs::remove_file(back.name)?;
    let named = Address::of(name, THEIRS);
    let numbered = Address { partition: who.partition, ..Address::service(THEIRS) };
    for address in [named, numbered] {
        tell(&guest, SERVE)?;
        let socket = Socket::new(0)?;
        socket.connect(address)?;
        equal("who was asked", socket.peer()?, Address { service: THEIRS, ..who });
        socket.send(&Message::short([50, 0, 0]))?;
        equal("answered", come(&socket)?.short, [51, 0, 0]);
    }
    // Neither its name nor a number says that it is there.
    for stranger in [Address::of(STRANGER, THEIRS), Address::of("nobody", THEIRS)] {
        let answer = Socket::new(0)?.connect(stranger);
        equal("a stranger's name", number(answer), Some(libc::EHOSTUNREACH));
    }
    for partition in (0..70).filter(|number| *number != who.partition) {
        let answer = Socket::new(0)?.connect(Address { partition, ..Address::service(THEIRS) });
        if number(answer) != Some(libc::EHOSTUNREACH) {
            return Err(std::io::Error::other(format!("{partition} is somebody")));
        }
    }
    end(&guest)
}
