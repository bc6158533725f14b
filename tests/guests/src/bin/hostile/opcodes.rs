//! Instructions by their encodings: the assembler would refuse what the target does not have. Data is at x0 (and x1), values
//! in x1, what is loaded goes to x1 to x7.

pub(crate) const NOP: u32 = 0xd503_201f;
pub(crate) const YIELD: u32 = 0xd503_203f;
pub(crate) const WFE: u32 = 0xd503_205f;
pub(crate) const WFI: u32 = 0xd503_207f;
pub(crate) const SEVL: u32 = 0xd503_20bf;
pub(crate) const ISB: u32 = 0xd503_3fdf;
/// `LDR w1, [x0]`, `STR w1, [x0]`, `BR x0`.
pub(crate) const LOAD: u32 = 0xb940_0001;
pub(crate) const STORE: u32 = 0xb900_0001;
pub(crate) const BRANCH: u32 = 0xd61f_0000;

/// `WFET x0`, `WFIT x0`: until a time that is over.
pub(crate) const TIMED_WAITS: &[&[u32]] = &[&[0xd503_1000], &[0xd503_1020]];

/// SVC, HVC, SMC, BRK, HLT, DCPS1, UDF: with an immediate in bits 20:5, but for the last.
pub(crate) const EXCEPTIONS: &[u32] =
    &[0xd400_0001, 0xd400_0002, 0xd400_0003, 0xd420_0000, 0xd440_0000, 0xd4a0_0001, 0];

/// `FMOV d0, x0`; `ADD v0.16b, v0.16b, v0.16b`; `FADD s0, s0, s0`; `AESE` is only where it is; `MRS x0, FPSR`.
pub(crate) const FP: &[u32] = &[0x9e67_0000, 0x4e20_8400, 0x1e20_2800, 0xd53b_4420];

/// PTRUE, ADD, LDR and STR of a vector, RDVL, and the first-fault register.
pub(crate) const SVE: &[&[u32]] = &[
    &[0x2518_e3e0],
    &[0x0420_0000],
    &[0x8580_4000],
    &[0xe580_4000],
    &[0x04bf_53e0],
    &[0x252c_9000],
];

/// SMSTART, SMSTOP, RDSVL, ZERO {ZA}, LDR ZA.
pub(crate) const SME: &[&[u32]] =
    &[&[0xd503_477f, 0xd503_467f], &[0xd503_467f], &[0x04bf_5820], &[0xc008_00ff], &[0xe100_0000]];

/// PACIA, AUTIA, PACGA, XPACI, PACIASP and AUTIASP, LDRAA, RETAA.
pub(crate) const PAUTH: &[&[u32]] = &[
    &[0xdac1_0020],
    &[0xdac1_1020],
    &[0x9ac1_3000],
    &[0xdac1_43e0],
    &[0xd503_233f, 0xd503_23bf],
    &[0xf820_0401],
    &[0xd65f_0bff],
];

/// `MOV x2, #0`, then CPYFP, CPYFM, CPYFE, SETP, SETM of no byte.
pub(crate) const MOPS: &[&[u32]] = &[
    &[0xd280_0002, 0x1901_0440],
    &[0xd280_0002, 0x1941_0440],
    &[0xd280_0002, 0x1981_0440],
    &[0xd280_0002, 0x19c1_0440],
    &[0xd280_0002, 0x19c1_4440],
];

/// LD64B, ST64B, ST64BV, ST64BV0, from and to `[x1]`.
pub(crate) const LS64: &[&[u32]] =
    &[&[0xf83f_d020], &[0xf83f_9020], &[0xf822_b020], &[0xf822_a020]];

/// IRG, GMI, LDG, STG, LDGM, STGM, ADDG.
pub(crate) const MTE: &[&[u32]] = &[
    &[0x9adf_1000],
    &[0x9ac1_1400],
    &[0xd960_0020],
    &[0xd920_0820],
    &[0xd9e0_0020],
    &[0xd9a0_0020],
    &[0x9180_0020],
];

/// Transactions, SB, ESB, PSB, TSB, BTI, DGH, CHKFEAT, GCSPUSHM, 128-bit atomics, crypto, FJCVTZS, BFCVT, CFINV, and what is
/// in nobody's space.
pub(crate) const OTHERS: &[&[u32]] = &[
    &[0xd523_3060],
    &[0xd523_3160],
    &[0xd503_307f],
    &[0xd503_30ff],
    &[0xd503_221f],
    &[0xd503_223f],
    &[0xd503_225f],
    &[0xd503_241f],
    &[0xd503_20df],
    &[0xd503_251f],
    &[0xd50b_7700],
    &[0x1923_8022],
    &[0x4e28_4820],
    &[0xcec0_8420],
    &[0x1e7e_0000],
    &[0x1e63_4000],
    &[0xd500_401f],
    &[0x0000_ffff],
    &[0x0400_0000],
    &[0xffff_ffff],
];

/// What EL0 has of all these.
pub(crate) const EXTENSIONS: &[&[&[u32]]] = &[SVE, SME, PAUTH, MOPS, LS64, MTE, OTHERS];

/// LDADD, SWP, CAS, LDADDAL, CASP, SWP of a byte.
pub(crate) const ATOMICS: &[&[u32]] = &[
    &[0xb821_0002],
    &[0xb821_8002],
    &[0x88a1_7c02],
    &[0xb8e1_0002],
    &[0x0822_7c04],
    &[0x3821_8002],
];

/// LDXR, STXR, LDXP, LDAXR of a byte, and a pair of LDXR and STXR.
pub(crate) const EXCLUSIVES: &[&[u32]] =
    &[&[0x885f_7c01], &[0x8802_7c01], &[0x887f_0c01], &[0x085f_fc01], &[0x885f_7c01, 0x8802_7c01]];

/// LDAR, STLR, LDAPR.
pub(crate) const ORDERED: &[&[u32]] = &[&[0x88df_fc01], &[0x889f_fc01], &[0xb8bf_c001]];

/// LDP, STP, LDNP, LDPSW, LDP and STP that move on.
pub(crate) const PAIRS: &[&[u32]] = &[
    &[0x2940_0801],
    &[0xa900_0801],
    &[0xa840_0801],
    &[0x6940_0801],
    &[0x28c1_0801],
    &[0xa981_0801],
];

/// LDR q, STR q, LDP q, LD1, ST1, LD4, STR s that moves on.
pub(crate) const VECTORS: &[&[u32]] = &[
    &[0x3dc0_0000],
    &[0x3d80_0000],
    &[0xad40_0400],
    &[0x4c40_7000],
    &[0x4c00_7000],
    &[0x4c40_0000],
    &[0xbc00_4400],
];

/// LDR and STR that move on before and after, signed ones, and those that move on the register itself; LDTR, STTR, PRFM.
pub(crate) const INDEXED: &[&[u32]] = &[
    &[0xb840_4401],
    &[0xb800_4401],
    &[0xb840_4c01],
    &[0xb800_4c01],
    &[0x3880_1401],
    &[0xf840_8400],
    &[0xf800_8400],
    &[0xb840_0801],
    &[0xb800_0801],
    &[0xf980_0000],
];

/// What EL0 may do to a device.
pub(crate) const ON_DEVICES: &[&[&[u32]]] =
    &[ATOMICS, EXCLUSIVES, ORDERED, PAIRS, INDEXED, &[&[LOAD], &[STORE]]];

/// WFE, DC ZVA, CVAC, CVAU, CIVAC, IVAC, CISW, IC IVAU, IALLU, TLBI VMALLE1, AT S1E0R, prediction restrictions, MSR DAIFSet,
/// ERET.
pub(crate) const AT_EL0: &[u32] = &[
    WFE,
    0xd50b_7420,
    0xd50b_7a20,
    0xd50b_7b20,
    0xd50b_7e20,
    0xd508_7620,
    0xd508_7e40,
    0xd50b_7520,
    0xd508_751f,
    0xd508_871f,
    0xd508_7840,
    0xd50b_7380,
    0xd503_4fdf,
    0xd69f_03e0,
];

/// SVC, BKPT, UDF, HVC, SMC, HLT.
pub(crate) const EXCEPTIONS_A32: &[u32] =
    &[0xef00_1234, 0xe121_2374, 0xe7f1_23f4, 0xe141_2374, 0xe160_0074, 0xe101_2374];

/// MRC, MCR, MRRC, MCRR of p15 and p14, VMRS and VMSR, LDC of p14. From the first two on, bits may be filled in.
pub(crate) const COPROCESSORS: &[u32] = &[
    0xee10_0f10,
    0xee00_0f10,
    0xee10_0e10,
    0xee00_0e10,
    0xec50_0f00,
    0xec40_0f00,
    0xec50_0e00,
    0xeef0_0a10,
    0xeee0_0a10,
    0xec10_0e00,
];

/// Loads and stores of r1 at r0: LDR, STR, LDRB, LDRSH, LDRD, LDM, STM, LDRT, SWP, LDREX, LDR that moves on; VLDR, VADD; WFE, SETEND,
/// CPS, MSR.
pub(crate) const ANY_A32: &[u32] = &[
    0xe590_1000,
    0xe580_1000,
    0xe5d0_1000,
    0xe1d0_10f0,
    0xe1c0_20d0,
    0xe890_0006,
    0xe880_0006,
    0xe4b0_1000,
    0xe100_2091,
    0xe190_1f9f,
    0xe490_1004,
    0xed90_0a00,
    0xf220_0800,
    0xe320_f002,
    0xf101_0200,
    0xf102_0010,
    0xe129_f000,
];

/// Two short instructions each: LDR, STR, LDRB, LDRH, with NOP; LDR in an IT block of two; WFE; BKPT; UDF; and the long LDR.
pub(crate) const ANY_T32: &[[u16; 2]] = &[
    [0x6801, 0xbf00],
    [0x6001, 0xbf00],
    [0x7801, 0xbf00],
    [0x8801, 0xbf00],
    [0xbf18, 0x6801],
    [0xbf20, 0xbf00],
    [0xbe12, 0xbf00],
    [0xde12, 0xbf00],
    [0xf8d0, 0x1000],
];

/// `MOVS r2, #0; CMP r0, r0; ITE EQ; LDREQ r1, [r0]; MOVNE r2, #1; NOP; CBNZ r2, 1f; SVC #0xe0; 1: UDF; NOP`: comes to its end if
/// the load is made and the move is not.
pub(crate) const LOAD_IN_IT_BLOCK: &[u16] =
    &[0x2200, 0x4280, 0xbf0c, 0x6801, 0x2201, 0xbf00, 0xb902, 0xdfe0, 0xde00, 0xbf00];
