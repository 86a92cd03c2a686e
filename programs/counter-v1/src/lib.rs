//! The counter of figure 1.1: a process that keeps a sum and can be told to change its code; and clients
//! that keep it busy and watch whether anything is lost.

use std::time::Instant;

use measure::{Control, Watch};
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

/// Increments and reads as fast as the counter answers: `batch` increments, a read, and again.
#[neurath::process(accepts(Control))]
pub async fn client(counter: Pid, batch: u32) {
    let mut watch = Watch::new();
    loop {
        for _ in 0..batch {
            watch.added(send(counter, Tally::Increment(1)));
        }
        let since = Instant::now();
        let sum = ask(counter, Tally::Get).within(30.secs()).await;
        watch.read(since, sum.map_err(|error| error.to_string()));
        if !watch.report().await {
            return;
        }
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
        assert_eq!(sum, seen.additions as i64);
    }
}
