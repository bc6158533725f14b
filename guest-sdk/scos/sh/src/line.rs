//! A line as it is typed: words, quotes, variables, pipes, redirections, lists.
//!
//! As in other shells: `'…'` keeps everything, `"…"` keeps all but `$name`, `\` keeps the next character; `#` begins a comment;
//! `;`, `&&` and `||` join pipelines, `|` joins commands, `<`, `>` and `>>` redirect. `$?` is the last result. There is no
//! globbing, no substitution of commands, no control structure.

use core::fmt;

/// How a pipeline is joined to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// It always runs.
    Then,
    /// It runs if that one succeeded.
    And,
    /// It runs if that one failed.
    Or,
}

/// A word as it was typed: its variables stand for what they hold when the command runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    pieces: Vec<Piece>,
    /// A part of it was in quotes: it is a word even if it holds nothing.
    is_quoted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

impl Word {
    /// What it stands for; `None`: nothing, and so it is no word.
    fn stands_for(&self, value: &dyn Fn(&str) -> String) -> Option<String> {
        let text = self.pieces.iter().fold(String::new(), |text, piece| match piece {
            Piece::Text(more) => text + more,
            Piece::Variable(name) => text + &value(name),
        });
        (self.is_quoted || !text.is_empty()).then_some(text)
    }

    fn push(&mut self, c: char) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => self.pieces.push(Piece::Text(c.to_string())),
        }
    }
}

/// A command as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    words: Vec<Word>,
    redirects: Vec<(&'static str, Word)>,
}

impl Typed {
    /// The command that it is now.
    #[must_use]
    pub fn now(&self, value: &dyn Fn(&str) -> String) -> Simple {
        let redirect = |(operator, word): &(&str, Word)| {
            let file = word.stands_for(value).unwrap_or_default();
            match *operator {
                "<" => Redirect::From(file),
                ">" => Redirect::To(file),
                _ => Redirect::Append(file),
            }
        };
        Simple {
            words: self.words.iter().filter_map(|word| word.stands_for(value)).collect(),
            redirects: self.redirects.iter().map(redirect).collect(),
        }
    }
}

/// Where an output or an input goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// `< file`
    From(String),
    /// `> file`
    To(String),
    /// `>> file`
    Append(String),
}

/// A command with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simple {
    /// The command and its arguments.
    pub words: Vec<String>,
    /// Its redirections, in order.
    pub redirects: Vec<Redirect>,
}

/// Commands, each reading what the one before writes.
pub type Pipeline = Vec<Simple>;

/// Pipelines as they were typed, in order.
pub type List = Vec<(Joint, Vec<Typed>)>;

/// The line cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// A quote that is not closed.
    Open(char),
    /// Something that a command or a name has to come before or after.
    Unexpected(String),
    /// The line ends where more has to come.
    Ends,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(quote) => write!(f, "the line ends within {quote}"),
            Self::Unexpected(text) => write!(f, "`{text}` is not expected here"),
            Self::Ends => f.write_str("the line ends where a command or a name is expected"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(Word),
    Operator(&'static str),
}

const OPERATORS: [&str; 7] = ["&&", "||", ">>", "|", ";", "<", ">"];

/// Takes a line apart.
///
/// # Errors
/// [`BadLine`]; nothing of the line is to be run then.
pub fn parse(line: &str) -> Result<List, BadLine> {
    let mut list: List = Vec::new();
    let mut joint = Joint::Then;
    let mut pipeline = Vec::new();
    let mut command = Typed::default();
    let mut tokens = tokens(line)?.into_iter();
    let mut wants_command = None;
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => {
                wants_command = None;
                command.words.push(word);
            }
            Token::Operator(operator @ ("<" | ">" | ">>")) => {
                let file = match tokens.next() {
                    Some(Token::Word(file)) => file,
                    Some(Token::Operator(other)) => {
                        return Err(BadLine::Unexpected(other.to_owned()));
                    }
                    None => return Err(BadLine::Ends),
                };
                command.redirects.push((operator, file));
            }
            Token::Operator(operator) => {
                if command.words.is_empty() {
                    return Err(BadLine::Unexpected(operator.to_owned()));
                }
                pipeline.push(core::mem::take(&mut command));
                wants_command = (operator != ";").then_some(operator);
                if operator == "|" {
                    continue;
                }
                list.push((joint, core::mem::take(&mut pipeline)));
                joint = match operator {
                    "&&" => Joint::And,
                    "||" => Joint::Or,
                    _ => Joint::Then,
                };
            }
        }
    }
    if wants_command.is_some() || (command.words.is_empty() && !command.redirects.is_empty()) {
        return Err(BadLine::Ends);
    }
    if !command.words.is_empty() {
        pipeline.push(command);
        list.push((joint, pipeline));
    }
    Ok(list)
}

fn tokens(line: &str) -> Result<Vec<Token>, BadLine> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !is_comment(rest, tokens.last()) {
        let operator = OPERATORS.into_iter().find(|operator| rest.starts_with(operator));
        rest = if let Some(operator) = operator {
            tokens.push(Token::Operator(operator));
            rest.get(operator.len()..).unwrap_or("")
        } else if rest.starts_with('&') {
            return Err(BadLine::Unexpected("&".to_owned()));
        } else {
            let (word, behind) = word(rest)?;
            tokens.push(Token::Word(word));
            behind
        };
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// Whether a comment begins here. What follows a command as `#5` is a partition's id.
fn is_comment(rest: &str, before: Option<&Token>) -> bool {
    let Some(text) = rest.strip_prefix('#') else { return false };
    let is_argument = matches!(before, Some(Token::Word(_)));
    !(is_argument && text.starts_with(|letter: char| letter.is_ascii_digit()))
}

/// The word at the front, and what is behind it.
fn word(text: &str) -> Result<(Word, &str), BadLine> {
    let mut word = Word::default();
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices().peekable();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.push(c),
            (_, '\\') => {
                if let Some((_, kept)) = chars.next() {
                    word.push(kept);
                }
            }
            (_, '$') => {
                let mut name = String::new();
                while let Some((_, c)) = chars.next_if(|(_, c)| {
                    name.is_empty() && *c == '?' || c.is_ascii_alphanumeric() || *c == '_'
                }) {
                    name.push(c);
                    if c == '?' {
                        break;
                    }
                }
                if name.is_empty() {
                    word.push('$');
                } else {
                    word.pieces.push(Piece::Variable(name));
                }
            }
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.is_quoted = true;
            }
            (None, ' ' | '\t' | '\n' | '\r' | '|' | ';' | '<' | '>' | '&') => {
                end = at;
                break;
            }
            (None, c) => word.push(c),
        }
    }
    match quote {
        Some(open) => Err(BadLine::Open(open)),
        None => Ok((word, text.get(end..).unwrap_or(""))),
    }
}

#[cfg(test)]
mod tests {
    use super::{BadLine, Joint, Pipeline, Redirect, Simple, parse};
    use proptest::prelude::*;

    fn read(line: &str) -> Result<Vec<(Joint, Pipeline)>, BadLine> {
        let value = |name: &str| match name {
            "name" => "a b".into(),
            "?" => "7".into(),
            _ => String::new(),
        };
        let now = |(joint, typed): &(Joint, Vec<super::Typed>)| {
            (*joint, typed.iter().map(|typed| typed.now(&value)).collect())
        };
        parse(line).map(|list| list.iter().map(now).collect())
    }

    fn words(line: &str) -> Vec<String> {
        match read(line).unwrap().as_slice() {
            [] => vec![],
            [(Joint::Then, pipeline)] if pipeline.len() == 1 => pipeline[0].words.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_quotes_and_variables() {
        for (line, expected) in [
            ("", vec![]),
            ("  # nothing", vec![]),
            ("part list", vec!["part", "list"]),
            ("  a\tb  # c\n", vec!["a", "b"]),
            ("a b\r\n", vec!["a", "b"]),
            ("a#b", vec!["a#b"]),
            ("part show #5 # the fifth", vec!["part", "show", "#5"]),
            ("#5 is no command", vec![]),
            ("a #b", vec!["a"]),
            ("'a  b' \"c d\" e\\ f", vec!["a  b", "c d", "e f"]),
            ("'' \"\"", vec!["", ""]),
            ("$name '$name' \"$name\" $none x$?y $", vec!["a b", "$name", "a b", "x7y", "$"]),
            ("a'b'\"c\"", vec!["abc"]),
            ("\"a\\\"b\"", vec!["a\"b"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn lists_pipes_and_redirections() {
        let simple = |text: &str| Simple {
            words: text.split(' ').map(str::to_owned).collect(),
            redirects: vec![],
        };
        assert_eq!(
            read("a b|c && d; e || f >x >>'y z' <w").unwrap(),
            [
                (Joint::Then, vec![simple("a b"), simple("c")]),
                (Joint::And, vec![simple("d")]),
                (Joint::Then, vec![simple("e")]),
                (
                    Joint::Or,
                    vec![Simple {
                        redirects: vec![
                            Redirect::To("x".into()),
                            Redirect::Append("y z".into()),
                            Redirect::From("w".into()),
                        ],
                        ..simple("f")
                    }]
                ),
            ]
        );
        assert_eq!(read("a;").unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for (line, message) in [
            ("a 'b", "the line ends within '"),
            ("a \"b", "the line ends within \""),
            ("| a", "`|` is not expected here"),
            ("a | | b", "`|` is not expected here"),
            ("a ;; b", "`;` is not expected here"),
            ("a &", "`&` is not expected here"),
            ("a &&", "the line ends where a command or a name is expected"),
            ("a |", "the line ends where a command or a name is expected"),
            ("a >", "the line ends where a command or a name is expected"),
            ("a > | b", "`|` is not expected here"),
            ("> b", "the line ends where a command or a name is expected"),
        ] {
            assert_eq!(read(line).unwrap_err().to_string(), message, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_understood_or_refused(line in "[ -~\t]{0,40}") {
            for (_, pipeline) in read(&line).unwrap_or_default() {
                prop_assert!(!pipeline.is_empty());
            }
        }

        #[test]
        fn what_is_quoted_stays_as_it_is(text in "[ -&(-~]{1,20}") {
            prop_assert_eq!(words(&format!("'{text}'")), [text]);
        }
    }
}
