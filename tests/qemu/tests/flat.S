// A flat binary without a run-time, as somebody brings it: it says how it was entered, and powers itself off.

        .macro  put                     // w1
9:      ldr     w2, [x25, #0x18]
        tbnz    w2, #5, 9b              // UARTFR.TXFF
        str     w1, [x25]
        .endm

        .text
        b       entered                 // the first byte
        .space  60

entered:
        adr     x20, .text              // where the first byte is
        mov     x19, x0
        orr     x21, x1, x2
        orr     x21, x21, x3
        mov     x25, #0x09000000
        adr     x24, words
        mrs     x0, CurrentEL
        bl      say
        mrs     x0, sctlr_el1
        bl      say
        mrs     x0, daif
        bl      say
        mov     x0, x20
        bl      say
        mov     x0, x19
        bl      say
        ldr     w0, [x19]
        rev     w0, w0
        bl      say
        mov     x0, x21
        bl      say
        mov     x0, #0
        bl      say
        movz    x0, #0x0008
        movk    x0, #0x8400, lsl #16    // PSCI SYSTEM_OFF
        hvc     #0
        b       .

// The next word, and x0 as a number.
say:    ldrb    w1, [x24], #1
        cbz     w1, 1f
        put
        b       say
1:      mov     x3, #60
2:      lsr     x1, x0, x3
        and     x1, x1, #15
        cmp     x1, #10
        add     x4, x1, #'0'
        add     x1, x1, #'a' - 10
        csel    x1, x4, x1, lo
        put
        subs    x3, x3, #4
        b.pl    2b
        ret

words:  .asciz  "\r\nflat: level "
        .asciz  " sctlr "
        .asciz  " masked "
        .asciz  " at "
        .asciz  " tree "
        .asciz  " magic "
        .asciz  " rest "
        .asciz  "\r\nflat: code "
