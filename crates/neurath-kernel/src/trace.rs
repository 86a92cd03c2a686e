//! What happens to processes, as events for whoever watches.
//!
//! It refuses to know who watches, how fast they read and what a type is called.
//! Invariants: a trace changes nothing; where nobody traces, each place costs one branch.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use neurath_proto::Pid;
use neurath_proto::envelope::{Class, Envelope, SchemaId};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::reason::ExitReason;

/// What happened to a process, or to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// The process; none if it is about a node.
    pub of: Option<Pid>,
    /// What.
    pub what: Happened,
}

/// See [`TraceEvent::what`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was started.
    Spawned {
        /// By whom; none is from outside.
        parent: Option<Pid>,
        /// Its code: `name@version`.
        program: String,
        /// Its entry.
        entry: String,
    },
    /// It got a name.
    Registered {
        /// The name.
        name: String,
    },
    /// It lost a name, and lives.
    Unregistered {
        /// The name.
        name: String,
    },
    /// What it sent has left: its poll has ended well.
    Sent(Post),
    /// A message lies in its mailbox, or an answer is there.
    Received(Post),
    /// A message did not reach it.
    Refused {
        /// Who sent it.
        from: Pid,
        /// Its type.
        schema: SchemaId,
        /// Why.
        why: String,
    },
    /// It is linked to another.
    Linked {
        /// To whom.
        to: Pid,
    },
    /// No more.
    Unlinked {
        /// To whom it was.
        to: Pid,
    },
    /// It watches another.
    Monitored {
        /// Whom.
        whom: Pid,
    },
    /// No more.
    Demonitored {
        /// Whom it watched.
        whom: Pid,
    },
    /// It has ended.
    Died {
        /// Why.
        reason: ExitReason,
    },
    /// It runs other code.
    Upgraded {
        /// The code: `name@version`.
        program: String,
    },
    /// It went on with its old code.
    RolledBack {
        /// Why.
        why: String,
    },
    /// Its mailbox is full: this sender is held.
    Full {
        /// Who.
        sender: Pid,
    },
    /// It is held until another's mailbox has drained.
    Blocked {
        /// Whose.
        by: Pid,
    },
    /// It waits for that one no more.
    Unblocked {
        /// For whom it waited.
        by: Pid,
    },
    /// Another node can be reached.
    NodeUp {
        /// Which.
        node: NodeId,
        /// Which of its lives.
        incarnation: Incarnation,
    },
    /// Another node is gone.
    NodeDown {
        /// Which.
        node: NodeId,
        /// Why, for people.
        why: String,
    },
}

/// A message, seen from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post {
    /// The other end.
    pub peer: Pid,
    /// What it is.
    pub class: Class,
    /// Its type.
    pub schema: SchemaId,
    /// Bytes of its value.
    pub bytes: u64,
}

impl Post {
    /// A message as its sender sees it.
    pub(crate) fn sent(envelope: &Envelope) -> Self {
        Self::of(envelope, envelope.to)
    }

    /// A message as its receiver sees it.
    pub(crate) fn received(envelope: &Envelope) -> Self {
        Self::of(envelope, envelope.from)
    }

    fn of(envelope: &Envelope, peer: Pid) -> Self {
        let bytes = envelope.payload.as_slice().len() as u64;
        Self { peer, class: envelope.class, schema: envelope.schema, bytes }
    }
}

macro_rules! kinds {
    ($($kind:ident $name:literal)*) => {
        /// Kinds of events, by which a trace chooses.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Kind { $($kind,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// Its name, for people.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }

        impl Happened {
            /// What kind it is.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind { .. } => Kind::$kind,)* }
            }
        }
    };
}

kinds! {
    Spawned "spawned"
    Registered "registered"
    Unregistered "unregistered"
    Sent "sent"
    Received "received"
    Refused "refused"
    Linked "linked"
    Unlinked "unlinked"
    Monitored "monitored"
    Demonitored "demonitored"
    Died "died"
    Upgraded "upgraded"
    RolledBack "rolled_back"
    Full "full"
    Blocked "blocked"
    Unblocked "unblocked"
    NodeUp "node_up"
    NodeDown "node_down"
}

impl Happened {
    /// The other process of it.
    pub fn peer(&self) -> Option<Pid> {
        match self {
            Self::Spawned { parent, .. } => *parent,
            Self::Sent(post) | Self::Received(post) => Some(post.peer),
            Self::Refused { from: peer, .. }
            | Self::Linked { to: peer }
            | Self::Unlinked { to: peer }
            | Self::Monitored { whom: peer }
            | Self::Demonitored { whom: peer }
            | Self::Full { sender: peer }
            | Self::Blocked { by: peer }
            | Self::Unblocked { by: peer } => Some(*peer),
            Self::Registered { .. }
            | Self::Unregistered { .. }
            | Self::Died { .. }
            | Self::Upgraded { .. }
            | Self::RolledBack { .. }
            | Self::NodeUp { .. }
            | Self::NodeDown { .. } => None,
        }
    }
}

/// Which events a trace is about.
#[derive(Clone, Debug)]
pub struct TraceFilter {
    pids: Option<Vec<Pid>>,
    kinds: u32,
    peer: Option<Pid>,
}

impl TraceFilter {
    /// Events of these processes (`None`: of all), of these kinds (none named: all), with this peer if one is named.
    pub fn new(mut pids: Option<Vec<Pid>>, kinds: &[Kind], peer: Option<Pid>) -> Self {
        if let Some(pids) = &mut pids {
            pids.sort_unstable();
        }
        let kinds = if kinds.is_empty() { Kind::ALL } else { kinds };
        Self { pids, kinds: kinds.iter().fold(0, |set, kind| set | 1 << *kind as u32), peer }
    }

    fn wants_pid(&self, pid: Pid) -> bool {
        self.pids.as_ref().is_none_or(|pids| pids.binary_search(&pid).is_ok())
    }

    /// A process shows whom it starts, too: nobody could ask for a process before it is there.
    fn wants(&self, event: &TraceEvent) -> bool {
        let peer = event.what.peer();
        let mine = event.of.is_none_or(|pid| self.wants_pid(pid))
            || matches!(event.what, Happened::Spawned { parent: Some(parent), .. } if self.wants_pid(parent));
        mine && self.kinds & 1 << event.what.kind() as u32 != 0 && (self.peer.is_none() || self.peer == peer)
    }
}

/// What a trace is known by, chosen by whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchId(pub u64);

/// Sees each event that is wanted, with its time.
pub type Tracer = Box<dyn FnMut(u64, &TraceEvent) + Send>;

/// The traces of one shard.
#[derive(Default)]
pub(crate) struct Tracers(Vec<(WatchId, TraceFilter, Tracer)>);

impl Tracers {
    pub(crate) fn add(&mut self, id: WatchId, filter: TraceFilter, tracer: Tracer) {
        self.0.push((id, filter, tracer));
    }

    pub(crate) fn remove(&mut self, id: WatchId) {
        self.0.retain(|(of, ..)| *of != id);
    }

    /// Whether any trace is about this process.
    #[inline]
    pub(crate) fn any(&self, pid: Pid) -> bool {
        !self.0.is_empty() && self.0.iter().any(|(_, filter, _)| filter.wants_pid(pid))
    }

    /// Makes an event of a process if any trace is about it.
    #[inline]
    pub(crate) fn tell_of(&mut self, now: u64, of: Pid, what: impl FnOnce() -> Happened) {
        if self.any(of) {
            self.tell(now, &TraceEvent { of: Some(of), what: what() });
        }
    }

    #[cold]
    pub(crate) fn tell(&mut self, now: u64, event: &TraceEvent) {
        for (_, filter, tracer) in &mut self.0 {
            if filter.wants(event) {
                tracer(now, event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_a_bit_and_a_name_each() {
        for (at, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
            assert!(at < 32 && Kind::ALL.iter().filter(|other| other.name() == kind.name()).count() == 1, "{kind:?}");
        }
    }
}
