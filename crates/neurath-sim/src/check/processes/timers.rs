//! Timers: what a process sends later, and what comes of it.
//!
//! It refuses to know who keeps them. Invariants that it checks: what was sent later comes once, not before its time, and
//! never when its sender was told that it will not; it comes also when its sender has ended.

use std::collections::BTreeMap;

use neurath_proto::{NodeId, Pid};

use super::Ledger;

#[derive(Clone)]
struct Timer {
    to: Pid,
    due: u64,
    cancelled: bool,
    taken: bool,
    /// What it sent was given back, and may have arrived or not.
    given_back: Option<bool>,
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Timers {
    all: BTreeMap<(Pid, u32), Timer>,
    /// What was refused, since a mailbox was full: from whom, to whom.
    refused: BTreeMap<(Pid, Pid), u64>,
}

impl Timers {
    pub(super) fn set(&mut self, from: Pid, to: Pid, number: u32, due: u64) {
        self.all.insert((from, number), Timer { to, due, cancelled: false, taken: false, given_back: None });
    }

    pub(super) fn cancelled(&mut self, from: Pid, number: u32) {
        if let Some(timer) = self.all.get_mut(&(from, number)) {
            timer.cancelled = true;
        }
    }

    pub(super) fn given_back(&mut self, from: Pid, number: u32, maybe_delivered: bool) {
        if let Some(timer) = self.all.get_mut(&(from, number)) {
            timer.given_back = Some(maybe_delivered);
        }
    }

    pub(super) fn refused(&mut self, from: Pid, to: Pid) {
        *self.refused.entry((from, to)).or_default() += 1;
    }

    /// How many may lie in the mailbox of a process.
    pub(super) fn open(&self, to: Pid) -> u64 {
        self.all.values().filter(|timer| timer.to == to && !timer.cancelled && !timer.taken).count() as u64
    }
}

impl Ledger {
    /// What was sent later was taken out of a mailbox.
    ///
    /// # Errors
    /// It should not have been there, or not yet.
    pub fn timer_taken(&mut self, from: Pid, to: Pid, number: u32, now: u64) -> Result<(), String> {
        let name = format!("what timer {number} of {from} sent was taken by {to} at {now} ns");
        let timer = self.timers.all.get_mut(&(from, number)).ok_or_else(|| format!("{name}, and it was never set"))?;
        let wrong = match timer {
            Timer { to: other, .. } if *other != to => Some(format!("and is for {other}")),
            Timer { due, .. } if now < *due => Some(format!("and is for {due} ns")),
            Timer { cancelled: true, .. } => Some("and was cancelled".to_owned()),
            Timer { taken: true, .. } => Some("once too often".to_owned()),
            Timer { given_back: Some(false), .. } => Some("and had not been sent".to_owned()),
            _ => None,
        };
        timer.taken = true;
        self.counts.timed += 1;
        wrong.map_or(Ok(()), |wrong| Err(format!("{name}, {wrong}")))
    }

    /// When all is quiet: what was sent later has come, if anything could come of it.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn quiet_timers(&self) -> Result<(), String> {
        let mut missing: BTreeMap<(Pid, Pid), u64> = BTreeMap::new();
        for ((from, number), timer) in &self.timers.all {
            let done = timer.cancelled || timer.taken || timer.given_back.is_some();
            let crashed = self.crashed.contains(&life(*from));
            if done || crashed || !self.is_alive(timer.to) {
                continue;
            }
            let count = missing.entry((*from, timer.to)).or_default();
            *count += 1;
            if *count > self.timers.refused.get(&(*from, timer.to)).copied().unwrap_or_default() {
                return Err(format!(
                    "timer {number} of {from} for {}, due at {} ns, sent nothing",
                    timer.to, timer.due
                ));
            }
        }
        Ok(())
    }
}

fn life(pid: Pid) -> (NodeId, neurath_proto::id::Incarnation) {
    (pid.node, pid.incarnation)
}
