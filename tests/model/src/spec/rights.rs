//! Rights: whoever has a handle may use what it names, and change it, until it gives one of these up (HANDLE_LIMIT). That is for good.
//!
//! A handle without the right that a call needs is to that call a number that names nothing. No other call asks for rights, and
//! nobody but the holder: what is connected, bound or asked goes on, and an end takes all.

use shikiri_abi::{Call, MessageCall, ObjectCall, Rights, SharedCall, TalkCall};

use super::handles::Thing;
use super::{BAD_HANDLE, Done, Outcome, Ref, Spec};

/// A number that no partition is given.
const NOTHING: u64 = u64::MAX;

impl Spec {
    /// HANDLE_LIMIT: an area is not limited.
    pub(super) fn limit(&mut self, what: Ref, keep: Rights) -> Outcome {
        match self.thing(what) {
            Some(Thing::Place(place)) if !place.is_attachment() => return Err(BAD_HANDLE),
            Some(_) => {}
            None => return Err(BAD_HANDLE),
        }
        let given_up = self.of_mut(what.0).given_up.entry(what.1).or_default();
        *given_up |= Rights::ALL.bits() & !keep.bits();
        Ok(Done::with([Rights::ALL.bits() & !*given_up, 0, 0]))
    }

    /// Whether a right was not given up.
    pub(super) fn has_right(&self, (who, handle): Ref, right: Rights) -> bool {
        let given_up = self.of(who).given_up.get(&handle).copied().unwrap_or(0);
        given_up & right.bits() == 0
    }

    /// A call as it is for somebody: without the handles that lack the right which it needs.
    pub(super) fn permitted(&self, who: usize, mut call: Call) -> Call {
        let need = |handle: &mut u64, right: Rights| {
            if !self.has_right((who, *handle), right) {
                *handle = NOTHING;
            }
        };
        let uses = |handle: &mut u64| need(handle, Rights::USE);
        let changes = |handle: &mut u64| need(handle, Rights::CHANGE);
        match &mut call {
            Call::Talk(call) => match call {
                TalkCall::Mask(handle)
                | TalkCall::Unmask(handle)
                | TalkCall::State(handle)
                | TalkCall::Poll(handle)
                | TalkCall::Send(handle)
                | TalkCall::Refuse(handle) => uses(handle),
                TalkCall::Bind { port: handle, .. }
                | TalkCall::Close(handle)
                | TalkCall::Notify(handle)
                | TalkCall::Ask { port: handle, .. } => changes(handle),
                TalkCall::Connect { send, receive } => {
                    [send, receive].into_iter().for_each(changes)
                }
                TalkCall::Accept { request, receive } => {
                    uses(request);
                    changes(receive);
                }
                _ => {}
            },
            Call::Message(call) => match call {
                MessageCall::Send { port, .. } | MessageCall::Notify(port) => uses(port),
                MessageCall::Create { events: port, .. }
                | MessageCall::Connect { port, .. }
                | MessageCall::Close(port) => changes(port),
                MessageCall::Accept { request, port } => {
                    uses(request);
                    changes(port);
                }
                _ => {}
            },
            Call::Shared(call) => match call {
                SharedCall::State(handle) | SharedCall::Accept { request: handle, .. } => {
                    uses(handle);
                }
                SharedCall::Offer { events: handle, .. }
                | SharedCall::Create { events: handle, .. }
                | SharedCall::Connect { port: handle, .. }
                | SharedCall::Detach(handle) => changes(handle),
                SharedCall::Withdraw(_) | SharedCall::Revoke { .. } => {}
            },
            Call::Object(call) => match call {
                ObjectCall::Wait(object) | ObjectCall::Post { object, .. } => uses(object),
                ObjectCall::Close(object) => changes(object),
                ObjectCall::Notify { object, port } => {
                    changes(object);
                    port.as_mut().into_iter().for_each(changes);
                }
                ObjectCall::Open { .. } => {}
            },
            _ => {}
        }
        call
    }
}
