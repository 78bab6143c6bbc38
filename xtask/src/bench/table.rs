//! The table that people read: a row for each figure, a column for each machine.

use std::collections::BTreeSet;

use super::Column;

/// Prints; true when every figure that must be there is, in each column, and meets its bound.
pub fn print(columns: &[Column], keys: &[(&str, Option<u64>)]) -> bool {
    let titles: String = columns.iter().map(title).collect();
    println!("{:<28}{titles} {:>12}", "", "at most");
    let mut good = true;
    for (key, bound) in keys {
        let (line, met) = row(columns, key, *bound);
        println!("{line}");
        good &= met;
    }
    let all = columns.iter().flat_map(|column| column.figures.keys());
    let others: BTreeSet<&String> = all
        .filter(|key| !keys.iter().any(|(known, _)| known == key))
        .collect();
    for key in others {
        println!("{}", row(columns, key, None).0);
    }
    good
}

fn title(column: &Column) -> String {
    let median = format!("{} median", column.name);
    format!(
        " {median:>13} {:>12} {:>8} {:>6}",
        "minimum", "samples", "exits"
    )
}

/// A line, and whether every column has the figure within its bound.
fn row(columns: &[Column], key: &str, bound: Option<u64>) -> (String, bool) {
    let mut line = format!("{key:<28}");
    let (mut missing, mut beyond) = (false, false);
    for column in columns {
        let Some(figure) = column.figures.get(key) else {
            line += &format!(" {:>13} {:>12} {:>8} {:>6}", "-", "-", "-", "-");
            missing = true;
            continue;
        };
        let exits = figure.exits.map_or("-".into(), |tenths| {
            format!("{}.{}", tenths / 10, tenths % 10)
        });
        line += &format!(
            " {:>13} {:>12} {:>8} {exits:>6}",
            figure.median, figure.minimum, figure.samples
        );
        beyond |= bound.is_some_and(|bound| figure.median > bound);
    }
    let limit = bound.map_or("-".to_string(), |bound| bound.to_string());
    line += &format!(" {limit:>12}");
    line += if missing { "  not measured" } else { "" };
    line += if beyond { "  TOO MUCH" } else { "" };
    (line, !missing && !beyond)
}

#[cfg(test)]
mod tests {
    use super::super::{Figure, Figures};
    use super::*;

    fn column(name: &str, figures: &[(&str, u64)]) -> Column {
        let figures = figures.iter();
        Column {
            name: name.into(),
            figures: figures
                .map(|&(key, value)| (key.to_string(), Figure::once(value)))
                .collect::<Figures>(),
        }
    }

    #[test]
    fn a_row_is_good_where_each_column_has_it_within_its_bound() {
        let both = [
            column("intel", &[("a", 5), ("b", 5)]),
            column("amd", &[("a", 6)]),
        ];
        assert!(row(&both, "a", Some(6)).1);
        let (line, good) = row(&both, "a", Some(5));
        assert!(!good && line.ends_with("5  TOO MUCH"), "{line}");
        let (line, good) = row(&both, "b", None);
        assert!(!good && line.ends_with("-  not measured"), "{line}");
    }
}
