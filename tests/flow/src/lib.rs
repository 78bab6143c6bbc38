//! The real kernel, device, iommu and paging crates on modelled hardware.
//!
//! A test body is generic over an [`Arm`], the dialect that it runs on; [`on_every_arm`] makes one test per arm of it.

#![forbid(unsafe_code)]

mod arm;
pub mod lab;
mod pool;
mod seams;
mod world;

pub use arm::{AmdviArm, Arm, Traits, UnitSeam, VtdArm};
pub use pool::Pool;
pub use seams::{ConfigSeam, Seams, TableSeam};
pub use world::*;

/// Makes a test of each body on each arm.
#[macro_export]
macro_rules! on_every_arm {
    ($($body:ident),* $(,)?) => {
        mod vtd {
            $(#[test] fn $body() { super::$body::<flow::VtdArm>(); })*
        }
        mod amdvi {
            $(#[test] fn $body() { super::$body::<flow::AmdviArm>(); })*
        }
    };
}
