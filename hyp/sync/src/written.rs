//! Whether somebody has written to what is behind a lock: what nobody has written to since it was last compared is as it was.
//!
//! In the builds in which `order` notes who holds what; in what is shipped there is no note, and a lock costs no instruction more.

pub(crate) use noted::{Note, Written};

#[cfg(any(
    all(not(any(loom, target_os = "none")), debug_assertions),
    all(target_os = "none", feature = "checks")
))]
mod noted {
    use core::sync::atomic::{AtomicBool, Ordering};

    /// A lock's note.
    pub(crate) struct Written(AtomicBool);

    impl Written {
        /// Nobody has compared it yet.
        pub(crate) const fn new() -> Self {
            Self(AtomicBool::new(true))
        }

        pub(crate) const fn note(&self) -> Note<'_> {
            Note(self)
        }

        /// Whether it was written to since the last time. Relaxed: whoever locks behind this sees what those have written whose
        /// note this took, and those who lock later leave a new one.
        pub(crate) fn take(&self) -> bool {
            self.0.swap(false, Ordering::Relaxed)
        }
    }

    /// The holder's way to a lock's note.
    #[derive(Clone, Copy)]
    pub(crate) struct Note<'a>(&'a Written);

    impl Note<'_> {
        pub(crate) fn leave(self) {
            self.0.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(not(any(
    all(not(any(loom, target_os = "none")), debug_assertions),
    all(target_os = "none", feature = "checks")
)))]
mod noted {
    use core::marker::PhantomData;

    /// No note: whoever asks is to compare.
    pub(crate) struct Written;

    impl Written {
        pub(crate) const fn new() -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) const fn note(&self) -> Note<'_> {
            Note(PhantomData)
        }

        pub(crate) const fn take(&self) -> bool {
            true
        }
    }

    /// Nothing.
    #[derive(Clone, Copy)]
    pub(crate) struct Note<'a>(PhantomData<&'a Written>);

    impl Note<'_> {
        #[inline(always)]
        pub(crate) const fn leave(self) {}
    }
}
