//! A shard: one thread with its own processes. A message that stays on it crosses no lock.
//!
//! While a guest is polled, the shard travels with it as its baton. If the guest does not come back within its slice,
//! the shard is handed to another thread and goes on there; the guest keeps its thread, and what came of it returns
//! through the inbox.
//!
//! Invariant: effects are dealt with before the next turn is taken, so a slot's instance is gone before the slot is
//! used again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use neurath_engine::{EntryIndex, Fault, ImageError, Instance, Stop};
use neurath_kernel::kernel::ProcessInfo;
use neurath_kernel::kernel::Refusal;
use neurath_kernel::membership::{Member, MemberInfo};
use neurath_kernel::session::{DialId, EndCause};
use neurath_kernel::trace::{TraceFilter, Tracer, WatchId};
use neurath_kernel::{
    Effect, Kernel, Outcome, Port, Program, Signal, Slot, SpawnRequest, Turn, UpgradeId, UpgradeOrder, Work,
};
use neurath_net::Connection;
use neurath_proto::abi::{PollStatus, StartMode};
use neurath_proto::envelope::{Class, Envelope, Epoch, Payload, SchemaId, TraceId};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{NodeId, Pid, Ref};
use tokio::sync::{mpsc as async_mpsc, oneshot};

pub(crate) use network::Network;

use crate::bodies::{Bodies, Footprint};
use crate::catalog::loaded;
use crate::cluster::peers::{NodeNews, PeerInfo};
use crate::guest::Guest;
use crate::inbox::Inbox;
use crate::meter::{Meter, ShardLoad};
use crate::shared::Shared;
use crate::upgrade;

mod network;

/// Turns between two looks at the inbox.
const TURNS: u32 = 64;
/// Turns between two looks at the clock.
const TURNS_PER_CLOCK: u32 = 8;

/// Why a server was not changed when the patience was over.
pub const LEFT_BEHIND: &str = "it was not between two messages in time";

/// What became of each process's upgrade, some at a time.
pub type UpgradeResult = (Pid, Result<(), String>);

/// Where that goes.
pub type UpgradeResults = async_mpsc::UnboundedSender<Vec<UpgradeResult>>;

/// Who has the shard while a guest is polled.
pub enum Baton {
    /// The guest's own thread.
    Shard(Box<Shard>),
    /// Another thread; the flag asks the guest to stop, what came of it goes into the inbox.
    Gone(Arc<AtomicBool>, Arc<Inbox<Input>>),
}

/// What comes into a shard.
pub enum Input {
    /// From another shard, for a node whose session this one has.
    ToNode {
        /// The node.
        node: NodeId,
        /// How many associations with it that shard has seen end.
        epoch: u64,
        /// For it.
        signal: Signal,
    },
    /// What this node itself says to another.
    Post {
        /// The other.
        node: NodeId,
        /// An encoded message of the session.
        message: Vec<u8>,
    },
    /// There is a connection to a node whose session this shard has.
    Connection {
        /// The node.
        node: NodeId,
        /// To it.
        connection: Box<dyn Connection>,
        /// Whether this node has dialed.
        dialed: bool,
    },
    /// A node was not reached.
    DialFailed {
        /// The node.
        node: NodeId,
        /// The attempt.
        dial: DialId,
    },
    /// The association with a node is to end.
    EndAssociation(NodeId, EndCause),
    /// A packet for membership (shard 0).
    Gossip {
        /// Who sent it.
        from: NodeId,
        /// It.
        packet: Vec<u8>,
    },
    /// Something is told of a node.
    News(NodeNews),
    /// From another shard.
    Signal(Signal),
    /// A guest that had kept its thread is done.
    Returned(Box<Returned>),
    /// From the node.
    Command(Command),
}

/// See [`Input::Returned`].
pub struct Returned {
    slot: Slot,
    instance: Instance<Guest>,
    port: Box<Port>,
    outcome: Outcome,
}

/// What the node asks of a shard.
pub enum Command {
    /// Start a process.
    Spawn {
        /// Its code.
        program: Arc<Program>,
        /// The entry.
        entry: u32,
        /// Encoded arguments.
        arguments: Vec<u8>,
        /// Where its pid goes.
        reply: oneshot::Sender<Result<Pid, String>>,
    },
    /// Start a function and ask for its result before it can begin.
    Run {
        /// Its code.
        program: Arc<Program>,
        /// The entry.
        entry: u32,
        /// Encoded arguments.
        arguments: Vec<u8>,
        /// What asks for the result: type and encoded value.
        question: (SchemaId, Vec<u8>),
        /// Where its pid goes.
        started: oneshot::Sender<Result<Pid, String>>,
        /// Where its result goes.
        reply: oneshot::Sender<Result<Answer, CallError>>,
    },
    /// Send a message from outside and, if it is a call, wait for the answer.
    Ask {
        /// Makes the message once the asker's pid and ref are known.
        message: Box<dyn FnOnce(Pid, Ref) -> Asked + Send>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Answer, CallError>>,
    },
    /// What it does and holds.
    Load(oneshot::Sender<ShardLoad>),
    /// Tell of what happens from now on.
    Trace {
        /// The trace.
        id: WatchId,
        /// What it is about.
        filter: TraceFilter,
        /// Whom to tell.
        tracer: Tracer,
        /// It has begun.
        begun: oneshot::Sender<()>,
    },
    /// No more.
    EndTrace(WatchId),
    /// What processes there are.
    List(oneshot::Sender<Vec<ProcessDetails>>),
    /// One process.
    Info(Pid, oneshot::Sender<Option<ProcessDetails>>),
    /// Which code a process runs.
    ProgramOf(Pid, oneshot::Sender<Option<(Arc<Program>, u32)>>),
    /// Whose name it is (shard 0).
    Whereis(String, oneshot::Sender<Option<Pid>>),
    /// Messages that were refused: how many, and the latest.
    Refusals(oneshot::Sender<(u64, u64, Vec<Refusal>)>),
    /// The servers and plain processes of a package, with the entry of each.
    Members(String, oneshot::Sender<Vec<(Pid, Arc<Program>, u32)>>),
    /// Change processes' code.
    Upgrade {
        /// Which, and to what.
        orders: Vec<(Pid, UpgradeOrder)>,
        /// Where each result goes.
        done: UpgradeResults,
    },
    /// Give up orders that have not begun.
    CancelUpgrade {
        /// Whose orders.
        id: UpgradeId,
        /// The processes.
        pids: Vec<Pid>,
        /// `name@version` that they were to change to.
        to: String,
    },
    /// Start a process for another one that may be elsewhere.
    SpawnFor {
        /// Its code.
        program: Arc<Program>,
        /// Who wants it.
        request: SpawnRequest,
    },
    /// Tell that one that there will be none.
    RefuseSpawn {
        /// Who wanted it.
        request: SpawnRequest,
        /// Why not.
        why: String,
    },
    /// How the sessions of this shard stand.
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    /// What membership knows (shard 0): this node and the others.
    Membership(oneshot::Sender<Option<(Member, Vec<MemberInfo>)>>),
    /// All groups with their members (shard 0).
    Groups(oneshot::Sender<Vec<(String, Vec<Pid>)>>),
    /// Ask a node whether it is there.
    Ping {
        /// Which.
        node: NodeId,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Answer, CallError>>,
    },
    /// Tell the other nodes that this one leaves (shard 0).
    Leave,
    /// End.
    Stop,
}

/// A process as the node shows it.
#[derive(Clone, Debug)]
pub struct ProcessDetails {
    /// What the kernel knows.
    pub info: ProcessInfo,
    /// What its memory takes up; `None` while it keeps a thread or has not started.
    pub footprint: Option<Footprint>,
    /// Nanoseconds that it has computed, estimated from some of its turns.
    pub cpu_ns: u64,
    /// The shard that it is on.
    pub shard: u32,
}

/// A message from outside.
pub struct Asked {
    /// To whom.
    pub to: Pid,
    /// Message, cast or call.
    pub class: Class,
    /// The asker's ref, if an answer is wanted.
    pub reference: Ref,
    /// The type of the payload.
    pub schema: SchemaId,
    /// The encoded value.
    pub payload: Vec<u8>,
}

/// An answer to someone outside.
#[derive(Debug)]
pub struct Answer {
    /// Its type.
    pub schema: SchemaId,
    /// The encoded value.
    pub payload: Vec<u8>,
}

/// See the module.
pub struct Shard {
    pub(crate) kernel: Kernel,
    pub(crate) shared: Arc<Shared>,
    index: u32,
    bodies: Bodies,
    meter: Meter,
    inbox: Arc<Inbox<Input>>,
    incoming: Vec<Input>,
    outgoing: Vec<Vec<Input>>,
    running: Slot,
    detached: HashMap<Slot, Arc<AtomicBool>>,
    asked: HashMap<Pid, (Ref, oneshot::Sender<Result<Answer, CallError>>)>,
    upgrades: HashMap<UpgradeId, (UpgradeResults, Vec<UpgradeResult>)>,
    /// Orders that the kernel has not been given yet: it gets some at a time, so that many are no pause for others.
    orders: VecDeque<(Pid, UpgradeOrder)>,
    pub(crate) plans: upgrade::Plans,
    network: Option<Box<Network>>,
    stopped: bool,
}

impl Shard {
    /// The shard with this number.
    pub(crate) fn new(kernel: Kernel, shared: Arc<Shared>, index: u32, network: Option<Box<Network>>) -> Box<Self> {
        let inbox = shared.inboxes[index as usize].clone();
        let outgoing = shared.inboxes.iter().map(|_| Vec::new()).collect();
        let bodies = Bodies::new(shared.config.hibernation);
        let meter = Meter::new(shared.clock.now(), index);
        Box::new(Self {
            kernel,
            shared,
            index,
            bodies,
            meter,
            inbox,
            incoming: Vec::new(),
            outgoing,
            running: Slot(0),
            detached: HashMap::new(),
            asked: HashMap::new(),
            upgrades: HashMap::new(),
            orders: VecDeque::new(),
            plans: upgrade::Plans::default(),
            network,
            stopped: false,
        })
    }

    /// Runs until it is stopped, or until a guest keeps this thread.
    pub(crate) fn run(mut shard: Box<Self>) {
        loop {
            shard.take_inputs();
            if shard.stopped {
                shard.shared.shard_stopped();
                return;
            }
            shard.give_orders();
            shard.exchange();
            for turn in 0..TURNS {
                if turn % TURNS_PER_CLOCK == 0 {
                    let now = shard.shared.clock.now();
                    shard.kernel.advance(now);
                    shard.deal_with_effects();
                    shard.bodies.sweep(now);
                }
                let Some(turn) = shard.kernel.next_turn() else { break };
                let slot = turn.slot;
                shard.meter.begin(&shard.shared.clock);
                match Self::take_turn(shard, turn) {
                    Some(back) => shard = back,
                    None => return,
                }
                shard.meter.end(slot, &shard.shared.clock);
            }
            shard.pump();
            shard.flush();
            if !shard.kernel.has_work() && shard.orders.is_empty() {
                shard.sleep();
            }
        }
    }

    fn sleep(&mut self) {
        let deadlines = [self.kernel.next_deadline(), self.bodies.next_sweep(), self.network_deadline()];
        let next = deadlines.into_iter().flatten().min();
        let time = next.map(|at| Duration::from_nanos(at.saturating_sub(self.shared.clock.now())));
        if time != Some(Duration::ZERO) {
            let before = self.shared.clock.now();
            self.sleep_for(time);
            self.meter.slept(self.shared.clock.now() - before);
        }
    }

    // ---- turns ----

    /// Runs a guest. `None`: it kept the thread, and the shard is elsewhere.
    #[inline]
    fn take_turn(mut shard: Box<Self>, turn: Turn) -> Option<Box<Self>> {
        let Turn { slot, pid: _, port, work } = turn;
        shard.running = slot;
        match work {
            Work::Poll(receive) => {
                let mut instance = match shard.bodies.take(slot) {
                    Ok(Some(instance)) => instance,
                    other => return Some(shard.lost(slot, port, other.err())),
                };
                lend(&mut instance, port, Baton::Shard(shard));
                let result = instance.poll(receive);
                let outcome = outcome(result, instance.host_mut());
                Self::give_back(slot, instance, outcome)
            }
            Work::Start { program, entry, arguments } => {
                let loaded = loaded(&program);
                let module = loaded.module.clone();
                let mut instance = match Instance::new(&module, Guest::new(loaded)) {
                    Ok(instance) => instance,
                    Err(error) => {
                        let reason = ExitReason::NotStarted { message: error.to_string() };
                        shard.kernel.finish(slot, port, Outcome::Failed(reason));
                        shard.deal_with_effects();
                        return Some(shard);
                    }
                };
                lend(&mut instance, port, Baton::Shard(shard));
                let result = instance.start_entry(EntryIndex(entry), &arguments, StartMode::Fresh);
                let outcome = outcome(result, instance.host_mut());
                Self::give_back(slot, instance, outcome)
            }
            Work::Upgrade(order) => {
                let instance = match shard.bodies.take(slot) {
                    Ok(Some(instance)) => instance,
                    other => return Some(shard.lost(slot, port, other.err())),
                };
                let (instance, outcome) = upgrade::server(shard, instance, port, &order);
                Self::give_back(slot, instance, outcome)
            }
            Work::Become { program, entry, schema, state } => {
                let instance = match shard.bodies.take(slot) {
                    Ok(Some(instance)) => instance,
                    other => return Some(shard.lost(slot, port, other.err())),
                };
                let offer = upgrade::Offer { program, entry, schema, state };
                let (instance, outcome) = upgrade::process(shard, instance, port, offer);
                Self::give_back(slot, instance, outcome)
            }
        }
    }

    /// A process that cannot be woken, or has no body (a bug of ours): it ends, and no other.
    #[cold]
    fn lost(mut self: Box<Self>, slot: Slot, port: Box<Port>, why: Option<ImageError>) -> Box<Self> {
        let why = why.map_or_else(
            || "the node lost its instance; please report this".to_owned(),
            |error| format!("it hibernated and could not be woken: {error}"),
        );
        tracing::error!(slot = slot.0, why, "a process is lost");
        let reason = ExitReason::Trap { message: why };
        self.kernel.finish(slot, port, Outcome::Failed(reason));
        self.deal_with_effects();
        self
    }

    /// Takes port and baton back from an instance after its turn.
    #[inline]
    fn give_back(slot: Slot, mut instance: Instance<Guest>, outcome: Outcome) -> Option<Box<Self>> {
        let guest = instance.host_mut();
        let port = guest.port.take();
        let baton = guest.baton.take();
        guest.deadline = None;
        let port = port?;
        match baton {
            Some(Baton::Shard(mut shard)) => {
                shard.bodies.put(slot, instance);
                if port.hibernates() && matches!(outcome, Outcome::Pending) {
                    shard.bodies.hibernate(slot);
                }
                shard.kernel.finish(slot, port, outcome);
                shard.deal_with_effects();
                Some(shard)
            }
            Some(Baton::Gone(_, inbox)) => {
                inbox.push(Input::Returned(Box::new(Returned { slot, instance, port, outcome })));
                None
            }
            None => None,
        }
    }

    /// Gives the shard to another thread, because the guest of this one does not come back.
    ///
    /// # Errors
    /// The shard again, and perhaps why the guest must be stopped instead.
    pub(crate) fn hand_over(mut shard: Box<Self>) -> Result<Baton, (Box<Self>, Option<Stop>)> {
        let limit = shard.shared.config.detached_max;
        if shard.detached.len() >= limit {
            let why = format!("it ran on while {limit} other processes of its shard already did");
            return Err((shard, Some(Stop(why))));
        }
        let flag = Arc::new(AtomicBool::new(false));
        shard.detached.insert(shard.running, flag.clone());
        shard.meter.leaves(shard.running, &shard.shared.clock);
        let inbox = shard.inbox.clone();
        let (sender, receiver) = mpsc::channel::<Box<Self>>();
        let thread = std::thread::Builder::new().name(format!("shard {}", shard.index)).spawn(move || {
            if let Ok(shard) = receiver.recv() {
                Self::run(shard);
            }
        });
        match thread {
            Ok(_) => match sender.send(shard) {
                Ok(()) => Ok(Baton::Gone(flag, inbox)),
                Err(mpsc::SendError(shard)) => Err((shard, None)),
            },
            Err(error) => {
                tracing::warn!(%error, "no thread could be started for a shard whose guest does not come back");
                shard.detached.remove(&shard.running);
                shard.meter.returns(shard.running, &shard.shared.clock);
                Err((shard, None))
            }
        }
    }

    // ---- input ----

    fn take_inputs(&mut self) {
        if !self.inbox.is_filled() {
            return;
        }
        let mut inputs = std::mem::take(&mut self.incoming);
        self.inbox.take(&mut inputs);
        for input in inputs.drain(..) {
            match input {
                Input::Signal(signal) => self.kernel.signal(signal),
                Input::Returned(returned) => {
                    let Returned { slot, instance, port, outcome } = *returned;
                    self.detached.remove(&slot);
                    self.meter.returns(slot, &self.shared.clock);
                    self.bodies.put(slot, instance);
                    self.kernel.finish(slot, port, outcome);
                }
                Input::Command(command) => self.command(command),
                Input::News(news) => self.node_news(news),
                other => self.peer_input(other),
            }
            self.deal_with_effects();
        }
        self.incoming = inputs;
    }

    fn command(&mut self, command: Command) {
        // A reply that nobody waits for any more is no failure.
        match command {
            Command::Spawn { program, entry, arguments, reply } => {
                let _ = reply.send(self.kernel.spawn(&program, entry, arguments, None, None));
            }
            Command::Run { program, entry, arguments, question: (schema, payload), started, reply } => {
                let spawned = self.kernel.spawn(&program, entry, arguments, None, None);
                if let Ok(to) = spawned {
                    let class = Class::Call;
                    self.ask(Box::new(move |_, reference| Asked { to, class, reference, schema, payload }), reply);
                }
                let _ = started.send(spawned);
            }
            Command::Ask { message, reply } => self.ask(message, reply),
            Command::Load(reply) => {
                let _ = reply.send(self.load());
            }
            Command::Trace { id, filter, tracer, begun } => {
                self.kernel.add_tracer(id, filter, tracer);
                let _ = begun.send(());
            }
            Command::EndTrace(id) => self.kernel.remove_tracer(id),
            Command::List(reply) => {
                let list = self.kernel.list().into_iter().map(|info| self.details(info));
                let _ = reply.send(list.collect());
            }
            Command::Info(pid, reply) => {
                let _ = reply.send(self.kernel.info(pid).map(|info| self.details(info)));
            }
            Command::ProgramOf(pid, reply) => {
                let _ = reply.send(self.kernel.program_of(pid).map(|(program, entry)| (program.clone(), entry)));
            }
            Command::Whereis(name, reply) => {
                let _ = reply.send(self.kernel.whereis(&name));
            }
            Command::Refusals(reply) => {
                let (count, latest) = self.kernel.refusals();
                let _ = reply.send((count, self.kernel.undeliverable(), latest.cloned().collect()));
            }
            Command::Members(package, reply) => {
                let pids = self.kernel.processes_of(|program| loaded(program).manifest.package == package);
                let members = pids.into_iter().filter_map(|(pid, entry)| {
                    let (program, _) = self.kernel.program_of(pid)?;
                    Some((pid, program.clone(), entry))
                });
                let _ = reply.send(members.collect());
            }
            Command::Upgrade { orders, done } => {
                if let Some((_, first)) = orders.first() {
                    self.upgrades.insert(first.id, (done, Vec::new()));
                }
                self.orders.extend(orders);
            }
            Command::CancelUpgrade { id, pids, to } => {
                for pid in pids {
                    let from = self.kernel.program_of(pid).map(|(program, _)| program.name.clone());
                    let given_up = match self.orders.iter().position(|(of, order)| *of == pid && order.id == id) {
                        Some(at) => self.orders.remove(at).is_some(),
                        None => self.kernel.cancel_upgrade(pid, id),
                    };
                    if given_up && let Some((_, results)) = self.upgrades.get_mut(&id) {
                        let result = Err(LEFT_BEHIND.to_owned());
                        self.shared.upgraded(pid, &from.unwrap_or_default(), &to, result.clone(), Duration::ZERO);
                        results.push((pid, result));
                    }
                }
                self.report_upgrades();
                self.upgrades.remove(&id);
            }
            Command::SpawnFor { program, request } => self.kernel.spawn_for(&program, request),
            Command::RefuseSpawn { request, why } => self.kernel.refuse_spawn(&request, why),
            Command::Peers(reply) => {
                let _ = reply.send(self.peers());
            }
            Command::Membership(reply) => {
                let _ = reply.send(self.members());
            }
            Command::Groups(reply) => {
                let groups = self.kernel.groups().map(|(name, pids)| (name.to_owned(), pids.iter().copied().collect()));
                let _ = reply.send(groups.collect());
            }
            Command::Ping { node, reply } => {
                let (from, reference) = self.open_question(reply);
                self.ping(node, from, reference);
            }
            Command::Leave => self.leave(),
            Command::Stop => self.stopped = true,
        }
    }

    fn give_orders(&mut self) {
        let some = self.orders.len().min(TURNS as usize);
        for (pid, order) in self.orders.drain(..some) {
            self.kernel.order_upgrade(pid, order);
        }
        if some > 0 {
            self.deal_with_effects();
        }
    }

    fn details(&self, info: ProcessInfo) -> ProcessDetails {
        let cpu_ns = self.meter.of(info.slot, &self.shared.clock);
        ProcessDetails { footprint: self.bodies.footprint(info.slot), cpu_ns, shard: self.index, info }
    }

    fn load(&self) -> ShardLoad {
        ShardLoad {
            shard: self.index,
            totals: self.kernel.totals(),
            held: self.kernel.held(),
            bodies: self.bodies.held(),
            threads_kept: self.detached.len() as u64,
            busy_ns: self.meter.busy_ns(&self.shared.clock),
        }
    }

    /// Gives someone outside a pid and a ref under which the answer comes.
    fn open_question(&mut self, reply: oneshot::Sender<Result<Answer, CallError>>) -> (Pid, Ref) {
        self.forget_questions();
        let (from, reference) = (self.kernel.open_external(), Ref::new(1, 1));
        self.asked.insert(from, (reference, reply));
        (from, reference)
    }

    /// Questions whose asker has gone.
    fn forget_questions(&mut self) {
        self.asked.retain(|pid, (_, waiting)| {
            let gone = waiting.is_closed();
            if gone {
                self.kernel.close_external(*pid);
            }
            !gone
        });
    }

    fn ask(
        &mut self,
        message: Box<dyn FnOnce(Pid, Ref) -> Asked + Send>,
        reply: oneshot::Sender<Result<Answer, CallError>>,
    ) {
        self.forget_questions();
        let from = self.kernel.open_external();
        let own = Ref::new(1, 1);
        let Asked { to, class, reference, schema, payload } = message(from, own);
        let envelope = Envelope {
            class,
            from,
            to,
            epoch: Epoch(0),
            reference,
            schema,
            trace: TraceId(0),
            payload: Payload::from(payload),
            attachments: None,
        };
        if reference.is_some() {
            self.asked.insert(from, (reference, reply));
        } else {
            self.kernel.close_external(from);
            let _ = reply.send(Ok(Answer { schema, payload: Vec::new() }));
        }
        self.kernel.signal(Signal::Message(envelope));
    }

    // ---- effects ----

    #[inline]
    pub(crate) fn deal_with_effects(&mut self) {
        while let Some(effect) = self.kernel.poll_effect() {
            self.deal_with(effect);
        }
    }

    fn deal_with(&mut self, effect: Effect) {
        match effect {
            Effect::ToShard(shard, signal) => {
                if let Some(queue) = self.outgoing.get_mut(shard as usize) {
                    queue.push(Input::Signal(signal));
                }
            }
            Effect::ToNode(node, signal) => self.send_abroad(node, signal),
            Effect::Spawn(request) => self.start_wanted(request),
            Effect::ToExternal(pid, signal) => self.answer_external(pid, signal),
            Effect::Ended { slot, pid, reason } => {
                self.bodies.remove(slot, pid);
                self.meter.forget(slot);
                self.shared.ended(pid, reason);
            }
            Effect::Interrupt(slot) => {
                if let Some(flag) = self.detached.get(&slot) {
                    flag.store(true, Ordering::Relaxed);
                }
            }
            Effect::UpgradeDone { id, pid, result } => {
                if let Some((_, results)) = self.upgrades.get_mut(&id) {
                    results.push((pid, result));
                }
            }
        }
    }

    fn answer_external(&mut self, pid: Pid, signal: Signal) {
        let answer = match signal {
            Signal::Message(envelope) if envelope.class == Class::Reply => {
                Ok(Answer { schema: envelope.schema, payload: envelope.payload.as_slice().to_vec() })
            }
            Signal::CallFailed { error, .. } => Err(error),
            _ => return,
        };
        if let Some((_, reply)) = self.asked.remove(&pid) {
            let _ = reply.send(answer);
            self.kernel.close_external(pid);
        }
    }

    fn report_upgrades(&mut self) {
        self.upgrades.retain(|_, (done, results)| {
            !done.is_closed() && (results.is_empty() || done.send(std::mem::take(results)).is_ok())
        });
    }

    fn flush(&mut self) {
        if !self.upgrades.is_empty() {
            self.report_upgrades();
        }
        for (shard, queue) in self.outgoing.iter_mut().enumerate() {
            if !queue.is_empty() {
                self.shared.inboxes[shard].append(queue);
            }
        }
    }
}

/// Puts port and baton into the instance's host for a turn.
#[inline]
pub(crate) fn lend(instance: &mut Instance<Guest>, port: Box<Port>, baton: Baton) {
    let guest = instance.host_mut();
    guest.port = Some(port);
    guest.baton = Some(baton);
}

/// What came of a call into a guest.
#[inline]
pub(crate) fn outcome(result: Result<PollStatus, Fault>, guest: &mut Guest) -> Outcome {
    match result {
        Ok(PollStatus::Pending | PollStatus::Again) => Outcome::Pending,
        Ok(PollStatus::Finished) => Outcome::Exited(ExitReason::Normal),
        Ok(PollStatus::BadArguments) => {
            let message = "the arguments are not what the entry takes".to_owned();
            Outcome::Failed(ExitReason::NotStarted { message })
        }
        Err(Fault::Exited) => Outcome::Exited(guest.exit.take().unwrap_or(ExitReason::Normal)),
        Err(fault) => Outcome::Failed(reason(&fault, guest)),
    }
}

/// A fault as the reason of an exit.
pub(crate) fn reason(fault: &Fault, guest: &mut Guest) -> ExitReason {
    if let Some((message, location)) = guest.panic.take() {
        return ExitReason::Panic { message, location };
    }
    let message = match fault {
        Fault::Trap { message } | Fault::Stopped(message) => message.clone(),
        other => other.to_string(),
    };
    ExitReason::Trap { message }
}
