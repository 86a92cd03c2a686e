//! How `neurath top` looks. It only reads the state.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState, Wrap};

use super::model::{Mode, Request, Sort, State, share};
use crate::show;

/// Draws all of it.
pub(super) fn draw(state: &State, frame: &mut Frame<'_>) {
    let page = state.page();
    let [node, shards, nodes, sums] = page.header();
    // Many shards, or nodes, take several lines, but never more than a quarter of the screen.
    let width = usize::from(frame.area().width.max(1));
    let most = usize::from(frame.area().height / 4).max(1);
    let lines = |text: &str| text.chars().count().div_ceil(width).min(most) as u16;
    let [top, middle, others, below, _, table, last] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(lines(&shards).max(1)),
        Constraint::Length(lines(&nodes)),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::styled(node, Style::new().add_modifier(Modifier::BOLD)), top);
    frame.render_widget(Paragraph::new(Text::raw(shards)).wrap(Wrap { trim: true }), middle);
    frame.render_widget(Paragraph::new(Text::raw(nodes)).wrap(Wrap { trim: true }), others);
    frame.render_widget(Line::raw(sums), below);
    processes(state, frame, table);
    frame.render_widget(foot(state), last);
}

fn processes(state: &State, frame: &mut Frame<'_>, area: ratatui::layout::Rect) {
    let columns: [(&str, Option<Sort>, Constraint); 8] = [
        ("PID", None, Constraint::Length(8)),
        ("MODULE", None, Constraint::Fill(2)),
        ("STATE", None, Constraint::Length(13)),
        ("CPU", Some(Sort::Cpu), Constraint::Length(7)),
        ("MESSAGES/S", Some(Sort::Messages), Constraint::Length(11)),
        ("MAILBOX", Some(Sort::Mailbox), Constraint::Length(8)),
        ("MEMORY", Some(Sort::Memory), Constraint::Length(9)),
        ("NAMES", None, Constraint::Fill(1)),
    ];
    let header = columns.map(|(name, sort, _)| {
        let style = Style::new().add_modifier(Modifier::BOLD);
        let chosen = sort == Some(state.sort);
        Cell::from(name).style(if chosen { style.add_modifier(Modifier::UNDERLINED) } else { style })
    });
    let rows = state.rows().into_iter().map(|row| {
        Row::new([
            Cell::from(row.short.clone()),
            Cell::from(format!("{} {}", row.module, row.entry)),
            Cell::from(row.state.clone()).style(colour(&row.state)),
            Cell::from(share(row.cpu)),
            Cell::from(format!("{:.0}", row.messages_per_s)),
            Cell::from(row.mailbox.to_string()),
            Cell::from(row.memory_bytes.map_or("-".into(), show::bytes)),
            Cell::from(row.names.join(" ")),
        ])
    });
    let table = Table::new(rows, columns.map(|(.., width)| width))
        .header(Row::new(header))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut selection = TableState::default().with_selected(state.selected());
    frame.render_stateful_widget(table, area, &mut selection);
}

fn colour(state: &str) -> Style {
    match state {
        "running" => Style::new().fg(Color::Green),
        "runnable" | "back_pressure" => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

fn foot(state: &State) -> Line<'static> {
    let text = match &state.mode {
        Mode::Filter => format!("filter: {}▏ Enter keeps it, Esc clears it", state.filter),
        Mode::Asks(Request::Kill(pid)) => format!("kill {pid}? y / n"),
        Mode::Asks(Request::Upgrade(module)) => {
            format!("upgrade all processes of {module} to its newest version? y / n")
        }
        Mode::Asks(Request::Quit) | Mode::Browse => {
            let keys = "↑↓ select  s sort  / filter  k kill  u upgrade  q end";
            let (shown, total) = (state.page().rows.len(), state.page().total);
            let more = if shown < total { format!("  {shown} of {total} looked at") } else { String::new() };
            let filter = if state.filter.is_empty() { String::new() } else { format!("  filter: {}", state.filter) };
            let said = if state.said.is_empty() { String::new() } else { format!("  — {}", state.said) };
            return Line::raw(format!("{keys}{more}{filter}{said}"));
        }
    };
    Line::styled(text, Style::new().add_modifier(Modifier::REVERSED))
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::commands::top::model::tests::{in_a_cluster, state};

    fn drawn(state: &State, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(state, frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(line).collect()
    }

    #[test]
    fn the_page_has_node_shards_processes_and_keys() {
        let lines = drawn(&state(), 100, 10);
        assert_eq!(lines[0], "neurath 0.1.0  node n, life 1, up 1m 2s");
        assert_eq!(lines[1], "shards  0: 50 %");
        assert_eq!(lines[2], "3 processes, 1000 messages/s, 0 turns/s, 9 waiting, 384 KiB");
        assert!(lines[4].starts_with("PID      MODULE") && lines[4].contains("MESSAGES/S"), "{lines:#?}");
        assert!(lines[5].starts_with("1 ") && lines[5].contains("45 %") && lines[5].ends_with("till"), "{lines:#?}");
        assert!(lines[6].starts_with("3 ") && lines[6].contains("1000"), "{lines:#?}");
        assert!(lines[9].starts_with("↑↓ select"), "{lines:#?}");
    }

    #[test]
    fn other_nodes_stand_below_the_shards() {
        let lines = drawn(&in_a_cluster(), 100, 11);
        assert_eq!(lines[1], "shards  0: 50 %");
        assert_eq!(lines[2], "nodes  beta: alive, connected, 0.1 ms, 3 held");
        assert!(lines[3].starts_with("3 processes") && lines[5].starts_with("PID"), "{lines:#?}");
    }

    #[test]
    fn questions_stand_below() {
        let mut state = state();
        for code in [KeyCode::Down, KeyCode::Char('u')] {
            state.key(KeyEvent::new(code, KeyModifiers::NONE));
        }
        let lines = drawn(&state, 80, 8);
        assert_eq!(lines[7], "upgrade all processes of counter to its newest version? y / n");
    }

    #[test]
    fn a_tiny_terminal_is_no_panic() {
        for (width, height) in [(1, 1), (3, 2), (20, 4)] {
            drawn(&state(), width, height);
        }
    }
}
