//! Other nodes, as the control API shows them.

use serde::{Deserialize, Serialize};

use crate::{NodeStanding, Unconfirmed};

/// The nodes that are known, this one first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodesView {
    /// They.
    pub nodes: Vec<NodeStandingView>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStandingView {
    /// Its identity: 16 hexadecimal digits.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its present life, if it is known.
    pub incarnation: Option<u32>,
    /// Where it is reached.
    pub address: String,
    /// The release that it runs.
    pub version: String,
    /// `self`, `alive`, `suspect`, `down`, `left` or `unknown`.
    pub state: String,
    /// `connected`, `reconnecting` or `none`.
    pub session: String,
    /// Microseconds until it answered just now.
    pub latency_us: Option<u64>,
    /// Messages for it that are not acknowledged.
    pub held_messages: usize,
    /// Bytes of them.
    pub held_bytes: u64,
    /// Messages for it that were not confirmed, since the start.
    pub unconfirmed: u64,
    /// Associations with it that were opened, since the start.
    pub opened: u64,
    /// Why it was not reached last.
    pub failure: Option<String>,
}

/// Messages that are not known to have arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnconfirmedView {
    /// Since the start.
    pub count: u64,
    /// The latest, oldest first.
    pub latest: Vec<UnconfirmedMessageView>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnconfirmedMessageView {
    /// When the association ended.
    pub at_ms: u64,
    /// Who sent it.
    pub from: String,
    /// Who should have had it.
    pub to: String,
    /// Its type.
    pub type_name: String,
    /// The number of the association, if one was open.
    pub association: Option<u64>,
    /// Whether it may have arrived all the same.
    pub maybe_delivered: bool,
    /// Why the association ended.
    pub reason: String,
}

/// All groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupsView {
    /// They, by name.
    pub groups: Vec<GroupView>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// Its members on all connected nodes.
    pub members: Vec<String>,
}

/// An invitation that is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// For how long it is good; an hour, unless set.
    #[serde(default = "one_hour")]
    pub valid_ms: u64,
}

fn one_hour() -> u64 {
    3_600_000
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvitationView {
    /// What the new node is started with.
    pub token: String,
}

impl From<NodeStanding> for NodeStandingView {
    fn from(standing: NodeStanding) -> Self {
        let NodeStanding {
            node,
            name,
            incarnation,
            address,
            version,
            state,
            session,
            latency_us,
            held_messages,
            held_bytes,
            unconfirmed,
            opened,
            failure,
        } = standing;
        Self {
            id: node.to_string(),
            name,
            incarnation: incarnation.map(|incarnation| incarnation.0),
            address,
            version,
            state: state.into(),
            session: session.into(),
            latency_us,
            held_messages,
            held_bytes,
            unconfirmed,
            opened,
            failure,
        }
    }
}

impl From<Unconfirmed> for UnconfirmedMessageView {
    fn from(message: Unconfirmed) -> Self {
        let Unconfirmed { at_ms, from, to, type_name, association, maybe_delivered, reason } = message;
        Self { at_ms, from: from.to_string(), to: to.to_string(), type_name, association, maybe_delivered, reason }
    }
}
