//! The counter of figure 1.2: it can also be reset.

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

/// Keeps a sum.
#[neurath::process(accepts(Tally))]
pub async fn counter(mut sum: i64) {
    loop {
        match recv::<Tally>().await {
            Tally::Increment(n) => sum += n,
            Tally::Get(reply) => reply.send(sum),
            Tally::Upgrade => sum = become_latest!(counter, sum).await,
            Tally::Version(reply) => reply.send(2),
            Tally::Reset => sum = 0,
        }
    }
}
