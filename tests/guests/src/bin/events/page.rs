//! The page that shows which ports are pending.
#![expect(unsafe_code, reason = "tries to store where the hypervisor alone writes")]

use shikiri_abi::{Ipa, PAGE_BYTES, WINDOWS};
use shikiri_channel::{PendingPage, Windows};
use shikiri_rt::event;
use shikiri_rt::hvc::message;
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_test_guests::answers::{made, wait};
use shikiri_test_guests::fault;
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, ensure, equal};

use crate::interrupts::came;

/// Ports that share an interrupt, beside many that nobody sends to: sender, receiver, INTID.
pub(crate) fn few(count: usize, grouped: impl Fn(usize) -> (Handle, Handle, u32)) -> Outcome {
    let windows = Windows::map().map_err(|_| Failure { what: "windows", got: 0, want: 1 })?;
    let pending = made(PendingPage::show(windows))?;
    let address = made(message::event_page())?;
    equal("pending before", pending.words().count() as u64, 0)?;
    let last = count - 1;
    let (mut calls, mut ports) = (0, 0);
    for round in 0..50 {
        let chosen = [round, last / 2 + round, last - round].map(&grouped);
        let before = chosen.map(|(.., intid)| came(0, intid));
        for (sender, ..) in chosen {
            made(talk::send(sender))?;
        }
        // Two INTIDs: each comes for its ports once or more.
        for ((.., intid), before) in chosen.into_iter().zip(before) {
            wait("its interrupt", || Ok(came(0, intid) > before))?;
        }
        let mut found = 0;
        for word in pending.words() {
            let bits = event::take(word);
            calls += 1;
            ensure("a word in vain", bits != 0)?;
            for (_, Handle(receive), _) in chosen {
                let index = receive & 0xffff;
                found += u64::from(index / 64 == u64::from(word) && bits >> (index % 64) & 1 == 1);
            }
            ports += u64::from(bits.count_ones());
        }
        equal("those that were sent to", found, 3)?;
        equal("nothing is left", pending.words().count() as u64, 0)?;
    }
    equal("ports", ports, 150)?;
    // Three words at most have a port each time; 64 would be asked for otherwise.
    ensure("calls for what is pending alone", calls <= 150)?;
    is_read_only(windows, address)
}

/// A store to the page, wherever in it, is an abort that is the guest's own; a load is none.
fn is_read_only(windows: Windows, address: Ipa) -> Outcome {
    fault::catch_faults();
    let (base, _) = windows.seen();
    let page = base + address.offset_from(WINDOWS).unwrap_or(0);
    for at in [0, 8, PAGE_BYTES / 2, PAGE_BYTES - 8] {
        // SAFETY: the page is nobody's memory but the hypervisor's, which shows it.
        let load = unsafe { fault::attempt(fault::fault_load64, page + at, 0) };
        // SAFETY: as above.
        let store = unsafe { fault::attempt(fault::fault_store64, page + at, u64::MAX) };
        equal("a load", load.unwrap_or(1), 0)?;
        ensure("a store aborts", store.is_err())?;
    }
    Ok(())
}
