/* The first instructions of a guest in C: vCPU 0, at EL1, MMU and caches off, x0 the device tree.
 *
 * The image runs wherever it was loaded: addresses are relative to the program counter, and no pointer in it needs
 * to be relocated. .bss is not in the image, so that it is cleared here. Then MMU and caches are turned on: areas and a
 * message port's pages are shared with others, who see them through their caches.
 */
    .section .text.start, "ax"
    .global _start
_start:
    adr     x1, bss_start
    adr     x2, bss_end
0:  cmp     x1, x2
    b.hs    1f
    str     xzr, [x1], #8
    b       0b

    /* The tables, 4 KiB granule: all addresses to themselves. Level 0 has two entries; the two tables of level 1 lie one
     * behind the other, 1,024 blocks of 1 GiB: Normal, Write-Back, Inner Shareable, accessed. */
1:  adr     x1, tables
    add     x2, x1, #0x1000
    add     x3, x1, #0x2000
    orr     x4, x2, #3
    orr     x5, x3, #3
    stp     x4, x5, [x1]
    mov     x4, #0x705
    mov     x5, #1024
    mov     x6, #0x40000000
2:  str     x4, [x2], #8
    add     x4, x4, x6
    subs    x5, x5, #1
    b.ne    2b
    /* The first block is the devices: attribute 0, never executed. */
    mov     x4, #0x401
    orr     x4, x4, #0x0060000000000000
    str     x4, [x1, #0x1000]

    /* What was written with the cache off is hidden by lines from before, if there are any. */
    adr     x1, bss_start
    adr     x2, stack_end
    mrs     x3, ctr_el0
    ubfx    x3, x3, #16, #4
    mov     x4, #4
    lsl     x3, x4, x3
    sub     x4, x3, #1
    bic     x1, x1, x4
3:  dc      ivac, x1
    add     x1, x1, x3
    cmp     x1, x2
    b.lo    3b
    dsb     sy

    mov     x1, #0xff04                     /* MAIR: 0 Device-nGnRE, 1 Normal Write-Back */
    msr     mair_el1, x1
    movz    x1, #0x3518                     /* TCR: 40 bits (T0SZ 24), walks as the memory, */
    movk    x1, #0x0080, lsl #16            /* nothing above (EPD1), */
    movk    x1, #0x0002, lsl #32            /* 40 bits of intermediate physical addresses */
    msr     tcr_el1, x1
    adr     x1, tables
    msr     ttbr0_el1, x1
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    mrs     x1, sctlr_el1
    orr     x1, x1, #(1 << 0)               /* MMU */
    orr     x1, x1, #(1 << 2)               /* data cache */
    orr     x1, x1, #(1 << 12)              /* instruction cache */
    msr     sctlr_el1, x1
    isb

    adr     x1, stack_end
    mov     sp, x1
    bl      main
    /* PSCI SYSTEM_OFF (Arm DEN 0022): the partition ends. */
    movz    w0, #0x8400, lsl #16
    movk    w0, #0x0008
    hvc     #0
4:  wfi
    b       4b

    .section .bss.tables, "aw", %nobits
    .balign 4096
tables:
    .space  0x3000
