//! Message channels and message areas for guests: what cannot work does not compile (C2, C3).
//!
//! ```ignore
//! let windows = Windows::map()?;                              // once: where areas are seen
//! let port = Port::new(windows, Window::of(AreaClass::Page, 4), 40)?;
//! let channel = port.connect(server, SERVICE, 0)?;            // or: listener.next()?.accept(port)?
//!
//! let mut area = Area::alloc(windows, AreaClass::Page, 4096)?;
//! area[..5].copy_from_slice(b"hello");
//! channel.send(area, [1, 0, 0])?;                             // `area` is gone: it is the receiver's alone
//! let message = channel.receive()?;                           // its area is ours: send it back, keep it, or drop it
//! ```
//!
//! ```text
//! Windows ─▶ Port ──ask──▶ Asking ──answer──▶ Channel, or the Port again
//!                 ──connect────────────────▶ Channel, or the Port again and why
//! Listener ─▶ Request ──accept(Port)───────▶ Channel    (dropped, it is refused)
//! Channel ──into_port──▶ Port                (a peer that has gone can be asked again)
//! Area ──send──▶ (the peer's)    Message.area ──▶ Area ──keep──▶ Area of one's own    dropped: freed
//! ```
//!
//! | form | receive | send | connect |
//! |---|---|---|---|
//! | polling | [`Channel::try_receive`] | [`Channel::try_send`] | [`Port::ask`], [`Asking::answer`] |
//! | blocking | [`Channel::receive`] | [`Channel::send`] | [`Port::connect`], [`Asking::wait`] |
//! | timed | [`Channel::receive_until`] | [`Channel::send_until`] | [`Asking::wait_until`] |
//! | `async` | [`Channel::received`], [`Channel::poll_receive`] | [`Channel::sent`], [`Channel::poll_send`] | [`Asking::answered`] |
//!
//! **Who waits where.** A port's interrupt goes to the vCPU that made the port. There, the blocking and timed forms sleep, in WFI or in WFE
//! ([`Channel::set_wait`]); on other vCPUs they look again and again, but who waits for a [`Moment`], as remote calls do, has itself called by
//! the first one (SGI 15) and sleeps there, too. Any number of vCPUs and interrupt handlers may use one
//! channel: what is the SDK's stands behind a lock that masks interrupts for some dozen instructions, and no call to the
//! hypervisor is made under it. Each message goes to one of those that receive. [`block_on`] runs a future on the vCPU that
//! calls it, [`block_on_until`] until a deadline; any other executor will do as well.
//!
//! **Credits.** A port always offers to take [`Window::depth`] messages that wait; an area needs a vacant slot of the window in addition.
//! A received area has a slot until it is dropped, sent on, or kept, on whichever vCPU; a peer that waits for it is told then.
//!
//! **Interrupts** of ports are handled here: [`Windows::map`] adds a hook to the run-time's (`shikiri_rt::irq`), beside the guest's own
//! handler. For `async` they have to be unmasked on the port's vCPU. Blocking and timed forms do without: there they let interrupts in
//! themselves, and elsewhere they look again and again, also if the port's vCPU takes none, or is off.
//!
//! **Event ports that share an interrupt** (`shikiri_rt::event`): [`PendingPage`] tells without a call which of them are pending. It stands
//! here because the page is seen where areas are.
//!
//! No allocation. At most [`MAX_PORTS`] ports at a time.
#![no_std]

mod area;
mod channel;
mod executor;
mod listener;
mod moment;
mod pending;
mod port;
mod receive;
mod send;
mod table;
mod wait;
mod windows;

pub use area::Area;
pub use channel::{Channel, Message, PeerGone};
pub use executor::{block_on, block_on_until};
pub use listener::{Listener, Request};
pub use moment::Moment;
pub use pending::PendingPage;
pub use port::{Answer, Asking, Port, Window};
pub use send::{Cargo, NotSent, Why};
pub use shikiri_abi::AreaClass;
pub use shikiri_hvc::partition::Refusal;
pub use shikiri_rt::event::NotConnected;
pub use shikiri_rt::sleep::Ticks;
pub use table::MAX_PORTS;
pub use wait::Wait;

/// The most messages that wait at a port.
pub const MOST_MESSAGES: u64 = shikiri_abi::channel::ARRIVALS;
pub use windows::{NoWindows, Windows};
