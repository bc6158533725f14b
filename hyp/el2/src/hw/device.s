// x0 = address, x1 = value, x2 = log2 of the size, plus 4 for a store. x0 = what a load read, x1 = 0; or, if the
// bus answers with a synchronous external abort, x1 = 1 (`device_access_aborted` below). A leaf that uses neither
// stack nor x19-x30: at an abort those are the caller's. The guest's exit is kept in x9-x15, because an abort
// overwrites it, and the vectors use VPIDR_EL2 and VMPIDR_EL2 as scratch.
.section .text.device, "ax"
.global device_access
device_access:
.global device_access_start
device_access_start:
    mrs     x9, elr_el2
    mrs     x10, spsr_el2
    mrs     x11, esr_el2
    mrs     x12, far_el2
    mrs     x13, hpfar_el2
    mrs     x14, vpidr_el2
    mrs     x15, vmpidr_el2
    tbnz    x2, #2, 4f
    cbz     x2, 1f
    cmp     x2, #2
    b.lo    2f
    b.eq    3f
    ldr     x0, [x0]
    b       8f
1:  ldrb    w0, [x0]
    b       8f
2:  ldrh    w0, [x0]
    b       8f
3:  ldr     w0, [x0]
    b       8f
4:  cmp     x2, #5
    b.lo    5f
    b.eq    6f
    cmp     x2, #6
    b.eq    7f
    str     x1, [x0]
    b       8f
5:  strb    w1, [x0]
    b       8f
6:  strh    w1, [x0]
    b       8f
7:  str     w1, [x0]
    // The access is complete here (Arm ARM B2.3.12, DSB): an asynchronous abort of it is pending now, and is taken
    // as soon as the guest that caused it goes on.
8:  dsb     sy
    mov     x1, xzr
    ret
.global device_access_end
device_access_end:

// x0 = the registers at the abort (x0-x30, SP). Returns to the caller of `device_access`. The state of the core is
// what it was, EL2 with SP_EL2 and exceptions masked; only the exit's registers are put back.
.global device_access_aborted
device_access_aborted:
    ldp     x9, x10, [x0, #72]
    ldp     x11, x12, [x0, #88]
    ldp     x13, x14, [x0, #104]
    ldr     x15, [x0, #120]
    msr     elr_el2, x9
    msr     spsr_el2, x10
    msr     esr_el2, x11
    msr     far_el2, x12
    msr     hpfar_el2, x13
    msr     vpidr_el2, x14
    msr     vmpidr_el2, x15
    ldp     x19, x20, [x0, #152]
    ldp     x21, x22, [x0, #168]
    ldp     x23, x24, [x0, #184]
    ldp     x25, x26, [x0, #200]
    ldp     x27, x28, [x0, #216]
    ldp     x29, x30, [x0, #232]
    ldr     x1, [x0, #248]
    mov     sp, x1
    mov     x0, xzr
    mov     x1, #1
    ret
