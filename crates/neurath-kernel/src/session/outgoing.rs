//! What goes to the peer: a queue for each sending process, the cut into parts, and what is not acknowledged.
//!
//! It knows neither connections nor time. Invariants: a message is in `messages` from the moment it is accepted
//! until its last part is acknowledged, and nowhere else, so what is unconfirmed is exactly what is there; parts are
//! numbered in the order of `cut`, without gaps.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

use neurath_proto::Pid;
use neurath_proto::frame::{
    Ack, FrameNumber, LANES_MAX, Lane, Limits, MESSAGE_OVERHEAD, PART_BYTES_MAX, Place, encode_part,
};

use super::{Outbound, SendError, SessionConfig, SessionInfo, Unconfirmed, Violation};

/// What it costs of a grant and of the sender's own limits.
pub(super) fn charge(message: &Outbound) -> u64 {
    message.len() as u64 + MESSAGE_OVERHEAD
}

/// What is accepted and not acknowledged, under the numbers in which it was accepted.
#[derive(Default)]
struct Messages {
    /// The number of the first slot.
    first: u64,
    /// A message that was acknowledged leaves an empty slot until those before it are too; the first is never empty.
    slots: VecDeque<Option<Message>>,
    count: usize,
}

impl Messages {
    fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    #[inline]
    fn push(&mut self, message: Message) {
        self.slots.push_back(Some(message));
        self.count += 1;
    }

    fn get(&self, id: u64) -> Option<&Message> {
        self.slots.get(id.checked_sub(self.first)? as usize)?.as_ref()
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Message> {
        self.slots.get_mut(id.checked_sub(self.first)? as usize)?.as_mut()
    }

    /// Drops one; what it had cost.
    fn remove(&mut self, id: u64) -> Option<u64> {
        let slot = self.slots.get_mut(id.checked_sub(self.first)? as usize)?;
        let charge = charge(&slot.as_ref()?.bytes);
        *slot = None;
        self.count -= 1;
        let empty = self.slots.iter().take_while(|slot| slot.is_none()).count();
        // Dropped where they lie: taking them out would move each.
        self.slots.drain(..empty);
        self.first += empty as u64;
        Some(charge)
    }

    fn iter(&self) -> impl Iterator<Item = &Message> {
        self.slots.iter().flatten()
    }
}

struct Message {
    /// `None`: the node itself.
    from: Option<Pid>,
    bytes: Outbound,
    /// Whether a part of it was given to a connection.
    begun: bool,
}

/// A process with messages that are not cut up to their end.
#[derive(Default)]
struct Sender {
    /// In the order sent.
    messages: VecDeque<u64>,
    /// How far the first of them is cut, if it is long and begun.
    begun: Option<(Lane, usize)>,
}

/// A part that is not acknowledged.
#[derive(Clone, Copy)]
struct Cut {
    message: u64,
    at: usize,
    length: usize,
    place: Place,
}

/// How much of a grant is used.
#[derive(Clone, Copy, Default)]
struct Window {
    used: u64,
    granted: u64,
}

impl Window {
    fn has_room(self, charge: u64) -> bool {
        self.used.saturating_add(charge) <= self.granted
    }
}

/// Whose turn it is to be cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Messages of one part.
    Small,
    /// Messages of several parts that are begun.
    Running,
    /// Messages of several parts that are not.
    Large,
}

/// See the module.
pub(super) struct Outgoing {
    config: SessionConfig,
    messages: Messages,
    held_bytes: u64,
    full: bool,
    senders: BTreeMap<Pid, Sender>,
    /// Of the node itself, in the order queued: nothing begins before them.
    first: VecDeque<u64>,
    small: VecDeque<Pid>,
    running: VecDeque<Pid>,
    large: VecDeque<Pid>,
    turn: Class,
    /// Bytes of small messages that may be cut before the turn passes on.
    small_left: i64,
    small_window: Window,
    large_window: Window,
    lanes_used: Vec<bool>,
    message_bytes_max: u32,
    /// In the order of their numbers; the first has number `acked + 1`.
    sent: VecDeque<Cut>,
    sent_bytes: usize,
    acked: u64,
    /// How many of `sent` were written to the present connection.
    written: usize,
}

impl Outgoing {
    pub(super) fn new(config: SessionConfig) -> Self {
        Self {
            config,
            messages: Messages::default(),
            held_bytes: 0,
            full: false,
            senders: BTreeMap::new(),
            first: VecDeque::new(),
            small: VecDeque::new(),
            running: VecDeque::new(),
            large: VecDeque::new(),
            turn: Class::Small,
            small_left: PART_BYTES_MAX as i64,
            small_window: Window::default(),
            large_window: Window::default(),
            lanes_used: vec![false; usize::from(LANES_MAX)],
            message_bytes_max: config.limits.message_bytes_max,
            sent: VecDeque::new(),
            sent_bytes: 0,
            acked: 0,
            written: 0,
        }
    }

    /// Takes a message of a process; whether senders are to be held from now on.
    pub(super) fn push(&mut self, from: Pid, bytes: Outbound) -> Result<bool, SendError> {
        self.take(Some(from), bytes, self.message_bytes_max)
    }

    /// Takes a message of the node itself, at most one part long; whether senders are to be held from now on.
    pub(super) fn push_first(&mut self, bytes: Outbound) -> Result<bool, SendError> {
        self.take(None, bytes, self.message_bytes_max.min(PART_BYTES_MAX as u32))
    }

    fn take(&mut self, from: Option<Pid>, bytes: Outbound, limit_bytes: u32) -> Result<bool, SendError> {
        if bytes.len() > limit_bytes as usize {
            return Err(SendError::TooLong { bytes: bytes.into_vec(), limit_bytes });
        }
        if self.held_bytes.saturating_add(charge(&bytes)) > self.config.held_bytes_limit() {
            return Err(SendError::Full { bytes: bytes.into_vec() });
        }
        Ok(self.accept(Message { from, bytes, begun: false }))
    }

    #[inline]
    fn accept(&mut self, message: Message) -> bool {
        let length = message.bytes.len();
        self.held_bytes += charge(&message.bytes);
        let id = self.messages.next();
        match message.from {
            None => self.first.push_back(id),
            Some(from) => {
                let sender = self.senders.entry(from).or_default();
                sender.messages.push_back(id);
                if sender.messages.len() == 1 {
                    self.queue(from, length);
                }
            }
        }
        self.messages.push(message);
        let filled = !self.full && self.held_bytes > self.config.held_bytes_max;
        self.full |= filled;
        filled
    }

    /// Whether senders may go on that were held.
    pub(super) fn take_drained(&mut self) -> bool {
        let drained = self.full && self.held_bytes <= self.config.held_bytes_max / 2;
        self.full &= !drained;
        drained
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.count == 0
    }

    /// A new association with a peer that takes this; the messages that it does not take are given back.
    pub(super) fn open(&mut self, limits: Limits) -> Vec<Unconfirmed> {
        self.small_window = Window { used: 0, granted: u64::from(limits.small_window_bytes) };
        self.large_window = Window { used: 0, granted: u64::from(limits.large_window_bytes) };
        self.message_bytes_max = limits.message_bytes_max.min(self.config.limits.message_bytes_max);
        let limit = self.message_bytes_max as usize;
        if self.messages.iter().all(|message| message.bytes.len() <= limit) {
            return Vec::new();
        }
        let (long, rest): (Vec<_>, Vec<_>) = self.take_all().into_iter().partition(|m| m.bytes.len() > limit);
        for Unconfirmed { from, bytes, .. } in rest {
            // They fitted before, and now there is more room.
            self.full |= self.accept(Message { from, bytes: bytes.into(), begun: false });
        }
        long
    }

    /// Ends the association: gives back all that is not confirmed, in the order accepted.
    pub(super) fn take_all(&mut self) -> Vec<Unconfirmed> {
        let (full, limit) = (self.full, self.message_bytes_max);
        let windows = (self.small_window, self.large_window);
        let next = self.messages.next();
        let old = core::mem::replace(self, Self::new(self.config));
        (self.full, self.message_bytes_max, self.messages.first) = (full, limit, next);
        (self.small_window, self.large_window) = windows;
        let given_back = |message: Message| Unconfirmed {
            from: message.from,
            bytes: message.bytes.into_vec(),
            maybe_delivered: message.begun,
        };
        old.messages.slots.into_iter().flatten().map(given_back).collect()
    }

    /// A new connection carries the association; the peer has received up to `received`.
    pub(super) fn resume(&mut self, received: FrameNumber) -> Result<(), Violation> {
        self.acknowledge(received)?;
        self.written = 0;
        Ok(())
    }

    /// The peer has received and grants.
    pub(super) fn ack(&mut self, ack: Ack) -> Result<(), Violation> {
        self.small_window.granted = self.small_window.granted.max(ack.small_granted_bytes);
        self.large_window.granted = self.large_window.granted.max(ack.large_granted_bytes);
        self.acknowledge(ack.received)
    }

    fn acknowledge(&mut self, received: FrameNumber) -> Result<(), Violation> {
        if received.0 > self.acked + self.sent.len() as u64 {
            return Err(Violation::AcknowledgedUnsent { received });
        }
        while self.acked < received.0
            && let Some(cut) = self.sent.pop_front()
        {
            self.acked += 1;
            self.written = self.written.saturating_sub(1);
            self.sent_bytes -= cut.length;
            if matches!(cut.place, Place::Whole | Place::Last { .. })
                && let Some(charge) = self.messages.remove(cut.message)
            {
                self.held_bytes -= charge;
            }
        }
        Ok(())
    }

    /// About how much is accepted and was not given to any connection yet.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.held_bytes.saturating_sub(self.sent_bytes as u64) as usize
    }

    /// Appends the next part, if there is one that may be sent now; whether there was.
    pub(super) fn write_next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.written == self.sent.len() && !self.cut_next() {
            return false;
        }
        let Some(cut) = self.sent.get(self.written).copied() else { return false };
        let Some(message) = self.messages.get(cut.message) else { return false };
        self.written += 1;
        let number = FrameNumber(self.acked + self.written as u64);
        encode_part(number, cut.place, cut.length, out);
        message.bytes.append_to(out, cut.at, cut.length);
        true
    }

    /// Cuts one more part; whether it could. Small messages, begun ones and large ones take turns, and within each
    /// of these their senders do.
    fn cut_next(&mut self) -> bool {
        let config = &self.config;
        if self.sent.len() >= config.sent_frames_max || self.sent_bytes + PART_BYTES_MAX > config.sent_bytes_max {
            return false;
        }
        if !self.first.is_empty() {
            return self.cut_first() || self.cut_running();
        }
        for _ in 0..3 {
            let done = match self.turn {
                Class::Small => self.cut_small(),
                Class::Running => self.cut_running(),
                Class::Large => self.cut_large(),
            };
            if !done || self.turn != Class::Small || self.small_left <= 0 {
                self.turn = match self.turn {
                    Class::Small => Class::Running,
                    Class::Running => Class::Large,
                    Class::Large => Class::Small,
                };
                self.small_left = PART_BYTES_MAX as i64;
            }
            if done {
                return true;
            }
        }
        false
    }

    fn cut_first(&mut self) -> bool {
        let Some(id) = self.first.front().copied() else { return false };
        let Some(length) = self.messages.get(id).map(|message| message.bytes.len()) else { return false };
        let charge = length as u64 + MESSAGE_OVERHEAD;
        if !self.small_window.has_room(charge) {
            return false;
        }
        self.small_window.used += charge;
        self.first.pop_front();
        self.push_cut(Cut { message: id, at: 0, length, place: Place::Whole });
        true
    }

    fn cut_small(&mut self) -> bool {
        let Some((from, id, length)) = first(&self.small, &self.senders, &self.messages) else { return false };
        let charge = length as u64 + MESSAGE_OVERHEAD;
        if !self.small_window.has_room(charge) {
            return false;
        }
        self.small_window.used += charge;
        self.small_left -= charge as i64;
        self.small.pop_front();
        self.push_cut(Cut { message: id, at: 0, length, place: Place::Whole });
        self.finish_message(from);
        true
    }

    fn cut_large(&mut self) -> bool {
        let Some((from, id, length)) = first(&self.large, &self.senders, &self.messages) else { return false };
        let charge = length as u64 + MESSAGE_OVERHEAD;
        let Some(free) = self.lanes_used.iter().position(|used| !used) else { return false };
        if !self.large_window.has_room(charge) {
            return false;
        }
        self.large_window.used += charge;
        self.lanes_used[free] = true;
        self.large.pop_front();
        self.running.push_back(from);
        let lane = Lane(free as u16);
        if let Some(sender) = self.senders.get_mut(&from) {
            sender.begun = Some((lane, PART_BYTES_MAX));
        }
        let place = Place::First { lane, length: length as u32 };
        self.push_cut(Cut { message: id, at: 0, length: PART_BYTES_MAX, place });
        true
    }

    fn cut_running(&mut self) -> bool {
        let Some((from, id, length)) = first(&self.running, &self.senders, &self.messages) else { return false };
        let Some(sender) = self.senders.get_mut(&from) else { return false };
        let Some((lane, at)) = sender.begun else { return false };
        let next = (at + PART_BYTES_MAX).min(length);
        self.running.pop_front();
        if next == length {
            sender.begun = None;
            self.lanes_used[usize::from(lane.0)] = false;
            self.push_cut(Cut { message: id, at, length: next - at, place: Place::Last { lane } });
            self.finish_message(from);
        } else {
            sender.begun = Some((lane, next));
            self.running.push_back(from);
            self.push_cut(Cut { message: id, at, length: next - at, place: Place::Middle { lane } });
        }
        true
    }

    fn push_cut(&mut self, cut: Cut) {
        if let Some(message) = self.messages.get_mut(cut.message) {
            message.begun = true;
        }
        self.sent_bytes += cut.length;
        self.sent.push_back(cut);
    }

    /// The sender's first message is cut to its end: its next one queues behind those of others.
    fn finish_message(&mut self, from: Pid) {
        let Some(sender) = self.senders.get_mut(&from) else { return };
        sender.messages.pop_front();
        match sender.messages.front().and_then(|id| self.messages.get(*id)) {
            Some(message) => self.queue(from, message.bytes.len()),
            None => {
                self.senders.remove(&from);
            }
        }
    }

    fn queue(&mut self, from: Pid, length: usize) {
        if length <= PART_BYTES_MAX { self.small.push_back(from) } else { self.large.push_back(from) }
    }

    pub(super) fn report(&self, info: &mut SessionInfo) {
        info.held_messages = self.messages.count;
        info.held_bytes = self.held_bytes;
        info.sent_frames = self.sent.len();
        info.sent_bytes = self.sent_bytes;
        info.full = self.full;
    }
}

/// The first sender of a queue, its first message and that one's length.
fn first(queue: &VecDeque<Pid>, senders: &BTreeMap<Pid, Sender>, messages: &Messages) -> Option<(Pid, u64, usize)> {
    let from = *queue.front()?;
    let id = *senders.get(&from)?.messages.front()?;
    Some((from, id, messages.get(id)?.bytes.len()))
}
