//! Strangers at a node of a cluster: they learn nothing, cost little, and disturb nobody.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Outcome, neurath};
use crate::world::{ALPHA, BETA, Cluster, Member, PATIENCE, eventually};

/// Connections that say nothing, or not enough.
const CROWD: usize = 10_000;
/// A node may keep so much because of strangers: buffers, and what its allocator does not give back.
const GROWTH_MAX: u64 = 48 << 20;
/// Lines that a node may tell because of them, in the time that this takes.
const LINES_MAX: usize = 40;

fn connect(address: &str) -> TcpStream {
    eventually("a place in the queue of the listener", || TcpStream::connect(address).ok())
}

/// What strangers say: other protocols, beginnings, lies about lengths, and noise from a seed.
fn sayings() -> Vec<Vec<u8>> {
    let mut noise = Vec::new();
    let mut x = 42_u64;
    for _ in 0..512 {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend(x.to_le_bytes());
    }
    let preamble = |version: u8| [&b"NRNT"[..], &[version, 0, 0, 0], &[7; 16]].concat();
    vec![
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        noise,
        b"\x16\x03\x01\xff\xff\x01\xff\xff\xff".to_vec(),
        b"\x16\x03\x01\x00\x05\x01\x00".to_vec(),
        preamble(1),
        preamble(200),
        [preamble(1), vec![0xff; 100_000]].concat(),
        b"NRN".to_vec(),
    ]
}

/// Says all of that, again and again; each time the node ends the connection.
fn talk_nonsense(address: &str) {
    for round in 0..40 {
        for (number, saying) in sayings().into_iter().enumerate() {
            let mut stream = connect(address);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // The node may have refused before the end.
            let _ = stream.write_all(&saying).and_then(|()| stream.shutdown(Shutdown::Write));
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            assert!(heard.len() < 2048, "round {round}, saying {number}: it heard {} bytes", heard.len());
        }
    }
}

/// Holds as many connections as the system allows, up to a crowd.
fn crowd(address: &str, mut at: impl FnMut(usize)) {
    let allowed = rlimit::increase_nofile_limit(rlimit::INFINITY).unwrap() as usize;
    let count = CROWD.min(allowed.saturating_sub(1024));
    if count < CROWD {
        eprintln!("only {count} half-open connections: the system allows {allowed} descriptors");
    }
    let mut streams = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = connect(address);
        if number % 2 == 0 {
            // The node may have closed it for a later one.
            let _ = stream.write_all(b"\x16\x03\x01\x02");
        }
        streams.push(stream);
        at(number);
    }
}

/// What strangers cost a node, and whether another member notices.
fn attack(node: &Member, other: &Member, works: impl Fn()) {
    works();
    let (bytes, lines) = (node.resident_bytes(), node.log().lines().count());
    talk_nonsense(&node.address);
    works();
    crowd(&node.address, |number| {
        if number % 2000 == 1999 {
            let begun = Instant::now();
            works();
            assert!(begun.elapsed() < Duration::from_secs(5), "after {number}: {:?}", begun.elapsed());
            let latency = other.view_of(&node.name).unwrap()["latency_us"].as_u64();
            assert!(latency.is_some_and(|us| us < 500_000), "after {number}: {latency:?}");
        }
    });
    works();
    let grown = node.resident_bytes().saturating_sub(bytes);
    assert!(grown < GROWTH_MAX, "the node has grown by {grown} bytes");
    let told = node.log().lines().count() - lines;
    assert!((1..LINES_MAX).contains(&told), "the node told {told} lines:\n{}", node.log());
    assert!(node.is_connected_with(&other.name) && other.is_connected_with(&node.name));
}

#[test]
fn strangers_at_a_node_with_tls_cost_little_and_disturb_no_member() {
    let cluster = Cluster::with_grace(30_000);
    let agent = cluster.agent(BETA);
    let echo = cluster.echo(BETA, &agent, ALPHA);
    attack(&cluster.members[ALPHA], &cluster.members[BETA], || {
        assert_eq!(cluster.ask(BETA, &agent, &echo), json!({"Ok": 7}));
    });
    assert!(cluster.members[BETA].events(&agent).iter().all(|event| event.starts_with("node up")));
}

#[test]
fn strangers_at_a_node_without_tls_cost_little_and_disturb_no_member() {
    let dir = tempfile::tempdir().unwrap();
    let plain = |name: &'static str, rest: &[&str]| {
        let arguments = ["--listen", "127.0.0.1:0", "--insecure-plain-tcp-on-loopback", "--name", name];
        Member::start(&dir.path().join(name), name, &[&arguments, rest].concat())
    };
    let alpha = plain("alpha", &[]);
    let beta = plain("beta", &["--insecure-peer", &format!("{}@{}", alpha.id(), alpha.address)]);
    for (one, other) in [(&alpha, "beta"), (&beta, "alpha")] {
        eventually("the two to be connected", || one.is_connected_with(other).then_some(()));
    }
    let is_there = || assert!(beta.view_of("alpha").unwrap()["latency_us"].is_u64());
    attack(&alpha, &beta, is_there);
}

#[test]
fn a_node_of_another_cluster_is_not_spoken_to_and_is_told_why() {
    let cluster = Cluster::with_grace(30_000);
    let alpha = &cluster.members[ALPHA];
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("delta");
    Outcome::of(neurath().args(["cluster", "init", "--name", "other", "--node", "delta", "--data"]).arg(&data)).ok();
    // It has learned where the others are.
    let peers = json!([{"node": alpha.id(), "name": "alpha", "address": alpha.address}]);
    std::fs::write(data.join("cluster/peers.json"), peers.to_string()).unwrap();
    let delta = Member::start(&data, "delta", &["--listen", "127.0.0.1:0"]);
    let failure = eventually("delta to be refused", || Some(delta.view_of("alpha")?["failure"].as_str()?.to_owned()));
    assert!(failure.contains("do not accept each other"), "{failure}");
    assert!(delta.run(["nodes"]).ok().contains("do not accept each other"));
    let nodes = alpha.json(["nodes"]);
    let names: Vec<&Value> = nodes["nodes"].as_array().unwrap().iter().map(|node| &node["name"]).collect();
    assert!(!names.contains(&&json!("delta")), "{nodes}");
    eventually("alpha to tell of it", || alpha.log().contains("a connection was refused").then_some(()));
}
