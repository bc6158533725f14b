//! Address ranges that somebody wants, and the first two that collide.

use shikiri_abi::PAGE_BYTES;

use crate::board::Range;
use crate::problem::{Place, Problem};

/// A range of addresses with its claimant.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// The addresses.
    pub(crate) range: Range,
    /// Others can have the rest of the page, because accesses are filtered below page size.
    pub(crate) moderated: bool,
    /// Who wants it, for the message.
    pub(crate) who: String,
    /// Where that stands.
    pub(crate) place: Place,
}

impl Claim {
    /// What must be free of others: whole pages, except between moderated regions.
    fn extent(&self, in_bytes: bool) -> (u64, u64) {
        let (start, end) = (self.range.start, self.range.end());
        if in_bytes {
            (start, end)
        } else {
            (
                start & !(PAGE_BYTES - 1),
                end.checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX),
            )
        }
    }

    /// The first address that both want.
    fn overlap(&self, other: &Self) -> Option<u64> {
        let in_bytes = self.moderated && other.moderated;
        let (start, end) = self.extent(in_bytes);
        let (other_start, other_end) = other.extent(in_bytes);
        (start < other_end && other_start < end).then_some(start.max(other_start))
    }
}

/// Refuses two claims to the same address; `kind` is "guest address" or "physical address".
pub(crate) fn check_disjoint(claims: &[Claim], kind: &str) -> Result<(), Problem> {
    for (index, first) in claims.iter().enumerate() {
        for second in claims.iter().skip(index + 1) {
            if let Some(address) = first.overlap(second) {
                return Err(collision(first, second, address, kind));
            }
        }
    }
    Ok(())
}

fn collision(first: &Claim, second: &Claim, address: u64, kind: &str) -> Problem {
    let (who, other) = (&first.who, &second.who);
    let message = format!("{kind} {address:#x} is claimed by {who} and by {other}");
    let mark = |claim: &Claim| {
        format!("{:#x} to {:#x}", claim.range.start, claim.range.end().saturating_sub(1))
    };
    let problem = Problem::new(message);
    let problem = problem.at(&first.place, format!("{who}: {}", mark(first)));
    let problem = if first.place == second.place {
        problem
    } else {
        problem.at(&second.place, format!("{other}: {}", mark(second)))
    };
    let only_the_page =
        first.range.start.max(second.range.start) >= first.range.end().min(second.range.end());
    if only_the_page {
        return problem
            .help("they only share a 4 KiB page, but one of them is mapped as a whole page");
    }
    problem
}
