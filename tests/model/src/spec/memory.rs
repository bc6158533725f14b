//! What a guest finds in its window region: its areas, those that it shares, and the pages of its message ports.

use shikiri_abi::PAGE_BYTES;

use super::areas::AreaId;
use super::handles::Has;
use super::{Ref, Spec};

/// What lies at an address.
enum At {
    /// A word of an area.
    Area { area: AreaId, offset: u64, may_write: bool },
    /// A word of what has come to a port.
    Arrivals(Ref, usize),
    /// A word of what may come.
    Credits(Ref, usize),
}

/// The word of a page that begins at `page`, if the address is in that.
fn word_of(page: u64, at: u64) -> Option<usize> {
    let offset = at.checked_sub(page).filter(|offset| *offset < PAGE_BYTES)?;
    usize::try_from(offset / 8).ok()
}

impl Spec {
    fn at(&self, who: usize, at: u64) -> Option<At> {
        for (_, place) in self.places_of(who) {
            let may_write = match place.has {
                Has::Own(_) | Has::Copying(_) | Has::Offered(..) => true,
                Has::Attached { may_write, .. } => may_write,
                Has::Making { .. } | Has::Nothing(_) | Has::Leaving(_) | Has::Freed { .. } => {
                    continue;
                }
            };
            let area = place.has.area()?;
            let offset = at.checked_sub(place.at?);
            let offset = offset.filter(|offset| *offset < self.areas[&area].pages * PAGE_BYTES);
            if let Some(offset) = offset {
                return Some(At::Area { area, offset, may_write });
            }
        }
        self.ports_of(who).find_map(|(handle, port)| {
            let arrivals = word_of(port.arrivals, at).map(|word| At::Arrivals((who, handle), word));
            arrivals.or_else(|| Some(At::Credits((who, handle), word_of(port.credits, at)?)))
        })
    }

    /// What a guest reads; `None`: it faults.
    #[must_use]
    pub fn load(&self, who: usize, at: u64) -> Option<u64> {
        Some(match self.at(who, at)? {
            At::Area { area, offset, .. } => {
                self.areas[&area].words.get(&offset).copied().unwrap_or(0)
            }
            At::Arrivals(port, word) => self.port(port).ok()?.arrived(word),
            At::Credits(port, word) => self.port(port).ok()?.given.get(&word).copied().unwrap_or(0),
        })
    }

    /// Whether a guest can write there.
    #[must_use]
    pub fn may_write(&self, who: usize, at: u64) -> bool {
        match self.at(who, at) {
            Some(At::Area { may_write, .. }) => may_write,
            Some(At::Credits(..)) => true,
            Some(At::Arrivals(..)) | None => false,
        }
    }

    /// A guest writes a word, if it can.
    pub fn store(&mut self, who: usize, at: u64, value: u64) {
        match self.at(who, at) {
            Some(At::Area { area, offset, may_write: true }) => {
                let words = &mut self.areas.get_mut(&area).expect("it is there").words;
                words.insert(offset, value);
            }
            Some(At::Credits(port, word)) => {
                self.port_mut(port).given.insert(word, value);
            }
            Some(At::Area { .. } | At::Arrivals(..)) | None => {}
        }
    }
}
