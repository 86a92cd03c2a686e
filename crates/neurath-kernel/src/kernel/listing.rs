//! What can be seen of a shard from outside. Everything comes in a fixed order.

use super::*;

/// A message that did not reach its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When, on the kernel's clock.
    pub at: u64,
    /// Who sent it.
    pub from: Pid,
    /// Who should have had it.
    pub to: Pid,
    /// Its type.
    pub type_name: String,
    /// Why not.
    pub reason: String,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its place.
    pub slot: Slot,
    /// Who it is.
    pub pid: Pid,
    /// `name@version` of its code.
    pub program: String,
    /// Its entry.
    pub entry: String,
    /// Whether it is a server.
    pub is_server: bool,
    /// What it does.
    pub standing: Standing,
    /// Messages that wait.
    pub mailbox: u32,
    /// Bytes that wait.
    pub mailbox_bytes: u64,
    /// Its names; those on other nodes with the node.
    pub names: Vec<String>,
    /// Groups that it is a member of.
    pub groups: Vec<String>,
    /// Who started it.
    pub parent: Option<Pid>,
    /// Its links.
    pub links: Vec<Pid>,
    /// Who watches it.
    pub watchers: Vec<Pid>,
    /// Whom it watches.
    pub watching: Vec<Pid>,
    /// Whether an upgrade waits for it.
    pub upgrade_pending: bool,
    /// Whether it traps exits.
    pub trap_exit: bool,
    /// Counts.
    pub counts: Counts,
}

impl Kernel {
    fn shown_name(&self, node: NodeId, name: &str) -> String {
        if node == self.place.node { name.to_string() } else { format!("{name}@{node}") }
    }

    /// The next thing that must leave the shard.
    #[inline]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Messages that were refused since the start, and those that are remembered, oldest first.
    pub fn refusals(&self) -> (u64, impl Iterator<Item = &Refusal>) {
        (self.totals.refused, self.refusals.iter())
    }

    /// Messages that found nobody, and those whose reader ended first.
    pub fn undeliverable(&self) -> u64 {
        self.totals.undeliverable
    }

    /// All processes, by serial.
    pub fn list(&self) -> Vec<ProcessInfo> {
        let mut all: Vec<_> = self
            .processes
            .iter()
            .enumerate()
            .filter_map(|(index, process)| Some(self.describe(Slot(index as u32), process.as_deref()?)))
            .collect();
        all.sort_by_key(|info| info.pid);
        all
    }

    /// One process.
    pub fn info(&self, pid: Pid) -> Option<ProcessInfo> {
        let slot = self.slot_of(pid)?;
        Some(self.describe(slot, self.processes[slot.0 as usize].as_deref()?))
    }

    pub(super) fn describe(&self, slot: Slot, process: &Process) -> ProcessInfo {
        let entry = &process.program.entries[process.entry as usize];
        let (mailbox, mailbox_bytes) =
            process.port.as_ref().map_or((0, 0), |port| (port.mailbox().len(), port.mailbox().bytes()));
        ProcessInfo {
            slot,
            pid: process.pid,
            program: process.program.name.clone(),
            entry: entry.name.clone(),
            is_server: entry.is_server,
            standing: process.standing(),
            mailbox: mailbox + process.deferred.len() as u32,
            mailbox_bytes,
            groups: process.groups.clone(),
            names: process.names.iter().map(|(node, name)| self.shown_name(*node, name)).collect(),
            parent: process.parent,
            links: process.links.iter().copied().collect(),
            watchers: process.watchers.iter().map(|(pid, _)| *pid).collect(),
            watching: process.watching.values().copied().collect(),
            upgrade_pending: process.upgrade.is_some(),
            trap_exit: process.trap_exit,
            counts: process.counts,
        }
    }

    /// The code that a process runs, and its entry.
    pub fn program_of(&self, pid: Pid) -> Option<(&Arc<Program>, u32)> {
        let slot = self.slot_of(pid)?;
        let process = self.processes[slot.0 as usize].as_deref()?;
        Some((&process.program, process.entry))
    }

    /// The processes whose code `wanted` accepts, by serial.
    pub fn processes_of(&self, mut wanted: impl FnMut(&Program) -> bool) -> Vec<(Pid, u32)> {
        let mut all: Vec<_> = self
            .processes
            .iter()
            .flatten()
            .filter(|process| wanted(&process.program))
            .map(|process| (process.pid, process.entry))
            .collect();
        all.sort_unstable();
        all
    }
}
