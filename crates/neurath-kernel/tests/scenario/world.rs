//! The harness: a node of several shards in one thread, with scripted processes and a clock that only tests move.
//!
//! Invariant: nothing in it depends on anything but the seed, so a failing seed replays exactly.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use neurath_kernel::action::Action;
use neurath_kernel::kernel::ProcessInfo;
use neurath_kernel::{
    Body, CodeId, Effect, Fit, Found, Kernel, KernelConfig, Look, Message, Outcome, Place, Port, PortLimits, Program,
    ProgramEntry, Signal, Slot, SpawnRequest, Turn, Types, UpgradeId, UpgradeOrder, WellKnown, Work,
};
use neurath_proto::abi::{ReceiveId, SendStatus};
use neurath_proto::cluster::Answer;
use neurath_proto::envelope::{Class, Payload, SchemaId};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::notice::{Down, Exit, NameAnswer};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Data, Pid, Reader, Ref, Serial};

/// A type that everyone reads as it is.
pub const NUMBER: SchemaId = SchemaId(10);
/// What version 1 of an imaginary module writes; version 2 reads it after conversion.
pub const OLD: SchemaId = SchemaId(11);
/// What version 2 writes.
pub const NEW: SchemaId = SchemaId(12);
/// A type that nobody else can read.
pub const ALIEN: SchemaId = SchemaId(13);
/// What the runtime says.
pub const KNOWN: WellKnown = WellKnown {
    down: SchemaId(0),
    exit: SchemaId(1),
    answer: SchemaId(2),
    not_delivered: SchemaId(3),
    node_up: SchemaId(4),
    node_down: SchemaId(5),
};

/// `NEW` reads `OLD`; otherwise only equals fit.
pub struct Shapes;

impl Types for Shapes {
    fn fit(&self, reader: SchemaId, writer: SchemaId) -> Fit {
        if (reader, writer) == (NEW, OLD) { Fit::Convert } else { Fit::No }
    }

    fn mismatch(&self, readers: &[SchemaId], writer: SchemaId) -> CallError {
        let reader = readers.iter().map(|r| r.0.to_string()).collect::<Vec<_>>().join("|");
        let writer = writer.0.to_string();
        CallError::Mismatch { writer, reader, path: String::new(), message: "no".into() }
    }

    fn name(&self, schema: SchemaId) -> String {
        schema.0.to_string()
    }
}

/// What a script sees of one poll.
pub struct Poll<'a> {
    /// Its port.
    pub port: &'a mut Port,
    /// The receive that woke it; `None` at its start.
    pub woken: Option<ReceiveId>,
}

/// What a script says at the end of a poll.
pub enum Verdict {
    /// It waits.
    Wait,
    /// It ends.
    Exit(ExitReason),
    /// It fails: nothing of this poll stands.
    Trap,
}

/// A guest.
pub type Script = Box<dyn FnMut(&mut Poll<'_>) -> Verdict>;

impl Poll<'_> {
    /// Sends a number.
    pub fn send(&mut self, to: Pid, number: u64) -> Result<(), SendStatus> {
        self.send_as(to, NUMBER, number)
    }

    /// Sends a number as some type.
    pub fn send_as(&mut self, to: Pid, schema: SchemaId, number: u64) -> Result<(), SendStatus> {
        self.port.send(to, Class::Message, Ref::NONE, schema, payload(number))
    }

    /// Calls a process; the ref of the answer.
    pub fn call(&mut self, to: Pid, number: u64) -> Ref {
        let reference = self.port.reference();
        self.port.send(to, Class::Call, reference, NUMBER, payload(number)).unwrap();
        reference
    }

    /// Answers a call.
    pub fn reply(&mut self, to: &Message, number: u64) {
        self.port.send(to.from, Class::Reply, to.reference, NUMBER, payload(number)).unwrap();
    }

    /// Takes the next message of these types, or waits as receive `id`.
    pub fn recv(&mut self, id: u64, readers: &[SchemaId]) -> Option<Message> {
        match self.look(id, readers, 0, u64::MAX, 0) {
            Found::Message(seq, ..) => self.port.take(seq),
            _ => None,
        }
    }

    /// Wakes again after some time; `id` must not have been used before.
    pub fn sleep(&mut self, id: u64, nanos: u64) {
        if let Some(woken) = self.woken {
            self.look(woken.0, &[], 0, 0, 0);
        }
        self.look(id, &[], 0, nanos, 0);
    }

    /// A look with everything.
    pub fn look(&mut self, id: u64, readers: &[SchemaId], after_seq: u64, timeout_ns: u64, flags: u32) -> Found {
        let receive = ReceiveId(id);
        self.port.look(&Look { receive, readers, reference: Ref::NONE, after_seq, timeout_ns, flags }, &Shapes)
    }

    /// Waits for the answer under a ref.
    pub fn answer(&mut self, id: u64, reference: Ref, readers: &[SchemaId], timeout_ns: u64) -> Found {
        let receive = ReceiveId(id);
        self.port.look(&Look { receive, readers, reference, after_seq: 0, timeout_ns, flags: 0 }, &Shapes)
    }
}

/// The number in a message.
pub fn number(message: &Message) -> u64 {
    u64::decode(&mut Reader::new(message.payload.as_slice())).unwrap()
}

/// A payload that holds a number.
pub fn payload(number: u64) -> Payload {
    let mut bytes = Vec::new();
    number.encode(&mut bytes);
    Payload::from(bytes)
}

/// The notice in a message.
pub fn down(message: &Message) -> Down {
    Down::decode(&mut Reader::new(message.payload.as_slice())).unwrap()
}

/// The notice in a message.
pub fn exit(message: &Message) -> Exit {
    Exit::decode(&mut Reader::new(message.payload.as_slice())).unwrap()
}

/// The answer in a message.
pub fn answer(message: &Message) -> Answer {
    Answer::decode(&mut Reader::new(message.payload.as_slice())).unwrap()
}

/// The answer in a message, about a name.
pub fn name_answer(message: &Message) -> NameAnswer {
    match answer(message) {
        Answer::Name { answer } => answer,
        other => panic!("{other:?} is about no name"),
    }
}

/// How scripted code answers an upgrade.
pub type Upgrade = Box<dyn FnMut(&mut Port) -> Result<Script, String>>;

/// A node.
pub struct World {
    shards: Vec<Kernel>,
    scripts: Vec<BTreeMap<Slot, Script>>,
    entries: Vec<Box<dyn Fn() -> Script>>,
    upgrades: BTreeMap<CodeId, Upgrade>,
    links: Vec<VecDeque<Signal>>,
    random: u64,
    /// Who has ended, in order.
    pub ended: Vec<(Pid, ExitReason)>,
    /// Upgrades that are done with.
    pub upgraded: Vec<(Pid, Result<(), String>)>,
    /// What came for those outside.
    pub outside: Vec<(Pid, Signal)>,
    /// What is for other nodes, in order.
    pub abroad: VecDeque<(NodeId, Signal)>,
    /// Processes that other nodes want.
    pub wanted: Vec<SpawnRequest>,
    node: NodeId,
    /// Processes to interrupt.
    pub interrupts: Vec<Slot>,
    now: u64,
}

impl World {
    /// A node with this many shards; the seed decides whose turn it is.
    pub fn new(shards: u32, seed: u64) -> Self {
        Self::with(shards, seed, PortLimits::default())
    }

    /// The same with limits.
    pub fn with(shards: u32, seed: u64, limits: PortLimits) -> Self {
        Self::on(NodeId(7), shards, seed, limits)
    }

    /// The same as another node.
    pub fn on(node: NodeId, shards: u32, seed: u64, limits: PortLimits) -> Self {
        // An upgrade comes before or after what else waits.
        let turns_between_upgrades = (seed % 5) as u32;
        let config = KernelConfig { port: limits, turns_between_upgrades, ..KernelConfig::default() };
        let kernels = (0..shards).map(|shard| {
            let place = Place { node, incarnation: Incarnation(1), shard, shards };
            Kernel::new(place, config, Arc::new(Shapes), KNOWN)
        });
        Self {
            shards: kernels.collect(),
            scripts: (0..shards).map(|_| BTreeMap::new()).collect(),
            entries: Vec::new(),
            upgrades: BTreeMap::new(),
            links: (0..shards * shards).map(|_| VecDeque::new()).collect(),
            random: seed.wrapping_mul(2).wrapping_add(1),
            ended: Vec::new(),
            upgraded: Vec::new(),
            outside: Vec::new(),
            abroad: VecDeque::new(),
            wanted: Vec::new(),
            node,
            interrupts: Vec::new(),
            now: 1,
        }
    }

    /// A pseudo-random number below `below` (xorshift).
    pub fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// Adds an entry of version 1 that accepts anything.
    pub fn entry(&mut self, script: impl Fn() -> Script + 'static) -> u32 {
        self.entries.push(Box::new(script));
        self.entries.len() as u32 - 1
    }

    /// Version 1 with all entries; `accepts` of each.
    pub fn program(&self, accepts: Option<&[SchemaId]>) -> Arc<Program> {
        self.version(1, accepts)
    }

    /// A version with all entries.
    pub fn version(&self, code: u32, accepts: Option<&[SchemaId]>) -> Arc<Program> {
        let entries = (0..self.entries.len()).map(|i| ProgramEntry {
            name: format!("entry{i}"),
            accepts: accepts.map(<[SchemaId]>::to_vec),
            is_server: true,
        });
        let body = Body(Arc::new(()));
        let (name, artifact) = (format!("test@{code}"), [code as u8; 32]);
        Arc::new(Program { code: CodeId(code), name, artifact, entries: entries.collect(), body })
    }

    /// Says what happens when processes change to this version: the script that goes on, or why not.
    pub fn on_upgrade(&mut self, code: u32, upgrade: impl FnMut(&mut Port) -> Result<Script, String> + 'static) {
        self.upgrades.insert(CodeId(code), Box::new(upgrade));
    }

    /// Starts a process.
    pub fn spawn(&mut self, shard: usize, program: &Arc<Program>, entry: u32) -> Pid {
        self.shards[shard].spawn(program, entry, Vec::new(), None, None).unwrap()
    }

    /// Starts a process that runs one script, of a version 1 that accepts anything.
    pub fn run_script(&mut self, shard: usize, script: impl FnMut(&mut Poll<'_>) -> Verdict + Clone + 'static) -> Pid {
        let entry = self.entry(move || Box::new(script.clone()));
        let program = self.program(None);
        self.spawn(shard, &program, entry)
    }

    /// The shard on which a process was born.
    pub fn shard_of(&self, pid: Pid) -> usize {
        (pid.serial.0 % self.shards.len() as u64) as usize
    }

    /// A shard.
    pub fn kernel(&mut self, shard: usize) -> &mut Kernel {
        &mut self.shards[shard]
    }

    /// Orders an upgrade.
    pub fn upgrade(&mut self, pid: Pid, program: &Arc<Program>, entry: u32) {
        let order = UpgradeOrder { id: UpgradeId(1), program: program.clone(), entry };
        let shard = self.shard_of(pid);
        self.shards[shard].order_upgrade(pid, order);
        self.effects(shard);
    }

    /// Sends a number from outside.
    pub fn send(&mut self, to: Pid, schema: SchemaId, number: u64) {
        let shard = self.shard_of(to);
        let from = Pid::new(self.node, Incarnation(1), Serial(0));
        self.shards[shard].signal(Signal::Message(neurath_proto::envelope::Envelope {
            class: Class::Message,
            from,
            to,
            epoch: neurath_proto::envelope::Epoch(0),
            reference: Ref::NONE,
            schema,
            trace: neurath_proto::envelope::TraceId(0),
            payload: payload(number),
            attachments: None,
        }));
        self.effects(shard);
    }

    /// Gives a shard a signal.
    pub fn signal(&mut self, to: Pid, signal: Signal) {
        let shard = self.shard_of(to);
        self.shards[shard].signal(signal);
        self.effects(shard);
    }

    /// What is known of a process.
    pub fn info(&self, pid: Pid) -> Option<ProcessInfo> {
        self.shards[self.shard_of(pid)].info(pid)
    }

    /// Runs until nothing is left to do at this moment. The seed decides which shard or link goes first.
    pub fn settle(&mut self) {
        assert!(self.settle_for(1_000_000), "the world does not come to rest");
    }

    /// Runs until nothing is left to do, or so many steps; whether nothing is.
    pub fn settle_for(&mut self, steps: u32) -> bool {
        for _ in 0..steps {
            let shards = self.shards.len();
            let choices: Vec<usize> = (0..shards)
                .filter(|shard| self.shards[*shard].has_work())
                .chain((0..shards * shards).filter(|l| !self.links[*l].is_empty()).map(|l| shards + l))
                .collect();
            if choices.is_empty() {
                return true;
            }
            let chosen = choices[self.random(choices.len() as u64) as usize];
            if chosen < shards {
                self.turn(chosen);
            } else {
                let link = chosen - shards;
                if let Some(signal) = self.links[link].pop_front() {
                    let to = link % shards;
                    self.shards[to].signal(signal);
                    self.effects(to);
                }
            }
        }
        false
    }

    /// Moves the clock and settles.
    pub fn pass(&mut self, nanos: u64) {
        self.now += nanos;
        for shard in 0..self.shards.len() {
            self.shards[shard].advance(self.now);
            self.effects(shard);
        }
        self.settle();
    }

    fn turn(&mut self, shard: usize) {
        let now = self.now;
        self.shards[shard].advance(now);
        self.effects(shard);
        let Some(Turn { slot, mut port, work, .. }) = self.shards[shard].next_turn() else { return };
        let outcome = match work {
            Work::Start { entry, .. } => {
                let mut script = self.entries[entry as usize]();
                let outcome = outcome(script(&mut Poll { port: &mut port, woken: None }));
                self.scripts[shard].insert(slot, script);
                outcome
            }
            Work::Poll(receive) => {
                let script = self.scripts[shard].get_mut(&slot).expect("a started process has a script");
                outcome(script(&mut Poll { port: &mut port, woken: Some(receive) }))
            }
            Work::Upgrade(order) => {
                let upgrade = self.upgrades.get_mut(&order.program.code).expect("a known version");
                port.begin();
                match upgrade(&mut port) {
                    Ok(script) => {
                        self.scripts[shard].insert(slot, script);
                        Outcome::Upgraded { program: order.program.clone(), entry: order.entry, exited: None }
                    }
                    Err(reason) => Outcome::RolledBack { reason, attempted: true },
                }
            }
            Work::Become { .. } => Outcome::RolledBack { reason: "nothing is newer".into(), attempted: false },
        };
        self.shards[shard].finish(slot, port, outcome);
        self.effects(shard);
    }

    /// Deals with what a shard wants done.
    pub fn effects(&mut self, shard: usize) {
        while let Some(effect) = self.shards[shard].poll_effect() {
            match effect {
                Effect::ToShard(to, signal) => {
                    let link = shard * self.shards.len() + to as usize;
                    self.links[link].push_back(signal);
                }
                Effect::ToNode(node, signal) => self.abroad.push_back((node, signal)),
                Effect::Spawn(request) => self.wanted.push(request),
                Effect::ToExternal(pid, signal) => self.outside.push((pid, signal)),
                Effect::Ended { slot, pid, reason } => {
                    self.scripts[shard].remove(&slot);
                    self.ended.push((pid, reason));
                }
                Effect::Interrupt(slot) => self.interrupts.push(slot),
                Effect::UpgradeDone { pid, result, .. } => self.upgraded.push((pid, result)),
            }
        }
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Wait => Outcome::Pending,
        Verdict::Exit(reason) => Outcome::Exited(reason),
        Verdict::Trap => Outcome::Failed(ExitReason::Trap { message: "unreachable".into() }),
    }
}

/// Asks for anything.
pub fn request(poll: &mut Poll<'_>, action: Action) {
    assert!(poll.port.request(action));
}
