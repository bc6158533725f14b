//! What is wrong, and where it stands in the file.

use std::ops::Range;
use std::path::Path;

use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report};

/// An error in a description: a sentence, places in the file with what stands there, and advice.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    said: Box<MietteDiagnostic>,
    /// Whether something without a place was added to the sentence.
    is_extended: bool,
}

impl Problem {
    /// Says what is wrong.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { said: Box::new(MietteDiagnostic::new(message)), is_extended: false }
    }

    /// Points at a place. What the command line says has none, and is added to the sentence; a claimant that the tool has
    /// added is named there already.
    pub(crate) fn at(mut self, span: impl Into<Place>, what: impl Into<String>) -> Self {
        match span.into() {
            Place::Text(span) => {
                Self { said: Box::new(self.said.and_label(LabeledSpan::at(span, what))), ..self }
            }
            Place::CommandLine => {
                let what = what.into();
                if !self.said.message.contains(&what) {
                    self.said.message.push_str(if self.is_extended { ", " } else { ": " });
                    self.said.message.push_str(&what);
                    self.is_extended = true;
                }
                self
            }
            Place::Nowhere => self,
        }
    }

    /// Says what to do.
    pub(crate) fn help(self, advice: impl Into<String>) -> Self {
        Self { said: Box::new(self.said.with_help(advice)), ..self }
    }

    /// The report to show.
    pub(crate) fn report(self, file: &Path, text: &str) -> Report {
        let name = file.display().to_string();
        Report::new(*self.said).with_source_code(NamedSource::new(name, text.to_owned()))
    }
}

/// Where something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the file.
    Text(Range<usize>),
    /// On the command line.
    CommandLine,
    /// Nowhere: the tool has added it.
    #[default]
    Nowhere,
}

impl From<Range<usize>> for Place {
    /// The values of the command line have an empty range (`overrides.rs`).
    fn from(span: Range<usize>) -> Self {
        if span.is_empty() { Self::CommandLine } else { Self::Text(span) }
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}
