//! Whose turn it is, and what came of it.
//!
//! Invariant: a process is in the run queue at most once, and never while it is held or being polled.

use super::*;

impl Kernel {
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
                // It was woken for a receive that is over by now; what it waits for still has its deadline.
                process.port = Some(port);
                self.settle(slot);
                continue;
            };
            process.counts.polls += 1;
            self.totals.turns += 1;
            port.set_now(now);
            return Some(Turn { slot, pid: process.pid, port, work });
        }
        if self.upgrades.is_empty() { None } else { self.next_upgrade() }
    }

    pub(super) fn next_upgrade(&mut self) -> Option<Turn> {
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
        let gone = |signal: &Signal| match signal {
            Signal::Disconnected { node, .. } => Some(*node),
            _ => None,
        };
        let gone: Vec<NodeId> = process.deferred.iter().filter_map(gone).collect();
        self.late = (!gone.is_empty()).then_some((pid, gone));
        let mut ended = None;
        let outcome = match outcome {
            Outcome::Pending if port.has_exceeded() => {
                let message = "it asked for more in one poll than its limits allow".to_string();
                Outcome::Failed(ExitReason::Trap { message })
            }
            outcome => outcome,
        };
        match outcome {
            Outcome::Pending => self.perform(slot, pid, &mut port),
            Outcome::Exited(reason) => {
                self.perform(slot, pid, &mut port);
                ended = Some(reason);
            }
            Outcome::Failed(reason) => {
                port.drop_outbox();
                ended = Some(process.killed.take().unwrap_or(reason));
            }
            Outcome::Upgraded { program, entry, exited } => {
                port.commit();
                self.tracers.tell_of(self.now, pid, || Happened::Upgraded { program: program.name.clone() });
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
                if attempted {
                    self.tracers.tell_of(self.now, pid, || Happened::RolledBack { why: reason.clone() });
                }
                if let Some(becoming) = process.becoming.take() {
                    port.call_failed(becoming.reference, &CallError::NotSent(reason.clone()));
                }
                if let Some(order) = process.upgrade.take() {
                    self.effects.push_back(Effect::UpgradeDone { id: order.id, pid, result: Err(reason) });
                }
            }
        }
        self.late = None;
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
    pub(super) fn settle(&mut self, slot: Slot) {
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

    pub(super) fn enqueue(&mut self, slot: Slot) {
        if let Some(process) = self.at(slot)
            && !process.queued
        {
            process.queued = true;
            self.run_queue.push_back(slot);
        }
    }

    pub(super) fn handle_deferred(&mut self, slot: Slot, pid: Pid) {
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
}
