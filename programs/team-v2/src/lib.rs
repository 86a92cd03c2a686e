//! A team: a supervisor, and two whom it looks after. The worker is a process, which keeps its code until it is started again;
//! the clerk is a server, which is upgraded with its module. In this second version there is an apprentice too.

use neurath::prelude::*;
use neurath::supervisor::{Child, Supervisor};

/// This version.
const VERSION: u32 = 2;

/// Looks after them.
#[neurath::supervisor]
pub fn team() -> Supervisor {
    Supervisor::one_for_one()
        .intensity(5, 5.secs())
        .child(Child::of::<worker>("worker", ()))
        .child(Child::of::<Clerk>("clerk", ()))
        .child(Child::of::<worker>("apprentice", ()))
}

/// What a worker is told.
#[derive(Message)]
pub enum Job {
    /// Do something.
    Do,
    /// Say your version, and how much you have done.
    Report(ReplyTo<(u32, u64)>),
}

/// Does jobs.
#[neurath::process(accepts(Job))]
pub async fn worker() {
    let mut done = 0;
    loop {
        match recv().await {
            Job::Do => done += 1,
            Job::Report(reply) => reply.send((VERSION, done)),
        }
    }
}

/// Files papers.
#[derive(State)]
pub struct Clerk {
    /// How many there are.
    pub filed: u64,
}

/// What a clerk is asked.
#[derive(Message)]
pub enum Ask {
    /// Its version, and how much it has filed.
    Report,
}

/// What a clerk is given.
#[derive(Message)]
pub enum Tell {
    /// A paper to be filed.
    File,
}

#[neurath::server]
impl Server for Clerk {
    type Call = Ask;
    type Reply = (u32, u64);
    type Cast = Tell;

    fn init() -> Self {
        Self { filed: 0 }
    }

    async fn call(&mut self, ask: Ask) -> (u32, u64) {
        match ask {
            Ask::Report => (VERSION, self.filed),
        }
    }

    async fn cast(&mut self, tell: Tell) {
        match tell {
            Tell::File => self.filed += 1,
        }
    }
}
