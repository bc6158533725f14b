//! Requests on a machine that is a table of answers to policy calls.

use std::cell::RefCell;
use std::collections::VecDeque;

use shikiri_abi::{PartitionId, PartitionRef, PartitionSlot, Resource, Status, VcpuIndex, Wish};
use shikiri_machine::{Calls, Door, Gic, Trees};

use super::answer;
use crate::policy::Policy;

const LIST: u16 = 0x100;
const NAME: u16 = 0x101;
const LIMIT_READ: u16 = 0x102;
const HANDOUT_READ: u16 = 0x11a;
const TAKE: u16 = 0x120;
const ANSWER: u16 = 0x121;

/// Two partitions, `asker` and `other`, at the places 0 and 1: each has 40 % of a core in use, and 50 % by its limit; 30 % can be
/// handed out, two pages of memory, and the core has 20 % left. One vCPU is kept back.
#[derive(Default)]
struct Table {
    /// What waits: who, `what` and `amount` as REQUEST_TAKE has them.
    waiting: VecDeque<(PartitionRef, [u64; 2])>,
    /// Answers: whose, how much.
    answers: Vec<(u8, Option<u64>)>,
    /// The partition that has asked is not there any more when it is answered.
    is_gone: bool,
    /// `other` is there only when a request has been taken.
    is_other_late: bool,
    /// Between the look at what can be handed out of core time and the answer others get of it: so much is left then, each time.
    left_later: VecDeque<u64>,
    /// So much of it was taken.
    gone: u64,
}

const fn who(place: u8) -> PartitionRef {
    PartitionRef { place: PartitionSlot(place), id: PartitionId(7) }
}

fn status(status: Status, which: u64) -> [u64; 4] {
    [status.code().cast_unsigned(), which, 0, 0]
}

impl Table {
    fn count(&self) -> u64 {
        if self.is_other_late && !self.waiting.is_empty() { 1 } else { 2 }
    }

    fn call(&mut self, number: u16, x: [u64; 6]) -> [u64; 4] {
        match number {
            LIST if x[0] < self.count() => [0, who(u8::try_from(x[0]).unwrap()).encode(), 4, 1],
            LIST => status(Status::Range, 0),
            NAME => {
                let name: &[u8; 16] = if x[0] >> 32 == 0 {
                    b"asker\0\0\0\0\0\0\0\0\0\0\0"
                } else {
                    b"other\0\0\0\0\0\0\0\0\0\0\0"
                };
                let word = u64::from_le_bytes(name[..8].try_into().unwrap());
                if x[1] == 0 { [0, word, 0, 0] } else { [0; 4] }
            }
            LIMIT_READ if x[1] == 0 => [0, 500_000, 400_000, 400_000],
            LIMIT_READ => [0, 100, 100, 100],
            HANDOUT_READ => {
                [0, if x[0] == 0 { 300_000 } else { 2 }, if x[0] == 0 { self.gone } else { 0 }, 0]
            }
            TAKE => match self.waiting.pop_front() {
                Some((who, [what, amount])) => [0, who.encode(), what | 5 << 8, amount],
                None => status(Status::Empty, 0),
            },
            ANSWER => self.answered(x),
            _ => status(Status::NotSupported, 0),
        }
    }

    /// As the hypervisor does: of vCPUs it has one, of the core's time 20 %, and a peer is not there any more.
    fn answered(&mut self, [word, is_granted, amount, number, ..]: [u64; 6]) -> [u64; 4] {
        assert_eq!(number, 5);
        let place = PartitionRef::decode(word).unwrap().place.0;
        let granted = (is_granted == 1).then_some(amount);
        self.answers.push((place, granted));
        if let Some(left) = self.left_later.pop_front() {
            self.gone = 300_000 - left;
        }
        // What the limit lacks: it allows 10 % more than is used.
        let handed_out = granted.filter(|_| !self.is_gone).unwrap_or(0).saturating_sub(100_000);
        if self.gone > 0 && handed_out > 300_000 - self.gone {
            return status(Status::OverLimit, 256);
        }
        match granted {
            _ if self.is_gone => status(Status::PeerGone, 0),
            Some(2) => status(Status::OverLimit, 17),
            Some(200_001..=300_000) => [status(Status::OverLimit, 512)[0], 512, 200_000, 0],
            Some(99) => status(Status::InvalidParameter, 3),
            Some(0) => status(Status::NotFound, 0),
            _ => [0; 4],
        }
    }
}

struct Fake(RefCell<Table>);

impl Calls for Fake {
    fn call(&self, number: u16, x: [u64; 6]) -> Option<[u64; 4]> {
        Some(self.0.borrow_mut().call(number, x))
    }

    fn load(&self, _: u64, _: u64, _: &[u8]) -> Option<[u64; 4]> {
        unreachable!("no request loads a partition")
    }
}

impl Trees for Fake {
    fn gic(&self) -> Option<Gic> {
        unreachable!("no request makes a tree")
    }

    fn keep(&self, _: &str, _: &[u8]) -> std::io::Result<()> {
        unreachable!("no request makes a tree")
    }

    fn kept(&self, _: &str) -> Option<Vec<u8>> {
        unreachable!("no request starts a partition")
    }

    fn forget(&self, _: &str) {
        unreachable!("no request destroys a partition")
    }
}

const FILE: &str = r#"
    [[partition]]
    name = "asker"

    [[partition]]
    name = "other"

    [[grant]]
    resource = "core_time"
    up_to = "80%"

    [[grant]]
    to = ["asker"]
    resource = "vcpus"

    [[talk]]
    from = "asker"
    to = "other"
"#;

/// What the one at this place is answered, and what is said.
fn asked(place: u8, words: [u64; 2], is_gone: bool) -> (Vec<Option<u64>>, String) {
    let waiting = [(who(place), words)].into();
    let table = Table { waiting, is_gone, is_other_late: place == 0, ..Table::default() };
    let mut machine = Door(Fake(RefCell::new(table)));
    let mut said = Vec::new();
    let policy = Policy::parse(FILE).unwrap();
    answer(&policy, &mut machine, &mut |line: &str| said.push(line.to_owned())).unwrap();
    let answers = machine.0.0.into_inner().answers;
    assert!(answers.iter().all(|(whose, _)| *whose == place));
    (answers.into_iter().map(|(_, granted)| granted).collect(), said.join("\n"))
}

fn wish(wish: Wish) -> (Vec<Option<u64>>, String) {
    asked(0, wish.encode(), false)
}

fn time(ppm: u32) -> Wish {
    Wish::Time(VcpuIndex(3), ppm)
}

#[test]
fn core_time_is_granted_by_the_rule_whichever_vcpu_it_is_for() {
    assert_eq!(
        wish(time(150_000)),
        (
            vec![Some(150_000)],
            "asker asks for 15% core time for vCPU 3: granted, grant 1 (core_time)".into()
        )
    );
    assert_eq!(
        wish(time(400_001)),
        (
            vec![None],
            "asker asks for 40.0001% core time for vCPU 3: refused, grant 1 (core_time): up_to = 80% leaves 40%".into()
        )
    );
}

#[test]
fn vcpus_are_granted_to_whom_the_rule_names() {
    let line = "asker asks for 1 vCPU: granted, grant 2 (vcpus)";
    assert_eq!(wish(Wish::Vcpus(1)), (vec![Some(1)], line.into()));
    let line = "other asks for 1 vCPU: refused, no grant names vCPUs for other";
    assert_eq!(asked(1, Wish::Vcpus(1).encode(), false), (vec![None], line.into()));
}

#[test]
fn a_device_is_granted_only_by_a_rule() {
    let line = "asker asks for device 1: refused, no grant names device 1 for asker";
    assert_eq!(wish(Wish::Device(1)), (vec![None], line.into()));
}

#[test]
fn whatever_cannot_be_granted_is_refused_and_not_left_open() {
    for (wish, granted, words) in [
        (
            Wish::Vcpus(2),
            2,
            "2 vCPUs: answer of partition 7: over the vCPUs that are kept back for it",
        ),
        (time(200_001), 200_001, "over what these cores have left"),
        (time(99), 99, "answer of partition 7: bad argument"),
        // It was not there before it was asked for.
        (Wish::Peer(PartitionSlot(1)), 0, "a way to other: answer of partition 7: not found"),
    ] {
        let (answers, said) = super::tests::wish(wish);
        assert_eq!(answers, [Some(granted), None], "{wish:?}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn what_no_rule_can_be_about_is_refused() {
    let (answers, said) = asked(0, [40, 9], false);
    assert_eq!(
        (answers, said.as_str()),
        (vec![None], "asker asks for wish 40: refused, no rule can be about it")
    );
    let memory = Wish::More(Resource::Memory, 1);
    assert_eq!(
        wish(memory).1,
        "asker asks for 4K memory: refused, no grant names memory for asker"
    );
}

#[test]
fn a_peer_that_is_not_there_is_refused() {
    let (answers, said) = wish(Wish::Peer(PartitionSlot(9)));
    assert_eq!(answers, [None]);
    assert_eq!(said, "asker asks for a way to : refused, there is no talk from asker to ");
}

#[test]
fn who_has_gone_is_answered_once() {
    let (answers, said) = asked(0, Wish::Vcpus(1).encode(), true);
    assert_eq!(answers, [Some(1)]);
    assert_eq!(said, "asker asks for 1 vCPU: answer of partition 7: peer gone");
}

#[test]
fn more_than_are_answered_in_one_go_are_told_of() {
    for (waiting, is_more) in [(63, false), (64, true), (65, true)] {
        let waiting = vec![(who(0), Wish::Vcpus(1).encode()); waiting];
        let count = waiting.len();
        let table = Table { waiting: waiting.into(), ..Table::default() };
        let mut machine = Door(Fake(RefCell::new(table)));
        let policy = Policy::parse(FILE).unwrap();
        assert_eq!(answer(&policy, &mut machine, &mut |_| {}), Ok(is_more), "{count}");
        if is_more {
            assert_eq!(answer(&policy, &mut machine, &mut |_| {}), Ok(false), "{count}");
        }
        assert_eq!(machine.0.0.into_inner().answers.len(), count);
    }
}

/// What one that asks for so much core time is answered where the rule grants less, while others get of it.
fn less(ppm: u32, left_later: &[u64]) -> (Vec<Option<u64>>, String) {
    let file = FILE.replacen("up_to = \"80%\"", "up_to = \"80%\"\nor_less = true", 1);
    let waiting = [(who(0), time(ppm).encode())].into();
    let left_later = left_later.iter().copied().collect();
    let table = Table { waiting, left_later, ..Table::default() };
    let mut machine = Door(Fake(RefCell::new(table)));
    let mut said = Vec::new();
    let policy = Policy::parse(&file).unwrap();
    answer(&policy, &mut machine, &mut |line: &str| said.push(line.to_owned())).unwrap();
    let answers = machine.0.0.into_inner().answers;
    (answers.into_iter().map(|(_, granted)| granted).collect(), said.join("\n"))
}

#[test]
fn less_is_granted_where_the_core_has_less() {
    let line = "asker asks for 30% core time for vCPU 3: granted, grant 1 (core_time): 20% core time for vCPU 3, \
                more is over what these cores have left, 20% at most";
    assert_eq!(less(300_000, &[]), (vec![Some(300_000), Some(200_000)], line.into()));
}

#[test]
fn less_is_granted_where_others_were_first() {
    // 10 % are its own, and 5 % are left when it is answered.
    let (answers, said) = less(180_000, &[50_000]);
    assert_eq!(answers, [Some(180_000), Some(150_000)]);
    assert!(
        said.contains(": granted, grant 1 (core_time)") && said.contains("handed out"),
        "{said}"
    );
    // Each time again, and at last nothing is left but its own.
    let (answers, _) = less(180_000, &[70_000, 50_000, 0]);
    assert_eq!(answers, [Some(180_000), Some(170_000), Some(150_000), Some(100_000)]);
}

#[test]
fn who_is_overtaken_without_end_is_refused_at_last() {
    let ever_less: Vec<u64> = (0..40).map(|turn| 79_000 - turn * 1_000).collect();
    let (answers, said) = less(180_000, &ever_less);
    assert_eq!((answers.len(), answers.last()), (10, Some(&None)));
    assert!(said.contains("over what may be handed out of core time"), "{said}");
}

#[test]
fn without_or_less_what_cannot_be_given_is_refused() {
    let (answers, _) = wish(time(300_000));
    assert_eq!(answers, [Some(300_000), None]);
}
