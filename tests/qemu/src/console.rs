//! A machine's console: a thread collects what the machine prints; others wait for text in it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How much of a long-running console is kept, in bytes.
const KEPT: usize = 4 << 20;

/// What the hypervisor prints when it has failed itself: no test may go on after it.
const ALARMS: [&[u8]; 2] = [b"EL2 FAULT", b"EL2 PANIC"];

/// How often a text is looked for in pieces too, which takes longer than to find it whole.
const LOOK_FOR_PIECES: Duration = Duration::from_millis(500);

/// How the report of such a failure ends.
const LAST_WORDS: &[u8] = b"this core stops, the others go on";

/// What [`Console::wait_for_any`] has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The text came.
    Text,
    /// The console was closed: the machine has ended.
    Closed,
    /// Somebody wants to stop.
    Stopped,
    /// The deadline has passed.
    TimedOut,
}

/// What [`Console::wait`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The text, with all that came between the last find and it.
    Text(String),
    /// The hypervisor reported a failure of its own.
    Alarm,
    /// The console was closed before the text came.
    Closed,
    /// The time was over before the text came.
    TimedOut,
}

/// What the machine has printed so far.
#[derive(Debug, Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Where the next wait starts looking: behind the last text that was found.
    cursor: usize,
    closed: bool,
    /// One of [`ALARMS`] was printed.
    alarm: bool,
}

impl Console {
    /// Starts collecting what `source` gives; each piece is also written to `tee`.
    pub fn collect(
        source: impl Read + Send + 'static,
        tee: Option<Box<dyn Write + Send>>,
    ) -> (Self, JoinHandle<()>) {
        let console = Self { shared: Arc::default() };
        let collector = console.clone();
        let thread = std::thread::spawn(move || collector.pump(source, tee));
        (console, thread)
    }

    /// Waits until `text` appears behind the last text that was found.
    #[must_use]
    pub fn wait(&self, text: &str, timeout: Duration) -> Found {
        self.wait_for_all(&[text], timeout)
    }

    /// Waits until all of these texts have appeared behind the last text that was found, in any order; gives what there is up to the
    /// end of the last of them. A text may stand in pieces of a line that others have broken, each behind its partition's name.
    #[must_use]
    pub fn wait_for_all(&self, texts: &[&str], timeout: Duration) -> Found {
        let deadline = Instant::now() + timeout;
        loop {
            let next = deadline.min(Instant::now() + LOOK_FOR_PIECES);
            let found = self.look(Some(next), |state| {
                if let Some(found) = state.take_through_all(texts, whole) {
                    return Some(Found::Text(found));
                }
                if state.alarm {
                    return Some(Found::Alarm);
                }
                state.closed.then_some(Found::Closed)
            });
            if found.as_ref().is_some_and(|found| *found != Found::Closed) {
                return found.unwrap_or(Found::TimedOut);
            }
            if let Some(found) = self.lock().take_through_all(texts, end_of) {
                return Found::Text(found);
            }
            match found {
                Some(closed) => return closed,
                None if Instant::now() >= deadline => return Found::TimedOut,
                None => {}
            }
        }
    }

    /// Waits until the console is closed, or the hypervisor reports a failure of its own; whether it is closed.
    #[must_use]
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        self.look(Some(Instant::now() + timeout), |state| {
            (state.closed || state.alarm).then_some(state.closed)
        })
        .unwrap_or(false)
    }

    /// Waits until all of an alarm's report has come, to its last words.
    pub fn wait_for_report(&self, timeout: Duration) {
        self.look(Some(Instant::now() + timeout), |state| {
            (state.closed || find(&state.bytes, LAST_WORDS).is_some()).then_some(())
        });
    }

    /// Waits for whichever comes first: `text`, the console's end, a true answer of `is_stopped`, the deadline. Alarms
    /// are not looked at. The text may stand in pieces, as for [`Console::wait_for_all`]. A single word is not looked for in the
    /// boot's numbered lines: whoever waits for `ready` does not mean the interrupt controller. Whoever makes `is_stopped` true calls
    /// [`Console::wake`] afterwards.
    pub fn wait_for_any(
        &self,
        text: Option<&str>,
        deadline: Option<Instant>,
        is_stopped: impl Fn() -> bool,
    ) -> Event {
        let has_come = |state: &mut State, end_of| {
            text.is_some_and(|text| state.take_through_all(&[text], end_of).is_some())
        };
        loop {
            let now = Instant::now();
            let next = text.map(|_| now + LOOK_FOR_PIECES);
            let next = next.into_iter().chain(deadline).min();
            let event = self.look(next, |state| {
                if has_come(state, meant) {
                    return Some(Event::Text);
                }
                if state.closed {
                    return Some(Event::Closed);
                }
                is_stopped().then_some(Event::Stopped)
            });
            match event {
                Some(Event::Text | Event::Stopped) => return event.unwrap_or(Event::Text),
                _ if has_come(&mut self.lock(), in_pieces) => return Event::Text,
                Some(event) => return event,
                None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                    return Event::TimedOut;
                }
                None => {}
            }
        }
    }

    /// Lets all who wait look again.
    pub fn wake(&self) {
        // Under the lock: who has just looked is asleep by then, and hears it.
        let _state = self.lock();
        self.shared.changed.notify_all();
    }

    /// Looks at the state now and after each change until there is an answer; `None` when the deadline has passed.
    fn look<T>(
        &self,
        deadline: Option<Instant>,
        mut answer: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(answer) = answer(&mut state) {
                return Some(answer);
            }
            let changed = &self.shared.changed;
            let Some(deadline) = deadline else {
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the hypervisor reported a failure of its own.
    #[must_use]
    pub fn is_alarmed(&self) -> bool {
        self.lock().alarm
    }

    /// All that was printed and is still kept.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    fn pump(&self, mut source: impl Read, mut tee: Option<Box<dyn Write + Send>>) {
        let mut piece = [0_u8; 4096];
        while let Ok(length @ 1..) = source.read(&mut piece) {
            let Some(new) = piece.get(..length) else { break };
            if let Some(writer) = &mut tee {
                // A reader that went away must not stop the machine: go on collecting.
                if writer.write_all(new).and_then(|()| writer.flush()).is_err() {
                    tee = None;
                }
            }
            self.lock().append(new);
            self.shared.changed.notify_all();
        }
        self.lock().closed = true;
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, new: &[u8]) {
        // An alarm may come in two pieces.
        let looked_at = self
            .bytes
            .len()
            .saturating_sub(ALARMS.iter().map(|text| text.len()).max().unwrap_or(0));
        self.bytes.extend_from_slice(new);
        let ahead = self.bytes.get(looked_at..).unwrap_or_default();
        self.alarm |= ALARMS.iter().any(|text| find(ahead, text).is_some());
        if self.bytes.len() > KEPT {
            let surplus = self.bytes.len() - KEPT / 2;
            self.bytes.drain(..surplus);
            self.cursor = self.cursor.saturating_sub(surplus);
        }
    }

    /// Moves the cursor behind the first of each text, once all are there, and gives what it passed; `end_of` finds a text's end.
    fn take_through_all(
        &mut self,
        texts: &[&str],
        end_of: fn(&[u8], &[u8]) -> Option<usize>,
    ) -> Option<String> {
        let ahead = self.bytes.get(self.cursor..)?;
        let end = texts
            .iter()
            .try_fold(0, |end: usize, text| Some(end.max(end_of(ahead, text.as_bytes())?)))?;
        let passed = String::from_utf8_lossy(ahead.get(..end)?).into_owned();
        self.cursor += end;
        Some(passed)
    }
}

/// Whether a console has this text, in one line or in a partition's line that others have broken; see [`Console::wait_for_all`].
#[must_use]
pub fn has(console: &str, text: &str) -> bool {
    behind(console, text).is_some()
}

/// What comes behind the first such text.
#[must_use]
pub fn behind<'c>(console: &'c str, text: &str) -> Option<&'c str> {
    console.get(end_of(console.as_bytes(), text.as_bytes())?..)
}

/// How often a text stands in what partitions have written, in one piece or in a line that others have broken.
#[must_use]
pub fn times(console: &str, text: &str) -> usize {
    let console = console.as_bytes();
    let count = |written: &[u8]| String::from_utf8_lossy(written).matches(text).count();
    let of_each = names(console).map(|name| {
        let pieces = pieces(console, name);
        count(&pieces.iter().flat_map(|(_, piece)| *piece).copied().collect::<Vec<u8>>())
    });
    // Before there is a second console lines carry no name.
    let is_nameless = |line: &&[u8]| names(line).next().is_none();
    let nameless = console.split(|byte| *byte == b'\n').filter(is_nameless).map(count);
    of_each.sum::<usize>() + nameless.sum::<usize>()
}

/// All that a partition has written, its lines one behind the other without their ends: also of lines that others have broken.
#[must_use]
pub fn written_by(console: &str, name: &str) -> String {
    let pieces = pieces(console.as_bytes(), name.as_bytes());
    pieces.into_iter().map(|(_, piece)| String::from_utf8_lossy(piece)).collect()
}

/// Where the first `text` ends that stands there in one piece, or in pieces of one partition's line.
fn end_of(console: &[u8], text: &[u8]) -> Option<usize> {
    whole(console, text).into_iter().chain(in_pieces(console, text)).min()
}

/// Where the first `text` ends that stands in pieces of one partition's line. The hypervisor breaks a line that stands still for 20 ms if
/// others have something to say, and a host may let a vCPU stand still in the middle of one.
fn in_pieces(console: &[u8], text: &[u8]) -> Option<usize> {
    let broken = names(console).filter_map(|name| {
        let (is_line, words) = match find(text, SEPARATOR) {
            Some(0) => (true, text.get(SEPARATOR.len()..)?),
            Some(end) if text.get(..end)? == name => (true, text.get(end + SEPARATOR.len()..)?),
            Some(_) => return None,
            None => (false, text),
        };
        end_in_pieces(&pieces(console, name), words, is_line)
    });
    broken.min()
}

/// Where the first `text` ends that stands there in one piece.
fn whole(console: &[u8], text: &[u8]) -> Option<usize> {
    find(console, text).map(|at| at + text.len())
}

/// The same; of a single word outside the boot's numbered lines.
fn meant(console: &[u8], text: &[u8]) -> Option<usize> {
    if text.iter().any(|byte| b" []".contains(byte)) {
        return whole(console, text);
    }
    let mut from = 0;
    loop {
        let at = from + find(console.get(from..)?, text)?;
        let before = console.get(..at)?;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if !console.get(start..)?.starts_with(b"shikiri: [") {
            return Some(at + text.len());
        }
        from = at + 1;
    }
}

/// What stands between a partition's name and its line.
const SEPARATOR: &[u8] = b"| ";

/// The names before lines, each once.
fn names(console: &[u8]) -> impl Iterator<Item = &[u8]> {
    let name = |line| {
        let name = <[u8]>::get(line, ..find(line, SEPARATOR)?)?;
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        (!name.is_empty() && name.iter().all(is_letter)).then_some(name)
    };
    let all: BTreeSet<&[u8]> = console.split(|byte| *byte == b'\n').filter_map(name).collect();
    all.into_iter()
}

/// Where each piece of a partition's text begins, and the piece, without line ends.
fn pieces<'c>(console: &'c [u8], name: &[u8]) -> Vec<(usize, &'c [u8])> {
    let mut start = 0;
    let mut pieces = Vec::new();
    for line in console.split(|byte| *byte == b'\n') {
        let words = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(SEPARATOR));
        if let Some(words) = words {
            let words = words.strip_suffix(b"\r").unwrap_or(words);
            pieces.push((start + name.len() + SEPARATOR.len(), words));
        }
        start += line.len() + 1;
    }
    pieces
}

/// Where `words` end that run over pieces; whether they have to begin with one.
fn end_in_pieces(pieces: &[(usize, &[u8])], words: &[u8], is_line: bool) -> Option<usize> {
    let joined: Vec<u8> = pieces.iter().flat_map(|(_, piece)| *piece).copied().collect();
    let mut from = 0;
    while let Some(at) = joined.get(from..).and_then(|rest| find(rest, words)) {
        let (begin, end) = (from + at, from + at + words.len());
        let (mut before, mut begins, mut place) = (0, false, None);
        for (start, piece) in pieces {
            begins |= before == begin;
            let last = before + piece.len();
            if place.is_none() && last >= end {
                place = Some(start + end - before);
            }
            before = last;
        }
        if begins || !is_line {
            return place;
        }
        from = begin + 1;
    }
    None
}

/// Where `needle` first occurs in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn console_of(text: &'static [u8]) -> Console {
        let (console, thread) = Console::collect(text, None);
        thread.join().unwrap();
        console
    }

    #[test]
    fn text_is_found_in_order_and_only_once() {
        let console = console_of(b"one two one");
        assert_eq!(console.wait("one", SOON), Found::Text("one".into()));
        assert_eq!(console.wait("one", SOON), Found::Text(" two one".into()));
        assert_eq!(console.wait("one", SOON), Found::Closed);
    }

    #[test]
    fn several_texts_are_found_in_any_order() {
        let console = console_of(b"one two three four");
        let found = console.wait_for_all(&["three", "one"], SOON);
        assert_eq!(found, Found::Text("one two three".into()));
        assert_eq!(console.wait_for_all(&["four", "two"], SOON), Found::Closed);
        assert_eq!(console.wait_for_all(&["four"], SOON), Found::Text(" four".into()));
    }

    #[test]
    fn a_line_that_others_have_broken_is_found() {
        let text =
            "one| hello: \r\nother| smp\r\none| 1 vCPU, 4 KiB\r\none| do\r\nother| done\r\none| ne";
        for found in
            ["one| hello: 1 vCPU", "hello: 1 v", "one| hello", "one| 1 vCPU", "one| done", "| done"]
        {
            assert!(has(text, found), "{found}");
        }
        for missing in ["other| hello", "one| vCPU", "one| smp", "two| hello", "hello: smp"] {
            assert!(!has(text, missing), "{missing}");
        }
        assert_eq!((times(text, "done"), times(text, "smp"), times(text, "nobody")), (2, 1, 0));
        assert_eq!(times("done\r\none| done done\r\n", "done"), 3);
        assert_eq!(written_by(text, "one"), "hello: 1 vCPU, 4 KiBdone");
        let console = console_of(b"one| hel\r\nother| x\r\none| lo\r\none| bye");
        let found = "one| hel\r\nother| x\r\none| lo";
        assert_eq!(console.wait("one| hello", SOON), Found::Text(found.into()));
        assert_eq!(console.wait("one| bye", SOON), Found::Text("\r\none| bye".into()));
    }

    #[test]
    fn text_that_comes_in_pieces_is_found() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (console, thread) = Console::collect(reader, None);
        writer.write_all(b"rea").unwrap();
        assert_eq!(console.wait("ready", Duration::from_millis(20)), Found::TimedOut);
        writer.write_all(b"dy\n").unwrap();
        assert_eq!(console.wait("ready", SOON), Found::Text("ready".into()));
        drop(writer);
        thread.join().unwrap();
    }

    #[test]
    fn an_alarm_ends_the_waiting_even_if_it_comes_in_pieces() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (console, thread) = Console::collect(reader, None);
        writer.write_all(b"shikiri: EL2 FA").unwrap();
        assert_eq!(console.wait("x", Duration::from_millis(20)), Found::TimedOut);
        writer.write_all(b"ULT").unwrap();
        assert_eq!(console.wait("x", SOON), Found::Alarm);
        drop(writer);
        thread.join().unwrap();
    }

    #[test]
    fn the_report_of_an_alarm_is_waited_for_to_its_last_words() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (console, thread) = Console::collect(reader, None);
        writer.write_all(b"shikiri: EL2 FAULT ").unwrap();
        assert!(!console.wait_closed(SOON), "the alarm ends the waiting");
        let rest = std::thread::spawn(move || {
            writer.write_all(b"ESR 0\nthis core stops, the others go on\n").unwrap();
            writer
        });
        console.wait_for_report(SOON);
        assert!(console.text().contains("ESR 0"));
        drop(rest.join().unwrap());
        thread.join().unwrap();
        assert!(console.wait_closed(SOON));
    }

    #[test]
    fn whatever_comes_first_ends_the_waiting() {
        use std::sync::atomic::{AtomicBool, Ordering};

        let (reader, mut writer) = std::io::pipe().unwrap();
        let (console, thread) = Console::collect(reader, None);
        let stop = Arc::new(AtomicBool::new(false));
        let any =
            |text, deadline| console.wait_for_any(text, deadline, || stop.load(Ordering::SeqCst));
        assert_eq!(any(Some("x"), Some(Instant::now())), Event::TimedOut);
        writer.write_all(b"an x, EL2 PANIC").unwrap();
        assert_eq!(any(Some("x"), None), Event::Text);
        let stopper = std::thread::spawn({
            let (console, stop) = (console.clone(), Arc::clone(&stop));
            move || {
                stop.store(true, Ordering::SeqCst);
                console.wake();
            }
        });
        assert_eq!(any(Some("x"), None), Event::Stopped);
        stopper.join().unwrap();
        stop.store(false, Ordering::SeqCst);
        drop(writer);
        assert_eq!(any(None, None), Event::Closed);
        thread.join().unwrap();
    }

    #[test]
    fn a_single_word_does_not_mean_the_boots_numbered_lines() {
        let boot = "shikiri: [04] interrupt controller ready (GICv3)\r\nshikiri: [11] first ";
        assert_eq!(meant(boot.as_bytes(), b"ready"), None);
        assert_eq!(meant(boot.as_bytes(), b"[04]"), Some(13));
        assert_eq!(meant(boot.as_bytes(), b"controller ready"), Some(40));
        for more in ["a| ready", "shikiri: ready", "a| shikiri: [04] ready"] {
            let console = format!("{boot}\r\n{more}");
            assert_eq!(meant(console.as_bytes(), b"ready"), Some(console.len()), "{more}");
        }
    }

    #[test]
    fn a_line_that_others_break_ends_the_waiting_for_any() {
        let any = |console: &Console, text| {
            console.wait_for_any(Some(text), Some(Instant::now() + SOON), || false)
        };
        let broken = b"a| open 7,\r\nb| tick\r\na|  closed\r\n";
        assert_eq!(any(&console_of(broken), "open 7, closed"), Event::Text);
        assert_eq!(any(&console_of(broken), "open 7, tick"), Event::Closed);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (console, thread) = Console::collect(reader, None);
        writer.write_all(broken).unwrap();
        assert_eq!(any(&console, "open 7, closed"), Event::Text, "the console is still open");
        let soon = Some(Instant::now() + Duration::from_millis(20));
        assert_eq!(console.wait_for_any(Some("open 8"), soon, || false), Event::TimedOut);
        drop(writer);
        thread.join().unwrap();
    }

    #[test]
    fn the_tee_gets_every_byte() {
        let (mut copy, writer) = std::io::pipe().unwrap();
        let (console, thread) = Console::collect(&b"abc"[..], Some(Box::new(writer)));
        thread.join().unwrap();
        let mut text = String::new();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), console.text().as_str()), ("abc", "abc"));
    }

    #[test]
    fn a_long_console_forgets_its_beginning_but_not_the_place_in_it() {
        let mut state = State::default();
        state.append(b"begin ");
        let take = |state: &mut State, text| state.take_through_all(&[text], whole);
        assert!(take(&mut state, "begin").is_some());
        state.append(&vec![b'.'; KEPT]);
        state.append(b"end");
        assert!(state.bytes.len() <= KEPT);
        assert!(take(&mut state, "end").is_some());
        assert!(take(&mut state, "begin").is_none());
    }
}
