//! An image of a memory card: a partition table with one partition, and a FAT file system in it.

use std::io::{Cursor, Write as _};

use anyhow::{Context as _, Result, ensure};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

/// A file of the card: its name and its contents.
pub(crate) type File = (String, Vec<u8>);

const SECTOR: usize = 512;
/// Where the partition begins: where partitioning tools put the first one.
const START: usize = 2048 * SECTOR;
/// Room beside the files: for what the user adds, such as the firmware.
const ROOM: usize = 48 << 20;
/// The partition's type in the table: FAT32, reached by sector numbers.
const FAT32: u8 = 0x0c;
/// The least clusters of a FAT32, with a sector each: fewer would be a FAT16 (Microsoft's specification).
const LEAST: usize = 66_000 * SECTOR;

/// The image of a card with these files.
pub(crate) fn image(files: &[File]) -> Result<Vec<u8>> {
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let size = bytes.saturating_add(ROOM).max(LEAST).next_multiple_of(1 << 20);
    let mut image = table(size)?;
    image.extend(volume(files, size)?);
    Ok(image)
}

/// The partition table and the gap behind it.
fn table(size: usize) -> Result<Vec<u8>> {
    let mut sectors = vec![0; START];
    let entry = sectors.get_mut(446..462).context("no room for the partition table")?;
    // No cylinders, heads and sectors: the largest values stand for "see the sector numbers".
    let chs = [0xfe, 0xff, 0xff];
    let mut row = vec![0];
    row.extend(chs);
    row.push(FAT32);
    row.extend(chs);
    row.extend(u32::try_from(START / SECTOR)?.to_le_bytes());
    row.extend(u32::try_from(size / SECTOR)?.to_le_bytes());
    entry.copy_from_slice(&row);
    sectors.get_mut(510..512).context("no signature")?.copy_from_slice(&[0x55, 0xaa]);
    Ok(sectors)
}

/// A FAT32 with these files.
fn volume(files: &[File], size: usize) -> Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; size]);
    let options = FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat32)
        .bytes_per_cluster(u32::try_from(SECTOR)?)
        .volume_label(*b"SHIKIRI    ");
    fatfs::format_volume(&mut volume, options)?;
    let system = FileSystem::new(&mut volume, FsOptions::new())?;
    for (name, bytes) in files {
        let mut file = system.root_dir().create_file(name)?;
        file.truncate()?;
        file.write_all(bytes).with_context(|| format!("{name} does not fit"))?;
    }
    system.unmount()?;
    let mut volume = volume.into_inner();
    ensure!(volume.len() == size, "the file system has grown");
    // BPB_HiddSec, in the boot sector and its copy: what lies before the partition, of which the crate knows nothing.
    let hidden = u32::try_from(START / SECTOR)?.to_le_bytes();
    for sector in [0, 6] {
        let at = sector * SECTOR + 28;
        volume.get_mut(at..at + 4).context("no boot sector")?.copy_from_slice(&hidden);
    }
    Ok(volume)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_files_are_read_back_from_the_partition_that_the_table_names() {
        let files =
            [("config.txt".to_owned(), b"a=b\n".to_vec()), ("bundle".into(), vec![7; 9000])];
        let image = image(&files).unwrap();
        assert_eq!(image[510..512], [0x55, 0xaa]);
        assert_eq!(image[450], 0x0c);
        let number = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
        let (start, sectors) = (number(454) * 512, number(458));
        assert_eq!(image.len(), start + sectors * 512);
        assert_eq!(number(start + 28), 2048, "hidden sectors");
        assert_eq!(image[start..start + 512], image[start + 6 * 512..start + 7 * 512]);
        let system =
            FileSystem::new(Cursor::new(image[start..].to_vec()), FsOptions::new()).unwrap();
        assert_eq!(system.fat_type(), fatfs::FatType::Fat32);
        for (name, bytes) in files {
            let mut found = Vec::new();
            system.root_dir().open_file(&name).unwrap().read_to_end(&mut found).unwrap();
            assert_eq!(found, bytes, "{name}");
        }
    }
}
