//! Aligned tables. On a terminal one column gives way so that lines fit.

use std::io::{self, IsTerminal};

use console::{Style, measure_text_width, pad_str, truncate_str};

use crate::output::{bold, clean, clean_below};

/// Spaces between two columns.
const GAP: usize = 2;

/// Columns of text or numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Left(&'static str),
    Right(&'static str),
    /// Left, and the one that is cut where the terminal is too narrow.
    Flexible(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Left(name) | Self::Right(name) | Self::Flexible(name) => name,
        }
    }
}

/// See the module.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// A row; there are as many cells as columns. The last cell may have several lines.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Style)>) {
        let last = self.columns.len() - 1;
        let clean = |(at, (text, style)): (usize, (String, Style))| match at {
            at if at == last => (clean_below(&text, 0), style),
            _ => (clean(&text), style),
        };
        self.rows.push(cells.into_iter().enumerate().map(clean).collect());
    }

    /// The lines, to be printed on standard output.
    pub(crate) fn render(&self) -> String {
        let width = io::stdout().is_terminal().then(|| console::Term::stdout().size().1 as usize);
        self.lines(width).join("\n")
    }

    fn lines(&self, width: Option<usize>) -> Vec<String> {
        let widths = self.widths(width);
        let header = self.columns.iter().map(|column| (column.name().to_owned(), bold()));
        let header: Vec<_> = header.collect();
        std::iter::once(&header).chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let widest = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest_line = |(text, _): &(String, Style)| text.lines().map(measure_text_width).max().unwrap_or(0);
            cells.map(widest_line).chain([self.columns[at].name().len()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let flexible = self.columns.iter().position(|column| matches!(column, Column::Flexible(_)));
        if let (Some(limit), Some(at)) = (limit, flexible) {
            let least = self.columns[at].name().len().max(8);
            widths[at] = widths[at].saturating_sub(total.saturating_sub(limit)).max(least.min(widths[at]));
        }
        widths
    }

    fn line(&self, row: &[(String, Style)], widths: &[usize]) -> String {
        let last = widths.len().saturating_sub(1);
        let mut line = String::new();
        for (at, (((text, style), column), width)) in row.iter().zip(&self.columns).zip(widths).enumerate() {
            if at == last && text.contains('\n') {
                let start = widths[..last].iter().map(|width| width + GAP).sum();
                let lines = text.lines().map(|text| style.apply_to(truncate_str(text, *width, "…")).to_string());
                line.push_str(&lines.collect::<Vec<_>>().join(&format!("\n{}", " ".repeat(start))));
                break;
            }
            let text = truncate_str(text, *width, "…");
            let side = match column {
                Column::Right(_) => console::Alignment::Right,
                _ => console::Alignment::Left,
            };
            // The last column is not filled up: no line ends in spaces.
            let cell = match (at == last, side) {
                (true, console::Alignment::Left) => text,
                _ => pad_str(&text, *width, side, None).into_owned().into(),
            };
            line.push_str(&style.apply_to(cell).to_string());
            if at < last {
                line.push_str(&" ".repeat(GAP));
            }
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([Column::Right("PID"), Column::Flexible("MODULE"), Column::Left("STATE")]);
        for (pid, module, state) in [("1", "counter@1.0.0", "waiting"), ("42", "ping-pong@2.1.0", "running")] {
            table.row([pid, module, state].map(|text| (text.to_owned(), Style::new())));
        }
        table
    }

    fn plain(width: Option<usize>) -> Vec<String> {
        table().lines(width).iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect()
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            plain(None),
            ["PID  MODULE           STATE", "  1  counter@1.0.0    waiting", " 42  ping-pong@2.1.0  running",]
        );
    }

    #[test]
    fn further_lines_of_the_last_cell_stand_below_its_first() {
        let mut table = Table::new([Column::Right("PID"), Column::Flexible("WHY")]);
        table.row(["1", "left: 1\nright: 2\n"].map(|text| (text.to_owned(), Style::new())));
        assert_eq!(table.lines(None)[1], "  1  left: 1\n     right: 2");
    }

    #[test]
    fn the_flexible_column_gives_way() {
        let lines = plain(Some(24));
        assert!(lines.iter().all(|line| line.chars().count() <= 24), "{lines:#?}");
        assert_eq!(lines[2], " 42  ping-pong…  running");
    }
}
