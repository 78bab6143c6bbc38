//! The verbs against a small register block of their own; the model in `tests/model` is the independent witness.

mod enabling;
mod faults;
mod fixture;
mod flushing;
mod interrupts;
mod requesters;
mod robustness;
