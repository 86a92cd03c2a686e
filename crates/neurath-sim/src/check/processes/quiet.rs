//! When all is quiet, every process has what was promised.
//!
//! It compares the ledger with what kernels list, and refuses to know how it came about. Invariant that it checks: nothing
//! is under way, and both ends of each tie know of it.

use std::collections::{BTreeMap, BTreeSet};

use neurath_kernel::Standing;
use neurath_kernel::kernel::ProcessInfo;
use neurath_proto::reason::ExitReason;
use neurath_proto::{NodeId, Pid};

use super::{Epochs, Ledger};

impl Ledger {
    /// Everything has come to what was promised: `all` is what lives, `names` what registrars know.
    ///
    /// # Errors
    /// Something has not.
    pub fn quiet(
        &self,
        all: &[ProcessInfo],
        names: &BTreeSet<(String, Pid)>,
        epochs: &BTreeMap<Pid, Epochs>,
    ) -> Result<(), String> {
        let infos: BTreeMap<Pid, &ProcessInfo> = all.iter().map(|info| (info.pid, info)).collect();
        for info in all {
            self.check_rest(info)?;
            check_ties(info, &infos)?;
            let groups: BTreeSet<&str> = info.groups.iter().map(String::as_str).collect();
            let joined = self.groups.of(info.pid);
            if groups != joined {
                return Err(format!(
                    "{} is a member of {joined:?}, and its shard takes it for one of {groups:?}",
                    info.pid
                ));
            }
        }
        for ((watcher, reference), monitor) in self.monitors.iter().filter(|((watcher, _), _)| self.is_alive(*watcher))
        {
            let armed = infos.get(watcher).is_some_and(|info| info.watching.contains(&monitor.to));
            if !armed && !monitor.withdrawn {
                return Err(format!("the monitor {reference:?} of {watcher} for {} never fired", monitor.to));
            }
        }
        for ((pid, other), _) in self.links.iter().filter(|((pid, _), ends)| self.is_alive(*pid) && !ends.is_empty()) {
            // A normal end is no news for one that does not trap exits, or did not yet.
            let quiet = self.fates.get(other).is_some_and(|fate| {
                let traps_since = self.fates.get(pid).and_then(|fate| fate.traps_since);
                fate.ended == Some(ExitReason::Normal) && traps_since.is_none_or(|since| since > fate.ended_at)
            });
            let open = infos.get(pid).is_some_and(|info| info.links.contains(other));
            if !open && !quiet {
                return Err(format!("the link of {pid} with {other} is gone, and never fired"));
            }
        }
        for ((watcher, reference), (node, epoch)) in &self.node_monitors {
            let now = epochs.get(watcher).and_then(|epochs| epochs.get(node)).copied().unwrap_or_default();
            if self.is_alive(*watcher) && now > *epoch {
                return Err(format!("the monitor {reference:?} of {watcher} for node {node} never fired"));
            }
        }
        self.quiet_timers()?;
        self.quiet_orders()?;
        if let Some(((pid, _), call)) = self.calls.iter().find(|((pid, _), _)| self.is_alive(*pid)) {
            return Err(format!("{pid} waits for ever for what it asked: {}", call.what));
        }
        for ((from, to), pair) in &self.pairs {
            if self.is_alive(*to) && !self.crashed.contains(&(from.node, from.incarnation)) {
                let lost = (pair.taken + 1..=pair.sent).filter(|number| !pair.given_back.contains_key(number)).count();
                if lost as u64 + pair.missing > pair.refused {
                    return Err(format!("G2: {lost} messages from {from} to {to} neither came nor were given back"));
                }
            }
        }
        let known: BTreeSet<(String, Pid)> = all
            .iter()
            .flat_map(|info| info.names.iter().map(|name| (qualified(name, info.pid.node), info.pid)))
            .collect();
        if let Some((name, pid)) = known.symmetric_difference(names).next() {
            return Err(format!("the registrar and {pid} do not agree on its name {name}"));
        }
        Ok(())
    }

    fn check_rest(&self, info: &ProcessInfo) -> Result<(), String> {
        let pid = info.pid;
        match info.standing {
            Standing::Waiting if info.mailbox == 0 => Ok(()),
            standing => {
                let waits = info.mailbox;
                Err(format!("G10: {pid} does not come to rest: {standing:?}, and {waits} messages wait for it"))
            }
        }
    }
}

/// A name with the node whose registrar keeps it.
fn qualified(name: &str, node: NodeId) -> String {
    if name.contains('@') { name.to_owned() } else { format!("{name}@{node}") }
}

/// Both ends of each tie know of it.
fn check_ties(info: &ProcessInfo, infos: &BTreeMap<Pid, &ProcessInfo>) -> Result<(), String> {
    let pid = info.pid;
    let count = |all: &[Pid], one: Pid| all.iter().filter(|other| **other == one).count();
    for other in &info.links {
        if !infos.get(other).is_some_and(|other| other.links.contains(&pid)) {
            return Err(format!("{pid} is linked to {other}, which is gone or is not linked to it"));
        }
    }
    for other in &info.watching {
        let watchers = infos.get(other).map_or(0, |other| count(&other.watchers, pid));
        if watchers != count(&info.watching, *other) {
            return Err(format!("{pid} watches {other}, which is gone or does not know of it"));
        }
    }
    for other in &info.watchers {
        let watching = infos.get(other).map_or(0, |other| count(&other.watching, pid));
        if watching != count(&info.watchers, *other) {
            return Err(format!("{pid} is watched by {other}, which is gone or does not know of it"));
        }
    }
    Ok(())
}
