//! One process's change of code, as a transaction: state out of the old instance, through the plan, into a new one.
//!
//! Invariant (G3): until the new code has reached its first safe point, the old instance, its image and its port are
//! whole; whatever fails, they go on as if nothing had happened.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use neurath_engine::{EntryIndex, Fault, Instance};
use neurath_kernel::plan::{EntryPlan, StateRoute, plan_entry};
use neurath_kernel::{CodeId, Outcome, Port, Program, UpgradeOrder};
use neurath_proto::abi::{PollStatus, StartMode};
use neurath_proto::envelope::SchemaId;
use neurath_proto::reason::ExitReason;

use crate::catalog::{Loaded, loaded};
use crate::guest::Guest;
use crate::shard::{Baton, Shard, lend, reason};

/// A state that a plain process offers to newer code.
pub(crate) struct Offer {
    pub(crate) program: Arc<Program>,
    pub(crate) entry: String,
    pub(crate) schema: SchemaId,
    pub(crate) state: Vec<u8>,
}

/// From which code, which entry, with which type of state (for plain processes), to which code.
type PlanKey = (CodeId, String, Option<SchemaId>, CodeId);

/// The plans that this shard has made.
#[derive(Default)]
pub(crate) struct Plans(HashMap<PlanKey, Result<Arc<EntryPlan>, String>>);

impl Plans {
    const KEPT_MAX: usize = 1024;

    fn get(
        &mut self,
        from: &Loaded,
        entry: &str,
        state: Option<SchemaId>,
        to: &Loaded,
    ) -> Result<Arc<EntryPlan>, String> {
        let key = (from.code, entry.to_owned(), state, to.code);
        if let Some(plan) = self.0.get(&key) {
            return plan.clone();
        }
        let offered = state.and_then(|id| from.types.schema(id));
        let kept = from.manifest.entries.iter().find(|e| e.name == entry).map(|e| &e.state);
        let plan = match offered.as_deref().or(kept) {
            Some(schema) => plan_entry(&from.manifest, entry, schema, &to.manifest).map(Arc::new),
            None => Err(format!("{} has no entry `{entry}`", from.name)),
        };
        if self.0.len() >= Self::KEPT_MAX {
            self.0.clear();
        }
        self.0.insert(key, plan.clone());
        plan
    }
}

/// Changes a server between two messages. The instance that comes back holds port and baton.
pub(crate) fn server(
    mut shard: Box<Shard>,
    mut old: Instance<Guest>,
    port: Box<Port>,
    order: &UpgradeOrder,
) -> (Instance<Guest>, Outcome) {
    let started = Instant::now();
    let shared = shard.shared.clone();
    let from = old.host().loaded.clone();
    let to = loaded(&order.program);
    let pid = port.pid();
    let record = |result: Result<(), String>| shared.upgraded(pid, &from.name, &to.name, result, started.elapsed());
    let refuse = |mut old: Instance<Guest>, port, baton, why: String| {
        record(Err(why.clone()));
        lend(&mut old, port, baton);
        (old, Outcome::RolledBack { reason: why, attempted: true })
    };

    let entry = order.program.entries[order.entry as usize].name.clone();
    let plan = match shard.plans.get(&from, &entry, None, &to) {
        Ok(plan) => plan,
        Err(why) => return refuse(old, port, Baton::Shard(shard), why),
    };
    let image = match old.capture() {
        Ok(image) => image,
        Err(error) => {
            return refuse(old, port, Baton::Shard(shard), format!("its image cannot be kept for a rollback: {error}"));
        }
    };
    let guest = old.host_mut();
    guest.baton = Some(Baton::Shard(shard));
    guest.deadline = Some(started + shared.config.upgrade_time);
    let state = old.state();
    let guest = old.host_mut();
    guest.deadline = None;
    let Some(baton) = guest.baton.take() else { return (old, lost()) };
    let acted = guest.failure.take();
    let attempt = match (state, acted) {
        (Ok(_), Some(why)) => Err(Undone { why: format!("asking the old code for its state: {why}"), port, baton }),
        (Ok(state), None) => start(&order.program, &plan, state, port, baton, started + shared.config.upgrade_time),
        (Err(fault), acted) => {
            old.host_mut().failure = acted;
            Err(Undone { why: words("asking the old code for its state", &fault, old.host_mut()), port, baton })
        }
    };
    match attempt {
        Ok((new, exited)) => {
            old.host_mut().end_line(pid);
            old.recycle();
            record(Ok(()));
            (new, Outcome::Upgraded { program: order.program.clone(), entry: plan.entry, exited })
        }
        Err(Undone { why, port, baton }) => {
            if let Err(error) = old.restore(&image) {
                tracing::error!(%error, "an image that was just taken could not be restored");
            }
            refuse(old, port, baton, why)
        }
    }
}

/// Changes a plain process at `become_latest!`. The instance that comes back holds port and baton.
pub(crate) fn process(
    mut shard: Box<Shard>,
    mut old: Instance<Guest>,
    port: Box<Port>,
    offer: Offer,
) -> (Instance<Guest>, Outcome) {
    let started = Instant::now();
    let shared = shard.shared.clone();
    let from = loaded(&offer.program);
    let pid = port.pid();
    let newest = shared.catalog.current(&from.manifest.package).filter(|program| program.code != offer.program.code);
    let Some(program) = newest else {
        lend(&mut old, port, Baton::Shard(shard));
        return (old, Outcome::RolledBack { reason: "nothing is newer".into(), attempted: false });
    };
    let to = loaded(&program);
    let attempt = match shard.plans.get(&from, &offer.entry, Some(offer.schema), &to) {
        Ok(plan) => {
            let deadline = started + shared.config.upgrade_time;
            start(&program, &plan, offer.state, port, Baton::Shard(shard), deadline)
                .map(|started| (started, plan.entry))
        }
        Err(why) => Err(Undone { why, port, baton: Baton::Shard(shard) }),
    };
    match attempt {
        Ok(((new, exited), entry)) => {
            old.host_mut().end_line(pid);
            old.recycle();
            shared.upgraded(pid, &from.name, &to.name, Ok(()), started.elapsed());
            (new, Outcome::Upgraded { program, entry, exited })
        }
        Err(Undone { why, port, baton }) => {
            shared.upgraded(pid, &from.name, &to.name, Err(why.clone()), started.elapsed());
            lend(&mut old, port, baton);
            (old, Outcome::RolledBack { reason: why, attempted: true })
        }
    }
}

/// An attempt that failed, and what must go back to the old instance.
struct Undone {
    why: String,
    port: Box<Port>,
    baton: Baton,
}

type Started = (Instance<Guest>, Option<ExitReason>);

/// Converts the state and starts the new code with it, up to its first safe point.
fn start(
    program: &Program,
    plan: &EntryPlan,
    state: Vec<u8>,
    mut port: Box<Port>,
    baton: Baton,
    deadline: Instant,
) -> Result<Started, Undone> {
    let to = loaded(program);
    let module = to.module.clone();
    let state = match before(plan, &state) {
        Ok(state) => state,
        Err(why) => return Err(Undone { why, port, baton }),
    };
    let mut new = match Instance::new(&module, Guest::new(to)) {
        Ok(new) => new,
        Err(error) => return Err(Undone { why: error.to_string(), port, baton }),
    };
    let guest = new.host_mut();
    guest.baton = Some(baton);
    guest.deadline = Some(deadline);
    guest.subject = port.pid();
    let converted = match &plan.route {
        StateRoute::Convert { converter, output, .. } => match new.convert(converter, &state) {
            Ok(bytes) => match (new.host_mut().failure.take(), output) {
                (Some(acted), _) => Err(format!("converter `{converter}`: {acted}")),
                (None, Some(output)) => output.apply(&bytes).map_err(|mismatch| mismatch.to_string()),
                (None, None) => Ok(bytes),
            },
            Err(fault) => Err(words(&format!("converter `{converter}`"), &fault, new.host_mut())),
        },
        StateRoute::Same | StateRoute::Resolve(_) => Ok(state),
    };
    let state = match converted {
        Ok(state) => state,
        Err(why) => return Err(undone(new, why, Some(port))),
    };
    port.begin();
    new.host_mut().port = Some(port);
    let exited = match new.start_entry(EntryIndex(plan.entry), &state, StartMode::Resume) {
        Ok(PollStatus::Pending | PollStatus::Again) => None,
        Ok(PollStatus::Finished) => Some(ExitReason::Normal),
        Ok(PollStatus::BadArguments) => {
            return Err(undone(new, "the new code does not take the converted state".into(), None));
        }
        Err(Fault::Exited) => Some(new.host_mut().exit.take().unwrap_or(ExitReason::Normal)),
        Err(fault) => {
            let why = words("starting the new code", &fault, new.host_mut());
            return Err(undone(new, why, None));
        }
    };
    new.host_mut().deadline = None;
    Ok((new, exited))
}

fn before(plan: &EntryPlan, state: &[u8]) -> Result<Vec<u8>, String> {
    let resolution = match &plan.route {
        StateRoute::Same => None,
        StateRoute::Resolve(resolution) => Some(resolution),
        StateRoute::Convert { input, .. } => input.as_ref(),
    };
    match resolution {
        Some(resolution) => resolution.apply(state).map_err(|mismatch| mismatch.to_string()),
        None => Ok(state.to_vec()),
    }
}

/// Takes port and baton back from the new instance, and lets it go.
fn undone(mut new: Instance<Guest>, why: String, port: Option<Box<Port>>) -> Undone {
    let guest = new.host_mut();
    let port = port.or_else(|| guest.port.take()).expect("the port was lent to this instance above");
    let baton = guest.baton.take().expect("the baton was lent to this instance above");
    new.recycle();
    Undone { why, port, baton }
}

fn words(doing: &str, fault: &Fault, guest: &mut Guest) -> String {
    match guest.failure.take() {
        Some(message) => format!("{doing}: {message}"),
        None => format!("{doing}: {}", reason(fault, guest)),
    }
}

fn lost() -> Outcome {
    Outcome::RolledBack { reason: "the node lost the baton; please report this".into(), attempted: true }
}
