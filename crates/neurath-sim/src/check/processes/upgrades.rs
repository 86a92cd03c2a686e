//! Changes of code: what was ordered, and what came of it.
//!
//! It refuses to know what a change does: whoever tries one without success puts back a copy of the whole ledger, so that
//! all other promises are checked as if nothing had happened (G3). Invariant that it checks: each order is answered once,
//! and truly.

use std::collections::BTreeMap;

use neurath_kernel::UpgradeId;
use neurath_proto::Pid;

use super::Ledger;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Orders {
    last: u64,
    /// Those that are not answered, with whether the code was changed, once that was tried.
    open: BTreeMap<UpgradeId, (Pid, Option<bool>)>,
}

impl Ledger {
    /// A process is to change its code.
    pub fn upgrade_ordered(&mut self, pid: Pid) -> UpgradeId {
        self.orders.last += 1;
        let id = UpgradeId(self.orders.last);
        self.orders.open.insert(id, (pid, None));
        id
    }

    /// It has, or was put back.
    pub fn upgrade_tried(&mut self, id: UpgradeId, changed: bool) {
        if changed {
            self.counts.upgraded += 1;
        } else {
            self.counts.rolled_back += 1;
        }
        if let Some((_, tried)) = self.orders.open.get_mut(&id) {
            *tried = Some(changed);
        }
    }

    /// The order is answered.
    ///
    /// # Errors
    /// It was answered before, or not truly.
    pub fn upgrade_done(&mut self, id: UpgradeId, pid: Pid, result: &Result<(), String>) -> Result<(), String> {
        let name = format!("the order {id:?} to change the code of {pid} is answered with {result:?}");
        let (ordered, changed) = self.orders.open.remove(&id).ok_or_else(|| format!("{name} once too often"))?;
        if ordered != pid || changed.unwrap_or_default() != result.is_ok() {
            return Err(format!("G3: {name}, and was for {ordered}, which changed: {changed:?}"));
        }
        Ok(())
    }

    /// When all is quiet: every order to a living process is answered.
    ///
    /// # Errors
    /// One is not.
    pub(super) fn quiet_orders(&self) -> Result<(), String> {
        let forgotten = self.orders.open.iter().find(|(_, (pid, _))| self.is_alive(*pid));
        forgotten
            .map_or(Ok(()), |(id, (pid, _))| Err(format!("the order {id:?} to change the code of {pid} is forgotten")))
    }
}
