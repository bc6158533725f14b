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
    cmp     x1, x2
    b.hs    2f
1:  ldr     x3, [x1], #8
    .inst   0x9ac34c00                  // crc32x w0, w0, x3
    cmp     x1, x2
    b.lo    1b
2:  ret
