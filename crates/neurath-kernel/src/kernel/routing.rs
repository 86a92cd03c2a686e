//! Where a signal goes: to a process here, to another shard, to another node, to someone outside, or to nobody.
//!
//! Invariant: everything for a process that has moved goes through the shard where it was born: one path keeps the order.

use super::*;

impl Kernel {
    /// Whether the process was born here.
    #[inline]
    pub(super) fn is_here(&self, pid: Pid) -> bool {
        pid.node == self.place.node
            && pid.incarnation == self.place.incarnation
            && (self.place.shards == 1 || pid.serial.0 % u64::from(self.place.shards) == u64::from(self.place.shard))
    }

    /// Whether a process born here lives on another shard now.
    pub(super) fn moved_to(&self, pid: Pid) -> Option<u32> {
        if self.moved.is_empty() { None } else { self.moved.get(&pid.serial).copied() }
    }

    #[inline]
    pub(super) fn route_message(&mut self, envelope: Envelope) {
        let to = envelope.to;
        if self.is_here(to) && self.moved.is_empty() {
            self.deliver(envelope);
        } else {
            self.route(Signal::Message(envelope));
        }
    }

    pub(super) fn route(&mut self, signal: Signal) {
        let Some(to) = signal.receiver() else {
            self.registrar(signal);
            return;
        };
        if to.node != self.place.node {
            if self.is_late(to.node, &signal) {
                self.refuse_late(signal);
            } else {
                self.effects.push_back(Effect::ToNode(to.node, signal));
            }
            return;
        }
        if to.serial == Serial(0) {
            self.node_signal(signal);
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

    pub(super) fn handle(&mut self, to: Pid, signal: Signal) {
        let Some(slot) = self.slot_of(to) else {
            if let Signal::Settle { from, .. } = signal {
                self.route(Signal::Drained { to: from, target: to });
            } else if self.externals.contains_key(&to.serial) {
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
                if !process.unlinking.contains_key(&from) && process.links.insert(from) {
                    self.trace(to, || Happened::Linked { to: from });
                }
            }
            Signal::Unlink { from, number, .. } => {
                if process.links.remove(&from) {
                    self.trace(to, || Happened::Unlinked { to: from });
                }
                self.route(Signal::Unlinked { to: from, from: to, number });
            }
            Signal::Unlinked { from, number, .. } => {
                if process.unlinking.get(&from) == Some(&number) {
                    process.unlinking.remove(&from);
                }
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
            Signal::Settle { from, .. } => self.settle_sender(slot, from),
            Signal::Full { target, .. } => self.block(slot, target),
            Signal::Drained { target, .. } => self.unblock(slot, target),
            Signal::Probe { origin, target, hops, .. } => self.probe(slot, origin, target, hops),
            Signal::Withdraw { from, .. } => self.withdraw(slot, from),
            Signal::NotDelivered { target, type_name, reason, .. } => {
                self.tell_sender(slot, target, type_name, reason);
            }
            Signal::Named { name, registrar, from, reference, .. } => {
                process.names.push((registrar, name.clone()));
                self.trace(to, || Happened::Registered { name });
                self.answer_name(from, reference, NameAnswer::Done);
            }
            Signal::Unnamed { name, registrar, .. } => {
                process.names.retain(|n| *n != (registrar, name.clone()));
                self.trace(to, || Happened::Unregistered { name });
            }
            Signal::Spawned { from, reference, link, monitor, result, .. } => {
                self.spawned(slot, from, reference, link, monitor, result);
            }
            Signal::Disconnected { node, .. } => self.disconnect(slot, node),
            Signal::Name { .. }
            | Signal::NameGone { .. }
            | Signal::Spawn(_)
            | Signal::Ping { .. }
            | Signal::Join { .. }
            | Signal::Leave { .. }
            | Signal::Members { .. } => {}
        }
    }

    /// The process is being polled: what comes for it waits, and what cannot wait stops it.
    pub(super) fn defer(&mut self, slot: Slot, signal: Signal) {
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
            self.trace(to, || Happened::Full { sender: from });
            self.route(Signal::Full { to: from, target: to });
        }
    }

    /// There is no such process.
    pub(super) fn nobody(&mut self, signal: Signal) {
        match signal {
            // Its own timer, or what it had said to itself: nobody misses it.
            Signal::Message(envelope) | Signal::TimerFired { envelope, .. } if envelope.from == envelope.to => {}
            Signal::Message(envelope) | Signal::TimerFired { envelope, .. } => {
                self.totals.undeliverable += 1;
                if envelope.class == Class::Reply {
                    return;
                }
                if envelope.wants_answer() {
                    let (to, reference) = (envelope.from, envelope.reference);
                    self.route(Signal::CallFailed { to, reference, error: CallError::Down(ExitReason::NoProcess) });
                }
                if !envelope.wants_answer() && envelope.class != Class::Notice {
                    self.not_delivered(envelope.from, envelope.to, envelope.schema, "there is no such process");
                }
                self.remember(&envelope, "there is no such process");
            }
            Signal::Link { to, from } => {
                self.route(Signal::Exit { to: from, from: to, reason: ExitReason::NoProcess, linked: true });
            }
            Signal::Monitor { to, from, reference } => {
                self.route(Signal::Down { to: from, from: to, reference, reason: ExitReason::NoProcess });
            }
            Signal::Unlink { to, from, number } => self.route(Signal::Unlinked { to: from, from: to, number }),
            Signal::Settle { to, from } => self.route(Signal::Drained { to: from, target: to }),
            Signal::Named { to, name, registrar, from, reference } => {
                self.tell_registrar(registrar, Signal::NameGone { name, pid: to });
                self.answer_name(from, reference, NameAnswer::NoProcess);
            }
            // Its parent has ended meanwhile, and would have told it so.
            Signal::Spawned { to, from, link, monitor, result: Ok(()), .. } => {
                if monitor.is_some() {
                    self.route(Signal::Demonitor { to: from, from: to, reference: monitor });
                }
                if link {
                    let reason = ExitReason::NoProcess;
                    self.route(Signal::Exit { to: from, from: to, reason, linked: true });
                }
            }
            _ => {}
        }
    }
}
