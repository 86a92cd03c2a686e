//! Nodes that find each other, crash, come back, pause, are parted, get other addresses and leave, with messages between
//! them all the while.

use neurath_kernel::{MembershipConfig, SessionConfig};

use super::session::{any_side, length, tight_config};
use super::{Report, Run, at};
use crate::cluster::Cluster;
use crate::network::{MS, Quality};
use crate::rng::Rng;

/// Times of one cluster, and what follows from them.
struct Times {
    session: SessionConfig,
    membership: MembershipConfig,
    nodes: u64,
    delay_ns: u64,
}

impl Times {
    fn new(nodes: u64, rng: &mut Rng) -> Self {
        let probe_period_ns = rng.within(500..=1_500) * MS;
        let grace_ns = rng.within(5_000..=20_000) * MS;
        let silence_max_ns = rng.within(1_500..=4_000) * MS;
        let session = SessionConfig {
            grace_ns,
            silence_max_ns,
            ping_after_ns: silence_max_ns / 3,
            dial_ns: rng.within(500..=1_000) * MS,
            handshake_ns: rng.within(700..=1_500) * MS,
            backoff_max_ns: rng.within(100..=1_000) * MS,
            // Packets of membership do not wait long for room.
            sent_frames_max: rng.magnitude(128..=1000) as usize,
            sent_bytes_max: rng.magnitude(128 << 10..=512 << 10) as usize,
            ..tight_config(rng)
        };
        let membership = MembershipConfig {
            probe_period_ns,
            probe_timeout_ns: probe_period_ns * 2 / 5,
            suspect_to_down_ns: grace_ns,
            gossip_ns: rng.within(200..=500) * MS,
            gossip_members: rng.within(1..=3) as usize,
            transmissions_max: rng.within(5..=15) as u8,
            announce_ns: rng.within(5_000..=30_000) * MS,
            announce_down_ns: rng.within(2_000..=15_000) * MS,
            ..MembershipConfig::default()
        };
        Self { session, membership, nodes, delay_ns: rng.within(1..=40) * MS }
    }

    /// Until each member had its turn to be probed, twice, and what came of that has arrived.
    fn turns_ns(&self) -> u64 {
        (2 * self.nodes + 4) * self.membership.probe_period_ns + 20 * self.delay_ns
    }

    /// Until two nodes between whom nothing is wrong any more speak again, and a suspicion is refuted.
    fn settle_ns(&self) -> u64 {
        let session = &self.session;
        let again = session.silence_max_ns + 2 * (session.dial_ns + session.handshake_ns + session.backoff_max_ns);
        again + self.turns_ns()
    }

    /// Until a life that ended is down everywhere: the last of its turns, and no refutation.
    fn down_within_ns(&self) -> u64 {
        self.turns_ns() + self.membership.suspect_to_down_ns
    }

    /// Until everyone knows everyone after all faults.
    fn agree_within_ns(&self) -> u64 {
        let membership = &self.membership;
        let tries = self.nodes * membership.announce_down_ns + 2 * membership.announce_ns;
        2 * (self.down_within_ns() + self.settle_ns()) + tries + 2 * self.session.grace_ns
    }
}

pub(super) fn run(run: &Run, rng: &mut Rng) -> Result<Report, String> {
    let nodes = rng.within(2..=6);
    let times = Times::new(nodes, rng);
    let quality = Quality {
        delay_min_ns: times.delay_ns / 4,
        delay_max_ns: times.delay_ns,
        bytes_per_ms: rng.magnitude(2_000..=100_000),
        split_percent: rng.within(0..=30),
    };
    let mut cluster = Cluster::new(nodes as usize, times.session, quality, Rng::new(rng.number()));
    cluster.roster.suspect_to_down_ns = times.membership.suspect_to_down_ns;
    cluster.gossip(times.membership)?;
    // Where nodes only end, each end must be seen in its time.
    let calm = rng.chance(30);
    let load_until = run.until(rng.within(30_000..=120_000) * MS);
    let between_sends = rng.magnitude(20 * MS..=500 * MS);
    let between_faults = rng.magnitude(2_000 * MS..=30_000 * MS);
    let (mut send_at, mut fault_at, mut faults) = (0, 5_000 * MS, 0);
    let mut gone = Vec::new();
    while send_at.min(fault_at) < load_until {
        let next = send_at.min(fault_at);
        cluster.run_until(next).map_err(|what| at(&cluster, what))?;
        if next == fault_at {
            fault_at += rng.within(1..=2 * between_faults);
            if let Some(mut dice) = run.fault(faults) {
                let ended = fault(&mut cluster, &times, calm, &mut dice).map_err(|what| at(&cluster, what))?;
                gone.extend(ended.filter(|_| calm).map(|life| (life, cluster.now)));
            }
            faults += 1;
        } else {
            send_at += rng.within(1..=2 * between_sends);
            if let Some(side) = any_side(&cluster, rng).filter(|side| !cluster.checker.is_full(*side)) {
                let length = length(rng, times.session.limits.message_bytes_max);
                cluster.send(side, 1 + rng.index(2) as u32, 1, length).map_err(|what| at(&cluster, what))?;
            }
        }
        let overdue = |ended_at: u64| ended_at + times.down_within_ns() <= cluster.now;
        for ((node, life), ended_at) in gone.extract_if(.., |(_, ended_at)| overdue(*ended_at)) {
            cluster.check_gone(node, life, ended_at).map_err(|what| at(&cluster, what))?;
        }
    }
    cluster.heal();
    let agree_until = cluster.now + times.agree_within_ns();
    loop {
        cluster.run_until(cluster.now + 1_000 * MS).map_err(|what| at(&cluster, what))?;
        match cluster.check_members() {
            Ok(()) => break,
            Err(what) if cluster.now > agree_until => return Err(at(&cluster, what)),
            Err(_) => {}
        }
    }
    // It stays so, nobody is down for what is over, and every message has come to its end.
    let quiet_ns = times.down_within_ns() + 2 * times.session.grace_ns + 60_000 * MS;
    cluster.run_until(cluster.now + quiet_ns).map_err(|what| at(&cluster, what))?;
    cluster.check_members().map_err(|what| at(&cluster, what))?;
    cluster.check_letters().map_err(|what| at(&cluster, what))?;
    let (counts, members) = (cluster.checker.counts, cluster.roster.counts);
    Ok(Report { counts, members, faults, ..Report::default() })
}

/// Makes a fault; which life it ended, if it did.
fn fault(cluster: &mut Cluster, times: &Times, calm: bool, rng: &mut Rng) -> Result<Option<(usize, u32)>, String> {
    let (now, settle) = (cluster.now, times.settle_ns());
    let any = rng.index(cluster.nodes());
    let other = (any + 1 + rng.index(cluster.nodes() - 1)) % cluster.nodes();
    let grace = times.session.grace_ns;
    let kind = if calm { rng.within(0..=39) } else { rng.within(0..=99) };
    let Some(side) = cluster.side(any, other) else {
        cluster.restart(any);
        return Ok(None);
    };
    let everyone = |cluster: &mut Cluster, until: u64| {
        for peer in (0..cluster.nodes()).filter(|peer| *peer != any) {
            cluster.roster.trouble(any, peer, now, until);
        }
    };
    match kind {
        0..=14 => {
            let down_ns = rng.chance(70).then(|| rng.magnitude(100 * MS..=2 * grace));
            // Without another life it is in trouble until it is given one.
            everyone(cluster, down_ns.map_or(u64::MAX, |down_ns| now + down_ns + settle));
            cluster.crash(any, down_ns);
            return Ok(Some((any, side.life)));
        }
        15..=24 => {
            everyone(cluster, u64::MAX);
            cluster.leave(any)?;
        }
        25..=39 => cluster.moves(any, rng.within(1..=200))?,
        40..=64 => {
            let stop_ns = rng.magnitude(100 * MS..=2 * grace);
            // A short pause breaks no connection.
            let short = stop_ns + MS < times.session.silence_max_ns / 2;
            everyone(cluster, now + stop_ns + if short { times.turns_ns() } else { settle });
            cluster.stop(any, stop_ns);
        }
        65..=79 => {
            let part_ns = rng.magnitude(100 * MS..=3 * grace);
            cluster.roster.trouble(any, other, now, now + part_ns + settle);
            cluster.part(any, other, part_ns);
        }
        80..=89 => {
            let part_ns = rng.magnitude(100 * MS..=3 * grace);
            everyone(cluster, now + part_ns + settle);
            for peer in (0..cluster.nodes()).filter(|peer| *peer != any) {
                cluster.part(any, peer, part_ns);
            }
        }
        _ => {
            cluster.roster.trouble(any, other, now, now + settle);
            for wire in cluster.network.between(any, other) {
                match rng.within(0..=2) {
                    0 => cluster.network.cut(now, wire, rng),
                    1 => cluster.network.swallow(wire, rng.index(2)),
                    _ => cluster.network.half_close(now, wire, rng.index(2), rng),
                }
            }
        }
    }
    Ok(None)
}
