//! [`Record`]: what a demo comes to, as `--json` writes it, and what is wrong with it.
//!
//! Invariant: it only counts up. What was seen is in it whether it is good or bad; [`Record::wrong`] judges.

use std::collections::BTreeMap;
use std::time::Duration;

use neurath_node::UpgradeEvent;
use serde::{Deserialize, Serialize};

use super::nodes::Nodes;
use super::stage::Stage;
use super::subject::Seen;

/// See the module.
#[derive(Serialize)]
pub(super) struct Record {
    /// How long clients asked.
    pub(super) seconds: f64,
    pub(super) shards: u32,
    /// All messages of all clients.
    pub(super) sent: u64,
    /// Those that were questions, and have their answer.
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    /// Messages that their receivers did not understand.
    pub(super) refused: u64,
    /// The counter's; the account has its own below.
    pub(super) sum_expected: i64,
    pub(super) sum_found: i64,
    pub(super) version_at_end: String,
    /// Whether a counter does at version 2 what it refuses at version 1.
    pub(super) reset_works: bool,
    pub(super) pingpong: Pingpong,
    /// In the order of time.
    pub(super) upgrades: Vec<Upgrade>,
    pub(super) subjects: BTreeMap<&'static str, Count>,
    /// Three nodes, of which one was killed.
    pub(super) nodes: Nodes,
    #[serde(skip)]
    pub(super) samples: BTreeMap<&'static str, Vec<Sample>>,
}

/// What the game of figure 4.1 came to.
#[derive(Serialize)]
pub(super) struct Pingpong {
    pub(super) pings: u64,
    pub(super) pongs: u64,
    /// The versions that answered, pong by pong.
    pub(super) versions: Vec<u32>,
}

/// The messages of one subject's clients.
#[derive(Serialize)]
pub(super) struct Count {
    pub(super) clients: usize,
    /// On how many shards the clients are.
    pub(super) client_shards: usize,
    /// Additions of 1 that were sent.
    pub(super) additions: u64,
    pub(super) reads: u64,
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) sum_expected: i64,
    pub(super) sum_found: i64,
    /// The code that it runs at the end.
    pub(super) version_at_end: String,
    /// The version that this code says it is.
    pub(super) answers_as: i64,
    /// How long reads took while nothing was upgraded.
    pub(super) steady_us: Pause,
}

/// One change of code, or the attempt.
#[derive(Serialize)]
pub(super) struct Upgrade {
    pub(super) module: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) outcome: Outcome,
    /// How long reads took in a short time around it.
    pub(super) pause_us: Pause,
    /// How many reads that were.
    pub(super) reads: u64,
    /// How long the process itself stood still.
    pub(super) stood_still_us: u64,
    /// When, since the start.
    pub(super) at_ms: u64,
    /// Why it was rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip)]
    expected: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Committed,
    RolledBack,
}

/// Microseconds.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Pause {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// What came of one subject.
pub(super) struct Course {
    pub(super) module: &'static str,
    pub(super) clients: usize,
    pub(super) client_shards: usize,
    pub(super) seen: Seen,
    pub(super) steady: Pause,
    pub(super) upgrades: Vec<Upgrade>,
    pub(super) sum_found: i64,
    pub(super) version_at_end: String,
    pub(super) answers_as: i64,
    /// What came of the trial of `Reset`, if there was one.
    pub(super) reset: Option<bool>,
    pub(super) samples: Vec<Sample>,
}

/// What came of the ping-pong.
pub(super) struct Game {
    pub(super) result: Pingpong,
    pub(super) upgrade: Upgrade,
}

/// A sum, at a time since the start.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) sum: i64,
}

impl Record {
    pub(super) fn new(stage: &Stage, courses: [Course; 2], game: Game, refused: u64, nodes: Nodes) -> Self {
        let (mut subjects, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let mut upgrades = vec![game.upgrade];
        let mut reset_works = true;
        for mut course in courses {
            upgrades.append(&mut course.upgrades);
            reset_works &= course.reset.unwrap_or(true);
            samples.insert(course.module, std::mem::take(&mut course.samples));
            subjects.insert(course.module, Count::new(course, &samples));
        }
        upgrades.sort_by_key(|upgrade| upgrade.at_ms);
        let total = |field: fn(&Count) -> u64| subjects.values().map(field).sum::<u64>();
        let pingpong = game.result;
        let counter = &subjects["counter"];
        Self {
            seconds: stage.length().as_secs_f64(),
            shards: stage.shards(),
            sent: total(|count| count.additions + count.reads) + pingpong.pings,
            answered: total(|count| count.answered) + pingpong.pongs,
            lost: total(|count| count.lost) + pingpong.pings.saturating_sub(pingpong.pongs),
            duplicated: total(|count| count.duplicated) + pingpong.pongs.saturating_sub(pingpong.pings),
            reordered: total(|count| count.reordered),
            refused,
            sum_expected: counter.sum_expected,
            sum_found: counter.sum_found,
            version_at_end: counter.version_at_end.clone(),
            nodes,
            reset_works,
            pingpong,
            upgrades,
            subjects,
            samples,
        }
    }

    /// What is not as it should be, a line each.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (what, count) in [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("out of order", self.reordered),
            ("refused", self.refused),
        ] {
            if count > 0 {
                wrong.push(format!("messages {what}: {count}"));
            }
        }
        for upgrade in self.upgrades.iter().filter(|upgrade| upgrade.outcome != upgrade.expected) {
            let Upgrade { module, from, to, outcome, expected, .. } = upgrade;
            wrong.push(format!("{module} {from} to {to}: {}, not {}", outcome.words(), expected.words()));
        }
        for (module, count) in &self.subjects {
            if count.sum_found != count.sum_expected {
                wrong.push(format!("{module}: the sum is {}, not {}", count.sum_found, count.sum_expected));
            }
            if count.version_at_end != "2.0.0" || count.answers_as != 2 {
                let Count { version_at_end, answers_as, .. } = count;
                wrong.push(format!("{module}: {version_at_end} runs and answers as {answers_as}, not 2.0.0 as 2"));
            }
            if count.client_shards < 2 {
                wrong.push(format!("{module}: all clients are on one shard"));
            }
        }
        if !self.reset_works {
            wrong.push("counter: `Reset` does not come with version 2".to_owned());
        }
        let Pingpong { pings, pongs, versions } = &self.pingpong;
        if (*pings, *pongs) != (10, 10) || *versions != [1, 1, 1, 1, 2, 2, 2, 2, 2, 2] {
            wrong.push(format!("pingpong: {pings} pings, {pongs} pongs, answered by versions {versions:?}"));
        }
        wrong.extend(self.nodes.wrong());
        wrong
    }
}

impl Count {
    fn new(course: Course, samples: &BTreeMap<&'static str, Vec<Sample>>) -> Self {
        let Seen { additions, reads, answered, lost, reordered, latency: _ } = course.seen;
        let sum_expected = additions as i64;
        let shrunk = samples[course.module].windows(2).filter(|pair| pair[1].sum < pair[0].sum).count();
        Self {
            clients: course.clients,
            client_shards: course.client_shards,
            additions,
            reads,
            answered,
            lost: lost + (sum_expected - course.sum_found).max(0) as u64,
            duplicated: (course.sum_found - sum_expected).max(0) as u64,
            reordered: reordered + shrunk as u64,
            sum_expected,
            sum_found: course.sum_found,
            version_at_end: course.version_at_end,
            answers_as: course.answers_as,
            steady_us: course.steady,
        }
    }
}

impl Upgrade {
    pub(super) fn new(stage: &Stage, event: UpgradeEvent, around: &Latency, expected: Outcome) -> Self {
        let at_ms = stage.at_ms(&event);
        let UpgradeEvent { at_ms: _, pid: _, from, to, result, took_us } = event;
        Self {
            module: to.split('@').next().unwrap_or_default().to_owned(),
            from: version(&from).to_owned(),
            to: version(&to).to_owned(),
            outcome: if result.is_ok() { Outcome::Committed } else { Outcome::RolledBack },
            pause_us: around.into(),
            reads: around.count(),
            stood_still_us: took_us,
            at_ms,
            reason: result.err(),
            expected,
        }
    }

    /// The version that runs after it.
    pub(super) fn after(&self) -> &str {
        match self.outcome {
            Outcome::Committed => &self.to,
            Outcome::RolledBack => &self.from,
        }
    }
}

impl Outcome {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::RolledBack => "rolled back",
        }
    }
}

/// The version in `name@version`.
pub(super) fn version(module: &str) -> &str {
    module.split_once('@').map_or(module, |(_, version)| version)
}

/// How long things took: how many took each time in nanoseconds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(from = "Vec<(u64, u64)>")]
pub(super) struct Latency(BTreeMap<u64, u64>);

impl Latency {
    pub(super) fn add(&mut self, other: &Self) {
        for (time, count) in &other.0 {
            *self.0.entry(*time).or_default() += count;
        }
    }

    fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// So many percent took no longer; 0 if there were none.
    fn quantile_ns(&self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        let mut found = self.0.iter().skip_while(|(_, count)| {
            seen += **count;
            seen < wanted
        });
        found.next().map_or(0, |(time, _)| *time)
    }
}

impl FromIterator<(u64, u64)> for Latency {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(counts: I) -> Self {
        let mut all = BTreeMap::new();
        for (time, count) in counts {
            *all.entry(time).or_default() += count;
        }
        Self(all)
    }
}

impl From<Vec<(u64, u64)>> for Latency {
    fn from(counts: Vec<(u64, u64)>) -> Self {
        counts.into_iter().collect()
    }
}

impl From<&Latency> for Pause {
    fn from(latency: &Latency) -> Self {
        // Tenths are as fine as clients measure.
        let us = |percent| (latency.quantile_ns(percent) as f64 / 100.0).round() / 10.0;
        Self { p50: us(50), p99: us(99), max: us(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade(module: &str, outcome: Outcome) -> Upgrade {
        Upgrade {
            module: module.to_owned(),
            from: "1.0.0".to_owned(),
            to: "2.0.0".to_owned(),
            outcome,
            pause_us: (&Latency::default()).into(),
            reads: 0,
            stood_still_us: 0,
            at_ms: 0,
            reason: None,
            expected: Outcome::Committed,
        }
    }

    fn count() -> Count {
        Count {
            clients: 4,
            client_shards: 2,
            additions: 10,
            reads: 1,
            answered: 1,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            sum_expected: 10,
            sum_found: 10,
            version_at_end: "2.0.0".to_owned(),
            answers_as: 2,
            steady_us: (&Latency::default()).into(),
        }
    }

    fn record() -> Record {
        Record {
            seconds: 1.0,
            shards: 2,
            sent: 21,
            answered: 11,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            refused: 0,
            sum_expected: 10,
            sum_found: 10,
            version_at_end: "2.0.0".to_owned(),
            reset_works: true,
            pingpong: Pingpong { pings: 10, pongs: 10, versions: vec![1, 1, 1, 1, 2, 2, 2, 2, 2, 2] },
            upgrades: vec![upgrade("counter", Outcome::Committed)],
            subjects: BTreeMap::from([("counter", count())]),
            nodes: Nodes::example(),
            samples: BTreeMap::new(),
        }
    }

    /// Of a good record, one thing is made bad.
    #[track_caller]
    fn check(spoil: impl FnOnce(&mut Record), says: &str) {
        let mut record = record();
        assert_eq!(record.wrong(), Vec::<String>::new());
        spoil(&mut record);
        let wrong = record.wrong();
        assert!(wrong.len() == 1 && wrong[0].contains(says), "{wrong:?}");
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        check(|record| record.lost = 1, "messages lost: 1");
        check(|record| record.duplicated = 2, "messages duplicated: 2");
        check(|record| record.reordered = 3, "messages out of order: 3");
        check(|record| record.refused = 4, "messages refused: 4");
        check(|record| record.reset_works = false, "`Reset`");
        check(|record| record.pingpong.pongs = 9, "9 pongs");
        check(|record| record.pingpong.versions[4] = 1, "[1, 1, 1, 1, 1, 2");
        check(|record| record.upgrades[0].outcome = Outcome::RolledBack, "rolled back, not committed");
    }

    #[test]
    fn whatever_is_wrong_with_a_subject_is_found() {
        fn spoilt(spoil: impl FnMut(&mut Count)) -> impl FnOnce(&mut Record) {
            |record| record.subjects.values_mut().for_each(spoil)
        }
        check(spoilt(|count| count.sum_found = 9), "the sum is 9, not 10");
        check(spoilt(|count| count.version_at_end = "3.0.0".to_owned()), "3.0.0 runs");
        check(spoilt(|count| count.answers_as = 1), "answers as 1");
        check(spoilt(|count| count.client_shards = 1), "one shard");
    }

    #[test]
    fn clients_are_added_up_as_if_they_were_one() {
        let mut all: Latency = (1..=50).map(|time| (time, 1)).collect();
        all.add(&Latency::from(vec![(7, 48), (1_000, 1), (90_000, 1)]));
        assert_eq!(all.count(), 100);
        assert_eq!([50, 99, 100].map(|percent| all.quantile_ns(percent)), [7, 1_000, 90_000]);
        assert_eq!(Latency::default().quantile_ns(99), 0);
    }
}
