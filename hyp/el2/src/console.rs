//! The board's UART after boot: the multiplexer, its input, and the operator's line.

use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

use shikiri_arch::hw::Clock;
use shikiri_core::console::{Again, Multiplexer, Ports, Typed};
use shikiri_core::vuart::ConsolePort;
use shikiri_drivers::{LineInterrupts, Pl011};
use shikiri_sync::{TicketLock, rank};
use shikiri_vgic::{Here, Line};

use crate::guest::run;
use crate::hw::clock::Counter;
use crate::percore::CoreLocal;
use crate::world::{Slot, World};

/// The console's state, under its lock.
pub(crate) struct Console {
    /// Lines, prefixes, focus.
    pub(crate) multiplexer: Multiplexer,
    /// The UART; `None` before boot has found it.
    pub(crate) uart: Option<Pl011>,
}

/// The console of the machine.
pub(crate) static CONSOLE: TicketLock<Console, rank::Console> =
    TicketLock::new(Console { multiplexer: Multiplexer::new(1), uart: None });

/// The partitions' ends of the multiplexer.
struct Ends(&'static [Slot]);

impl Ports for Ends {
    fn port(&self, slot: usize) -> Option<&ConsolePort> {
        self.0.get(slot).map(|slot| &slot.port)
    }
}

/// Queues a line of the hypervisor's own.
macro_rules! say {
    ($world:expr, $($argument:tt)*) => {
        $crate::console::write_own($world, format_args!($($argument)*))
    };
}
pub(crate) use say;

/// Queues a line; it appears whole, as soon as the UART takes it.
pub(crate) fn write_own(world: &World, text: fmt::Arguments<'_>) {
    // What does not fit is counted and reported by the multiplexer.
    drop(writeln!(world.console.lock().multiplexer, "shikiri: {text}"));
    world.console_is_due.store(true, Ordering::Release);
}

/// Writes everything out that waits, polling the UART: before the machine goes off.
pub(crate) fn flush(world: &World) {
    let ends = Ends(world.slots);
    let mut place = world.console.lock();
    let console = &mut *place;
    let Some(uart) = console.uart.as_mut() else { return };
    // Bounded: the rings hold so much, and a UART that takes nothing for a whole round is broken.
    for _ in 0..4096 {
        let later = Counter.now().saturating_add(world.ticks_per_ms.saturating_mul(1000));
        let pumped = console.multiplexer.pump(later, &ends, &mut |byte| {
            uart.put(byte);
            true
        });
        if pumped.again == Again::Idle {
            return;
        }
    }
}

/// A partition's console appears.
pub(crate) fn attach(world: &World, slot: &Slot) {
    if slot.description.has_console {
        world.console.lock().multiplexer.attach(usize::from(slot.number.0), slot.description.name);
    }
}

/// A partition's console goes, once its last words are out.
pub(crate) fn detach(world: &World, slot: &Slot) {
    world.console.lock().multiplexer.detach(usize::from(slot.number.0));
}

/// Looks after the console if its time has come.
pub(crate) fn tend_if_due(core: &mut CoreLocal, now: u64) {
    let is_asked = core.world.console_is_due.swap(false, Ordering::Acquire);
    if is_asked || core.console_at.is_some_and(|due| due <= now) {
        tend(core, now);
    }
}

/// Moves output to the UART and input to its reader, as far as both take it.
pub(crate) fn tend(core: &mut CoreLocal, now: u64) {
    let world = core.world;
    let ends = Ends(world.slots);
    let mut place = world.console.lock();
    let console = &mut *place;
    let Some(uart) = console.uart.as_mut() else { return };
    while console.multiplexer.accepts_input(now)
        && let Some(byte) = uart.try_get()
    {
        match console.multiplexer.input(now, byte) {
            Typed::Done | Typed::Queued => {}
            Typed::Operator(_) | Typed::OperatorFocused => {}
        }
    }
    let receiver = console.multiplexer.deliver(&ends);
    let pumped = console.multiplexer.pump(now, &ends, &mut |byte| uart.try_put(byte));
    let is_waiting_for_room = pumped.again == Again::WhenReady;
    uart.set_interrupts(LineInterrupts { receive: true, transmit: is_waiting_for_room });
    core.console_at = match pumped.again {
        Again::Idle | Again::WhenReady => None,
        Again::At(time) => Some(time),
        Again::Now => Some(now),
    };
    drop(place);
    if let Some(slot) = receiver {
        notify(core, slot, true);
    }
    let mut relieved = pumped.relieved;
    while relieved != 0 {
        let slot = relieved.trailing_zeros();
        relieved &= relieved.wrapping_sub(1);
        notify(core, usize::try_from(slot).unwrap_or(usize::MAX), false);
    }
    run::arm(core);
}

/// The UART's interrupt.
pub(crate) fn on_interrupt(core: &mut CoreLocal) {
    {
        let mut console = core.world.console.lock();
        if let Some(uart) = console.uart.as_mut() {
            let which = uart.interrupts();
            uart.clear_interrupts(which);
        }
    }
    tend(core, Counter.now());
}

/// Tells a partition's virtual UART that input came, or that output went.
fn notify(core: &mut CoreLocal, number: usize, is_input: bool) {
    let Some(slot) = core.world.slots.get(number) else { return };
    let lifecycle = slot.lifecycle.lock();
    let Some(live) = crate::guest::worker::live(slot) else { return };
    let interface = core.interface(live);
    let vcpu = core.loaded.filter(|loaded| core::ptr::eq(loaded.live, live)).map(|loaded| loaded.vcpu.index);
    let here = Here { hw: &interface, vcpu };
    let kick = {
        let mut devices = live.devices.lock();
        let level =
            if is_input { devices.uart.received(&slot.port) } else { devices.uart.drained(&slot.port) };
        level.map(|level| {
            let level = if level { Line::High } else { Line::Low };
            devices.vgic().set_line(here, live.platform.uart_intid, shikiri_abi::VcpuIndex(0), level)
        })
    };
    if let Some(kick) = kick {
        run::kick_vcpus(core.world, live, kick);
    }
    drop(lifecycle);
}
