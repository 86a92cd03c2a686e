//! Typed channels: ways into a process beside its mailbox.
//!
//! [`channel`] makes a pair: a [`SendPort`], which can be copied, kept and sent to anyone, and a [`ReceivePort`], which
//! stays with the process that made it. What is sent to a channel is seen by its port only, in the order sent; no
//! [`recv`](crate::recv) takes it. For all else it is a message like others: it leaves at the safe point and weighs
//! against the limits of the receiver's mailbox.
//!
//! ```
//! use neurath::prelude::*;
//!
//! #[derive(Message)]
//! struct Question { text: String, answers: SendPort<String> }
//!
//! #[neurath::process(accepts(Question))]
//! async fn oracle() {
//!     let Question { text, answers } = recv().await;
//!     for word in text.split(' ') {
//!         answers.send(format!("{word}?"));
//!     }
//! }
//!
//! # fn main() {
//! neurath::testing::run(async {
//!     let (answers, mut heard) = channel::<String>();
//!     send(oracle::spawn(), Question { text: "to be".into(), answers });
//!     assert_eq!(heard.recv().await, "to?");
//!     assert_eq!(heard.recv().await, "be?");
//! });
//! # }
//! ```
//!
//! A channel is closed when its receive port is dropped. What waits in it then, and what is sent to it later, is
//! refused like a message that nobody accepts: counted, listed, and told to a sender that accepts
//! [`NotDelivered`](crate::NotDelivered). An upgrade closes the channels of the old code, since the state that it hands over
//! has no receive ports.
//!
//! Invariant: a receive port that nobody awaits has no receive at the host, so it keeps no server from being upgraded.

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use neurath_proto::abi::take_flags;
use neurath_proto::envelope::Class;
use neurath_proto::schema::Opaque;
use neurath_proto::{Data, DecodeError, Pid, Reader, Ref, SchemaBuilder, Type};

use crate::executor;
use crate::message::{Sent, post};
use crate::receive::{Receive, Taken, decode};
use crate::sys::{self, TypeTag};

/// Makes a channel for values of type `T`. A process has at most as many open as it may have receives: 65,536, if the
/// node is not told otherwise.
pub fn channel<T: Data>() -> (SendPort<T>, ReceivePort<T>) {
    let reference = sys::reference();
    Receive::channel(reference, take_flags::OPEN).take_at_once(&[TypeTag::of::<T>()]);
    (SendPort { pid: sys::self_pid(), reference, values: PhantomData }, ReceivePort(Source::One(One::new(reference))))
}

/// The sending end of a channel, on any process.
pub struct SendPort<T> {
    pid: Pid,
    reference: Ref,
    values: PhantomData<fn(T)>,
}

impl<T: Data> SendPort<T> {
    /// Sends a value to the process at the other end; see [`send`](crate::send).
    pub fn send(&self, value: T) -> Sent {
        post(&self.pid, Class::Port, self.reference, &value)
    }

    /// The process at the other end.
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

impl<T> Clone for SendPort<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SendPort<T> {}

impl<T> fmt::Debug for SendPort<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendPort({}, {})", self.pid, self.reference.0)
    }
}

impl<T> PartialEq for SendPort<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.pid, self.reference) == (other.pid, other.reference)
    }
}

impl<T> Eq for SendPort<T> {}

impl<T> Hash for SendPort<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.pid, self.reference).hash(state);
    }
}

impl<T: Data> Data for SendPort<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.pid.encode(out);
        self.reference.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { pid: Data::decode(reader)?, reference: Data::decode(reader)?, values: PhantomData })
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        Type::Opaque(Opaque::SendPort(Box::new(T::schema(builder))))
    }
}

/// The receiving end of a channel, or of several that were merged. Dropped, it closes them.
pub struct ReceivePort<T>(Source<T>);

enum Source<T> {
    One(One<T>),
    Biased(Vec<ReceivePort<T>>),
    /// And whose turn it is.
    RoundRobin(Vec<ReceivePort<T>>, usize),
}

/// A channel of its own.
struct One<T> {
    reference: Ref,
    receive: Receive,
    values: PhantomData<fn() -> T>,
}

impl<T> One<T> {
    fn new(reference: Ref) -> Self {
        Self { reference, receive: Receive::channel(reference, 0), values: PhantomData }
    }
}

impl<T> Drop for One<T> {
    fn drop(&mut self) {
        sys::close_channel(executor::with(executor::Executor::next_id), self.reference);
    }
}

impl<T: Data> ReceivePort<T> {
    /// Waits for the next value. Dropped before it comes, it has taken nothing.
    ///
    /// In [`receive!`](crate::receive) it is a future among others:
    ///
    /// ```
    /// use neurath::prelude::*;
    ///
    /// #[derive(Message)]
    /// struct Stop;
    ///
    /// #[neurath::process(accepts(Stop))]
    /// async fn adder(parent: Pid) {
    ///     let (port, mut numbers) = channel::<u64>();
    ///     send(parent, port);
    ///     let mut sum = 0;
    ///     loop {
    ///         let mut next = numbers.recv();
    ///         receive! {
    ///             number = next => sum += number,
    ///             Stop => break,
    ///         }
    ///     }
    ///     info!("{sum}");
    /// }
    /// # fn main() {}
    /// ```
    pub fn recv(&mut self) -> RecvPort<'_, T> {
        RecvPort { port: self }
    }

    /// One port out of several: of those that have a value, the first in the list gives it.
    ///
    /// ```
    /// use neurath::prelude::*;
    ///
    /// # fn main() {
    /// neurath::testing::run(async {
    ///     let ((urgent, first), (usual, second)) = (channel(), channel());
    ///     let mut both = ReceivePort::merge_biased([first, second]);
    ///     usual.send(1);
    ///     usual.send(2);
    ///     urgent.send(9);
    ///     assert_eq!((both.recv().await, both.recv().await, both.recv().await), (9, 1, 2));
    /// });
    /// # }
    /// ```
    pub fn merge_biased(ports: impl IntoIterator<Item = Self>) -> Self {
        Self(Source::Biased(ports.into_iter().collect()))
    }

    /// One port out of several: those that have values take turns.
    ///
    /// ```
    /// use neurath::prelude::*;
    ///
    /// # fn main() {
    /// neurath::testing::run(async {
    ///     let ((a, first), (b, second)) = (channel(), channel());
    ///     let mut both = ReceivePort::merge_round_robin([first, second]);
    ///     a.send(1);
    ///     a.send(2);
    ///     b.send(9);
    ///     assert_eq!((both.recv().await, both.recv().await, both.recv().await), (1, 9, 2));
    /// });
    /// # }
    /// ```
    pub fn merge_round_robin(ports: impl IntoIterator<Item = Self>) -> Self {
        Self(Source::RoundRobin(ports.into_iter().collect(), 0))
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Source::One(one) => match one.receive.poll(context, const { &[TypeTag::of::<T>()] }) {
                Poll::Ready(Taken::Message(arrived)) => Poll::Ready(decode(&arrived)),
                // Without a deadline nothing else can come.
                Poll::Ready(_) | Poll::Pending => Poll::Pending,
            },
            Source::Biased(ports) => {
                if ports.iter().any(Self::is_woken) {
                    // It was woken for the value that came first, and one that goes before it may have come since.
                    ports.iter_mut().for_each(Self::stop);
                }
                first_ready(ports.iter_mut().map(|port| port.poll(context)))
            }
            Source::RoundRobin(ports, next) => {
                let (before, behind) = ports.split_at_mut(*next);
                let count = before.len() + behind.len();
                let mut at = *next;
                let polls = behind.iter_mut().chain(before).map(|port| {
                    at = (at + 1) % count;
                    port.poll(context)
                });
                let value = first_ready(polls);
                if value.is_ready() {
                    *next = at;
                }
                value
            }
        }
    }

    fn is_woken(&self) -> bool {
        match &self.0 {
            Source::One(one) => one.receive.is_woken(),
            Source::Biased(ports) | Source::RoundRobin(ports, _) => ports.iter().any(Self::is_woken),
        }
    }

    /// Waits no longer.
    fn stop(&mut self) {
        match &mut self.0 {
            Source::One(one) => one.receive = Receive::channel(one.reference, 0),
            Source::Biased(ports) | Source::RoundRobin(ports, _) => ports.iter_mut().for_each(Self::stop),
        }
    }
}

fn first_ready<T>(mut polls: impl Iterator<Item = Poll<T>>) -> Poll<T> {
    polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
}

impl<T> fmt::Debug for ReceivePort<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::One(one) => write!(f, "ReceivePort({})", one.reference.0),
            Source::Biased(ports) => f.debug_tuple("Biased").field(ports).finish(),
            Source::RoundRobin(ports, _) => f.debug_tuple("RoundRobin").field(ports).finish(),
        }
    }
}

/// The future of [`ReceivePort::recv`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct RecvPort<'a, T: Data> {
    port: &'a mut ReceivePort<T>,
}

impl<T: Data> Future for RecvPort<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.port.poll(context)
    }
}

impl<T: Data> Drop for RecvPort<'_, T> {
    fn drop(&mut self) {
        self.port.stop();
    }
}
