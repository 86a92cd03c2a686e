//! What processes ask of nodes, their own or others, and what they are told.
//!
//! Invariant: every [`Question`] has one [`Answer`], under the ref that the host gave for it, or fails as a call does.

use alloc::string::String;
use alloc::vec::Vec;

use crate::data::{Data, DecodeError, Reader, structure};
use crate::id::{Incarnation, NodeId, Pid, Ref};
use crate::notice::NameAnswer;
use crate::reason::ExitReason;
use crate::schema::{SchemaBuilder, Type};

/// What a process asks. It crosses the guest ABI encoded, in one host call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Start an entry of the asker's module version there. Answered by [`Answer::Spawned`].
    Spawn {
        /// Where.
        node: NodeId,
        /// The entry.
        entry: String,
        /// Encoded arguments.
        arguments: Vec<u8>,
        /// Link it to the asker.
        link: bool,
        /// Let the asker watch it.
        monitor: bool,
    },
    /// Give a process a name there. Answered by [`Answer::Name`].
    Register {
        /// Where.
        node: NodeId,
        /// The name.
        name: String,
        /// Whose it is to be.
        pid: Pid,
    },
    /// Free a name there. Answered by [`Answer::Name`].
    Unregister {
        /// Where.
        node: NodeId,
        /// The name.
        name: String,
    },
    /// Whose is this name there? Answered by [`Answer::Name`].
    Whereis {
        /// Where.
        node: NodeId,
        /// The name.
        name: String,
    },
    /// Are you there? Answered by [`Answer::Done`].
    Ping {
        /// Who.
        node: NodeId,
    },
    /// Which nodes are connected, this one first? Answered by [`Answer::Nodes`].
    Nodes,
    /// Tell the asker once when the association with the node ends: a [`NodeDown`] with the question's ref. No answer.
    MonitorNode {
        /// Which.
        node: NodeId,
    },
    /// Undo that. No answer.
    DemonitorNode {
        /// What was the question's ref.
        monitor: Ref,
    },
    /// Tell the asker about every node that comes and goes, or no more: [`NodeUp`], [`NodeDown`]. No answer.
    WatchNodes {
        /// Whether.
        on: bool,
    },
    /// Be a member of a group. Answered by [`Answer::Done`], or [`Answer::Failed`] at a limit.
    Join {
        /// Its name.
        group: String,
    },
    /// Be none any more. Answered by [`Answer::Done`].
    Leave {
        /// Its name.
        group: String,
    },
    /// Who is a member, as this node knows? Answered by [`Answer::Pids`].
    Members {
        /// Its name.
        group: String,
    },
}

/// What a process is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It cannot be done.
    Failed {
        /// Why.
        why: String,
    },
    /// The process was started.
    Spawned {
        /// It.
        pid: Pid,
        /// The ref of its monitor, if one was asked for.
        monitor: Ref,
    },
    /// About a name.
    Name {
        /// What.
        answer: NameAnswer,
    },
    /// Processes.
    Pids {
        /// They, in order.
        pids: Vec<Pid>,
    },
    /// Nodes.
    Nodes {
        /// They.
        nodes: Vec<NodeInfo>,
    },
}

/// A node, as processes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Who it is.
    pub node: NodeId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// What people call it.
    pub name: String,
}

/// A node has connected: sent to those who watch nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUp {
    /// Which.
    pub node: NodeId,
    /// In which life.
    pub incarnation: Incarnation,
    /// What people call it.
    pub name: String,
}

/// The association with a node has ended, or none came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDown {
    /// The monitor's ref; [`Ref::NONE`] for those who watch all nodes.
    pub monitor: Ref,
    /// Which.
    pub node: NodeId,
    /// Why, for people.
    pub reason: String,
}

impl NodeDown {
    /// The reason with which links and monitors to its processes fire.
    pub const EXIT: ExitReason = ExitReason::Disconnected;
}

/// Eight bytes, as in a [`Pid`].
impl Data for NodeId {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(u64::from_le_bytes(reader.array()?)))
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        <[u8; 8]>::schema(builder)
    }
}

impl Data for Incarnation {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u32::decode(reader).map(Self)
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        u32::schema(builder)
    }
}

structure!(NodeInfo { node: NodeId, incarnation: Incarnation, name: String });
structure!(NodeUp { node: NodeId, incarnation: Incarnation, name: String });
structure!(NodeDown { monitor: Ref, node: NodeId, reason: String });

macro_rules! enumeration {
    ($name:ident { $($index:literal $variant:ident { $($field:ident: $type:ty),* })* }) => {
        impl Data for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant { $($field),* } => {
                        u32::encode(&$index, out);
                        $($field.encode(out);)*
                    })*
                }
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(match u32::decode(reader)? {
                    $($index => Self::$variant { $($field: Data::decode(reader)?),* },)*
                    other => return Err(reader.bad_variant(stringify!($name), other)),
                })
            }

            fn schema(builder: &mut SchemaBuilder) -> Type {
                builder.enumeration::<Self>(stringify!($name), |variants| {
                    $(variants.structure(stringify!($variant), |fields| {
                        let _: &_ = fields;
                        $(fields.field::<$type>(stringify!($field));)*
                    });)*
                })
            }
        }
    };
}

enumeration!(Question {
    0 Spawn { node: NodeId, entry: String, arguments: Vec<u8>, link: bool, monitor: bool }
    1 Register { node: NodeId, name: String, pid: Pid }
    2 Unregister { node: NodeId, name: String }
    3 Whereis { node: NodeId, name: String }
    4 Ping { node: NodeId }
    5 Nodes {}
    6 MonitorNode { node: NodeId }
    7 DemonitorNode { monitor: Ref }
    8 WatchNodes { on: bool }
    9 Join { group: String }
    10 Leave { group: String }
    11 Members { group: String }
});

enumeration!(Answer {
    0 Done {}
    1 Failed { why: String }
    2 Spawned { pid: Pid, monitor: Ref }
    3 Name { answer: NameAnswer }
    4 Pids { pids: Vec<Pid> }
    5 Nodes { nodes: Vec<NodeInfo> }
});
