/* A guest in C that serves one message channel: what is sent to it goes back to who has sent it, until that one has gone. Of
 * an area that comes with a message nothing is copied: it is this partition's meanwhile, which adds one to its first and to
 * its last byte, by which the other side sees that it was here.
 *
 * It has no interrupts: it looks for messages by itself, and sleeps in WFE between two looks. `cargo xtask run c-echo` runs
 * it against a guest in Rust.
 */
#include "console.h"

enum {
    SLOTS = 2, /* areas that can be here at a time */
    DEPTH = 8, /* messages that can wait here */
};

/* A message port, and how far this side of it is. */
struct port {
    uint64_t handle;
    uint64_t events; /* the receive port that tells of room, and of the end */
    const struct shikiri_arrivals *arrivals;
    struct shikiri_credits *credits;
    uint64_t taken; /* messages */
};

/* Makes a call that is done in bounded steps, until it is through. */
#define COMPLETE(answer, call)                                                                                              \
    do                                                                                                                      \
        (answer) = (call);                                                                                                  \
    while ((answer).status == SHIKIRI_AGAIN)

static uint64_t look(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static int is_connected(const struct port *port)
{
    return (look(&port->arrivals->state) & SHIKIRI_CONNECTED) != 0;
}

/* An event each time that bit 15 of the counter changes to 1, about each millisecond: it ends a WFE that nothing else ends. */
static void start_event_stream(void)
{
    const uint64_t every_2_16 = (UINT64_C(15) << 4) | (1u << 2); /* CNTKCTL_EL1.EVNTI, EVNTEN */
    __asm__ volatile("msr cntkctl_el1, %0\n\tisb" : : "r"(every_2_16) : "memory");
}

static void doze(void)
{
    __asm__ volatile("wfe" : : : "memory");
}

/* Sleeps unless the word is another by now; a store to it ends that, and so does the event stream. */
static void doze_at(const uint64_t *word, uint64_t seen)
{
    uint64_t now;
    __asm__ volatile("ldaxr %0, [%1]" : "=r"(now) : "r"(word) : "memory");
    if (now == seen)
        doze();
}

/* Offers to take as many messages as can wait, and tells a peer that has found no room. */
static void offer(const struct port *port)
{
    __atomic_store_n(&port->credits->consumed, port->taken, __ATOMIC_RELEASE);
    __atomic_store_n(&port->credits->posted, port->taken + DEPTH, __ATOMIC_RELEASE);
    /* The peer looks for a credit behind a fence of its own: either it finds this one, or this side finds that it waits. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (look(&port->arrivals->starved) != 0) {
        struct shikiri_answer answer;
        COMPLETE(answer, shikiri_channel_notify(port->handle));
        if (answer.status != SHIKIRI_PEER_GONE)
            need(answer, "CHANNEL_NOTIFY");
    }
}

/* A port that polls, not connected yet. All that can come to it is charged now. */
static void make_port(struct port *port)
{
    struct shikiri_answer events = shikiri_event_create_receive();
    need(events, "EVENT_CREATE_RECEIVE");
    struct shikiri_answer made = shikiri_channel_create(events.value[0], SLOTS, SHIKIRI_CLASS_BLOCK);
    need(made, "CHANNEL_CREATE");
    port->handle = made.value[0];
    port->events = events.value[0];
    port->arrivals = (const struct shikiri_arrivals *)made.value[1];
    port->credits = (struct shikiri_credits *)made.value[2];
    port->taken = 0;
    __atomic_store_n(&port->credits->polls, 1, __ATOMIC_RELEASE);
    offer(port);
}

/* Accepts the first request for a channel whose sender is still there. All others are refused. */
static void accept_one(const struct port *port)
{
    for (;;) {
        struct shikiri_answer signal, answer;
        COMPLETE(signal, shikiri_signal_take());
        if (signal.status == SHIKIRI_EMPTY) {
            doze();
            continue;
        }
        need(signal, "SIGNAL_TAKE");
        uint64_t request = SHIKIRI_SIGNAL_HANDLE(signal.value[0]);
        if (SHIKIRI_SIGNAL_KIND(signal.value[0]) == SHIKIRI_ASKS_MESSAGE_CHANNEL) {
            COMPLETE(answer, shikiri_channel_accept(request, port->handle));
            if (answer.status == SHIKIRI_OK) {
                say("c: partition ");
                say_number(signal.value[1] & UINT32_MAX);
                say(" is connected\n");
                return;
            }
            /* Who asked has closed its port, or ended, meanwhile. The request is still this partition's. */
            if (answer.status != SHIKIRI_PEER_GONE)
                need(answer, "CHANNEL_ACCEPT");
        }
        COMPLETE(answer, shikiri_handle_close(request));
        need(answer, "HANDLE_CLOSE");
    }
}

/* Waits for the next message, which stays where it is until as many are offered again; none: the peer has gone, and all that it had
 * sent was taken. */
static const struct shikiri_arrival *next(struct port *port)
{
    const struct shikiri_arrival *entry = &port->arrivals->ring[port->taken % SHIKIRI_ARRIVALS];
    for (;;) {
        /* In this order: what a peer has sent is there before its end is told. */
        int was_connected = is_connected(port);
        uint64_t sequence = look(&entry->sequence);
        if (sequence == port->taken + 1)
            break;
        if (!was_connected)
            return NULL;
        doze_at(&entry->sequence, sequence);
    }
    port->taken++;
    return entry;
}

static void free_area(uint64_t area)
{
    struct shikiri_answer answer;
    COMPLETE(answer, shikiri_area_free(area));
    need(answer, "AREA_FREE");
}

/* Sends a message back, with its area. Has the peer gone, or has its window no place for such an area, the area is still this
 * partition's: it is freed, and its words go back alone. */
static void send_back(const struct port *port, const struct shikiri_arrival *message)
{
    struct shikiri_answer answer;
    uint64_t area = message->area;
    uint64_t bytes = message->bytes;
    for (;;) {
        COMPLETE(answer, shikiri_channel_send(port->handle, area, bytes, message->words[0], message->words[1],
                                              message->words[2]));
        /* The peer has chosen its window, and may send what it could not take back. */
        if (answer.status == SHIKIRI_RANGE && area != 0) {
            free_area(area);
            area = 0;
            bytes = 0;
            continue;
        }
        if (answer.status != SHIKIRI_FULL)
            break;
        /* Nothing has changed. There is an event as soon as the peer has room, and one if it goes. */
        struct shikiri_answer told = shikiri_event_poll(port->events);
        while (told.status == SHIKIRI_AGAIN || (told.status == SHIKIRI_OK && told.value[0] == 0)) {
            doze();
            told = shikiri_event_poll(port->events);
        }
        need(told, "EVENT_POLL");
    }
    if (answer.status == SHIKIRI_PEER_GONE) {
        if (area != 0)
            free_area(area);
        return;
    }
    need(answer, "CHANNEL_SEND");
}

/* Leaves its mark in an area. */
static void mark(const struct shikiri_arrival *message)
{
    uint8_t *bytes = (uint8_t *)message->address;
    if (message->bytes == 0)
        return;
    bytes[0]++;
    if (message->bytes > 1)
        bytes[message->bytes - 1]++;
}

static uint64_t pages_in_use(void)
{
    struct shikiri_answer memory = shikiri_account_read(SHIKIRI_RESOURCE_MEMORY);
    need(memory, "ACCOUNT_READ");
    return memory.value[1];
}

int main(void)
{
    console_on();
    start_event_stream();
    uint64_t before = pages_in_use();
    struct port port;
    make_port(&port);
    say("c: waits for a request\n");
    accept_one(&port);
    const struct shikiri_arrival *message;
    uint64_t areas = 0;
    while ((message = next(&port)) != NULL) {
        if (message->area != 0) {
            areas++;
            mark(message);
        }
        send_back(&port, message);
        /* Behind the area's way back: its slot of the window is vacant again. */
        offer(&port);
    }
    say("c: the peer has gone, after ");
    say_number(port.taken);
    say(" messages, ");
    say_number(areas);
    say(" of them with an area\n");
    struct shikiri_answer answer;
    COMPLETE(answer, shikiri_channel_close(port.handle));
    need(answer, "CHANNEL_CLOSE");
    COMPLETE(answer, shikiri_handle_close(port.events));
    need(answer, "HANDLE_CLOSE");
    say(pages_in_use() == before ? "c: and nothing is left of it\n" : "c: and memory is still in use\n");
    return 0;
}
