//! [`Trace`]: what happens to some processes, as it happens, for one reader.
//!
//! Invariants: a shard never waits for the reader; what is beyond the rate, or beyond what the reader keeps up with, is
//! counted and left out; a trace ends with its reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use neurath_kernel::trace::{Kind, TraceEvent, TraceFilter, Tracer, WatchId};
use neurath_proto::Pid;
use tokio::sync::mpsc;

use crate::shard::{Command, Input};
use crate::shared::Shared;

/// Events that may wait for a slow reader.
const EVENTS_WAITING: usize = 4096;

/// Events of one second, unless the reader says.
pub const RATE_PER_S: u32 = 1_000;

/// Events of one second, at most.
pub const RATE_PER_S_MAX: u32 = 100_000;

/// What a trace is about.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// Which processes; `None` is all.
    pub pids: Option<Vec<Pid>>,
    /// Which kinds of events; none is all.
    pub kinds: Vec<Kind>,
    /// Only events that have to do with this process as well.
    pub peer: Option<Pid>,
    /// Events of one second; the rest is left out. At most [`RATE_PER_S_MAX`].
    pub rate_per_s: u32,
}

/// What happens to some processes, as it happens, for one reader; it ends when this is dropped.
pub struct Trace {
    id: WatchId,
    shared: Arc<Shared>,
    events: mpsc::Receiver<(u64, TraceEvent)>,
    gate: Arc<Gate>,
}

impl Trace {
    /// A trace, and the filter and the ends of it that the shards are to have. `None`: as many run as may.
    pub(crate) fn new(
        id: WatchId,
        shared: Arc<Shared>,
        options: TraceOptions,
    ) -> Option<(Self, TraceFilter, impl Fn() -> Tracer)> {
        let limit = shared.config.traces;
        let room = |running: usize| (running < limit).then_some(running + 1);
        shared.traces.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        let TraceOptions { pids, kinds, peer, rate_per_s } = options;
        let (sender, events) = mpsc::channel(EVENTS_WAITING);
        let gate = Arc::new(Gate::new(rate_per_s.clamp(1, RATE_PER_S_MAX)));
        let trace = Self { id, shared, events, gate: gate.clone() };
        let tracer = move || {
            let (sender, gate) = (sender.clone(), gate.clone());
            Box::new(move |at: u64, event: &TraceEvent| {
                if !gate.lets_through(at) || sender.try_send((at, event.clone())).is_err() {
                    gate.left_out.fetch_add(1, Ordering::Relaxed);
                }
            }) as Tracer
        };
        Some((trace, TraceFilter::new(pids, &kinds, peer), tracer))
    }

    /// The next event, with its time on the node's clock; none when the node has stopped.
    pub async fn next(&mut self) -> Option<(u64, TraceEvent)> {
        self.events.recv().await
    }

    /// How many events were left out since this was last asked.
    pub fn left_out(&self) -> u64 {
        self.gate.left_out.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.shared.traces.fetch_sub(1, Ordering::Relaxed);
        for inbox in &self.shared.inboxes {
            inbox.push(Input::Command(Command::EndTrace(self.id)));
        }
    }
}

/// Lets so many events of each second through, whatever shards they come from.
struct Gate {
    rate_per_s: u32,
    /// The second, and in the lower half how many of it went through.
    passed: AtomicU64,
    left_out: AtomicU64,
}

impl Gate {
    fn new(rate_per_s: u32) -> Self {
        Self { rate_per_s, passed: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    fn lets_through(&self, at: u64) -> bool {
        let second = (at / 1_000_000_000) << 32;
        let step = |passed: u64| {
            // Clocks of shards differ a little: what comes late counts for the newest second.
            let newest = if passed & !0xffff_ffff < second { second } else { passed };
            (newest & 0xffff_ffff < u64::from(self.rate_per_s)).then_some(newest + 1)
        };
        self.passed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_events_of_a_second_go_through() {
        let gate = Gate::new(3);
        let through = |at: u64| (0..10).filter(|_| gate.lets_through(at)).count();
        assert_eq!(through(5), 3);
        assert_eq!(through(999_999_999), 0);
        assert_eq!(through(1_000_000_000), 3);
        assert_eq!(through(999_999_999), 0, "a shard whose clock is behind gets nothing more");
        assert_eq!(through(7_000_000_001), 3);
    }
}
