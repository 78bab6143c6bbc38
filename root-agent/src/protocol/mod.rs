//! The line format for programs on the second serial port.
//!
//! Request: `TAG COMMAND ARGS…`. Reply: data lines `TAG . key=value …`, then one `TAG ok key=value…` or
//! `TAG error STATUS "sentence"`. Events, at any time between lines, begin with `*`.

pub mod event;
pub mod reply;
pub mod session;
pub mod words;
