//! The table of system calls: each with its number (Linux's for AArch64), its arguments and what it does. The kernel's
//! dispatch, the reference page and the tests that give bad pointers and random arguments are made from it.

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of any kind: flags, a size, a count.
    Number,
    /// A descriptor.
    Fd,
    /// The descriptor of a directory, or AT_FDCWD.
    At,
    /// The address of a path.
    Path,
    /// An address that is read from.
    In,
    /// An address that is written to.
    Out,
    /// As [`Kind::In`], or 0.
    MayIn,
    /// As [`Kind::Out`], or 0.
    MayOut,
    /// An address that is only remembered, or that names a place: a bad one is no error.
    Address,
}

impl Kind {
    /// Whether the kernel copies from or to the address.
    #[must_use]
    pub const fn is_pointer(self) -> bool {
        matches!(self, Self::Path | Self::In | Self::Out | Self::MayIn | Self::MayOut)
    }

    /// As the reference page says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Fd => "fd",
            Self::At => "dirfd",
            Self::Path => "path",
            Self::In => "in",
            Self::Out => "out",
            Self::MayIn => "in or 0",
            Self::MayOut => "out or 0",
            Self::Address => "address",
        }
    }
}

/// A system call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number, in `x8`.
    pub number: u16,
    /// Its name.
    pub name: &'static str,
    /// The topic, which is the file of the kernel that does it.
    pub topic: &'static str,
    /// Its arguments, from `x0` on.
    pub arguments: &'static [Kind],
    /// What it does here, where that is less than what Linux does.
    pub note: &'static str,
}

/// Hands the rows of the table to a macro: `number name topic (arguments) "note";`.
#[macro_export]
macro_rules! for_each_call {
    ($table:ident) => {
        $table! {
            17 getcwd names (Out, Number) "";
            19 eventfd2 descriptors (Number, Number) "";
            20 epoll_create1 poll (Number) "";
            21 epoll_ctl poll (Fd, Number, Fd, MayIn) "Five lists at most watch one another in a row. All together watch at most 4096 descriptors, those of one process 2048.";
            22 epoll_pwait poll (Fd, Out, Number, Number, MayIn, Number) "Level-triggered, EPOLLET, EPOLLONESHOT.";
            23 dup descriptors (Fd) "";
            24 dup3 descriptors (Fd, Fd, Number) "";
            25 fcntl descriptors (Fd, Number, Number) "No locks of files.";
            29 ioctl descriptors (Fd, Number, MayOut) "Terminals, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, SHIKIRI_NEW, SHIKIRI_DISCARD.";
            34 mkdirat names (At, Path, Number) "";
            35 unlinkat names (At, Path, Number) "";
            36 symlinkat names (Path, At, Path) "";
            37 linkat names (At, Path, At, Path, Number) "";
            38 renameat names (At, Path, At, Path) "";
            43 statfs names (Path, Out) "";
            44 fstatfs descriptors (Fd, Out) "";
            45 truncate names (Path, Number) "";
            46 ftruncate descriptors (Fd, Number) "";
            48 faccessat names (At, Path, Number) "";
            49 chdir names (Path) "";
            50 fchdir names (Fd) "";
            52 fchmod descriptors (Fd, Number) "";
            53 fchmodat names (At, Path, Number) "";
            54 fchownat names (At, Path, Number, Number, Number) "";
            55 fchown descriptors (Fd, Number, Number) "";
            56 openat names (At, Path, Number, Number) "";
            57 close descriptors (Fd) "";
            59 pipe2 descriptors (Out, Number) "Of 4 KiB when the process has pipes of 1 MiB, or all have 2 MiB.";
            61 getdents64 transfer (Fd, Out, Number) "";
            62 lseek descriptors (Fd, Number, Number) "";
            63 read transfer (Fd, Out, Number) "At most 64 KiB at once.";
            64 write transfer (Fd, In, Number) "At most 64 KiB at once.";
            65 readv transfer (Fd, In, Number) "At most 64 KiB at once.";
            66 writev transfer (Fd, In, Number) "At most 64 KiB at once.";
            67 pread64 transfer (Fd, Out, Number, Number) "At most 64 KiB at once.";
            68 pwrite64 transfer (Fd, In, Number, Number) "At most 64 KiB at once.";
            72 pselect6 poll (Number, MayOut, MayOut, MayOut, MayIn, MayIn) "";
            73 ppoll poll (Out, Number, MayIn, MayIn, Number) "At most 1024 descriptors.";
            78 readlinkat names (At, Path, Out, Number) "";
            79 newfstatat names (At, Path, Out, Number) "";
            80 fstat descriptors (Fd, Out) "";
            81 sync descriptors () "Nothing is to be done.";
            82 fsync descriptors (Fd) "Nothing is to be done.";
            83 fdatasync descriptors (Fd) "Nothing is to be done.";
            85 timerfd_create descriptors (Number, Number) "";
            86 timerfd_settime descriptors (Fd, Number, In, MayOut) "";
            87 timerfd_gettime descriptors (Fd, Out) "";
            88 utimensat names (At, Path, MayIn, Number) "";
            93 exit process (Number) "";
            94 exit_group process (Number) "";
            96 set_tid_address thread (Address) "";
            98 futex thread (In, Number, Number, MayIn, Address, Number) "WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAIT_BITSET, WAKE_BITSET.";
            99 set_robust_list thread (Address, Number) "Remembered and not used.";
            101 nanosleep time (In, MayOut) "";
            102 getitimer time (Number, Out) "ITIMER_REAL.";
            103 setitimer time (Number, MayIn, MayOut) "ITIMER_REAL.";
            113 clock_gettime time (Number, Out) "The time of day starts at 2026-01-01.";
            114 clock_getres time (Number, MayOut) "";
            115 clock_nanosleep time (Number, Number, In, MayOut) "";
            123 sched_getaffinity thread (Number, Number, Out) "One vCPU.";
            124 sched_yield thread () "";
            129 kill signals (Number, Number) "";
            130 tkill signals (Number, Number) "";
            131 tgkill signals (Number, Number, Number) "";
            132 sigaltstack signals (MayIn, MayOut) "";
            133 rt_sigsuspend signals (In, Number) "";
            134 rt_sigaction signals (Number, MayIn, MayOut, Number) "";
            135 rt_sigprocmask signals (Number, MayIn, MayOut, Number) "";
            136 rt_sigpending signals (Out, Number) "";
            139 rt_sigreturn signals () "A damaged frame ends the process with SIGSEGV.";
            154 setpgid process (Number, Number) "";
            155 getpgid process (Number) "";
            156 getsid process (Number) "";
            157 setsid process () "";
            160 uname system (Out) "";
            165 getrusage system (Number, Out) "All zero.";
            166 umask names (Number) "";
            167 prctl system (Number, Number, Number, Number, Number) "PR_SET_NAME and PR_GET_NAME are accepted, all else is EINVAL.";
            169 gettimeofday time (MayOut, MayOut) "";
            172 getpid process () "";
            173 getppid process () "";
            174 getuid process () "Everybody is user 0.";
            175 geteuid process () "";
            176 getgid process () "";
            177 getegid process () "";
            178 gettid thread () "";
            179 sysinfo system (Out) "";
            198 socket sockets (Number, Number, Number) "AF_SHIKIRI with SOCK_SEQPACKET.";
            199 socketpair sockets (Number, Number, Number, Out) "AF_UNIX with SOCK_STREAM.";
            200 bind sockets (Fd, In, Number) "";
            201 listen sockets (Fd, Number) "A backlog of 0 refuses the service.";
            202 accept sockets (Fd, MayOut, MayOut) "";
            203 connect sockets (Fd, In, Number) "";
            204 getsockname sockets (Fd, Out, Out) "";
            205 getpeername sockets (Fd, Out, Out) "";
            206 sendto sockets (Fd, In, Number, Number, Address, Number) "Where it is connected to. MSG_DONTWAIT, MSG_NOSIGNAL.";
            207 recvfrom sockets (Fd, Out, Number, Number, Address, Address) "The sender's address is not told. MSG_DONTWAIT.";
            208 setsockopt sockets (Fd, Number, Number, In, Number) "SHIKIRI_FORM, SHIKIRI_WINDOW.";
            209 getsockopt sockets (Fd, Number, Number, Out, Out) "";
            210 shutdown sockets (Fd, Number) "";
            211 sendmsg sockets (Fd, In, Number) "As sendto. Ancillary data is EINVAL.";
            212 recvmsg sockets (Fd, In, Number) "As recvfrom. There is no ancillary data.";
            214 brk memory (Address) "";
            215 munmap memory (Address, Number) "";
            220 clone process (Number, Address, Address, Number, Address) "As fork, vfork and pthread_create use it. At most 64 threads of one process.";
            221 execve program (Path, In, MayIn) "Static programs; scripts with #!. Arguments and environment: 128 KiB.";
            222 mmap memory (Address, Number, Number, Number, Fd, Number) "Anonymous, a private copy of a file, or the area that a file stands for; nothing that can be written and executed.";
            226 mprotect memory (Address, Number, Number) "Nothing that can be written and executed.";
            233 madvise memory (Address, Number, Number) "MADV_DONTNEED clears; all else does nothing.";
            242 accept4 sockets (Fd, MayOut, MayOut, Number) "";
            260 wait4 process (Number, MayOut, Number, MayOut) "";
            261 prlimit64 system (Number, Number, MayIn, MayOut) "RLIMIT_NOFILE can be set; the others are as they are.";
            276 renameat2 names (At, Path, At, Path, Number) "";
            278 getrandom system (Out, Number, Number) "From the counter: not for keys.";
            291 statx names (At, Path, Number, Number, Out) "";
            439 faccessat2 names (At, Path, Number, Number) "";
        }
    };
}

macro_rules! table {
    ($($number:literal $name:ident $topic:ident ($($kind:ident),*) $note:literal;)*) => {
        /// All system calls, by number.
        pub const CALLS: &[Call] = &[$(Call {
            number: $number,
            name: stringify!($name),
            topic: stringify!($topic),
            arguments: &[$(Kind::$kind),*],
            note: $note,
        }),*];
    };
}

for_each_call!(table);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_no_number_is_used_twice() {
        assert!(CALLS.windows(2).all(|pair| pair[0].number < pair[1].number));
    }

    #[test]
    fn no_call_has_more_than_six_arguments() {
        assert!(CALLS.iter().all(|call| call.arguments.len() <= 6));
    }
}
