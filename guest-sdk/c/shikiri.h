/* Hypercalls of Shikiri, for guests in C and C++ (from C99 and C++11 on; GCC or Clang).
 *
 * Generated from the call table (hyp/abi/src/call.rs): `UPDATE=1 cargo test -p shikiri-abi` writes it.
 * The reference with all registers is hyp/doc/abi.md.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef SHIKIRI_H
#define SHIKIRI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Function ids (SMCCC, vendor-specific hypervisor service). */
#define SHIKIRI_CALL_UID 0x8600ff01u
#define SHIKIRI_REVISION 0x8600ff03u
#define SHIKIRI_NULL 0xc6000000u
#define SHIKIRI_FEATURE 0xc6000001u
#define SHIKIRI_PARTITION_INFO 0xc6000002u
#define SHIKIRI_ACCOUNT_READ 0xc6000003u
#define SHIKIRI_PARTITION_END 0xc6000004u
#define SHIKIRI_REQUEST 0xc6000005u
#define SHIKIRI_REQUEST_STATE 0xc6000006u
#define SHIKIRI_REQUEST_CANCEL 0xc6000007u
#define SHIKIRI_PEER_NAME 0xc6000008u
#define SHIKIRI_HANDLE_LIMIT 0xc6000009u
#define SHIKIRI_EVENT_CREATE_SEND 0xc6000010u
#define SHIKIRI_EVENT_CREATE_RECEIVE 0xc6000011u
#define SHIKIRI_EVENT_CONNECT 0xc6000012u
#define SHIKIRI_EVENT_BIND 0xc6000013u
#define SHIKIRI_EVENT_MASK 0xc6000014u
#define SHIKIRI_EVENT_STATE 0xc6000015u
#define SHIKIRI_EVENT_POLL 0xc6000016u
#define SHIKIRI_EVENT_TAKE 0xc6000017u
#define SHIKIRI_EVENT_SEND 0xc6000018u
#define SHIKIRI_HANDLE_CLOSE 0xc6000019u
#define SHIKIRI_SIGNAL_NOTIFY 0xc600001au
#define SHIKIRI_SIGNAL_ASK 0xc600001bu
#define SHIKIRI_SIGNAL_TAKE 0xc600001cu
#define SHIKIRI_SIGNAL_ACCEPT 0xc600001du
#define SHIKIRI_SIGNAL_REFUSE 0xc600001eu
#define SHIKIRI_PEER_INFO 0xc600001fu
#define SHIKIRI_AREA_ALLOC 0xc6000020u
#define SHIKIRI_AREA_FREE 0xc6000021u
#define SHIKIRI_AREA_INFO 0xc6000022u
#define SHIKIRI_AREA_KEEP 0xc6000023u
#define SHIKIRI_AREA_TRIM 0xc6000024u
#define SHIKIRI_AREA_SPLIT 0xc6000025u
#define SHIKIRI_CHANNEL_CREATE 0xc6000028u
#define SHIKIRI_CHANNEL_CONNECT 0xc6000029u
#define SHIKIRI_CHANNEL_ACCEPT 0xc600002au
#define SHIKIRI_CHANNEL_SEND 0xc600002bu
#define SHIKIRI_CHANNEL_NOTIFY 0xc600002cu
#define SHIKIRI_CHANNEL_CLOSE 0xc600002du
#define SHIKIRI_EVENT_PAGE 0xc600002eu
#define SHIKIRI_SHARED_OFFER 0xc6000030u
#define SHIKIRI_SHARED_WITHDRAW 0xc6000031u
#define SHIKIRI_SHARED_REVOKE 0xc6000032u
#define SHIKIRI_SHARED_CREATE 0xc6000033u
#define SHIKIRI_SHARED_CONNECT 0xc6000034u
#define SHIKIRI_SHARED_ACCEPT 0xc6000035u
#define SHIKIRI_SHARED_STATE 0xc6000036u
#define SHIKIRI_SHARED_DETACH 0xc6000037u
#define SHIKIRI_OBJECT_OPEN 0xc6000038u
#define SHIKIRI_OBJECT_WAIT 0xc6000039u
#define SHIKIRI_OBJECT_POST 0xc600003au
#define SHIKIRI_OBJECT_NOTIFY 0xc600003bu
#define SHIKIRI_OBJECT_CLOSE 0xc600003cu
#define SHIKIRI_PARTITION_LIST 0xc6000100u
#define SHIKIRI_PARTITION_NAME 0xc6000101u
#define SHIKIRI_LIMIT_READ 0xc6000102u
#define SHIKIRI_LIMIT_SET 0xc6000103u
#define SHIKIRI_PARTITION_START 0xc6000104u
#define SHIKIRI_PARTITION_STOP 0xc6000105u
#define SHIKIRI_PARTITION_RESTART 0xc6000106u
#define SHIKIRI_PARTITION_PAUSE 0xc6000107u
#define SHIKIRI_PARTITION_RESUME 0xc6000108u
#define SHIKIRI_POLICY_NOTIFY 0xc6000109u
#define SHIKIRI_NOTICE_TAKE 0xc600010au
#define SHIKIRI_PARTITION_CREATE 0xc6000110u
#define SHIKIRI_PARTITION_DESTROY 0xc6000111u
#define SHIKIRI_VCPU_ADD 0xc6000112u
#define SHIKIRI_MEMORY_ADD 0xc6000113u
#define SHIKIRI_IMAGE_ADD 0xc6000114u
#define SHIKIRI_ENTRY_SET 0xc6000115u
#define SHIKIRI_CONSOLE_SET 0xc6000116u
#define SHIKIRI_TALK_SET 0xc6000117u
#define SHIKIRI_PEERS_SET 0xc6000118u
#define SHIKIRI_PARTITION_LOAD 0xc6000119u
#define SHIKIRI_HANDOUT_READ 0xc600011au
#define SHIKIRI_IMAGE_INFO 0xc600011bu
#define SHIKIRI_CORE_READ 0xc600011cu
#define SHIKIRI_AREAS_SET 0xc600011du
#define SHIKIRI_DEVICE_ADD 0xc600011eu
#define SHIKIRI_REQUEST_TAKE 0xc6000120u
#define SHIKIRI_REQUEST_ANSWER 0xc6000121u
#define SHIKIRI_NOTE_SET 0xc6000122u
#define SHIKIRI_NOTE_READ 0xc6000123u
#define SHIKIRI_CONSOLE_READ 0xc6000128u
#define SHIKIRI_CONSOLE_FOCUS 0xc6000129u
#define SHIKIRI_PORT_READ 0xc600012au
#define SHIKIRI_EXIT_READ 0xc600012bu
#define SHIKIRI_NUMBER(id) ((id) & 0xffffu) /* a call's number, as FEATURE wants it */

/* The revision of this header, as REVISION answers it. */
#define SHIKIRI_REVISION_MAJOR 0
#define SHIKIRI_REVISION_MINOR 6

/* The four words that CALL_UID answers. */
#define SHIKIRI_UID {0xc2a5e0b6u, 0x384e1f7du, 0x68534b9au, 0x6972696bu}

/* What x0 says. */
enum shikiri_status {
    SHIKIRI_OK = 0,                  /* done */
    SHIKIRI_PENDING = 1,             /* accepted, the answer follows as an event */
    SHIKIRI_NOT_SUPPORTED = -1,      /* no such call, or none here */
    SHIKIRI_INVALID_PARAMETER = -3,  /* bad argument */
    SHIKIRI_BAD_HANDLE = -16,        /* bad handle */
    SHIKIRI_NOT_PERMITTED = -17,     /* not permitted */
    SHIKIRI_DENIED_BY_POLICY = -18,  /* denied by policy */
    SHIKIRI_WRONG_STATE = -19,       /* wrong state */
    SHIKIRI_NOT_OWNER = -20,         /* not the owner */
    SHIKIRI_OVER_LIMIT = -21,        /* over the account's limit */
    SHIKIRI_NO_MEMORY = -22,         /* out of memory */
    SHIKIRI_RANGE = -23,             /* out of range */
    SHIKIRI_ALIGNMENT = -24,         /* not aligned */
    SHIKIRI_EMPTY = -25,             /* empty */
    SHIKIRI_FULL = -26,              /* full */
    SHIKIRI_AGAIN = -27,             /* call again */
    SHIKIRI_REFUSED = -28,           /* refused by the peer */
    SHIKIRI_PEER_GONE = -29,         /* peer gone */
    SHIKIRI_EXISTS = -30,            /* exists */
    SHIKIRI_NOT_FOUND = -31,         /* not found */
};

/* Lines of an account. */
enum shikiri_resource {
    SHIKIRI_RESOURCE_CORE_TIME = 0,
    SHIKIRI_RESOURCE_IPA_SPACE = 1,
    SHIKIRI_RESOURCE_MEMORY = 2,
    SHIKIRI_RESOURCE_MANAGEMENT_MEMORY = 3,
    SHIKIRI_RESOURCE_EVENT_PORTS = 4,
    SHIKIRI_RESOURCE_DEVICES = 5,
    SHIKIRI_RESOURCE_CACHE_SHARE = 6,
    SHIKIRI_RESOURCE_BUS_SHARE = 7,
};
#define SHIKIRI_UNSET UINT64_MAX /* a limit that there is not */

/* What REQUEST asks for, beside those: core time is the resource's number. */
#define SHIKIRI_WISH_PEER 16
#define SHIKIRI_WISH_VCPUS 17
#define SHIKIRI_WISH_DEVICE 18

/* EVENT_BIND: whose the interrupt is. */
#define SHIKIRI_SHARING_ALONE 0
#define SHIKIRI_SHARING_GROUPED 1

/* What a control signal asks for, in SIGNAL_TAKE's request. */
#define SHIKIRI_ASKS_EVENT_CONNECTION 0
#define SHIKIRI_ASKS_MESSAGE_CHANNEL 1
#define SHIKIRI_ASKS_SHARED_AREA 2
#define SHIKIRI_SIGNAL_KIND(request) ((request) >> 56)
#define SHIKIRI_SIGNAL_HANDLE(request) ((request) & UINT64_C(0xffffffffffffff))

/* Message areas: classes, the most slots of a window, and where the window region starts. */
#define SHIKIRI_CLASS_PAGE 0 /* 1 page */
#define SHIKIRI_CLASS_BLOCK 1 /* 512 pages */
#define SHIKIRI_CLASS_GIANT 2 /* 262144 pages */
#define SHIKIRI_PAGE_BYTES 4096
#define SHIKIRI_WINDOW_SLOTS 60
#define SHIKIRI_WINDOWS UINT64_C(0x8000000000) /* an intermediate physical address */

/* SHARED_ACCEPT: what the asker may do. */
#define SHIKIRI_ACCESS_READ 0
#define SHIKIRI_ACCESS_WRITE 1

/* Named objects: kinds, what becomes of a semaphore's unit that was taken, and names. */
#define SHIKIRI_OBJECT_EVENT 1
#define SHIKIRI_OBJECT_SEMAPHORE 2
#define SHIKIRI_OBJECT_QUEUE 3
#define SHIKIRI_UNITS_HELD 0 /* until its holder posts it back, closes, or ends */
#define SHIKIRI_UNITS_SPENT 1 /* for good */
#define SHIKIRI_OBJECT_NAME_BYTES 63 /* at most */
#define SHIKIRI_OBJECT_NAME_ALIGN 64 /* what a name's address is a multiple of */
#define SHIKIRI_QUEUE_DEPTH 64 /* the most messages that wait */
#define SHIKIRI_MESSAGE_WORDS 3 /* of a queue's message */

/* PARTITION_LIST: where a partition stands, bits 0 to 7 of value[1]. */
enum shikiri_state {
    SHIKIRI_STATE_CREATED = 1,
    SHIKIRI_STATE_BUILDING = 2, /* being built */
    SHIKIRI_STATE_HELD = 3,
    SHIKIRI_STATE_ACTIVE = 4,
    SHIKIRI_STATE_PAUSED = 5,
    SHIKIRI_STATE_ENDING = 6,
    SHIKIRI_STATE_ENDED = 7,
    SHIKIRI_STATE_LEAVING = 8, /* being destroyed */
};

/* Why it ended: bits 0 to 7 of NOTICE_TAKE's value[1], bits 8 to 15 of PARTITION_LIST's; 0: it did not. */
enum shikiri_cause {
    SHIKIRI_CAUSE_OFF = 1,                /* powered itself off */
    SHIKIRI_CAUSE_RESET = 2,              /* asked for a reset */
    SHIKIRI_CAUSE_CODE = 3,               /* ended itself with a code */
    SHIKIRI_CAUSE_FAULT = 4,              /* faulted */
    SHIKIRI_CAUSE_OPERATOR = 5,           /* was stopped by the operator */
    SHIKIRI_CAUSE_OPERATOR_RESTART = 6,   /* was restarted by the operator */
    SHIKIRI_CAUSE_NOT_BUILT = 7,          /* could not be started */
    SHIKIRI_CAUSE_POLICY = 8,             /* was stopped by the policy program */
    SHIKIRI_CAUSE_POLICY_RESTART = 9,     /* was restarted by the policy program */
};

/* PORT_READ: what an entry is, bits 16 to 23 of value[0]. */
enum shikiri_thing {
    SHIKIRI_THING_SEND_PORT = 1,          /* an event send port */
    SHIKIRI_THING_RECEIVE_PORT = 2,       /* an event receive port */
    SHIKIRI_THING_EVENT_REQUEST = 3,      /* a request for an event port */
    SHIKIRI_THING_MESSAGE_PORT = 4,       /* a message port */
    SHIKIRI_THING_CHANNEL_REQUEST = 5,    /* a request for a message channel */
    SHIKIRI_THING_AREA = 6,               /* an area */
    SHIKIRI_THING_OBJECT = 8,             /* an object */
    SHIKIRI_THING_SHARED_AREA = 9,        /* a shared area */
    SHIKIRI_THING_AREA_REQUEST = 10,      /* a request for one */
};

/* And how it stands: bits 24 to 31, but of a receive port, whose bits are in the call's comment. */
enum shikiri_stand {
    SHIKIRI_STAND_IDLE = 1,               /* not connected */
    SHIKIRI_STAND_WAITS = 2,              /* its request waits */
    SHIKIRI_STAND_TAKEN = 3,              /* its request was taken */
    SHIKIRI_STAND_CONNECTED = 4,          /* connected */
    SHIKIRI_STAND_REFUSED = 5,            /* refused */
    SHIKIRI_STAND_GONE = 6,               /* its peer has gone */
};

/* PARTITION_START: whether it is held when it is built. */
#define SHIKIRI_HOLD_NO 0
#define SHIKIRI_HOLD_WHEN_BUILT 1
#define SHIKIRI_HOLD_OVER 2 /* no life begins, one that is held runs */

/* A message port's pages. Messages are counted from 0: number n lies in ring[n % SHIKIRI_ARRIVALS]. What orders the
 * accesses to them says hyp/abi/src/channel.rs; guest-sdk/c/echo.c does it. */
#define SHIKIRI_ARRIVALS 63 /* entries of the ring */
#define SHIKIRI_CONNECTED 1 /* of the state: a peer is there */

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
SHIKIRI_ASSERT(sizeof(struct shikiri_arrivals) == 4096);
SHIKIRI_ASSERT(sizeof(struct shikiri_credits) == 4096);
SHIKIRI_ASSERT(sizeof(struct shikiri_arrival) == 64);
SHIKIRI_ASSERT(offsetof(struct shikiri_arrivals, state) == 0);
SHIKIRI_ASSERT(offsetof(struct shikiri_arrivals, starved) == 8);
SHIKIRI_ASSERT(offsetof(struct shikiri_arrivals, ring) == 64);
SHIKIRI_ASSERT(offsetof(struct shikiri_arrival, sequence) == 0);
SHIKIRI_ASSERT(offsetof(struct shikiri_arrival, area) == 8);
SHIKIRI_ASSERT(offsetof(struct shikiri_arrival, address) == 16);
SHIKIRI_ASSERT(offsetof(struct shikiri_arrival, bytes) == 24);
SHIKIRI_ASSERT(offsetof(struct shikiri_arrival, words) == 32);
SHIKIRI_ASSERT(offsetof(struct shikiri_arrival, pages) == 56);
SHIKIRI_ASSERT(offsetof(struct shikiri_credits, posted) == 0);
SHIKIRI_ASSERT(offsetof(struct shikiri_credits, consumed) == 8);
SHIKIRI_ASSERT(offsetof(struct shikiri_credits, polls) == 16);
SHIKIRI_ASSERT(sizeof(((struct shikiri_arrival *)0)->words) == 24);
#undef SHIKIRI_ASSERT

/* What a call answers: x0, and x1 to x3. */
struct shikiri_answer {
    int64_t status;    /* enum shikiri_status */
    uint64_t value[3]; /* 0 where unused */
};

#if defined(__aarch64__)
/* Calls by number. The hypervisor keeps x4 to x30; it may read and write memory whose address it is given or has
 * mapped, such as a message port's pages, so that the compiler must not keep any of it in registers. */
static inline struct shikiri_answer shikiri_call(uint32_t id, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                                                 uint64_t a5, uint64_t a6)
{
    register uint64_t x0 __asm__("x0") = id;
    register uint64_t x1 __asm__("x1") = a1;
    register uint64_t x2 __asm__("x2") = a2;
    register uint64_t x3 __asm__("x3") = a3;
    register uint64_t x4 __asm__("x4") = a4;
    register uint64_t x5 __asm__("x5") = a5;
    register uint64_t x6 __asm__("x6") = a6;
    __asm__ volatile("hvc #0"
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
                     : "r"(x4), "r"(x5), "r"(x6)
                     : "memory");
    struct shikiri_answer answer = {(int64_t)x0, {x1, x2, x3}};
    return answer;
}
#else
/* Elsewhere there is no hypervisor: a test of a guest's code that runs where it is built answers by itself. */
struct shikiri_answer shikiri_call(uint32_t id, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                                   uint64_t a6);
#endif

/* Does nothing: the cost of a hypercall. (P4)
 * Answers: OK, INVALID_PARAMETER.
 */
static inline struct shikiri_answer shikiri_null(void)
{
    return shikiri_call(SHIKIRI_NULL, 0, 0, 0, 0, 0, 0);
}

/* Tells whether the call with this number exists. (P4)
 * number: the call's number, 0 to 0x1FF
 * value[0] = present: 1 if the call exists, else 0
 * Answers: OK, INVALID_PARAMETER.
 */
static inline struct shikiri_answer shikiri_feature(uint64_t number)
{
    return shikiri_call(SHIKIRI_FEATURE, number, 0, 0, 0, 0, 0);
}

/* Tells the caller's own partition. (P2)
 * value[0] = id: the partition's id, never reused within one run
 * value[1] = vcpus: how many vCPUs it has
 * value[2] = starts: how often this name has been started, 1 at the first
 * Answers: OK, INVALID_PARAMETER.
 */
static inline struct shikiri_answer shikiri_partition_info(void)
{
    return shikiri_call(SHIKIRI_PARTITION_INFO, 0, 0, 0, 0, 0, 0);
}

/* Reads one line of the caller's own account. (P3)
 * resource: 0 core time (ppm of one core), 1 IPA space (pages), 2 memory (pages), 3 management memory
 *   (pages), 4 event ports, 5 devices, 6 cache share, 7 bus share
 * value[0] = limit: the limit; 2^64 - 1 means unset
 * value[1] = used: what is charged now
 * value[2] = high: the most that was ever charged
 * Answers: OK, INVALID_PARAMETER.
 */
static inline struct shikiri_answer shikiri_account_read(uint64_t resource)
{
    return shikiri_call(SHIKIRI_ACCOUNT_READ, resource, 0, 0, 0, 0, 0);
}

/* Ends the caller's partition; does not return when accepted. Restart follows the description's policy, as
 *   after a fault when the code is not 0. (P2)
 * code: 0 to 2^32 - 1; stands in the end report
 * Answers: INVALID_PARAMETER.
 */
static inline struct shikiri_answer shikiri_partition_end(uint64_t code)
{
    return shikiri_call(SHIKIRI_PARTITION_END, code, 0, 0, 0, 0, 0);
}

/* Asks for more than the caller's limits allow, for a vCPU or a device that is kept back, or to be permitted
 *   to ask another partition for connections. Core time is added to a vCPU's budget at its home for this
 *   life; a device's registers are there, and its interrupts can be enabled, until this life ends. Of a peer
 *   with services what is open to anyone can be asked for then. The policy program sees it before anything is
 *   changed, and answers with as much as it grants, or refuses: PENDING, and REQUEST_STATE tells the answer.
 *   A partition has one request at a time: WRONG_STATE. OK: there is no limit, or that of core time allows so
 *   much, or the device is there already, or nobody makes policy and the description's default grants it;
 *   then OVER_LIMIT says by x1 what there is no more of, as in REQUEST_ANSWER. (P8)
 * what: 1 IPA space (pages), 2 memory (pages), 3 management memory (pages), 4 event ports: the limit is
 *   raised; 0: core time; 16: a peer; 17: vCPUs; 18: a device
 * amount: how much more; of core time bits 0 to 31 the ppm of a core, bits 32 to 39 which vCPU's; of a peer
 *   its place; of a device which of those that are kept back, from 0
 * port: a receive port of the caller's that is raised when there is an answer; 0: none
 * value[0] = granted: how much, if the answer is OK; of core time the ppm; of a device where its registers
 *   begin
 * value[1] = intid: of a device the INTID of its first interrupt; else, or without one, 0
 * Answers: OK, PENDING, INVALID_PARAMETER, BAD_HANDLE, DENIED_BY_POLICY, WRONG_STATE, OVER_LIMIT.
 */
static inline struct shikiri_answer shikiri_request(uint64_t what, uint64_t amount, uint64_t port)
{
    return shikiri_call(SHIKIRI_REQUEST, what, amount, port, 0, 0, 0);
}

/* Tells how it stands with the caller's request: PENDING, there is no answer yet. An answer is told once;
 *   EMPTY: there is no request. (P8)
 * value[0] = granted: how much, perhaps another amount than was asked for; of a device where its registers
 *   begin
 * value[1] = intid: as REQUEST has it
 * Answers: OK, PENDING, INVALID_PARAMETER, DENIED_BY_POLICY, EMPTY.
 */
static inline struct shikiri_answer shikiri_request_state(void)
{
    return shikiri_call(SHIKIRI_REQUEST_STATE, 0, 0, 0, 0, 0, 0);
}

/* Takes the caller's request back. WRONG_STATE: there is an answer already, to be read; EMPTY: there is no
 *   request. (P8)
 * Answers: OK, INVALID_PARAMETER, WRONG_STATE, EMPTY.
 */
static inline struct shikiri_answer shikiri_request_cancel(void)
{
    return shikiri_call(SHIKIRI_REQUEST_CANCEL, 0, 0, 0, 0, 0, 0);
}

/* Tells the name of a partition that the caller may talk to, 31 bytes at most with zeros behind it. (C6)
 * partition: its number, as PEER_INFO has it
 * part: 0: bytes 0 to 23; 1: bytes 24 to 31
 * value[0] = first: eight bytes, the first one lowest
 * value[1] = second: the next eight
 * value[2] = third: the next eight
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED.
 */
static inline struct shikiri_answer shikiri_peer_name(uint64_t partition, uint64_t part)
{
    return shikiri_call(SHIKIRI_PEER_NAME, partition, part, 0, 0, 0, 0);
}

/* Takes rights from a handle of the caller's, for good: the same number has fewer of them from then on. A
 *   call that needs one that is gone says BAD_HANDLE, as of a handle that was closed. What is connected,
 *   bound or asked stays as it is, and nobody else is told. All rights to keep: tells which are there, and
 *   changes nothing. Not of an area, whose one right is to have it. (C1)
 * handle: a port, an attachment, an object, or a request that was taken
 * keep: which rights stay, if they are there: bit 0, to use it (send, poll, mask, post, wait, answer a
 *   request, ask how it stands; EVENT_TAKE, which names no handle, asks for no right); bit 1, to change what
 *   it is (connect, bind, have events told there, close)
 * value[0] = rights: those that are left, bits as in `keep`
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE.
 */
static inline struct shikiri_answer shikiri_handle_limit(uint64_t handle, uint64_t keep)
{
    return shikiri_call(SHIKIRI_HANDLE_LIMIT, handle, keep, 0, 0, 0, 0);
}

/* Makes an event send port, not connected. (C1)
 * value[0] = port: its handle
 * Answers: OK, INVALID_PARAMETER, OVER_LIMIT.
 */
static inline struct shikiri_answer shikiri_event_create_send(void)
{
    return shikiri_call(SHIKIRI_EVENT_CREATE_SEND, 0, 0, 0, 0, 0, 0);
}

/* Makes an event receive port: not connected, not bound, not masked. (C1)
 * value[0] = port: its handle
 * Answers: OK, INVALID_PARAMETER, OVER_LIMIT.
 */
static inline struct shikiri_answer shikiri_event_create_receive(void)
{
    return shikiri_call(SHIKIRI_EVENT_CREATE_RECEIVE, 0, 0, 0, 0, 0, 0);
}

/* Connects a send port to a receive port of the same partition. (C1)
 * send: the send port
 * receive: the receive port
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE.
 */
static inline struct shikiri_answer shikiri_event_connect(uint64_t send, uint64_t receive)
{
    return shikiri_call(SHIKIRI_EVENT_CONNECT, send, receive, 0, 0, 0, 0);
}

/* Gives a receive port an interrupt: an SPI of the virtual GIC that no device has. It is edge-triggered from
 *   then on, and routed to the vCPU until the guest routes it otherwise. The next ports that share it leave
 *   its route as it is. A port is bound once, until it is closed. (C1)
 * port: the receive port
 * intid: 32 to 1019
 * vcpu: the index of the vCPU that it is routed to first, by the first port that is bound to it
 * sharing: 0: the interrupt is this port's alone; 1: it is shared by any number of ports, which EVENT_TAKE
 *   tells apart
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE.
 */
static inline struct shikiri_answer shikiri_event_bind(uint64_t port, uint64_t intid, uint64_t vcpu, uint64_t sharing)
{
    return shikiri_call(SHIKIRI_EVENT_BIND, port, intid, vcpu, sharing, 0, 0);
}

/* Masks a receive port: what arrives is kept. Unmasked again, it is raised. (C1)
 * port: the receive port
 * masked: 1 masks, 0 unmasks
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE.
 */
static inline struct shikiri_answer shikiri_event_mask(uint64_t port, uint64_t masked)
{
    return shikiri_call(SHIKIRI_EVENT_MASK, port, masked, 0, 0, 0, 0);
}

/* Tells how it stands with a send port: OK, it is connected; PENDING, its request was not answered yet;
 *   WRONG_STATE, it was never connected; REFUSED; PEER_GONE. (C1)
 * port: the send port
 * Answers: OK, PENDING, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, REFUSED, PEER_GONE.
 */
static inline struct shikiri_answer shikiri_event_state(uint64_t port)
{
    return shikiri_call(SHIKIRI_EVENT_STATE, port, 0, 0, 0, 0, 0);
}

/* Tells whether a receive port is pending, and makes it not pending; the interrupt's pending state is cleared
 *   with it. AGAIN: another vCPU's core has to be asked first; call again. (C1)
 * port: the receive port
 * value[0] = pending: 1 if it was pending, else 0
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, AGAIN.
 */
static inline struct shikiri_answer shikiri_event_poll(uint64_t port)
{
    return shikiri_call(SHIKIRI_EVENT_POLL, port, 0, 0, 0, 0, 0);
}

/* Takes the pending ports among 64 neighbouring handles, of those that share an interrupt. (C1)
 * word: 0 to 1023: handles with index 64 × word to 64 × word + 63
 * value[0] = pending: bit n: the port with index 64 × word + n was pending
 * Answers: OK, INVALID_PARAMETER.
 */
static inline struct shikiri_answer shikiri_event_take(uint64_t word)
{
    return shikiri_call(SHIKIRI_EVENT_TAKE, word, 0, 0, 0, 0, 0);
}

/* Sends an event to the peer of a send port. (C1)
 * port: the send port
 * value[0] = pending: 1 if it was pending there already: the event made no difference. An interrupt that a
 *   vCPU was handed is not pending: until it is acknowledged, this event is one with it, or one more
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, REFUSED, PEER_GONE.
 */
static inline struct shikiri_answer shikiri_event_send(uint64_t port)
{
    return shikiri_call(SHIKIRI_EVENT_SEND, port, 0, 0, 0, 0, 0);
}

/* Closes an event port, or refuses a request that was taken; its sender is told, as by SIGNAL_REFUSE. Nobody
 *   else is: the peer of a receive port finds PEER_GONE at its next call, a send port's peer stays
 *   unconnected with what it has pending, and whoever has taken a request of the port's finds PEER_GONE when
 *   it accepts. A message port, an attachment and an object have calls of their own; here their handles are
 *   BAD_HANDLE. (C1)
 * handle: the event port or the request
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, AGAIN.
 */
static inline struct shikiri_answer shikiri_handle_close(uint64_t handle)
{
    return shikiri_call(SHIKIRI_HANDLE_CLOSE, handle, 0, 0, 0, 0, 0);
}

/* Chooses the receive port that is raised when a control signal arrives and none waits, and when a request of
 *   the caller was answered; now, if one waits already. One event may stand for several of them, and one may
 *   come when nothing is left: whoever waits looks after each wake-up, by SIGNAL_TAKE until it is EMPTY and
 *   at the state of each port that has asked. (P9)
 * port: a receive port to which nothing is connected, or the one that is chosen
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE.
 */
static inline struct shikiri_answer shikiri_signal_notify(uint64_t port)
{
    return shikiri_call(SHIKIRI_SIGNAL_NOTIFY, port, 0, 0, 0, 0, 0);
}

/* Asks another partition to connect a send port to one of its receive ports. The answer is raised at the port
 *   of SIGNAL_NOTIFY and read by EVENT_STATE. (P9)
 * port: the send port
 * partition: the other's number, as the device tree has it
 * service: which service is meant, 0 to 2^32 - 1; NOT_PERMITTED: it is not open to the caller
 * word: a word for the other
 * Answers: PENDING, INVALID_PARAMETER, BAD_HANDLE, NOT_PERMITTED, WRONG_STATE, OVER_LIMIT, PEER_GONE, AGAIN.
 */
static inline struct shikiri_answer shikiri_signal_ask(uint64_t port, uint64_t partition, uint64_t service, uint64_t word)
{
    return shikiri_call(SHIKIRI_SIGNAL_ASK, port, partition, service, word, 0, 0);
}

/* Takes the oldest control signal of the next sender in turn. (P9)
 * value[0] = request: bits 0 to 55 the handle of the request, to be accepted, refused or closed; bits 56 to
 *   63 what is asked: 0 an event connection, 1 a message channel, 2 a shared area
 * value[1] = sender: bits 0 to 31 the sender's partition id, bits 32 to 63 the service
 * value[2] = word: the sender's word
 * Answers: OK, INVALID_PARAMETER, EMPTY, OVER_LIMIT, AGAIN.
 */
static inline struct shikiri_answer shikiri_signal_take(void)
{
    return shikiri_call(SHIKIRI_SIGNAL_TAKE, 0, 0, 0, 0, 0, 0);
}

/* Accepts a request: connects its sender to a receive port. (P9)
 * request: the request
 * receive: the receive port
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, PEER_GONE, AGAIN.
 */
static inline struct shikiri_answer shikiri_signal_accept(uint64_t request, uint64_t receive)
{
    return shikiri_call(SHIKIRI_SIGNAL_ACCEPT, request, receive, 0, 0, 0, 0);
}

/* Refuses a request. (P9)
 * request: the request
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, AGAIN.
 */
static inline struct shikiri_answer shikiri_signal_refuse(uint64_t request)
{
    return shikiri_call(SHIKIRI_SIGNAL_REFUSE, request, 0, 0, 0, 0, 0);
}

/* Tells about a partition that the caller may talk to. (P9)
 * partition: its number, as the device tree has it; of one that was made, its place
 * value[0] = id: the id of its present life; 0 while it has none
 * value[1] = may: bit 0: it may be asked for connections; bit 1: it may ask
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED.
 */
static inline struct shikiri_answer shikiri_peer_info(uint64_t partition)
{
    return shikiri_call(SHIKIRI_PEER_INFO, partition, 0, 0, 0, 0, 0);
}

/* Makes a message area, cleared and mapped. Bounded: a large one takes several calls, each with the handle
 *   that AGAIN has answered in x1. One at a time. (C3)
 * bytes: the size, rounded up to pages; at most that of a slot
 * class: the slot: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB; as the windows that it shall be sent to
 * area: 0, or the handle of the area that is being made
 * value[0] = area: its handle
 * value[1] = address: where it is mapped
 * value[2] = pages: its size in pages
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, NOT_OWNER, WRONG_STATE, RANGE, OVER_LIMIT, NO_MEMORY, AGAIN.
 */
static inline struct shikiri_answer shikiri_area_alloc(uint64_t bytes, uint64_t class_, uint64_t area)
{
    return shikiri_call(SHIKIRI_AREA_ALLOC, bytes, class_, area, 0, 0, 0);
}

/* Frees an area, or discards one that was received. It is unmapped at once; AGAIN asks for another call to
 *   give all of its memory back. (C3)
 * area: its handle
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, NOT_OWNER, WRONG_STATE, AGAIN.
 */
static inline struct shikiri_answer shikiri_area_free(uint64_t area)
{
    return shikiri_call(SHIKIRI_AREA_FREE, area, 0, 0, 0, 0, 0);
}

/* Tells where an area is and how large. (C3)
 * area: its handle
 * value[0] = address: where it is mapped
 * value[1] = pages: its size in pages
 * value[2] = class: its slot: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, NOT_OWNER, WRONG_STATE.
 */
static inline struct shikiri_answer shikiri_area_info(uint64_t area)
{
    return shikiri_call(SHIKIRI_AREA_INFO, area, 0, 0, 0, 0, 0);
}

/* Keeps an area that was received: it is charged as the partition's own, stays where it is, and its window
 *   gets another slot. (C3)
 * area: its handle
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, NOT_OWNER, WRONG_STATE, OVER_LIMIT.
 */
static inline struct shikiri_answer shikiri_area_keep(uint64_t area)
{
    return shikiri_call(SHIKIRI_AREA_KEEP, area, 0, 0, 0, 0, 0);
}

/* Frees an own area's unused tail: all pages behind the first bytes. The rest keeps its address and contents.
 *   An access of another vCPU to what stays waits for the step at hand. AGAIN: it is smaller already, and the
 *   same call goes on. (C3)
 * area: its handle
 * bytes: what stays, rounded up to pages: one at least
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, NOT_OWNER, WRONG_STATE, RANGE, OVER_LIMIT, NO_MEMORY, AGAIN.
 */
static inline struct shikiri_answer shikiri_area_trim(uint64_t area, uint64_t bytes)
{
    return shikiri_call(SHIKIRI_AREA_TRIM, area, bytes, 0, 0, 0, 0);
}

/* Makes an own area's tail another area of the partition's own: all pages behind the first bytes go to the
 *   end of a new area, or of the one that is named. The rest keeps its address and contents; what is in the
 *   pages that go stays in them, and their order is anyone's. An access of another vCPU to what stays waits
 *   for the step at hand. AGAIN: a part has gone, both areas are whole, the results are those of now, and the
 *   same call with the answered tail goes on. (C3)
 * area: its handle
 * bytes: what stays, rounded up to pages: one at least
 * class: the slot of a new area: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB
 * tail: the area that the pages go to; 0: a new one, which is charged for no page
 * value[0] = tail: the handle of the area that the pages have gone to
 * value[1] = address: where that is mapped
 * value[2] = pages: its size in pages
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, NOT_OWNER, WRONG_STATE, RANGE, OVER_LIMIT, NO_MEMORY, AGAIN.
 */
static inline struct shikiri_answer shikiri_area_split(uint64_t area, uint64_t bytes, uint64_t class_, uint64_t tail)
{
    return shikiri_call(SHIKIRI_AREA_SPLIT, area, bytes, class_, tail, 0, 0);
}

/* Makes a message port with a window; all that can come into the window is charged now. It is not connected
 *   and has no credit. (C2)
 * events: a receive port that nothing is connected to
 * slots: slots of the window, 0 to 60
 * class: their size: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB
 * value[0] = port: its handle
 * value[1] = arrivals: where its arrivals page is mapped, read-only
 * value[2] = credits: where its credits page is mapped
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, OVER_LIMIT, NO_MEMORY.
 */
static inline struct shikiri_answer shikiri_channel_create(uint64_t events, uint64_t slots, uint64_t class_)
{
    return shikiri_call(SHIKIRI_CHANNEL_CREATE, events, slots, class_, 0, 0, 0);
}

/* Asks another partition to connect a message port, by a control signal. The answer comes as an event at the
 *   port's receive port. (C2)
 * port: the message port
 * partition: the other partition's number, as the device tree has it
 * service: which service is meant, as in SIGNAL_ASK
 * word: a word for the other partition
 * Answers: PENDING, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, NOT_PERMITTED, WRONG_STATE, OVER_LIMIT,
 *   PEER_GONE, AGAIN.
 */
static inline struct shikiri_answer shikiri_channel_connect(uint64_t port, uint64_t partition, uint64_t service, uint64_t word)
{
    return shikiri_call(SHIKIRI_CHANNEL_CONNECT, port, partition, service, word, 0, 0);
}

/* Accepts a request for a message channel with a message port; both ends are told. SIGNAL_REFUSE refuses it.
 *   (C2)
 * request: its handle
 * port: a message port that is not connected
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, PEER_GONE, AGAIN.
 */
static inline struct shikiri_answer shikiri_channel_accept(uint64_t request, uint64_t port)
{
    return shikiri_call(SHIKIRI_CHANNEL_ACCEPT, request, port, 0, 0, 0, 0);
}

/* Sends a short message, and with it an area or none. When it returns, the area is the receiver's alone. (C3)
 * port: the message port
 * area: the handle of a complete area; 0 for none
 * bytes: how many bytes of the area are meant, at most its size; 0 without an area
 * short0: the short message
 * short1: the short message
 * short2: the short message
 * Answers: OK, NOT_SUPPORTED, BAD_HANDLE, WRONG_STATE, NOT_OWNER, RANGE, FULL, REFUSED, PEER_GONE, AGAIN.
 */
static inline struct shikiri_answer shikiri_channel_send(uint64_t port, uint64_t area, uint64_t bytes, uint64_t short0, uint64_t short1, uint64_t short2)
{
    return shikiri_call(SHIKIRI_CHANNEL_SEND, port, area, bytes, short0, short1, short2);
}

/* Says that a message port has credits again: a peer that was answered FULL gets an event. (C2)
 * port: the message port
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, REFUSED, PEER_GONE, AGAIN.
 */
static inline struct shikiri_answer shikiri_channel_notify(uint64_t port)
{
    return shikiri_call(SHIKIRI_CHANNEL_NOTIFY, port, 0, 0, 0, 0, 0);
}

/* Closes a message port: its peer is told, its pages and its window are gone. Areas that lie in the window
 *   stay, as the partition's own. (C2)
 * port: the message port
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, AGAIN.
 */
static inline struct shikiri_answer shikiri_channel_close(uint64_t port)
{
    return shikiri_call(SHIKIRI_CHANNEL_CLOSE, port, 0, 0, 0, 0, 0);
}

/* Shows the caller, in a page that it can only read, which of its ports are pending that share an interrupt.
 *   Each of the first 32,768 handles has a bit: bit n of word w that of index 64 * w + n. A bit is set before
 *   the interrupt is raised, and cleared by EVENT_TAKE of its word; that of a port that was polled or closed
 *   may be left. The page is normal, Write-Back memory, takes a place for an area of 4 KiB, and stays until
 *   the partition ends; another call answers the same. NOT_SUPPORTED: the partition has no areas. (C1)
 * value[0] = address: where the page is mapped
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, OVER_LIMIT.
 */
static inline struct shikiri_answer shikiri_event_page(void)
{
    return shikiri_call(SHIKIRI_EVENT_PAGE, 0, 0, 0, 0, 0, 0);
}

/* Offers an own, complete area to others. From here on it is neither sent nor freed. Its tables are copied
 *   for those who may only read; AGAIN asks for another call to go on. (C5)
 * area: its handle
 * events: a receive port to which nothing is connected: it is raised when a user leaves; 0: none. The first
 *   call chooses it: when it goes on after AGAIN, nothing is done with it
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, NOT_OWNER, OVER_LIMIT, NO_MEMORY,
 *   AGAIN.
 */
static inline struct shikiri_answer shikiri_shared_offer(uint64_t area, uint64_t events)
{
    return shikiri_call(SHIKIRI_SHARED_OFFER, area, events, 0, 0, 0, 0);
}

/* Takes an offered area from all of its users, one in each call, and makes it the caller's alone: it can be
 *   sent and freed then. AGAIN asks for another call. (C5)
 * area: its handle
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, WRONG_STATE, NOT_OWNER, AGAIN.
 */
static inline struct shikiri_answer shikiri_shared_withdraw(uint64_t area)
{
    return shikiri_call(SHIKIRI_SHARED_WITHDRAW, area, 0, 0, 0, 0, 0);
}

/* Takes an offered area from one of its users: when it returns, every access of that partition faults.
 *   PEER_GONE: it has not attached the area. (C5)
 * area: its handle
 * partition: the user's number, as the device tree has it
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, WRONG_STATE, NOT_OWNER, PEER_GONE, AGAIN.
 */
static inline struct shikiri_answer shikiri_shared_revoke(uint64_t area, uint64_t partition)
{
    return shikiri_call(SHIKIRI_SHARED_REVOKE, area, partition, 0, 0, 0, 0);
}

/* Makes an attachment for an area of another partition, and pays for it: memory and address space of its
 *   size, and its tables. Nothing is there yet. (C5)
 * events: a receive port to which nothing is connected: it is raised when the request is answered, when the
 *   area is revoked, and when its owner leaves
 * bytes: the most that the area may have, rounded up to pages; at most a slot's
 * class: the slot: 0 of 4 KiB, 1 of 2 MiB, 2 of 1 GiB; the same as the area's
 * value[0] = attachment: its handle
 * value[1] = address: where the area will be
 * value[2] = pages: the most that it may have
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, OVER_LIMIT, RANGE.
 */
static inline struct shikiri_answer shikiri_shared_create(uint64_t events, uint64_t bytes, uint64_t class_)
{
    return shikiri_call(SHIKIRI_SHARED_CREATE, events, bytes, class_, 0, 0, 0);
}

/* Asks another partition for a shared area, by a control signal. The answer is raised at the attachment's
 *   receive port and read by SHARED_STATE. (C5)
 * attachment: an attachment without an area
 * partition: the other's number, as the device tree has it
 * service: which area is meant, a service as in SIGNAL_ASK
 * word: a word for the other
 * Answers: PENDING, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, NOT_PERMITTED, WRONG_STATE, OVER_LIMIT,
 *   PEER_GONE, AGAIN.
 */
static inline struct shikiri_answer shikiri_shared_connect(uint64_t attachment, uint64_t partition, uint64_t service, uint64_t word)
{
    return shikiri_call(SHIKIRI_SHARED_CONNECT, attachment, partition, service, word, 0, 0);
}

/* Accepts a request with an offered area: it is mapped at the asker. RANGE: the attachment is for another
 *   class or for less; EXISTS: the asker has attached this area already. SIGNAL_REFUSE refuses. (C5)
 * request: the request
 * area: an area that the caller offers
 * access: 0: the asker may only read; 1: it may write, too
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, NOT_OWNER, RANGE, EXISTS,
 *   PEER_GONE, AGAIN.
 */
static inline struct shikiri_answer shikiri_shared_accept(uint64_t request, uint64_t area, uint64_t access)
{
    return shikiri_call(SHIKIRI_SHARED_ACCEPT, request, area, access, 0, 0, 0);
}

/* Tells how it stands with an attachment: OK, its area is there; PENDING, its request was not answered yet;
 *   WRONG_STATE, it has not asked; REFUSED; PEER_GONE, the area was revoked, or who was asked has ended. Of
 *   an area that the caller offers: OK. (C5)
 * attachment: the attachment, or an offered area
 * value[0] = address: where the area is
 * value[1] = pages: its size in pages
 * value[2] = how: bit 0: the caller may write there; bit 1: its owner has left
 * Answers: OK, PENDING, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, REFUSED, PEER_GONE.
 */
static inline struct shikiri_answer shikiri_shared_state(uint64_t attachment)
{
    return shikiri_call(SHIKIRI_SHARED_STATE, attachment, 0, 0, 0, 0, 0);
}

/* Leaves a shared area: closes an attachment, whether it has its area or not, or leaves an area that the
 *   caller offers to those who use it. Who was left last gives the memory back. AGAIN asks for another call.
 *   (C5)
 * attachment: the attachment, or an offered area
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE, AGAIN.
 */
static inline struct shikiri_answer shikiri_shared_detach(uint64_t attachment)
{
    return shikiri_call(SHIKIRI_SHARED_DETACH, attachment, 0, 0, 0, 0, 0);
}

/* Opens the object of that name, and makes it if no partition has it open. Who may open it says the
 *   description. Opened again it has the same handle, and is to be closed once more. (V4)
 * name: guest address of the name, a multiple of 64, in the partition's own memory: 1 to 63 printable ASCII
 *   characters without spaces and *. It is read as cacheable memory
 * length: its bytes
 * kind: 1 event, 2 semaphore, 3 queue
 * first: semaphore: units at the beginning, up to the maximum; queue: the most messages that wait, 1 to 64;
 *   event: 0
 * maximum: semaphore: the most units, 1 to 2^32 - 1; else 0
 * spent: semaphore: 0: a unit that was taken is held, and released when its holder closes the object or ends;
 *   1: it is used up; else 0
 * value[0] = object: its handle
 * value[1] = new: 1 if no partition had it open
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, OVER_LIMIT, RANGE, ALIGNMENT, FULL, EXISTS.
 */
static inline struct shikiri_answer shikiri_object_open(uint64_t name, uint64_t length, uint64_t kind, uint64_t first, uint64_t maximum, uint64_t spent)
{
    return shikiri_call(SHIKIRI_OBJECT_OPEN, name, length, kind, first, maximum, spent);
}

/* Takes what is there: a post that the partition has not seen, a unit, the oldest message. EMPTY: nothing is
 *   there; the object's port is raised as soon as there is something, for all who wait, and each calls again
 *   until it is empty. (V4)
 * object: the object
 * value[0] = first: queue: the message's first word; semaphore: the id of a partition that closed it or ended
 *   while it held units, told once, or 0; of several lives of one partition that ended before anybody was
 *   told, the last
 * value[1] = second: queue: the message's second word
 * value[2] = third: queue: the message's third word
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, EMPTY.
 */
static inline struct shikiri_answer shikiri_object_wait(uint64_t object)
{
    return shikiri_call(SHIKIRI_OBJECT_WAIT, object, 0, 0, 0, 0, 0);
}

/* Posts: an event to each partition that has it open, the caller's own included; a unit; a message. FULL:
 *   there is no room; the object's port is raised when there is. RANGE: the semaphore has its most units.
 *   (V4)
 * object: the object
 * first: queue: the message's first word; else 0
 * second: queue: its second word; else 0
 * third: queue: its third word; else 0
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, RANGE, FULL.
 */
static inline struct shikiri_answer shikiri_object_post(uint64_t object, uint64_t first, uint64_t second, uint64_t third)
{
    return shikiri_call(SHIKIRI_OBJECT_POST, object, first, second, third, 0, 0);
}

/* Chooses the receive port that is raised for an object; the former one is free again. It is raised at once
 *   if something is there, or room in a queue. (V4)
 * object: the object
 * port: a receive port to which nothing is connected, or the one that is chosen; 0: none
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, WRONG_STATE.
 */
static inline struct shikiri_answer shikiri_object_notify(uint64_t object, uint64_t port)
{
    return shikiri_call(SHIKIRI_OBJECT_NOTIFY, object, port, 0, 0, 0, 0);
}

/* Closes an object, as often as it was opened. With the last time units that the partition holds are
 *   released. The object goes when no partition has it open. (V4)
 * object: the object
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE.
 */
static inline struct shikiri_answer shikiri_object_close(uint64_t object)
{
    return shikiri_call(SHIKIRI_OBJECT_CLOSE, object, 0, 0, 0, 0, 0);
}

/* Tells of the partition at a place: those of the description come first, in its order, then those that were
 *   made at run time. NOT_FOUND: there is none at this place. RANGE: there is no such place, nor any behind
 *   it. (P7)
 * place: 0 to 63
 * value[0] = partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * value[1] = state: bits 0 to 7: 1 created, 2 being built, 3 held, 4 active, 5 paused, 6 ending, 7 ended, 8
 *   being destroyed; bits 8 to 15: why it ended last, as NOTICE_TAKE has it; bit 16: it will start again by
 *   itself; bits 32 to 63: the code of its end
 * value[2] = counts: bits 0 to 31: how often it was started; bits 32 to 39: its vCPUs; bit 40: it was made at
 *   run time; bit 41: it is the caller
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, RANGE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_partition_list(uint64_t place)
{
    return shikiri_call(SHIKIRI_PARTITION_LIST, place, 0, 0, 0, 0, 0);
}

/* Tells a partition's name, 31 bytes at most with zeros behind it. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * part: 0: bytes 0 to 23; 1: bytes 24 to 31
 * value[0] = first: eight bytes, the first one lowest
 * value[1] = second: the next eight
 * value[2] = third: the next eight
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_partition_name(uint64_t partition, uint64_t part)
{
    return shikiri_call(SHIKIRI_PARTITION_NAME, partition, part, 0, 0, 0, 0);
}

/* Reads one line of a partition's account. (P3)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * resource: 0 core time (ppm of one core), 1 IPA space (pages), 2 memory (pages), 3 management memory
 *   (pages), 4 event ports, 5 devices, 6 cache share, 7 bus share
 * value[0] = limit: the limit; 2^64 - 1 means unset
 * value[1] = used: what is charged now
 * value[2] = high: the most that was ever charged in this life
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_limit_read(uint64_t partition, uint64_t resource)
{
    return shikiri_call(SHIKIRI_LIMIT_READ, partition, resource, 0, 0, 0, 0);
}

/* Sets a partition's limit, for this life and those that follow. What it gives is taken from what may be
 *   handed out: of a partition of the description what is above the description's limit. A limit below what
 *   is used takes nothing away, and what is used stays handed out. Those of cache and bus share are recorded
 *   and read back, and not enforced. OVER_LIMIT: so much cannot be handed out; x1 = 256 + the resource. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * resource: 0 core time (ppm of one core), 1 IPA space (pages), 2 memory (pages), 3 management memory
 *   (pages), 4 event ports, 5 devices, 6 cache share, 7 bus share
 * limit: the limit; 2^64 - 1: unset
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, OVER_LIMIT, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_limit_set(uint64_t partition, uint64_t resource, uint64_t limit)
{
    return shikiri_call(SHIKIRI_LIMIT_SET, partition, resource, limit, 0, 0, 0);
}

/* Starts a partition that has ended, under a new id; or one that was created, under its own. It is built in
 *   its own time; one that cannot be built ends with a notice. With hold it is built and then waits for
 *   another PARTITION_START, best with 2, by which no life begins in place of one that was ended meanwhile
 *   (WRONG_STATE); so is a life that follows without such a call: after a reset, by PARTITION_RESTART, or by
 *   the operator. Of one that was created: WRONG_STATE, it has no vCPU, no memory, or no entry in it;
 *   OVER_LIMIT, it has no limit of what can only be handed out in parts, x1 = 256 + the resource. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * hold: 0: it runs when it is built; 1: it is held then; 2: no life begins, one that is held runs
 * value[0] = partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, OVER_LIMIT, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_partition_start(uint64_t partition, uint64_t hold)
{
    return shikiri_call(SHIKIRI_PARTITION_START, partition, hold, 0, 0, 0, 0);
}

/* Ends a partition: its vCPUs are stopped, all goes back, a notice follows. Of one that has ended it cancels
 *   the restart that would follow. WRONG_STATE: there is nothing to end. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_partition_stop(uint64_t partition)
{
    return shikiri_call(SHIKIRI_PARTITION_STOP, partition, 0, 0, 0, 0, 0);
}

/* Ends a partition and starts it again under a new id; one that has ended is started. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_partition_restart(uint64_t partition)
{
    return shikiri_call(SHIKIRI_PARTITION_RESTART, partition, 0, 0, 0, 0, 0);
}

/* Takes an active partition's vCPUs off their cores. OK: none of them runs any more; AGAIN asks for another
 *   call. What it has stays as it is; events for it are kept. The caller itself is INVALID_PARAMETER. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, AGAIN, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_partition_pause(uint64_t partition)
{
    return shikiri_call(SHIKIRI_PARTITION_PAUSE, partition, 0, 0, 0, 0, 0);
}

/* Lets a paused partition go on. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_partition_resume(uint64_t partition)
{
    return shikiri_call(SHIKIRI_PARTITION_RESUME, partition, 0, 0, 0, 0, 0);
}

/* Chooses the receive port at which the policy program is told that there is a notice, or a request, that one
 *   which was taken has been cancelled or its time is over, or that a partition has become active or is held.
 *   If there is a notice or a request already, it is told now; then once until it takes something, or finds
 *   nothing to take. The choice ends with the caller's life; notices do not. (P7)
 * port: a receive port of the caller's
 * Answers: OK, INVALID_PARAMETER, BAD_HANDLE, NOT_PERMITTED.
 */
static inline struct shikiri_answer shikiri_policy_notify(uint64_t port)
{
    return shikiri_call(SHIKIRI_POLICY_NOTIFY, port, 0, 0, 0, 0, 0);
}

/* Takes the oldest notice of a partition's end. Of a partition that ended several times meanwhile there is
 *   the last one. EMPTY: there is none. (P7)
 * value[0] = partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * value[1] = why: bits 0 to 7: 1 off, 2 reset, 3 with a code, 4 fault, 5 stopped by the operator, 6 restarted
 *   by the operator, 7 it could not be built, 8 stopped by PARTITION_STOP, 9 restarted by PARTITION_RESTART;
 *   bit 16: it will start again by itself; bits 32 to 63: the code
 * value[2] = missed: how many earlier ends of it were not told
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, EMPTY.
 */
static inline struct shikiri_answer shikiri_notice_take(void)
{
    return shikiri_call(SHIKIRI_NOTICE_TAKE, 0, 0, 0, 0, 0, 0);
}

/* Makes a partition, under an id of its own. It owns nothing, and none of its limits is set. Its name, 31 of
 *   a-z, 0-9, _ and - at most with zeros behind it, is no other's: EXISTS. FULL: the description has no more
 *   places for such partitions. AGAIN: another vCPU is giving a name. (P7)
 * first: eight bytes of the name, the first one lowest
 * second: the next eight
 * third: the next eight
 * fourth: the last eight
 * value[0] = partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, FULL, AGAIN, EXISTS.
 */
static inline struct shikiri_answer shikiri_partition_create(uint64_t first, uint64_t second, uint64_t third, uint64_t fourth)
{
    return shikiri_call(SHIKIRI_PARTITION_CREATE, first, second, third, fourth, 0, 0);
}

/* Destroys a partition that was made at run time and has ended, or was never started: its limits and its core
 *   time can be given to others, its notices are forgotten, its place is free. AGAIN asks for another call: a
 *   core has not let go of it yet, or its last words are not out. One of the description is
 *   INVALID_PARAMETER. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, AGAIN, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_partition_destroy(uint64_t partition)
{
    return shikiri_call(SHIKIRI_PARTITION_DESTROY, partition, 0, 0, 0, 0, 0);
}

/* Gives a created partition another vCPU, of which those that are kept back come last, and promises it core
 *   time on that core of the set which has most left, until the partition is destroyed. While that core, its
 *   home, is busy it runs on an idle one of the set, and pays at home. OVER_LIMIT: x1 = 0, its own limit of
 *   core time; 256, what can be handed out, or it has no limit; 512, no core has so much left, and x2 = the
 *   most that one has. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * cores: where it may live, and run: a bit for each of the cores 0 to 63
 * time: bits 0 to 31: its budget in us, at least 50; bits 32 to 63: the period in us, 100 to 1,000,000; 0: it
 *   owns the core
 * priority: bits 0 to 7: higher runs first; bit 8: it is kept back, and can be turned on when the partition
 *   has asked for it (REQUEST)
 * value[0] = core: its home
 * value[1] = share: what is promised, in ppm of the core
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, OVER_LIMIT, RANGE, FULL, PEER_GONE, EXISTS,
 *   NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_vcpu_add(uint64_t partition, uint64_t cores, uint64_t time, uint64_t priority)
{
    return shikiri_call(SHIKIRI_VCPU_ADD, partition, cores, time, priority, 0, 0);
}

/* Gives a created partition another region of memory. It is taken, charged and cleared when the partition is
 *   built. RANGE: no whole pages, or beyond its address space; EXISTS: something is there already. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * address: where the guest sees it
 * bytes: its size
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, RANGE, FULL, PEER_GONE, EXISTS, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_memory_add(uint64_t partition, uint64_t address, uint64_t bytes)
{
    return shikiri_call(SHIKIRI_MEMORY_ADD, partition, address, bytes, 0, 0, 0);
}

/* Has a file of the bundle copied into a created partition's memory, at each start. RANGE: it does not fit
 *   into the memory that it was given; EXISTS: another image is there. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * image: which one of the description's `images`, from 0
 * address: where its first byte goes
 * value[0] = bytes: its size
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, RANGE, FULL, PEER_GONE, EXISTS, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_image_add(uint64_t partition, uint64_t image, uint64_t address)
{
    return shikiri_call(SHIKIRI_IMAGE_ADD, partition, image, address, 0, 0, 0);
}

/* Says where a created partition's vCPU 0 starts. RANGE: that is no word of its memory. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * entry: the address of the first instruction
 * x0: what it finds in x0
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, RANGE, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_entry_set(uint64_t partition, uint64_t entry, uint64_t x0)
{
    return shikiri_call(SHIKIRI_ENTRY_SET, partition, entry, x0, 0, 0, 0);
}

/* Gives a created partition a virtual UART, or takes it. EXISTS: its memory is there. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * console: 0 or 1
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, PEER_GONE, EXISTS, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_console_set(uint64_t partition, uint64_t console)
{
    return shikiri_call(SHIKIRI_CONSOLE_SET, partition, console, 0, 0, 0, 0);
}

/* Says how many handles a created partition has, and how many requests of its own can wait at others. RANGE:
 *   requests without handles. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * handles: 0 to 65,535
 * requests: 0 to 65,535
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, RANGE, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_talk_set(uint64_t partition, uint64_t handles, uint64_t requests)
{
    return shikiri_call(SHIKIRI_TALK_SET, partition, handles, requests, 0, 0, 0);
}

/* Permits or forbids that one partition asks another for connections, until either is destroyed. What is
 *   connected stays so. For which services, is the description's to say. (P7)
 * asker: who asks, as PARTITION_LIST has it
 * asked: who is asked
 * permit: 0 or 1
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_peers_set(uint64_t asker, uint64_t asked, uint64_t permit)
{
    return shikiri_call(SHIKIRI_PEERS_SET, asker, asked, permit, 0, 0, 0);
}

/* Copies from the caller's memory, or from a message area that it has, into a held partition's memory, 64 KiB
 *   at most. RANGE: the first bytes are not there, or not in the memory of the other; ALIGNMENT: not all are
 *   multiples of 8. The caller itself is INVALID_PARAMETER. (V9)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * to: an address of its memory
 * from: an address of the caller's memory, or of its area
 * bytes: how many
 * value[0] = copied: how many were copied; the rest takes other calls
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, RANGE, ALIGNMENT, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_partition_load(uint64_t partition, uint64_t to, uint64_t from, uint64_t bytes)
{
    return shikiri_call(SHIKIRI_PARTITION_LOAD, partition, to, from, bytes, 0, 0);
}

/* Reads a line of the hand-out account. (P7)
 * resource: 0 core time (ppm of one core), 1 IPA space (pages), 2 memory (pages), 3 management memory
 *   (pages), 4 event ports, 5 devices, 6 cache share, 7 bus share
 * value[0] = limit: the most that may be handed out; 2^64 - 1 means unset
 * value[1] = given: what is, by limits
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED.
 */
static inline struct shikiri_answer shikiri_handout_read(uint64_t resource)
{
    return shikiri_call(SHIKIRI_HANDOUT_READ, resource, 0, 0, 0, 0, 0);
}

/* Tells of a file that IMAGE_ADD takes. RANGE: there is none with this number, nor with a higher one. (P7)
 * image: which one of the description's `images`, from 0
 * part: 0: its size, and sixteen bytes of its name; n, up to 255: the 24 bytes behind 16 + 24 (n - 1)
 * value[0] = bytes: its size; of a part from 1 on eight bytes of its name
 * value[1] = first: eight bytes of its name, the first one lowest, zeros behind it
 * value[2] = second: the next eight
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, RANGE.
 */
static inline struct shikiri_answer shikiri_image_info(uint64_t image, uint64_t part)
{
    return shikiri_call(SHIKIRI_IMAGE_INFO, image, part, 0, 0, 0, 0);
}

/* Tells what a core has left to promise. RANGE: there is no such core, nor any with a higher number. (P3)
 * core: 0 to 127
 * value[0] = left: in ppm of the core; 0 if no seat is left there
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, RANGE.
 */
static inline struct shikiri_answer shikiri_core_read(uint64_t core)
{
    return shikiri_call(SHIKIRI_CORE_READ, core, 0, 0, 0, 0, 0);
}

/* Says how many message areas and channels a created partition can have, as `areas` in a description. RANGE:
 *   more than there are slots of a size, fewer slots of 4 KiB than its channels take, more than 64 shares, or
 *   no handles (TALK_SET). FULL: so many slots are not left for partitions that are made at run time. (C3)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * slots: bits 0 to 15: of 4 KiB; bits 16 to 31: of 2 MiB; bits 32 to 47: of 1 GiB
 * ends: bits 0 to 15: message ports; bits 16 to 31: shares in shared areas
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, RANGE, FULL, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_areas_set(uint64_t partition, uint64_t slots, uint64_t ends)
{
    return shikiri_call(SHIKIRI_AREAS_SET, partition, slots, ends, 0, 0, 0);
}

/* Gives a created partition a device of a partition of the description that has ended, with its registers and
 *   interrupts where the description has them. Devices that share an interrupt are given together: it goes
 *   with that one of them which the description names first. It is back when the created one is destroyed;
 *   until then its owner cannot be started. WRONG_STATE: the owner has not ended, or will start again by
 *   itself, or the other one is not being created. NOT_FOUND: the owner has no such device. EXISTS: it is
 *   given already, or something else has its address or interrupt. NOT_SUPPORTED: it masters the bus, for
 *   which the partition's memory would have to be at its physical addresses. FULL: no room for its rows.
 *   RANGE: it is to be kept back, and has more than 4 MiB of registers. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * owner: the partition of the description, as PARTITION_LIST has it
 * device: bits 0 to 7: which of its `devices`, from 0, 63 at most; bit 8: it is kept back until it was asked
 *   for and granted (REQUEST)
 * value[0] = address: where its registers begin, as the guest sees them
 * value[1] = intid: the INTID of its first interrupt; 0: it has none
 * Answers: OK, NOT_SUPPORTED, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, RANGE, FULL, PEER_GONE, EXISTS,
 *   NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_device_add(uint64_t partition, uint64_t owner, uint64_t device)
{
    return shikiri_call(SHIKIRI_DEVICE_ADD, partition, owner, device, 0, 0, 0);
}

/* Takes the oldest request of a partition for more than its limits. EMPTY: there is none. It is to be
 *   answered within the time that the description gives; what a former life of the policy program has taken
 *   and not answered is taken again. (P8)
 * value[0] = partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * value[1] = what: bits 7:0 as REQUEST has it; bits 63:8 the request's number
 * value[2] = amount: as REQUEST has it
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, EMPTY.
 */
static inline struct shikiri_answer shikiri_request_take(void)
{
    return shikiri_call(SHIKIRI_REQUEST_TAKE, 0, 0, 0, 0, 0, 0);
}

/* Answers a request that was taken. What is granted is added to the asker's limit, of core time what it
 *   lacks, and taken from what may be handed out: OVER_LIMIT if that is not enough, x1 = 256 + the resource;
 *   512, the vCPU's home has not so much left, x2 = how much; 17, not so many vCPUs are kept back. The
 *   request stays open then. NOT_FOUND: the peer is not there any more, and the request stays open.
 *   PEER_GONE: the request is not; it was cancelled, its time is over, the asker has ended, or has made
 *   another. (P8)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * answer: 1: granted; 0: refused
 * amount: how much is granted, of core time in ppm; of a peer, a device, or a refusal, 0
 * number: the request's, as REQUEST_TAKE gave it
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, OVER_LIMIT, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_request_answer(uint64_t partition, uint64_t answer, uint64_t amount, uint64_t number)
{
    return shikiri_call(SHIKIRI_REQUEST_ANSWER, partition, answer, amount, number, 0, 0);
}

/* Notes something at a partition that was made at run time, of which the hypervisor knows nothing, for
 *   whoever makes policy later: it stays until the partition is destroyed, over all its lives and those of
 *   the policy program. One of the description is INVALID_PARAMETER. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * piece: which 16 bytes of the note, 0 to 251
 * first: eight bytes, the first one lowest
 * second: the next eight
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_note_set(uint64_t partition, uint64_t piece, uint64_t first, uint64_t second)
{
    return shikiri_call(SHIKIRI_NOTE_SET, partition, piece, first, second, 0, 0);
}

/* Tells what was noted at a partition that was made at run time, zeros where nothing was. One of the
 *   description is INVALID_PARAMETER. (P7)
 * partition: which one, as PARTITION_LIST has it: bits 0 to 31 its id, bits 32 to 39 its place
 * piece: as of NOTE_SET
 * value[0] = first: eight bytes, the first one lowest
 * value[1] = second: the next eight
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_note_read(uint64_t partition, uint64_t piece)
{
    return shikiri_call(SHIKIRI_NOTE_READ, partition, piece, 0, 0, 0, 0);
}

/* Reads what a partition has written to its console, in this life and those before it: the last 1,023 bytes
 *   are kept. What has been forgotten is left out. EMPTY: it has written nothing from that position on.
 *   AGAIN: it writes faster than this reads. NOT_FOUND: it has no console. (P7)
 * partition: which one, as PARTITION_LIST has it
 * from: a position; 0 is that of the first byte ever
 * value[0] = place: bits 0 to 7: how many bytes, 1 to 16; bits 8 to 63: the position of the first
 * value[1] = first: eight bytes, the first one lowest, zeros behind the last
 * value[2] = second: the next eight
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, EMPTY, AGAIN, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_console_read(uint64_t partition, uint64_t from)
{
    return shikiri_call(SHIKIRI_CONSOLE_READ, partition, from, 0, 0, 0, 0);
}

/* Gives the keyboard of the machine's console to a partition, as Ctrl-A and its number do. NOT_FOUND: it has
 *   no console now. (P7)
 * partition: which one, as PARTITION_LIST has it
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_console_focus(uint64_t partition)
{
    return shikiri_call(SHIKIRI_CONSOLE_FOCUS, partition, 0, 0, 0, 0, 0);
}

/* Tells of the first thing in a partition's handle table from an entry on: its ports, areas, objects, and
 *   requests that it has taken. RANGE: there is none. WRONG_STATE: the partition has none now. (P7)
 * partition: which one, as PARTITION_LIST has it
 * from: the entry, 0 to 65535
 * value[0] = what: bits 0 to 15: the entry; bits 16 to 23: 0 nothing up to it, 1 an event send port, 2 an
 *   event receive port, 3 a request for an event port, 4 a message port, 5 a request for a message channel, 6
 *   an area, 8 an object, 9 a shared area, 10 a request for one; bits 24 to 31: of a receive port 1 connected
 *   + 2 masked + 4 an event is kept + 8 bound + 16 in a group, of others 1 not connected, 2 its request
 *   waits, 3 its request was taken, 4 connected, 5 refused, 6 its peer has gone
 * value[1] = peer: bits 0 to 7: the other end's place; bits 8 to 23: its entry, if it is connected; 2^64 - 1:
 *   there is none
 * value[2] = detail: of a receive port that is bound: bits 0 to 15 the INTID, bits 16 to 23 the vCPU; of an
 *   area, and of a shared area that is attached: bits 0 to 7 its class, bits 8 to 23 its window slot; of an
 *   object its number
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, RANGE, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_port_read(uint64_t partition, uint64_t from)
{
    return shikiri_call(SHIKIRI_PORT_READ, partition, from, 0, 0, 0, 0);
}

/* Tells of one of the last 16 exits of a partition's vCPU; while it runs, one that is just being forgotten
 *   can be mixed with the one in its place. RANGE: there is no such vCPU, or it has not had so many.
 *   WRONG_STATE: the partition does not live. (P7)
 * partition: which one, as PARTITION_LIST has it
 * vcpu: which vCPU, 0 to 63
 * back: 0: the last exit; 15: the oldest that is kept
 * value[0] = pc: where the guest was
 * value[1] = why: bits 0 to 31: the syndrome, ESR_EL2, 2^32 - 1 for an interrupt; bits 32 to 63: how many
 *   microseconds ago, 2^32 - 1 at most
 * value[2] = address: of an abort the IPA; of a call x0; else 0
 * Answers: OK, INVALID_PARAMETER, NOT_PERMITTED, WRONG_STATE, RANGE, PEER_GONE, NOT_FOUND.
 */
static inline struct shikiri_answer shikiri_exit_read(uint64_t partition, uint64_t vcpu, uint64_t back)
{
    return shikiri_call(SHIKIRI_EXIT_READ, partition, vcpu, back, 0, 0, 0);
}

#ifdef __cplusplus
}
#endif

#endif
