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
