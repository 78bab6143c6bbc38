//! The verbs, on a register block that records what it is asked.
