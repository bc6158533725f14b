//! `execve`: a program's file becomes an address space, a stack and first registers.

use alloc::string::String;
use alloc::vec::Vec;

use shikiri_scos_core::elf::{ENTRY_BYTES, HEADER_BYTES, Header, Program};
use shikiri_scos_core::{Area, Pool, Protection, Space};
use shikiri_scos_files::abi::fcntl::O_RDONLY;
use shikiri_scos_files::{Caller, DescriptionId, Errno, Place, Step};

use crate::arch::{self, Frame, Ram};
use crate::hypervisor::Files;
use crate::kernel::Kernel;
use crate::signal::TRAMPOLINE;

/// The first address above the stack.
const STACK_END: u64 = 0x7f_fff0_0000;
/// Bytes that the stack may grow to.
const STACK_BYTES: u64 = 8 << 20;
/// The most bytes of arguments and environment.
pub(crate) const ARGUMENT_BYTES: usize = 128 << 10;
/// The most arguments, and the most of the environment.
pub(crate) const MOST_ARGUMENTS: usize = 2048;
/// Bytes of the arguments that are kept for who looks.
const SHOWN_BYTES: usize = 1024;
/// How far above a program its heap begins.
const HEAP_DISTANCE: u64 = 0x10_0000;
/// Scripts whose interpreter is a script: so many steps.
const MOST_SCRIPTS: u32 = 3;
/// The most bytes of a script's first line.
const LINE_BYTES: usize = 256;

/// HWCAP_FP and HWCAP_ASIMD.
const CAPABILITIES: u64 = 3;

/// A program that can start.
pub(crate) struct Loaded {
    /// Its address space.
    pub(crate) asid: u16,
    /// Its first registers.
    pub(crate) frame: Frame,
    /// Its name.
    pub(crate) name: String,
    /// Its arguments, one after another, each ended by a 0.
    pub(crate) arguments: Vec<u8>,
}

/// What is run: a file, and with which arguments.
struct Run {
    path: Vec<u8>,
    arguments: Vec<Vec<u8>>,
}

impl Kernel {
    /// Loads a program into an address space of its own.
    pub(crate) fn load(
        &mut self,
        caller: &Caller,
        path: &[u8],
        arguments: Vec<Vec<u8>>,
        environment: Vec<Vec<u8>>,
    ) -> Result<Loaded, Errno> {
        let mut run = Run { path: path.to_vec(), arguments };
        for _ in 0..MOST_SCRIPTS {
            let file = open(&mut self.files, caller, &run.path)?;
            let loaded = match interpreter(&mut self.files, file) {
                Some(words) => {
                    run.interpret(words);
                    None
                }
                None => Some(self.load_file(file, &run, &environment)),
            };
            self.files.release(file);
            if let Some(loaded) = loaded {
                return loaded;
            }
        }
        Err(Errno::ELOOP)
    }

    fn load_file(
        &mut self,
        file: DescriptionId,
        run: &Run,
        environment: &[Vec<u8>],
    ) -> Result<Loaded, Errno> {
        let mut header = [0; HEADER_BYTES];
        read_exactly(&mut self.files, file, 0, &mut header)?;
        let header = Header::read(&header)?;
        let mut table = alloc::vec![0; usize::from(header.entries) * ENTRY_BYTES];
        read_exactly(&mut self.files, file, header.table, &mut table)?;
        let program = header.program(&table)?;
        let asid = self.new_asid()?;
        let mut space = Space::new(&mut self.pool, asid)?;
        let stack = self
            .fill_space(&mut space, file, &program)
            .and_then(|()| self.fill_stack(&mut space, &program, run, environment));
        let sp = match stack {
            Ok(sp) => sp,
            Err(error) => {
                space.end(&mut self.pool);
                return Err(error);
            }
        };
        let name = run.path.rsplit(|byte| *byte == b'/').next().unwrap_or(&run.path);
        let name = name.get(..name.len().min(15)).unwrap_or(name);
        Ok(Loaded {
            asid: self.add_space(space),
            frame: Frame::start(program.entry, sp),
            name: String::from_utf8_lossy(name).into_owned(),
            arguments: run
                .arguments
                .iter()
                .flat_map(|word| word.iter().copied().chain([0]))
                .take(SHOWN_BYTES)
                .collect(),
        })
    }

    /// Maps and fills the segments, and maps the stack and the page that handlers return through.
    fn fill_space(
        &mut self,
        space: &mut Space,
        file: DescriptionId,
        program: &Program,
    ) -> Result<(), Errno> {
        for segment in &program.segments {
            let (start, end) = segment.pages().ok_or(Errno::ENOEXEC)?;
            let area = Area { start, end, protection: segment.protection, is_shared: false };
            space.map(&mut self.pool, area)?;
            let file_end = segment.offset.saturating_add(segment.file_bytes);
            let contents = self.files.archived(file);
            let in_archive = contents.and_then(|contents| {
                contents.get(usize::try_from(segment.offset).ok()?..usize::try_from(file_end).ok()?)
            });
            match in_archive {
                Some(bytes) => space.fill(&mut self.pool, segment.address, bytes)?,
                None => self.fill_from_file(
                    space,
                    file,
                    segment.offset,
                    segment.file_bytes,
                    segment.address,
                )?,
            }
        }
        space.heap_start = program.end.saturating_add(HEAP_DISTANCE);
        space.heap_end = space.heap_start;
        let stack = Area {
            start: STACK_END - STACK_BYTES,
            end: STACK_END,
            protection: Protection::DATA,
            is_shared: false,
        };
        space.map(&mut self.pool, stack)?;
        let trampoline = Area {
            start: TRAMPOLINE,
            end: TRAMPOLINE + shikiri_scos_core::PAGE,
            protection: Protection::CODE,
            is_shared: true,
        };
        space.map(&mut self.pool, trampoline)?;
        space.lend(&mut self.pool, TRAMPOLINE, self.trampoline)
    }

    /// Copies a part of a file to mapped pages.
    pub(crate) fn fill_from_file(
        &mut self,
        space: &mut Space,
        file: DescriptionId,
        offset: u64,
        bytes: u64,
        address: u64,
    ) -> Result<(), Errno> {
        let mut buffer = crate::user::buffer(bytes);
        let mut moved = 0;
        while moved < bytes {
            let count = (bytes - moved).min(buffer.len() as u64) as usize;
            let piece = buffer.get_mut(..count).ok_or(Errno::EIO)?;
            read_exactly(&mut self.files, file, offset.saturating_add(moved), piece)?;
            space.fill(&mut self.pool, address.saturating_add(moved), piece)?;
            moved += count as u64;
        }
        Ok(())
    }

    /// Puts arguments, environment and what the C library wants to know on the stack; the stack pointer.
    fn fill_stack(
        &mut self,
        space: &mut Space,
        program: &Program,
        run: &Run,
        environment: &[Vec<u8>],
    ) -> Result<u64, Errno> {
        let mut stack = Stack { space, pool: &mut self.pool, at: STACK_END };
        let name = stack.push_text(&run.path)?;
        let random = [arch::random_word().to_le_bytes(), arch::random_word().to_le_bytes()];
        let random = stack.push(&random.concat())?;
        let arguments = stack.push_texts(&run.arguments)?;
        let environment = stack.push_texts(environment)?;
        let known = [
            (3, program.headers),
            (4, ENTRY_BYTES as u64),
            (5, u64::from(program.entries)),
            (6, shikiri_scos_core::PAGE),
            (9, program.entry),
            (11, 0),
            (12, 0),
            (13, 0),
            (14, 0),
            (16, CAPABILITIES),
            (17, 100),
            (23, 0),
            (25, random),
            (31, name),
            (0, 0),
        ];
        let mut words = alloc::vec![arguments.len() as u64];
        words.extend(arguments.into_iter().chain([0]));
        words.extend(environment.into_iter().chain([0]));
        words.extend(known.into_iter().flat_map(|(key, value)| [key, value]));
        // The stack pointer is a multiple of 16.
        stack.at &= !15;
        if !words.len().is_multiple_of(2) {
            stack.at -= 8;
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        stack.push(&bytes)
    }
}

impl Run {
    /// A script: its interpreter is run with its path.
    fn interpret(&mut self, words: Vec<Vec<u8>>) {
        let mut arguments = words;
        let path = arguments.first().cloned().unwrap_or_default();
        arguments.push(core::mem::replace(&mut self.path, path));
        arguments.extend(self.arguments.iter().skip(1).cloned());
        self.arguments = arguments;
    }
}

/// A stack that is filled from its end.
struct Stack<'s> {
    space: &'s mut Space,
    pool: &'s mut Pool<Ram>,
    at: u64,
}

impl Stack<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<u64, Errno> {
        self.at = self.at.checked_sub(bytes.len() as u64).ok_or(Errno::E2BIG)?;
        self.space.write(self.pool, self.at, bytes)?;
        Ok(self.at)
    }

    fn push_text(&mut self, text: &[u8]) -> Result<u64, Errno> {
        self.push(&[0])?;
        self.push(text)
    }

    fn push_texts(&mut self, texts: &[Vec<u8>]) -> Result<Vec<u64>, Errno> {
        texts.iter().map(|text| self.push_text(text)).collect()
    }
}

/// Opens a file that can be executed.
fn open(files: &mut Files, caller: &Caller, path: &[u8]) -> Result<DescriptionId, Errno> {
    const TYPE: u32 = 0o170_000;
    const REGULAR: u32 = 0o100_000;
    let place = Place { from: caller.directory, path };
    let file = files.open(caller, place, O_RDONLY, 0)?;
    let is_program =
        files.fstat(file).is_ok_and(|stat| stat.mode & TYPE == REGULAR && stat.mode & 0o111 != 0);
    if is_program {
        return Ok(file);
    }
    files.release(file);
    Err(Errno::EACCES)
}

/// The words of a script's first line behind `#!`: the interpreter and at most one argument.
fn interpreter(files: &mut Files, file: DescriptionId) -> Option<Vec<Vec<u8>>> {
    let mut line = [0; LINE_BYTES];
    let Ok(Step::Done(count)) = files.read(file, Some(0), &mut line) else { return None };
    let text = line.get(..count)?.strip_prefix(b"#!")?;
    let text = text.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let mut words = text.splitn(2, |byte| *byte == b' ' || *byte == b'\t');
    let words: Vec<Vec<u8>> = words
        .by_ref()
        .map(|word| word.trim_ascii().to_vec())
        .filter(|word| !word.is_empty())
        .collect();
    (!words.is_empty()).then_some(words)
}

/// Reads so many bytes of a file: ENOEXEC if it has fewer.
fn read_exactly(
    files: &mut Files,
    file: DescriptionId,
    offset: u64,
    bytes: &mut [u8],
) -> Result<(), Errno> {
    let mut done = 0;
    while done < bytes.len() {
        let at = offset.checked_add(done as u64).ok_or(Errno::ENOEXEC)?;
        let rest = bytes.get_mut(done..).ok_or(Errno::ENOEXEC)?;
        match files.read(file, Some(at), rest)? {
            Step::Done(0) | Step::Wait(_) => return Err(Errno::ENOEXEC),
            Step::Done(count) => done += count,
        }
    }
    Ok(())
}
