//! Why a system call failed, by Linux's numbers.

use core::fmt;

/// Why a call failed. The kernel answers with its negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($name:ident = $number:literal, $what:literal;)*) => {
        impl Errno {
            $(#[doc = $what] pub const $name: Self = Self($number);)*

            /// Its name in the manual.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($number => stringify!($name),)*
                    _ => "E?",
                }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Not permitted.";
    ENOENT = 2, "No such file or directory.";
    ESRCH = 3, "No such process.";
    EINTR = 4, "Interrupted by a signal.";
    EIO = 5, "Input or output failed.";
    ENXIO = 6, "No such device, or nobody at the other end.";
    E2BIG = 7, "Too many arguments.";
    ENOEXEC = 8, "No program.";
    EBADF = 9, "No such descriptor, or not open for this.";
    ECHILD = 10, "No child.";
    EAGAIN = 11, "Not now.";
    ENOMEM = 12, "No memory.";
    EACCES = 13, "Permission denied.";
    EFAULT = 14, "A bad address.";
    EBUSY = 16, "In use.";
    EEXIST = 17, "There already.";
    EXDEV = 18, "Not on the same file system.";
    ENODEV = 19, "No such device.";
    ENOTDIR = 20, "No directory.";
    EISDIR = 21, "A directory.";
    EINVAL = 22, "A bad argument.";
    ENFILE = 23, "Too many open files in the system.";
    EMFILE = 24, "Too many open files in the process.";
    ENOTTY = 25, "The device does not have this control.";
    ETXTBSY = 26, "A program that runs.";
    EFBIG = 27, "Too large a file.";
    ENOSPC = 28, "No space.";
    ESPIPE = 29, "No position in this file.";
    EROFS = 30, "Read only.";
    EMLINK = 31, "Too many links.";
    EPIPE = 32, "Nobody reads.";
    ERANGE = 34, "Does not fit.";
    ENAMETOOLONG = 36, "Too long a name.";
    ENOSYS = 38, "No such system call.";
    ENOTEMPTY = 39, "The directory is not empty.";
    ELOOP = 40, "Too many symbolic links.";
    EOVERFLOW = 75, "Too large a value.";
    ENOTSOCK = 88, "No socket.";
    EDESTADDRREQ = 89, "An address is needed.";
    EMSGSIZE = 90, "Too long a message.";
    EPROTOTYPE = 91, "The wrong kind of socket.";
    ENOPROTOOPT = 92, "No such option.";
    EPROTONOSUPPORT = 93, "No such protocol.";
    ESOCKTNOSUPPORT = 94, "No such kind of socket.";
    EOPNOTSUPP = 95, "Not for this kind of file.";
    EAFNOSUPPORT = 97, "No such address family.";
    EADDRINUSE = 98, "The address is in use.";
    EADDRNOTAVAIL = 99, "No such address.";
    ENETDOWN = 100, "No network.";
    ECONNABORTED = 103, "The connection ended before it was accepted.";
    ECONNRESET = 104, "The peer has gone.";
    ENOBUFS = 105, "No room.";
    EISCONN = 106, "Connected already.";
    ENOTCONN = 107, "Not connected.";
    ESHUTDOWN = 108, "Shut down for sending.";
    ETIMEDOUT = 110, "Too late.";
    ECONNREFUSED = 111, "Refused.";
    EHOSTDOWN = 112, "The partition does not run.";
    EHOSTUNREACH = 113, "No such partition.";
    EALREADY = 114, "Being connected already.";
    EINPROGRESS = 115, "Being connected.";
    ESTALE = 116, "What the file stood for has gone.";
}

impl Errno {
    /// Linux's number, 1 to 133.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}({})", self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn an_errno_says_its_name_and_number() {
        assert_eq!(std::format!("{:?}", Errno::EAGAIN), "EAGAIN(11)");
        assert_eq!((Errno::ESTALE.number(), Errno::ESTALE.name()), (116, "ESTALE"));
    }
}
