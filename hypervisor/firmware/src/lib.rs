//! Firmware tables: bytes in, facts out.
//!
//! Every parser takes the bytes of one table, believes nothing in them, allocates nothing and cannot panic. What is
//! malformed is an [`Error`] with the facts; an iterator that meets one yields it once and ends, so that no length
//! field can make it loop. What the facts mean for the machine (whether a register block lies in RAM, whether a device
//! exists) is for the callers to judge.
//!
//! One file per table: [`madt`], [`mcfg`], [`dmar`], [`ivrs`], [`fadt`], [`hpet`], [`sleep`]; [`overrides`] says which of several tables
//! with one signature counts.

#![no_std]
#![forbid(unsafe_code)]

mod bytes;
mod error;
mod sdt;

pub mod dmar;
pub mod fadt;
pub mod hpet;
pub mod ivrs;
pub mod madt;
pub mod mcfg;
pub mod overrides;
pub mod sleep;

pub use error::Error;
pub use sdt::{HEADER_BYTES, SdtHeader, Signature, Table};

#[cfg(test)]
mod testing;
