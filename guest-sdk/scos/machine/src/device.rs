//! The device by which a program of the system control OS makes calls: `/dev/shikiri`.
//!
//! One `ioctl` makes a call: seven words, the number and `x1` to `x6`; afterwards the first four are `x0` to `x3`. Another one gives
//! an eventfd that counts how often the hypervisor has told of a notice or a request.
#![expect(unsafe_code, reason = "an ioctl of the system control OS's own")]

use core::time::Duration;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _};
use std::path::{Path, PathBuf};
use std::process;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use shikiri_tree::Gic;

use crate::door::{Calls, PARTITION_LOAD, Trees};
use crate::layout::gic_in;

/// The device.
pub const PATH: &str = "/dev/shikiri";

/// This partition's own device tree.
const TREE: &str = "/sys/firmware/fdt";
/// Those of the partitions that were made: for this life of the system.
const TREES: &str = "/run/shikiri";

mod raw {
    nix::ioctl_readwrite!(call, b'S', 0x40, [u64; 7]);
    nix::ioctl_none!(events, b'S', 0x41);
}

/// The device, open; or why it is not.
#[derive(Debug)]
pub struct Device {
    file: io::Result<File>,
}

/// What the hypervisor tells, to wait for.
#[derive(Debug)]
pub struct Events(File);

impl Device {
    /// Opens the device. One that cannot be opened answers no call.
    #[must_use]
    pub fn open() -> Self {
        Self { file: OpenOptions::new().read(true).write(true).open(PATH) }
    }

    /// Has the hypervisor tell of notices and requests here, as everywhere where they are listened for.
    ///
    /// # Errors
    /// There is no device, or the partition has no event ports.
    pub fn events(&self) -> io::Result<Events> {
        let file = self.file.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        // SAFETY: the request has no argument.
        let number = unsafe { raw::events(file.as_raw_fd()) }?;
        // SAFETY: the descriptor is new, and nobody else's.
        Ok(Events(unsafe { File::from_raw_fd(number) }))
    }
}

impl Events {
    /// Waits until the hypervisor tells of something, at most so long; whether it has.
    ///
    /// # Errors
    /// Those of `poll` and `read`.
    pub fn wait(&mut self, patience: Option<Duration>) -> io::Result<bool> {
        let patience = match patience {
            // A millisecond more rather than less: who waits for a time does not look before it.
            Some(patience) => {
                let rounded = patience.saturating_add(Duration::from_micros(999));
                PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        let mut wanted = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wanted, patience)? == 0 {
            return Ok(false);
        }
        let mut count = [0; 8];
        self.0.read_exact(&mut count)?;
        Ok(true)
    }
}

impl Calls for Device {
    fn call(&self, number: u16, x: [u64; 6]) -> Option<[u64; 4]> {
        let file = self.file.as_ref().ok()?;
        let [x1, x2, x3, x4, x5, x6] = x;
        let mut words = [u64::from(number), x1, x2, x3, x4, x5, x6];
        // SAFETY: the request copies seven words in and out, and these are seven words of ours.
        unsafe { raw::call(file.as_raw_fd(), &raw mut words) }.ok()?;
        let [x0, x1, x2, x3, ..] = words;
        Some([x0, x1, x2, x3])
    }

    fn load(&self, partition: u64, to: u64, bytes: &[u8]) -> Option<[u64; 4]> {
        // The call only reads them: the device copies what the third argument names, and answers if that cannot be read.
        let from = u64::try_from(bytes.as_ptr().expose_provenance()).ok()?;
        let count = u64::try_from(bytes.len()).ok()?;
        self.call(PARTITION_LOAD, [partition, to, from, count, 0, 0])
    }
}

impl Trees for Device {
    fn gic(&self) -> Option<Gic> {
        gic_in(&fs::read(TREE).ok()?)
    }

    fn keep(&self, name: &str, tree: &[u8]) -> io::Result<()> {
        fs::create_dir_all(TREES)?;
        replace(Path::new(&kept(name)), tree)
    }

    fn kept(&self, name: &str) -> Option<Vec<u8>> {
        read_whole(Path::new(&kept(name)))
    }

    fn forget(&self, name: &str) {
        // There may be none.
        let _there = fs::remove_file(kept(name));
    }
}

/// Writes a file. Whoever looks meanwhile finds the whole of it, or the former one; if there is no room, nothing is left of
/// the new one. Of several processes that write at once, the last one's is there.
///
/// # Errors
/// There is no room, or those of `fs::write` and `fs::rename`.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = unfinished(path);
    let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // What could not even be begun is not there.
        let _begun = fs::remove_file(&new);
    }
    written
}

/// Where a file is until it is whole: for each process elsewhere, and for each file.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", process::id()));
    path.with_file_name(name)
}

/// What is in a file, if there is something. A tree is never empty: such a file was begun, and is no use.
fn read_whole(path: &Path) -> Option<Vec<u8>> {
    fs::read(path).ok().filter(|bytes| !bytes.is_empty())
}

/// The file of a partition's tree. A name has no `/` and no `.`.
fn kept(name: &str) -> String {
    format!("{TREES}/{name}.dtb")
}

#[cfg(test)]
mod tests {
    use super::{read_whole, replace, unfinished};
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    #[test]
    fn nothing_is_left_of_what_there_is_no_room_for() {
        let folder = std::env::temp_dir().join(format!("shikiri-keep-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let kept = folder.join("timer.dtb");
        let new = unfinished(&kept);
        replace(&kept, b"former").unwrap();
        symlink("/dev/full", &new).unwrap();
        let refused = replace(&kept, b"later").map_err(|error| error.kind());
        let is_left = fs::symlink_metadata(&new).is_ok();
        let is_former = read_whole(&kept).as_deref() == Some(b"former");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((refused, is_left, is_former), (Err(ErrorKind::StorageFull), false, true));
    }

    #[test]
    fn no_two_files_and_no_two_processes_share_what_is_not_whole_yet() {
        let pid = std::process::id();
        for name in ["a.toml", "a.dtb"] {
            let expected = format!("/run/p/{name}.{pid}.new");
            assert_eq!(unfinished(&Path::new("/run/p").join(name)), Path::new(&expected));
        }
    }

    #[test]
    fn an_empty_file_is_none() {
        let file = std::env::temp_dir().join(format!("shikiri-empty-{}", std::process::id()));
        assert_eq!(read_whole(&file), None, "there is none");
        fs::write(&file, b"").unwrap();
        let empty = read_whole(&file);
        fs::remove_file(&file).unwrap();
        assert_eq!(empty, None);
    }
}
