//! When there is no room. The server does not look at the channel while it holds a message; requests let it go on.

use shikiri_channel::{Area, AreaClass, Channel, NotConnected, Ticks, Why, block_on};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure};

use crate::tools::{
    SECOND_PORT, charged_back, connect, made, patience, port, sent, server, service, windows,
};

fn area(byte: u8) -> Result<Area, Failure> {
    let mut area = made(Area::alloc(windows()?, AreaClass::Page, 1))?;
    area.fill(byte);
    Ok(area)
}

/// Makes a request that is refused.
fn go_on() -> Outcome {
    match port(AreaClass::Page, SECOND_PORT)?.connect(server(), service::NO, 0) {
        Err((_, NotConnected::Refused)) => Ok(()),
        _ => ensure("refused", false),
    }
}

/// Tries to send in vain; the area comes back.
fn in_vain(channel: &Channel, area: Area) -> Result<Area, Failure> {
    let handle = area.handle();
    let Err(back) = channel.send_until(area, [0; 3], Ticks::from_now_us(1000)) else {
        return Err(Failure { what: "there is room", got: 1, want: 0 });
    };
    ensure("why", back.why == Why::Full)?;
    ensure("the area is the same", back.cargo.handle() == handle && back.cargo[..] == [9])?;
    Ok(back.cargo)
}

/// One message is held, and four wait.
pub(crate) fn full() -> Outcome {
    charged_back(|| {
        let channel = connect(service::HOLD, AreaClass::Page)?;
        for _ in 0..5 {
            sent(channel.send_until((), [0; 3], patience()))?;
        }
        let mut last = area(9)?;
        for _ in 0..3 {
            last = in_vain(&channel, last)?;
        }
        go_on()?;
        last = in_vain(&channel, last)?;
        let asked = port(AreaClass::Page, SECOND_PORT)?.ask(server(), service::NO, 0);
        ensure("asked", asked.is_ok())?;
        // Blocking: woken by the event.
        sent(channel.send(last, [0; 3]))
    })
}

/// The server's window has two slots, the one of a message that it holds and that of one that waits. It drops the first without
/// looking at the channel.
pub(crate) fn slot() -> Outcome {
    charged_back(|| {
        let channel = with_two_areas()?;
        let third = in_vain(&channel, area(9)?)?;
        go_on()?;
        sent(channel.send_until(third, [0; 3], patience()))
    })
}

pub(crate) fn future() -> Outcome {
    charged_back(|| {
        let channel = with_two_areas()?;
        let third = in_vain(&channel, area(9)?)?;
        go_on()?;
        sent(block_on(channel.sent(third, [0; 3])))
    })
}

fn with_two_areas() -> Result<Channel, Failure> {
    let channel = connect(service::HOLD, AreaClass::Page)?;
    for byte in 0..2 {
        sent(channel.send_until(area(byte)?, [0; 3], patience()))?;
    }
    Ok(channel)
}
