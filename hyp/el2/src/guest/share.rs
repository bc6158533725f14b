//! The calls about shared areas: locks and visits, as for message areas. What they do is `shikiri_core::share`'s to decide.

use shikiri_abi::SharedCall;
use shikiri_core::party::Refusal;

use super::live::Live;
use super::message::{done, together};
use super::talk::{TRIES, visit};
use crate::hw::mem::Ram;
use crate::hw::tlb::MachineTlb;
use crate::percore::{CoreLocal, Loaded};

/// Serves a call: `x0` to `x3`.
#[inline(never)]
pub(super) fn serve(core: &CoreLocal, loaded: Loaded, call: SharedCall) -> [u64; 4] {
    carry_out(core, loaded.live, call).unwrap_or_else(|refusal| refusal.registers())
}

fn carry_out(core: &CoreLocal, live: &Live, call: SharedCall) -> Result<[u64; 4], Refusal> {
    if live.talk.is_none() || live.slot.description.windows.shared == 0 {
        return Err(Refusal::NotSupported);
    }
    if let SharedCall::Connect { partition, .. } = call
        && !live.slot.description.talk.connect_to.contains(usize::from(partition))
    {
        return Err(Refusal::NotPermitted);
    }
    for _ in 0..TRIES {
        match attempt(core, live, call) {
            Err(Refusal::Moved) => {}
            answer => return answer,
        }
    }
    Err(Refusal::Moved)
}

/// Looks whom the call meets, locks both, and carries it out.
fn attempt(core: &CoreLocal, live: &Live, call: SharedCall) -> Result<[u64; 4], Refusal> {
    let frames = &core.world.frames;
    let mut meets = None;
    together(live, None, &mut |own, _| meets = own.meets(call, frames.areas()));
    let visited = meets.and_then(|slot| visit(core, slot));
    let mut result = Err(Refusal::NotSupported);
    together(live, visited.as_ref(), &mut |own, peer| {
        result = own.share(peer, (&Ram, &MachineTlb, frames), call);
    });
    done(core, result)
}
