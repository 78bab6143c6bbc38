//! Why a VP left the guest: one enum for both processor dialects.

use address::Gpa;

/// Why a VP left the guest. The instruction pointer still stands at the instruction that caused the exit;
/// [`Vcpu::advance`](crate::Vcpu::advance) steps over it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Something of the host's: an interrupt or an NMI, already taken by this LP.
    Host,
    /// The guest can take an interrupt now, as was asked by [`Vcpu::request_window`](crate::Vcpu::request_window).
    InterruptWindow,
    /// CPUID; leaf in RAX, sub-leaf in RCX.
    Cpuid,
    /// VMCALL or VMMCALL.
    Hypercall,
    /// RDMSR; index in RCX.
    ReadMsr,
    /// WRMSR; index in RCX, value in EDX:EAX.
    WriteMsr,
    /// A self-IPI with a vector below 16, which a processor that serves interrupts has stepped over already.
    IllegalSelfInterrupt,
    /// HLT.
    Halt,
    /// PAUSE, or too many of them.
    Pause,
    /// IN, OUT, INS or OUTS.
    Port(PortAccess),
    /// An access to guest-physical memory that the SLAT does not allow.
    Memory(MemoryAccess),
    /// An exception that the hypervisor intercepts, to be injected again or handled.
    Exception {
        /// 0 to 31.
        vector: u8,
        /// Error code, for the vectors that have one.
        error_code: Option<u32>,
    },
    /// XSETBV; index in RCX, value in EDX:EAX.
    Xsetbv,
    /// WBINVD, INVD: completed by stepping over it.
    CacheFlush,
    /// An instruction that guests do not have (VMRUN, VMXON, SKINIT, MONITOR, RSM...): answered with #UD.
    NoSuchInstruction,
    /// Triple fault.
    Shutdown,
    /// The processor refused the guest state.
    InvalidState,
    /// An exit code that the dialect does not know; the VP cannot go on.
    Unknown(u64),
}

/// What kind of access.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Data read.
    Read,
    /// Data write, or read and write.
    Write,
    /// Instruction fetch.
    Execute,
}

/// A port access.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortAccess {
    /// Port number.
    pub port: u16,
    /// Bytes per access: 1, 2 or 4.
    pub size: u8,
    /// OUT or OUTS.
    pub write: bool,
    /// INS or OUTS.
    pub string: bool,
    /// With a REP prefix.
    pub rep: bool,
}

/// An access to memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemoryAccess {
    /// Where.
    pub gpa: Gpa,
    /// What.
    pub access: Access,
    /// Whether the access was the processor's walk of the guest's own page tables.
    pub table_walk: bool,
}
