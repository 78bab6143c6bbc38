//! AMD SVM: AMD64 Architecture Programmer's Manual volume 2, chapter 15.

mod entry;
mod host;
mod vcpu;

pub use host::{HOST_FRAMES, check, enable, tags};
pub use vcpu::Svm;

/// VMMCALL; RET.
pub const HYPERCALL: [u8; 4] = [0x0f, 0x01, 0xd9, 0xc3];
