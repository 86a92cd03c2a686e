//! Entries: what the attribute macros make of functions and servers, and how processes are started.
//!
//! Invariant: the name, the arguments and the state of an entry are said once, in its [`Entry`], and the
//! exports, the manifest and the typed `spawn` functions all come from there.

use std::marker::PhantomData;

use neurath_proto::abi::{SendStatus, StartMode, TakeSpec, spawn_flags};
use neurath_proto::manifest::{self, EntryKind};
use neurath_proto::schema::Schema;
use neurath_proto::{Data, DecodeError, Pid, Reader, Ref, SchemaBuilder, Type};

use crate::executor::{self, Root};
use crate::receive::{Receive, Taken, poll_answer};
use crate::request::{Request, call};
use crate::server::reply_to;
use crate::sys::{self, Startable, TypeTag};

/// Something that can be started: implemented by `#[process]`, `#[server]` and `#[function]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be started",
    label = "not an entry",
    note = "write `#[neurath::process]`, `#[neurath::server]` or `#[neurath::function]` above it"
)]
pub trait Entry: 'static {
    /// Its name within the module.
    const NAME: &'static str;
    /// Its arguments, as a tuple.
    type Arguments: Data;
    /// What survives an upgrade.
    type State: Data;
    /// How converters and supervisors see it: [`ProcessShape`], [`ServerShape`] or [`SupervisorShape`].
    #[doc(hidden)]
    type Shape: Shape;
    /// The future of a process of it; nothing has run yet.
    #[doc(hidden)]
    fn boot(bytes: &[u8], mode: StartMode) -> Result<Root, DecodeError>;
    /// Its part of the manifest.
    #[doc(hidden)]
    fn describe() -> manifest::Entry;
}

/// What [`describe`] is told in one go.
#[doc(hidden)]
pub struct About {
    pub name: &'static str,
    pub path: &'static str,
    pub kind: EntryKind,
    pub argument_names: &'static [&'static str],
}

#[doc(hidden)]
pub fn describe<E: Entry>(
    about: &About,
    accepts: Vec<Schema>,
    call: Option<Schema>,
    reply: Option<Schema>,
    cast: Option<Schema>,
) -> manifest::Entry {
    manifest::Entry {
        name: about.name.into(),
        path: about.path.into(),
        kind: about.kind,
        arguments: Schema::of::<E::Arguments>(),
        argument_names: about.argument_names.iter().map(|name| (*name).into()).collect(),
        state: Schema::of::<E::State>(),
        accepts,
        call,
        reply,
        cast,
    }
}

/// What an entry is to those who start it.
#[doc(hidden)]
pub trait Shape {
    /// Whether it says by itself that it has started.
    const SAYS_STARTED: bool;
    /// Whether it has children of its own.
    const SUPERVISES: bool;
}

/// A state that is a process's arguments.
#[doc(hidden)]
pub struct ProcessShape;

impl Shape for ProcessShape {
    const SAYS_STARTED: bool = false;
    const SUPERVISES: bool = false;
}

/// A state that is a server itself.
#[doc(hidden)]
pub struct ServerShape;

impl Shape for ServerShape {
    const SAYS_STARTED: bool = true;
    const SUPERVISES: bool = false;
}

/// A state that is a supervisor's.
#[doc(hidden)]
pub struct SupervisorShape;

impl Shape for SupervisorShape {
    const SAYS_STARTED: bool = true;
    const SUPERVISES: bool = true;
}

/// How the parameters `P` of a converter are read from the state of an older version.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a converter of a server takes one parameter: the old state",
    label = "takes something else"
)]
pub trait OldState<P> {
    /// What was encoded.
    type Old: Data;
    /// The parameters.
    fn parameters(old: Self::Old) -> P;
}

impl<P: Data> OldState<P> for ProcessShape {
    type Old = P;

    fn parameters(old: P) -> P {
        old
    }
}

impl<S: Data> OldState<(S,)> for ServerShape {
    type Old = S;

    fn parameters(old: S) -> (S,) {
        (old,)
    }
}

impl<S: Data> OldState<(S,)> for SupervisorShape {
    type Old = S;

    fn parameters(old: S) -> (S,) {
        (old,)
    }
}

/// What a converter may return for a state `S`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this converter makes `{Self}`, but the state of its entry is `{S}`",
    label = "does not make the entry's state"
)]
pub trait NewState<S> {
    /// The state.
    fn state(self) -> S;
}

impl<S: Data> NewState<S> for S {
    fn state(self) -> S {
        self
    }
}

impl<A: Data> NewState<(A,)> for A {
    fn state(self) -> (A,) {
        (self,)
    }
}

/// Decodes the state that a process goes on with, all of it.
#[doc(hidden)]
pub fn decode_all<T: Data>(bytes: &[u8]) -> Result<T, DecodeError> {
    neurath_proto::data::decode(bytes)
}

/// Whom a process tells that it has started: its supervisor, and under which ref.
pub type Starter = Option<(Pid, Ref)>;

/// Decodes what a process is started with: its arguments, and behind them the supervisor that waits, if one does.
#[doc(hidden)]
pub fn decode_start<T: Data>(bytes: &[u8]) -> Result<(T, Starter), DecodeError> {
    let mut reader = Reader::new(bytes);
    let arguments = T::decode(&mut reader)?;
    let starter = if reader.left().is_empty() { None } else { Some(Data::decode(&mut reader)?) };
    reader.finish()?;
    Ok((arguments, starter))
}

/// Notes who waits for this process to start.
#[doc(hidden)]
pub fn set_starter(starter: Starter) {
    executor::with(|executor| executor.set_starter(starter));
}

/// Starts a process of `E`; it is linked or watched before it runs.
#[doc(hidden)]
pub fn spawn<E: Entry>(arguments: &E::Arguments, flags: u32) -> (Pid, Ref) {
    let spawned = executor::with_scratch(|bytes| {
        arguments.encode(bytes);
        sys::spawn(&startable::<E>(), bytes, flags)
    });
    match spawned {
        Ok(spawned) => (spawned.pid, spawned.monitor),
        Err(()) => panic!("the host does not start `{}`", E::NAME),
    }
}

/// What starting a process of `E` needs.
pub(crate) fn startable<E: Entry>() -> Startable {
    Startable {
        name: E::NAME,
        #[cfg(not(target_family = "wasm"))]
        boot: E::boot,
    }
}

#[doc(hidden)]
pub const PLAIN: u32 = 0;
#[doc(hidden)]
pub const LINK: u32 = spawn_flags::LINK;
#[doc(hidden)]
pub const MONITOR: u32 = spawn_flags::MONITOR;

/// Offers the process's state to the newest code of the entry `E`; comes back only with a refusal.
#[doc(hidden)]
pub async fn become_latest<E: Entry>(state: E::Arguments) -> E::Arguments {
    let offered = executor::with_scratch(|bytes| {
        state.encode(bytes);
        let tag = TypeTag::of::<E::Arguments>();
        let offered = sys::become_latest(E::NAME, tag, bytes);
        if offered == Err(SendStatus::NeedSchema) {
            tag.declare();
            return sys::become_latest(E::NAME, tag, bytes);
        }
        offered
    });
    match offered {
        Ok(reference) => {
            // Whatever the answer says, it says that this code goes on.
            let mut receive = Receive::answer(reference, TakeSpec::FOREVER);
            let _ = std::future::poll_fn(|context| poll_answer::<()>(&mut receive, context)).await;
        }
        Err(status) => crate::warn!("the state of `{}` could not be offered: {status:?}", E::NAME),
    }
    state
}

/// What asks a function for its result.
#[doc(hidden)]
pub struct Run;

impl Data for Run {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.unit_structure::<Self>("Run")
    }
}

/// Starts a function and asks for its result.
///
/// Start and request leave in the same step, so the request is there when the function has its result.
#[doc(hidden)]
pub fn run<E: Entry, R: Data>(arguments: &E::Arguments) -> Request<R> {
    let (pid, _) = spawn::<E>(arguments, PLAIN);
    call(pid, Run).without_deadline()
}

/// The end of a function's process: whoever asked for the result gets it.
#[doc(hidden)]
pub async fn finish<R: Data>(result: R) {
    // What came while the function ran is seen after the next safe point.
    crate::receive::flush().await;
    let mut receive = Receive::new().within(std::time::Duration::ZERO);
    let asked = std::future::poll_fn(|context| receive.poll(context, &[TypeTag::of::<Run>()])).await;
    if let Taken::Message(_) = asked {
        reply_to().send(result);
    }
}

/// A converter as the exports see it: old bytes in, new bytes or a reason out.
#[doc(hidden)]
pub struct Conversion<Shape, P, S>(PhantomData<(Shape, P, S)>);

impl<Shape: OldState<P>, P, S: Data> Conversion<Shape, P, S> {
    /// Runs a converter.
    pub fn run(old: &[u8], convert: impl FnOnce(P) -> Result<S, String>) -> Result<Vec<u8>, String> {
        let old = decode_all::<Shape::Old>(old).map_err(|error| format!("the old state cannot be read: {error}"))?;
        convert(Shape::parameters(old)).map(|new| neurath_proto::data::encode(&new))
    }

    /// Its part of the manifest.
    pub fn describe(name: &str, entry: Option<&str>) -> manifest::Converter {
        manifest::Converter {
            name: name.into(),
            entry: entry.map(Into::into),
            from: Schema::of::<Shape::Old>(),
            to: Schema::of::<S>(),
        }
    }
}
