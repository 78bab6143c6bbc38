//! Intel SDM volume 3, appendix C: "VMX basic exit reasons".
#![allow(missing_docs)]

pub const EXCEPTION_OR_NMI: u32 = 0;
pub const EXTERNAL_INTERRUPT: u32 = 1;
pub const TRIPLE_FAULT: u32 = 2;
pub const INIT: u32 = 3;
pub const STARTUP: u32 = 4;
pub const IO_SMI: u32 = 5;
pub const SMI: u32 = 6;
pub const INTERRUPT_WINDOW: u32 = 7;
pub const NMI_WINDOW: u32 = 8;
pub const TASK_SWITCH: u32 = 9;
pub const CPUID: u32 = 10;
pub const GETSEC: u32 = 11;
pub const HLT: u32 = 12;
pub const INVD: u32 = 13;
pub const RDPMC: u32 = 15;
pub const RSM: u32 = 17;
pub const VMCALL: u32 = 18;
pub const VMCLEAR: u32 = 19;
pub const VMXON: u32 = 27;
pub const CONTROL_REGISTER: u32 = 28;
pub const IO: u32 = 30;
pub const RDMSR: u32 = 31;
pub const WRMSR: u32 = 32;
pub const ENTRY_GUEST_STATE: u32 = 33;
pub const ENTRY_MSR: u32 = 34;
pub const MWAIT: u32 = 36;
pub const MONITOR: u32 = 39;
pub const PAUSE: u32 = 40;
pub const ENTRY_MACHINE_CHECK: u32 = 41;
pub const TPR_BELOW_THRESHOLD: u32 = 43;
pub const EPT_VIOLATION: u32 = 48;
pub const EPT_MISCONFIGURATION: u32 = 49;
pub const INVEPT: u32 = 50;
pub const PREEMPTION_TIMER: u32 = 52;
pub const INVVPID: u32 = 53;
pub const WBINVD: u32 = 54;
pub const XSETBV: u32 = 55;
pub const APIC_WRITE: u32 = 56;
pub const INVPCID: u32 = 58;
pub const VMFUNC: u32 = 59;
pub const ENCLS: u32 = 60;
pub const XSAVES: u32 = 63;
pub const XRSTORS: u32 = 64;
pub const PCONFIG: u32 = 65;
pub const UMWAIT: u32 = 67;
pub const TPAUSE: u32 = 68;
pub const LOADIWKEY: u32 = 69;

/// Bit of the exit reason: the entry failed, and the guest never ran.
pub const ENTRY_FAILURE: u32 = 1 << 31;
/// The basic reason's bits.
pub const BASIC: u32 = 0xffff;
