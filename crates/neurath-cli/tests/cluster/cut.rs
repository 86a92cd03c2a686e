//! Connections that break while streams run: nothing is lost, all is in order and comes once (G1, G2), and no process
//! hears of it.

use std::net::TcpListener;

use crate::proxy::{Mode, Proxy};
use crate::world::{ALPHA, BETA, Cluster, GAMMA, Member, Stream, eventually};

/// An address of this machine at which nobody listens.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn streams_survive(mode: Mode, seed: u64) {
    let addresses: Vec<String> = (0..3).map(|_| free_address()).collect();
    let proxies: Vec<Proxy> = (seed..).zip(&addresses).map(|(seed, at)| Proxy::to(at.clone(), seed)).collect();
    let cluster = Cluster::reached_by(30_000, |node| {
        ["--listen", &addresses[node], "--advertise", &proxies[node].address].map(String::from).into()
    });
    let agents = [ALPHA, BETA, GAMMA].map(|node| cluster.agent(node));
    let echo = cluster.echo(ALPHA, &agents[ALPHA], BETA);
    let pairs = [(ALPHA, BETA), (BETA, ALPHA), (BETA, GAMMA), (GAMMA, ALPHA)];
    let streams = pairs.map(|(from, to)| Stream::start(&cluster, from, to));
    let open = || -> Vec<usize> { cluster.members.iter().map(Member::descriptors).collect() };
    let before = open();
    proxies.iter().for_each(|proxy| proxy.set(mode));
    for _ in 0..5 {
        for stream in &streams {
            stream.go(&cluster, 500, 300);
            stream.go(&cluster, 2, 60_000);
        }
    }
    let cuts = || proxies.iter().map(Proxy::cuts).sum::<u64>();
    eventually(&format!("connections to be cut, seed {seed}"), || {
        streams.iter().for_each(|stream| stream.go(&cluster, 50, 300));
        (cuts() >= 10).then_some(())
    });
    proxies.iter().for_each(|proxy| proxy.set(Mode::Pass));
    streams.iter().for_each(|stream| stream.arrives_whole(&cluster));
    eventually(&format!("{before:?} descriptors again, not {:?}", open()), || {
        open().iter().zip(&before).all(|(now, before)| *now <= before + 4).then_some(())
    });
    for (node, agent) in agents.iter().enumerate() {
        let events = cluster.members[node].events(agent);
        assert!(events.iter().all(|event| event.starts_with("node up")), "{mode:?}, seed {seed}: {events:?}");
    }
    assert_eq!(cluster.ask(ALPHA, &agents[ALPHA], &echo)["Ok"], 7);
    for member in &cluster.members {
        assert_eq!(member.json(["unconfirmed"])["count"], 0, "{mode:?}, seed {seed}: {}", member.name);
    }
}

#[test]
fn nothing_is_lost_when_connections_are_cut_at_any_byte() {
    streams_survive(Mode::Cut, 11);
}

#[test]
fn nothing_is_lost_when_connections_end_in_one_direction() {
    streams_survive(Mode::HalfClose, 12);
}
