//! Changes of code: who is to change, and what a driver does then.
//!
//! It does what `neurath_node::upgrade` does, without instances. Invariant (G3): when a change has failed, guest and ledger
//! are what they were, and the port is the kernel's to put back.

use super::*;

/// Changes of a hundred that are refused before anything is tried.
const REFUSED_PERCENT: u64 = 10;
/// Others of a hundred that fail when the new code has done all that it does in a poll.
const FAILED_PERCENT: u64 = 30;

impl Cluster {
    /// Orders some process of a shard to change to the other version, now and then.
    pub(super) fn order_upgrade(&mut self, node: usize, shard: usize) -> Result<(), String> {
        let Some(society) = self.society else { return Ok(()) };
        let it = &mut self.nodes[node].shards[shard];
        let now_and_then = self.now < society.until && self.rng.chance(society.upgrade_percent);
        if !now_and_then || it.guests.is_empty() {
            return Ok(());
        }
        let chosen = it.guests.values().nth(self.rng.index(it.guests.len()));
        let Some((pid, version)) = chosen.map(|guest| (guest.pid(), guest.version())) else { return Ok(()) };
        let id = self.ledger.upgrade_ordered(pid);
        it.kernel.order_upgrade(pid, UpgradeOrder { id, program: program(3 - version), entry: 0 });
        self.settle(node, shard)
    }

    /// Tries to change the code of a process.
    pub(super) fn upgrade(
        &mut self,
        node: usize,
        shard: usize,
        slot: Slot,
        mut port: Box<Port>,
        order: &UpgradeOrder,
    ) -> Result<(), String> {
        let Some(society) = self.society else { return Ok(()) };
        let nodes: Vec<NodeId> = (0..self.nodes.len()).map(Self::id).collect();
        let pid = port.pid();
        let guests = &mut self.nodes[node].shards[shard].guests;
        let guest = guests.get_mut(&slot).ok_or(format!("{pid} is to change and was never started"))?;
        let before = (guest.clone(), self.ledger.clone());
        let refused = self.rng.chance(REFUSED_PERCENT);
        let mut done = None;
        if !refused {
            port.begin();
            guest.change(order.program.artifact[0]);
            let (active, living_max) = (self.now < society.until, society.living_max);
            let mut scene = Scene { now: self.now, ledger: &mut self.ledger, nodes: &nodes, active, living_max };
            done = match guest.poll(&mut port, &mut scene)? {
                _ if self.rng.chance(FAILED_PERCENT) => None,
                (Verdict::Trap(_), _) => None,
                (Verdict::Wait, deeds) => Some((deeds, None)),
                (Verdict::Exit(reason), deeds) => Some((deeds, Some(reason))),
            };
        }
        let changed = done.is_some();
        let (deeds, outcome) = match done {
            Some((deeds, exited)) => {
                if let Some(reason) = &exited {
                    self.ledger.ends_itself(pid, reason.clone());
                }
                (deeds, Outcome::Upgraded { program: order.program.clone(), entry: order.entry, exited })
            }
            None => {
                (*guest, self.ledger) = before;
                (Vec::new(), Outcome::RolledBack { reason: "it does not want to".into(), attempted: true })
            }
        };
        self.ledger.upgrade_tried(order.id, changed);
        self.finish(node, shard, slot, port, deeds, outcome)
    }
}
