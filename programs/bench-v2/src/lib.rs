//! The benchmark's server in its second version: it counts what it did since it was upgraded.

use neurath::prelude::*;

/// Counts what it is asked.
#[derive(State)]
pub struct BenchServer {
    /// How many calls there were.
    pub calls: u64,
    /// How many casts.
    pub casts: u64,
    /// Something to carry over.
    pub ballast: Vec<u8>,
    /// How many there were since the upgrade.
    pub since_upgrade: u64,
}

/// The types of version 1.
pub mod v1 {
    use neurath::prelude::*;

    /// Counts what it is asked.
    #[derive(State)]
    pub struct BenchServer {
        /// How many calls there were.
        pub calls: u64,
        /// How many casts.
        pub casts: u64,
        /// Something to carry over.
        pub ballast: Vec<u8>,
    }
}

/// Begins the new count.
#[neurath::converter]
pub fn from_v1(old: v1::BenchServer) -> BenchServer {
    let v1::BenchServer { calls, casts, ballast } = old;
    BenchServer { calls, casts, ballast, since_upgrade: 0 }
}

/// What it is told.
#[derive(Message)]
pub struct Count;

/// What it answers.
#[derive(Message)]
pub struct BenchAnswer {
    /// How many calls there were, this one included.
    pub calls: u64,
    /// How many casts.
    pub casts: u64,
    /// Which version counted.
    pub version: u32,
}

#[neurath::server]
impl Server for BenchServer {
    type Call = u64;
    type Reply = BenchAnswer;
    type Cast = Count;

    fn init(ballast: u32) -> Self {
        BenchServer { calls: 0, casts: 0, ballast: vec![1; ballast as usize], since_upgrade: 0 }
    }

    async fn call(&mut self, _: u64) -> BenchAnswer {
        self.calls += 1;
        self.since_upgrade += 1;
        BenchAnswer { calls: self.calls, casts: self.casts, version: 2 }
    }

    async fn cast(&mut self, _: Count) {
        self.casts += 1;
        self.since_upgrade += 1;
    }
}
