// x0 = start, x1 = end (4 KiB multiples), x2 = block bytes of DC ZVA, a data cache line's or more.
// Zeroes the range and cleans and invalidates it to the point of coherency, line by line: what is written
// here must be seen by a guest whose caches are off. Eight lines a round. Lines are 64 bytes: the caller
// checked CTR_EL0.DminLine and DCZID_EL0.
.section .text.clear, "ax"
.global clear_lines
clear_lines:
    cmp     x0, x1
    b.hs    2f
1:
    .rept 8
    dc      zva, x0
    dc      civac, x0
    add     x0, x0, #64
    .endr
    cmp     x0, x1
    b.lo    1b
2:  dsb     sy
    ret

// w0 = state (inverted), x1 = start (8-byte aligned), x2 = end of whole 8-byte words. CRC-32 (IEEE).
.global crc32_words
crc32_words:
    sub     x4, x2, x1
    and     x4, x4, #31
    sub     x4, x2, x4                  // whole rounds of 32 bytes
1:  cmp     x1, x4
    b.hs    2f
    ldp     x3, x5, [x1], #16
    .inst   0x9ac34c00                  // crc32x w0, w0, x3
    ldp     x6, x7, [x1], #16
    .inst   0x9ac54c00                  // crc32x w0, w0, x5
    .inst   0x9ac64c00                  // crc32x w0, w0, x6
    .inst   0x9ac74c00                  // crc32x w0, w0, x7
    b       1b
2:  cmp     x1, x2
    b.hs    3f
    ldr     x3, [x1], #8
    .inst   0x9ac34c00                  // crc32x w0, w0, x3
    b       2b
3:  ret

// x0 = target, x1 = source, x2 = end of the source; both ends and starts are multiples of 64.
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
