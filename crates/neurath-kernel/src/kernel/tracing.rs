//! Events for traces, made where things happen, and counts of what has happened.
//!
//! Invariant: a count is one addition; an event is made only if some trace is about its process.

use super::*;

/// Counts of a shard since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Processes that were started.
    pub spawned: u64,
    /// Processes that ended normally.
    pub ended_normally: u64,
    /// Processes that ended otherwise.
    pub ended_abnormally: u64,
    /// Turns that processes had, changes of code not among them.
    pub turns: u64,
    /// Messages that processes sent.
    pub sent: u64,
    /// Messages that were put into mailboxes.
    pub received: u64,
    /// Messages that their readers did not take.
    pub refused: u64,
    /// Messages that found nobody, and those whose reader ended first.
    pub undeliverable: u64,
}

/// What a shard holds at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Processes.
    pub processes: u64,
    /// Processes that wait for their turn.
    pub runnable: u64,
    /// Messages in mailboxes.
    pub mailbox_messages: u64,
    /// Their bytes.
    pub mailbox_bytes: u64,
    /// Names; only shard 0 has any.
    pub names: u64,
}

impl Kernel {
    /// Tells `tracer` from now on of every event that the filter lets through.
    pub fn add_tracer(&mut self, id: WatchId, filter: TraceFilter, tracer: Tracer) {
        self.tracers.add(id, filter, tracer);
    }

    /// Ends a trace.
    pub fn remove_tracer(&mut self, id: WatchId) {
        self.tracers.remove(id);
    }

    /// Tells traces of another node.
    pub(super) fn trace_node(&mut self, what: Happened) {
        self.tracers.tell(self.now, &TraceEvent { of: None, what });
    }

    /// What has happened since the start.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What there is at present. It looks at every process.
    pub fn held(&self) -> Held {
        let mut held = Held {
            processes: self.by_serial.len() as u64,
            runnable: self.run_queue.len() as u64,
            names: self.names.len() as u64,
            ..Held::default()
        };
        for process in self.processes.iter().flatten() {
            held.mailbox_messages += process.deferred.len() as u64;
            if let Some(port) = &process.port {
                held.mailbox_messages += u64::from(port.mailbox().len());
                held.mailbox_bytes += port.mailbox().bytes();
            }
        }
        held
    }

    /// Makes an event of a process if a trace is about it.
    #[inline]
    pub(super) fn trace(&mut self, of: Pid, what: impl FnOnce() -> Happened) {
        self.tracers.tell_of(self.now, of, what);
    }

    pub(super) fn trace_spawned(&mut self, pid: Pid, program: &Program, entry: u32, parent: Option<Pid>) {
        if self.tracers.any(pid) || parent.is_some_and(|parent| self.tracers.any(parent)) {
            let program_entry = &program.entries[entry as usize];
            let what = Happened::Spawned { parent, program: program.name.clone(), entry: program_entry.name.clone() };
            self.tracers.tell(self.now, &TraceEvent { of: Some(pid), what });
        }
    }
}
