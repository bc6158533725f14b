// x0 = start, x1 = end (4 KiB multiples), x2 = block bytes of DC ZVA, a data cache line's or more.
// Zeroes the range and cleans and invalidates it to the point of coherency, line by line: what is written
// here must be seen by a guest whose caches are off. Thirty-two lines a round. Lines are 64 bytes: the caller
// checked CTR_EL0.DminLine and DCZID_EL0.
.section .text.clear, "ax"
.global clear_lines
clear_lines:
    cmp     x0, x1
    b.hs    2f
1:
    .rept 32
    dc      zva, x0
    dc      civac, x0
    add     x0, x0, #64
    .endr
    cmp     x0, x1
    b.lo    1b
2:  dsb     sy
    ret

// w0 = state (inverted), x1 = start (8-byte aligned), x2 = end. CRC-32 (IEEE); 64 bytes a round.
.global crc32_bytes
crc32_bytes:
    sub     x5, x2, x1
    and     x5, x5, #63
    sub     x4, x2, x5                  // whole rounds
    cmp     x1, x4
    b.hs    2f
1:
    .rept 4
    ldp     x3, x6, [x1], #16
    .inst   0x9ac34c00                  // crc32x w0, w0, x3
    .inst   0x9ac64c00                  // crc32x w0, w0, x6
    .endr
    cmp     x1, x4
    b.lo    1b
2:  subs    x5, x5, #8
    b.lo    3f
    ldr     x3, [x1], #8
    .inst   0x9ac34c00                  // crc32x w0, w0, x3
    b       2b
3:  tbz     x5, #2, 4f                  // its lower three bits are the rest's
    ldr     w3, [x1], #4
    .inst   0x1ac34800                  // crc32w w0, w0, w3
4:  tbz     x5, #1, 5f
    ldrh    w3, [x1], #2
    .inst   0x1ac34400                  // crc32h w0, w0, w3
5:  tbz     x5, #0, 6f
    ldrb    w3, [x1]
    .inst   0x1ac34000                  // crc32b w0, w0, w3
6:  ret

// x0 = target, x1 = source, x2 = end of the source; aligned to words, the size a multiple of 64.
.global copy_lines
copy_lines:
    cmp     x1, x2
    b.hs    2f
1:  ldp     x3, x4, [x1]
    ldp     x5, x6, [x1, #16]
    ldp     x7, x8, [x1, #32]
    ldp     x9, x10, [x1, #48]
    add     x1, x1, #64
    stp     x3, x4, [x0]
    stp     x5, x6, [x0, #16]
    stp     x7, x8, [x0, #32]
    stp     x9, x10, [x0, #48]
    add     x0, x0, #64
    cmp     x1, x2
    b.lo    1b
2:  ret

// memcpy and memset by 64 bytes: what the compiler moves of its own accord is a part of the time from reset, and the
// library's loops go by single words. They hold with the MMU off, too, where a word must be aligned (Arm ARM
// B2.9.2.1): up to the first multiple of 8, and behind the last, it goes by a byte, a half-word and a word. That is
// frequent: an enum's content begins behind its tag. What is not aligned alike at both ends goes by bytes.

// x0 = target, x1 = source, x2 = bytes; returns x0.
.section .text.memcpy, "ax"
.global memcpy
memcpy:
    mov     x3, x0
    orr     x4, x0, x1
    tst     x4, #7
    b.ne    8f
3:  subs    x2, x2, #64
    b.lo    2f
1:  ldp     x4, x5, [x1], #16
    ldp     x6, x7, [x1], #16
    ldp     x8, x9, [x1], #16
    ldp     x10, x11, [x1], #16
    stp     x4, x5, [x3], #16
    stp     x6, x7, [x3], #16
    stp     x8, x9, [x3], #16
    stp     x10, x11, [x3], #16
    subs    x2, x2, #64
    b.hs    1b
2:  adds    x2, x2, #56                 // bytes left - 8
    b.mi    5f
4:  ldr     x4, [x1], #8
    str     x4, [x3], #8
    subs    x2, x2, #8
    b.pl    4b
5:  add     x2, x2, #8                  // fewer than 8 are left
    cbz     x2, 7f
    tbz     x2, #2, 1f
    ldr     w4, [x1], #4
    str     w4, [x3], #4
1:  tbz     x2, #1, 1f
    ldrh    w4, [x1], #2
    strh    w4, [x3], #2
1:  tbz     x2, #0, 7f
    ldrb    w4, [x1]
    strb    w4, [x3]
7:  ret
8:  eor     x4, x0, x1
    tst     x4, #7
    b.ne    9f
    cmp     x2, #8
    b.lo    9f
    neg     x4, x0
    and     x4, x4, #7                  // bytes to the next multiple of 8
    sub     x2, x2, x4
    tbz     x4, #0, 1f
    ldrb    w5, [x1], #1
    strb    w5, [x3], #1
1:  tbz     x4, #1, 1f
    ldrh    w5, [x1], #2
    strh    w5, [x3], #2
1:  tbz     x4, #2, 3b
    ldr     w5, [x1], #4
    str     w5, [x3], #4
    b       3b
9:  cbz     x2, 7b
6:  ldrb    w4, [x1], #1
    strb    w4, [x3], #1
    subs    x2, x2, #1
    b.ne    6b
    ret

// x0 = target, w1 = byte, x2 = bytes; returns x0.
.section .text.memset, "ax"
.global memset
memset:
    mov     x3, x0
    and     x4, x1, #0xff
    orr     x4, x4, x4, lsl #8
    orr     x4, x4, x4, lsl #16
    orr     x4, x4, x4, lsl #32
    tst     x0, #7
    b.ne    8f
3:  subs    x2, x2, #64
    b.lo    2f
1:  stp     x4, x4, [x3], #16
    stp     x4, x4, [x3], #16
    stp     x4, x4, [x3], #16
    stp     x4, x4, [x3], #16
    subs    x2, x2, #64
    b.hs    1b
2:  adds    x2, x2, #56                 // bytes left - 8
    b.mi    5f
4:  str     x4, [x3], #8
    subs    x2, x2, #8
    b.pl    4b
5:  add     x2, x2, #8                  // fewer than 8 are left
    cbz     x2, 7f
    tbz     x2, #2, 1f
    str     w4, [x3], #4
1:  tbz     x2, #1, 1f
    strh    w4, [x3], #2
1:  tbz     x2, #0, 7f
    strb    w4, [x3]
7:  ret
8:  cmp     x2, #8
    b.lo    9f
    neg     x5, x0
    and     x5, x5, #7                  // bytes to the next multiple of 8
    sub     x2, x2, x5
    tbz     x5, #0, 1f
    strb    w4, [x3], #1
1:  tbz     x5, #1, 1f
    strh    w4, [x3], #2
1:  tbz     x5, #2, 3b
    str     w4, [x3], #4
    b       3b
9:  cbz     x2, 7b
6:  strb    w4, [x3], #1
    subs    x2, x2, #1
    b.ne    6b
    ret
