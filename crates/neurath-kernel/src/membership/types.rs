//! What membership is told, what it says, and why it refuses.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use neurath_proto::id::{Incarnation, NodeId};

use crate::session::EndCause;

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// What people call it: at most [`Member::NAME_BYTES_MAX`].
    pub name: String,
    /// Where it can be reached: at most [`Member::ADDRESS_BYTES_MAX`].
    pub address: String,
    /// The release that it runs: at most [`Member::VERSION_BYTES_MAX`].
    pub version: String,
}

impl Member {
    /// The longest name.
    pub const NAME_BYTES_MAX: usize = 64;
    /// The longest address.
    pub const ADDRESS_BYTES_MAX: usize = 256;
    /// The longest release.
    pub const VERSION_BYTES_MAX: usize = 32;
}

/// How this node sees another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// Someone had no answer from it; it may still refute that.
    Suspect,
    /// It did not refute it in time.
    Down,
    /// It said that it leaves.
    Left,
}

impl MemberState {
    /// Whether it counts as a member: [`MemberState::Alive`] or [`MemberState::Suspect`].
    pub fn is_active(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// One line of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// What it last said about itself.
    pub member: Member,
    /// How it is seen.
    pub state: MemberState,
    /// Since when.
    pub since: u64,
}

/// Times and limits of membership.
#[derive(Clone, Copy, Debug)]
pub struct MembershipConfig {
    /// How often another member is asked whether it is there. They take turns, so with `n` members each has its turn within
    /// `2 n` of these.
    pub probe_period_ns: u64,
    /// How long the one asked may take before others are asked to ask it; less than half of `probe_period_ns`.
    pub probe_timeout_ns: u64,
    /// How many others are asked to ask it.
    pub indirect_probes: usize,
    /// How long a suspicion may stay unrefuted before the member is down; no less than a session's grace time, so that no
    /// association ends before that.
    pub suspect_to_down_ns: u64,
    /// How often news is passed on.
    pub gossip_ns: u64,
    /// To how many.
    pub gossip_members: usize,
    /// How often a piece of news is passed on.
    pub transmissions_max: u8,
    /// How often a member is asked for the others that it knows.
    pub announce_ns: u64,
    /// How often one that is down is tried again.
    pub announce_down_ns: u64,
    /// After how long one that is down, or has left, is forgotten.
    pub forget_down_ns: u64,
    /// Others that are known, whatever their state; beyond that new ones are not taken.
    pub members_max: usize,
    /// The longest packet, in and out.
    pub packet_bytes_max: usize,
}

impl Default for MembershipConfig {
    fn default() -> Self {
        const MS: u64 = 1_000_000;
        Self {
            probe_period_ns: 1_000 * MS,
            probe_timeout_ns: 400 * MS,
            indirect_probes: 3,
            suspect_to_down_ns: 30_000 * MS,
            gossip_ns: 300 * MS,
            gossip_members: 3,
            transmissions_max: 10,
            announce_ns: 30_000 * MS,
            announce_down_ns: 15_000 * MS,
            forget_down_ns: 3_600_000 * MS,
            members_max: 1024,
            packet_bytes_max: 8 << 10,
        }
    }
}

/// What membership wants done or has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipEffect {
    /// Send this to the node, through its session.
    Send {
        /// To whom.
        to: NodeId,
        /// A packet for its [`super::Membership::received`].
        bytes: Vec<u8>,
    },
    /// End the association with this peer (`Session::end`). What its end brings about, monitors and links, comes from the
    /// session's `Ended` and from nowhere else.
    EndAssociation {
        /// Which.
        node: NodeId,
        /// Why it is a member no more.
        reason: DownReason,
    },
    /// There is a member.
    Up(Member),
    /// It says something new about itself, in the same life.
    Changed(Member),
    /// Someone had no answer from it.
    Suspect(NodeId),
    /// It refuted that.
    Refuted(NodeId),
    /// It is a member no more. Once for each that was up.
    Down {
        /// What was known of it.
        member: Member,
        /// Why.
        reason: DownReason,
    },
    /// Others held this node to be down; it has told them that it is not. From their side it was, so they have ended their
    /// associations with it.
    Rejoined,
}

/// Why a member is one no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// It did not refute a suspicion in time.
    Unreachable,
    /// It said so.
    Left,
    /// It has begun another life.
    Restarted,
}

impl From<DownReason> for EndCause {
    fn from(reason: DownReason) -> Self {
        match reason {
            DownReason::Unreachable => Self::PeerDown,
            DownReason::Left => Self::PeerLeft,
            DownReason::Restarted => Self::PeerRestarted,
        }
    }
}

/// Why a packet was refused. Nothing has changed. All but [`PacketError::TooManyMembers`] and
/// [`PacketError::NoAssociation`] are the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// It is longer than packets are.
    TooLong {
        /// So long.
        bytes: usize,
    },
    /// The bytes are no packet.
    Malformed,
    /// A name, an address or a release is longer than those are.
    TextTooLong,
    /// It speaks for another node, or another life, than that which the session has proved.
    NotTheSender {
        /// For this one.
        found: NodeId,
        /// And this life.
        incarnation: Incarnation,
    },
    /// It says about this node what only this node could have said first.
    ClaimsOurs,
    /// There is no association with the sender: a packet can come only through one.
    NoAssociation,
    /// The sender is new, and so many are known already.
    TooManyMembers,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(f, "a membership packet of {bytes} bytes is longer than those are"),
            Self::Malformed => f.write_str("the bytes are no membership packet"),
            Self::TextTooLong => f.write_str("a name, address or release in a membership packet is too long"),
            Self::NotTheSender { found, incarnation } => {
                write!(
                    f,
                    "the packet speaks for node {found} in its incarnation {}, who did not send it",
                    incarnation.0
                )
            }
            Self::ClaimsOurs => f.write_str("the packet says about this node what it has never said"),
            Self::NoAssociation => f.write_str("there is no association with the sender of the packet"),
            Self::TooManyMembers => f.write_str("the sender is new, and there are as many members as this node takes"),
        }
    }
}

impl core::error::Error for PacketError {}
