//! Process groups. Shard 0 of each node knows all members of all nodes that it is connected with.
//!
//! A node is the authority on its own members: it tells every node that connects who they are, and all of them what
//! changes. Invariant: members of a node are known only while an association with it is open, so once messages have
//! arrived everyone who is connected knows the same.

use neurath_proto::name::check_process_name;

use super::*;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Groups {
    members: BTreeMap<String, BTreeSet<Pid>>,
    count: u32,
}

impl Groups {
    fn insert(&mut self, group: String, pid: Pid) {
        if self.members.entry(group).or_default().insert(pid) {
            self.count += 1;
        }
    }

    fn remove(&mut self, group: &str, pid: Pid) {
        if let Some(members) = self.members.get_mut(group) {
            self.count -= u32::from(members.remove(&pid));
            if members.is_empty() {
                self.members.remove(group);
            }
        }
    }

    pub(super) fn forget_node(&mut self, node: NodeId) {
        self.members.retain(|_, members| {
            members.retain(|pid| pid.node != node);
            !members.is_empty()
        });
        self.count = self.members.values().map(|members| members.len() as u32).sum();
    }
}

impl Kernel {
    /// What concerns groups; this is shard 0.
    pub(super) fn group(&mut self, signal: Signal) {
        match signal {
            Signal::Join { group, pid, reference } => {
                let full = self.groups.count >= self.config.group_members;
                if full || check_process_name(&group).is_err() {
                    if reference.is_some() {
                        let limit = self.config.group_members;
                        let why = if full {
                            format!("the node knows {limit} members of groups, which is its limit")
                        } else {
                            "a group's name has 1 to 256 bytes and no control characters, and is no number".to_string()
                        };
                        self.answer(pid, reference, &Answer::Failed { why });
                    }
                    return;
                }
                self.groups.insert(group.clone(), pid);
                self.share(pid, Signal::Join { group, pid, reference: Ref::NONE });
                self.answer_done(pid, reference);
            }
            Signal::Leave { group, pid, reference } => {
                self.groups.remove(&group, pid);
                self.share(pid, Signal::Leave { group, pid, reference: Ref::NONE });
                self.answer_done(pid, reference);
            }
            Signal::Members { group, from, reference } => {
                let pids = self.groups.members.get(&group).into_iter().flatten().copied().collect();
                self.answer(from, reference, &Answer::Pids { pids });
            }
            _ => {}
        }
    }

    /// Tells a node that has connected about the members of this one.
    pub(super) fn share_groups(&mut self, node: NodeId) {
        let own = self.place.node;
        for (group, members) in &self.groups.members {
            for pid in members.iter().filter(|pid| pid.node == own) {
                let signal = Signal::Join { group: group.clone(), pid: *pid, reference: Ref::NONE };
                self.effects.push_back(Effect::ToNode(node, signal));
            }
        }
    }

    /// All groups with their members, in order; only shard 0 knows them.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &BTreeSet<Pid>)> {
        self.groups.members.iter().map(|(group, members)| (group.as_str(), members))
    }

    fn share(&mut self, member: Pid, signal: Signal) {
        if member.node == self.place.node {
            for node in self.connected_nodes() {
                self.effects.push_back(Effect::ToNode(node, signal.clone()));
            }
        }
    }

    fn answer_done(&mut self, to: Pid, reference: Ref) {
        if reference.is_some() {
            self.answer(to, reference, &Answer::Done {});
        }
    }
}
