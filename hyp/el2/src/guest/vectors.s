// EL2's exception vectors, the way out of a guest and back in.
//
// A guest's exit stores what Rust may clobber (AAPCS64 6.1.1: x0-x18, x30) into the vCPU's context and
// calls a handler on this core's stack. Most exits end there: the handler answers 0 and the guest goes on
// with its x19-x29, EL1 state, list registers and FP registers untouched (Rust preserves x19-x29; where an
// exit may read or write one of them, they are stored as well, and 2 says that one was changed). A handler that answers 1 wants
// the core for something else: then x19-x29 are stored too, and `reschedule` returns the context to enter.
//
// TPIDR_EL2 holds the per-core block; its first word is the current vCPU's context. Context layout:
// x0-x30 from 0, ELR 248, SPSR 256 (`context.rs` asserts the offsets).

.macro exit_from_guest handler, is_sync=0
    stp     x0, x1, [sp, #-16]!
    mrs     x1, tpidr_el2
    ldr     x0, [x1]
    stp     x2, x3, [x0, #16]
    stp     x4, x5, [x0, #32]
    stp     x6, x7, [x0, #48]
    stp     x8, x9, [x0, #64]
    stp     x10, x11, [x0, #80]
    stp     x12, x13, [x0, #96]
    stp     x14, x15, [x0, #112]
    stp     x16, x17, [x0, #128]
    ldp     x2, x3, [sp], #16
    str     x18, [x0, #144]
    str     x30, [x0, #240]
    stp     x2, x3, [x0]
    .if \is_sync
    // A load or store that is emulated, and a trapped MSR or MRS, may name any register; a call may not.
    mrs     x2, esr_el2
    mov     w3, #0x5a000000             // EC 0x16 (HVC), IL 1, immediate 0
    cmp     w2, w3
    b.eq    hvc_from_guest
    bic     w3, w2, #{sgi1r_rt}         // a write to ICC_SGI1R_EL1 from x0 to x15
    mov     w4, #{sgi1r_low}
    movk    w4, #{sgi1r_high}, lsl #16
    cmp     w3, w4
    b.eq    sgi_from_guest
    stp     x19, x20, [x0, #152]
    stp     x21, x22, [x0, #168]
    stp     x23, x24, [x0, #184]
    stp     x25, x26, [x0, #200]
    stp     x27, x28, [x0, #216]
    str     x29, [x0, #232]
    .endif
    bl      \handler
    b       exit_done
.endm

.macro vector
    .balign 128
.endm

// An exception from EL2 itself: our bug. x0 = which vector.
.macro own_fault number
    vector
    msr     vpidr_el2, x0               // room for two registers; what it held is MIDR_EL1's value
    mov     x0, #\number
    b       own_fault_entry
.endm

.section .text.vectors, "ax"
.balign 2048
.global el2_vectors
el2_vectors:
    own_fault 0
    own_fault 1
    own_fault 2
    own_fault 3
    own_fault 4
    own_fault 5
    own_fault 6
    own_fault 7
    vector
    exit_from_guest on_sync, 1
    vector
    exit_from_guest on_irq
    vector
    exit_from_guest on_irq
    vector
    exit_from_guest on_serror
    vector                              // AArch32 guests do not exist: HCR_EL2.RW is 1
    exit_from_guest on_sync, 1
    vector
    exit_from_guest on_irq
    vector
    exit_from_guest on_irq
    vector
    exit_from_guest on_serror

.balign 128
sgi_from_guest:
    bl      on_sgi
    b       exit_done

hvc_from_guest:
    bl      on_hvc
exit_done:
    mrs     x1, tpidr_el2
    cbnz    w0, exit_rest
    ldr     x0, [x1]
resume_guest:
    ldp     x2, x3, [x0, #16]
    ldp     x4, x5, [x0, #32]
    ldp     x6, x7, [x0, #48]
    ldp     x8, x9, [x0, #64]
    ldp     x10, x11, [x0, #80]
    ldp     x12, x13, [x0, #96]
    ldp     x14, x15, [x0, #112]
    ldp     x16, x17, [x0, #128]
    ldr     x18, [x0, #144]
    ldr     x30, [x0, #240]
    ldp     x0, x1, [x0]
    eret
    dsb     nsh                         // no straight-line speculation past ERET
    isb

// w0 = what the handler wants: 1 the scheduler; 2 back to the guest, with x19-x29 changed.
exit_rest:
    mov     w2, w0
    ldr     x0, [x1]
    tbz     w2, #1, leave_guest
    ldp     x19, x20, [x0, #152]
    ldp     x21, x22, [x0, #168]
    ldp     x23, x24, [x0, #184]
    ldp     x25, x26, [x0, #200]
    ldp     x27, x28, [x0, #216]
    ldr     x29, [x0, #232]
    b       resume_guest

leave_guest:
    stp     x19, x20, [x0, #152]
    stp     x21, x22, [x0, #168]
    stp     x23, x24, [x0, #184]
    stp     x25, x26, [x0, #200]
    stp     x27, x28, [x0, #216]
    str     x29, [x0, #232]
    mrs     x2, elr_el2
    mrs     x3, spsr_el2
    stp     x2, x3, [x0, #248]
    mov     x0, x1
    mov     x29, xzr
    mov     x30, xzr
    bl      reschedule

// x0 = the context to enter; its EL1 state is loaded.
enter_guest:
    ldp     x2, x3, [x0, #248]
    msr     elr_el2, x2
    msr     spsr_el2, x3
    ldp     x19, x20, [x0, #152]
    ldp     x21, x22, [x0, #168]
    ldp     x23, x24, [x0, #184]
    ldp     x25, x26, [x0, #200]
    ldp     x27, x28, [x0, #216]
    ldr     x29, [x0, #232]
    b       resume_guest

// x0 = per-core block, x1 = top of this core's stack. Never returns: the core's life from here on.
.global run_core
run_core:
    mov     sp, x1
    bl      reschedule
    b       enter_guest

own_fault_entry:
    // Nothing is restored: the handler prints and stops. Its stack is apart, for the case that the fault is
    // this core's stack itself; TPIDR_EL2 is 0 before the core has its block, and the stack is one for all then.
    msr     vmpidr_el2, x1
    mrs     x1, tpidr_el2
    cbz     x1, 0f
    ldr     x1, [x1, #8]
    b       1f
0:  adrp    x1, early_fault_stack_end
    add     x1, x1, :lo12:early_fault_stack_end
1:  sub     x1, x1, #256
    stp     x2, x3, [x1, #16]
    stp     x4, x5, [x1, #32]
    stp     x6, x7, [x1, #48]
    stp     x8, x9, [x1, #64]
    stp     x10, x11, [x1, #80]
    stp     x12, x13, [x1, #96]
    stp     x14, x15, [x1, #112]
    stp     x16, x17, [x1, #128]
    stp     x18, x19, [x1, #144]
    stp     x20, x21, [x1, #160]
    stp     x22, x23, [x1, #176]
    stp     x24, x25, [x1, #192]
    stp     x26, x27, [x1, #208]
    stp     x28, x29, [x1, #224]
    mov     x2, sp
    stp     x30, x2, [x1, #240]
    mrs     x2, vpidr_el2
    mrs     x3, vmpidr_el2
    stp     x2, x3, [x1]
    mov     sp, x1
    bl      own_fault
2:  wfe
    b       2b

.pushsection .bss.early_fault_stack, "aw", @nobits
.balign 16
    .skip   4096
early_fault_stack_end:
.popsection

// The target is soft float, so that the compiler never touches these registers; here they are the guest's.
.arch_extension fp
.arch_extension simd

// Stores the FP/SIMD state at x0: q0-q31, then FPCR and FPSR. EL2 itself never touches it (soft float).
.global fp_save
fp_save:
    stp     q0, q1, [x0, #0]
    stp     q2, q3, [x0, #32]
    stp     q4, q5, [x0, #64]
    stp     q6, q7, [x0, #96]
    stp     q8, q9, [x0, #128]
    stp     q10, q11, [x0, #160]
    stp     q12, q13, [x0, #192]
    stp     q14, q15, [x0, #224]
    stp     q16, q17, [x0, #256]
    stp     q18, q19, [x0, #288]
    stp     q20, q21, [x0, #320]
    stp     q22, q23, [x0, #352]
    stp     q24, q25, [x0, #384]
    stp     q26, q27, [x0, #416]
    stp     q28, q29, [x0, #448]
    stp     q30, q31, [x0, #480]
    mrs     x1, fpcr
    mrs     x2, fpsr
    add     x0, x0, #512
    stp     x1, x2, [x0]
    ret

.global fp_load
fp_load:
    ldp     q0, q1, [x0, #0]
    ldp     q2, q3, [x0, #32]
    ldp     q4, q5, [x0, #64]
    ldp     q6, q7, [x0, #96]
    ldp     q8, q9, [x0, #128]
    ldp     q10, q11, [x0, #160]
    ldp     q12, q13, [x0, #192]
    ldp     q14, q15, [x0, #224]
    ldp     q16, q17, [x0, #256]
    ldp     q18, q19, [x0, #288]
    ldp     q20, q21, [x0, #320]
    ldp     q22, q23, [x0, #352]
    ldp     q24, q25, [x0, #384]
    ldp     q26, q27, [x0, #416]
    ldp     q28, q29, [x0, #448]
    ldp     q30, q31, [x0, #480]
    add     x0, x0, #512
    ldp     x1, x2, [x0]
    msr     fpcr, x1
    msr     fpsr, x2
    ret
