//! What only the kernel does with a port: deliver, wake, sweep.

use super::*;

impl Port {
    /// The clock that deadlines are counted on.
    pub fn set_now(&mut self, now: u64) {
        self.now = now;
        self.takes = 0;
        self.self_sends = 0;
    }

    /// A message has arrived.
    #[inline]
    pub(crate) fn deliver(&mut self, envelope: Envelope, types: &dyn Types) {
        let schema = envelope.schema;
        let channel = if envelope.class == Class::Port { envelope.reference } else { Ref::NONE };
        let seq = self.mailbox.push(envelope);
        if !self.waiting.is_empty() {
            self.offer(seq, channel, schema, types);
        }
    }

    pub(super) fn offer(&mut self, seq: u64, channel: Ref, schema: SchemaId, types: &dyn Types) {
        let taker = self.waiting.iter_mut().find(|w| {
            w.offer == 0
                && !w.reference.is_some()
                && w.channel == channel
                && w.after_seq < seq
                && fit_any(types, &w.readers, schema).is_some()
        });
        if let Some(waiting) = taker {
            waiting.offer = seq;
            self.ready.push_back(waiting.id);
        }
    }

    /// What is read from a channel; `None` if it is not open.
    pub(crate) fn channel_reader(&self, channel: Ref) -> Option<SchemaId> {
        self.mailbox.channels().and_then(|channels| channels.reader(channel))
    }

    /// The answer of a call, or of a question to the runtime, has arrived. Whether anyone waited for it.
    pub(crate) fn answered(&mut self, envelope: Envelope) -> bool {
        let Some(call) = self.calls.get_mut(&envelope.reference) else { return false };
        let Call::Open { callee } = *call else { return false };
        let reference = envelope.reference;
        let Envelope { class, from, reference: _, schema, trace, payload, attachments, to: _, epoch: _ } = envelope;
        *call = Call::Answered(Message { seq: 0, class, from, reference, schema, trace, payload, attachments });
        if callee != from && callee != self.pid && callee.serial != Serial(0) {
            self.push(Action::CloseCall(callee, reference));
        }
        self.wake_reference(reference);
        true
    }

    /// A call has failed. Whether anyone waited for it.
    pub(crate) fn call_failed(&mut self, reference: Ref, error: &CallError) -> bool {
        use neurath_proto::Data;
        let Some(call) = self.calls.get_mut(&reference) else { return false };
        if !matches!(call, Call::Open { .. }) {
            return false;
        }
        let mut bytes = Vec::new();
        error.encode(&mut bytes);
        *call = Call::Failed(bytes);
        self.wake_reference(reference);
        true
    }

    /// Whether an answer is still awaited under this ref.
    pub(crate) fn awaits(&self, reference: Ref) -> bool {
        matches!(self.calls.get(&reference), Some(Call::Open { .. }))
    }

    /// Whether a call to a process of that node, or from one, is open.
    pub(crate) fn has_calls_with(&self, node: NodeId) -> bool {
        self.calls.values().any(|call| matches!(call, Call::Open { callee } if callee.node == node))
            || self.open_calls.keys().any(|(caller, _)| caller.node == node)
    }

    /// Calls to processes of that node fail.
    pub(crate) fn fail_calls(&mut self, node: NodeId, error: &CallError) {
        let open = |call: &Call| matches!(call, Call::Open { callee } if callee.node == node && *callee != self.pid);
        let mut lost: Vec<Ref> = self.calls.iter().filter(|(_, call)| open(call)).map(|(r, _)| *r).collect();
        lost.sort_unstable();
        for reference in lost {
            self.call_failed(reference, error);
        }
    }

    /// Callers of that node wait no more.
    pub(crate) fn close_calls(&mut self, node: NodeId) {
        self.open_calls.retain(|(caller, _), ()| caller.node != node);
    }

    fn wake_reference(&mut self, reference: Ref) {
        if let Some(waiting) = self.waiting.iter().find(|w| w.reference == reference) {
            self.ready.push_back(waiting.id);
        }
    }

    /// A timer has fired; whether it had not been cancelled.
    pub(crate) fn timer_fired(&mut self, timer: Ref) -> bool {
        self.timers.remove(&timer)
    }

    /// Notes a timer of a process that was elsewhere before.
    pub(crate) fn timer_set(&mut self, timer: Ref) {
        self.timers.insert(timer);
    }

    /// Wakes the receives whose deadline has passed.
    pub(crate) fn expire(&mut self, now: u64) {
        for waiting in &self.waiting {
            if waiting.deadline <= now && !self.ready.contains(&waiting.id) {
                self.ready.push_back(waiting.id);
            }
        }
    }

    /// The earliest deadline of all receives that wait; `u64::MAX` if there is none.
    #[inline]
    pub(crate) fn deadline(&self) -> u64 {
        self.waiting.iter().map(|w| w.deadline).min().unwrap_or(u64::MAX)
    }

    /// Gives back time in which the process was held: its callers' clocks and its own stood still.
    pub(crate) fn shift_deadlines(&mut self, by: u64) {
        for waiting in &mut self.waiting {
            waiting.deadline = waiting.deadline.saturating_add(by);
        }
    }

    /// The next receive to wake.
    #[inline]
    pub(crate) fn next_ready(&mut self) -> Option<ReceiveId> {
        // A receive can be woken twice before its turn, and be over by then.
        while let Some(id) = self.ready.pop_front() {
            if self.known(id).is_some() {
                return Some(id);
            }
        }
        None
    }

    /// Whether any receive is to be woken.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether the process is a server between two messages: its one receive says so.
    pub(crate) fn is_between_messages(&self) -> bool {
        matches!(self.waiting.as_slice(), [only] if only.between_messages)
    }

    /// How many receives wait, other than that for `reference`.
    pub(crate) fn waits_besides(&self, reference: Ref) -> usize {
        self.waiting.iter().filter(|w| w.reference != reference).count()
    }

    /// Takes what was asked for in the last poll.
    #[inline]
    pub(crate) fn take_outbox(&mut self) -> Vec<Action> {
        self.outbox_bytes = 0;
        core::mem::take(&mut self.outbox)
    }

    /// Drops what was asked for in a poll that failed: whom it answered waits for an answer still.
    pub(crate) fn drop_outbox(&mut self) {
        for action in self.take_outbox() {
            if let Action::Send(Envelope { class: Class::Reply, to, reference, .. }) | Action::Fail(to, reference, _) =
                action
            {
                self.open_calls.insert((to, reference), ());
            }
        }
    }

    /// Gives an emptied outbox back, so that its room is used again.
    #[inline]
    pub(crate) fn return_outbox(&mut self, mut outbox: Vec<Action>) {
        outbox.clear();
        if self.outbox.is_empty() && outbox.capacity() <= 1024 {
            self.outbox = outbox;
        }
    }

    /// The callers who wait for this process to answer: taken or still in the mailbox, in a fixed order.
    pub(crate) fn callers(&self) -> Vec<(Pid, Ref)> {
        let mut callers: Vec<_> = self.open_calls.keys().copied().collect();
        callers.sort_unstable();
        let waiting = self.mailbox.in_order().into_iter().filter(|m| m.wants_answer());
        callers.extend(waiting.map(|m| (m.from, m.reference)));
        callers
    }

    /// A caller waits no more.
    pub(crate) fn close_call(&mut self, from: Pid, reference: Ref) {
        self.open_calls.remove(&(from, reference));
    }

    /// Removes the messages that no reader accepts any more.
    pub(crate) fn sweep(&mut self, accepts: &[SchemaId], types: &dyn Types) -> Vec<Message> {
        let exempt = |m: &Message| matches!(m.class, Class::Notice | Class::Port);
        self.mailbox.drain_where(|m| !exempt(m) && fit_any(types, accepts, m.schema).is_none())
    }

    /// Withdraws what `from` sent beyond the limit, latest first; in order of arrival. What the runtime says of it stays.
    pub(crate) fn withdraw(&mut self, from: Pid) -> Vec<Message> {
        let beyond = self.mailbox.len().saturating_sub(self.limits.mailbox_messages) as usize;
        let is_theirs = |m: &Message| m.from == from && m.class != Class::Notice;
        let theirs: Vec<u64> = self.mailbox.in_order().iter().filter(|m| is_theirs(m)).map(|m| m.seq).collect();
        let doomed = &theirs[theirs.len().saturating_sub(beyond.max(1))..];
        self.mailbox.drain_where(|m| doomed.contains(&m.seq))
    }
}
