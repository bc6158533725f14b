//! A policy program that goes wild: its calls with arguments that fit, nearly fit, or are anything. Whatever they do to the partitions that it
//! governs, the hypervisor, its books and those that it does not touch stay as they are.
//!
//! Command line: `seed=N`, `steps=N` (default 2000). It stops neither itself nor the witness beside it.

use shikiri_abi::{CALLS, PartitionRef, Resource};
use shikiri_policy::{Partition, State, core_left, handout, take_notice};
use shikiri_rt::hvc::talk;
use shikiri_rt::{platform, println};
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::tools::{made, wait};

/// Its own place, and the witness's.
const OWN: u64 = 0;
const WITNESS: u64 = 1;
const PLACES: u64 = 10;
/// Whose device is given away.
const OWNER: u8 = 2;
const CORES: u8 = 3;

const START: u32 = 0x104;
const STOP: u32 = 0x105;
const RESTART: u32 = 0x106;
const PAUSE: u32 = 0x107;

/// The books that must be as before.
#[derive(Clone, Copy, PartialEq)]
struct Books {
    cores: [u64; CORES as usize],
    given: [u64; 8],
}

fn books() -> Result<Books, Failure> {
    let mut books = Books { cores: [0; CORES as usize], given: [0; 8] };
    for (core, left) in (0..).zip(&mut books.cores) {
        *left = made(core_left(core))?;
    }
    for (resource, given) in Resource::ALL.into_iter().zip(&mut books.given) {
        *given = made(handout(resource))?.1;
    }
    Ok(books)
}

pub(crate) fn hostile() -> ! {
    case("whatever_a_policy_program_asks_the_books_are_right_afterwards", || {
        let seed = platform::number_of("seed").unwrap_or(1);
        let steps = platform::number_of("steps").unwrap_or(2000);
        println!("hostile policy: seed {seed}, {steps} steps");
        let before = books()?;
        let mut attack = Attack {
            random: Random::new(seed),
            port: made(talk::create_receive())?.0,
            done: [0; 64],
        };
        for _ in 0..steps {
            attack.step();
        }
        for row in CALLS.iter().filter(|row| row.number >= 0x100) {
            let done = attack.done[(row.number & 63) as usize];
            println!("hostile policy: {} {done}", row.name);
        }
        for number in [0x103, 0x104, STOP, 0x110, 0x111, 0x112, 0x11d, 0x11e] {
            ensure("it was in the middle of things", attack.done[number as usize & 63] > 0)?;
        }
        clear()?;
        ensure("no trace", books()? == before)?;
        equal("nobody was made", Partition::all().filter(is_made).count() as u64, 0)
    });
    done()
}

fn is_made(partition: &Partition) -> bool {
    partition.status().is_ok_and(|status| status.is_made)
}

/// Ends all that was started, destroys all that was made, and takes back what was given to others.
fn clear() -> Outcome {
    for partition in Partition::all().skip(2) {
        wait("its end", || {
            let Some(now) = made(Partition::at(partition.who().place.0))? else { return Ok(true) };
            match now.status() {
                Ok(status) if matches!(status.state, State::Created | State::Leaving) => {
                    Ok(now.destroy().is_ok())
                }
                Ok(status) if status.state == State::Ended && !status.restarts => {
                    Ok(!status.is_made || now.destroy().is_ok())
                }
                _ => {
                    let _stopped = now.stop();
                    Ok(false)
                }
            }
        })?;
    }
    for partition in Partition::all() {
        for resource in Resource::ALL {
            // What the description gives is nobody's to take back: without a limit of its own, less is never refused.
            if made(partition.account(resource))?.limit.is_some() {
                made(partition.set_limit(resource, Some(0)))?;
                let _unset = partition.set_limit(resource, None);
            }
        }
    }
    while made(take_notice())?.is_some() {}
    Ok(())
}

struct Attack {
    random: Random,
    port: u64,
    /// How often each call was answered with OK, by the last bits of its number.
    done: [u32; 64],
}

impl Attack {
    fn step(&mut self) {
        match self.random.below(16) {
            0 => self.whole_life(),
            1..=3 => {
                let number = 0x100 + self.random.below(0x100) as u32;
                let mut x = [(); 6].map(|()| self.random.edgy());
                if self.random.below(2) == 0 {
                    x[0] = self.somebody();
                    x[3..].fill(0);
                }
                self.call(number, x);
            }
            _ => self.fitting(),
        }
    }

    /// A call of the table with arguments that could be meant.
    fn fitting(&mut self) {
        let first = CALLS.iter().position(|row| row.number >= 0x100).unwrap_or(0);
        let number = u32::from(self.random.pick(&CALLS[first..]).number);
        let who = self.somebody();
        let [what, address, amount] = [self.random.below(9), self.address(), self.amount()];
        let x = match number {
            0x100 => [self.random.below(70), 0, 0, 0],
            0x101 => [who, self.random.below(3), 0, 0],
            0x102 => [who, what, 0, 0],
            0x103 => [who, what, amount, 0],
            0x104 => [who, self.random.below(3), 0, 0],
            0x116 => [who, self.random.below(2), 0, 0],
            0x109 => [if amount % 2 == 0 { self.port } else { amount }, 0, 0, 0],
            0x10a | 0x120 => [0; 4],
            0x110 => [u64::from(self.random.pick(b"abcd")), 0, 0, 0],
            0x112 => [who, self.random.below(16), self.time(), self.random.below(516)],
            0x113 => [who, address, self.random.below(80) << 12, 0],
            0x114 => [who, self.random.below(4), address, 0],
            0x115 => [who, address, amount, 0],
            0x117 => [who, self.random.below(40), self.random.below(4), 0],
            0x118 => [who, self.somebody(), self.random.below(2), 0],
            0x119 => [who, address, self.address(), self.random.below(0x3000) * 8],
            0x11a => [what, 0, 0, 0],
            0x11e => [who, self.somebody(), self.random.below(3) | self.random.below(2) << 8, 0],
            0x11d => [who, self.random.below(300), self.random.below(6), 0],
            0x11b => [self.random.below(5), self.random.below(4), 0, 0],
            0x11c => [self.random.below(5), 0, 0, 0],
            0x122 | 0x123 => [who, self.random.below(260), 0, 0],
            0x121 => [who, self.random.below(2), amount, self.random.below(9)],
            _ => [who, 0, 0, 0],
        };
        self.call(number, [x[0], x[1], x[2], x[3], 0, 0]);
    }

    /// All that a partition needs, with a step left out now and then.
    fn whole_life(&mut self) {
        let name = u64::from(self.random.pick(b"abcdefgh"));
        let Some(who) = self.call(0x110, [name, 0, 0, 0, 0, 0]) else { return };
        let ram = 0x4000_0000;
        let owner = Partition::at(OWNER).ok().flatten().map_or(0, |it| it.who().encode());
        let steps = [
            (0x103, [who, 2, 64 + self.random.below(64), 0]),
            (0x103, [who, 0, 100_000 + self.random.below(400_000), 0]),
            (0x112, [who, 0b110, self.time(), 1]),
            (0x112, [who, 0b110, self.time(), 2 | self.random.below(2) << 8]),
            (0x113, [who, ram, 64 << 12, 0]),
            (0x114, [who, self.random.below(3), ram, 0]),
            (0x115, [who, ram, 0, 0]),
            (0x116, [who, self.random.below(2), 0, 0]),
            (0x117, [who, self.random.below(9), self.random.below(2), 0]),
            (0x11d, [who, self.random.below(40) | self.random.below(3) << 16, 2 << 16 | 1, 0]),
            (0x11e, [who, owner, self.random.below(2) << 8, 0]),
            (0x104, [who, self.random.below(2), 0, 0]),
        ];
        for (number, [a, b, c, d]) in steps {
            if self.random.below(16) != 0 {
                self.call(number, [a, b, c, d, 0, 0]);
            }
        }
    }

    /// A partition as the calls name it: one that is there, or that was.
    fn somebody(&mut self) -> u64 {
        let place = self.random.below(PLACES);
        let listed = Partition::at(place as u8).ok().flatten();
        let word = listed.map_or(place << 32, |it| PartitionRef::encode(it.who()));
        match self.random.below(12) {
            0 => word.wrapping_sub(1),
            1 => word ^ 1 << self.random.below(64),
            _ => word,
        }
    }

    fn address(&mut self) -> u64 {
        let ram = 0x4000_0000 + (self.random.below(80) << 12);
        match self.random.below(8) {
            0 => self.random.edgy(),
            1 => self.random.pick(&[0x0800_0000, 0x0900_0000, 0x080a_0000, 1 << 40]),
            2 => ram + self.random.below(16),
            _ => ram,
        }
    }

    fn amount(&mut self) -> u64 {
        match self.random.below(4) {
            0 => self.random.edgy(),
            _ => self.random.below(600),
        }
    }

    /// A budget and a period.
    fn time(&mut self) -> u64 {
        match self.random.below(8) {
            0 => 0,
            1 => self.random.edgy(),
            _ => 10_000 << 32 | (50 + self.random.below(3_000)),
        }
    }

    /// Makes a call, unless it would end the attack, or its witness.
    #[expect(unsafe_code, reason = "calls with arguments that no wrapper makes")]
    fn call(&mut self, number: u32, x: [u64; 6]) -> Option<u64> {
        let place = x[0] >> 32 & 0xff;
        let is_spared = match number {
            RESTART if place == u64::from(OWNER) => self.random.below(8) != 0,
            STOP | RESTART => place == OWN || place == WITNESS,
            PAUSE => place == WITNESS,
            // It has ended mostly, so that there is something to give away.
            START => place == u64::from(OWNER) && self.random.below(8) != 0,
            _ => false,
        };
        if is_spared {
            return None;
        }
        let function = u64::from(shikiri_abi::smccc::VENDOR_HYP_FAST64 + number);
        // SAFETY: none of these calls changes this program's memory, starts a vCPU of its own, or ends it.
        let [status, first, ..] = unsafe { shikiri_rt::hvc::raw::hvc(function, x) };
        if status != 0 {
            return None;
        }
        if let Some(done) = self.done.get_mut((number & 63) as usize) {
            *done += 1;
        }
        Some(first)
    }
}
