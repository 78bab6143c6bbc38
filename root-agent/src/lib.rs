//! The root agent: the root partition's program, with which a person or a program makes partitions, gives them
//! devices, and watches them.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod agent;
pub mod calls;
pub mod commands;
pub mod console;
pub mod emulation;
pub mod facts;
pub mod failure;
pub mod guest_image;
pub mod intercept;
pub mod machine;
pub mod partition;
pub mod pci;
pub mod protocol;
pub mod script;
pub mod service;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod whole_commands;
