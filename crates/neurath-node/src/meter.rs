//! [`Meter`]: how busy a shard is, and which of its processes make it so.
//!
//! It refuses to know what a turn is for. Invariant: most turns cost one subtraction here. Only some of them are timed, at
//! random so that no rhythm of the processes hides one; each stands for all since the last. A process that keeps a thread is
//! timed as a whole.

use std::collections::HashMap;

use neurath_kernel::Slot;
use neurath_kernel::kernel::{Held, Totals};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::bodies::BodiesHeld;
use crate::catalog::Clock;

/// Turns from one that is timed to the next are at most this many, and half of it on average.
const GAP_MAX: u32 = 128;

/// A guest has computed for about this long when it is found to keep its thread.
const KEPT_AFTER_NS: u64 = 2_000_000;

/// What a shard does and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLoad {
    /// Its number.
    pub shard: u32,
    /// What has happened since the start.
    pub totals: Totals,
    /// What its kernel holds.
    pub held: Held,
    /// What its processes' bodies take up.
    pub bodies: BodiesHeld,
    /// Processes that keep a thread because they compute on and on.
    pub threads_kept: u64,
    /// Nanoseconds since the start in which it did not sleep.
    pub busy_ns: u64,
}

/// See the module.
pub struct Meter {
    started: u64,
    slept_ns: u64,
    /// Turns until one is timed.
    left: u32,
    /// Turns for which that one stands.
    gap: u32,
    /// When the present turn began, if it is timed.
    began: Option<u64>,
    spent_ns: Vec<u64>,
    /// Since when processes keep a thread.
    away: HashMap<Slot, u64>,
    random: ChaCha8Rng,
}

impl Meter {
    /// A meter of a shard that starts now.
    pub fn new(now: u64, shard: u32) -> Self {
        let random = ChaCha8Rng::seed_from_u64(u64::from(shard));
        let (spent_ns, away) = (Vec::new(), HashMap::new());
        Self { started: now, slept_ns: 0, left: 1, gap: 1, began: None, spent_ns, away, random }
    }

    /// A turn begins.
    #[inline]
    pub fn begin(&mut self, clock: &Clock) {
        self.left -= 1;
        if self.left == 0 {
            self.began = Some(clock.now());
        }
    }

    /// The turn of this process is over.
    #[inline]
    pub fn end(&mut self, slot: Slot, clock: &Clock) {
        if self.left == 0 {
            self.timed(slot, clock);
        }
    }

    #[cold]
    fn timed(&mut self, slot: Slot, clock: &Clock) {
        if let Some(began) = self.began.take() {
            let took = clock.now().saturating_sub(began);
            self.add(slot, took.saturating_mul(u64::from(self.gap)));
        }
        self.next();
    }

    fn next(&mut self) {
        self.gap = self.random.next_u32() % GAP_MAX + 1;
        self.left = self.gap;
    }

    /// A process keeps the thread of its turn, and the shard goes on without it.
    pub fn leaves(&mut self, slot: Slot, clock: &Clock) {
        self.began = None;
        if self.left == 0 {
            self.next();
        }
        self.away.insert(slot, clock.now().saturating_sub(KEPT_AFTER_NS));
    }

    /// It is back.
    pub fn returns(&mut self, slot: Slot, clock: &Clock) {
        if let Some(since) = self.away.remove(&slot) {
            self.add(slot, clock.now().saturating_sub(since));
        }
    }

    fn add(&mut self, slot: Slot, ns: u64) {
        let at = slot.0 as usize;
        if at >= self.spent_ns.len() {
            self.spent_ns.resize(at + 1, 0);
        }
        self.spent_ns[at] += ns;
    }

    /// A process has ended: another may get its slot.
    pub fn forget(&mut self, slot: Slot) {
        self.away.remove(&slot);
        if let Some(spent) = self.spent_ns.get_mut(slot.0 as usize) {
            *spent = 0;
        }
    }

    /// Nanoseconds that a process has computed, as far as is known.
    pub fn of(&self, slot: Slot, clock: &Clock) -> u64 {
        let away = self.away.get(&slot).map_or(0, |since| clock.now().saturating_sub(*since));
        self.spent_ns.get(slot.0 as usize).copied().unwrap_or(0) + away
    }

    /// The shard has slept.
    pub fn slept(&mut self, ns: u64) {
        self.slept_ns += ns;
    }

    /// Nanoseconds since the start in which the shard did not sleep.
    pub fn busy_ns(&self, clock: &Clock) -> u64 {
        clock.now().saturating_sub(self.started).saturating_sub(self.slept_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_turns_some_are_timed_and_stand_for_all() {
        let (clock, mut meter) = (Clock::start(), Meter::new(0, 7));
        let mut timed = 0;
        for turn in 0..100_000_u32 {
            meter.begin(&clock);
            timed += u32::from(meter.began.is_some());
            meter.end(Slot(turn % 2), &clock);
        }
        assert!((1_000..2_500).contains(&timed), "{timed} of 100,000");
        assert!(meter.of(Slot(0), &clock) > 0 && meter.of(Slot(1), &clock) > 0, "no rhythm hides a process");
        meter.forget(Slot(1));
        assert_eq!(meter.of(Slot(1), &clock), 0);
    }

    #[test]
    fn a_process_that_keeps_a_thread_is_timed_as_a_whole() {
        let (clock, mut meter) = (Clock::start(), Meter::new(0, 0));
        meter.begin(&clock);
        meter.leaves(Slot(3), &clock);
        let first = meter.of(Slot(3), &clock);
        while meter.of(Slot(3), &clock) <= first {
            std::hint::spin_loop();
        }
        meter.returns(Slot(3), &clock);
        let last = meter.of(Slot(3), &clock);
        assert!(last > first);
        meter.begin(&clock);
        meter.end(Slot(4), &clock);
        assert_eq!(meter.of(Slot(3), &clock), last);
    }
}
