//! Memory: who owns a frame, what a partition's tables are made of, and what MMIO may be given away.

pub mod frames;
pub mod pool;

pub use frames::{Frames, Holder, Owner, Refused, Unshared};
pub use pool::Pool;
