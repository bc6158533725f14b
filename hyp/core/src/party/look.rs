//! What a partition's handle table shows to whoever looks at its ports from outside: without its lock, so that nobody waits for it.

use shikiri_abi::{PortStand, WindowSlot};

use crate::event::{PortId, Receive, Send, Shared, area_slot, asker, row_of};
use crate::handle::{HandleEntry, Kind};

/// How many entries one look passes.
const ENTRIES: usize = 64;
/// There is no other end.
const NOBODY: u64 = u64::MAX;
/// A port is connected, or a shared area attached.
const CONNECTED: u8 = PortStand::Connected.code();

impl Shared<'_> {
    /// The first thing from the entry `from` on, as PORT_READ tells it: `x1` to `x3`. `None` behind the last entry.
    #[must_use]
    pub fn look(&self, from: u16) -> Option<[u64; 3]> {
        let entries = self.entries.get(usize::from(from)..).filter(|it| !it.is_empty())?;
        let mut passed = (from..=u16::MAX).zip(entries).take(ENTRIES);
        let mut last = from;
        let found = passed.find_map(|(index, entry)| {
            last = index;
            seen(index, entry)
        });
        Some(found.unwrap_or([u64::from(last), NOBODY, 0]))
    }
}

/// What is at an entry.
fn seen(index: u16, entry: &HandleEntry) -> Option<[u64; 3]> {
    // The kind and the word belong together as long as nobody changes both between the two loads; then it is told what was there before.
    let (kind, word) = (entry.kind()?, entry.value());
    let mut peer = NOBODY;
    let mut detail = 0;
    let state = match kind {
        Kind::Receive => {
            let receive = Receive(word);
            if receive.has(Receive::BOUND) {
                let [vcpu, intid] = [u64::from(receive.vcpu().0), u64::from(receive.intid().0)];
                detail = intid | vcpu << 16;
            }
            flags(receive)
        }
        Kind::Attachment if let Some(place) = area_slot(word) => {
            detail = window(place);
            CONNECTED
        }
        Kind::Send | Kind::Channel | Kind::Attachment => {
            let (state, other) = stand(Send::decode(word)?);
            peer = other;
            state
        }
        Kind::Request | Kind::ChannelRequest | Kind::AttachRequest => match asker(word) {
            Some(port) => {
                peer = end(port);
                PortStand::Waits.code()
            }
            None => PortStand::Gone.code(),
        },
        Kind::Area => {
            detail = window(area_slot(word)?);
            0
        }
        Kind::Object => {
            detail = u64::from(row_of(word)?);
            0
        }
        // It waits for what a peer sends: there is nothing yet.
        Kind::Vacant => return None,
    };
    let what = u64::from(index) | kind.code() << 16 | u64::from(state) << 24;
    Some([what, peer, detail])
}

fn flags(receive: Receive) -> u8 {
    [Receive::CONNECTED, Receive::MASKED, Receive::PENDING, Receive::BOUND, Receive::GROUPED]
        .into_iter()
        .zip([1, 2, 4, 8, 16])
        .filter(|(flag, _)| receive.has(*flag))
        .fold(0, |all, (_, bit)| all | bit)
}

/// How a port stands, and its other end.
fn stand(send: Send) -> (u8, u64) {
    match send {
        Send::Idle => (PortStand::Idle.code(), NOBODY),
        Send::Queued { to, .. } => (PortStand::Waits.code(), u64::from(to.0)),
        Send::Taken { by } => (PortStand::Taken.code(), u64::from(by.slot.0)),
        Send::Connected(wire) => (CONNECTED, end(wire.to)),
        Send::Refused => (PortStand::Refused.code(), NOBODY),
        Send::Gone => (PortStand::Gone.code(), NOBODY),
    }
}

fn window(WindowSlot { class, index }: WindowSlot) -> u64 {
    u64::from(class.code()) | u64::from(index) << 8
}

fn end(port: PortId) -> u64 {
    u64::from(port.slot.0) | u64::from(port.index) << 8
}

#[cfg(test)]
mod tests {
    use shikiri_abi::ThingKind;

    use crate::handle::Kind;

    #[test]
    fn a_kind_is_told_by_the_number_that_it_has_in_the_table() {
        for (kind, told) in [
            (Kind::Send, Some(ThingKind::SendPort)),
            (Kind::Receive, Some(ThingKind::ReceivePort)),
            (Kind::Request, Some(ThingKind::EventRequest)),
            (Kind::Channel, Some(ThingKind::MessagePort)),
            (Kind::ChannelRequest, Some(ThingKind::ChannelRequest)),
            (Kind::Area, Some(ThingKind::Area)),
            (Kind::Vacant, None),
            (Kind::Object, Some(ThingKind::Object)),
            (Kind::Attachment, Some(ThingKind::SharedArea)),
            (Kind::AttachRequest, Some(ThingKind::AreaRequest)),
        ] {
            let number = u8::try_from(kind.code()).ok();
            assert_eq!(number.and_then(ThingKind::from_code), told, "{kind:?}");
        }
    }
}
