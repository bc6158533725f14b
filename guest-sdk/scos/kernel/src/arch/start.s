// From the first instruction to Rust in the upper half.
//
// Entry (the boot protocol of arm64 Linux, without its header): EL1, MMU and data cache off, interrupts masked,
// x0 = device tree. The image may lie at any multiple of 4 KiB in the first 512 GiB.
//
// The kernel sees all of the first 512 GiB at their address plus KERNEL_BASE (map.rs), so the image's own
// virtual address is its load address plus that.

    .set    KERNEL_BASE, 0xffffff8000000000
    .set    BLOCK_DEVICE, 0x0060000000000401    // XN, AF, attribute 0, a block
    .set    BLOCK_MEMORY, 0x0040000000000705    // UXN, AF, inner shareable, attribute 1, a block
    .set    MAIR, 0xff04                        // 0: Device-nGnRE, 1: Normal write-back

    .section .text.start, "ax"
    .global _start
_start:
    msr     spsel, #1
    msr     daifset, #0xf
    mov     x20, x0
    adr     x22, _start                 // linked at 0: the load address
    mov     x23, #KERNEL_BASE
    add     x24, x22, x23               // what relocation adds

    // R_AARCH64_RELATIVE (1027) is the only relocation that the linker leaves in such an image.
    adr     x1, __rela_start
    adr     x2, __rela_end
1:  cmp     x1, x2
    b.hs    2f
    ldp     x3, x4, [x1], #16
    ldr     x5, [x1], #8
    cmp     x4, #1027
    b.ne    scos_hang
    add     x5, x5, x24
    str     x5, [x22, x3]
    b       1b

2:  adr     x1, __data_end
    adr     x2, __image_end
3:  cmp     x1, x2
    b.hs    4f
    stp     xzr, xzr, [x1], #16
    b       3b

    // One table for both halves until Rust has made better ones: entry n covers GiB n in either.
4:  adr     x0, boot_root
    ldr     x1, =BLOCK_DEVICE
    str     x1, [x0]
    lsr     x2, x22, #30
    ldr     x1, =BLOCK_MEMORY
    orr     x1, x1, x2, lsl #30
    str     x1, [x0, x2, lsl #3]

    // What the caches hold of this from before would hide what was written with them off (Arm ARM D7.5).
    mrs     x3, ctr_el0
    ubfx    x3, x3, #16, #4             // DminLine: log2 of words
    mov     x4, #4
    lsl     x3, x4, x3
    mov     x4, x22
    adr     x5, __image_end
5:  dc      ivac, x4
    add     x4, x4, x3
    cmp     x4, x5
    b.lo    5b
    dsb     sy

    ldr     x1, =MAIR
    msr     mair_el1, x1
    bl      scos_translation_control
    msr     tcr_el1, x1
    msr     ttbr0_el1, x0
    msr     ttbr1_el1, x0
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    ldr     x1, =0x3454d91d           // SCTLR (cpu.rs) without WXN: here all is writable and executable
    msr     sctlr_el1, x1
    isb
    adr     x1, 6f
    add     x1, x1, x23
    br      x1

6:  adr     x1, scos_stack_top
    mov     sp, x1
    adr     x1, scos_vectors
    msr     vbar_el1, x1
    mov     x1, #3 << 20                // CPACR_EL1.FPEN: programs use FP and SIMD
    msr     cpacr_el1, x1
    mov     x1, #2                      // CNTKCTL_EL1.EL0VCTEN: programs may read the virtual counter
    msr     cntkctl_el1, x1
    mov     x1, #1 << 12                // MDSCR_EL1.TDCC: the debugger's channel is not for programs
    msr     mdscr_el1, x1
    msr     tpidr_el1, xzr
    msr     tpidrro_el0, xzr
    isb
    mov     x0, x20
    mov     x1, x22
    bl      scos_boot

    .global scos_hang
scos_hang:
    wfi
    b       scos_hang

// x1 = TCR_EL1: 39 bits for each half, 4 KiB pages, write-back inner-shareable walks, 8-bit ASIDs from TTBR0,
// the physical size that the core has.
scos_translation_control:
    ldr     x1, =0x00000000b5193519
    mrs     x2, id_aa64mmfr0_el1
    and     x2, x2, #7
    orr     x1, x1, x2, lsl #32
    ret

// Goes over to other tables of the upper half. x0 = their root, x1 = the root of an empty lower half, both
// physical; x2 = SCTLR_EL1. Nothing may be held in two sizes of block at once (Arm ARM D8.16.1), so the change
// runs in the lower half, which maps everything to itself until its end.
    .global scos_leave_boot_tables
scos_leave_boot_tables:
    mov     x3, #KERNEL_BASE
    adr     x9, 1f
    sub     x9, x9, x3
    dsb     ishst
    br      x9
1:  msr     ttbr1_el1, x0
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    adr     x9, 2f
    add     x9, x9, x3
    br      x9
2:  msr     ttbr0_el1, x1
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    msr     sctlr_el1, x2
    isb
    ret

    .ltorg

    .section .bss.boot_root, "aw", %nobits
    .balign 4096
boot_root:
    .space  4096

    .section .stacks, "aw", %nobits
    .balign 4096
    .global scos_guard
scos_guard:
    .space  4096                        // unmapped: a stack that grows too far ends here
    .space  65536
    .global scos_stack_top
scos_stack_top:
    .space  4096
scos_last_stack_top:
