//! Intel VMX: Intel SDM volume 3, the chapters on virtual machine extensions.

mod entry;
mod host;
mod instruction;
mod round;
mod state;
mod structure;
mod vcpu;
mod virtual_apic;

pub use host::{HOST_FRAMES, TAGS, check, enable, has_timer, takes_posts};
pub use vcpu::Vmx;

/// VMCALL; RET.
pub const HYPERCALL: [u8; 4] = [0x0f, 0x01, 0xc1, 0xc3];
