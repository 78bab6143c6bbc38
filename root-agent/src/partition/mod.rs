//! Partitions: what the agent knows of a child, and how it makes, fills, starts and removes one.

pub mod assign;
pub mod create;
pub mod delete;
pub mod deposit;
pub mod hardware;
pub mod load;
pub mod memory;
pub mod run;

use alloc::string::String;
use alloc::vec::Vec;
use spin::Mutex;

use crate::emulation::board::Board;
use crate::protocol::event::Stop;
use memory::Memory;

/// A child.
pub struct Partition {
    /// The name that a person gave it.
    pub name: String,
    /// Its id in hypercalls.
    pub id: u64,
    /// Its RAM.
    pub memory: Memory,
    /// The LP of each VP.
    pub vps: Vec<u16>,
    /// How far it has come.
    pub life: Mutex<Life>,
    /// What it finds where a PC would have devices.
    pub board: Mutex<Board>,
}

/// How far a partition has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Life {
    /// Without an image.
    Empty,
    /// Ready to start.
    Loaded,
    /// Its VPs run.
    Running,
    /// Told to stop; it can go on.
    Paused,
    /// Over.
    Ended(Stop),
    /// Being removed.
    Deleted,
}

impl Life {
    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Loaded => "loaded",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Ended(_) => "ended",
            Self::Deleted => "deleted",
        }
    }
}
