//! Other nodes: what this shard's processes ask of them, and what becomes of ties to one that is gone.
//!
//! It knows neither sessions nor sockets: the driver says which nodes are connected. Invariant: when an association has
//! ended, nothing here waits for that node any more, and each monitor and link to its processes has fired once.

use super::*;

/// What this shard knows of another node.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Its life and name, while an association with it is open.
    up: Option<(Incarnation, String)>,
    /// As much is on its way to it as may be.
    full: bool,
    /// Who waits for that to change.
    held: Vec<Pid>,
    /// Who is told once when it goes.
    monitors: BTreeSet<(Pid, Ref)>,
}

impl Kernel {
    // ---- what the driver says ----

    /// An association with a node is open.
    pub fn node_up(&mut self, node: NodeId, incarnation: Incarnation, name: &str) {
        self.nodes.entry(node).or_default().up = Some((incarnation, name.to_string()));
        let notice = NodeUp { node, incarnation, name: name.to_string() };
        let known = self.known.node_up;
        self.tell_node_watchers(node, known, &notice);
        if self.place.shard == 0 {
            self.trace_node(Happened::NodeUp { node, incarnation });
            self.share_groups(node);
        }
    }

    /// It has ended, or none came about: everything that ties processes of this shard to the node is cut.
    pub fn node_down(&mut self, node: NodeId, reason: &str) {
        let peer = self.nodes.remove(&node).unwrap_or_default();
        if self.place.shard == 0 {
            self.names.retain(|_, owner| owner.node != node);
            self.groups.forget_node(node);
        }
        for index in 0..self.processes.len() {
            if let Some(process) = self.processes[index].as_deref()
                && process.is_tied_to(node)
            {
                let to = process.pid;
                self.handle(to, Signal::Disconnected { to, node });
            }
        }
        for to in peer.held {
            if let Some(slot) = self.slot_of(to) {
                self.unblock(slot, node_itself(node));
            }
        }
        for (watcher, monitor) in peer.monitors {
            if let Some(slot) = self.slot_of(watcher) {
                let known = self.known.node_down;
                let notice = NodeDown { monitor, node, reason: reason.to_string() };
                self.notify(slot, node_itself(node), known, &notice);
            }
        }
        if peer.up.is_some() {
            if self.place.shard == 0 {
                self.trace_node(Happened::NodeDown { node, why: reason.to_string() });
            }
            let notice = NodeDown { monitor: Ref::NONE, node, reason: reason.to_string() };
            let known = self.known.node_down;
            self.tell_node_watchers(node, known, &notice);
        }
    }

    /// As much is on its way to a node as may be: whoever sends to it is held.
    pub fn node_full(&mut self, node: NodeId) {
        self.nodes.entry(node).or_default().full = true;
    }

    /// There is room again.
    pub fn node_drained(&mut self, node: NodeId) {
        let Some(peer) = self.nodes.get_mut(&node) else { return };
        peer.full = false;
        for to in core::mem::take(&mut peer.held) {
            if let Some(slot) = self.slot_of(to) {
                self.unblock(slot, node_itself(node));
            }
        }
    }

    /// Starts a process that another node asked for, or does not if its code has no such entry; the asker is told.
    pub fn spawn_for(&mut self, program: &Arc<Program>, request: SpawnRequest) {
        let Some(entry) = program.entries.iter().position(|entry| entry.name == request.entry) else {
            let why = format!("`{}` has no entry `{}`", program.name, request.entry);
            return self.refuse_spawn(&request, why);
        };
        let entry = entry as u32;
        let SpawnRequest { from, reference, arguments, link, monitor, .. } = request;
        let pid = self.serials.next_pid();
        let result = self.create(pid, program, entry, arguments, Some(from)).map(|slot| {
            let Some(born) = self.at(slot) else { return };
            if link {
                born.links.insert(from);
            }
            if monitor.is_some() {
                born.watchers.insert((from, monitor));
            }
            if link {
                self.trace(pid, || Happened::Linked { to: from });
            }
        });
        self.route(Signal::Spawned { to: from, from: pid, reference, link, monitor, result });
    }

    /// Tells the asker that there will be no process.
    pub fn refuse_spawn(&mut self, request: &SpawnRequest, why: String) {
        let SpawnRequest { from: to, reference, link, monitor, .. } = *request;
        let from = Pid::new(self.place.node, self.place.incarnation, Serial(0));
        self.route(Signal::Spawned { to, from, reference, link, monitor, result: Err(why) });
    }

    /// A signal for another node cannot be sent, or is not known to have arrived: whoever waits because of it is told.
    pub fn unsent(&mut self, signal: Signal, why: &str) {
        let failed = |to, reference| {
            let error = CallError::NotSent(why.to_string());
            Signal::CallFailed { to, reference, error }
        };
        let told = match signal {
            Signal::Message(envelope) if envelope.class == Class::Reply => return,
            Signal::Message(envelope) if envelope.wants_answer() => failed(envelope.from, envelope.reference),
            Signal::Message(envelope) => {
                return self.not_delivered(envelope.from, envelope.to, envelope.schema, why);
            }
            Signal::Link { to, from } => Signal::Exit { to: from, from: to, reason: NodeDown::EXIT, linked: true },
            Signal::Monitor { to, from, reference } => {
                Signal::Down { to: from, from: to, reference, reason: NodeDown::EXIT }
            }
            Signal::Unlink { to, from, number } => Signal::Unlinked { to: from, from: to, number },
            Signal::Settle { to, from } => Signal::Drained { to: from, target: to },
            Signal::Name { from, reference, .. } | Signal::Members { from, reference, .. } => failed(from, reference),
            Signal::Ping { from, reference, .. } if from.serial != Serial(0) => failed(from, reference),
            Signal::Spawn(request) => failed(request.from, request.reference),
            _ => return,
        };
        self.route(told);
    }

    /// A signal was given to another node and is not known to have arrived, and the association with that node is over. Whoever
    /// waits for an answer, watches or is linked hears that with [`Kernel::node_down`]; who has only sent something, now.
    pub fn unconfirmed(&mut self, signal: Signal, why: &str) {
        if let Signal::Message(envelope) = &signal
            && !envelope.wants_answer()
        {
            self.unsent(signal, why);
        }
    }

    /// What people call a node that is connected already.
    pub fn node_named(&mut self, node: NodeId, name: &str) {
        if let Some((_, known)) = self.nodes.get_mut(&node).and_then(|peer| peer.up.as_mut()) {
            *known = name.to_string();
        }
    }

    // ---- what processes ask ----

    pub(super) fn ask(&mut self, slot: Slot, pid: Pid, port: &mut Port, question: Question, reference: Ref) {
        match question {
            Question::Spawn { node, entry, arguments, link, monitor } => {
                let monitor = if monitor { port.reference() } else { Ref::NONE };
                self.ask_spawn(slot, node, SpawnWish { entry, arguments, link, monitor, reference });
            }
            Question::Register { node, name, pid: owner } => {
                let request = NameRequest::Register(owner);
                self.tell_registrar(node, Signal::Name { request, name, from: pid, reference });
            }
            Question::Unregister { node, name } => {
                self.tell_registrar(
                    node,
                    Signal::Name { request: NameRequest::Unregister, name, from: pid, reference },
                );
            }
            Question::Whereis { node, name } => {
                self.tell_registrar(node, Signal::Name { request: NameRequest::Whereis, name, from: pid, reference });
            }
            Question::Ping { node } => self.route(Signal::Ping { to: node_itself(node), from: pid, reference }),
            Question::Nodes => {
                let nodes = self.connected();
                self.answer(pid, reference, &Answer::Nodes { nodes });
            }
            Question::MonitorNode { node } => {
                if node == self.place.node {
                    return;
                }
                let peer = self.nodes.entry(node).or_default();
                peer.monitors.insert((pid, reference));
                if peer.up.is_none() {
                    // What nobody talks to cannot go: this makes the association, or shows that there is none.
                    let from = Pid::new(self.place.node, self.place.incarnation, Serial(0));
                    self.route(Signal::Ping { to: node_itself(node), from, reference: Ref::NONE });
                }
            }
            Question::DemonitorNode { monitor } => {
                for peer in self.nodes.values_mut() {
                    peer.monitors.remove(&(pid, monitor));
                }
            }
            Question::WatchNodes { on: true } => {
                self.node_watchers.insert(pid);
            }
            Question::WatchNodes { on: false } => {
                self.node_watchers.remove(&pid);
            }
            Question::Join { group } => {
                if let Some(process) = self.at(slot)
                    && !process.groups.contains(&group)
                {
                    process.groups.push(group.clone());
                }
                self.registrar(Signal::Join { group, pid, reference });
            }
            Question::Leave { group } => {
                if let Some(process) = self.at(slot) {
                    process.groups.retain(|of| *of != group);
                }
                self.registrar(Signal::Leave { group, pid, reference });
            }
            Question::Members { group } => self.registrar(Signal::Members { group, from: pid, reference }),
        }
    }

    fn ask_spawn(&mut self, slot: Slot, node: NodeId, wish: SpawnWish) {
        let Some(process) = self.at(slot) else { return };
        let SpawnWish { entry, arguments, link, monitor, reference } = wish;
        let program = &process.program;
        let request = SpawnRequest {
            to: node_itself(node),
            from: process.pid,
            reference,
            artifact: program.artifact,
            program: program.name.clone(),
            entry,
            arguments,
            link,
            monitor,
        };
        self.route(Signal::Spawn(request));
    }

    pub(super) fn connected_nodes(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, peer)| peer.up.is_some()).map(|(node, _)| *node).collect()
    }

    fn connected(&self) -> Vec<NodeInfo> {
        let up = self.nodes.iter().filter_map(|(node, peer)| Some((*node, peer.up.clone()?)));
        let own = (self.place.node, (self.place.incarnation, self.name.clone()));
        core::iter::once(own)
            .chain(up)
            .map(|(node, (incarnation, name))| NodeInfo { node, incarnation, name })
            .collect()
    }

    // ---- what comes of it ----

    /// A signal for the node itself.
    pub(super) fn node_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Ping { from, reference, .. } if from.serial != Serial(0) => {
                self.answer(from, reference, &Answer::Done {});
            }
            Signal::Ping { .. } => {}
            Signal::Spawn(request) => self.effects.push_back(Effect::Spawn(request)),
            other => self.nobody(other),
        }
    }

    /// The answer to a process's wish for a child elsewhere.
    pub(super) fn spawned(
        &mut self,
        slot: Slot,
        child: Pid,
        reference: Ref,
        link: bool,
        monitor: Ref,
        result: Result<(), String>,
    ) {
        let Some(process) = self.at(slot) else { return };
        let to = process.pid;
        if !process.port.as_ref().is_some_and(|port| port.awaits(reference)) {
            // It was told that nothing came of it, or has given up: it would not know this child.
            return self.nobody(Signal::Spawned { to, from: child, reference, link, monitor, result });
        }
        let answer = match result {
            Ok(()) => {
                let linked = link && process.links.insert(child);
                if monitor.is_some() {
                    process.watching.insert(monitor, child);
                    self.trace(to, || Happened::Monitored { whom: child });
                }
                if linked {
                    self.trace(to, || Happened::Linked { to: child });
                }
                Answer::Spawned { pid: child, monitor }
            }
            Err(why) => Answer::Failed { why },
        };
        self.answer(to, reference, &answer);
    }

    /// Cuts what ties a process to a node that cannot be reached any more.
    pub(super) fn disconnect(&mut self, slot: Slot, node: NodeId) {
        let Some(process) = self.at(slot) else { return };
        let pid = process.pid;
        process.debts.retain(|target, _| target.node != node);
        process.unlinking.retain(|other, _| other.node != node);
        process.watchers.retain(|(watcher, _)| watcher.node != node);
        process.waiters.retain(|waiter| waiter.node != node);
        process.names.retain(|(registrar, _)| *registrar != node);
        let blocked: Vec<Pid> = process.blocked_on.iter().copied().filter(|target| target.node == node).collect();
        let watched: Vec<(Ref, Pid)> =
            process.watching.iter().filter(|(_, target)| target.node == node).map(|(r, p)| (*r, *p)).collect();
        let linked: Vec<Pid> = process.links.iter().copied().filter(|other| other.node == node).collect();
        if let Some(port) = &mut process.port {
            port.fail_calls(node, &down_error(&NodeDown::EXIT));
            port.close_calls(node);
        }
        for target in blocked {
            self.unblock(slot, target);
        }
        for (reference, from) in watched {
            self.handle(pid, Signal::Down { to: pid, from, reference, reason: NodeDown::EXIT });
        }
        for from in linked {
            // An earlier one may have ended it.
            self.handle(pid, Signal::Exit { to: pid, from, reason: NodeDown::EXIT, linked: true });
        }
        if self.slot_of(pid).is_some() {
            self.settle(slot);
        }
    }

    /// Whether whoever says this has not heard that the association with the node has ended: it must not get into the next.
    pub(super) fn is_late(&self, node: NodeId, signal: &Signal) -> bool {
        self.late.as_ref().is_some_and(|(pid, gone)| signal.sender() == Some(*pid) && gone.contains(&node))
    }

    /// As [`Peer::send`](crate::Peer::send) has it for other shards.
    pub(super) fn refuse_late(&mut self, signal: Signal) {
        // The end, which is heard of next, cuts the link.
        if signal.may_fail() && !matches!(signal, Signal::Link { .. }) {
            self.unsent(signal, "the association with its node had ended");
        }
    }

    /// Holds a sender, because its messages cannot leave.
    pub(super) fn hold_if_node_is_full(&mut self, slot: Slot, node: NodeId) {
        let Some(peer) = self.nodes.get_mut(&node).filter(|peer| peer.full) else { return };
        let Some(process) = self.processes.get_mut(slot.0 as usize).and_then(|p| p.as_deref_mut()) else { return };
        let target = node_itself(node);
        if !process.blocked_on.contains(&target) {
            process.blocked_on.push(target);
            peer.held.push(process.pid);
            let pid = process.pid;
            self.trace(pid, || Happened::Blocked { by: target });
            self.hold(pid, Hold::BackPressure, true);
        }
    }

    /// A process has ended: it is told of no node any more.
    pub(super) fn forget_watcher_of_nodes(&mut self, pid: Pid) {
        self.node_watchers.remove(&pid);
        for peer in self.nodes.values_mut().filter(|peer| !peer.monitors.is_empty()) {
            peer.monitors.retain(|(watcher, _)| *watcher != pid);
        }
    }

    fn tell_node_watchers(&mut self, node: NodeId, schema: SchemaId, notice: &impl Data) {
        let watchers: Vec<Pid> = self.node_watchers.iter().copied().collect();
        for watcher in watchers {
            if let Some(slot) = self.slot_of(watcher) {
                self.notify(slot, node_itself(node), schema, notice);
            }
        }
    }
}

/// What a process says of the child that it wants elsewhere.
struct SpawnWish {
    entry: String,
    arguments: Vec<u8>,
    link: bool,
    monitor: Ref,
    reference: Ref,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Body, CodeId, ProgramEntry};
    use crate::types::Fit;

    struct Alike;

    impl Types for Alike {
        fn fit(&self, _: SchemaId, _: SchemaId) -> Fit {
            Fit::Same
        }

        fn mismatch(&self, _: &[SchemaId], _: SchemaId) -> CallError {
            CallError::NotSent(String::new())
        }

        fn name(&self, _: SchemaId) -> String {
            String::new()
        }
    }

    #[test]
    fn of_a_process_that_has_ended_no_watching_of_nodes_is_left() {
        let place = Place { node: NodeId(1), incarnation: Incarnation(1), shard: 0, shards: 1 };
        let [down, exit, answer, node_up, node_down, not_delivered] = [0, 1, 2, 3, 4, 5].map(SchemaId);
        let known = WellKnown { down, exit, answer, node_up, node_down, not_delivered };
        let mut kernel = Kernel::new(place, KernelConfig::default(), Arc::new(Alike), known);
        let entries = Vec::from([ProgramEntry { name: "watcher".into(), accepts: None, is_server: false }]);
        let (name, body) = ("test@1".into(), Body(Arc::new(())));
        let program = Arc::new(Program { code: CodeId(1), name, artifact: [1; 32], entries, body });
        for other in [NodeId(2), NodeId(3)] {
            kernel.node_up(other, Incarnation(1), "other");
        }
        for _ in 0..2 {
            kernel.spawn(&program, 0, Vec::new(), None, None).unwrap();
            let Turn { slot, mut port, .. } = kernel.next_turn().unwrap();
            port.ask(Question::WatchNodes { on: true });
            port.ask(Question::MonitorNode { node: NodeId(2) });
            port.ask(Question::MonitorNode { node: NodeId(3) });
            kernel.finish(slot, port, Outcome::Pending);
        }
        let watching = |kernel: &Kernel| {
            let monitors: usize = kernel.nodes.values().map(|peer| peer.monitors.len()).sum();
            (kernel.node_watchers.len(), monitors)
        };
        assert_eq!(watching(&kernel), (2, 4));
        let first = kernel.list()[0].pid;
        kernel.signal(Signal::Kill { to: first, by: None });
        assert_eq!(watching(&kernel), (1, 2), "the other one goes on watching");
    }
}
