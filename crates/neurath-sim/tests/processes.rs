//! A fixed set of seeds for processes on several nodes: `cargo xtask sim` runs more.

use neurath_sim::{Report, Run, Scenario, simulate};

#[test]
fn processes_of_several_nodes_are_told_what_happens_to_each_other_once_and_truly_whatever_breaks() {
    let mut total = Report::default();
    for seed in 1..=200 {
        match simulate(&Run::new(Scenario::Processes, seed)) {
            Ok(report) => total.add(&report),
            Err(failure) => panic!("{failure}"),
        }
    }
    // The seeds meet what they are for.
    let seen = total.processes;
    let rare =
        [seen.given_back, seen.refused, seen.failed, seen.killed, seen.node_down, seen.crashed, total.counts.full];
    assert!(rare.iter().all(|count| *count > 10), "{total:?}");
    let fired =
        [seen.down, seen.down_disconnected, seen.down_nobody, seen.exit, seen.exit_disconnected, seen.exit_nobody];
    assert!(fired.iter().all(|count| *count > 100), "{total:?}");
    let done = [seen.gave_up, seen.joined, seen.members, seen.timed, seen.cancelled, seen.upgraded, seen.rolled_back];
    assert!(done.iter().all(|count| *count > 100), "{total:?}");
}

#[test]
fn a_run_without_its_faults_is_one_too() {
    let run = Run { faults: Some([0, 3].into()), until_ms: Some(4_000), ..Run::new(Scenario::Processes, 3) };
    simulate(&run).unwrap_or_else(|failure| panic!("{failure}"));
}
