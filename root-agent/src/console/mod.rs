//! The console for people on the first serial port.

pub mod completion;
pub mod line_editor;
pub mod table;
