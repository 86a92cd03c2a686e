//! Full mailboxes (G10): a send never blocks; the sender waits; cycles of waiting are found and broken.

use super::*;

/// Targets elsewhere whose room a process waits to hear of, before it asks about the first of them.
const DEBTS_MAX: usize = 64;

impl Kernel {
    pub(super) fn block(&mut self, slot: Slot, target: Pid) {
        let Some(process) = self.at(slot) else { return };
        let origin = process.pid;
        if !process.blocked_on.contains(&target) {
            process.blocked_on.push(target);
        }
        self.trace(origin, || Happened::Blocked { by: target });
        self.hold(origin, Hold::BackPressure, true);
        self.route(Signal::Probe { to: target, origin, target, hops: 64 });
    }

    /// A process sends to another shard or node, which can only say `Full` some time later. So it is asked now and then
    /// whether what was sent has found room, and a sender that is far ahead of the answers is held.
    pub(super) fn sent_elsewhere(&mut self, slot: Slot, target: Pid, bytes: usize) {
        let window = self.window();
        // A mailbox is full by messages or by bytes: a long one counts as several.
        let limits = self.config.port;
        let bytes_each = (limits.mailbox_bytes / u64::from(limits.mailbox_messages.max(1))).max(1);
        let cost = 1 + (bytes as u64 / bytes_each).min(u64::from(u32::MAX / 2)) as u32;
        let Some(process) = self.at(slot) else { return };
        let from = process.pid;
        if process.debts.len() >= DEBTS_MAX && !process.debts.contains_key(&target) {
            // Nobody else is owed anything for long.
            let next = process.debts.iter_mut().find(|(_, debt)| debt.asked == 0);
            if let Some((to, debt)) = next {
                debt.asked = debt.sent;
                let signal = Signal::Settle { to: *to, from };
                self.route(signal);
            }
        }
        let Some(process) = self.at(slot) else { return };
        let debt = process.debts.entry(target).or_default();
        debt.sent = debt.sent.saturating_add(cost);
        let (ask, hold) = (debt.asked == 0 && debt.sent > window / 2, debt.sent > window);
        if ask {
            debt.asked = debt.sent;
        }
        let hold = hold && !process.blocked_on.contains(&target);
        if hold {
            process.blocked_on.push(target);
            self.trace(from, || Happened::Blocked { by: target });
        }
        if ask {
            self.route(Signal::Settle { to: target, from });
        }
        if hold {
            self.hold(from, Hold::BackPressure, true);
        }
        self.hold_if_node_is_full(slot, target.node);
    }

    /// Messages to one process elsewhere that may be on their way; long ones count as several.
    fn window(&self) -> u32 {
        (self.config.port.mailbox_messages / 8).max(2)
    }

    /// Everything that `from` had sent has arrived: it goes on if there is room, or when there is.
    pub(super) fn settle_sender(&mut self, slot: Slot, from: Pid) {
        let Some(process) = self.at(slot) else { return };
        let to = process.pid;
        if process.port.as_ref().is_some_and(|port| port.is_full()) {
            if process.waiters.insert(from) {
                self.trace(to, || Happened::Full { sender: from });
            }
            // Each question is answered: a sender that is held by its debts alone looks for no cycle.
            self.route(Signal::Full { to: from, target: to });
        } else {
            self.route(Signal::Drained { to: from, target: to });
        }
    }

    pub(super) fn unblock(&mut self, slot: Slot, target: Pid) {
        let window = self.window();
        let Some(process) = self.at(slot) else { return };
        let from = process.pid;
        let before = process.blocked_on.len();
        process.blocked_on.retain(|pid| *pid != target);
        let was_blocked = process.blocked_on.len() < before;
        let mut ask = false;
        if let Some(debt) = process.debts.get_mut(&target) {
            debt.sent = debt.sent.saturating_sub(debt.asked);
            ask = debt.sent > window / 2;
            debt.asked = if ask { debt.sent } else { 0 };
            if debt.sent == 0 {
                process.debts.remove(&target);
            }
        }
        let free = process.blocked_on.is_empty();
        if was_blocked {
            self.trace(from, || Happened::Unblocked { by: target });
        }
        if ask {
            self.route(Signal::Settle { to: target, from });
        }
        if free {
            self.hold(from, Hold::BackPressure, false);
        }
    }

    pub(super) fn release_waiters(&mut self, slot: Slot) {
        let Some(process) = self.at(slot) else { return };
        let target = process.pid;
        for to in core::mem::take(&mut process.waiters) {
            self.route(Signal::Drained { to, target });
        }
    }

    pub(super) fn probe(&mut self, slot: Slot, origin: Pid, target: Pid, hops: u32) {
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
    pub(super) fn break_cycle(&mut self, slot: Slot, target: Pid) {
        let Some(process) = self.at(slot) else { return };
        let from = process.pid;
        self.route(Signal::Withdraw { to: target, from });
        self.unblock(slot, target);
    }

    pub(super) fn withdraw(&mut self, slot: Slot, from: Pid) {
        let Some(process) = self.at(slot) else { return };
        let to = process.pid;
        let Some(port) = &mut process.port else { return };
        let told = process.waiters.remove(&from);
        let why = "given up: each process of a cycle waits for the next one's mailbox to drain";
        for message in port.withdraw(from) {
            let Message { seq: _, class, from, reference, schema, trace, payload, attachments } = message;
            let epoch = Epoch(0);
            let envelope = Envelope { class, from, to, epoch, reference, schema, trace, payload, attachments };
            if envelope.wants_answer() {
                let error = CallError::NotSent(why.to_string());
                self.route(Signal::CallFailed { to: from, reference: envelope.reference, error });
            }
            self.not_delivered(from, to, schema, why);
            self.refuse(&envelope, why);
        }
        if told {
            // It may have been told `Full` after it had gone on, and nobody would tell it again.
            self.route(Signal::Drained { to: from, target: to });
        }
    }
}
