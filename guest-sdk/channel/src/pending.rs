//! Ports that share an interrupt: which of them are pending, found without a call.

use core::sync::atomic::Ordering;

use shikiri_abi::Status;
use shikiri_hvc::message;
use shikiri_hvc::partition::Refusal;

use crate::windows::{Page, Windows};

/// The page with a bit for each of the first 32,768 handles, set while its port is pending and shares an interrupt. The hypervisor
/// writes it; `shikiri_rt::event::take` takes what is in one of its words.
///
/// ```ignore
/// let pending = PendingPage::show(windows)?;                 // once
/// for word in pending.words() {                              // in the interrupt's handler
///     let ports = event::take(word);                         // one call for each word that has something
/// }
/// ```
#[derive(Debug)]
pub struct PendingPage(Page);

impl PendingPage {
    /// Has the partition see it, in a place for an area of 4 KiB.
    ///
    /// # Errors
    /// `NotSupported` if the partition has no areas; `OverLimit` of IPA space.
    pub fn show(windows: Windows) -> Result<Self, Refusal> {
        let page = windows.page(message::event_page()?);
        page.map(Self).ok_or(Refusal { code: Status::NotSupported.code(), which: 0 })
    }

    /// The words that are not zero, in ascending order, each when the walk comes to it. One that another vCPU takes meanwhile, or whose
    /// ports were polled, has nothing left to be taken; what becomes pending behind the walk raises its interrupt again.
    pub fn words(&self) -> impl Iterator<Item = u16> {
        let all = (0_u16..).zip(self.0.words());
        all.filter(|(_, word)| word.load(Ordering::Acquire) != 0).map(|(number, _)| number)
    }
}
