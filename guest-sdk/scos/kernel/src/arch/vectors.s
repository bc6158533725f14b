// The vector table (Arm ARM D1.3.1), and the way to a program and back.
//
// scos_enter(frame) is a function that runs a program until it comes back to the kernel, and returns why: 0 for a
// synchronous exception, 1 for an interrupt, 2 for a fast one, 3 for a system error. All of the program's registers
// are in the Frame (frame.rs) whenever the kernel runs. The kernel runs with interrupts masked; an exception that is
// taken from EL1 is a bug of the kernel.

    .arch_extension fp
    .arch_extension simd

    .macro bug
    .balign 128
    b       scos_bug
    .endm

    .macro program reason
    .balign 128
    stp     x0, x1, [sp, #-16]!
    mov     x1, #\reason
    b       scos_leave
    .endm

    .section .text.vectors, "ax"
    .balign 2048
    .global scos_vectors
scos_vectors:
    .rept   8
    bug
    .endr
    program 0
    program 1
    program 2
    program 3
    .rept   4
    bug
    .endr

// Runs a program. x0 = its Frame.
    .global scos_enter
scos_enter:
    stp     x29, x30, [sp, #-112]!
    stp     x27, x28, [sp, #16]
    stp     x25, x26, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x21, x22, [sp, #64]
    stp     x19, x20, [sp, #80]
    str     x0, [sp, #96]

    add     x1, x0, #304
    ldp     q0, q1, [x1, #0]
    ldp     q2, q3, [x1, #32]
    ldp     q4, q5, [x1, #64]
    ldp     q6, q7, [x1, #96]
    ldp     q8, q9, [x1, #128]
    ldp     q10, q11, [x1, #160]
    ldp     q12, q13, [x1, #192]
    ldp     q14, q15, [x1, #224]
    ldp     q16, q17, [x1, #256]
    ldp     q18, q19, [x1, #288]
    ldp     q20, q21, [x1, #320]
    ldp     q22, q23, [x1, #352]
    ldp     q24, q25, [x1, #384]
    ldp     q26, q27, [x1, #416]
    ldp     q28, q29, [x1, #448]
    ldp     q30, q31, [x1, #480]
    ldp     x1, x2, [x0, #288]          // FPCR, FPSR
    msr     fpcr, x1
    msr     fpsr, x2
    ldp     x1, x2, [x0, #248]          // SP, ELR
    msr     sp_el0, x1
    msr     elr_el1, x2
    ldp     x1, x2, [x0, #264]          // SPSR, TPIDR
    msr     spsr_el1, x1
    msr     tpidr_el0, x2
    ldr     x30, [x0, #240]
    ldp     x28, x29, [x0, #224]
    ldp     x26, x27, [x0, #208]
    ldp     x24, x25, [x0, #192]
    ldp     x22, x23, [x0, #176]
    ldp     x20, x21, [x0, #160]
    ldp     x18, x19, [x0, #144]
    ldp     x16, x17, [x0, #128]
    ldp     x14, x15, [x0, #112]
    ldp     x12, x13, [x0, #96]
    ldp     x10, x11, [x0, #80]
    ldp     x8, x9, [x0, #64]
    ldp     x6, x7, [x0, #48]
    ldp     x4, x5, [x0, #32]
    ldp     x2, x3, [x0, #16]
    ldp     x0, x1, [x0, #0]
    eret

scos_leave:                             // [sp] = x0, x1 of the program; [sp, #112] = its Frame
    ldr     x0, [sp, #112]
    stp     x2, x3, [x0, #16]
    ldp     x2, x3, [sp], #16
    stp     x2, x3, [x0, #0]
    stp     x4, x5, [x0, #32]
    stp     x6, x7, [x0, #48]
    stp     x8, x9, [x0, #64]
    stp     x10, x11, [x0, #80]
    stp     x12, x13, [x0, #96]
    stp     x14, x15, [x0, #112]
    stp     x16, x17, [x0, #128]
    stp     x18, x19, [x0, #144]
    stp     x20, x21, [x0, #160]
    stp     x22, x23, [x0, #176]
    stp     x24, x25, [x0, #192]
    stp     x26, x27, [x0, #208]
    stp     x28, x29, [x0, #224]
    str     x30, [x0, #240]
    mrs     x2, sp_el0
    mrs     x3, elr_el1
    stp     x2, x3, [x0, #248]
    mrs     x2, spsr_el1
    mrs     x3, tpidr_el0
    stp     x2, x3, [x0, #264]
    mrs     x2, fpcr
    mrs     x3, fpsr
    stp     x2, x3, [x0, #288]
    add     x2, x0, #304
    stp     q0, q1, [x2, #0]
    stp     q2, q3, [x2, #32]
    stp     q4, q5, [x2, #64]
    stp     q6, q7, [x2, #96]
    stp     q8, q9, [x2, #128]
    stp     q10, q11, [x2, #160]
    stp     q12, q13, [x2, #192]
    stp     q14, q15, [x2, #224]
    stp     q16, q17, [x2, #256]
    stp     q18, q19, [x2, #288]
    stp     q20, q21, [x2, #320]
    stp     q22, q23, [x2, #352]
    stp     q24, q25, [x2, #384]
    stp     q26, q27, [x2, #416]
    stp     q28, q29, [x2, #448]
    stp     q30, q31, [x2, #480]
    mrs     x2, esr_el1
    mrs     x3, far_el1
    str     x2, [x0, #280]
    str     x3, [x0, #816]
    mov     x0, x1
    ldp     x19, x20, [sp, #80]
    ldp     x21, x22, [sp, #64]
    ldp     x23, x24, [sp, #48]
    ldp     x25, x26, [sp, #32]
    ldp     x27, x28, [sp, #16]
    ldp     x29, x30, [sp], #112
    ret

// An exception in the kernel: on a stack of its own, since the kernel's may be the reason.
scos_bug:
    adr     x0, scos_last_stack_top
    mov     sp, x0
    mrs     x0, esr_el1
    mrs     x1, elr_el1
    mrs     x2, far_el1
    bl      scos_kernel_exception
    b       scos_hang
