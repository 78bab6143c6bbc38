//! Memory: who owns a frame, what a partition's tables are made of, and what MMIO may be given away.

mod frame;
pub mod frames;
pub mod pool;
mod runs;

pub use frame::{Holder, Owner};
pub use frames::{Frames, Refused, Unshared};
pub use pool::Pool;
