//! Odd rather than bad: large answers, strange names, lines without an end.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use neurath::prelude::*;

/// Values that a guest holds otherwise than a host would.
#[derive(Message)]
pub struct Sizes {
    /// Has 32 bits in a guest.
    #[neurath(default)]
    pub count: usize,
    /// Is not any two numbers.
    #[neurath(default)]
    pub pause: Duration,
    /// Has no order of its own.
    #[neurath(default)]
    pub shelves: HashMap<String, u32>,
    /// Makes the message large.
    #[neurath(default)]
    pub bulk: String,
}

/// Says what it was sent.
#[neurath::process(accepts(Sizes))]
pub async fn measures(label: String, offset: u32) {
    loop {
        let Sizes { count, pause, shelves, bulk } = recv().await;
        info!("{label} {offset}: {count}, {pause:?}, {} shelves, {} bytes", shelves.len(), bulk.len());
    }
}

/// Answers with as many bytes as it is asked for.
#[derive(State)]
pub struct Bulky;

#[neurath::server]
impl Server for Bulky {
    type Call = u32;
    type Reply = Vec<u8>;

    fn init() -> Self {
        Bulky
    }

    async fn call(&mut self, bytes: u32) -> Vec<u8> {
        vec![7; bytes as usize]
    }
}

/// Asks such a server, and ends with what it heard.
#[neurath::process]
pub async fn asks_for_bulk(server: Pid, bytes: u32) {
    match call::<Vec<u8>>(server, bytes).await {
        Ok(answer) => exit(format!("{} bytes", answer.len())),
        Err(error) => exit(format!("no bytes: {error}")),
    }
}

/// Takes a name, `repeat` times over, and ends with what became of it.
#[neurath::process]
pub async fn calls_itself(name: String, repeat: u32) {
    let name = name.repeat(repeat as usize);
    let registered = register(&name, self_pid()).await;
    exit(format!("{registered:?}, {:?}, {}", whereis(&name).await.is_some(), unregister(&name).await));
}

/// Writes lines with lines in them, and one that it flushes and does not end.
#[neurath::process]
pub async fn mutters() {
    info!("first\nsecond");
    print!("no end");
    if let Err(why) = std::io::stdout().flush() {
        panic!("nothing can be written: {why}");
    }
    exit("left: 1\nright: 2".to_owned());
}

/// Sets a timer for itself and does not live to see it.
#[neurath::process]
pub async fn forgets_a_timer() {
    if let Err(why) = send_after(
        1.millis(),
        self_pid(),
        Sizes { count: 0, pause: Duration::ZERO, shelves: HashMap::new(), bulk: String::new() },
    ) {
        panic!("no timer: {why:?}");
    }
    flush().await;
}

/// What a gossip is asked.
#[derive(Message)]
pub enum GossipAsk {
    /// How much it was told.
    Heard,
    /// To hold its tongue for so many milliseconds before it answers.
    Ponder(u64),
    /// To forget it all.
    Forget,
}

/// A server whose next version tells others while it is converted.
#[derive(State)]
pub struct Gossip {
    /// How much it was told.
    pub heard: u64,
}

#[neurath::server]
impl Server for Gossip {
    type Call = GossipAsk;
    type Reply = u64;

    fn init(heard: u64) -> Self {
        Gossip { heard }
    }

    async fn call(&mut self, ask: GossipAsk) -> u64 {
        match ask {
            GossipAsk::Heard => {}
            GossipAsk::Ponder(ms) => sleep(ms.millis()).await,
            GossipAsk::Forget => self.heard = 0,
        }
        self.heard
    }
}
