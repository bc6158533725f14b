//! The hand-over of a message area, exhaustively (C3): every order of what the hypervisor's core, the guests' cores and a
//! TLB that takes its time can do with one area, two partitions and their ends.
//!
//! This is the abstract protocol, small enough to be read whole; that the tables and sequences of `hyp/stage2` follow it
//! is what `stage2_sequences` shows. It says why each step stands where it does: with any of them left out or moved
//! ([`Mistake`]) the checker finds an execution in which a wall breaks.
//!
//! ```text
//! send    clear the sender's descriptor · TLBI · wait for it · owner := receiver · make the receiver's descriptor
//! end     clear the owner's descriptor · TLBI · wait for it · owner := nobody · clear the contents
//! alloc   owner := taker · make its descriptor
//! ```

use stateright::{Checker, Model, Property};

/// Partitions; each has a core whose programs touch the area whenever they can.
const PARTITIONS: usize = 2;

/// What the hypervisor does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// The TLBI is left out.
    NoInvalidation,
    /// The TLBI is not waited for.
    NoWait,
    /// The receiver's descriptor is made before the sender's is cleared.
    MapFirst,
    /// The TLBI stands before the descriptor is cleared.
    InvalidateFirst,
    /// An ended partition's area is not cleared.
    NoClear,
    /// What lies at a receiver that ends is given back to the sender.
    GiveBack,
}

/// A step of the hypervisor, and the partition that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Unmap(usize),
    Invalidate(usize),
    Wait(usize),
    /// The owner has sent the area to this partition, which may know what is in it.
    Hand(usize),
    /// The area becomes this partition's, or nobody's, without anybody's consent about its contents.
    Own(Option<usize>),
    Clear,
    Map(usize),
}

use Step::{Clear, Hand, Invalidate, Map, Own, Unmap, Wait};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Machine {
    owner: Option<usize>,
    has_descriptor: [bool; PARTITIONS],
    /// The partition's core has the translation in its TLB.
    is_cached: [bool; PARTITIONS],
    /// A TLBI for the partition is under way.
    is_invalidating: [bool; PARTITIONS],
    /// What the hypervisor has yet to do of the call that it is in.
    to_do: Vec<Step>,
    /// Who may know what the area holds.
    may_know: [bool; PARTITIONS],
    /// A partition has reached the area without owning it.
    is_trespassed: bool,
    /// A partition has read what nobody told it.
    is_leaked: bool,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// This partition allocates the free area.
    Alloc(usize),
    /// The owner sends it to the other partition.
    Send,
    /// The owner ends.
    End,
    /// The hypervisor does its next step.
    Go,
    /// A core walks the tables and keeps what it finds.
    Walk(usize),
    /// A core loads from the area.
    Load(usize),
    /// A core stores a secret of its own.
    Store(usize),
    /// A TLBI reaches the core that it is for.
    Complete(usize),
}

struct Handover(Mistake);

impl Handover {
    fn send(&self, from: usize) -> Vec<Step> {
        let to = 1 - from;
        let (out, tlbi, wait) = (Unmap(from), Invalidate(from), Wait(from));
        match self.0 {
            Mistake::None | Mistake::NoClear | Mistake::GiveBack => {
                vec![out, tlbi, wait, Hand(to), Map(to)]
            }
            Mistake::NoInvalidation => vec![out, Hand(to), Map(to)],
            Mistake::NoWait => vec![out, tlbi, Hand(to), Map(to)],
            Mistake::MapFirst => vec![Hand(to), Map(to), out, tlbi, wait],
            Mistake::InvalidateFirst => vec![tlbi, wait, out, Hand(to), Map(to)],
        }
    }

    fn end(&self, owner: usize) -> Vec<Step> {
        let away = [Unmap(owner), Invalidate(owner), Wait(owner)];
        let rest = match self.0 {
            Mistake::NoClear => vec![Own(None)],
            Mistake::GiveBack => vec![Own(Some(1 - owner)), Map(1 - owner)],
            _ => vec![Own(None), Clear],
        };
        away.into_iter().chain(rest).collect()
    }
}

impl Machine {
    /// Does the hypervisor's next step; the model's actions let it wait where it has to.
    fn go(&mut self) {
        match self.to_do.remove(0) {
            Unmap(whose) => self.has_descriptor[whose] = false,
            Invalidate(whose) => self.is_invalidating[whose] = true,
            Wait(_) => {}
            Hand(to) => {
                self.owner = Some(to);
                self.may_know[to] = true;
            }
            Own(owner) => self.owner = owner,
            Clear => self.may_know = [true; PARTITIONS],
            Map(whose) => self.has_descriptor[whose] = true,
        }
    }

    fn is_ready(&self) -> bool {
        match self.to_do.first() {
            None => false,
            Some(Wait(whose)) => !self.is_invalidating[*whose],
            Some(_) => true,
        }
    }

    fn touch(&mut self, by: usize) {
        self.is_trespassed |= self.owner != Some(by);
    }
}

impl Model for Handover {
    type State = Machine;
    type Action = Action;

    fn init_states(&self) -> Vec<Machine> {
        vec![Machine { may_know: [true; PARTITIONS], ..Machine::default() }]
    }

    fn actions(&self, state: &Machine, actions: &mut Vec<Action>) {
        for partition in 0..PARTITIONS {
            if state.has_descriptor[partition] {
                actions.push(Action::Walk(partition));
            }
            if state.is_cached[partition] {
                actions.extend([Action::Load(partition), Action::Store(partition)]);
            }
            if state.is_invalidating[partition] {
                actions.push(Action::Complete(partition));
            }
        }
        match (state.to_do.is_empty(), state.owner) {
            (false, _) if state.is_ready() => actions.push(Action::Go),
            (false, _) => {}
            (true, None) => actions.extend((0..PARTITIONS).map(Action::Alloc)),
            (true, Some(_)) => actions.extend([Action::Send, Action::End]),
        }
    }

    fn next_state(&self, state: &Machine, action: Action) -> Option<Machine> {
        let mut next = state.clone();
        match action {
            Action::Alloc(to) => next.to_do = vec![Own(Some(to)), Map(to)],
            Action::Send => next.to_do = self.send(state.owner?),
            Action::End => next.to_do = self.end(state.owner?),
            Action::Go => next.go(),
            Action::Walk(core) => next.is_cached[core] = true,
            Action::Load(core) => {
                next.touch(core);
                next.is_leaked |= !state.may_know[core];
            }
            Action::Store(core) => {
                next.touch(core);
                next.may_know = std::array::from_fn(|partition| partition == core);
            }
            Action::Complete(core) => {
                next.is_cached[core] = false;
                next.is_invalidating[core] = false;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("only the owner reaches the area", |_, state: &Machine| {
                !state.is_trespassed
            }),
            Property::always("nobody reads what it was not sent", |_, state: &Machine| {
                !state.is_leaked
            }),
            Property::sometimes(
                "both have had the area and written to it",
                |_, state: &Machine| state.owner == Some(1) && state.may_know == [false, true],
            ),
        ]
    }
}

const TRESPASS: &str = "only the owner reaches the area";
const LEAK: &str = "nobody reads what it was not sent";

/// Explores everything that can happen, and returns which walls break.
fn broken_by(mistake: Mistake) -> Vec<&'static str> {
    let checker = Handover(mistake).checker().spawn_bfs().join();
    assert!(checker.unique_state_count() > 100, "the model does not move");
    let found = checker.discoveries();
    [TRESPASS, LEAK].into_iter().filter(|wall| found.contains_key(wall)).collect()
}

#[test]
fn an_area_is_never_reached_by_two_c3() {
    let checker = Handover(Mistake::None).checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.is_done());
}

#[test]
fn each_mistake_in_the_order_of_the_steps_breaks_a_wall_c3() {
    for mistake in
        [Mistake::NoInvalidation, Mistake::NoWait, Mistake::MapFirst, Mistake::InvalidateFirst]
    {
        let walls = broken_by(mistake);
        assert!(walls.contains(&TRESPASS), "{mistake:?} goes unnoticed");
    }
}

#[test]
fn an_area_that_is_not_cleared_or_is_given_back_leaks_c3() {
    for mistake in [Mistake::NoClear, Mistake::GiveBack] {
        assert_eq!(broken_by(mistake), [LEAK], "{mistake:?}");
    }
}
