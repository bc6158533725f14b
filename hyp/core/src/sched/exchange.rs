//! The exchange: which cores are idle, and which have more than they can run. Two sets of bits for the machine, used
//! only by cores that vCPUs of other cores may come to, and by cores with vCPUs that wait and may go.

use shikiri_abi::{CoreId, CoreSet};
use shikiri_sync::KickSet;
use shikiri_sync::atomic::{Ordering, fence};

/// Where idle cores and cores with too much work find each other; one per machine.
///
/// Each side enters itself and *then* looks at the other (with a full fence between): of an idle core and a
/// busy one that come at the same time, at least one sees the other. Who uses the other's entry takes it out, so
/// that an idle core gets one offer and a busy core one call for each time that it entered itself.
#[derive(Default)]
pub struct Exchange {
    idle: KickSet,
    surplus: KickSet,
}

impl Exchange {
    /// Nobody is idle, nobody has too much.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This core has nothing to run. Calls those of the `lenders` that have something to lend: returns them, to be
    /// kicked.
    #[must_use = "a core that is not kicked does not know that it was called"]
    pub fn enter_idle(&self, core: CoreId, lenders: CoreSet) -> CoreSet {
        self.idle.insert(core);
        fence(Ordering::SeqCst);
        let mut called = CoreSet::EMPTY;
        let mut left = self.surplus.load().intersection(lenders);
        while let Some(lender) = left.first() {
            left = left.without(CoreSet::one(lender));
            if self.surplus.remove(lender) {
                called = called.union(CoreSet::one(lender));
            }
        }
        called
    }

    /// This core has something to run again.
    pub fn leave_idle(&self, core: CoreId) {
        self.idle.remove(core);
    }

    /// The cores that are idle.
    #[must_use]
    pub fn idle(&self) -> CoreSet {
        self.idle.load()
    }

    /// Takes an idle core for an offer. False if it is not idle any more, or somebody else was faster.
    #[must_use]
    pub fn claim(&self, core: CoreId) -> bool {
        self.idle.remove(core)
    }

    /// This core has ready vCPUs that wait and could be lent. Returns the idle cores.
    #[must_use]
    pub fn enter_surplus(&self, core: CoreId) -> CoreSet {
        self.surplus.insert(core);
        fence(Ordering::SeqCst);
        self.idle.load()
    }

    /// Whether this core stands here as one with too much: no idle core has called it since it entered.
    #[must_use]
    pub fn is_surplus(&self, core: CoreId) -> bool {
        self.surplus.contains(core)
    }

    /// This core has nothing to lend any more. False if an idle core has called it.
    #[must_use]
    pub fn leave_surplus(&self, core: CoreId) -> bool {
        self.surplus.remove(core)
    }
}
