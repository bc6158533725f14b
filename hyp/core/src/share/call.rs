//! The calls about shared areas, from decoded arguments to registers: whom they meet, and what they do.

use shikiri_abi::{PartitionSlot, SharedCall, SignalKind, Status};
use shikiri_arch::hw::{PhysMem, Tlb};
use shikiri_pages::DirectMap;
use shikiri_stage2::Access;

use super::{Attachment, Shared};
use crate::area::{Estate, Machine, Progress, Wanted};
use crate::channel::Done;
use crate::event::Raise;
use crate::frame::AreaRegistry;
use crate::handle::{Handle, Rights};
use crate::party::{Ask, Refusal};

impl<'a> Estate<'a> {
    /// The other partition that a call meets, to be locked together with this one; never this one itself, whatever the guest says.
    #[must_use]
    pub fn meets(
        &mut self,
        call: SharedCall,
        registry: &AreaRegistry<'_>,
    ) -> Option<PartitionSlot> {
        let met = match call {
            SharedCall::Connect { partition, .. } => Some(PartitionSlot(partition)),
            SharedCall::Revoke { area, partition } => self.user_of(Handle(area), partition),
            SharedCall::Accept { request, .. } => self.party.other_end(Handle(request)),
            SharedCall::Withdraw(handle) | SharedCall::Detach(handle) => {
                let row = self.share_at(Handle(handle), Rights::NONE).ok()?.ok()?;
                self.met_in_leaving(row, registry)
            }
            SharedCall::Offer { .. } | SharedCall::Create { .. } | SharedCall::State(_) => None,
        };
        met.filter(|slot| *slot != self.party.slot())
    }

    /// Carries a call out; `peer` is the partition that [`Estate::meets`] said, if it lives.
    ///
    /// # Errors
    /// As the call's row says; nothing has changed then.
    #[inline(never)]
    pub fn share<M: DirectMap, P: PhysMem, T: Tlb>(
        &mut self,
        peer: Option<&mut Estate<'a>>,
        machine: Machine<'_, '_, P, T, M>,
        call: SharedCall,
    ) -> Result<Done, Refusal> {
        match call {
            SharedCall::Offer { area, events } => {
                let events = (events != 0).then_some(Handle(events));
                Ok(went(self.offer(machine, Handle(area), events)?, None))
            }
            SharedCall::Withdraw(area) => {
                self.withdraw(peer, machine, Handle(area)).map(|(how, raise)| went(how, raise))
            }
            SharedCall::Revoke { area, partition } => {
                let user = (Handle(area), PartitionSlot(partition));
                self.revoke(peer, machine, user).map(|raise| went(Progress::Done(()), raise))
            }
            SharedCall::Create { events, pages, class } => {
                let wanted = Wanted { pages, class };
                let Attachment { handle, address, pages } =
                    self.create_attachment(Handle(events), wanted)?;
                Ok(done(Status::Ok, [handle.0, address.0, pages.0]))
            }
            SharedCall::Connect { port, partition, service, word } => {
                self.party.shared.check_asker(SignalKind::AreaAttach, Handle(port))?;
                if PartitionSlot(partition) == self.party.slot() {
                    return Err(Refusal::Argument(2));
                }
                let ask = Ask { port: Handle(port), service: u64::from(service), word };
                let raise = self.ask_area(peer, ask)?;
                Ok(Done { raises: [raise, None], ..done(Status::Pending, [0; 3]) })
            }
            SharedCall::Accept { request, area, is_writable } => {
                let access = if is_writable { Access::ReadWrite } else { Access::ReadOnly };
                let which = (Handle(request), Handle(area));
                let raise = self.accept_attachment(peer, machine, which, access)?;
                Ok(went(Progress::Done(()), raise))
            }
            SharedCall::State(handle) => match self.shared(Handle(handle)) {
                Err(Refusal::Busy) => Ok(done(Status::Pending, [0; 3])),
                Err(refusal) => Err(refusal),
                Ok(Shared { address, pages, access, is_left, .. }) => {
                    let flags = u64::from(access == Access::ReadWrite) | u64::from(is_left) << 1;
                    Ok(done(Status::Ok, [address.0, pages.0, flags]))
                }
            },
            SharedCall::Detach(handle) => {
                self.detach(peer, machine, Handle(handle)).map(|(how, raise)| went(how, raise))
            }
        }
    }
}

const fn done(status: Status, [x1, x2, x3]: [u64; 3]) -> Done {
    Done { answer: [status.code().cast_unsigned(), x1, x2, x3], raises: [None; 2] }
}

fn went(how: Progress<()>, raise: Option<Raise>) -> Done {
    let done = match how {
        Progress::Done(()) => done(Status::Ok, [0; 3]),
        Progress::Again(Handle(handle)) => done(Status::Again, [handle, 0, 0]),
    };
    Done { raises: [raise, None], ..done }
}
