//! The integration suite: whole machines in QEMU, and the parts of it that `xtask run` and
//! `xtask bench` use too (the emulator's command line, the boot volume, the line protocol).
//!
//! A scenario never panics: it returns an error. The suite runs inside `xtask`, whose profile aborts
//! on a panic, so that one panicking scenario would end all of them.

pub mod artifacts;
pub mod bochs;
pub mod child;
pub mod client;
pub mod config;
pub mod emulator;
pub mod frames;
pub mod ignored;
mod keyboard;
pub mod machine;
pub mod place;
pub mod pool;
pub mod power;
pub mod protocol;
pub mod qmp;
pub mod scenario;
pub mod scenarios;
pub mod scratch;
pub mod serial_line;
pub mod suite;
pub mod trace;
pub mod volume;
