//! The board's UART after boot: the multiplexer, its input, and the way to the operator console.
//!
//! [`CONSOLE`] is the last lock but one (rank Console): what is found out under it (a partition that got
//! input, a complete line for the operator) is acted upon after it has been released. Whichever core has a
//! reason looks after the console ([`tend`]); the UART's interrupt goes to the boot core.

use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

use shikiri_arch::hw::Clock;
use shikiri_core::console::{Again, Multiplexer, Ports, Pumped, Typed};
use shikiri_core::operator::{Line as TypedLine, LineEditor, PROMPT};
use shikiri_core::sched::earlier;
use shikiri_core::vuart::ConsolePort;
use shikiri_drivers::{LineInterrupts, Uart};
use shikiri_sync::{TicketLock, rank};
use shikiri_vgic::{Here, Line};

use crate::guest::{request, run};
use crate::hw::clock::Counter;
use crate::operator;
use crate::percore::CoreLocal;
use crate::world::{Slot, World};

/// Bytes of input that one call takes: bounds the time that a core spends on a flood of typing.
const INPUT_BATCH: u32 = 64;
/// How long the first byte of a line may wait for its followers, in milliseconds.
const SOON_MS: u64 = 4;
/// Rounds of the last words: all that the hypervisor's buffer (8 KiB) and 64 ports (1 KiB each) hold, at 512
/// bytes a round. A guest that goes on writing meanwhile cannot keep the machine on.
const LAST_ROUNDS: u32 = 144;

/// The console's state, under its lock.
pub(crate) struct Console {
    /// Lines, prefixes, focus.
    pub(crate) multiplexer: Multiplexer,
    /// The UART; `None` before boot has found it.
    pub(crate) uart: Option<Uart>,
    /// What is being typed at the operator console.
    editor: LineEditor,
    /// The hypervisor's last text was the prompt, or what was typed behind it.
    is_at_prompt: bool,
}

/// The console of the machine. All zero at first: it costs nothing in the image.
pub(crate) static CONSOLE: TicketLock<Console, rank::Console> = TicketLock::new(Console {
    multiplexer: Multiplexer::new(0),
    uart: None,
    editor: LineEditor::new(),
    is_at_prompt: false,
});

impl Console {
    /// Takes a byte that was typed at the operator console; the line, when that completes one.
    fn edit(&mut self, byte: u8) -> Option<TypedLine> {
        if !self.is_at_prompt || !self.multiplexer.is_own_line_open() {
            // Other text has come in between: what was typed so far is shown again.
            self.prompt();
        }
        let line = self.editor.push(byte, &mut self.multiplexer).unwrap_or(None);
        self.is_at_prompt = line.is_none();
        line
    }

    /// Shows the operator's prompt with what has been typed behind it.
    fn prompt(&mut self) {
        self.leave_prompt();
        let typed = self.editor.text();
        // The multiplexer counts what does not fit.
        write!(self.multiplexer, "{PROMPT}{typed}").unwrap_or_default();
        self.is_at_prompt = true;
    }

    /// Ends the prompt's line, if the hypervisor's next text would continue it.
    fn leave_prompt(&mut self) {
        if core::mem::take(&mut self.is_at_prompt) && self.multiplexer.is_own_line_open() {
            self.multiplexer.write_str("\n").unwrap_or_default();
        }
    }

    /// Writes the hypervisor's text out, polling the UART: while no partition has started yet.
    pub(crate) fn write_out(&mut self) {
        let Some(uart) = self.uart.as_mut() else { return };
        pump_out(&mut self.multiplexer, uart, &Ends(&[]), 0);
    }

    /// Writes text of the hypervisor, apart from the prompt.
    pub(crate) fn write(&mut self, text: fmt::Arguments<'_>) {
        self.leave_prompt();
        // The multiplexer counts what does not fit.
        self.multiplexer.write_fmt(text).unwrap_or_default();
    }
}

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
        $crate::console::write_text($world, format_args!("shikiri: {}\n", format_args!($($argument)*)))
    };
}
pub(crate) use say;

/// Queues text of the hypervisor, in one piece; it appears as soon as the UART takes it.
pub(crate) fn write_text(world: &World, text: fmt::Arguments<'_>) {
    world.console.lock().write(text);
    world.console_is_due.store(true, Ordering::Release);
}

/// Shows the operator's prompt, after an answer.
pub(crate) fn prompt(world: &World) {
    world.console.lock().prompt();
}

/// Writes everything out that waits, polling the UART: before the machine goes off.
pub(crate) fn flush(world: &World) {
    let ends = Ends(world.slots);
    let mut place = world.console.lock();
    let console = &mut *place;
    console.multiplexer.close_down();
    let Some(uart) = console.uart.as_mut() else { return };
    // Late enough that no unfinished line is kept back.
    let later = Counter.now().saturating_add(world.ticks_per_ms.saturating_mul(1000));
    pump_out(&mut console.multiplexer, uart, &ends, later);
}

/// Writes what waits, polling the UART.
fn pump_out(multiplexer: &mut Multiplexer, uart: &mut Uart, ends: &Ends, now: u64) {
    for _ in 0..LAST_ROUNDS {
        if pump(multiplexer, (uart, true), ends, now).again != Again::Now {
            return;
        }
    }
}

/// One step of the multiplexer's: one copy of it for those who wait until the UART takes a byte, and for those who do not.
#[inline(never)]
fn pump(
    multiplexer: &mut Multiplexer,
    (uart, waits): (&mut Uart, bool),
    ends: &Ends,
    now: u64,
) -> Pumped {
    multiplexer.pump(now, ends, &mut |byte| {
        if waits {
            uart.put(byte);
            true
        } else {
            uart.try_put(byte)
        }
    })
}

/// A partition's console appears, or goes on after a restart: what the former life wrote comes first, and
/// its last line is ended. No vCPU of the partition runs yet.
pub(crate) fn attach(world: &World, slot: &Slot) {
    if !slot.description().has_console {
        return;
    }
    let number = usize::from(slot.number.0);
    let mut console = world.console.lock();
    if console.multiplexer.ends_inside_line(number, &slot.port) {
        // A port that is full has no room for the line's end; then it is missing, and nothing worse.
        let _had_room = slot.port.output.push(b'\n');
    }
    console.multiplexer.attach(number, slot.description().name);
}

/// A partition's console goes, once its last words are out. Its port stays: it belongs to the slot.
pub(crate) fn detach(world: &World, slot: &Slot) {
    world.console.lock().multiplexer.detach(usize::from(slot.number.0));
    world.console_is_due.store(true, Ordering::Release);
}

/// Whether a partition's last words, and its place on the console, are gone.
pub(crate) fn is_gone(world: &World, slot: &Slot) -> bool {
    !world.console.lock().multiplexer.is_attached(usize::from(slot.number.0))
}

/// Looks after the console, and after requests, if their time has come.
pub(crate) fn tend_if_due(core: &mut CoreLocal, now: u64) {
    // All cores share the word, at each reschedule: to read it costs them nothing.
    let is_due = &core.world.console_is_due;
    let is_asked = is_due.load(Ordering::Relaxed) && is_due.swap(false, Ordering::Acquire);
    if is_asked || core.console_at.get().is_some_and(|due| due <= now) {
        tend(core, now);
    }
}

/// Looks after the console within a few milliseconds: a partition has begun a line.
pub(crate) fn tend_soon(core: &mut CoreLocal) {
    let soon = Counter.now().saturating_add(core.world.ticks_per_ms.saturating_mul(SOON_MS));
    if core.console_at.get().is_none_or(|due| due > soon) {
        core.console_at.set(earlier(Some(soon), core.request_at.get()));
        run::arm(core);
    }
}

/// What a round under the console's lock found.
struct Round {
    /// The partition that got input.
    receiver: Option<usize>,
    /// Partitions whose output FIFO has fallen, as bits.
    relieved: u64,
    /// What the operator has typed.
    line: Option<TypedLine>,
    /// When to look again.
    again: Option<u64>,
}

/// Moves output to the UART and input to its reader, as far as both take it, and answers the operator.
pub(crate) fn tend(core: &mut CoreLocal, now: u64) {
    // The time for an answer to a request is kept with the console's, which every reschedule looks at anyway.
    if core.request_at.get().is_some_and(|due| due <= now) {
        request::expire(core, now);
    }
    let round = one_round(core.world, now);
    let again = round.as_ref().and_then(|round| round.again);
    core.console_at.set(earlier(again, core.request_at.get()));
    let Some(round) = round else { return };
    if let Some(slot) = round.receiver {
        notify(core, slot, true);
    }
    let mut relieved = round.relieved;
    while relieved != 0 {
        let slot = relieved.trailing_zeros();
        relieved &= relieved.wrapping_sub(1);
        notify(core, usize::try_from(slot).unwrap_or(usize::MAX), false);
    }
    if let Some(line) = round.line {
        operator::carry_out(core.world, line.as_str());
        core.console_at.set(Some(now));
    }
    run::arm(core);
}

/// The part of [`tend`] that needs the lock. `None` without a UART.
fn one_round(world: &World, now: u64) -> Option<Round> {
    let ends = Ends(world.slots);
    let mut place = world.console.lock();
    let console = &mut *place;
    let (line, is_more) = take_input(console, now)?;
    let receiver = console.multiplexer.deliver(&ends);
    let Console { multiplexer, uart, .. } = console;
    let uart = uart.as_mut()?;
    let pumped = pump(multiplexer, (uart, false), &ends, now);
    uart.set_interrupts(LineInterrupts {
        // What is not accepted stays in the UART, which would ask again and again.
        receive: multiplexer.accepts_input(now),
        transmit: pumped.again == Again::WhenReady,
    });
    let again = match pumped.again {
        Again::Idle | Again::WhenReady => None,
        Again::At(time) => Some(time),
        Again::Now => Some(now),
    };
    // The UART's receive interrupt tells of new bytes, not of those that were left in it.
    let again = if is_more { Some(now) } else { again };
    Some(Round { receiver, relieved: pumped.relieved, line, again })
}

/// Takes typed bytes until there are none, they are not wanted, or a line for the operator is complete. The
/// line, and whether bytes may have been left although they are wanted.
fn take_input(console: &mut Console, now: u64) -> Option<(Option<TypedLine>, bool)> {
    for _ in 0..INPUT_BATCH {
        if !console.multiplexer.accepts_input(now) {
            return Some((None, false));
        }
        let Some(byte) = console.uart.as_mut()?.try_get() else { return Some((None, false)) };
        match console.multiplexer.input(now, byte) {
            Typed::Done | Typed::Queued => {}
            Typed::OperatorFocused => {
                console.is_at_prompt = false;
                console.prompt();
            }
            Typed::Operator(byte) => {
                if let Some(line) = console.edit(byte) {
                    return Some((Some(line), true));
                }
            }
        }
    }
    Some((None, true))
}

/// The UART's interrupt.
pub(crate) fn on_interrupt(core: &mut CoreLocal) {
    {
        let mut console = core.world.console.lock();
        if let Some(uart) = console.uart.as_mut() {
            uart.acknowledge();
        }
    }
    tend(core, Counter.now());
}

/// Tells a partition's virtual UART that input came, or that output went.
fn notify(core: &mut CoreLocal, number: usize, is_input: bool) {
    let Some(slot) = core.world.slots.get(number) else { return };
    // While it is active or paused, and while its lock is held, nobody takes the incarnation apart.
    let lifecycle = slot.lifecycle.lock();
    let Some(live) = crate::guest::worker::live(slot).filter(|_| lifecycle.phase().is_alive())
    else {
        return;
    };
    let interface = core.interface(live);
    let vcpu = core
        .loaded
        .filter(|loaded| core::ptr::eq(loaded.live, live))
        .map(|loaded| loaded.vcpu.index);
    let here = Here { hw: &interface, vcpu };
    let kick = {
        let mut devices = live.devices.lock();
        let level = if is_input {
            devices.uart.received(&slot.port)
        } else {
            devices.uart.drained(&slot.port)
        };
        level.map(|level| {
            let level = if level { Line::High } else { Line::Low };
            devices.vgic(&live.quicks).set_line(
                here,
                live.platform.uart_intid,
                shikiri_abi::VcpuIndex(0),
                level,
            )
        })
    };
    if let Some(kick) = kick {
        run::kick_vcpus(core.world, live, kick);
    }
    drop(lifecycle);
}
