//! Message areas and partitions that are made at run time: they have some and exchange them as others do, and their memory is loaded
//! from areas of this partition.
//!
//! There is one place for such partitions: 512 slots for areas come with it.

extern crate alloc;

use alloc::vec::Vec;

use shikiri_abi::{AreaClass, Ipa, Resource, Status, VcpuIndex, WindowSlot};
use shikiri_policy::{Cause, NewAreas, Partition, State, Time, image, permit};
use shikiri_rt::hvc::message::{self, Area};
use shikiri_rt::hvc::talk::Handle;
use shikiri_rt::hvc::{partition, policy};
use shikiri_rt::mmu::Access;
use shikiri_rt::{gic, heap};
use shikiri_test_guests::port::{Port, map_windows, read, set, word};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal, fault, taken};
use shikiri_tree::{Gic, Machine, Platform};

use crate::tools::{ended, made, named, refused, wait, wait_for};

pub(crate) const RAM: u64 = 0x4000_0000;
/// What is loaded: several MiB.
const IMAGE_BYTES: u64 = 6 << 20;
/// The server's memory.
pub(crate) const SERVER_BYTES: u64 = 4 << 20;
const CORE: u8 = 1;
/// The server's service: each area goes back.
const ECHO: u32 = 1;
const EVENT: u32 = 65;
const SLOTS: u16 = 2;
const SOME: NewAreas = NewAreas { pages: 8, blocks: 4, giants: 0, channels: 2, shares: 0 };

pub(crate) fn areas() -> ! {
    fault::catch_faults();
    case("there_is_a_heap_and_a_view_of_the_windows", || {
        ensure("windows", map_windows(Access::Data).is_ok())?;
        ensure("a heap", heap::init(16) > 0)
    });
    case("an_image_of_several_mib_is_loaded_from_an_area", load_from_an_area);
    case("areas_are_given_as_a_description_could", how_many);
    case("one_that_is_made_exchanges_areas_and_ends_with_some", exchange);
    done()
}

/// A partition with so many pages of memory, which begins there.
pub(crate) fn described(name: &str, bytes: u64) -> Result<Partition, Failure> {
    let new = made(Partition::create(name))?;
    made(new.set_limit(Resource::Memory, Some(4096)))?;
    made(new.set_limit(Resource::CoreTime, Some(300_000)))?;
    made(new.add_vcpu(&[CORE], Time::reserved(3_000, 10_000), 0))?;
    made(new.add_memory(Ipa(RAM), bytes))?;
    made(new.set_entry(Ipa(RAM), 0))?;
    Ok(new)
}

/// Ends its partition with the lowest 16 bits of the exclusive or of all words behind the first page.
const SUM: [u32; 14] = [
    0xd2a8_0009, // movz x9, #0x4000, lsl #16
    0xf282_0009, // movk x9, #0x1000
    0xd2a8_0c0a, // movz x10, #0x4060, lsl #16
    0xd280_000b, // movz x11, #0
    0xf840_852c, // ldr x12, [x9], #8
    0xca0c_016b, // eor x11, x11, x12
    0xeb0a_013f, // cmp x9, x10
    0x54ff_ffa3, // b.lo -12
    0xd280_0080, // movz x0, #4
    0xf2b8_c000, // movk x0, #0xc600, lsl #16: PARTITION_END
    0xd340_3d61, // ubfx x1, x11, #0, #16
    0xd400_0002, // hvc #0
    0x1400_0000, // b .
    0x1400_0000,
];

/// Stores the program, and a pattern behind its page; what the program finds.
fn fill(area: Ipa) -> Result<u32, Failure> {
    for (at, pair) in (0..).step_by(8).zip(SUM.chunks_exact(2)) {
        set(area.wrapping_add(at), u64::from(pair[0]) | u64::from(pair[1]) << 32)?;
    }
    let mut sum = 0;
    for at in (0x1000..IMAGE_BYTES).step_by(64) {
        let value = at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(29);
        set(area.wrapping_add(at), value)?;
        sum ^= value;
    }
    Ok(sum as u32 & 0xffff)
}

fn load_from_an_area() -> Outcome {
    let area = made(message::alloc(IMAGE_BYTES, AreaClass::Giant))?;
    let sum = fill(area.address)?;
    let life = made(described("loaded", IMAGE_BYTES)?.start_held())?;
    wait_for(life, State::Held)?;
    made(life.load(Ipa(RAM), area.address, IMAGE_BYTES))?;
    // The area stays this partition's, as it is.
    equal("the first word", word(area.address)?, u64::from(SUM[0]) | u64::from(SUM[1]) << 32)?;
    let load = |from, bytes| policy::load(life.who(), Ipa(RAM), from, bytes);
    let end = area.address.wrapping_add(IMAGE_BYTES);
    refused("behind its end", load(end, 8), Status::Range)?;
    equal("up to its end", made(load(Ipa(end.0 - 64), 4096))?, 64)?;
    let empty = WindowSlot { class: AreaClass::Block, index: 1 };
    refused("an empty slot", load(empty.ipa(), 8), Status::Range)?;
    made(taken::free(area.handle))?;
    refused("it is gone", load(area.address, 8), Status::Range)?;
    // What that load has left at the beginning is put right from another area, of two sizes of leaves.
    let again = made(message::alloc(0x3000, AreaClass::Block))?;
    for (at, pair) in (0..).step_by(8).zip(SUM.chunks_exact(2)) {
        set(again.address.wrapping_add(at), u64::from(pair[0]) | u64::from(pair[1]) << 32)?;
    }
    made(life.load(Ipa(RAM), again.address, 64))?;
    made(taken::free(again.handle))?;
    made(life.start())?;
    ended(life, Cause::Code(sum))?;
    made(life.destroy())
}

fn how_many() -> Outcome {
    let new = described("new", SERVER_BYTES)?;
    refused("no handles", new.set_areas(SOME), Status::Range)?;
    made(new.set_talk(16, 2))?;
    for wrong in [
        NewAreas { pages: 3, ..SOME },
        NewAreas { pages: 4097, ..SOME },
        NewAreas { giants: 511, ..SOME },
        NewAreas { shares: 65, ..SOME },
    ] {
        let refusal = new.set_areas(wrong).err().and_then(|refusal| refusal.status());
        ensure("out of range", matches!(refusal, Some(Status::Range | Status::Full)))?;
    }
    refused("all slots and one", new.set_areas(NewAreas { pages: 509, ..SOME }), Status::Full)?;
    for _ in 0..2 {
        made(new.set_areas(NewAreas { pages: 508, ..SOME }))?;
    }
    made(new.destroy())?;
    // They are back.
    let other = described("other", SERVER_BYTES)?;
    made(other.set_talk(16, 2))?;
    made(other.set_areas(NewAreas { pages: 508, ..SOME }))?;
    made(other.set_areas(NewAreas::default()))?;
    // Without handles there can be none when it starts.
    made(other.set_areas(SOME))?;
    made(other.set_talk(0, 0))?;
    refused("incomplete", other.start(), Status::WrongState)?;
    made(other.destroy())
}

/// A tree for a held partition, in its memory below its program.
pub(crate) fn load_tree(life: Partition, words: &str) -> Outcome {
    let gic = match gic::version() {
        gic::Version::V2 => Gic::V2,
        gic::Version::V3 => Gic::V3,
    };
    let blob = Machine {
        name: "made",
        gic,
        vcpus: 1,
        memory: &[(RAM, SERVER_BYTES)],
        platform: Platform::usual(gic),
        has_console: true,
        cmdline: Some(words),
        initrd: None,
    }
    .to_dtb();
    let loaded: Vec<u64> = blob
        .chunks(8)
        .map(|bytes| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_ne_bytes(word)
        })
        .collect();
    let start = loaded.as_ptr().expose_provenance() as u64;
    made(life.load(Ipa(RAM), Ipa(start), loaded.len() as u64 * 8))
}

/// A server of areas from nothing.
fn server() -> Result<Partition, Failure> {
    let new = described("server", SERVER_BYTES)?;
    let program = Ipa(RAM + 0x8_0000);
    made(new.add_image(made(image("channels"))?, program))?;
    made(new.set_entry(program, RAM))?;
    made(new.set_console(true))?;
    made(new.set_talk(16, 2))?;
    made(new.set_areas(SOME))?;
    made(permit(named("scos")?, new))?;
    let life = made(new.start_held())?;
    wait_for(life, State::Held)?;
    refused("not now", life.set_areas(SOME), Status::WrongState)?;
    load_tree(life, "role=server")?;
    made(life.start())
}

fn connect(life: Partition, class: AreaClass) -> Result<Port, Failure> {
    let mut port = Port::new(class, SLOTS, EVENT)?;
    wait("connected", || {
        let place = life.who().place.0;
        let _asked = message::connect(port.handle, place, ECHO, u64::from(class.code()));
        port.is_connected()
    })?;
    port.post(u64::from(SLOTS))?;
    Ok(port)
}

/// What the SDK tells of it, while it runs.
fn looked_into(life: Partition) -> Outcome {
    let mut from = 0;
    let mut things = 0;
    while let Some(thing) = made(life.thing(from))? {
        things += 1;
        from = thing.entry + 1;
    }
    ensure("something in its table", things > 0)?;
    ensure("its last exit", made(life.exit(VcpuIndex(0), 0))?.is_some())?;
    refused("no vCPU", life.exit(VcpuIndex(64), 0), Status::InvalidParameter)?;
    ensure("no such vCPU", made(life.exit(VcpuIndex(1), 0))?.is_none())?;
    let mut text = [0; 8];
    // It says nothing when all goes well.
    ensure("silent", made(life.written(0, &mut text))? == (0, 0))?;
    let (first, count) = made(named("scos")?.written(0, &mut text))?;
    ensure("what this one says", count == text.len() && (first > 0 || text == *b"ok there"))
}

fn exchange() -> Outcome {
    let before = made(partition::account(Resource::Memory))?.used;
    let life = server()?;
    for (class, bytes) in [(AreaClass::Page, 4096), (AreaClass::Block, 2 << 20)] {
        let mut port = connect(life, class)?;
        for round in 0..3 {
            let Area { handle, address, .. } = made(message::alloc(bytes, class))?;
            set(address, round)?;
            port.send(Some((handle, bytes)), [round, 0, 0])?;
            ensure("it has gone", read(address).is_err())?;
            let from_it = policy::load(life.who(), Ipa(RAM), address, 8);
            refused("not held", from_it, Status::WrongState)?;
            let message = port.wait_for_message()?;
            equal("the short message", message.short[0], round + 1)?;
            equal("the word", word(message.address)?, round + 1)?;
            made(taken::free(message.area.unwrap_or(Handle(0))))?;
            port.post(1)?;
        }
        looked_into(life)?;
        port.close()?;
    }
    // It ends with an area that it has been sent: it stands still, and does not send it back. A message before it shows that it
    // has posted credits.
    let mut port = connect(life, AreaClass::Block)?;
    port.send(None, [0; 3])?;
    equal("an answer", port.wait_for_message()?.short[0], 1)?;
    made(life.pause())?;
    let area = made(message::alloc(0x3000, AreaClass::Block))?;
    port.send(Some((area.handle, 0)), [0; 3])?;
    made(life.stop())?;
    wait("told of its end", || Ok(!port.is_connected()?))?;
    refused("send", taken::send(port.handle, None, [0; 3]), Status::PeerGone)?;
    port.close()?;
    ended(life, Cause::Stopped)?;
    equal("nothing used", made(life.account(Resource::Memory))?.used, 0)?;
    made(life.destroy())?;
    equal("this one's memory", made(partition::account(Resource::Memory))?.used, before)
}
