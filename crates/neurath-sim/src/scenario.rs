//! What is simulated: a scenario makes of a seed a cluster, a load and faults.
//!
//! Each fault has dice of its own, so that a run without some of its faults is like the whole one for the rest.

use std::collections::BTreeSet;
use std::fmt;

use crate::check::Counts;
use crate::check::members::MemberCounts;
use crate::check::processes::ProcessCounts;
use crate::cluster::Cluster;
use crate::network::MS;
use crate::rng::Rng;

mod fairness;
mod hostile;
mod membership;
mod processes;
mod session;

/// What can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Nodes that send each other all kinds of messages over a network that breaks in every way, and crash.
    Session,
    /// Large and small messages at once, and a peer that stands still: nobody waits for those.
    Fairness,
    /// Nodes that find each other, crash, come back, pause, are parted and leave; each sees who is there.
    Membership,
    /// A node that breaks the protocol in every way: only what others have with it suffers.
    Hostile,
    /// Processes of real kernels that do everything to each other while the network breaks and nodes crash.
    Processes,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Session, Self::Fairness, Self::Membership, Self::Hostile, Self::Processes];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Fairness => "fairness",
            Self::Membership => "membership",
            Self::Hostile => "hostile",
            Self::Processes => "processes",
        }
    }
}

/// One run, whole or reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is simulated.
    pub scenario: Scenario,
    /// From which seed.
    pub seed: u64,
    /// Only these of its faults, by their number in the whole run; `None` for all.
    pub faults: Option<BTreeSet<u64>>,
    /// The load and the faults end so early.
    pub until_ms: Option<u64>,
}

impl Run {
    /// The whole run of a seed.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        Self { scenario, seed, faults: None, until_ms: None }
    }

    /// When its load ends, which would end then if it were whole.
    fn until(&self, whole: u64) -> u64 {
        self.until_ms.map_or(whole, |ms| whole.min(ms.saturating_mul(MS)))
    }

    /// The dice of a fault, if it is to be made.
    fn fault(&self, number: u64) -> Option<Rng> {
        let made = self.faults.as_ref().is_none_or(|faults| faults.contains(&number));
        made.then(|| Rng::new(self.seed ^ Rng::new(number).number()))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cargo xtask sim --scenario {} --seed {}", self.scenario.name(), self.seed)?;
        if let Some(until_ms) = self.until_ms {
            write!(f, " --until {until_ms}")?;
        }
        match &self.faults {
            None => Ok(()),
            Some(faults) if faults.is_empty() => f.write_str(" --faults none"),
            Some(faults) => {
                let faults: Vec<_> = faults.iter().map(u64::to_string).collect();
                write!(f, " --faults {}", faults.join(","))
            }
        }
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What happened to messages and associations.
    pub counts: Counts,
    /// What nodes saw of each other.
    pub members: MemberCounts,
    /// What happened to processes.
    pub processes: ProcessCounts,
    /// Faults that were made, or could have been if the run were whole.
    pub faults: u64,
    /// The longest time that a small message took in [`Scenario::Fairness`].
    pub small_max_ns: u64,
}

impl Report {
    /// Adds that of another run.
    pub fn add(&mut self, other: &Self) {
        let Self { counts, members, processes, faults, small_max_ns } = other;
        self.counts.add(counts);
        self.members.add(members);
        self.processes.add(processes);
        self.faults += faults;
        self.small_max_ns = self.small_max_ns.max(*small_max_ns);
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In which run.
    pub run: Run,
    /// When, and what.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, what } = self;
        write!(f, "scenario {}, seed {}: {what}\nreplay: {run}", run.scenario.name(), run.seed)
    }
}

/// Simulates.
///
/// # Errors
/// A promise was not kept.
pub fn simulate(run: &Run) -> Result<Report, Failure> {
    let mut rng = Rng::new(run.seed);
    let result = match run.scenario {
        Scenario::Session => session::run(run, &mut rng),
        Scenario::Fairness => fairness::run(&mut rng),
        Scenario::Membership => membership::run(run, &mut rng),
        Scenario::Hostile => hostile::run(run, &mut rng),
        Scenario::Processes => processes::run(run, &mut rng),
    };
    result.map_err(|what| Failure { run: run.clone(), what })
}

fn at(cluster: &Cluster, what: String) -> String {
    format!("at {} ms: {what}", cluster.now / MS)
}
