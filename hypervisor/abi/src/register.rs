//! Register numbers of GetVpRegisters and SetVpRegisters (TLFS, "HV_REGISTER_NAME").

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => { $($(#[$doc])* pub const $name: u32 = $value;)* };
}

registers! {
    /// 1: the VP does not run until its parent writes 0.
    EXPLICIT_SUSPEND = 0x0,
    /// 1: the VP waits for its parent's answer to an intercept.
    INTERCEPT_SUSPEND = 0x1,
    /// [`activity`] bits.
    INTERNAL_ACTIVITY_STATE = 0x4,
    /// `0` pending, `[3:1]` type (0 interrupt, 2 NMI, 3 exception), 4 deliver error code, `[31:16]` vector, `[63:32]` error code.
    PENDING_INTERRUPTION = 0x10002,
    /// RAX; RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15 follow.
    RAX = 0x20000,
    /// R15, the last general-purpose register.
    R15 = 0x2000f,
    /// RCX.
    RCX = 0x20001,
    /// RDX.
    RDX = 0x20002,
    /// RBX.
    RBX = 0x20003,
    /// RSP.
    RSP = 0x20004,
    /// RBP.
    RBP = 0x20005,
    /// RSI.
    RSI = 0x20006,
    /// RDI.
    RDI = 0x20007,
    /// Instruction pointer.
    RIP = 0x20010,
    /// Flags.
    RFLAGS = 0x20011,
    /// CR0.
    CR0 = 0x40000,
    /// CR2.
    CR2 = 0x40001,
    /// CR3.
    CR3 = 0x40002,
    /// CR4.
    CR4 = 0x40003,
    /// CR8.
    CR8 = 0x40004,
    /// XCR0.
    XFEM = 0x40005,
    /// DR0; DR1, DR2, DR3, DR6 and DR7 follow.
    DR0 = 0x50000,
    /// DR7.
    DR7 = 0x50005,
    /// ES.
    ES = 0x60000,
    /// CS.
    CS = 0x60001,
    /// SS.
    SS = 0x60002,
    /// DS.
    DS = 0x60003,
    /// FS.
    FS = 0x60004,
    /// GS.
    GS = 0x60005,
    /// LDTR.
    LDTR = 0x60006,
    /// TR.
    TR = 0x60007,
    /// IDTR.
    IDTR = 0x70000,
    /// GDTR.
    GDTR = 0x70001,
    /// TSC.
    TSC = 0x80000,
    /// EFER.
    EFER = 0x80001,
    /// Kernel GS base.
    KERNEL_GS_BASE = 0x80002,
    /// IA32_APIC_BASE.
    APIC_BASE = 0x80003,
    /// IA32_PAT.
    PAT = 0x80004,
    /// SYSENTER_CS.
    SYSENTER_CS = 0x80005,
    /// SYSENTER_EIP.
    SYSENTER_EIP = 0x80006,
    /// SYSENTER_ESP.
    SYSENTER_ESP = 0x80007,
    /// STAR.
    STAR = 0x80008,
    /// LSTAR.
    LSTAR = 0x80009,
    /// CSTAR.
    CSTAR = 0x8000a,
    /// SFMASK.
    SFMASK = 0x8000b,
    /// TSC_AUX.
    TSC_AUX = 0x8007b,
}

/// Values of [`INTERNAL_ACTIVITY_STATE`].
pub mod activity {
    /// Waits for a start-up IPI.
    pub const STARTUP_SUSPEND: u64 = 1 << 0;
    /// Halted.
    pub const HALT_SUSPEND: u64 = 1 << 1;
}
