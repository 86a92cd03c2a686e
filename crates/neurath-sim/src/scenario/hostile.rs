//! A node that breaks the protocol in every way: it may end what it has with others, and nothing else.

use neurath_kernel::MembershipConfig;

use super::session::{any_side, length, tight_config};
use super::{Report, Run, at};
use crate::cluster::Cluster;
use crate::network::{MS, Quality};
use crate::rng::Rng;

pub(super) fn run(run: &Run, rng: &mut Rng) -> Result<Report, String> {
    let config = tight_config(rng);
    let delay_min_ns = rng.magnitude(10_000..=5 * MS);
    let quality = Quality {
        delay_min_ns,
        delay_max_ns: delay_min_ns + rng.magnitude(1..=20 * MS),
        bytes_per_ms: rng.magnitude(5_000..=100_000),
        split_percent: rng.within(0..=60),
    };
    let honest = rng.within(2..=3) as usize;
    let hostile = honest;
    let mut cluster = Cluster::new(honest + 1, config, quality, Rng::new(rng.number()));
    cluster.set_hostile(hostile, rng.magnitude(1..=80));
    cluster.roster.suspect_to_down_ns = config.grace_ns;
    cluster.gossip(MembershipConfig { suspect_to_down_ns: config.grace_ns, ..MembershipConfig::default() })?;
    let load_until = run.until(rng.within(5_000..=40_000) * MS);
    let between_sends = rng.magnitude(2 * MS..=100 * MS);
    let (mut send_at, mut deeds) = (0, 0);
    while send_at < load_until {
        cluster.run_until(send_at).map_err(|what| at(&cluster, what))?;
        send_at += rng.within(1..=2 * between_sends);
        let Some(side) = any_side(&cluster, rng) else { continue };
        let length = length(rng, config.limits.message_bytes_max);
        let sender = rng.within(1..=3);
        if cluster.is_hostile(side.node) || cluster.is_hostile(side.peer) {
            let Some(mut dice) = run.fault(deeds) else { continue };
            deeds += 1;
            if dice.chance(20) {
                cluster.connect(side);
            }
            cluster.send_junk(side, sender as u32, length).map_err(|what| at(&cluster, what))?;
        } else if !cluster.checker.is_full(side) {
            cluster.send(side, sender as u32, 1, length).map_err(|what| at(&cluster, what))?;
        }
    }
    cluster.run_until(load_until + 60_000 * MS).map_err(|what| at(&cluster, what))?;
    cluster.check_letters().map_err(|what| at(&cluster, what))?;
    // It goes on making others suspect each other, who refute it each time.
    let agree_until = cluster.now + 60_000 * MS;
    while let Err(what) = cluster.check_members() {
        if cluster.now > agree_until {
            return Err(at(&cluster, what));
        }
        cluster.run_until(cluster.now + 100 * MS).map_err(|what| at(&cluster, what))?;
    }
    let (counts, members) = (cluster.checker.counts, cluster.roster.counts);
    if counts.unconfirmed > 0 || counts.delivered != counts.sent || members.unreachable > 0 {
        return Err(at(&cluster, format!("honest nodes lost something to each other: {counts:?}, {members:?}")));
    }
    Ok(Report { counts, members, faults: deeds, ..Report::default() })
}
