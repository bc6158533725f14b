/* The first instructions of a guest in C: vCPU 0, at EL1, MMU and caches off, x0 the device tree.
 *
 * The image runs wherever it was loaded: addresses are relative to the program counter, and no pointer in it needs
 * to be relocated. .bss is not in the image, so that it is cleared here.
 */
    .section .text.start, "ax"
    .global _start
_start:
    adr     x1, stack_end
    mov     sp, x1
    adr     x1, bss_start
    adr     x2, bss_end
0:  cmp     x1, x2
    b.hs    1f
    str     xzr, [x1], #8
    b       0b
1:  bl      main
    /* PSCI SYSTEM_OFF (Arm DEN 0022): the partition ends. */
    movz    w0, #0x8400, lsl #16
    movk    w0, #0x0008
    hvc     #0
2:  wfi
    b       2b
