//! A fixed set of seeds for membership and for hostile peers: `cargo xtask sim` runs more.

use neurath_sim::{Report, Run, Scenario, simulate};

fn keeps_its_promises(scenario: Scenario, seeds: u64) -> Report {
    let mut total = Report::default();
    for seed in 1..=seeds {
        match simulate(&Run::new(scenario, seed)) {
            Ok(report) => total.add(&report),
            Err(failure) => panic!("{failure}"),
        }
    }
    total
}

#[test]
fn nodes_agree_on_who_is_there_and_nobody_is_down_without_a_reason() {
    let total = keeps_its_promises(Scenario::Membership, 100);
    // The seeds meet what they are for.
    let members = total.members;
    let rare = [members.refuted, members.falsely, members.unreachable - members.falsely, members.left];
    assert!(rare.iter().all(|count| *count > 10), "{total:?}");
    assert!(members.changed > 10 && members.restarted > 10 && members.rejoined > 10, "{total:?}");
}

#[test]
fn a_peer_that_breaks_the_protocol_ends_only_what_others_have_with_it() {
    let total = keeps_its_promises(Scenario::Hostile, 100);
    assert!(total.counts.violations > 100 && total.counts.breaches > 100, "{total:?}");
    assert!(total.counts.delivered > 10_000, "{total:?}");
}

#[test]
fn a_new_address_does_not_make_a_suspicion_last_longer() {
    // Once foca forgot the time of its suspicions with each new identity.
    simulate(&Run::new(Scenario::Membership, 14)).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_run_without_its_faults_is_one_too() {
    for scenario in [Scenario::Session, Scenario::Membership, Scenario::Hostile] {
        let run = Run { faults: Some([0, 3].into()), until_ms: Some(8_000), ..Run::new(scenario, 3) };
        simulate(&run).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
