//! Plain text tables: columns as wide as they need, numbers to the right, no control characters.

use crate::text::clean;

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table that is being filled.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    /// Whether there are no rows.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, one line a row, without a last line feed.
    pub(crate) fn render(&self) -> String {
        let width = |at: usize, title: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| cell.chars().count()).max();
            widest.unwrap_or(0).max(title.chars().count())
        };
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, (title, _))| width(at, title))
            .collect();
        let titles: Vec<String> = self
            .columns
            .iter()
            .map(|(title, _)| title.to_uppercase())
            .collect();
        let lines = std::iter::once(&titles).chain(&self.rows);
        let lines: Vec<String> = lines.map(|cells| self.line(cells, &widths)).collect();
        lines.join("\n")
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let cells = cells.iter().zip(widths).zip(&self.columns);
        let cells = cells.map(|((cell, width), (_, align))| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_and_numbers_end_together() {
        let mut table = Table::new(&[("name", Align::Left), ("cost", Align::Right)]);
        table.row(["a".to_owned(), "10.00".to_owned()]);
        table.row(["longer".to_owned(), "1.00".to_owned()]);
        assert_eq!(
            table.render(),
            "NAME     COST\na       10.00\nlonger   1.00"
        );
    }
}
