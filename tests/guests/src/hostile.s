// Pieces of the attacking guest (bin/hostile).

    .text
// x0 = where instructions are, x1 = an array of 18 values: jumps there with x0–x15 from the array, which x17 points at.
    .global hostile_call
hostile_call:
    mov     x16, x0
    mov     x17, x1
    ldp     x2, x3, [x17, #16]
    ldp     x4, x5, [x17, #32]
    ldp     x6, x7, [x17, #48]
    ldp     x8, x9, [x17, #64]
    ldp     x10, x11, [x17, #80]
    ldp     x12, x13, [x17, #96]
    ldp     x14, x15, [x17, #112]
    ldp     x0, x1, [x17]
    br      x16

// Where a vCPU starts that CPU_ON was tried on: it turns itself off.
    .global hostile_stub
hostile_stub:
    movz    x0, #2
    movk    x0, #0x8400, lsl #16
    hvc     #0
    b       hostile_stub

// A 16-byte access.
    .global hostile_pair
hostile_pair:
    stp     x0, x1, [x0]
    ret

// Zeroes a block by its address.
    .global hostile_zero
hostile_zero:
    dc      zva, x0
    ret
