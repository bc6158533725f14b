// The measured instructions (bin/bench.rs). Each operation: x0, x1 = arguments; returns the ticks between two
// reads of the clock around it.
//
// Interrupts come only in operations that unmask them, to the vectors below. Registers there: x13 = the
// CPU interface of a GICv2, or 0 with a GICv3; x9 receives the time of the vector's first instruction; x12
// becomes 1. The handler may change x10 and x11.

    .macro  clock register
    mrs     \register, cntvct_el0
    .endm

// Waits for the vector. An interrupt that comes between the look and WFI would be waited for for ever; by counted
// instructions it does not. With \masked it cannot: they come after WFI alone, for a machine whose time goes on by itself.
    .macro  open masked
    .if     \masked == 0
    msr     daifclr, #2
    .endif
    isb
    .endm

    .macro  sleep masked, wait=wfi
1:  \wait
    .if     \masked
    msr     daifclr, #2
    isb
    msr     daifset, #2
    .endif
    cbz     x12, 1b
    .if     \masked == 0
    msr     daifset, #2
    .endif
    .endm

// By the counter, and by the cycle counter of this core.
    .macro  operation name, instruction:vararg
    measured \name, cntvct_el0, \instruction
    measured \name\()_cycles, pmccntr_el0, \instruction
    .endm

    .macro  measured name, counter, instruction:vararg
    .global \name
\name:
    isb
    mrs     x8, \counter
    \instruction
    mrs     x9, \counter
    sub     x0, x9, x8
    ret
    .endm

    .text
    operation bench_clock
    operation bench_load32, ldr w2, [x0]
    operation bench_load64, ldr x2, [x0]
    operation bench_store8, strb w1, [x0]
    operation bench_store32, str w1, [x0]
    operation bench_sgi1r, msr s3_0_c12_c11_5, x1

// Two entries each: the second has an argument in x1.
    .macro  hypercall name, counter
    .global \name
    .global \name\()1
\name:
    mov     x1, #0
\name\()1:
    mov     x2, #0
    mov     x3, #0
    mov     x4, #0
    mov     x5, #0
    mov     x6, #0
    stp     x29, x30, [sp, #-16]!
    isb
    mrs     x29, \counter
    hvc     #0
    mrs     x30, \counter
    sub     x0, x30, x29
    ldp     x29, x30, [sp], #16
    ret
    .endm

    hypercall bench_hvc, cntvct_el0
    hypercall bench_hvc_cycles, pmccntr_el0

// SGI to this vCPU: from the instruction that sends it to the vector.
    .macro  self name, counter, vectors, instruction:vararg
    .global \name
\name:
    mov     x13, x0
    mov     x12, #0
    movz    x14, #0xf00
    movk    x14, #0x0800, lsl #16       // GICD_SGIR
    adrp    x10, \vectors
    add     x10, x10, :lo12:\vectors
    msr     vbar_el1, x10
    msr     daifclr, #2
    isb
    mrs     x8, \counter
    \instruction
1:  cbz     x12, 1b
    msr     daifset, #2
    sub     x0, x9, x8
    b       bench_install
    .endm

    self    bench_self_v3, cntvct_el0, bench_vectors, msr s3_0_c12_c11_5, x1
    self    bench_self_v2, cntvct_el0, bench_vectors, str w1, [x14]
    self    bench_self_v3_cycles, pmccntr_el0, bench_vectors_cycles, msr s3_0_c12_c11_5, x1
    self    bench_self_v2_cycles, pmccntr_el0, bench_vectors_cycles, str w1, [x14]

// The virtual timer: from the deadline to the vector. x1 = ticks from now. The clock's cost is added, so that
// subtracting it leaves the difference itself.
    .macro  timer name, masked, wait
    .global \name
\name:
    mov     x13, x0
    mov     x12, #0
    clock   x8
    add     x8, x8, x1
    msr     cntv_cval_el0, x8
    mov     x10, #1
    msr     cntv_ctl_el0, x10
    open    \masked
    sleep   \masked, \wait
    sub     x0, x9, x8
    isb
    clock   x10
    clock   x11
    sub     x11, x11, x10
    add     x0, x0, x11
    ret
    .endm

    timer   bench_timer_spin, 0, nop
    timer   bench_timer_wfi, 0, wfi
    timer   bench_timer_wfi_masked, 1, wfi

// SGI to the other vCPU, which waits in WFI; this one waits for its answer in WFI.
    .macro  other name, masked, instruction:vararg
    .global \name
\name:
    mov     x13, x0
    mov     x12, #0
    movz    x14, #0xf00
    movk    x14, #0x0800, lsl #16
    open    \masked
    clock   x8
    \instruction
    sleep   \masked
    adrp    x10, bench_time
    ldr     x9, [x10, :lo12:bench_time]
    sub     x0, x9, x8
    ret
    .endm

    other   bench_other_v3, 0, msr s3_0_c12_c11_5, x1
    other   bench_other_v2, 0, str w1, [x14]
    other   bench_other_v3_masked, 1, msr s3_0_c12_c11_5, x1
    other   bench_other_v2_masked, 1, str w1, [x14]

// An event to the other vCPU, in the same way: x0 = the CPU interface or 0, x1 = the send port.
    .macro  event_other name, masked
    .global \name
\name:
    mov     x13, x0
    mov     x12, #0
    movz    x0, #0x0018
    movk    x0, #0xc600, lsl #16
    mov     x2, #0
    mov     x3, #0
    mov     x4, #0
    mov     x5, #0
    mov     x6, #0
    open    \masked
    clock   x8
    hvc     #0
    sleep   \masked
    adrp    x10, bench_time_at
    ldr     x10, [x10, :lo12:bench_time_at]
    ldr     x9, [x10]
    sub     x0, x9, x8
    ret
    .endm

    event_other bench_event_other, 0
    event_other bench_event_other_masked, 1

// The other vCPU: x0 = its CPU interface or 0, x1 = what sends the SGI back.
    .macro  target name, masked
    .global \name
\name:
    mov     x20, x1
    mov     x21, x0
    movz    x14, #0xf00
    movk    x14, #0x0800, lsl #16
    bl      bench_install
    mov     x13, x21
5:  mov     x12, #0
    open    \masked
    sleep   \masked
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
    b       5b
4:  str     w20, [x14]
    b       5b
    .endm

    target  bench_target, 0
    target  bench_target_masked, 1

// The other partition, in the same way: x0 = its CPU interface or 0, x1 = what sends an event back. It says its time where the other can read it,
// and returns when the word behind that is 2.
    .global bench_event_target
bench_event_target:
    mov     x20, x1
    mov     x13, x0
    adrp    x14, bench_time_at
    ldr     x14, [x14, :lo12:bench_time_at]
5:  mov     x12, #0
    open    0
    sleep   0
    ldr     x10, [x14, #8]
    cmp     x10, #2
    b.eq    9f
    str     x9, [x14]
    dsb     ish
    mov     x10, #500
3:  sub     x10, x10, #1
    cbnz    x10, 3b
    movz    x0, #0x0018
    movk    x0, #0xc600, lsl #16
    mov     x1, x20
    mov     x2, #0
    mov     x3, #0
    mov     x4, #0
    mov     x5, #0
    mov     x6, #0
    hvc     #0
    b       5b
9:  ret

// Two vCPUs on one core. This one sets its timer to x1 ticks from now and waits in WFI; the other, which is always
// ready, notes the time when it sees that it is its turn: two instructions after it goes on, three at most.
    .macro  switch name, masked
    .global \name
\name:
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
    open    \masked
    clock   x8
    sleep   \masked
    ldr     x9, [x14, #8]
    sub     x0, x9, x8
    ret
    .endm

    switch  bench_switch, 0
    switch  bench_switch_masked, 1

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

    .macro  vectors name, counter
    .balign 2048
\name:
    nothing
    .balign 128
    mrs     x9, \counter
    b       bench_irq
    .rept   14
    nothing
    .endr
    .endm

    vectors bench_vectors, cntvct_el0
    vectors bench_vectors_cycles, pmccntr_el0

    // Where the target of an event says its time: its own word, or one that another partition sees.
    .data
    .balign 8
    .global bench_time_at
bench_time_at:
    .quad   bench_time

    .bss
    .balign 8
bench_time:
    .space  8
bench_turn:
    .space  16
