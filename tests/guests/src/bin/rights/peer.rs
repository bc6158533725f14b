//! The other end of everything: it accepts what it is asked for, and tells what it notices.

use shikiri_abi::{AreaClass, SignalKind, Status};
use shikiri_object::{Event, Queue};
use shikiri_rt::event::take_signal;
use shikiri_rt::hvc::shared::{self, Access};
use shikiri_rt::hvc::talk::{self, Handle, Signal, State};
use shikiri_rt::hvc::{message, partition::Refusal};
use shikiri_rt::{platform, reg};
use shikiri_test_guests::port::{Port, made, word};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, taken};

use crate::{DEPTH, noticed, page, service};

const CHANNEL: u32 = 70;
const MOST: usize = 8;

/// A receive port of its own.
#[derive(Clone, Copy)]
struct Ear {
    port: Handle,
    closes: bool,
}

struct Peer {
    log: Queue,
    turn: Event,
    ears: [Option<Ear>; MOST],
    /// Its own request.
    asking: Option<Handle>,
    port: Port,
    was_connected: bool,
    area: message::Area,
    last: u64,
}

/// Serves for ever.
pub(crate) fn serve() -> Outcome {
    let mut port = Port::new(AreaClass::Page, 1, CHANNEL)?;
    port.post(4)?;
    let area = page()?;
    made(taken::offer(area.handle, None))?;
    let mut peer = Peer {
        log: made(Queue::open("log", DEPTH))?,
        turn: made(Event::open("turn"))?,
        ears: [None; MOST],
        asking: None,
        port,
        was_connected: false,
        area,
        last: 0,
    };
    loop {
        while let Some(signal) = made(take_signal())? {
            made(peer.answer(&signal))?;
        }
        peer.look()?;
        reg::yield_now();
    }
}

impl Peer {
    fn answer(&mut self, signal: &Signal) -> Result<(), Refusal> {
        match signal.kind {
            Some(SignalKind::ChannelConnect) => message::accept(signal.request, self.port.handle),
            Some(SignalKind::AreaAttach) => {
                shared::accept(signal.request, self.area.handle, Access::ReadWrite)
            }
            Some(SignalKind::EventConnect) if signal.service == service::ASK => {
                talk::refuse(signal.request)?;
                let port = talk::create_send()?;
                self.asking = Some(port);
                let holder = platform::number_of("holder").unwrap_or(0) as u8;
                talk::ask(port, holder, service::STAY, 0)
            }
            Some(SignalKind::EventConnect) | None => {
                let port = talk::create_receive()?;
                match talk::accept(signal.request, port) {
                    Ok(()) => {}
                    // It has been withdrawn since it was taken.
                    Err(refusal) if refusal.status() == Some(Status::PeerGone) => {
                        talk::close(signal.request)?;
                        return talk::close(port);
                    }
                    Err(refusal) => return Err(refusal),
                }
                let closes = signal.service == service::CLOSE;
                if let Some(place) = self.ears.iter_mut().find(|place| place.is_none()) {
                    *place = Some(Ear { port, closes });
                }
                Ok(())
            }
        }
    }

    /// Tells all that has become different.
    fn look(&mut self) -> Outcome {
        for (number, place) in self.ears.iter_mut().enumerate() {
            let Some(Ear { port, closes }) = *place else { continue };
            if made(talk::poll(port))? {
                if closes {
                    made(talk::close(port))?;
                    *place = None;
                }
                tell(&self.log, noticed::EVENT, number as u64)?;
            }
        }
        if let Some(message) = self.port.receive()? {
            self.port.post(1)?;
            tell(&self.log, noticed::MESSAGE, message.short[0])?;
        }
        let is_connected = self.port.is_connected()?;
        if core::mem::replace(&mut self.was_connected, is_connected) && !is_connected {
            tell(&self.log, noticed::GONE, 0)?;
        }
        let now = word(self.area.address)?;
        if core::mem::replace(&mut self.last, now) != now {
            tell(&self.log, noticed::WORD, now)?;
        }
        if made(self.turn.try_wait())? {
            tell(&self.log, noticed::TURN, 0)?;
        }
        if let Some(port) = self.asking {
            let state = talk::state(port);
            if state != Ok(State::Asked) {
                self.asking = None;
                tell(&self.log, noticed::ANSWER, u64::from(state == Ok(State::Connected)))?;
            }
        }
        Ok(())
    }
}

fn tell(log: &Queue, what: u64, value: u64) -> Outcome {
    if made(log.try_send([what, value, 0]))? {
        return Ok(());
    }
    Err(Failure { what: "the log is full", got: what, want: 0 })
}
