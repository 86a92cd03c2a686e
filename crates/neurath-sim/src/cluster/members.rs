//! What a node's driver does for membership: packets go through sessions, and what it says of associations is done.
//!
//! Invariant: an association ends through its session only; membership hears of it from there, as everyone does.

use neurath_kernel::membership::{Member, MemberState, PacketError};
use neurath_kernel::session::{EndCause, SendError};
use neurath_kernel::{Membership, MembershipConfig, MembershipEffect, NodeMessage};
use neurath_proto::id::{Incarnation, NodeId};

use super::{Cluster, Event};
use crate::check::Side;
use crate::check::members::Roster;
use crate::network::MS;

/// Nodes that know no active member ask the first ones again after this.
const JOIN_AGAIN_NS: u64 = 5_000 * MS;
/// A node that leaves says so, and goes after this.
const LINGER_NS: u64 = 1_000 * MS;

/// A membership and for when it is to be woken.
pub(super) struct Driven {
    membership: Membership,
    wake: Option<u64>,
}

impl Cluster {
    /// All nodes have membership from now on.
    ///
    /// # Errors
    /// A promise was not kept.
    pub fn gossip(&mut self, config: MembershipConfig) -> Result<(), String> {
        self.gossip = Some(config);
        (0..self.nodes.len()).try_for_each(|node| self.begin_membership(node))
    }

    /// What a node says about itself.
    pub fn member_of(node: usize, life: u32, moved: u64) -> Member {
        Member {
            node: Self::id(node),
            incarnation: Incarnation(life),
            name: format!("node{node}"),
            address: format!("10.0.{moved}.{node}:4000"),
            version: format!("0.{life}.0"),
        }
    }

    pub(super) fn begin_membership(&mut self, node: usize) -> Result<(), String> {
        let Some(config) = self.gossip else { return Ok(()) };
        let life = self.nodes[node].life;
        let membership = Membership::new(Self::member_of(node, life, 0), config, self.rng.number());
        self.nodes[node].membership = Some(Driven { membership, wake: None });
        self.roster.began(node, life);
        self.join(node, life)
    }

    /// Asks the first nodes, and after its first life all that it may have met, until one has answered.
    pub(super) fn join(&mut self, node: usize, life: u32) -> Result<(), String> {
        let it = &self.nodes[node];
        let Some(driven) = it.membership.as_ref().filter(|_| it.alive && it.life == life) else { return Ok(()) };
        if driven.membership.members().any(|info| info.state.is_active()) {
            return Ok(());
        }
        self.schedule(self.now + JOIN_AGAIN_NS, Event::Join { node, life });
        let asked = if life == 1 { self.nodes.len().min(2) } else { self.nodes.len() };
        for other in (0..asked).filter(|other| *other != node) {
            self.with_membership(node, |membership, now| membership.announce(now, Self::id(other)))?;
        }
        Ok(())
    }

    pub(super) fn wake_membership(&mut self, node: usize, life: u32) -> Result<(), String> {
        let (now, it) = (self.now, &mut self.nodes[node]);
        match &mut it.membership {
            Some(driven) if it.life == life && driven.wake.is_some_and(|wake| wake <= now) => {
                driven.wake = None;
                self.with_membership(node, |membership, now| membership.advance(now))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn packet(&mut self, side: Side, packet: &[u8]) -> Result<(), String> {
        let mut result = Ok(());
        let peer = Self::id(side.peer);
        self.with_membership(side.node, |membership, now| result = membership.received(now, peer, packet))?;
        match result {
            Ok(()) => Ok(()),
            Err(error) if self.is_between_honest(side) => {
                Err(format!("{side:?}: an honest packet is refused: {error}"))
            }
            Err(PacketError::NoAssociation | PacketError::TooManyMembers) => Ok(()),
            // The peer's fault.
            Err(_) => self.end(side, EndCause::PeerMisbehaved),
        }
    }

    /// Gives a membership an input, and does what it then wants.
    pub(super) fn with_membership(
        &mut self,
        node: usize,
        input: impl FnOnce(&mut Membership, u64),
    ) -> Result<(), String> {
        let now = self.now;
        let life = self.nodes[node].life;
        let Some(driven) = &mut self.nodes[node].membership else { return Ok(()) };
        input(&mut driven.membership, now);
        while let Some(effect) = self.nodes[node].membership.as_mut().and_then(|driven| driven.membership.poll_effect())
        {
            self.membership_effect(node, life, effect)?;
        }
        // Who is down for membership is down for the session, and so for monitors and links, at once.
        while let Some((side, association)) = self.ending.pop_first() {
            if self.checker.open(side).is_some_and(|(open, _)| open == association) {
                return Err(format!("{side:?}: the peer is down, and {association:?} with it is open"));
            }
        }
        let Some(driven) = &mut self.nodes[node].membership else { return Ok(()) };
        if let Some(deadline) = driven.membership.next_deadline()
            && driven.wake.is_none_or(|wake| deadline < wake)
        {
            if deadline <= now {
                return Err(format!(
                    "membership of node {node} has something due at {deadline}, and was asked at {now}"
                ));
            }
            driven.wake = Some(deadline);
            self.schedule(deadline, Event::WakeMembership { node, life });
        }
        Ok(())
    }

    fn membership_effect(&mut self, node: usize, life: u32, effect: MembershipEffect) -> Result<(), String> {
        match effect {
            MembershipEffect::Send { to, bytes } => {
                let Some(peer) = self.number(to) else { return Ok(()) };
                let side = Side { node, life, peer };
                let now = self.now;
                let result = self.member(side).peer.post(now, NodeMessage::Gossip(&bytes).encode());
                self.with(side, |session, now| session.advance(now))?;
                match result {
                    // A packet that is not sent is as one that is lost.
                    Ok(()) | Err(SendError::Full { .. }) => Ok(()),
                    Err(SendError::TooLong { .. }) if !self.is_between_honest(side) => Ok(()),
                    Err(error) => Err(format!("{side:?}: a packet of membership was refused: {error:?}")),
                }
            }
            MembershipEffect::EndAssociation { node: peer, reason } => match self.number(peer) {
                Some(peer) => self.end(Side { node, life, peer }, reason.into()),
                None => Ok(()),
            },
            _ if self.is_hostile(node) => Ok(()),
            effect => {
                let Some(peer) = Roster::about(&effect).map(|peer| self.number(peer)) else {
                    self.roster.rejoined();
                    return Ok(());
                };
                // Who was made up, and what is said of a hostile node, is not followed.
                let Some(peer) = peer.filter(|peer| !self.is_hostile(*peer)) else { return Ok(()) };
                let side = Side { node, life, peer };
                let open = self.checker.open(side);
                self.roster.said(self.now, side, open.is_some(), &effect)?;
                if let (MembershipEffect::Down { member, .. }, Some((association, life))) = (&effect, open)
                    && member.incarnation.0 == life
                {
                    self.ending.insert((side, association));
                }
                Ok(())
            }
        }
    }

    /// The number of a node; `None` for one that was made up.
    pub(super) fn number(&self, id: NodeId) -> Option<usize> {
        (0..self.nodes.len()).find(|node| Self::id(*node) == id)
    }

    // ---- what happens to nodes ----

    /// A node says that it leaves, and ends its life a little later; another one begins after a while, or never.
    ///
    /// # Errors
    /// A promise was not kept.
    pub fn leave(&mut self, node: usize) -> Result<(), String> {
        let it = &self.nodes[node];
        if !it.alive || it.stopped {
            return Ok(());
        }
        let life = it.life;
        self.roster.left(node);
        self.with_membership(node, |membership, now| membership.leave(now))?;
        self.schedule(self.now + LINGER_NS, Event::Exit { node, life });
        Ok(())
    }

    pub(super) fn exit(&mut self, node: usize, life: u32) -> Result<(), String> {
        if !self.nodes[node].alive || self.nodes[node].life != life {
            return Ok(());
        }
        let peers: Vec<_> = self.nodes[node].sessions.keys().copied().collect();
        for peer in peers {
            self.end(Side { node, life, peer }, EndCause::Leaving)?;
        }
        self.crash(node, None);
        Ok(())
    }

    /// A node has a new address.
    ///
    /// # Errors
    /// A promise was not kept.
    pub fn moves(&mut self, node: usize, address: u64) -> Result<(), String> {
        let it = &self.nodes[node];
        if !it.alive || it.stopped {
            return Ok(());
        }
        let own = Self::member_of(node, it.life, address);
        self.with_membership(node, |membership, now| membership.set_own(now, own))
    }

    /// Begins another life of a node that has none.
    pub fn restart(&mut self, node: usize) {
        if !self.nodes[node].alive {
            self.schedule(self.now, Event::Restart(node));
        }
    }

    // ---- checks ----

    /// When all is quiet: all that live see each other alive, as they are, and nobody else.
    ///
    /// # Errors
    /// They do not.
    pub fn check_members(&self) -> Result<(), String> {
        let is_there = |node: usize| self.nodes[node].alive && !self.is_hostile(node) && !self.roster.has_left(node);
        for (node, it) in self.nodes.iter().enumerate().filter(|(node, _)| is_there(*node)) {
            let Some(driven) = &it.membership else { continue };
            let mut missing: Vec<usize> =
                (0..self.nodes.len()).filter(|peer| *peer != node && is_there(*peer)).collect();
            for info in driven.membership.members() {
                let Some(peer) = self.number(info.member.node).filter(|peer| !self.is_hostile(*peer)) else { continue };
                missing.retain(|missing| *missing != peer);
                let theirs = self.nodes[peer].membership.as_ref().map(|driven| driven.membership.own());
                let is_right = match theirs.filter(|_| is_there(peer)) {
                    Some(own) => info.state == MemberState::Alive && info.member == own,
                    None => !info.state.is_active(),
                };
                if !is_right {
                    return Err(format!("node {node} sees node {peer} as {info:?}"));
                }
            }
            if !missing.is_empty() {
                return Err(format!("node {node} does not know nodes {missing:?}"));
            }
        }
        Ok(())
    }

    /// Nobody who was there when a life ended holds it to be there, or has an association with it.
    ///
    /// # Errors
    /// Someone does.
    pub fn check_gone(&self, gone: usize, life: u32, ended_at: u64) -> Result<(), String> {
        for (node, it) in self.nodes.iter().enumerate() {
            if !it.alive || it.stopped || it.runs_since > ended_at || self.roster.has_left(node) {
                continue;
            }
            let Some(driven) = &it.membership else { continue };
            let held = driven.membership.members().find(|info| {
                info.member.node == Self::id(gone) && info.member.incarnation.0 == life && info.state.is_active()
            });
            if let Some(info) = held {
                return Err(format!("node {gone} ended its life {life} at {ended_at}, and node {node} has {info:?}"));
            }
        }
        Ok(())
    }
}
