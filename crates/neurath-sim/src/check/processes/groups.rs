//! Process groups: who is a member of which, and what processes and nodes are told of that.
//!
//! It refuses to know how nodes tell each other. Invariants that it checks: nobody is called a member who never asked to be
//! one; who has joined finds itself, until it leaves; when all is quiet, each node knows the living members of all nodes
//! that it has to do with, and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use neurath_proto::{NodeId, Pid};

use super::Ledger;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Groups {
    members: BTreeMap<String, BTreeSet<Pid>>,
    /// Who has been a member of something.
    ever: BTreeMap<String, BTreeSet<Pid>>,
}

impl Groups {
    pub(super) fn joined(&mut self, group: &str, pid: Pid) {
        for all in [&mut self.members, &mut self.ever] {
            all.entry(group.to_owned()).or_default().insert(pid);
        }
    }

    pub(super) fn left(&mut self, group: &str, pid: Pid) {
        if let Some(members) = self.members.get_mut(group) {
            members.remove(&pid);
        }
    }

    /// These are no more.
    pub(super) fn forget(&mut self, gone: impl Fn(&Pid) -> bool) {
        for members in self.members.values_mut() {
            members.retain(|pid| !gone(pid));
        }
    }

    /// The groups of one process.
    pub(super) fn of(&self, pid: Pid) -> BTreeSet<&str> {
        let its = self.members.iter().filter(|(_, members)| members.contains(&pid));
        its.map(|(group, _)| group.as_str()).collect()
    }
}

impl Ledger {
    /// A process was told who is a member of a group; it knows of itself whether it was one when it asked.
    ///
    /// # Errors
    /// That cannot be.
    pub fn members(&mut self, pid: Pid, group: &str, found: &[Pid], is_member: bool) -> Result<(), String> {
        let name = format!("{pid} asked for the members of {group}");
        let ever = self.groups.ever.get(group);
        if let Some(stranger) = found.iter().find(|other| !ever.is_some_and(|ever| ever.contains(other))) {
            return Err(format!("{name} and was told of {stranger}, which never joined it"));
        }
        if found.contains(&pid) != is_member {
            let is = if is_member { "does not find itself" } else { "finds itself, and is none" };
            return Err(format!("{name} and {is}: {found:?}"));
        }
        self.counts.members += found.iter().filter(|other| other.node != pid.node).count() as u64;
        Ok(())
    }

    /// When all is quiet: a node knows these groups, and has to do with these nodes, itself among them.
    ///
    /// # Errors
    /// It knows too much or too little.
    pub fn quiet_groups<'a>(
        &self,
        node: NodeId,
        reaches: &BTreeSet<NodeId>,
        known: impl Iterator<Item = (&'a str, &'a BTreeSet<Pid>)>,
    ) -> Result<(), String> {
        let pairs = |(group, members): (&'a str, &'a BTreeSet<Pid>)| members.iter().map(move |pid| (group, *pid));
        let known: BTreeSet<(&str, Pid)> = known.flat_map(pairs).collect();
        let all =
            self.groups.members.iter().flat_map(|(group, pids)| pids.iter().map(move |pid| (group.as_str(), *pid)));
        let members: BTreeSet<(&str, Pid)> = all.filter(|(_, pid)| reaches.contains(&pid.node)).collect();
        if let Some((group, pid)) = known.symmetric_difference(&members).next() {
            let is =
                if members.contains(&(group, *pid)) { "does not know it" } else { "takes it for one that is none" };
            return Err(format!("all is quiet, and of the member {pid} of {group} node {node} {is}"));
        }
        Ok(())
    }
}
