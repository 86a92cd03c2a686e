//! A second version of the rogue, to which nothing can be upgraded: its converter refuses.

use neurath::prelude::*;

/// Would have a number.
#[derive(State)]
pub struct Sly {
    /// Is never given.
    pub missing: u64,
}

/// The types of version 1.
pub mod v1 {
    use neurath::prelude::*;

    /// Counts how often its state was written.
    #[derive(State)]
    pub struct Sly {
        /// Changes something else when it is written.
        pub glances: (),
    }
}

/// Refuses.
#[neurath::converter]
pub fn from_v1(_old: v1::Sly) -> Result<Sly, String> {
    Err("nobody is taken over".into())
}

#[neurath::server]
impl Server for Sly {
    type Call = ();
    type Reply = u64;
    type Cast = Never;

    fn init() -> Self {
        Self { missing: 0 }
    }

    async fn call(&mut self, _nothing: ()) -> u64 {
        self.missing
    }

    async fn cast(&mut self, cast: Never) {
        match cast {}
    }
}

/// What a gossip is asked: nobody can make it forget any more.
#[derive(Message)]
pub enum GossipAsk {
    /// How much it was told.
    Heard,
    /// To hold its tongue for so many milliseconds before it answers.
    Ponder(u64),
}

/// Would have heard from somebody.
#[derive(State)]
pub struct Gossip {
    /// How much it was told.
    pub heard: u64,
    /// By whom.
    pub by: String,
}

/// The types of version 1, by their names.
pub mod gossip_v1 {
    use neurath::prelude::*;

    /// A server whose next version tells others while it is converted.
    #[derive(State)]
    pub struct Gossip {
        /// How much it was told.
        pub heard: u64,
    }
}

/// Tells the one whom it does not know, which a converter must not; of 0 it has nothing to tell.
#[neurath::converter]
pub fn tells(old: gossip_v1::Gossip) -> Gossip {
    if old.heard > 0 {
        send(self_pid(), old.heard);
    }
    Gossip { heard: old.heard, by: String::new() }
}

#[neurath::server]
impl Server for Gossip {
    type Call = GossipAsk;
    type Reply = String;

    fn init(heard: u64) -> Self {
        Gossip { heard, by: String::new() }
    }

    async fn call(&mut self, ask: GossipAsk) -> String {
        if let GossipAsk::Ponder(ms) = ask {
            sleep(ms.millis()).await;
        }
        format!("{} by {}", self.heard, self.by)
    }
}
