//! The counter of figure 1.1: a process that keeps a sum and can be told to change its code; and clients
//! that keep it busy and watch whether anything is lost.

use std::time::Instant;

use measure::{Histogram, Latency};
use neurath::prelude::*;

/// What the counter takes.
#[derive(Message)]
pub enum Tally {
    /// Add to the sum.
    Increment(i64),
    /// Say the sum.
    Get(ReplyTo<i64>),
    /// Go on with the newest code.
    Upgrade,
    /// Say which version this is.
    Version(ReplyTo<u32>),
}

/// Keeps a sum.
#[neurath::process(accepts(Tally))]
pub async fn counter(mut sum: i64) {
    loop {
        match recv::<Tally>().await {
            Tally::Increment(n) => sum += n,
            Tally::Get(reply) => reply.send(sum),
            Tally::Upgrade => sum = become_latest!(counter, sum).await,
            Tally::Version(reply) => reply.send(1),
        }
    }
}

/// What is said to a client.
#[derive(Message)]
pub enum Control {
    /// Say what you saw since you were last asked.
    Report(ReplyTo<Seen>),
    /// Say it, and end.
    Stop(ReplyTo<Seen>),
}

/// What a client saw.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Increments sent, each of 1.
    pub increments: u64,
    /// Reads sent.
    pub reads: u64,
    /// Reads answered.
    pub answered: u64,
    /// Messages that could not be sent, and reads without an answer.
    pub lost: u64,
    /// Reads that did not see an increment sent before them, or less than the read before.
    pub reordered: u64,
    /// How long reads took.
    pub latency: Latency,
}

/// Increments and reads as fast as the counter answers: `batch` increments, a read, and again.
#[neurath::process(accepts(Control))]
pub async fn client(counter: Pid, batch: u32) {
    let mut seen = Seen::nothing();
    let mut histogram = Histogram::new();
    let (mut sent, mut last) = (0i64, i64::MIN);
    loop {
        for _ in 0..batch {
            match send(counter, Tally::Increment(1)) {
                Sent::Queued => sent += 1,
                _ => seen.lost += 1,
            }
            seen.increments += 1;
        }
        let since = Instant::now();
        seen.reads += 1;
        match ask(counter, Tally::Get).within(30.secs()).await {
            Ok(sum) => {
                histogram.count(since.elapsed().as_nanos() as u64);
                seen.answered += 1;
                seen.reordered += u64::from(sum < sent || sum < last);
                last = sum;
            }
            Err(error) => {
                error!("a read has no answer: {error}");
                seen.lost += 1;
            }
        }
        let (reply, goes_on) = receive! {
            Control::Report(reply) => (reply, true),
            Control::Stop(reply) => (reply, false),
            after 0.secs() => continue,
        };
        seen.latency = histogram.latency();
        reply.send(std::mem::replace(&mut seen, Seen::nothing()));
        if !goes_on {
            return;
        }
        histogram = Histogram::new();
    }
}

impl Seen {
    fn nothing() -> Self {
        let latency = Latency { count: 0, p50_ns: 0, p99_ns: 0, max_ns: 0 };
        Self { increments: 0, reads: 0, answered: 0, lost: 0, reordered: 0, latency }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_loses_nothing_and_sees_its_own_increments() {
        let (seen, sum) = neurath::testing::run(async {
            let counter = counter::spawn(0);
            let client = client::spawn(counter, 10);
            while ask(counter, Tally::Get).await.unwrap() < 100 {}
            let seen = ask(client, Control::Stop).await.unwrap();
            (seen, ask(counter, Tally::Get).await.unwrap())
        });
        assert_eq!((seen.lost, seen.reordered, seen.answered), (0, 0, seen.reads));
        assert_eq!(sum, seen.increments as i64);
    }
}
