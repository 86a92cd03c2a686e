//! Requests that wait for an answer: [`call`] a server, [`ask`] any process.
//!
//! Invariant: a request ends: with the answer, with the callee's end, with a mismatch of types, with
//! its deadline, or by being dropped, whichever comes first; after that the host keeps nothing of it.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use neurath_proto::envelope::Class;
use neurath_proto::reason::CallError;
use neurath_proto::{Data, Pid, Ref};

use crate::message::{ReplyTo, Sent, post};
use crate::receive::{Receive, poll_answer};
use crate::sys;

/// How long a request waits unless [`Request::within`] says otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// Sends a server a request and waits for its answer, by default for five seconds.
///
/// The request leaves with the process's next step, whether or not the answer is awaited by then, so
/// several can be under way at once. The type of the answer is checked when it comes.
///
/// # Errors
/// See [`CallError`]: the callee ended or never was, the types do not fit, the deadline passed.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// enum Ask {
///     Balance,
/// }
///
/// #[derive(Message)]
/// enum Answer {
///     Cents(i64),
/// }
///
/// async fn balance(account: Pid) -> Result<i64, CallError> {
///     let Answer::Cents(cents) = call(account, Ask::Balance).within(1.secs()).await?;
///     Ok(cents)
/// }
/// # fn main() {}
/// ```
#[inline]
pub fn call<R: Data>(server: Pid, request: impl Data) -> Request<R> {
    let reference = sys::reference();
    Request::new(reference, post(&server, Class::Call, reference, &request))
}

/// Sends a process a message with a [`ReplyTo`] in it and waits for the answer, by default for five
/// seconds.
///
/// # Errors
/// As for [`call`].
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// enum Tally {
///     Get(ReplyTo<i64>),
/// }
///
/// async fn sum(counter: Pid) -> Result<i64, CallError> {
///     ask(counter, Tally::Get).await
/// }
/// # fn main() {}
/// ```
#[inline]
pub fn ask<M: Data, R: Data>(to: Pid, message: impl FnOnce(ReplyTo<R>) -> M) -> Request<R> {
    let reference = sys::reference();
    let message = message(ReplyTo::new(sys::self_pid(), reference));
    Request::new(reference, post(&to, Class::Message, reference, &message))
}

/// A request under way: await it for the answer, which comes once; polled after that, it waits forever.
#[must_use = "the request is under way, but its answer is thrown away unless you `.await` it"]
pub struct Request<R> {
    receive: Receive,
    sent: Sent,
    is_over: bool,
    answer: PhantomData<fn() -> R>,
}

impl<R: Data> Request<R> {
    #[inline]
    fn new(reference: Ref, sent: Sent) -> Self {
        let timeout_ns = DEFAULT_DEADLINE.as_nanos() as u64;
        Self { receive: Receive::answer(reference, timeout_ns), sent, is_over: false, answer: PhantomData }
    }

    /// Waits so long instead, counted from when it is first awaited.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.receive.set_timeout(deadline);
        self
    }

    /// Waits as long as the callee lives.
    pub fn without_deadline(self) -> Self {
        self.within(Duration::MAX)
    }
}

impl<R> Drop for Request<R> {
    #[inline]
    fn drop(&mut self) {
        // Once it has been polled, its receive sees to this.
        if !self.is_over && self.sent.is_queued() {
            self.receive.give_up();
        }
    }
}

impl<R: Data> Future for Request<R> {
    type Output = Result<R, CallError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_over {
            return Poll::Pending;
        }
        let outcome = if self.sent.is_queued() {
            poll_answer(&mut self.receive, context)
        } else {
            Poll::Ready(Err(CallError::NotSent(self.sent.why_not().into())))
        };
        self.is_over = outcome.is_ready();
        outcome
    }
}
