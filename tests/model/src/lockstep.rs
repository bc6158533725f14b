//! The core and its specification, side by side: [`Lockstep`].
//!
//! Partitions of an [`Estates`] make calls, write to their memory, get other limits, end and start again. Each of these is done by both, and
//! then compared: the answer, the interrupts and who was told; the accounts and frames; what each partition reads at each address at which
//! one ever had something, and whether it could write there; what stands in the arrivals; how each of its ports stands. All books of the core are audited besides.

use std::collections::{BTreeSet, VecDeque};

use shikiri_abi::channel::{ARRIVALS, ENTRY_WORDS, STARVED, STATE, entry};
use shikiri_abi::{
    Call, Ipa, ObjectCall, ObjectName, PAGE_BYTES, PartitionSlot, Resource, Status, TalkCall,
};
use shikiri_config::NameEntry;
use shikiri_core::area::{AreaSizes, LeaveStep};
use shikiri_core::event::{Visitor, nobody_visits};
use shikiri_core::handle::Handle;
use shikiri_core::object::{self, Object, Objects, Opened, Wake, permit, read_name};
use shikiri_core::party::Refusal;

use crate::calls::{Told, call, refused, told};
use crate::estates::{Estates, Shape};
use crate::spec::{Rule, Seen, Sizes, Spec};

/// Where a guest writes the name that it opens.
const NAME: Ipa = Ipa(0x4000_1000);

/// How large a machine is, and what its partitions have room for.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Partitions.
    pub partitions: usize,
    /// RAM: enough, since the specification knows of no shortage.
    pub mib: usize,
    /// Slots, ports and shares.
    pub areas: AreaSizes,
    /// Entries of each table of handles.
    pub handles: usize,
    /// Requests of each partition that can wait.
    pub records: usize,
    /// Interrupts that devices have.
    pub devices: &'static [u16],
    /// Which names there are.
    pub names: &'static [NameEntry<'static>],
}

/// Both.
pub struct Lockstep {
    /// The core.
    pub estates: Estates,
    /// What is specified.
    pub spec: Spec,
    setting: Setting,
    objects: Objects<'static>,
    rows: &'static [Object],
    visitor: Visitor,
    /// What slow cores have still to tell.
    slow: VecDeque<Wake>,
    /// Interrupts that are pending in the core's partitions.
    interrupts: Vec<BTreeSet<u16>>,
    /// Whose end has begun.
    ending: Vec<bool>,
    /// Addresses at which each partition has ever had something.
    addresses: Vec<BTreeSet<u64>>,
    /// Frames that are free without any partition, and what each takes.
    free: u64,
    frames: Vec<u64>,
    /// Whether all state is compared around a refused call: a text of it takes a while.
    pub compares: bool,
    checks: u64,
    /// The answers that were seen: the call, its status' code, and of a refusal what `x1` says.
    pub answers: BTreeSet<(u32, i64, u64)>,
    serial: u64,
}

/// What a call of the core came to, and who is still to be told.
type Outcome = ([u64; 4], Told, Option<Wake>);

impl Lockstep {
    /// Partitions that live and have nothing.
    #[must_use]
    pub fn new(setting: &Setting) -> Self {
        let Setting { partitions, handles, records, devices, .. } = *setting;
        let size = |count: usize| u16::try_from(count).expect("few of them");
        let estates = Estates::shaped(
            setting.mib,
            setting.areas,
            Shape { partitions, handles: size(handles), requests: size(records), devices },
        );
        let count = setting.names.iter().map(|entry| usize::from(entry.objects)).sum();
        let rows: &'static [Object] = Vec::leak((0..count).map(|_| Object::new()).collect());
        let sizes = Sizes {
            handles,
            records,
            slots: [
                setting.areas.windows.pages,
                setting.areas.windows.blocks,
                setting.areas.windows.giants,
            ]
            .map(u64::from),
            ports: usize::from(setting.areas.ports),
            shares: usize::from(setting.areas.shares),
            vcpus: 2,
            devices: devices.iter().copied().collect(),
        };
        let rule = |entry: &NameEntry<'_>| Rule {
            text: entry.text.to_owned(),
            is_prefix: entry.is_prefix,
            partitions: (0..partitions).filter(|who| entry.partitions.contains(*who)).collect(),
            objects: usize::from(entry.objects),
        };
        let mut both = Self {
            free: estates.machine.store.free_pages().0,
            spec: Spec::new(partitions, sizes, setting.names.iter().map(rule).collect()),
            estates,
            setting: *setting,
            objects: Objects::new(rows),
            rows,
            visitor: Visitor::new(),
            slow: VecDeque::new(),
            interrupts: vec![BTreeSet::new(); partitions],
            ending: vec![false; partitions],
            addresses: vec![BTreeSet::new(); partitions],
            frames: vec![0; partitions],
            compares: false,
            checks: 0,
            answers: BTreeSet::new(),
            serial: 0,
        };
        (0..partitions).for_each(|who| both.start(who));
        both
    }

    /// A number that was never given before.
    pub fn number(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Starts a partition that is not there.
    pub fn start(&mut self, who: usize) {
        let before = self.estates.machine.store.free_pages().0;
        self.estates.start(who);
        self.frames[who] = before - self.estates.machine.store.free_pages().0;
        let id = self.estates.side(who).holdings.account().owner().0;
        let used = self.used(who);
        self.spec.start(who, id, used);
        self.ending[who] = false;
        self.interrupts[who].clear();
    }

    /// Whether a partition lives and does not end.
    #[must_use]
    pub fn is_active(&self, who: usize) -> bool {
        self.estates.lives(who) && !self.ending[who]
    }

    fn used(&mut self, who: usize) -> [u64; Resource::ALL.len()] {
        Resource::ALL.map(|line| self.estates.side(who).used(line))
    }

    /// What a call of a guest answers: both agree on it.
    pub fn call(&mut self, who: usize, number: u32, arguments: &[u64]) -> [u64; 4] {
        self.call_slowly(who, number, arguments, false)
    }

    /// The same on a core that is slow to tell those who wait for a named object, if it has to: [`Lockstep::catch_up`].
    pub fn call_slowly(
        &mut self,
        who: usize,
        number: u32,
        arguments: &[u64],
        is_slow: bool,
    ) -> [u64; 4] {
        let mut x = [0; 6];
        x[..arguments.len()].copy_from_slice(arguments);
        let what =
            Call::decode(number, x).unwrap_or_else(|_| panic!("call {number:#x} {x:x?} is none"));
        let before = self.snapshot();
        let (answer, told, wake) = self.core(who, number, x, &what);
        self.note_interrupts(&told);
        let expected = self.with_seen(who, answer, None, |spec, seen| spec.call(who, &what, seen));
        let name = format!("{what:x?} of {who}");
        assert_eq!(answer, expected.registers, "{name}");
        assert_eq!(told, expected.told, "{name}: who is told");
        self.compare_refused(number, answer, &before, &name);
        if number == crate::calls::CREATE && answer[0] == refused(Status::Ok) {
            self.check_cleaned(who, [answer[2], answer[3]]);
        }
        let is_done =
            [Status::Ok, Status::Pending, Status::Again].map(refused).contains(&answer[0]);
        self.answers.insert((number, answer[0].cast_signed(), if is_done { 0 } else { answer[1] }));
        self.slow.extend(wake.filter(|wake| !wake.is_empty()));
        if !is_slow {
            self.catch_up();
        }
        self.check();
        answer
    }

    /// Who looks around the caches must not find what the last owner of a port's pages left there.
    fn check_cleaned(&mut self, who: usize, pages: [u64; 2]) {
        let ram = self.estates.machine.ram.clone();
        for page in pages {
            let stage2 = self.estates.side(who).holdings.stage2().expect("it lives");
            let leaf = stage2.leaf_at(&ram, Ipa(page)).expect("a port has pages");
            assert!(ram.was_cleaned(leaf.pa), "page {page:#x} of {who} was not cleaned");
        }
    }

    /// Runs the specification with what the core has chosen.
    fn with_seen<R>(
        &mut self,
        who: usize,
        answer: [u64; 4],
        slot: Option<u64>,
        run: impl FnOnce(&mut Spec, &Seen<'_>) -> R,
    ) -> R {
        let used = self.used(who);
        let load = |who: usize, at: u64| self.estates.read(who, Ipa(at));
        let tables = |who: usize, at: u64| self.estates.tables(who, Ipa(at));
        run(&mut self.spec, &Seen { answer, used, load: &load, tables: &tables, slot })
    }

    /// A refused call has changed nothing, but for noting that somebody waits.
    fn compare_refused(&self, number: u32, answer: [u64; 4], before: &str, name: &str) {
        let is = |status| answer[0] == refused(status);
        let waits = is(Status::Empty) && number == crate::calls::WAIT || is(Status::Full);
        if answer[0].cast_signed() >= 0 || is(Status::Again) || waits || !self.compares {
            return;
        }
        let after = self.snapshot();
        let same = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
        let near =
            |text: &str| text.chars().skip(same.saturating_sub(60)).take(120).collect::<String>();
        assert_eq!(near(&after), near(before), "{name} was refused: {answer:x?}");
    }

    fn snapshot(&self) -> String {
        if !self.compares {
            return String::new();
        }
        format!("{} {:?}", self.estates.snapshot(), self.rows)
    }

    fn note_interrupts(&mut self, told: &Told) {
        for (who, intid) in told {
            self.interrupts[usize::from(*who)].insert(*intid);
        }
    }

    /// All that slow cores have still to tell is told.
    pub fn catch_up(&mut self) {
        while let Some(mut wake) = self.slow.pop_front() {
            let mut all = Told::new();
            let shared = |slot: PartitionSlot| self.estates.shared(usize::from(slot.0));
            while let Some(sent) = self.objects.tell(&mut wake, &self.visitor, shared) {
                all.extend(told([sent.arrival.raise]));
            }
            self.note_interrupts(&all);
            assert_eq!(all, self.spec.tell_owed(), "who is told of a named object");
        }
        assert_eq!(self.spec.owed(), 0, "somebody is not told of a named object");
        let mut slots = (0..=u8::MAX).map(PartitionSlot);
        assert!(slots.all(|slot| nobody_visits([&self.visitor], slot)), "a visit without an end");
    }

    /// A guest takes its most urgent interrupt.
    pub fn take_interrupt(&mut self, who: usize) {
        assert_eq!(self.interrupts[who].pop_first(), self.spec.take_interrupt(who));
    }

    /// Policy sets a limit to so much more than is used, or takes it away.
    pub fn limit(&mut self, who: usize, line: Resource, more: Option<u64>) {
        let side = self.estates.side(who);
        let limit = more.map(|more| side.used(line) + more);
        side.holdings.account_mut().set_limit(line, limit);
        self.spec.set_limit(who, line, limit);
    }

    /// Addresses at which a partition has ever had something.
    #[must_use]
    pub fn addresses(&self, who: usize) -> Vec<u64> {
        self.addresses[who].iter().copied().collect()
    }

    /// A guest writes, or faults.
    pub fn store(&mut self, who: usize, at: u64, value: u64) {
        assert_eq!(
            self.estates.write(who, Ipa(at), value),
            self.spec.may_write(who, at),
            "{who} at {at:#x}"
        );
        self.spec.store(who, at, value);
    }

    /// OBJECT_OPEN's registers but for the kind, the name being where they say.
    pub fn name(&mut self, who: usize, name: &str) -> [u64; 2] {
        let mut bytes = [0; 8];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        assert!(self.estates.write(who, NAME, u64::from_le_bytes(bytes)));
        self.spec.write_name(who, name);
        [NAME.0, name.len() as u64]
    }

    /// A partition begins to end.
    pub fn begin_end(&mut self, who: usize) {
        self.spec.begin_end(who);
        self.ending[who] = true;
    }

    /// One step of a partition's end, as its worker makes them; true if that was the last one.
    pub fn end_step(&mut self, who: usize) -> bool {
        assert!(self.ending[who], "it ends");
        let slot = match self.estates.next_leave_step(who) {
            LeaveStep::Unmap(slot) | LeaveStep::Free(slot) => Some(slot.ipa().0),
            _ => None,
        };
        let (is_last, raise, wake) = self.estates.leave_step_among(&self.objects, who);
        self.slow.extend(wake.filter(|wake| !wake.is_empty()));
        let all = told([raise]);
        self.note_interrupts(&all);
        let expected = self.with_seen(who, [0; 4], slot, |spec, seen| spec.end_step(who, seen));
        assert_eq!((is_last, all), expected, "a step of the end of {who}");
        if is_last {
            // It asserts that the account is at zero, and that no frame is left.
            self.estates.bury(who);
            self.ending[who] = false;
            self.interrupts[who].clear();
        }
        self.catch_up();
        self.check();
        is_last
    }

    /// Ends a partition with all that it has.
    pub fn end(&mut self, who: usize) {
        self.begin_end(who);
        while !self.end_step(who) {}
    }

    /// Ends all that live: nothing is left of anybody.
    pub fn end_all(&mut self) {
        for who in 0..self.setting.partitions {
            if self.is_active(who) {
                self.begin_end(who);
            }
            while self.estates.lives(who) {
                self.end_step(who);
            }
        }
        assert_eq!((self.spec.frames(), self.spec.objects()), (Some(0), 0));
        self.estates.audit();
    }

    /// All that can be seen is as specified.
    fn check(&mut self) {
        let mut taken = 0;
        for who in 0..self.setting.partitions {
            assert_eq!(self.estates.lives(who), self.spec.lives(who));
            if !self.estates.lives(who) {
                continue;
            }
            taken += self.frames[who];
            self.check_partition(who);
        }
        if let Some(frames) = self.spec.frames() {
            let free = self.estates.machine.store.free_pages().0;
            assert_eq!(free + frames + taken, self.free, "frames");
        }
        assert_eq!(usize::from(self.objects.used()), self.spec.objects());
        // These take longest: they go over all ports, and all frames.
        self.checks += 1;
        if self.compares || self.checks.is_multiple_of(4) {
            self.estates.check_parties(&self.objects);
        }
        if self.compares || self.checks.is_multiple_of(16) {
            self.estates.audit();
        }
    }

    fn check_partition(&mut self, who: usize) {
        for (line, used) in Resource::ALL.into_iter().zip(self.used(who)) {
            assert_eq!(used, self.spec.used(who, line), "{line} of {who}");
        }
        // Who ends takes none any more.
        if self.is_active(who) {
            let pending: Vec<u16> = self.interrupts[who].iter().copied().collect();
            assert_eq!(pending, self.spec.interrupts(who), "interrupts of {who}");
        }
        self.check_ports(who);
        let shown = self.spec.shown(who);
        if let Some((page, words)) = &shown {
            for (at, [marked, most]) in (*page..).step_by(8).zip(words) {
                let found = self.estates.read(who, Ipa(at));
                let is_right = |found: u64| found & marked == *marked && found & !most == 0;
                assert!(found.is_some_and(is_right), "{marked:#x}, {most:#x}: {found:x?}");
            }
        }
        self.addresses[who].extend(self.spec.addresses(who));
        for at in &self.addresses[who] {
            let found = (self.estates.read(who, Ipa(*at)), self.estates.may_write(who, Ipa(*at)));
            if shown.as_ref().is_some_and(|(page, _)| (*page..page + PAGE_BYTES).contains(at)) {
                assert!(found.0.is_some() && !found.1, "{who} sees its ports' events at {at:#x}");
                continue;
            }
            let expected = (self.spec.load(who, *at), self.spec.may_write(who, *at));
            assert_eq!(found, expected, "{who} at {at:#x}");
        }
        for arrivals in self.spec.arrivals(who) {
            let (page, delivered) = arrivals;
            let last = entry(delivered.wrapping_sub(1) % ARRIVALS);
            for word in [STATE, STARVED].into_iter().chain(last..last + ENTRY_WORDS) {
                let at = page + 8 * word as u64;
                assert_eq!(
                    self.estates.read(who, Ipa(at)),
                    self.spec.load(who, at),
                    "word {word} of {who}"
                );
            }
        }
    }

    /// What PORT_READ shows of a partition: connections, requests, what is pending.
    fn check_ports(&self, who: usize) {
        let shared = self.estates.shared(who).expect("it lives");
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some([what, peer, detail]) = shared.look(from) {
            from = (what & 0xffff) as u16 + 1;
            // None of the entries that it has passed is one.
            if what >> 16 != 0 {
                found.push((what, peer, detail));
            }
        }
        let ports = self.spec.ports(who);
        assert_eq!(found.len(), ports.len(), "{found:x?} of {who}, and {ports:x?}");
        for ((what, peer, detail), expected) in found.into_iter().zip(ports) {
            let detail = expected.2.map(|_| detail);
            assert_eq!((what, peer, detail), expected, "entry {:#x} of {who}", what & 0xffff);
        }
    }

    /// What a call of the core's answers, and who is told at once and later.
    fn core(&mut self, who: usize, number: u32, x: [u64; 6], what: &Call) -> Outcome {
        let refusal = |refusal: Refusal| (refusal.registers(), Told::new(), None);
        match *what {
            Call::Object(call) => match self.object(who, call) {
                Ok(([x1, x2, x3], raise, wake)) => ([refused(Status::Ok), x1, x2, x3], raise, wake),
                Err(refusal) => (refusal.registers(), Told::new(), None),
            },
            Call::Talk(talk) => match self.without_lock(who, talk) {
                Some(Ok((status, x1, told))) => ([refused(status), x1, 0, 0], told, None),
                Some(Err(error)) => refusal(error),
                None => {
                    let (answer, told, unused) = crate::calls::talk(&mut self.estates, who, talk);
                    if let Some(intid) = unused {
                        self.interrupts[who].remove(&intid);
                    }
                    (answer, told, None)
                }
            },
            _ => {
                let (answer, told) = call(&mut self.estates, who, number, &x);
                (answer, told, None)
            }
        }
    }

    /// A call that needs no lock, if it is one.
    fn without_lock(
        &mut self,
        who: usize,
        call: TalkCall,
    ) -> Option<Result<(Status, u64, Told), Refusal>> {
        let shared = self.estates.shared(who)?;
        let own = PartitionSlot(u8::try_from(who).unwrap());
        let done = |x1, raise| (Status::Ok, x1, told([raise]));
        let result = match call {
            TalkCall::Mask(port) => {
                shared.mask(Handle(port)).map(|()| done(0, None)).map_err(Refusal::from)
            }
            TalkCall::Unmask(port) => {
                let raise = shared.unmask(own, Handle(port));
                raise.map(|raise| done(0, raise)).map_err(Refusal::from)
            }
            TalkCall::State(port) => shared.state(Handle(port)).map(|is_connected| {
                let status = if is_connected { Status::Ok } else { Status::Pending };
                (status, 0, Told::new())
            }),
            TalkCall::Poll(port) => {
                let interrupts = &mut self.interrupts[who];
                let was = shared.poll(Handle(port), |intid, _| Some(interrupts.remove(&intid.0)));
                was.map(|was| done(u64::from(was), None))
            }
            TalkCall::Take(word) => Ok(done(shared.take(word), None)),
            TalkCall::Send(port) => {
                let peer = |slot: PartitionSlot| self.estates.shared(usize::from(slot.0));
                let sent = shared.send(Handle(port), &self.visitor, peer);
                sent.map(|sent| done(0, sent.arrival.raise))
            }
            _ => return None,
        };
        self.estates.calls += 1;
        Some(result)
    }

    fn object(
        &mut self,
        who: usize,
        call: ObjectCall,
    ) -> Result<([u64; 3], Told, Option<Wake>), object::Refusal> {
        self.estates.calls += 1;
        let (objects, own_slot) = (&self.objects, PartitionSlot(u8::try_from(who).unwrap()));
        let names = self.setting.names.iter().copied();
        let (values, wake) = match call {
            ObjectCall::Open { name, length, kind } => self.estates.of(who, |own, (ram, ..)| {
                let name: ObjectName = read_name(ram, own.holdings, name, length)?;
                let rows = permit(names, own_slot, &name)?;
                let opened = objects.open(&mut own.party, own.holdings, rows, (&name, kind))?;
                let Opened { handle, is_new } = opened;
                Ok::<_, object::Refusal>(([handle.0, u64::from(is_new), 0], None))
            })?,
            ObjectCall::Wait(object) => {
                let shared = self.estates.shared(who).ok_or(object::Refusal::BadHandle)?;
                let (got, wake) = objects.try_take(shared, own_slot, Handle(object))?;
                (got.values(), Some(wake))
            }
            ObjectCall::Post { object, message } => {
                let shared = self.estates.shared(who).ok_or(object::Refusal::BadHandle)?;
                ([0; 3], Some(objects.post(shared, own_slot, Handle(object), message)?))
            }
            ObjectCall::Notify { object, port } => {
                let port = port.map(Handle);
                let raise = self
                    .estates
                    .of(who, |own, _| objects.set_notify(&mut own.party, Handle(object), port))?;
                return Ok(([0; 3], told([raise]), None));
            }
            ObjectCall::Close(object) => self.estates.of(who, |own, _| {
                let wake = objects.close(&mut own.party, own.holdings, Handle(object))?;
                Ok::<_, object::Refusal>(([0; 3], Some(wake)))
            })?,
        };
        Ok((values, Told::new(), wake))
    }
}
