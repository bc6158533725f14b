//! The owner: makes and offers areas, answers requests, and does what the first area's words tell it.

use core::sync::atomic::{Ordering, fence};

use shikiri_abi::{AreaClass, Ipa};
use shikiri_rt::hvc::message::{self, Area};
use shikiri_rt::hvc::shared::{self, Access};
use shikiri_rt::hvc::talk::{self, Handle, Signal};
use shikiri_rt::{platform, power, println, reg};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, equal};

use crate::tools::{
    AGAIN, ANSWER, ARGUMENT, COMMAND, CONTROL, DONE, END, EVENTS, FIXED_BOARD, FIXED_TABLE, KEEP,
    LEAVE, LOOK, PRESS, PUT, READ, RESULT, REVOKE, REVOKE_CALL, VALUE, WITHDRAW, WITHDRAW_CALL,
    WRITE, events, hog_the_lock, made, press, set, take_events, told, wait, without_waiting, word,
};
use shikiri_test_guests::taken;

/// Serves for ever.
pub(crate) fn serve() {
    if platform::has_word("fixed")
        && let Err(Failure { what, got, want }) = count_starts()
    {
        println!("FAIL owner: {what}: {got:#x}, not {want:#x}");
        return;
    }
    if let Err(Failure { what, got, want }) = Owner::new().and_then(|mut owner| owner.serve()) {
        println!("FAIL owner: {what}: {got:#x}, not {want:#x}");
    }
}

/// Counts its starts in one area of the description, and ends when the other one says that it was seen.
fn count_starts() -> Outcome {
    let there = |handle| {
        let state = made(shared::state(handle))?;
        state.ok_or(Failure { what: "no area", got: 0, want: 1 })
    };
    let board = there(FIXED_BOARD)?;
    let last = there(FIXED_TABLE)?.address.wrapping_add(0x2ff8);
    let start = word(last)? + 1;
    set(last, start)?;
    wait("seen", || Ok(word(board.address)? == start))?;
    power::off()
}

struct Owner {
    user: u8,
    control: Area,
    /// What is offered besides, and its events.
    area: Option<(Area, Handle)>,
    /// A request that is not answered.
    kept: Option<Handle>,
    /// The last command that was done.
    done: u64,
    answer: u64,
}

impl Owner {
    fn new() -> Result<Self, Failure> {
        let user = platform::number_of("user").unwrap_or(1) as u8;
        if platform::has_word("busy") {
            hog_the_lock();
        }
        let control = made(message::alloc(4096, AreaClass::Page))?;
        made(taken::offer(control.handle, None))?;
        Ok(Self { user, control, area: None, kept: None, done: 0, answer: 0 })
    }

    fn serve(&mut self) -> Outcome {
        loop {
            if let Ok(signal) = talk::take_signal() {
                self.answer(signal)?;
            }
            let command = word(self.word(COMMAND))?;
            if command != self.done {
                fence(Ordering::Acquire);
                let result = self.carry_out(command)?;
                set(self.word(RESULT), result)?;
                fence(Ordering::Release);
                set(self.word(DONE), command)?;
                self.done = command;
            } else {
                reg::yield_now();
            }
        }
    }

    fn word(&self, word: u64) -> Ipa {
        self.control.address.wrapping_add(word)
    }

    fn answer(&mut self, signal: Signal) -> Outcome {
        if signal.service == KEEP {
            // The one before is withdrawn, or refused now.
            return self
                .kept
                .replace(signal.request)
                .map_or(Ok(()), |former| made(talk::refuse(former)));
        }
        let access = if signal.service == READ { Access::ReadOnly } else { Access::ReadWrite };
        let area = match signal.service {
            CONTROL => self.control.handle,
            READ | WRITE => self.offered(signal.word)?,
            AGAIN => self.area.map_or(Handle(0), |(area, _)| area.handle),
            _ => Handle(0),
        };
        self.answer = 0;
        if let Err(refusal) = shared::accept(signal.request, area, access) {
            self.answer = refusal.code as u64;
            made(talk::refuse(signal.request))?;
        }
        Ok(())
    }

    /// The area that is offered; made, of `bytes` in the lower half of the word and of a class in the upper one, if there is none.
    fn offered(&mut self, word: u64) -> Result<Handle, Failure> {
        if let Some((area, _)) = self.area {
            return Ok(area.handle);
        }
        let class = AreaClass::from_code(word >> 32).unwrap_or(AreaClass::Page);
        let area = made(message::alloc(word & 0xffff_ffff, class))?;
        let events = events()?;
        made(taken::offer(area.handle, Some(events)))?;
        self.area = Some((area, events));
        Ok(area.handle)
    }

    fn carry_out(&mut self, command: u64) -> Result<u64, Failure> {
        let at = word(self.word(ARGUMENT))?;
        let value = word(self.word(VALUE))?;
        if command & 0xff == ANSWER {
            return Ok(self.answer);
        }
        if command & 0xff == END {
            power::off();
        }
        if command & 0xff == PRESS {
            let again = shikiri_abi::Status::Again.code() as u64;
            return Ok((0..5).filter(|_| press(self.user) == again).count() as u64);
        }
        if command & 0xff == EVENTS {
            take_events();
            return Ok(told());
        }
        let Some((area, events)) = self.area else { return Ok(1) };
        let there = area.address.wrapping_add(at);
        match command & 0xff {
            LOOK => word(there),
            PUT => set(there, value).map(|()| 0),
            REVOKE => Ok(without_waiting(REVOKE_CALL, [area.handle.0, u64::from(self.user)])),
            WITHDRAW => {
                equal("withdrawn", without_waiting(WITHDRAW_CALL, [area.handle.0, 0]), 0)?;
                let last = word(there)?;
                made(taken::free(area.handle))?;
                made(talk::close(events))?;
                self.area = None;
                Ok(last)
            }
            LEAVE => {
                made(taken::detach(area.handle))?;
                made(talk::close(events))?;
                self.area = None;
                Ok(0)
            }
            _ => Ok(1),
        }
    }
}
