//! Membership on shard 0: gossip goes to and from the sessions, and what is learned of nodes into the directory.
//!
//! It refuses to decide that a node is down: it asks for the end of an association, and only that end is told to processes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use neurath_kernel::NodeMessage;
use neurath_kernel::membership::{Member, MemberInfo, Membership, MembershipEffect, PacketError};
use neurath_kernel::session::EndCause;

use neurath_proto::{Incarnation, NodeId};

use super::Cluster;

/// How often those whose addresses are known are asked while nobody answers.
const ASK_NS: u64 = 2_000_000_000;

/// What membership wants of the node.
pub(crate) enum Wish {
    /// Send this to a node; encoded.
    Post(NodeId, Vec<u8>),
    /// End the association with a node.
    End(NodeId, EndCause),
    /// Processes may know this name of a node.
    Named(NodeId, String),
}

/// See the module.
pub(crate) struct Gossip {
    cluster: Arc<Cluster>,
    membership: Membership,
    /// Nodes with which there are associations.
    up: BTreeSet<NodeId>,
    /// If nobody answers by then, those whose addresses are known are asked again.
    ask_at: u64,
    wishes: VecDeque<Wish>,
}

impl Gossip {
    /// Knows nobody yet, and asks those whose addresses are known.
    pub(crate) fn new(cluster: Arc<Cluster>, incarnation: Incarnation, seed: u64, now: u64) -> Box<Self> {
        let own = Member {
            node: cluster.node,
            incarnation,
            name: cluster.name.clone(),
            address: cluster.address().unwrap_or_default().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let membership = Membership::new(own, cluster.membership, seed);
        let mut gossip = Self { cluster, membership, up: BTreeSet::new(), ask_at: now, wishes: VecDeque::new() };
        gossip.ask(now);
        Box::new(gossip)
    }

    /// There is an association with a node.
    pub(crate) fn up(&mut self, now: u64, node: NodeId, incarnation: Incarnation) {
        self.up.insert(node);
        self.membership.association_up(now, node, incarnation);
    }

    /// It has ended.
    pub(crate) fn down(&mut self, now: u64, node: NodeId) {
        if self.up.remove(&node) {
            self.membership.association_ended(now, node);
        }
    }

    /// A packet has come.
    pub(crate) fn received(&mut self, now: u64, from: NodeId, packet: &[u8]) {
        if let Err(error) = self.membership.received(now, from, packet) {
            tracing::warn!(%from, name = self.cluster.name_of(from), %error, "a packet of membership was refused");
            if !matches!(error, PacketError::NoAssociation | PacketError::TooManyMembers) {
                self.wishes.push_back(Wish::End(from, EndCause::PeerMisbehaved));
            }
        }
    }

    /// Moves the clock.
    pub(crate) fn advance(&mut self, now: u64) {
        self.membership.advance(now);
        self.ask(now);
    }

    /// Asks everyone whose address is known, while nobody answers.
    fn ask(&mut self, now: u64) {
        if now < self.ask_at {
            return;
        }
        self.ask_at = now.saturating_add(ASK_NS);
        if !self.membership.members().any(|member| member.state.is_active()) {
            for (node, _) in self.cluster.known() {
                self.membership.announce(now, node);
            }
        }
    }

    /// This node leaves: others need not wait for it.
    pub(crate) fn leave(&mut self, now: u64) {
        self.membership.leave(now);
    }

    /// When something is due next.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        [self.membership.next_deadline(), Some(self.ask_at)].into_iter().flatten().min()
    }

    /// This node and the others that are known.
    pub(crate) fn members(&self) -> (Member, Vec<MemberInfo>) {
        (self.membership.own(), self.membership.members().collect())
    }

    /// The next thing that is wanted.
    pub(crate) fn next_wish(&mut self) -> Option<Wish> {
        if let Some(wish) = self.wishes.pop_front() {
            return Some(wish);
        }
        loop {
            match self.membership.poll_effect()? {
                MembershipEffect::Send { to, bytes } => {
                    return Some(Wish::Post(to, NodeMessage::Gossip(&bytes).encode()));
                }
                MembershipEffect::EndAssociation { node, reason } => return Some(Wish::End(node, reason.into())),
                MembershipEffect::Up(member) | MembershipEffect::Changed(member) => {
                    tracing::info!(node = %member.node, name = member.name, "a member is up");
                    if self.cluster.learn(member.node, &member.name, &member.address) {
                        return Some(Wish::Named(member.node, member.name));
                    }
                }
                MembershipEffect::Down { member, reason } => {
                    tracing::info!(node = %member.node, name = member.name, ?reason, "a member is down");
                }
                MembershipEffect::Suspect(node) => {
                    tracing::info!(%node, name = self.cluster.name_of(node), "a member does not answer");
                }
                MembershipEffect::Refuted(node) => {
                    tracing::info!(%node, name = self.cluster.name_of(node), "a member answers again");
                }
                MembershipEffect::Rejoined => {
                    tracing::warn!("others held this node to be down; it has told them otherwise")
                }
            }
        }
    }
}
