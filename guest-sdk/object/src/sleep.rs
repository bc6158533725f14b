//! Sleeping until something can be had.

use core::cell::Cell;

use shikiri_hvc::partition::Refusal;
use shikiri_rt::timer::Timer;
use shikiri_rt::{gic, irq, reg};

use crate::Ticks;

/// Tries until there is something. Each try is made with interrupts masked, so that the event that follows one in vain ends the
/// sleep that follows it.
pub(crate) fn until_there<T>(
    attempt: impl Fn() -> Result<Option<T>, Refusal>,
) -> Result<T, Refusal> {
    let found = Cell::new(None);
    irq::wait_until(|| {
        let tried = attempt().transpose();
        let is_over = tried.is_some();
        found.set(tried);
        is_over
    });
    // The wait ends with an answer only.
    let nothing = Refusal { code: shikiri_abi::Status::Empty.code(), which: 0 };
    found.into_inner().unwrap_or(Err(nothing))
}

/// The same, until the virtual counter reaches `deadline`. The vCPU's virtual timer is used meanwhile and left as it was; its
/// interrupt may come to the handler without cause.
pub(crate) fn until<T>(
    Ticks(deadline): Ticks,
    attempt: impl Fn() -> Result<Option<T>, Refusal>,
) -> Result<Option<T>, Refusal> {
    let timer = Timer::Virtual;
    let former = (timer.deadline(), timer.control());
    gic::enable(timer.intid());
    let daif = reg::daif();
    irq::mask();
    let answer = loop {
        if let Some(answer) = attempt().transpose() {
            break answer.map(Some);
        }
        if timer.now() >= deadline {
            break Ok(None);
        }
        timer.set_deadline(deadline);
        reg::wfi();
        timer.stop();
        irq::unmask();
        reg::isb();
        irq::mask();
    };
    timer.move_deadline(former.0);
    timer.set_control(former.1);
    reg::set_daif(daif);
    answer
}
