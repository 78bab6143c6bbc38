//! What a command answers: rows of named values, then a result. A program gets `key=value` lines, a person a table.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

use super::words::{write_quoted, write_value};
use crate::failure::Failure;

/// Named values, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Row(pub Vec<(String, String)>);

impl Row {
    /// A row without values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The row with one more value.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.0.push((key.to_string(), value.to_string()));
        self
    }

    fn write(&self, to: &mut String) {
        for (key, value) in &self.0 {
            to.push(' ');
            to.push_str(key);
            to.push('=');
            write_value(to, value);
        }
    }
}

/// What a command answers when it succeeds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reply {
    /// Data lines.
    pub rows: Vec<Row>,
    /// The values of the last line.
    pub result: Row,
}

impl Reply {
    /// An answer without data.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a data line.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// An answer of data lines.
    #[must_use]
    pub fn of(rows: impl Iterator<Item = Row>) -> Self {
        Self {
            rows: rows.collect(),
            result: Row::new(),
        }
    }

    /// An answer of one result line.
    #[must_use]
    pub fn result(result: Row) -> Self {
        Self {
            rows: Vec::new(),
            result,
        }
    }
}

/// The lines that a program gets for a request.
#[must_use]
pub fn format(tag: &str, outcome: &Result<Reply, Failure>) -> String {
    let mut text = String::new();
    match outcome {
        Ok(reply) => {
            for row in &reply.rows {
                text.push_str(tag);
                text.push_str(" .");
                row.write(&mut text);
                text.push('\n');
            }
            text.push_str(tag);
            text.push_str(" ok");
            reply.result.write(&mut text);
        }
        Err(failure) => {
            text.push_str(tag);
            text.push_str(" error ");
            text.push_str(failure.status);
            text.push(' ');
            write_quoted(&mut text, &failure.sentence);
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_lines_come_before_one_last_line() {
        let reply = Reply {
            rows: alloc::vec![
                Row::new().with("lp", 0).with("name", "a b"),
                Row::new().with("lp", 1)
            ],
            result: Row::new().with("count", 2),
        };
        assert_eq!(
            format("t7", &Ok(reply)),
            "t7 . lp=0 name=\"a b\"\nt7 . lp=1\nt7 ok count=2\n"
        );
    }

    #[test]
    fn a_failure_has_a_status_and_a_sentence() {
        let failure = Failure::not_found("there is no partition \"x\"");
        assert_eq!(
            format("a", &Err(failure)),
            "a error NOT_FOUND \"there is no partition \\\"x\\\"\"\n"
        );
    }
}
