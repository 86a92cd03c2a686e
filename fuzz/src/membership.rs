//! Packets of membership, from two peers in turns.

use neurath_kernel::membership::Member;
use neurath_kernel::{Membership, MembershipConfig, MembershipEffect};
use neurath_proto::id::{Incarnation, NodeId};

use crate::{piece, pieces};

const MS: u64 = 1_000_000;
const MEMBERS_MAX: usize = 16;
/// Packets of one input, and what each may make this node say.
const PACKETS_MAX: u64 = 64;
const EFFECTS_MAX: usize = 1_000;

fn member(node: u64) -> Member {
    let [name, address, version] = [format!("n{node}"), format!("host:{node}"), "0.1.0".to_owned()];
    Member { node: NodeId(node), incarnation: Incarnation(1), name, address, version }
}

fn membership(node: u64) -> Membership {
    let config = MembershipConfig { members_max: MEMBERS_MAX, ..MembershipConfig::default() };
    Membership::new(member(node), config, node)
}

pub(super) fn run(mut bytes: &[u8]) {
    let mut membership = membership(1);
    for peer in [2, 3] {
        membership.association_up(0, NodeId(peer), Incarnation(1));
    }
    for turn in 0..PACKETS_MAX {
        let Some((packet, rest)) = piece(bytes) else { break };
        bytes = rest;
        let now = turn * 700 * MS;
        let _ = membership.received(now, NodeId(2 + turn % 2), packet);
        settle(&mut membership);
    }
    for _ in 0..50 {
        let Some(deadline) = membership.next_deadline() else { break };
        membership.advance(deadline);
        settle(&mut membership);
    }
}

fn settle(membership: &mut Membership) {
    let mut effects = 0;
    while let Some(effect) = membership.poll_effect() {
        effects += 1;
        if let MembershipEffect::Send { to, bytes } = effect {
            assert!(to != NodeId(1) && bytes.len() <= MembershipConfig::default().packet_bytes_max);
        }
    }
    assert!(effects <= EFFECTS_MAX, "one packet had {effects} effects");
    assert!(membership.members().count() <= MEMBERS_MAX);
}

/// What two nodes really say to the first one.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut nodes = [1, 2, 3].map(membership);
    let mut packets: [Vec<Vec<u8>>; 4] = Default::default();
    for (index, node) in nodes.iter_mut().enumerate() {
        for peer in (1..=3).filter(|peer| *peer != index as u64 + 1) {
            node.association_up(0, NodeId(peer), Incarnation(1));
        }
    }
    for step in 1..300u64 {
        let now = step * 50 * MS;
        for index in 0..nodes.len() {
            nodes[index].advance(now);
            // After a while the third one says nothing more.
            let is_silent = index == 2 && step > 80;
            while let Some(effect) = nodes[index].poll_effect() {
                let MembershipEffect::Send { to, bytes } = effect else { continue };
                if is_silent {
                    continue;
                }
                if to == NodeId(1) {
                    packets[index + 1].push(bytes.clone());
                }
                let to = (to.0 - 1) as usize;
                let _ = nodes[to].received(now, NodeId(index as u64 + 1), &bytes);
            }
        }
    }
    let mut seeds: Vec<_> = packets[2].iter().map(|packet| pieces([&packet[..]])).take(12).collect();
    let both = packets[2].iter().zip(&packets[3]).take(12).flat_map(|(a, b)| [&a[..], &b[..]]);
    seeds.push(pieces(both));
    seeds
}
