// What TF-A is on a Raspberry Pi 4, as far as the hypervisor can tell: at EL3 it puts the GIC's interrupts into group 1, enters the image at
// EL2, and starts the other cores by PSCI. At address 0, where all cores begin; the tree reserves the page.
//
// PSCI_VERSION, CPU_ON and SYSTEM_OFF (Arm DEN 0022D, 5); all else is not supported.

        .text
        movz    x5, #0x1000
        movk    x5, #0xff84, lsl #16        // GICD
        mrs     x7, mpidr_el1
        and     x7, x7, #3
        ldr     w8, [x5, #4]
        tbz     w8, #10, 1f                 // GICD_TYPER.SecurityExtn: QEMU's has none, and one group is as good as the other
        mov     w6, #-1
        str     w6, [x5, #0x80]             // GICD_IGROUPR0, this core's
        cbnz    x7, 1f
        add     x8, x5, #0x84
        mov     x9, #31
0:      str     w6, [x8], #4
        subs    x9, x9, #1
        b.ne    0b
1:      movz    x5, #0x2000
        movk    x5, #0xff84, lsl #16        // GICC
        mov     w6, #0xff
        str     w6, [x5, #4]                // GICC_PMR
        adr     x5, vectors
        msr     vbar_el3, x5
        mov     x5, #0x531                  // SCR_EL3: AArch64, HVC, SMC, non-secure
        msr     scr_el3, x5
        msr     cptr_el3, xzr
        movz    x5, #0x0830
        movk    x5, #0x30c5, lsl #16
        msr     sctlr_el2, x5
        mov     x5, #0x3c9                  // EL2h, masked
        msr     spsr_el3, x5
        cbnz    x7, 2f
        mov     x5, #0x200000
        mov     x0, #0x9000000              // the device tree
        b       4f
2:      adr     x8, mailboxes
        add     x8, x8, x7, lsl #4
3:      wfe
        ldr     x5, [x8]
        cbz     x5, 3b
        ldr     x0, [x8, #8]
4:      msr     elr_el3, x5
        mov     x1, #0
        mov     x2, #0
        mov     x3, #0
        eret

        .balign 2048
vectors:
        .space  0x400
        // From EL2: SMC.
        msr     tpidr_el3, x4
        movz    x4, #0x0003
        movk    x4, #0xc400, lsl #16
        cmp     x0, x4
        b.eq    cpu_on
        movz    x4, #0x0000
        movk    x4, #0x8400, lsl #16
        cmp     x0, x4
        b.eq    version
        add     x4, x4, #8
        cmp     x0, x4
        b.eq    off
        mov     x0, #-1
        b       out
version:
        mov     x0, #0x10000
        b       out
cpu_on:
        adr     x4, mailboxes
        and     x1, x1, #3
        add     x4, x4, x1, lsl #4
        str     x3, [x4, #8]
        dmb     sy
        str     x2, [x4]
        dsb     sy
        sev
        mov     x0, #0
out:    mrs     x4, tpidr_el3
        eret
off:    movz    x4, #0x0000                 // the watchdog, which resets
        movk    x4, #0xfe10, lsl #16
        movz    x1, #0x0001
        movk    x1, #0x5a00, lsl #16
        str     w1, [x4, #0x24]
        movz    x1, #0x0020
        movk    x1, #0x5a00, lsl #16
        str     w1, [x4, #0x1c]
        b       .

        .balign 16
mailboxes:
        .space  64
