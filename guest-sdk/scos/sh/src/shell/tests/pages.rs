//! What the shell says of itself: the first screen, and the pages of `help`.

use super::{Fake, say};

#[test]
fn the_first_screen_names_what_is_there_and_ends_with_help() {
    let mut fake = Fake::new();
    let expected = "
Shikiri: one machine, 2 partitions. This one runs the others; type

  part list            what is there, and how it stands
  part console hello   talk to it; Ctrl-A 1 comes back
  part show hello      what it may use, and what it does
  top                  who uses what, live; a key ends it
  help                 make, start, limit, watch and end partitions

";
    assert_eq!(crate::greeting(&fake), expected);
    for line in expected.lines().filter(|line| line.starts_with("  part")) {
        let words = line.trim().split("   ").next().unwrap();
        assert_eq!(say(&mut fake, words).0, 0, "{words}");
    }
    fake.partitions.truncate(1);
    assert!(crate::greeting(&fake).contains("1 partition. "));
    fake.is_stranger = true;
    let text = crate::greeting(&fake);
    assert!(text.contains("not this system's to see (not permitted)") && text.contains("`help`"));
}

#[test]
fn every_command_has_a_page_and_help_lists_them_all() {
    let mut fake = Fake::new();
    let (_, list) = say(&mut fake, "help");
    for command in crate::COMMANDS {
        assert!(
            list.contains(&format!("  {:<6} {}\n", command.name, command.summary)),
            "{}",
            command.name
        );
        let (result, page) = say(&mut fake, &format!("help {}", command.name));
        assert_eq!(result, 0);
        assert!(
            page.contains(command.page) && command.usage.lines().all(|form| page.contains(form)),
            "{page}"
        );
    }
    assert_eq!(say(&mut fake, "help fly").0, 1);
}

#[test]
fn every_command_of_two_words_has_a_page_and_says_what_is_missing() {
    let mut fake = Fake::new();
    let two_words = crate::COMMANDS
        .iter()
        .flat_map(|command| command.forms.iter().map(move |it| (command, it)));
    for (command, form) in two_words {
        let (_, whole) = say(&mut fake, &format!("help {}", command.name));
        for word in form.words {
            let (result, page) = say(&mut fake, &format!("help {} {word}", command.name));
            assert_eq!((result, page), (0, format!("  {}\n\n{}\n", form.usage, form.page)));
        }
        let first = form.page.lines().next().unwrap();
        assert!(whole.contains(form.usage) && whole.contains(first), "{whole}");
        assert!(form.page.lines().all(|line| line.len() <= 180), "{}", form.usage);
        assert!(form.usage.starts_with(&format!("{} {}", command.name, form.words[0])));
    }
    assert_eq!(say(&mut fake, "help part fly").0, 1);
    assert_eq!(say(&mut fake, "help top fly").0, 1);
    for (line, text) in [
        ("part end", "part: end: PARTITION is missing\nusage: part end PARTITION\n"),
        ("part stop", "part: stop: PARTITION is missing\nusage: part end PARTITION\n"),
        ("part create", "part: create: NAME is missing\nusage: part create NAME image="),
        ("part limit hello", "part: limit: RESOURCE is missing\nusage: part limit PARTITION RES"),
        ("part wait hello", "part: wait: STATE is missing\nusage: part wait PARTITION STATE ["),
        ("part list all", "part: list: `all` is one word too many\nusage: part list\n"),
        ("chan permit scos", "chan: permit: TO is missing\nusage: chan permit FROM TO\n"),
        (
            "part",
            "part: what about partitions?\nusage: part list|show|images|create|start|pause|resume|end|\
             restart|destroy|limit|log|console|wait …; `help part WORD` says how\n",
        ),
        ("part fly hello", "part: `fly` is nothing that part does\nusage: part list|show|"),
    ] {
        let (result, said) = say(&mut fake, line);
        assert!(result == 2 && said.starts_with(text), "{line}: {said}");
    }
}

/// The programs that are built for the system: a file or a folder each.
fn built() -> Vec<String> {
    let folder = |path: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
    };
    folder("../programs/src/bin").chain(folder("../c")).collect()
}

#[test]
fn every_program_has_a_page_and_help_names_them_all() {
    let mut fake = Fake::new();
    let (_, list) = say(&mut fake, "help");
    let mut built = built();
    built.sort();
    let pages: Vec<&str> = crate::PROGRAMS.iter().map(|it| it.name).collect();
    assert_eq!(pages, built, "each has a page, by name, and no page is of what there is not");
    for program in crate::PROGRAMS {
        let words = || list.split_whitespace();
        assert!(words().any(|word| word == program.name), "{}", program.name);
        // What the shell does itself under a program's name has the shell's page.
        let is_own = crate::COMMANDS.iter().any(|it| it.name == program.name);
        for name in [program.name.to_owned(), format!("/bin/{}", program.name)] {
            let (result, page) = say(&mut fake, &format!("help {name}"));
            assert_eq!(result, 0, "{name}");
            let has_all = program.usage.lines().all(|form| page.contains(form))
                && page.contains(program.page);
            assert!(has_all || is_own && !name.starts_with('/'), "{name}: {page}");
        }
        assert!(program.usage.starts_with(program.name) && program.page.ends_with('.'));
        assert!(program.page.lines().all(|line| line.len() <= 180), "{}", program.name);
    }
}
