/* A guest in C: who am I, an event to myself, and memory in a message area. */
#include "console.h"

/* An event from this partition to itself: sent twice, it is pending once. */
static void event(void)
{
    struct shikiri_answer send = shikiri_event_create_send();
    need(send, "EVENT_CREATE_SEND");
    struct shikiri_answer receive = shikiri_event_create_receive();
    need(receive, "EVENT_CREATE_RECEIVE");
    need(shikiri_event_connect(send.value[0], receive.value[0]), "EVENT_CONNECT");
    struct shikiri_answer first = shikiri_event_send(send.value[0]);
    need(first, "EVENT_SEND");
    struct shikiri_answer second = shikiri_event_send(send.value[0]);
    need(second, "EVENT_SEND");
    struct shikiri_answer polled = shikiri_event_poll(receive.value[0]);
    need(polled, "EVENT_POLL");
    say("c: an event, sent twice: was pending ");
    say_number(first.value[0]);
    say(", then ");
    say_number(second.value[0]);
    say("; polled ");
    say_number(polled.value[0]);
    say("\n");
    need(shikiri_handle_close(send.value[0]), "HANDLE_CLOSE");
    need(shikiri_handle_close(receive.value[0]), "HANDLE_CLOSE");
}

/* A message area of two pages, cleared when it comes. */
static void area(void)
{
    const uint64_t bytes = 8192;
    struct shikiri_answer made = shikiri_area_alloc(bytes, SHIKIRI_CLASS_BLOCK, 0);
    while (made.status == SHIKIRI_AGAIN)
        made = shikiri_area_alloc(bytes, SHIKIRI_CLASS_BLOCK, made.value[0]);
    need(made, "AREA_ALLOC");
    volatile uint64_t *words = (volatile uint64_t *)made.value[1];
    uint64_t sum = 0;
    for (uint64_t at = 0; at < bytes / 8; at++) {
        sum += words[at];
        words[at] = at;
    }
    say("c: an area of ");
    say_number(made.value[2]);
    say(" pages: it summed up to ");
    say_number(sum);
    sum = 0;
    for (uint64_t at = 0; at < bytes / 8; at++)
        sum += words[at];
    say(", and sums up to ");
    say_number(sum);
    say("\n");
    struct shikiri_answer freed = shikiri_area_free(made.value[0]);
    while (freed.status == SHIKIRI_AGAIN)
        freed = shikiri_area_free(made.value[0]);
    need(freed, "AREA_FREE");
}

int main(void)
{
    console_on();
    struct shikiri_answer info = shikiri_partition_info();
    need(info, "PARTITION_INFO");
    say("c: hello from partition ");
    say_number(info.value[0]);
    say(" with ");
    say_number(info.value[1]);
    say(info.value[1] == 1 ? " vCPU\n" : " vCPUs\n");
    event();
    area();
    struct shikiri_answer memory = shikiri_account_read(SHIKIRI_RESOURCE_MEMORY);
    need(memory, "ACCOUNT_READ");
    say("c: memory: ");
    say_number(memory.value[1]);
    say(" pages in use, ");
    say_number(memory.value[2]);
    say(" at most so far\n");
    return 0;
}
