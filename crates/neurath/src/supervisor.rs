//! Supervisors: processes that start others, and start them again when they fail.
//!
//! A supervisor is a function that says which children there are, under `#[neurath::supervisor]`. It becomes an
//! entry like any other: it is spawned, called, listed and upgraded. It owns the order in which children are
//! started, stopped and restarted, and knows nothing of what they do.
//!
//! ```
//! use neurath::prelude::*;
//! use neurath::supervisor::{self, Child, Supervisor};
//!
//! #[neurath::process]
//! async fn worker(name: String) {
//!     sleep(60.secs()).await;
//!     # let _ = name;
//! }
//!
//! #[neurath::supervisor]
//! fn top(name: String) -> Supervisor {
//!     Supervisor::one_for_one()
//!         .intensity(3, 5.secs())
//!         .child(Child::of::<worker>("first", (name,)))
//!         .child(Child::of::<worker>("second", ("Anna".into(),)).transient())
//! }
//!
//! # fn main() {
//! neurath::testing::run(async {
//!     let top = top::spawn("Otto".into());
//!     let count = supervisor::count_children(top).await.unwrap();
//!     assert_eq!((count.specs, count.active), (2, 2));
//! });
//! # }
//! ```
//!
//! # Starting
//!
//! Children are started in the order in which they are listed, each linked to the supervisor, and the next only when
//! the one before has *started*: a server when its `init` is done, a supervisor when its children have started, a
//! process or function at once, unless its child [`acknowledges`](Child::acknowledges) and calls [`started`]. A child
//! that has not started [within](Child::start_within) a minute is killed. If a child does not start, the
//! supervisor stops those before it, and ends with [`StartFailed`].
//!
//! # Stopping
//!
//! Children are stopped in the reverse order. Each is asked to exit with [`Shutdown`], killed after its
//! [time-out](Child::stop), and has ended before the next is asked. (Children of a template are asked all at once.) A
//! supervisor does so when it is asked to exit, and when a process ends that it is linked to and that is none of its
//! children.
//!
//! # Restarting
//!
//! A child that ended is restarted as its [`Restart`] says, together with others as the strategy says. More than
//! [`intensity`](Supervisor::intensity) restarts within its period, and the supervisor stops all children and ends with
//! [`Exhausted`]. A restart that fails is the next failure. A [delay](Child::restart_after) is waited for without holding
//! up anything else.
//!
//! # Upgrades
//!
//! A supervisor is upgraded like a server; its children go on, each in its own version. Restarts run entries of the
//! supervisor's newest code. In the new code the function says anew which children there are, with the same arguments: a
//! child whose id was there takes over its new specification, a new one is started, and one that is missing is
//! kept until somebody terminates it. If the arguments of a child that was started later do not fit its entry any more, the
//! upgrade is refused.
//!
//! Invariant: between two messages everything about the children is in [`Supervision`], which survives an upgrade.

use std::fmt;
use std::time::Duration;

use neurath_proto::envelope::Class;
use neurath_proto::reason::ExitReason;
use neurath_proto::schema::Schema;
use neurath_proto::{Data, DecodeError, Pid, Ref, data};

use crate::entry::{Entry, Shape, startable};
use crate::message::post;
use crate::sys::Startable;
use crate::{Message, call, executor};

pub use self::messages::{
    Answer, CHILDREN_MAX, ChildCount, ChildError, ChildInfo, ChildName, Exhausted, LinkEnded, Refusal, Request,
    Shutdown, StartFailed,
};
#[doc(hidden)]
pub use self::messages::{Retry, Started};
pub use self::state::Supervision;

#[doc(hidden)]
pub use self::life::supervise;

mod life;
mod messages;
mod state;

/// The children that one supervisor may have.
pub const CHILD_COUNT_MAX: usize = 1 << 20;

/// When a child that ended is started again.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// Unless it ended as it should: normally, or with [`Shutdown`].
    Transient,
    /// Never; it is forgotten when it ends.
    Temporary,
}

/// How a child is stopped.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is killed.
    Kill,
    /// It is asked to exit, and killed after so many milliseconds.
    Within {
        /// How many.
        ms: u64,
    },
    /// It is asked to exit, and has as long as it takes: for supervisors.
    Infinity,
}

/// A child as data: what a supervisor keeps of it.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct ChildSpec {
    /// What the supervisor calls it.
    pub id: String,
    /// The entry of the supervisor's module that it runs.
    pub entry: String,
    /// Its encoded arguments.
    pub arguments: Vec<u8>,
    /// The encoded schema of the arguments.
    pub schema: Vec<u8>,
    /// When it is restarted.
    pub restart: Restart,
    /// How it is stopped.
    pub stop: Stop,
    /// Whether it says when it has started.
    pub acknowledges: bool,
    /// How long it may take to say so.
    pub start_within_ms: u64,
    /// How long its first restart waits …
    pub delay_ms: u64,
    /// … and how long the wait may become, when it doubles from failure to failure.
    pub delay_max_ms: u64,
}

/// An entry that a supervisor can start.
#[derive(Clone, Copy)]
struct Kind {
    start: Startable,
    arguments: fn() -> Schema,
    supervises: bool,
}

impl Kind {
    fn of<E: Entry>() -> Self {
        Self { start: startable::<E>(), arguments: Schema::of::<E::Arguments>, supervises: E::Shape::SUPERVISES }
    }
}

/// A child of a supervisor: an entry, its arguments, and how it is looked after.
///
/// It is permanent, and has five seconds to stop (a supervisor: as long as it takes), unless it is told otherwise.
#[must_use = "give it to a supervisor"]
pub struct Child {
    kind: Kind,
    /// Its schema is empty until it is sent.
    spec: ChildSpec,
}

impl Child {
    /// A child that runs the entry `E` with these arguments, a tuple.
    pub fn of<E: Entry>(id: impl Into<String>, arguments: E::Arguments) -> Self {
        let spec = ChildSpec {
            id: id.into(),
            entry: E::NAME.into(),
            arguments: data::encode(&arguments),
            schema: Vec::new(),
            restart: Restart::Permanent,
            stop: if E::Shape::SUPERVISES { Stop::Infinity } else { Stop::Within { ms: 5_000 } },
            acknowledges: E::Shape::SAYS_STARTED,
            start_within_ms: 60_000,
            delay_ms: 0,
            delay_max_ms: 0,
        };
        Self { kind: Kind::of::<E>(), spec }
    }

    /// See [`Restart::Transient`].
    pub fn transient(mut self) -> Self {
        self.spec.restart = Restart::Transient;
        self
    }

    /// See [`Restart::Temporary`].
    pub fn temporary(mut self) -> Self {
        self.spec.restart = Restart::Temporary;
        self
    }

    /// How it is stopped.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.spec.stop = stop;
        self
    }

    /// It is asked to exit, and killed after this time.
    pub fn stop_within(self, time: Duration) -> Self {
        self.stop(Stop::Within { ms: millis(time) })
    }

    /// A process that calls [`started`]: until then the next child waits.
    pub fn acknowledges(mut self) -> Self {
        self.spec.acknowledges = true;
        self
    }

    /// How long it may take to start, if it says when it has.
    pub fn start_within(mut self, time: Duration) -> Self {
        self.spec.start_within_ms = millis(time);
        self
    }

    /// Restarts wait for this time.
    pub fn restart_after(self, delay: Duration) -> Self {
        self.backoff(delay, delay)
    }

    /// The first restart waits for `first`, each further one twice as long as the one before, up to `max`. A child that
    /// has lived longer than the supervisor's period, and than `max`, begins again.
    pub fn backoff(mut self, first: Duration, max: Duration) -> Self {
        self.spec.delay_ms = millis(first);
        self.spec.delay_max_ms = millis(max).max(self.spec.delay_ms);
        self
    }

    /// The child as data, complete.
    pub fn into_spec(self) -> ChildSpec {
        let schema = (self.kind.arguments)().encode();
        ChildSpec { schema, ..self.spec }
    }
}

/// Which children end and start together with one that is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
    Simple,
}

/// Makes a child of the encoded argument of a template.
type Make = Box<dyn Fn(&[u8]) -> Result<Child, DecodeError>>;

struct Template {
    argument: fn() -> Schema,
    make: Make,
}

/// What a supervisor looks after: what a function under `#[neurath::supervisor]` returns. See [the module](self).
#[must_use = "return it from a function under `#[neurath::supervisor]`"]
pub struct Supervisor {
    strategy: Strategy,
    restarts_max: u32,
    period_ms: u64,
    children: Vec<Child>,
    kinds: Vec<Kind>,
    template: Option<Template>,
}

impl Supervisor {
    fn new(strategy: Strategy) -> Self {
        let (children, kinds) = (Vec::new(), Vec::new());
        Self { strategy, restarts_max: 1, period_ms: 5_000, children, kinds, template: None }
    }

    /// A child that fails is restarted alone.
    pub fn one_for_one() -> Self {
        Self::new(Strategy::OneForOne)
    }

    /// If one child is restarted, all others are stopped and restarted as well.
    pub fn one_for_all() -> Self {
        Self::new(Strategy::OneForAll)
    }

    /// If one child is restarted, those that were started after it are stopped and restarted as well.
    pub fn rest_for_one() -> Self {
        Self::new(Strategy::RestForOne)
    }

    /// Any number of children of one template, started later with [`start_from_template`] and restarted alone.
    ///
    /// `make` gives a child for the argument that came with the request; the child's id is not used. It is kept as that
    /// argument, so after an upgrade restarts go through the new code's template.
    ///
    /// ```
    /// use neurath::prelude::*;
    /// use neurath::supervisor::{Child, Supervisor, start_from_template};
    ///
    /// #[neurath::process]
    /// async fn guest(house: String, name: String) {
    ///     info!("{name} is in {house}");
    ///     sleep(60.secs()).await;
    /// }
    ///
    /// #[neurath::supervisor]
    /// fn guests(house: String) -> Supervisor {
    ///     Supervisor::simple(move |name: String| Child::of::<guest>("", (house.clone(), name)).temporary())
    /// }
    ///
    /// # fn main() {
    /// neurath::testing::run(async {
    ///     let guests = guests::spawn("the red house".into());
    ///     let otto = start_from_template(guests, "Otto".to_string()).await.unwrap();
    ///     exit_process(otto, "late".to_string());
    /// });
    /// # }
    /// ```
    pub fn simple<A: Data>(make: impl Fn(A) -> Child + 'static) -> Self {
        let make: Make = Box::new(move |bytes| data::decode(bytes).map(&make));
        Self { template: Some(Template { argument: Schema::of::<A>, make }), ..Self::new(Strategy::Simple) }
    }

    /// How many restarts there may be within a period: one in five seconds, if nothing else is said.
    pub fn intensity(mut self, restarts: u32, period: Duration) -> Self {
        (self.restarts_max, self.period_ms) = (restarts, millis(period));
        self
    }

    /// Adds a child that is started with the supervisor. A simple supervisor has none.
    pub fn child(mut self, child: Child) -> Self {
        self.kinds.push(child.kind);
        self.children.push(child);
        self
    }

    /// Children of this entry may be started later with [`start_child`], besides those of entries that are listed anyway.
    pub fn starts<E: Entry>(mut self) -> Self {
        self.kinds.push(Kind::of::<E>());
        self
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Says that this process has started, to the supervisor that waits for it. If none does, nothing happens.
///
/// Servers and supervisors do so by themselves; a process does if its [`Child`] [acknowledges](Child::acknowledges).
///
/// ```
/// use neurath::prelude::*;
/// use neurath::supervisor::{Child, Supervisor, started};
///
/// #[neurath::process]
/// async fn cache() {
///     sleep(2.secs()).await; // fills itself
///     started();
///     sleep(60.secs()).await;
/// }
///
/// #[neurath::supervisor]
/// fn top() -> Supervisor {
///     Supervisor::one_for_one().child(Child::of::<cache>("cache", ()).acknowledges().start_within(10.secs()))
/// }
/// # fn main() {}
/// ```
pub fn started() {
    if let Some((supervisor, reference)) = executor::with(executor::Executor::take_starter) {
        post(&supervisor, Class::Message, Ref::NONE, &Started { reference });
    }
}

/// Whether a process that ended for this reason ended as it should: normally, or with [`Shutdown`].
pub fn is_expected(reason: &ExitReason) -> bool {
    match reason {
        ExitReason::Normal => true,
        ExitReason::Custom { schema, .. } => *schema == Schema::of::<Shutdown>().encode(),
        _ => false,
    }
}

/// Has a supervisor start another child; its pid, when it has started.
///
/// # Errors
/// The id is taken, the supervisor's code does not name the entry, the child did not start, the supervisor is gone.
///
/// ```
/// use neurath::prelude::*;
/// use neurath::supervisor::{self, Child, ChildError, Supervisor};
///
/// #[neurath::process]
/// async fn worker(n: u32) {
///     sleep(60.secs()).await;
///     # let _ = n;
/// }
///
/// #[neurath::supervisor]
/// fn top() -> Supervisor {
///     Supervisor::one_for_one().starts::<worker>()
/// }
///
/// # fn main() {
/// neurath::testing::run(async {
///     let top = top::spawn();
///     let pid = supervisor::start_child(top, Child::of::<worker>("one", (1,))).await?;
///     supervisor::terminate_child(top, "one").await?;
///     assert_ne!(supervisor::restart_child(top, "one").await?, pid);
///     Ok::<(), ChildError>(())
/// }).unwrap();
/// # }
/// ```
pub async fn start_child(supervisor: Pid, child: Child) -> Result<Pid, ChildError> {
    started_as(ask(supervisor, Request::Start { child: child.into_spec() }).await?)
}

/// Has a [simple](Supervisor::simple) supervisor start a child; its pid, when it has started.
///
/// # Errors
/// As for [`start_child`]; the argument is not what the template takes.
pub async fn start_from_template<A: Data>(supervisor: Pid, argument: A) -> Result<Pid, ChildError> {
    let (schema, argument) = (Schema::of::<A>().encode(), data::encode(&argument));
    started_as(ask(supervisor, Request::StartFromTemplate { schema, argument }).await?)
}

/// Has a supervisor stop a child. It stays known, unless it is temporary or from a template. One that is down stays so.
///
/// # Errors
/// There is no such child; the supervisor is gone.
pub async fn terminate_child(supervisor: Pid, child: impl Into<ChildName>) -> Result<(), ChildError> {
    ask(supervisor, Request::Terminate { child: child.into() }).await.map(|_| ())
}

/// Has a supervisor start a child that is down; its pid, when it has started.
///
/// # Errors
/// There is no such child, it runs, or it did not start; the supervisor is gone.
pub async fn restart_child(supervisor: Pid, child: impl Into<ChildName>) -> Result<Pid, ChildError> {
    started_as(ask(supervisor, Request::Restart { child: child.into() }).await?)
}

/// Has a supervisor forget a child that is down.
///
/// # Errors
/// There is no such child, or it runs; the supervisor is gone.
pub async fn delete_child(supervisor: Pid, child: impl Into<ChildName>) -> Result<(), ChildError> {
    ask(supervisor, Request::Delete { child: child.into() }).await.map(|_| ())
}

/// The children of a supervisor, in the order in which they are started.
///
/// # Errors
/// The supervisor is gone.
pub async fn which_children(supervisor: Pid) -> Result<Vec<ChildInfo>, ChildError> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let Answer::Children { children, next } = ask(supervisor, Request::Children { from }).await? else {
            return Err(unexpected());
        };
        all.extend(children);
        match next {
            Some(next) if next > from => from = next,
            _ => return Ok(all),
        }
    }
}

/// How many children a supervisor has.
///
/// # Errors
/// The supervisor is gone.
pub async fn count_children(supervisor: Pid) -> Result<ChildCount, ChildError> {
    match ask(supervisor, Request::Count).await? {
        Answer::Count(count) => Ok(count),
        _ => Err(unexpected()),
    }
}

/// A supervisor that waits for a child has no other deadline than the child's.
async fn ask(supervisor: Pid, request: Request) -> Result<Answer, ChildError> {
    match call(supervisor, request).without_deadline().await {
        Ok(Answer::Refused(refusal)) => Err(ChildError::Refused(refusal)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(ChildError::Call(error)),
    }
}

fn started_as(answer: Answer) -> Result<Pid, ChildError> {
    match answer {
        Answer::Started(pid) => Ok(pid),
        _ => Err(unexpected()),
    }
}

#[cold]
fn unexpected() -> ChildError {
    ChildError::Refused(Refusal::WrongKind("this is the answer to another question: is it a supervisor?".into()))
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let children: Vec<&str> = self.children.iter().map(|child| child.spec.id.as_str()).collect();
        f.debug_struct("Supervisor").field("strategy", &self.strategy).field("children", &children).finish()
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Child").field(&self.spec).finish()
    }
}
