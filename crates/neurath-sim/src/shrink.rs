//! Makes a failing run smaller: fewer faults, a shorter load. It knows nothing of what they are.
//!
//! Invariant: what it answers fails, though perhaps for another reason than the whole did.

use std::collections::BTreeSet;

use crate::scenario::{Failure, Run};

/// Runs that it tries at most.
const TRIES_MAX: u32 = 300;

/// The smallest failing run that is found, which is the given one if none smaller fails. `test` runs one; `faults` is how
/// many the whole has.
pub fn shrink(failure: Failure, faults: u64, mut test: impl FnMut(&Run) -> Option<Failure>) -> Failure {
    let mut smallest = failure;
    let mut tries = 0;
    let mut try_one = |run: Run, smallest: &mut Failure| {
        tries += 1;
        let found = (tries <= TRIES_MAX).then(|| test(&run)).flatten();
        found.map(|failure| *smallest = failure).is_some()
    };
    let mut until_ms = 1 << 20;
    while until_ms > 100 {
        let run = Run { until_ms: Some(until_ms), ..smallest.run.clone() };
        if smallest.run.until_ms.is_none_or(|until| until > until_ms) && !try_one(run, &mut smallest) {
            break;
        }
        until_ms /= 2;
    }
    // Delta debugging (Zeller and Hildebrandt, 2002), without its complements: parts are left out, smaller ones each time.
    let mut part = faults.max(1);
    loop {
        let all: Vec<u64> =
            smallest.run.faults.clone().map_or_else(|| (0..faults).collect(), |f| f.into_iter().collect());
        for left_out in all.chunks(usize::try_from(part).unwrap_or(usize::MAX)) {
            let present = smallest.run.faults.clone().unwrap_or_else(|| (0..faults).collect());
            let fewer: BTreeSet<u64> = present.into_iter().filter(|fault| !left_out.contains(fault)).collect();
            let run = Run { faults: Some(fewer), ..smallest.run.clone() };
            try_one(run, &mut smallest);
        }
        if part == 1 {
            return smallest;
        }
        part = part.div_ceil(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn what_remains_is_what_makes_it_fail() {
        let whole = Failure { run: Run::new(Scenario::Session, 1), what: String::new() };
        let fails = |run: &Run| {
            let has = |fault| run.faults.as_ref().is_none_or(|faults| faults.contains(&fault));
            let long = run.until_ms.is_none_or(|until| until >= 5_000);
            (has(3) && has(17) && long).then(|| Failure { run: run.clone(), what: String::new() })
        };
        let smallest = shrink(whole, 40, fails).run;
        assert_eq!(smallest.faults, Some(BTreeSet::from([3, 17])));
        assert_eq!(smallest.until_ms, Some(8_192));
    }
}
