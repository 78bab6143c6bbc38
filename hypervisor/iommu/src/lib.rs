//! The IOMMU dialects behind one set of verbs.
//!
//! A [`Unit`] is one remapping unit of the machine. Whoever holds it sees requesters, domain names, domain tables, interrupt
//! entries and faults, and no dialect. What both dialects have carries the same file name in both folders.
//!
//! Rules that every verb keeps:
//! * after [`Unit::enable`], what no verb has allowed goes nowhere (invariant 3);
//! * a verb that takes a right away returns only after the unit confirmed that it forgot it (invariant 2);
//! * every wait ends: a unit that does not answer in time, or answers all ones, is failed for good (invariant 9);
//! * an interrupt entry admits exactly the requesters it names and delivers one vector, fixed, to one processor (invariant 4).
//!
//! A unit is used by one processor at a time: the caller holds the unit's lock (lock order: the last one).

#![no_std]
#![forbid(unsafe_code)]

mod amdvi;
mod cover;
mod domain_table;
mod error;
mod fault;
mod geometry;
mod interrupt;
mod seams;
mod unit;
mod vtd;
mod wait;

pub use domain_table::{DomainTable, owed_for_mapping};
pub use error::{Error, Feature, ProbeError};
pub use fault::{Fault, FaultKind};
pub use geometry::{Geometry, Levels};
pub use interrupt::{Message, Polarity, Posting, Source, Target, Trigger};
pub use paging::{FlushRange, Flushed, Flusher, FrameSource, TableMemory, Unmapped};
pub use seams::{Clock, Hardware, Registers, WideMemory};
pub use unit::{Description, Dialect, DomainName, Unit, UnitMemory, register_bytes};
