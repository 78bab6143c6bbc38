//! What a guest's processor looks like, as pure tables and functions: control structures, exits, CPUID and MSR
//! policy, local APIC state. Nothing here touches the machine.

#![no_std]
#![forbid(unsafe_code)]

pub mod apic;
pub mod cpuid;
pub mod exit;
pub mod length;
pub mod mov;
pub mod msr;
pub mod svm;
pub mod tags;
pub mod vcpu;
pub mod vmx;
pub mod xstate;

pub use exit::{Access, Exit, MemoryAccess, PortAccess};
pub use vcpu::{Event, Gpr, Reset, Vcpu};
