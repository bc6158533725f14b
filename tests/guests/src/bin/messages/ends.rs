//! Refused, withdrawn, closed, ended.

use shikiri_channel::{
    Answer, Area, AreaClass, Channel, NotConnected, PeerGone, Ticks, Why, block_on,
};
use shikiri_rt::reg;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::tools::{
    PORT, came, charged_back, connect, made, patience, port, sent, server, service, windows,
};

/// A channel to a server that is on its way to its end.
fn ending() -> Result<Channel, Failure> {
    let channel = connect(service::SILENT, AreaClass::Page)?;
    sent(channel.send((), [1, 0, 0]))?;
    Ok(channel)
}

pub(crate) fn blocking() -> Outcome {
    charged_back(|| {
        let channel = ending()?;
        ensure("told", channel.receive().is_err())?;
        ensure("not connected", !channel.is_connected())?;
        let Err(back) = channel.send((), [0; 3]) else { return ensure("refused", false) };
        ensure("why", back.why == Why::PeerGone)
    })
}

pub(crate) fn timed() -> Outcome {
    charged_back(|| ensure("told", ending()?.receive_until(patience()).is_err()))
}

pub(crate) fn polling() -> Outcome {
    charged_back(|| {
        let channel = ending()?;
        loop {
            match channel.try_receive() {
                Err(PeerGone) => return Ok(()),
                Ok(message) => ensure("nothing came", message.is_none())?,
            }
            reg::yield_now();
        }
    })
}

pub(crate) fn future() -> Outcome {
    charged_back(|| {
        let channel = ending()?;
        ensure("told", block_on(channel.received()).is_err())
    })
}

/// The server receives nothing, since it waits for the end of the first message; more than the window has room for are sent.
pub(crate) fn sending() -> Outcome {
    charged_back(|| {
        let channel = connect(service::SILENT, AreaClass::Page)?;
        for round in 0_u64.. {
            let mut area = made(Area::alloc(windows()?, AreaClass::Page, 3))?;
            area.fill(6);
            match channel.send(area, [u64::from(round == 3), 0, 0]) {
                Ok(()) => {}
                Err(back) => {
                    ensure("why", back.why == Why::PeerGone)?;
                    return ensure("the area is the same", back.cargo[..] == [6; 3]);
                }
            }
        }
        ensure("it ends", false)
    })
}

/// What the server has sent and nobody has received, when its message is there, or only some of it, or none yet.
pub(crate) fn unread() -> Outcome {
    charged_back(|| {
        for count in [0_u64, 1, 2] {
            let channel = connect(service::ECHO, AreaClass::Page)?;
            for _ in 0..2 {
                let area = made(Area::alloc(windows()?, AreaClass::Page, 9))?;
                sent(channel.send(area, [0; 3]))?;
            }
            for _ in 0..count {
                drop(came(channel.receive())?);
            }
            drop(channel);
        }
        // Both are there for certain: the server has closed its end behind them.
        let channel = connect(service::LEAVE, AreaClass::Page)?;
        for round in 0..2 {
            let area = made(Area::alloc(windows()?, AreaClass::Page, 9))?;
            sent(channel.send(area, [round, 0, 0]))?;
        }
        while channel.is_connected() {
            reg::yield_now();
        }
        drop(channel);
        Ok(())
    })
}

pub(crate) fn refused() -> Outcome {
    charged_back(|| {
        let mut mine = port(AreaClass::Page, PORT)?;
        match mine.connect(server(), service::NO, 0) {
            Err((back, NotConnected::Refused)) => mine = back,
            Err(_) => return ensure("refused for another reason", false),
            Ok(_) => return ensure("connected", false),
        }
        // Nobody may be asked that the description does not name.
        match mine.ask(63, service::ECHO, 0) {
            Err((back, NotConnected::NotAsked(_))) => mine = back,
            _ => return ensure("it may not ask", false),
        }
        let asked = mine.ask(server(), service::LATE, 0).map_err(|(_, why)| why);
        let Ok(asking) = asked else { return ensure("asked", false) };
        let Answer::Open(asking) = asking.wait_until(Ticks::from_now_us(3000)) else {
            return ensure("not answered", false);
        };
        drop(asking);
        // The server looks at the next request.
        let Err((mine, _)) = port(AreaClass::Page, PORT)?.connect(server(), service::NO, 0) else {
            return ensure("refused", false);
        };
        let asked = mine.ask(server(), service::ECHO, 0).map_err(|(_, why)| why);
        let Ok(asking) = asked else { return ensure("asked again", false) };
        let channel = block_on(asking.answered()).map_err(|_| ());
        ensure("a future is answered", channel.is_ok())
    })
}

pub(crate) fn again() -> Outcome {
    charged_back(|| {
        let mut channel = connect(service::CLOSE, AreaClass::Page)?;
        for round in 0..4 {
            // The server's end of this one is closed, or about to be.
            while channel.is_connected() {
                reg::yield_now();
            }
            let Ok(mine) = channel.into_port() else { return ensure("it has gone", false) };
            let service = if round == 3 { service::ECHO } else { service::CLOSE };
            channel = match mine.connect(server(), service, 0) {
                Ok(channel) => channel,
                Err(_) => return ensure("connected again", false),
            };
        }
        sent(channel.send((), [41, 0, 0]))?;
        equal("the answer", came(channel.receive())?.short[0], 42)
    })
}

/// Who asks for the port of a living connection gets the channel back, and what has come is still there.
pub(crate) fn still_there() -> Outcome {
    charged_back(|| {
        let channel = connect(service::ECHO, AreaClass::Page)?;
        let seen = channel.moment();
        sent(channel.send((), [41, 0, 0]))?;
        // The answer has come: nothing else happens here.
        channel.wait_since(seen);
        let Err(channel) = channel.into_port() else { return ensure("connected", false) };
        let message = came(channel.receive_until(patience()))?;
        equal("the answer", message.map_or(0, |message| message.short[0]), 42)
    })
}
