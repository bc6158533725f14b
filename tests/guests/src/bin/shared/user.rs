//! The user: attaches what the owner offers, and looks what it can reach after each thing that either of them does.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use shikiri_abi::{AreaClass, Ipa, PageCount, Status};
use shikiri_rt::hvc::message;
use shikiri_rt::hvc::partition::{self, Resource};
use shikiri_rt::hvc::shared::{self, Access, Attachment};
use shikiri_rt::hvc::talk::{self, Handle};
use shikiri_rt::{platform, reg, smp};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::tools::{
    self, AGAIN, ANSWER, ARGUMENT, COMMAND, CONTROL, DONE, END, EVENTS, FIXED_BOARD, FIXED_TABLE,
    LEAVE, LOOK, PRESS, PUT, READ, REFUSED, RESULT, REVOKE, VALUE, WITHDRAW, WRITE, events, made,
    read, refused, set, take_events, told, wait, wait_for_event, word, write,
};
use crate::{forms, three};
use shikiri_test_guests::taken;

pub(crate) const NO: Failure = Failure { what: "no answer", got: 0, want: 1 };
const KINDS: [(u64, AreaClass); 4] =
    [(1, AreaClass::Page), (1, AreaClass::Block), (3, AreaClass::Block), (512, AreaClass::Block)];

pub(crate) fn run() -> ! {
    if platform::has_word("three") {
        case("a_user_is_driven_out_while_another_goes_on", three::first);
        done()
    }
    if platform::has_word("fire") {
        case("no_access_of_another_vcpu_succeeds_after_it_was_revoked", under_fire);
        done()
    }
    if platform::has_word("busy") {
        case("a_busy_peer_puts_off_no_call", busy);
        done()
    }
    if platform::has_word("fixed") {
        case("areas_of_the_description_outlive_a_restart", fixed);
        done()
    }
    if platform::has_word("ends") {
        case("users_go_on_when_the_owner_has_ended", owner_ends);
        case("who_waits_in_any_form_is_told_that_the_owner_has_ended", forms::owner_ends);
        done()
    }
    case("both_see_what_either_writes", both_see);
    case("a_reader_cannot_write", reader);
    case("a_revoked_area_faults_and_can_be_asked_for_again", revoked);
    case("a_detached_area_faults_and_the_owner_is_told", detached);
    case("an_owner_that_leaves_leaves_it_to_its_users", owner_leaves);
    case("what_is_refused_says_why_and_changes_nothing", refusals);
    case("a_shared_area_is_neither_sent_nor_freed_nor_kept", shared_is_shared);
    case("typed_areas_are_detached_when_they_are_dropped", forms::typed);
    case("areas_are_asked_for_in_every_form", forms::asked);
    case("the_end_of_sharing_is_waited_for_in_every_form", forms::ended);
    done()
}

pub(crate) fn owner() -> u8 {
    platform::number_of("owner").unwrap_or(0) as u8
}

pub(crate) fn used() -> Result<[u64; 3], Failure> {
    let mut lines = [0; 3];
    let all = [Resource::Memory, Resource::IpaSpace, Resource::ManagementMemory];
    for (place, line) in lines.iter_mut().zip(all) {
        *place = made(partition::account(line))?.used;
    }
    Ok(lines)
}

/// What came of a request.
pub(crate) fn answered(attachment: Handle) -> Result<shared::Shared, Failure> {
    let mut there = None;
    wait("attached", || {
        there = made(shared::state(attachment))?;
        Ok(there.is_some())
    })?;
    there.ok_or(NO)
}

/// An area of the owner's.
pub(crate) struct Attached {
    pub(crate) at: Attachment,
    events: Handle,
}

impl Attached {
    /// Asks until the owner has answered: one that is starting again withdraws what waits there.
    pub(crate) fn new(service: u32, pages: u64, class: AreaClass) -> Result<Self, Failure> {
        let events = events()?;
        let at = made(shared::create(events, PageCount(pages), class))?;
        ensure("nothing is there yet", read(at.address).is_err())?;
        let before = told();
        let size = pages << 12 | u64::from(class.code()) << 32;
        wait("answered", || {
            let _asked = shared::connect(at.handle, owner(), service, size);
            Ok(matches!(shared::state(at.handle), Ok(Some(_))))
        })?;
        wait_for_event(before)?;
        take_events();
        Ok(Self { at, events })
    }

    pub(crate) fn word(&self, offset: u64) -> Ipa {
        self.at.address.wrapping_add(offset)
    }

    pub(crate) fn leave(self) -> Outcome {
        made(taken::detach(self.at.handle))?;
        ensure("a load faults", read(self.at.address).is_err())?;
        ensure("a store faults", write(self.at.address, 1).is_err())?;
        refused("its handle is stale", shared::state(self.at.handle), Status::BadHandle)?;
        made(talk::close(self.events)).map(|_| ())
    }
}

/// The area that commands go through.
pub(crate) struct Control {
    area: Attached,
    round: u64,
}

impl Control {
    pub(crate) fn new() -> Result<Self, Failure> {
        let area = Attached::new(CONTROL, 1, AreaClass::Page)?;
        let round = word(area.word(DONE))? >> 8;
        Ok(Self { area, round })
    }

    pub(crate) fn begin(
        &mut self,
        command: u64,
        argument: u64,
        value: u64,
    ) -> Result<u64, Failure> {
        self.round += 1;
        set(self.area.word(ARGUMENT), argument)?;
        set(self.area.word(VALUE), value)?;
        fence(Ordering::Release);
        let number = self.round << 8 | command;
        set(self.area.word(COMMAND), number)?;
        Ok(number)
    }

    /// Waits until the owner has done what it was told last.
    pub(crate) fn end(&mut self) -> Result<u64, Failure> {
        let number = word(self.area.word(COMMAND))?;
        wait("the owner is through", || Ok(word(self.area.word(DONE))? == number))?;
        fence(Ordering::Acquire);
        word(self.area.word(RESULT))
    }

    /// Has the owner do something.
    pub(crate) fn tell(&mut self, command: u64, argument: u64, value: u64) -> Result<u64, Failure> {
        self.begin(command, argument, value)?;
        self.end()
    }

    /// A word of the area.
    pub(crate) fn word(&self, offset: u64) -> Ipa {
        self.area.word(offset)
    }

    /// Leaves the area; the next one goes on with it.
    pub(crate) fn leave(self) -> Outcome {
        self.area.leave()
    }
}

fn both_see() -> Outcome {
    let before = used()?;
    let mut control = Control::new()?;
    for (pages, class) in KINDS {
        let area = Attached::new(WRITE, pages, class)?;
        let there = answered(area.at.handle)?;
        equal("pages", there.pages.0, pages)?;
        ensure("it may write", there.access == Access::ReadWrite && !there.is_left)?;
        for offset in [0, (pages << 12) - 8] {
            equal("cleared", word(area.word(offset))?, 0)?;
            set(area.word(offset), 0x1234 + offset)?;
            equal("the owner sees it", control.tell(LOOK, offset, 0)?, 0x1234 + offset)?;
            control.tell(PUT, offset, 0x77 + offset)?;
            equal("we see what the owner wrote", word(area.word(offset))?, 0x77 + offset)?;
        }
        area.leave()?;
        equal("the owner has it still", control.tell(WITHDRAW, 0, 0)?, 0x77)?;
    }
    control.area.leave()?;
    ensure("all is refunded", used()? == before)
}

fn reader() -> Outcome {
    let before = used()?;
    let mut control = Control::new()?;
    for (pages, class) in KINDS {
        let area = Attached::new(READ, pages, class)?;
        ensure("it may only read", answered(area.at.handle)?.access == Access::ReadOnly)?;
        for offset in [0, (pages << 12) - 8] {
            control.tell(PUT, offset, 5)?;
            equal("what the owner wrote", word(area.word(offset))?, 5)?;
            ensure("a store faults", write(area.word(offset), 6).is_err())?;
            equal("nothing has changed", word(area.word(offset))?, 5)?;
            equal("nor for the owner", control.tell(LOOK, offset, 0)?, 5)?;
        }
        area.leave()?;
        control.tell(WITHDRAW, 0, 0)?;
    }
    control.area.leave()?;
    ensure("all is refunded", used()? == before)
}

fn revoked() -> Outcome {
    let before = used()?;
    let mut control = Control::new()?;
    for (service, pages, class) in
        [(WRITE, 1, AreaClass::Page), (READ, 1, AreaClass::Page), (WRITE, 3, AreaClass::Block)]
    {
        let area = Attached::new(service, pages, class)?;
        control.tell(PUT, 0, 9)?;
        equal("what the owner wrote", word(area.word(0))?, 9)?;
        let events = told();
        equal("revoked", control.tell(REVOKE, 0, 0)?, 0)?;
        ensure("a load faults", read(area.word(0)).is_err())?;
        ensure("a store faults", write(area.word(0), 1).is_err())?;
        wait_for_event(events)?;
        take_events();
        refused("the state", shared::state(area.at.handle), Status::PeerGone)?;
        let again = Status::PeerGone.code() as u64;
        equal("once only", control.tell(REVOKE, 0, 0)?, again)?;
        // The attachment is good for another request.
        made(shared::connect(area.at.handle, owner(), WRITE, 0))?;
        answered(area.at.handle)?;
        equal("what the owner wrote", word(area.word(0))?, 9)?;
        set(area.word(0), 10)?;
        equal("withdrawn", control.tell(WITHDRAW, 0, 0)?, 10)?;
        ensure("a load faults again", read(area.word(0)).is_err())?;
        take_events();
        area.leave()?;
    }
    control.area.leave()?;
    ensure("all is refunded", used()? == before)
}

fn detached() -> Outcome {
    let mut control = Control::new()?;
    let area = Attached::new(WRITE, 3, AreaClass::Block)?;
    let events = control.tell(EVENTS, 0, 0)?;
    area.leave()?;
    wait("the owner is told", || Ok(control.tell(EVENTS, 0, 0)? == events + 1))?;
    control.tell(WITHDRAW, 0, 0)?;
    control.area.leave()
}

fn owner_leaves() -> Outcome {
    let before = used()?;
    let mut control = Control::new()?;
    for (service, pages, class) in [(WRITE, 1, AreaClass::Page), (READ, 3, AreaClass::Block)] {
        let area = Attached::new(service, pages, class)?;
        control.tell(PUT, 0, 3)?;
        let events = told();
        control.tell(LEAVE, 0, 0)?;
        wait_for_event(events)?;
        take_events();
        let how = answered(area.at.handle)?;
        ensure("the owner has left", how.is_left)?;
        equal("we go on", word(area.word(0))?, 3)?;
        equal("with the rights that we had", u64::from(write(area.word(0), 4).is_ok()), {
            u64::from(service == WRITE)
        })?;
        // Ours are the frames now, and we give them back.
        area.leave()?;
    }
    control.area.leave()?;
    ensure("all is refunded", used()? == before)
}

fn refusals() -> Outcome {
    let mut control = Control::new()?;
    let before = used()?;
    let port = events()?;
    refused(
        "not a port",
        shared::create(Handle(0x1_0007), PageCount(1), AreaClass::Page),
        Status::BadHandle,
    )?;
    refused("too large", shared::create(port, PageCount(2), AreaClass::Page), Status::Range)?;
    refused("empty", shared::create(port, PageCount(0), AreaClass::Page), Status::Range)?;
    refused("no slot", shared::create(port, PageCount(1), AreaClass::Giant), Status::OverLimit)?;
    ensure("nothing was charged", used()? == before)?;
    let at = made(shared::create(port, PageCount(1), AreaClass::Block))?;
    refused("not asked yet", shared::state(at.handle), Status::WrongState)?;
    refused(
        "the port is in use",
        shared::create(port, PageCount(1), AreaClass::Page),
        Status::WrongState,
    )?;
    refused("nobody", shared::connect(at.handle, 63, 1, 0), Status::NotPermitted)?;
    // The handle goes before what stands against whom it asks.
    for partition in [owner(), 63] {
        refused("no handle", shared::connect(Handle(9), partition, 1, 0), Status::BadHandle)?;
        refused("no attachment", shared::connect(port, partition, 1, 0), Status::BadHandle)?;
    }
    // Refused by the owner, and once more because it is too small.
    for (service, why) in [(REFUSED, Status::NotOwner), (WRITE, Status::Range)] {
        made(shared::connect(at.handle, owner(), service, 4096))?;
        wait("refused", || {
            let state = shared::state(at.handle);
            Ok(state.is_err_and(|refusal| refusal.status() == Some(Status::Refused)))
        })?;
        equal("why", control.tell(ANSWER, 0, 0)?, why.code() as u64)?;
        ensure("nothing is there", read(at.address).is_err())?;
    }
    made(taken::detach(at.handle))?;
    // The same area twice.
    let first = Attached::new(WRITE, 1, AreaClass::Page)?;
    let second = made(shared::create(port, PageCount(1), AreaClass::Page))?;
    made(shared::connect(second.handle, owner(), AGAIN, 0))?;
    wait("refused", || {
        let state = shared::state(second.handle);
        Ok(state.is_err_and(|refusal| refusal.status() == Some(Status::Refused)))
    })?;
    equal("why", control.tell(ANSWER, 0, 0)?, Status::Exists.code() as u64)?;
    made(taken::detach(second.handle))?;
    refused("stale", taken::detach(second.handle), Status::BadHandle)?;
    first.leave()?;
    control.tell(WITHDRAW, 0, 0)?;
    // The table of shares is full.
    let mut all = [None; 4];
    let mut count = 0;
    let last = loop {
        let port = events()?;
        match shared::create(port, PageCount(1), AreaClass::Page) {
            Ok(at) => {
                if let Some(place) = all.get_mut(count) {
                    *place = Some((at.handle, port));
                }
                count += 1;
            }
            Err(refusal) => {
                made(talk::close(port))?;
                break refusal;
            }
        }
    };
    equal("full", last.code as u64, Status::OverLimit.code() as u64)?;
    for (handle, port) in all.into_iter().flatten() {
        made(taken::detach(handle))?;
        made(talk::close(port))?;
    }
    made(talk::close(port))?;
    ensure("all is refunded", used()? == before)?;
    control.area.leave()
}

/// Our own area, offered and taken back.
fn shared_is_shared() -> Outcome {
    let before = used()?;
    let area = made(message::alloc(0x3000, AreaClass::Block))?;
    set(area.address, 8)?;
    made(taken::offer(area.handle, None))?;
    let (is_there, wrong) = (area.handle, Status::WrongState);
    refused("offered twice", taken::offer(is_there, None), wrong)?;
    refused("freed", taken::free(is_there), wrong)?;
    refused("kept", message::keep(is_there), wrong)?;
    let port = events()?;
    let channel = made(message::create(port, 1, AreaClass::Block))?;
    refused("sent", taken::send(channel.handle, Some((is_there, 8)), [0; 3]), wrong)?;
    made(taken::close(channel.handle))?;
    made(talk::close(port))?;
    equal("it is where it was", made(message::info(is_there))?.address.0, area.address.0)?;
    let own = platform::number_of("self").unwrap_or(1) as u8;
    for nobody in [owner(), own, 63, 255] {
        refused("nobody uses it", shared::revoke(is_there, nobody), Status::PeerGone)?;
    }
    equal("it is ours", word(area.address)?, 8)?;
    made(shared::withdraw(is_there))?;
    refused("withdrawn twice", shared::withdraw(is_there), wrong)?;
    equal("it is still ours", word(area.address)?, 8)?;
    // Left with nobody else there, it is freed.
    made(taken::offer(is_there, None))?;
    made(taken::detach(is_there))?;
    ensure("a load faults", read(area.address).is_err())?;
    refused("it is gone", taken::free(is_there), Status::NotOwner)?;
    ensure("all is refunded", used()? == before)
}

/// The owner turns itself off with areas attached; it is started again.
fn owner_ends() -> Outcome {
    let before = used()?;
    for (service, pages, class) in
        [(WRITE, 1, AreaClass::Page), (READ, 3, AreaClass::Block), (WRITE, 512, AreaClass::Block)]
    {
        let mut control = Control::new()?;
        let area = Attached::new(service, pages, class)?;
        control.tell(PUT, 0, 11)?;
        let events = told();
        control.begin(END, 0, 0)?;
        wait_for_event(events)?;
        wait("the owner has left both", || {
            let left = |at: &Attached| Ok(answered(at.at.handle)?.is_left);
            Ok(left(&area)? && left(&control.area)?)
        })?;
        take_events();
        equal("we go on", word(area.word(0))?, 11)?;
        equal("with our rights", u64::from(write(area.word(0), 12).is_ok()), {
            u64::from(service == WRITE)
        })?;
        set(control.area.word(COMMAND), 1)?;
        area.leave()?;
        control.area.leave()?;
    }
    ensure("all is refunded", used()? == before)
}

/// The description's areas: one that both write, one that the owner writes and this partition reads. The owner counts its starts
/// there, and ends when it was seen.
fn fixed() -> Outcome {
    let board = answered(FIXED_BOARD)?;
    let table = answered(FIXED_TABLE)?;
    equal("pages", board.pages.0, 1)?;
    equal("pages", table.pages.0, 3)?;
    ensure("rights", board.access == Access::ReadWrite && table.access == Access::ReadOnly)?;
    let last = table.address.wrapping_add(0x2ff8);
    for start in 1..=3 {
        wait("the owner has started", || Ok(word(last)? == start))?;
        ensure("a store faults", write(last, 9).is_err())?;
        equal("nothing has changed", word(last)?, start)?;
        set(board.address, start)?;
    }
    // It is nobody's own.
    refused("revoked", shared::revoke(FIXED_BOARD, owner()), Status::NotOwner).or_else(|_| {
        refused("revoked", shared::revoke(FIXED_BOARD, owner()), Status::WrongState)
    })?;
    made(taken::detach(FIXED_BOARD))?;
    ensure("a load faults", read(board.address).is_err())
}

static AT: AtomicU64 = AtomicU64::new(0);
static IS_REVOKED: AtomicBool = AtomicBool::new(false);
static LATE: AtomicU64 = AtomicU64::new(0);
static GOOD: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);
static ROUND: AtomicU64 = AtomicU64::new(0);

/// The other vCPU: loads and stores without end.
fn fire() {
    loop {
        let at = Ipa(AT.load(Ordering::Acquire));
        if at.0 == 0 {
            reg::yield_now();
            continue;
        }
        let round = ROUND.load(Ordering::Acquire);
        let was_revoked = IS_REVOKED.load(Ordering::Acquire);
        let is_good = read(at).is_ok() | write(at, round).is_ok();
        // The word of this round is looked at again: between two rounds it may have changed.
        if ROUND.load(Ordering::Acquire) != round {
            continue;
        }
        let counter = match (is_good, was_revoked) {
            (true, true) => &LATE,
            (true, false) => &GOOD,
            (false, _) => &FAULTS,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn under_fire() -> Outcome {
    ensure("another vCPU", smp::start(1, fire).is_ok())?;
    let mut control = Control::new()?;
    for round in 0..20 {
        let (pages, class) = KINDS[round % KINDS.len()];
        let area = Attached::new(WRITE, pages, class)?;
        IS_REVOKED.store(false, Ordering::Release);
        AT.store(area.at.address.0, Ordering::Release);
        let good = GOOD.load(Ordering::Acquire);
        wait("it fires", || Ok(GOOD.load(Ordering::Acquire) > good))?;
        equal("revoked", control.tell(REVOKE, 0, 0)?, 0)?;
        IS_REVOKED.store(true, Ordering::Release);
        let faults = FAULTS.load(Ordering::Acquire);
        wait("it faults", || Ok(FAULTS.load(Ordering::Acquire) > faults + 10))?;
        // What the owner writes now nobody sees, and nobody changes.
        control.tell(PUT, 0, 0xfeed)?;
        let faults = FAULTS.load(Ordering::Acquire);
        wait("it faults", || Ok(FAULTS.load(Ordering::Acquire) > faults + 10))?;
        equal("untouched", control.tell(LOOK, 0, 0)?, 0xfeed)?;
        AT.store(0, Ordering::Release);
        ROUND.fetch_add(1, Ordering::Release);
        equal("late accesses", LATE.load(Ordering::Acquire), 0)?;
        tools::take_events();
        area.leave()?;
        control.tell(WITHDRAW, 0, 0)?;
    }
    control.area.leave()
}

/// The owner's calls are carried out at once, although all other vCPUs of both do nothing but call.
fn busy() -> Outcome {
    let mut control = Control::new()?;
    tools::hog_the_lock();
    for round in 0..4 {
        // A few at a time: where vCPUs wait for locks while their host runs others each call can take seconds.
        for _ in 0..5 {
            equal("calls that were put off", control.tell(PRESS, 0, 0)?, 0)?;
        }
        let (pages, class) = KINDS[round % KINDS.len()];
        let area = Attached::new(WRITE, pages, class)?;
        if round % 2 == 0 {
            equal("revoked", control.tell(REVOKE, 0, 0)?, 0)?;
            refused("it is gone", shared::state(area.at.handle), Status::PeerGone)?;
        }
        control.tell(WITHDRAW, 0, 0)?;
        refused("it is gone", shared::state(area.at.handle), Status::PeerGone)?;
        made(taken::detach(area.at.handle))?;
        made(talk::close(area.events))?;
    }
    Ok(())
}
