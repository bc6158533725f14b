//! The pages that a guest shares with the hypervisor, as structures, and assertions by which a compiler finds each word where the ABI
//! has it.

use shikiri_abi::channel::{
    ADDRESS, AREA, ARRIVALS, BYTES, CONNECTED, CONSUMED, ENTRY_WORDS, PAGES, POLLS, POSTED,
    SEQUENCE, SHORT, STARVED, STATE, entry,
};
use shikiri_abi::{MESSAGE_WORDS, PAGE_BYTES};

use super::define;
use crate::line;

/// Bytes of a word.
const WORD: usize = 8;

const PORT: &str = "
/* A message port's pages. Messages are counted from 0: number n lies in ring[n % SHIKIRI_ARRIVALS]. What orders the
 * accesses to them says hyp/abi/src/channel.rs; guest-sdk/c/echo.c does it. */";

const STRUCTURES: &str = "
struct shikiri_arrival {
    uint64_t sequence; /* number + 1 as soon as the message is there: load it with acquire, before the others */
    uint64_t area;     /* handle, or 0 */
    uint64_t address;  /* of the area */
    uint64_t bytes;    /* that are meant */
    uint64_t words[3]; /* the short message */
    uint64_t pages;    /* of the area */
};

/* Which the guest can only read. */
struct shikiri_arrivals {
    uint64_t state;   /* SHIKIRI_CONNECTED or not; in the bits above how often it was */
    uint64_t starved; /* not 0: the peer waits for a credit or a slot, CHANNEL_NOTIFY tells it of one */
    uint64_t reserved[6];
    struct shikiri_arrival ring[SHIKIRI_ARRIVALS];
};

/* Which the guest writes. */
struct shikiri_credits {
    uint64_t posted;   /* messages that it has offered to take, store it with release */
    uint64_t consumed; /* messages that it has taken */
    uint64_t polls;    /* not 0: it looks for messages by itself, no event tells of them */
    uint64_t reserved[509];
};

#if defined(__cplusplus)
#define SHIKIRI_ASSERT(what) static_assert(what, #what)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define SHIKIRI_ASSERT(what) _Static_assert(what, #what)
#else
#define SHIKIRI_ASSERT(what) extern char shikiri_assert[(what) ? 1 : -1]
#endif
";

/// Writes them.
pub(super) fn write(text: &mut String) {
    line(text, PORT.trim_end());
    define(text, "ARRIVALS", &ARRIVALS.to_string(), "entries of the ring");
    define(text, "CONNECTED", &CONNECTED.to_string(), "of the state: a peer is there");
    text.push_str(STRUCTURES);
    for (page, bytes) in [("arrivals", PAGE_BYTES), ("credits", PAGE_BYTES)] {
        assert_that(text, &format!("sizeof(struct shikiri_{page}) == {bytes}"));
    }
    assert_that(text, &format!("sizeof(struct shikiri_arrival) == {}", ENTRY_WORDS * WORD));
    for (structure, member, word) in [
        ("arrivals", "state", STATE),
        ("arrivals", "starved", STARVED),
        ("arrivals", "ring", entry(0)),
        ("arrival", "sequence", SEQUENCE),
        ("arrival", "area", AREA),
        ("arrival", "address", ADDRESS),
        ("arrival", "bytes", BYTES),
        ("arrival", "words", SHORT),
        ("arrival", "pages", PAGES),
        ("credits", "posted", POSTED),
        ("credits", "consumed", CONSUMED),
        ("credits", "polls", POLLS),
    ] {
        let offset = word.saturating_mul(WORD);
        assert_that(text, &format!("offsetof(struct shikiri_{structure}, {member}) == {offset}"));
    }
    let words = format!("sizeof(((struct shikiri_arrival *)0)->words) == {}", MESSAGE_WORDS * WORD);
    assert_that(text, &words);
    line(text, "#undef SHIKIRI_ASSERT");
}

fn assert_that(text: &mut String, what: &str) {
    line(text, &format!("SHIKIRI_ASSERT({what});"));
}
