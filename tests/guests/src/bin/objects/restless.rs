//! Partitions that do anything, end at any moment, or never stop.

use shikiri_object::{Counter, Event, Queue, Semaphore, Waiting};
use shikiri_rt::hvc::partition;
use shikiri_rt::{power, println, reg, timer};
use shikiri_test_guests::random::Random;
use shikiri_test_guests::report::{Outcome, fail};
use shikiri_test_guests::{ensure, equal};

use crate::tools::{FIRST, came, made, soon, waiting};

const NAMES: [&str; 4] = ["any/a", "any/b", "any/c", "solo"];

/// Opens, posts, tries, waits to be told, closes and ends: again and again, by the restart policy. Never done.
pub(crate) fn churn() {
    let starts = partition::info().map_or(0, |info| info.starts);
    let mut random = Random::new(starts ^ reg::now());
    let rounds = random.below(60);
    let mut events: [Option<Waiting<Event>>; 4] = [const { None }; 4];
    let mut locks: [Option<Waiting<Semaphore>>; 4] = [const { None }; 4];
    let mut counters: [Option<Counter>; 4] = [const { None }; 4];
    let mut queues: [Option<Queue>; 4] = [const { None }; 4];
    if starts.is_multiple_of(8) {
        println!("churn {starts}");
    }
    for _ in 0..rounds {
        let place = random.below(4) as usize;
        let name = NAMES[random.below(4) as usize];
        let intid = FIRST + place as u32;
        match random.below(12) {
            0 => events[place] = waiting(Event::open(name), intid).ok(),
            1 => locks[place] = waiting(Semaphore::open(name, 1, 2), intid + 4).ok(),
            2 => counters[place] = Counter::open(name, 0, 3).ok(),
            3 => queues[place] = Queue::open(name, 2).ok(),
            4 => drop((events[place].take(), counters[place].take())),
            5 => drop((locks[place].take(), queues[place].take())),
            _ => {
                if let Some(event) = &events[place] {
                    let _may_be_seen = (event.post(), event.try_wait());
                }
                if let Some(lock) = &locks[place]
                    && let Ok(Some(unit)) = lock.try_take()
                {
                    unit.keep();
                }
                if let Some(counter) = &counters[place] {
                    let _may_be_there = (counter.post(), counter.try_take());
                }
                if let Some(queue) = &queues[place] {
                    let _may_be_full = (queue.try_send([1; 3]), queue.try_receive());
                }
            }
        }
    }
    let _refused = partition::end(1);
}

/// Posts as fast as it can, until the other has had enough.
pub(crate) fn flood() {
    let flooding = || -> Outcome {
        let event = made(Event::open("flood"))?;
        let enough = made(Event::open("enough"))?;
        println!("ok flooding");
        while !made(enough.try_wait())? {
            for _ in 0..1000 {
                made(event.post())?;
            }
        }
        Ok(())
    };
    if let Err(failure) = flooding() {
        fail("flood", &failure);
    }
    power::off()
}

/// Is posted to without end, asks for more each time, and goes on with its own work: some rounds of counting.
pub(crate) fn flooded() {
    let working = || -> Outcome {
        let event = waiting(Event::open("flood"), FIRST)?;
        let enough = made(Event::open("enough"))?;
        soon("the first post", || event.try_wait().unwrap_or(false))?;
        for round in 1..=5_u64 {
            let (end, before) = (reg::now() + timer::ticks(20_000), came(FIRST));
            let mut seen = 0_u64;
            while reg::now() < end {
                seen += u64::from(made(event.try_wait())?);
                reg::yield_now();
            }
            let told = came(FIRST) - before;
            ensure("posts came", seen > 0)?;
            println!("ok round {round}, {seen} posts, told {told} times");
        }
        made(enough.post())?;
        equal("its own post", u64::from(made(enough.try_wait())?), 1)
    };
    if let Err(failure) = working() {
        fail("flooded", &failure);
    }
    println!("done");
    power::off()
}
