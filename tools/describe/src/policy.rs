//! Who makes policy at run time, and what may be handed out.

use serde_spanned::Spanned;
use shikiri_config::{
    MAX_ANSWER_MS, MAX_PARTITIONS, MAX_POLICY_IMAGES, Policy, PolicyImageSpec, Unanswered,
};

use crate::Request;
use crate::images::{self, Files};
use crate::problem::Problem;
use crate::system::{check_exists, limit_values};
use crate::text::{DefaultText, Description, PolicyText};

/// How long an answer may take unless the description says so.
const USUAL_ANSWER_MS: u32 = 1000;

/// What the description says; and the files that it names.
pub(crate) fn plan(
    request: &Request,
    description: &Description,
    files: &mut Files,
) -> Result<(Option<Policy>, Vec<PolicyImageSpec>), Problem> {
    let Some(text) = description.policy.as_ref().map(Spanned::get_ref) else {
        return Ok((None, Vec::new()));
    };
    let partition =
        text.partition.as_ref().map(|name| check_exists(description, name)).transpose()?;
    let policy = Policy {
        partition,
        spare: spare(description, text)?,
        default: match text.default {
            DefaultText::Refuse => Unanswered::Refused,
            DefaultText::Grant => Unanswered::Granted,
        },
        answer_ms: answer_ms(text)?,
        handout: limit_values(&text.handout)?,
    };
    Ok((Some(policy), images(request, text, files)?))
}

fn spare(description: &Description, text: &PolicyText) -> Result<usize, Problem> {
    let Some(stated) = &text.partitions else { return Ok(0) };
    let spare = usize::from(*stated.get_ref());
    let room = MAX_PARTITIONS.saturating_sub(description.partitions.len());
    if spare > room {
        let problem = Problem::new(format!("{MAX_PARTITIONS} partitions are possible at one time"));
        return Err(problem.at(stated.span(), format!("{room} are left beside those described")));
    }
    if spare > 0 && text.partition.is_none() {
        let problem = Problem::new("nobody can make partitions at run time");
        return Err(problem
            .at(stated.span(), "so many could be made")
            .help("`partition` names the one that holds the policy capability"));
    }
    Ok(spare)
}

fn answer_ms(text: &PolicyText) -> Result<u32, Problem> {
    let Some(stated) = &text.answer else { return Ok(USUAL_ANSWER_MS) };
    let wanted = u32::try_from(stated.get_ref().0 / 1000).unwrap_or(u32::MAX);
    if (1..=MAX_ANSWER_MS).contains(&wanted) {
        return Ok(wanted);
    }
    let problem = Problem::new("an answer takes between 1 ms and 60 s");
    Err(problem.at(stated.span(), "out of range"))
}

/// The files, each under a name of its own.
fn images(
    request: &Request,
    text: &PolicyText,
    files: &mut Files,
) -> Result<Vec<PolicyImageSpec>, Problem> {
    let mut images: Vec<PolicyImageSpec> = Vec::new();
    for name in &text.images {
        if let Some(earlier) = images.iter().position(|image| image.name == *name.get_ref()) {
            let problem = Problem::new(format!("`{}` is named twice", name.get_ref()));
            let first = text.images[earlier].span();
            return Err(problem.at(first, "the first").at(name.span(), "the second"));
        }
        if images.len() == MAX_POLICY_IMAGES {
            let problem = Problem::new(format!("at most {MAX_POLICY_IMAGES} images"));
            return Err(problem.at(name.span(), "one more"));
        }
        let blob = images::find(request, files, name, ".bin")?;
        images.push(PolicyImageSpec { name: name.get_ref().clone(), blob });
    }
    Ok(images)
}
