//! Any calls of any partitions, in any order: each reaches exactly what it has with the rights that it was given.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shikiri_abi::{AreaClass, Ipa, PAGE_BYTES};
use shikiri_model::estates::Estates;
use shikiri_model::random_calls;

use crate::{
    ACCEPT, AGAIN, ALLOC, CONNECT, CREATE, DETACH, FREE, OFFER, OK, REFUSE, REVOKE, SIZES, STATE,
    TAKE, WITHDRAW, all_end, call, code, finish,
};

/// What some partition knows of an area.
#[derive(Clone, Debug)]
struct Known {
    handle: u64,
    at: Ipa,
    /// Which area it is, and whether it may write; `None`: it has none.
    has: Option<(usize, bool)>,
}

/// Who has what, by whatever calls came before.
#[derive(Default)]
struct World {
    /// What each partition has, in the order in which it got it.
    own: BTreeMap<usize, Vec<Known>>,
    requests: BTreeMap<usize, Vec<(u64, usize, u64)>>,
    words: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Alloc { who: usize, pages: u64 },
    Offer { who: usize, which: usize },
    Create { who: usize, pages: u64 },
    Connect { who: usize, which: usize, to: usize },
    Take { who: usize },
    Accept { who: usize, request: usize, which: usize, access: u64 },
    Refuse { who: usize, request: usize },
    Detach { who: usize, which: usize },
    Revoke { who: usize, which: usize, user: usize },
    Withdraw { who: usize, which: usize },
    Free { who: usize, which: usize },
    Guess { who: usize, number: u32, x: [u64; 3] },
    End { who: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..3_usize;
    let which = || 0..4_usize;
    let pages = || prop_oneof![Just(1_u64), Just(3), Just(70), Just(513)];
    let step = prop_oneof![
        2 => (who(), pages()).prop_map(|(who, pages)| Step::Alloc { who, pages }),
        4 => (who(), which()).prop_map(|(who, which)| Step::Offer { who, which }),
        4 => (who(), pages()).prop_map(|(who, pages)| Step::Create { who, pages }),
        6 => (who(), which(), who()).prop_map(|(who, which, to)| Step::Connect { who, which, to }),
        6 => who().prop_map(|who| Step::Take { who }),
        8 => (who(), which(), which(), 0..2_u64)
            .prop_map(|(who, request, which, access)| Step::Accept { who, request, which, access }),
        1 => (who(), which()).prop_map(|(who, request)| Step::Refuse { who, request }),
        2 => (who(), which()).prop_map(|(who, which)| Step::Detach { who, which }),
        2 => (who(), which(), who())
            .prop_map(|(who, which, user)| Step::Revoke { who, which, user }),
        1 => (who(), which()).prop_map(|(who, which)| Step::Withdraw { who, which }),
        1 => (who(), which()).prop_map(|(who, which)| Step::Free { who, which }),
        2 => (who(), 0x30..0x38_u32, [0..3_u64, 0..3_u64, 0..2_u64])
            .prop_map(|(who, number, x)| Step::Guess { who, number, x }),
        1 => who().prop_map(|who| Step::End { who }),
    ];
    prop::collection::vec(step, 1..80)
}

impl World {
    fn nth(&self, who: usize, which: usize) -> Option<Known> {
        let own = self.own.get(&who)?;
        own.get(which % own.len().max(1)).cloned()
    }

    fn request(&self, who: usize, which: usize) -> Option<(u64, usize, u64)> {
        let all = self.requests.get(&who)?;
        all.get(which % all.len().max(1)).copied()
    }

    fn run(&mut self, estates: &mut Estates, step: &Step) {
        match *step {
            Step::Alloc { who, pages } => {
                let class = AreaClass::holding(shikiri_abi::PageCount(pages)).unwrap();
                let mut x = [pages * PAGE_BYTES, code(class), 0];
                loop {
                    let ([status, x1, x2, _], _) = call(estates, who, ALLOC, &x);
                    match status {
                        AGAIN => x[2] = x1,
                        OK => {
                            let has = Some((self.words.len(), true));
                            self.words.push(0);
                            let known = Known { handle: x1, at: Ipa(x2), has };
                            self.own.entry(who).or_default().push(known);
                            break;
                        }
                        _refused => break,
                    }
                }
            }
            Step::Offer { who, which } => {
                if let Some(known) = self.nth(who, which) {
                    call(estates, who, OFFER, &[known.handle, 0]);
                }
            }
            Step::Create { who, pages } => {
                let class = AreaClass::holding(shikiri_abi::PageCount(pages)).unwrap();
                let ([status, events, ..], _) = call(estates, who, 0x11, &[]);
                if status == OK {
                    let x = [events, pages * PAGE_BYTES, code(class)];
                    let ([status, x1, x2, _], _) = call(estates, who, CREATE, &x);
                    if status == OK {
                        let known = Known { handle: x1, at: Ipa(x2), has: None };
                        self.own.entry(who).or_default().push(known);
                    } else {
                        call(estates, who, 0x19, &[events]);
                    }
                }
            }
            Step::Connect { who, which, to } => {
                if let Some(known) = self.nth(who, which).filter(|_| to != who && estates.lives(to))
                {
                    call(estates, who, CONNECT, &[known.handle, to as u64, 0, known.handle]);
                }
            }
            Step::Take { who } => {
                let ([status, request, _, word], _) = call(estates, who, TAKE, &[]);
                if status == OK {
                    let request = request & ((1 << 56) - 1);
                    let from = self.own.iter().find(|(_, all)| {
                        all.iter().any(|known| known.handle == word && known.has.is_none())
                    });
                    let from = from.map_or(who, |(from, _)| *from);
                    self.requests.entry(who).or_default().push((request, from, word));
                }
            }
            Step::Accept { who, request, which, access } => {
                let (Some((request, _, _)), Some(known)) =
                    (self.request(who, request), self.nth(who, which))
                else {
                    return;
                };
                let users = self.attached(estates);
                let ([status, ..], _) =
                    call(estates, who, ACCEPT, &[request, known.handle, access]);
                if status == OK {
                    // Whoever is attached now, and was not before.
                    let now = self.attached(estates);
                    let new: Vec<_> = now.iter().filter(|it| !users.contains(it)).collect();
                    assert_eq!(new.len(), 1);
                    let (user, handle) = *new[0];
                    let has = known.has.map(|(area, _)| (area, access == 1));
                    assert!(has.is_some());
                    let all = self.own.get_mut(&user).unwrap();
                    all.iter_mut().find(|known| known.handle == handle).unwrap().has = has;
                    self.requests.get_mut(&who).unwrap().retain(|(it, ..)| *it != request);
                }
            }
            Step::Refuse { who, request } => {
                if let Some((request, ..)) = self.request(who, request) {
                    call(estates, who, REFUSE, &[request]);
                }
            }
            Step::Detach { who, which } | Step::Free { who, which } => {
                let number = if matches!(step, Step::Free { .. }) { FREE } else { DETACH };
                let Some(known) = self.nth(who, which) else { return };
                let mut is_gone = false;
                loop {
                    let ([status, ..], _) = call(estates, who, number, &[known.handle]);
                    estates.audit();
                    is_gone |= [OK, AGAIN].contains(&status);
                    if status != AGAIN {
                        break;
                    }
                }
                if is_gone {
                    self.own.get_mut(&who).unwrap().retain(|it| it.handle != known.handle);
                }
            }
            Step::Revoke { who, which, user } => {
                let Some(known) = self.nth(who, which).filter(|_| estates.lives(user)) else {
                    return;
                };
                let ([status, ..], _) = call(estates, who, REVOKE, &[known.handle, user as u64]);
                if status == OK {
                    self.lose(user, &known);
                }
            }
            Step::Withdraw { who, which } => {
                let Some(known) = self.nth(who, which) else { return };
                loop {
                    let ([status, ..], _) = call(estates, who, WITHDRAW, &[known.handle]);
                    estates.audit();
                    match status {
                        AGAIN => {}
                        OK => {
                            (0..3).filter(|user| *user != who).for_each(|user| {
                                self.lose(user, &known);
                            });
                            break;
                        }
                        _refused => break,
                    }
                }
            }
            Step::Guess { who, number, x } => {
                let used = [2, 1, 2, 3, 4, 3, 1, 1][number as usize - 0x30].min(3);
                call(estates, who, number, &x[..used]);
            }
            Step::End { who } => {
                estates.end(who);
                self.own.remove(&who);
                self.requests.remove(&who);
                estates.audit();
                estates.start(who);
            }
        }
    }

    /// Who has attached an area, with which handle.
    fn attached(&self, estates: &mut Estates) -> Vec<(usize, u64)> {
        let all =
            self.own.iter().flat_map(|(who, all)| all.iter().map(|known| (*who, known.handle)));
        all.filter(|(who, handle)| call(estates, *who, STATE, &[*handle]).0[0] == OK).collect()
    }

    fn lose(&mut self, user: usize, known: &Known) {
        let area = known.has.map(|(area, _)| area);
        for its in self.own.entry(user).or_default() {
            if its.has.map(|(area, _)| area) == area && its.has.is_some() {
                its.has = None;
            }
        }
    }

    /// Every partition reaches what it should, as it should, and nothing else.
    fn check(&mut self, estates: &mut Estates, round: u64) {
        for (who, all) in &self.own {
            for known in all {
                let expected = known.has.map(|(area, _)| self.words[area]);
                assert_eq!(estates.read(*who, known.at), expected, "{who} at {:?}", known.at);
                let may_write = known.has.is_some_and(|(_, may_write)| may_write);
                let value = round << 8 | *who as u64;
                assert_eq!(estates.write(*who, known.at, value), may_write);
                if let (Some((area, _)), true) = (known.has, may_write) {
                    self.words[area] = value;
                }
            }
        }
    }
}

/// Three partitions do anything, in any order: all books agree after each call, each partition reaches exactly what it has
/// attached, with the rights that it was given, and at the end nothing is left.
#[test]
fn any_calls_of_any_partitions_share_what_was_agreed_c5() {
    random_calls(&steps(), |steps| {
        let mut estates = Estates::new(3, 32, SIZES);
        let idle = estates.machine.store.free_pages().0;
        let mut world = World::default();
        for (round, step) in (1..).zip(&steps) {
            world.run(&mut estates, step);
            estates.audit();
            world.check(&mut estates, round);
        }
        all_end(&mut estates);
        for who in 0..3 {
            estates.start(who);
        }
        assert_eq!(estates.machine.store.free_pages().0, idle);
        let calls = estates.calls;
        finish(estates);
        calls
    });
}
