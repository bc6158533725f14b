//! The list of a partition's runs of memory, in management frames of its own.

use shikiri_abi::{Ipa, PageCount};
use shikiri_pages::{Frames, PageBox};
use shikiri_stage2::{Attributes, Mapping};

use super::store::run_of;
use crate::frame::FrameRun;

/// A run of the partition's memory and where the guest sees it.
#[derive(Debug)]
pub struct Extent {
    /// Where the guest sees it.
    pub ipa: Ipa,
    /// The frames.
    pub frames: Frames,
    /// How many of them, from the start, the ledger has as the partition's.
    pub(super) claimed: PageCount,
}

impl Extent {
    /// The frames that the ledger has as the partition's.
    pub(crate) const fn claimed(&self) -> FrameRun {
        FrameRun { pages: self.claimed, ..run_of(self.frames.range()) }
    }

    /// The frames that the ledger does not have as the partition's yet.
    pub(crate) const fn unclaimed(&self) -> FrameRun {
        run_of(self.frames.range()).after(self.claimed)
    }

    /// How stage 2 maps it.
    pub(super) const fn mapping(&self) -> Mapping {
        Mapping {
            ipa: self.ipa,
            pa: self.frames.base(),
            pages: self.frames.pages(),
            attributes: Attributes::RAM,
        }
    }
}

/// Extents in one frame.
const PER_FRAME: usize = 100;

/// A frame of the list.
struct Node {
    /// The frame that was filled before.
    older: Option<PageBox<Self>>,
    used: usize,
    extents: [Option<Extent>; PER_FRAME],
}

const _: () = assert!(size_of::<Node>() <= 4096, "a node is a frame");

/// The list: single frames, so that no fragmentation stands against it; filled from the first one, emptied from the
/// last.
#[derive(Default)]
pub(super) struct Extents {
    newest: Option<PageBox<Node>>,
}

impl Extents {
    pub(super) const fn new() -> Self {
        Self { newest: None }
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        core::iter::successors(self.newest.as_deref(), |node| node.older.as_deref())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Extent> {
        self.nodes().flat_map(|node| node.extents.iter().take(node.used).flatten())
    }

    /// The extent at this place of the iteration.
    pub(super) fn get(&self, index: usize) -> Option<&Extent> {
        let mut left = index;
        for node in self.nodes() {
            match left.checked_sub(node.used) {
                Some(behind) => left = behind,
                None => return node.extents.get(left).and_then(Option::as_ref),
            }
        }
        None
    }

    /// The extent that was pushed last.
    pub(super) fn last_mut(&mut self) -> Option<&mut Extent> {
        let node = self.newest.as_deref_mut()?;
        let last = node.used.checked_sub(1)?;
        node.extents.get_mut(last).and_then(Option::as_mut)
    }

    /// Whether the next extent needs a frame more.
    pub(super) fn is_full(&self) -> bool {
        self.newest.as_deref().is_none_or(|node| node.used >= PER_FRAME)
    }

    /// Adds a frame.
    pub(super) fn grow(&mut self, frame: Frames) {
        let older = self.newest.take();
        let node = Node { older, used: 0, extents: [const { None }; PER_FRAME] };
        self.newest = Some(PageBox::new(frame, node));
    }

    /// Appends an extent; the list is not full.
    pub(super) fn push(&mut self, extent: Extent) {
        let place = self.newest.as_deref_mut().and_then(|node| {
            let place = node.extents.get_mut(node.used)?;
            node.used = node.used.saturating_add(1);
            Some(place)
        });
        match place {
            Some(place) => *place = Some(extent),
            None => unreachable!("the list of extents is full"),
        }
    }

    /// Takes the last extent out of the newest frame; `None` if that one is empty.
    pub(super) fn pop(&mut self) -> Option<Extent> {
        let node = self.newest.as_deref_mut()?;
        node.used = node.used.checked_sub(1)?;
        node.extents.get_mut(node.used).and_then(Option::take)
    }

    /// Takes the newest frame, which is empty; `None` if there is none.
    pub(super) fn shrink(&mut self) -> Option<Frames> {
        let (node, frame) = self.newest.take()?.into_parts();
        assert!(node.used == 0, "a run of memory outlives the list of them");
        self.newest = node.older;
        Some(frame)
    }
}
