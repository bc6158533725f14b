// From the first instruction to Rust.
//
// Entry (the boot protocol of arm64 Linux, without its header): EL1, MMU and data cache off, interrupts
// masked, x0 = device tree. The image may lie at any multiple of 4 KiB.
//
// Code runs on SP_EL0 (EL1t) and exceptions on SP_EL1, so that a handler has a stack even when the code has
// used up its own.

    .section .text.start, "ax"
    .global _start
_start:
    mrs     x21, cntpct_el0             // the time of the first instruction, for whoever measures
    msr     daifset, #0xf
    mov     x20, x0
    adrp    x22, __image_start          // linked at 0: this is what relocation adds

    // R_AARCH64_RELATIVE (1027) is the only relocation that the linker leaves in such an image.
    adrp    x1, __rela_start
    add     x1, x1, :lo12:__rela_start
    adrp    x2, __rela_end
    add     x2, x2, :lo12:__rela_end
1:  cmp     x1, x2
    b.hs    2f
    ldp     x3, x4, [x1], #16
    ldr     x5, [x1], #8
    cmp     x4, #1027
    b.ne    rt_hang
    add     x5, x5, x22
    str     x5, [x22, x3]
    b       1b

2:  adrp    x1, __data_end
    add     x1, x1, :lo12:__data_end
    adrp    x2, __image_end
3:  cmp     x1, x2
    b.hs    4f
    stp     xzr, xzr, [x1], #16
    b       3b

4:  adrp    x0, rt_exception_top
    adrp    x1, rt_stack_top
    bl      rt_prepare_core
    mov     x0, x20
    mov     x1, x21
    bl      rt_boot
    // Falls through: rt_boot does not return.

rt_hang:
    wfi
    b       rt_hang

// Sets vectors, stacks and the core's number. x0 = top of the exception stack, x1 = top of the stack.
rt_prepare_core:
    msr     spsel, #1
    mov     sp, x0
    msr     spsel, #0
    mov     sp, x1
    adrp    x2, rt_vectors
    add     x2, x2, :lo12:rt_vectors
    msr     vbar_el1, x2
    isb
    ret

// A secondary core, started by PSCI with the MMU off. x0 = its StartBlock (start.rs), which was cleaned to
// the point of coherency.
    .global rt_secondary_start
rt_secondary_start:
    msr     daifset, #0xf
    mov     x19, x0
    ldr     x0, [x19, #0]
    ldr     x1, [x19, #8]
    ldr     x2, [x19, #16]
    msr     tpidr_el1, x2
    bl      rt_prepare_core
    ldp     x0, x1, [x19, #24]          // TTBR0, TCR
    ldp     x2, x3, [x19, #40]          // MAIR, SCTLR
    bl      rt_mmu_on
    bl      rt_secondary
    b       rt_hang

// Removes what the caches hold of [x0, x1): lines from before the memory was written with the cache off
// would hide those writes (Arm ARM D7.5, cache maintenance to the point of coherency).
    .global rt_discard_cached
rt_discard_cached:
    mrs     x2, ctr_el0
    ubfx    x2, x2, #16, #4             // DminLine: log2 of words
    mov     x3, #4
    lsl     x2, x3, x2
    sub     x3, x2, #1
    bic     x0, x0, x3
1:  dc      ivac, x0
    add     x0, x0, x2
    cmp     x0, x1
    b.lo    1b
    dsb     sy
    ret

// Turns on the MMU and the caches. x0 = TTBR0_EL1, x1 = TCR_EL1, x2 = MAIR_EL1, x3 = SCTLR_EL1. The code
// runs from an identity mapping, so that the next instruction is where it was.
    .global rt_mmu_on
rt_mmu_on:
    msr     mair_el1, x2
    msr     tcr_el1, x1
    msr     ttbr0_el1, x0
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    msr     sctlr_el1, x3
    isb
    ret

    .section .stacks, "aw", %nobits
    .balign 4096
    .global rt_guards
rt_guards:
    .space  4096                        // unmapped: a stack that grows too far ends here
    .space  65536
rt_stack_top:
    .space  4096                        // unmapped
    .space  8192
rt_exception_top:
