//! The calls that change a party, under its lock: whom they meet, and what they do.
//!
//! Sending, polling, masking and taking need no lock and are `crate::event`'s.

use shikiri_abi::{IntId, PartitionSlot, SignalKind, Status, TalkCall, VcpuIndex};

use super::{Ask, Party, Refusal, Signal};
use crate::account::Account;
use crate::event::Raise;
use crate::handle::{Handle, HandleBook};

/// What a call did, and what is left to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Done {
    /// `x0` to `x3`.
    pub answer: [u64; 4],
    /// What to raise, after the locks are gone.
    pub raise: Option<Raise>,
    /// An SPI that is a port's now (`Vgic::bind`), before its lock is gone.
    pub bound: Option<(IntId, VcpuIndex)>,
    /// An SPI that is no port's any more (`Vgic::unbind`), before its lock is gone.
    pub unused: Option<IntId>,
}

impl<'a> Party<'a> {
    /// The other partition that a call meets, to be locked together with this one. Whether the partition may ask whom it
    /// names is the caller's to check.
    #[must_use]
    pub fn meets(&self, call: TalkCall) -> Option<PartitionSlot> {
        match call {
            TalkCall::Ask { partition, .. } => Some(PartitionSlot(partition)),
            TalkCall::TakeSignal => self.next_sender().filter(|slot| *slot != self.slot()),
            TalkCall::Accept { request: handle, .. }
            | TalkCall::Refuse(handle)
            | TalkCall::Close(handle) => self.other_end(Handle(handle)),
            TalkCall::CreateSend
            | TalkCall::CreateReceive
            | TalkCall::Connect { .. }
            | TalkCall::Bind { .. }
            | TalkCall::Mask(_)
            | TalkCall::Unmask(_)
            | TalkCall::State(_)
            | TalkCall::Poll(_)
            | TalkCall::Take(_)
            | TalkCall::Send(_)
            | TalkCall::Notify(_)
            | TalkCall::Limit { .. }
            | TalkCall::Peer(_)
            | TalkCall::PeerName(..) => None,
        }
    }

    /// Carries a call out; `peer` is the partition that [`Party::meets`] said, if it lives.
    ///
    /// # Errors
    /// As the call's row says; nothing has changed then. A call that needs no lock is none of this function's: `BadHandle`.
    pub fn carry_out(
        &mut self,
        peer: Option<&mut Party<'a>>,
        account: &mut Account,
        call: TalkCall,
    ) -> Result<Done, Refusal> {
        match call {
            TalkCall::CreateSend => self.create_send(account).map(made),
            TalkCall::CreateReceive => self.create_receive(account).map(made),
            TalkCall::Connect { send, receive } => {
                self.connect(Handle(send), Handle(receive)).map(|()| raised(None))
            }
            TalkCall::Bind { port, intid, vcpu, sharing } => {
                let raise = self.bind(Handle(port), intid, vcpu, sharing)?;
                Ok(Done { bound: Some((intid, vcpu)), ..raised(raise) })
            }
            TalkCall::Notify(port) => self.set_notify(Handle(port)).map(raised),
            TalkCall::Ask { port, service, word, .. } => {
                self.shared.check_asker(SignalKind::EventConnect, Handle(port))?;
                let peer = peer.ok_or(Refusal::PeerGone)?;
                let ask = Ask { port: Handle(port), service: u64::from(service), word };
                let raise = self.ask(Some(peer), ask)?;
                Ok(Done { answer: status(Status::Pending), ..raised(raise) })
            }
            TalkCall::TakeSignal => self.take_signal(peer).map(|signal| signalled(&signal)),
            TalkCall::Accept { request, receive } => {
                self.accept(peer, Handle(request), Handle(receive)).map(raised)
            }
            TalkCall::Refuse(request) => self.refuse(peer, Handle(request)).map(raised),
            TalkCall::Close(handle) => {
                let closed = self.close(peer, Handle(handle), account)?;
                Ok(Done { unused: closed.unused, ..raised(closed.raise) })
            }
            TalkCall::Limit { handle, keep } => {
                let left = HandleBook::limit(self.shared.entries, Handle(handle), keep)?;
                Ok(valued(left.bits()))
            }
            TalkCall::Mask(_)
            | TalkCall::Unmask(_)
            | TalkCall::State(_)
            | TalkCall::Poll(_)
            | TalkCall::Take(_)
            | TalkCall::Send(_)
            | TalkCall::Peer(_)
            | TalkCall::PeerName(..) => Err(Refusal::BadHandle),
        }
    }
}

const fn status(status: Status) -> [u64; 4] {
    [status.code().cast_unsigned(), 0, 0, 0]
}

const fn raised(raise: Option<Raise>) -> Done {
    Done { answer: status(Status::Ok), raise, bound: None, unused: None }
}

const fn made(Handle(handle): Handle) -> Done {
    valued(handle)
}

const fn valued(value: u64) -> Done {
    let [ok, ..] = status(Status::Ok);
    Done { answer: [ok, value, 0, 0], ..raised(None) }
}

/// As the row of SIGNAL_TAKE says.
fn signalled(signal: &Signal) -> Done {
    let [ok, ..] = status(Status::Ok);
    let request = signal.request.0 | u64::from(signal.kind.code()) << 56;
    let sender = u64::from(signal.from.0) | signal.service << 32;
    Done { answer: [ok, request, sender, signal.word], ..raised(None) }
}
