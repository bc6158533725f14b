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

// Returns from an exception that never was, with SPSR = x0, to the end of this piece.
    .global hostile_return
hostile_return:
    adr     x2, 1f
    msr     elr_el1, x2
    msr     spsr_el1, x0
    isb
    eret
1:  nop
    msr     spsel, #0
    ret

// Loads by a stack pointer that is not aligned.
    .global hostile_odd_stack
hostile_odd_stack:
    sub     sp, sp, #8
    ldr     x0, [sp]
    add     sp, sp, #8
    ret

// Goes to EL0 with ELR, SPSR, x0 and x1 from [x0].
    .global hostile_user
hostile_user:
    ldp     x2, x3, [x0]
    msr     elr_el1, x2
    msr     spsr_el1, x3
    ldp     x0, x1, [x0, #16]
    ic      iallu
    dsb     nsh
    isb
    eret

// CPU_SUSPEND to standby.
    .global hostile_standby
hostile_standby:
    movz    x0, #1
    movk    x0, #0xc400, lsl #16
    mov     x1, xzr
    mov     x2, xzr
    mov     x3, xzr
    hvc     #0
    ret

// Keeps in [x0], 192 bytes, all that a call must keep and that is lost without power, past the caches.
    .macro keep
    mov     x9, sp
    stp     x9, x30, [x0]
    stp     x19, x20, [x0, #16]
    stp     x21, x22, [x0, #32]
    stp     x23, x24, [x0, #48]
    stp     x25, x26, [x0, #64]
    stp     x27, x28, [x0, #80]
    mrs     x9, tpidr_el1
    stp     x29, x9, [x0, #96]
    mrs     x9, ttbr0_el1
    mrs     x10, tcr_el1
    stp     x9, x10, [x0, #112]
    mrs     x9, mair_el1
    mrs     x10, sctlr_el1
    stp     x9, x10, [x0, #128]
    mrs     x9, vbar_el1
    msr     spsel, #1
    mov     x10, sp
    msr     spsel, #0
    stp     x9, x10, [x0, #144]
    mov     x9, x0
    add     x10, x0, #192
1:  dc      civac, x9
    add     x9, x9, #16
    cmp     x9, x10
    b.lo    1b
    dsb     sy
    .endm

// CPU_SUSPEND to power-down, state x1; comes back as from a call, if it is refused as well.
    .global hostile_power_down
hostile_power_down:
    keep
    mov     x3, x0
    adr     x2, hostile_resume
    movz    x0, #1
    movk    x0, #0xc400, lsl #16
    hvc     #0
    ret

// CPU_OFF; comes back when another vCPU has turned this one on at hostile_resume.
    .global hostile_power_off
hostile_power_off:
    keep
    movz    x0, #2
    movk    x0, #0x8400, lsl #16
    hvc     #0
    ret

// Entered as after a reset, with the MMU off; x0 = what was kept.
    .global hostile_resume
hostile_resume:
    msr     daifset, #0xf
    ldp     x9, x10, [x0, #144]
    msr     vbar_el1, x9
    msr     spsel, #1
    mov     sp, x10
    msr     spsel, #0
    ldp     x9, x30, [x0]
    mov     sp, x9
    ldp     x19, x20, [x0, #16]
    ldp     x21, x22, [x0, #32]
    ldp     x23, x24, [x0, #48]
    ldp     x25, x26, [x0, #64]
    ldp     x27, x28, [x0, #80]
    ldp     x29, x9, [x0, #96]
    msr     tpidr_el1, x9
    ldp     x9, x10, [x0, #112]
    msr     ttbr0_el1, x9
    msr     tcr_el1, x10
    ldp     x9, x10, [x0, #128]
    msr     mair_el1, x9
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    msr     sctlr_el1, x10
    isb
    mov     x0, #0
    ret
