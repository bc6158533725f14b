//! The policy program of the tests: what it can see of the machine, and what it can do with partitions (P7).
//!
//! The first word that fits chooses: `stranger` holds no capability; `ticking`, `pauses`, `crowded`, `restarts`, `make`, `steps`, `outlive`;
//! a role in what is about requests; otherwise all calls about partitions of the description are tried.
#![no_std]
#![no_main]

mod areas;
mod asked;
mod bench;
mod described;
mod devices;
mod greed;
mod hostile;
mod kept;
mod linux;
mod made;
mod more;
mod tools;

use shikiri_rt::platform;

shikiri_rt::entry!(main);

/// The roles in what is about requests.
const ROLES: &[(&str, fn() -> !)] = &[
    ("bench-maker", bench::maker),
    ("bench-asker", bench::asker),
    ("asker", asked::asker),
    ("judge", asked::judge),
    ("overdue", asked::overdue),
    ("alone", asked::alone),
    ("patient", asked::patient),
    ("forgetful", asked::forgetful),
    ("outliving", asked::outliving),
    ("modest", asked::modest),
    ("fair", asked::fair),
    ("greed", greed::greedy),
    ("greed-judge", greed::judge),
    ("steady", greed::steady),
    ("flooding", asked::flooding),
    ("flooded", asked::flooded),
    ("mistaken", asked::mistaken),
    ("replacing", asked::replacing),
    ("areas", areas::areas),
    ("devices", devices::devices),
    ("lent", devices::lent),
    ("kept-asker", kept::asker),
    ("kept-judge", kept::judge),
    ("kept-stranger", kept::stranger),
    ("given", kept::given),
    ("more-asker", more::asker),
    ("more-judge", more::judge),
    ("last-words", made::last_words),
    ("moves", made::moves),
    ("linux", linux::linux),
    ("hostile", hostile::hostile),
];

fn main() {
    if let Some((_, role)) = ROLES.iter().find(|(word, _)| platform::has_word(word)) {
        role()
    }
    if platform::has_word("wants") {
        asked::wants()
    }
    if platform::has_word("greedy") {
        asked::greedy()
    }
    if platform::has_word("stranger") {
        described::stranger()
    }
    if platform::has_word("ticking") {
        described::ticking()
    }
    if platform::has_word("pauses") {
        described::pauses()
    }
    if platform::has_word("crowded") {
        described::crowded()
    }
    if platform::has_word("restarts") {
        described::restarts()
    }
    if platform::has_word("steps") {
        made::steps()
    }
    if platform::has_word("undone") {
        made::undone()
    }
    if platform::has_word("outlive") {
        made::outlive()
    }
    if platform::has_word("make") {
        made::calls()
    }
    described::calls()
}
