//! Durations that read like words: `5.secs()`.

use std::time::Duration;

/// Writes a [`Duration`] as a number and a unit.
///
/// ```
/// use neurath::prelude::*;
/// use std::time::Duration;
///
/// assert_eq!(5.secs(), Duration::from_secs(5));
/// assert_eq!(10.millis() + 5.micros(), Duration::from_micros(10_005));
/// ```
pub trait DurationExt {
    /// So many minutes.
    fn mins(self) -> Duration;
    /// So many seconds.
    fn secs(self) -> Duration;
    /// So many milliseconds.
    fn millis(self) -> Duration;
    /// So many microseconds.
    fn micros(self) -> Duration;
    /// So many nanoseconds.
    fn nanos(self) -> Duration;
}

impl DurationExt for u64 {
    fn mins(self) -> Duration {
        Duration::from_secs(self.saturating_mul(60))
    }

    fn secs(self) -> Duration {
        Duration::from_secs(self)
    }

    fn millis(self) -> Duration {
        Duration::from_millis(self)
    }

    fn micros(self) -> Duration {
        Duration::from_micros(self)
    }

    fn nanos(self) -> Duration {
        Duration::from_nanos(self)
    }
}
