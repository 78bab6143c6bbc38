//! The VMX dialect's control structure and what follows from it: fields, controls, exits, entry checks, reset states and
//! registers by name. Source: Intel SDM volume 3, the chapters on virtual machine extensions and appendices A to C.

pub mod checks;
pub mod control;
pub mod control_register;
pub mod decode;
pub mod ept_pointer;
pub mod event;
pub mod exit_code;
pub mod exit_info;
pub mod features;
pub mod field;
mod msrs;
pub mod permission;
mod registers;
mod reset;
pub mod save;
pub mod segment;
pub mod timer;
pub mod virtual_apic;
pub mod window;

pub use checks::Limits;
pub use ept_pointer::EptPointer;
pub use event::{Delivery, EventInfo};
pub use features::Features;
pub use field::Field;
pub use save::SaveArea;
pub use window::Window;
