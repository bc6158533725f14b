//! Flags of `open` and what stands beside it (include/uapi/asm-generic/fcntl.h and arch/arm64's).

/// The access mode's bits.
pub const O_ACCMODE: u32 = 3;
/// For reading.
pub const O_RDONLY: u32 = 0;
/// For writing.
pub const O_WRONLY: u32 = 1;
/// For both.
pub const O_RDWR: u32 = 2;
/// Make it if it is not there.
pub const O_CREAT: u32 = 0o100;
/// With [`O_CREAT`]: it must not be there.
pub const O_EXCL: u32 = 0o200;
/// Does not become the controlling terminal.
pub const O_NOCTTY: u32 = 0o400;
/// Cut to nothing.
pub const O_TRUNC: u32 = 0o1000;
/// Each write goes to the end.
pub const O_APPEND: u32 = 0o2000;
/// EAGAIN instead of waiting.
pub const O_NONBLOCK: u32 = 0o4000;
/// A directory, or ENOTDIR.
pub const O_DIRECTORY: u32 = 0o40000;
/// No symbolic link at the end, or ELOOP.
pub const O_NOFOLLOW: u32 = 0o100_000;
/// Accepted, no difference.
pub const O_LARGEFILE: u32 = 0o400_000;
/// Closed when a program is executed.
pub const O_CLOEXEC: u32 = 0o2_000_000;
/// A place in the tree, not open for anything.
pub const O_PATH: u32 = 0o10_000_000;

/// Start at the working directory.
pub const AT_FDCWD: i32 = -100;
/// Do not follow a symbolic link at the end.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// `unlinkat`: a directory.
pub const AT_REMOVEDIR: u32 = 0x200;
/// `linkat`: follow a symbolic link at the end.
pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// An empty path is the descriptor itself.
pub const AT_EMPTY_PATH: u32 = 0x1000;

/// `fcntl`: another number for the same description.
pub const F_DUPFD: u32 = 0;
/// `fcntl`: the descriptor's flags.
pub const F_GETFD: u32 = 1;
/// `fcntl`: sets the descriptor's flags.
pub const F_SETFD: u32 = 2;
/// `fcntl`: the description's flags.
pub const F_GETFL: u32 = 3;
/// `fcntl`: sets the description's flags.
pub const F_SETFL: u32 = 4;
/// `fcntl`: as [`F_DUPFD`], closed when a program is executed.
pub const F_DUPFD_CLOEXEC: u32 = 1030;
/// `fcntl`: sets a pipe's size.
pub const F_SETPIPE_SZ: u32 = 1031;
/// `fcntl`: a pipe's size.
pub const F_GETPIPE_SZ: u32 = 1032;
/// The descriptor's only flag.
pub const FD_CLOEXEC: u32 = 1;

/// `lseek`: from the beginning.
pub const SEEK_SET: u32 = 0;
/// `lseek`: from the present position.
pub const SEEK_CUR: u32 = 1;
/// `lseek`: from the end.
pub const SEEK_END: u32 = 2;

/// `access`: executable.
pub const X_OK: u32 = 1;
/// `access`: writable.
pub const W_OK: u32 = 2;
/// `access`: readable.
pub const R_OK: u32 = 4;

/// `renameat2`: not over what is there.
pub const RENAME_NOREPLACE: u32 = 1;

/// Type bits of a mode.
pub const S_IFMT: u32 = 0o170_000;
/// A socket.
pub const S_IFSOCK: u32 = 0o140_000;
/// A symbolic link.
pub const S_IFLNK: u32 = 0o120_000;
/// A regular file.
pub const S_IFREG: u32 = 0o100_000;
/// A directory.
pub const S_IFDIR: u32 = 0o040_000;
/// A character device.
pub const S_IFCHR: u32 = 0o020_000;
/// A pipe.
pub const S_IFIFO: u32 = 0o010_000;

/// The longest path, with the byte that ends it.
pub const PATH_MAX: usize = 4096;
/// The longest name in a directory.
pub const NAME_MAX: usize = 255;
