//! One shard's processes: who may run, what their polls asked for, what others ask of them.
//!
//! It does not know how a guest is run. [`Kernel::next_turn`] gives a process away with its port and the work to
//! do; [`Kernel::finish`] takes it back with what came of it. Whatever must leave the shard is an [`Effect`].
//!
//! Invariant: everything a poll asked for becomes visible in `finish`, in the order in which it was asked, or
//! (if the poll failed) not at all.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use neurath_proto::abi::ReceiveId;
use neurath_proto::cluster::{Answer, NodeDown, NodeInfo, NodeUp, Question};
use neurath_proto::envelope::{Class, Envelope, Epoch, Payload, SchemaId, TraceId};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::notice::{Down, Exit, NameAnswer, NotDelivered};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Data, Pid, Ref, Serial};

use crate::action::Action;
use crate::hash::IdMap;
use crate::mailbox::Message;
use crate::port::{Port, PortLimits, Serials, down_error};
use crate::process::{
    Becoming, Counts, Hold, Process, ProcessRecord, Program, Stage, Standing, UpgradeId, UpgradeOrder,
};
use crate::signal::{NameRequest, Signal, SpawnRequest, node_itself};
use crate::timers::{TimerKey, Timers};
use crate::trace::{Happened, Post, TraceEvent, TraceFilter, Tracer, Tracers, WatchId};
use crate::types::{Types, fit_any};

pub use listing::{ProcessInfo, Refusal};
pub use tracing::{Held, Totals};

mod actions;
mod ends;
mod groups;
mod listing;
mod messages;
mod moving;
mod names;
mod nodes;
mod pressure;
mod routing;
mod tracing;
mod turns;

/// Where a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// The shard, from 0. Shard 0 keeps the names.
    pub shard: u32,
    /// How many shards the node has.
    pub shards: u32,
}

/// Limits of a shard.
#[derive(Clone, Copy, Debug)]
pub struct KernelConfig {
    /// Limits of each process.
    pub port: PortLimits,
    /// Processes of this shard.
    pub processes: u32,
    /// Names that the registrar keeps.
    pub names: u32,
    /// Members of groups, of all nodes, that the registrar keeps.
    pub group_members: u32,
    /// Refused and undeliverable messages that are remembered.
    pub refusals: usize,
    /// Ordinary turns between two upgrades, so that a mass upgrade is no pause for the others.
    pub turns_between_upgrades: u32,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            port: PortLimits::default(),
            processes: 1 << 20,
            names: 1 << 16,
            group_members: 1 << 20,
            refusals: 256,
            turns_between_upgrades: 4,
        }
    }
}

/// The schemas of what the runtime itself says.
#[derive(Clone, Copy, Debug)]
pub struct WellKnown {
    /// [`Down`]
    pub down: SchemaId,
    /// [`Exit`]
    pub exit: SchemaId,
    /// [`Answer`]
    pub answer: SchemaId,
    /// [`NodeUp`]
    pub node_up: SchemaId,
    /// [`NodeDown`]
    pub node_down: SchemaId,
    /// [`NotDelivered`]
    pub not_delivered: SchemaId,
}

/// A process's place in the shard's table, while it lives. The driver keeps its instance under the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A process whose turn it is.
#[derive(Debug)]
pub struct Turn {
    /// Its place.
    pub slot: Slot,
    /// Who it is.
    pub pid: Pid,
    /// What goes along with it.
    pub port: Box<Port>,
    /// What is to be done.
    pub work: Work,
}

/// What is to be done in a turn.
#[derive(Debug)]
pub enum Work {
    /// Call the entry.
    Start {
        /// Its code.
        program: Arc<Program>,
        /// The entry.
        entry: u32,
        /// Encoded arguments.
        arguments: Vec<u8>,
    },
    /// Wake a receive.
    Poll(ReceiveId),
    /// Change a server's code: ask for its state, convert it, start the new code with it.
    Upgrade(Box<UpgradeOrder>),
    /// A plain process offers its state to the newest code.
    Become {
        /// Its present code.
        program: Arc<Program>,
        /// The entry that it wants to be.
        entry: String,
        /// The type of the state.
        schema: SchemaId,
        /// The encoded state.
        state: Vec<u8>,
    },
}

/// What came of a turn.
#[derive(Debug)]
pub enum Outcome {
    /// The guest waits.
    Pending,
    /// The guest has ended in good order, and what it asked for last stands.
    Exited(ExitReason),
    /// The guest has failed, and what it asked for in this poll is dropped.
    Failed(ExitReason),
    /// The new code runs in place of the old.
    Upgraded {
        /// The new code.
        program: Arc<Program>,
        /// The entry in it.
        entry: u32,
        /// Whether the new code has ended already.
        exited: Option<ExitReason>,
    },
    /// The old code goes on as if nothing had happened.
    RolledBack {
        /// Why, for people.
        reason: String,
        /// Whether anything was tried: there may just be nothing newer.
        attempted: bool,
    },
}

/// What must leave the shard.
#[derive(Debug)]
pub enum Effect {
    /// For another shard of this node.
    ToShard(u32, Signal),
    /// For another node.
    ToNode(NodeId, Signal),
    /// Another node wants a process started: find its code, then [`Kernel::spawn_for`] or [`Kernel::refuse_spawn`].
    Spawn(SpawnRequest),
    /// For someone outside who was given a pid.
    ToExternal(Pid, Signal),
    /// A process has ended: its instance can go.
    Ended {
        /// Its place.
        slot: Slot,
        /// Who it was.
        pid: Pid,
        /// Why.
        reason: ExitReason,
    },
    /// A process is to be stopped in the middle of its poll.
    Interrupt(Slot),
    /// An upgrade that was ordered is done with for this process.
    UpgradeDone {
        /// The order.
        id: UpgradeId,
        /// The process.
        pid: Pid,
        /// Why not, if not.
        result: Result<(), String>,
    },
}

#[derive(Debug)]
enum Timer {
    /// The earliest deadline of a process's receives.
    Deadline(Slot, Pid),
    /// A message for later.
    Send(Envelope, Ref),
}

/// See the module.
pub struct Kernel {
    place: Place,
    config: KernelConfig,
    types: Arc<dyn Types>,
    known: WellKnown,
    serials: Arc<Serials>,
    now: u64,
    processes: Vec<Option<Box<Process>>>,
    free: Vec<u32>,
    by_serial: IdMap<Serial, u32>,
    externals: IdMap<Serial, ()>,
    moved: IdMap<Serial, u32>,
    run_queue: VecDeque<Slot>,
    upgrades: VecDeque<Slot>,
    turns_since_upgrade: u32,
    timers: Timers<Timer>,
    send_timers: IdMap<(Serial, Ref), TimerKey>,
    effects: VecDeque<Effect>,
    names: BTreeMap<String, Pid>,
    groups: groups::Groups,
    nodes: BTreeMap<NodeId, nodes::Peer>,
    /// Who is saying what it asked for in a poll, and of which nodes it has not heard that they were gone meanwhile.
    late: Option<(Pid, Vec<NodeId>)>,
    /// Who is told of every node that comes and goes.
    node_watchers: BTreeSet<Pid>,
    /// What people call this node.
    name: String,
    refusals: VecDeque<Refusal>,
    recorder: Option<Recorder>,
    tracers: Tracers,
    totals: Totals,
}

/// Sees every signal from elsewhere and every external input, with its time, before it is handled.
pub type Recorder = Box<dyn FnMut(u64, &Signal) + Send>;

impl Kernel {
    /// An empty shard.
    pub fn new(place: Place, config: KernelConfig, types: Arc<dyn Types>, known: WellKnown) -> Self {
        let first = if place.shard == 0 { place.shards } else { place.shard };
        let serials = Serials::new(place.node, place.incarnation, u64::from(first), u64::from(place.shards));
        Self {
            place,
            config,
            types,
            known,
            serials: Arc::new(serials),
            now: 0,
            processes: Vec::new(),
            free: Vec::new(),
            by_serial: IdMap::default(),
            externals: IdMap::default(),
            moved: IdMap::default(),
            run_queue: VecDeque::new(),
            upgrades: VecDeque::new(),
            turns_since_upgrade: 0,
            timers: Timers::default(),
            send_timers: IdMap::default(),
            effects: VecDeque::new(),
            names: BTreeMap::new(),
            groups: groups::Groups::default(),
            nodes: BTreeMap::new(),
            late: None,
            node_watchers: BTreeSet::new(),
            name: String::new(),
            refusals: VecDeque::new(),
            recorder: None,
            tracers: Tracers::default(),
            totals: Totals::default(),
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// What people call this node.
    pub fn set_name(&mut self, name: &str) {
        self.name = name.to_string();
    }

    /// Records every input from now on.
    pub fn set_recorder(&mut self, recorder: Option<Recorder>) {
        self.recorder = recorder;
    }

    /// How many processes live here.
    pub fn len(&self) -> usize {
        self.by_serial.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.by_serial.is_empty()
    }

    // ---- time ----

    /// Moves the clock; what was set for then happens.
    pub fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        while let Some((key, timer)) = self.timers.due(self.now) {
            match timer {
                Timer::Deadline(slot, pid) => self.deadline_passed(slot, pid, key),
                Timer::Send(envelope, timer) => {
                    self.send_timers.remove(&(envelope.from.serial, timer));
                    self.timer_fired(timer, envelope);
                }
            }
        }
    }

    /// When [`Kernel::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    fn deadline_passed(&mut self, slot: Slot, pid: Pid, key: TimerKey) {
        let now = self.now;
        let Some(process) = self.at(slot).filter(|p| p.pid == pid) else { return };
        if process.timer == key.0 {
            process.timer = u64::MAX;
        }
        let held = !process.holds.is_free();
        if let Some(port) = &mut process.port
            && !held
        {
            port.expire(now);
            self.settle(slot);
        }
    }

    fn timer_fired(&mut self, timer: Ref, envelope: Envelope) {
        let from = envelope.from;
        let Some(sender) = self.local(from) else { return self.route(Signal::Message(envelope)) };
        match &mut sender.port {
            None => sender.deferred.push(Signal::TimerFired { timer, envelope }),
            Some(port) => {
                port.timer_fired(timer);
                self.trace(from, || Happened::Sent(Post::sent(&envelope)));
                self.route(Signal::Message(envelope));
            }
        }
    }

    // ---- input ----

    /// Starts a process from outside. It runs in its turn.
    ///
    /// # Errors
    /// The shard is full.
    pub fn spawn(
        &mut self,
        program: &Arc<Program>,
        entry: u32,
        arguments: Vec<u8>,
        parent: Option<Pid>,
        watch: Option<(Pid, Ref)>,
    ) -> Result<Pid, String> {
        let pid = self.serials.next_pid();
        self.create(pid, program, entry, arguments, parent)?;
        if let (Some(watcher), Some(process)) = (watch, self.local(pid)) {
            process.watchers.insert(watcher);
        }
        Ok(pid)
    }

    fn create(
        &mut self,
        pid: Pid,
        program: &Arc<Program>,
        entry: u32,
        arguments: Vec<u8>,
        parent: Option<Pid>,
    ) -> Result<Slot, String> {
        if self.by_serial.len() as u32 >= self.config.processes {
            return Err(format!("this shard has its limit of {} processes", self.config.processes));
        }
        let port = Box::new(Port::new(pid, self.config.port, self.serials.clone()));
        let process = Process::new(pid, program.clone(), entry, Stage::New { arguments }, port, parent);
        let slot = self.insert(process);
        self.totals.spawned += 1;
        self.trace_spawned(pid, program, entry, parent);
        self.enqueue(slot);
        Ok(slot)
    }

    fn insert(&mut self, process: Process) -> Slot {
        let serial = process.pid.serial;
        let boxed = Some(Box::new(process));
        let index = match self.free.pop() {
            Some(index) => {
                self.processes[index as usize] = boxed;
                index
            }
            None => {
                self.processes.push(boxed);
                (self.processes.len() - 1) as u32
            }
        };
        self.by_serial.insert(serial, index);
        Slot(index)
    }

    /// Gives someone outside (an operator's request) a pid, so that it can ask and be answered.
    pub fn open_external(&mut self) -> Pid {
        let pid = self.serials.next_pid();
        self.externals.insert(pid.serial, ());
        pid
    }

    /// Takes it back: what still comes for it is dropped and counted.
    pub fn close_external(&mut self, pid: Pid) {
        self.externals.remove(&pid.serial);
    }

    /// Handles what another shard, another node or someone outside says.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(recorder) = &mut self.recorder {
            recorder(self.now, &signal);
        }
        match signal.receiver() {
            Some(to) if self.by_serial.contains_key(&to.serial) && to.node == self.place.node => {
                self.handle(to, signal)
            }
            _ => self.route(signal),
        }
    }

    /// Orders a process to change its code as soon as it may; [`Effect::UpgradeDone`] reports.
    pub fn order_upgrade(&mut self, pid: Pid, order: UpgradeOrder) {
        let Some(slot) = self.slot_of(pid) else {
            let result = Err("the process has ended".to_string());
            self.effects.push_back(Effect::UpgradeDone { id: order.id, pid, result });
            return;
        };
        let Some(process) = self.at(slot) else { return };
        if let Some(earlier) = process.upgrade.replace(Box::new(order)) {
            let result = Err("another upgrade was ordered before this one began".to_string());
            self.effects.push_back(Effect::UpgradeDone { id: earlier.id, pid, result });
        }
        self.settle(slot);
    }

    /// Takes back an order that has not begun; whether there was one.
    pub fn cancel_upgrade(&mut self, pid: Pid, id: UpgradeId) -> bool {
        self.local(pid).is_some_and(|p| p.upgrade.take_if(|order| order.id == id).is_some())
    }

    /// Keeps a process from running, or lets it run again.
    pub fn hold(&mut self, pid: Pid, hold: Hold, on: bool) -> bool {
        let now = self.now;
        let Some(slot) = self.slot_of(pid) else { return false };
        let Some(process) = self.at(slot) else { return false };
        let was_free = process.holds.is_free();
        if on {
            process.holds.add(hold);
            if was_free {
                process.held_since = now;
            }
        } else {
            process.holds.remove(hold);
            if !was_free && process.holds.is_free() {
                let still = now - process.held_since;
                if let Some(port) = &mut process.port {
                    port.shift_deadlines(still);
                }
            }
        }
        self.settle(slot);
        true
    }

    // ---- lookups ----

    #[inline]
    fn slot_of(&self, pid: Pid) -> Option<Slot> {
        let index = *self.by_serial.get(&pid.serial)?;
        let process = self.processes[index as usize].as_deref()?;
        (process.pid == pid).then_some(Slot(index))
    }

    fn local(&mut self, pid: Pid) -> Option<&mut Process> {
        let slot = self.slot_of(pid)?;
        self.at(slot)
    }

    #[inline]
    fn at(&mut self, slot: Slot) -> Option<&mut Process> {
        self.processes.get_mut(slot.0 as usize)?.as_deref_mut()
    }
}
