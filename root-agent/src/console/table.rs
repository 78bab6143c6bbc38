//! An answer as a table for people.

use alloc::string::String;
use alloc::vec::Vec;

use crate::protocol::reply::{Reply, Row};

/// Columns that a line of a terminal has room for.
const COLUMNS_MAX: usize = 13;

/// Writes rows below headings where they have the same keys, each row as a list of its own where they have not.
#[must_use]
pub fn render(reply: &Reply) -> String {
    let mut text = String::new();
    let mut rows: &[Row] = &reply.rows;
    while let Some(first) = rows.first() {
        let alike = rows.iter().take_while(|row| same_keys(first, row)).count();
        let (table, rest) = rows.split_at(alike.max(1));
        if single_text(first) {
            lines(&mut text, table);
        } else if first.0.len() > COLUMNS_MAX {
            table.iter().for_each(|row| list(&mut text, row));
        } else {
            grid(&mut text, table);
        }
        rows = rest;
    }
    list(&mut text, &reply.result);
    text
}

/// One value a line.
fn list(text: &mut String, row: &Row) {
    for (key, value) in &row.0 {
        text.push_str(&alloc::format!("{key}: {value}\n"));
    }
}

fn same_keys(a: &Row, b: &Row) -> bool {
    a.0.iter()
        .map(|pair| &pair.0)
        .eq(b.0.iter().map(|pair| &pair.0))
}

/// Rows of one value named `text` are prose.
fn single_text(row: &Row) -> bool {
    matches!(row.0.as_slice(), [(key, _)] if key == "text")
}

fn lines(text: &mut String, rows: &[Row]) {
    for (_, value) in rows.iter().flat_map(|row| &row.0) {
        text.push_str(value);
        text.push('\n');
    }
}

fn grid(text: &mut String, rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    let heading: Vec<&str> = first.0.iter().map(|pair| pair.0.as_str()).collect();
    let width = |column: usize, heading: &str| {
        let cells = rows.iter().filter_map(|row| row.0.get(column));
        let widest = cells.map(|pair| pair.1.chars().count()).max();
        widest.unwrap_or(0).max(heading.len())
    };
    let widths: Vec<usize> = heading
        .iter()
        .enumerate()
        .map(|(column, heading)| width(column, heading))
        .collect();
    line(text, heading.iter().copied(), &widths);
    for row in rows {
        line(text, row.0.iter().map(|pair| pair.1.as_str()), &widths);
    }
}

fn line<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>, widths: &[usize]) {
    let mut out = String::new();
    for (cell, width) in cells.zip(widths) {
        out.push_str(&alloc::format!("{cell:<width$}  "));
    }
    text.push_str(out.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_headings() {
        let reply = Reply {
            rows: alloc::vec![
                Row::new().with("lp", 0).with("vps", 12),
                Row::new().with("lp", 10).with("vps", 1),
            ],
            result: Row::new().with("count", 2),
        };
        assert_eq!(render(&reply), "lp  vps\n0   12\n10  1\ncount: 2\n");
    }
}
