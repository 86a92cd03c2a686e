//! A counter with another state, whose converter refuses: an upgrade to it is rolled back.

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
    /// Set the sum to 0.
    Reset,
}

/// A sum, and how often it was added to.
#[derive(State)]
pub struct Statistics {
    /// The sum.
    pub sum: i64,
    /// How many increments it is made of.
    pub increments: u64,
}

/// Keeps a sum and counts its increments.
#[neurath::process(accepts(Tally))]
pub async fn counter(mut statistics: Statistics) {
    loop {
        match recv::<Tally>().await {
            Tally::Increment(n) => {
                statistics.sum += n;
                statistics.increments += 1;
            }
            Tally::Get(reply) => reply.send(statistics.sum),
            Tally::Upgrade => statistics = become_latest!(counter, statistics).await,
            Tally::Version(reply) => reply.send(3),
            Tally::Reset => statistics = Statistics { sum: 0, increments: 0 },
        }
    }
}

/// A sum does not say how many increments it is made of, so this refuses.
#[neurath::converter(entry = counter)]
pub fn counter_from_sum(sum: i64) -> Result<Statistics, String> {
    Err(format!("a sum of {sum} does not say how many increments it is made of"))
}
