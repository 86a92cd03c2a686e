//! The part of a process that goes along when its guest runs: mailbox, receives, calls, outbox.
//!
//! While a guest is polled, its port belongs to whoever polls it; nobody else touches it, so a poll
//! needs no lock and can go on in another thread. What arrives meanwhile waits in the kernel.
//!
//! Invariant: between [`Port::begin`] and [`Port::commit`], [`Port::rollback`] restores the port to what
//! it was, message for message.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use neurath_proto::abi::{ReceiveId, SendStatus, take_flags};
use neurath_proto::cluster::Question;
use neurath_proto::envelope::{Class, Envelope, Epoch, Payload, SchemaId, TraceId};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Pid, Ref, Serial};
use smallvec::SmallVec;

use crate::action::Action;
use crate::channels::Channels;
use crate::hash::IdMap;
use crate::mailbox::{Mailbox, Message};
use crate::signal::node_itself;
use crate::types::{Fit, Types, fit_any};

pub use record::{CallRecord, PortRecord, WaitingRecord};

mod kernel_side;
mod record;
mod transaction;

/// Limits of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortLimits {
    /// Messages in the mailbox at which senders are held back.
    pub mailbox_messages: u32,
    /// Bytes in the mailbox at which senders are held back.
    pub mailbox_bytes: u64,
    /// Things that one poll may ask for.
    pub outbox_actions: u32,
    /// Bytes that one poll may send.
    pub outbox_bytes: u64,
    /// Bytes of one message.
    pub message_bytes: u32,
    /// Messages that one poll may take before others have their turn.
    pub takes_per_poll: u32,
    /// Receives and calls that may wait at once.
    pub waiting: u32,
}

impl Default for PortLimits {
    fn default() -> Self {
        Self {
            mailbox_messages: 16_384,
            mailbox_bytes: 16 << 20,
            outbox_actions: 4_096,
            outbox_bytes: 4 << 20,
            message_bytes: 1 << 20,
            takes_per_poll: 1_024,
            waiting: 65_536,
        }
    }
}

/// Hands out serials; the processes of one shard share it.
///
/// It is atomic only because a poll may go on in another thread; numbers are never given twice.
#[derive(Debug)]
pub struct Serials {
    next: AtomicU64,
    step: u64,
    node: NodeId,
    incarnation: Incarnation,
}

impl Serials {
    /// Serials `first`, `first + step`, … of the given life of a node.
    pub fn new(node: NodeId, incarnation: Incarnation, first: u64, step: u64) -> Self {
        Self { next: AtomicU64::new(first), step, node, incarnation }
    }

    /// A pid that was never given before.
    pub fn next_pid(&self) -> Pid {
        Pid::new(self.node, self.incarnation, Serial(self.next.fetch_add(self.step, Ordering::Relaxed)))
    }
}

/// A receive that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    id: ReceiveId,
    readers: SmallVec<[SchemaId; 4]>,
    reference: Ref,
    /// The channel whose messages it takes, if it is not the mailbox's others.
    channel: Ref,
    after_seq: u64,
    /// Nanoseconds on the kernel's clock; `u64::MAX` is never.
    deadline: u64,
    between_messages: bool,
    /// The message for which it was woken.
    offer: u64,
}

/// A call whose answer has not been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    Open { callee: Pid },
    Answered(Message),
    Failed(Vec<u8>),
}

/// What [`Port::look`] looks for.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The guest's number for the receive.
    pub receive: ReceiveId,
    /// The types that it takes.
    pub readers: &'a [SchemaId],
    /// The ref whose answer is awaited, if it is that; under [`take_flags::CHANNEL`] that of the channel.
    pub reference: Ref,
    /// Only messages after this one.
    pub after_seq: u64,
    /// Nanoseconds it may wait from its first look on; `u64::MAX` is forever.
    pub timeout_ns: u64,
    /// [`take_flags`].
    pub flags: u32,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: it waits.
    Pending,
    /// The deadline has passed; or the yield is over.
    TimedOut,
    /// The message with this number fits the reader at this index.
    Message(u64, u32, Fit),
    /// The awaited answer is there, and this is how it fits.
    Answer(Fit),
    /// The awaited call has failed; [`Port::take_failure`] says how.
    Failed,
}

/// What [`Port::rollback`] needs.
#[derive(Debug)]
struct Savepoint {
    waiting: Vec<Waiting>,
    ready: VecDeque<ReceiveId>,
    calls: Vec<(Ref, Call)>,
    open_calls: Vec<(Pid, Ref)>,
    timers: alloc::collections::BTreeSet<Ref>,
    taken: Vec<Message>,
    channels: Option<Box<Channels>>,
}

/// See the module.
#[derive(Debug)]
pub struct Port {
    pid: Pid,
    epoch: Epoch,
    limits: PortLimits,
    serials: Arc<Serials>,
    mailbox: Mailbox,
    waiting: Vec<Waiting>,
    ready: VecDeque<ReceiveId>,
    calls: IdMap<Ref, Call>,
    /// Requests that were taken and not answered yet: who asked, under which ref.
    open_calls: IdMap<(Pid, Ref), ()>,
    /// Timers that have not fired.
    timers: alloc::collections::BTreeSet<Ref>,
    outbox: Vec<Action>,
    outbox_bytes: u64,
    last_ref: u64,
    takes: u32,
    self_sends: u32,
    /// The guest asked for more than it may, by calls that cannot be refused.
    exceeded: bool,
    /// The process has said that it expects nothing soon.
    hibernates: bool,
    savepoint: Option<Box<Savepoint>>,
    now: u64,
}

impl Port {
    /// The port of a new process.
    pub fn new(pid: Pid, limits: PortLimits, serials: Arc<Serials>) -> Self {
        Self {
            pid,
            epoch: Epoch(1),
            limits,
            serials,
            mailbox: Mailbox::default(),
            waiting: Vec::new(),
            ready: VecDeque::new(),
            calls: IdMap::default(),
            open_calls: IdMap::default(),
            timers: alloc::collections::BTreeSet::new(),
            outbox: Vec::new(),
            outbox_bytes: 0,
            last_ref: 0,
            takes: 0,
            self_sends: 0,
            exceeded: false,
            hibernates: false,
            savepoint: None,
            now: 0,
        }
    }

    /// Whose port it is.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The messages that wait.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Whether senders are to be held back.
    pub fn is_full(&self) -> bool {
        self.mailbox.len() >= self.limits.mailbox_messages || self.mailbox.bytes() >= self.limits.mailbox_bytes
    }

    /// Whether senders that were held back may go on.
    pub fn has_drained(&self) -> bool {
        self.mailbox.len() <= self.limits.mailbox_messages / 2 && self.mailbox.bytes() <= self.limits.mailbox_bytes / 2
    }

    /// Whether not even an overshoot is taken any more.
    pub fn is_overflowing(&self) -> bool {
        self.mailbox.len() / 4 >= self.limits.mailbox_messages || self.mailbox.bytes() / 4 >= self.limits.mailbox_bytes
    }

    // ---- called by the guest's host ----

    /// A ref that was never given before.
    pub fn reference(&mut self) -> Ref {
        self.last_ref += 1;
        Ref::new(self.epoch.0, self.last_ref)
    }

    /// Puts a message into the outbox.
    #[inline]
    pub fn send(
        &mut self,
        to: Pid,
        class: Class,
        reference: Ref,
        schema: SchemaId,
        payload: Payload,
    ) -> Result<(), SendStatus> {
        if let Err(status) = self.room_for(payload.len()) {
            if class == Class::Reply && status == SendStatus::TooLarge {
                self.answer_too_large(to, reference, payload.len());
            }
            return Err(status);
        }
        if to == self.pid && !matches!(class, Class::Reply) {
            if self.mailbox.len() + self.self_sends >= self.limits.mailbox_messages || self.is_full() {
                return Err(SendStatus::MailboxFull);
            }
            self.self_sends += 1;
        }
        match class {
            Class::Reply if !self.open_calls.is_empty() => {
                self.open_calls.remove(&(to, reference));
            }
            Class::Call | Class::Message if reference.is_some() => {
                if self.calls.len() as u32 >= self.limits.waiting {
                    return Err(SendStatus::OutboxFull);
                }
                self.calls.insert(reference, Call::Open { callee: to });
            }
            _ => {}
        }
        let envelope = self.envelope(to, class, reference, schema, payload);
        self.push(Action::Send(envelope));
        Ok(())
    }

    /// Nobody can send this answer again, so whoever waits for it is told.
    #[cold]
    fn answer_too_large(&mut self, to: Pid, reference: Ref, bytes: usize) {
        self.open_calls.remove(&(to, reference));
        let limit = self.limits.message_bytes;
        let why = format!("the answer has {bytes} bytes, and a message has at most {limit}");
        self.push(Action::Fail(to, reference, CallError::AnswerLost(why)));
    }

    /// Puts a message into the outbox that is sent later; the timer's ref.
    pub fn send_after(
        &mut self,
        delay_ns: u64,
        to: Pid,
        schema: SchemaId,
        payload: Payload,
    ) -> Result<Ref, SendStatus> {
        self.room_for(payload.len())?;
        let timer = self.reference();
        let envelope = self.envelope(to, Class::Message, Ref::NONE, schema, payload);
        self.timers.insert(timer);
        self.push(Action::SendAfter { delay_ns, timer, envelope });
        Ok(timer)
    }

    /// Stops a timer of this process; whether it had not fired yet.
    pub fn cancel_timer(&mut self, timer: Ref) -> bool {
        let running = self.timers.remove(&timer);
        if running {
            self.push(Action::CancelTimer(timer));
        }
        running
    }

    /// Offers the state to newer code; the ref under which a refusal comes.
    pub fn become_latest(&mut self, entry: String, schema: SchemaId, state: Vec<u8>) -> Result<Ref, SendStatus> {
        self.room_for(0)?;
        let reference = self.reference();
        self.open_call(reference, self.pid);
        self.push(Action::Become { reference, entry, schema, state });
        Ok(reference)
    }

    /// Asks a node something; the answer, if there is one, comes under the ref. No ref: the outbox has no room for it.
    pub fn ask(&mut self, question: Question) -> Ref {
        let bytes = match &question {
            Question::Spawn { entry, arguments, .. } => entry.len() + arguments.len(),
            Question::Register { name, .. } | Question::Unregister { name, .. } | Question::Whereis { name, .. } => {
                name.len()
            }
            Question::Join { group } | Question::Leave { group } | Question::Members { group } => group.len(),
            _ => 0,
        };
        if self.room_for(bytes).is_err() {
            return Ref::NONE;
        }
        self.outbox_bytes += bytes as u64;
        let reference = self.reference();
        let asked = match &question {
            Question::Spawn { node, .. }
            | Question::Register { node, .. }
            | Question::Unregister { node, .. }
            | Question::Whereis { node, .. }
            | Question::Ping { node } => Some(*node),
            Question::Nodes | Question::Join { .. } | Question::Leave { .. } | Question::Members { .. } => {
                Some(self.pid.node)
            }
            Question::MonitorNode { .. } | Question::DemonitorNode { .. } | Question::WatchNodes { .. } => None,
        };
        if let Some(node) = asked {
            let callee = if node == self.pid.node { self.pid } else { node_itself(node) };
            self.open_call(reference, callee);
        }
        self.push(Action::Ask(question, reference));
        reference
    }

    /// Starts a process at the safe point; it has its pid already.
    pub fn spawn(&mut self, entry: u32, arguments: Vec<u8>, link: bool, monitor: bool) -> (Pid, Ref) {
        let pid = self.serials.next_pid();
        let reference = if monitor { self.reference() } else { Ref::NONE };
        self.outbox_bytes += arguments.len() as u64;
        self.push(Action::Spawn { pid, entry, arguments, link, monitor: monitor.then_some(reference) });
        (pid, reference)
    }

    /// Watches a process; the ref that the notice will carry.
    pub fn monitor(&mut self, to: Pid) -> Ref {
        let reference = self.reference();
        self.push(Action::Monitor(to, reference));
        reference
    }

    /// Asks for anything else. Whether there was room: without it nothing was asked.
    pub fn request(&mut self, action: Action) -> bool {
        let room = self.room_for(0).is_ok();
        if room {
            self.push(action);
        }
        room
    }

    /// Whether the outbox has room for another action.
    pub fn has_room(&self) -> bool {
        self.room_for(0).is_ok()
    }

    #[inline]
    fn room_for(&self, payload: usize) -> Result<(), SendStatus> {
        if payload as u64 > u64::from(self.limits.message_bytes) {
            return Err(SendStatus::TooLarge);
        }
        let full = self.outbox.len() as u32 >= self.limits.outbox_actions
            || self.outbox_bytes + payload as u64 > self.limits.outbox_bytes;
        if full { Err(SendStatus::OutboxFull) } else { Ok(()) }
    }

    /// Notes a call; whether there was room.
    fn open_call(&mut self, reference: Ref, callee: Pid) {
        if self.calls.len() as u32 >= self.limits.waiting {
            self.exceeded = true;
        } else {
            self.calls.insert(reference, Call::Open { callee });
        }
    }

    /// Puts an action into the outbox. Those that cannot be refused to the guest may exceed the limit by a few; a
    /// guest that goes on is ended at the safe point.
    #[inline]
    fn push(&mut self, action: Action) {
        const GRACE: u32 = 64;
        if self.outbox.len() as u32 >= self.limits.outbox_actions + GRACE {
            self.exceeded = true;
            return;
        }
        if let Action::Send(envelope) | Action::SendAfter { envelope, .. } = &action {
            self.outbox_bytes += envelope.payload.len() as u64;
        }
        self.outbox.push(action);
    }

    #[inline]
    fn envelope(&self, to: Pid, class: Class, reference: Ref, schema: SchemaId, payload: Payload) -> Envelope {
        let from = self.pid;
        let epoch = self.epoch;
        Envelope { class, from, to, epoch, reference, schema, trace: TraceId(0), payload, attachments: None }
    }

    /// Looks for what a receive waits for; if it is not there, the receive waits.
    ///
    /// The message stays where it is: see [`Port::take`] and [`Port::take_answer`].
    #[inline]
    pub fn look(&mut self, look: &Look<'_>, types: &dyn Types) -> Found {
        let known = self.known(look.receive);
        if look.flags & take_flags::YIELD != 0 {
            return self.look_again(look, known);
        }
        if look.flags & take_flags::CHANNEL != 0 {
            if look.flags & (take_flags::OPEN | take_flags::CLOSE) != 0 {
                self.open_or_close(look);
                return Found::TimedOut;
            }
            if let Some(found) = self.look_into_channel(look, known, types) {
                return found;
            }
        } else if look.reference.is_some() {
            match self.calls.get(&look.reference) {
                Some(Call::Answered(message)) => {
                    let fit = fit_any(types, look.readers, message.schema).map_or(Fit::No, |(_, fit)| fit);
                    self.forget(known);
                    return Found::Answer(fit);
                }
                Some(Call::Failed(_)) => {
                    self.forget(known);
                    return Found::Failed;
                }
                Some(Call::Open { .. }) => {}
                None => {
                    use neurath_proto::Data;
                    let mut bytes = Vec::new();
                    CallError::NotSent("nothing was asked under this ref".into()).encode(&mut bytes);
                    self.calls.insert(look.reference, Call::Failed(bytes));
                    self.forget(known);
                    return Found::Failed;
                }
            }
        } else if self.takes < self.limits.takes_per_poll {
            let waiting = &self.waiting;
            let reserved = |seq| waiting.iter().any(|w| w.offer == seq && w.id != look.receive);
            let found = self.mailbox.first(look.after_seq, |schema| fit_any(types, look.readers, schema), reserved);
            if let Some((message, (index, fit))) = found {
                return self.found(look, known, message.seq, index, fit);
            }
        } else {
            return self.look_later(look, known);
        }
        let deadline = self.deadline_of(look, known);
        if deadline <= self.now {
            self.forget(known);
            self.give_up(awaited(look));
            return Found::TimedOut;
        }
        self.hibernates = look.flags & take_flags::HIBERNATE != 0;
        self.wait(look, known);
        Found::Pending
    }

    fn found(&mut self, look: &Look<'_>, known: Option<usize>, seq: u64, index: u32, fit: Fit) -> Found {
        if look.flags & take_flags::LOOK == 0 {
            self.forget(known);
        } else {
            // It may be refused: until then the message is this receive's, and its deadline runs on.
            let at = self.wait(look, known);
            self.waiting[at].offer = seq;
        }
        Found::Message(seq, index, fit)
    }

    /// Others have their turn first; then this one looks again.
    fn look_later(&mut self, look: &Look<'_>, known: Option<usize>) -> Found {
        self.wait(look, known);
        self.ready.push_back(look.receive);
        Found::Pending
    }

    /// What a receive finds in its channel, unless there is nothing.
    fn look_into_channel(&mut self, look: &Look<'_>, known: Option<usize>, types: &dyn Types) -> Option<Found> {
        if self.takes >= self.limits.takes_per_poll {
            return Some(self.look_later(look, known));
        }
        let waiting = &self.waiting;
        let reserved = |seq| waiting.iter().any(|w| w.offer == seq && w.id != look.receive);
        let message = self.mailbox.channels()?.first(look.reference, look.after_seq, reserved)?;
        let (seq, (index, fit)) = (message.seq, fit_any(types, look.readers, message.schema)?);
        Some(self.found(look, known, seq, index, fit))
    }

    fn open_or_close(&mut self, look: &Look<'_>) {
        if look.flags & take_flags::CLOSE != 0 {
            let gone = self.mailbox.close_channel(look.reference);
            self.close(gone);
            return;
        }
        let open = self.mailbox.channels().map_or(0, Channels::len);
        match look.readers {
            [reader] if (open as u32) < self.limits.waiting => self.mailbox.open_channel(look.reference, *reader),
            _ => self.exceeded = true,
        }
    }

    /// Refuses what waited in channels that are closed.
    fn close(&mut self, gone: Vec<Message>) {
        if !gone.is_empty() {
            self.push(Action::Close(gone));
        }
    }

    /// Whether the process has said, when it began to wait, that it expects nothing soon.
    pub fn hibernates(&self) -> bool {
        self.hibernates && self.ready.is_empty()
    }

    /// The place of a receive among those that wait.
    #[inline]
    fn known(&self, receive: ReceiveId) -> Option<usize> {
        match self.waiting.as_slice() {
            [] => None,
            [only] => (only.id == receive).then_some(0),
            many => many.binary_search_by_key(&receive, |w| w.id).ok(),
        }
    }

    fn look_again(&mut self, look: &Look<'_>, known: Option<usize>) -> Found {
        if known.is_some() {
            self.forget(known);
            return Found::TimedOut;
        }
        self.wait(look, None);
        self.ready.push_back(look.receive);
        Found::Pending
    }

    fn deadline_of(&self, look: &Look<'_>, known: Option<usize>) -> u64 {
        known.map_or_else(|| self.now.saturating_add(look.timeout_ns), |at| self.waiting[at].deadline)
    }

    /// Lets a receive wait; its place.
    fn wait(&mut self, look: &Look<'_>, known: Option<usize>) -> usize {
        let deadline = self.deadline_of(look, known);
        match known {
            Some(at) => {
                self.waiting[at].after_seq = look.after_seq;
                self.waiting[at].offer = 0;
                at
            }
            None => {
                let at = self.waiting.partition_point(|w| w.id < look.receive);
                let waiting = Waiting {
                    id: look.receive,
                    readers: SmallVec::from_slice(look.readers),
                    reference: awaited(look),
                    channel: channel(look),
                    after_seq: look.after_seq,
                    deadline,
                    between_messages: look.flags & take_flags::BETWEEN_MESSAGES != 0,
                    offer: 0,
                };
                if self.waiting.capacity() == 0 {
                    // Most processes never wait for more than one thing.
                    self.waiting.reserve_exact(1);
                }
                if self.waiting.len() as u32 >= self.limits.waiting {
                    self.exceeded = true;
                    return at.min(self.waiting.len() - 1);
                }
                self.waiting.insert(at, waiting);
                at
            }
        }
    }

    /// The message for which a receive was woken: its number, which reader takes it, and how it fits.
    pub fn offered(&self, receive: ReceiveId, types: &dyn Types) -> Option<(u64, u32, SchemaId, Fit)> {
        let waiting = &self.waiting[self.known(receive)?];
        if waiting.reference.is_some() {
            return None;
        }
        let message = self.mailbox.get(waiting.offer)?;
        let (index, fit) = fit_any(types, &waiting.readers, message.schema)?;
        Some((waiting.offer, index, *waiting.readers.get(index as usize)?, fit))
    }

    /// The message was taken and handed over: the receive may wait on for the next.
    pub fn handed_over(&mut self, receive: ReceiveId) {
        if let Some(at) = self.known(receive) {
            self.waiting[at].offer = 0;
        }
    }

    /// A message that was handed over has not been read: it is where it was, for the same receive.
    pub fn put_back(&mut self, receive: ReceiveId, message: Message) {
        self.open_calls.remove(&(message.from, message.reference));
        self.takes = self.takes.saturating_sub(1);
        if let Some(at) = self.known(receive) {
            self.waiting[at].offer = message.seq;
        }
        self.mailbox.restore(message);
    }

    /// A receive is over, because its message has been read.
    #[inline]
    pub fn over(&mut self, receive: ReceiveId) {
        let known = self.known(receive);
        self.forget(known);
    }

    /// The process waits no longer for the answer of a call.
    fn give_up(&mut self, reference: Ref) {
        if !reference.is_some() {
            return;
        }
        if let Some(Call::Open { callee }) = self.calls.remove(&reference)
            && callee != self.pid
        {
            self.push(Action::CloseCall(callee, reference));
        }
    }

    #[inline]
    fn forget(&mut self, known: Option<usize>) {
        if let Some(at) = known {
            self.waiting.remove(at);
        }
    }

    /// Whether the guest has asked for more than it may, by calls that cannot be refused to it.
    pub fn has_exceeded(&self) -> bool {
        self.exceeded
    }

    /// A message in the mailbox.
    pub fn message(&self, seq: u64) -> Option<&Message> {
        self.mailbox.get(seq)
    }

    /// Takes a message out of the mailbox.
    #[inline]
    pub fn take(&mut self, seq: u64) -> Option<Message> {
        let message = self.mailbox.remove(seq)?;
        self.takes += 1;
        if message.wants_answer() {
            self.open_calls.insert((message.from, message.reference), ());
        }
        if let Some(savepoint) = &mut self.savepoint {
            savepoint.taken.push(message.clone());
        }
        Some(message)
    }

    /// The answer that has come under `reference`, without taking it.
    pub fn answer(&self, reference: Ref) -> Option<&Message> {
        match self.calls.get(&reference) {
            Some(Call::Answered(message)) => Some(message),
            _ => None,
        }
    }

    /// Takes the answer that has come under `reference`.
    pub fn take_answer(&mut self, reference: Ref) -> Option<Message> {
        self.answer(reference)?;
        match self.calls.remove(&reference) {
            Some(Call::Answered(message)) => Some(message),
            _ => None,
        }
    }

    /// The failure of the call under `reference`, without taking it: an encoded [`CallError`].
    pub fn failure(&self, reference: Ref) -> Option<&[u8]> {
        match self.calls.get(&reference) {
            Some(Call::Failed(error)) => Some(error),
            _ => None,
        }
    }

    /// Takes the failure of the call under `reference`: an encoded [`CallError`].
    pub fn take_failure(&mut self, reference: Ref) -> Option<Vec<u8>> {
        match self.calls.get(&reference) {
            Some(Call::Failed(_)) => {}
            _ => return None,
        }
        match self.calls.remove(&reference) {
            Some(Call::Failed(error)) => Some(error),
            _ => None,
        }
    }

    /// A receive waits no longer. If it was woken for a message, the next that wants it is.
    pub fn cancel(&mut self, receive: ReceiveId, types: &dyn Types) {
        let Ok(at) = self.waiting.binary_search_by_key(&receive, |w| w.id) else { return };
        let gone = self.waiting.remove(at);
        self.ready.retain(|id| *id != receive);
        self.give_up(gone.reference);
        if gone.offer != 0
            && let Some((channel, schema)) = self.mailbox.get(gone.offer).map(|m| (m.channel(), m.schema))
        {
            self.offer(gone.offer, channel, schema, types);
        }
    }

    /// Removes the notice of a monitor that has already come.
    pub fn flush_monitor(&mut self, is_notice: impl FnMut(&Message) -> bool) {
        self.mailbox.drain_where(is_notice);
    }
}

/// The ref whose answer is awaited.
fn awaited(look: &Look<'_>) -> Ref {
    if look.flags & take_flags::CHANNEL == 0 { look.reference } else { Ref::NONE }
}

/// The channel that is looked into.
fn channel(look: &Look<'_>) -> Ref {
    if look.flags & take_flags::CHANNEL == 0 { Ref::NONE } else { look.reference }
}

/// How a process's own exit is put into words for those who watch it.
pub(crate) fn down_error(reason: &ExitReason) -> CallError {
    CallError::Down(reason.clone())
}
