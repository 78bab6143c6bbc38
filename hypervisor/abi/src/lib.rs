//! The hypercall interface: numbers, structures and status codes, shared by the hypervisor, the root agent and
//! the guests of the test suite.
//!
//! Names, numbers and layouts follow the Hypervisor Top-Level Functional Specification (TLFS) and the public
//! headers that describe what it leaves out. What has no public layout is in [`vendor`].

#![no_std]
#![forbid(unsafe_code)]

pub mod call;
pub mod control;
pub mod device;
pub mod domain;
pub mod interrupt;
mod layout;
pub mod memory;
pub mod message;
pub mod msr;
pub mod partition;
pub mod register;
pub mod root_info;
pub mod status;
pub mod vendor;
pub mod vp;

pub use call::Call;
pub use control::{CallInput, CallResult};
pub use status::Status;
