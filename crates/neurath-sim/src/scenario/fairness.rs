//! Large and small messages at once, and a peer that stands still: nobody waits for those.

use neurath_kernel::SessionConfig;

use crate::cluster::Cluster;
use crate::network::{MS, Quality};
use crate::rng::Rng;
use crate::scenario::Report;

/// How long a small message may take, whatever else is sent. A large one alone takes 100 ms on this network.
const SMALL_MAX_NS: u64 = 60 * MS;

pub(super) fn run(rng: &mut Rng) -> Result<Report, String> {
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
    let mut turns = [rng.within(0..=3) as u32 % large_senders; 2];
    let until = 2_500 * MS;
    let mut at = cluster.now;
    while at < until {
        cluster.run_until(at)?;
        at += rng.within(1..=5 * MS);
        // Whoever comes first takes the room that there is: each does in its turn, towards each node.
        for (side, turn) in [to_lively, to_still].into_iter().zip(&mut turns) {
            for _ in 0..large_senders {
                if !cluster.checker.is_full(side) {
                    cluster.send(side, 100 + *turn, 1, large_bytes)?;
                    *turn = (*turn + 1) % large_senders;
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
    Ok(Report { counts: cluster.checker.counts, faults: 1, small_max_ns, ..Report::default() })
}
