//! The queue of messages of one process.
//!
//! Messages are kept by the schema they were written with, each kind in order of arrival, so that a
//! receive looks at one message of each kind and never again at what it refused. Messages to channels are
//! apart from them (`channels`). It knows nothing of
//! readers: which kinds fit is asked of the caller.
//!
//! Invariant: `seq` grows with arrival; over all kinds together, ascending `seq` is the order of arrival.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use neurath_proto::envelope::{Attachments, Class, Envelope, Payload, SchemaId, TraceId};
use neurath_proto::{Pid, Ref};

use crate::channels::Channels;

/// A message that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in this mailbox, from 1.
    pub seq: u64,
    /// See [`Envelope`], of which this is what remains.
    pub class: Class,
    /// The sender.
    pub from: Pid,
    /// The ref that an answer must carry, if one is wanted.
    pub reference: Ref,
    /// What it was written with.
    pub schema: SchemaId,
    /// The trace it belongs to.
    pub trace: TraceId,
    /// The encoded value.
    pub payload: Payload,
    /// What travels beside it.
    pub attachments: Attachments,
}

impl Message {
    /// What the message weighs against a mailbox's limit in bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.payload.len() as u64 + 64
    }

    /// The channel that it was sent to, if it was.
    pub(crate) fn channel(&self) -> Ref {
        if self.class == Class::Port { self.reference } else { Ref::NONE }
    }

    /// Whether its sender can wait for an answer to it.
    pub fn wants_answer(&self) -> bool {
        self.reference.is_some() && matches!(self.class, Class::Call | Class::Message)
    }
}

/// The messages of one kind.
#[derive(Clone, Debug)]
struct Kind {
    schema: SchemaId,
    messages: VecDeque<Message>,
}

/// The mailbox of one process.
#[derive(Clone, Debug, Default)]
pub struct Mailbox {
    kinds: Vec<Kind>,
    /// Nearly always nothing.
    channels: Option<Box<Channels>>,
    last_seq: u64,
    count: u32,
    bytes: u64,
}

impl Mailbox {
    /// Appends what arrived; its number.
    #[inline]
    pub fn push(&mut self, envelope: Envelope) -> u64 {
        self.last_seq += 1;
        let Envelope { class, from, reference, schema, trace, payload, attachments, to: _, epoch: _ } = envelope;
        let message = Message { seq: self.last_seq, class, from, reference, schema, trace, payload, attachments };
        self.count += 1;
        self.bytes += message.weight();
        match &mut self.channels {
            Some(channels) if class == Class::Port => channels.insert(message),
            _ => self.kind_mut(schema).push_back(message),
        }
        self.last_seq
    }

    /// Puts a message back where it was.
    pub fn restore(&mut self, message: Message) {
        self.count += 1;
        self.bytes += message.weight();
        if let (Class::Port, Some(channels)) = (message.class, &mut self.channels) {
            channels.insert(message);
            return;
        }
        let kind = self.kind_mut(message.schema);
        let at = kind.partition_point(|m| m.seq < message.seq);
        kind.insert(at, message);
    }

    fn kind_mut(&mut self, schema: SchemaId) -> &mut VecDeque<Message> {
        match self.kinds.iter().position(|kind| kind.schema == schema) {
            Some(at) => &mut self.kinds[at].messages,
            None => {
                // An emptied kind is taken over, so their number is bounded by the messages held.
                let empty = self.kinds.iter().position(|kind| kind.messages.is_empty());
                let at = empty.unwrap_or_else(|| {
                    self.kinds.push(Kind { schema, messages: VecDeque::new() });
                    self.kinds.len() - 1
                });
                self.kinds[at].schema = schema;
                &mut self.kinds[at].messages
            }
        }
    }

    /// The earliest message after number `after` of a kind that `fits`, and what `fits` said of it.
    /// `reserved` messages are passed over.
    #[inline]
    pub fn first<T>(
        &self,
        after: u64,
        mut fits: impl FnMut(SchemaId) -> Option<T>,
        reserved: impl Fn(u64) -> bool,
    ) -> Option<(&Message, T)> {
        let mut best: Option<(&Message, T)> = None;
        for kind in &self.kinds {
            let Some(front) = kind.messages.front() else { continue };
            if best.as_ref().is_some_and(|(message, _)| message.seq < front.seq) {
                continue;
            }
            let Some(fit) = fits(kind.schema) else { continue };
            let start = if front.seq > after { 0 } else { kind.messages.partition_point(|m| m.seq <= after) };
            let found = kind.messages.range(start..).find(|m| !reserved(m.seq));
            if let Some(message) = found
                && best.as_ref().is_none_or(|(earlier, _)| message.seq < earlier.seq)
            {
                best = Some((message, fit));
            }
        }
        best
    }

    /// The messages to channels, if there are channels.
    pub(crate) fn channels(&self) -> Option<&Channels> {
        self.channels.as_deref()
    }

    /// Opens a channel for messages that `reader` reads.
    pub(crate) fn open_channel(&mut self, channel: Ref, reader: SchemaId) {
        self.channels.get_or_insert_default().open(channel, reader);
    }

    /// Closes a channel; what waited in it, in order.
    pub(crate) fn close_channel(&mut self, channel: Ref) -> Vec<Message> {
        let gone = self.channels.as_mut().map(|channels| channels.close(channel)).unwrap_or_default();
        self.count -= gone.len() as u32;
        self.bytes -= gone.iter().map(Message::weight).sum::<u64>();
        gone
    }

    /// Takes all channels away, with what waits in them.
    pub(crate) fn take_channels(&mut self) -> Option<Box<Channels>> {
        let channels = self.channels.take()?;
        self.count -= channels.messages().count() as u32;
        self.bytes -= channels.messages().map(Message::weight).sum::<u64>();
        Some(channels)
    }

    /// Gives those back that were taken away, and drops the present ones.
    pub(crate) fn return_channels(&mut self, channels: Option<Box<Channels>>) {
        self.take_channels();
        self.channels = channels;
        let (count, bytes) = self
            .channels
            .iter()
            .flat_map(|channels| channels.messages())
            .fold((0, 0), |sum, m| (sum.0 + 1, sum.1 + m.weight()));
        self.count += count;
        self.bytes += bytes;
    }

    /// The message with this number.
    pub fn get(&self, seq: u64) -> Option<&Message> {
        if let Some(message) = self.channels.as_ref().and_then(|channels| channels.get(seq)) {
            return Some(message);
        }
        let (kind, at) = self.find(seq)?;
        self.kinds[kind].messages.get(at)
    }

    /// Removes the message with this number.
    #[inline]
    pub fn remove(&mut self, seq: u64) -> Option<Message> {
        if let Some(message) = self.channels.as_mut().and_then(|channels| channels.remove(seq)) {
            self.count -= 1;
            self.bytes -= message.weight();
            return Some(message);
        }
        let (kind, at) = self.find(seq)?;
        let messages = &mut self.kinds[kind].messages;
        let message = if at == 0 { messages.pop_front() } else { messages.remove(at) }?;
        self.count -= 1;
        self.bytes -= message.weight();
        if messages.is_empty() && messages.capacity() > 1024 {
            *messages = VecDeque::new();
        }
        Some(message)
    }

    #[inline]
    fn find(&self, seq: u64) -> Option<(usize, usize)> {
        for (index, kind) in self.kinds.iter().enumerate() {
            match kind.messages.front() {
                Some(front) if front.seq == seq => return Some((index, 0)),
                Some(front) if front.seq < seq => {
                    if let Ok(at) = kind.messages.binary_search_by_key(&seq, |m| m.seq) {
                        return Some((index, at));
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Removes every message that is `doomed`, in order of arrival.
    pub fn drain_where(&mut self, mut doomed: impl FnMut(&Message) -> bool) -> Vec<Message> {
        let mut gone = Vec::new();
        if let Some(channels) = &mut self.channels {
            channels.drain_where(&mut doomed, &mut gone);
        }
        for kind in &mut self.kinds {
            let mut at = 0;
            while at < kind.messages.len() {
                if doomed(&kind.messages[at]) {
                    gone.extend(kind.messages.remove(at));
                } else {
                    at += 1;
                }
            }
        }
        self.count -= gone.len() as u32;
        self.bytes -= gone.iter().map(Message::weight).sum::<u64>();
        gone.sort_by_key(|m| m.seq);
        gone
    }

    /// All messages in order of arrival.
    pub fn in_order(&self) -> Vec<&Message> {
        let mut all: Vec<_> = self.kinds.iter().flat_map(|kind| &kind.messages).collect();
        all.extend(self.channels.iter().flat_map(|channels| channels.messages()));
        all.sort_by_key(|m| m.seq);
        all
    }

    /// How many messages wait.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What the messages weigh: payload plus 64 bytes each.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of the last message that arrived.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Puts the counter of a mailbox that was elsewhere before.
    pub(crate) fn set_last_seq(&mut self, seq: u64) {
        self.last_seq = self.last_seq.max(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use neurath_proto::envelope::Epoch;

    fn envelope(schema: u32, byte: u8) -> Envelope {
        Envelope {
            class: Class::Message,
            from: Pid::default(),
            to: Pid::default(),
            epoch: Epoch(0),
            reference: Ref::NONE,
            schema: SchemaId(schema),
            trace: TraceId(0),
            payload: Payload::new(&[byte]),
            attachments: None,
        }
    }

    fn first(mailbox: &Mailbox, after: u64, schemas: &[u32]) -> Option<u64> {
        mailbox.first(after, |s| schemas.contains(&s.0).then_some(()), |_| false).map(|(m, ())| m.seq)
    }

    #[test]
    fn kinds_are_merged_in_order_of_arrival() {
        let mut mailbox = Mailbox::default();
        for schema in [1, 2, 1, 3, 2] {
            mailbox.push(envelope(schema, 0));
        }
        assert_eq!(first(&mailbox, 0, &[2, 3]), Some(2));
        assert_eq!(first(&mailbox, 2, &[2, 3]), Some(4));
        assert_eq!(first(&mailbox, 4, &[2, 3]), Some(5));
        assert_eq!(first(&mailbox, 5, &[2, 3]), None);
        assert_eq!(first(&mailbox, 0, &[7]), None);
        assert_eq!(mailbox.remove(1).unwrap().seq, 1);
        assert_eq!(first(&mailbox, 0, &[1, 2]), Some(2));
        assert_eq!((mailbox.len(), mailbox.bytes()), (4, 4 * 65));
    }

    #[test]
    fn what_is_put_back_keeps_its_place() {
        let mut mailbox = Mailbox::default();
        for _ in 0..4 {
            mailbox.push(envelope(1, 0));
        }
        let two = mailbox.remove(2).unwrap();
        let one = mailbox.remove(1).unwrap();
        mailbox.restore(two);
        mailbox.restore(one);
        let order: Vec<_> = mailbox.in_order().iter().map(|m| m.seq).collect();
        assert_eq!(order, [1, 2, 3, 4]);
        assert_eq!(mailbox.len(), 4);
    }

    #[test]
    fn reserved_messages_are_passed_over() {
        let mut mailbox = Mailbox::default();
        mailbox.push(envelope(1, 0));
        mailbox.push(envelope(1, 0));
        let found = mailbox.first(0, |_| Some(()), |seq| seq == 1).map(|(m, ())| m.seq);
        assert_eq!(found, Some(2));
    }

    #[test]
    fn emptied_kinds_are_used_again() {
        let mut mailbox = Mailbox::default();
        for schema in 0..1000 {
            let seq = mailbox.push(envelope(schema, 0));
            assert!(mailbox.remove(seq).is_some());
        }
        assert_eq!(mailbox.kinds.len(), 1);
        assert!(mailbox.remove(3).is_none());
    }
}
