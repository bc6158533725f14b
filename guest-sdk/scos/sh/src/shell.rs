//! Runs lines.

use crate::command::{self, Failure, Said};
use crate::line::{Joint, Pipeline, parse};
use crate::system::System;

/// The shell between two lines.
#[derive(Debug, Default)]
pub struct Shell {
    /// The last result; 0 is success.
    result: i32,
    /// `exit` was said.
    is_over: bool,
}

/// What a line that cannot be understood results in, as in other shells.
const MISUSED: i32 = 2;
/// What a program that is not there results in.
const NOT_FOUND: i32 = 127;
/// What ^C results in: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

impl Shell {
    /// A shell that has run nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The last result.
    #[must_use]
    pub const fn result(&self) -> i32 {
        self.result
    }

    /// Whether it was told to end.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// ^C came instead of a line.
    pub const fn interrupt(&mut self) {
        self.result = INTERRUPTED;
    }

    /// Runs a line; what there is to complain about goes to `complain`. ^C ends the command that runs, and what stands behind it is not run.
    pub fn run(&mut self, line: &str, system: &mut dyn System, complain: &mut dyn FnMut(&str)) {
        let list = match parse(line) {
            Ok(list) => list,
            Err(error) => {
                complain(&error.to_string());
                self.result = MISUSED;
                return;
            }
        };
        for (joint, typed) in list {
            let is_wanted = match joint {
                Joint::Then => true,
                Joint::And => self.result == 0,
                Joint::Or => self.result != 0,
            };
            if is_wanted && !self.is_over {
                let result = self.result;
                let value = |name: &str| match name {
                    "?" => result.to_string(),
                    name => system.variable(name).unwrap_or_default(),
                };
                let pipeline = typed.iter().map(|typed| typed.now(&value)).collect();
                self.result = self.pipeline(&pipeline, system, complain);
            }
            if system.is_interrupted() {
                self.result = INTERRUPTED;
                return;
            }
        }
    }

    /// Runs a script: its lines, until one ends the shell. With `-e` as in other shells the first failure ends it; here that is the
    /// rule, since a script that runs a machine is not to go on after a step that failed; `… || true` goes on.
    pub fn script(&mut self, text: &str, system: &mut dyn System, complain: &mut dyn FnMut(&str)) {
        for (number, line) in (1..).zip(text.lines()) {
            self.run(line, system, &mut |text| complain(&format!("line {number}: {text}")));
            if self.is_over || self.result != 0 {
                return;
            }
        }
    }

    fn pipeline(
        &mut self,
        pipeline: &Pipeline,
        system: &mut dyn System,
        complain: &mut dyn FnMut(&str),
    ) -> i32 {
        let own = |word: &String| command::find(word).is_some();
        if let [simple] = pipeline.as_slice()
            && let Some((name, arguments)) = simple.words.split_first()
            && let Some(command) = command::find(name)
        {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut said = Said::new(simple);
            let result = (command.run)(&arguments, system, &mut said);
            if let Err(error) = said.flush(system) {
                complain(&format!("{name}: {error}"));
                return 1;
            }
            self.is_over |= said.is_over;
            if let Some(result) = said.result {
                return result;
            }
            return match result {
                Ok(()) => 0,
                Err(Failure::Interrupted) => INTERRUPTED,
                Err(failure) => {
                    complain(&format!("{name}: {failure}"));
                    if failure.is_misuse() {
                        let usage = command.usage_with(arguments.first().copied());
                        complain(&format!("usage: {usage}"));
                        return MISUSED;
                    }
                    1
                }
            };
        }
        if let Some(simple) = pipeline.iter().find(|simple| simple.words.first().is_some_and(own)) {
            let name = simple.words.first().map_or("", String::as_str);
            complain(&format!(
                "{name}: the shell's own commands do not stand in pipes; use > and <"
            ));
            return MISUSED;
        }
        if pipeline.iter().any(|simple| simple.words.is_empty()) {
            complain("a command that holds nothing");
            return MISUSED;
        }
        match system.run(pipeline) {
            Ok(result) => result,
            Err(error) => {
                let name =
                    pipeline.first().and_then(|it| it.words.first()).map_or("", String::as_str);
                complain(&format!("{name}: {error}; `help` lists the shell's own commands"));
                NOT_FOUND
            }
        }
    }
}

#[cfg(test)]
mod tests;
