//! What membership promises, on a network that only the test breaks. Whole clusters with sessions are in `neurath-sim`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use super::*;

const MS: u64 = 1_000_000;

struct Node {
    membership: Membership,
    effects: Vec<MembershipEffect>,
    stopped: bool,
}

/// Nodes whose packets arrive after a millisecond, but between those that are cut.
struct Cluster {
    now: u64,
    config: MembershipConfig,
    nodes: BTreeMap<u64, Node>,
    cut: BTreeSet<(u64, u64)>,
    on_the_way: Vec<(u64, u64, u64, Vec<u8>)>,
}

fn member(node: u64, incarnation: u32) -> Member {
    Member {
        node: NodeId(node),
        incarnation: Incarnation(incarnation),
        name: format!("n{node}"),
        address: format!("10.0.0.{node}:4000"),
        version: "0.1.0".to_string(),
    }
}

impl Cluster {
    /// All have associations with all; each knows the first only.
    fn new(nodes: u64) -> Self {
        let config = MembershipConfig { suspect_to_down_ns: 5_000 * MS, ..MembershipConfig::default() };
        let mut cluster = Self { now: 0, config, nodes: BTreeMap::new(), cut: BTreeSet::new(), on_the_way: vec![] };
        for node in 1..=nodes {
            cluster.start(node, 1);
        }
        cluster
    }

    fn start(&mut self, node: u64, incarnation: u32) {
        let mut membership = Membership::new(member(node, incarnation), self.config, node);
        for (peer, other) in &mut self.nodes {
            let life = other.membership.own().incarnation;
            membership.associations.insert(NodeId(*peer), life);
            other.membership.associations.insert(NodeId(node), Incarnation(incarnation));
        }
        if node != 1 {
            membership.announce(self.now, NodeId(1));
        }
        self.nodes.insert(node, Node { membership, effects: vec![], stopped: false });
        self.collect();
    }

    fn at(&mut self, node: u64) -> &mut Membership {
        &mut self.nodes.get_mut(&node).expect("it was started").membership
    }

    fn cut(&mut self, node: u64) {
        let others: Vec<_> = self.nodes.keys().copied().collect();
        self.cut.extend(others.iter().flat_map(|other| [(node, *other), (*other, node)]));
    }

    fn end(&mut self, a: u64, b: u64) {
        let now = self.now;
        self.at(a).association_ended(now, NodeId(b));
        self.at(b).association_ended(now, NodeId(a));
    }

    fn meet(&mut self, a: u64, b: u64) {
        let now = self.now;
        for (a, b) in [(a, b), (b, a)] {
            let life = self.at(b).own().incarnation;
            self.at(a).association_up(now, NodeId(b), life);
        }
        self.collect();
    }

    fn collect(&mut self) {
        for (from, node) in &mut self.nodes {
            while let Some(effect) = node.membership.poll_effect() {
                match effect {
                    MembershipEffect::Send { to, bytes } => {
                        self.on_the_way.push((self.now + MS, *from, to.0, bytes));
                    }
                    effect => node.effects.push(effect),
                }
            }
        }
    }

    fn run(&mut self, ms: u64) {
        let until = self.now + ms * MS;
        while self.now < until {
            self.now += MS;
            let (arrived, later) =
                core::mem::take(&mut self.on_the_way).into_iter().partition(|(at, ..)| *at <= self.now);
            self.on_the_way = later;
            for (at, from, to, bytes) in arrived {
                match self.nodes.get_mut(&to) {
                    _ if self.cut.contains(&(from, to)) => {}
                    Some(node) if node.stopped => self.on_the_way.push((at + MS, from, to, bytes)),
                    Some(node) if node.membership.associations.contains_key(&NodeId(from)) => {
                        node.membership.received(self.now, NodeId(from), &bytes).expect("an honest packet");
                    }
                    _ => {}
                }
            }
            for node in self.nodes.values_mut().filter(|node| !node.stopped) {
                if node.membership.next_deadline().is_some_and(|at| at <= self.now) {
                    node.membership.advance(self.now);
                }
            }
            self.collect();
        }
    }

    fn states(&self, node: u64) -> Vec<(u64, MemberState)> {
        self.nodes[&node].membership.members().map(|info| (info.member.node.0, info.state)).collect()
    }

    fn downs(&self, node: u64) -> Vec<(u64, DownReason)> {
        let effects = self.nodes[&node].effects.iter();
        effects
            .filter_map(|effect| match effect {
                MembershipEffect::Down { member, reason } => Some((member.node.0, *reason)),
                _ => None,
            })
            .collect()
    }

    fn says(&self, node: u64, effect: &MembershipEffect) -> bool {
        self.nodes[&node].effects.contains(effect)
    }
}

use MemberState::{Alive, Down, Left, Suspect};

fn ending(node: u64, reason: DownReason) -> MembershipEffect {
    MembershipEffect::EndAssociation { node: NodeId(node), reason }
}

#[test]
fn who_announces_itself_to_one_is_known_to_all_and_knows_all() {
    let mut cluster = Cluster::new(5);
    cluster.run(5_000);
    for node in 1..=5 {
        let expected: Vec<_> = (1..=5).filter(|other| *other != node).map(|other| (other, Alive)).collect();
        assert_eq!(cluster.states(node), expected, "at node {node}");
        assert!(cluster.nodes[&node].membership.members().all(|info| info.member == member(info.member.node.0, 1)));
    }
}

#[test]
fn a_silent_member_is_suspect_and_down_no_earlier_than_it_may_take_to_refute_it() {
    let mut cluster = Cluster::new(4);
    cluster.run(5_000);
    cluster.cut(4);
    let cut_at = cluster.now;
    cluster.run(5_000);
    for node in 1..=3 {
        assert!(cluster.states(node).contains(&(4, Suspect)), "at node {node}: {:?}", cluster.states(node));
    }
    cluster.run(10_000);
    for node in 1..=3 {
        assert_eq!(cluster.downs(node), [(4, DownReason::Unreachable)], "at node {node}");
        assert!(cluster.says(node, &ending(4, DownReason::Unreachable)), "at node {node}");
        let down = cluster.nodes[&node].membership.members().find(|info| info.state == Down).expect("one is");
        assert!(down.since >= cut_at + 5_000 * MS, "{down:?}");
    }
}

#[test]
fn a_member_that_pauses_for_less_refutes_and_one_that_pauses_for_longer_rejoins() {
    let mut cluster = Cluster::new(4);
    cluster.run(5_000);
    for (pause_ms, downs) in [(3_500, 0), (20_000, 3)] {
        cluster.nodes.get_mut(&4).expect("it was started").stopped = true;
        cluster.run(pause_ms);
        cluster.nodes.get_mut(&4).expect("it was started").stopped = false;
        cluster.run(20_000);
        let seen: usize = (1..=3).map(|node| cluster.downs(node).len()).sum();
        assert_eq!(seen, downs, "after a pause of {pause_ms} ms");
        assert_eq!(cluster.downs(4), [], "it does not hold the others to be down for its own pause");
        assert_eq!(cluster.says(4, &MembershipEffect::Rejoined), downs > 0);
        for node in 1..=4 {
            assert!(cluster.states(node).iter().all(|(_, state)| *state == Alive), "{:?}", cluster.states(node));
        }
    }
}

#[test]
fn what_a_node_thought_while_it_was_alone_ends_nothing_between_others() {
    let mut cluster = Cluster::new(4);
    cluster.run(5_000);
    cluster.cut(4);
    cluster.run(20_000);
    assert_eq!(cluster.downs(4).len(), 3, "alone it holds all others to be down");
    cluster.cut.clear();
    for node in 1..=3 {
        cluster.end(node, 4);
        cluster.meet(node, 4);
    }
    cluster.run(20_000);
    for node in 1..=4 {
        assert!(cluster.states(node).iter().all(|(_, state)| *state == Alive), "{:?}", cluster.states(node));
        assert!(node == 4 || cluster.downs(node) == [(4, DownReason::Unreachable)], "{:?}", cluster.downs(node));
    }
}

#[test]
fn a_new_life_supersedes_the_old_one_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.run(5_000);
    cluster.start(3, 2);
    cluster.run(2_000);
    for node in 1..=2 {
        assert_eq!(cluster.downs(node), [(3, DownReason::Restarted)], "at node {node}");
        assert!(cluster.says(node, &MembershipEffect::Up(member(3, 2))), "at node {node}");
        // The association is with the new life already, and has nothing to do with the end of the old one.
        assert!(!cluster.says(node, &ending(3, DownReason::Restarted)), "at node {node}");
    }
}

#[test]
fn who_leaves_has_left_everywhere_and_stays_so() {
    let mut cluster = Cluster::new(5);
    cluster.run(5_000);
    let now = cluster.now;
    cluster.at(5).leave(now);
    cluster.collect();
    cluster.run(30_000);
    for node in 1..=4 {
        assert!(cluster.states(node).contains(&(5, Left)), "at node {node}: {:?}", cluster.states(node));
        assert_eq!(cluster.downs(node), [(5, DownReason::Left)], "at node {node}");
        assert!(cluster.says(node, &ending(5, DownReason::Left)), "at node {node}");
    }
    assert_eq!(cluster.at(5).next_deadline(), None);
}

#[test]
fn a_new_address_is_known_everywhere_and_nobody_was_down() {
    let mut cluster = Cluster::new(5);
    cluster.run(5_000);
    let moved = Member { address: "10.9.9.9:1".to_string(), ..member(2, 1) };
    let now = cluster.now;
    cluster.at(2).set_own(now, moved.clone());
    cluster.collect();
    cluster.run(20_000);
    for node in [1, 3, 4, 5] {
        assert!(cluster.says(node, &MembershipEffect::Changed(moved.clone())), "at node {node}");
        assert_eq!(cluster.downs(node), [], "at node {node}");
    }
}

#[test]
fn two_who_lost_each_other_find_each_other_again() {
    let mut cluster = Cluster::new(2);
    cluster.run(2_000);
    cluster.cut(2);
    cluster.run(20_000);
    assert_eq!((cluster.states(1), cluster.states(2)), (vec![(2, Down)], vec![(1, Down)]));
    cluster.cut.clear();
    cluster.run(60_000);
    assert_eq!((cluster.states(1), cluster.states(2)), (vec![(2, Alive)], vec![(1, Alive)]));
}

#[test]
fn the_dead_are_forgotten_in_time() {
    let mut cluster = Cluster::new(3);
    cluster.run(2_000);
    cluster.cut(3);
    cluster.run(15_000);
    let now = cluster.now + cluster.config.forget_down_ns;
    cluster.at(1).now = now;
    cluster.at(1).behind = cluster.config.forget_down_ns;
    cluster.now = now;
    cluster.run(20_000);
    assert_eq!(cluster.states(1), [(2, Alive)]);
}

// ---- what peers say ----

fn identity(node: u64, incarnation: u32, generation: u32) -> Identity {
    Identity::new(member(node, incarnation), generation)
}

fn packet(src: Identity, dst: Identity, news: Vec<foca::Member<Identity>>) -> Vec<u8> {
    let header = foca::Header { src, src_incarnation: 0, dst, message: Message::Gossip };
    Packet { header, news: Some(news) }.encode(1 << 20).expect("it is short")
}

#[test]
fn a_packet_speaks_only_for_its_sender() {
    let mut cluster = Cluster::new(3);
    cluster.run(2_000);
    let (own, now) = (identity(1, 1, 0), cluster.now);
    let refused = |cluster: &mut Cluster, from: u64, bytes: &[u8]| {
        let before = cluster.states(1);
        let error = cluster.at(1).received(now, NodeId(from), bytes).expect_err("it is a lie");
        assert_eq!((cluster.states(1), cluster.at(1).poll_effect()), (before, None));
        error
    };
    let wrong =
        |node, incarnation| PacketError::NotTheSender { found: NodeId(node), incarnation: Incarnation(incarnation) };
    assert_eq!(refused(&mut cluster, 2, &packet(identity(3, 1, 0), own.clone(), vec![])), wrong(3, 1));
    assert_eq!(refused(&mut cluster, 2, &packet(identity(2, 9, 0), own.clone(), vec![])), wrong(2, 9));
    assert_eq!(refused(&mut cluster, 2, &packet(own.clone(), own.clone(), vec![])), wrong(1, 1));
    let of_us = foca::Member::down(identity(1, 1, 7));
    let lie = packet(identity(2, 1, 0), own.clone(), vec![of_us]);
    assert_eq!(refused(&mut cluster, 2, &lie), PacketError::ClaimsOurs);
    let honest = packet(identity(2, 1, 0), own.clone(), vec![]);
    assert_eq!(refused(&mut cluster, 7, &honest), PacketError::NoAssociation);
    let long = Member { name: "x".repeat(65), ..member(2, 1) };
    assert_eq!(refused(&mut cluster, 2, &packet(Identity::new(long, 0), own, vec![])), PacketError::TextTooLong);
    assert_eq!(refused(&mut cluster, 2, &[0; 8193]), PacketError::TooLong { bytes: 8193 });
}

#[test]
fn of_a_peer_only_the_peer_says_who_it_is_and_others_can_make_it_suspect_only() {
    let mut cluster = Cluster::new(3);
    cluster.run(2_000);
    let now = cluster.now;
    let lies = [
        foca::Member::down(identity(3, 1, 0)),
        foca::Member::alive(identity(3, 1, 5)),
        foca::Member::down(identity(3, 2, 0)),
    ];
    let bytes = packet(identity(2, 1, 0), identity(1, 1, 0), lies.to_vec());
    cluster.at(1).received(now, NodeId(2), &bytes).expect("it is a packet");
    assert_eq!(cluster.states(1), [(2, Alive), (3, Suspect)]);
    cluster.collect();
    cluster.run(8_000);
    assert_eq!(cluster.states(1), [(2, Alive), (3, Alive)]);
    assert_eq!(cluster.downs(1), []);
    // Without an association there is nothing to end, and it is believed; the peer itself then sets it right.
    let now = cluster.now;
    cluster.end(1, 3);
    cluster.at(1).received(now, NodeId(2), &bytes).expect("it is a packet");
    cluster.collect();
    assert_eq!(cluster.downs(1), [(3, DownReason::Restarted)]);
    cluster.meet(1, 3);
    cluster.run(10_000);
    assert_eq!(cluster.states(1), [(2, Alive), (3, Alive)]);
    assert!(!cluster.says(1, &ending(3, DownReason::Restarted)));
}

#[test]
fn a_suspect_hears_of_it_with_whatever_it_is_sent() {
    let mut cluster = Cluster::new(3);
    cluster.run(2_000);
    let now = cluster.now;
    let lie = packet(identity(2, 1, 0), identity(1, 1, 0), vec![foca::Member::down(identity(3, 1, 0))]);
    cluster.at(1).received(now, NodeId(2), &lie).expect("it is a packet");
    // News is passed on so often and no more; the suspect is told all the same.
    let gossip = packet(identity(1, 1, 0), identity(3, 1, 0), vec![]);
    let told = cluster.at(1).tell_suspect(NodeId(3), gossip.clone());
    let news = Packet::decode(&told, 8192).expect("it is a packet").news.expect("it has a place for news");
    assert_eq!(news, [foca::Member::new(identity(3, 1, 0), 0, State::Suspect)]);
    assert_eq!(cluster.at(1).tell_suspect(NodeId(2), gossip.clone()), gossip);
}

#[test]
fn members_that_are_made_up_are_bounded() {
    let mut cluster = Cluster::new(2);
    cluster.run(2_000);
    let now = cluster.now;
    for first in 0..100 {
        let news = (0..50).map(|n| foca::Member::alive(identity(100 + first * 50 + n, 1, 0))).collect();
        let bytes = packet(identity(2, 1, 0), identity(1, 1, 0), news);
        cluster.at(1).received(now, NodeId(2), &bytes).expect("it is a packet");
    }
    let limit = cluster.config.members_max;
    assert_eq!(cluster.at(1).members().count(), limit);
    assert!(cluster.at(1).foca.iter_membership_state().len() <= limit);
    cluster.at(1).associations.insert(NodeId(99), Incarnation(1));
    let bytes = packet(identity(99, 1, 0), identity(1, 1, 0), vec![]);
    assert_eq!(cluster.at(1).received(now, NodeId(99), &bytes), Err(PacketError::TooManyMembers));
}

#[test]
fn hostile_packets_end_in_errors_and_never_in_panics() {
    let mut cluster = Cluster::new(3);
    cluster.run(2_000);
    let news = vec![foca::Member::alive(identity(3, 1, 0)), foca::Member::down(identity(4, 1, 0))];
    let good = packet(identity(2, 1, 0), identity(1, 1, 0), news);
    let now = cluster.now;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    for cut in 0..good.len() {
        let whole = Packet::decode(&good[..cut], 8192).is_ok_and(|packet| packet.news.is_some());
        assert!(!whole, "cut at {cut}");
    }
    for round in 0..200_000u64 {
        use rand_xoshiro::rand_core::Rng;
        let mut bytes = good.clone();
        for _ in 0..=rng.next_u32() % 4 {
            let at = rng.next_u32() as usize % bytes.len();
            bytes[at] = rng.next_u32() as u8;
        }
        let _ = cluster.at(1).received(now + round * MS, NodeId(2), &bytes);
        while cluster.at(1).poll_effect().is_some() {}
    }
}

#[test]
fn packets_have_golden_bytes() {
    let bytes = packet(identity(2, 1, 0), identity(1, 1, 300), vec![foca::Member::down(identity(3, 1, 0))]);
    let golden = "02010000026e320d31302e302e302e323a3430303005302e312e30000101ac0200026e310d31302e302e302e313a3430303005302e31\
                  2e3008000103010000026e330d31302e302e302e333a3430303005302e312e300002";
    let hex: alloc::string::String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden);
}
