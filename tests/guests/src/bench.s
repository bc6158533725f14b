// The measured instructions (bin/bench.rs). Each operation: x0, x1 = arguments; returns the ticks between two
// reads of the clock around it.
//
// Interrupts come only in operations that unmask them, to the vectors below. Registers there: x13 = the
// CPU interface of a GICv2, or 0 with a GICv3; x9 receives the time of the vector's first instruction; x12
// becomes 1. The handler may change x10 and x11.

    .macro  clock register
    mrs     \register, cntvct_el0
    .endm

    .macro  operation name, instruction:vararg
    .global \name
\name:
    isb
    clock   x8
    \instruction
    clock   x9
    sub     x0, x9, x8
    ret
    .endm

    .text
    .global bench_clock
bench_clock:
    isb
    clock   x8
    clock   x9
    sub     x0, x9, x8
    ret

    operation bench_load32, ldr w2, [x0]
    operation bench_load64, ldr x2, [x0]
    operation bench_store8, strb w1, [x0]
    operation bench_store32, str w1, [x0]
    operation bench_sgi1r, msr s3_0_c12_c11_5, x1

    .global bench_hvc
bench_hvc:
    mov     x1, #0
// The same with an argument in x1.
    .global bench_hvc1
bench_hvc1:
    mov     x2, #0
    mov     x3, #0
    mov     x4, #0
    mov     x5, #0
    mov     x6, #0
    stp     x29, x30, [sp, #-16]!
    isb
    clock   x29
    hvc     #0
    clock   x30
    sub     x0, x30, x29
    ldp     x29, x30, [sp], #16
    ret

// SGI to this vCPU: from the instruction that sends it to the vector.
    .macro  self name, instruction:vararg
    .global \name
\name:
    mov     x13, x0
    mov     x12, #0
    movz    x14, #0xf00
    movk    x14, #0x0800, lsl #16       // GICD_SGIR
    msr     daifclr, #2
    isb
    clock   x8
    \instruction
1:  cbz     x12, 1b
    msr     daifset, #2
    sub     x0, x9, x8
    ret
    .endm

    self    bench_self_v3, msr s3_0_c12_c11_5, x1
    self    bench_self_v2, str w1, [x14]

// The virtual timer: from the deadline to the vector. x1 = ticks from now. The clock's cost is added, so that
// subtracting it leaves the difference itself.
    .macro  timer name, wait
    .global \name
\name:
    mov     x13, x0
    mov     x12, #0
    clock   x8
    add     x8, x8, x1
    msr     cntv_cval_el0, x8
    mov     x10, #1
    msr     cntv_ctl_el0, x10
    msr     daifclr, #2
    isb
1:  \wait
    cbz     x12, 1b
    msr     daifset, #2
    sub     x0, x9, x8
    isb
    clock   x10
    clock   x11
    sub     x11, x11, x10
    add     x0, x0, x11
    ret
    .endm

    timer   bench_timer_spin, nop
    timer   bench_timer_wfi, wfi

// SGI to the other vCPU, which waits in WFI; this one waits for its answer in WFI.
    .macro  other name, instruction:vararg
    .global \name
\name:
    mov     x13, x0
    mov     x12, #0
    movz    x14, #0xf00
    movk    x14, #0x0800, lsl #16
    msr     daifclr, #2
    isb
    clock   x8
    \instruction
1:  wfi
    cbz     x12, 1b
    msr     daifset, #2
    adrp    x10, bench_time
    ldr     x9, [x10, :lo12:bench_time]
    sub     x0, x9, x8
    ret
    .endm

    other   bench_other_v3, msr s3_0_c12_c11_5, x1
    other   bench_other_v2, str w1, [x14]

// An event to the other vCPU, in the same way: x0 = the CPU interface or 0, x1 = the send port.
    .global bench_event_other
bench_event_other:
    mov     x13, x0
    mov     x12, #0
    movz    x0, #0x0018
    movk    x0, #0xc600, lsl #16
    mov     x2, #0
    mov     x3, #0
    mov     x4, #0
    mov     x5, #0
    mov     x6, #0
    msr     daifclr, #2
    isb
    clock   x8
    hvc     #0
1:  wfi
    cbz     x12, 1b
    msr     daifset, #2
    adrp    x10, bench_time
    ldr     x9, [x10, :lo12:bench_time]
    sub     x0, x9, x8
    ret

// The other vCPU: x0 = its CPU interface or 0, x1 = what sends the SGI back.
    .global bench_target
bench_target:
    mov     x20, x1
    mov     x21, x0
    movz    x14, #0xf00
    movk    x14, #0x0800, lsl #16
    bl      bench_install
    mov     x13, x21
1:  mov     x12, #0
    msr     daifclr, #2
2:  wfi
    cbz     x12, 2b
    msr     daifset, #2
    adrp    x10, bench_time
    str     x9, [x10, :lo12:bench_time]
    dsb     ish
    // A pause, so that the sender is in WFI when the answer comes.
    mov     x10, #500
3:  sub     x10, x10, #1
    cbnz    x10, 3b
    cbnz    x13, 4f
    msr     s3_0_c12_c11_5, x20
    isb
    b       1b
4:  str     w20, [x14]
    b       1b

// Two vCPUs on one core. This one sets its timer to x1 ticks from now and waits in WFI; the other, which is always
// ready, notes the time when it sees that it is its turn: two instructions after it goes on, three at most.
    .global bench_switch
bench_switch:
    mov     x13, x0
    mov     x12, #0
    adrp    x14, bench_turn
    add     x14, x14, :lo12:bench_turn
    clock   x8
    add     x8, x8, x1
    msr     cntv_cval_el0, x8
    mov     x10, #1
    msr     cntv_ctl_el0, x10
    str     x10, [x14]
    msr     daifclr, #2
    isb
    clock   x8
1:  wfi
    cbz     x12, 1b
    msr     daifset, #2
    ldr     x9, [x14, #8]
    sub     x0, x9, x8
    ret

// The other one.
    .global bench_turns
bench_turns:
    adrp    x14, bench_turn
    add     x14, x14, :lo12:bench_turn
1:  ldr     x10, [x14]
    cbz     x10, 1b
    clock   x9
    str     x9, [x14, #8]
    str     xzr, [x14]
    b       1b

    .global bench_install
bench_install:
    adrp    x10, bench_vectors
    add     x10, x10, :lo12:bench_vectors
    msr     vbar_el1, x10
    isb
    ret

// Acknowledge, silence the timer, end.
bench_irq:
    cbz     x13, 1f
    ldr     w10, [x13, #0xc]
    msr     cntv_ctl_el0, xzr
    isb
    str     w10, [x13, #0x10]
    b       2f
1:  mrs     x10, s3_0_c12_c12_0
    msr     cntv_ctl_el0, xzr
    isb
    msr     s3_0_c12_c12_1, x10
2:  mov     x12, #1
    eret

    .macro  nothing
    .balign 128
    b       .
    .endm

    .balign 2048
bench_vectors:
    nothing
    .balign 128
    clock   x9
    b       bench_irq
    .rept   14
    nothing
    .endr

    .bss
    .balign 8
bench_time:
    .space  8
bench_turn:
    .space  16
