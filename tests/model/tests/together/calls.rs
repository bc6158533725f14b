//! What calls do: those without a lock, and those about objects, as EL2 carries them out; all others are
//! [`shikiri_model::calls`]'.

use shikiri_abi::{Call, ObjectCall, ObjectName, PartitionSlot, Status, TalkCall};
use shikiri_core::handle::Handle;
use shikiri_core::object::{self, Opened, Wake, permit, read_name};
use shikiri_core::party::Refusal;
use shikiri_model::calls::{Told, call, refused, told};

use crate::world::{ENTRIES, World};

impl World {
    /// `x0` to `x3`, and which interrupts come where.
    pub(crate) fn answer(&mut self, who: usize, number: u32, x: [u64; 6]) -> ([u64; 4], Told) {
        match Call::decode(number, x) {
            Err(_) => ([refused(Status::InvalidParameter), 0, 0, 0], Told::new()),
            Ok(Call::Object(call)) => match self.object(who, call) {
                Ok(([x1, x2, x3], told)) => ([refused(Status::Ok), x1, x2, x3], told),
                Err(refusal) => (refusal.registers(), Told::new()),
            },
            Ok(Call::Talk(talk)) => match self.without_lock(who, talk) {
                Some(Ok((status, x1, told))) => ([refused(status), x1, 0, 0], told),
                Some(Err(refusal)) => (refusal.registers(), Told::new()),
                None => call(&mut self.estates, who, number, &x),
            },
            Ok(_) => call(&mut self.estates, who, number, &x),
        }
    }

    /// A call that needs no lock, if it is one.
    fn without_lock(
        &self,
        who: usize,
        call: TalkCall,
    ) -> Option<Result<(Status, u64, Told), Refusal>> {
        let shared = self.estates.shared(who)?;
        let done = |x1, raise| (Status::Ok, x1, told([raise]));
        Some(match call {
            TalkCall::Mask(port) => {
                shared.mask(Handle(port)).map(|()| done(0, None)).map_err(Refusal::from)
            }
            TalkCall::Unmask(port) => {
                let raise = shared.unmask(slot(who), Handle(port));
                raise.map(|raise| done(0, raise)).map_err(Refusal::from)
            }
            TalkCall::State(port) => shared.state(Handle(port)).map(|is_connected| {
                let status = if is_connected { Status::Ok } else { Status::Pending };
                (status, 0, Told::new())
            }),
            TalkCall::Poll(port) => {
                // No virtual GIC is here: as if the guest had taken each interrupt.
                let was = shared.poll(Handle(port), |_, _| Some(false));
                was.map(|was| done(u64::from(was), None))
            }
            TalkCall::Take(word) => Ok(done(shared.take(word), None)),
            TalkCall::Send(port) => {
                let peer = |slot: PartitionSlot| self.estates.shared(usize::from(slot.0));
                let sent = shared.send(Handle(port), &self.visitor, peer);
                sent.map(|sent| done(0, sent.arrival.raise))
            }
            _ => return None,
        })
    }

    fn object(
        &mut self,
        who: usize,
        call: ObjectCall,
    ) -> Result<([u64; 3], Told), object::Refusal> {
        let objects = &self.objects;
        let (values, wake) = match call {
            ObjectCall::Open { name, length, kind } => self.estates.of(who, |own, (ram, ..)| {
                let name: ObjectName = read_name(ram, own.holdings, name, length)?;
                let rows = permit(ENTRIES.into_iter(), slot(who), &name)?;
                let opened = objects.open(&mut own.party, own.holdings, rows, (&name, kind))?;
                let Opened { handle, is_new } = opened;
                Ok::<_, object::Refusal>(([handle.0, u64::from(is_new), 0], None))
            })?,
            ObjectCall::Wait(object) => {
                let shared = self.estates.shared(who).ok_or(object::Refusal::BadHandle)?;
                let (got, wake) = objects.try_take(shared, slot(who), Handle(object))?;
                (got.values(), Some(wake))
            }
            ObjectCall::Post { object, message } => {
                let shared = self.estates.shared(who).ok_or(object::Refusal::BadHandle)?;
                ([0; 3], Some(objects.post(shared, slot(who), Handle(object), message)?))
            }
            ObjectCall::Notify { object, port } => {
                let port = port.map(Handle);
                let raise = self
                    .estates
                    .of(who, |own, _| objects.set_notify(&mut own.party, Handle(object), port))?;
                return Ok(([0; 3], told([raise])));
            }
            ObjectCall::Close(object) => self.estates.of(who, |own, _| {
                let wake = objects.close(&mut own.party, own.holdings, Handle(object))?;
                Ok::<_, object::Refusal>(([0; 3], Some(wake)))
            })?,
        };
        Ok((values, wake.map_or_else(Told::new, |wake| self.tell(wake))))
    }

    /// Tells those who wait for an object.
    pub(crate) fn tell(&self, mut wake: Wake) -> Told {
        let mut all = Told::new();
        let shared = |slot: PartitionSlot| self.estates.shared(usize::from(slot.0));
        while let Some(sent) = self.objects.tell(&mut wake, &self.visitor, shared) {
            all.extend(told([sent.arrival.raise]));
        }
        all
    }
}

fn slot(who: usize) -> PartitionSlot {
    PartitionSlot(u8::try_from(who).unwrap())
}
