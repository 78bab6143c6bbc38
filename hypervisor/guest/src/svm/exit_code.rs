//! AMD64 Architecture Programmer's Manual volume 2, appendix C: "SVM intercept exit codes".
#![allow(missing_docs)]

pub const CR8_WRITE: u64 = 0x18;
pub const EXCEPTION_0: u64 = 0x40;
pub const EXCEPTION_31: u64 = 0x5f;
pub const INTR: u64 = 0x60;
pub const NMI: u64 = 0x61;
pub const SMI: u64 = 0x62;
pub const INIT: u64 = 0x63;
pub const VINTR: u64 = 0x64;
pub const RDPMC: u64 = 0x6f;
pub const CPUID: u64 = 0x72;
pub const RSM: u64 = 0x73;
pub const IRET: u64 = 0x74;
pub const INVD: u64 = 0x76;
pub const PAUSE: u64 = 0x77;
pub const HLT: u64 = 0x78;
pub const INVLPGA: u64 = 0x7a;
pub const IOIO: u64 = 0x7b;
pub const MSR: u64 = 0x7c;
pub const SHUTDOWN: u64 = 0x7f;
pub const VMRUN: u64 = 0x80;
pub const VMMCALL: u64 = 0x81;
pub const VMLOAD: u64 = 0x82;
pub const VMSAVE: u64 = 0x83;
pub const STGI: u64 = 0x84;
pub const CLGI: u64 = 0x85;
pub const SKINIT: u64 = 0x86;
pub const WBINVD: u64 = 0x89;
pub const MONITOR: u64 = 0x8a;
pub const MWAIT: u64 = 0x8b;
pub const MWAIT_ARMED: u64 = 0x8c;
pub const XSETBV: u64 = 0x8d;
pub const RDPRU: u64 = 0x8e;
pub const INVLPGB: u64 = 0xa0;
pub const INVLPGB_ILLEGAL: u64 = 0xa1;
pub const MCOMMIT: u64 = 0xa3;
pub const TLBSYNC: u64 = 0xa4;
pub const NPF: u64 = 0x400;
/// The processor refused the guest state. Compared in its low 32 bits: not every implementation extends the sign.
pub const INVALID: u32 = u32::MAX;
