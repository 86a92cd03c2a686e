//! A port as data.

use super::*;

impl Port {
    /// Everything in it, as data.
    pub fn export(&self, now: u64) -> PortRecord {
        let mut calls: Vec<_> = self
            .calls
            .iter()
            .map(|(r, call)| {
                let state = match call {
                    Call::Open { callee } => CallRecord::Open(*callee),
                    Call::Answered(message) => CallRecord::Answered(message.clone()),
                    Call::Failed(error) => CallRecord::Failed(error.clone()),
                };
                (*r, state)
            })
            .collect();
        calls.sort_by_key(|(r, _)| *r);
        let mut open_calls: Vec<_> = self.open_calls.keys().copied().collect();
        open_calls.sort_unstable();
        PortRecord {
            pid: self.pid,
            epoch: self.epoch,
            messages: self.mailbox.in_order().into_iter().cloned().collect(),
            last_seq: self.mailbox.last_seq(),
            waiting: self
                .waiting
                .iter()
                .map(|w| WaitingRecord {
                    id: w.id,
                    readers: w.readers.to_vec(),
                    reference: w.reference,
                    channel: w.channel,
                    after_seq: w.after_seq,
                    remaining_ns: if w.deadline == u64::MAX { u64::MAX } else { w.deadline.saturating_sub(now) },
                    between_messages: w.between_messages,
                    offer: w.offer,
                })
                .collect(),
            ready: self.ready.iter().copied().collect(),
            calls,
            open_calls,
            last_ref: self.last_ref,
            channels: self.mailbox.channels().iter().flat_map(|channels| channels.readers()).collect(),
        }
    }

    /// The port that a record describes, on another clock.
    pub fn import(record: PortRecord, limits: PortLimits, serials: Arc<Serials>, now: u64) -> Self {
        let PortRecord { pid, epoch, messages, last_seq, waiting, ready, calls, open_calls, last_ref, channels } =
            record;
        let mut port = Self::new(pid, limits, serials);
        port.epoch = epoch;
        port.last_ref = last_ref;
        for (channel, reader) in channels {
            port.mailbox.open_channel(channel, reader);
        }
        for message in messages {
            port.mailbox.restore(message);
        }
        port.mailbox.set_last_seq(last_seq);
        port.waiting = waiting
            .into_iter()
            .map(|w| Waiting {
                id: w.id,
                readers: w.readers.into(),
                reference: w.reference,
                channel: w.channel,
                after_seq: w.after_seq,
                deadline: if w.remaining_ns == u64::MAX { u64::MAX } else { now.saturating_add(w.remaining_ns) },
                between_messages: w.between_messages,
                offer: w.offer,
            })
            .collect();
        port.ready = ready.into();
        port.calls = calls
            .into_iter()
            .map(|(r, call)| {
                let call = match call {
                    CallRecord::Open(callee) => Call::Open { callee },
                    CallRecord::Answered(message) => Call::Answered(message),
                    CallRecord::Failed(error) => Call::Failed(error),
                };
                (r, call)
            })
            .collect();
        port.open_calls = open_calls.into_iter().map(|key| (key, ())).collect();
        port.now = now;
        port
    }
}

/// A port as data: times are relative, maps are in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRecord {
    /// Whose it is.
    pub pid: Pid,
    /// The owner's fencing number.
    pub epoch: Epoch,
    /// The mailbox, in order of arrival.
    pub messages: Vec<Message>,
    /// The number of the last message that ever arrived.
    pub last_seq: u64,
    /// The receives that wait, in the order in which they were started.
    pub waiting: Vec<WaitingRecord>,
    /// The receives to be woken.
    pub ready: Vec<ReceiveId>,
    /// Its own calls.
    pub calls: Vec<(Ref, CallRecord)>,
    /// The requests that it has taken and not answered.
    pub open_calls: Vec<(Pid, Ref)>,
    /// The last ref that it made.
    pub last_ref: u64,
    /// The channels that are open, and what is read from them.
    pub channels: Vec<(Ref, SchemaId)>,
}

/// A waiting receive as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRecord {
    /// The guest's number for it.
    pub id: ReceiveId,
    /// What it takes.
    pub readers: Vec<SchemaId>,
    /// The ref that it waits for, if any.
    pub reference: Ref,
    /// The channel that it takes from, if any.
    pub channel: Ref,
    /// It looks only at messages after this one.
    pub after_seq: u64,
    /// Nanoseconds left; `u64::MAX` is forever.
    pub remaining_ns: u64,
    /// The server's own receive.
    pub between_messages: bool,
    /// The message for which it was woken.
    pub offer: u64,
}

/// A call as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallRecord {
    /// Asked of this process, not answered.
    Open(Pid),
    /// Answered, not taken.
    Answered(Message),
    /// Failed: an encoded [`CallError`].
    Failed(Vec<u8>),
}
