//! The caller's side: call slots, and what brings replies to them.

use crate::codec::{Payload, Value};
use crate::error::{CallError, SendError};
use crate::facade::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::leg::{Leg, Patience};
use crate::message::{Kind, Message};
use crate::pending::Pending;
use crate::slot::{Delivered, Slot, call_id, place_of};
use crate::transport::{PeerGone, Transport};
use serde_core::Serialize;

/// The most call slots that a client can have.
pub const MAX_CALLS: usize = 4096;

/// How many messages are taken in at a time: a peer that sends without end keeps nobody longer.
const BATCH: usize = 64;

/// A caller's end of a leg, with slots for `CALLS` calls in flight. Any number of threads or vCPUs may call at the
/// same time; replies come in any order.
pub struct Client<'a, T, const CALLS: usize> {
    leg: Leg<'a, T>,
    slots: [Slot; CALLS],
    is_gone: AtomicBool,
    /// Somebody found all slots in use, and may wait for one.
    is_missing_slot: AtomicBool,
    strays: AtomicU64,
}

impl<'a, T: Transport, const CALLS: usize> Client<'a, T, CALLS> {
    /// A client on this leg.
    pub fn new(leg: Leg<'a, T>) -> Self {
        const { assert!(CALLS <= MAX_CALLS, "a call's number has 12 bits for the slot") };
        Self {
            leg,
            slots: core::array::from_fn(|_| Slot::new()),
            is_gone: AtomicBool::new(false),
            is_missing_slot: AtomicBool::new(false),
            strays: AtomicU64::new(0),
        }
    }

    /// Its leg.
    pub fn leg(&self) -> &Leg<'a, T> {
        &self.leg
    }

    /// Begins a call of `method`: marshals the arguments and sends them. Does not wait. If no buffer is free, those that late replies of
    /// dropped calls hold are given back first.
    ///
    /// # Errors
    /// [`CallError`]; nothing of the call is left then. [`CallError::is_shortage`] tells what waiting may help against.
    pub fn begin<A: Serialize + ?Sized, R>(
        &self,
        method: u16,
        arguments: &A,
    ) -> Result<Pending<'_, 'a, T, CALLS, R>, CallError> {
        let payload = Value(arguments);
        match self.begin_with(method, &payload) {
            Err(CallError::Send(SendError::NoBuffer | SendError::NoMemory)) => {
                self.begin_again(method, &payload)
            }
            begun => begun,
        }
    }

    /// Takes in what has arrived, the replies that nobody wants among it, and begins a call.
    #[cold]
    fn begin_again<R>(
        &self,
        method: u16,
        payload: &impl Payload,
    ) -> Result<Pending<'_, 'a, T, CALLS, R>, CallError> {
        if self.receive_for(None) == Ok(true) {
            // There may be more, of which nobody tells.
            self.leg.transport().wake();
        }
        self.begin_with(method, payload)
    }

    /// Begins a call, and waits for a buffer, for room or for a slot if need be.
    ///
    /// # Errors
    /// As [`Client::begin`].
    pub fn begin_patiently<A: Serialize + ?Sized, R>(
        &self,
        method: u16,
        arguments: &A,
        patience: Patience,
    ) -> Result<Pending<'_, 'a, T, CALLS, R>, CallError> {
        match self.begin(method, arguments) {
            Err(why) if why.is_shortage() && patience == Patience::Wait => {
                self.begin_by(method, arguments, None)
            }
            result => result,
        }
    }

    /// Begins a call, and waits for a buffer, for room or for a slot until the deadline if need be.
    ///
    /// # Errors
    /// As [`Client::begin`]; a shortage, if it has lasted until then.
    pub fn begin_until<A: Serialize + ?Sized, R>(
        &self,
        method: u16,
        arguments: &A,
        deadline: T::Deadline,
    ) -> Result<Pending<'_, 'a, T, CALLS, R>, CallError> {
        self.begin_by(method, arguments, Some(deadline))
    }

    /// Begins a call, with or without a deadline.
    fn begin_by<A: Serialize + ?Sized, R>(
        &self,
        method: u16,
        arguments: &A,
        until: Option<T::Deadline>,
    ) -> Result<Pending<'_, 'a, T, CALLS, R>, CallError> {
        self.leg.persist(
            || self.begin_with(method, &Value(arguments)),
            until,
            || self.receive_for(None).unwrap_or(false),
        )
    }

    /// Repeats `attempt` (which begins a call) whenever there may be a buffer, room or a slot again; for a task.
    ///
    /// # Errors
    /// The attempt's, if it is none of these that is missing.
    pub async fn when_room<R>(
        &self,
        attempt: impl FnMut() -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        self.leg.persisted(attempt, || self.receive_for(None).unwrap_or(false)).await
    }

    /// Brings the replies that have arrived to their slots, and wakes who waits for them, or for room. Who waits for a call, polls or
    /// awaits it does this by itself. Returns whether there may be more.
    ///
    /// # Errors
    /// [`PeerGone`]: all calls without a reply have failed.
    pub fn receive(&self) -> Result<bool, PeerGone> {
        self.receive_for(None)
    }

    /// Brings the replies that have arrived to their slots, for who waits for slot `own` and need not be woken for that.
    pub(crate) fn receive_for(&self, own: Option<usize>) -> Result<bool, PeerGone> {
        let mut has_others = false;
        let mut has_more = true;
        for _ in 0..BATCH {
            match self.leg.receive() {
                Ok(Some(message)) => {
                    has_others |= self.deliver(&message).is_some_and(|slot| Some(slot) != own);
                }
                Ok(None) => {
                    has_more = false;
                    break;
                }
                Err(PeerGone) => return self.lose_peer(),
            }
        }
        if has_others {
            self.leg.transport().wake();
        }
        Ok(has_more)
    }

    /// How many messages have come that no call waited for, or that were no replies.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    /// Whether the peer is known to be gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.is_free()).count()
    }

    /// Claims a slot and sends the request.
    pub(crate) fn begin_with<R>(
        &self,
        method: u16,
        payload: &impl Payload,
    ) -> Result<Pending<'_, 'a, T, CALLS, R>, CallError> {
        if self.is_gone() {
            return Err(CallError::PeerGone);
        }
        let (index, slot, generation) = self.claim().ok_or(CallError::Busy)?;
        let call = call_id(index, generation);
        match self.leg.send(Kind::Request, method, call, payload) {
            Ok(()) => Ok(Pending::new(self, slot, index, generation)),
            Err(why) => {
                if let Some(answer_to_nothing) = slot.leave(generation) {
                    self.leg.discard(&answer_to_nothing);
                }
                self.has_freed_slot();
                Err(why.into())
            }
        }
    }

    /// Claims a slot. Who finds none says so and looks again, so that who frees one in this moment wakes it.
    fn claim(&self) -> Option<(usize, &Slot, u32)> {
        let first_free = || {
            let mut slots = self.slots.iter().enumerate();
            slots.find_map(|(index, slot)| Some((index, slot, slot.claim()?)))
        };
        first_free().or_else(|| {
            self.is_missing_slot.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            first_free()
        })
    }

    /// A slot is free again: wakes who wanted one.
    pub(crate) fn has_freed_slot(&self) {
        fence(Ordering::SeqCst);
        if self.is_missing_slot.load(Ordering::Relaxed)
            && self.is_missing_slot.swap(false, Ordering::Relaxed)
        {
            self.leg.has_freed_here();
        }
    }

    /// Brings a message to its slot, whose number is returned, or gets rid of it.
    fn deliver(&self, message: &Message) -> Option<usize> {
        let (index, generation) = place_of(message.call);
        let slot = self.slots.get(index).filter(|_| message.kind == Kind::Reply);
        match slot.map(|slot| slot.deliver(generation, message)) {
            Some(Delivered::Taken) => Some(index),
            Some(Delivered::Unwanted) | None => {
                self.strays.fetch_add(1, Ordering::Relaxed);
                self.leg.discard(message);
                // Its caller may have left it meanwhile, and the slot to this side of it.
                self.has_freed_slot();
                None
            }
        }
    }

    /// The peer is gone: tells everybody, once.
    fn lose_peer(&self) -> Result<bool, PeerGone> {
        if !self.is_gone.swap(true, Ordering::AcqRel) {
            self.leg.transport().wake();
        }
        Err(PeerGone)
    }
}
