//! Accounts: what is charged is what one has, and a limit is never passed by a charge.

use shikiri_abi::{PageCount, Resource};

use super::areas::Area;
use super::handles::{Has, Place, Thing};
use super::{Ref, Refusal, Seen, Spec, over};

/// Memory, IPA space, management memory: in pages.
type Cost = [u64; 3];

fn sum(all: impl Iterator<Item = Cost>) -> Cost {
    all.fold([0; 3], |[a, b, c], [x, y, z]| [a + x, b + y, c + z])
}

impl Spec {
    /// Policy sets a limit, or takes it away. What is used already stays, even above it.
    pub fn set_limit(&mut self, who: usize, line: Resource, limit: Option<u64>) {
        self.of_mut(who).limits[usize::from(line.number())] = limit;
    }

    /// What is charged to a line of a partition's account.
    #[must_use]
    pub fn used(&self, who: usize, line: Resource) -> u64 {
        let own = self.of(who);
        let [memory, ipa_space, management] =
            sum(own.things.values().map(|thing| self.cost(thing)));
        let is_event_port = |thing: &&Thing| matches!(thing, Thing::Send(_) | Thing::Receive(_));
        let more = match line {
            Resource::Memory => memory,
            Resource::IpaSpace => ipa_space + u64::from(own.shown.is_some()),
            Resource::ManagementMemory => management + own.freeing,
            Resource::EventPorts => own.things.values().filter(is_event_port).count() as u64,
            _ => 0,
        };
        own.base[usize::from(line.number())] + more
    }

    /// What a thing costs. A window is paid in full for all that can come into it, and what lies there costs nothing more.
    fn cost(&self, thing: &Thing) -> Cost {
        match thing {
            Thing::Send(_) | Thing::Receive(_) | Thing::Request(..) => [0; 3],
            Thing::Object(_) => [0, 0, 1],
            Thing::Port(port) => {
                let pages = port.slots * port.class.pages().0;
                // Its two pages, and a table for each page of tables that can come.
                [pages, pages + 2, 2 + port.slots * port.class.most_tables()]
            }
            Thing::Place(place) if place.window.is_some() => [0; 3],
            Thing::Place(place) => self.cost_of_place(place),
        }
    }

    fn cost_of_place(&self, place: &Place) -> Cost {
        match &place.has {
            Has::Making { wanted, tables } => [*wanted, *wanted, *tables],
            // Their tables are in `freeing`.
            Has::Freed { pages, .. } => [*pages, *pages, 0],
            // Who can come to keep the area has paid for it, with tables for who writes and who reads.
            _ if place.is_attachment() => {
                let tables = place.class.tables_of(PageCount(place.paid));
                [place.paid, place.paid, 2 * tables]
            }
            has => {
                let area = has.area().expect("what is no attachment has an area");
                let Area { pages, tables, copy, .. } = self.areas[&area];
                [pages, pages, tables + copy]
            }
        }
    }

    /// Whether so much more may be charged to each of these lines; the first that may not is named.
    pub(super) fn check_charge(
        &self,
        who: usize,
        wanted: &[(Resource, u64)],
    ) -> Result<(), Refusal> {
        for (line, amount) in wanted {
            let limit = self.of(who).limits[usize::from(line.number())];
            let is_over = limit.is_some_and(|limit| self.used(who, *line) + amount > limit);
            if *amount > 0 && is_over {
                return Err(over(*line));
            }
        }
        Ok(())
    }

    /// Whether `most` more tables may be too many. A step that lacks one for its beginning is refused.
    pub(super) fn may_lack_tables(&self, who: usize, most: u64) -> bool {
        self.check_charge(who, &[(Resource::ManagementMemory, most.min(2))]).is_err()
    }

    /// By how much the caller's management memory has changed, beyond what is said here already: tables are the hypervisor's to choose.
    pub(super) fn more_tables(&self, who: usize, seen: &Seen<'_>) -> i64 {
        let seen = seen.used[usize::from(Resource::ManagementMemory.number())];
        seen.cast_signed() - self.used(who, Resource::ManagementMemory).cast_signed()
    }

    /// Tables of areas that are being freed have gone. *Choice*: how many.
    pub(super) fn settle_freeing(&mut self, who: usize, seen: &Seen<'_>) {
        let more = self.more_tables(who, seen);
        let own = self.places_of(who).filter(|(_, place)| place.window.is_none());
        let most = own
            .map(|(_, place)| if let Has::Freed { tables, .. } = place.has { tables } else { 0 });
        let most: u64 = most.sum();
        let own = self.of_mut(who);
        let left = own.freeing.checked_add_signed(more);
        let left = left.filter(|left| more <= 0 && *left <= most);
        own.freeing =
            left.unwrap_or_else(|| panic!("{} {more} tables are left of {most}", own.freeing));
    }

    /// A number of tables after a change that was seen: at least `least`, at most `most`.
    pub(super) fn tables_now(
        &self,
        (now, least, most): (u64, u64, u64),
        who: usize,
        seen: &Seen<'_>,
    ) -> u64 {
        let more = self.more_tables(who, seen);
        let new = now.checked_add_signed(more).filter(|new| (least..=most).contains(new));
        new.unwrap_or_else(|| panic!("{now} tables and {more} more, of {least} to {most}"))
    }

    /// Frames that are in use for areas and ports; `None` while some are on their way.
    #[must_use]
    pub fn frames(&self) -> Option<u64> {
        let is_moving = |place: &Place| {
            matches!(
                place.has,
                Has::Making { .. } | Has::Freed { .. } | Has::Leaving(_) | Has::Copying(_)
            )
        };
        if self.places().any(|(_, place)| is_moving(place)) {
            return None;
        }
        let areas: u64 = self.areas.values().map(|area| area.pages + area.tables + area.copy).sum();
        let living = (0..self.partitions.len()).filter(|who| self.lives(*who));
        Some(areas + living.map(|who| 2 * self.ports_of(who).count() as u64).sum::<u64>())
    }

    /// How many tables an area has for those who read and write.
    pub(super) fn tables(&self, place: Ref) -> u64 {
        self.place(place).has.area().map_or(0, |area| self.areas[&area].tables)
    }
}
