//! What people type about clusters, right and wrong: errors name the thing, the cause and the next step.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Outcome, neurath};
use crate::world::{Member, pause};

/// `neurath node` with these arguments, which does not start.
fn node(data: &Path, arguments: &[&str]) -> Outcome {
    Outcome::of(neurath().arg("node").arg("--data").arg(data).args(arguments))
}

fn init(data: &Path) -> Outcome {
    Outcome::of(neurath().args(["cluster", "init", "--node", "alpha", "--data"]).arg(data))
}

/// Asks for an invitation that is good for less than the command's shortest; the answer.
fn invited_for(member: &Member, valid_ms: u64) -> Value {
    let mut socket = UnixStream::connect(member.data().join("control.sock")).unwrap();
    let body = json!({"valid_ms": valid_ms}).to_string();
    let length = body.len();
    let head = "POST /v1/cluster/invitations HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length:";
    write!(socket, "{head} {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

/// An invitation that nobody can use any more.
fn expired(member: &Member) -> String {
    let token = invited_for(member, 1000)["token"].as_str().unwrap().to_owned();
    pause(Duration::from_secs(1));
    token
}

#[test]
fn a_cluster_is_made_once_and_while_its_node_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("alpha");
    let made = init(&data);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.err.contains("holds its authority: keep a copy"), "{}", made.err);
    let again = ["belongs to the cluster `neurath` already", "neurath node --listen ADDRESS", "another data directory"];
    init(&data).fails(1, &again);
    let first = Member::start(&data, "alpha", &["--listen", "127.0.0.1:0"]);
    init(&data).fails(1, &again);
    drop(first);
    let alone = dir.path().join("alone");
    let running = Member::start(&alone, "alone", &[]);
    init(&alone).fails(1, &["in use by process", "stop that one"]);
    running.run(["cluster", "invite"]).fails(1, &["is in no cluster", "--listen"]);
    running.run(["nodes"]).ok();
    assert_eq!(running.json(["nodes"]), json!({"nodes": []}));
    assert_eq!(running.json(["groups"]), json!({"groups": []}));
    assert_eq!(running.json(["unconfirmed"]), json!({"count": 0, "latest": []}));
    let mut names = neurath();
    names.args(["cluster", "init", "--node", "two\nlines", "--data"]).arg(dir.path().join("named"));
    Outcome::of(&mut names).fails(1, &["name"]);
}

#[test]
fn what_is_wrong_with_an_address_is_said_before_the_node_runs() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("alpha");
    node(&data, &["--listen", "127.0.0.1:0"]).fails(1, &["belongs to no cluster yet", "--join", "cluster init"]);
    init(&data);
    for (address, why) in
        [("nonsense", "cannot listen at `nonsense`"), ("127.0.0.1:http", "cannot listen at"), ("", "``")]
    {
        node(&data, &["--listen", address]).fails(1, &[why, "looks like"]);
    }
    // An address of documentation, which no machine has.
    node(&data, &["--listen", "192.0.2.1:7700"]).fails(1, &["cannot listen at `192.0.2.1:7700`", "choose another"]);
    node(&data, &["--listen", "0.0.0.0:0"]).fails(1, &["0.0.0.0:0", "all addresses", "--advertise HOST:PORT"]);
    for (advertised, why) in
        [("beta", "no port"), ("beta:x", "no number"), ("beta:0", "any"), ("0.0.0.0:1", "all addresses")]
    {
        let arguments = ["--listen", "127.0.0.1:0", "--advertise", advertised];
        node(&data, &arguments).fails(1, &[advertised, why, "--advertise HOST:PORT"]);
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    node(&data, &["--listen", &address]).fails(1, &[&address, "in use", "choose another"]);
    let plain = dir.path().join("plain");
    let insecure = "--insecure-plain-tcp-on-loopback";
    for address in ["0.0.0.0:0", "192.0.2.1:7700"] {
        let outcome = node(&plain, &["--listen", address, insecure, "--advertise", "127.0.0.1:7700"]);
        outcome.fails(1, &[address, "without TLS", "127.0.0.1", "join a cluster"]);
    }
    let peer = ["--listen", "127.0.0.1:0", insecure, "--insecure-peer", "somewhere"];
    node(&plain, &peer).fails(1, &["`somewhere` is no peer", "looks like"]);
    node(&plain, &[insecure]).fails(2, &["--listen"]);
    node(&plain, &["--join", "x"]).fails(2, &["--listen"]);
    node(&plain, &["--name", "x"]).fails(2, &["`--name` is for a node that speaks to others", "[cluster]"]);

    let alpha = Member::start(&data, "alpha", &["--listen", "127.0.0.1:0"]);
    assert_eq!(alpha.json(["nodes"])["nodes"][0]["incarnation"], 1, "a start that failed is no life");
    for (address, why) in [("foo", "no port"), ("foo:0", "any"), ("[::]:1", "all addresses"), ("a:b", "no number")] {
        let made = alpha.command(["cluster", "operator", "bob", "--address", address]).output().unwrap();
        let said = String::from_utf8(made.stderr).unwrap();
        assert_eq!(made.status.code(), Some(2), "{said}");
        assert!(said.contains(why) && said.contains("looks like"), "{address}: {said}");
    }
    for valid_ms in [0, 999] {
        let refused = invited_for(&alpha, valid_ms);
        assert_eq!(refused["error"]["code"], "bad_request", "{refused}");
    }
}

#[test]
fn a_node_keeps_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("alpha");
    init(&data).ok();
    let other = ["is called `alpha`", "without `--name other`", "data directory of its own"];
    node(&data, &["--listen", "127.0.0.1:0", "--name", "other"]).fails(1, &other);
    std::fs::write(data.join("neurath.toml"), "[cluster]\nname = \"other\"\n").unwrap();
    node(&data, &["--listen", "127.0.0.1:0"]).fails(1, &other);
    let alpha = Member::start(&data, "alpha", &["--listen", "127.0.0.1:0", "--name", "alpha"]);
    assert_eq!(alpha.json(["nodes"])["nodes"][0]["name"], "alpha");
}

#[test]
fn how_a_node_speaks_to_others_can_stand_in_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (alpha, beta) = (dir.path().join("alpha"), dir.path().join("beta"));
    init(&alpha).ok();
    let configured = |data: &Path, text: &str| std::fs::write(data.join("neurath.toml"), text).unwrap();
    configured(&alpha, "[cluster]\nlisten = \"127.0.0.1:0\"\nadvertise = \"alpha.example.org:7700\"\n");
    let first = Member::start(&alpha, "alpha", &[]);
    assert_eq!(first.address, "alpha.example.org:7700");
    drop(first);
    // What is typed wins.
    configured(&alpha, "[cluster]\nlisten = \"nonsense\"\n");
    node(&alpha, &[]).fails(1, &["cannot listen at `nonsense`"]);
    let first = Member::start(&alpha, "alpha", &["--listen", "127.0.0.1:0"]);
    std::fs::create_dir_all(&beta).unwrap();
    configured(&beta, "[cluster]\nlisten = \"127.0.0.1:0\"\nname = \"beta\"\n");
    let token = first.run(["cluster", "invite"]).ok();
    let second = Member::start(&beta, "beta", &["--join", token.trim()]);
    assert_eq!(second.json(["nodes"])["nodes"][0]["name"], "beta");
}

#[test]
fn who_may_not_join_is_told_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (data, new) = (dir.path().join("alpha"), dir.path().join("new"));
    init(&data).ok();
    let alpha = Member::start(&data, "alpha", &["--listen", "127.0.0.1:0"]);
    let invite = || alpha.run(["cluster", "invite"]).ok().trim().to_owned();
    let join = |data: &Path, name: &str, token: &str| {
        node(data, &["--listen", "127.0.0.1:0", "--name", name, "--join", token])
    };
    let token = invite();
    join(&new, "beta", "hello").fails(1, &["this is no invitation", "cluster invite"]);
    join(&new, "beta", &token[..token.len() - 3]).fails(1, &["cut or mistyped", "copy it again"]);
    join(&new, "alpha", &token).fails(1, &["the name `alpha` belongs to another node", "choose another"]);
    let beta = dir.path().join("beta");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let join_beta = |address: &str| node(&beta, &["--listen", address, "--name", "beta", "--join", &token]);
    join_beta(&address).fails(1, &[&address, "in use", "choose another"]);
    std::fs::create_dir_all(&beta).unwrap();
    std::fs::write(beta.join("neurath.toml"), format!("[metrics]\nlisten = \"{address}\"\n")).unwrap();
    join_beta("127.0.0.1:0").fails(1, &[&address, "[metrics]"]);
    std::fs::remove_file(beta.join("neurath.toml")).unwrap();
    // What went wrong has not used it up, and was no life.
    let member = Member::start(&beta, "beta", &["--listen", "127.0.0.1:0", "--name", "beta", "--join", &token]);
    assert_eq!(member.json(["nodes"])["nodes"][0]["incarnation"], 1);
    join(&new, "gamma", &token).fails(1, &["was used by another node", "cluster invite"]);
    member.run(["cluster", "invite"]).fails(1, &["does not hold the cluster's authority", "cluster init"]);
    drop(member);
    join(&beta, "beta", &invite()).fails(1, &["belongs to the cluster `neurath` already", "without `--join`"]);
    join(&new, "gamma", &expired(&alpha)).fails(1, &["has expired", "cluster invite"]);
    let short = alpha.command(["cluster", "invite", "--minutes", "0"]).output().unwrap();
    assert_eq!(short.status.code(), Some(2));
    let late = invite();
    drop(alpha);
    join(&new, "gamma", &late).fails(1, &["cannot be reached", "check that the node runs"]);
}
