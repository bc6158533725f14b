//! The files that are loaded: whether each is what the compiler has put into the bundle.

use crate::bundle::Bundle;
use crate::error::File;

/// Compares the checksum of each file; the first wrong one is the error.
pub(crate) fn check<'a>(bundle: &Bundle<'a>, crc32: impl Fn(&[u8]) -> u32) -> Result<(), File<'a>> {
    let is_damaged = |blob: &usize| bundle.blob(*blob).is_none_or(|file| !file.verify(&crc32));
    let damaged = (0..bundle.blob_count()).find(is_damaged);
    damaged.map_or(Ok(()), |blob| Err(whose(bundle, blob)))
}

/// A file by the first that loads it.
fn whose<'a>(bundle: &Bundle<'a>, blob: usize) -> File<'a> {
    for partition in (0..).map_while(|index| bundle.partition(index)) {
        if let Some(image) = partition.images().find(|image| image.blob == blob) {
            return File { what: image.kind.words(), of: partition.name };
        }
    }
    let policy = bundle.policy_images().find(|image| image.blob == blob);
    File { what: "policy image", of: policy.map_or("nobody", |image| image.name) }
}
