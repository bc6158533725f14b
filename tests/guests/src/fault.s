// Pieces that may fault, and what catches them (fault.rs).

    .text
// x0 = piece, x1, x2 = its arguments, x3 = the vCPU's Attempt. Returns x0 = value, x1 = whether it faulted.
    .global fault_try
fault_try:
    stp     x29, x30, [sp, #-96]!
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    mov     x9, sp
    mrs     x10, daif
    str     x9, [x3, #0]
    str     x10, [x3, #40]
    adr     x9, 1f
    str     x9, [x3, #8]
    mov     x19, x3
    mov     x9, x0
    mov     x0, x1
    mov     x1, x2
    blr     x9
    str     xzr, [x19, #8]
    mov     x1, #0
    b       2f
1:  mov     x1, #1
2:  ldp     x27, x28, [sp, #80]
    ldp     x25, x26, [sp, #64]
    ldp     x23, x24, [sp, #48]
    ldp     x21, x22, [sp, #32]
    ldp     x19, x20, [sp, #16]
    ldp     x29, x30, [sp], #96
    ret

    .macro piece name:req, instruction:vararg
    .global \name
\name:
    \instruction
    ret
    .endm

    piece   fault_load8, ldrb w0, [x0]
    piece   fault_load16, ldrh w0, [x0]
    piece   fault_load32, ldr w0, [x0]
    piece   fault_load64, ldr x0, [x0]
    piece   fault_store8, strb w1, [x0]
    piece   fault_store16, strh w1, [x0]
    piece   fault_store32, str w1, [x0]
    piece   fault_store64, str x1, [x0]
    piece   fault_clear_line, dc zva, x0
    piece   fault_clean, dc cvac, x0
    piece   fault_clean_to_unification, dc cvau, x0
    piece   fault_clean_and_invalidate, dc civac, x0
    piece   fault_invalidate, dc ivac, x0
    piece   fault_invalidate_code, ic ivau, x0
    piece   fault_load_pair, ldp w0, w1, [x0]
    piece   fault_store_writeback, str w1, [x0], #4

    .global fault_exclusive
fault_exclusive:
    ldxr    w2, [x0]
    stxr    w3, w1, [x0]
    mov     w0, w2
    ret

    .global fault_exclusive64
fault_exclusive64:
    ldxr    x2, [x0]
    stxr    w3, x1, [x0]
    mov     x0, x2
    ret

    .global fault_call
fault_call:
    stp     x29, x30, [sp, #-16]!
    blr     x0
    ldp     x29, x30, [sp], #16
    ret
