// Prints CNTVCT_EL0 in decimal with a line feed, then exits with code 0.
// The text is built backwards below the stack pointer's first 32 bytes.

.global _start
_start:
    isb                             // the counter must not be read early
    mrs     x0, cntvct_el0
    sub     sp, sp, #32
    add     x1, sp, #31             // x1: the text's first byte
    mov     w2, #'\n'
    strb    w2, [x1]
    mov     x3, #10
0:  udiv    x4, x0, x3
    msub    x5, x4, x3, x0          // x5: the last digit
    add     w5, w5, #'0'
    strb    w5, [x1, #-1]!
    mov     x0, x4
    cbnz    x0, 0b

    add     x2, sp, #32
    sub     x2, x2, x1              // its length
    mov     x0, #1                  // standard output
    mov     x8, #64                 // write
    svc     #0
    mov     x0, #0
    mov     x8, #93                 // exit
    svc     #0
