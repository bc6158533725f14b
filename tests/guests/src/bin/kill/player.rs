//! A side of the channel: takes orders, plays its steps, and says how it went.

use shikiri_object::Queue;
use shikiri_rt::hvc::partition;
use shikiri_rt::reg;
use shikiri_test_guests::points::Side;
use shikiri_test_guests::port::{made, used};
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::{Failure, ensure};

use crate::steps::{Done, Player};
use crate::{order, pause, queue_to, report, reports, told, wait};

/// Takes orders for ever.
pub(crate) fn play(side: Side) {
    let Err(failure) = take_orders(side) else { return };
    fail("player", &failure);
    if let Ok(reports) = reports() {
        let _told = reports.try_send([side as u64, report::FAILED, 0]);
    }
}

fn take_orders(side: Side) -> Outcome {
    let (orders, reports) = (queue_to(side)?, reports()?);
    let tell = |kind, value| ensure("room", made(reports.try_send([side as u64, kind, value]))?);
    tell(report::HELLO, 0)?;
    let before = used()?;
    loop {
        let [order, step, seed] = next(&orders)?;
        let mut player = Player::new(side, Enough { orders: &orders, ended_at: None });
        let last = if order == order::DIE { step as usize } else { side.steps().len() };
        match order {
            order::DIE => {
                // The other side stays: nothing but a step of its own can end this.
                let played = play_until(&mut player, last, seed)?;
                ensure("it comes as far as that", played == Played::All)?;
                tell(report::ENDS, reg::now())?;
                let refusal = partition::end(7);
                return Err(Failure { what: "ended", got: refusal.code as u64, want: 0 });
            }
            order::SURVIVE => {
                let played = play_until(&mut player, last, seed)?;
                wait("the peer's next life", || player.enough.look())?;
                let told = told_after(&player)?;
                player.give_all_back()?;
                ensure("all is refunded", used()? == before)?;
                let noticed = if let Played::Until(step) = played { step } else { report::NEVER };
                tell(report::SURVIVED, told << report::TOLD | noticed)?;
            }
            order::PLAY => {
                let played = play_until(&mut player, last, seed)?;
                ensure("all steps", played == Played::All)?;
                ensure("all is refunded", used()? == before)?;
                tell(report::PLAYED, 0)?;
            }
            _ => {}
        }
    }
}

/// After how many microseconds it was told that its peer has ended, if it had to be.
fn told_after(player: &Player<'_>) -> Result<u64, Failure> {
    let Some(at) = player.check_told()? else { return Ok(report::NOTHING_TOLD) };
    told::in_time(player.enough.ended_at.unwrap_or(at), at)
}

fn next(orders: &Queue) -> Result<[u64; 3], Failure> {
    let mut found = None;
    loop {
        // There is no limit: the other side may be in its next life only in a while.
        if let Some(order) = made(orders.try_receive())? {
            found = Some(order);
        }
        match found {
            Some(order) => return Ok(order),
            None => pause(),
        }
    }
}

/// How far a player came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Played {
    All,
    /// The peer was gone at this step.
    Until(u64),
}

/// Plays the steps below `last`, with a pause before each if there is a seed.
fn play_until(player: &mut Player<'_>, last: usize, seed: u64) -> Result<Played, Failure> {
    let mut random = Random::new(seed);
    for (number, step) in player.side().steps().iter().take(last).enumerate() {
        if seed != 0 {
            for _ in 0..random.below(5000) {
                core::hint::spin_loop();
            }
        }
        if player.step(*step)? == Done::PeerGone {
            return Ok(Played::Until(number as u64));
        }
    }
    Ok(Played::All)
}

/// Whether the conductor has said that the peer has ended, and when that was.
pub(crate) struct Enough<'q> {
    orders: &'q Queue,
    ended_at: Option<u64>,
}

impl Enough<'_> {
    /// Looks, and keeps it in mind.
    pub(crate) fn look(&mut self) -> Result<bool, Failure> {
        if self.ended_at.is_none() {
            self.ended_at = match made(self.orders.try_receive())? {
                None => None,
                Some([order, at, _]) if order == order::ENOUGH => Some(at),
                Some([order, ..]) => {
                    return Err(Failure { what: "an order", got: order, want: order::ENOUGH });
                }
            };
        }
        Ok(self.ended_at.is_some())
    }
}
