//! The guest runtime: what the root agent and the payloads of the suite stand on. All `unsafe` of those programs is
//! here; what it offers is safe to call.
//!
//! A program says `runtime::agent!(main)` or `runtime::payload!(main)` and gets a stack, descriptor tables, interrupt
//! handlers, a heap, a pool of page frames ([`memory`]), a console ([`println!`]), ports, MMIO and hypercalls.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod apic;
pub mod boot;
pub mod clock;
pub mod cmdline;
pub mod console;
pub mod control;
pub mod cpu;
mod descriptor;
pub mod entry;
pub mod exit;
pub mod fault;
pub mod hypercall;
pub mod input;
pub mod interrupt;
pub mod measure;
pub mod memory;
pub mod mmio;
pub mod msr;
pub mod pool;
pub mod port;
pub mod real_mode;
pub mod serial;
pub mod state;
pub mod steps;
pub mod synic;
pub mod user;
pub mod vp;

#[doc(hidden)]
pub mod cell;

/// Virtual processors that the runtime has tables and pages for.
pub const MAX_VPS: usize = 64;
