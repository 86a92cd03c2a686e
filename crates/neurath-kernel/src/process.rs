//! What the kernel keeps of one process while its port may be elsewhere.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use neurath_proto::envelope::SchemaId;
use neurath_proto::reason::ExitReason;
use neurath_proto::{NodeId, Pid, Ref};

use crate::port::{Port, PortRecord};
use crate::signal::Signal;

/// A module version as this node numbers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeId(pub u32);

/// What the kernel must know of a module version.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its number on this node.
    pub code: CodeId,
    /// `name@version`, for people.
    pub name: String,
    /// BLAKE3 of the module: what other nodes know it by.
    pub artifact: [u8; 32],
    /// What can be started in it.
    pub entries: Vec<ProgramEntry>,
    /// What the driver needs to run it. It lives as long as any process that runs it.
    pub body: Body,
}

/// Something of the driver's that the kernel only holds.
#[derive(Clone)]
pub struct Body(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

/// What the kernel must know of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramEntry {
    /// Its name.
    pub name: String,
    /// What its processes may receive; `None` if it does not say, and then anything is let in.
    pub accepts: Option<Vec<SchemaId>>,
    /// Whether it is changed between any two messages.
    pub is_server: bool,
}

/// Why a process is not polled although it might have something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hold {
    /// It sent to a full mailbox.
    BackPressure = 0,
    /// It is being moved, or changed together with others.
    Frozen = 1,
    /// Whether it runs elsewhere is not known.
    InDoubt = 2,
    /// It is not in memory.
    Parked = 3,
    /// It failed too often.
    Quarantined = 4,
}

impl Hold {
    const ALL: [Hold; 5] = [Self::BackPressure, Self::Frozen, Self::InDoubt, Self::Parked, Self::Quarantined];
}

/// The reasons that hold a process at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds(u8);

impl Holds {
    /// Adds a reason.
    pub fn add(&mut self, hold: Hold) {
        self.0 |= 1 << hold as u8;
    }

    /// Removes a reason.
    pub fn remove(&mut self, hold: Hold) {
        self.0 &= !(1 << hold as u8);
    }

    /// Whether this is among them.
    pub fn has(self, hold: Hold) -> bool {
        self.0 & (1 << hold as u8) != 0
    }

    /// Whether there is none.
    #[inline]
    pub fn is_free(self) -> bool {
        self.0 == 0
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Hold> {
        Hold::ALL.into_iter().filter(move |hold| self.has(*hold))
    }
}

/// What a process is doing, as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its guest runs now.
    Running,
    /// It waits for its turn.
    Runnable,
    /// It waits for a message or a time.
    Waiting,
    /// It may not run.
    Held(Hold),
}

/// Counts of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that it was polled.
    pub polls: u64,
    /// Messages that were put into its mailbox.
    pub received: u64,
    /// Messages that it sent.
    pub sent: u64,
    /// Messages that it could not take, by type.
    pub refused: u64,
    /// Answers that came after it had stopped waiting.
    pub late: u64,
    /// Upgrades that were committed.
    pub upgrades: u32,
    /// Upgrades that were rolled back.
    pub rollbacks: u32,
}

/// What an upgrade is known by, chosen by whoever orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpgradeId(pub u64);

/// An order to change a process's code.
#[derive(Clone, Debug)]
pub struct UpgradeOrder {
    /// Whose order.
    pub id: UpgradeId,
    /// The module version to change to.
    pub program: Arc<Program>,
    /// The entry in it.
    pub entry: u32,
}

/// A state that a process has offered to newer code.
#[derive(Clone, Debug)]
pub(crate) struct Becoming {
    pub(crate) reference: Ref,
    pub(crate) entry: String,
    pub(crate) schema: SchemaId,
    pub(crate) state: Vec<u8>,
}

/// Messages to one process elsewhere that are not known to have found room; long ones count as several.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Debt {
    /// All of them.
    pub(crate) sent: u32,
    /// Those among them that the question which is under way covers.
    pub(crate) asked: u32,
}

/// Where a process is in its life.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Its entry has not been called yet.
    New { arguments: Vec<u8> },
    /// It has been started.
    Started,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) program: Arc<Program>,
    pub(crate) entry: u32,
    pub(crate) stage: Stage,
    pub(crate) port: Option<Box<Port>>,
    pub(crate) queued: bool,
    pub(crate) holds: Holds,
    pub(crate) held_since: u64,
    pub(crate) trap_exit: bool,
    pub(crate) parent: Option<Pid>,
    pub(crate) links: BTreeSet<Pid>,
    /// Whom it has unlinked and who has not said so yet, with the number of the unlink.
    pub(crate) unlinking: BTreeMap<Pid, u64>,
    pub(crate) unlinks: u64,
    pub(crate) watchers: BTreeSet<(Pid, Ref)>,
    pub(crate) watching: BTreeMap<Ref, Pid>,
    /// With the node whose registrar keeps each.
    pub(crate) names: Vec<(NodeId, String)>,
    /// The groups that it is a member of.
    pub(crate) groups: Vec<String>,
    /// Senders that wait for this mailbox to drain.
    pub(crate) waiters: BTreeSet<Pid>,
    /// Mailboxes that this one waits for.
    pub(crate) blocked_on: Vec<Pid>,
    /// What it sent to each process of other shards and nodes since that was last known to have room.
    pub(crate) debts: BTreeMap<Pid, Debt>,
    /// What came while the port was away.
    pub(crate) deferred: Vec<Signal>,
    pub(crate) killed: Option<ExitReason>,
    pub(crate) upgrade: Option<Box<UpgradeOrder>>,
    pub(crate) upgrade_queued: bool,
    pub(crate) becoming: Option<Box<Becoming>>,
    /// The deadline for which the kernel's timer is set; `u64::MAX` is none.
    pub(crate) timer: u64,
    pub(crate) counts: Counts,
}

impl Process {
    /// A process that has nothing yet but its code and its port.
    pub(crate) fn new(
        pid: Pid,
        program: Arc<Program>,
        entry: u32,
        stage: Stage,
        port: Box<Port>,
        parent: Option<Pid>,
    ) -> Self {
        Self {
            pid,
            program,
            entry,
            stage,
            port: Some(port),
            queued: false,
            holds: Holds::default(),
            held_since: 0,
            trap_exit: false,
            parent,
            links: BTreeSet::new(),
            unlinking: BTreeMap::new(),
            unlinks: 0,
            watchers: BTreeSet::new(),
            watching: BTreeMap::new(),
            names: Vec::new(),
            groups: Vec::new(),
            waiters: BTreeSet::new(),
            blocked_on: Vec::new(),
            debts: BTreeMap::new(),
            deferred: Vec::new(),
            killed: None,
            upgrade: None,
            upgrade_queued: false,
            becoming: None,
            timer: u64::MAX,
            counts: Counts::default(),
        }
    }

    pub(crate) fn accepts(&self) -> Option<&[SchemaId]> {
        self.program.entries[self.entry as usize].accepts.as_deref()
    }

    /// Whether anything of it is with that node.
    pub(crate) fn is_tied_to(&self, node: NodeId) -> bool {
        let of = |pid: &Pid| pid.node == node;
        self.links.iter().any(of)
            || self.unlinking.keys().any(of)
            || self.watchers.iter().any(|(pid, _)| of(pid))
            || self.watching.values().any(of)
            || self.waiters.iter().any(of)
            || self.blocked_on.iter().any(of)
            || self.debts.keys().any(of)
            || self.names.iter().any(|(registrar, _)| *registrar == node)
            || self.port.as_ref().is_none_or(|port| port.has_calls_with(node))
    }

    pub(crate) fn standing(&self) -> Standing {
        if self.port.is_none() {
            Standing::Running
        } else if let Some(hold) = self.holds.iter().next() {
            Standing::Held(hold)
        } else if self.queued {
            Standing::Runnable
        } else {
            Standing::Waiting
        }
    }
}

/// The kernel's part of a process as data: with its image it is the whole process.
#[derive(Clone, Debug)]
pub struct ProcessRecord {
    /// Mailbox, receives, calls.
    pub port: PortRecord,
    /// Its code.
    pub program: Arc<Program>,
    /// The entry that runs.
    pub entry: u32,
    /// The arguments, if it has not been started yet.
    pub arguments: Option<Vec<u8>>,
    /// Whether exits of linked processes come as messages.
    pub trap_exit: bool,
    /// Who started it.
    pub parent: Option<Pid>,
    /// Linked processes.
    pub links: Vec<Pid>,
    /// Whom it has unlinked and who has not said so yet, with the number of the unlink.
    pub unlinking: Vec<(Pid, u64)>,
    /// How often it has unlinked from others: the number of the last time.
    pub unlinks: u64,
    /// Who watches it.
    pub watchers: Vec<(Pid, Ref)>,
    /// Whom it watches.
    pub watching: Vec<(Ref, Pid)>,
    /// Its names, with the node whose registrar keeps each.
    pub names: Vec<(NodeId, String)>,
    /// The groups that it is a member of.
    pub groups: Vec<String>,
    /// Senders that wait for its mailbox.
    pub waiters: Vec<Pid>,
    /// Its own timers: remaining nanoseconds and what is sent then.
    pub timers: Vec<(Ref, u64, neurath_proto::envelope::Envelope)>,
    /// Counts so far.
    pub counts: Counts,
}
