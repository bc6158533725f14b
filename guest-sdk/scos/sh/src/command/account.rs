//! `acct`: accounts.

use shikiri_abi::Resource;
use shikiri_machine::{Account, Align, Amount, Table, is_enforced, resource_word};

use super::{Command, Said, misused, partition, too_many};

pub(super) const COMMAND: Command = Command {
    name: "acct",
    usage: "acct\nacct PARTITION\nacct -h",
    summary: "accounts: limit, use and the most that ever was",
    page: "\
Each resource of a partition stands in its account: what may be used at most, what is used, and the most that ever was. A limit that is
not set shows as `-`: that is not zero, it is no limit. Without a partition it shows what all partitions use. -h shows what may be
handed out to partitions made at run time, and what is; limits that are set for them are taken from there.
The shares of cache and memory bus are recorded and not enforced.",
    forms: &[],
    run: |arguments, system, said| match arguments {
        [] => {
            let mut table = Table::new(&[
                ("partition", Align::Left),
                ("id", Align::Right),
                ("core time", Align::Right),
                ("memory", Align::Right),
                ("management", Align::Right),
                ("IPA space", Align::Right),
                ("ports", Align::Right),
                ("devices", Align::Right),
            ]);
            for it in system.machine().partitions()? {
                let account = system.machine().account(it.id)?;
                let used = |resource| used(&account, resource);
                table.row([
                    it.name.clone(),
                    it.id_text(),
                    used(Resource::CoreTime),
                    used(Resource::Memory),
                    used(Resource::ManagementMemory),
                    used(Resource::IpaSpace),
                    used(Resource::EventPorts),
                    used(Resource::Devices),
                ]);
            }
            said.say(table);
            Ok(())
        }
        ["-h"] => {
            show(&system.machine().handout()?, said);
            Ok(())
        }
        [word] => {
            let it = partition(word, system)?;
            show(&system.machine().account(it.id)?, said);
            Ok(())
        }
        [_, more, ..] => misused(too_many(more, "one partition")),
    },
};

fn used(account: &Account, resource: Resource) -> String {
    Amount { resource, value: account.line(resource).used }.to_string()
}

/// All lines of an account.
pub(super) fn show(account: &Account, said: &mut Said<'_>) {
    let mut table = Table::new(&[
        ("resource", Align::Left),
        ("limit", Align::Right),
        ("used", Align::Right),
        ("highest", Align::Right),
        ("", Align::Left),
    ]);
    for resource in Resource::ALL {
        let line = account.line(resource);
        let amount = |value| Amount { resource, value }.to_string();
        let limit = line.limit.map_or_else(|| "-".to_owned(), amount);
        table.row([
            resource_word(resource).to_owned(),
            limit,
            amount(line.used),
            amount(line.high),
            if is_enforced(resource) { "" } else { "recorded, not enforced" }.to_owned(),
        ]);
    }
    said.say(table);
}
