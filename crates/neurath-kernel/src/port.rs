//! The part of a process that goes along when its guest runs: mailbox, receives, calls, outbox.
//!
//! While a guest is polled, its port belongs to whoever polls it; nobody else touches it, so a poll
//! needs no lock and can go on in another thread. What arrives meanwhile waits in the kernel.
//!
//! Invariant: between [`Port::begin`] and [`Port::commit`], [`Port::rollback`] restores the port to what
//! it was, message for message.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use neurath_proto::abi::{ReceiveId, SendStatus, take_flags};
use neurath_proto::envelope::{Class, Envelope, Epoch, Payload, SchemaId, TraceId};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Pid, Ref, Serial};

use crate::action::Action;
use crate::hash::IdMap;
use crate::mailbox::{Mailbox, Message};
use crate::types::{Fit, Types, fit_any};

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
    readers: Vec<SchemaId>,
    reference: Ref,
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
    /// The ref whose answer is awaited, if it is that.
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
    savepoint: Option<alloc::boxed::Box<Savepoint>>,
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
        self.room_for(payload.len())?;
        if to == self.pid && !matches!(class, Class::Reply) {
            if self.mailbox.len() + self.self_sends >= self.limits.mailbox_messages || self.is_full() {
                return Err(SendStatus::MailboxFull);
            }
            self.self_sends += 1;
        }
        match class {
            Class::Reply => {
                if !self.open_calls.is_empty() {
                    self.open_calls.remove(&(to, reference));
                }
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
        self.calls.insert(reference, Call::Open { callee: self.pid });
        self.push(Action::Become { reference, entry, schema, state });
        Ok(reference)
    }

    /// Asks for something whose answer comes under a fresh ref.
    pub fn ask(&mut self, action: impl FnOnce(Ref) -> Action) -> Ref {
        let reference = self.reference();
        self.calls.insert(reference, Call::Open { callee: self.pid });
        self.push(action(reference));
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

    #[inline]
    fn push(&mut self, action: Action) {
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
        if look.reference.is_some() {
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
                let seq = message.seq;
                if look.flags & take_flags::LOOK == 0 {
                    self.forget(known);
                } else {
                    // It may be refused: until then the message is this receive's, and its deadline runs on.
                    let at = self.wait(look, known);
                    self.waiting[at].offer = seq;
                }
                return Found::Message(seq, index, fit);
            }
        } else {
            // Others have their turn first; then this one looks again.
            self.wait(look, known);
            self.ready.push_back(look.receive);
            return Found::Pending;
        }
        let deadline = self.deadline_of(look, known);
        if deadline <= self.now {
            self.forget(known);
            self.give_up(look.reference);
            return Found::TimedOut;
        }
        self.wait(look, known);
        Found::Pending
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
                    readers: look.readers.to_vec(),
                    reference: look.reference,
                    after_seq: look.after_seq,
                    deadline,
                    between_messages: look.flags & take_flags::BETWEEN_MESSAGES != 0,
                    offer: 0,
                };
                if self.waiting.capacity() == 0 {
                    // Most processes never wait for more than one thing.
                    self.waiting.reserve_exact(1);
                }
                self.waiting.insert(at, waiting);
                at
            }
        }
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

    /// Whether one more receive may wait.
    pub fn may_wait(&self) -> bool {
        (self.waiting.len() as u32) < self.limits.waiting
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
            && let Some(schema) = self.mailbox.get(gone.offer).map(|m| m.schema)
        {
            self.offer(gone.offer, schema, types);
        }
    }

    /// Removes the notice of a monitor that has already come.
    pub fn flush_monitor(&mut self, is_notice: impl FnMut(&Message) -> bool) {
        self.mailbox.drain_where(is_notice);
    }

    // ---- called by the kernel ----

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
        let seq = self.mailbox.push(envelope);
        if !self.waiting.is_empty() {
            self.offer(seq, schema, types);
        }
    }

    fn offer(&mut self, seq: u64, schema: SchemaId, types: &dyn Types) {
        let taker = self.waiting.iter_mut().find(|w| {
            w.offer == 0 && !w.reference.is_some() && w.after_seq < seq && fit_any(types, &w.readers, schema).is_some()
        });
        if let Some(waiting) = taker {
            waiting.offer = seq;
            self.ready.push_back(waiting.id);
        }
    }

    /// The answer of a call, or of a question to the runtime, has arrived. Whether anyone waited for it.
    pub(crate) fn answered(&mut self, envelope: Envelope) -> bool {
        let Some(call) = self.calls.get_mut(&envelope.reference) else { return false };
        let Call::Open { callee } = *call else { return false };
        let reference = envelope.reference;
        let Envelope { class, from, reference: _, schema, trace, payload, attachments, to: _, epoch: _ } = envelope;
        *call = Call::Answered(Message { seq: 0, class, from, reference, schema, trace, payload, attachments });
        if callee != from && callee != self.pid {
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
        self.mailbox.drain_where(|m| m.class != Class::Notice && fit_any(types, accepts, m.schema).is_none())
    }

    /// Withdraws what `from` sent beyond the limit, latest first; in order of arrival.
    pub(crate) fn withdraw(&mut self, from: Pid) -> Vec<Message> {
        let beyond = self.mailbox.len().saturating_sub(self.limits.mailbox_messages) as usize;
        let theirs: Vec<u64> = self.mailbox.in_order().iter().filter(|m| m.from == from).map(|m| m.seq).collect();
        let doomed = &theirs[theirs.len().saturating_sub(beyond.max(1))..];
        self.mailbox.drain_where(|m| doomed.contains(&m.seq))
    }

    // ---- transactions ----

    /// Notes the present state, and starts without receives: new code is about to try.
    pub fn begin(&mut self) {
        let mut calls: Vec<_> = self.calls.iter().map(|(r, c)| (*r, c.clone())).collect();
        calls.sort_unstable_by_key(|(r, _)| *r);
        let mut open_calls: Vec<_> = self.open_calls.keys().copied().collect();
        open_calls.sort_unstable();
        self.savepoint = Some(alloc::boxed::Box::new(Savepoint {
            waiting: core::mem::take(&mut self.waiting),
            ready: core::mem::take(&mut self.ready),
            calls,
            open_calls,
            timers: self.timers.clone(),
            taken: Vec::new(),
        }));
        self.calls.clear();
        self.takes = 0;
    }

    /// Keeps what was done since [`Port::begin`].
    pub fn commit(&mut self) {
        self.savepoint = None;
    }

    /// Undoes what was done since [`Port::begin`].
    pub fn rollback(&mut self) {
        let Some(savepoint) = self.savepoint.take() else { return };
        let Savepoint { waiting, ready, calls, open_calls, timers, taken } = *savepoint;
        self.timers = timers;
        self.waiting = waiting;
        self.ready = ready;
        self.calls = calls.into_iter().collect();
        self.open_calls = open_calls.into_iter().map(|key| (key, ())).collect();
        for message in taken {
            self.mailbox.restore(message);
        }
        self.outbox.clear();
        self.outbox_bytes = 0;
        self.self_sends = 0;
    }

    // ---- export ----

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
                    readers: w.readers.clone(),
                    reference: w.reference,
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
        }
    }

    /// The port that a record describes, on another clock.
    pub fn import(record: PortRecord, limits: PortLimits, serials: Arc<Serials>, now: u64) -> Self {
        let PortRecord { pid, epoch, messages, last_seq, waiting, ready, calls, open_calls, last_ref } = record;
        let mut port = Self::new(pid, limits, serials);
        port.epoch = epoch;
        port.last_ref = last_ref;
        for message in messages {
            port.mailbox.restore(message);
        }
        port.mailbox.set_last_seq(last_seq);
        port.waiting = waiting
            .into_iter()
            .map(|w| Waiting {
                id: w.id,
                readers: w.readers,
                reference: w.reference,
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

/// How a process's own exit is put into words for those who watch it.
pub(crate) fn down_error(reason: &ExitReason) -> CallError {
    CallError::Down(reason.clone())
}
