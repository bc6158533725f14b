//! What is wrong, and where it stands in the file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report};
use serde_spanned::Spanned;

/// An error in a description: a sentence, places in the file with what stands there, and advice.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    said: Box<MietteDiagnostic>,
    /// Whether something without a place was added to the sentence.
    is_extended: bool,
    /// The file that the places are in, and its text, if it is not the description.
    file: Option<(PathBuf, String)>,
}

impl Problem {
    /// Says what is wrong.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { said: Box::new(MietteDiagnostic::new(message)), is_extended: false, file: None }
    }

    /// Says that a name stands again in a list, or in lists, that have each once.
    pub(crate) fn named_twice<'n>(
        names: impl IntoIterator<Item = &'n Spanned<String>>,
        again: &Spanned<String>,
    ) -> Self {
        let first = names.into_iter().find(|name| name.get_ref() == again.get_ref());
        Self::new(format!("`{}` is named twice", again.get_ref()))
            .at(first.map_or(again.span(), Spanned::span), "the first time")
            .at(again.span(), "again")
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

    /// Says that the places are in another file, which the description names.
    pub(crate) fn in_file(self, file: PathBuf, text: String) -> Self {
        Self { file: Some((file, text)), ..self }
    }

    /// The report to show, for the description in this file.
    pub(crate) fn report(self, file: &Path, text: &str) -> Report {
        let (file, text) = self.file.unwrap_or_else(|| (file.to_owned(), text.to_owned()));
        Report::new(*self.said).with_source_code(NamedSource::new(file.display().to_string(), text))
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
