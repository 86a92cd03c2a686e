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
    Becoming, Counts, Hold, Holds, Process, ProcessRecord, Program, Stage, Standing, UpgradeId, UpgradeOrder,
};
use crate::signal::{NameRequest, Signal};
use crate::timers::{TimerKey, Timers};
use crate::types::{Types, fit_any};

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
    /// [`NameAnswer`]
    pub name_answer: SchemaId,
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

/// A message that did not reach its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When, on the kernel's clock.
    pub at: u64,
    /// Who sent it.
    pub from: Pid,
    /// Who should have had it.
    pub to: Pid,
    /// Its type.
    pub type_name: String,
    /// Why not.
    pub reason: String,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its place.
    pub slot: Slot,
    /// Who it is.
    pub pid: Pid,
    /// `name@version` of its code.
    pub program: String,
    /// Its entry.
    pub entry: String,
    /// Whether it is a server.
    pub is_server: bool,
    /// What it does.
    pub standing: Standing,
    /// Messages that wait.
    pub mailbox: u32,
    /// Bytes that wait.
    pub mailbox_bytes: u64,
    /// Its names.
    pub names: Vec<String>,
    /// Who started it.
    pub parent: Option<Pid>,
    /// Its links.
    pub links: Vec<Pid>,
    /// Who watches it.
    pub watchers: Vec<Pid>,
    /// Whom it watches.
    pub watching: Vec<Pid>,
    /// Whether an upgrade waits for it.
    pub upgrade_pending: bool,
    /// Whether it traps exits.
    pub trap_exit: bool,
    /// Counts.
    pub counts: Counts,
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
    refusals: VecDeque<Refusal>,
    refused: u64,
    undeliverable: u64,
    recorder: Option<Recorder>,
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
            refusals: VecDeque::new(),
            refused: 0,
            undeliverable: 0,
            recorder: None,
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
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
        let process = Process {
            pid,
            program: program.clone(),
            entry,
            stage: Stage::New { arguments },
            port: Some(port),
            queued: false,
            holds: Holds::default(),
            held_since: 0,
            trap_exit: false,
            parent,
            links: BTreeSet::new(),
            watchers: BTreeSet::new(),
            watching: BTreeMap::new(),
            names: Vec::new(),
            waiters: BTreeSet::new(),
            blocked_on: Vec::new(),
            deferred: Vec::new(),
            killed: None,
            upgrade: None,
            upgrade_queued: false,
            becoming: None,
            timer: u64::MAX,
            counts: Counts::default(),
        };
        let slot = self.insert(process);
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
        match target(&signal) {
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

    // ---- turns ----

    /// The next process to run, if any may.
    #[inline]
    pub fn next_turn(&mut self) -> Option<Turn> {
        let upgrade_is_due = self.turns_since_upgrade >= self.config.turns_between_upgrades;
        if !self.upgrades.is_empty() && (self.run_queue.is_empty() || upgrade_is_due) {
            self.turns_since_upgrade = 0;
            if let Some(turn) = self.next_upgrade() {
                return Some(turn);
            }
        }
        while let Some(slot) = self.run_queue.pop_front() {
            self.turns_since_upgrade = self.turns_since_upgrade.saturating_add(1);
            let now = self.now;
            let Some(process) = self.processes[slot.0 as usize].as_deref_mut() else { continue };
            if !process.queued {
                continue;
            }
            process.queued = false;
            if !process.holds.is_free() {
                continue;
            }
            let Some(mut port) = process.port.take() else { continue };
            let work = if let Stage::New { arguments } = &mut process.stage {
                let arguments = core::mem::take(arguments);
                process.stage = Stage::Started;
                Work::Start { program: process.program.clone(), entry: process.entry, arguments }
            } else if let Some(becoming) = &mut process.becoming {
                Work::Become {
                    program: process.program.clone(),
                    entry: becoming.entry.clone(),
                    schema: becoming.schema,
                    state: core::mem::take(&mut becoming.state),
                }
            } else if let Some(receive) = port.next_ready() {
                Work::Poll(receive)
            } else {
                process.port = Some(port);
                continue;
            };
            process.counts.polls += 1;
            port.set_now(now);
            return Some(Turn { slot, pid: process.pid, port, work });
        }
        if self.upgrades.is_empty() { None } else { self.next_upgrade() }
    }

    fn next_upgrade(&mut self) -> Option<Turn> {
        let now = self.now;
        while let Some(slot) = self.upgrades.pop_front() {
            let Some(process) = self.processes[slot.0 as usize].as_deref_mut() else { continue };
            process.upgrade_queued = false;
            if process.upgrade.is_none() || !process.holds.is_free() {
                continue;
            }
            if !process.port.as_ref().is_some_and(|port| port.is_between_messages()) {
                continue;
            }
            let (Some(mut port), Some(order)) = (process.port.take(), process.upgrade.clone()) else { continue };
            port.set_now(now);
            return Some(Turn { slot, pid: process.pid, port, work: Work::Upgrade(order) });
        }
        None
    }

    /// Whether any process may run.
    pub fn has_work(&self) -> bool {
        !self.run_queue.is_empty() || !self.upgrades.is_empty()
    }

    /// Processes that wait for their turn.
    pub fn backlog(&self) -> usize {
        self.run_queue.len()
    }

    /// Takes a process back after its turn.
    ///
    /// While its actions are performed the port stays out, so whatever they cause to the process itself comes
    /// after all of them.
    #[inline]
    pub fn finish(&mut self, slot: Slot, mut port: Box<Port>, outcome: Outcome) {
        let Some(process) = self.processes[slot.0 as usize].as_deref_mut() else { return };
        let pid = process.pid;
        let mut ended = None;
        match outcome {
            Outcome::Pending => self.perform(slot, pid, &mut port),
            Outcome::Exited(reason) => {
                self.perform(slot, pid, &mut port);
                ended = Some(reason);
            }
            Outcome::Failed(reason) => {
                port.take_outbox();
                ended = Some(process.killed.take().unwrap_or(reason));
            }
            Outcome::Upgraded { program, entry, exited } => {
                port.commit();
                process.program = program;
                process.entry = entry;
                process.counts.upgrades += 1;
                process.becoming = None;
                if let Some(order) = process.upgrade.take() {
                    self.effects.push_back(Effect::UpgradeDone { id: order.id, pid, result: Ok(()) });
                }
                self.perform(slot, pid, &mut port);
                self.sweep(slot, &mut port);
                ended = exited;
            }
            Outcome::RolledBack { reason, attempted } => {
                port.rollback();
                process.counts.rollbacks += u32::from(attempted);
                if let Some(becoming) = process.becoming.take() {
                    port.call_failed(becoming.reference, &CallError::NotSent(reason.clone()));
                }
                if let Some(order) = process.upgrade.take() {
                    self.effects.push_back(Effect::UpgradeDone { id: order.id, pid, result: Err(reason) });
                }
            }
        }
        let Some(process) = self.processes[slot.0 as usize].as_deref_mut() else { return };
        process.port = Some(port);
        if !process.deferred.is_empty() {
            self.handle_deferred(slot, pid);
        }
        let Some(process) = self.at(slot).filter(|p| p.pid == pid) else { return };
        match process.killed.take().or(ended) {
            Some(reason) => self.end(slot, pid, reason),
            None => self.settle(slot),
        }
    }

    /// Puts a process into the queue that it belongs to, and sets its timer.
    #[inline]
    fn settle(&mut self, slot: Slot) {
        let now = self.now;
        let Some(process) = self.processes[slot.0 as usize].as_deref_mut() else { return };
        let Some(port) = &mut process.port else { return };
        if process.holds.is_free() {
            if port.is_ready() || process.becoming.is_some() || matches!(process.stage, Stage::New { .. }) {
                if !process.queued {
                    process.queued = true;
                    self.run_queue.push_back(slot);
                }
            } else {
                let deadline = port.deadline();
                if deadline <= now {
                    port.expire(now);
                    process.queued = true;
                    self.run_queue.push_back(slot);
                } else if deadline < process.timer {
                    process.timer = deadline;
                    self.timers.set(deadline, Timer::Deadline(slot, process.pid));
                }
            }
        }
        if process.upgrade.is_some() && !process.upgrade_queued && process.holds.is_free() && port.is_between_messages()
        {
            process.upgrade_queued = true;
            self.upgrades.push_back(slot);
        }
        if !process.waiters.is_empty() && port.has_drained() {
            self.release_waiters(slot);
        }
    }

    fn enqueue(&mut self, slot: Slot) {
        if let Some(process) = self.at(slot)
            && !process.queued
        {
            process.queued = true;
            self.run_queue.push_back(slot);
        }
    }

    fn handle_deferred(&mut self, slot: Slot, pid: Pid) {
        loop {
            let Some(process) = self.at(slot).filter(|p| p.pid == pid) else { return };
            if process.deferred.is_empty() {
                return;
            }
            let deferred = core::mem::take(&mut process.deferred);
            for signal in deferred {
                if let Signal::TimerFired { timer, envelope } = signal {
                    self.timer_fired(timer, envelope);
                } else {
                    self.route(signal);
                }
            }
        }
    }

    // ---- what a poll asked for ----

    #[inline]
    fn perform(&mut self, slot: Slot, pid: Pid, port: &mut Port) {
        let mut outbox = port.take_outbox();
        if outbox.is_empty() {
            return;
        }
        let mut sent = 0;
        for action in outbox.drain(..) {
            if let Action::Send(envelope) = action {
                sent += 1;
                self.route_message(envelope);
            } else {
                self.perform_one(slot, pid, port, action);
            }
        }
        if let Some(process) = self.at(slot) {
            process.counts.sent += sent;
        }
        port.return_outbox(outbox);
    }

    fn perform_one(&mut self, slot: Slot, pid: Pid, port: &mut Port, action: Action) {
        match action {
            Action::Send(envelope) => self.route_message(envelope),
            Action::SendAfter { delay_ns, timer, envelope } => {
                let at = self.now.saturating_add(delay_ns);
                let key = self.timers.set(at, Timer::Send(envelope, timer));
                self.send_timers.insert((pid.serial, timer), key);
            }
            Action::CancelTimer(timer) => {
                if let Some(key) = self.send_timers.remove(&(pid.serial, timer)) {
                    self.timers.cancel(key);
                } else if let Some(process) = self.at(slot) {
                    process.deferred.retain(|s| !matches!(s, Signal::TimerFired { timer: t, .. } if *t == timer));
                }
            }
            Action::Spawn { pid: child, entry, arguments, link, monitor } => {
                self.spawn_child(slot, pid, child, entry, arguments, link, monitor);
            }
            Action::Link(other) => {
                if other != pid
                    && let Some(process) = self.at(slot)
                    && process.links.insert(other)
                {
                    self.route(Signal::Link { to: other, from: pid });
                }
            }
            Action::Unlink(other) => {
                if let Some(process) = self.at(slot)
                    && process.links.remove(&other)
                {
                    self.route(Signal::Unlink { to: other, from: pid });
                }
            }
            Action::Monitor(other, reference) => {
                if let Some(process) = self.at(slot) {
                    process.watching.insert(reference, other);
                }
                self.route(Signal::Monitor { to: other, from: pid, reference });
            }
            Action::Demonitor(reference) => {
                if let Some(other) = self.at(slot).and_then(|p| p.watching.remove(&reference)) {
                    self.route(Signal::Demonitor { to: other, from: pid, reference });
                }
            }
            Action::Exit(to, reason) => self.route(Signal::Exit { to, from: pid, reason, linked: false }),
            Action::Kill(to) => self.route(Signal::Kill { to, by: Some(pid) }),
            Action::Register(name, owner, reference) => {
                self.name(Signal::Name { request: NameRequest::Register(owner), name, from: pid, reference });
            }
            Action::Unregister(name, reference) => {
                self.name(Signal::Name { request: NameRequest::Unregister, name, from: pid, reference });
            }
            Action::Whereis(name, reference) => {
                self.name(Signal::Name { request: NameRequest::Whereis, name, from: pid, reference });
            }
            Action::CloseCall(to, reference) => self.route(Signal::CloseCall { to, from: pid, reference }),
            Action::Become { reference, entry, schema, state } => {
                let others = port.waits_besides(reference);
                if others > 0 {
                    let why = format!(
                        "{others} other receives or tasks of the process wait at `become_latest!`: they cannot be handed over"
                    );
                    port.call_failed(reference, &CallError::NotSent(why));
                } else if let Some(process) = self.at(slot) {
                    process.becoming = Some(Box::new(Becoming { reference, entry, schema, state }));
                }
            }
            Action::TrapExit(on) => {
                if let Some(process) = self.at(slot) {
                    process.trap_exit = on;
                }
            }
            Action::Refuse(message, error) => self.refuse_taken(slot, &message, error),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn spawn_child(
        &mut self,
        slot: Slot,
        parent: Pid,
        child: Pid,
        entry: u32,
        arguments: Vec<u8>,
        link: bool,
        monitor: Option<Ref>,
    ) {
        let Some(process) = self.at(slot) else { return };
        if link {
            process.links.insert(child);
        }
        if let Some(reference) = monitor {
            process.watching.insert(reference, child);
        }
        let program = process.program.clone();
        match self.create(child, &program, entry, arguments, Some(parent)) {
            Ok(at) => {
                let Some(born) = self.at(at) else { return };
                if link {
                    born.links.insert(parent);
                }
                if let Some(reference) = monitor {
                    born.watchers.insert((parent, reference));
                }
            }
            Err(message) => {
                let reason = ExitReason::NotStarted { message };
                if link {
                    let reason = reason.clone();
                    self.route(Signal::Exit { to: parent, from: child, reason, linked: true });
                }
                if let Some(reference) = monitor {
                    self.route(Signal::Down { to: parent, from: child, reference, reason });
                }
            }
        }
    }

    // ---- routing ----

    /// Whether the process was born here.
    #[inline]
    fn is_here(&self, pid: Pid) -> bool {
        pid.node == self.place.node
            && pid.incarnation == self.place.incarnation
            && (self.place.shards == 1 || pid.serial.0 % u64::from(self.place.shards) == u64::from(self.place.shard))
    }

    /// Whether a process born here lives on another shard now.
    fn moved_to(&self, pid: Pid) -> Option<u32> {
        if self.moved.is_empty() { None } else { self.moved.get(&pid.serial).copied() }
    }

    #[inline]
    fn route_message(&mut self, envelope: Envelope) {
        let to = envelope.to;
        if self.is_here(to) && self.moved.is_empty() {
            self.deliver(envelope);
        } else {
            self.route(Signal::Message(envelope));
        }
    }

    fn route(&mut self, signal: Signal) {
        let Some(to) = target(&signal) else {
            self.name(signal);
            return;
        };
        if to.node != self.place.node {
            self.effects.push_back(Effect::ToNode(to.node, signal));
            return;
        }
        if to.incarnation != self.place.incarnation {
            self.nobody(signal);
            return;
        }
        // A process that moved is always reached through the shard where it was born: one path keeps the order.
        let home = (to.serial.0 % u64::from(self.place.shards)) as u32;
        if home == self.place.shard {
            match self.moved_to(to) {
                Some(shard) => self.effects.push_back(Effect::ToShard(shard, signal)),
                None => self.handle(to, signal),
            }
        } else {
            self.effects.push_back(Effect::ToShard(home, signal));
        }
    }

    fn handle(&mut self, to: Pid, signal: Signal) {
        let Some(slot) = self.slot_of(to) else {
            if self.externals.contains_key(&to.serial) {
                self.effects.push_back(Effect::ToExternal(to, signal));
            } else {
                self.nobody(signal);
            }
            return;
        };
        let Some(process) = self.at(slot) else { return };
        if process.port.is_none() {
            self.defer(slot, signal);
            return;
        }
        match signal {
            Signal::Message(envelope) | Signal::TimerFired { envelope, .. } => self.deliver_to(slot, envelope),
            Signal::CallFailed { reference, error, .. } => {
                if let Some(port) = &mut process.port
                    && !port.call_failed(reference, &error)
                {
                    process.counts.late += 1;
                }
                self.settle(slot);
            }
            Signal::CloseCall { from, reference, .. } => {
                if let Some(port) = &mut process.port {
                    port.close_call(from, reference);
                }
            }
            Signal::Link { from, .. } => {
                process.links.insert(from);
            }
            Signal::Unlink { from, .. } => {
                process.links.remove(&from);
            }
            Signal::Exit { from, reason, linked, .. } => self.exit_signal(slot, from, reason, linked),
            Signal::Kill { by, .. } => self.end(slot, to, ExitReason::Killed { by }),
            Signal::Monitor { from, reference, .. } => {
                process.watchers.insert((from, reference));
            }
            Signal::Demonitor { from, reference, .. } => {
                process.watchers.remove(&(from, reference));
            }
            Signal::Down { from, reference, reason, .. } => {
                if process.watching.remove(&reference).is_some() {
                    let notice = Down { monitor: reference, pid: from, reason };
                    self.notify(slot, from, self.known.down, &notice);
                }
            }
            Signal::Full { target, .. } => self.block(slot, target),
            Signal::Drained { target, .. } => self.unblock(slot, target),
            Signal::Probe { origin, target, hops, .. } => self.probe(slot, origin, target, hops),
            Signal::Withdraw { from, .. } => self.withdraw(slot, from),
            Signal::Named { name, from, reference, .. } => {
                process.names.push(name);
                self.answer_name(from, reference, NameAnswer::Done);
            }
            Signal::Unnamed { name, .. } => process.names.retain(|n| *n != name),
            Signal::Name { .. } | Signal::NameGone { .. } => {}
        }
    }

    /// The process is being polled: what comes for it waits, and what cannot wait stops it.
    fn defer(&mut self, slot: Slot, signal: Signal) {
        let limit = self.config.port.mailbox_messages as usize;
        let Some(process) = self.at(slot) else { return };
        let to = process.pid;
        if let Signal::Kill { by, .. } = signal {
            process.killed = Some(ExitReason::Killed { by });
            self.effects.push_back(Effect::Interrupt(slot));
            return;
        }
        let from = match &signal {
            Signal::Message(envelope) if envelope.class != Class::Reply => Some(envelope.from),
            _ => None,
        };
        process.deferred.push(signal);
        if let Some(from) = from
            && process.deferred.len() >= limit
            && from != to
            && process.waiters.insert(from)
        {
            self.route(Signal::Full { to: from, target: to });
        }
    }

    /// There is no such process.
    fn nobody(&mut self, signal: Signal) {
        match signal {
            Signal::Message(envelope) | Signal::TimerFired { envelope, .. } => {
                self.undeliverable += 1;
                if envelope.class == Class::Reply {
                    return;
                }
                if envelope.reference.is_some() {
                    let (to, reference) = (envelope.from, envelope.reference);
                    self.route(Signal::CallFailed { to, reference, error: CallError::Down(ExitReason::NoProcess) });
                }
                self.refuse(&envelope, "there is no such process");
            }
            Signal::Link { to, from } => {
                self.route(Signal::Exit { to: from, from: to, reason: ExitReason::NoProcess, linked: true });
            }
            Signal::Monitor { to, from, reference } => {
                self.route(Signal::Down { to: from, from: to, reference, reason: ExitReason::NoProcess });
            }
            Signal::Named { to, name, from, reference } => {
                self.name(Signal::NameGone { name, pid: to });
                self.answer_name(from, reference, NameAnswer::NoProcess);
            }
            _ => {}
        }
    }

    // ---- messages ----

    #[inline]
    fn deliver(&mut self, envelope: Envelope) {
        let Some(slot) = self.slot_of(envelope.to) else {
            self.handle(envelope.to, Signal::Message(envelope));
            return;
        };
        if self.processes[slot.0 as usize].as_ref().is_some_and(|p| p.port.is_none()) {
            self.defer(slot, Signal::Message(envelope));
        } else {
            self.deliver_to(slot, envelope);
        }
    }

    #[inline]
    fn deliver_to(&mut self, slot: Slot, envelope: Envelope) {
        let Some(process) = self.processes[slot.0 as usize].as_deref_mut() else { return };
        let Some(port) = &mut process.port else { return };
        if envelope.class == Class::Reply {
            if port.answered(envelope) {
                self.settle(slot);
            } else {
                process.counts.late += 1;
            }
            return;
        }
        if envelope.class != Class::Notice
            && let Some(accepts) = process.program.entries[process.entry as usize].accepts.as_deref()
            && !accepts.contains(&envelope.schema)
            && fit_any(&*self.types, accepts, envelope.schema).is_none()
        {
            self.mismatch(slot, &envelope);
            return;
        }
        let (from, to) = (envelope.from, envelope.to);
        let may_overshoot = envelope.class == Class::Notice;
        if !may_overshoot && port.is_overflowing() {
            let why = "the mailbox holds four times its limit";
            if envelope.reference.is_some() {
                let error = CallError::NotSent(why.to_string());
                self.route(Signal::CallFailed { to: from, reference: envelope.reference, error });
            } else {
                self.not_delivered(&envelope, why);
            }
            self.refuse(&envelope, why);
            return;
        }
        process.counts.received += 1;
        port.deliver(envelope, &*self.types);
        let full = !may_overshoot && from != to && port.is_full();
        if !process.queued {
            self.settle(slot);
        }
        if full
            && let Some(process) = self.at(slot)
            && process.waiters.insert(from)
        {
            self.route(Signal::Full { to: from, target: to });
        }
    }

    /// Delivers something that the runtime says.
    fn notify(&mut self, slot: Slot, from: Pid, schema: SchemaId, notice: &impl Data) {
        let Some(process) = self.at(slot) else { return };
        let mut payload = Vec::new();
        notice.encode(&mut payload);
        let envelope = Envelope {
            class: Class::Notice,
            from,
            to: process.pid,
            epoch: Epoch(0),
            reference: Ref::NONE,
            schema,
            trace: TraceId(0),
            payload: Payload::from(payload),
            attachments: None,
        };
        self.deliver_to(slot, envelope);
    }

    fn mismatch(&mut self, slot: Slot, envelope: &Envelope) {
        let Some(process) = self.at(slot) else { return };
        process.counts.refused += 1;
        let readers = process.accepts().unwrap_or_default().to_vec();
        let error = self.types.mismatch(&readers, envelope.schema);
        let why = error.to_string();
        if envelope.reference.is_some() {
            self.route(Signal::CallFailed { to: envelope.from, reference: envelope.reference, error });
        } else {
            self.not_delivered(envelope, &why);
        }
        self.refuse(envelope, &why);
    }

    /// A value turned out not to fit when it was about to be read: it was taken out of the mailbox.
    fn refuse_taken(&mut self, slot: Slot, message: &Message, error: CallError) {
        let Some(process) = self.at(slot) else { return };
        process.counts.refused += 1;
        let to = process.pid;
        let why = error.to_string();
        if message.wants_answer() {
            self.route(Signal::CallFailed { to: message.from, reference: message.reference, error });
        }
        let type_name = self.types.name(message.schema);
        self.remember(Refusal { at: self.now, from: message.from, to, type_name, reason: why });
    }

    fn refuse(&mut self, envelope: &Envelope, why: &str) {
        let type_name = self.types.name(envelope.schema);
        let refusal = Refusal { at: self.now, from: envelope.from, to: envelope.to, type_name, reason: why.into() };
        self.remember(refusal);
    }

    fn remember(&mut self, refusal: Refusal) {
        self.refused += 1;
        if self.refusals.len() >= self.config.refusals {
            self.refusals.pop_front();
        }
        self.refusals.push_back(refusal);
    }

    /// Tells the sender, if it asked to be told by accepting such notices.
    fn not_delivered(&mut self, envelope: &Envelope, why: &str) {
        let known = self.known.not_delivered;
        let Some(slot) = self.slot_of(envelope.from) else { return };
        let wants = self
            .at(slot)
            .is_some_and(|p| p.port.is_some() && p.accepts().is_some_and(|accepts| accepts.contains(&known)));
        if wants {
            let type_name = self.types.name(envelope.schema);
            let notice = NotDelivered { to: envelope.to, type_name, reason: why.to_string() };
            self.notify(slot, envelope.to, known, &notice);
        }
    }

    /// After a change of code: what the new code does not accept is refused, with an answer.
    fn sweep(&mut self, slot: Slot, port: &mut Port) {
        let types = self.types.clone();
        let Some(accepts) = self.at(slot).and_then(|p| p.accepts()).map(<[SchemaId]>::to_vec) else { return };
        for message in port.sweep(&accepts, &*types) {
            let error = types.mismatch(&accepts, message.schema);
            self.refuse_taken(slot, &message, error);
        }
    }

    // ---- full mailboxes ----

    fn block(&mut self, slot: Slot, target: Pid) {
        let Some(process) = self.at(slot) else { return };
        let origin = process.pid;
        if !process.blocked_on.contains(&target) {
            process.blocked_on.push(target);
        }
        self.hold(origin, Hold::BackPressure, true);
        self.route(Signal::Probe { to: target, origin, target, hops: 64 });
    }

    fn unblock(&mut self, slot: Slot, target: Pid) {
        let Some(process) = self.at(slot) else { return };
        process.blocked_on.retain(|pid| *pid != target);
        if process.blocked_on.is_empty() {
            let pid = process.pid;
            self.hold(pid, Hold::BackPressure, false);
        }
    }

    fn release_waiters(&mut self, slot: Slot) {
        let Some(process) = self.at(slot) else { return };
        let target = process.pid;
        for to in core::mem::take(&mut process.waiters) {
            self.route(Signal::Drained { to, target });
        }
    }

    fn probe(&mut self, slot: Slot, origin: Pid, target: Pid, hops: u32) {
        let Some(process) = self.at(slot) else { return };
        let me = process.pid;
        if me == origin && me != target {
            if process.blocked_on.contains(&target) {
                self.break_cycle(slot, target);
            }
            return;
        }
        let Some(hops) = hops.checked_sub(1) else { return };
        let next = process.blocked_on.clone();
        for to in next {
            self.route(Signal::Probe { to, origin, target, hops });
        }
    }

    /// Each waits for the next, and the last for the first: this sender gives up what it sent beyond the limit.
    fn break_cycle(&mut self, slot: Slot, target: Pid) {
        let Some(process) = self.at(slot) else { return };
        let from = process.pid;
        self.route(Signal::Withdraw { to: target, from });
        self.unblock(slot, target);
    }

    fn withdraw(&mut self, slot: Slot, from: Pid) {
        let Some(process) = self.at(slot) else { return };
        let to = process.pid;
        let Some(port) = &mut process.port else { return };
        process.waiters.remove(&from);
        let why = "given up: each process of a cycle waits for the next one's mailbox to drain";
        for message in port.withdraw(from) {
            let Message { seq: _, class, from, reference, schema, trace, payload, attachments } = message;
            let epoch = Epoch(0);
            let envelope = Envelope { class, from, to, epoch, reference, schema, trace, payload, attachments };
            if envelope.reference.is_some() {
                let error = CallError::NotSent(why.to_string());
                self.route(Signal::CallFailed { to: from, reference: envelope.reference, error });
            }
            self.not_delivered(&envelope, why);
            self.refuse(&envelope, why);
        }
    }

    // ---- ends ----

    fn exit_signal(&mut self, slot: Slot, from: Pid, reason: ExitReason, linked: bool) {
        let Some(process) = self.at(slot) else { return };
        let pid = process.pid;
        if linked && !process.links.remove(&from) {
            return;
        }
        if process.trap_exit {
            self.notify(slot, from, self.known.exit, &Exit { from, reason });
        } else if !reason.is_normal() || (from == pid && !linked) {
            self.end(slot, pid, reason);
        }
    }

    fn end(&mut self, slot: Slot, pid: Pid, reason: ExitReason) {
        let entry = &mut self.processes[slot.0 as usize];
        if entry.as_ref().is_none_or(|p| p.pid != pid) {
            return;
        }
        let Some(process) = entry.take() else { return };
        self.free.push(slot.0);
        self.by_serial.remove(&pid.serial);
        let Process { links, watchers, watching, names, waiters, port, upgrade, deferred, .. } = *process;
        for name in names {
            self.name(Signal::NameGone { name, pid });
        }
        for (reference, to) in watching {
            self.route(Signal::Demonitor { to, from: pid, reference });
        }
        if let Some(port) = port {
            for (to, reference) in port.callers() {
                self.route(Signal::CallFailed { to, reference, error: down_error(&reason) });
            }
            self.undeliverable += u64::from(port.mailbox().len());
        }
        for to in links {
            self.route(Signal::Exit { to, from: pid, reason: reason.clone(), linked: true });
        }
        for (to, reference) in watchers {
            self.route(Signal::Down { to, from: pid, reference, reason: reason.clone() });
        }
        for to in waiters {
            self.route(Signal::Drained { to, target: pid });
        }
        if let Some(order) = upgrade {
            let result = Err("the process ended first".to_string());
            self.effects.push_back(Effect::UpgradeDone { id: order.id, pid, result });
        }
        for signal in deferred {
            self.nobody(signal);
        }
        self.effects.push_back(Effect::Ended { slot, pid, reason });
    }

    // ---- names ----

    fn name(&mut self, signal: Signal) {
        if self.place.shard != 0 {
            self.effects.push_back(Effect::ToShard(0, signal));
            return;
        }
        match signal {
            Signal::Name { request, name, from, reference } => {
                let owner = self.names.get(&name).copied();
                let answer = match (request, owner) {
                    (NameRequest::Register(pid), None) => {
                        if self.names.len() as u32 >= self.config.names {
                            NameAnswer::Unknown
                        } else {
                            self.names.insert(name.clone(), pid);
                            self.route(Signal::Named { to: pid, name, from, reference });
                            return;
                        }
                    }
                    (NameRequest::Register(_) | NameRequest::Whereis, Some(owner)) => NameAnswer::Owner(owner),
                    (NameRequest::Unregister, Some(owner)) => {
                        self.names.remove(&name);
                        self.route(Signal::Unnamed { to: owner, name });
                        NameAnswer::Done
                    }
                    (NameRequest::Unregister | NameRequest::Whereis, None) => NameAnswer::Unknown,
                };
                self.answer_name(from, reference, answer);
            }
            Signal::NameGone { name, pid } => {
                if self.names.get(&name) == Some(&pid) {
                    self.names.remove(&name);
                }
            }
            _ => {}
        }
    }

    fn answer_name(&mut self, to: Pid, reference: Ref, answer: NameAnswer) {
        let mut payload = Vec::new();
        answer.encode(&mut payload);
        let from = Pid::new(self.place.node, self.place.incarnation, Serial(0));
        self.route(Signal::Message(Envelope {
            class: Class::Reply,
            from,
            to,
            epoch: Epoch(0),
            reference,
            schema: self.known.name_answer,
            trace: TraceId(0),
            payload: Payload::from(payload),
            attachments: None,
        }));
    }

    /// Whose name it is; only shard 0 knows.
    pub fn whereis(&self, name: &str) -> Option<Pid> {
        self.names.get(name).copied()
    }

    /// All names, in order; only shard 0 knows them.
    pub fn names(&self) -> impl Iterator<Item = (&str, Pid)> {
        self.names.iter().map(|(name, pid)| (name.as_str(), *pid))
    }

    // ---- output ----

    /// The next thing that must leave the shard.
    #[inline]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Messages that were refused since the start, and those that are remembered, oldest first.
    pub fn refusals(&self) -> (u64, impl Iterator<Item = &Refusal>) {
        (self.refused, self.refusals.iter())
    }

    /// Messages that found nobody, and those whose reader ended first.
    pub fn undeliverable(&self) -> u64 {
        self.undeliverable
    }

    /// All processes, by serial.
    pub fn list(&self) -> Vec<ProcessInfo> {
        let mut all: Vec<_> = self
            .processes
            .iter()
            .enumerate()
            .filter_map(|(index, process)| Some(self.describe(Slot(index as u32), process.as_deref()?)))
            .collect();
        all.sort_by_key(|info| info.pid);
        all
    }

    /// One process.
    pub fn info(&self, pid: Pid) -> Option<ProcessInfo> {
        let slot = self.slot_of(pid)?;
        Some(self.describe(slot, self.processes[slot.0 as usize].as_deref()?))
    }

    fn describe(&self, slot: Slot, process: &Process) -> ProcessInfo {
        let entry = &process.program.entries[process.entry as usize];
        let (mailbox, mailbox_bytes) =
            process.port.as_ref().map_or((0, 0), |port| (port.mailbox().len(), port.mailbox().bytes()));
        ProcessInfo {
            slot,
            pid: process.pid,
            program: process.program.name.clone(),
            entry: entry.name.clone(),
            is_server: entry.is_server,
            standing: process.standing(),
            mailbox: mailbox + process.deferred.len() as u32,
            mailbox_bytes,
            names: process.names.clone(),
            parent: process.parent,
            links: process.links.iter().copied().collect(),
            watchers: process.watchers.iter().map(|(pid, _)| *pid).collect(),
            watching: process.watching.values().copied().collect(),
            upgrade_pending: process.upgrade.is_some(),
            trap_exit: process.trap_exit,
            counts: process.counts,
        }
    }

    /// The code that a process runs, and its entry.
    pub fn program_of(&self, pid: Pid) -> Option<(&Arc<Program>, u32)> {
        let slot = self.slot_of(pid)?;
        let process = self.processes[slot.0 as usize].as_deref()?;
        Some((&process.program, process.entry))
    }

    /// The processes whose code `wanted` accepts, by serial.
    pub fn processes_of(&self, mut wanted: impl FnMut(&Program) -> bool) -> Vec<(Pid, u32)> {
        let mut all: Vec<_> = self
            .processes
            .iter()
            .flatten()
            .filter(|process| wanted(&process.program))
            .map(|process| (process.pid, process.entry))
            .collect();
        all.sort_unstable();
        all
    }

    // ---- handing a process over ----

    /// Takes a process out of this shard; what comes for it goes to shard `to` from now on.
    ///
    /// The record must reach that shard before anything that is forwarded after this call: send it the same way.
    /// `None` if the process is not here or being polled at this moment.
    pub fn release(&mut self, pid: Pid, to: u32) -> Option<(Slot, ProcessRecord)> {
        let slot = self.slot_of(pid)?;
        let record = self.export(pid)?;
        for (timer, _, _) in &record.timers {
            if let Some(key) = self.send_timers.remove(&(pid.serial, *timer)) {
                self.timers.cancel(key);
            }
        }
        self.processes[slot.0 as usize] = None;
        self.free.push(slot.0);
        self.by_serial.remove(&pid.serial);
        let home = (pid.serial.0 % u64::from(self.place.shards)) as u32;
        if home == self.place.shard {
            self.moved.insert(pid.serial, to);
        }
        Some((slot, record))
    }

    /// Notes that a process born here lives on another shard now (`None`: it is back, or has ended).
    pub fn set_moved(&mut self, pid: Pid, to: Option<u32>) {
        match to.filter(|shard| *shard != self.place.shard) {
            Some(shard) => self.moved.insert(pid.serial, shard),
            None => self.moved.remove(&pid.serial),
        };
    }

    /// The kernel's part of a process as data. `None` if it is not here or being polled at this moment.
    pub fn export(&self, pid: Pid) -> Option<ProcessRecord> {
        let slot = self.slot_of(pid)?;
        let process = self.processes[slot.0 as usize].as_deref()?;
        let port = process.port.as_ref()?.export(self.now);
        let mut timers: Vec<_> = self
            .send_timers
            .iter()
            .filter(|((serial, _), _)| *serial == pid.serial)
            .filter_map(|((_, timer), key)| match self.timers.get(key)? {
                Timer::Send(envelope, _) => Some((*timer, key.0.saturating_sub(self.now), envelope.clone())),
                Timer::Deadline(..) => None,
            })
            .collect();
        timers.sort_by_key(|(timer, ..)| *timer);
        Some(ProcessRecord {
            port,
            program: process.program.clone(),
            entry: process.entry,
            arguments: match &process.stage {
                Stage::New { arguments } => Some(arguments.clone()),
                Stage::Started => None,
            },
            trap_exit: process.trap_exit,
            parent: process.parent,
            links: process.links.iter().copied().collect(),
            watchers: process.watchers.iter().copied().collect(),
            watching: process.watching.iter().map(|(r, p)| (*r, *p)).collect(),
            names: process.names.clone(),
            waiters: process.waiters.iter().copied().collect(),
            timers,
            counts: process.counts,
        })
    }

    /// Takes a process in that was elsewhere.
    pub fn import(&mut self, record: ProcessRecord) -> Slot {
        let ProcessRecord {
            port,
            program,
            entry,
            arguments,
            trap_exit,
            parent,
            links,
            watchers,
            watching,
            names,
            waiters,
            timers,
            counts,
        } = record;
        let pid = port.pid;
        let mut port = Box::new(Port::import(port, self.config.port, self.serials.clone(), self.now));
        for (timer, remaining, envelope) in timers {
            let key = self.timers.set(self.now.saturating_add(remaining), Timer::Send(envelope, timer));
            self.send_timers.insert((pid.serial, timer), key);
            port.timer_set(timer);
        }
        self.moved.remove(&pid.serial);
        let slot = self.insert(Process {
            pid,
            program,
            entry,
            stage: arguments.map_or(Stage::Started, |arguments| Stage::New { arguments }),
            port: Some(port),
            queued: false,
            holds: Holds::default(),
            held_since: 0,
            trap_exit,
            parent,
            links: links.into_iter().collect(),
            watchers: watchers.into_iter().collect(),
            watching: watching.into_iter().collect(),
            names,
            waiters: waiters.into_iter().collect(),
            blocked_on: Vec::new(),
            deferred: Vec::new(),
            killed: None,
            upgrade: None,
            upgrade_queued: false,
            becoming: None,
            timer: u64::MAX,
            counts,
        });
        self.settle(slot);
        slot
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

/// The process that a signal concerns; the registrar's have none.
fn target(signal: &Signal) -> Option<Pid> {
    match signal {
        Signal::Message(envelope) | Signal::TimerFired { envelope, .. } => Some(envelope.to),
        Signal::CallFailed { to, .. }
        | Signal::CloseCall { to, .. }
        | Signal::Link { to, .. }
        | Signal::Unlink { to, .. }
        | Signal::Exit { to, .. }
        | Signal::Kill { to, .. }
        | Signal::Monitor { to, .. }
        | Signal::Demonitor { to, .. }
        | Signal::Down { to, .. }
        | Signal::Full { to, .. }
        | Signal::Drained { to, .. }
        | Signal::Probe { to, .. }
        | Signal::Withdraw { to, .. }
        | Signal::Named { to, .. }
        | Signal::Unnamed { to, .. } => Some(*to),
        Signal::Name { .. } | Signal::NameGone { .. } => None,
    }
}
