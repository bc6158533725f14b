//! Two users of one area at the same time: the first may only read it, drives the owner and is driven out; the second writes to it
//! without end, and goes on until the first has left.

use shikiri_abi::{AreaClass, Ipa, Status};
use shikiri_rt::hvc::shared::{self, Access};
use shikiri_rt::{platform, reg};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{Failure, case, done, ensure, equal, taken};

use crate::tools::{
    END, FIXED_BOARD, FIXED_TABLE, LOOK, READ, REVOKE, WRITE, made, read, refused, set,
    take_events, told, wait, wait_for_event, word, write,
};
use crate::user::{Attached, Control, answered, owner, used};

/// What both ask for.
const PAGES: u64 = 3;
const CLASS: AreaClass = AreaClass::Block;
/// In the area: what the second counts.
const COUNT: u64 = 8;
/// In the area that commands go through: the first one has left the other.
const HAS_LEFT: u64 = 64;

/// Whether the second counts further than it had when this is called.
fn counts(look: &mut dyn FnMut() -> Result<u64, Failure>) -> Outcome {
    let was = look()?;
    wait("it counts", || Ok(look()? > was))
}

pub(crate) fn first() -> Outcome {
    let before = used()?;
    let mut control = Control::new()?;
    let area = Attached::new(READ, PAGES, CLASS)?;
    ensure("it may only read", answered(area.at.handle)?.access == Access::ReadOnly)?;
    counts(&mut || word(area.word(COUNT)))?;
    ensure("a store faults", write(area.word(COUNT), 0).is_err())?;
    let events = told();
    equal("revoked", control.tell(REVOKE, 0, 0)?, 0)?;
    ensure("a load faults", read(area.word(COUNT)).is_err())?;
    wait_for_event(events)?;
    take_events();
    refused("the state", shared::state(area.at.handle), Status::PeerGone)?;
    counts(&mut || control.tell(LOOK, COUNT, 0))?;
    ensure("a load still faults", read(area.word(COUNT)).is_err())?;
    // It may be there again, and both go on when the owner ends.
    made(shared::connect(area.at.handle, owner(), READ, 0))?;
    answered(area.at.handle)?;
    counts(&mut || word(area.word(COUNT)))?;
    take_events();
    control.begin(END, 0, 0)?;
    wait("the owner has left", || Ok(answered(area.at.handle)?.is_left))?;
    counts(&mut || word(area.word(COUNT)))?;
    ensure("a store still faults", write(area.word(COUNT), 0).is_err())?;
    area.leave()?;
    set(control.word(HAS_LEFT), 1)?;
    control.leave()?;
    ensure("all is refunded", used()? == before)
}

pub(crate) fn second() -> ! {
    if platform::has_word("fixed") {
        case("areas_of_the_description_are_there_for_three", fixed);
        done()
    }
    case("a_second_user_goes_on_whatever_becomes_of_the_first", || {
        let before = used()?;
        let control = Control::new()?;
        let area = Attached::new(WRITE, PAGES, CLASS)?;
        let mut count = 0;
        while word(control.word(HAS_LEFT))? == 0 {
            equal("what it wrote", word(area.word(COUNT))?, count)?;
            count += 1;
            set(area.word(COUNT), count)?;
            reg::yield_now();
        }
        wait("the owner has left", || Ok(answered(area.at.handle)?.is_left))?;
        // It alone has the frames now, each as it was.
        for offset in (0..PAGES << 12).step_by(1024) {
            let was = if offset == 0 { 0 } else { word(area.word(offset))? };
            equal("untouched", was, 0)?;
            set(area.word(offset), !offset)?;
        }
        equal("what it counted", word(area.word(COUNT))?, count)?;
        area.leave()?;
        control.leave()?;
        ensure("all is refunded", used()? == before)
    });
    done()
}

/// The third of two areas of the description: it writes in one, and reads in the other how often the owner has started.
fn fixed() -> Outcome {
    let (board, table) = (answered(FIXED_BOARD)?, answered(FIXED_TABLE)?);
    ensure("rights", board.access == Access::ReadWrite && table.access == Access::ReadOnly)?;
    let own: Ipa = board.address.wrapping_add(512);
    let starts = table.address.wrapping_add(0x2ff8);
    for start in 1..=3 {
        wait("the owner has started", || Ok(word(starts)? >= start))?;
        ensure("a store faults", write(starts, 9).is_err())?;
        equal("what it wrote", word(own)?, start - 1)?;
        set(own, start)?;
    }
    made(taken::detach(FIXED_BOARD))?;
    ensure("a load faults", read(own).is_err())
}
