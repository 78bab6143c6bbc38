//! AMD SVM: AMD64 Architecture Programmer's Manual volume 2, chapter 15.

mod entry;
mod host;
mod vcpu;

pub use host::{HOST_FRAMES, check, enable, tags};
pub use vcpu::Svm;
