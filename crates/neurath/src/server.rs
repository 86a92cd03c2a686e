//! Servers: state, and a handler for each kind of request. See [`Server`].
//!
//! Invariant: between two messages the state is in one known place and nothing else of the process
//! matters; that is when it can be asked for and the code be changed.

use neurath_proto::abi::take_flags;
use neurath_proto::{Data, DecodeError, Reader, Ref, SchemaBuilder, Type};

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

    /// Answers a request.
    fn call(&mut self, call: Self::Call) -> impl Future<Output = Self::Reply>;

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
    /// Handles the message in the inbox.
    fn dispatch(&mut self, arrived: Arrived) -> impl Future<Output = ()>;
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
        let receive = Receive::with_flags(take_flags::BETWEEN_MESSAGES);
        if let Taken::Message(arrived) = between_messages(&server, encode_state::<S>, receive, S::TAGS).await {
            server.dispatch(arrived).await;
        }
    }
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
