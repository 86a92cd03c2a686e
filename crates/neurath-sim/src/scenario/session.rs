//! Nodes that send each other all kinds of messages over a network that breaks in every way, and crash.

use neurath_kernel::SessionConfig;
use neurath_kernel::session::EndCause;
use neurath_proto::frame::{Limits, MESSAGE_OVERHEAD, PART_BYTES_MAX};

use super::{Run, at};
use crate::check::Side;
use crate::cluster::Cluster;
use crate::network::{MS, Quality};
use crate::rng::Rng;
use crate::scenario::Report;

/// Small limits, so that all of them are met.
pub(super) fn tight_config(rng: &mut Rng) -> SessionConfig {
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

pub(super) fn length(rng: &mut Rng, longest: u32) -> usize {
    let longest = u64::from(longest);
    let most = match rng.within(0..=99) {
        0..=69 => 100,
        70..=89 => 4 << 10,
        90..=97 => 40 << 10,
        _ => longest,
    };
    rng.within(8..=most.min(longest)) as usize
}

pub(super) fn run(run: &Run, rng: &mut Rng) -> Result<Report, String> {
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
    let load_until = run.until(rng.within(5_000..=40_000) * MS);
    let between_sends = rng.magnitude(2 * MS..=100 * MS);
    let between_faults = rng.magnitude(300 * MS..=10_000 * MS);
    let senders = rng.within(1..=5);
    let (mut send_at, mut fault_at, mut faults) = (0, between_faults, 0);
    while send_at.min(fault_at) < load_until {
        let next = send_at.min(fault_at);
        cluster.run_until(next).map_err(|what| at(&cluster, what))?;
        if next == fault_at {
            fault_at += rng.within(1..=2 * between_faults);
            if let Some(mut dice) = run.fault(faults) {
                fault(&mut cluster, &config, &mut dice).map_err(|what| at(&cluster, what))?;
            }
            faults += 1;
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
    Ok(Report { counts: cluster.checker.counts, faults, ..Report::default() })
}

pub(super) fn any_side(cluster: &Cluster, rng: &mut Rng) -> Option<Side> {
    let node = rng.index(cluster.nodes());
    let peer = (node + 1 + rng.index(cluster.nodes() - 1)) % cluster.nodes();
    cluster.side(node, peer)
}

pub(super) fn fault(cluster: &mut Cluster, config: &SessionConfig, rng: &mut Rng) -> Result<(), String> {
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
        (85..=92, _) => cluster.crash(node, Some(rng.magnitude(10 * MS..=5_000 * MS))),
        (93..=95, _) => {
            if let Some(side) = cluster.side(node, peer) {
                cluster.end(side, EndCause::Leaving)?;
            }
        }
        _ => cluster.set_consume_max(node, rng.magnitude(1..=3_000 * MS)),
    }
    Ok(())
}
