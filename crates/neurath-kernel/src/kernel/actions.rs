//! What a poll asked for, made true at the safe point, in the order in which it was asked.

use super::messages::CLOSED;
use super::*;

impl Kernel {
    #[inline]
    pub(super) fn perform(&mut self, slot: Slot, pid: Pid, port: &mut Port) {
        let mut outbox = port.take_outbox();
        if outbox.is_empty() {
            return;
        }
        let mut sent = 0;
        for action in outbox.drain(..) {
            if let Action::Send(envelope) = action {
                sent += 1;
                let to = envelope.to;
                self.trace(pid, || Happened::Sent(Post::sent(&envelope)));
                let elsewhere = envelope.class != Class::Reply && !self.is_here(to);
                let bytes = envelope.payload.len();
                self.route_message(envelope);
                if elsewhere {
                    self.sent_elsewhere(slot, to, bytes);
                }
            } else {
                self.perform_one(slot, pid, port, action);
            }
        }
        if let Some(process) = self.at(slot) {
            process.counts.sent += sent;
        }
        self.totals.sent += sent;
        port.return_outbox(outbox);
    }

    pub(super) fn perform_one(&mut self, slot: Slot, pid: Pid, port: &mut Port, action: Action) {
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
                    process.unlinking.remove(&other);
                    self.trace(pid, || Happened::Linked { to: other });
                    self.route(Signal::Link { to: other, from: pid });
                }
            }
            Action::Unlink(other) => {
                if let Some(process) = self.at(slot)
                    && process.links.remove(&other)
                {
                    process.unlinks += 1;
                    let number = process.unlinks;
                    process.unlinking.insert(other, number);
                    self.trace(pid, || Happened::Unlinked { to: other });
                    self.route(Signal::Unlink { to: other, from: pid, number });
                }
            }
            Action::Monitor(other, reference) => {
                if let Some(process) = self.at(slot) {
                    process.watching.insert(reference, other);
                }
                self.trace(pid, || Happened::Monitored { whom: other });
                self.route(Signal::Monitor { to: other, from: pid, reference });
            }
            Action::Demonitor(reference) => {
                if let Some(other) = self.at(slot).and_then(|p| p.watching.remove(&reference)) {
                    self.trace(pid, || Happened::Demonitored { whom: other });
                    self.route(Signal::Demonitor { to: other, from: pid, reference });
                }
            }
            Action::Exit(to, reason) => self.route(Signal::Exit { to, from: pid, reason, linked: false }),
            Action::Kill(to) => self.route(Signal::Kill { to, by: Some(pid) }),
            Action::Ask(question, reference) => self.ask(slot, pid, port, question, reference),
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
            Action::Close(messages) => {
                for message in messages {
                    self.refuse_taken(slot, &message, CallError::NotSent(CLOSED.into()));
                }
            }
            Action::Fail(to, reference, error) => self.route(Signal::CallFailed { to, reference, error }),
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn spawn_child(
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
                    self.trace(parent, || Happened::Monitored { whom: child });
                }
                if link {
                    self.trace(parent, || Happened::Linked { to: child });
                    self.trace(child, || Happened::Linked { to: parent });
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
}
