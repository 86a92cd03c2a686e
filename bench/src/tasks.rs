//! What is measured: the tasks that both sides carry out, and the rows that are made of what they find.
//!
//! A task's name is known to `src/ours.rs` and to `erlang/bench.erl`; a row's name is part of the JSON's format.

/// Something that both sides do.
pub struct Task {
    pub name: &'static str,
    /// How many messages, processes, bytes: what the task counts.
    pub size: u64,
    /// The same for `--quick`.
    pub quick_size: u64,
    /// Samples that one process takes.
    pub repeats: u32,
}

/// Pairs of processes of `remote_pairs`.
pub const PAIRS: u64 = 100;
/// Members of the group of `group_broadcast`.
pub const MEMBERS: u64 = 100;
/// Who watch each process of `monitor_storm`, and how many monitors each of them has of it.
pub const STORM: (u64, u64) = (10, 10);

/// How the name of a task ends whose nodes speak TLS.
pub const TLS: &str = "_tls";

const fn task(name: &'static str, size: u64, quick_size: u64, repeats: u32) -> Task {
    Task { name, size, quick_size, repeats }
}

impl Task {
    /// The nodes that the task needs beside the first.
    pub fn others(&self) -> &'static [&'static str] {
        match self.name {
            "remote_stopped_peer" => &["beta", "gamma"],
            "monitor_storm" | "group_broadcast" => &["beta"],
            name if name.starts_with("remote_") => &["beta"],
            _ => &[],
        }
    }

    /// The task of this name.
    pub fn named(name: &str) -> Option<&'static Task> {
        TASKS.iter().find(|task| task.name == name)
    }

    /// Whether the nodes speak TLS.
    pub fn tls(&self) -> bool {
        self.name.ends_with(TLS)
    }

    /// What it does, without what carries the bytes.
    pub fn without_tls(&self) -> &'static str {
        self.name.strip_suffix(TLS).unwrap_or(self.name)
    }

    /// Whether all of it runs on one core, where no core must be woken.
    pub fn one_core(&self) -> bool {
        self.name.ends_with("_one_core")
    }
}

pub const TASKS: &[Task] = &[
    task("round_trip", 300_000, 30_000, 3),
    task("round_trip_1KiB", 100_000, 10_000, 3),
    task("one_way", 1_000_000, 100_000, 3),
    task("one_way_1KiB", 300_000, 30_000, 3),
    task("one_way_unbounded", 1_000_000, 100_000, 3),
    task("ten_senders", 1_000_000, 100_000, 3),
    task("ten_senders_unbounded", 500_000, 50_000, 3),
    task("ring", 1_000_000, 100_000, 3),
    task("spawn_exit", 100_000, 10_000, 3),
    task("spawn_exit_batch", 100_000, 10_000, 3),
    task("idle", 100_000, 10_000, 1),
    task("fib", 35, 25, 2),
    task("nbody", 1_000_000, 10_000, 2),
    task("sha256", 1 << 20, 1 << 16, 3),
    task("upgrade_1", 1, 1, 11),
    task("upgrade_1000", 1_000, 100, 3),
    task("upgrade_10000", 10_000, 1_000, 2),
    task("save", 1, 1, 3),
    task("remote_round_trip", 20_000, 2_000, 3),
    task("remote_round_trip_one_core", 20_000, 2_000, 3),
    task("remote_round_trip_tls", 20_000, 2_000, 3),
    task("remote_one_way_100B", 400_000, 40_000, 3),
    task("remote_one_way_100B_tls", 400_000, 40_000, 3),
    task("remote_bulk_64KiB", 16_000, 800, 3),
    task("remote_bulk_64KiB_tls", 8_000, 800, 3),
    task("remote_pairs", 200_000, 20_000, 3),
    task("remote_spawn", 5_000, 500, 3),
    task("monitor_storm", 10_000, 1_000, 1),
    task("group_broadcast", 400_000, 40_000, 3),
    task("remote_stopped_peer", 20_000, 2_000, 1),
];

/// What our figure is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Erlang,
    /// The same Rust, compiled natively; measured on our side.
    Native,
    /// A bare blocking socket between the same two OS processes; measured on our side.
    Tcp,
    /// The same with no other node stopped; measured on our side.
    Undisturbed,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::Erlang => "Erlang/OTP",
            Peer::Native => "native Rust",
            Peer::Tcp => "bare TCP",
            Peer::Undisturbed => "none stopped",
        }
    }
}

/// A line of the result.
pub struct Row {
    pub name: &'static str,
    /// For people.
    pub what: &'static str,
    pub task: &'static str,
    /// Which of the task's figures it shows.
    pub key: &'static str,
    pub peer: Peer,
    pub unit: Unit,
    /// Whether the task's quantiles are this row's.
    pub latency: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    MegabytesPerSecond,
    Millis,
    Micros,
    Bytes,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::PerSecond => "1/s",
            Unit::MegabytesPerSecond => "MB/s",
            Unit::Millis => "ms",
            Unit::Micros => "µs",
            Unit::Bytes => "bytes",
        }
    }

    /// Above 1 where ours is better.
    pub fn ratio(self, ours: f64, peer: f64) -> f64 {
        match self {
            Unit::PerSecond | Unit::MegabytesPerSecond => ours / peer,
            Unit::Millis | Unit::Micros | Unit::Bytes => peer / ours,
        }
    }
}

const fn row(name: &'static str, what: &'static str, task: &'static str, unit: Unit) -> Row {
    Row { name, what, task, key: "value", peer: Peer::Erlang, unit, latency: false }
}

const fn timed(row: Row) -> Row {
    Row { latency: true, ..row }
}

const fn pause(name: &'static str, what: &'static str, task: &'static str) -> Row {
    Row { key: "longest_pause", ..timed(row(name, what, task, Unit::Millis)) }
}

const fn native(name: &'static str, what: &'static str, task: &'static str) -> Row {
    against(Peer::Native, row(name, what, task, Unit::Millis))
}

const fn against(peer: Peer, row: Row) -> Row {
    Row { peer, ..row }
}

use Unit::{Bytes, MegabytesPerSecond, Micros, Millis, PerSecond};

pub const ROWS: &[Row] = &[
    timed(row("local_round_trip", "round trips, a pid and a number (16 B)", "round_trip", PerSecond)),
    timed(row("local_round_trip_1KiB", "round trips, 1 KiB copied", "round_trip_1KiB", PerSecond)),
    row("local_one_way", "one way, a number, window of 1,000", "one_way", PerSecond),
    row("local_one_way_1KiB", "one way, 1 KiB copied, window of 1,000", "one_way_1KiB", PerSecond),
    row("local_one_way_unbounded", "one way, a number, no window", "one_way_unbounded", PerSecond),
    row("one_way_10_senders", "one way from 10 senders, window of 1,000", "ten_senders", PerSecond),
    row("one_way_10_senders_unbounded", "one way from 10 senders, no window", "ten_senders_unbounded", PerSecond),
    row("ring", "hops in a ring of 1,000", "ring", PerSecond),
    row("spawn_exit", "a process starts and ends, monitored", "spawn_exit", Micros),
    row("spawn_exit_batch", "the same, 1,000 at a time", "spawn_exit_batch", Micros),
    row("idle_bytes", "resident memory of an idle process, of 100,000", "idle", Bytes),
    row("compute_fib", "fib(35)", "fib", Millis),
    native("compute_fib_vs_native", "fib(35)", "fib"),
    row("compute_nbody", "n-body, 1,000,000 steps", "nbody", Millis),
    native("compute_nbody_vs_native", "n-body, 1,000,000 steps", "nbody"),
    row("compute_sha256", "SHA-256 of 1 MiB", "sha256", Millis),
    native("compute_sha256_vs_native", "SHA-256 of 1 MiB", "sha256"),
    row("upgrade_1_total", "1 server upgraded under load", "upgrade_1", Millis),
    pause("upgrade_1_longest_pause", "… its client's longest wait", "upgrade_1"),
    row("upgrade_1000_total", "1,000 servers upgraded under load", "upgrade_1000", Millis),
    pause("upgrade_1000_longest_pause", "… a client's longest wait", "upgrade_1000"),
    row("upgrade_10000_total", "10,000 servers upgraded under load", "upgrade_10000", Millis),
    pause("upgrade_10000_longest_pause", "… a client's longest wait", "upgrade_10000"),
    row("save_to_running", "from saving a file to the first new answer", "save", Millis),
    timed(row("remote_round_trip", "round trip between two nodes (median)", "remote_round_trip", Micros)),
    against(Peer::Tcp, row("remote_round_trip_vs_tcp", "the same", "remote_round_trip", Micros)),
    timed(row("remote_round_trip_one_core", "the same, all on one core", "remote_round_trip_one_core", Micros)),
    against(
        Peer::Tcp,
        row("remote_round_trip_one_core_vs_tcp", "the same, all on one core", "remote_round_trip_one_core", Micros),
    ),
    timed(row("remote_round_trip_tls", "round trip, TLS on both sides", "remote_round_trip_tls", Micros)),
    row("remote_one_way_100B", "one way to another node, 100 B", "remote_one_way_100B", PerSecond),
    row("remote_one_way_100B_tls", "the same, TLS on both sides", "remote_one_way_100B_tls", PerSecond),
    row("remote_bulk_64KiB", "one way to another node, 64 KiB", "remote_bulk_64KiB", MegabytesPerSecond),
    row("remote_bulk_64KiB_tls", "the same, TLS on both sides", "remote_bulk_64KiB_tls", MegabytesPerSecond),
    row("remote_pairs", "round trips of 100 pairs at once", "remote_pairs", PerSecond),
    row("remote_spawn", "processes started on another node and ended, monitored", "remote_spawn", PerSecond),
    row("monitor_storm", "10,000 monitors fire when a node is disconnected, up to the last", "monitor_storm", Millis),
    row("group_broadcast", "messages to a group of 100 on another node", "group_broadcast", PerSecond),
    timed(row("remote_stopped_peer", "round trip while a third node is stopped", "remote_stopped_peer", Micros)),
    against(Peer::Undisturbed, row("remote_stopped_peer_vs_none", "the same", "remote_stopped_peer", Micros)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_task_and_every_task_a_row() {
        for row in ROWS {
            assert!(TASKS.iter().any(|task| task.name == row.task), "{}", row.name);
        }
        for task in TASKS {
            assert!(ROWS.iter().any(|row| task.name == row.task), "{}", task.name);
        }
    }

    #[test]
    fn a_ratio_above_one_is_ours() {
        assert_eq!(Unit::PerSecond.ratio(20.0, 10.0), 2.0);
        assert_eq!(Unit::Millis.ratio(10.0, 20.0), 2.0);
    }
}
