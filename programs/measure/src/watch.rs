//! [`Watch`]: what a client of a growing sum knows of it, and whether what it reads can be true.
//!
//! Invariant: whatever was sent is counted once, in the report that follows.

use std::time::Instant;

use neurath::prelude::*;

use crate::Histogram;

/// What is said to a client.
#[derive(Message)]
pub enum Control {
    /// Say what you saw since you were last asked.
    Report(ReplyTo<Seen>),
    /// Say it, and end.
    Stop(ReplyTo<Seen>),
}

/// What a client saw.
#[derive(Message, Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Additions of 1 that were sent.
    pub additions: u64,
    /// Reads sent.
    pub reads: u64,
    /// Reads answered.
    pub answered: u64,
    /// Messages that could not be sent, and reads without an answer.
    pub lost: u64,
    /// Reads that did not see an addition sent before them, or less than the read before.
    pub reordered: u64,
    /// How long reads took: times in nanoseconds, and how many took each.
    pub took: Vec<(u64, u32)>,
}

/// See the module.
pub struct Watch {
    seen: Seen,
    histogram: Histogram,
    /// Additions that were sent in all.
    sent: i64,
    /// The sum that was read last.
    last: i64,
}

impl Watch {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { seen: Seen::default(), histogram: Histogram::new(), sent: 0, last: i64::MIN }
    }

    /// An addition of 1 was sent.
    pub fn added(&mut self, sent: Sent) {
        self.seen.additions += 1;
        match sent {
            Sent::Queued => self.sent += 1,
            _ => self.seen.lost += 1,
        }
    }

    /// A read that began at `since` came to an end: the sum, or why there is none.
    pub fn read(&mut self, since: Instant, sum: Result<i64, String>) {
        self.seen.reads += 1;
        match sum {
            Ok(sum) => {
                self.histogram.count(since.elapsed().as_nanos() as u64);
                self.seen.answered += 1;
                self.seen.reordered += u64::from(sum < self.sent || sum < self.last);
                self.last = sum;
            }
            Err(why) => {
                error!("a read has no answer: {why}");
                self.seen.lost += 1;
            }
        }
    }

    /// Answers, if somebody asks for a report; whether the client goes on.
    pub async fn report(&mut self) -> bool {
        let (reply, goes_on) = receive! {
            Control::Report(reply) => (reply, true),
            Control::Stop(reply) => (reply, false),
            after 0.secs() => return true,
        };
        self.seen.took = std::mem::take(&mut self.histogram).counts();
        reply.send(std::mem::take(&mut self.seen));
        goes_on
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_misses_an_addition_is_out_of_order() {
        let seen = neurath::testing::run(async {
            let mut watch = Watch::new();
            watch.added(Sent::Queued);
            for sum in [1, 3, 2, 0] {
                watch.read(Instant::now(), Ok(sum));
            }
            watch.read(Instant::now(), Err("nobody there".into()));
            watch.seen
        });
        assert_eq!((seen.additions, seen.reads, seen.answered, seen.lost, seen.reordered), (1, 5, 4, 1, 2));
    }
}
