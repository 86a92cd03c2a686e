//! The report for people: a picture of the time, the pauses, the counts.

use std::time::Duration;

use console::Style;

use super::nodes::Nodes;
use super::record::{Count, Outcome, Pause, Record, Sample, Upgrade};
use crate::output::{bold, clean, dim, green, red, yellow};
use crate::show;
use crate::table::{Column, Table};

/// Columns of the picture's time.
const WIDTH: usize = 60;

/// Columns before it.
const MARGIN: usize = 10;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The whole report.
pub(super) fn of(record: &Record) -> String {
    let mut parts = vec![title(record), timeline(record), pauses(record)];
    parts.extend(reasons(record));
    parts.push(counts(record));
    parts.push(nodes(&record.nodes));
    parts.push(verdict(record));
    parts.join("\n\n")
}

fn title(record: &Record) -> String {
    let clients = record.subjects.values().map(|count| count.clients).sum::<usize>();
    let (clients, shards) =
        (show::count(clients, "client", "clients"), show::count(record.shards as usize, "shard", "shards"));
    let head = bold().apply_to(format!("{} messages in {} s", grouped(record.sent), record.seconds));
    format!("{head} from {clients} on {shards}, while the code that they talk to changes")
}

fn timeline(record: &Record) -> String {
    let mut lines = vec![scale(record.seconds)];
    for (module, _) in subjects(record) {
        let upgrades: Vec<_> = record.upgrades.iter().filter(|upgrade| upgrade.module == module).collect();
        let (rates, most) = rates(&record.samples[module], record.seconds);
        lines.push(format!("{module:<MARGIN$}{}", lane(&upgrades, record.seconds)));
        let most = dim().apply_to(format!("up to {}/s", grouped(most)));
        lines.push(format!("{:<MARGIN$}{}  {most}", "", dim().apply_to(rates)));
    }
    let (committed, rolled_back) = (mark(Outcome::Committed), mark(Outcome::RolledBack));
    let key = format!("the version that runs ({committed} upgraded, {rolled_back} rolled back); below, additions");
    lines.push(format!("{:<MARGIN$}{}", "", key));
    lines.join("\n")
}

/// In the order in which they are told of.
fn subjects(record: &Record) -> impl Iterator<Item = (&'static str, &Count)> {
    record.subjects.iter().rev().map(|(module, count)| (*module, count))
}

/// The time in seconds, above the lanes.
fn scale(seconds: f64) -> String {
    const STEPS: usize = 3;
    let mut line = String::new();
    for step in 0..=STEPS {
        let text = format!("{:.1} s", seconds * step as f64 / STEPS as f64);
        let at = MARGIN + WIDTH * step / STEPS;
        line.push_str(&" ".repeat(at.saturating_sub(line.chars().count())));
        line.push_str(&text);
    }
    dim().apply_to(line).to_string()
}

/// The version that runs, column by column, and where it changes.
fn lane(upgrades: &[&Upgrade], seconds: f64) -> String {
    let mut lane = String::new();
    for column in 0..WIDTH {
        let ends_ms = seconds * 1e3 * (column + 1) as f64 / WIDTH as f64;
        let begins_ms = seconds * 1e3 * column as f64 / WIDTH as f64;
        let past = || upgrades.iter().take_while(|upgrade| (upgrade.at_ms as f64) < ends_ms);
        match past().last() {
            Some(upgrade) if upgrade.at_ms as f64 >= begins_ms => lane.push_str(&mark(upgrade.outcome)),
            Some(upgrade) => lane.push_str(&major(upgrade.after())),
            None => lane.push_str(&major(upgrades.first().map_or("1", |upgrade| &upgrade.from))),
        }
    }
    lane
}

fn major(version: &str) -> String {
    version.split('.').next().unwrap_or_default().to_owned()
}

fn mark(outcome: Outcome) -> String {
    match outcome {
        Outcome::Committed => green().apply_to('▲').to_string(),
        Outcome::RolledBack => yellow().apply_to('✗').to_string(),
    }
}

/// How fast the sum grows, column by column, and the most of it.
fn rates(samples: &[Sample], seconds: f64) -> (String, u64) {
    let step = seconds / WIDTH as f64;
    let sums: Vec<f64> = (0..=WIDTH).map(|column| sum_at(samples, step * column as f64)).collect();
    let rates: Vec<f64> = sums.windows(2).map(|pair| (pair[1] - pair[0]).max(0.0) / step).collect();
    let most = rates.iter().copied().fold(1.0, f64::max);
    let level = |rate: f64| LEVELS[((rate / most * 8.0).ceil() as usize).clamp(1, 8) - 1];
    (rates.iter().map(|rate| level(*rate)).collect(), most as u64)
}

/// The sum at a time, on a line between the samples around it.
fn sum_at(samples: &[Sample], at: f64) -> f64 {
    let point = |sample: &Sample| (sample.at.as_secs_f64(), sample.sum as f64);
    let later = samples.partition_point(|sample| sample.at.as_secs_f64() <= at);
    let (x, y) = later.checked_sub(1).map_or((0.0, 0.0), |before| point(&samples[before]));
    match samples.get(later).map(point) {
        Some((x_after, y_after)) => y + (y_after - y) * (at - x) / (x_after - x),
        None => y,
    }
}

/// The pauses as pictures, and what clients saw of them.
fn pauses(record: &Record) -> String {
    let mut table = Table::new([
        Column::Left("MODULE"),
        Column::Left("UPGRADE, AND HOW LONG IT STOOD STILL"),
        Column::Left("OUTCOME"),
        Column::Right("CLIENTS WAIT p50"),
        Column::Right("p99"),
        Column::Right("MAX"),
    ]);
    let plain = |text: &str| (text.to_owned(), Style::new());
    for upgrade in &record.upgrades {
        let (outcome, style) = match upgrade.outcome {
            Outcome::Committed => ("committed".to_owned(), green()),
            Outcome::RolledBack => (format!("{} rolled back", upgrade.to), yellow()),
        };
        let [p50, p99, max] = times(upgrade.pause_us);
        table.row([plain(&upgrade.module), plain(&pause(upgrade)), (outcome, style), p50, p99, max]);
    }
    for (module, count) in subjects(record) {
        let [p50, p99, max] = times(count.steady_us);
        table.row([plain(module), ("at other times".to_owned(), dim()), plain(""), p50, p99, max]);
    }
    table.render()
}

/// `1.0.0 ━━━━┥ 412 µs ┝━━━━ 2.0.0`
fn pause(upgrade: &Upgrade) -> String {
    let time = show::duration(Duration::from_micros(upgrade.stood_still_us));
    format!("{} ━━━━┥ {time:^6} ┝━━━━ {}", upgrade.from, upgrade.after())
}

fn times(Pause { p50, p99, max }: Pause) -> [(String, Style); 3] {
    [p50, p99, max].map(|us| (show::duration(Duration::from_secs_f64(us / 1e6)), Style::new()))
}

fn reasons(record: &Record) -> Option<String> {
    let reason = |upgrade: &Upgrade| {
        let why = clean(upgrade.reason.as_deref()?);
        Some(format!("{} {} was rolled back: {why}", upgrade.module, upgrade.to))
    };
    let lines: Vec<_> = record.upgrades.iter().filter_map(reason).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn counts(record: &Record) -> String {
    let mut table = Table::new([
        Column::Left("MODULE"),
        Column::Right("ADDITIONS"),
        Column::Right("READS"),
        Column::Right("ANSWERED"),
        Column::Right("LOST"),
        Column::Right("TWICE"),
        Column::Right("REORDERED"),
        Column::Right("SUM EXPECTED"),
        Column::Right("FOUND"),
        Column::Left("AT THE END"),
    ]);
    let number = |n: u64| (grouped(n), Style::new());
    let bad = |n: u64| (grouped(n), if n == 0 { green() } else { red() });
    for (module, count) in subjects(record) {
        let Count { additions, reads, answered, lost, duplicated, reordered, .. } = *count;
        table.row([
            (module.to_owned(), Style::new()),
            number(additions),
            number(reads),
            number(answered),
            bad(lost),
            bad(duplicated),
            bad(reordered),
            number(count.sum_expected.unsigned_abs()),
            number(count.sum_found.unsigned_abs()),
            (format!("{} answers", count.version_at_end), Style::new()),
        ]);
    }
    let game = &record.pingpong;
    let versions: Vec<_> = game.versions.iter().map(ToString::to_string).collect();
    let game = format!("{} pings, {} pongs, answered by versions {}", game.pings, game.pongs, versions.join(" "));
    let reset = match record.reset_works {
        true => "another counter refuses `Reset` at 1.0.0, keeps its sum through the upgrade, and then is reset",
        false => "another counter is not reset as it should be",
    };
    format!("{}\n\npingpong  {game}\ncounter   {reset}", table.render())
}

/// The node that was killed, and what the others saw of it.
fn nodes(nodes: &Nodes) -> String {
    let Nodes { nodes: names, killed, sent, arrived, back_after_ms, life, .. } = nodes;
    let mut lines = vec![format!(
        "{} {}, killed with SIGKILL while {} messages went between the others, {} of which arrived",
        bold().apply_to(format!("{} nodes:", names.len())),
        killed,
        grouped(*sent),
        grouped(*arrived),
    )];
    for noticed in &nodes.noticed {
        lines.push(format!("  {} ms  {} was told: {}", noticed.after_ms, noticed.node, noticed.what));
    }
    lines
        .push(format!("  started again, {killed} was connected with all after {back_after_ms} ms, in its life {life}"));
    lines.join("\n")
}

fn verdict(record: &Record) -> String {
    let Record { lost, duplicated, reordered, .. } = record;
    let style = if record.wrong().is_empty() { green().bold() } else { red().bold() };
    style.apply_to(format!("{lost} lost, {duplicated} duplicated, {reordered} out of order")).to_string()
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn rates_come_from_the_samples_around_a_column() {
        // It stands still in the second half.
        let sample = |ms: u64, sum: i64| Sample { at: Duration::from_millis(ms), sum };
        let samples = [sample(500, 3_000), sample(1_000, 3_000)];
        let (picture, most) = rates(&samples, 1.0);
        assert_eq!(picture, "█".repeat(WIDTH / 2) + &"▁".repeat(WIDTH / 2));
        assert!((5_999..=6_001).contains(&most), "{most}");
    }
}
