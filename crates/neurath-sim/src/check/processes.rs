//! What is promised of processes on several nodes, checked deed by deed.
//!
//! It sees what processes ask for and are told, what kernels trace, which messages sessions give back, and when
//! associations end; nothing of how that comes about. Invariants that it checks: G1 and G2 for messages; monitors and links
//! fire once, with a reason that is true; what ends a process does not overtake what was said before; G10 for mailboxes;
//! every call ends; groups, timers and changes of code are as `groups`, `timers` and `upgrades` say.

use std::collections::{BTreeMap, BTreeSet};

use neurath_kernel::trace::{Happened, TraceEvent};
use neurath_kernel::{PortLimits, Signal};
use neurath_proto::cluster::NodeDown;
use neurath_proto::envelope::{Class, Envelope, SchemaId};
use neurath_proto::id::Incarnation;
use neurath_proto::notice::{Down, Exit};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{NodeId, Pid, Ref};

use crate::guest::{BURST, decode};
use crate::rng::Rng;
use crate::vocabulary::{TIMED, is_number};

pub use counts::ProcessCounts;

mod counts;
mod groups;
mod quiet;
mod timers;
mod upgrades;

/// What a process asked for in a poll that ended well.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Exits of others are to come as messages.
    Trap,
    /// A message, or a call.
    Sent {
        /// To whom.
        to: Pid,
    },
    /// What was sent last is a call.
    Called {
        /// Whom.
        to: Pid,
        /// The answer comes under this ref.
        reference: Ref,
    },
    /// A question.
    Asked {
        /// Which node.
        node: NodeId,
        /// The answer comes under this ref.
        reference: Ref,
        /// What.
        question: String,
    },
    /// It watches a process.
    Monitor {
        /// Whom.
        to: Pid,
        /// Under this ref.
        reference: Ref,
    },
    /// It does not any more.
    Demonitor {
        /// The monitor.
        reference: Ref,
    },
    /// It watches a node.
    MonitorNode {
        /// Which.
        node: NodeId,
        /// Under this ref.
        reference: Ref,
    },
    /// It wants to be linked.
    Link {
        /// To whom.
        to: Pid,
    },
    /// It kills.
    Kill {
        /// Whom.
        to: Pid,
    },
    /// It asks for an exit.
    AskExit {
        /// Whose.
        to: Pid,
        /// A reason like no other.
        reason: ExitReason,
    },
    /// It wants to be a member of a group.
    Join {
        /// Its name.
        group: &'static str,
    },
    /// It wants to be none any more.
    Leave {
        /// Its name.
        group: &'static str,
    },
    /// It sends something later.
    SetTimer {
        /// To whom.
        to: Pid,
        /// Which of its timers this is.
        number: u32,
        /// Not before.
        due: u64,
    },
    /// It was told that a timer will not fire.
    CancelTimer {
        /// Which.
        number: u32,
    },
}

/// How many associations with each node a shard has seen end.
pub type Epochs = BTreeMap<NodeId, u64>;

#[derive(Clone, Default)]
struct Fate {
    parent: Option<Pid>,
    /// The one who asked for it elsewhere was told of it.
    acknowledged: bool,
    ended: Option<ExitReason>,
    /// Its node is no more.
    crashed: bool,
    /// When it ended, and since when it traps exits, by the ledger's own count.
    ended_at: u64,
    traps_since: Option<u64>,
    /// It ends itself, for this reason.
    wants: Option<ExitReason>,
}

/// What one process said to another.
#[derive(Clone, Default)]
struct Pair {
    sent: u64,
    /// The last that was taken.
    taken: u64,
    /// How many lay in the mailbox, and how many lie there.
    delivered: u64,
    waiting: u64,
    /// Messages that were given back, with whether they may have arrived.
    given_back: BTreeMap<u64, bool>,
    /// Messages that were refused to break a cycle, or beyond all limits.
    refused: u64,
    /// Messages that were neither taken nor given back: refused, then.
    missing: u64,
    /// What had been sent before the first kill, and the first wish for a link.
    before_kill: Option<u64>,
    before_link: Option<u64>,
}

#[derive(Clone)]
struct Monitor {
    to: Pid,
    epoch: u64,
    /// Whether its target lived when it heard of it.
    met_alive: Option<bool>,
    withdrawn: bool,
}

#[derive(Clone)]
struct Call {
    to: Option<Pid>,
    node: NodeId,
    epoch: u64,
    what: String,
}

/// See the module. An error says what was promised and not kept.
#[derive(Clone, Default)]
pub struct Ledger {
    limits: PortLimits,
    /// Counts what happens.
    clock: u64,
    fates: BTreeMap<Pid, Fate>,
    living: Vec<Pid>,
    directory: Vec<Pid>,
    pairs: BTreeMap<(Pid, Pid), Pair>,
    waiting: BTreeMap<Pid, BTreeMap<Pid, u64>>,
    monitors: BTreeMap<(Pid, Ref), Monitor>,
    node_monitors: BTreeMap<(Pid, Ref), (NodeId, u64)>,
    calls: BTreeMap<(Pid, Ref), Call>,
    /// Each end of each link, with what its shard had seen of the other's node.
    links: BTreeMap<(Pid, Pid), Vec<u64>>,
    asked: Vec<(Pid, Pid, ExitReason, u64)>,
    /// Associations that have ended, as lives of nodes counted them.
    ends: BTreeMap<(NodeId, Incarnation, NodeId), u64>,
    crashed: BTreeSet<(NodeId, Incarnation)>,
    /// Monitors and questions, and links, that were not sent.
    unsent: BTreeSet<(Pid, Ref)>,
    unsent_links: BTreeSet<(Pid, Pid)>,
    groups: groups::Groups,
    timers: timers::Timers,
    orders: upgrades::Orders,
    /// What came of it all.
    pub counts: ProcessCounts,
}

impl Ledger {
    /// Nothing has happened yet; mailboxes have these limits.
    pub fn new(limits: PortLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    // ---- what processes want to know ----

    /// How many processes live.
    pub fn living(&self) -> usize {
        self.living.len()
    }

    /// Whether a process lives.
    pub fn is_alive(&self, pid: Pid) -> bool {
        self.fates.get(&pid).is_some_and(|fate| fate.ended.is_none() && !fate.crashed)
    }

    /// Whether it was ever started.
    pub fn has_been(&self, pid: Pid) -> bool {
        self.fates.contains_key(&pid)
    }

    /// Some process: mostly one that lives.
    pub fn someone(&self, rng: &mut Rng) -> Option<Pid> {
        let from = if rng.chance(93) { &self.living } else { &self.directory };
        (!from.is_empty()).then(|| from[rng.index(from.len())])
    }

    /// Whether the one has started the other, and may have linked it at birth.
    pub fn is_parent(&self, pid: Pid, of: Pid) -> bool {
        self.fates.get(&of).is_some_and(|fate| fate.parent == Some(pid))
    }

    /// The number of the next message.
    pub fn next(&self, from: Pid, to: Pid) -> u64 {
        self.pairs.get(&(from, to)).map_or(0, |pair| pair.sent) + 1
    }

    // ---- what processes do ----

    /// A poll ended well; its shard had seen so many ends.
    pub fn commit(&mut self, pid: Pid, deeds: Vec<Deed>, epochs: &Epochs) {
        let epoch = |node: NodeId| epochs.get(&node).copied().unwrap_or_default();
        for deed in deeds {
            match deed {
                Deed::Trap => {
                    self.clock += 1;
                    self.fate(pid).traps_since = Some(self.clock);
                }
                Deed::Sent { to } => {
                    self.pair(pid, to).sent += 1;
                    self.counts.sent += 1;
                }
                Deed::Called { to, reference } => {
                    let what = format!("of {to}");
                    let call = Call { to: Some(to), node: to.node, epoch: epoch(to.node), what };
                    self.calls.insert((pid, reference), call);
                }
                Deed::Asked { node, reference, question } => {
                    self.calls.insert((pid, reference), Call { to: None, node, epoch: epoch(node), what: question });
                }
                Deed::Monitor { to, reference } => {
                    let monitor = Monitor { to, epoch: epoch(to.node), met_alive: None, withdrawn: false };
                    self.monitors.insert((pid, reference), monitor);
                }
                Deed::Demonitor { reference } => {
                    if let Some(monitor) = self.monitors.get_mut(&(pid, reference)) {
                        monitor.withdrawn = true;
                    }
                }
                Deed::MonitorNode { node, reference } => {
                    self.node_monitors.insert((pid, reference), (node, epoch(node)));
                }
                Deed::Link { to } => {
                    let pair = self.pair(pid, to);
                    pair.before_link.get_or_insert(pair.sent);
                }
                Deed::Kill { to } => {
                    let pair = self.pair(pid, to);
                    pair.before_kill.get_or_insert(pair.sent);
                }
                Deed::AskExit { to, reason } => {
                    let sent = self.pair(pid, to).sent;
                    self.asked.push((pid, to, reason, sent));
                }
                Deed::Join { group } => {
                    self.groups.joined(group, pid);
                    self.counts.joined += 1;
                }
                Deed::Leave { group } => self.groups.left(group, pid),
                Deed::SetTimer { to, number, due } => self.timers.set(pid, to, number, due),
                Deed::CancelTimer { number } => {
                    self.timers.cancelled(pid, number);
                    self.counts.cancelled += 1;
                }
            }
        }
    }

    /// A process is about to end itself.
    pub fn ends_itself(&mut self, pid: Pid, reason: ExitReason) {
        self.fate(pid).wants = Some(reason);
    }

    /// A process has got the child elsewhere that it had asked for.
    pub fn acknowledged(&mut self, child: Pid) {
        self.fate(child).acknowledged = true;
    }

    /// A child that is watched from birth was asked for under this ref.
    pub fn born_watched(&mut self, pid: Pid, asked: Ref, child: Pid, monitor: Ref) {
        let epoch = self.calls.get(&(pid, asked)).map_or(0, |call| call.epoch);
        self.calls.remove(&(pid, asked));
        self.monitors.insert((pid, monitor), Monitor { to: child, epoch, met_alive: Some(true), withdrawn: false });
    }

    /// A monitor has come to where its target is, or would be.
    pub fn monitor_met(&mut self, watcher: Pid, reference: Ref, alive: bool) {
        if let Some(monitor) = self.monitors.get_mut(&(watcher, reference)) {
            monitor.met_alive = Some(alive);
        }
    }

    // ---- what processes are told ----

    /// A message was taken out of a mailbox.
    ///
    /// # Errors
    /// It should not have been there.
    pub fn taken(&mut self, from: Pid, to: Pid, number: u64) -> Result<(), String> {
        let name = format!("message {number} from {from} to {to}");
        self.counts.taken += 1;
        self.wait(from, to, -1);
        let pair = self.pair(from, to);
        if number > pair.sent {
            return Err(format!("{name} was taken and never sent"));
        }
        if number <= pair.taken {
            return Err(format!("G1, G2: {name} came after number {}", pair.taken));
        }
        if pair.given_back.get(&number) == Some(&false) {
            return Err(format!("G2: {name} arrived, and its sender was told that it had not"));
        }
        let skipped = (pair.taken + 1..number).filter(|skipped| !pair.given_back.contains_key(skipped)).count();
        pair.missing += skipped as u64;
        pair.taken = number;
        if pair.missing > pair.refused {
            return Err(format!("G2: {name} came, and {} before it neither came nor were given back", pair.missing));
        }
        Ok(())
    }

    /// A monitor has fired.
    ///
    /// # Errors
    /// It should not have, or not so.
    pub fn down(&mut self, watcher: Pid, down: &Down) -> Result<(), String> {
        let Down { monitor: reference, pid, reason } = down;
        let name = format!("the monitor {reference:?} of {watcher} for {pid} fired with `{reason}`");
        let monitor = self.monitors.remove(&(watcher, *reference)).ok_or(format!("{name} once too often"))?;
        if monitor.to != *pid {
            return Err(format!("{name}, and is for {}", monitor.to));
        }
        let parted = self.has_parted(watcher, pid.node, monitor.epoch) || self.unsent.contains(&(watcher, *reference));
        let true_reason = self.fates.get(pid).and_then(|fate| fate.ended.clone());
        match reason {
            ExitReason::Disconnected if parted => self.counts.down_disconnected += 1,
            ExitReason::NoProcess if !self.is_alive(*pid) && monitor.met_alive != Some(true) => {
                self.counts.down_nobody += 1;
            }
            reason if true_reason.as_ref() == Some(reason) && monitor.met_alive != Some(false) => self.counts.down += 1,
            _ => {
                let what = (parted, monitor.met_alive);
                return Err(format!("{name}, which it is not: {true_reason:?}, parted and alive: {what:?}"));
            }
        }
        Ok(())
    }

    /// A notice of an exit was taken.
    ///
    /// # Errors
    /// It should not have come.
    pub fn exit(&mut self, to: Pid, exit: &Exit) -> Result<(), String> {
        let Exit { from, reason } = exit;
        let is_it = |asked: &&(Pid, Pid, ExitReason, u64)| (asked.0, asked.1, &asked.2) == (*from, to, reason);
        if let Some(sent) = self.asked.iter().find(is_it).map(|asked| asked.3) {
            self.asked.retain(|asked| !is_it(&asked));
            let pair = self.pair(*from, to);
            let lost = (pair.taken + 1..=sent).filter(|number| !pair.given_back.contains_key(number)).count() as u64;
            if lost + pair.missing > pair.refused {
                return Err(format!("the exit that {from} asked of {to} overtook {lost} messages"));
            }
            return Ok(());
        }
        self.link_fired(to, *from, reason)
    }

    /// A monitor of a node has fired.
    ///
    /// # Errors
    /// It should not have.
    pub fn node_down(&mut self, watcher: Pid, down: &NodeDown) -> Result<(), String> {
        let name = format!("the monitor {:?} of {watcher} for node {} fired", down.monitor, down.node);
        let found = self.node_monitors.remove(&(watcher, down.monitor));
        let (node, epoch) = found.ok_or(format!("{name} once too often"))?;
        self.counts.node_down += 1;
        if node != down.node || !self.has_parted(watcher, node, epoch) {
            return Err(format!("{name}, and no association has ended"));
        }
        Ok(())
    }

    /// A call or question was answered.
    ///
    /// # Errors
    /// It was already done with.
    pub fn answered(&mut self, pid: Pid, reference: Ref) -> Result<(), String> {
        self.counts.answered += 1;
        let call = self.calls.remove(&(pid, reference));
        call.map(|_| ()).ok_or(format!("what {pid} asked under {reference:?} is answered twice"))
    }

    /// A process waits for an answer no longer.
    pub fn gave_up(&mut self, pid: Pid, reference: Ref) {
        self.counts.gave_up += 1;
        self.calls.remove(&(pid, reference));
    }

    /// A call or question has failed.
    ///
    /// # Errors
    /// It should not have.
    pub fn failed(&mut self, pid: Pid, reference: Ref, error: &CallError) -> Result<(), String> {
        let name = format!("what {pid} asked under {reference:?} failed with `{error}`");
        let call = self.calls.remove(&(pid, reference)).ok_or(format!("{name} although it was done with"))?;
        self.counts.failed += 1;
        let is_true = self.has_parted(pid, call.node, call.epoch)
            || self.unsent.contains(&(pid, reference))
            || call.to.is_some_and(|to| {
                let refused = self.pairs.get(&(pid, to)).is_some_and(|pair| pair.refused > 0);
                !self.is_alive(to) || refused
            });
        if is_true { Ok(()) } else { Err(format!("{name} for no reason")) }
    }

    // ---- what nodes do ----

    /// A life of a node is over, with all that lived there.
    pub fn crash(&mut self, node: NodeId, incarnation: Incarnation) {
        self.crashed.insert((node, incarnation));
        let here = |pid: &Pid| pid.node == node && pid.incarnation == incarnation;
        for pid in self.living.iter().copied().filter(here) {
            if let Some(fate) = self.fates.get_mut(&pid) {
                fate.crashed = true;
                self.counts.crashed += 1;
            }
        }
        self.living.retain(|pid| !here(pid));
        self.groups.forget(here);
    }

    /// A life of a node has seen an association end.
    pub fn parted(&mut self, node: NodeId, incarnation: Incarnation, from: NodeId) {
        *self.ends.entry((node, incarnation, from)).or_default() += 1;
    }

    /// A signal was not sent, or is not known to have arrived.
    pub fn given_back(&mut self, signal: &Signal, maybe_delivered: bool) {
        match signal {
            Signal::Message(envelope) if is_followed(envelope) => {
                let Ok(number) = decode(envelope.payload.as_slice()) else { return };
                if envelope.reference.is_some() {
                    self.unsent.insert((envelope.from, envelope.reference));
                }
                self.pair(envelope.from, envelope.to).given_back.insert(number, maybe_delivered);
                self.counts.given_back += 1;
            }
            Signal::Message(envelope) if envelope.schema == TIMED => {
                let Ok(number) = decode(envelope.payload.as_slice()) else { return };
                self.timers.given_back(envelope.from, number, maybe_delivered);
            }
            Signal::Monitor { from, reference, .. }
            | Signal::Name { from, reference, .. }
            | Signal::Ping { from, reference, .. } => {
                self.unsent.insert((*from, *reference));
            }
            Signal::Spawn(request) => {
                self.unsent.insert((request.from, request.reference));
            }
            Signal::Link { from, to } => {
                self.unsent_links.insert((*from, *to));
            }
            _ => {}
        }
    }

    /// A kernel says what happened, all at once.
    ///
    /// # Errors
    /// It should not have.
    pub fn traced(&mut self, events: &[TraceEvent], epochs: &Epochs) -> Result<(), String> {
        // A process tells those that are linked to it before it is seen to end.
        for event in events {
            if let (Some(pid), Happened::Died { reason }) = (event.of, &event.what) {
                let earlier = self.fate(pid).ended.replace(reason.clone());
                if let Some(earlier) = earlier {
                    return Err(format!("{pid} ended with `{earlier}`, and again with `{reason}`"));
                }
            }
        }
        events.iter().try_for_each(|event| self.happened(event, epochs))
    }

    fn happened(&mut self, event: &TraceEvent, epochs: &Epochs) -> Result<(), String> {
        let Some(pid) = event.of else { return Ok(()) };
        match &event.what {
            Happened::Spawned { parent, .. } => {
                self.counts.born += 1;
                self.fate(pid).parent = *parent;
                self.living.push(pid);
                self.directory.push(pid);
            }
            Happened::Received(post) if is_number(post.schema) && post.class != Class::Reply => {
                self.pair(post.peer, pid).delivered += 1;
                self.wait(post.peer, pid, 1);
                self.check_mailbox(pid)?;
            }
            Happened::Refused { from, schema, why } => self.refused(*from, pid, *schema, why)?,
            Happened::Linked { to } => {
                let epoch = epochs.get(&to.node).copied().unwrap_or_default();
                self.links.entry((pid, *to)).or_default().push(epoch);
                let child = self.fate(pid).parent == Some(*to) || self.fate(*to).parent == Some(pid);
                let both = self.pairs.get(&(pid, *to)).is_some_and(|pair| pair.before_link.is_some());
                let pair = self.pair(*to, pid);
                if let Some(sent) = pair.before_link.filter(|_| !both && !child) {
                    pair.check_overtaken(sent)
                        .map_err(|lost| format!("the link of {to} to {pid} overtook {lost} messages"))?;
                }
            }
            Happened::Unlinked { to } => {
                self.links.entry((pid, *to)).or_default().pop();
            }
            Happened::Blocked { .. } => self.counts.held += 1,
            Happened::Died { reason } => self.died(pid, reason)?,
            _ => {}
        }
        Ok(())
    }

    // ---- helpers ----

    fn fate(&mut self, pid: Pid) -> &mut Fate {
        self.fates.entry(pid).or_default()
    }

    fn pair(&mut self, from: Pid, to: Pid) -> &mut Pair {
        self.pairs.entry((from, to)).or_default()
    }

    fn wait(&mut self, from: Pid, to: Pid, change: i64) {
        let pair = self.pair(from, to);
        pair.waiting = pair.waiting.saturating_add_signed(change);
        let waiting = pair.waiting;
        let mailbox = self.waiting.entry(to).or_default();
        if waiting == 0 {
            mailbox.remove(&from);
        } else {
            mailbox.insert(from, waiting);
        }
    }

    /// Whether an association has ended since this one's shard had seen so many ends.
    fn has_parted(&self, pid: Pid, from: NodeId, epoch: u64) -> bool {
        self.ends.get(&(pid.node, pid.incarnation, from)).is_some_and(|ends| *ends > epoch)
    }

    /// What others may have put into a mailbox: its limit, and of each sender what was on its way when it was told.
    fn mailbox_max(&self, to: Pid) -> u64 {
        let limit = u64::from(self.limits.mailbox_messages);
        let window = (limit / 8).max(2);
        let senders = self.waiting.get(&to).into_iter().flatten();
        let beyond = senders.map(|(from, _)| {
            // Who was disconnected meanwhile begins anew.
            let ends = self.ends.get(&(from.node, from.incarnation, to.node)).copied().unwrap_or_default();
            (window + 2 * BURST) * (1 + ends)
        });
        limit + beyond.sum::<u64>()
    }

    fn check_mailbox(&self, pid: Pid) -> Result<(), String> {
        let waiting: u64 = self.waiting.get(&pid).into_iter().flatten().map(|(_, waiting)| waiting).sum();
        let most = self.mailbox_max(pid);
        if waiting > most {
            return Err(format!("G10: {waiting} messages wait for {pid}, and at most {most} should"));
        }
        Ok(())
    }

    fn refused(&mut self, from: Pid, to: Pid, schema: SchemaId, why: &str) -> Result<(), String> {
        let overflow = why.contains("four times");
        // Nobody holds a timer back.
        let most = self.mailbox_max(to) + self.timers.open(to);
        let allowed = most >= 4 * u64::from(self.limits.mailbox_messages);
        if !(why.starts_with("given up") || overflow && allowed) {
            return Err(format!("G10: a message from {from} to {to} was refused: {why}"));
        }
        if schema == TIMED {
            self.timers.refused(from, to);
            return Ok(());
        }
        if !overflow {
            self.wait(from, to, -1);
        }
        self.pair(from, to).refused += 1;
        self.counts.refused += 1;
        Ok(())
    }

    fn died(&mut self, pid: Pid, reason: &ExitReason) -> Result<(), String> {
        self.counts.ended += 1;
        self.living.retain(|living| *living != pid);
        self.waiting.remove(&pid);
        self.groups.forget(|member| *member == pid);
        self.clock += 1;
        let at = self.clock;
        let fate = self.fate(pid);
        fate.ended_at = at;
        if fate.wants.as_ref() == Some(reason) {
            return Ok(());
        }
        let killed = match reason {
            ExitReason::Killed { by: Some(by) } => self.pair(*by, pid).before_kill.map(|sent| (*by, sent)),
            _ => None,
        };
        let asked =
            self.asked.iter().find(|asked| asked.1 == pid && asked.2 == *reason).map(|asked| (asked.0, asked.3));
        let ordered = killed.or(asked);
        let overtaken = ordered.and_then(|(by, sent)| self.pair(by, pid).check_overtaken(sent).err());
        if ordered.is_some() && overtaken.is_none() {
            self.counts.killed += 1;
            return Ok(());
        }
        // The one who did that may have ended another for the same reason, which came along a link.
        let others: Vec<Pid> = self
            .links
            .range((pid, least())..)
            .map(|(ends, _)| *ends)
            .take_while(|ends| ends.0 == pid)
            .map(|ends| ends.1)
            .collect();
        let why = others.into_iter().find(|other| self.link_is_true(pid, *other, reason));
        match why {
            Some(other) => self.link_fired(pid, other, reason),
            None => Err(format!("{pid} ended with `{reason}`: nobody asked, or that overtook messages: {overtaken:?}")),
        }
    }

    /// Whether a link may fire with this reason.
    fn link_is_true(&self, pid: Pid, other: Pid, reason: &ExitReason) -> bool {
        let Some(epoch) = self.links.get(&(pid, other)).and_then(|ends| ends.first()) else { return false };
        match reason {
            ExitReason::Disconnected => {
                self.has_parted(pid, other.node, *epoch)
                    || self.unsent_links.contains(&(pid, other))
                    || self.ended_so(other, reason)
            }
            // Whoever was told before that it got no child has none.
            ExitReason::NoProcess => {
                let unwanted = self.fates.get(&pid).is_some_and(|f| f.parent == Some(other) && !f.acknowledged);
                unwanted || !self.is_alive(other)
            }
            reason => self.ended_so(other, reason),
        }
    }

    fn ended_so(&self, pid: Pid, reason: &ExitReason) -> bool {
        self.fates.get(&pid).is_some_and(|fate| fate.ended.as_ref() == Some(reason))
    }

    fn link_fired(&mut self, pid: Pid, other: Pid, reason: &ExitReason) -> Result<(), String> {
        if !self.link_is_true(pid, other, reason) {
            let ends = self.links.get(&(pid, other));
            let fate = self.fates.get(&other).and_then(|fate| fate.ended.as_ref());
            return Err(format!("the link of {pid} with {other} fired with `{reason}`: {ends:?}, {fate:?}"));
        }
        if let Some(ends) = self.links.get_mut(&(pid, other)) {
            ends.remove(0);
        }
        match reason {
            ExitReason::Disconnected => self.counts.exit_disconnected += 1,
            ExitReason::NoProcess => self.counts.exit_nobody += 1,
            _ => self.counts.exit += 1,
        }
        Ok(())
    }
}

impl Pair {
    /// Whether what was sent before something has come before it, or not at all.
    fn check_overtaken(&self, sent: u64) -> Result<(), u64> {
        let given_back = self.given_back.range(..=sent).count() as u64;
        let lost = sent.saturating_sub(self.delivered + given_back + self.refused);
        if lost == 0 { Ok(()) } else { Err(lost) }
    }
}

/// Messages of processes to each other, but answers.
fn is_followed(envelope: &Envelope) -> bool {
    is_number(envelope.schema) && envelope.class != Class::Reply
}

fn least() -> Pid {
    Pid::new(NodeId(0), Incarnation(0), neurath_proto::Serial(0))
}
