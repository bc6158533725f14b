//! What one process can have the kernel hold: each that makes something pays for it as long as it is there, whoever has it then.

use super::Files;
use crate::pipe::{CAPACITY, PIPE_BUF, Pipe};
use crate::socket::Channels;

/// How much all pipes of one process hold that are larger than the smallest, as Linux's pipe-user-pages-soft: those that it makes when it
/// has so much are of one page.
pub(super) const MOST_PIPE_BYTES: usize = 16 * CAPACITY;

/// How much those of all processes hold together: one that hands its pipes to a child and ends has made no room by that.
const MOST_OF_ALL: usize = 2 * MOST_PIPE_BYTES;

impl<C: Channels> Files<C> {
    /// How much larger pipes of a process may be.
    pub(super) fn pipe_bytes_left(&self, payer: u32) -> usize {
        let (mut paid, mut all) = (0_usize, 0_usize);
        for pipe in self.pipes.values().filter(|pipe| pipe.capacity() > PIPE_BUF) {
            let capacity = pipe.capacity();
            all = all.saturating_add(capacity);
            paid = paid.saturating_add(if pipe.payer() == payer { capacity } else { 0 });
        }
        MOST_PIPE_BYTES.saturating_sub(paid).min(MOST_OF_ALL.saturating_sub(all))
    }

    /// A pipe under this number.
    pub(super) fn add_pipe(&mut self, number: u64) {
        let is_small = self.pipe_bytes_left(self.payer) < CAPACITY;
        let capacity = if is_small { PIPE_BUF } else { CAPACITY };
        self.pipes.insert(number, Pipe::new(self.payer, capacity, &mut self.wakes));
    }

    /// How many descriptors the lists of `epoll` of a process watch.
    pub(super) fn watched_of(&self, payer: u32) -> usize {
        let lists = self.all_lists().map(|(_, list)| list);
        lists.filter(|list| list.payer() == payer).map(crate::epoll::Epoll::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_OF_ALL, MOST_PIPE_BYTES};
    use crate::abi::fcntl::{F_GETPIPE_SZ, F_SETPIPE_SZ};
    use crate::epoll::{EPOLL_CTL_ADD, EpollEvent};
    use crate::files::tests::LIMITS;
    use crate::pipe::{CAPACITY, PIPE_BUF};
    use crate::{Descriptors, Errno, Files, Limits};
    use std::vec::Vec;

    struct Process {
        files: Files,
        descriptors: Descriptors,
    }

    impl Process {
        fn new() -> Self {
            let mut files = Files::new(Limits { descriptions: 8000, ..LIMITS });
            files.set_payer(7);
            Self { files, descriptors: Descriptors::new(1024) }
        }

        /// A pipe's end for writing.
        fn pipe(&mut self) -> i32 {
            let (reader, writer) = self.files.pipe(0).unwrap();
            self.files.install(&mut self.descriptors, reader, 0).unwrap();
            self.files.install(&mut self.descriptors, writer, 0).unwrap()
        }

        fn size(&mut self, pipe: i32, command: u32, bytes: usize) -> Result<i32, Errno> {
            self.files.fcntl(&mut self.descriptors, pipe, command, bytes as u64)
        }
    }

    #[test]
    fn the_pipes_of_one_process_get_small_and_those_of_others_do_not() {
        let mut it = Process::new();
        let pipes: Vec<i32> = (0..40).map(|_| it.pipe()).collect();
        let sizes: Vec<i32> =
            pipes.iter().map(|pipe| it.size(*pipe, F_GETPIPE_SZ, 0).unwrap()).collect();
        let large = MOST_PIPE_BYTES / CAPACITY;
        assert!(sizes[..large].iter().all(|size| *size == CAPACITY as i32));
        assert!(sizes[large..].iter().all(|size| *size == PIPE_BUF as i32));
        assert_eq!(it.size(pipes[39], F_SETPIPE_SZ, 2 * PIPE_BUF), Err(Errno::EPERM));
        // Whoever makes one smaller can make another one larger.
        assert_eq!(it.size(pipes[0], F_SETPIPE_SZ, PIPE_BUF), Ok(PIPE_BUF as i32));
        assert_eq!(it.size(pipes[39], F_SETPIPE_SZ, CAPACITY), Ok(CAPACITY as i32));
        assert_eq!(it.size(pipes[38], F_SETPIPE_SZ, CAPACITY), Err(Errno::EPERM));
        it.files.set_payer(8);
        let other = it.pipe();
        assert_eq!(it.size(other, F_GETPIPE_SZ, 0), Ok(CAPACITY as i32));
        it.files.exit(&mut it.descriptors);
        it.files.set_payer(7);
        let again = it.pipe();
        assert_eq!(it.size(again, F_GETPIPE_SZ, 0), Ok(CAPACITY as i32), "all was given back");
    }

    #[test]
    fn pipes_that_change_hands_leave_all_others_their_memory() {
        let mut it = Process::new();
        let mut larger = 0;
        for payer in 7..17 {
            it.files.set_payer(payer);
            for _ in 0..20 {
                let pipe = it.pipe();
                let size = it.size(pipe, F_GETPIPE_SZ, 0).unwrap();
                larger += usize::from(size > PIPE_BUF as i32);
            }
        }
        assert_eq!(larger * CAPACITY, MOST_OF_ALL);
    }

    #[test]
    fn one_process_watches_half_of_what_all_may() {
        let mut it = Process::new();
        let event = EpollEvent { events: 1, data: 0 };
        let counters: Vec<i32> = (0..900)
            .map(|_| {
                let id = it.files.eventfd(0, 0).unwrap();
                it.files.install(&mut it.descriptors, id, 0).unwrap()
            })
            .collect();
        let mut watched = 0;
        let refused = 'all: loop {
            let id = it.files.epoll_create(0).unwrap();
            let list = it.files.install(&mut it.descriptors, id, 0).unwrap();
            for counter in &counters {
                let added =
                    it.files.epoll_control(&it.descriptors, list, EPOLL_CTL_ADD, (*counter, event));
                if let Err(errno) = added {
                    break 'all errno;
                }
                watched += 1;
            }
        };
        assert_eq!((refused, watched), (Errno::ENOSPC, 2048));
        it.files.set_payer(8);
        let id = it.files.epoll_create(0).unwrap();
        let list = it.files.install(&mut it.descriptors, id, 0).unwrap();
        let added =
            it.files.epoll_control(&it.descriptors, list, EPOLL_CTL_ADD, (counters[0], event));
        assert_eq!(added, Ok(()), "another one has its part");
    }
}
