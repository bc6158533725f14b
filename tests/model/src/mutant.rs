//! A sequence of instructions behind a fault: one of them is dropped, swapped with the next or replaced on its way to the model. A
//! test that still passes then shows that the sequence has one too many, or that the model does not look.

use std::cell::{Cell, RefCell};

/// What happens to the instruction at a position, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation<I> {
    /// Nothing happens to any.
    None,
    /// It is not executed.
    Drop(usize),
    /// It is executed after the next one.
    SwapWithNext(usize),
    /// Another is executed.
    Replace(usize, I),
}

/// Stands between what issues instructions and what executes them, and writes down what was issued.
#[derive(Debug)]
pub struct Mutator<I: Copy> {
    mutation: Cell<Mutation<I>>,
    position: Cell<usize>,
    held: Cell<Option<I>>,
    seen: RefCell<Vec<I>>,
}

impl<I: Copy> Mutator<I> {
    /// With this mutation, before the first instruction.
    #[must_use]
    pub fn new(mutation: Mutation<I>) -> Self {
        let (position, held, seen) = (Cell::new(0), Cell::new(None), RefCell::default());
        Self { mutation: Cell::new(mutation), position, held, seen }
    }

    /// Starts again, with this mutation.
    pub fn arm(&self, mutation: Mutation<I>) {
        self.mutation.set(mutation);
        self.position.set(0);
        self.seen.borrow_mut().clear();
    }

    /// Takes the next instruction, and executes what the mutation makes of it.
    pub fn issue(&self, instruction: I, execute: impl Fn(I)) {
        let position = self.position.replace(self.position.get() + 1);
        self.seen.borrow_mut().push(instruction);
        match self.mutation.get() {
            Mutation::Drop(at) if at == position => {}
            Mutation::SwapWithNext(at) if at == position => self.held.set(Some(instruction)),
            Mutation::Replace(at, other) if at == position => execute(other),
            Mutation::None
            | Mutation::Drop(_)
            | Mutation::SwapWithNext(_)
            | Mutation::Replace(..) => {
                execute(instruction);
                if let Some(held) = self.held.take() {
                    execute(held);
                }
            }
        }
    }

    /// What was issued, in order, whatever became of it.
    #[must_use]
    pub fn seen(&self) -> Vec<I> {
        self.seen.borrow().clone()
    }
}
