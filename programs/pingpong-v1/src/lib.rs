//! The ping-pong of figure 4.1: the client sends ten pings and, with its fifth, an upgrade.
//!
//! Whoever starts the client is told how many pings it sent and how many pongs it received.

use std::time::Instant;

use neurath::prelude::*;

/// What the server takes.
#[derive(Message)]
pub enum ToServer {
    /// Answer with a pong.
    Ping {
        /// Who wants it.
        from: Pid,
    },
    /// Go on with the newest code.
    Upgrade,
}

/// What the client takes.
#[derive(Message)]
pub struct Pong {
    /// The version of the server that answered.
    pub version: u32,
}

/// What the client reports when it is done.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// Pings sent.
    pub pings: u32,
    /// Pongs received.
    pub pongs: u32,
    /// The versions that answered, pong by pong.
    pub versions: Vec<u32>,
    /// How long each pong took, in nanoseconds.
    pub took_ns: Vec<u64>,
}

/// Answers pings.
#[neurath::process(accepts(ToServer))]
pub async fn server() {
    loop {
        match recv::<ToServer>().await {
            ToServer::Ping { from } => {
                send(from, Pong { version: 1 });
            }
            ToServer::Upgrade => become_latest!(server).await,
        }
    }
}

/// Sends `count` pings, an upgrade together with the one in the middle, and reports to `parent`.
#[neurath::process(accepts(Pong))]
pub async fn client(server: Pid, count: u32, pause_ms: u64, parent: Option<Pid>) {
    let mut score = Score { pings: 0, pongs: 0, versions: Vec::new(), took_ns: Vec::new() };
    for ping in 1..=count {
        if ping == count.div_ceil(2) {
            info!("sending an upgrade message");
            send(server, ToServer::Upgrade);
        } else {
            sleep(pause_ms.millis()).await;
        }
        let since = Instant::now();
        send(server, ToServer::Ping { from: self_pid() });
        score.pings += 1;
        receive! {
            Pong { version } => {
                score.pongs += 1;
                score.versions.push(version);
                score.took_ns.push(since.elapsed().as_nanos() as u64);
            }
            after 10.secs() => warn!("ping {ping} is not answered"),
        }
    }
    info!("done: {} pings, {} pongs", score.pings, score.pongs);
    if let Some(parent) = parent {
        send(parent, score);
    }
}

/// Starts both and answers with the score.
#[neurath::function]
pub async fn play(count: u32, pause_ms: u64) -> Score {
    let server = server::spawn();
    client::spawn(server, count, pause_ms, Some(self_pid()));
    let score = recv().await;
    kill(server);
    score
}

/// A wish to see a game.
#[derive(Message)]
pub struct Game {
    /// How many pings.
    pub count: u32,
    /// How long to wait before each.
    pub pause_ms: u64,
    /// Who wants the score.
    pub score: ReplyTo<Score>,
}

/// Has games played for whoever asks, in the version that it was started in.
#[neurath::process(accepts(Game))]
pub async fn umpire() {
    loop {
        let Game { count, pause_ms, score } = recv().await;
        match play::run(count, pause_ms).await {
            Ok(played) => score.send(played),
            Err(error) => error!("a game was not played to its end: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_pings_get_ten_pongs() {
        let score = neurath::testing::run(async { play::run(10, 1000).await }).unwrap();
        assert_eq!((score.pings, score.pongs, score.versions), (10, 10, vec![1; 10]));
    }
}
