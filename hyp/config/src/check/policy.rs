//! Who makes policy: a partition that exists, places that there are, files that the bundle has.

use crate::bundle::{Bundle, SystemTables};
use crate::error::BundleError;
use crate::partition::{is_printable, text};
use crate::row::{NO_HOLDER, PolicyImageRow, PolicyRow};
use crate::types::{MAX_ANSWER_MS, MAX_PARTITIONS, MAX_POLICY_IMAGES};

/// At most one row, and what it names is there.
pub(crate) fn check<'a>(bundle: &Bundle<'a>) -> Result<(), BundleError<'a>> {
    let SystemTables { policies, policy_images: images, .. } = bundle.system_tables();
    let Some(row) = policies.first().map(PolicyRow::get) else {
        return if images.is_empty() {
            Ok(())
        } else {
            Err(BundleError::Layout("policy images without a policy"))
        };
    };
    if policies.len() > 1 {
        return Err(BundleError::Layout("more than one policy"));
    }
    if row.default > 1 || row.reserved != 0 {
        return Err(BundleError::Layout("unknown flag of the policy"));
    }
    let wrong = |what, value| Err(BundleError::System { what, value });
    let partitions = bundle.partition_count();
    if row.partition != NO_HOLDER && usize::from(row.partition) >= partitions {
        return wrong("no partition there for the policy", u64::from(row.partition));
    }
    if usize::from(row.spare).saturating_add(partitions) > MAX_PARTITIONS {
        return wrong("more spare places than there are", u64::from(row.spare));
    }
    if !(1..=MAX_ANSWER_MS).contains(&row.answer_ms) {
        return wrong("time for an answer out of range", u64::from(row.answer_ms));
    }
    if images.len() > MAX_POLICY_IMAGES {
        return Err(BundleError::Layout("too many policy images"));
    }
    for (index, row) in images.iter().map(PolicyImageRow::get).enumerate() {
        let strings = bundle.tables().strings;
        let is_name = is_printable(strings, row.name_at, row.name_len);
        if !is_name || row.reserved != 0 || row.reserved2 != 0 {
            return Err(BundleError::Layout("policy image without a name, or an unknown flag"));
        }
        let number = u64::try_from(index).unwrap_or(u64::MAX);
        if bundle
            .policy_images()
            .take(index)
            .any(|other| Some(other.name) == text(strings, row.name_at, row.name_len))
        {
            return wrong("an earlier one has the name of policy image number", number);
        }
        if bundle.blob(usize::try_from(row.blob).unwrap_or(usize::MAX)).is_none() {
            return wrong("no blob of policy image number", number);
        }
    }
    Ok(())
}
