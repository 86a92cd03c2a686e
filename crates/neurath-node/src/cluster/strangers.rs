//! Who was not let in: told in the log, but only so often, because strangers come as often as they like.
//!
//! It knows no clock and writes nothing. Invariant: in each period at most [`TOLD_MAX`] are told one by one, and the rest is
//! counted and told together.

use std::time::Duration;

/// Refusals that are told one by one in a period.
const TOLD_MAX: u32 = 5;
/// How long a period is.
const PERIOD: Duration = Duration::from_secs(10);

/// See the module. Times are since any fixed moment.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    since: Duration,
    told: u32,
    untold: u64,
}

impl Strangers {
    /// One was refused; whether to tell it.
    pub(super) fn refused(&mut self, now: Duration) -> bool {
        if now >= self.since + PERIOD && self.untold == 0 {
            (self.since, self.told) = (now, 0);
        }
        if self.told < TOLD_MAX {
            self.told += 1;
            return true;
        }
        self.untold += 1;
        false
    }

    /// How many were not told, once their period is over; a new one begins.
    pub(super) fn summary(&mut self, now: Duration) -> Option<u64> {
        if self.untold == 0 || now < self.since + PERIOD {
            return None;
        }
        (self.since, self.told) = (now, 0);
        Some(std::mem::take(&mut self.untold))
    }

    /// How long until there is a summary to tell.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        (self.untold > 0).then(|| (self.since + PERIOD).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_a_few_are_told_and_the_rest_is_counted() {
        let (mut strangers, second) = (Strangers::default(), Duration::from_secs(1));
        let told = (0..10_000).filter(|_| strangers.refused(second)).count();
        assert_eq!(told, TOLD_MAX as usize);
        assert_eq!(strangers.summary(2 * second), None, "its period is not over");
        assert_eq!(strangers.wait(2 * second), Some(8 * second));
        assert_eq!(strangers.summary(10 * second), Some(10_000 - u64::from(TOLD_MAX)));
        assert_eq!((strangers.summary(30 * second), strangers.wait(30 * second)), (None, None));
    }

    #[test]
    fn who_comes_now_and_then_is_always_told() {
        let mut strangers = Strangers::default();
        assert!((0..1000).all(|n| strangers.refused(3 * n * Duration::from_secs(1))));
    }
}
