//! Lengths of instructions that leave the guest, without prefixes, the same on both dialects.
//!
//! A prefix before one of them makes the guest go on inside its own instruction on a processor that does not tell the length:
//! its own loss.

/// CPUID.
pub const CPUID: u8 = 2;
/// RDMSR and WRMSR.
pub const MSR: u8 = 2;
/// VMCALL and VMMCALL.
pub const HYPERCALL: u8 = 3;
/// XSETBV.
pub const XSETBV: u8 = 3;
/// HLT.
pub const HALT: u8 = 1;
/// PAUSE, which is a NOP with a prefix.
pub const PAUSE: u8 = 2;
/// INVD and WBINVD.
pub const CACHE_FLUSH: u8 = 2;
