//! A shard and other nodes: what it says to them, and what it does with what it learns.
//!
//! Invariant: what one node's session says is told to all shards in the order in which it was learned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use neurath_kernel::membership::{Member, MemberInfo};
use neurath_kernel::{Signal, SpawnRequest};
use neurath_proto::{NodeId, Pid};

use super::{Input, Shard};
use crate::cluster::Cluster;
use crate::cluster::gossip::{Gossip, Wish};
use crate::cluster::loader::Job;
use crate::cluster::peers::{News, NodeNews, PeerInfo, Peers};

/// What an answer that came while the shard watched for it is worth, at most so many naps.
const PATIENCE_MAX: i32 = 16;
/// What it costs if none came: so many naps until the shard watches again.
const DISAPPOINTMENT: i32 = 8;

/// What a shard has of the cluster.
pub(crate) struct Network {
    cluster: Arc<Cluster>,
    peers: Box<Peers>,
    /// Shard 0 has it.
    gossip: Option<Box<Gossip>>,
    /// For each node how many associations with it this shard has seen end.
    epochs: HashMap<NodeId, u64>,
    /// Connections were looked at since the shard last slept.
    looked: bool,
    next_shard: usize,
    /// As of the last pump or sleep: when what processes send was sent, well enough.
    now: u64,
    /// Above zero: what comes next has been coming soon, and is watched for awake.
    patience: i32,
}

impl Network {
    /// What a shard needs to speak to other nodes.
    pub(crate) fn new(cluster: Arc<Cluster>, peers: Box<Peers>, gossip: Option<Box<Gossip>>) -> Box<Self> {
        Box::new(Self {
            cluster,
            peers,
            gossip,
            epochs: HashMap::new(),
            looked: false,
            next_shard: 0,
            now: 0,
            patience: 0,
        })
    }
}

impl Shard {
    /// A signal for another node goes to the shard that has the session with it.
    pub(super) fn send_abroad(&mut self, node: NodeId, signal: Signal) {
        let Some(network) = &mut self.network else {
            let why = "this node is in no cluster";
            self.kernel.unsent(signal, why);
            return self.kernel.node_down(node, why);
        };
        let epoch = network.epochs.get(&node).copied().unwrap_or_default();
        let owner = Cluster::owner(node, self.outgoing.len());
        if owner == self.index as usize {
            network.peers.send(network.now, node, epoch, signal);
        } else {
            self.outgoing[owner].push(Input::ToNode { node, epoch, signal });
        }
    }

    /// Another shard, or the net thread, has something for a peer of this one.
    pub(super) fn peer_input(&mut self, input: Input) {
        let now = self.shared.clock.now();
        let Some(network) = &mut self.network else { return };
        match input {
            Input::ToNode { node, epoch, signal } => network.peers.send(now, node, epoch, signal),
            Input::Post { node, message } => network.peers.post(now, node, message),
            Input::Connection { node, connection, dialed } => network.peers.connected(now, node, connection, dialed),
            Input::DialFailed { node, dial } => network.peers.dial_failed(now, node, dial),
            Input::EndAssociation(node, cause) => network.peers.end(now, node, cause),
            Input::Gossip { from, packet } => {
                if let Some(gossip) = &mut network.gossip {
                    gossip.received(now, from, &packet);
                }
            }
            _ => {}
        }
    }

    /// Reads what other nodes say, and writes what is for them.
    pub(super) fn exchange(&mut self) {
        let Some(network) = &mut self.network else { return };
        if network.peers.has_connections() && !std::mem::take(&mut network.looked) {
            network.peers.wait(Some(Duration::ZERO));
        }
        self.pump();
    }

    /// Lets sessions and membership do what is due; what comes of it is dealt with.
    pub(super) fn pump(&mut self) {
        let Some(network) = &mut self.network else { return };
        let now = self.shared.clock.now();
        network.now = now;
        network.peers.pump(now);
        while let Some(news) = self.network.as_mut().and_then(|network| network.peers.next_news(now)) {
            self.learn(news);
            self.deal_with_effects();
        }
        self.gossip(now);
    }

    fn gossip(&mut self, now: u64) {
        let Some(gossip) = self.network.as_mut().and_then(|network| network.gossip.as_mut()) else { return };
        if gossip.next_deadline().is_some_and(|at| at <= now) {
            gossip.advance(now);
        }
        while let Some(wish) = self.network.as_mut().and_then(|n| n.gossip.as_mut()).and_then(|g| g.next_wish()) {
            match wish {
                Wish::Post(node, message) => self.give_owner(node, Input::Post { node, message }),
                Wish::End(node, cause) => self.give_owner(node, Input::EndAssociation(node, cause)),
                Wish::Named(node, name) => self.tell_all(NodeNews::Named(node, name)),
            }
        }
    }

    fn give_owner(&mut self, node: NodeId, input: Input) {
        let owner = Cluster::owner(node, self.outgoing.len());
        if owner == self.index as usize { self.peer_input(input) } else { self.outgoing[owner].push(input) }
    }

    fn learn(&mut self, news: News) {
        let Some(network) = &self.network else { return };
        match news {
            News::Signal(signal) => self.kernel.signal(signal),
            News::Unsent(signal, why) => self.kernel.unsent(signal, &why),
            News::Unconfirmed(signal, why) => self.kernel.unconfirmed(signal, &why),
            News::Node(news) => {
                if let NodeNews::Down { node, .. } = &news {
                    // There is none when the node stops.
                    let _ = network.cluster.loader.push(Job::Gone(*node));
                }
                self.tell_all(news);
            }
            News::Gossip(from, packet) => {
                if self.index == 0 {
                    self.peer_input(Input::Gossip { from, packet });
                } else {
                    self.outgoing[0].push(Input::Gossip { from, packet });
                }
            }
        }
    }

    fn tell_all(&mut self, news: NodeNews) {
        for (shard, queue) in self.outgoing.iter_mut().enumerate() {
            if shard != self.index as usize {
                queue.push(Input::News(news.clone()));
            }
        }
        self.node_news(news);
    }

    /// What is told of a node.
    pub(super) fn node_news(&mut self, news: NodeNews) {
        let now = self.shared.clock.now();
        let Some(network) = &mut self.network else { return };
        match news {
            NodeNews::Up { node, incarnation, name } => {
                if let Some(gossip) = &mut network.gossip {
                    gossip.up(now, node, incarnation);
                }
                self.kernel.node_up(node, incarnation, &name);
            }
            NodeNews::Down { node, why, epoch } => {
                if let Some(gossip) = &mut network.gossip {
                    gossip.down(now, node);
                }
                if let Some(epoch) = epoch {
                    network.epochs.insert(node, epoch);
                }
                self.kernel.node_down(node, &why);
            }
            NodeNews::Full(node) => self.kernel.node_full(node),
            NodeNews::Drained(node) => self.kernel.node_drained(node),
            NodeNews::Named(node, name) => self.kernel.node_named(node, &name),
        }
    }

    /// Another process wants one started; what is loaded here starts at once.
    pub(super) fn start_wanted(&mut self, request: SpawnRequest) {
        match self.shared.catalog.get(&request.artifact) {
            Some(program) => {
                let shard = self.network.as_mut().map_or(self.index as usize, |network| {
                    network.next_shard = (network.next_shard + 1) % self.outgoing.len();
                    network.next_shard
                });
                if shard == self.index as usize {
                    self.kernel.spawn_for(&program, request);
                } else {
                    self.outgoing[shard].push(Input::Command(super::Command::SpawnFor { program, request }));
                }
            }
            None => {
                let taken = match &self.network {
                    Some(network) => {
                        network.cluster.loader.push(Job::Spawn(request.clone())).map_err(|why| why.to_string())
                    }
                    None => Err("this node is in no cluster".to_owned()),
                };
                if let Err(why) = taken {
                    self.kernel.refuse_spawn(&request, why);
                }
            }
        }
    }

    /// When the network has something to do.
    pub(super) fn network_deadline(&self) -> Option<u64> {
        let network = self.network.as_ref()?;
        let gossip = network.gossip.as_ref().and_then(|gossip| gossip.next_deadline());
        [network.peers.next_deadline(), gossip].into_iter().flatten().min()
    }

    /// Sleeps until there is an input, or something happens to a connection, or the time is over.
    pub(super) fn sleep_for(&mut self, time: Option<Duration>) {
        let Some(network) = &mut self.network else { return self.inbox.sleep(time) };
        if network.peers.is_busy() {
            return;
        }
        network.looked = true;
        let (clock, inbox) = (&self.shared.clock, &self.inbox);
        let from = clock.now();
        let watch = self.shared.config.watch;
        if network.patience > 0 && !watch.is_zero() {
            let until = from + time.map_or(watch, |time| time.min(watch)).as_nanos() as u64;
            while clock.now() < until {
                network.peers.wait(Some(Duration::ZERO));
                if network.peers.is_busy() || inbox.is_filled() {
                    network.now = clock.now();
                    network.patience = (network.patience + 1).min(PATIENCE_MAX);
                    return;
                }
            }
            network.patience -= DISAPPOINTMENT;
        }
        let asleep = clock.now();
        inbox.watched(|may_sleep| {
            network.peers.wait(if may_sleep { time } else { Some(Duration::ZERO) });
        });
        network.now = clock.now();
        // Had it and the other end watched instead, neither would have had to be woken.
        if network.now - asleep < 2 * watch.as_nanos() as u64 {
            network.patience = (network.patience + 1).min(PATIENCE_MAX);
        }
    }

    /// The sessions of this shard.
    pub(super) fn peers(&self) -> Vec<PeerInfo> {
        self.network.as_ref().map(|network| network.peers.info()).unwrap_or_default()
    }

    /// All members that membership knows, this node first; shard 0 knows.
    pub(super) fn members(&self) -> Option<(Member, Vec<MemberInfo>)> {
        self.network.as_ref()?.gossip.as_ref().map(|gossip| gossip.members())
    }

    /// Tells the others that this node leaves.
    pub(super) fn leave(&mut self) {
        let now = self.shared.clock.now();
        if let Some(gossip) = self.network.as_mut().and_then(|network| network.gossip.as_mut()) {
            gossip.leave(now);
        }
        self.pump();
    }

    /// The node that is asked whether it is there, as a question of someone outside.
    pub(super) fn ping(&mut self, node: NodeId, from: Pid, reference: neurath_proto::Ref) {
        self.send_abroad(node, Signal::Ping { to: neurath_kernel::node_itself(node), from, reference });
    }
}
