//! The real function behind an assigned device, as the root partition sees it.

pub mod bar;
pub mod capability;
pub mod config;
pub mod description;
pub mod reset;
