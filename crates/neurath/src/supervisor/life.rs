//! The life of a supervisor: one loop, in which a message is handled to its end before the next.
//!
//! Invariant: the indices `by_pid` and `by_id` follow from the children, and say the same at every `.await` of the loop;
//! no exit of a child that was stopped is left in the mailbox.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use neurath_proto::abi::{StartMode, spawn_flags, take_flags};
use neurath_proto::reason::ExitReason;
use neurath_proto::resolve::Resolution;
use neurath_proto::schema::Schema;
use neurath_proto::{Data, DecodeError, Pid, data};

use super::messages::{
    Answer, CHILDREN_MAX, ChildCount, ChildInfo, ChildName, Exhausted, LinkEnded, Refusal, Request, Retry, Shutdown,
    StartFailed, Started,
};
use super::state::{House, Kept, Origin, Supervision};
use super::{CHILD_COUNT_MAX, Child, ChildSpec, Kind, Restart, Stop, Strategy, Supervisor, is_expected, started};
use crate::entry::{Starter, decode_start, set_starter};
use crate::executor::{self, Root};
use crate::process::{exit, exit_process, kill, monitor, self_pid, trap_exit, unlink};
use crate::receive::{Receive, Taken, decode, flush};
use crate::server::{between_messages, reply_to};
use crate::sys::{self, TypeTag};
use crate::{Down, DurationExt, Exit, receive, send_after};

const TAGS: &[TypeTag] =
    &[TypeTag::of::<Exit>(), TypeTag::of::<Request>(), TypeTag::of::<Retry>(), TypeTag::of::<Started>()];

/// Children that are started or ended between two safe points, so that no outbox overflows.
const AT_ONCE: usize = 256;

/// The future of a supervisor whose function is `plan`.
pub fn supervise<A: Data>(bytes: &[u8], mode: StartMode, plan: fn(A) -> Supervisor) -> Result<Root, DecodeError> {
    let (arguments, house, starter) = match mode {
        StartMode::Fresh => {
            let (arguments, starter) = decode_start::<A>(bytes)?;
            (data::encode(&arguments), None, starter)
        }
        StartMode::Resume => {
            let Supervision::<A> { arguments, house } = data::decode(bytes)?;
            (arguments.bytes, Some(house), None)
        }
    };
    let plan = plan(data::decode(&arguments)?);
    Ok(Box::pin(live(plan, arguments, house, starter)))
}

async fn live(plan: Supervisor, arguments: Vec<u8>, house: Option<House>, starter: Starter) {
    set_starter(starter);
    trap_exit(true);
    let mut life = Life::new(plan, arguments, house.unwrap_or_default());
    life.take_over();
    life.start_listed().await;
    started();
    loop {
        let receive = Receive::with_flags(take_flags::BETWEEN_MESSAGES);
        let Taken::Message(arrived) = between_messages(&life, encode_state, receive, TAGS).await else { continue };
        match arrived.index {
            0 => life.exit(decode(&arrived)).await,
            1 => {
                let reply = reply_to();
                reply.send(life.answer(decode(&arrived)).await);
            }
            2 => life.retry(decode(&arrived)).await,
            // A child was killed because it took too long, and said that it had started meanwhile.
            _ => {}
        }
    }
}

/// # Safety
/// `state` points to a `Life` that nobody is changing.
unsafe fn encode_state(state: *const (), out: &mut Vec<u8>) {
    // SAFETY: the caller's promise.
    let life = unsafe { &*state.cast::<Life>() };
    // As `Supervision` is encoded: one field behind the other.
    out.extend_from_slice(&life.arguments);
    life.house.encode(out);
}

struct Life {
    plan: Supervisor,
    arguments: Vec<u8>,
    house: House,
    by_pid: BTreeMap<Pid, u64>,
    by_id: BTreeMap<String, u64>,
}

impl Life {
    fn new(plan: Supervisor, arguments: Vec<u8>, house: House) -> Self {
        let by_pid = house.children.iter().filter_map(|(number, kept)| Some((kept.pid?, *number))).collect();
        let ids = house.children.iter().filter_map(|(number, kept)| match &kept.origin {
            Origin::Spec(spec) => Some((spec.id.clone(), *number)),
            Origin::Template(_) => None,
        });
        let by_id = ids.collect();
        Self { plan, arguments, house, by_pid, by_id }
    }

    /// Makes what older code has kept fit this code.
    ///
    /// A panic here is a refusal: the upgrade is rolled back, and its text is the reason.
    fn take_over(&mut self) {
        if let Some(template) = &self.plan.template {
            let schema = (template.argument)().encode();
            for kept in self.house.children.values_mut() {
                if let Origin::Template(argument) = &mut kept.origin {
                    match fitted(&self.house.template, &schema, argument) {
                        Ok(fitted) => *argument = fitted,
                        Err(why) => panic!("the argument of a child does not fit the new template: {why}"),
                    }
                }
            }
            self.house.template = schema;
        }
        for kept in self.house.children.values_mut() {
            let Origin::Spec(spec) = &mut kept.origin else { continue };
            let listed = self.plan.children.iter().any(|child| child.spec.id == spec.id);
            let kind = self.plan.kinds.iter().find(|kind| kind.start.name == spec.entry);
            if let (false, Some(kind)) = (listed, kind) {
                match fit(spec, kind) {
                    Ok(()) => {}
                    Err(why) => panic!("the arguments of the child `{}` do not fit its entry any more: {why}", spec.id),
                }
            }
        }
    }

    /// Starts the children of the function's list that do not run, in order.
    async fn start_listed(&mut self) {
        let listed = std::mem::take(&mut self.plan.children);
        if self.plan.strategy == Strategy::Simple && !listed.is_empty() {
            exit("a simple supervisor has children from its template only".to_string());
        }
        for child in listed {
            let spec = child.into_spec();
            if let Some(number) = self.by_id.get(&spec.id) {
                if let Some(kept) = self.house.children.get_mut(number) {
                    kept.origin = Origin::Spec(spec);
                }
                continue;
            }
            let id = spec.id.clone();
            let number = self.add(Origin::Spec(spec));
            if let Err(reason) = self.start(number).await {
                crate::error!("the child `{id}` did not start: {reason}");
                self.stop_all().await;
                exit(StartFailed { child: id, reason });
            }
        }
    }

    // ---- messages ----

    async fn exit(&mut self, Exit { from, reason }: Exit) {
        let Some(number) = self.by_pid.remove(&from) else {
            self.stop_all().await;
            if is_expected(&reason) {
                exit(Shutdown);
            }
            exit(LinkEnded { pid: from, reason });
        };
        let mut failed = (number, reason);
        while let ControlFlow::Continue(next) = self.ended(failed.0, failed.1).await {
            failed = next;
        }
    }

    /// A delay is over.
    async fn retry(&mut self, Retry { number, round }: Retry) {
        let Some(kept) = self.house.children.get_mut(&number) else { return };
        if kept.waits != Some(round) {
            return;
        }
        kept.waits = None;
        let mut outcome = self.start_group(number).await;
        while let ControlFlow::Continue((number, reason)) = outcome {
            outcome = self.ended(number, reason).await;
        }
    }

    async fn answer(&mut self, request: Request) -> Answer {
        let answered = match request {
            Request::Start { child } => self.start_other(child).await,
            Request::StartFromTemplate { schema, argument } => self.start_from_template(&schema, argument).await,
            Request::Terminate { child } => self.terminate(child).await,
            Request::Restart { child } => self.restart(child).await,
            Request::Delete { child } => self.delete(child),
            Request::Children { from } => Ok(self.list(from)),
            Request::Count => Ok(Answer::Count(self.count())),
        };
        answered.unwrap_or_else(Answer::Refused)
    }

    // ---- what ended ----

    /// A child has ended: what becomes of it, and of the others. `Continue` is a child that failed to restart.
    async fn ended(&mut self, number: u64, reason: ExitReason) -> ControlFlow<(), (u64, ExitReason)> {
        let Some(kept) = self.house.children.get_mut(&number) else { return ControlFlow::Break(()) };
        let name = kept.name();
        let lived_ms = now_ms().saturating_sub(kept.up_since_ms);
        let was_up = kept.pid.take().is_some();
        kept.last_reason = Some(reason.clone());
        let spec = self.policies(number);
        let restarts = match spec.restart {
            Restart::Permanent => true,
            Restart::Transient => !is_expected(&reason),
            Restart::Temporary => false,
        };
        if !is_expected(&reason) {
            crate::warn!("the child `{name}` ended: {reason}");
        }
        if !restarts {
            if spec.restart == Restart::Temporary || self.plan.strategy == Strategy::Simple {
                self.forget(number);
            }
            return ControlFlow::Break(());
        }
        self.count_restart(&name, &reason).await;
        let others: Vec<u64> = self.group(number).into_iter().filter(|other| *other != number).collect();
        for other in others.into_iter().rev() {
            self.stop(other).await;
            if self.policies(other).restart == Restart::Temporary {
                self.forget(other);
            }
        }
        let calm_ms = self.plan.period_ms.max(spec.delay_max_ms);
        let Some(kept) = self.house.children.get_mut(&number) else { return ControlFlow::Break(()) };
        kept.failures = if was_up && lived_ms > calm_ms { 0 } else { kept.failures };
        let delay_ms = spec.delay_ms.saturating_mul(1 << kept.failures.min(32)).min(spec.delay_max_ms);
        kept.failures = kept.failures.saturating_add(1);
        kept.restarts += 1;
        if delay_ms == 0 {
            return self.start_group(number).await;
        }
        self.house.last_round += 1;
        let round = self.house.last_round;
        kept.waits = Some(round);
        if send_after(delay_ms.millis(), self_pid(), Retry { number, round }).is_err() {
            // A full outbox empties at the next safe point.
            flush().await;
            kept.waits = None;
            return self.start_group(number).await;
        }
        ControlFlow::Break(())
    }

    /// Notes a restart; if it is one too many, the supervisor ends here.
    async fn count_restart(&mut self, child: &str, reason: &ExitReason) {
        let now = now_ms();
        let (restarts, period_ms) = (self.plan.restarts_max, self.plan.period_ms);
        self.house.recent_ms.retain(|at| now.saturating_sub(*at) < period_ms);
        if self.house.recent_ms.len() >= restarts as usize {
            crate::error!(
                "the child `{child}` ended, and there were {restarts} restarts within {period_ms} ms: giving up"
            );
            self.stop_all().await;
            exit(Exhausted { child: child.into(), last_reason: reason.clone(), restarts, period_ms });
        }
        self.house.recent_ms.push(now);
        self.house.restarts += 1;
    }

    /// The children that are restarted together with this one, in order.
    fn group(&self, number: u64) -> Vec<u64> {
        match self.plan.strategy {
            Strategy::OneForOne | Strategy::Simple => vec![number],
            Strategy::OneForAll => self.house.children.keys().copied().collect(),
            Strategy::RestForOne => self.house.children.range(number..).map(|(number, _)| *number).collect(),
        }
    }

    /// Starts those of a child's group that do not run. `Continue` is the one that failed.
    async fn start_group(&mut self, number: u64) -> ControlFlow<(), (u64, ExitReason)> {
        for member in self.group(number) {
            if self.house.children.get(&member).is_some_and(|kept| kept.pid.is_none())
                && let Err(reason) = self.start(member).await
            {
                return ControlFlow::Continue((member, reason));
            }
        }
        ControlFlow::Break(())
    }

    // ---- starting and stopping one ----

    fn add(&mut self, origin: Origin) -> u64 {
        self.house.last_number += 1;
        let number = self.house.last_number;
        if let Origin::Spec(spec) = &origin {
            self.by_id.insert(spec.id.clone(), number);
        }
        self.house.children.insert(number, Kept::new(origin));
        number
    }

    fn forget(&mut self, number: u64) {
        let Some(kept) = self.house.children.remove(&number) else { return };
        if let Origin::Spec(spec) = kept.origin {
            self.by_id.remove(&spec.id);
        }
        if let Some(pid) = kept.pid {
            self.by_pid.remove(&pid);
        }
    }

    /// The child that a template makes of an argument.
    fn make(&self, argument: &[u8]) -> Result<Child, String> {
        let template = self.plan.template.as_ref().ok_or("the supervisor has no template any more")?;
        (template.make)(argument).map_err(|error| format!("the template's argument cannot be read: {error}"))
    }

    /// How a child is looked after; its arguments are not used.
    fn policies(&self, number: u64) -> Policies {
        match self.house.children.get(&number).map(|kept| &kept.origin) {
            Some(Origin::Spec(spec)) => Policies::of(spec),
            Some(Origin::Template(argument)) => match self.make(argument) {
                Ok(child) => Policies::of(&child.spec),
                Err(_) => Policies::UNKNOWN,
            },
            None => Policies::UNKNOWN,
        }
    }

    /// Starts a child and waits until it says that it has started, if it does.
    async fn start(&mut self, number: u64) -> Result<(), ExitReason> {
        let not_started = |message: String| ExitReason::NotStarted { message };
        let Some(kept) = self.house.children.get(&number) else { return Ok(()) };
        let made;
        let (spec, kind) = match &kept.origin {
            Origin::Spec(spec) => {
                let kind = self.plan.kinds.iter().find(|kind| kind.start.name == spec.entry);
                let why = || format!("the supervisor's code does not name the entry `{}` any more", spec.entry);
                (spec, *kind.ok_or_else(|| not_started(why()))?)
            }
            Origin::Template(argument) => {
                made = self.make(argument).map_err(not_started)?;
                (&made.spec, made.kind)
            }
        };
        let (acknowledges, within) = (spec.acknowledges, spec.start_within_ms.millis());
        let reference = sys::reference();
        let spawned = executor::with_scratch(|bytes| {
            bytes.extend_from_slice(&spec.arguments);
            if acknowledges {
                (self_pid(), reference).encode(bytes);
            }
            sys::spawn(&kind.start, bytes, spawn_flags::LINK)
        });
        let pid = match spawned {
            Ok(spawned) => spawned.pid,
            Err(()) => return Err(not_started(format!("the host does not start `{}`", kind.start.name))),
        };
        if acknowledges {
            receive! {
                Started { reference: said } if said == reference => debug_assert_eq!(said, reference),
                exit: Exit if exit.from == pid => return Err(exit.reason),
                after within => {
                    end(pid, Stop::Kill).await;
                    return Err(not_started(format!("it had not started within {} ms", within.as_millis())));
                }
            }
        } else if is_full(number as usize) {
            flush().await;
        }
        if let Some(kept) = self.house.children.get_mut(&number) {
            (kept.pid, kept.up_since_ms, kept.waits) = (Some(pid), now_ms(), None);
            self.by_pid.insert(pid, number);
        }
        Ok(())
    }

    /// Stops a child, whether it runs or waits for its restart.
    async fn stop(&mut self, number: u64) {
        let stop = self.policies(number).stop;
        let Some(kept) = self.house.children.get_mut(&number) else { return };
        kept.waits = None;
        let Some(pid) = kept.pid.take() else { return };
        self.by_pid.remove(&pid);
        let reason = end(pid, stop).await;
        if let Some(kept) = self.house.children.get_mut(&number) {
            if !is_expected(&reason) && stop != Stop::Kill {
                crate::warn!("the child `{}` ended while it was stopped: {reason}", kept.name());
            }
            kept.last_reason = Some(reason);
        }
    }

    /// Stops all children: in the reverse order, or all at once if they are of one template.
    async fn stop_all(&mut self) {
        if self.plan.strategy != Strategy::Simple {
            let numbers: Vec<u64> = self.house.children.keys().rev().copied().collect();
            for number in numbers {
                self.stop(number).await;
            }
            return;
        }
        let mut patience = Some(0);
        let running: Vec<(u64, Pid)> = self.by_pid.iter().map(|(pid, number)| (*number, *pid)).collect();
        for (count, (number, pid)) in running.iter().enumerate() {
            match self.policies(*number).stop {
                Stop::Kill => kill(*pid),
                Stop::Within { ms } => {
                    patience = patience.map(|longest: u64| longest.max(ms));
                    exit_process(*pid, Shutdown);
                }
                Stop::Infinity => {
                    patience = None;
                    exit_process(*pid, Shutdown);
                }
            }
            if is_full(count) {
                flush().await;
            }
        }
        // One deadline for all: a message that says so, so that it does not begin anew with each child.
        let round = self.house.last_round + 1;
        if let Some(ms) = patience {
            let _ = send_after(ms.millis(), self_pid(), Retry { number: 0, round });
        }
        while !self.by_pid.is_empty() {
            receive! {
                exit: Exit => drop(self.by_pid.remove(&exit.from)),
                retry: Retry => if (retry.number, retry.round) == (0, round) {
                    for (count, pid) in self.by_pid.keys().enumerate() {
                        kill(*pid);
                        if is_full(count) {
                            flush().await;
                        }
                    }
                },
            }
        }
    }

    // ---- requests ----

    fn find(&self, child: &ChildName) -> Result<u64, Refusal> {
        let number = match child {
            ChildName::Id(id) => self.by_id.get(id),
            ChildName::Pid(pid) => self.by_pid.get(pid),
        };
        number.copied().ok_or_else(|| Refusal::NotFound(child.clone()))
    }

    async fn start_new(&mut self, origin: Origin) -> Result<Answer, Refusal> {
        if self.house.children.len() >= CHILD_COUNT_MAX {
            return Err(Refusal::TooMany);
        }
        let number = self.add(origin);
        if let Err(reason) = self.start(number).await {
            self.forget(number);
            return Err(Refusal::NotStarted(reason));
        }
        Ok(self.house.children.get(&number).and_then(|kept| kept.pid).map_or(Answer::Done, Answer::Started))
    }

    async fn start_other(&mut self, mut spec: ChildSpec) -> Result<Answer, Refusal> {
        if self.plan.strategy == Strategy::Simple {
            return Err(Refusal::WrongKind("a simple supervisor has children from its template only".into()));
        }
        if let Some(number) = self.by_id.get(&spec.id) {
            let pid = self.house.children.get(number).and_then(|kept| kept.pid);
            return Err(pid.map_or(Refusal::AlreadyPresent, Refusal::AlreadyStarted));
        }
        let Some(kind) = self.plan.kinds.iter().find(|kind| kind.start.name == spec.entry) else {
            return Err(Refusal::UnknownEntry(spec.entry));
        };
        fit(&mut spec, kind).map_err(Refusal::BadArguments)?;
        self.start_new(Origin::Spec(spec)).await
    }

    async fn start_from_template(&mut self, schema: &[u8], argument: Vec<u8>) -> Result<Answer, Refusal> {
        if self.plan.template.is_none() {
            return Err(Refusal::WrongKind("only a simple supervisor has a template".into()));
        }
        let argument = fitted(schema, &self.house.template, &argument).map_err(Refusal::BadArguments)?;
        self.start_new(Origin::Template(argument)).await
    }

    async fn terminate(&mut self, child: ChildName) -> Result<Answer, Refusal> {
        let number = self.find(&child)?;
        self.stop(number).await;
        if self.policies(number).restart == Restart::Temporary || self.plan.strategy == Strategy::Simple {
            self.forget(number);
        }
        Ok(Answer::Done)
    }

    async fn restart(&mut self, child: ChildName) -> Result<Answer, Refusal> {
        let number = self.find(&child)?;
        self.check_down(number)?;
        if let Err(reason) = self.start(number).await {
            if let Some(kept) = self.house.children.get_mut(&number) {
                kept.last_reason = Some(reason.clone());
            }
            return Err(Refusal::NotStarted(reason));
        }
        Ok(self.house.children.get(&number).and_then(|kept| kept.pid).map_or(Answer::Done, Answer::Started))
    }

    fn delete(&mut self, child: ChildName) -> Result<Answer, Refusal> {
        let number = self.find(&child)?;
        self.check_down(number)?;
        self.forget(number);
        Ok(Answer::Done)
    }

    fn check_down(&self, number: u64) -> Result<(), Refusal> {
        match self.house.children.get(&number) {
            Some(Kept { pid: Some(pid), .. }) => Err(Refusal::Running(*pid)),
            Some(Kept { waits: Some(_), .. }) => Err(Refusal::Restarting),
            _ => Ok(()),
        }
    }

    fn list(&self, from: u64) -> Answer {
        let mut rest = self.house.children.range(from..);
        let children = rest.by_ref().take(CHILDREN_MAX).map(|(number, kept)| self.info(*number, kept)).collect();
        Answer::Children { children, next: rest.next().map(|(number, _)| *number) }
    }

    fn info(&self, number: u64, kept: &Kept) -> ChildInfo {
        let made;
        let (id, spec) = match &kept.origin {
            Origin::Spec(spec) => (Some(spec.id.clone()), Some(spec)),
            Origin::Template(argument) => {
                made = self.make(argument).ok();
                (None, made.as_ref().map(|child| &child.spec))
            }
        };
        ChildInfo {
            number,
            id,
            entry: spec.map(|spec| spec.entry.clone()).unwrap_or_default(),
            pid: kept.pid,
            restart: spec.map_or(Restart::Temporary, |spec| spec.restart),
            restarting: kept.waits.is_some(),
            is_supervisor: spec.is_some_and(|spec| self.supervises(spec)),
            restarts: kept.restarts,
            up_since_ms: kept.pid.map(|_| kept.up_since_ms),
            last_reason: kept.last_reason.clone(),
        }
    }

    fn supervises(&self, spec: &ChildSpec) -> bool {
        self.plan.kinds.iter().any(|kind| kind.start.name == spec.entry && kind.supervises)
    }

    fn count(&self) -> ChildCount {
        let specs = self.house.children.len() as u64;
        let supervisors = match self.plan.strategy {
            Strategy::Simple => {
                let first = self.house.children.values().next();
                let made = first.and_then(|kept| match &kept.origin {
                    Origin::Template(argument) => self.make(argument).ok(),
                    Origin::Spec(_) => None,
                });
                if made.is_some_and(|child| child.kind.supervises) { specs } else { 0 }
            }
            _ => {
                let own = self
                    .house
                    .children
                    .values()
                    .filter(|kept| matches!(&kept.origin, Origin::Spec(spec) if self.supervises(spec)));
                own.count() as u64
            }
        };
        let active = self.by_pid.len() as u64;
        ChildCount { specs, active, supervisors, workers: specs - supervisors, restarts: self.house.restarts }
    }
}

/// What a supervisor must know of a child when it ends.
#[derive(Clone, Copy)]
struct Policies {
    restart: Restart,
    stop: Stop,
    delay_ms: u64,
    delay_max_ms: u64,
}

impl Policies {
    /// Those of a child that cannot be made any more: it is let go.
    const UNKNOWN: Self = Self { restart: Restart::Temporary, stop: Stop::Kill, delay_ms: 0, delay_max_ms: 0 };

    fn of(spec: &ChildSpec) -> Self {
        let ChildSpec { restart, stop, delay_ms, delay_max_ms, .. } = *spec;
        Self { restart, stop, delay_ms, delay_max_ms }
    }
}

/// Ends a child and waits until it has; why it ended. No exit of it is left in the mailbox.
async fn end(pid: Pid, stop: Stop) -> ExitReason {
    unlink(pid);
    let watch = monitor(pid);
    let down = match stop {
        Stop::Kill => None,
        Stop::Within { ms } => {
            exit_process(pid, Shutdown);
            receive! {
                down: Down if down.monitor == watch => Some(down.reason),
                after ms.millis() => None,
            }
        }
        Stop::Infinity => {
            exit_process(pid, Shutdown);
            receive! { down: Down if down.monitor == watch => Some(down.reason) }
        }
    };
    let reason = match down {
        Some(reason) => reason,
        None => {
            kill(pid);
            receive! { down: Down if down.monitor == watch => down.reason }
        }
    };
    receive! {
        exit: Exit if exit.from == pid => exit.reason,
        after 0.secs() => reason,
    }
}

/// Whether it is time for a safe point, after so many that were started or ended.
fn is_full(count: usize) -> bool {
    count % AT_ONCE == AT_ONCE - 1
}

/// Turns the arguments of a child into those that the entry takes here.
fn fit(spec: &mut ChildSpec, kind: &Kind) -> Result<(), String> {
    let schema = (kind.arguments)().encode();
    spec.arguments = fitted(&spec.schema, &schema, &spec.arguments)?;
    spec.schema = schema;
    Ok(())
}

/// The bytes of a value of `writer` as a value of `reader`; both are encoded schemas.
fn fitted(writer: &[u8], reader: &[u8], bytes: &[u8]) -> Result<Vec<u8>, String> {
    let schema = |bytes| Schema::decode(bytes).map_err(|error| format!("the schema is damaged: {error}"));
    let resolution = Resolution::new(&schema(writer)?, &schema(reader)?).map_err(|error| error.to_string())?;
    resolution.apply(bytes).map_err(|error| error.to_string())
}

/// Milliseconds since 1970; in tests since the world began.
fn now_ms() -> u64 {
    #[cfg(target_family = "wasm")]
    {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
    #[cfg(not(target_family = "wasm"))]
    crate::testing::now_ms()
}
