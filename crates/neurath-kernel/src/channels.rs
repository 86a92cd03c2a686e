//! The channels of one process: which are open, and what waits in them.
//!
//! Invariant: a message waits in an open channel or not at all; `by_seq` names the channel of each.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use neurath_proto::Ref;
use neurath_proto::envelope::SchemaId;

use crate::mailbox::Message;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Channels {
    open: BTreeMap<Ref, Channel>,
    by_seq: BTreeMap<u64, Ref>,
}

#[derive(Clone, Debug)]
struct Channel {
    reader: SchemaId,
    /// In order of arrival.
    messages: VecDeque<Message>,
}

impl Channels {
    /// Opens a channel for messages that `reader` reads.
    pub(crate) fn open(&mut self, channel: Ref, reader: SchemaId) {
        self.open.entry(channel).or_insert_with(|| Channel { reader, messages: VecDeque::new() });
    }

    /// Closes a channel; what waited in it, in order.
    pub(crate) fn close(&mut self, channel: Ref) -> Vec<Message> {
        let Some(closed) = self.open.remove(&channel) else { return Vec::new() };
        for message in &closed.messages {
            self.by_seq.remove(&message.seq);
        }
        closed.messages.into()
    }

    /// What the owner of a channel reads from it; `None` if it is not open.
    pub(crate) fn reader(&self, channel: Ref) -> Option<SchemaId> {
        self.open.get(&channel).map(|channel| channel.reader)
    }

    /// All open channels and what is read from them.
    pub(crate) fn readers(&self) -> impl Iterator<Item = (Ref, SchemaId)> {
        self.open.iter().map(|(reference, channel)| (*reference, channel.reader))
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Puts a message where its number belongs.
    pub(crate) fn insert(&mut self, message: Message) {
        let Some(channel) = self.open.get_mut(&message.reference) else { return };
        self.by_seq.insert(message.seq, message.reference);
        let at = channel.messages.partition_point(|m| m.seq < message.seq);
        channel.messages.insert(at, message);
    }

    /// The earliest message in a channel after number `after`; those that are `reserved` are passed over.
    pub(crate) fn first(&self, channel: Ref, after: u64, reserved: impl Fn(u64) -> bool) -> Option<&Message> {
        let messages = &self.open.get(&channel)?.messages;
        let start = messages.partition_point(|m| m.seq <= after);
        messages.range(start..).find(|m| !reserved(m.seq))
    }

    /// The message with this number.
    pub(crate) fn get(&self, seq: u64) -> Option<&Message> {
        let messages = &self.open.get(self.by_seq.get(&seq)?)?.messages;
        messages.get(messages.binary_search_by_key(&seq, |m| m.seq).ok()?)
    }

    /// Removes the message with this number.
    pub(crate) fn remove(&mut self, seq: u64) -> Option<Message> {
        let messages = &mut self.open.get_mut(&self.by_seq.remove(&seq)?)?.messages;
        messages.remove(messages.binary_search_by_key(&seq, |m| m.seq).ok()?)
    }

    /// Removes every message that is `doomed`.
    pub(crate) fn drain_where(&mut self, doomed: &mut impl FnMut(&Message) -> bool, gone: &mut Vec<Message>) {
        let seqs: Vec<u64> = self.messages().filter(|m| doomed(m)).map(|m| m.seq).collect();
        gone.extend(seqs.into_iter().filter_map(|seq| self.remove(seq)));
    }

    /// All messages, channel by channel.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.open.values().flat_map(|channel| &channel.messages)
    }
}
