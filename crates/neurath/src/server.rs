//! Servers: state, and a handler for each kind of request. See [`Server`].
//!
//! Invariant: between two messages the state is in one known place and nothing else of the process
//! matters; that is when it can be asked for and the code be changed.

use std::time::Duration;

use neurath_proto::abi::take_flags;
use neurath_proto::{Data, DecodeError, Pid, Reader, Ref, SchemaBuilder, Type};

use crate::Message;
use crate::entry::Entry;
use crate::executor::{self, StateSource};
use crate::message::ReplyTo;
use crate::receive::{self, Arrived, Receive, Taken};
use crate::sys::TypeTag;

/// A process that answers requests, one at a time, and can be upgraded between any two.
///
/// Write `#[neurath::server]` above the `impl`. The state is the type itself. `init` makes it from the
/// arguments of `spawn`; it may be `async` and may return a `Result`, whose error ends the process as
/// its reason. `Call` and `Reply`, and `Cast`, may be left out with their methods. Every further `async fn`
/// takes one more type of plain message, [`Down`](crate::Down) for example.
///
/// # Answering later
///
/// A `call` with a second parameter, [`ReplyTo`], returns nothing: it answers through that, now, in a later message, after
/// an upgrade, or gives it to another process. A caller whose `ReplyTo` is thrown away waits until its deadline.
///
/// # Time
///
/// With `fn idle(&self) -> Duration` and `async fn timeout(&mut self)`, the second is called when no message has come
/// for as long as the first says; that is asked after each message. For messages at set times see [`Timers`](crate::Timers).
///
/// # Order
///
/// `#[neurath::server(priority(Type, …))]` names messages that go before all others that wait; among themselves they keep
/// the order in which they came. It costs one look more for each message.
///
/// # What nobody takes
///
/// A message of a type that no method takes never enters the mailbox: its sender is told, and it is counted and listed.
/// Only notices, [`Down`](crate::Down) and [`Exit`](crate::Exit), come without being asked. Those without a
/// method of their own are logged and dropped, or, with `unhandled = drop`, only dropped; with `unhandled = exit` the
/// server ends with the reason [`Unhandled`]. A method `async fn unhandled(&mut self, notice: Unhandled)` decides itself.
///
/// # Starting
///
/// The macro adds `spawn`, `spawn_link` and `spawn_monitor` with `init`'s parameters to the type. The entry is
/// named after the type, in snake case; `#[neurath::server(name = "…")]` names it otherwise.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// enum Ask { Balance }
/// #[derive(Message)]
/// enum Tell { Deposit { cents: i64 } }
/// #[derive(Message)]
/// enum Answer { Cents(i64) }
///
/// #[derive(State)]
/// struct Account { owner: String, cents: i64 }
///
/// #[neurath::server]
/// impl Server for Account {
///     type Call = Ask;
///     type Reply = Answer;
///     type Cast = Tell;
///
///     fn init(owner: String) -> Self {
///         Account { owner, cents: 0 }
///     }
///
///     async fn call(&mut self, ask: Ask) -> Answer {
///         match ask {
///             Ask::Balance => Answer::Cents(self.cents),
///         }
///     }
///
///     async fn cast(&mut self, tell: Tell) {
///         match tell {
///             Tell::Deposit { cents } => self.cents += cents,
///         }
///     }
///
///     async fn down(&mut self, down: Down) {
///         info!("{}: {} ended", self.owner, down.pid);
///     }
/// }
///
/// async fn example() -> Result<(), CallError> {
///     let account = Account::spawn("Otto".into());
///     cast(account, Tell::Deposit { cents: 500 });
///     let Answer::Cents(cents) = call(account, Ask::Balance).await?;
///     assert_eq!(cents, 500);
///     Ok(())
/// }
/// # fn main() {}
/// ```
pub trait Server: Data {
    /// Requests that want an answer.
    type Call: Data;
    /// The answers.
    type Reply: Data;
    /// Requests that want none.
    type Cast: Data;

    /// Takes a request, and answers it now or later.
    fn call(&mut self, call: Self::Call, reply: ReplyTo<Self::Reply>) -> impl Future<Output = ()>;

    /// Takes a request that wants no answer.
    fn cast(&mut self, cast: Self::Cast) -> impl Future<Output = ()>;
}

/// A type without values: what a server that has no `Call` or no `Cast` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

impl Data for Never {
    fn encode(&self, _: &mut Vec<u8>) {
        match *self {}
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Err(reader.bad_variant("Never", 0))
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.enumeration::<Self>("Never", |_| {})
    }
}

/// The part of a server that the macro writes.
#[doc(hidden)]
pub trait Dispatch: Server + Entry<State = Self> {
    /// The types of its messages.
    const TAGS: &'static [TypeTag];
    /// Those that go first.
    const FIRST_TAGS: &'static [TypeTag];
    /// Their places among all.
    const FIRST: &'static [u32];
    /// Handles the message in the inbox.
    fn dispatch(&mut self, arrived: Arrived) -> impl Future<Output = ()>;

    /// How long it waits for a message before its time is over.
    fn idle_time(&self) -> Option<Duration> {
        None
    }

    /// No message came in that time.
    fn idle_over(&mut self) -> impl Future<Output = ()> {
        async {}
    }
}

/// What `init` may return.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`init` makes `{Self}`, not the server",
    label = "return `Self`, or a `Result<Self, E>` whose `E` can be sent"
)]
pub trait InitOutcome<S> {
    /// The server; without one the process ends.
    fn server(self) -> S;
}

impl<S: Server> InitOutcome<S> for S {
    fn server(self) -> S {
        self
    }
}

impl<S, E: Data> InitOutcome<S> for Result<S, E> {
    fn server(self) -> S {
        match self {
            Ok(server) => server,
            Err(reason) => crate::exit(reason),
        }
    }
}

/// Where the answer to the request in the inbox goes.
#[doc(hidden)]
#[inline]
pub fn reply_to<R: Data>() -> ReplyTo<R> {
    let head = receive::head();
    ReplyTo::new(head.from, Ref(head.reference))
}

/// The life of a server.
#[doc(hidden)]
pub async fn serve<S: Dispatch>(mut server: S) {
    loop {
        if !S::FIRST_TAGS.is_empty() {
            let receive = Receive::with_flags(take_flags::BETWEEN_MESSAGES).within(Duration::ZERO);
            let taken = between_messages(&server, encode_state::<S>, receive, S::FIRST_TAGS).await;
            if let Taken::Message(mut arrived) = taken {
                arrived.index = S::FIRST[arrived.index as usize];
                server.dispatch(arrived).await;
                continue;
            }
        }
        let mut receive = Receive::with_flags(take_flags::BETWEEN_MESSAGES);
        if let Some(time) = server.idle_time() {
            receive.set_timeout(time);
        }
        match between_messages(&server, encode_state::<S>, receive, S::TAGS).await {
            Taken::Message(arrived) => server.dispatch(arrived).await,
            Taken::TimedOut => server.idle_over().await,
            Taken::Failed(_) => {}
        }
    }
}

/// A notice that came to a server without a handler for it: what its method `unhandled` gets, and the reason with which
/// it ends under `#[neurath::server(unhandled = exit)]`.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct Unhandled {
    /// Whom the notice is about.
    pub from: Pid,
    /// Its type.
    pub type_name: String,
}

/// The notice in the inbox.
#[doc(hidden)]
pub fn unhandled(type_name: &str) -> Unhandled {
    Unhandled { from: receive::head().from, type_name: type_name.into() }
}

#[doc(hidden)]
pub fn log_unhandled(Unhandled { from, type_name }: Unhandled) {
    crate::warn!("a `{type_name}` about {from} is dropped: no method of this server takes it");
}

/// Waits for the next message; while it waits, the state can be asked for. `encode` writes it.
pub(crate) async fn between_messages<S>(
    state: &S,
    encode: unsafe fn(*const (), &mut Vec<u8>),
    mut receive: Receive,
    tags: &[TypeTag],
) -> Taken {
    let source = StateSource { state: (&raw const *state).cast(), encode };
    executor::with(|executor| executor.set_state(Some(source)));
    let taken = std::future::poll_fn(|context| receive.poll(context, tags)).await;
    executor::with(|executor| executor.set_state(None));
    taken
}

/// # Safety
/// `state` points to an `S` that nobody is changing.
unsafe fn encode_state<S: Data>(state: *const (), out: &mut Vec<u8>) {
    // SAFETY: the caller's promise.
    unsafe { &*state.cast::<S>() }.encode(out);
}
