//! Receiving: [`recv`], [`sleep`], [`flush`], and the one future under all of them.
//!
//! Invariant: a message is taken inside the poll that returns it, so a receive that is dropped (the
//! branch of a `select!` that lost, say) takes nothing with it.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use neurath_proto::abi::{MessageHead, TakeSpec, TakeStatus, take_flags};
use neurath_proto::reason::CallError;
use neurath_proto::{Data, Reader, Ref};

use crate::executor::{self, Executor};
use crate::sys::{self, TypeTag, Wanted};

/// One wait for messages: what the futures and macros of this crate are made of.
#[doc(hidden)]
pub struct Receive {
    /// 0 while it waits for nothing.
    id: u64,
    after_seq: u64,
    reference: Ref,
    timeout_ns: u64,
    flags: u32,
}

/// How a look for a message came out.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    /// A message: it is in the inbox.
    Message(Arrived),
    /// The deadline passed.
    TimedOut,
    /// The call has failed: why is in the inbox.
    Failed(u32),
}

/// What is needed of a message at once; the rest of its head stays in the inbox.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrived {
    seq: u64,
    payload_len: u32,
    /// Which of the types it is.
    pub index: u32,
}

impl Arrived {
    #[inline]
    fn of(head: &MessageHead) -> Self {
        Self { seq: head.seq, payload_len: head.payload_len, index: head.index }
    }
}

/// How a receive learns whether its message is there.
enum Look {
    /// It came with the poll.
    Read,
    /// By asking the host.
    Ask,
    /// Not now.
    Wait,
}

impl Receive {
    /// Waits for any message, forever.
    #[inline]
    pub const fn new() -> Self {
        Self::with_flags(0)
    }

    /// Waits for the answer under `reference`.
    #[inline]
    pub(crate) const fn answer(reference: Ref, timeout_ns: u64) -> Self {
        Self { id: 0, after_seq: 0, reference, timeout_ns, flags: 0 }
    }

    /// Takes what is sent to a channel of this process.
    pub(crate) const fn channel(reference: Ref, flags: u32) -> Self {
        let (timeout_ns, flags) = (TakeSpec::FOREVER, flags | take_flags::CHANNEL);
        Self { id: 0, after_seq: 0, reference, timeout_ns, flags }
    }

    /// One that the host answers at once, whatever it says.
    pub(crate) fn take_at_once(mut self, tags: &[TypeTag]) {
        self.id = executor::with(Executor::next_id);
        let _ = self.take(tags);
    }

    /// Whether the host has woken it, and it has not been polled since.
    pub(crate) fn is_woken(&self) -> bool {
        self.id != 0 && executor::with(|executor| executor.is_woken(self.id))
    }

    pub(crate) const fn with_flags(flags: u32) -> Self {
        Self { id: 0, after_seq: 0, reference: Ref::NONE, timeout_ns: TakeSpec::FOREVER, flags }
    }

    /// Only looks at messages; each is then accepted or refused.
    #[must_use]
    pub const fn looking(mut self) -> Self {
        self.flags |= take_flags::LOOK;
        self
    }

    /// Waits so long in all.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout_ns = nanos(timeout);
        self
    }

    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout_ns = nanos(timeout);
    }

    /// Takes the message that was looked at; whether it is still there.
    pub fn accept(&mut self, arrived: &Arrived) -> bool {
        let there = sys::accept(self.id, arrived.seq);
        if there {
            self.done();
        }
        there
    }

    /// Passes over the message that was looked at.
    pub fn refuse(&mut self, arrived: &Arrived) {
        self.after_seq = arrived.seq;
    }

    /// An answer that nobody has begun to wait for is not wanted: the host forgets the call.
    pub(crate) fn give_up(&mut self) {
        if self.id == 0 {
            sys::give_up(executor::with(executor::Executor::next_id), self.reference);
        }
    }

    fn done(&mut self) {
        executor::with(|executor| executor.forget(self.id));
        self.id = 0;
    }

    /// The next message that fits, once this receive is woken.
    #[inline]
    pub fn poll(&mut self, context: &Context<'_>, tags: &[TypeTag]) -> Poll<Taken> {
        let look = executor::with(|executor| {
            if self.id != 0 {
                return match executor.was_woken(self.id) {
                    true if executor.read_handed(self.id) => Look::Read,
                    true => Look::Ask,
                    false => Look::Wait,
                };
            }
            if self.is_plain()
                && let Some(id) = executor.stand_again(tags, self.flags)
            {
                self.id = id;
                return Look::Wait;
            }
            self.id = executor.next_id();
            Look::Ask
        });
        match look {
            Look::Read => {
                let arrived = executor::with_inbox(|inbox| Arrived::of(&inbox.head()));
                self.done();
                return Poll::Ready(Taken::Message(arrived));
            }
            Look::Ask => {
                let taken = self.take(tags);
                if taken.is_ready() {
                    return taken;
                }
            }
            Look::Wait => {}
        }
        executor::with(|executor| executor.wait(self.id, context.waker()));
        Poll::Pending
    }

    /// Looks on after a refusal, without being woken.
    pub fn poll_on(&mut self, context: &Context<'_>, tags: &[TypeTag]) -> Poll<Taken> {
        let taken = self.take(tags);
        if taken.is_pending() {
            executor::with(|executor| executor.wait(self.id, context.waker()));
        }
        taken
    }

    /// Whether its message may come with the poll.
    #[inline]
    fn is_plain(&self) -> bool {
        self.flags & (take_flags::LOOK | take_flags::YIELD) == 0
            && !self.reference.is_some()
            && self.timeout_ns == TakeSpec::FOREVER
    }

    fn take(&mut self, tags: &[TypeTag]) -> Poll<Taken> {
        let hibernates = executor::with(|executor| {
            executor.put_back();
            executor.take_hibernates()
        });
        let hint = if hibernates { take_flags::HIBERNATE } else { 0 };
        let plain = self.is_plain();
        loop {
            let (status, stands, arrived) = executor::with_inbox(|inbox| {
                let stands = plain && inbox.is_small();
                let wanted = Wanted {
                    after_seq: self.after_seq,
                    reference: self.reference,
                    timeout_ns: self.timeout_ns,
                    flags: self.flags | hint | if stands { take_flags::HAND_OVER } else { 0 },
                    tags,
                };
                let status = sys::take(self.id, &wanted, inbox.room());
                // `Pending` and `TimedOut` write no head; then it is not looked at.
                (status, stands, Arrived::of(&inbox.head()))
            });
            let taken = match status {
                TakeStatus::Ready => {
                    if self.flags & take_flags::LOOK != 0 {
                        return Poll::Ready(Taken::Message(arrived));
                    }
                    Taken::Message(arrived)
                }
                TakeStatus::Pending => {
                    if stands {
                        executor::with(|executor| executor.stand(self.id, tags, self.flags));
                    }
                    return Poll::Pending;
                }
                TakeStatus::TimedOut => Taken::TimedOut,
                TakeStatus::Failed => Taken::Failed(arrived.payload_len),
                TakeStatus::BufferTooSmall => {
                    executor::with_inbox(|inbox| inbox.reserve_message(arrived.payload_len));
                    continue;
                }
                TakeStatus::NeedSchema => {
                    if let Some(tag) = tags.get(arrived.index as usize) {
                        tag.declare();
                    }
                    continue;
                }
            };
            self.done();
            return Poll::Ready(taken);
        }
    }
}

impl Default for Receive {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Receive {
    #[inline]
    fn drop(&mut self) {
        if self.id != 0 {
            executor::with(|executor| executor.cancel(self.id));
            self.done();
        }
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(TakeSpec::FOREVER - 1).min(TakeSpec::FOREVER - 1)
}

/// The message that was just taken, or looked at.
#[doc(hidden)]
#[inline]
pub fn decode<T: Data>(arrived: &Arrived) -> T {
    decode_payload(arrived.payload_len)
}

/// The head of that message: who sent it, and the ref for the answer.
#[inline]
pub(crate) fn head() -> MessageHead {
    executor::with_inbox(|inbox| inbox.head())
}

/// The host resolves a payload to the reader's schema before it hands it over, so bytes that are no
/// `T` are a broken host, or a `Data` that does not read what it writes.
#[inline]
pub(crate) fn decode_payload<T: Data>(len: u32) -> T {
    let value = executor::with_inbox(|inbox| T::decode(&mut Reader::new(inbox.payload(len))));
    match value {
        Ok(value) => value,
        Err(error) => not_a::<T>(&error),
    }
}

#[cold]
#[inline(never)]
fn not_a<T>(error: &dyn std::fmt::Display) -> ! {
    panic!("the host gave bytes that are no `{}`: {error}", std::any::type_name::<T>())
}

/// Waits for the next message of type `T` and takes it; others stay in the mailbox, in order.
///
/// For several types, conditions or a deadline see [`receive!`](crate::receive).
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// struct Add(i64);
///
/// #[neurath::process(accepts(Add))]
/// async fn adder() {
///     let mut sum = 0;
///     while sum < 100 {
///         let Add(n) = recv().await;
///         sum += n;
///     }
/// }
/// # fn main() {}
/// ```
#[must_use = "futures do nothing unless you `.await` or poll them"]
#[inline]
pub fn recv<T: Data>() -> Recv<T> {
    Recv { receive: Receive::new(), message: PhantomData }
}

/// The future of [`recv`].
pub struct Recv<T> {
    receive: Receive,
    message: PhantomData<fn() -> T>,
}

impl<T: Data> Future for Recv<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.receive.poll(context, const { &[TypeTag::of::<T>()] }) {
            Poll::Ready(Taken::Message(arrived)) => Poll::Ready(decode(&arrived)),
            // Without a deadline and a ref neither of the others can come.
            Poll::Ready(_) | Poll::Pending => Poll::Pending,
        }
    }
}

/// The answer to a call, or why there is none.
#[inline]
pub(crate) fn poll_answer<T: Data>(receive: &mut Receive, context: &Context<'_>) -> Poll<Result<T, CallError>> {
    receive.poll(context, const { &[TypeTag::of::<T>()] }).map(|taken| match taken {
        Taken::Message(arrived) => Ok(decode(&arrived)),
        Taken::TimedOut => Err(CallError::TimedOut),
        Taken::Failed(len) => Err(decode_payload(len)),
    })
}

/// Waits for a while.
///
/// ```
/// use neurath::prelude::*;
///
/// #[neurath::process]
/// async fn ticker(times: u32) {
///     for n in 0..times {
///         sleep(100.millis()).await;
///         info!("tick {n}");
///     }
/// }
/// # fn main() {}
/// ```
pub async fn sleep(duration: Duration) {
    wait_without_messages(Receive::new().within(duration)).await;
}

/// Commits what the process has asked for so far, and goes on.
///
/// Everything that a process asks for (sends, spawns, links, …) collects in its outbox and takes
/// effect when it waits. A computation that goes on for long, or sends more than the outbox holds,
/// awaits this in between. Other processes of the same shard get their turn as well.
pub async fn flush() {
    wait_without_messages(Receive::with_flags(take_flags::YIELD)).await;
}

/// Says that this process expects nothing soon: when it waits for its next message, its node may keep it as an image at
/// once instead of some seconds later. A message that is there already makes this void.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// struct Report;
///
/// #[neurath::process(accepts(Report))]
/// async fn once_a_day() {
///     loop {
///         hibernate();
///         let Report = recv().await;
///         info!("here it is");
///     }
/// }
/// # fn main() {}
/// ```
pub fn hibernate() {
    executor::with(|executor| executor.set_hibernates(true));
}

/// Lets others run: the same as [`flush`].
pub async fn yield_now() {
    flush().await;
}

async fn wait_without_messages(mut receive: Receive) {
    std::future::poll_fn(|context| receive.poll(context, &[]).map(|_| ())).await;
}
