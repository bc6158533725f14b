// Entry of the boot core and of the secondary cores. MMU and data cache are off on entry; memory is
// accessed as Device-nGnRnE, so everything here is aligned.

.section .text.head, "ax"

// The arm64 Linux image header (Linux, Documentation/arch/arm64/booting.rst): QEMU, U-Boot and the Pi's
// firmware load us as they load Linux.
.global _start
_start:
    b       primary_entry
    .long   0
    .quad   0                           // text_offset
    .quad   __image_size                // image_size, memory after the file included
    .quad   0xa                         // flags: little endian, 4 KiB pages, anywhere in memory
    .quad   0
    .quad   0
    .quad   0
    .ascii  "ARM\x64"
    .long   0

// x0 = physical address of the device tree.
primary_entry:
    msr     daifset, #15
    msr     spsel, #1                   // at EL2t the stack would be SP_EL0, and the vectors' SP_EL2 nobody's
    mov     x21, x0
    adr     x23, _start                 // where the loader has put the image
    tst     x23, #0xfff
    b.ne    off_page
on_page:
    adrp    x20, _start                 // the image is 4 KiB aligned and linked at 0: also the load offset
    mrs     x22, CurrentEL
    lsr     x22, x22, #2

    // A defined SCTLR with MMU and caches off, at whatever level we are (RES1 bits: Arm ARM D24.2.146). First the host
    // extensions off, which a kernel that hands over may have on: TCR_EL2, CPTR_EL2 and CNTHCTL_EL2 have another layout with
    // them, and MDCR_EL2 and the traps another meaning (Arm ARM D24.2, HCR_EL2.E2H). Where the bit is RES1 (no FEAT_E2H0) the
    // boot is refused as soon as it can be said.
    cmp     x22, #2
    b.ne    1f
    mov     x1, #1 << 31                // RW alone
    msr     hcr_el2, x1
    isb
    ldr     x1, =0x30c50830
    msr     sctlr_el2, x1
    b       2f
1:  cmp     x22, #1
    b.ne    2f
    ldr     x1, =0x30d00800
    msr     sctlr_el1, x1
2:  isb

    // Zero .bss.
    adrp    x1, __bss_start
    add     x1, x1, :lo12:__bss_start
    adrp    x2, __bss_end
    add     x2, x2, :lo12:__bss_end
3:  cmp     x1, x2                      // both are multiples of 64
    b.hs    4f
    stp     xzr, xzr, [x1]
    stp     xzr, xzr, [x1, #16]
    stp     xzr, xzr, [x1, #32]
    stp     xzr, xzr, [x1, #48]
    add     x1, x1, #64
    b       3b

    // Apply the image's relocations, in the packed form of the ELF gABI (SHT_RELR), all *place += base: an even
    // word is a place's offset; an odd one says by its bits 1 to 63 which of the 63 words behind are places.
4:  adrp    x1, __relr_start
    add     x1, x1, :lo12:__relr_start
    adrp    x2, __relr_end
    add     x2, x2, :lo12:__relr_end
5:  cmp     x1, x2
    b.hs    6f
    ldr     x3, [x1], #8
    tbnz    x3, #0, 21f
    add     x4, x3, x20
    ldr     x5, [x4]
    add     x5, x5, x20
    str     x5, [x4], #8                // x4: the word behind the last place
    b       5b
21: mov     x6, x4
22: lsr     x3, x3, #1
    cbz     x3, 24f
    tbz     x3, #0, 23f
    ldr     x5, [x6]
    add     x5, x5, x20
    str     x5, [x6]
23: add     x6, x6, #8
    b       22b
24: add     x4, x4, #63 * 8
    b       5b

    // The stores above went to memory, as will those to the stack until the MMU is on; drop older lines of .data, .bss
    // and this stack from the caches, so that they are not read once the caches are on (Arm ARM D8.5.6, mismatched
    // attributes; booting.rst asks the loader to have cleaned the image to the point of coherency, so no dirty
    // line is lost). The frames of the tables follow as they are taken (`mmu.rs`).
6:  adrp    x1, __rodata_end
    add     x1, x1, :lo12:__rodata_end
    adrp    x2, __bss_end
    add     x2, x2, :lo12:__bss_end
    adrp    x4, __stacks_start
    add     x4, x4, :lo12:__stacks_start
    add     x5, x4, #1 * 4096           // the first stack begins behind its guard page
    add     x6, x4, #9 * 4096
    mrs     x3, ctr_el0
    ubfx    x3, x3, #16, #4             // CTR_EL0.DminLine: log2 of words
    mov     x7, #4
    lsl     x3, x7, x3
    dsb     sy
7:  dc      ivac, x1
    add     x1, x1, x3
    cmp     x1, x2
    b.lo    7b
71: dc      ivac, x5
    add     x5, x5, x3
    cmp     x5, x6
    b.lo    71b
    dsb     sy

    mov     sp, x6
    mov     x29, xzr
    mov     x30, xzr
    mov     x0, x21
    mov     x1, x23
    mov     x2, x22
    bl      boot_primary
8:  wfe
    b       8b

// The image was put at no page, so that none of its `adrp` finds what it looks for: it moves up to a page, to say so. What
// it takes of memory then lies up to 8 KiB further up than the header asks for, which are the last core's stack.
off_page:
    and     x1, x23, #0xfff
    mov     x2, #0x2000
    sub     x2, x2, x1                  // by more than a page: this code, which is in the first, stays as it is
    movz    x1, #:abs_g1:__file_size
    movk    x1, #:abs_g0_nc:__file_size
    add     x1, x23, x1
    add     x3, x1, x2
    mov     x5, x3
1:  ldr     w4, [x1, #-4]!
    str     w4, [x3, #-4]!
    cmp     x1, x23
    b.ne    1b
    // As above for .data: no older line may come between what was stored and who fetches it.
    mov     x1, x3
    mrs     x4, ctr_el0
    ubfx    x4, x4, #16, #4
    mov     x6, #4
    lsl     x4, x6, x4
    dsb     sy
2:  dc      ivac, x1
    add     x1, x1, x4
    cmp     x1, x5
    b.lo    2b
    dsb     sy
    ic      iallu
    dsb     sy
    isb
    adr     x4, on_page
    add     x4, x4, x2
    br      x4

// From a spin table, which hands nothing over: the core finds its `SecondaryStart` record by its MPIDR, at 48.
.global spin_entry
spin_entry:
    msr     daifset, #15
    adrp    x1, SPIN_RECORDS
    add     x1, x1, :lo12:SPIN_RECORDS
    ldp     x0, x1, [x1]
    mrs     x2, mpidr_el1
    ldr     x3, =0xff80ffffff           // affinity, and bit 31, which is set in every MPIDR and in no empty record
    and     x2, x2, x3
1:  cmp     x0, x1
    b.hs    9f
    ldr     x3, [x0, #48]
    cmp     x3, x2
    b.eq    secondary_entry
    add     x0, x0, #64
    b       1b

// x0 = physical address of this core's `SecondaryStart` record, written before CPU_ON and cleaned to the
// point of coherency: 0 TTBR0_EL2, 8 TCR_EL2, 16 MAIR_EL2, 24 SCTLR_EL2, 32 stack, 40 per-core block.
.global secondary_entry
secondary_entry:
    msr     daifset, #15
    mrs     x1, CurrentEL
    cmp     x1, #2 << 2
    b.ne    9f
    msr     spsel, #1                   // as in `primary_entry`
    mov     x1, #1 << 31
    msr     hcr_el2, x1
    isb
    mrs     x1, hcr_el2
    tbnz    x1, #34, 9f                 // E2H is RES1, other than on the core that boots, which names who does not come
    ldp     x1, x2, [x0]
    ldp     x3, x4, [x0, #16]
    ldp     x5, x0, [x0, #32]
    bl      mmu_on
    mov     sp, x5
    mov     x29, xzr
    mov     x30, xzr
    bl      boot_secondary
9:  wfe
    b       9b

// x1 = TTBR0_EL2, x2 = TCR_EL2, x3 = MAIR_EL2, x4 = SCTLR_EL2. Uses x6. The code runs identity-mapped.
.global mmu_on
mmu_on:
    msr     mair_el2, x3
    msr     tcr_el2, x2
    msr     ttbr0_el2, x1
    dsb     sy                          // the tables' stores are done
    isb
    tlbi    alle2                       // nothing stale from before reset (Arm ARM D8.17.5)
    ic      iallu
    dsb     nsh
    isb
    msr     sctlr_el2, x4
    isb
    ret
