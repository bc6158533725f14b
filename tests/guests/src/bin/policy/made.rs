//! Partitions that are made at run time: from nothing, in a programmed order, ended at every phase, and gone without a trace.

use core::sync::atomic::Ordering;

use shikiri_abi::{Hold, Ipa, PartitionId, PartitionRef, Resource, Status};
use shikiri_policy::{
    Cause, Partition, State, Time, core_left, forbid, handout, image, notify, permit, take_notice,
};
use shikiri_rt::hvc::{Conduit, partition, policy, psci, talk};
use shikiri_rt::{gic, platform, println, reg, timer};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal};

use crate::bench::{TOLD, port, sleep};
use crate::tools::{ended, made, named, notice, refused, refused_for, wait, wait_for};

/// Where a made partition's memory begins.
const RAM: Ipa = Ipa(0x4000_0000);
/// Its memory: 64 pages.
const BYTES: u64 = 64 << 12;
/// Where this partition's own memory of 4 MiB ends.
const OWN_END: u64 = RAM.0 + (4 << 20);
/// Its core: the second one is shared by all of them.
const CORE: u8 = 1;
const TIME: Time = Time::reserved(1_000, 10_000);

/// A program of a few instructions, aligned for PARTITION_LOAD.
#[repr(C, align(64))]
struct Program([u32; 16]);

impl Program {
    /// Ends its partition with this code.
    fn ends(code: u32) -> Self {
        let mut program = [0; 16];
        program[0] = 0xd280_0080; // movz x0, #4
        program[1] = 0xf2b8_c000; // movk x0, #0xc600, lsl #16: PARTITION_END
        program[2] = 0xd280_0001 | code << 5; // movz x1, #code
        program[3] = 0xd400_0002; // hvc #0
        program[4] = 0x1400_0000; // b .
        Self(program)
    }

    /// Runs for ever.
    fn spins() -> Self {
        let mut program = [0; 16];
        program[0] = 0x1400_0000; // b .
        Self(program)
    }

    /// Runs for so many times 65,536 ticks, those left out in which somebody else did; ends with code 3.
    fn runs_for(times: u32) -> Self {
        let Self(mut program) = Self::ends(3);
        program.rotate_right(11);
        program[..11].copy_from_slice(&[
            0xd280_0009,              // movz x9, #0
            0xd2a0_000d | times << 5, // movz x13, #times, lsl #16
            0xd53b_e04a,              // mrs x10, cntvct_el0
            0xd53b_e04b,              // mrs x11, cntvct_el0
            0xcb0a_016c,              // sub x12, x11, x10
            0xaa0b_03ea,              // mov x10, x11
            0xf140_119f,              // cmp x12, #4, lsl #12
            0x54ff_ff82,              // b.hs -16
            0x8b0c_0129,              // add x9, x9, x12
            0xeb0d_013f,              // cmp x9, x13
            0x54ff_ff23,              // b.lo -28
        ]);
        Self(program)
    }

    /// Writes four characters to its console, and no end of the line; ends with code 9.
    fn says(text: [u8; 4]) -> Self {
        let Self(mut program) = Self::ends(9);
        program.rotate_right(9);
        program[0] = 0xd2a1_2009; // movz x9, #0x900, lsl #16: its UART
        for (pair, byte) in program[1..9].chunks_exact_mut(2).zip(text) {
            pair[0] = 0x5280_000a | u32::from(byte) << 5; // movz w10, #byte
            pair[1] = 0xb900_012a; // str w10, [x9]
        }
        Self(program)
    }

    fn address(&self) -> Ipa {
        Ipa(core::ptr::from_ref(self).expose_provenance() as u64)
    }

    fn load(&self, into: Partition) -> Outcome {
        made(into.load(RAM, self.address(), 64))
    }
}

/// A partition with a name, limits, a vCPU, memory, and an entry at its beginning, which holds zeros.
fn described(name: &str) -> Result<Partition, Failure> {
    let new = made(Partition::create(name))?;
    made(new.set_limit(Resource::Memory, Some(64)))?;
    made(new.set_limit(Resource::CoreTime, Some(100_000)))?;
    equal("its core", made(new.add_vcpu(&[CORE], TIME, 0))?, u64::from(CORE))?;
    made(new.add_memory(RAM, BYTES))?;
    made(new.set_entry(RAM, 0))?;
    Ok(new)
}

/// The same, built, with a program in it.
fn held(name: &str, program: &Program) -> Result<Partition, Failure> {
    let life = made(described(name)?.start_held())?;
    wait_for(life, State::Held)?;
    program.load(life)?;
    Ok(life)
}

/// What must be as before when all that was made is gone.
#[derive(Clone, Copy, PartialEq)]
struct Books {
    core: u64,
    memory: u64,
    time: u64,
}

fn books() -> Result<Books, Failure> {
    Ok(Books {
        core: made(core_left(CORE))?,
        memory: made(handout(Resource::Memory))?.1,
        time: made(handout(Resource::CoreTime))?.1,
    })
}

pub(crate) fn calls() -> ! {
    case("a_created_partition_owns_nothing_and_has_no_limits", created);
    case("partitions_are_made_from_nothing_and_started_in_the_programmed_order", in_order);
    case("one_that_is_made_can_be_ended_at_every_phase", at_every_phase);
    case("what_may_be_handed_out_is_handed_out_once", handed_out);
    case("a_core_is_promised_once", promised);
    case("what_is_refused_says_why_and_changes_nothing", refusals);
    case("who_may_ask_whom_is_said_at_run_time", peers);
    case("what_is_noted_stays_until_it_is_destroyed", noted);
    case("a_program_of_the_bundle_finds_the_tree_that_was_loaded", from_the_bundle);
    case("many_lives_leave_nothing", many);
    done()
}

fn created() -> Outcome {
    let before = books()?;
    let new = made(Partition::create("new"))?;
    let status = made(new.status())?;
    ensure("created", status.state == State::Created && status.is_made)?;
    equal("no vCPU", u64::from(status.vcpus), 0)?;
    equal("no start", u64::from(status.starts), 0)?;
    ensure("its name", made(new.name())?.as_str() == "new")?;
    ensure("it is found", named("new")? == new)?;
    for resource in Resource::ALL {
        let line = made(new.account(resource))?;
        ensure("unset, and nothing used", line.limit.is_none() && line.used == 0)?;
    }
    refused("nothing to start", new.start(), Status::WrongState)?;
    refused("nothing to stop", new.stop(), Status::WrongState)?;
    made(new.destroy())?;
    refused("gone", new.status(), Status::NotFound)?;
    ensure("no trace", Partition::named("new").is_none() && books()? == before)?;
    // The place is another's then, and the name may be as well.
    let other = made(Partition::create("new"))?;
    ensure("another id", other.id() > new.id())?;
    refused("not the old one", new.name(), Status::PeerGone)?;
    made(other.destroy())
}

fn in_order() -> Outcome {
    let before = books()?;
    let first = held("first", &Program::ends(11))?;
    let second = held("second", &Program::ends(22))?;
    let third = held("third", &Program::ends(33))?;
    for (life, code) in [(third, 33), (first, 11), (second, 22)] {
        let id = life.id();
        let life = made(life.start())?;
        equal("the id that it was created with", u64::from(life.id()), u64::from(id))?;
        ended(life, Cause::Code(code))?;
    }
    // A later life has another id, and other memory: what was loaded is gone.
    let again = made(first.start())?;
    ensure("a new id", again.id() > third.id())?;
    ended(again, Cause::Fault)?;
    for life in [again, second, third] {
        equal("nothing used", made(life.account(Resource::Memory))?.used, 0)?;
        made(life.destroy())?;
    }
    ensure("no trace", books()? == before)
}

fn at_every_phase() -> Outcome {
    let before = books()?;
    let mut life = made(described("one")?.start())?;
    made(life.stop())?;
    ended(life, Cause::Stopped)?;
    life = made(life.start_held())?;
    wait_for(life, State::Held)?;
    refused("not while it lives", life.destroy(), Status::WrongState)?;
    made(life.stop())?;
    ended(life, Cause::Stopped)?;
    for paused in [false, true] {
        life = made(life.start_held())?;
        wait_for(life, State::Held)?;
        Program::spins().load(life)?;
        made(life.start())?;
        wait_for(life, State::Active)?;
        timer::spin(2_000);
        if paused {
            made(life.pause())?;
        }
        refused("not while it lives", life.destroy(), Status::WrongState)?;
        made(life.stop())?;
        ended(life, Cause::Stopped)?;
    }
    life = made(life.start())?;
    ended(life, Cause::Fault)?;
    // Restarted while it spins.
    life = made(life.start_held())?;
    wait_for(life, State::Held)?;
    Program::spins().load(life)?;
    made(life.start())?;
    made(life.restart())?;
    ended(life, Cause::Restarted)?;
    // The next life is held as this one was: what it would execute is loaded anew.
    wait("held again", || Ok(named("one")?.status().is_ok_and(|it| it.state == State::Held)))?;
    life = named("one")?;
    Program::ends(9).load(life)?;
    made(life.start())?;
    ended(life, Cause::Code(9))?;
    made(life.destroy())?;
    ensure("no trace", books()? == before)
}

/// 256 pages and 90 % of a core can be handed out.
fn handed_out() -> Outcome {
    let memory = Resource::Memory;
    let a = made(Partition::create("a"))?;
    let b = made(Partition::create("b"))?;
    let over = (Status::OverLimit, 0x102);
    refused_for("too much at once", a.set_limit(memory, Some(257)), over)?;
    made(a.set_limit(memory, Some(200)))?;
    refused_for("together", b.set_limit(memory, Some(57)), over)?;
    made(b.set_limit(memory, Some(56)))?;
    ensure("all is given", made(handout(memory))? == (Some(256), 256))?;
    // Less than what it would take: it cannot be built.
    made(b.set_limit(Resource::CoreTime, Some(100_000)))?;
    made(b.add_vcpu(&[CORE], TIME, 0))?;
    made(b.add_memory(RAM, 57 << 12))?;
    made(b.set_entry(RAM, 0))?;
    let life = made(b.start())?;
    ended(life, Cause::NotBuilt)?;
    made(life.destroy())?;
    // Without a limit it could be charged without bound.
    let c = made(Partition::create("c"))?;
    made(c.set_limit(Resource::CoreTime, Some(100_000)))?;
    made(c.add_vcpu(&[CORE], TIME, 0))?;
    made(c.add_memory(RAM, BYTES))?;
    made(c.set_entry(RAM, 0))?;
    refused_for("no limit of memory", c.start(), over)?;
    made(c.destroy())?;
    made(a.destroy())?;
    ensure("all is back", made(handout(memory))? == (Some(256), 0))
}

/// A piece and its words, all different.
fn piece(number: u8) -> [u64; 2] {
    [1, 2].map(|word| u64::from(number) << 8 | word)
}

/// The pieces of a note.
const PIECES: u8 = 252;

fn noted() -> Outcome {
    let new = described("new")?;
    let is_empty = |it: Partition| {
        (0..PIECES).try_for_each(|number| ensure("nothing", made(it.note(number))? == [0; 2]))
    };
    is_empty(new)?;
    (0..PIECES).try_for_each(|number| made(new.set_note(number, piece(number))))?;
    let behind = (Status::InvalidParameter, 2);
    refused_for("behind the last", new.set_note(PIECES, [1; 2]), behind)?;
    refused_for("behind the last", new.note(PIECES), behind)?;
    let (own, described) = (named("scos")?, (Status::InvalidParameter, 1));
    refused_for("of the description", own.set_note(0, [1; 2]), described)?;
    refused_for("of the description", own.note(0), described)?;
    for _ in 0..2 {
        let life = made(named("new")?.start())?;
        ended(life, Cause::Fault)?;
        for number in 0..PIECES {
            ensure("as it was", made(life.note(number))? == piece(number))?;
        }
    }
    let last = named("new")?;
    made(last.set_note(0, [7; 2]))?;
    ensure("changed", made(last.note(0))? == [7; 2])?;
    made(last.destroy())?;
    let next = made(Partition::create("next"))?;
    is_empty(next)?;
    made(next.destroy())
}

fn promised() -> Outcome {
    let before = books()?;
    let new = made(Partition::create("new"))?;
    let time = Resource::CoreTime;
    let half = Time::reserved(5_000, 10_000);
    refused_for("no limit", new.add_vcpu(&[CORE], half, 0), (Status::OverLimit, 0x100))?;
    made(new.set_limit(time, Some(400_000)))?;
    refused_for("its limit", new.add_vcpu(&[CORE], half, 0), (Status::OverLimit, 0))?;
    made(new.set_limit(time, Some(900_000)))?;
    made(new.add_vcpu(&[CORE], half, 0))?;
    equal("half is left", made(core_left(CORE))? + 500_000, before.core)?;
    // `busy` has its own share of the core.
    let left = made(core_left(CORE))?;
    let more = Time::reserved(4_000, 10_000);
    if left < 400_000 {
        let full = new.add_vcpu(&[CORE], more, 0);
        refused_for("the core", full, (Status::OverLimit, 0x200))?;
    }
    refused_for("the core alone", new.add_vcpu(&[CORE], Time::Owned, 0), (Status::OverLimit, 0))?;
    equal("unchanged", made(core_left(CORE))?, left)?;
    made(new.destroy())?;
    ensure("all is back", books()? == before)
}

fn refusals() -> Outcome {
    for (name, status) in [
        ("", Status::InvalidParameter),
        ("No", Status::InvalidParameter),
        ("a b", Status::InvalidParameter),
        ("scos", Status::Exists),
    ] {
        refused("create", Partition::create(name), status)?;
    }
    let before = made(Partition::create("new"))?;
    made(before.destroy())?;
    refused("no name", Partition::create("No"), Status::InvalidParameter)?;
    let new = made(Partition::create("new"))?;
    equal("what is refused takes no id", u64::from(new.id()), u64::from(before.id()) + 1)?;
    refused("twice", Partition::create("new"), Status::Exists)?;
    made(new.set_limit(Resource::CoreTime, Some(900_000)))?;
    refused("no core", new.add_vcpu(&[], TIME, 0), Status::Range)?;
    refused("no such core", new.add_vcpu(&[63], TIME, 0), Status::Range)?;
    let short = Time::reserved(49, 10_000);
    refused("no budget", new.add_vcpu(&[CORE], short, 0), Status::Range)?;
    refused("no period", new.add_vcpu(&[CORE], Time::reserved(50, 0), 0), Status::Range)?;
    refused("over its period", new.add_vcpu(&[CORE], Time::reserved(2, 1), 0), Status::Range)?;
    refused("not whole pages", new.add_memory(RAM, 4097), Status::Range)?;
    refused("on the virtual GIC", new.add_memory(Ipa(0x0800_0000), 4096), Status::Exists)?;
    made(new.add_memory(RAM, BYTES))?;
    refused("twice", new.add_memory(RAM, BYTES), Status::Exists)?;
    refused_for("no image", new.add_image(9, RAM), (Status::InvalidParameter, 2))?;
    let hello = made(image("hello"))?;
    refused("no room", new.add_image(hello, Ipa(RAM.0 + BYTES - 8)), Status::Range)?;
    made(new.add_image(hello, RAM))?;
    refused("on another", new.add_image(hello, Ipa(RAM.0 + 8)), Status::Exists)?;
    refused("no image at all", image("nothing"), Status::Range)?;
    refused("entry outside", new.set_entry(Ipa(RAM.0 + BYTES), 0), Status::Range)?;
    refused("requests alone", new.set_talk(0, 1), Status::Range)?;
    for region in 1..4 {
        made(new.add_memory(Ipa(RAM.0 + (region << 24)), 4096))?;
    }
    refused("a fifth region", new.add_memory(Ipa(0x6000_0000), 4096), Status::Full)?;
    refused("no vCPU", new.start(), Status::WrongState)?;
    let from = Program::spins();
    refused("nothing to load", from_load(new, &from, RAM, 64), Status::WrongState)?;
    made(new.destroy())?;
    console_on_memory()?;
    loads(&from)?;
    no_place()?;
    stale()?;
    refused_for("static", named("scos")?.destroy(), (Status::InvalidParameter, 1))?;
    refused("static", named("busy")?.add_memory(RAM, 4096), Status::WrongState)?;
    refused("no such core", core_left(127), Status::Range)?;
    ensure("no notice", made(take_notice())?.is_none())
}

fn from_load(
    into: Partition,
    program: &Program,
    to: Ipa,
    bytes: u64,
) -> Result<u64, partition::Refusal> {
    policy::load(into.who(), to, program.address(), bytes)
}

fn console_on_memory() -> Outcome {
    let new = made(Partition::create("new"))?;
    made(new.add_memory(Ipa(0x0900_0000), 4096))?;
    refused("a console there", new.set_console(true), Status::Exists)?;
    made(new.destroy())?;
    // The window of a vCPU more lies on its memory.
    let new = made(Partition::create("new"))?;
    made(new.set_limit(Resource::CoreTime, Some(900_000)))?;
    made(new.add_memory(Ipa(0x080c_0000), 4096))?;
    made(new.add_vcpu(&[CORE], Time::reserved(50, 10_000), 0))?;
    if gic::version() == gic::Version::V3 {
        let second = new.add_vcpu(&[CORE], Time::reserved(50, 10_000), 0);
        refused("a second vCPU there", second, Status::Exists)?;
    }
    let left = made(core_left(CORE))?;
    for _ in 0..8 {
        let _more = new.add_vcpu(&[CORE], Time::reserved(50, 10_000), 0);
    }
    let last = new.add_vcpu(&[CORE], Time::reserved(50, 10_000), 0);
    ensure("no ninth vCPU", last.is_err())?;
    ensure("what was refused is not promised", made(core_left(CORE))? >= left - 7 * 5_000)?;
    made(new.destroy())
}

fn loads(program: &Program) -> Outcome {
    let life = held("loaded", &Program::spins())?;
    refused("not aligned", from_load(life, program, Ipa(RAM.0 + 4), 64), Status::Alignment)?;
    refused("nor its size", from_load(life, program, RAM, 63), Status::Alignment)?;
    refused("outside", from_load(life, program, Ipa(RAM.0 + BYTES), 64), Status::Range)?;
    let nowhere = policy::load(life.who(), RAM, Ipa(0x70_0000_0000), 64);
    refused("from nowhere", nowhere, Status::Range)?;
    let own = policy::load(named("scos")?.who(), RAM, program.address(), 64);
    refused_for("to itself", own, (Status::InvalidParameter, 1))?;
    // Only what both have.
    equal("the end", made(from_load(life, program, Ipa(RAM.0 + BYTES - 8), 64))?, 8)?;
    let most = made(policy::load(life.who(), RAM, Ipa(program.address().0 & !0xfff), 1 << 20))?;
    ensure("bounded", most <= 64 << 10)?;
    Program::spins().load(life)?;
    made(life.start())?;
    wait_for(life, State::Active)?;
    refused("it runs", from_load(life, program, RAM, 64), Status::WrongState)?;
    refused("nor described", life.set_entry(RAM, 0), Status::WrongState)?;
    made(life.stop())?;
    ended(life, Cause::Stopped)?;
    made(life.destroy())
}

/// The description has four places.
fn no_place() -> Outcome {
    let mut all = [None; 4];
    for (place, name) in all.iter_mut().zip(["p0", "p1", "p2", "p3"]) {
        *place = Some(made(Partition::create(name))?);
    }
    refused("a fifth", Partition::create("p4"), Status::Full)?;
    for partition in all.into_iter().flatten() {
        made(partition.destroy())?;
    }
    Ok(())
}

fn stale() -> Outcome {
    let own = named("scos")?;
    let new = made(Partition::create("new"))?;
    let old = PartitionRef { id: PartitionId(new.id() - 1), ..new.who() };
    let nobody = PartitionRef { id: PartitionId(1), place: shikiri_abi::PartitionSlot(60) };
    for (who, status) in [(old, Status::PeerGone), (nobody, Status::NotFound)] {
        let it = Partition::from_ref(who);
        refused("destroy", it.destroy(), status)?;
        refused("vCPU", it.add_vcpu(&[CORE], TIME, 0), status)?;
        refused("memory", it.add_memory(RAM, 4096), status)?;
        refused("image", it.add_image(0, RAM), status)?;
        refused("entry", it.set_entry(RAM, 0), status)?;
        refused("console", it.set_console(true), status)?;
        refused("talk", it.set_talk(1, 1), status)?;
        refused("note", it.set_note(0, [1; 2]), status)?;
        refused("its note", it.note(0), status)?;
        refused("asker", permit(it, own), status)?;
        refused("asked", permit(own, it), status)?;
        refused("load", it.load(RAM, RAM, 8), status)?;
        refused("start", policy::start(who, Hold::No), status)?;
    }
    refused_for("itself", permit(new, new), (Status::InvalidParameter, 2))?;
    made(new.destroy())
}

fn peers() -> Outcome {
    let own = named("scos")?;
    let new = made(Partition::create("new"))?;
    let place = new.who().place.0;
    refused("nobody has said so", talk::peer(place), Status::NotPermitted)?;
    refused("nor its name", talk::peer_name(place), Status::NotPermitted)?;
    made(permit(own, new))?;
    let peer = made(talk::peer(place))?;
    ensure("it may be asked", peer.may_be_asked && !peer.may_ask && peer.id.is_none())?;
    ensure("its name", is_called(place, "new")?)?;
    made(permit(new, own))?;
    ensure("and may ask", made(talk::peer(place))?.may_ask)?;
    made(forbid(own, new))?;
    ensure("no more", !made(talk::peer(place))?.may_be_asked)?;
    made(new.destroy())?;
    // Whoever comes to the place is a stranger.
    let long = "one-whose-name-has-all-31-bytes";
    let other = made(Partition::create(long))?;
    equal("the same place", other.who().place.0.into(), place.into())?;
    refused("a stranger", talk::peer(place), Status::NotPermitted)?;
    refused("a stranger's name", talk::peer_name(place), Status::NotPermitted)?;
    made(permit(other, own))?;
    ensure("the name of one that may only ask", is_called(place, long)?)?;
    made(other.destroy())
}

/// Whether a peer has this name.
fn is_called(place: u8, expected: &str) -> Result<bool, Failure> {
    let name = made(talk::peer_name(place))?;
    let (text, zeros) = name.split_at(expected.len());
    Ok(text == expected.as_bytes() && zeros.iter().all(|byte| *byte == 0))
}

/// The SDK's `hello`, which needs a device tree: this partition's own fits, as both have memory at the same place.
fn from_the_bundle() -> Outcome {
    let tree = platform::platform().device_tree;
    let new = made(Partition::create("guest"))?;
    for (resource, limit) in [(Resource::Memory, 256), (Resource::CoreTime, 100_000)] {
        made(new.set_limit(resource, Some(limit)))?;
    }
    made(new.add_vcpu(&[CORE], TIME, 0))?;
    let start = Ipa(RAM.0 + 0x8_0000);
    made(new.add_memory(start, 128 << 12))?;
    made(new.add_memory(Ipa(tree & !0xffff), 0x2_0000))?;
    made(new.add_image(made(image("hello"))?, start))?;
    made(new.set_entry(start, tree))?;
    made(new.set_console(true))?;
    let life = made(new.start_held())?;
    wait_for(life, State::Held)?;
    // To the end of this partition's own memory.
    made(life.load(Ipa(tree), Ipa(tree), OWN_END.saturating_sub(tree).min(0x4000)))?;
    made(life.start())?;
    ended(life, Cause::Off)?;
    made(life.destroy())
}

fn life_of(number: u64) -> Outcome {
    let code = u32::try_from(number & 0x7fff).unwrap_or(0);
    let life = held("short", &Program::ends(code))?;
    made(life.start())?;
    ended(life, Cause::Code(code))?;
    made(life.destroy())
}

fn many() -> Outcome {
    let before = books()?;
    for number in 0..platform::number_of("lives").unwrap_or(20) {
        life_of(number)?;
    }
    ensure("no trace", books()? == before)
}

/// How long 40 ms take, in ticks, of a vCPU with 4 of each 10 ms on these cores.
fn time_on(cores: &[u8]) -> Result<u64, Failure> {
    let new = made(Partition::create("mover"))?;
    made(new.set_limit(Resource::Memory, Some(64)))?;
    made(new.set_limit(Resource::CoreTime, Some(400_000)))?;
    let home = made(new.add_vcpu(cores, Time::reserved(4_000, 10_000), 0))?;
    equal("its home", home, u64::from(CORE))?;
    made(new.add_memory(RAM, BYTES))?;
    made(new.set_entry(RAM, 0))?;
    let life = made(new.start_held())?;
    wait_for(life, State::Held)?;
    Program::runs_for(38).load(life)?;
    let (before, told) = (reg::now(), TOLD.load(Ordering::Acquire));
    made(life.start())?;
    // Asleep, so that this core takes none of the emulator's turns.
    sleep(told);
    ended(life, Cause::Code(3))?;
    let took = reg::now() - before;
    made(life.destroy())?;
    Ok(took)
}

/// Its home is taken for 60 of each 100 ms; the other core has more that is promised, and nothing to do.
pub(crate) fn moves() -> ! {
    case("a_vcpu_of_several_cores_runs_where_there_is_time", || {
        made(notify(port()?))?;
        let spins = made(Partition::create("spins"))?;
        made(spins.set_limit(Resource::Memory, Some(64)))?;
        made(spins.set_limit(Resource::CoreTime, Some(600_000)))?;
        made(spins.add_vcpu(&[CORE], Time::reserved(60_000, 100_000), 9))?;
        made(spins.add_memory(RAM, BYTES))?;
        made(spins.set_entry(RAM, 0))?;
        let spins = made(spins.start_held())?;
        wait_for(spins, State::Held)?;
        Program::spins().load(spins)?;
        made(spins.start())?;
        let at_home = time_on(&[CORE])?;
        let anywhere = time_on(&[CORE, CORE + 1])?;
        println!("at home {at_home} ticks, anywhere {anywhere}");
        ensure("sooner", anywhere < at_home / 4 * 3)?;
        made(spins.stop())?;
        ended(spins, Cause::Stopped)?;
        made(spins.destroy())
    });
    done()
}

/// A partition with a console, that says something and ends; it is destroyed at once, with its line still unfinished.
fn speaks(name: &str, text: [u8; 4]) -> Outcome {
    let new = described(name)?;
    made(new.set_console(true))?;
    let life = made(new.start_held())?;
    wait_for(life, State::Held)?;
    Program::says(text).load(life)?;
    made(life.start())?;
    ended(life, Cause::Code(9))?;
    made(life.destroy())
}

/// Whoever comes to a place where another's last words are still on their way.
pub(crate) fn last_words() -> ! {
    case("last_words_are_said_in_the_name_of_who_said_them", || {
        for _ in 0..5 {
            speaks("early", *b"lark")?;
            speaks("late", *b"owl.")?;
        }
        Ok(())
    });
    done()
}

/// One life for each that the operator gives to `step`, with the books to be looked at in between.
pub(crate) fn steps() -> ! {
    case("each_life_leaves_all_books_as_they_were", || {
        let lives = platform::number_of("lives").unwrap_or(20);
        let step = named("step")?.who().place;
        let before = books()?;
        for number in 0..lives {
            equal("the step", u64::from(notice()?.partition.who().place.0), step.0.into())?;
            life_of(number)?;
            ensure("no trace", books()? == before)?;
            println!("life {number} has ended");
        }
        Ok(())
    });
    done()
}

/// Leaves a partition that is created and nothing more.
pub(crate) fn undone() -> ! {
    case("one_is_created", || made(Partition::create("new")).map(|_| ()));
    done()
}

/// Partitions that were made outlive their maker's restart.
pub(crate) fn outlive() -> ! {
    let starts = partition::info().map_or(0, |info| info.starts);
    if starts == 1 {
        case("what_is_made_before_the_restart", || {
            made(held("spins", &Program::spins())?.start())?;
            held("held", &Program::ends(5))?;
            made(described("created")?.set_note(251, piece(251)))
        });
        psci::system_reset(Conduit::Hvc);
    }
    case("its_successor_goes_on_with_what_was_made", || {
        let own = notice()?;
        ensure("its own end", own.cause == Cause::Reset)?;
        let spins = named("spins")?;
        ensure("it runs on", made(spins.status())?.state == State::Active)?;
        let held = named("held")?;
        ensure("it waits on", made(held.status())?.state == State::Held)?;
        made(held.start())?;
        ended(held, Cause::Code(5))?;
        made(spins.stop())?;
        ended(spins, Cause::Stopped)?;
        let created = named("created")?;
        ensure("its note", made(created.note(251))? == piece(251))?;
        made(created.start())?;
        ended(created, Cause::Fault)?;
        for partition in [held, spins, created] {
            made(partition.destroy())?;
        }
        ensure("all is back", made(handout(Resource::Memory))?.1 == 0)
    });
    done()
}
