//! Rows out of samples: medians, ratios, a table, Markdown, JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::sides::{Samples, Side};
use crate::tasks::{Peer, Row, TLS, Unit};

/// The quantiles, as keys of samples.
const QUANTILES: [&str; 3] = ["p50_us", "p99_us", "max_us"];

/// Keys whose values are added up: they must come to 0.
const COUNTS: [&str; 4] = ["lost", "duplicated", "rolled_back", "suspended_lost"];

/// See the module.
pub struct Report {
    machine: Value,
    samples: BTreeMap<(Side2, &'static str, String), Vec<f64>>,
}

/// [`Side`] with an order.
type Side2 = bool;

fn order(side: Side) -> Side2 {
    side == Side::Peer
}

/// A row's figures.
struct Figures {
    ours: f64,
    peer: f64,
    ratio: f64,
}

impl Report {
    pub fn new(machine: Value) -> Self {
        Self { machine, samples: BTreeMap::new() }
    }

    pub fn add(&mut self, side: Side, task: &'static str, samples: Samples) {
        for (key, value) in samples {
            self.samples.entry((order(side), task, key)).or_default().push(value);
        }
    }

    /// Messages that were lost or came twice on our side, and servers that kept their old code.
    pub fn wrong(&self) -> u64 {
        let wrong = self.samples.iter().filter(|((side, _, key), _)| !*side && COUNTS.contains(&key.as_str()));
        wrong.flat_map(|(_, values)| values).sum::<f64>() as u64
    }

    fn value(&self, side: Side, task: &'static str, key: &str) -> Option<f64> {
        let values = self.samples.get(&(order(side), task, key.to_owned()))?;
        Some(together(key, values))
    }

    fn figures(&self, row: &Row) -> Result<Figures> {
        let missing = || format!("nobody measured {}", row.name);
        let ours = self.value(Side::Ours, row.task, row.key).with_context(missing)?;
        let peer = match row.peer {
            Peer::Erlang => self.value(Side::Peer, row.task, row.key),
            Peer::Native => self.value(Side::Ours, row.task, "native"),
            Peer::Tcp => self.value(Side::Ours, row.task, "floor"),
            Peer::Undisturbed => self.value(Side::Ours, row.task, "undisturbed"),
        };
        let peer = peer.with_context(missing)?;
        Ok(Figures { ours, peer, ratio: row.unit.ratio(ours, peer) })
    }

    /// One row, for progress.
    pub fn line(&self, row: &Row) -> Result<String> {
        let Figures { ours, peer, ratio } = self.figures(row)?;
        let unit = row.unit.name();
        let (ours, peer, name) = (shown(ours), shown(peer), row.peer.name());
        Ok(format!("{}: {ours} {unit}, {name} {peer} {unit}: {ratio:.2}", row.name))
    }

    // ---- JSON ----

    pub fn json(&self, rows: &[&Row]) -> Result<Value> {
        let rows: Result<Vec<Value>> = rows.iter().map(|row| self.row_json(row)).collect();
        Ok(json!({ "rows": rows?, "machine": self.machine }))
    }

    fn row_json(&self, row: &Row) -> Result<Value> {
        let Figures { ours, peer, ratio } = self.figures(row)?;
        let mut json = Map::new();
        json.insert("name".into(), row.name.into());
        json.insert("what".into(), row.what.into());
        json.insert("ours".into(), ours.into());
        json.insert("peer".into(), peer.into());
        json.insert("peer_name".into(), row.peer.name().into());
        json.insert("unit".into(), row.unit.name().into());
        json.insert("ratio".into(), ratio.into());
        if row.latency {
            for (prefix, side) in [("", Side::Ours), ("peer_", Side::Peer)] {
                for quantile in QUANTILES {
                    json.insert(format!("{prefix}{quantile}"), self.value(side, row.task, quantile).into());
                }
            }
        }
        let side = |side| {
            let of_task = self.samples.iter().filter(|((of, task, _), _)| *of == order(side) && *task == row.task);
            of_task.map(|((.., key), values)| (key.clone(), together(key, values).into())).collect::<Map<_, _>>()
        };
        json.insert("details".into(), json!({ "ours": side(Side::Ours), "peer": side(Side::Peer) }));
        Ok(Value::Object(json))
    }

    // ---- for people ----

    pub fn table(&self, rows: &[&Row]) -> Result<String> {
        let cells = self.cells(rows)?;
        let widths: Vec<usize> = (0..COLUMNS.len())
            .map(|at| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0).max(COLUMNS[at].len()))
            .collect();
        let mut out = String::new();
        let mut line = |row: &[String; 7]| {
            let mut text = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let pad = " ".repeat(width - cell.chars().count());
                let _ =
                    if (1..=3).contains(&at) { write!(text, "{pad}{cell}  ") } else { write!(text, "{cell}{pad}  ") };
            }
            let _ = writeln!(out, "{}", text.trim_end());
        };
        line(&COLUMNS.map(str::to_owned));
        cells.iter().for_each(&mut line);
        out.push_str(&self.footnotes(rows));
        Ok(out)
    }

    pub fn markdown(&self, rows: &[&Row]) -> Result<String> {
        let mut out =
            String::from("| what | Neurath | peer | ratio | p50 / p99 / max | peer's |\n|---|--:|--:|--:|---|---|\n");
        for (row, [_, ours, peer, ratio, unit, quantiles, peers]) in rows.iter().zip(self.cells(rows)?) {
            let whose = match row.peer {
                Peer::Erlang => String::new(),
                other => format!(" ({})", other.name()),
            };
            let _ = writeln!(
                out,
                "| {} | {ours} {unit} | {peer} {unit}{whose} | {ratio} | {quantiles} | {peers} |",
                row.what
            );
        }
        out.push_str(&self.footnotes(rows));
        Ok(out)
    }

    fn cells(&self, rows: &[&Row]) -> Result<Vec<[String; 7]>> {
        rows.iter()
            .map(|row| {
                let Figures { ours, peer, ratio } = self.figures(row)?;
                let quantiles = |side| {
                    let quantile = |key: &&str| self.value(side, row.task, key).map_or("?".into(), duration);
                    if row.latency {
                        QUANTILES.iter().map(quantile).collect::<Vec<_>>().join(" / ")
                    } else {
                        String::new()
                    }
                };
                let name = row.name.to_owned();
                let unit = row.unit.name().to_owned();
                let ratio = format!("{ratio:.2}");
                Ok([name, shown(ours), shown(peer), ratio, unit, quantiles(Side::Ours), quantiles(Side::Peer)])
            })
            .collect()
    }

    /// What does not fit into columns.
    fn footnotes(&self, rows: &[&Row]) -> String {
        let machine = |key: &str| self.machine[key].as_str().unwrap_or("?").to_owned();
        let mut out = format!(
            "\nMeasured in turn with Erlang/{} on {} ({} cores, {}); medians; a ratio above 1: ours is better.\n",
            machine("erlang"),
            machine("cpu"),
            self.machine["cores"],
            machine("os"),
        );
        let has = |task: &str| rows.iter().any(|row| row.task == task);
        let mut note = |text: String| {
            let _ = writeln!(out, "{text}");
        };
        for task in ["round_trip_1KiB", "one_way_1KiB"].into_iter().filter(|task| has(task)) {
            if let Some(shared) = self.value(Side::Peer, task, "shared") {
                note(format!("{task}: of a binary of that size Erlang sends a reference: {} 1/s.", shown(shared)));
            }
        }
        if let Some(mappings) = self.value(Side::Ours, "idle", "mappings") {
            note(format!("idle: the processes added {mappings} mappings."));
        }
        for task in ["upgrade_1", "upgrade_1000", "upgrade_10000"].into_iter().filter(|task| has(task)) {
            let ours = |key| self.value(Side::Ours, task, key).unwrap_or(f64::NAN);
            let peer = |key| self.value(Side::Peer, task, key).map_or("?".into(), shown);
            note(format!(
                "{task}: of {} messages {} were lost, {} came twice; Erlang with all suspended: {} ms, longest wait {} ms.",
                shown(ours("sent")),
                ours("lost"),
                ours("duplicated"),
                peer("suspended_value"),
                peer("suspended_longest_pause"),
            ));
        }
        for plain in ["remote_round_trip", "remote_one_way_100B", "remote_bulk_64KiB"] {
            let Some(row) = rows.iter().find(|row| row.task.strip_suffix(TLS) == Some(plain)) else { continue };
            let ours = self.value(Side::Ours, row.task, row.key);
            if let (Some(ours), Some(peer)) = (ours, self.value(Side::Peer, plain, row.key)) {
                let ratio = row.unit.ratio(ours, peer);
                note(format!("{}: ours with TLS against Erlang's without: {ratio:.2}.", row.task));
            }
        }
        if let Some(build) = self.value(Side::Ours, "save", "build") {
            note(format!("save_to_running: {} ms of it are cargo and rustc.", shown(build)));
        }
        out
    }
}

const COLUMNS: [&str; 7] = ["row", "ours", "peer", "ratio", "unit", "p50 / p99 / max", "peer's"];

/// The median; of maxima the largest; of counts the sum.
fn together(key: &str, values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match key {
        "max_us" | "suspended_max_us" => sorted[sorted.len() - 1],
        _ if COUNTS.contains(&key) || key == "sent" => sorted.iter().sum(),
        _ => sorted[(sorted.len() - 1) / 2],
    }
}

/// Three digits.
fn shown(value: f64) -> String {
    match value.abs() {
        millions if millions >= 1e6 => format!("{} M", digits(value / 1e6)),
        thousands if thousands >= 1e5 => format!("{} k", digits(value / 1e3)),
        _ => digits(value),
    }
}

fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.01 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Microseconds.
fn duration(micros: f64) -> String {
    if micros >= 1000.0 {
        format!("{} {}", digits(micros / 1000.0), Unit::Millis.name())
    } else {
        format!("{} {}", digits(micros), Unit::Micros.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_maxima_and_sums() {
        assert_eq!(together("value", &[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(together("max_us", &[3.0, 1.0, 2.0]), 3.0);
        assert_eq!(together("lost", &[0.0, 1.0]), 1.0);
    }

    #[test]
    fn numbers_have_three_digits() {
        let all = [1_820_000.0, 413_000.0, 18_432.0, 58.3, 1.3, 0.304, 0.0].map(shown);
        assert_eq!(all, ["1.82 M", "413 k", "18432", "58.3", "1.30", "0.30", "0.00"]);
        assert_eq!([304.0, 5_000.0].map(duration), ["304 µs", "5.00 ms"]);
    }
}
