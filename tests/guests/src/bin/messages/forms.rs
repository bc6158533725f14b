//! The four forms of receiving, and several vCPUs.

use alloc::sync::Arc;
use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Poll;

use shikiri_channel::{Area, AreaClass, Channel, Ticks, Wait, block_on};
use shikiri_rt::{Lock, irq, reg, smp, timer};
use shikiri_test_guests::answers::soon;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::tools::{came, charged_back, connect, made, patience, sent, service, there, windows};

const ROUNDS: u64 = 100;

/// One area goes there and back, again and again.
pub(crate) fn blocking() -> Outcome {
    charged_back(|| {
        let channel = connect(service::ECHO, AreaClass::Page)?;
        let mut area = Some(made(Area::alloc(windows()?, AreaClass::Page, 1))?);
        for round in 0..ROUNDS {
            sent(channel.send(area.take(), [round, 0, 0]))?;
            let message = came(channel.receive())?;
            equal("the round", message.short[0], round + 1)?;
            area = Some(there("the area", message.area)?);
        }
        ensure("each has added one", area.is_some_and(|area| area[..] == [ROUNDS as u8]))
    })
}

pub(crate) fn polling() -> Outcome {
    charged_back(|| {
        let channel = connect(service::ECHO, AreaClass::Page)?;
        for round in 0..ROUNDS {
            sent(channel.try_send((), [round, 0, 0]))?;
            let mut looks = 0_u64;
            // Masked, so that no interrupt helps.
            let message = irq::masked(|| {
                loop {
                    if let Some(found) = channel.try_receive().transpose() {
                        break found;
                    }
                    looks += 1;
                    reg::yield_now();
                }
            });
            equal("the round", came(message)?.short[0], round + 1)?;
        }
        Ok(())
    })
}

pub(crate) fn timed() -> Outcome {
    charged_back(|| {
        let channel = connect(service::SILENT, AreaClass::Page)?;
        let deadline = Ticks::from_now_us(3000);
        ensure("nothing came", came(channel.receive_until(deadline))?.is_none())?;
        ensure("not before the deadline", deadline.is_over())?;
        drop(channel);
        let channel = connect(service::ECHO, AreaClass::Page)?;
        sent(channel.send_until((), [5, 0, 0], patience()))?;
        let message = there("in time", came(channel.receive_until(patience()))?)?;
        equal("the message", message.short[0], 6)
    })
}

/// A sender and a receiver in one vCPU: neither gets far without the other, since the windows are small.
pub(crate) fn futures() -> Outcome {
    charged_back(|| {
        let channel = connect(service::ECHO, AreaClass::Page)?;
        let sender = async {
            for round in 0..ROUNDS {
                let area = made(Area::alloc(windows()?, AreaClass::Page, 1))?;
                sent(channel.sent(area, [round, 0, 0]).await)?;
            }
            Ok(())
        };
        let receiver = async {
            for round in 0..ROUNDS {
                let message = came(channel.received().await)?;
                equal("the round", message.short[0], round + 1)?;
                ensure("its byte", message.area.is_some_and(|area| area[..] == [1]))?;
            }
            Ok(())
        };
        block_on(both(sender, receiver))
    })
}

/// Runs both futures to their ends, side by side.
async fn both(
    first: impl Future<Output = Outcome>,
    second: impl Future<Output = Outcome>,
) -> Outcome {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut first_done, mut second_done) = (None, None);
    core::future::poll_fn(|context| {
        if first_done.is_none()
            && let Poll::Ready(result) = first.as_mut().poll(context)
        {
            first_done = Some(result);
        }
        if second_done.is_none()
            && let Poll::Ready(result) = second.as_mut().poll(context)
        {
            second_done = Some(result);
        }
        match (first_done, second_done) {
            (Some(first), Some(second)) => Poll::Ready(first.and(second)),
            _ => Poll::Pending,
        }
    })
    .await
}

/// What the vCPUs share, how many have come to their end, how many messages they have received, and the sum of what those say.
static SHARED: Lock<Option<Arc<Channel>>> = Lock::new(None);
static ENDED: AtomicU64 = AtomicU64::new(0);
static RECEIVED: AtomicU64 = AtomicU64::new(0);
static SUM: AtomicU64 = AtomicU64::new(0);

pub(crate) fn two_vcpus() -> Outcome {
    if smp::count() < 2 {
        return Ok(());
    }
    charged_back(|| {
        *SHARED.lock() = Some(Arc::new(connect(service::ECHO, AreaClass::Page)?));
        ensure("started", smp::start(1, second).is_ok())?;
        second();
        while ENDED.load(Ordering::Acquire) != 2 {
            reg::yield_now();
        }
        equal("each message once", RECEIVED.load(Ordering::Acquire), 2 * ROUNDS)?;
        equal("and whole", SUM.load(Ordering::Acquire), ROUNDS * (ROUNDS + 1))?;
        *SHARED.lock() = None;
        Ok(())
    })
}

/// As libraries wait that look for themselves.
pub(crate) fn moments() -> Outcome {
    charged_back(|| {
        let channel = connect(service::ECHO, AreaClass::Page)?;
        for round in 0..ROUNDS {
            sent(channel.send((), [round, 0, 0]))?;
            let message = loop {
                let seen = channel.moment();
                if let Some(message) = came(channel.try_receive())? {
                    break message;
                }
                channel.wait_since(seen);
            };
            equal("the round", message.short[0], round + 1)?;
        }
        Ok(())
    })
}

/// Another vCPU waits as libraries do, and the port's own takes no interrupt meanwhile: nothing calls the one that waits.
pub(crate) fn masked_elsewhere() -> Outcome {
    fn wait() {
        let Some(channel) = SHARED.lock().clone() else { return };
        let message = loop {
            let seen = channel.moment();
            match channel.try_receive() {
                Ok(None) => {}
                Ok(Some(message)) => break message,
                Err(_) => return,
            }
            ENDED.store(1, Ordering::Release);
            channel.wait_since(seen);
        };
        SUM.store(message.short[0], Ordering::Release);
        drop(channel);
        ENDED.store(2, Ordering::Release);
    }
    if smp::count() < 2 {
        return Ok(());
    }
    charged_back(|| {
        let channel = Arc::new(connect(service::ECHO, AreaClass::Page)?);
        *SHARED.lock() = Some(channel.clone());
        ENDED.store(0, Ordering::Release);
        soon("started", || smp::start(1, wait).is_ok())?;
        let outcome = irq::masked(|| {
            soon("it waits", || ENDED.load(Ordering::Acquire) == 1)?;
            // Long enough to be asleep.
            timer::spin(20_000);
            sent(channel.try_send((), [41, 0, 0]))?;
            soon("it has the answer", || ENDED.load(Ordering::Acquire) == 2)?;
            equal("the answer", SUM.load(Ordering::Acquire), 42)
        });
        *SHARED.lock() = None;
        channel.wake();
        soon("it has ended", || Arc::strong_count(&channel) == 1)?;
        outcome
    })
}

/// Waits in one way and then in the other; the answer to what was sent before the change may come before it, or after.
pub(crate) fn changing() -> Outcome {
    charged_back(|| {
        let channel = connect(service::ECHO, AreaClass::Page)?;
        for round in 0..ROUNDS {
            let wait = if round % 2 == 0 { Wait::Event } else { Wait::Interrupt };
            sent(channel.send((), [round, 0, 0]))?;
            channel.set_wait(wait);
            // Blocking, with a deadline, and by a future.
            let message = match round % 3 {
                0 => came(channel.receive())?,
                1 => there("in time", came(channel.receive_until(patience()))?)?,
                _ => came(block_on(channel.received()))?,
            };
            equal("the round", message.short[0], round + 1)?;
        }
        Ok(())
    })
}

/// Another vCPU changes all the time how this one waits.
pub(crate) fn changed() -> Outcome {
    if smp::count() < 2 {
        return Ok(());
    }
    charged_back(|| {
        let channel = Arc::new(connect(service::ECHO, AreaClass::Page)?);
        *SHARED.lock() = Some(Arc::clone(&channel));
        ENDED.store(0, Ordering::Release);
        // It may be on its way to its end still, from the case before.
        while smp::start(1, change).is_err() {
            reg::yield_now();
        }
        for round in 0..ROUNDS {
            sent(channel.send((), [round, 0, 0]))?;
            equal("the round", came(channel.receive())?.short[0], round + 1)?;
        }
        *SHARED.lock() = None;
        while ENDED.load(Ordering::Acquire) == 0 {
            reg::yield_now();
        }
        Ok(())
    })
}

/// Says now this and now that, until the channel is taken away.
fn change() {
    for wait in [Wait::Event, Wait::Interrupt].into_iter().cycle() {
        let Some(channel) = SHARED.lock().clone() else { break };
        channel.set_wait(wait);
        timer::spin(5);
    }
    ENDED.store(1, Ordering::Release);
}

/// What each of them does: sends and receives in turn. What it receives may be an answer to the other.
fn second() {
    let channel = SHARED.lock().clone();
    for round in 0..ROUNDS {
        let Some(channel) = &channel else { break };
        if channel.send((), [round, 0, 0]).is_err() {
            break;
        }
        let Ok(message) = channel.receive() else { break };
        SUM.fetch_add(message.short[0], Ordering::AcqRel);
        RECEIVED.fetch_add(1, Ordering::AcqRel);
    }
    drop(channel);
    ENDED.fetch_add(1, Ordering::AcqRel);
}
