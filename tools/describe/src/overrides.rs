//! What the command line changes in a description.

use serde_spanned::Spanned;

use crate::Overrides;
use crate::problem::Problem;
use crate::text::{Cores, Description, MemoryText, PartitionText};
use crate::units::Size;

/// Applies the changes to the one partition that they can mean.
pub(crate) fn apply(overrides: &Overrides, description: &mut Description) -> Result<(), Problem> {
    if *overrides == Overrides::default() {
        return Ok(());
    }
    let has_kernel = |partition: &&mut Spanned<PartitionText>| partition.get_ref().kernel.is_some();
    let count = description.partitions.len();
    let mut candidates: Vec<_> = description.partitions.iter_mut().filter(has_kernel).collect();
    match candidates.as_mut_slice() {
        [partition] => change(overrides, partition.get_mut()),
        _ if count == 1 => match description.partitions.first_mut() {
            Some(partition) => change(overrides, partition.get_mut()),
            None => return Ok(()),
        },
        _ => {
            let problem = Problem::new(
                "the command line changes a partition, but this description does not have exactly one with a kernel",
            );
            return Err(problem.help("`--kernel`, `--initrd`, `--append`, `--vcpus` and `--memory` are for the system `linux`"));
        }
    }
    Ok(())
}

/// A value that stands nowhere in the file.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn change(overrides: &Overrides, partition: &mut PartitionText) {
    let path = |path: &std::path::PathBuf| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        unplaced(absolute.to_string_lossy().into_owned())
    };
    if let Some(kernel) = &overrides.kernel {
        partition.kernel = Some(path(kernel));
        partition.image = None;
        partition.initrd = None;
        partition.cmdline = None;
        (partition.load, partition.entry) = (None, None);
    }
    if let Some(initrd) = &overrides.initrd {
        partition.initrd = Some(path(initrd));
    }
    if let Some(append) = &overrides.append {
        let before = partition.cmdline.take().map(Spanned::into_inner);
        let words: Vec<_> = before.into_iter().chain([append.clone()]).collect();
        partition.cmdline = Some(unplaced(words.join(" ")));
    }
    if let Some(vcpus) = overrides.vcpus {
        partition.vcpus = Some(unplaced(vcpus));
        if partition.share.is_none() {
            partition.cores = Some(unplaced(Cores::Count(vcpus)));
            partition.vcpu.clear();
        }
    }
    if let Some(memory) = overrides.memory {
        partition.memory = Some(unplaced(MemoryText::Size(Size(memory))));
    }
}
