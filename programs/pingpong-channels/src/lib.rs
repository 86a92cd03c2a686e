//! The ping-pong of figure 2.2, over typed channels: each ping brings the port for its pong, each pong the port for the
//! next ping. Neither process has anything in its mailbox.

use neurath::prelude::*;

/// A ping, and where its pong is to go.
#[derive(Message)]
pub struct Ping(pub SendPort<Pong>);

/// A pong, and where the next ping is to go.
#[derive(Message)]
pub struct Pong(pub SendPort<Ping>);

/// Answers pings. It makes the channel for them, and says so to whoever started it.
#[neurath::process]
pub async fn server(opened: SendPort<SendPort<Ping>>) {
    let (pings, mut received) = channel::<Ping>();
    opened.send(pings);
    loop {
        let Ping(pongs) = received.recv().await;
        pongs.send(Pong(pings));
    }
}

/// Starts a server and plays with it; answers with how many pongs came.
#[neurath::function]
pub async fn play(count: u32) -> u32 {
    let (opened, servers) = channel();
    let server = server::spawn(opened);
    let pongs = exchange(servers, count).await;
    kill(server);
    pongs
}

/// The same with a server on the node that people call so: each port travels to the other node. Answers with who that was, too.
#[neurath::function]
pub async fn play_across(on: String, count: u32) -> Result<(Pid, u32), String> {
    let node = node(&on).await.ok_or_else(|| format!("no node `{on}` is connected"))?;
    let (opened, servers) = channel();
    let server = server::spawn_on(node, opened).await.map_err(|error| error.to_string())?;
    let pongs = exchange(servers, count).await;
    kill(server);
    Ok((server, pongs))
}

/// Sends pings to the server that opens, as many as wanted; how many pongs came.
async fn exchange(mut servers: ReceivePort<SendPort<Ping>>, count: u32) -> u32 {
    let mut pings = servers.recv().await;
    let (pongs, mut received) = channel();
    for _ in 0..count {
        pings.send(Ping(pongs));
        Pong(pings) = received.recv().await;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ping_gets_a_pong_over_a_channel() {
        assert_eq!(neurath::testing::run(async { play::run(10).await }), Ok(10));
    }
}
