//! What `neurath top` shows, and what keys do to it: from two looks at a node to a page, from a key to the next state.
//!
//! It touches neither node nor terminal.

use std::collections::HashMap;
use std::time::Duration;

use clap::ValueEnum;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use neurath_node::api::view::{NodeView, NodesView, ProcessView, ProcessesView, ShardsView};
use serde::Serialize;

use crate::output::clean;
use crate::show::{self, Pids};

/// One look at a node.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub node: NodeView,
    pub shards: ShardsView,
    pub processes: ProcessesView,
    pub nodes: NodesView,
}

/// What two looks at a node say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Page {
    pub node: String,
    pub version: String,
    pub incarnation: u32,
    pub uptime_ms: u64,
    pub total: usize,
    pub shards: Vec<ShardLine>,
    /// The others of its cluster.
    pub nodes: Vec<NodeLine>,
    pub messages_per_s: f64,
    pub turns_per_s: f64,
    #[serde(rename = "processes")]
    pub rows: Vec<Row>,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ShardLine {
    pub shard: u32,
    /// The share of the time in which it did not sleep.
    pub busy: f64,
    pub processes: u64,
    pub mailbox_messages: u64,
    pub memory_bytes: u64,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct NodeLine {
    pub name: String,
    pub state: String,
    pub session: String,
    pub latency_us: Option<u64>,
    pub held_messages: usize,
}

impl NodeLine {
    /// `beta: alive, connected, 0.1 ms, 3 held`
    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.name, self.state);
        if self.session != "none" {
            text += &format!(", {}", self.session);
        }
        if let Some(us) = self.latency_us {
            text += &format!(", {:.1} ms", us as f64 / 1000.0);
        }
        if self.held_messages > 0 {
            text += &format!(", {} held", self.held_messages);
        }
        text
    }
}

/// A process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub pid: String,
    #[serde(skip)]
    pub short: String,
    pub names: Vec<String>,
    pub module: String,
    pub entry: String,
    pub state: String,
    pub shard: u32,
    /// The share of one core's time, estimated.
    pub cpu: f64,
    pub messages_per_s: f64,
    pub turns_per_s: f64,
    pub mailbox: u32,
    pub memory_bytes: Option<u64>,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// Who computes most
    Cpu,
    /// For whom most messages wait
    Mailbox,
    /// Who has most memory
    Memory,
    /// Who sends and receives most
    Messages,
}

impl Sort {
    const ALL: [Self; 4] = [Self::Cpu, Self::Mailbox, Self::Memory, Self::Messages];

    /// As the API calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Mailbox => "mailbox",
            Self::Memory => "memory",
            Self::Messages => "messages",
        }
    }

    fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    fn of(self, row: &Row) -> f64 {
        match self {
            Self::Cpu => row.cpu,
            Self::Mailbox => f64::from(row.mailbox),
            Self::Memory => row.memory_bytes.unwrap_or(0) as f64,
            Self::Messages => row.messages_per_s,
        }
    }
}

/// `45 %`
pub(super) fn share(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

impl Page {
    /// What happened from one look to a later one. Counts of a process that is new are all of that time.
    pub(super) fn between(before: &Sample, now: &Sample, pids: &Pids) -> Self {
        let ms = now.shards.uptime_ms.saturating_sub(before.shards.uptime_ms);
        let rate = |before: u64, now: u64| match ms {
            0 => 0.0,
            ms => now.saturating_sub(before) as f64 * 1_000.0 / ms as f64,
        };
        let known: HashMap<_, _> = before.processes.processes.iter().map(|p| (p.pid.as_str(), p)).collect();
        let row = |process: &ProcessView| {
            let old = known.get(process.pid.as_str());
            let was = |count: fn(&ProcessView) -> u64| old.map_or(0, |old| count(old));
            let of = |count: fn(&ProcessView) -> u64| rate(was(count), count(process));
            Row {
                pid: process.pid.clone(),
                short: pids.short(&process.pid),
                names: process.names.iter().map(|name| clean(name)).collect(),
                module: clean(&process.module),
                entry: clean(&process.entry),
                state: process.state.clone(),
                shard: process.shard,
                cpu: of(|p| p.cpu_us) / 1e6,
                messages_per_s: of(|p| p.counts.sent + p.counts.received),
                turns_per_s: of(|p| p.counts.polls),
                mailbox: process.mailbox,
                memory_bytes: process.memory_bytes,
            }
        };
        let shards = now.shards.shards.iter().enumerate().map(|(at, shard)| ShardLine {
            shard: shard.shard,
            busy: (rate(before.shards.shards.get(at).map_or(0, |old| old.busy_us), shard.busy_us) / 1e6).min(1.0),
            processes: shard.processes,
            mailbox_messages: shard.mailbox_messages,
            memory_bytes: shard.memory_bytes + shard.image_bytes,
        });
        let nodes = now.nodes.nodes.iter().filter(|node| node.state != "self").map(|node| NodeLine {
            name: clean(&node.name),
            state: node.state.clone(),
            session: node.session.clone(),
            latency_us: node.latency_us,
            held_messages: node.held_messages,
        });
        let sum = |sample: &Sample, of: fn(&neurath_node::api::view::ShardView) -> u64| {
            sample.shards.shards.iter().map(of).sum::<u64>()
        };
        Self {
            node: now.node.id.clone(),
            version: now.node.version.clone(),
            incarnation: now.node.incarnation,
            uptime_ms: now.shards.uptime_ms,
            total: now.processes.total,
            shards: shards.collect(),
            nodes: nodes.collect(),
            messages_per_s: rate(sum(before, |s| s.sent), sum(now, |s| s.sent)),
            turns_per_s: rate(sum(before, |s| s.turns), sum(now, |s| s.turns)),
            rows: now.processes.processes.iter().map(row).collect(),
        }
    }

    /// Puts those first that have most.
    pub(super) fn sort(&mut self, sort: Sort) {
        self.rows.sort_by(|a, b| sort.of(b).total_cmp(&sort.of(a)));
    }

    /// The lines above the table.
    pub(super) fn header(&self) -> [String; 4] {
        let busy = self.shards.iter().map(|shard| format!("{}: {}", shard.shard, share(shard.busy)));
        let memory: u64 = self.shards.iter().map(|shard| shard.memory_bytes).sum();
        let waiting: u64 = self.shards.iter().map(|shard| shard.mailbox_messages).sum();
        [
            format!(
                "neurath {}  node {}, life {}, up {}",
                self.version,
                self.node,
                self.incarnation,
                uptime(Duration::from_millis(self.uptime_ms))
            ),
            format!("shards  {}", busy.collect::<Vec<_>>().join("  ")),
            match self.nodes.as_slice() {
                [] => String::new(),
                nodes => format!("nodes  {}", nodes.iter().map(NodeLine::text).collect::<Vec<_>>().join("  ")),
            },
            format!(
                "{}, {:.0} messages/s, {:.0} turns/s, {waiting} waiting, {}",
                show::count(self.total, "process", "processes"),
                self.messages_per_s,
                self.turns_per_s,
                show::bytes(memory)
            ),
        ]
    }
}

/// `42s`, `3m 20s`, `5h 3m`, `2d 4h`
fn uptime(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m {}s", s / 60, s % 60),
        s @ 3_600..86_400 => format!("{}h {}m", s / 3_600, s / 60 % 60),
        s => format!("{}d {}h", s / 86_400, s / 3_600 % 24),
    }
}

/// What is on the screen.
#[derive(Clone, Debug)]
pub(super) struct State {
    page: Page,
    pub sort: Sort,
    /// Only processes with this in them.
    pub filter: String,
    pub mode: Mode,
    /// What came of the last request.
    pub said: String,
    /// The pid that is selected: it stays so when the order changes.
    selected: Option<String>,
}

/// What keys mean at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browse,
    /// They change the filter.
    Filter,
    /// `y` carries this out.
    Asks(Request),
}

/// What a key wants of the node, or of whoever shows this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Quit,
    /// A pid.
    Kill(String),
    /// A package: all its processes, to the newest version that is installed.
    Upgrade(String),
}

impl State {
    pub(super) fn new(page: Page, sort: Sort) -> Self {
        let mut state =
            Self { page, sort, filter: String::new(), mode: Mode::Browse, said: String::new(), selected: None };
        state.page.sort(sort);
        state
    }

    pub(super) fn page(&self) -> &Page {
        &self.page
    }

    /// The rows that the filter lets through, in order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let wanted = |text: &String| text.contains(&self.filter);
        let all = self.page.rows.iter();
        all.filter(|row| {
            [&row.short, &row.module, &row.entry, &row.state].into_iter().any(wanted) || row.names.iter().any(wanted)
        })
        .collect()
    }

    /// Which of the rows is selected.
    pub(super) fn selected(&self) -> Option<usize> {
        let pid = self.selected.as_ref()?;
        self.rows().iter().position(|row| row.pid == *pid)
    }

    /// There is something newer.
    pub(super) fn shows(&mut self, page: Page) {
        self.page = page;
        self.page.sort(self.sort);
    }

    /// Something came of a request.
    pub(super) fn says(&mut self, said: String) {
        self.said = clean(said.lines().next().unwrap_or_default());
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Request> {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Some(Request::Quit);
        }
        match std::mem::replace(&mut self.mode, Mode::Browse) {
            Mode::Browse => self.browse(key.code),
            Mode::Filter => {
                match key.code {
                    KeyCode::Enter => return None,
                    KeyCode::Esc => {
                        self.filter.clear();
                        return None;
                    }
                    KeyCode::Backspace => drop(self.filter.pop()),
                    KeyCode::Char(c) if self.filter.len() < 64 => self.filter.push(c),
                    _ => {}
                }
                self.mode = Mode::Filter;
                None
            }
            Mode::Asks(request) => (key.code == KeyCode::Char('y')).then_some(request),
        }
    }

    fn browse(&mut self, key: KeyCode) -> Option<Request> {
        self.said.clear();
        match key {
            KeyCode::Char('q') => return Some(Request::Quit),
            KeyCode::Up => self.step(-1),
            KeyCode::Down => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.page.sort(self.sort);
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('k') => self.ask(|row| Request::Kill(row.pid.clone())),
            KeyCode::Char('u') => self.ask(|row| {
                let package = row.module.split('@').next().unwrap_or_default();
                Request::Upgrade(package.to_owned())
            }),
            _ => {}
        }
        None
    }

    fn step(&mut self, by: isize) {
        let rows = self.rows();
        let Some(last) = rows.len().checked_sub(1) else { return };
        let at = self.selected().map_or(0, |at| at.saturating_add_signed(by).min(last));
        let at = if self.selected().is_none() && by == isize::MAX { last } else { at };
        self.selected = Some(rows[at].pid.clone());
    }

    fn ask(&mut self, request: impl FnOnce(&Row) -> Request) {
        match self.selected().and_then(|at| self.rows().get(at).map(|row| request(row))) {
            Some(request) => self.mode = Mode::Asks(request),
            None => self.said = "select a process first: arrow keys".into(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use neurath_node::api::view::{CountsView, ShardView, UpgradeCountsView};

    use super::*;

    fn process(serial: u32, cpu_us: u64, mailbox: u32, sent: u64) -> ProcessView {
        ProcessView {
            pid: format!("{serial}@n.1"),
            names: if serial == 1 { vec!["till".into()] } else { Vec::new() },
            module: format!("counter@{serial}.0.0"),
            entry: "counter".into(),
            kind: "process".into(),
            state: "waiting".into(),
            mailbox,
            mailbox_bytes: 0,
            memory_bytes: Some(131_072),
            cpu_us,
            shard: 0,
            parent: None,
            links: Vec::new(),
            watchers: Vec::new(),
            watching: Vec::new(),
            trap_exit: false,
            upgrade_pending: false,
            counts: CountsView { polls: 0, received: 0, sent, refused: 0, late: 0, upgrades: 0, rollbacks: 0 },
        }
    }

    fn sample(uptime_ms: u64, busy_us: u64, processes: Vec<ProcessView>) -> Sample {
        let shard = ShardView {
            shard: 0,
            busy_us,
            processes: 3,
            runnable: 0,
            hibernating: 0,
            threads_kept: 0,
            mailbox_messages: 9,
            mailbox_bytes: 90,
            memory_bytes: 393_216,
            image_bytes: 0,
            spawned: 3,
            ended: 0,
            turns: 0,
            sent: processes.iter().map(|p| p.counts.sent).sum(),
            received: 0,
            refused: 0,
            undeliverable: 0,
        };
        let node = NodeView {
            id: "n".into(),
            incarnation: 1,
            version: "0.1.0".into(),
            os_pid: 1,
            data: "d".into(),
            shards: 1,
            processes: 3,
            ended: 0,
            upgrades: UpgradeCountsView { committed: 0, rolled_back: 0 },
        };
        let processes = ProcessesView { total: processes.len(), processes };
        let nodes = NodesView { nodes: Vec::new() };
        Sample { node, shards: ShardsView { uptime_ms, shards: vec![shard] }, processes, nodes }
    }

    /// The same in a cluster with another node.
    pub(in super::super) fn in_a_cluster() -> State {
        let mut state = state();
        state.page.nodes.push(NodeLine {
            name: "beta".into(),
            state: "alive".into(),
            session: "connected".into(),
            latency_us: Some(120),
            held_messages: 3,
        });
        state
    }

    /// Three processes within two seconds: one computes, one has a full mailbox, one sends.
    pub(in super::super) fn state() -> State {
        let before = sample(60_000, 1_000_000, vec![process(1, 0, 0, 0), process(2, 0, 0, 0), process(3, 0, 0, 10)]);
        let now = sample(
            62_000,
            2_000_000,
            vec![process(1, 900_000, 0, 0), process(2, 0, 9, 0), process(3, 1_000, 0, 2_010)],
        );
        let page = Page::between(&before, &now, &Pids::of(&now.node));
        State::new(page, Sort::Cpu)
    }

    fn press(state: &mut State, keys: &str) -> Option<Request> {
        let mut request = None;
        for c in keys.chars() {
            request = state.key(KeyEvent::new(code(c), KeyModifiers::NONE));
        }
        request
    }

    /// `↓ ↑ ⏎ ⎋ ⌫` stand for keys, others for themselves.
    fn code(c: char) -> KeyCode {
        match c {
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            '⏎' => KeyCode::Enter,
            '⎋' => KeyCode::Esc,
            '⌫' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        }
    }

    fn shown(state: &State) -> Vec<&str> {
        state.rows().iter().map(|row| row.short.as_str()).collect()
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let state = state();
        let page = state.page();
        assert_eq!((page.rows[0].cpu, page.shards[0].busy, page.messages_per_s), (0.45, 0.5, 1_000.0));
        assert_eq!(page.rows[1].messages_per_s, 1_000.0);
        let same = Page::between(
            &sample(5, 5, Vec::new()),
            &sample(5, 5, vec![process(1, 7, 0, 7)]),
            &Pids::of(&sample(0, 0, Vec::new()).node),
        );
        assert_eq!((same.rows[0].cpu, same.shards[0].busy), (0.0, 0.0), "no time, no rate");
    }

    #[test]
    fn keys_sort_filter_and_select() {
        let mut state = state();
        assert_eq!(shown(&state), ["1", "3", "2"]);
        press(&mut state, "s");
        assert_eq!((state.sort, shown(&state)), (Sort::Mailbox, vec!["2", "1", "3"]));
        press(&mut state, "sss↓↓");
        assert_eq!((state.sort, state.selected()), (Sort::Cpu, Some(1)));
        press(&mut state, "ss");
        assert_eq!(state.rows()[state.selected().unwrap()].short, "3", "the selection follows its process");
        press(&mut state, "/till");
        assert_eq!((shown(&state), &state.mode), (vec!["1"], &Mode::Filter));
        press(&mut state, "⏎");
        assert_eq!((shown(&state), state.selected()), (vec!["1"], None));
        press(&mut state, "/⌫x⎋");
        assert_eq!(shown(&state).len(), 3);
        assert_eq!(press(&mut state, "q"), Some(Request::Quit));
    }

    #[test]
    fn nothing_is_killed_or_upgraded_without_a_yes() {
        let mut state = state();
        assert_eq!(press(&mut state, "k"), None);
        assert!(state.said.contains("select"), "{}", state.said);
        assert_eq!(press(&mut state, "y"), None, "nothing was asked");
        assert_eq!(press(&mut state, "↓kn"), None);
        assert_eq!(press(&mut state, "y"), None, "the question is over");
        assert_eq!(press(&mut state, "ky"), Some(Request::Kill("1@n.1".into())));
        assert_eq!(press(&mut state, "uy"), Some(Request::Upgrade("counter".into())));
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        press(&mut state, "k");
        assert_eq!(state.key(ctrl_c), Some(Request::Quit));
    }
}
