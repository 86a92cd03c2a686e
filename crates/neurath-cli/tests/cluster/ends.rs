//! Nodes that are killed, that stop for a while, and that leave: who is told, when and how often, and what the others lose.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::{ALPHA, BETA, Cluster, GAMMA, Stream, eventually, pause};

/// Two agents that watch a process on `beta`, one linked to it; the process.
fn watched(cluster: &Cluster) -> (String, String, String) {
    let (first, second) = (cluster.agent(ALPHA), cluster.agent(GAMMA));
    let echo = cluster.echo(ALPHA, &first, BETA);
    cluster.members[GAMMA].call(&second, json!({"Ping": {"node": "beta"}}));
    cluster.members[GAMMA].send(&second, &json!({"Monitor": {"pid": echo}}));
    for (node, agent) in [(ALPHA, &first), (GAMMA, &second)] {
        cluster.members[node].send(agent, &json!({"MonitorNode": {"node": "beta"}}));
    }
    (first, second, echo)
}

/// Everything that ties the agents to the node has fired once, after `fired` said so.
#[track_caller]
fn fired_once(cluster: &Cluster, first: &str, second: &str, since: Instant) -> [Duration; 2] {
    let (mut at_alpha, one) = cluster.told(ALPHA, first, 4, since);
    let (mut at_gamma, two) = cluster.told(GAMMA, second, 3, since);
    at_alpha.sort();
    at_gamma.sort();
    assert_eq!(&at_alpha[..2], ["down its node is disconnected", "exit its node is disconnected"], "{at_alpha:?}");
    assert_eq!(at_gamma[0], "down its node is disconnected", "{at_gamma:?}");
    for (told, rest) in [(&at_alpha, &at_alpha[2..]), (&at_gamma, &at_gamma[1..])] {
        let downs = rest.iter().filter(|event| event.starts_with("node down")).count();
        assert_eq!((downs, rest.len()), (2, 2), "one to who monitors, one to who watches all: {told:?}");
    }
    [one, two]
}

/// Nothing was told since, but that the node is there again.
#[track_caller]
fn nothing_fired_again(cluster: &Cluster, first: &str, second: &str) {
    for (node, agent, count) in [(ALPHA, first, 5), (GAMMA, second, 4)] {
        let events = cluster.members[node].events(agent);
        assert_eq!((events.len(), events.last().unwrap().as_str()), (count, "node up beta"), "{events:?}");
    }
}

#[test]
fn when_a_node_is_killed_the_others_are_told_once_after_the_grace_time_and_lose_nothing() {
    let mut cluster = Cluster::with_grace(1500);
    let (first, second, echo) = watched(&cluster);
    let between = [Stream::start(&cluster, ALPHA, GAMMA), Stream::start(&cluster, GAMMA, ALPHA)];
    let doomed = Stream::start(&cluster, ALPHA, BETA);
    let go = |cluster: &Cluster| {
        between.iter().for_each(|stream| stream.go(cluster, 2000, 100));
        doomed.go(cluster, 500, 100);
    };
    (0..5).for_each(|_| go(&cluster));
    let before = cluster.members[ALPHA].view_of("beta").unwrap();
    let killed = Instant::now();
    cluster.members[BETA].kill();
    go(&cluster);
    let after = fired_once(&cluster, &first, &second, killed);
    assert!(after.iter().all(|after| *after >= cluster.grace()), "{after:?}");
    between.iter().for_each(|stream| stream.arrives_whole(&cluster));
    let unconfirmed = cluster.members[ALPHA].json(["unconfirmed"]);
    assert!(unconfirmed["count"].as_u64().unwrap() > 0, "{unconfirmed}");
    assert_eq!(unconfirmed["latest"][0]["type_name"], "Numbered");

    cluster.restart(BETA);
    cluster.connected();
    let now = cluster.members[ALPHA].view_of("beta").unwrap();
    assert_eq!((&now["id"], &now["incarnation"]), (&before["id"], &json!(2)), "the same node in another life");
    let gone = cluster.ask(ALPHA, &first, &echo);
    assert!(gone["Err"].as_str().is_some_and(|why| why.contains("no such process")), "{gone}");
    nothing_fired_again(&cluster, &first, &second);
    let again = cluster.echo(ALPHA, &first, BETA);
    assert_eq!(cluster.ask(ALPHA, &first, &again), json!({"Ok": 7}));
}

#[test]
fn a_node_that_stops_for_less_than_the_grace_time_is_not_missed() {
    let cluster = Cluster::with_grace(6000);
    let (first, second, echo) = watched(&cluster);
    let streams = [(ALPHA, BETA), (BETA, ALPHA), (GAMMA, BETA)].map(|(from, to)| Stream::start(&cluster, from, to));
    streams.iter().for_each(|stream| stream.go(&cluster, 1000, 100));
    cluster.members[BETA].signal("STOP");
    for stream in [&streams[0], &streams[2]] {
        stream.go(&cluster, 3000, 100);
    }
    pause(cluster.grace() / 4);
    cluster.members[BETA].signal("CONT");
    streams.iter().for_each(|stream| stream.arrives_whole(&cluster));
    pause(cluster.grace());
    for (node, agent) in [(ALPHA, &first), (GAMMA, &second)] {
        assert_eq!(cluster.members[node].events(agent), [""; 0], "nobody is told of a short stop");
        assert_eq!(cluster.members[node].view_of("beta").unwrap()["opened"], 1, "it is the same association");
    }
    assert_eq!(cluster.ask(ALPHA, &first, &echo), json!({"Ok": 7}));
}

#[test]
fn a_node_that_stops_for_longer_is_held_to_be_gone_and_comes_back_with_a_new_association() {
    let cluster = Cluster::with_grace(1500);
    let (first, second, echo) = watched(&cluster);
    let (between, stalled) = (Stream::start(&cluster, GAMMA, ALPHA), Stream::start(&cluster, ALPHA, BETA));
    stalled.go(&cluster, 1000, 100);
    stalled.arrives_whole(&cluster);
    cluster.members[BETA].signal("STOP");
    let stopped = Instant::now();
    stalled.go(&cluster, 500, 100);
    between.go(&cluster, 5000, 100);
    let after = fired_once(&cluster, &first, &second, stopped);
    assert!(after.iter().all(|after| *after >= cluster.grace()), "{after:?}");
    between.arrives_whole(&cluster);
    let unconfirmed = cluster.members[ALPHA].json(["unconfirmed"]);
    assert!(unconfirmed["count"].as_u64().unwrap() > 0);
    assert_eq!(
        cluster.members[ALPHA].view_of("beta").unwrap()["unconfirmed"],
        unconfirmed["count"],
        "both count messages"
    );
    let latest = unconfirmed["latest"].as_array().unwrap();
    let numbered = latest.iter().filter(|message| message["type_name"] == "Numbered").count();
    let listed = cluster.members[ALPHA].run(["unconfirmed"]).ok();
    let lines: Vec<_> = listed.lines().filter(|line| line.contains("Numbered")).collect();
    assert!(
        lines.len() == 1 && lines[0].contains(&format!("  {numbered}  ")),
        "those to one sink are one line:\n{listed}"
    );

    cluster.members[BETA].signal("CONT");
    cluster.connected();
    let beta = cluster.members[ALPHA].view_of("beta").unwrap();
    assert_eq!((&beta["opened"], &beta["incarnation"]), (&json!(2), &json!(1)), "{beta}");
    nothing_fired_again(&cluster, &first, &second);
    // It was linked to a process that held its node to be gone: each side is told.
    eventually("the echo to be ended by its link", || {
        cluster.ask(ALPHA, &first, &echo)["Err"].is_string().then_some(())
    });
    assert_eq!(stalled.seen(&cluster, "again"), 0, "what was not confirmed is not sent twice");
    let again = cluster.echo(ALPHA, &first, BETA);
    assert_eq!(cluster.ask(ALPHA, &first, &again), json!({"Ok": 7}));
}

#[test]
fn when_a_node_leaves_the_others_are_told_at_once() {
    let mut cluster = Cluster::with_grace(60_000);
    let (first, second, _) = watched(&cluster);
    let left = Instant::now();
    cluster.members[BETA].signal("INT");
    let after = fired_once(&cluster, &first, &second, left);
    assert!(after.iter().all(|after| *after < cluster.grace() / 3), "{after:?}");
    assert_eq!(cluster.members[BETA].wait(), Some(0));
    for node in [ALPHA, GAMMA] {
        let beta = cluster.members[node].view_of("beta").unwrap();
        assert_eq!((&beta["state"], &beta["session"]), (&json!("left"), &json!("none")));
    }
    for (node, agent) in [(ALPHA, &first), (GAMMA, &second)] {
        let events = cluster.members[node].events(agent);
        let reasons = events.iter().filter(|event| *event == "node down the node has left").count();
        assert_eq!(reasons, 2, "{events:?}");
        let log = cluster.members[node].log();
        let ended = |line: &str| line.contains("an association has ended") && line.contains("the node has left");
        assert!(log.lines().any(|line| ended(line) && line.contains("name=\"beta\"")), "{log}");
    }
}
