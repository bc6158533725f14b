//! What a person sees first: where one is, and what to type.

use shikiri_machine::Machine;

/// The first screen: it knows the machine that it is on.
#[must_use]
pub fn greeting(machine: &dyn Machine) -> String {
    let partitions = match machine.partitions() {
        Ok(partitions) => partitions,
        Err(refusal) => {
            return format!(
                "\nShikiri's system control OS. The machine's partitions are not this system's to see ({}).\n\
                 `help` says what this shell knows, `ls /bin` what else there is.\n\n",
                refusal.status
            );
        }
    };
    let plural = if partitions.len() == 1 { "" } else { "s" };
    let mut lines = vec![("part list".to_owned(), "what is there, and how it stands")];
    let own = partitions.iter().find(|it| it.makes_policy);
    if let Some(other) = partitions.iter().rfind(|it| !it.makes_policy) {
        let is_first = own.is_some_and(|own| own.id.place.0 == 0);
        let back = if is_first { "talk to it; Ctrl-A 1 comes back" } else { "talk to it" };
        lines.push((format!("part console {}", other.name), back));
        lines.push((format!("part show {}", other.name), "what it may use, and what it does"));
    }
    lines.push(("top".to_owned(), "who uses what, live; a key ends it"));
    lines.push(("help".to_owned(), "make, start, limit, watch and end partitions"));
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let lines: String =
        lines.iter().map(|(line, what)| format!("  {line:<width$}   {what}\n")).collect();
    format!(
        "\nShikiri: one machine, {} partition{plural}. This one runs the others; type\n\n{lines}\n",
        partitions.len()
    )
}
