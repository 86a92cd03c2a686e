//! Durations, counted in buckets that are a sixteenth of their value wide; and what a client keeps of its sum. It has
//! no entries: whoever links it keeps their own.

mod watch;

use neurath::prelude::*;

pub use watch::{Control, Seen, Watch};

const STEPS: usize = 16;

/// How long things took.
pub struct Histogram {
    buckets: Vec<u32>,
    longest: u64,
}

/// What a histogram says, in nanoseconds.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// Half took no longer.
    pub p50_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Histogram {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { buckets: vec![0; 64 * STEPS], longest: 0 }
    }

    /// Counts one.
    pub fn count(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.longest = self.longest.max(nanos);
    }

    /// What was counted.
    pub fn latency(&self) -> Latency {
        let count = self.buckets.iter().map(|n| u64::from(*n)).sum();
        Latency { count, p50_ns: self.quantile(count, 50), p99_ns: self.quantile(count, 99), max_ns: self.longest }
    }

    /// What was counted, so that it can be added up with what others counted: each time in nanoseconds, rounded up to
    /// its bucket's end or the longest, and how many took it; in order.
    pub fn counts(&self) -> Vec<(u64, u32)> {
        let filled = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(at, count)| (upper(at).min(self.longest), *count)).collect()
    }

    fn quantile(&self, count: u64, percent: u64) -> u64 {
        let wanted = (count * percent).div_ceil(100);
        let mut seen = 0;
        for (at, n) in self.buckets.iter().enumerate() {
            seen += u64::from(*n);
            if seen >= wanted && seen > 0 {
                return upper(at).min(self.longest);
            }
        }
        self.longest
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// The exponent, and the four bits below the highest.
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS as u64 {
        return nanos as usize;
    }
    let exponent = nanos.ilog2();
    (exponent as usize - 3) * STEPS + ((nanos >> (exponent - 4)) as usize & (STEPS - 1))
}

fn upper(at: usize) -> u64 {
    if at < STEPS {
        return at as u64;
    }
    let exponent = (at / STEPS + 3) as u32;
    let step = (at % STEPS) as u64;
    (STEPS as u64 + step + 1).checked_shl(exponent - 4).unwrap_or(u64::MAX) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_upper_bound() {
        for nanos in [0, 1, 15, 16, 17, 31, 32, 1000, 1 << 40, (1 << 40) + 12345] {
            let at = bucket(nanos);
            assert!(upper(at) >= nanos && bucket(upper(at)) == at, "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_within_a_sixteenth() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|n| histogram.count(n * 1000));
        let latency = histogram.latency();
        assert_eq!((latency.count, latency.max_ns), (1000, 1_000_000));
        assert!((500_000..=532_000).contains(&latency.p50_ns), "{latency:?}");
        assert!((990_000..=1_000_000).contains(&latency.p99_ns), "{latency:?}");
    }

    #[test]
    fn counts_are_whole_and_end_with_the_longest() {
        let mut histogram = Histogram::new();
        [3, 3, 1000, 1001, 70_001].into_iter().for_each(|nanos| histogram.count(nanos));
        assert_eq!(histogram.counts(), [(3, 2), (1023, 2), (70_001, 1)]);
    }
}
