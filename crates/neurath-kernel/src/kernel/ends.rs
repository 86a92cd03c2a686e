//! How processes end, and who is told.

use super::*;

impl Kernel {
    pub(super) fn exit_signal(&mut self, slot: Slot, from: Pid, reason: ExitReason, linked: bool) {
        let Some(process) = self.at(slot) else { return };
        let pid = process.pid;
        if linked && !process.links.remove(&from) {
            return;
        }
        if process.trap_exit {
            self.notify(slot, from, self.known.exit, &Exit { from, reason });
        } else if !reason.is_normal() || (from == pid && !linked) {
            self.end(slot, pid, reason);
        }
    }

    pub(super) fn end(&mut self, slot: Slot, pid: Pid, reason: ExitReason) {
        let entry = &mut self.processes[slot.0 as usize];
        if entry.as_ref().is_none_or(|p| p.pid != pid) {
            return;
        }
        let Some(process) = entry.take() else { return };
        self.free.push(slot.0);
        self.by_serial.remove(&pid.serial);
        let Process { links, watchers, watching, names, groups, waiters, port, upgrade, deferred, .. } = *process;
        for (registrar, name) in names {
            self.tell_registrar(registrar, Signal::NameGone { name, pid });
        }
        self.forget_watcher_of_nodes(pid);
        for group in groups {
            self.registrar(Signal::Leave { group, pid, reference: Ref::NONE });
        }
        for (reference, to) in watching {
            self.route(Signal::Demonitor { to, from: pid, reference });
        }
        if let Some(port) = port {
            for (to, reference) in port.callers() {
                self.route(Signal::CallFailed { to, reference, error: down_error(&reason) });
            }
            self.totals.undeliverable += u64::from(port.mailbox().len());
        }
        for to in links {
            self.route(Signal::Exit { to, from: pid, reason: reason.clone(), linked: true });
        }
        for (to, reference) in watchers {
            self.route(Signal::Down { to, from: pid, reference, reason: reason.clone() });
        }
        for to in waiters {
            self.route(Signal::Drained { to, target: pid });
        }
        if let Some(order) = upgrade {
            let result = Err("the process ended first".to_string());
            self.effects.push_back(Effect::UpgradeDone { id: order.id, pid, result });
        }
        for signal in deferred {
            self.nobody(signal);
        }
        if reason.is_normal() {
            self.totals.ended_normally += 1;
        } else {
            self.totals.ended_abnormally += 1;
        }
        self.trace(pid, || Happened::Died { reason: reason.clone() });
        self.effects.push_back(Effect::Ended { slot, pid, reason });
    }
}
