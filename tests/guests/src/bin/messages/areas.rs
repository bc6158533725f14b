//! Areas as values.

use shikiri_channel::{Area, AreaClass, Why};
use shikiri_test_guests::report::Outcome;
use shikiri_test_guests::{ensure, equal};

use crate::tools::{came, charged_back, connect, made, sent, service, there, windows};

pub(crate) fn owned() -> Outcome {
    charged_back(|| {
        for (class, bytes) in
            [(AreaClass::Page, 100), (AreaClass::Block, 0x3001), (AreaClass::Block, 2 << 20)]
        {
            let mut area = made(Area::alloc(windows()?, class, bytes))?;
            equal("length", area.len() as u64, bytes as u64)?;
            equal("capacity", area.capacity() as u64, bytes.next_multiple_of(4096) as u64)?;
            ensure("cleared", area.iter().all(|byte| *byte == 0))?;
            area.fill(0xa5);
            ensure("written", area.iter().all(|byte| *byte == 0xa5))?;
            area.set_len(usize::MAX);
            equal("at most its capacity", area.len() as u64, area.capacity() as u64)?;
            ensure("its own", made(area.keep()).is_ok() && !area.is_in_window())?;
        }
        let too_large = Area::alloc(windows()?, AreaClass::Page, 4097);
        ensure("a class holds what it holds", too_large.is_err())
    })
}

pub(crate) fn split() -> Outcome {
    charged_back(|| {
        for (bytes, stays) in [(0x5000, 0x2001), (2 << 20, 4096), (2 << 20, 0x10_0000)] {
            let mut area = made(Area::alloc(windows()?, AreaClass::Block, bytes))?;
            area.fill(1);
            area.get_mut(stays..).into_iter().flatten().for_each(|byte| *byte = 2);
            for no_part in [0, bytes] {
                let refused = area.split_off(windows()?, AreaClass::Block, no_part).is_err();
                ensure("both parts have a page", refused)?;
                equal("it is as it was", area.capacity() as u64, bytes as u64)?;
                equal("and its length", area.len() as u64, bytes as u64)?;
            }
            let tail = made(area.split_off(windows()?, AreaClass::Block, stays))?;
            let whole = stays.next_multiple_of(4096);
            equal("what stays", area.capacity() as u64, whole as u64)?;
            equal("its length", area.len() as u64, stays as u64)?;
            equal("what goes", tail.len() as u64, (bytes - whole) as u64)?;
            ensure("the first part", area.iter().all(|byte| *byte == 1))?;
            ensure("the other", tail.iter().all(|byte| *byte == 2))?;
            ensure("by itself", tail.class() == AreaClass::Block && !tail.is_in_window())?;
            drop(tail);
            made(area.trim(4096))?;
            equal("shorter", area.capacity() as u64, 4096)?;
            equal("no longer than that", area.len() as u64, stays.min(4096) as u64)?;
            ensure("a page stays", area.trim(0).is_err() && area.capacity() == 4096)?;
            equal("all of it is meant", area.len() as u64, stays.min(4096) as u64)?;
        }
        Ok(())
    })
}

pub(crate) fn there_and_back() -> Outcome {
    charged_back(|| {
        for (class, bytes) in
            [(AreaClass::Page, 4096), (AreaClass::Block, 0x3000), (AreaClass::Block, 2 << 20)]
        {
            let channel = connect(service::ECHO, class)?;
            let mut area = made(Area::alloc(windows()?, class, bytes))?;
            area.fill(7);
            area.set_len(bytes - 5);
            sent(channel.send(area, [1, 2, 3]))?;
            let message = came(channel.receive())?;
            ensure("the short message", message.short == [2, 3, 4])?;
            let area = there("an area", message.area)?;
            ensure("in the window", area.is_in_window() && area.class() == class)?;
            equal("what is meant", area.len() as u64, bytes as u64 - 5)?;
            ensure("first", area.first() == Some(&8) && area.last() == Some(&7))?;
        }
        Ok(())
    })
}

pub(crate) fn another_class() -> Outcome {
    charged_back(|| {
        let channel = connect(service::ECHO, AreaClass::Block)?;
        let mut area = made(Area::alloc(windows()?, AreaClass::Page, 9))?;
        area.fill(3);
        let handle = area.handle();
        let Err(back) = channel.send(area, [0; 3]) else { return ensure("refused", false) };
        ensure("why", back.why == Why::NoSuchWindow)?;
        ensure("the same", back.cargo.handle() == handle && back.cargo[..] == [3; 9])
    })
}

pub(crate) fn kept() -> Outcome {
    charged_back(|| {
        let channel = connect(service::ECHO, AreaClass::Page)?;
        let mut mine = [None, None, None];
        // More than the window has slots: what is kept leaves its slot.
        for (number, place) in (1..).zip(&mut mine) {
            let mut area = made(Area::alloc(windows()?, AreaClass::Page, 4096))?;
            area.fill(number);
            sent(channel.send(area, [0; 3]))?;
            let mut area = there("an area", came(channel.receive())?.area)?;
            made(area.keep())?;
            ensure("kept", !area.is_in_window())?;
            *place = Some(area);
        }
        // One is in the window when the port goes.
        let area = made(Area::alloc(windows()?, AreaClass::Page, 1))?;
        sent(channel.send(area, [0; 3]))?;
        let mut last = there("an area", came(channel.receive())?.area)?;
        drop(channel);
        for (number, area) in (1_u8..).zip(mine.iter().flatten()) {
            ensure(
                "as it was",
                area.first() == Some(&(number + 1)) && area.last() == Some(&number),
            )?;
        }
        ensure("as it came", last[..] == [1])?;
        made(last.keep())
    })
}
