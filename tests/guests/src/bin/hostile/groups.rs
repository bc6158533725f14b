//! Groups of system registers and system instructions that trap together.

use shikiri_test_guests::code::Encoding;
use shikiri_test_guests::random::Random;

/// Picks one register of a group.
pub(crate) type Group = fn(&mut Random) -> Encoding;

pub(crate) const PAR: Encoding = (3, 0, 7, 4, 0);
pub(crate) const CPACR: Encoding = (3, 0, 1, 0, 2);

pub(crate) const ALL: &[Group] = &[
    IDENTIFICATION,
    MONITORS,
    DEBUG,
    TIMER,
    INTERRUPTS,
    AUXILIARY,
    ORDERING,
    ERRORS,
    TRACE,
    HIDDEN,
    HIGHER,
    IMPLEMENTATION,
];

pub(crate) const IDENTIFICATION: Group = |r| match r.below(4) {
    // REVIDR, AIDR, CCSIDR, CLIDR, GMID, SMIDR, CSSELR, CTR, DCZID.
    0 => r.pick(&[
        (3, 0, 0, 0, 6),
        (3, 1, 0, 0, 7),
        (3, 1, 0, 0, 0),
        (3, 1, 0, 0, 1),
        (3, 1, 0, 0, 4),
        (3, 1, 0, 0, 6),
        (3, 2, 0, 0, 0),
        (3, 3, 0, 0, 1),
        (3, 3, 0, 0, 7),
    ]),
    _ => (3, 0, 0, below(r, 8), below(r, 8)),
};

pub(crate) const MONITORS: Group = |r| match r.below(3) {
    0 => (3, 3, 9, 12 + below(r, 3), below(r, 8)),
    1 => (3, 3, 14, 8 + below(r, 8), below(r, 8)),
    _ => (3, 0, 9, 14, below(r, 8)),
};

pub(crate) const DEBUG: Group = |r| match r.below(3) {
    0 => (2, 0, 0, below(r, 16), below(r, 8)),
    1 => (2, 0, 1, below(r, 16), 4),
    _ => (2, r.pick(&[0, 3, 4]), r.pick(&[0, 1, 7]), below(r, 16), below(r, 8)),
};

pub(crate) const TIMER: Group = |r| match r.below(3) {
    0 => (3, 0, 14, 1, 0),
    1 => (3, 3, 14, 0, below(r, 8)),
    _ => (3, 3, 14, 2 + below(r, 2), below(r, 3)),
};

pub(crate) const INTERRUPTS: Group = |r| match r.below(4) {
    0 => (3, 0, 4, 6, 0),
    _ => (3, 0, 12, 8 + below(r, 5), below(r, 8)),
};

pub(crate) const AUXILIARY: Group =
    |r| r.pick(&[(3, 0, 1, 0, 1), (3, 0, 5, 1, 0), (3, 0, 5, 1, 1), (3, 0, 10, 3, 0)]);

pub(crate) const ORDERING: Group = |r| (3, 0, 10, 4, below(r, 8));

pub(crate) const ERRORS: Group = |r| match r.below(2) {
    0 => (3, 0, 5, 3 + below(r, 3), below(r, 8)),
    _ => (3, r.pick(&[0, 4]), 12, 1, 1),
};

/// Statistical profiling, trace buffer, trace unit, trace filter, branch records, activity monitors, memory partitioning.
pub(crate) const TRACE: Group = |r| match r.below(7) {
    0 => (3, 0, 9, 9 + below(r, 2), below(r, 8)),
    1 => (3, 0, 9, 11, below(r, 8)),
    2 => (2, 1, below(r, 16), below(r, 16), below(r, 8)),
    3 => (3, 0, 1, 2, 1),
    4 => (2, 1, 8 + below(r, 2), below(r, 16), below(r, 8)),
    5 => (3, 3, 13, 2 + below(r, 14), below(r, 8)),
    _ => (3, 0, 10, 5, below(r, 8)),
};

/// Of SVE, SME, pointer authentication, memory tags, scalable contexts, NMI, guarded control stacks, permission indirection,
/// random numbers, 64-byte stores.
pub(crate) const HIDDEN: Group = |r| match r.below(3) {
    0 => (3, 0, 2, 1 + below(r, 3), below(r, 4)),
    _ => r.pick(&[
        (3, 0, 1, 2, 0),
        (3, 0, 1, 2, 4),
        (3, 0, 1, 2, 6),
        (3, 3, 4, 2, 2),
        (3, 3, 13, 0, 5),
        (3, 0, 1, 0, 5),
        (3, 0, 1, 0, 6),
        (3, 0, 5, 6, 0),
        (3, 0, 5, 6, 1),
        (3, 0, 13, 0, 7),
        (3, 3, 13, 0, 7),
        (3, 0, 4, 3, 0),
        (3, 0, 2, 5, 0),
        (3, 0, 2, 5, 1),
        (3, 3, 2, 4, 0),
        (3, 3, 2, 4, 1),
        (3, 0, 13, 0, 5),
        (3, 0, 13, 0, 6),
    ]),
};

/// Of EL2, EL3 and Secure EL1, and EL1's and EL0's by their names for EL2.
pub(crate) const HIGHER: Group =
    |r| (3, r.pick(&[4, 5, 6, 7]), below(r, 16), below(r, 16), below(r, 8));

pub(crate) const IMPLEMENTATION: Group = |r| {
    let (op0, crn) = (r.pick(&[1, 3]), r.pick(&[11, 15]));
    (op0, below(r, 8), crn, below(r, 16), below(r, 8))
};

/// DC CVAC, CVAU, CVAP, CVADP, CIVAC, IVAC, IC IVAU; those by tags.
pub(crate) const CACHE_BY_ADDRESS: &[Encoding] = &[
    (1, 3, 7, 10, 1),
    (1, 3, 7, 11, 1),
    (1, 3, 7, 12, 1),
    (1, 3, 7, 13, 1),
    (1, 3, 7, 14, 1),
    (1, 0, 7, 6, 1),
    (1, 3, 7, 5, 1),
    (1, 0, 7, 6, 3),
    (1, 3, 7, 14, 3),
    (1, 3, 7, 4, 3),
];

/// DC ISW, CSW, CISW.
pub(crate) const CACHE_BY_SET: &[Encoding] = &[(1, 0, 7, 6, 2), (1, 0, 7, 10, 2), (1, 0, 7, 14, 2)];

/// AT S1E1R, S1E1W, S1E0R, S1E0W, S1E1RP, S1E1WP, S1E1A; EL2's and EL3's: S1E2R, S12E1R, S12E0W, S1E3R.
pub(crate) const TRANSLATION: &[Encoding] = &[
    (1, 0, 7, 8, 0),
    (1, 0, 7, 8, 1),
    (1, 0, 7, 8, 2),
    (1, 0, 7, 8, 3),
    (1, 0, 7, 9, 0),
    (1, 0, 7, 9, 1),
    (1, 0, 7, 9, 2),
    (1, 4, 7, 8, 0),
    (1, 4, 7, 8, 4),
    (1, 4, 7, 8, 7),
    (1, 6, 7, 8, 0),
];

fn below(random: &mut Random, end: u64) -> u32 {
    random.below(end) as u32
}
