//! Statics that the processor, a device or the hypervisor reads and writes.

use core::cell::UnsafeCell;

/// A page-aligned static whose bytes are only touched through raw pointers.
#[repr(C, align(4096))]
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: `Shared` gives no reference to its content, only a raw pointer; whoever uses the pointer answers for it.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    pub const fn pointer(&self) -> *mut T {
        self.0.get()
    }
}
