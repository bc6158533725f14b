// The first and the last instructions of the guest fresh (main.rs).

    .arch_extension fp
    .arch_extension simd

// Byte 0 of the image: a program's own objects come before the run-time's. Keeps what is there in FRESH, in the order that main.rs
// names, and goes on with the run-time's start; x0 stays.
    .section .text.start, "ax"
fresh_start:
    .irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29
    orr     x30, x30, x\n
    .endr
    adrp    x1, FRESH
    add     x1, x1, :lo12:FRESH
    mov     x2, sp
    stp     x30, x2, [x1], #16
    .irp register, nzcv, daif, currentel, spsel, sctlr_el1
    mrs     x2, \register
    str     x2, [x1], #8
    .endr
    .irp register, sp_el0, elr_el1, spsr_el1, cpacr_el1, ttbr0_el1, ttbr1_el1, tcr_el1, esr_el1, far_el1, mair_el1, vbar_el1, contextidr_el1, tpidr_el0, tpidrro_el0, tpidr_el1, par_el1, cntkctl_el1, csselr_el1, cntv_ctl_el0, cntv_cval_el0
    mrs     x2, \register
    str     x2, [x1], #8
    .endr
    mov     x2, #(3 << 20)              // CPACR_EL1.FPEN
    msr     cpacr_el1, x2
    isb
    mrs     x2, fpcr
    mrs     x3, fpsr
    stp     x2, x3, [x1], #16
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    mov     x2, v\n\().d[0]
    mov     x3, v\n\().d[1]
    stp     x2, x3, [x1], #16
    .endr
    msr     cpacr_el1, xzr
    b       _start

// Leaves all of them full and makes the call x0, which does not return. Memory is not accessed meanwhile.
    .text
    .global fresh_leave
fresh_leave:
    msr     daifset, #0xf
    mov     x1, #(3 << 20)
    msr     cpacr_el1, x1
    isb
    movz    x1, #0x5a50
    movk    x1, #0x5a5a, lsl #16
    movk    x1, #0x005a, lsl #32
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    dup     v\n\().2d, x1
    .endr
    mov     x2, #0x00c00000             // a rounding mode
    msr     fpcr, x2
    mov     x2, #0x1f
    msr     fpsr, x2
    .irp register, elr_el1, ttbr1_el1, far_el1, vbar_el1, tpidr_el0, tpidrro_el0, tpidr_el1, par_el1, cntv_cval_el0
    msr     \register, x1
    .endr
    mov     w2, w1
    msr     esr_el1, x2
    msr     contextidr_el1, x2
    mov     x2, #0xf0000000             // NZCV
    msr     spsr_el1, x2
    mov     x2, #2
    msr     cntv_ctl_el0, x2            // IMASK
    msr     csselr_el1, x2
    mov     x2, #0x303
    msr     cntkctl_el1, x2
    msr     spsel, #1
    msr     sp_el0, x1
    mov     sp, x1
    .irp n, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
    mov     x\n, x1
    .endr
    hvc     #0
1:  b       1b
