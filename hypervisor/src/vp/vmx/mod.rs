//! Intel VMX: Intel SDM volume 3, the chapters on virtual machine extensions.

mod entry;
mod host;
mod instruction;
mod structure;
mod vcpu;

pub use host::{HOST_FRAMES, TAGS, check, enable};
pub use vcpu::Vmx;
