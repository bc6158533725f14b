//! Accounts: what a partition may use, what it uses, and the most that it ever used (P3).
//!
//! An [`Account`] has one line for each of the eight resources. Nothing is allocated for a partition except
//! against a [`Charge`], and a charge is linear: it cannot be copied, it names its account, and the only ways
//! to be rid of it are [`Account::refund`] and [`Charge::absorb`]. One that is dropped instead stops a debug
//! build on the spot, and in any build leaves the account above zero, which the audit reports.
//!
//! An account belongs to its partition and is reached under the partition's lock; nothing here is shared.

use core::fmt;

use shikiri_abi::{PartitionId, RESOURCE_COUNT, Resource};

/// One line of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The most that may be charged; `None` is *unset*: no limit of its own, which is not zero (P2).
    pub limit: Option<u64>,
    /// What is charged now.
    pub used: u64,
    /// The most that was ever charged at one time.
    pub high: u64,
}

/// A partition's account.
#[derive(Debug)]
pub struct Account {
    owner: PartitionId,
    lines: [Line; RESOURCE_COUNT],
}

/// A refused charge: nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// Which resource ran out.
    pub resource: Resource,
    /// The limit that stood against it; `None` if the line's 64 bits did.
    pub limit: Option<u64>,
    /// What was charged already.
    pub used: u64,
    /// What was asked for on top.
    pub asked: u64,
}

impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, limit, used, asked } = self;
        write!(f, "{resource}: {asked} more on top of {used}")?;
        match limit {
            Some(limit) => write!(f, " passes the limit {limit}"),
            None => write!(f, " cannot be counted"),
        }
    }
}

/// An amount that stands on an account until it is refunded. Whoever holds the thing holds its charge.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a charge that is not refunded stays on the account for ever"]
pub struct Charge {
    owner: PartitionId,
    resource: Resource,
    amount: u64,
}

impl Charge {
    /// What is charged.
    #[must_use]
    pub const fn resource(&self) -> Resource {
        self.resource
    }

    /// How much, in the resource's unit.
    #[must_use]
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    /// Adds another charge of the same account and resource to this one: for tables that grow page by page.
    pub fn absorb(&mut self, mut other: Self) {
        assert!(
            self.owner == other.owner && self.resource == other.resource,
            "two different charges were merged"
        );
        self.amount = self.amount.saturating_add(other.amount);
        other.amount = 0;
    }

    /// Takes `amount` out as a charge of its own, to be refunded alone; all of it if there is no more.
    pub fn split(&mut self, amount: u64) -> Self {
        let taken = amount.min(self.amount);
        self.amount = self.amount.saturating_sub(taken);
        Self { owner: self.owner, resource: self.resource, amount: taken }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        debug_assert!(
            self.amount == 0,
            "a charge of {} {} was forgotten",
            self.amount,
            self.resource
        );
    }
}

impl Account {
    /// The account of a partition that was just created: nothing used, no limit set.
    #[must_use]
    pub const fn new(owner: PartitionId) -> Self {
        const UNSET: Line = Line { limit: None, used: 0, high: 0 };
        Self { owner, lines: [UNSET; RESOURCE_COUNT] }
    }

    /// Whose account this is.
    #[must_use]
    pub const fn owner(&self) -> PartitionId {
        self.owner
    }

    /// Reads one line.
    #[must_use]
    #[inline]
    pub const fn line(&self, resource: Resource) -> Line {
        let [core_time, ipa, memory, management, ports, devices, cache, bus] = self.lines;
        match resource {
            Resource::CoreTime => core_time,
            Resource::IpaSpace => ipa,
            Resource::Memory => memory,
            Resource::ManagementMemory => management,
            Resource::EventPorts => ports,
            Resource::Devices => devices,
            Resource::CacheShare => cache,
            Resource::BusShare => bus,
        }
    }

    /// Sets or removes a limit. One below what is used is allowed: it takes nothing away, and refuses
    /// every new charge until enough was given back.
    pub const fn set_limit(&mut self, resource: Resource, limit: Option<u64>) {
        self.line_mut(resource).limit = limit;
    }

    /// Charges `amount`; zero is a charge too, and others can be absorbed into it.
    ///
    /// # Errors
    /// [`OverLimit`] if the limit, or the line's 64 bits, would be passed; then nothing has changed.
    pub fn charge(&mut self, resource: Resource, amount: u64) -> Result<Charge, OverLimit> {
        let sum = self.check(resource, amount)?;
        Ok(self.commit(resource, amount, sum))
    }

    /// Charges several resources or none: a mapped page costs memory *and* IPA space.
    ///
    /// # Errors
    /// The first [`OverLimit`] in the order of the list, where an earlier item for the same resource counts
    /// as used; then nothing has changed.
    pub fn charge_all<const N: usize>(
        &mut self,
        wanted: [(Resource, u64); N],
    ) -> Result<[Charge; N], OverLimit> {
        self.check_all(&wanted)?;
        Ok(wanted.map(|(resource, amount)| {
            let sum = self.line(resource).used.saturating_add(amount);
            self.commit(resource, amount, sum)
        }))
    }

    /// Whether all of it could be charged, as by [`Account::charge_all`]; nothing changes.
    ///
    /// # Errors
    /// The same.
    #[inline(never)]
    pub(crate) fn check_all(&self, wanted: &[(Resource, u64)]) -> Result<(), OverLimit> {
        for (position, (resource, amount)) in wanted.iter().enumerate() {
            let earlier = wanted.iter().take(position).filter(|(other, _)| other == resource);
            let total = earlier.copied().try_fold(*amount, |sum, (_, more)| sum.checked_add(more));
            let Some(total) = total else {
                let Line { limit: _, used, .. } = self.line(*resource);
                return Err(OverLimit { resource: *resource, limit: None, used, asked: *amount });
            };
            self.check(*resource, total)?;
        }
        Ok(())
    }

    /// Takes a charge off the account again.
    pub fn refund(&mut self, mut charge: Charge) {
        assert!(charge.owner == self.owner, "a charge was refunded to another account");
        let line = self.line_mut(charge.resource);
        assert!(line.used >= charge.amount, "an account's line would fall below zero");
        line.used = line.used.saturating_sub(charge.amount);
        charge.amount = 0;
    }

    /// Whether nothing is charged on any line: what an ended partition's account must be.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.lines.iter().all(|line| line.used == 0)
    }

    /// Whether no line stands above its limit: so it is unless a limit was set below what was used already.
    #[must_use]
    pub fn keeps_limits(&self) -> bool {
        self.lines.iter().all(|line| line.limit.is_none_or(|limit| line.used <= limit))
    }

    /// What the line would stand at after `amount` more. An amount of zero is never refused.
    fn check(&self, resource: Resource, amount: u64) -> Result<u64, OverLimit> {
        let line = self.line(resource);
        let refusal = OverLimit { resource, limit: line.limit, used: line.used, asked: amount };
        let Some(sum) = line.used.checked_add(amount) else {
            return Err(OverLimit { limit: None, ..refusal });
        };
        if amount > 0 && line.limit.is_some_and(|limit| sum > limit) {
            return Err(refusal);
        }
        Ok(sum)
    }

    fn commit(&mut self, resource: Resource, amount: u64, sum: u64) -> Charge {
        let owner = self.owner;
        let line = self.line_mut(resource);
        line.used = sum;
        line.high = line.high.max(sum);
        Charge { owner, resource, amount }
    }

    const fn line_mut(&mut self, resource: Resource) -> &mut Line {
        let [core_time, ipa, memory, management, ports, devices, cache, bus] = &mut self.lines;
        match resource {
            Resource::CoreTime => core_time,
            Resource::IpaSpace => ipa,
            Resource::Memory => memory,
            Resource::ManagementMemory => management,
            Resource::EventPorts => ports,
            Resource::Devices => devices,
            Resource::CacheShare => cache,
            Resource::BusShare => bus,
        }
    }
}

#[cfg(test)]
mod tests;
