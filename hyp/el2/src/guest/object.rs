//! The calls about named objects: locks, visits, and interrupts. What they do is `shikiri_core::object`'s to decide.

use shikiri_abi::{ObjectCall, ObjectName, Resource, Status};
use shikiri_core::handle::Handle;
use shikiri_core::object::{Opened, Refusal, Wake, permit, read_name};
use shikiri_core::partition::Holdings;
use shikiri_core::party::Party;

use super::live::Live;
use super::talk::{self, opened, raise_some};
use crate::hw::mem::Ram;
use crate::percore::{CoreLocal, Loaded};

/// Serves a call: `x0` to `x3`.
#[inline(never)]
pub(super) fn serve(core: &CoreLocal, Loaded { live, .. }: Loaded, call: ObjectCall) -> [u64; 4] {
    let answer = match call {
        ObjectCall::Open { .. } => open(core, live, call).map(ok),
        ObjectCall::Wait(object) => wait(core, live, Handle(object)).map(ok),
        ObjectCall::Post { object, message } => post(core, live, Handle(object), message).map(ok),
        ObjectCall::Notify { object, port } => {
            notify(core, live, Handle(object), port.map(Handle)).map(ok)
        }
        ObjectCall::Close(object) => close(core, live, Handle(object)).map(ok),
    };
    answer.unwrap_or_else(Refusal::registers)
}

const fn ok([x1, x2, x3]: [u64; 3]) -> [u64; 4] {
    [Status::Ok.code().cast_unsigned(), x1, x2, x3]
}

fn open(core: &CoreLocal, live: &Live, call: ObjectCall) -> Result<[u64; 3], Refusal> {
    let ObjectCall::Open { name, length, kind } = call else { return Err(Refusal::BadHandle) };
    let objects = &core.world.objects;
    let done = with_books(live, |party, holdings| {
        let name: ObjectName = read_name(&Ram, holdings, name, length)?;
        let rows = permit(core.world.bundle.name_entries(), live.slot.number, &name)?;
        objects.open(party, holdings, rows, (&name, kind))
    });
    // Whoever has no handles is permitted no name.
    let Opened { handle, is_new } =
        done.unwrap_or(Err(Refusal::OverLimit(Resource::ManagementMemory)))?;
    Ok([handle.0, u64::from(is_new), 0])
}

fn wait(core: &CoreLocal, live: &Live, object: Handle) -> Result<[u64; 3], Refusal> {
    let shared = live.talk.as_ref().ok_or(Refusal::BadHandle)?.shared();
    let (got, wake) = core.world.objects.try_take(shared, live.slot.number, object)?;
    tell(core, wake);
    Ok(got.values())
}

fn post(
    core: &CoreLocal,
    live: &Live,
    object: Handle,
    message: shikiri_abi::Message,
) -> Result<[u64; 3], Refusal> {
    let shared = live.talk.as_ref().ok_or(Refusal::BadHandle)?.shared();
    let wake = core.world.objects.post(shared, live.slot.number, object, message)?;
    tell(core, wake);
    Ok([0; 3])
}

fn notify(
    core: &CoreLocal,
    live: &Live,
    object: Handle,
    port: Option<Handle>,
) -> Result<[u64; 3], Refusal> {
    let raise = {
        let mut devices = live.devices.lock();
        let mut party = opened(live, &mut devices).ok_or(Refusal::BadHandle)?;
        core.world.objects.set_notify(&mut party, object, port)?
    };
    raise_some(core, raise);
    Ok([0; 3])
}

fn close(core: &CoreLocal, live: &Live, object: Handle) -> Result<[u64; 3], Refusal> {
    let objects = &core.world.objects;
    let done = with_books(live, |party, holdings| objects.close(party, holdings, object));
    tell(core, done.unwrap_or(Err(Refusal::BadHandle))?);
    Ok([0; 3])
}

/// Does something with a partition's handles and its account, under their locks; `None` if it may not talk.
fn with_books<R>(live: &Live, run: impl FnOnce(&mut Party<'_>, &mut Holdings) -> R) -> Option<R> {
    let mut devices = live.devices.lock();
    let mut work = live.slot.work.lock();
    let mut party = opened(live, &mut devices)?;
    Some(run(&mut party, &mut work.as_mut()?.holdings))
}

/// Tells those who wait, one after the other; no lock is held.
pub(super) fn tell(core: &CoreLocal, mut wake: Wake) {
    let Some(visitor) = talk::visitor(core) else { return };
    let shared = |slot| talk::shared_of(core.world, slot);
    while let Some(sent) = core.world.objects.tell(&mut wake, visitor, shared) {
        // The visit lasts until `sent` goes, behind the raise.
        raise_some(core, sent.arrival.raise);
        drop(sent);
    }
}
