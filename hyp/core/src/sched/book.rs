//! The core book: which cores have time and seats left. One per machine, under the partition table's lock.
//!
//! Decided when a partition starts and given back when it ends, so that no admission ever looks into another
//! core's run queue.

use core::fmt;

use shikiri_abi::{CoreId, CoreSet, MAX_CORES};

use super::{Seat, Share};

/// A whole core in parts per million.
pub const WHOLE_CORE_PPM: u32 = 1_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// The sum of the shares of those who have a seat.
    ppm: u32,
    /// Seats taken.
    taken: u32,
}

/// What is promised of each core.
#[derive(Debug)]
pub struct CoreBook {
    online: CoreSet,
    pages: [Page; MAX_CORES],
}

/// A vCPU's home, as the book gave it; goes back with [`CoreBook::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a seat that is not released stays taken"]
pub struct Admitted {
    core: CoreId,
    seat: Seat,
    ppm: u32,
}

impl Admitted {
    /// The home core.
    #[must_use]
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// The seat there.
    #[must_use]
    pub const fn seat(&self) -> Seat {
        self.seat
    }

    /// The share, for the account's core time.
    #[must_use]
    pub const fn ppm(&self) -> u32 {
        self.ppm
    }
}

/// No core of the set has enough: nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAdmitted {
    /// The share that was asked for, in parts per million.
    pub ppm: u32,
    /// Where it could have been.
    pub cores: CoreSet,
    /// The most that any of these cores has left.
    pub most_left_ppm: u32,
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ppm, cores, most_left_ppm } = self;
        write!(
            f,
            "{ppm} ppm of a core wanted on cores {cores}; at most {most_left_ppm} ppm and a seat left"
        )
    }
}

impl CoreBook {
    /// A book of these cores, with nothing promised.
    #[must_use]
    pub const fn new(online: CoreSet) -> Self {
        Self { online, pages: [Page { ppm: 0, taken: 0 }; MAX_CORES] }
    }

    /// Finds a home for a vCPU: of the cores where it may run, the one with most time left that has enough
    /// and a seat; the lowest among equals. A vCPU that owns its core needs one where nobody has a seat.
    ///
    /// # Errors
    /// [`NotAdmitted`] if there is none.
    pub fn admit(&mut self, cores: CoreSet, share: Share) -> Result<Admitted, NotAdmitted> {
        let ppm = share.ppm();
        let best = cores
            .intersection(self.online)
            .iter()
            .map(|core| (core, self.left_ppm(core)))
            .max_by_key(|(core, left)| (*left, core::cmp::Reverse(*core)));
        let refusal = NotAdmitted { ppm, cores, most_left_ppm: best.map_or(0, |(_, left)| left) };
        let (core, _) = best.filter(|(_, left)| *left >= ppm).ok_or(refusal)?;
        let page = self.pages.get_mut(usize::from(core.0)).ok_or(refusal)?;
        let seat = Seat::of(!page.taken).next().ok_or(refusal)?;
        page.taken |= seat.bit();
        page.ppm = page.ppm.saturating_add(ppm);
        Ok(Admitted { core, seat, ppm })
    }

    /// Takes a home back. Its core has removed the vCPU from its queue.
    pub fn release(&mut self, home: Admitted) {
        if let Some(page) = self.pages.get_mut(usize::from(home.core.0)) {
            assert!(page.taken & home.seat.bit() != 0, "a free seat was released");
            page.taken &= !home.seat.bit();
            page.ppm = page.ppm.saturating_sub(home.ppm);
        }
    }

    /// Promises so much more to who has a seat on a core.
    ///
    /// # Errors
    /// [`NotAdmitted`] if the core has not so much left.
    pub fn grow(&mut self, core: CoreId, ppm: u32) -> Result<(), NotAdmitted> {
        let page = self.pages.get_mut(usize::from(core.0));
        let most_left_ppm = page.as_ref().map_or(0, |page| WHOLE_CORE_PPM.saturating_sub(page.ppm));
        let refusal = NotAdmitted { ppm, cores: CoreSet::one(core), most_left_ppm };
        let page = page.filter(|_| ppm <= most_left_ppm).ok_or(refusal)?;
        page.ppm = page.ppm.saturating_add(ppm);
        Ok(())
    }

    /// Takes back what [`CoreBook::grow`] has promised.
    pub fn shrink(&mut self, core: CoreId, ppm: u32) {
        if let Some(page) = self.pages.get_mut(usize::from(core.0)) {
            page.ppm = page.ppm.saturating_sub(ppm);
        }
    }

    /// What a core has left, in parts per million; 0 without a free seat.
    #[must_use]
    pub fn left_ppm(&self, core: CoreId) -> u32 {
        match self.pages.get(usize::from(core.0)) {
            Some(page) if page.taken != u32::MAX => WHOLE_CORE_PPM.saturating_sub(page.ppm),
            Some(_) | None => 0,
        }
    }
}
