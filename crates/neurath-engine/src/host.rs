//! [`Host`]: what a guest's calls mean. The engine checks memory and copies bytes; it has no policy.
//!
//! Invariant: no method can reach another process. Effects collect in the host value and are committed
//! by whoever owns it, at the safe point.

use neurath_proto::abi::{MessageHead, ReceiveId, SendStatus, Tag, TakeSpec};
use neurath_proto::cluster::Question;
use neurath_proto::envelope::Class;
use neurath_proto::{Pid, Ref};

/// The meaning of a guest's calls during one poll. One value for each instance; it moves with it.
///
/// Every method must be cheap and must not block: it runs on the shard's thread.
pub trait Host: Send + 'static {
    /// Whether instances only describe their module: then there is no host, and random numbers are zero.
    #[doc(hidden)]
    const DESCRIBES: bool = false;

    /// Puts a message into the outbox.
    fn send(&mut self, to: Pid, class: Class, reference: Ref, tag: Tag, payload: &[u8]) -> SendStatus;
    /// The same after `delay_ns`; the timer's ref.
    fn send_after(&mut self, delay_ns: u64, to: Pid, tag: Tag, payload: &[u8]) -> Result<Ref, SendStatus>;
    /// Whether the timer had not fired yet.
    fn cancel_timer(&mut self, timer: Ref) -> bool;
    /// What a tag of this module version stands for: an encoded schema.
    fn declare(&mut self, tag: Tag, schema: &[u8]) -> Result<(), Stop>;
    /// Looks for the next message that fits.
    ///
    /// `tags` has `spec.tag_count` entries. `room` is how many bytes of payload the guest's buffer
    /// holds; a message that needs more is left where it is and [`Taken::TooLarge`] returned.
    fn take(&mut self, receive: ReceiveId, spec: &TakeSpec, tags: &[Tag], room: usize) -> Taken<'_>;
    /// A receive under `HAND_OVER` is about to be polled: takes the message that it was woken for, if one can be handed
    /// over, and says whether more wait. Then either [`Host::put_back`] follows, or [`Host::over`], or it waits on.
    fn hand_over(&mut self, _receive: ReceiveId, _room: usize) -> Option<(MessageHead, &[u8], bool)> {
        None
    }
    /// The message that was handed over is not read now.
    fn put_back(&mut self, _receive: ReceiveId) {}
    /// The message that was handed over has been read, and the receive is over.
    fn over(&mut self, _receive: ReceiveId) {}
    /// Takes the message that was looked at; whether it is still there.
    fn accept(&mut self, receive: ReceiveId, seq: u64) -> bool;
    /// Waits no longer.
    fn cancel(&mut self, receive: ReceiveId);
    /// A fresh ref.
    fn reference(&mut self) -> Ref;
    /// Starts an entry of this module: the new pid, and the monitor's ref if one was asked for.
    fn spawn(&mut self, entry: &str, arguments: &[u8], link: bool, monitor: bool) -> Result<(Pid, Ref), Stop>;
    /// The guest's own exit, with an encoded reason of the type `tag`; `Tag(0)` is a normal exit.
    /// The guest is stopped afterwards.
    fn exit(&mut self, tag: Tag, reason: &[u8]) -> SendStatus;
    /// Asks another process to exit.
    fn exit_process(&mut self, to: Pid, tag: Tag, reason: &[u8]) -> SendStatus;
    /// Ends another process.
    fn kill(&mut self, to: Pid);
    /// Links to another process.
    fn link(&mut self, to: Pid);
    /// Undoes `link`.
    fn unlink(&mut self, to: Pid);
    /// Watches another process.
    fn monitor(&mut self, to: Pid) -> Ref;
    /// Undoes `monitor`, and removes its notice if it has come.
    fn demonitor(&mut self, monitor: Ref);
    /// Whether exits of linked processes arrive as messages.
    fn trap_exit(&mut self, on: bool);
    /// Asks a node something; the answer comes under the ref. No ref: the outbox is full.
    fn ask(&mut self, question: Question) -> Ref;
    /// The guest's own pid.
    fn self_pid(&self) -> Pid;
    /// Offers the state to the newest code of the entry.
    fn become_latest(&mut self, entry: &str, tag: Tag, state: &[u8]) -> Result<Ref, SendStatus>;
    /// A line of log: level 1 error … 5 trace.
    fn log(&mut self, level: u32, line: &str);
    /// The reason of the trap that follows.
    fn panicked(&mut self, message: &str, location: &str);
    /// Why a converter refused.
    fn failed(&mut self, message: &str);
    /// Bytes that the guest wrote to standard output (1) or standard error (2).
    fn output(&mut self, stream: u32, bytes: &[u8]);
    /// The process's own clocks.
    fn clock(&mut self, clock: Clock) -> u64;
    /// Fills `bytes` with the process's own random numbers.
    fn random(&mut self, bytes: &mut [u8]);
    /// The guest has run for `ticks` of the engine's epoch without coming to a safe point. Called at
    /// every tick from the first on; this is where a shard is handed to another thread.
    fn overrun(&mut self, ticks: u64) -> Result<(), Stop>;
}

/// The host of guests that are never given one: of a module that is only described.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NoHost {}

/// Which clock a guest reads; both in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Since the Unix epoch.
    Real,
    /// Since some fixed moment; never goes back.
    Monotonic,
}

/// The guest is to be stopped with this as the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop(pub String);

/// What a look for a message gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<'a> {
    /// Nothing fits; the receive waits.
    Pending,
    /// A message, taken or offered as the spec says. `payload_len` of the head is filled in by the engine.
    Message(MessageHead, &'a [u8]),
    /// The ref's call has failed: an encoded `CallError`.
    Failed(&'a [u8]),
    /// A message fits but is larger than the room: its length.
    TooLarge(usize),
    /// The deadline has passed.
    TimedOut,
    /// The tag at this index has not been declared.
    NeedSchema(u32),
}

impl Host for NoHost {
    const DESCRIBES: bool = true;

    fn send(&mut self, _: Pid, _: Class, _: Ref, _: Tag, _: &[u8]) -> SendStatus {
        match *self {}
    }
    fn send_after(&mut self, _: u64, _: Pid, _: Tag, _: &[u8]) -> Result<Ref, SendStatus> {
        match *self {}
    }
    fn cancel_timer(&mut self, _: Ref) -> bool {
        match *self {}
    }
    fn declare(&mut self, _: Tag, _: &[u8]) -> Result<(), Stop> {
        match *self {}
    }
    fn take(&mut self, _: ReceiveId, _: &TakeSpec, _: &[Tag], _: usize) -> Taken<'_> {
        match *self {}
    }
    fn accept(&mut self, _: ReceiveId, _: u64) -> bool {
        match *self {}
    }
    fn cancel(&mut self, _: ReceiveId) {
        match *self {}
    }
    fn reference(&mut self) -> Ref {
        match *self {}
    }
    fn spawn(&mut self, _: &str, _: &[u8], _: bool, _: bool) -> Result<(Pid, Ref), Stop> {
        match *self {}
    }
    fn exit(&mut self, _: Tag, _: &[u8]) -> SendStatus {
        match *self {}
    }
    fn exit_process(&mut self, _: Pid, _: Tag, _: &[u8]) -> SendStatus {
        match *self {}
    }
    fn kill(&mut self, _: Pid) {
        match *self {}
    }
    fn link(&mut self, _: Pid) {
        match *self {}
    }
    fn unlink(&mut self, _: Pid) {
        match *self {}
    }
    fn monitor(&mut self, _: Pid) -> Ref {
        match *self {}
    }
    fn demonitor(&mut self, _: Ref) {
        match *self {}
    }
    fn trap_exit(&mut self, _: bool) {
        match *self {}
    }
    fn ask(&mut self, _: Question) -> Ref {
        match *self {}
    }
    fn self_pid(&self) -> Pid {
        match *self {}
    }
    fn become_latest(&mut self, _: &str, _: Tag, _: &[u8]) -> Result<Ref, SendStatus> {
        match *self {}
    }
    fn log(&mut self, _: u32, _: &str) {
        match *self {}
    }
    fn panicked(&mut self, _: &str, _: &str) {
        match *self {}
    }
    fn failed(&mut self, _: &str) {
        match *self {}
    }
    fn output(&mut self, _: u32, _: &[u8]) {
        match *self {}
    }
    fn clock(&mut self, _: Clock) -> u64 {
        match *self {}
    }
    fn random(&mut self, _: &mut [u8]) {
        match *self {}
    }
    fn overrun(&mut self, _: u64) -> Result<(), Stop> {
        match *self {}
    }
}
