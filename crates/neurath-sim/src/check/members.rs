//! What is promised of membership, checked word by word.
//!
//! It knows what really happened to nodes, and between which of them something was wrong. Invariants that it checks: a member
//! is up before it is anything else and down once after that; it is down only if it is, or if what was between it and the
//! one who says so was broken for as long as a suspicion may stay unrefuted; who has left or restarted really has.

use std::collections::{BTreeMap, BTreeSet};

use neurath_kernel::MembershipEffect;
use neurath_kernel::membership::DownReason;
use neurath_proto::id::NodeId;

use super::Side;

/// What nodes said of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberCounts {
    /// Members that were up.
    pub up: u64,
    /// That said something new about themselves.
    pub changed: u64,
    /// That were suspected.
    pub suspected: u64,
    /// That refuted it.
    pub refuted: u64,
    /// That were down because they did not.
    pub unreachable: u64,
    /// Among them those that lived.
    pub falsely: u64,
    /// That had left.
    pub left: u64,
    /// That had begun another life.
    pub restarted: u64,
    /// Nodes that heard that they were down, and were not.
    pub rejoined: u64,
}

impl MemberCounts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        let Self { up, changed, suspected, refuted, unreachable, falsely, left, restarted, rejoined } = *other;
        self.up += up;
        self.changed += changed;
        self.suspected += suspected;
        self.refuted += refuted;
        self.unreachable += unreachable;
        self.falsely += falsely;
        self.left += left;
        self.restarted += restarted;
        self.rejoined += rejoined;
    }
}

/// What really happened to a node.
#[derive(Default)]
struct Real {
    life: u32,
    /// When each of its lives ended.
    ended: BTreeMap<u32, u64>,
    /// The lives in which it said that it leaves.
    left: BTreeSet<u32>,
}

/// See the module. An error says what was promised and not kept.
#[derive(Default)]
pub struct Roster {
    /// How long a suspicion may stay unrefuted.
    pub suspect_to_down_ns: u64,
    nodes: BTreeMap<usize, Real>,
    /// For each pair, since when and until when something is wrong between them.
    trouble: BTreeMap<(usize, usize), (u64, u64)>,
    /// For each observer, the lives that are up.
    up: BTreeMap<(usize, usize), u32>,
    /// What nodes said.
    pub counts: MemberCounts,
}

impl Roster {
    // ---- what really happens ----

    /// A life begins.
    pub fn began(&mut self, node: usize, life: u32) {
        self.nodes.entry(node).or_default().life = life;
        self.up.retain(|(observer, _), _| *observer != node);
    }

    /// The present life ends.
    pub fn ended(&mut self, node: usize, now: u64) {
        if let Some(real) = self.nodes.get_mut(&node) {
            real.ended.insert(real.life, now);
        }
    }

    /// The present life says that it leaves.
    pub fn left(&mut self, node: usize) {
        if let Some(real) = self.nodes.get_mut(&node) {
            real.left.insert(real.life);
        }
    }

    /// Whether it has said so.
    pub fn has_left(&self, node: usize) -> bool {
        self.nodes.get(&node).is_some_and(|real| real.left.contains(&real.life))
    }

    /// Something is wrong between two nodes from now until then.
    pub fn trouble(&mut self, a: usize, b: usize, now: u64, until: u64) {
        let interval = self.trouble.entry((a.min(b), a.max(b))).or_insert((now, until));
        *interval = if now > interval.1 { (now, until) } else { (interval.0, interval.1.max(until)) };
    }

    // ---- what is said ----

    /// Whom an effect is about.
    pub fn about(effect: &MembershipEffect) -> Option<NodeId> {
        match effect {
            MembershipEffect::Up(member)
            | MembershipEffect::Changed(member)
            | MembershipEffect::Down { member, .. } => Some(member.node),
            MembershipEffect::Send { to: node, .. }
            | MembershipEffect::Suspect(node)
            | MembershipEffect::Refuted(node)
            | MembershipEffect::EndAssociation { node, .. } => Some(*node),
            MembershipEffect::Rejoined => None,
        }
    }

    /// A node was told that it was held to be down.
    pub fn rejoined(&mut self) {
        self.counts.rejoined += 1;
    }

    /// One node says something of another, with which it has an association or not.
    ///
    /// # Errors
    /// It should not.
    pub fn said(&mut self, now: u64, side: Side, is_open: bool, effect: &MembershipEffect) -> Result<(), String> {
        let Side { node, peer, .. } = side;
        let up = self.up.get(&(node, peer)).copied();
        let says = |what: &str| Err(format!("{side:?} says {effect:?}: {what}"));
        match effect {
            MembershipEffect::Up(member) => {
                if up.is_some() {
                    return says("that is up already");
                }
                if self.nodes.get(&peer).is_none_or(|real| real.life < member.incarnation.0) {
                    return says("there was no such life");
                }
                self.up.insert((node, peer), member.incarnation.0);
                self.counts.up += 1;
            }
            MembershipEffect::Down { member, reason } => {
                if up != Some(member.incarnation.0) {
                    return says("that was not up");
                }
                self.up.remove(&(node, peer));
                if let Err(what) = self.judge(now, side, is_open, member.incarnation.0, *reason) {
                    return says(&what);
                }
            }
            MembershipEffect::Changed(member) if up == Some(member.incarnation.0) => self.counts.changed += 1,
            MembershipEffect::Suspect(_) if up.is_some() => self.counts.suspected += 1,
            MembershipEffect::Refuted(_) if up.is_some() => self.counts.refuted += 1,
            _ => return says("that is not up"),
        }
        Ok(())
    }

    /// Whether there is a reason for a member to be down.
    fn judge(&mut self, now: u64, side: Side, is_open: bool, life: u32, reason: DownReason) -> Result<(), String> {
        let Side { node, peer, .. } = side;
        let Some(real) = self.nodes.get(&peer) else { return Err("there is no such node".into()) };
        let ended_at = real.ended.get(&life).copied();
        match reason {
            DownReason::Left if real.left.contains(&life) => {
                self.counts.left += 1;
                return Ok(());
            }
            DownReason::Restarted if real.life > life => {
                self.counts.restarted += 1;
                return Ok(());
            }
            DownReason::Left | DownReason::Restarted => return Err("it did not".into()),
            DownReason::Unreachable => {}
        }
        self.counts.unreachable += 1;
        self.counts.falsely += u64::from(ended_at.is_none());
        // With an association it is this node's own suspicion; without one another's word is enough.
        let concerns = |(a, b): (usize, usize)| {
            if is_open { (a, b) == (node.min(peer), node.max(peer)) } else { a == peer || b == peer }
        };
        let long_enough = |since: u64| since.saturating_add(self.suspect_to_down_ns) <= now;
        let troubled = self
            .trouble
            .iter()
            .filter(|(pair, _)| concerns(**pair))
            .any(|(_, (since, until))| long_enough(*since) && (ended_at.is_some() || now <= *until));
        if troubled || ended_at.is_some_and(long_enough) || real.left.contains(&life) {
            return Ok(());
        }
        let known: Vec<_> = self.trouble.iter().filter(|(pair, _)| concerns(**pair)).collect();
        Err(format!("at {now} nothing was wrong for so long; it ended at {ended_at:?}, trouble: {known:?}"))
    }
}
