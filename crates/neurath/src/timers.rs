//! Timers with names: [`Timers`].
//!
//! Invariant: a message that was sent for a timer counts only while that timer runs, so one that was cancelled or set anew
//! never fires late.

use std::collections::BTreeMap;
use std::time::Duration;

use neurath_proto::Data;

use crate::message::{Timer, cancel_timer, post_after};
use crate::process::self_pid;
use crate::receive::nanos;
use crate::{Message, State};

/// The timers of a server, each with a name and a message: part of its state, so they go on after an upgrade.
///
/// A timer that is due arrives as a [`Fired`]. Give it to [`take`](Self::take): it says whether the timer still counts,
/// and sets a periodic one again.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// enum Tick { Save, GiveUp }
///
/// #[derive(State)]
/// struct Journal { timers: Timers, saved: u32 }
///
/// #[neurath::server]
/// impl Server for Journal {
///     type Call = ();
///     type Reply = u32;
///
///     fn init() -> Self {
///         let mut timers = Timers::new();
///         timers.every("save", 10.secs(), Tick::Save);
///         timers.after("give up", 35.secs(), Tick::GiveUp);
///         Journal { timers, saved: 0 }
///     }
///
///     async fn call(&mut self, (): ()) -> u32 {
///         self.timers.cancel("give up");
///         self.saved
///     }
///
///     async fn fired(&mut self, fired: Fired<Tick>) {
///         match self.timers.take(fired) {
///             Some(Tick::Save) => self.saved += 1,
///             Some(Tick::GiveUp) => exit("nobody asked".to_string()),
///             None => {}
///         }
///     }
/// }
///
/// # fn main() {
/// neurath::testing::run(async {
///     let journal = Journal::spawn();
///     sleep(34.secs()).await;
///     assert_eq!(call::<u32>(journal, ()).await, Ok(3));
///     sleep(100.secs()).await;
///     assert_eq!(call::<u32>(journal, ()).await, Ok(13));
/// });
/// # }
/// ```
#[derive(State, Debug, Clone, PartialEq, Eq, Default)]
pub struct Timers {
    running: BTreeMap<String, Running>,
    last_round: u64,
}

/// A timer that runs.
#[derive(State, Debug, Clone, Copy, PartialEq, Eq)]
struct Running {
    timer: Timer,
    round: u64,
    /// Nanoseconds from one time to the next; 0 for one that fires once.
    period_ns: u64,
}

/// What arrives when one of the [`Timers`] is due.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct Fired<M: Data> {
    name: String,
    round: u64,
    message: M,
}

impl Timers {
    /// None that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a timer that fires once. One of this name that runs is cancelled.
    ///
    /// What the host does not take is logged, and then there is no timer: see [`Sent`](crate::Sent).
    pub fn after<M: Data>(&mut self, name: impl Into<String>, delay: Duration, message: M) {
        self.set(name.into(), delay, 0, message);
    }

    /// Sets a timer that fires again and again, each time so long after it was [taken](Self::take) (a millisecond at
    /// least). One of this name that runs is cancelled.
    pub fn every<M: Data>(&mut self, name: impl Into<String>, period: Duration, message: M) {
        let period = period.max(Duration::from_millis(1));
        self.set(name.into(), period, nanos(period), message);
    }

    /// Stops a timer; whether one of this name ran. It does not fire any more, even if its message is on the way.
    pub fn cancel(&mut self, name: &str) -> bool {
        let running = self.running.remove(name);
        running.is_some_and(|running| {
            cancel_timer(running.timer);
            true
        })
    }

    /// Whether a timer of this name runs.
    pub fn is_running(&self, name: &str) -> bool {
        self.running.contains_key(name)
    }

    /// The message of a timer that is due, unless it was cancelled or set anew meanwhile. A periodic one is set again.
    pub fn take<M: Data>(&mut self, fired: Fired<M>) -> Option<M> {
        let running = *self.running.get(&fired.name)?;
        if running.round != fired.round {
            return None;
        }
        self.running.remove(&fired.name);
        if running.period_ns == 0 {
            return Some(fired.message);
        }
        let (name, period_ns) = (fired.name, running.period_ns);
        Some(self.set(name, Duration::from_nanos(period_ns), period_ns, fired.message))
    }

    fn set<M: Data>(&mut self, name: String, delay: Duration, period_ns: u64, message: M) -> M {
        self.cancel(&name);
        self.last_round += 1;
        let round = self.last_round;
        let fired = Fired { name, round, message };
        if let Ok(timer) = post_after(delay, self_pid(), &fired) {
            self.running.insert(fired.name, Running { timer, round, period_ns });
        }
        fired.message
    }
}
