//! What every shell has, and `help`.

use super::programs::{PROGRAMS, page_of};
use super::{COMMANDS, Command, Failure, Said, find, misused};
use crate::system::System;

pub(super) const CD: Command = Command {
    name: "cd",
    usage: "cd [DIRECTORY]",
    summary: "change the directory",
    page: "Without a directory it goes to the root.",
    forms: &[],
    run: |arguments, system, _| match arguments {
        [] => change(system, "/"),
        [path] => change(system, path),
        _ => misused("one directory"),
    },
};

fn change(system: &mut dyn System, path: &str) -> Result<(), Failure> {
    system.change_directory(path).map_err(|error| Failure::Other(format!("{path}: {error}")))
}

pub(super) const SET: Command = Command {
    name: "set",
    usage: "set NAME VALUE",
    summary: "set a variable",
    page: "$NAME stands for its value from then on, in the shell and in the programs that it starts. $? is the last result.",
    forms: &[],
    run: |arguments, system, _| match arguments {
        [name, value]
            if !name.is_empty()
                && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') =>
        {
            system.set_variable(name, value);
            Ok(())
        }
        [name, _] => misused(format!("`{name}` is no name of a variable")),
        _ => misused("a name and a value"),
    },
};

pub(super) const ECHO: Command = Command {
    name: "echo",
    usage: "echo [WORD …]",
    summary: "write words",
    page: "Writes its words and a new line.",
    forms: &[],
    run: |arguments, _, said| {
        said.say(arguments.join(" "));
        said.say("\n");
        Ok(())
    },
};

pub(super) const TRUE: Command = Command {
    name: "true",
    usage: "true",
    summary: "succeed",
    page: "Does nothing, successfully: `… || true` in a script goes on after a failure.",
    forms: &[],
    run: |_, _, _| Ok(()),
};

pub(super) const EXIT: Command = Command {
    name: "exit",
    usage: "exit [RESULT]",
    summary: "end the shell",
    page: "Ends the shell with a result from 0 to 255, without one with the last command's. The guests do not notice: init starts another shell.",
    forms: &[],
    run: |arguments, _, said| {
        match arguments {
            [] => {}
            [result] => match result.parse::<u8>() {
                Ok(result) => said.result = Some(result.into()),
                Err(_) => return misused(format!("`{result}` is no result from 0 to 255")),
            },
            _ => return misused("one result"),
        }
        said.is_over = true;
        Ok(())
    },
};

pub(super) const HELP: Command = Command {
    name: "help",
    usage: "help [COMMAND [WORD] | PROGRAM]",
    summary: "what there is, or about one command or program",
    page: "Without a word it lists the shell's own commands and the programs in /bin that come with the system. `help part create` is about a command of two words.",
    forms: &[],
    run: |arguments, _, said| match arguments {
        [] => {
            list(said);
            Ok(())
        }
        [name] => match (find(name), page_of(name.strip_prefix("/bin/").unwrap_or(name))) {
            (Some(command), _) => {
                command_page(command, said);
                Ok(())
            }
            (None, Some(program)) => {
                page(program.name, program.usage, program.summary, program.page, said);
                Ok(())
            }
            (None, None) => Err(Failure::Other(format!(
                "there is no command and no page of a program `{name}`; programs are in /bin"
            ))),
        },
        [name, word] => match find(name).and_then(|command| command.form(word)) {
            Some(form) => {
                said.say(format_args!("  {}\n\n{}\n", form.usage, form.page));
                Ok(())
            }
            None => Err(Failure::Other(format!("there is no command `{name} {word}`"))),
        },
        _ => misused("one command, with one of its words perhaps, or a program"),
    },
};

/// The command's page, with what it does with its words.
fn command_page(command: &Command, said: &mut Said<'_>) {
    let usages = command.usage.lines().chain(command.forms.iter().map(|form| form.usage));
    let usages: Vec<&str> = usages.collect();
    let width = command.forms.iter().filter_map(|form| form.words.first()).map(|it| it.len()).max();
    let indent = format!("\n{}", " ".repeat(width.map_or(0, |width| width + 2)));
    let forms: String = command
        .forms
        .iter()
        .filter_map(|form| Some((form.words.first()?, form.page.replace('\n', &indent))))
        .map(|(word, text)| format!("\n{word:<width$}  {text}", width = width.unwrap_or(0)))
        .collect();
    let gap = if forms.is_empty() { "" } else { "\n" };
    let text = format!("{}{gap}{forms}", command.page);
    page(command.name, &usages.join("\n"), command.summary, &text, said);
}

fn list(said: &mut Said<'_>) {
    for command in COMMANDS {
        said.say(format_args!("  {:<6} {}\n", command.name, command.summary));
    }
    let programs = |is_test: bool| {
        let names = PROGRAMS.iter().filter(|it| it.is_test == is_test).map(|it| it.name);
        names.collect::<Vec<_>>().join(" ")
    };
    said.say(format_args!("\nPrograms: {}\n", programs(false)));
    said.say(format_args!("To test the system: {}\n", programs(true)));
    said.say("\n`help part` says how to look at partitions, make them, start and end them; `help ps` and so on says what a program does.\n");
    said.say("Lines: ; && || between commands, | between programs, < > >> files, 'quotes', $variables, # comments.\n");
}

fn page(name: &str, usage: &str, summary: &str, text: &str, said: &mut Said<'_>) {
    said.say(format_args!("{name}: {summary}\n\n"));
    for form in usage.lines() {
        said.say(format_args!("  {form}\n"));
    }
    said.say(format_args!("\n{text}\n"));
}
