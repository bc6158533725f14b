//! Who says which side ends where: at each step of each side first, then at random ones.

use core::fmt;

use shikiri_object::Queue;
use shikiri_rt::{platform, println};
use shikiri_test_guests::points::Side;
use shikiri_test_guests::port::made;
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure};

use crate::{order, queue_to, report, reports, wait};

struct Stage {
    to: [Queue; 2],
    reports: Queue,
}

pub(crate) fn conduct() {
    match Stage::open() {
        Ok(stage) => {
            case("an_end_at_every_step_is_survived", || stage.every_point());
            case("ends_at_random_steps_are_survived", || stage.random_points());
        }
        Err(failure) => case("opened", || Err(failure)),
    }
    done()
}

impl Stage {
    fn open() -> Result<Self, Failure> {
        let stage =
            Self { to: [queue_to(Side::Client)?, queue_to(Side::Server)?], reports: reports()? };
        for _ in Side::BOTH {
            stage.hear(report::HELLO)?;
        }
        Ok(stage)
    }

    fn tell(&self, side: Side, order: [u64; 3]) -> Outcome {
        let queue = &self.to[side as usize];
        ensure("room", made(queue.try_send(order))?)
    }

    /// Waits for a report of this kind; its side and its last word.
    fn hear(&self, kind: u64) -> Result<(u64, u64), Failure> {
        let mut heard = None;
        wait("no report", || {
            heard = made(self.reports.try_receive())?;
            Ok(heard.is_some())
        })?;
        match heard {
            Some([side, found, value]) if found == kind => Ok((side, value)),
            other => {
                Err(Failure { what: "a report", got: other.unwrap_or_default()[1], want: kind })
            }
        }
    }

    fn every_point(&self) -> Outcome {
        for side in Side::BOTH {
            for step in 0..=side.steps().len() {
                let survived = self.point(side, step, 0)?;
                match side.steps().get(step) {
                    Some(next) => println!("point {side:?} {step}: before {next:?}: {survived}"),
                    None => println!("point {side:?} {step}: behind the last: {survived}"),
                }
            }
        }
        Ok(())
    }

    fn random_points(&self) -> Outcome {
        let seed = platform::number_of("seed").unwrap_or(1);
        let ends = platform::number_of("ends").unwrap_or(10);
        println!("seed {seed}, {ends} ends");
        let mut random = Random::new(seed);
        for _ in 0..ends {
            let side = random.pick(&Side::BOTH);
            let step = random.below(side.steps().len() as u64 + 1) as usize;
            let seed = random.bits() | 1;
            let survived = self.point(side, step, seed);
            if survived.is_err() {
                println!("{side:?} {step}, {seed:#x}");
            }
            survived?;
        }
        Ok(())
    }

    /// Has `victim` end at a step while the other side plays; then both play all of it. Answers what the other side noticed.
    fn point(&self, victim: Side, step: usize, seed: u64) -> Result<Survived, Failure> {
        let other = victim.other();
        self.tell(victim, [order::DIE, step as u64, seed])?;
        self.tell(other, [order::SURVIVE, 0, seed.rotate_left(32)])?;
        let (_, ended_at) = self.hear(report::ENDS)?;
        self.hear(report::HELLO)?;
        self.tell(other, [order::ENOUGH, ended_at, 0])?;
        let (_, survived) = self.hear(report::SURVIVED)?;
        for side in Side::BOTH {
            self.tell(side, [order::PLAY, 0, seed])?;
        }
        for _ in Side::BOTH {
            self.hear(report::PLAYED)?;
        }
        Ok(Survived(survived))
    }
}

/// What a survivor reports.
struct Survived(u64);

impl fmt::Display for Survived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 & report::NEVER {
            report::NEVER => write!(f, "not noticed")?,
            step => write!(f, "noticed at {step}")?,
        }
        match self.0 >> report::TOLD {
            report::NOTHING_TOLD => write!(f, ", nothing to tell"),
            us => write!(f, ", told after {us} us"),
        }
    }
}
