/* The console of a guest in C, and how it ends when something is wrong. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include "shikiri.h"

/* The PL011 that every partition has (Arm DDI 0183). */
static volatile uint32_t *const uart = (volatile uint32_t *)0x09000000;

enum {
    UART_DATA = 0x00 / 4,
    UART_FLAGS = 0x18 / 4,
    UART_LINE_CONTROL = 0x2c / 4,
    UART_CONTROL = 0x30 / 4,
    UART_TRANSMIT_FULL = 1u << 5,
};

/* Turns the UART on, before anything is said. */
static inline void console_on(void)
{
    uart[UART_LINE_CONTROL] = (3u << 5) | (1u << 4); /* 8 bits, FIFOs */
    uart[UART_CONTROL] = (1u << 9) | (1u << 8) | 1u; /* on, both ways */
}

static inline void put(char character)
{
    while (uart[UART_FLAGS] & UART_TRANSMIT_FULL) {
    }
    uart[UART_DATA] = (uint8_t)character;
}

static inline void say(const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '\n')
            put('\r');
        put(*text);
    }
}

static inline void say_number(uint64_t number)
{
    if (number >= 10)
        say_number(number / 10);
    put((char)('0' + number % 10));
}

/* Says what went wrong, and ends the partition with the code 1, which counts as a fault. */
static inline void need(struct shikiri_answer answer, const char *what)
{
    if (answer.status == SHIKIRI_OK)
        return;
    say("c: ");
    say(what);
    say(": status -");
    say_number((uint64_t)-answer.status);
    say("\n");
    shikiri_partition_end(1);
}

#endif
