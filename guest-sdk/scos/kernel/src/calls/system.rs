//! What a program asks about the system.

use shikiri_scos_files::Errno;

use crate::arch;
use crate::user::{Answer, User, buffer, done, value};

const RLIMIT_STACK: u32 = 3;
const RLIMIT_NPROC: u32 = 6;
const RLIMIT_NOFILE: u32 = 7;
const RLIMITS: u32 = 16;
const PR_SET_NAME: u32 = 15;
const PR_GET_NAME: u32 = 16;
const NAME_BYTES: usize = 16;
/// Bytes of each text of `struct utsname`.
const TEXT_BYTES: usize = 65;

pub(super) fn uname(user: &mut User<'_>) -> Answer {
    let texts: [&[u8]; 6] = [
        b"Shikiri",
        b"scos",
        b"6.1.0-scos",
        env!("CARGO_PKG_VERSION").as_bytes(),
        b"aarch64",
        b"(none)",
    ];
    let mut bytes = [0; TEXT_BYTES * 6];
    for (place, text) in bytes.chunks_exact_mut(TEXT_BYTES).zip(texts) {
        if let Some(place) = place.get_mut(..text.len()) {
            place.copy_from_slice(text);
        }
    }
    user.write(user.long(0), &bytes)?;
    done()
}

pub(super) fn getrandom(user: &mut User<'_>) -> Answer {
    let (address, count) = (user.long(0), user.long(1));
    if user.word(2) & !7 != 0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = buffer(count);
    let mut state = arch::random_word();
    for piece in bytes.chunks_mut(8) {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = (word ^ (word >> 31)).to_le_bytes();
        piece.copy_from_slice(word.get(..piece.len()).unwrap_or(&[]));
    }
    user.write(address, &bytes)?;
    value(bytes.len())
}

pub(super) fn prlimit64(user: &mut User<'_>) -> Answer {
    let (id, resource, new, old) = (user.int(0), user.word(1), user.long(2), user.long(3));
    if resource >= RLIMITS {
        return Err(Errno::EINVAL);
    }
    if id != 0 && u32::try_from(id).ok() != Some(user.process) {
        return Err(Errno::ESRCH);
    }
    let wanted = match new {
        0 => None,
        address => Some((user.read_long(address)?, user.read_long(address.wrapping_add(8))?)),
    };
    if old != 0 {
        let present = match resource {
            RLIMIT_STACK => 8 << 20,
            RLIMIT_NPROC => 200,
            RLIMIT_NOFILE => u64::from(user.me()?.descriptors.limit()),
            _ => u64::MAX,
        };
        let most = if resource == RLIMIT_NOFILE { 1024 } else { present };
        let mut bytes = [0; 16];
        let (soft, hard) = bytes.split_at_mut(8);
        soft.copy_from_slice(&present.to_le_bytes());
        hard.copy_from_slice(&most.to_le_bytes());
        user.write(old, &bytes)?;
    }
    if let Some((soft, hard)) = wanted {
        if soft > hard {
            return Err(Errno::EINVAL);
        }
        if resource == RLIMIT_NOFILE {
            user.me()?.descriptors.set_limit(u32::try_from(soft).unwrap_or(u32::MAX));
        }
    }
    done()
}

pub(super) fn getrusage(user: &mut User<'_>) -> Answer {
    if !matches!(user.int(0), -1..=1) {
        return Err(Errno::EINVAL);
    }
    user.write(user.long(1), &[0; 144])?;
    done()
}

pub(super) fn prctl(user: &mut User<'_>) -> Answer {
    match user.word(0) {
        PR_SET_NAME => {
            let address = user.long(1);
            let mut name = alloc::vec::Vec::new();
            for index in 0..NAME_BYTES as u64 - 1 {
                let [byte] = user.read_array(address.wrapping_add(index))?;
                if byte == 0 {
                    break;
                }
                name.push(byte);
            }
            user.me()?.name = alloc::string::String::from_utf8_lossy(&name).into_owned();
            done()
        }
        PR_GET_NAME => {
            let mut bytes = [0; NAME_BYTES];
            let name = user.me()?.name.clone();
            for (place, byte) in bytes.iter_mut().take(NAME_BYTES - 1).zip(name.bytes()) {
                *place = byte;
            }
            user.write(user.long(1), &bytes)?;
            done()
        }
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn sysinfo(user: &mut User<'_>) -> Answer {
    let seconds = user.now() / crate::clock::SECOND_NS;
    let page = shikiri_scos_core::PAGE;
    let (total, free) = (user.kernel.pool.count() as u64, user.kernel.pool.free() as u64);
    let processes = u16::try_from(user.kernel.processes.len()).unwrap_or(u16::MAX);
    let mut bytes = [0; 112];
    let mut put = |at: usize, field: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + field.len()) {
            place.copy_from_slice(field);
        }
    };
    put(0, &seconds.to_le_bytes());
    put(32, &(total * page).to_le_bytes());
    put(40, &(free * page).to_le_bytes());
    put(80, &processes.to_le_bytes());
    put(104, &1_u32.to_le_bytes());
    user.write(user.long(0), &bytes)?;
    done()
}
