//! What a node's driver does for processes: shards with their kernels, and what their signals become between nodes.
//!
//! It does what `neurath_node::shard` does, without threads; what is said between nodes goes through the same
//! [`Peer`](neurath_kernel::Peer)s. Invariants: what one shard tells another arrives in order; what a session says is told to
//! all shards in the order in which it was learned.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use neurath_kernel::kernel::ProcessInfo;
use neurath_kernel::peer::Unsent;
use neurath_kernel::trace::{Kind, TraceEvent, TraceFilter, WatchId};
use neurath_kernel::{
    Body, CodeId, Effect, Kernel, KernelConfig, Outcome, Place, Port, Program, ProgramEntry, Signal, Slot,
    SpawnRequest, Turn, UpgradeOrder, Work, node_itself,
};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::{Pid, Ref, Serial};

use super::{Cluster, Event};
use crate::check::Side;
use crate::check::processes::{Deed, Epochs, Ledger};
use crate::guest::{Guest, Scene, Verdict};
use crate::network::MS;
use crate::rng::Rng;
use crate::vocabulary::{Alike, KNOWN};

mod upgrades;

/// Turns of a shard before it looks at its inbox again.
const TURNS: u32 = 32;
/// What a kernel's trace tells the ledger.
const TRACED: [Kind; 7] =
    [Kind::Spawned, Kind::Received, Kind::Refused, Kind::Linked, Kind::Unlinked, Kind::Died, Kind::Blocked];

/// How processes live in a run.
#[derive(Clone, Copy, Debug)]
pub struct Society {
    /// Limits of a shard and its processes.
    pub config: KernelConfig,
    /// Shards of each node.
    pub shards: u32,
    /// Processes that may live at once.
    pub living_max: usize,
    /// How long what one shard tells another lies there at most.
    pub lag_max_ns: u64,
    /// Until then processes begin things.
    pub until: u64,
    /// How often of a hundred times that a shard runs the code of one of its processes is to be changed.
    pub upgrade_percent: u64,
    /// The dice of processes.
    pub seed: u64,
}

/// One shard.
pub(super) struct Shard {
    kernel: Kernel,
    guests: BTreeMap<Slot, Guest>,
    /// What others say, with when it gets here.
    inbox: VecDeque<(u64, Input)>,
    /// What its own sessions say.
    news: VecDeque<Input>,
    /// How many associations with each node it has seen end.
    epochs: Epochs,
    traces: Arc<Mutex<Vec<TraceEvent>>>,
    wake: Option<u64>,
}

/// What a shard is told by others, or by its own sessions.
enum Input {
    Signal(Signal),
    Abroad { peer: usize, epoch: u64, signal: Signal },
    Unsent(Signal, String),
    Unconfirmed(Signal),
    News(News),
    Spawn(SpawnRequest),
}

/// What all shards are told of a node.
#[derive(Clone)]
pub(super) enum News {
    Up(NodeId, Incarnation),
    Down(NodeId, u64),
    Full(NodeId),
    Drained(NodeId),
}

impl Cluster {
    /// All nodes have processes from now on.
    pub fn populate(&mut self, society: Society) {
        self.ledger = Ledger::new(society.config.port);
        self.society = Some(society);
        for node in 0..self.nodes.len() {
            self.begin_shards(node);
        }
    }

    pub(super) fn begin_shards(&mut self, node: usize) {
        let Some(Society { config, shards, .. }) = self.society else { return };
        let (id, incarnation) = (Self::id(node), Incarnation(self.nodes[node].life));
        let new = |shard| {
            let place = Place { node: id, incarnation, shard, shards };
            let mut kernel = Kernel::new(place, config, Arc::new(Alike), KNOWN);
            let traces = Arc::new(Mutex::new(Vec::new()));
            let into = traces.clone();
            let tracer = Box::new(move |_, event: &TraceEvent| lock(&into).push(event.clone()));
            kernel.add_tracer(WatchId(1), TraceFilter::new(None, &TRACED, None), tracer);
            let (guests, epochs) = (BTreeMap::new(), Epochs::new());
            Shard { kernel, guests, inbox: VecDeque::new(), news: VecDeque::new(), epochs, traces, wake: None }
        };
        self.nodes[node].shards = (0..shards).map(new).collect();
        for shard in 0..shards as usize {
            self.wake_shard(node, shard, self.now);
        }
    }

    fn wake_shard(&mut self, node: usize, shard: usize, at: u64) {
        let life = self.nodes[node].life;
        let wake = &mut self.nodes[node].shards[shard].wake;
        if wake.is_none_or(|wake| at < wake) {
            *wake = Some(at);
            self.schedule(at, Event::Shard { node, life, shard });
        }
    }

    fn tell(&mut self, node: usize, shard: usize, input: Input) {
        let Some(society) = self.society else { return };
        let inbox = &mut self.nodes[node].shards[shard].inbox;
        let last = inbox.back().map_or(0, |(at, _)| *at);
        let at = last.max(self.now + self.rng.within(0..=society.lag_max_ns));
        inbox.push_back((at, input));
        self.wake_shard(node, shard, at);
    }

    // ---- a shard's loop ----

    pub(super) fn run_shard(&mut self, node: usize, life: u32, shard: usize) -> Result<(), String> {
        let it = &mut self.nodes[node];
        if !it.alive || it.life != life || it.shards[shard].wake.is_none_or(|wake| wake > self.now) {
            return Ok(());
        }
        it.shards[shard].wake = None;
        it.shards[shard].kernel.advance(self.now);
        self.settle(node, shard)?;
        self.replenish(node, shard)?;
        self.order_upgrade(node, shard)?;
        while let Some(input) = self.next_input(node, shard) {
            self.input(node, shard, input)?;
            self.settle(node, shard)?;
        }
        for _ in 0..TURNS {
            if !self.turn(node, shard)? {
                break;
            }
        }
        self.pump(node, shard)?;
        let it = &self.nodes[node].shards[shard];
        let (due, work, arrival) =
            (it.kernel.next_deadline(), it.kernel.has_work(), it.inbox.front().map(|(at, _)| *at));
        let again = work.then(|| self.now + self.rng.within(1..=MS));
        if let Some(at) = [due, again, arrival].into_iter().flatten().min() {
            self.wake_shard(node, shard, at);
        }
        Ok(())
    }

    /// What a shard is to deal with next: what its sessions say, then what has got here from others.
    fn next_input(&mut self, node: usize, shard: usize) -> Option<Input> {
        let it = &mut self.nodes[node].shards[shard];
        let now = self.now;
        it.news.pop_front().or_else(|| it.inbox.pop_front_if(|(at, _)| *at <= now).map(|(_, input)| input))
    }

    /// A shard has at least one process while the run is young.
    fn replenish(&mut self, node: usize, shard: usize) -> Result<(), String> {
        let young = self.society.is_some_and(|society| self.now < society.until);
        let kernel = &mut self.nodes[node].shards[shard].kernel;
        if young && kernel.is_empty() {
            kernel.spawn(&program(1), 0, Vec::new(), None, None)?;
        }
        self.settle(node, shard)
    }

    /// Gives one process its turn, if one has it.
    fn turn(&mut self, node: usize, shard: usize) -> Result<bool, String> {
        let Some(society) = self.society else { return Ok(false) };
        let nodes: Vec<NodeId> = (0..self.nodes.len()).map(Self::id).collect();
        let it = &mut self.nodes[node].shards[shard];
        let Some(Turn { slot, pid, mut port, work }) = it.kernel.next_turn() else { return Ok(false) };
        match work {
            Work::Start { program, .. } => {
                let dice = pid.node.0 ^ pid.serial.0 ^ u64::from(pid.incarnation.0) << 40;
                let rng = Rng::new(society.seed ^ Rng::new(dice).number());
                it.guests.insert(slot, Guest::new(pid, program.artifact[0], rng));
            }
            Work::Upgrade(order) => {
                self.upgrade(node, shard, slot, port, &order)?;
                return Ok(true);
            }
            _ => {}
        }
        let guest = it.guests.get_mut(&slot).ok_or(format!("{pid} has a turn and was never started"))?;
        let active = self.now < society.until;
        let living_max = society.living_max;
        let mut scene = Scene { now: self.now, ledger: &mut self.ledger, nodes: &nodes, active, living_max };
        let (verdict, deeds) = guest.poll(&mut port, &mut scene)?;
        match verdict {
            Verdict::Trap(reason) => {
                self.ledger.ends_itself(pid, reason.clone());
                self.finish(node, shard, slot, port, Vec::new(), Outcome::Failed(reason))?;
            }
            Verdict::Exit(reason) => {
                self.ledger.ends_itself(pid, reason.clone());
                self.finish(node, shard, slot, port, deeds, Outcome::Exited(reason))?;
            }
            Verdict::Wait => self.finish(node, shard, slot, port, deeds, Outcome::Pending)?,
        }
        Ok(true)
    }

    /// Gives a process back to its kernel, with what it did if that stands.
    fn finish(
        &mut self,
        node: usize,
        shard: usize,
        slot: Slot,
        port: Box<Port>,
        deeds: Vec<Deed>,
        outcome: Outcome,
    ) -> Result<(), String> {
        let it = &mut self.nodes[node].shards[shard];
        let pid = port.pid();
        let met = monitors_here(&deeds, &it.kernel, &self.ledger);
        self.ledger.commit(pid, deeds, &it.epochs);
        it.kernel.finish(slot, port, outcome);
        self.settle(node, shard)?;
        for (reference, to, was_alive) in met {
            // Who ended in this very turn may have done so before or after.
            if !was_alive || self.ledger.is_alive(to) {
                self.ledger.monitor_met(pid, reference, was_alive);
            }
        }
        Ok(())
    }

    /// Deals with what a kernel says and wants.
    fn settle(&mut self, node: usize, shard: usize) -> Result<(), String> {
        self.follow(node, shard)?;
        while let Some(effect) = self.nodes[node].shards[shard].kernel.poll_effect() {
            match effect {
                Effect::ToShard(to, signal) => self.tell(node, to as usize, Input::Signal(signal)),
                Effect::ToNode(to, signal) => self.send_abroad(node, shard, to, signal)?,
                Effect::Spawn(request) => {
                    let to = self.rng.index(self.nodes[node].shards.len());
                    self.tell(node, to, Input::Spawn(request));
                }
                Effect::Ended { slot, .. } => {
                    self.nodes[node].shards[shard].guests.remove(&slot);
                }
                Effect::UpgradeDone { id, pid, result } => self.ledger.upgrade_done(id, pid, &result)?,
                Effect::ToExternal(..) | Effect::Interrupt(_) => {
                    return Err(format!("a kernel wants what nobody asked for: {effect:?}"));
                }
            }
        }
        Ok(())
    }

    /// Tells the ledger what the kernel has traced.
    fn follow(&mut self, node: usize, shard: usize) -> Result<(), String> {
        let it = &self.nodes[node].shards[shard];
        let events = std::mem::take(&mut *lock(&it.traces));
        self.ledger.traced(&events, &it.epochs)
    }

    fn input(&mut self, node: usize, shard: usize, input: Input) -> Result<(), String> {
        let it = &mut self.nodes[node].shards[shard];
        match input {
            Input::Signal(signal) => {
                if let Signal::Monitor { to, from, reference } = &signal
                    && is_home(&it.kernel, *to)
                {
                    self.ledger.monitor_met(*from, *reference, self.ledger.is_alive(*to));
                }
                it.kernel.signal(signal);
            }
            Input::Abroad { peer, epoch, signal } => self.send_signal(node, peer, epoch, signal),
            Input::Unsent(signal, why) => it.kernel.unsent(signal, &why),
            Input::Unconfirmed(signal) => it.kernel.unconfirmed(signal, "not confirmed"),
            Input::News(news) => {
                if self.owner(node, &news) == shard {
                    let others = (0..self.nodes[node].shards.len()).filter(|other| *other != shard);
                    for other in others.collect::<Vec<_>>() {
                        self.tell(node, other, Input::News(news.clone()));
                    }
                }
                let it = &mut self.nodes[node].shards[shard];
                match news {
                    News::Up(peer, incarnation) => it.kernel.node_up(peer, incarnation, "a node"),
                    News::Down(peer, epoch) => {
                        it.epochs.insert(peer, epoch);
                        it.kernel.node_down(peer, "it has ended");
                    }
                    News::Full(peer) => it.kernel.node_full(peer),
                    News::Drained(peer) => it.kernel.node_drained(peer),
                }
            }
            Input::Spawn(request) => it.kernel.spawn_for(&program(request.artifact[0]), request),
        }
        Ok(())
    }

    // ---- between nodes ----

    /// The shard that has the session with a node.
    fn owner_of(&self, node: usize, peer: usize) -> usize {
        peer % self.nodes[node].shards.len()
    }

    fn owner(&self, node: usize, news: &News) -> usize {
        let (News::Up(peer, _) | News::Down(peer, _) | News::Full(peer) | News::Drained(peer)) = news;
        self.number(*peer).map_or(0, |peer| self.owner_of(node, peer))
    }

    fn send_abroad(&mut self, node: usize, shard: usize, to: NodeId, signal: Signal) -> Result<(), String> {
        let peer = self.number(to).ok_or(format!("nobody is node {to}, and it is to get {signal:?}"))?;
        let epoch = self.nodes[node].shards[shard].epochs.get(&to).copied().unwrap_or_default();
        let owner = self.owner_of(node, peer);
        if owner == shard {
            self.send_signal(node, peer, epoch, signal);
        } else {
            self.tell(node, owner, Input::Abroad { peer, epoch, signal });
        }
        Ok(())
    }

    /// Gives the peer a signal; it goes out when the shard has done what it is at.
    fn send_signal(&mut self, node: usize, peer: usize, epoch: u64, signal: Signal) {
        let (now, side) = (self.now, Side { node, life: self.nodes[node].life, peer });
        self.member(side).peer.send(now, epoch, signal);
    }

    /// What a session has to say is dealt with when its shard has done what it is at.
    fn tell_at_once(&mut self, side: Side, input: Input) {
        let shard = self.owner_of(side.node, side.peer);
        self.nodes[side.node].shards[shard].news.push_back(input);
        self.wake_shard(side.node, shard, self.now);
    }

    /// Lets what was said go out.
    fn pump(&mut self, node: usize, shard: usize) -> Result<(), String> {
        let life = self.nodes[node].life;
        let peers: Vec<usize> = self.nodes[node].sessions.keys().copied().collect();
        for peer in peers {
            if self.owner_of(node, peer) == shard {
                self.with(Side { node, life, peer }, |session, now| session.advance(now))?;
            }
        }
        Ok(())
    }

    // ---- what a peer says, for the shard that has it ----

    pub(super) fn peer_news(&mut self, side: Side, news: News) {
        if self.society.is_none() {
            return;
        }
        if let News::Down(peer, _) = news {
            self.ledger.parted(Self::id(side.node), Incarnation(side.life), peer);
        }
        self.tell_at_once(side, Input::News(news));
    }

    pub(super) fn peer_signal(&mut self, side: Side, signal: Signal) {
        self.tell_at_once(side, Input::Signal(signal));
    }

    pub(super) fn peer_unsent(&mut self, side: Side, signal: Signal, why: Unsent) {
        self.ledger.given_back(&signal, false);
        self.tell_at_once(side, Input::Unsent(signal, why.to_string()));
    }

    pub(super) fn peer_unconfirmed(&mut self, side: Side, signal: Signal, maybe_delivered: bool) {
        self.ledger.given_back(&signal, maybe_delivered);
        self.tell_at_once(side, Input::Unconfirmed(signal));
    }

    pub(super) fn crash_shards(&mut self, node: usize, life: u32) {
        self.nodes[node].shards.clear();
        self.ledger.crash(Self::id(node), Incarnation(life));
    }

    /// Every node has to do with every other one from now on.
    ///
    /// # Errors
    /// A promise was not kept.
    pub fn acquaint(&mut self) -> Result<(), String> {
        let nodes = self.nodes();
        for (node, peer) in (0..nodes).flat_map(|node| (0..nodes).map(move |peer| (node, peer))) {
            if let Some(side) = self.side(node, peer).filter(|_| node != peer) {
                let (to, from) =
                    (node_itself(Self::id(peer)), Pid::new(Self::id(node), Incarnation(side.life), Serial(0)));
                self.send_abroad(node, 0, to.node, Signal::Ping { to, from, reference: Ref::NONE })?;
                self.wake_shard(node, self.owner_of(node, peer), self.now);
            }
        }
        Ok(())
    }

    /// The nodes that one has to do with, itself among them.
    fn reached(&self, node: usize) -> BTreeSet<NodeId> {
        let sessions = self.nodes[node].sessions.iter();
        let open = sessions.filter(|(_, member)| member.peer.session().info().association.is_some());
        open.map(|(peer, _)| *peer).chain([node]).map(Self::id).collect()
    }

    /// When all is quiet: every process has what was promised.
    ///
    /// # Errors
    /// One has not.
    pub fn check_processes(&self) -> Result<(), String> {
        let (mut all, mut names, mut epochs) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        for (number, node) in self.nodes.iter().enumerate() {
            if let Some(first) = node.shards.first() {
                self.ledger.quiet_groups(Self::id(number), &self.reached(number), first.kernel.groups())?;
            }
            for shard in &node.shards {
                let here = shard.kernel.list();
                check_versions(&here, &shard.guests)?;
                epochs.extend(here.iter().map(|info| (info.pid, shard.epochs.clone())));
                all.extend(here);
                let id = Self::id(number);
                names.extend(shard.kernel.names().map(|(name, pid)| (format!("{name}@{id}"), pid)));
                if !shard.inbox.is_empty() || !shard.news.is_empty() || shard.kernel.has_work() {
                    return Err(format!("node {number} does not come to rest"));
                }
            }
        }
        self.ledger.quiet(&all, &names, &epochs)
    }
}

/// The monitors among some deeds whose targets are, or would be, on this very shard, with whether these live.
fn monitors_here(deeds: &[Deed], kernel: &Kernel, ledger: &Ledger) -> Vec<(Ref, Pid, bool)> {
    let here = deeds.iter().filter_map(|deed| match deed {
        Deed::Monitor { to, reference } if is_home(kernel, *to) && ledger.has_been(*to) => {
            Some((*reference, *to, ledger.is_alive(*to)))
        }
        _ => None,
    });
    here.collect()
}

/// Each process runs the code that its kernel takes it to run.
fn check_versions(all: &[ProcessInfo], guests: &BTreeMap<Slot, Guest>) -> Result<(), String> {
    let is_other = |info: &&ProcessInfo| {
        let version = guests.get(&info.slot).map(Guest::version);
        version.is_some_and(|version| info.program != program(version).name)
    };
    let wrong = all.iter().find(is_other);
    wrong.map_or(Ok(()), |info| Err(format!("G3: {} does not run {}", info.pid, info.program)))
}

/// Whether a process was born on this shard, or would have been.
fn is_home(kernel: &Kernel, pid: Pid) -> bool {
    let place = kernel.place();
    pid.node == place.node && pid.serial.0 % u64::from(place.shards) == u64::from(place.shard)
}

/// What all processes run, in one of its versions.
fn program(version: u8) -> Arc<Program> {
    let entries = vec![ProgramEntry { name: "guest".into(), accepts: None, is_server: true }];
    let (code, name, body) = (CodeId(version.into()), format!("guest@{version}"), Body(Arc::new(())));
    Arc::new(Program { code, name, artifact: [version; 32], entries, body })
}

fn lock(traces: &Mutex<Vec<TraceEvent>>) -> std::sync::MutexGuard<'_, Vec<TraceEvent>> {
    traces.lock().unwrap_or_else(PoisonError::into_inner)
}
