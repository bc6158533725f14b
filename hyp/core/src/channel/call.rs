//! The calls about areas and channels, from decoded arguments to registers: whom they meet, and what they do.

use shikiri_abi::{MessageCall, PartitionSlot, SignalKind, Status};
use shikiri_arch::hw::Tlb;
use shikiri_pages::DirectMap;

use super::{Created, Message, WindowWanted, send};
use crate::area::{AreaInfo, Estate, Machine, Made, Progress, Wanted};
use crate::event::Raise;
use crate::handle::Handle;
use crate::partition::Loader;
use crate::party::{Ask, Party, Refusal};

/// What a call did, and what is left to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Done {
    /// `x0` to `x3`.
    pub answer: [u64; 4],
    /// What to raise, after the locks are gone.
    pub raises: [Option<Raise>; 2],
}

impl Party<'_> {
    /// The other partition that a call meets, to be locked together with this one. Whether the partition may ask whom it
    /// names is the caller's to check.
    #[must_use]
    pub fn meets_for(&self, call: MessageCall) -> Option<PartitionSlot> {
        match call {
            MessageCall::Connect { partition, .. } => Some(PartitionSlot(partition)),
            MessageCall::Accept { request: handle, .. }
            | MessageCall::Send { port: handle, .. }
            | MessageCall::Notify(handle)
            | MessageCall::Close(handle) => self.other_end(Handle(handle)),
            MessageCall::Alloc { .. }
            | MessageCall::AllocMore(_)
            | MessageCall::Free(_)
            | MessageCall::Info(_)
            | MessageCall::Keep(_)
            | MessageCall::Trim { .. }
            | MessageCall::Split { .. }
            | MessageCall::Create { .. }
            | MessageCall::EventPage => None,
        }
    }
}

impl<'a> Estate<'a> {
    /// Carries a call out; `peer` is the partition that [`Party::meets_for`] said, if it lives.
    ///
    /// # Errors
    /// As the call's row says; nothing has changed then.
    #[inline(never)]
    pub fn carry_out<M: DirectMap, L: Loader, T: Tlb>(
        &mut self,
        mut peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, L, T, M>,
        call: MessageCall,
    ) -> Result<Done, Refusal> {
        match call {
            MessageCall::Alloc { pages, class } => {
                self.alloc(machine, Wanted { pages, class }).map(|made| made_or_again(&made))
            }
            MessageCall::AllocMore(handle) => {
                self.alloc_more(machine, Handle(handle)).map(|made| made_or_again(&made))
            }
            MessageCall::Free(handle) => match self.free(machine, Handle(handle))? {
                Progress::Done(()) => Ok(done([0; 3])),
                Progress::Again(handle) => Ok(again(handle)),
            },
            MessageCall::Info(handle) => {
                let AreaInfo { slot, pages } = self.info(Handle(handle))?;
                Ok(done([slot.ipa().0, pages.0, u64::from(slot.class.code())]))
            }
            MessageCall::Keep(handle) => self.keep(Handle(handle)).map(|()| done([0; 3])),
            MessageCall::Trim { area, pages } => match self.trim(machine, Handle(area), pages)? {
                Progress::Done(()) => Ok(done([0; 3])),
                Progress::Again(handle) => Ok(again(handle)),
            },
            MessageCall::Split { area, pages, class, tail } => {
                let wanted = Wanted { pages, class };
                let (tail, is_done) = self.split(machine, [Handle(area), Handle(tail)], wanted)?;
                Ok(made(if is_done { Status::Ok } else { Status::Again }, tail))
            }
            MessageCall::Create { events, slots, class } => {
                let wanted = WindowWanted { slots, class };
                let Created { handle, arrivals, credits } =
                    self.create_port(machine, Handle(events), wanted)?;
                Ok(done([handle.0, arrivals.0, credits.0]))
            }
            MessageCall::Connect { port, service, word, .. } => {
                let ask = Ask { port: Handle(port), service: u64::from(service), word };
                self.party.shared.check_asker(SignalKind::ChannelConnect, Handle(port))?;
                let peer = peer.as_deref_mut().ok_or(Refusal::PeerGone)?;
                let raise = self.party.ask_channel(Some(&mut peer.party), ask)?;
                Ok(Done { answer: status(Status::Pending), raises: [raise, None] })
            }
            MessageCall::Accept { request, port } => {
                let raises = self.accept_channel(peer, Handle(request), Handle(port))?;
                Ok(Done { raises, ..done([0; 3]) })
            }
            MessageCall::Send { port, area, bytes, short } => {
                let area = (area != 0).then_some(Handle(area));
                let (mem, tlb, store) = machine;
                let message = (Handle(port), Message { area, bytes, short });
                send(self, peer, (mem, tlb), store.areas(), message).map(raised)
            }
            MessageCall::Notify(port) => self.notify_peer(peer, Handle(port)).map(raised),
            MessageCall::Close(port) => self.close_port(peer, machine, Handle(port)).map(raised),
            MessageCall::EventPage => self.show_bitmap(machine).map(|at| done([at.0, 0, 0])),
        }
    }
}

const fn status(status: Status) -> [u64; 4] {
    [status.code().cast_unsigned(), 0, 0, 0]
}

const fn done([x1, x2, x3]: [u64; 3]) -> Done {
    let [ok, ..] = status(Status::Ok);
    Done { answer: [ok, x1, x2, x3], raises: [None; 2] }
}

const fn again(Handle(handle): Handle) -> Done {
    let [again, ..] = status(Status::Again);
    Done { answer: [again, handle, 0, 0], raises: [None; 2] }
}

const fn raised(raise: Option<Raise>) -> Done {
    Done { raises: [raise, None], ..done([0; 3]) }
}

fn made(code: Status, Made { handle, slot, pages }: Made) -> Done {
    let [code, ..] = status(code);
    Done { answer: [code, handle.0, slot.ipa().0, pages.0], raises: [None; 2] }
}

fn made_or_again(progress: &Progress<Made>) -> Done {
    match progress {
        Progress::Done(area) => made(Status::Ok, *area),
        Progress::Again(handle) => again(*handle),
    }
}
