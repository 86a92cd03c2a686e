//! Nodes that are there and say nothing: commands tell of it, and those that should be quick end.

use serde_json::json;

use crate::harness::{Background, Outcome, neurath};
use crate::world::{ALPHA, BETA, Cluster};

#[test]
fn a_command_to_a_node_that_is_stopped_says_so_and_ends() {
    let cluster = Cluster::with_grace(60_000);
    let agent = cluster.agent(ALPHA);
    let echo = cluster.echo(ALPHA, &agent, BETA);
    let (alpha, beta) = (&cluster.members[ALPHA], &cluster.members[BETA]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ada.operator");
    alpha.run(["cluster", "operator", "ada", "--out", file.to_str().unwrap()]).ok();
    beta.signal("STOP");

    let data = beta.data().to_str().unwrap();
    let quick = ["ps", "nodes", "logs", "deaths"].map(|command| vec![command]);
    let others = [vec!["info", "1"], vec!["spawn", "cluster", "agent"], vec!["trace", "1"], vec!["top", "--once"]];
    for command in quick.iter().chain(&others) {
        let outcome = beta.run([&command[..], &["--answer-within", "200ms"]].concat());
        let note = format!("the node in {data} has not answered for 100ms; is it stopped? waiting (`kill -CONT ");
        outcome
            .fails(3, &[&note, "has not answered for 200ms", "may still do what it was asked", "--answer-within TIME"]);
    }
    let mut elsewhere = neurath();
    elsewhere.arg("--as").arg(&file).args(["--at", &beta.address, "ps", "--answer-within", "200ms"]);
    let at_beta = format!("the node at `{}` has not answered", beta.address);
    Outcome::of(&mut elsewhere).fails(3, &[&at_beta, "is it stopped?"]);
    let through = alpha.run(["--on", "beta", "ps", "--answer-within", "200ms"]);
    through.fails(3, &["node `beta`, asked through the node in", "has not answered for 200ms"]);

    // A call may take the time that it was given: that nothing comes is said, and its own end is waited for.
    let ask = json!({"Ask": {"echo": echo, "n": 7}}).to_string();
    let call = alpha.run(["call", &agent, &ask, "--within", "2s", "--answer-within", "1s"]);
    call.fails(1, &["has not answered for 500ms; what it was asked may take its time", "no answer"]);

    // Whoever waits has the answer when the node goes on.
    let mut command = beta.command(["info", "nobody", "--answer-within", "1h"]);
    let mut waiting = Background::start(&mut command, true);
    waiting.line("has not answered for 5s; is it stopped?");
    beta.signal("CONT");
    waiting.line("no process `nobody`");
}
