//! A child's PCI: one bus with a host bridge and the functions that were assigned to it.

pub mod bar;
pub mod bus;
pub mod function;
pub mod hardware;
pub mod message;
pub mod msi;
pub mod msix;
pub mod space;
