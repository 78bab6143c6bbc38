//! The table of scenarios: one file per theme, each with a function that lists its own.

use crate::scenario::Scenario;

mod boot;
mod lifecycle;

/// Every scenario of the suite.
pub fn all() -> Vec<Scenario> {
    [boot::scenarios(), lifecycle::scenarios()].concat()
}
