//! What is wrong, and where it stands in the file.

use std::ops::Range;
use std::path::Path;

use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report};

/// An error in a description: a sentence, places in the file with what stands there, and advice.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<MietteDiagnostic>);

impl Problem {
    /// Says what is wrong.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(MietteDiagnostic::new(message)))
    }

    /// Points at a place. A claimant without a place of its own is named in the message only.
    pub(crate) fn at(self, span: impl Into<Place>, what: impl Into<String>) -> Self {
        match span.into().0 {
            Some(span) => Self(Box::new(self.0.and_label(LabeledSpan::at(span, what)))),
            None => self,
        }
    }

    /// Says what to do.
    pub(crate) fn help(self, advice: impl Into<String>) -> Self {
        Self(Box::new(self.0.with_help(advice)))
    }

    /// The report to show.
    pub(crate) fn report(self, file: &Path, text: &str) -> Report {
        let name = file.display().to_string();
        Report::new(*self.0).with_source_code(NamedSource::new(name, text.to_owned()))
    }
}

/// Where something stands; nothing for what the tool or the command line added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) Option<Range<usize>>);

impl From<Range<usize>> for Place {
    /// TOML gives an empty range where it knows none.
    fn from(span: Range<usize>) -> Self {
        Self(Some(span).filter(|span| !span.is_empty()))
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}
