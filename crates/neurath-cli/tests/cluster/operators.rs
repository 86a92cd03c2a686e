//! Operators from elsewhere, and what is asked of one node about another: who is let in, who is not and is told why, and that
//! an answer is the same wherever it is asked for (G9).

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Background, Outcome, guest, neurath};
use crate::world::{ALPHA, BETA, Cluster, GAMMA, Member, eventually};

/// Somewhere without any node, with the file of an operator of the node's cluster.
struct Elsewhere {
    dir: tempfile::TempDir,
    file: PathBuf,
}

impl Elsewhere {
    fn of(node: &Member) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ada.operator");
        node.run(["cluster", "operator", "ada", "--out", file.to_str().unwrap()]).ok();
        Self { dir, file }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = neurath();
        command.env("HOME", self.dir.path()).env_remove("XDG_DATA_HOME");
        command.arg("--as").arg(&self.file).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(arguments))
    }
}

/// A node of a cluster of its own, alone.
fn alone(dir: &Path) -> Member {
    Outcome::of(neurath().args(["cluster", "init", "--node", "alpha", "--data"]).arg(dir)).ok();
    Member::start(dir, "alpha", &["--listen", "127.0.0.1:0"])
}

/// Raw HTTP on a node's own socket, with a header more; the status and the body.
fn http(node: &Member, method: &str, path: &str, header: &str) -> (u16, Value) {
    let mut socket = UnixStream::connect(node.data().join("control.sock")).unwrap();
    write!(socket, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// A counter on a node of the cluster, started through another; its whole pid.
fn counter(through: &Member, on: &str) -> String {
    through.run(["--on", on, "install", guest("counter-v1").to_str().unwrap()]).ok();
    let spawned = through.json(["--on", on, "spawn", "counter", "40"]);
    spawned["pid"].as_str().unwrap().to_owned()
}

#[test]
fn an_operator_does_elsewhere_what_the_owner_does_at_home() {
    let mut cluster = Cluster::with_grace(60_000);
    let ada = Elsewhere::of(&cluster.members[ALPHA]);
    assert_eq!(std::fs::metadata(&ada.file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = cluster.members[ALPHA].run(["cluster", "operator", "ada", "--out", ada.file.to_str().unwrap()]);
    again.fails(1, &["ada.operator exists, and is not replaced"]);

    let listed = ada.run(&["nodes"]).ok();
    assert!(["alpha", "beta", "gamma"].iter().all(|name| listed.contains(name)), "{listed}");
    ada.run(&["install", guest("counter-v1").to_str().unwrap()]).ok();
    let pid = ada.run(&["spawn", "counter", "2"]).ok().trim().to_owned();
    ada.run(&["send", &pid, r#"{"Increment": 5}"#]).ok();
    assert_eq!(ada.run(&["call", &pid, r#"{"Get": null}"#]).ok(), "7\n");
    assert_eq!(cluster.members[ALPHA].run(["call", &pid, r#"{"Get": null}"#]).ok(), "7\n", "it is the same process");
    let mut trace = Background::start(&mut ada.command(&["trace", &pid, "--json"]), false);
    trace.line("tracing");
    ada.run(&["kill", &pid]).ok();
    trace.line("died");
    drop(trace);

    // At another node of the cluster, and at one through another.
    let beta = cluster.members[BETA].address.clone();
    let at_beta = ada.run(&["--at", &beta, "nodes", "--json"]).json();
    assert_eq!((&at_beta["nodes"][0]["name"], &at_beta["nodes"][0]["state"]), (&json!("beta"), &json!("self")));
    let on_gamma = ada.run(&["--on", "gamma", "nodes", "--json"]).json();
    assert_eq!((&on_gamma["nodes"][0]["name"], &on_gamma["nodes"][0]["state"]), (&json!("gamma"), &json!("self")));
    let token = ada.run(&["cluster", "invite"]).ok();
    assert!(token.starts_with("neurath1."), "{token}");

    ada.run(&["--on", "gamma", "stop"]).ok();
    assert_eq!(cluster.members[GAMMA].wait(), Some(0));
    ada.run(&["stop"]).ok();
    assert_eq!(cluster.members[ALPHA].wait(), Some(0));
    ada.run(&["nodes"]).fails(3, &["cannot be reached", "check that the node runs"]);
}

#[test]
fn who_is_no_operator_of_the_cluster_is_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, other) = (alone(&dir.path().join("mine")), alone(&dir.path().join("other")));
    let (ada, eve) = (Elsewhere::of(&mine), Elsewhere::of(&other));
    eve.run(&["--at", &mine.address, "nodes"]).fails(1, &[&mine.address, "not of this cluster", "--at HOST:PORT"]);
    ada.run(&["--at", &mine.address, "nodes"]).ok();
    let read_by = |mode| std::fs::set_permissions(&ada.file, std::fs::Permissions::from_mode(mode)).unwrap();
    let warned = |outcome: &Outcome| outcome.err.contains("warning") && outcome.err.contains("chmod 600 ");
    assert!(!warned(&ada.run(&["nodes"])));
    for mode in [0o640, 0o604] {
        read_by(mode);
        let outcome = ada.run(&["nodes"]);
        assert!(outcome.code == 0 && warned(&outcome), "{mode:o}: {outcome:?}");
    }
    read_by(0o600);
    ada.run(&["--at", "nowhere", "nodes"]).fails(2, &["`nowhere` is no address"]);

    let at = |file: &Path| Outcome::of(neurath().arg("--as").arg(file).arg("nodes"));
    let late = dir.path().join("late.operator");
    let expired = neurath_node::create_operator(mine.data(), &late, "late", &mine.address, Duration::ZERO);
    drop(expired.unwrap());
    at(&late).fails(1, &["late.operator has expired", "neurath cluster operator late"]);
    at(&dir.path().join("none")).fails(1, &["none is missing", "neurath cluster operator NAME"]);
    at(&mine.data().join("log")).fails(1, &["is not what `neurath cluster operator NAME` makes"]);
    at(dir.path()).fails(1, &["it is no file"]);

    for local in [&["node"][..], &["cluster", "init"], &["cluster", "operator", "bob"], &["api"], &["run"]] {
        ada.run(local).fails(2, &["is about a data directory on this machine", "--as", "NEURATH_AS"]);
    }
    for of_nobody in [&["config"][..], &["build"], &["init", "x"], &["completions", "bash"], &["demo"]] {
        ada.run(of_nobody).fails(2, &["asks no node", "leave out `--as`"]);
    }
    let mut elsewhere = neurath();
    Outcome::of(elsewhere.arg("config").env("NEURATH_AS", &ada.file).env("NEURATH_ON", "beta")).ok();
    Outcome::of(neurath().args(["--at", &mine.address, "nodes"]))
        .fails(2, &["only an operator is let in", "--as FILE"]);

    let data = dir.path().join("bare");
    let bare = Member::start(&data, "bare", &[]);
    bare.run(["cluster", "operator", "bob"]).fails(1, &["no authority of a cluster lives in", "--data DIR"]);
    bare.run(["--on", "beta", "ps"]).fails(1, &["in no cluster"]);
    mine.run(["--on", "beta", "ps"]).fails(1, &["no node `beta` is known", "neurath nodes"]);
    mine.run(["--on", "a\nb", "ps"]).fails(2, &["characters that no name has"]);
    mine.run(["cluster", "operator", "two words"]).fails(1, &["is no name"]);
    drop(mine);
    let file = dir.path().join("bob.operator");
    let command = || {
        let mut command = neurath();
        command.args(["cluster", "operator", "bob", "--out"]).arg(&file).arg("--data").arg(dir.path().join("mine"));
        command
    };
    Outcome::of(&mut command()).fails(1, &["the node does not run", "--address HOST:PORT"]);
    Outcome::of(command().args(["--address", "127.0.0.1:1"])).ok();
    at(&file).fails(3, &["`127.0.0.1:1` cannot be reached"]);
}

#[test]
fn operators_beyond_the_limit_are_turned_away_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("neurath.toml"), "[api]\nvisitors = 1\n").unwrap();
    let node = alone(dir.path());
    let ada = Elsewhere::of(&node);
    // A command asks several times, and may be turned away because of its own last connection.
    let first = eventually("an operator to be served", || {
        let mut first = Background::start(&mut ada.command(&["trace", "--all", "--json"]), false);
        first.find("tracing").map(|_| first)
    });
    assert_eq!(ada.run(&["nodes"]).code, 1, "one is served already");
    assert!(node.log().contains("turned away"), "{}", node.log());
    node.run(["nodes"]).ok();
    drop(first);
    eventually("the next operator to be served", || (ada.run(&["nodes"]).code == 0).then_some(()));
}

#[test]
fn what_is_asked_about_a_process_elsewhere_is_asked_there() {
    let mut cluster = Cluster::with_grace(1500);
    let agent = cluster.agent(ALPHA);
    let alpha = &cluster.members[ALPHA];
    let there = counter(alpha, "beta");
    let info = alpha.json(["info", &there]);
    assert_eq!(info["pid"], there.as_str());
    alpha.run(["send", &there, r#"{"Increment": 2}"#]).ok();
    assert_eq!(alpha.run(["call", &there, r#"{"Get": null}"#]).ok(), "42\n");
    alpha.run(["call", &there, r#""Nonsense""#]).fails(1, &["has no variant `Nonsense`", r#"{"Get":null}"#]);
    // A name on this node for a process of another.
    alpha.call(&agent, json!({"Register": {"node": "alpha", "name": "far", "pid": there}}));
    assert_eq!(alpha.run(["call", "far", r#"{"Get": null}"#]).ok(), "42\n");
    let mut trace = Background::start(&mut alpha.command(["trace", "far", "--json"]), false);
    trace.line("tracing");
    alpha.run(["call", &there, r#"{"Get": null}"#]).ok();
    trace.line("received");
    alpha.run(["trace", &there, &agent]).fails(1, &["processes of one node"]);

    let listed = alpha.json(["--on", "beta", "ps"]);
    assert_eq!(listed["processes"][0]["pid"], there.as_str(), "{listed}");
    let id = cluster.members[BETA].id();
    assert_eq!(alpha.json(["--on", &id, "ps"])["total"], 1);
    assert_eq!(alpha.json(["--on", "alpha", "ps"]), alpha.json(["ps"]));

    let beta = &cluster.members[BETA];
    beta.run(["--on", "alpha", "cluster", "invite"]).fails(1, &["invitations are not passed on", "--at"]);
    assert_eq!(beta.json(["--on", "alpha", "ps"])["processes"][0]["pid"], agent.as_str());

    // It is passed on once at most.
    let passed = "neurath-passed-on-by: 0000000000000009";
    for header in [passed.to_owned(), format!("{passed}\r\nneurath-on: beta")] {
        let (status, body) = http(alpha, "GET", &format!("/v1/processes/{there}"), &header);
        assert_eq!((status, &body["error"]["code"]), (421, &json!("other_node")), "{body}");
    }
    let nobody = alpha.run(["info", "5@0000000000000009.1"]);
    nobody.fails(1, &["node 0000000000000009", "does not know", "neurath nodes"]);
    // Of a third node: the one that it was passed on to says where it is.
    let third = counter(alpha, "gamma");
    for command in [&["info", &third][..], &["send", &third, "1"], &["trace", &third]] {
        let outcome = alpha.run([&["--on", "beta"], command].concat());
        outcome
            .fails(1, &[&third, "lives on node gamma", "passed on to beta", "leave out `--on`, or use `--on gamma`"]);
    }
    alpha.run(["--on", "gamma", "kill", "-f", &third]).ok();
    alpha.run(["kill", "-f", &there]).ok();
    trace.line("died");
    assert_eq!(alpha.json(["--on", "beta", "ps"])["total"], 0);

    // A node that is away is named, and why; it is listed as down.
    cluster.members[BETA].kill();
    let alpha = &cluster.members[ALPHA];
    for command in [&["info", &there][..], &["--on", "beta", "ps"]] {
        alpha.run(command.iter().copied()).fails(1, &["node beta", "was not reached", "check that the node runs"]);
    }
    let (status, body) = http(alpha, "DELETE", &format!("/v1/processes/{there}"), "neurath-on: beta");
    assert_eq!((status, &body["error"]["code"]), (503, &json!("node_unreachable")), "{body}");
    eventually("beta to be down", || {
        let beta = cluster.members[ALPHA].view_of("beta")?;
        (beta["state"] == "down" && beta["session"] == "none" && beta["failure"].is_string()).then_some(())
    });
    let listed = alpha.run(["nodes"]).ok();
    let failure = format!("beta was not reached: `{}` cannot be reached", cluster.members[BETA].address);
    assert!(listed.lines().last().unwrap().starts_with(&failure), "{listed}");
    let top = alpha.run(["top", "--once", "--every", "100ms"]).ok();
    assert!(top.contains("nodes  ") && top.contains("beta: down") && top.contains("gamma: alive, connected"), "{top}");
}

#[test]
fn without_certificates_nothing_is_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let plain = ["--listen", "127.0.0.1:0", "--insecure-plain-tcp-on-loopback"];
    let one = Member::start(&dir.path().join("one"), "one", &[&plain[..], &["--name", "one"]].concat());
    let peer = format!("{}@{}", one.id(), one.address);
    let arguments = [&plain[..], &["--name", "two", "--insecure-peer", &peer]].concat();
    let two = Member::start(&dir.path().join("two"), "two", &arguments);
    eventually("two to know one", || two.is_connected_with("one").then_some(()));
    let pid = format!("5@{}.1", one.id());
    two.run(["info", &pid]).fails(1, &["lives on node one", "run it there", "--data"]);
    two.run(["--on", "one", "ps"]).fails(1, &["is not passed on", "without certificates", "ask that node itself"]);
    let (status, body) = http(&two, "GET", &format!("/v1/processes/{pid}"), "accept: */*");
    assert_eq!((status, &body["error"]["code"]), (421, &json!("other_node")), "{body}");
}
