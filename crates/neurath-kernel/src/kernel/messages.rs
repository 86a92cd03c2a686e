//! Messages: delivered, refused with an answer, or undeliverable, and always counted (G7).

use super::*;

/// Why a message to a channel was refused.
pub(super) const CLOSED: &str = "the channel is closed";

impl Kernel {
    #[inline]
    pub(super) fn deliver(&mut self, envelope: Envelope) {
        let Some(slot) = self.slot_of(envelope.to) else {
            self.handle(envelope.to, Signal::Message(envelope));
            return;
        };
        if self.processes[slot.0 as usize].as_ref().is_some_and(|p| p.port.is_none()) {
            self.defer(slot, Signal::Message(envelope));
        } else {
            self.deliver_to(slot, envelope);
        }
    }

    #[inline]
    pub(super) fn deliver_to(&mut self, slot: Slot, envelope: Envelope) {
        let Some(process) = self.processes[slot.0 as usize].as_deref_mut() else { return };
        let Some(port) = &mut process.port else { return };
        if envelope.class == Class::Reply {
            let (to, post) = (envelope.to, Post::received(&envelope));
            if port.answered(envelope) {
                self.tracers.tell_of(self.now, to, || Happened::Received(post));
                self.settle(slot);
            } else {
                process.counts.late += 1;
            }
            return;
        }
        if envelope.class == Class::Port {
            match port.channel_reader(envelope.reference) {
                Some(reader) if fit_any(&*self.types, &[reader], envelope.schema).is_some() => {}
                Some(reader) => return self.mismatch(slot, &envelope, &[reader]),
                None => {
                    process.counts.refused += 1;
                    self.not_delivered(envelope.from, envelope.to, envelope.schema, CLOSED);
                    return self.refuse(&envelope, CLOSED);
                }
            }
        } else if envelope.class != Class::Notice
            && let Some(accepts) = process.program.entries[process.entry as usize].accepts.as_deref()
            && !accepts.contains(&envelope.schema)
            && fit_any(&*self.types, accepts, envelope.schema).is_none()
        {
            let accepts = accepts.to_vec();
            return self.mismatch(slot, &envelope, &accepts);
        }
        let (from, to) = (envelope.from, envelope.to);
        let may_overshoot = envelope.class == Class::Notice;
        if !may_overshoot && port.is_overflowing() {
            let why = "the mailbox holds four times its limit";
            if envelope.wants_answer() {
                let error = CallError::NotSent(why.to_string());
                self.route(Signal::CallFailed { to: from, reference: envelope.reference, error });
            } else {
                self.not_delivered(from, to, envelope.schema, why);
            }
            self.refuse(&envelope, why);
            return;
        }
        process.counts.received += 1;
        self.totals.received += 1;
        self.tracers.tell_of(self.now, to, || Happened::Received(Post::received(&envelope)));
        port.deliver(envelope, &*self.types);
        let full = !may_overshoot && from != to && port.is_full();
        if !process.queued {
            self.settle(slot);
        }
        if full
            && let Some(process) = self.at(slot)
            && process.waiters.insert(from)
        {
            self.trace(to, || Happened::Full { sender: from });
            self.route(Signal::Full { to: from, target: to });
        }
    }

    /// Delivers something that the runtime says; to a process that is being polled, after its turn.
    pub(super) fn notify(&mut self, slot: Slot, from: Pid, schema: SchemaId, notice: &impl Data) {
        let Some(process) = self.at(slot) else { return };
        let mut payload = Vec::new();
        notice.encode(&mut payload);
        let envelope = Envelope {
            class: Class::Notice,
            from,
            to: process.pid,
            epoch: Epoch(0),
            reference: Ref::NONE,
            schema,
            trace: TraceId(0),
            payload: Payload::from(payload),
            attachments: None,
        };
        self.deliver(envelope);
    }

    pub(super) fn mismatch(&mut self, slot: Slot, envelope: &Envelope, readers: &[SchemaId]) {
        let Some(process) = self.at(slot) else { return };
        process.counts.refused += 1;
        let error = self.types.mismatch(readers, envelope.schema);
        let why = error.to_string();
        if envelope.wants_answer() {
            self.route(Signal::CallFailed { to: envelope.from, reference: envelope.reference, error });
        } else {
            self.not_delivered(envelope.from, envelope.to, envelope.schema, &why);
        }
        self.refuse(envelope, &why);
    }

    /// A value turned out not to fit when it was about to be read: it was taken out of the mailbox.
    pub(super) fn refuse_taken(&mut self, slot: Slot, message: &Message, error: CallError) {
        let Some(process) = self.at(slot) else { return };
        process.counts.refused += 1;
        let to = process.pid;
        let why = error.to_string();
        if message.wants_answer() {
            self.route(Signal::CallFailed { to: message.from, reference: message.reference, error });
        }
        if !message.wants_answer() {
            self.not_delivered(message.from, to, message.schema, &why);
        }
        let type_name = self.types.name(message.schema);
        self.totals.refused += 1;
        self.trace(to, || Happened::Refused { from: message.from, schema: message.schema, why: why.clone() });
        self.keep(Refusal { at: self.now, from: message.from, to, type_name, reason: why });
    }

    /// Counts and lists a message that its reader did not take.
    pub(super) fn refuse(&mut self, envelope: &Envelope, why: &str) {
        self.totals.refused += 1;
        let (from, schema) = (envelope.from, envelope.schema);
        self.trace(envelope.to, || Happened::Refused { from, schema, why: why.into() });
        self.remember(envelope, why);
    }

    /// Lists a message that was not delivered; it is counted by whoever knows as what.
    pub(super) fn remember(&mut self, envelope: &Envelope, why: &str) {
        let type_name = self.types.name(envelope.schema);
        self.keep(Refusal { at: self.now, from: envelope.from, to: envelope.to, type_name, reason: why.into() });
    }

    fn keep(&mut self, refusal: Refusal) {
        if self.refusals.len() >= self.config.refusals {
            self.refusals.pop_front();
        }
        self.refusals.push_back(refusal);
    }

    /// Tells the sender, if it asked to be told by accepting such notices.
    pub(super) fn not_delivered(&mut self, from: Pid, to: Pid, schema: SchemaId, why: &str) {
        if from.serial != Serial(0) {
            let type_name = self.types.name(schema);
            self.route(Signal::NotDelivered { to: from, target: to, type_name, reason: why.to_string() });
        }
    }

    /// Something that this process sent was not delivered.
    pub(super) fn tell_sender(&mut self, slot: Slot, target: Pid, type_name: String, reason: String) {
        let known = self.known.not_delivered;
        let wants = self.at(slot).is_some_and(|p| p.accepts().is_some_and(|accepts| accepts.contains(&known)));
        if wants {
            self.notify(slot, target, known, &NotDelivered { to: target, type_name, reason });
        }
    }

    /// After a change of code: what the new code does not accept is refused, with an answer.
    pub(super) fn sweep(&mut self, slot: Slot, port: &mut Port) {
        let types = self.types.clone();
        let Some(accepts) = self.at(slot).and_then(|p| p.accepts()).map(<[SchemaId]>::to_vec) else { return };
        for message in port.sweep(&accepts, &*types) {
            let error = types.mismatch(&accepts, message.schema);
            self.refuse_taken(slot, &message, error);
        }
    }
}
