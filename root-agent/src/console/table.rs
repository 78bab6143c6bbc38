//! An answer as a table for people.

use alloc::string::String;
use alloc::vec::Vec;

use crate::protocol::reply::{Reply, Row};

/// Columns that a line of a terminal has room for.
const COLUMNS_MAX: usize = 13;
/// Values of a result that are all shown; in a longer one, zeroes only hide the rest.
const LINES_MAX: usize = 20;

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
            turned(&mut text, table);
        } else {
            grid(&mut text, table);
        }
        rows = rest;
    }
    if reply.result.0.len() > LINES_MAX {
        turned(&mut text, core::slice::from_ref(&reply.result));
    } else {
        list(&mut text, &reply.result);
    }
    text
}

/// A column for each row, a line for each key; lines of zeroes are left out.
fn turned(text: &mut String, rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    let lines = (0..first.0.len()).filter_map(|index| {
        let cells = rows.iter().filter_map(|row| row.0.get(index));
        let zero = index > 0 && cells.clone().all(|pair| pair.1 == "0");
        let key = first.0.get(index).map(|pair| ("", pair.0.clone()));
        let cells = cells.map(|pair| ("", pair.1.clone()));
        (!zero).then(|| Row(key.into_iter().chain(cells).map(owned).collect()))
    });
    let lines: Vec<Row> = lines.collect();
    let widths = widths(&lines);
    for row in &lines {
        line(text, row.0.iter().map(|pair| pair.1.as_str()), &widths);
    }
}

fn owned((key, value): (&str, String)) -> (String, String) {
    (key.into(), value)
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
    let widths = widths(rows);
    line(text, first.0.iter().map(|pair| pair.0.as_str()), &widths);
    for row in rows {
        line(text, row.0.iter().map(|pair| pair.1.as_str()), &widths);
    }
}

/// How wide each column is, its key included.
fn widths(rows: &[Row]) -> Vec<usize> {
    let columns = rows.first().map_or(0, |row| row.0.len());
    let wide = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.0.get(column));
        let widths = cells.map(|pair| pair.0.chars().count().max(pair.1.chars().count()));
        widths.max().unwrap_or(0)
    };
    (0..columns).map(wide).collect()
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

    #[test]
    fn many_values_stand_below_each_other_without_the_zeroes() {
        let row = |lp: u32, count: u32| {
            let head = Row::new().with("lp", lp).with("nothing", 0);
            (0..COLUMNS_MAX).fold(head, |row, _| row.with("count", count))
        };
        let reply = Reply {
            rows: alloc::vec![row(0, 7), row(1, 0)],
            result: Row::new(),
        };
        let text = render(&reply);
        assert!(text.starts_with("lp     0  1\ncount  7  0\n"), "{text}");
        assert!(!text.contains("nothing"), "{text}");
    }
}
