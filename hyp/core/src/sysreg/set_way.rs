//! Cache maintenance by set and way: DC ISW, DC CSW, DC CISW.
//!
//! On a machine that is shared it is carried out by address, on all of the partition's memory. One operation names a line of
//! a cache and not an address, so it says something only as a part of a walk over all sets and ways of a level; and of what
//! a walk promises, *what was dirty before it began is clean when it ends*, one cleaning at any moment of the walk is enough.
//! Whatever its geometry and its order, a walk comes once to way 0 of set 0. So that operation cleans, and all others do
//! nothing (decision 0089).

use super::SysregOutcome;

/// The bits of the operand that hold way and set (Arm ARM, DC CISW: way from bit 31 down, set from the line's size up, which
/// is 16 bytes or more). Where one ends and the other begins is of no account. Bits 3:1 are the level, the others are RES0.
const WAY_AND_SET: u64 = 0xffff_fff0;

/// What an operation with this operand does.
#[inline]
pub(super) const fn decide(operand: u64) -> SysregOutcome {
    if operand & WAY_AND_SET == 0 { SysregOutcome::CleanMemory } else { SysregOutcome::Ignored }
}

#[cfg(test)]
mod tests;
