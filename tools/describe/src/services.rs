//! Which services partitions offer, and to whom.

use serde_spanned::Spanned;
use shikiri_config::{MAX_SERVICES, PartitionSet, ServiceSpec};

use crate::problem::Problem;
use crate::system::check_exists;
use crate::talk::check_name;
use crate::text::{Askers, Description, PartitionText, ServiceText};

/// The services, in the order of the description.
pub(crate) fn plan(description: &Description) -> Result<Vec<ServiceSpec>, Problem> {
    let mut specs = Vec::new();
    for (index, service) in description.services.iter().map(Spanned::get_ref).enumerate() {
        check_name(&service.name, "a service")?;
        if index == MAX_SERVICES {
            let problem = Problem::new(format!("more than {MAX_SERVICES} services"));
            return Err(problem.at(service.name.span(), "one too many"));
        }
        let of = check_exists(description, &service.of)?;
        check_unlike(service, description.services.iter().take(index).map(Spanned::get_ref))?;
        let server = description.partitions[of].get_ref();
        check_handles(service, server)?;
        specs.push(ServiceSpec {
            name: service.name.get_ref().clone(),
            of: u8::try_from(of).unwrap_or(u8::MAX),
            number: *service.number.get_ref(),
            to: askers(description, service, server)?,
        });
    }
    Ok(specs)
}

/// A partition's services differ in their names and numbers.
fn check_unlike<'a>(
    service: &ServiceText,
    earlier: impl Iterator<Item = &'a ServiceText>,
) -> Result<(), Problem> {
    let of = service.of.get_ref();
    for other in earlier.filter(|other| other.of.get_ref() == of) {
        let (name, number) = (service.name.get_ref(), *service.number.get_ref());
        if other.number.get_ref() == &number {
            let problem = Problem::new(format!(
                "number {number} of `{of}` is claimed by service `{}` and by service `{name}`",
                other.name.get_ref()
            ));
            return Err(problem
                .at(other.number.span(), format!("service `{}`", other.name.get_ref()))
                .at(service.number.span(), format!("service `{name}`")));
        }
        if other.name.get_ref() == name {
            let problem = Problem::new(format!("two services of `{of}` are called `{name}`"));
            return Err(problem
                .at(other.name.span(), "the first")
                .at(service.name.span(), "the second"));
        }
    }
    Ok(())
}

/// Whoever is asked has a table for what it takes.
fn check_handles(service: &ServiceText, server: &PartitionText) -> Result<(), Problem> {
    if server.has_handles() {
        return Ok(());
    }
    let (name, of) = (service.name.get_ref(), server.name.get_ref());
    let problem = Problem::new(format!("`{of}` has a service `{name}`, but no handles"));
    Err(problem
        .at(service.of.span(), "is asked for it")
        .at(server.name.span(), "needs `handles`")
        .help(PartitionText::HANDLES_HELP))
}

/// Who may ask for it: each once, and permitted to ask its partition at all.
fn askers(
    description: &Description,
    service: &ServiceText,
    server: &PartitionText,
) -> Result<PartitionSet, Problem> {
    let (name, of) = (service.name.get_ref(), server.name.get_ref());
    let Askers::Listed(list) = service.to.get_ref() else { return Ok(PartitionSet::ALL) };
    if list.is_empty() {
        let problem = Problem::new(format!("nobody may ask `{of}` for `{name}`"));
        return Err(problem
            .at(service.to.span(), "names nobody")
            .help("`\"anyone\"` is whoever may ask its partition at all"));
    }
    let mut set = PartitionSet::EMPTY;
    for asker in list {
        let one = PartitionSet::one(check_exists(description, asker)?);
        if set.union(one) == set {
            return Err(Problem::named_twice(list, asker));
        }
        set = set.union(one);
        if !server.accept_from.iter().any(|other| other.get_ref() == asker.get_ref()) {
            let asker_name = asker.get_ref();
            let problem = Problem::new(format!(
                "`{asker_name}` may ask `{of}` for `{name}`, but may not connect to it"
            ));
            return Err(problem
                .at(asker.span(), "may ask for it")
                .at(server.name.span(), format!("has no `{asker_name}` in `accept_from`")));
        }
    }
    Ok(set)
}
