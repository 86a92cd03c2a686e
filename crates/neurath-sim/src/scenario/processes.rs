//! Processes on several nodes that do everything to each other, over a network that breaks in every way.

use neurath_kernel::{KernelConfig, PortLimits};

use super::session::{fault, tight_config};
use super::{Run, at};
use crate::cluster::Cluster;
use crate::cluster::processes::Society;
use crate::guest::LONGEST;
use crate::network::{MS, Quality};
use crate::rng::Rng;
use crate::scenario::Report;

pub(super) fn run(run: &Run, rng: &mut Rng) -> Result<Report, String> {
    let mut config = tight_config(rng);
    config.held_bytes_max = rng.magnitude(3 << 10..=512 << 10);
    let delay_min_ns = rng.magnitude(10_000..=20 * MS);
    let quality = Quality {
        delay_min_ns,
        delay_max_ns: delay_min_ns + rng.magnitude(1..=100 * MS),
        bytes_per_ms: rng.magnitude(2_000..=100_000),
        split_percent: rng.within(0..=30),
    };
    let nodes = rng.within(2..=4) as usize;
    let mut cluster = Cluster::new(nodes, config, quality, Rng::new(rng.number()));
    cluster.set_dial_fails(rng.within(0..=30));
    let load_until = run.until(rng.within(3_000..=15_000) * MS);
    let port = PortLimits {
        mailbox_messages: rng.magnitude(8..=64) as u32,
        mailbox_bytes: rng.magnitude(64 << 10..=1 << 20),
        message_bytes: LONGEST as u32,
        ..PortLimits::default()
    };
    cluster.populate(Society {
        config: KernelConfig { port, refusals: 1, ..KernelConfig::default() },
        shards: rng.within(1..=2) as u32,
        living_max: rng.within(2..=5) as usize * nodes,
        lag_max_ns: rng.magnitude(MS / 100..=400 * MS),
        until: load_until,
        upgrade_percent: rng.within(0..=3),
        seed: rng.number(),
    });
    let between_faults = rng.magnitude(300 * MS..=10_000 * MS);
    let (mut fault_at, mut faults) = (between_faults, 0);
    while fault_at < load_until {
        cluster.run_until(fault_at).map_err(|what| at(&cluster, what))?;
        fault_at += rng.within(1..=2 * between_faults);
        if let Some(mut dice) = run.fault(faults) {
            fault(&mut cluster, &config, &mut dice).map_err(|what| at(&cluster, what))?;
        }
        faults += 1;
    }
    cluster.run_until(load_until).map_err(|what| at(&cluster, what))?;
    cluster.heal();
    let mut quiet_at = load_until + 2 * config.grace_ns + config.silence_max_ns + 60_000 * MS;
    let give_up_at = quiet_at + 200_000 * MS;
    cluster.run_until(load_until + 30_000 * MS).map_err(|what| at(&cluster, what))?;
    cluster.acquaint().map_err(|what| at(&cluster, what))?;
    loop {
        cluster.run_until(quiet_at).map_err(|what| at(&cluster, what))?;
        match cluster.check_quiet().and_then(|()| cluster.check_processes()) {
            Ok(()) => break,
            Err(what) if quiet_at > give_up_at => return Err(at(&cluster, what)),
            Err(_) => quiet_at += 20_000 * MS,
        }
    }
    let (counts, processes) = (cluster.checker.counts, cluster.ledger.counts);
    Ok(Report { counts, processes, faults, ..Report::default() })
}
