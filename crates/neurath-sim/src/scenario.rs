//! What is simulated: a scenario makes of a seed a cluster, a load and faults.

use std::fmt;

use neurath_kernel::SessionConfig;
use neurath_proto::frame::{Limits, MESSAGE_OVERHEAD, PART_BYTES_MAX};

use crate::check::{Counts, Side};
use crate::cluster::Cluster;
use crate::network::{MS, Quality};
use crate::rng::Rng;

/// What can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Nodes that send each other all kinds of messages over a network that breaks in every way, and crash.
    Session,
    /// Large and small messages at once, and a peer that stands still: nobody waits for those.
    Fairness,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Session, Self::Fairness];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Fairness => "fairness",
        }
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What happened to messages and associations.
    pub counts: Counts,
    /// Faults that were made.
    pub faults: u64,
    /// The longest time that a small message took in [`Scenario::Fairness`].
    pub small_max_ns: u64,
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In which scenario.
    pub scenario: Scenario,
    /// From which seed.
    pub seed: u64,
    /// When, and what.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, what } = self;
        let name = scenario.name();
        write!(f, "scenario {name}, seed {seed}: {what}\nreplay: cargo xtask sim --scenario {name} --seed {seed}")
    }
}

/// Simulates a scenario from a seed.
///
/// # Errors
/// A promise was not kept.
pub fn run(scenario: Scenario, seed: u64) -> Result<Report, Failure> {
    let mut rng = Rng::new(seed);
    let result = match scenario {
        Scenario::Session => session(&mut rng),
        Scenario::Fairness => fairness(&mut rng),
    };
    result.map_err(|what| Failure { scenario, seed, what })
}

// ---- session ----

/// Small limits, so that all of them are met.
fn tight_config(rng: &mut Rng) -> SessionConfig {
    let message_bytes_max = rng.magnitude(20 << 10..=200 << 10) as u32;
    let small_least = PART_BYTES_MAX as u64 + MESSAGE_OVERHEAD;
    let large_least = u64::from(message_bytes_max) + MESSAGE_OVERHEAD;
    let silence_max_ns = rng.within(1_000..=6_000) * MS;
    SessionConfig {
        limits: Limits {
            message_bytes_max,
            small_window_bytes: rng.magnitude(small_least..=8 * small_least) as u32,
            large_window_bytes: rng.magnitude(large_least..=4 * large_least) as u32,
        },
        grace_ns: rng.within(1_000..=12_000) * MS,
        handshake_ns: rng.within(500..=4_000) * MS,
        dial_ns: rng.within(500..=4_000) * MS,
        backoff_max_ns: rng.within(100..=3_000) * MS,
        ping_after_ns: silence_max_ns / 3,
        silence_max_ns,
        ack_delay_ns: rng.within(0..=50) * MS,
        ack_bytes: rng.magnitude(1 << 10..=256 << 10),
        ack_frames: rng.magnitude(1..=256),
        sent_frames_max: rng.magnitude(1..=1000) as usize,
        sent_bytes_max: rng.magnitude(PART_BYTES_MAX as u64..=512 << 10) as usize,
        held_bytes_max: rng.magnitude(256 << 10..=1 << 20),
        write_bytes: rng.magnitude(1..=64 << 10) as usize,
        handshakes_max: rng.within(1..=4) as usize,
        ..SessionConfig::default()
    }
}

fn length(rng: &mut Rng, longest: u32) -> usize {
    let longest = u64::from(longest);
    let most = match rng.within(0..=99) {
        0..=69 => 100,
        70..=89 => 4 << 10,
        90..=97 => 40 << 10,
        _ => longest,
    };
    rng.within(8..=most.min(longest)) as usize
}

fn session(rng: &mut Rng) -> Result<Report, String> {
    let config = tight_config(rng);
    let delay_min_ns = rng.magnitude(10_000..=50 * MS);
    let quality = Quality {
        delay_min_ns,
        delay_max_ns: delay_min_ns + rng.magnitude(1..=200 * MS),
        bytes_per_ms: rng.magnitude(200..=100_000),
        split_percent: rng.within(0..=60),
    };
    let nodes = rng.within(2..=4) as usize;
    let mut cluster = Cluster::new(nodes, config, quality, Rng::new(rng.number()));
    cluster.set_dial_fails(rng.within(0..=30));
    let load_until = rng.within(5_000..=40_000) * MS;
    let between_sends = rng.magnitude(2 * MS..=100 * MS);
    let between_faults = rng.magnitude(300 * MS..=10_000 * MS);
    let senders = rng.within(1..=5);
    let (mut send_at, mut fault_at, mut faults) = (0, between_faults, 0);
    let at = |cluster: &Cluster, what: String| format!("at {} ms: {what}", cluster.now / MS);
    while send_at.min(fault_at) < load_until {
        let next = send_at.min(fault_at);
        cluster.run_until(next).map_err(|what| at(&cluster, what))?;
        if next == fault_at {
            fault_at += rng.within(1..=2 * between_faults);
            faults += 1;
            fault(&mut cluster, &config, rng).map_err(|what| at(&cluster, what))?;
        } else {
            send_at += rng.within(1..=2 * between_sends);
            if let Some(side) = any_side(&cluster, rng) {
                // Most senders are held back when they should be.
                if !cluster.checker.is_full(side) || rng.chance(10) {
                    let (sender, receiver) = (rng.within(1..=senders) as u32, rng.within(1..=2) as u32);
                    let length = length(rng, config.limits.message_bytes_max);
                    cluster.send(side, sender, receiver, length).map_err(|what| at(&cluster, what))?;
                }
            }
        }
    }
    cluster.heal();
    // Everyone goes on by then, and what is lost is known to be lost. A queue that is sent frame by frame takes longer.
    let mut quiet_at = load_until + 2 * config.grace_ns + config.silence_max_ns + 60_000 * MS;
    let give_up_at = quiet_at + 1_000_000 * MS;
    loop {
        cluster.run_until(quiet_at).map_err(|what| at(&cluster, what))?;
        match cluster.check_quiet() {
            Ok(()) => break,
            Err(what) if quiet_at > give_up_at => return Err(at(&cluster, what)),
            Err(_) => quiet_at += 20_000 * MS,
        }
    }
    // And one word to each, which arrives although so much went wrong.
    let before = cluster.checker.counts.delivered;
    let mut words = 0;
    for (node, peer) in (0..nodes).flat_map(|node| (0..nodes).map(move |peer| (node, peer))) {
        if let Some(side) = cluster.side(node, peer).filter(|_| node != peer) {
            words += 1;
            cluster.send(side, 1, 1, 8).map_err(|what| at(&cluster, what))?;
        }
    }
    cluster.run_until(quiet_at + 30_000 * MS).map_err(|what| at(&cluster, what))?;
    cluster.check_quiet().map_err(|what| at(&cluster, what))?;
    let arrived = cluster.checker.counts.delivered - before;
    if words != (nodes * (nodes - 1)) as u64 || arrived != words {
        return Err(format!("of {words} last words {arrived} arrived"));
    }
    Ok(Report { counts: cluster.checker.counts, faults, small_max_ns: 0 })
}

fn any_side(cluster: &Cluster, rng: &mut Rng) -> Option<Side> {
    let node = rng.index(cluster.nodes());
    let peer = (node + 1 + rng.index(cluster.nodes() - 1)) % cluster.nodes();
    cluster.side(node, peer)
}

fn fault(cluster: &mut Cluster, config: &SessionConfig, rng: &mut Rng) -> Result<(), String> {
    let node = rng.index(cluster.nodes());
    let peer = (node + 1 + rng.index(cluster.nodes() - 1)) % cluster.nodes();
    let now = cluster.now;
    let side = rng.index(2);
    let wire = cluster.network.any(rng);
    match (rng.within(0..=99), wire) {
        (0..=24, Some(wire)) => cluster.network.cut(now, wire, rng),
        (25..=34, Some(wire)) => cluster.network.swallow(wire, side),
        (35..=39, Some(wire)) => {
            cluster.network.swallow(wire, 0);
            cluster.network.swallow(wire, 1);
        }
        (40..=49, Some(wire)) => cluster.network.half_close(now, wire, side, rng),
        (50..=64, _) => {
            for (from, to) in [(node, peer), (peer, node)] {
                if let Some(side) = cluster.side(from, to).filter(|_| rng.chance(70)) {
                    cluster.connect(side);
                }
            }
        }
        (65..=76, _) => cluster.part(node, peer, rng.magnitude(50 * MS..=config.grace_ns * 3 / 2)),
        (77..=84, _) => cluster.stop(node, rng.magnitude(50 * MS..=config.grace_ns * 3 / 2)),
        (85..=92, _) => cluster.crash(node, rng.magnitude(10 * MS..=5_000 * MS)),
        (93..=95, _) => {
            if let Some(side) = cluster.side(node, peer) {
                cluster.end(side)?;
            }
        }
        _ => cluster.set_consume_max(node, rng.magnitude(1..=3_000 * MS)),
    }
    Ok(())
}

// ---- fairness ----

/// How long a small message may take, whatever else is sent. A large one alone takes 100 ms on this network.
const SMALL_MAX_NS: u64 = 60 * MS;

fn fairness(rng: &mut Rng) -> Result<Report, String> {
    let config = SessionConfig::default();
    let quality =
        Quality { delay_min_ns: MS / 10, delay_max_ns: MS, bytes_per_ms: 20 << 10, split_percent: rng.within(0..=10) };
    let mut cluster = Cluster::new(3, config, quality, Rng::new(rng.number()));
    cluster.arrivals = Some(Vec::new());
    let (to_lively, to_still) = match (cluster.side(0, 1), cluster.side(0, 2)) {
        (Some(lively), Some(still)) => (lively, still),
        _ => return Err("a new node does not move".into()),
    };
    // All three know each other before one of them stops.
    cluster.send(to_lively, 1, 1, 8)?;
    cluster.send(to_still, 1, 1, 8)?;
    cluster.run_until(500 * MS)?;
    cluster.stop(2, 120_000 * MS);
    let large_senders = rng.within(1..=4) as u32;
    let large_bytes = config.limits.message_bytes_max as usize;
    let until = 2_500 * MS;
    let mut at = cluster.now;
    while at < until {
        cluster.run_until(at)?;
        at += rng.within(1..=5 * MS);
        // Whoever comes first may take the room that there is: each does in its turn.
        let first = rng.within(0..=3) as u32;
        for sender in (0..large_senders).map(|sender| (first + sender) % large_senders) {
            for side in [to_lively, to_still] {
                if !cluster.checker.is_full(side) {
                    cluster.send(side, 100 + sender, 1, large_bytes)?;
                }
            }
        }
        cluster.send(to_lively, 1 + rng.within(0..=2) as u32, 1, 64)?;
        cluster.send(to_still, 1, 1, 64)?;
    }
    cluster.run_until(until + 60_000 * MS)?;
    let arrivals = cluster.arrivals.take().unwrap_or_default();
    let of_lively = || arrivals.iter().filter(|arrival| arrival.letter.side == to_lively);
    let sent_small = of_lively().filter(|arrival| arrival.letter.length <= 64 && arrival.letter.sent_at > 0);
    let small_max_ns = sent_small.map(|arrival| arrival.at - arrival.letter.sent_at).max().unwrap_or(u64::MAX);
    if small_max_ns > SMALL_MAX_NS {
        return Err(format!("a small message took {} ms behind large ones", small_max_ns / MS));
    }
    // All large ones get through too, in their time: each of those senders had several.
    for sender in 0..large_senders {
        let got = of_lively().filter(|arrival| arrival.letter.sender == 100 + sender && arrival.at <= until).count();
        if got < 2 {
            return Err(format!("of the large messages of one sender only {got} arrived in two seconds"));
        }
    }
    Ok(Report { counts: cluster.checker.counts, faults: 1, small_max_ns })
}
