// What the compiler calls to move and to clear values.
//
// memcpy(to x0, from x1, bytes x2), in words of 8 bytes wherever both sides can be made to meet. Only
// aligned accesses are made, so that it works with the MMU off as well. A word is read only if it holds a byte that is copied.

    .section .text.memcpy, "ax"
    .global memcpy
memcpy:
    orr     x4, x0, x1
    mov     x3, x0
    tst     x4, #7
    b.ne    6f
0:  subs    x2, x2, #32
    b.lo    2f
1:  ldp     x4, x5, [x1], #16
    ldp     x6, x7, [x1], #16
    subs    x2, x2, #32
    stp     x4, x5, [x3], #16
    stp     x6, x7, [x3], #16
    b.hs    1b
2:  tbz     x2, #4, 3f                  // the low five bits are those of what is left
    ldp     x4, x5, [x1], #16
    stp     x4, x5, [x3], #16
3:  tbz     x2, #3, 4f
    ldr     x4, [x1], #8
    str     x4, [x3], #8
4:  tbz     x2, #2, 11f
    ldr     w4, [x1], #4
    str     w4, [x3], #4
11: ands    x2, x2, #3
    b.ne    5f
    ret

5:  ldrb    w4, [x1], #1
    subs    x2, x2, #1
    strb    w4, [x3], #1
    b.ne    5b
    ret

6:  cmp     x2, #16
    b.lo    9f
7:  tst     x3, #7                      // bytes, until the target is aligned
    b.eq    8f
    ldrb    w4, [x1], #1
    sub     x2, x2, #1
    strb    w4, [x3], #1
    b       7b
8:  ands    x8, x1, #7
    b.eq    0b
    bic     x1, x1, #7                  // two words of the source make one of the target; nine bytes are left at least
    lsl     x9, x8, #3
    neg     x10, x9
    ldr     x4, [x1], #8
    sub     x2, x2, #8
10: ldr     x5, [x1], #8
    lsr     x6, x4, x9
    lsl     x7, x5, x10
    orr     x6, x6, x7
    subs    x2, x2, #8
    str     x6, [x3], #8
    mov     x4, x5
    b.hs    10b
    sub     x1, x1, #8
    add     x1, x1, x8
    add     x2, x2, #8
9:  cbnz    x2, 5b
    ret

// memset(to x0, byte w1, bytes x2), in words of 8 bytes, by aligned accesses only.
    .section .text.memset, "ax"
    .global memset
memset:
    mov     x3, x0
    and     x1, x1, #0xff
    cmp     x2, #16
    b.lo    4f
    orr     x1, x1, x1, lsl #8
    orr     x1, x1, x1, lsl #16
    orr     x1, x1, x1, lsl #32
0:  tst     x3, #7
    b.eq    1f
    strb    w1, [x3], #1
    sub     x2, x2, #1
    b       0b
1:  subs    x2, x2, #32
    b.lo    3f
2:  subs    x2, x2, #32
    stp     x1, x1, [x3], #16
    stp     x1, x1, [x3], #16
    b.hs    2b
3:  tbz     x2, #4, 5f                  // the low five bits are those of what is left
    stp     x1, x1, [x3], #16
5:  tbz     x2, #3, 6f
    str     x1, [x3], #8
6:  and     x2, x2, #7
4:  cbz     x2, 8f
7:  subs    x2, x2, #1
    strb    w1, [x3], #1
    b.ne    7b
8:  ret
