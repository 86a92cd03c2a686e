//! Sending: [`send`], [`cast`], [`send_after`], and [`ReplyTo`], the place where an answer goes.
//!
//! Invariant: nothing is lost in silence. What the host would not take is a [`Sent`] other than
//! `Queued`, and a line in the log.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use neurath_proto::abi::SendStatus;
use neurath_proto::envelope::Class;
use neurath_proto::schema::Opaque;
use neurath_proto::{Data, DecodeError, Pid, Reader, Ref, SchemaBuilder, Type};

use crate::executor;
use crate::receive::nanos;
use crate::sys::{self, TypeTag};

/// What became of a message when it was sent.
///
/// `Queued` says that it goes out at the next safe point. Everything else says that it does not, and
/// is logged as a warning besides, so it may be ignored where that is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the outbox.
    Queued,
    /// The outbox of this poll is full: [`flush`](crate::flush) and send again.
    OutboxFull,
    /// It is over the limit for one message.
    TooLarge,
    /// It is for the sender itself, whose mailbox is full.
    MailboxFull,
}

impl Sent {
    /// Whether it goes out.
    pub fn is_queued(self) -> bool {
        self == Self::Queued
    }

    pub(crate) fn why_not(self) -> &'static str {
        match self {
            Self::Queued => "it was sent",
            Self::OutboxFull => "the outbox is full: `flush().await` first",
            Self::TooLarge => "it is over the limit for one message",
            Self::MailboxFull => "it is for the sender itself, whose mailbox is full",
        }
    }
}

/// Sends a message.
///
/// It leaves at the next safe point: when the process waits, ends, or awaits
/// [`flush`](crate::flush). Between two processes messages arrive in the order sent. A send never
/// waits and is no error if the receiver is dead; to know that, [`monitor`](crate::monitor) it or
/// [`ask`](crate::ask).
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// struct Token(u64);
///
/// #[neurath::process(accepts(Token))]
/// async fn pass_on(next: Pid) {
///     let Token(n) = recv().await;
///     send(next, Token(n + 1));
/// }
/// # fn main() {}
/// ```
#[inline]
pub fn send<T: Data>(to: Pid, message: T) -> Sent {
    post(&to, Class::Message, Ref::NONE, &message)
}

/// Sends a server a request that wants no answer.
#[inline]
pub fn cast<T: Data>(server: Pid, request: T) -> Sent {
    post(&server, Class::Cast, Ref::NONE, &request)
}

#[inline]
pub(crate) fn post<T: Data>(to: &Pid, class: Class, reference: Ref, message: &T) -> Sent {
    executor::with_scratch(|bytes| {
        message.encode(bytes);
        match sys::send(to, class, reference, TypeTag::of::<T>(), bytes) {
            SendStatus::Queued => Sent::Queued,
            status => send_anew(status, to, class, reference, TypeTag::of::<T>(), bytes),
        }
    })
}

#[cold]
#[inline(never)]
fn send_anew(status: SendStatus, to: &Pid, class: Class, reference: Ref, tag: TypeTag, bytes: &[u8]) -> Sent {
    let mut status = status;
    if status == SendStatus::NeedSchema {
        tag.declare();
        status = sys::send(to, class, reference, tag, bytes);
    }
    not_sent(status, to)
}

fn not_sent(status: SendStatus, to: &Pid) -> Sent {
    let sent = match status {
        SendStatus::Queued => return Sent::Queued,
        SendStatus::TooLarge => Sent::TooLarge,
        SendStatus::MailboxFull => Sent::MailboxFull,
        SendStatus::OutboxFull | SendStatus::NeedSchema => Sent::OutboxFull,
    };
    sys::log(crate::log::Level::Warn as u32, &format!("a message to {to} was not sent: {}", sent.why_not()));
    sent
}

/// A timer that was set with [`send_after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer(Ref);

impl Data for Timer {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ref::decode(reader).map(Self)
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        Ref::schema(builder)
    }
}

/// Sends a message after a delay.
///
/// # Errors
/// The message was not taken; the [`Sent`] says why.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// struct Tick;
///
/// #[neurath::process(accepts(Tick))]
/// async fn clock() {
///     loop {
///         let timer = send_after(1.secs(), self_pid(), Tick);
///         recv::<Tick>().await;
///         # let _ = timer;
///     }
/// }
/// # fn main() {}
/// ```
pub fn send_after<T: Data>(delay: Duration, to: Pid, message: T) -> Result<Timer, Sent> {
    post_after(delay, to, &message)
}

pub(crate) fn post_after<T: Data>(delay: Duration, to: Pid, message: &T) -> Result<Timer, Sent> {
    executor::with_scratch(|bytes| {
        message.encode(bytes);
        let tag = TypeTag::of::<T>();
        let mut timer = sys::send_after(nanos(delay).min(i64::MAX as u64), &to, tag, bytes);
        if timer == Err(SendStatus::NeedSchema) {
            tag.declare();
            timer = sys::send_after(nanos(delay).min(i64::MAX as u64), &to, tag, bytes);
        }
        timer.map(Timer).map_err(|status| not_sent(status, &to))
    })
}

/// Stops a timer; whether it had not fired yet.
pub fn cancel_timer(timer: Timer) -> bool {
    sys::cancel_timer(timer.0)
}

/// Where an answer of type `T` goes: part of a message that wants one.
///
/// The asker makes it with [`ask`](crate::ask); whoever has it answers once. It may be sent on, so
/// that somebody else answers.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// enum Tally {
///     Increment(i64),
///     Get(ReplyTo<i64>),
/// }
///
/// #[neurath::process(accepts(Tally))]
/// async fn counter(mut sum: i64) {
///     loop {
///         match recv::<Tally>().await {
///             Tally::Increment(n) => sum += n,
///             Tally::Get(reply) => reply.send(sum),
///         }
///     }
/// }
/// # fn main() {}
/// ```
#[must_use = "somebody waits for the answer"]
pub struct ReplyTo<T> {
    pid: Pid,
    reference: Ref,
    answer: PhantomData<fn(T)>,
}

impl<T: Data> ReplyTo<T> {
    #[doc(hidden)]
    #[inline]
    pub fn new(pid: Pid, reference: Ref) -> Self {
        Self { pid, reference, answer: PhantomData }
    }

    /// Answers. Of several answers to one request the first counts.
    #[inline]
    pub fn send(self, answer: T) {
        if self.reference.is_some() {
            post(&self.pid, Class::Reply, self.reference, &answer);
        }
    }

    /// Who asked.
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

impl<T> fmt::Debug for ReplyTo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyTo({}, {})", self.pid, self.reference.0)
    }
}

impl<T> PartialEq for ReplyTo<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.pid, self.reference) == (other.pid, other.reference)
    }
}

impl<T> Eq for ReplyTo<T> {}

impl<T: Data> Data for ReplyTo<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.pid.encode(out);
        self.reference.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::new(Data::decode(reader)?, Data::decode(reader)?))
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        Type::Opaque(Opaque::ReplyTo(Box::new(T::schema(builder))))
    }
}
