//! SynIC messages and the intercept messages in them (TLFS, "Inter-partition communication", "Intercepts").

use crate::layout::structures;
use crate::vp::Segment;

structures! {
    /// A message slot: 16 of them make a SIMP page.
    Message: 256 {
        /// [`kind`]; 0 means that the slot is empty.
        message_type: u32,
        /// Bytes of the payload that count, at most 240.
        payload_size: u8,
        /// Bit 0: more messages wait; write HV_X64_MSR_EOM after emptying the slot.
        flags: u8,
        /// Zero.
        reserved: u16,
        /// Partition of the VP that the message is about, or port.
        sender: u64,
        /// Payload.
        payload: [u8; 240],
    }
    /// `HV_X64_INTERCEPT_MESSAGE_HEADER`: begins every intercept message.
    InterceptHeader: 40 {
        /// VP that was intercepted.
        vp: u32,
        /// `[3:0]` length of the instruction, 0 where it is not known; `[7:4]` CR8.
        length_cr8: u8,
        /// [`access`].
        access: u8,
        /// `[1:0]` CPL, 2 CR0.PE, 3 CR0.AM, 4 EFER.LMA, 5 debug active, 6 interruption pending.
        execution_state: u16,
        /// CS.
        cs: Segment,
        /// Instruction pointer.
        rip: u64,
        /// Flags.
        rflags: u64,
    }
    /// Memory intercept: UNMAPPED_GPA and GPA_INTERCEPT.
    MemoryIntercept: 80 {
        /// Header.
        header: InterceptHeader,
        /// Cache type; 0.
        cache_type: u32,
        /// Bytes in `instruction`, at most 15.
        instruction_bytes: u8,
        /// Access information; 0.
        info: u8,
        /// TPR priority.
        tpr_priority: u8,
        /// Zero.
        reserved: u8,
        /// Guest-virtual address; 0 where it is not known.
        gva: u64,
        /// Guest-physical address.
        gpa: u64,
        /// The instruction, read once at the exit.
        instruction: [u8; 16],
    }
    /// Port intercept.
    PortIntercept: 128 {
        /// Header.
        header: InterceptHeader,
        /// Port.
        port: u16,
        /// `[2:0]` size in bytes, 3 string, 4 REP.
        access_info: u8,
        /// Bytes in `instruction`; 0.
        instruction_bytes: u8,
        /// Zero.
        reserved: u32,
        /// RAX.
        rax: u64,
        /// The instruction.
        instruction: [u8; 16],
        /// DS.
        ds: Segment,
        /// ES.
        es: Segment,
        /// RCX.
        rcx: u64,
        /// RSI.
        rsi: u64,
        /// RDI.
        rdi: u64,
    }
    /// MSR intercept.
    MsrIntercept: 64 {
        /// Header.
        header: InterceptHeader,
        /// MSR.
        msr: u32,
        /// Zero.
        reserved: u32,
        /// RDX.
        rdx: u64,
        /// RAX.
        rax: u64,
    }
    /// The VP cannot go on: UNRECOVERABLE_EXCEPTION, INVALID_VP_REGISTER_VALUE, HALT.
    StateIntercept: 40 {
        /// Header.
        header: InterceptHeader,
    }
}

/// Message types.
pub mod kind {
    /// Access to a GPA that nothing maps.
    pub const UNMAPPED_GPA: u32 = 0x8000_0000;
    /// Access that the mapping does not allow.
    pub const GPA_INTERCEPT: u32 = 0x8000_0001;
    /// The processor refused the VP's state.
    pub const INVALID_VP_REGISTER_VALUE: u32 = 0x8000_0020;
    /// Triple fault.
    pub const UNRECOVERABLE_EXCEPTION: u32 = 0x8000_0021;
    /// IN, OUT, INS, OUTS.
    pub const IO_PORT_INTERCEPT: u32 = 0x8001_0000;
    /// RDMSR, WRMSR.
    pub const MSR_INTERCEPT: u32 = 0x8001_0001;
    /// All VPs of the partition halted with interrupts off, or HLT intercepted.
    pub const HALT_INTERCEPT: u32 = 0x8001_0007;
    /// A device of the partition was blocked for its faults, or the unit in front of its devices failed; no VP waits for an
    /// answer. Payload [`crate::vendor::Fault`]. Root VP 0 gets it.
    pub const DEVICE_FAULT: u32 = 0x8001_f001;
}

/// Kinds of access in an intercept header.
pub mod access {
    /// Read.
    pub const READ: u8 = 0;
    /// Write.
    pub const WRITE: u8 = 1;
    /// Instruction fetch.
    pub const EXECUTE: u8 = 2;
}

/// Interrupt source of the SynIC that carries intercept messages; the message slot has the same number.
pub const SINT_INTERCEPT: usize = 0;
