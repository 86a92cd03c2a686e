//! What is to happen later, in order of time; ties in the order in which they were set.

use alloc::collections::BTreeMap;

/// Things set for a time.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    entries: BTreeMap<(u64, u64), T>,
    last_token: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), last_token: 0 }
    }
}

/// Names one entry.
pub(crate) type TimerKey = (u64, u64);

impl<T> Timers<T> {
    /// Sets `entry` for the time `at`.
    pub(crate) fn set(&mut self, at: u64, entry: T) -> TimerKey {
        self.last_token += 1;
        self.entries.insert((at, self.last_token), entry);
        (at, self.last_token)
    }

    /// Takes an entry away before its time.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        self.entries.remove(&key)
    }

    /// Takes the next entry whose time has come.
    pub(crate) fn due(&mut self, now: u64) -> Option<(TimerKey, T)> {
        let first = self.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove_entry())
    }

    /// When the next entry is due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// The entry with this key.
    pub(crate) fn get(&self, key: &TimerKey) -> Option<&T> {
        self.entries.get(key)
    }
}
