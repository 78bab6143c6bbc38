//! The SVM dialect's control block and what follows from it: layout, required intercepts, exits, reset states and
//! registers by name. Sources: AMD64 APM volume 2, chapter 15 and appendices B and C.

pub mod checks;
pub mod control;
pub mod decode;
pub mod event;
pub mod exit_code;
pub mod exit_info;
pub mod features;
pub mod intercepts;
pub mod msrs;
pub mod permission;
mod registers;
mod reset;
pub mod save;
pub mod segment;
pub mod virtual_interrupt;
pub mod vmcb;
mod window;

pub use checks::Limits;
pub use features::Features;
pub use vmcb::{Setup, Vmcb};
pub use window::Step;
