//! The counter of figure 1.1: a process that keeps a sum and can be told to change its code.

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
