//! Upgrades of a whole module: planned for all its processes first, then carried out process by process.
//!
//! What happens to one process is in `upgrade.rs`. Invariant: if the plan is refused, nothing has been touched.

use std::collections::BTreeSet;

use neurath_code::store::development_version;
use neurath_kernel::plan::{StateRoute, plan_entry, plan_messages};
use neurath_kernel::{UpgradeId, UpgradeOrder};
use tokio::sync::mpsc;

use super::*;
use crate::catalog::Loaded;

/// How an upgrade goes.
#[derive(Clone, Debug)]
pub struct UpgradeOptions {
    /// How long to wait for servers that are in the middle of a message; `None` is the node's setting.
    pub patience: Option<Duration>,
    /// Only plan: report what would happen.
    pub dry_run: bool,
}

/// What became of an upgrade.
#[derive(Clone, Debug)]
pub struct UpgradeReport {
    /// The module.
    pub package: String,
    /// `name@version` that was current before, if any.
    pub from: Option<String>,
    /// `name@version` that is wanted.
    pub to: String,
    /// What the plan says of each entry and version that runs: `counter@1.0.0 counter: same state`.
    pub plan: Vec<String>,
    /// What those who know the old messages can send no more, or could not read.
    pub warnings: Vec<String>,
    /// Servers that run the new code.
    pub committed: Vec<Pid>,
    /// Servers that went on with the old code, and why.
    pub rolled_back: Vec<(Pid, String)>,
    /// Plain processes, which change by themselves at `become_latest!`.
    pub on_their_own: Vec<Pid>,
    /// Whether the new version is current now.
    pub current: bool,
    /// How long it took.
    pub took: Duration,
}

impl Node {
    /// Makes a version current, and changes every server of the module to it; plain processes change by themselves.
    ///
    /// Processes are planned first: if the state of any cannot be taken over, nothing is touched. Each server then
    /// changes between two of its messages, or goes on with its old code as if nothing had happened.
    ///
    /// # Errors
    /// The version is unknown, or the plan is refused.
    pub async fn upgrade(&self, module: &str, options: UpgradeOptions) -> Result<UpgradeReport, NodeError> {
        self.upgrade_watched(module, options, |_, _| {}).await
    }

    /// Like [`upgrade`](Self::upgrade); `progress` hears how many of how many servers are done.
    ///
    /// # Errors
    /// The version is unknown, or the plan is refused.
    pub async fn upgrade_watched(
        &self,
        module: &str,
        options: UpgradeOptions,
        progress: impl FnMut(usize, usize),
    ) -> Result<UpgradeReport, NodeError> {
        let _one = self.0.changing.lock().await;
        let started = std::time::Instant::now();
        let version = self.newest(module)?;
        let target = self.load_version(version.clone()).await?;
        let Loaded { name, hash, manifest, .. } = &*loaded(&target);
        let (mut report, servers) = self.planned(&version.name, &Target { name, hash, manifest }).await?;
        if options.dry_run {
            report.took = started.elapsed();
            return Ok(report);
        }
        let id = UpgradeId(self.0.last_upgrade.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
        let mut orders: Vec<Vec<(Pid, UpgradeOrder)>> = self.0.shared.inboxes.iter().map(|_| Vec::new()).collect();
        for (pid, entry) in servers {
            orders[self.shard_of(pid)].push((pid, UpgradeOrder { id, program: target.clone(), entry }));
        }
        let package = report.package.clone();
        let catalog_before = self.0.shared.catalog.set_current(&package, Some(target.clone()));
        let patience = options.patience.unwrap_or(self.config().upgrade_patience);
        self.carry_out(id, orders, patience, &mut report, progress).await;
        let nobody_took_it = report.committed.is_empty() && !report.rolled_back.is_empty();
        if nobody_took_it && report.on_their_own.is_empty() {
            self.0.shared.catalog.set_current(&package, catalog_before);
        } else {
            self.0.store.set_current(&version.name, &version.version)?;
            report.current = true;
        }
        report.took = started.elapsed();
        Ok(report)
    }

    /// What an upgrade to a module, installed as a development version, would do. Nothing of the module is kept.
    ///
    /// # Errors
    /// It is no module for this node, or the plan is refused.
    pub async fn plan_upgrade(&self, wasm: Vec<u8>) -> Result<UpgradeReport, NodeError> {
        let _one = self.0.changing.lock().await;
        let started = std::time::Instant::now();
        let limits = self.0.engine.config().module.clone();
        let prepared = blocking(move || Ok(prepare(&wasm, &limits)?)).await?;
        let (hash, manifest) = (prepared.hash(), prepared.manifest());
        let (package, version) = name_and_version(manifest)?;
        let name = format!("{package}@{}", development_version(&version, ArtifactHash(*hash)));
        let (mut report, _) = self.planned(&package, &Target { name: &name, hash, manifest }).await?;
        report.took = started.elapsed();
        Ok(report)
    }

    /// The report of an upgrade that has not begun; and the servers to be changed, each with its entry's place in the
    /// target.
    async fn planned(
        &self,
        package: &ModuleName,
        target: &Target<'_>,
    ) -> Result<(UpgradeReport, Vec<(Pid, u32)>), NodeError> {
        let members: Vec<_> = self.gather(|reply| Command::Members(package.to_string(), reply)).await.concat();
        let members: Vec<Member> =
            members.into_iter().filter(|(_, program, _)| loaded(program).hash != *target.hash).collect();
        let Planned { plan, warnings, refused } = plan_members(&members, target.manifest);
        if !refused.is_empty() {
            let (package, to) = (package.to_string(), target.name.to_owned());
            return Err(NodeError::PlanRefused { package, to, reasons: refused });
        }
        let (mut servers, mut on_their_own) = (Vec::new(), Vec::new());
        for (pid, program, entry) in &members {
            let entry = &program.entries[*entry as usize];
            match target.manifest.entries.iter().position(|e| e.name == entry.name) {
                Some(to) if entry.is_server => servers.push((*pid, to as u32)),
                Some(_) => on_their_own.push(*pid),
                None => {}
            }
        }
        let report = UpgradeReport {
            package: package.to_string(),
            from: self.0.store.current(package)?.map(|before| before.to_string()),
            to: target.name.to_owned(),
            plan,
            warnings,
            committed: Vec::new(),
            rolled_back: Vec::new(),
            on_their_own,
            current: false,
            took: Duration::ZERO,
        };
        Ok((report, servers))
    }

    async fn carry_out(
        &self,
        id: UpgradeId,
        orders: Vec<Vec<(Pid, UpgradeOrder)>>,
        patience: Duration,
        report: &mut UpgradeReport,
        mut progress: impl FnMut(usize, usize),
    ) {
        let (done, mut results) = mpsc::unbounded_channel();
        let mut open: BTreeSet<Pid> = orders.iter().flatten().map(|(pid, _)| *pid).collect();
        for (shard, orders) in orders.into_iter().enumerate() {
            if !orders.is_empty() {
                self.command(shard, Command::Upgrade { orders, done: done.clone() });
            }
        }
        drop(done);
        let total = open.len();
        let mut deadline = tokio::time::Instant::now() + patience;
        let mut cancelled = false;
        while !open.is_empty() {
            match tokio::time::timeout_at(deadline, results.recv()).await {
                Ok(Some(results)) => {
                    for (pid, result) in results {
                        open.remove(&pid);
                        match result {
                            Ok(()) => report.committed.push(pid),
                            Err(why) => report.rolled_back.push((pid, why)),
                        }
                    }
                    progress(total - open.len(), total);
                }
                Ok(None) => break,
                Err(_) if cancelled => break,
                Err(_) => {
                    cancelled = true;
                    deadline += Duration::from_secs(1);
                    for shard in 0..self.0.shared.inboxes.len() {
                        let late = open.iter().copied().filter(|pid| self.shard_of(*pid) == shard).collect();
                        self.command(shard, Command::CancelUpgrade { id, pids: late, to: report.to.clone() });
                    }
                }
            }
        }
        let unknown = "the node cannot say what became of it; look at `neurath info`";
        report.rolled_back.extend(open.into_iter().map(|pid| (pid, unknown.to_owned())));
    }
}

/// A process, its code, and its entry's place in that.
type Member = (Pid, Arc<Program>, u32);

/// What processes are to change to; it need not be loaded for a plan.
struct Target<'a> {
    /// `name@version`.
    name: &'a str,
    hash: &'a [u8; 32],
    manifest: &'a Manifest,
}

/// Lines about what an upgrade would do.
#[derive(Default)]
struct Planned {
    /// One for each entry and version that runs.
    plan: Vec<String>,
    /// What becomes impossible for others.
    warnings: Vec<String>,
    /// One for each entry that cannot go over.
    refused: Vec<String>,
}

fn plan_members(members: &[Member], to: &Manifest) -> Planned {
    let mut kinds: Vec<_> = members.iter().map(|(_, program, entry)| (program.code, *entry, program)).collect();
    kinds.sort_by_key(|(code, entry, _)| (*code, *entry));
    kinds.dedup_by_key(|(code, entry, _)| (*code, *entry));
    let mut planned = Planned::default();
    for (_, index, program) in kinds {
        let from = loaded(program);
        let entry = &from.manifest.entries[index as usize];
        let line = |text| format!("{} {}: {text}", from.name, entry.name);
        match plan_kind(&from.manifest, entry, to) {
            Ok(how) => {
                planned.plan.push(line(how));
                let lost = to.entry(&entry.name).map(|new| plan_messages(entry, new)).unwrap_or_default();
                planned.warnings.extend(lost.into_iter().map(line));
            }
            Err(why) => planned.refused.push(line(why)),
        }
    }
    planned
}

/// What becomes of the processes of one entry, in words; or why they forbid the upgrade.
fn plan_kind(from: &Manifest, entry: &Entry, to: &Manifest) -> Result<String, String> {
    // Only a server is changed from outside. A plain process whose entry is gone has nothing to change to.
    if entry.kind != EntryKind::Server && to.entry(&entry.name).is_none() {
        return Ok(format!("goes on as it is: {}@{} has no such entry", to.package, to.version));
    }
    let how = match plan_entry(from, &entry.name, &entry.state, to)?.route {
        StateRoute::Same => "same state".to_owned(),
        StateRoute::Resolve(_) => "state resolved by name".to_owned(),
        StateRoute::Convert { converter, .. } => format!("converter `{converter}`"),
    };
    let when = if entry.kind == EntryKind::Server { "" } else { ", at its own `become_latest!`" };
    Ok(how + when)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(version: &str, entries: &[(&str, EntryKind)]) -> Manifest {
        let entry = |(name, kind): &(&str, EntryKind)| Entry {
            name: (*name).into(),
            path: format!("counter@{version}#{name}"),
            kind: *kind,
            arguments: Schema::of::<i64>(),
            argument_names: vec!["sum".into()],
            state: Schema::of::<i64>(),
            accepts: Vec::new(),
            call: None,
            reply: None,
            cast: None,
        };
        let entries = entries.iter().map(entry).collect();
        let (package, sdk) = ("counter".into(), "0.1.0".into());
        Manifest { package, version: version.into(), sdk, entries, converters: Vec::new() }
    }

    #[test]
    fn a_process_whose_entry_is_gone_goes_on_and_a_server_forbids_the_upgrade() {
        use EntryKind::{Process, Server};
        let old = manifest("1.0.0", &[("counter", Process), ("client", Process), ("account", Server)]);
        let new = manifest("2.0.0", &[("counter", Process)]);
        let plan = |name: &str| plan_kind(&old, old.entry(name).unwrap(), &new);
        assert_eq!(plan("counter").unwrap(), "same state, at its own `become_latest!`");
        assert_eq!(plan("client").unwrap(), "goes on as it is: counter@2.0.0 has no such entry");
        assert!(plan("account").unwrap_err().contains("has no entry `account`"));
    }
}
