//! A fixed set of seeds, a few seconds of them: `cargo xtask sim` runs more.

use neurath_sim::{Report, Run, Scenario, simulate};

fn keeps_its_promises(scenario: Scenario, seeds: u64) -> Report {
    let mut total = Report::default();
    for seed in 1..=seeds {
        match simulate(&Run::new(scenario, seed)) {
            Ok(report) => {
                total.add(&report);
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    total
}

#[test]
fn messages_between_nodes_arrive_once_and_in_order_or_are_reported_whatever_breaks() {
    let total = keeps_its_promises(Scenario::Session, 200);
    // The seeds meet what they are for.
    let counts = total.counts;
    let rare = [
        counts.grace_over,
        counts.restarted,
        counts.peer_ended,
        counts.unreachable,
        counts.full,
        counts.unconfirmed_delivered,
        counts.unconfirmed - counts.unconfirmed_delivered,
    ];
    assert!(rare.iter().all(|count| *count > 10), "{total:?}");
}

#[test]
fn small_messages_wait_neither_for_large_ones_nor_for_a_peer_that_stands_still() {
    keeps_its_promises(Scenario::Fairness, 20);
}

#[test]
fn connections_that_cross_do_not_displace_each_other() {
    // Once they did, where only one connection may be on its way.
    simulate(&Run::new(Scenario::Session, 4568)).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let once = simulate(&Run::new(Scenario::Session, 7))
        .map(|report| format!("{report:?}"))
        .map_err(|failure| failure.to_string());
    let again = simulate(&Run::new(Scenario::Session, 7))
        .map(|report| format!("{report:?}"))
        .map_err(|failure| failure.to_string());
    assert_eq!(once, again);
}
