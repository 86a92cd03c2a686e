//! Where text goes: standard output for answers, standard error for everything about them.
//!
//! Invariants: control characters of guests never reach a terminal; colours and bars are for terminals only, and
//! `NO_COLOR` is respected; a reader that closes its end is no error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use console::Style;
use indicatif::{ProgressBar, ProgressStyle};
use neurath_code::Progress;
use serde::Serialize;

/// Chooses how failures look.
pub(crate) fn set_up() {
    let is_terminal = io::stderr().is_terminal();
    let width = console::Term::stderr().size().1.clamp(60, 120) as usize;
    // It is set once, here.
    let _ = miette::set_hook(Box::new(move |_| {
        let options = miette::MietteHandlerOpts::new().width(width).wrap_lines(is_terminal).terminal_links(false);
        Box::new(options.build())
    }));
}

/// Writes to standard output.
pub(crate) fn print(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("standard output: {error}");
            std::process::exit(1);
        }
    }
}

/// Writes an object of the API.
pub(crate) fn print_json(object: &impl Serialize) {
    print(serde_json::to_string_pretty(object).unwrap_or_default());
}

/// Writes an object of the API in one line.
pub(crate) fn print_json_line(object: &impl Serialize) {
    print(serde_json::to_string(object).unwrap_or_default());
}

/// Says something beside the answer.
pub(crate) fn note(text: impl AsRef<str>) {
    eprintln!("{}", text.as_ref());
}

/// Text of a guest without what would move a terminal's cursor or change its colours.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Text of several lines, each of them clean: all but the first stand `indent` columns to the right.
pub(crate) fn clean_below(text: &str, indent: usize) -> String {
    let lines: Vec<String> = text.trim_end_matches(['\n', '\r']).lines().map(clean).collect();
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

pub(crate) fn bold() -> Style {
    Style::new().bold()
}

pub(crate) fn dim() -> Style {
    Style::new().dim()
}

pub(crate) fn green() -> Style {
    Style::new().green()
}

pub(crate) fn yellow() -> Style {
    Style::new().yellow()
}

pub(crate) fn red() -> Style {
    Style::new().red()
}

/// A bar on standard error; where that is no terminal it shows nothing.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar that first only says what happens.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(message.into());
        bar.set_style(style("{spinner} {wide_msg}"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// So much of so much is done.
    pub(crate) fn at(&self, done: usize, total: usize, message: impl Into<String>) {
        if self.0.length() != Some(total as u64) {
            self.0.set_length(total as u64);
            self.0.set_style(style("{spinner} {bar:24} {pos}/{len} {wide_msg}"));
        }
        self.0.set_position(done as u64);
        self.0.set_message(message.into());
    }

    /// What a build says about itself.
    pub(crate) fn build(&self, progress: Progress) {
        match progress {
            Progress::Step(step) => self.0.set_message(step),
            Progress::Compiled { package, done, total } => self.at(done, total, package),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_lines_are_indented() {
        assert_eq!(clean_below("one\r\n\ttwo\u{1b}[2J\n\nfour\n", 2), "one\n  \ttwo\u{fffd}[2J\n  \n  four");
    }

    #[test]
    fn guests_cannot_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc\td"), "a\u{fffd}[31mb\u{fffd}\u{fffd}c\td");
    }
}
