//! Waiting for a message: by an interrupt, or by the hypervisor's store.

use shikiri_arrivals::Pages;
use shikiri_rt::reg;
use shikiri_rt::watch::Watch;

/// How a message is waited for. Room for a message and the peer's end are told by the port's interrupt in either form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// By the port's interrupt; who waits sleeps in WFI. So each port begins.
    Interrupt,
    /// Without an interrupt: who waits sleeps in WFE until the hypervisor stores the message, and who polls finds it. Both sides do less for
    /// a message; it is for a vCPU with a core of its own. On a shared one WFE is a trap, and the vCPU stays ready and uses up its share.
    Event,
}

/// The next message, which has come or not. Whichever vCPU looks for it first takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next<'p> {
    pages: Pages<'p>,
    watch: Option<Watch<'p>>,
}

impl<'p> Next<'p> {
    /// That of a port with these pages.
    #[inline]
    pub(crate) fn of(pages: Pages<'p>) -> Self {
        Self { pages, watch: pages.awaited().map(|(word, number)| Watch { word, number }) }
    }

    /// Whether it has come.
    #[inline]
    pub(crate) fn has_come(self) -> bool {
        self.watch.is_none_or(Watch::is_over)
    }

    /// Whether it has come, or never will since the peer has gone.
    #[inline]
    pub(crate) fn is_settled(self) -> bool {
        self.has_come() || !self.pages.peer().is_there
    }

    /// Sleeps until it has come, or a shorter time: in WFI if an interrupt tells of it, else in WFE.
    #[inline]
    pub(crate) fn doze(self) {
        match self.watch {
            Some(watch) if self.pages.polls() => watch.doze(),
            _ => reg::wfi(),
        }
    }
}
